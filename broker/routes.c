#include "broker/routes.h"

#include "common/adapters/records_watch.h"
#include "common/base/clock.h"
#include "common/base/log.h"

struct routes {
    struct core *core;           /* told of every change */
    struct records_watch *watch; /* where records come from */
    struct records *told;        /* the snapshot that the core knows, or NULL */
    void (*on_change)(void *context);
    void *context;
};

static void tell(struct routes *r, const struct integration *i, int64_t now_ms)
{
    const struct core_route_policy policy = {
        .known = true,
        .paused = i->paused,
        .calls_per_s = i->calls_per_s,
        .burst = i->burst,
        .calls_at_once = i->calls_at_once,
        .breaker_percent = i->breaker_percent,
        .breaker_calls = i->breaker_calls,
        .breaker_window_ms = i->breaker_window_ms,
        .breaker_open_ms = i->breaker_open_ms,
    };
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

static void on_records(void *context, struct records *now)
{
    struct routes *r = context;
    int64_t now_ms = clock_mono_ms();
    size_t at = 0;
    struct slice name;
    void *value;
    tell_removed(r, now, now_ms);
    while (map_next(now->integrations, &at, &name, &value)) {
        tell(r, value, now_ms);
    }
    take_weights(r, now, now_ms);
    give_weights(r, now, now_ms);
    records_unref(&r->told);
    r->told = records_ref(now);
    r->on_change(r->context);
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
    free(*r);
    *r = NULL;
}

bool routes_loaded(const struct routes *r)
{
    return r->told != NULL;
}
