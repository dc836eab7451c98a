#include "common/adapters/store_ask.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/adapters/store_inside.h"
#include "common/base/clock.h"

enum { FAIL_OVER_MS = 5000, DEPTH_MAX = 16 };

struct asker {
    struct event_base *base;
    struct store *store;
    char *address;     /* for errors */
    bool patient;      /* a fail-over is waited for */
    struct event *end; /* wakes the loop when the connection takes too long */
    bool answered;     /* of the question that is asked */
    enum store_outcome outcome;
    redisReply *reply; /* copy, or NULL */
};

/* ---- replies --------------------------------------------------------------------------------- */

/* hiredis frees its reply behind the callback. freeReplyObject frees ours with free(3). */
static redisReply *reply_copy(const redisReply *r, int depth)
{
    redisReply *copy = xcalloc(1, sizeof *copy);
    copy->type = r->type;
    copy->integer = r->integer;
    if (r->str != NULL) {
        copy->str = slice_dup(slice_make(r->str, r->len));
        copy->len = r->len;
    }
    if (r->elements > 0 && depth < DEPTH_MAX) {
        copy->element = xcalloc(r->elements, sizeof(redisReply *));
        copy->elements = r->elements;
        for (size_t i = 0; i < r->elements; i++) {
            copy->element[i] = reply_copy(r->element[i], depth + 1);
        }
    }
    return copy;
}

static void on_answer(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct asker *a = context;
    a->answered = true;
    a->outcome = outcome;
    a->reply = outcome == STORE_OK ? reply_copy(reply, 0) : NULL;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* A server that has gone is an error of the question, and no end of the process; a reader of our
 * output that has gone still is. So SIGPIPE is kept away only while the loop runs. */
static void turn_until(struct asker *a, bool (*over)(const struct asker *a))
{
    const struct timespec now = {0, 0};
    sigset_t pipe, before, pending;
    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    must(sigpending(&pending) == 0);
    must(sigprocmask(SIG_BLOCK, &pipe, &before) == 0);
    while (!over(a)) {
        need(event_base_loop(a->base, EVLOOP_ONCE) >= 0);
    }
    if (sigismember(&pending, SIGPIPE) == 0) {
        (void)sigtimedwait(&pipe, NULL, &now);
    }
    must(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
}

static bool is_answered(const struct asker *a)
{
    return a->answered;
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static bool is_open_or_not(const struct asker *a)
{
    return store_up(a->store) || !event_pending(a->end, EV_TIMEOUT, NULL) ||
           (!a->patient && store_why(a->store)[0] != '\0');
}

static redisReply *answer_of(struct asker *a, char error[512])
{
    redisReply *reply = a->reply;
    turn_until(a, is_answered);
    reply = a->reply;
    a->reply = NULL;
    if (a->outcome == STORE_REFUSED) {
        (void)snprintf(error, 512, "Redis at %.200s is away: %.200s (nothing was done)", a->address,
                       store_why(a->store));
    } else if (a->outcome == STORE_UNKNOWN) {
        (void)snprintf(error, 512, "Redis at %.200s did not answer: it may have been done, or not",
                       a->address);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        (void)snprintf(error, 512, "Redis: %.400s", reply->str);
        freeReplyObject(reply);
        reply = NULL;
    }
    return reply;
}

redisReply *store_ask(struct asker *a, int argc, const struct slice *argv, char error[512])
{
    a->answered = false;
    store_command(a->store, on_answer, a, argc, argv);
    return answer_of(a, error);
}

redisReply *store_ask_script(struct asker *a, enum store_script script, int keys, int argc,
                             const struct slice *argv, char error[512])
{
    a->answered = false;
    store_eval(a->store, script, on_answer, a, keys, argc, argv);
    return answer_of(a, error);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool is_about_password(const char *why)
{
    return strncmp(why, "WRONGPASS", 9) == 0 || strncmp(why, "NOAUTH", 6) == 0 ||
           strncmp(why, "ERR AUTH", 8) == 0;
}

static void explain(const struct asker *a, char error[512])
{
    const char *why = store_why(a->store);
    if (is_about_password(why)) {
        (void)snprintf(error, 512, "Redis refused the password (key redis.password_file): %.300s",
                       why);
    } else {
        (void)snprintf(error, 512, "no Redis at %.200s: %.200s (key redis.address)", a->address,
                       why[0] != '\0' ? why : "it does not answer");
    }
}

struct asker *asker_open(const char *address, const char *password, uint32_t timeout_ms,
                         char error[512])
{
    struct netaddr_redis parsed;
    const char *wrong = netaddr_redis(address, &parsed);
    if (wrong != NULL) {
        (void)snprintf(error, 512, "redis.address \"%.100s\" %s", address, wrong);
        return NULL;
    }
    struct asker *a = xcalloc(1, sizeof *a);
    const struct store_options o = {
        .address = address, .password = password, .timeout_ms = timeout_ms, .pending_max = 16};
    a->base = event_base_new();
    need(a->base != NULL);
    a->address = slice_dup(slice_of(address));
    a->patient = parsed.kind == NETADDR_REDIS_SENTINEL || parsed.kind == NETADDR_REDIS_CLUSTER;
    a->end = evtimer_new(a->base, on_end, a);
    must(a->end != NULL);
    a->store = store_new(a->base, &o);
    store_quiet(a->store);
    const uint32_t wait_ms = a->patient ? FAIL_OVER_MS : 4 * timeout_ms;
    const struct timeval wait = {wait_ms / 1000, (suseconds_t)(wait_ms % 1000) * 1000};
    need(event_add(a->end, &wait) == 0);
    turn_until(a, is_open_or_not);
    if (!store_up(a->store)) {
        explain(a, error);
        asker_close(&a);
    }
    return a;
}

void asker_close(struct asker **ap)
{
    struct asker *a = *ap;
    if (a == NULL) {
        return;
    }
    *ap = NULL;
    store_destroy(&a->store);
    event_free(a->end);
    event_base_free(a->base);
    free(a->address);
    free(a);
}
