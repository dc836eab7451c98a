#include "common/adapters/listen_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/meaning/netaddr.h"

enum { BACKLOG = 4096 };

static struct addrinfo *resolve(const struct listen_fd_options *o, char error[256])
{
    struct netaddr address;
    char port[8];
    if (!netaddr_listen(o->address, &address)) {
        (void)snprintf(error, 256, "%s: \"%s\" is not host:port (IPv6: [::1]:8080)", o->key,
                       o->address);
        return NULL;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const char *host = strcmp(address.host, "*") == 0 ? NULL : address.host;
    (void)snprintf(port, sizeof(port), "%d", address.port);
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        (void)snprintf(error, 256, "%s: cannot resolve \"%.128s\": %s", o->key, o->address,
                       gai_strerror(rc));
        return NULL;
    }
    return found;
}

static void say_bind_error(const struct listen_fd_options *o, int why, char error[256])
{
    const char *port = strrchr(o->address, ':') + 1;
    if (why == EADDRINUSE) {
        (void)snprintf(error, 256,
                       "port %s is in use (%s): end what listens there, or set another address "
                       "with %s",
                       port, o->address, o->key);
    } else {
        (void)snprintf(error, 256, "cannot listen on %s (%s): %s", o->address, o->key,
                       strerror(why));
    }
}

/* The descriptor, or -errno. */
static int bind_address(const struct listen_fd_options *o, const struct addrinfo *a)
{
    int on = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool up = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              (!o->reuse_port || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
              bind(fd, a->ai_addr, a->ai_addrlen) == 0 && (o->later || listen(fd, BACKLOG) == 0);
    if (up) {
        return fd;
    }
    int why = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    return -why;
}

int listen_fd_open(const struct listen_fd_options *o, char error[256])
{
    struct addrinfo *a = resolve(o, error);
    if (a == NULL) {
        return -1;
    }
    int fd = bind_address(o, a);
    freeaddrinfo(a);
    if (fd < 0) {
        say_bind_error(o, -fd, error);
        return -1;
    }
    return fd;
}

void listen_fd_listen(int fd)
{
    need(listen(fd, BACKLOG) == 0);
}

bool listen_fd_free(const char *address, const char *key, char error[256])
{
    const struct listen_fd_options o = {.address = address, .key = key};
    struct addrinfo *a = resolve(&o, error);
    if (a == NULL) {
        return true;
    }
    int fd = bind_address(&o, a);
    freeaddrinfo(a);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (fd == -EADDRINUSE) {
        say_bind_error(&o, EADDRINUSE, error);
    }
    return fd != -EADDRINUSE;
}

/* ---- passed from process to process --------------------------------------------------------- */

bool listen_fd_passed(int *fd, char error[256])
{
    int count = sd_listen_fds(1);
    *fd = -1;
    if (count == 0) {
        return true;
    }
    int first = SD_LISTEN_FDS_START;
    if (count != 1 || sd_is_socket(first, AF_UNSPEC, SOCK_STREAM, 1) <= 0 ||
        sd_is_socket(first, AF_UNIX, 0, -1) > 0) {
        (void)snprintf(error, 256,
                       "LISTEN_FDS: %d passed, exactly one listening TCP socket is "
                       "wanted (of one ListenStream=host:port)",
                       count);
        return false;
    }
    int flags = fcntl(first, F_GETFL);
    must(flags >= 0 && fcntl(first, F_SETFL, flags | O_NONBLOCK) == 0);
    need(fcntl(first, F_SETFD, FD_CLOEXEC) == 0);
    *fd = first;
    return true;
}

void listen_fd_pass(int fd)
{
    char number[24];
    if (fd == SD_LISTEN_FDS_START) {
        need(fcntl(fd, F_SETFD, 0) == 0); /* dup2 onto itself would leave close-on-exec */
    } else {
        need(dup2(fd, SD_LISTEN_FDS_START) == SD_LISTEN_FDS_START);
    }
    (void)snprintf(number, sizeof(number), "%ld", (long)getpid());
    must(setenv("LISTEN_PID", number, 1) == 0 && setenv("LISTEN_FDS", "1", 1) == 0);
    (void)unsetenv("LISTEN_FDNAMES");
}

/* ---- what is bound --------------------------------------------------------------------------- */

uint16_t listen_fd_port(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof(a);
    need(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

void listen_fd_name(int fd, char out[64])
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof(a);
    char host[48] = "";
    need(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    (void)getnameinfo((struct sockaddr *)&a, n, host, sizeof(host), NULL, 0, NI_NUMERICHOST);
    bool six = a.ss_family == AF_INET6;
    (void)snprintf(out, 64, "%s%s%s:%u", six ? "[" : "", host, six ? "]" : "",
                   (unsigned)listen_fd_port(fd));
}
