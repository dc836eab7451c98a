#include "broker/reaper.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/adapters/unknown_store.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum {
    SOON_MS = 1000, /* what is over later than that, the feeder's next look sees in time */
    MORE_MS = 50,   /* an answer had no room for all that is over: the rest then */
    LATE_MS = 2     /* a look comes that much after the lease's end: clocks are rounded */
};

struct reaper {
    struct unknown_store *unknown;
    struct event *soon; /* the earliest of look_ms */
    void (*look)(void *context, unsigned tag);
    void *context;
    int64_t look_ms[OUTBOX_TAGS]; /* mono: when a tag is looked at; 0: not before its turn */
    uint64_t ended;
};

/* ---- when to look ---------------------------------------------------------------------------- */

static void arm(struct reaper *r)
{
    int64_t first_ms = 0;
    for (unsigned tag = 0; tag < OUTBOX_TAGS; tag++) {
        if (r->look_ms[tag] != 0 && (first_ms == 0 || r->look_ms[tag] < first_ms)) {
            first_ms = r->look_ms[tag];
        }
    }
    if (first_ms != 0) {
        int64_t in_ms = first_ms - clock_mono_ms();
        in_ms = in_ms > 0 ? in_ms : 0;
        const struct timeval tv = {0, in_ms < SOON_MS ? in_ms * 1000 : 999999};
        need(event_add(r->soon, &tv) == 0);
    }
}

static void on_soon(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct reaper *r = context;
    int64_t now_ms = clock_mono_ms();
    for (unsigned tag = 0; tag < OUTBOX_TAGS; tag++) {
        if (r->look_ms[tag] != 0 && r->look_ms[tag] <= now_ms) {
            r->look_ms[tag] = 0;
            r->look(r->context, tag);
        }
    }
    arm(r);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void on_reaped(void *context, struct slice job, enum unknown_reaped what)
{
    struct reaper *r = context;
    char id[160];
    if (what == UNKNOWN_REAPED) {
        r->ended++;
        (void)snprintf(id, sizeof id, "%.*s", SLICE_ARG(job));
        log_warn("a job's lease is over: it is unknown", "job", id, NULL);
    }
}

void reaper_found(struct reaper *r, unsigned tag, const struct outbox_found *found)
{
    for (uint32_t i = 0; i < found->over_count; i++) {
        unknown_reap(r->unknown, tag, found->over[i], on_reaped, r);
    }
    if (found->over_count == OUTBOX_OVER_MAX) {
        r->look_ms[tag] = clock_mono_ms() + MORE_MS;
        arm(r);
    } else if (found->over_count == 0 && found->lease_ms >= 0 && found->lease_ms < SOON_MS) {
        r->look_ms[tag] = clock_mono_ms() + found->lease_ms + LATE_MS;
        arm(r);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct reaper *reaper_new(struct event_base *base, struct store *store, const char *prefix,
                          void (*look)(void *context, unsigned tag), void *context)
{
    struct reaper *r = xcalloc(1, sizeof *r);
    r->unknown = unknown_store_new(store, prefix);
    r->look = look;
    r->context = context;
    r->soon = evtimer_new(base, on_soon, r);
    must(r->soon != NULL);
    return r;
}

void reaper_destroy(struct reaper **rp)
{
    struct reaper *r = *rp;
    if (r == NULL) {
        return;
    }
    *rp = NULL;
    unknown_store_destroy(&r->unknown);
    event_free(r->soon);
    free(r);
}

uint64_t reaper_ended(const struct reaper *r)
{
    return r->ended;
}
