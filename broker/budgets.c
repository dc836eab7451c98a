#include "broker/budgets.h"

#include <stdlib.h>

#include "common/adapters/brokers_store.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"

enum {
    TICK_MS = 50,               /* how often parts are looked at */
    RENEW_MS = 200,             /* a part that is used is asked for again */
    ASKS_MAX = 1000,            /* a tick, the rest in the next */
    BUDGETS_MAX = 1000 * 1000,  /* as many as broker.routes_max may be */
    ALONE_MS = BUDGET_LINGER_MS /* others were gone so long: what they called is over */
};

/* What is known of one route here. */
struct budget {
    struct budgets *owner;   /* NULL once that is gone: freed with the answer */
    char *route;             /* its name */
    struct budget_part part; /* in force, as far as it holds */
    int64_t until_ms;        /* of it */
    int64_t asked_ms;        /* when the last question was asked */
    bool asking;             /* one question at a time */
    bool smaller;            /* the part became smaller: the rest is free once the store hears it */
};

struct budgets {
    struct budgets_options o;
    char *prefix;
    char token[BROKER_TOKEN_BYTES + 1];
    struct map *by_route; /* struct budget by name */
    struct event *tick;
    size_t at;          /* in the walk over the routes: the next tick goes on there */
    int64_t first_ms;   /* first look, 0: none yet */
    int64_t company_ms; /* last look that showed others, 0: none did */
    bool joined;        /* others were there at the first look */
    bool shared;        /* the core goes by parts */
};

static void budget_free(struct budget *b)
{
    free(b->route);
    free(b);
}

static struct budget *budget_of(struct budgets *bs, struct slice route)
{
    struct budget *b = map_get(bs->by_route, route);
    if (b == NULL) {
        void *old = NULL;
        b = xcalloc(1, sizeof *b);
        b->owner = bs;
        b->route = slice_dup(route);
        if (!map_set(bs->by_route, route, b, &old)) { /* more than there can be routes */
            budget_free(b);
            return NULL;
        }
    }
    return b;
}

static void budget_forget(struct budgets *bs, struct budget *b)
{
    must(map_remove(bs->by_route, slice_of(b->route)) == b);
    if (b->asking) {
        b->owner = NULL;
    } else {
        budget_free(b);
    }
}

static void on_part(void *context, const struct budget_part *part)
{
    struct budget *b = context;
    struct budgets *bs = b->owner;
    b->asking = false;
    if (bs == NULL) {
        budget_free(b);
        return;
    }
    if (part == NULL || !bs->shared) {
        return; /* the part runs out, unless the next question is answered */
    }
    b->smaller = part->calls_at_once < b->part.calls_at_once ||
                 part->milli_calls_per_s < b->part.milli_calls_per_s;
    b->part = *part;
    b->until_ms = b->asked_ms + BUDGET_HOLD_MS;
    const struct core_route_share share = {.calls_at_once = part->calls_at_once,
                                           .milli_calls_per_s = part->milli_calls_per_s,
                                           .until_ms = b->until_ms};
    core_route_share(bs->o.core, slice_of(b->route), &share, clock_mono_ms());
    bs->o.on_turn(bs->o.context);
}

/* Others may not know us yet, and go on as if they were alone. */
static bool too_early(const struct budgets *bs, int64_t now_ms)
{
    return bs->joined && now_ms - bs->first_ms < BROKER_LEASE_MS;
}

/* Nothing begins with it any more; the store hears so with the next question. */
static void give_up(struct budgets *bs, struct budget *b, int64_t now_ms)
{
    b->part = (struct budget_part){0};
    core_route_share(bs->o.core, slice_of(b->route), &(struct core_route_share){0}, now_ms);
}

static void ask(struct budgets *bs, const struct core_route_demand *d, int64_t now_ms)
{
    struct budget *b = budget_of(bs, d->name);
    if (b == NULL || b->asking || !store_up(bs->o.store) || too_early(bs, now_ms)) {
        return;
    }
    if (now_ms >= b->until_ms || d->calls + d->waiting == 0) {
        give_up(bs, b, now_ms);
    }
    const struct budget_question q = {.token = bs->token,
                                      .route = slice_of(b->route),
                                      .all = {.calls_at_once = d->calls_at_once,
                                              .milli_calls_per_s = (uint64_t)d->calls_per_s * 1000},
                                      .have = b->part,
                                      .calls = d->calls,
                                      .waiting = d->waiting};
    b->asking = true;
    b->asked_ms = now_ms;
    budget_ask(bs->o.store, bs->prefix, &q, on_part, b);
}

/* Calls wait, and the part lets none of them go. */
static bool starves(const struct budget *b, const struct core_route_demand *d, int64_t now_ms)
{
    bool none = now_ms >= b->until_ms ||
                (d->calls_at_once != 0 && d->calls >= b->part.calls_at_once) ||
                (d->calls_per_s != 0 && b->part.milli_calls_per_s == 0);
    return d->waiting > 0 && none;
}

