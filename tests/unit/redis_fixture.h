/*
 * redis_fixture.h: a redis-server of the test's own, on a unix socket in a directory of its own;
 * ended by pid and removed. Redis may be stopped, frozen and started again inside a test.
 */
#ifndef OTPQ_TESTS_REDIS_FIXTURE_H
#define OTPQ_TESTS_REDIS_FIXTURE_H

#include <event2/event.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/adapters/store.h"
#include "common/base/clock.h"
#include "common/meaning/netaddr.h"

struct redis_fixture {
    char dir[64];      /* mkdtemp */
    char socket[96];   /* <dir>/redis.sock */
    char address[112]; /* unix:<socket> */
    pid_t pid;         /* of redis-server, 0: not running */
};

/* A connection of the test's own beside the store's, to look and to tamper: to unix:/path or
 * tcp://host:port. NULL: error filled; freed with redisFree. */
UNUSED static redisContext *store_blocking(const char *address, const char *password,
                                           uint32_t timeout_ms, char error[512])
{
    struct netaddr_redis a;
    must(netaddr_redis(address, &a) == NULL);
    const struct timeval wait = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
    redisContext *c = a.hosts[0].is_unix
                          ? redisConnectUnixWithTimeout(a.hosts[0].host, wait)
                          : redisConnectWithTimeout(a.hosts[0].host, a.hosts[0].port, wait);
    must(c != NULL);
    redisReply *r = NULL;
    bool good = c->err == 0 && redisSetTimeout(c, wait) == REDIS_OK;
    if (good && password != NULL) {
        freeReplyObject(redisCommand(c, "AUTH %s", password));
    }
    r = good ? redisCommand(c, "PING") : NULL;
    good = r != NULL && r->type != REDIS_REPLY_ERROR;
    if (!good) {
        (void)snprintf(error, 512, "%s", r != NULL ? r->str : c->errstr);
    }
    freeReplyObject(r);
    if (!good) {
        redisFree(c);
    }
    return good ? c : NULL;
}

/* Starts the server and waits until it answers; extra: further option pairs, or NULL. */
UNUSED static void redis_fixture_start(struct redis_fixture *f, const char *option,
                                       const char *value)
{
    f->pid = fork();
    must(f->pid >= 0);
    if (f->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        must(freopen("/dev/null", "w", stdout) != NULL);
        (void)execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", f->socket,
                     "--save", "", "--appendonly", "no", "--dir", f->dir, option, value, NULL);
        _exit(127);
    }
    int64_t until = clock_mono_ms() + 10000;
    char error[512];
    redisContext *c = NULL;
    while (c == NULL) {
        must(clock_mono_ms() < until);
        (void)usleep(5000);
        c = store_blocking(f->address, option != NULL ? value : NULL, 1000, error);
    }
    redisFree(c);
}

UNUSED static void redis_fixture_new(struct redis_fixture *f)
{
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/otpq-test-XXXXXX");
    must(mkdtemp(f->dir) != NULL);
    (void)snprintf(f->socket, sizeof f->socket, "%s/redis.sock", f->dir);
    (void)snprintf(f->address, sizeof f->address, "unix:%s", f->socket);
    f->pid = 0;
}

UNUSED static void redis_fixture_stop(struct redis_fixture *f)
{
    if (f->pid > 0) {
        (void)kill(f->pid, SIGKILL);
        (void)waitpid(f->pid, NULL, 0);
        (void)unlink(f->socket);
        f->pid = 0;
    }
}

/* Stops the process where it stands; returns when it does stand. */
UNUSED static void redis_fixture_freeze(const struct redis_fixture *f)
{
    (void)kill(f->pid, SIGSTOP);
    must(waitpid(f->pid, NULL, WUNTRACED) == f->pid);
}

UNUSED static void redis_fixture_thaw(const struct redis_fixture *f)
{
    (void)kill(f->pid, SIGCONT);
}

UNUSED static int redis_fixture_remove(const char *path, const struct stat *st, int type,
                                       struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

UNUSED static void redis_fixture_end(struct redis_fixture *f)
{
    redis_fixture_stop(f);
    (void)nftw(f->dir, redis_fixture_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* Turns the loop until *flag or the time is over; what came out. */
UNUSED static bool loop_until(struct event_base *base, const volatile bool *flag, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms;
    while (!*flag && clock_mono_ms() < until) {
        (void)event_base_loop(base, EVLOOP_NONBLOCK);
        (void)usleep(200);
    }
    return *flag;
}

#endif
