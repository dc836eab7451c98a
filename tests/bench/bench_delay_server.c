/*
 * An advertiser for benchmarks: answers every request "ok" after DELAY ms. One epoll loop.
 *
 *     bench_delay_server PORT DELAY_MS
 *
 * Prints "ready" when it listens, and on SIGUSR1 a line "ANSWERED WAITING WAITING_MAX": answers so
 * far, requests that wait for theirs, and the most that ever did since the last such line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/clock.h"

enum { WAITING_MAX = 1 << 16, EVENTS_MAX = 512, REQUEST_BYTES_MAX = 4096 };

/* Answers that are due, in order: the delay is the same for all. */
static struct {
    int64_t due_us;
    int fd;
} waiting[WAITING_MAX];
static size_t waiting_first, waiting_count, waiting_peak;
static unsigned long answered;
static volatile sig_atomic_t asked;

static void on_ask(int number)
{
    (void)number;
    asked = 1;
}

static void say_counts(void)
{
    asked = 0;
    (void)printf("%lu %zu %zu\n", answered, waiting_count, waiting_peak);
    (void)fflush(stdout);
    waiting_peak = waiting_count;
}

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: 39\r\n\r\n"
                             "{\"status\":\"ok\",\"request_id\":\"sb-12345\"}";

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16384) != 0) {
        perror("bench_delay_server");
        exit(1);
    }
    return fd;
}

static void accept_all(int loop, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        must(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &e) == 0);
    }
}

/* One read is one request: what the benchmark sends fits into a segment. */
static void take_request(int fd, int64_t due_us)
{
    char bytes[REQUEST_BYTES_MAX];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        (void)close(fd);
    } else if (n > 0) {
        must(waiting_count < WAITING_MAX);
        size_t at = (waiting_first + waiting_count++) % WAITING_MAX;
        waiting[at].due_us = due_us;
        waiting[at].fd = fd;
        waiting_peak = waiting_count > waiting_peak ? waiting_count : waiting_peak;
    }
}

static void answer_due(int64_t now_us)
{
    while (waiting_count > 0 && waiting[waiting_first].due_us <= now_us) {
        (void)!write(waiting[waiting_first].fd, answer, sizeof answer - 1);
        waiting_first = (waiting_first + 1) % WAITING_MAX;
        waiting_count--;
        answered++;
    }
}

static int sleep_ms(int64_t now_us)
{
    if (waiting_count == 0) {
        return -1;
    }
    int64_t left_us = waiting[waiting_first].due_us - now_us;
    return left_us <= 0 ? 0 : (int)(left_us / 1000) + 1;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: bench_delay_server PORT DELAY_MS\n");
        return 2;
    }
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, on_ask);
    int64_t delay_us = (int64_t)atoi(argv[2]) * 1000;
    int loop = epoll_create1(0);
    int listener = listen_on((uint16_t)atoi(argv[1]));
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    must(epoll_ctl(loop, EPOLL_CTL_ADD, listener, &e) == 0);
    (void)printf("ready\n");
    (void)fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int n = epoll_wait(loop, events, EVENTS_MAX, sleep_ms(clock_mono_us()));
        int64_t now_us = clock_mono_us();
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener) {
                accept_all(loop, listener);
            } else {
                take_request(events[i].data.fd, now_us + delay_us);
            }
        }
        answer_due(now_us);
        if (asked) {
            say_counts();
        }
    }
}