/* Whether the route wants a question now. One that is idle says so once and is forgotten when its
 * part is over. */
static bool due(struct budgets *bs, const struct core_route_demand *d, int64_t now_ms)
{
    struct budget *b = map_get(bs->by_route, d->name);
    bool used = d->calls + d->waiting > 0;
    if (b == NULL) {
        return used;
    }
    if (!used && now_ms >= b->until_ms) {
        budget_forget(bs, b);
        return false;
    }
    bool returned = b->part.calls_at_once == 0 && b->part.milli_calls_per_s == 0;
    if (!used && returned) {
        return false;
    }
    return now_ms - b->asked_ms >= RENEW_MS || b->smaller || starves(b, d, now_ms);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct budgets *bs = context;
    int64_t now_ms = clock_mono_ms();
    uint32_t asked = 0;
    struct core_route_demand d;
    while (asked < ASKS_MAX && core_demand_next(bs->o.core, &bs->at, &d)) {
        if (due(bs, &d, now_ms)) {
            ask(bs, &d, now_ms);
            asked++;
        }
    }
    bs->at = asked < ASKS_MAX ? 0 : bs->at;
}

static void forget_all(struct budgets *bs)
{
    size_t at = 0;
    struct slice name;
    void *value;
    while (map_next(bs->by_route, &at, &name, &value)) {
        struct budget *b = value;
        b->owner = NULL;
        if (!b->asking) {
            budget_free(b);
        }
    }
    map_destroy(&bs->by_route, NULL);
}

static void set_shared(struct budgets *bs, bool shared, int64_t now_ms)
{
    const struct timeval every = {0, TICK_MS * 1000};
    if (bs->shared == shared) {
        return;
    }
    bs->shared = shared;
    core_sharing(bs->o.core, shared, now_ms);
    if (shared) {
        need(event_add(bs->tick, &every) == 0);
    } else {
        need(event_del(bs->tick) == 0);
        forget_all(bs);
        bs->by_route = map_new(BUDGETS_MAX);
    }
    bs->o.on_turn(bs->o.context);
}

void budgets_look(struct budgets *bs, size_t live_count)
{
    int64_t now_ms = clock_mono_ms();
    bool company = live_count > 1;
    if (bs->first_ms == 0) {
        bs->first_ms = now_ms;
        bs->joined = company;
    }
    if (company && bs->company_ms == 0) {
        log_info("limits are shared with other brokers", NULL);
    }
    bs->company_ms = company ? now_ms : bs->company_ms;
    bool lately = bs->company_ms != 0 && now_ms - bs->company_ms < ALONE_MS;
    if (bs->shared && !company && !lately) {
        bs->company_ms = 0;
    }
    set_shared(bs, company || lately, now_ms);
}

void budgets_turn(struct budgets *bs)
{
    struct core_route_demand d;
    while (bs->shared && core_hungry_next(bs->o.core, &d)) {
        struct budget *b = map_get(bs->by_route, d.name);
        int64_t now_ms = clock_mono_ms();
        if (b == NULL || now_ms - b->asked_ms >= TICK_MS) { /* else the tick asks again */
            ask(bs, &d, now_ms);
        }
    }
}

void budgets_leave(struct budgets *bs)
{
    int64_t now_ms = clock_mono_ms();
    size_t at = 0;
    uint32_t asked = 0;
    struct core_route_demand d;
    while (bs->shared && asked < ASKS_MAX && core_demand_next(bs->o.core, &at, &d)) {
        struct budget *b = map_get(bs->by_route, d.name);
        bool has = b != NULL && (b->part.calls_at_once != 0 || b->part.milli_calls_per_s != 0);
        if (has && !b->asking) {
            d.waiting = 0;
            b->until_ms = now_ms;
            asked++;
            ask(bs, &d, now_ms);
        }
    }
}

bool budgets_shared(const struct budgets *bs)
{
    return bs->shared;
}

struct budgets *budgets_new(const struct budgets_options *options)
{
    struct budgets *bs = xcalloc(1, sizeof *bs);
    bs->o = *options;
    bs->prefix = slice_dup(slice_of(options->prefix));
    (void)snprintf(bs->token, sizeof bs->token, "%s", options->token);
    bs->o.prefix = NULL;
    bs->o.token = NULL;
    bs->by_route = map_new(BUDGETS_MAX);
    bs->tick = event_new(options->base, -1, EV_PERSIST, on_tick, bs);
    must(bs->tick != NULL);
    set_shared(bs, true, clock_mono_ms()); /* until the first look, there may be others */
    return bs;
}

void budgets_destroy(struct budgets **bp)
{
    struct budgets *bs = *bp;
    if (bs == NULL) {
        return;
    }
    *bp = NULL;
    forget_all(bs);
    event_free(bs->tick);
    free(bs->prefix);
    free(bs);
}
