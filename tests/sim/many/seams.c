/* seams.c: what the shells find at link time instead of the real thing: the clock, the log, chance,
 * and timers of libevent. An event_base here is the number of a process. */
#include <event2/event.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/sim/many/many.h"
#include "tests/sim/sim.h"

enum { TIMERS_MAX = 4096 };

/* Only timers: nothing waits for a socket. */
struct event {
    event_callback_fn act;
    void *context;
    uint32_t proc;
    uint32_t set; /* goes up whenever it is set or taken back: which of those planned is meant */
    bool used;
    bool pending;
};

static struct event timers[TIMERS_MAX];

/* ---- clock, log, chance ---------------------------------------------------------------------- */

int64_t clock_mono_ms(void)
{
    return the_many.now;
}

int64_t clock_mono_us(void)
{
    return the_many.now * 1000;
}

int64_t clock_wall_ms(void)
{
    return the_many.now;
}

int64_t clock_nonce_ms(void)
{
    return the_many.now;
}

void log_setup(const char *program, enum log_level least, bool json)
{
    (void)program;
    (void)least;
    (void)json;
}

void log_line(enum log_level level, const char *msg, ...)
{
    (void)level;
    (void)msg;
}

const char *log_num(long long value)
{
    (void)value;
    return "";
}

void __real_rng_secure(void *bytes, size_t n); /* -Wl,--wrap=rng_secure */
void __wrap_rng_secure(void *bytes, size_t n);
void __wrap_rng_secure(void *bytes, size_t n)
{
    char *to = bytes;
    for (size_t i = 0; i < n; i++) {
        to[i] = (char)rng_next(&the_many.secret);
    }
}

uint32_t fresh_seed(void)
{
    uint32_t seed = 0;
    __real_rng_secure(&seed, sizeof seed);
    return seed;
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct event *event_new(struct event_base *base, evutil_socket_t fd, short what,
                        event_callback_fn act, void *context)
{
    (void)what;
    must(fd == -1);
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        struct event *e = &timers[i];
        if (!e->used) {
            *e = (struct event){.act = act,
                                .context = context,
                                .proc = (uint32_t)(uintptr_t)base - 1,
                                .set = e->set + 1,
                                .used = true};
            return e;
        }
    }
    must(false);
    return NULL;
}

static void on_timer(struct many *w, struct thing *t)
{
    (void)w;
    struct event *e = &timers[t->u];
    if (e->used && e->pending && e->set == t->v) {
        e->pending = false;
        e->act(-1, EV_TIMEOUT, e->context);
    }
}

int event_add(struct event *e, const struct timeval *in)
{
    struct many *w = &the_many;
    struct thing t = many_at_proc(w, e->proc);
    must(e->used);
    e->pending = true;
    t.act = on_timer;
    t.u = (uint32_t)(e - timers);
    t.v = ++e->set;
    many_plan(w, w->now + in->tv_sec * 1000 + in->tv_usec / 1000, &t);
    return 0;
}

int event_del(struct event *e)
{
    e->pending = false;
    e->set++;
    return 0;
}

int event_pending(const struct event *e, short what, struct timeval *at)
{
    (void)what;
    (void)at;
    return e->pending ? EV_TIMEOUT : 0;
}

void event_free(struct event *e)
{
    must(e->used);
    e->used = e->pending = false;
    e->set++;
}

void timers_forget(uint32_t proc)
{
    for (uint32_t i = 0; i < TIMERS_MAX; i++) {
        if (timers[i].used && timers[i].proc == proc) {
            timers[i].pending = false;
            timers[i].set++;
        }
    }
}
