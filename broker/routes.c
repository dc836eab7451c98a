#include "broker/routes.h"

#include "common/adapters/records_watch.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/meaning/job_ops.h"

struct routes {
    struct core *core;           /* told of every change */
    struct records_watch *watch; /* where records come from */
    bool read;                   /* it has some */
    struct records *told;        /* the snapshot that the core knows, or NULL */
    struct controls *controls;   /* of operators, or NULL: not read yet */
    void (*on_change)(void *context);
    void *context;
};

_Static_assert((int)RECORD_LIST_MAX <= (int)CORE_FALLBACKS_MAX,
               "a policy holds what a record may name");

static void tell(struct routes *r, const struct integration *i, int64_t now_ms)
{
    bool held = controls_route_is(r->controls, slice_of(i->name), CONTROL_PAUSED);
    struct core_route_policy policy = {
        .known = true,
        .stored = i->accept == ACCEPT_STORED,
        .paused = i->paused || held,
        .held = held,
        .closed = controls_route_is(r->controls, slice_of(i->name), CONTROL_DRAINING),
        .calls_per_s = i->calls_per_s,
        .burst = i->burst,
        .calls_at_once = i->calls_at_once,
        .breaker_percent = i->breaker_percent,
        .breaker_calls = i->breaker_calls,
        .breaker_window_ms = i->breaker_window_ms,
        .breaker_open_ms = i->breaker_open_ms,
        .fallback_count = i->fallback.count,
    };
    for (uint32_t at = 0; at < i->fallback.count; at++) {
        policy.fallback[at] = slice_of(i->fallback.at[at]);
    }
    if (!core_route_policy(r->core, slice_of(i->name), &policy, now_ms)) {
        log_error("more integrations than routes", "key", "broker.routes_max", "left_out", i->name,
                  NULL);
    }
}

static void tell_removed(struct routes *r, const struct records *now, int64_t now_ms)
{
    static const struct core_route_policy unknown = {.known = false};
    size_t at = 0;
    struct slice name;
    void *value;
    while (r->told != NULL && map_next(r->told->integrations, &at, &name, &value)) {
        if (records_integration(now, name) == NULL &&
            !core_route_policy(r->core, name, &unknown, now_ms)) {
            log_debug("a route that was never taken in is gone", NULL);
        }
    }
}

/* ---- lanes without an integration ------------------------------------------------------------ */

/* Callbacks to one customer at a time: a call takes at most 15 s, so this is two a second to one
 * who hangs, and far more than a host that answers needs; his flood takes no more workers than
 * that. */
enum { CALLBACKS_AT_ONCE = 32 };

typedef bool laned(const void *record);

static bool account_laned(const void *record)
{
    const struct account *a = record;
    return a != NULL && a->callback_url[0] != '\0';
}

static bool affiliate_laned(const void *record)
{
    const struct affiliate *a = record;
    return a != NULL && a->postback_url[0] != '\0';
}

static bool template_laned(const void *record)
{
    return record != NULL;
}

/* A kind of record of which some have a lane of their own. */
struct lane_kind {
    const char *prefix;          /* of the lane's name */
    size_t map_at;               /* where struct records has the records, by name */
    laned *has;                  /* whether this record, or NULL, has one */
    uint32_t calls_at_once;      /* 0: no limit */
    const char *more_than_rooms; /* log */
};

/* A flash template's lane asks the store alone, but for its pushes, which are as few as its MOs. */
static const struct lane_kind lane_kinds[] = {
    {ACCOUNT_LANE, offsetof(struct records, accounts), account_laned, CALLBACKS_AT_ONCE,
     "more accounts than routes"},
    {AFFILIATE_LANE, offsetof(struct records, affiliates), affiliate_laned, CALLBACKS_AT_ONCE,
     "more affiliates than routes"},
    {FLASH_LANE, offsetof(struct records, flash_templates), template_laned, 0,
     "more flash templates than routes"},
};

static const struct map *kind_map(const struct records *records, const struct lane_kind *kind)
{
    struct map *map;
    memcpy(&map, (const char *)records + kind->map_at, sizeof(struct map *));
    return map;
}

/* No breaker: callbacks have a schedule of their own. False: no room for another route. */
static bool tell_lane(struct routes *r, const struct lane_kind *kind, struct slice name, bool known,
                      int64_t now_ms)
{
    char lane[WIRE_ROUTE_BYTES_MAX + 1];
    int n = snprintf(lane, sizeof(lane), "%s%.*s", kind->prefix, SLICE_ARG(name));
    if (n < 0 || (size_t)n >= sizeof(lane)) {
        return false; /* no job could name it either */
    }
    struct slice route = slice_make(lane, (size_t)n);
    bool held = controls_route_is(r->controls, route, CONTROL_PAUSED);
    const struct core_route_policy policy = {
        .known = known,
        .paused = held,
        .held = held,
        .closed = controls_route_is(r->controls, route, CONTROL_DRAINING),
        .calls_at_once = kind->calls_at_once,
    };
    return core_route_policy(r->core, route, &policy, now_ms);
}

