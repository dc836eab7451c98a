/* share.c: limits that hold over several brokers. Each broker has a part of them for a while,
 * leased by its shell; calls that only the part holds back make the route hungry, which the shell
 * hears. */
#include "broker/core/internal.h"

/* A part that was not renewed in time is nobody's: the others may have it by now. */
static bool share_holds(const struct core *core, const struct route *r)
{
    return core->now_ms < r->share.until_ms;
}

struct limit share_at_once(const struct core *core, const struct route *r)
{
    const uint32_t all = r->policy.calls_at_once;
    struct limit l = {.limited = all != 0, .n = all};
    if (core->sharing && all != 0) {
        uint32_t part = share_holds(core, r) ? r->share.calls_at_once : 0;
        l.n = part < all ? part : all;
    }
    return l;
}

struct limit share_rate(const struct core *core, const struct route *r)
{
    const uint64_t all = (uint64_t)r->policy.calls_per_s * 1000;
    struct limit l = {.limited = all != 0, .n = all};
    if (core->sharing && all != 0) {
        uint64_t part = share_holds(core, r) ? r->share.milli_calls_per_s : 0;
        l.n = part < all ? part : all;
    }
    return l;
}

void share_hungry(struct core *core, struct route *r)
{
    if (core->sharing && list_empty(&r->hungry)) {
        list_push(&core->hungry, &r->hungry);
    }
}

void core_sharing(struct core *core, bool on, int64_t now_ms)
{
    core_tick(core, now_ms);
    if (core->sharing == on) {
        return;
    }
    core->sharing = on;
    for (uint32_t at = 1; at <= core->routes.used; at++) {
        struct route *r = table_at(&core->routes, at);
        if (r != NULL) {
            list_remove(&r->hungry);
            route_set_share(core, r, &(struct core_route_share){0});
        }
    }
}

void core_route_share(struct core *core, struct slice route, const struct core_route_share *s,
                      int64_t now_ms)
{
    core_tick(core, now_ms);
    struct route *r = route_find(core, route);
    if (r != NULL) {
        list_remove(&r->hungry);
        route_set_share(core, r, s);
    }
}

static bool is_limited(const struct route *r)
{
    return r->policy.known && (r->policy.calls_at_once != 0 || r->policy.calls_per_s != 0);
}

static struct core_route_demand demand_of(const struct route *r)
{
    return (struct core_route_demand){.name = route_name_of(r),
                                      .calls_at_once = r->policy.calls_at_once,
                                      .calls_per_s = r->policy.calls_per_s,
                                      .calls = r->calls,
                                      .waiting = r->waiting.count - r->free_waiting};
}

bool core_demand_next(const struct core *core, size_t *at, struct core_route_demand *out)
{
    while (*at < core->routes.used) {
        const struct route *r = table_at(&core->routes, (uint32_t)++ * at);
        if (r != NULL && is_limited(r)) {
            *out = demand_of(r);
            return true;
        }
    }
    return false;
}

bool core_hungry_next(struct core *core, struct core_route_demand *out)
{
    struct list *first = list_first(&core->hungry);
    if (first == NULL) {
        return false;
    }
    struct route *r = list_owner(first, struct route, hungry);
    list_remove(&r->hungry);
    *out = demand_of(r);
    return true;
}