static void remove_lanes(struct routes *r, const struct lane_kind *kind, const struct records *now,
                         int64_t now_ms)
{
    size_t at = 0;
    struct slice name;
    void *value;
    while (r->told != NULL && map_next(kind_map(r->told, kind), &at, &name, &value)) {
        if (!kind->has(map_get(kind_map(now, kind), name)) &&
            !tell_lane(r, kind, name, false, now_ms)) {
            log_debug("a lane that was never taken in is gone", NULL);
        }
    }
}

static void add_lanes(struct routes *r, const struct lane_kind *kind, const struct records *now,
                      int64_t now_ms)
{
    size_t at = 0;
    struct slice name;
    void *value;
    long long left_out = 0;
    while (map_next(kind_map(now, kind), &at, &name, &value)) {
        left_out += kind->has(value) && !tell_lane(r, kind, name, true, now_ms);
    }
    if (left_out > 0) {
        log_error(kind->more_than_rooms, "key", "broker.routes_max", "left_out", log_num(left_out),
                  NULL);
    }
}

/* ---- weights --------------------------------------------------------------------------------- */

/* First the weights that are taken away: they make room for others. */
static void take_weights(struct routes *r, const struct records *now, int64_t now_ms)
{
    size_t at = 0;
    struct slice aid;
    void *value;
    while (r->told != NULL && map_next(r->told->affiliates, &at, &aid, &value)) {
        const struct affiliate *a = map_get(now->affiliates, aid);
        if (a == NULL || a->weight == 1) {
            must(core_tenant_weight(r->core, aid, 1, now_ms));
        }
    }
}

/* An affiliate's number as text is the tenant of its jobs. */
static void give_weights(struct routes *r, const struct records *now, int64_t now_ms)
{
    size_t at = 0;
    struct slice aid;
    void *value;
    long long left_out = 0;
    while (map_next(now->affiliates, &at, &aid, &value)) {
        const struct affiliate *a = value;
        if (a->weight != 1 && !core_tenant_weight(r->core, aid, a->weight, now_ms)) {
            left_out++;
        }
    }
    if (left_out > 0) {
        log_error("more affiliates with a weight than tenants", "key", "broker.tenants_max",
                  "left_out", log_num(left_out), NULL);
    }
}

static void tell_all(struct routes *r, struct records *now)
{
    int64_t now_ms = clock_mono_ms();
    size_t at = 0;
    struct slice name;
    void *value;
    /* First what has gone: it makes room. */
    tell_removed(r, now, now_ms);
    for (size_t i = 0; i < ARRAY_LEN(lane_kinds); i++) {
        remove_lanes(r, &lane_kinds[i], now, now_ms);
    }
    while (map_next(now->integrations, &at, &name, &value)) {
        tell(r, value, now_ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(lane_kinds); i++) {
        add_lanes(r, &lane_kinds[i], now, now_ms);
    }
    take_weights(r, now, now_ms);
    give_weights(r, now, now_ms);
    if (r->told != now) {
        records_unref(&r->told);
        r->told = records_ref(now);
    }
    r->on_change(r->context);
}

static void on_records(void *context, struct records *now)
{
    struct routes *r = context;
    r->read = true;
    if (r->controls != NULL) {
        tell_all(r, now);
    }
}

void routes_follow(struct routes *r, const struct controls *now)
{
    if (r->controls == NULL) {
        r->controls = xcalloc(1, sizeof *r->controls);
    }
    *r->controls = *now;
    if (r->read) {
        tell_all(r, records_watch_now(r->watch));
    }
}

struct routes *routes_new(struct event_base *base, struct store *store, const char *prefix,
                          struct core *core, void (*on_change)(void *context), void *context)
{
    struct routes *r = xcalloc(1, sizeof(*r));
    r->core = core;
    r->on_change = on_change;
    r->context = context;
    r->watch = records_watch_new(base, store, prefix, on_records, r);
    return r;
}

void routes_destroy(struct routes **r)
{
    if (*r == NULL) {
        return;
    }
    records_watch_destroy(&(*r)->watch);
    records_unref(&(*r)->told);
    free((*r)->controls);
    free(*r);
    *r = NULL;
}

bool routes_loaded(const struct routes *r)
{
    return r->told != NULL;
}

struct records *routes_records(const struct routes *r)
{
    return r->told;
}
