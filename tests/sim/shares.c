/* shares.c: how bands and tenants share a route, as an outsider sees it. */
#include "tests/sim/world.h"

enum {
    BAND_PASSED_MAX = 22, /* what the other two may send in the rest of a round and the next one */
    TURNS_APART_MAX = 2   /* 1, and 1 for a lane that was empty for a moment that nobody saw */
};

/* The tenants that have jobs in a band, as bits. */
static uint32_t tenants_with_jobs(const struct band *band)
{
    uint32_t tenants = 0;
    for (const struct list *at = band->lanes.next; at != &band->lanes; at = at->next) {
        const struct lane *lane = list_owner(at, struct lane, turn);
        tenants |= 1U << (lane->flow->tenant->name[1] - '0');
    }
    return tenants;
}

/* What a tenant sent before it had no jobs, or before it had another weight, counts no more. */
static void forget(struct sim_route *r, uint32_t band, uint32_t tenant)
{
    for (uint32_t other = 0; other < SIM_TENANTS; other++) {
        r->sent[band][tenant][other] = 0;
        r->sent[band][other][tenant] = 0;
    }
}

static void forget_others(struct sim_route *r, uint32_t band, uint32_t tenants)
{
    for (uint32_t t = 0; t < SIM_TENANTS; t++) {
        if ((tenants & 1U << t) == 0) {
            forget(r, band, t);
        }
    }
}

void shares_look(struct world *w)
{
    for (uint32_t route = 0; route < SIM_ROUTES; route++) {
        const struct route *r = route_find(w->core, route_name(route));
        for (uint32_t band = 0; band < CORE_BANDS; band++) {
            uint32_t tenants = r == NULL ? 0 : tenants_with_jobs(&r->bands[band]);
            forget_others(&w->routes[route], band, tenants);
            if (tenants == 0) { /* who has nothing to send is not passed over */
                w->routes[route].band_passed[band] = 0;
            }
        }
    }
}

void shares_weight(struct world *w, uint32_t tenant, uint32_t weight)
{
    char name[4];
    (void)snprintf(name, sizeof(name), "t%u", tenant % 10);
    uint32_t others = 0;
    for (uint32_t t = 0; t < SIM_TENANTS; t++) {
        others += t != tenant && w->weights[t] > 1;
    }
    bool kept = core_tenant_weight(w->core, slice_of(name), weight, w->now);
    must(kept == (weight == 1 || others < SIM_TENANTS_MAX));
    if (!kept) {
        return;
    }
    w->weights[tenant] = weight;
    for (uint32_t route = 0; route < SIM_ROUTES; route++) {
        for (uint32_t band = 0; band < CORE_BANDS; band++) {
            forget(&w->routes[route], band, tenant);
        }
    }
}

/* While two tenants have jobs, what they sent divided by their weights is never far apart. */
static void check_tenants(struct world *w, struct sim_route *r, uint32_t band, uint32_t tenant)
{
    for (uint32_t other = 0; other < SIM_TENANTS; other++) {
        if (other == tenant) {
            continue;
        }
        int64_t mine = ++r->sent[band][tenant][other];
        int64_t its = r->sent[band][other][tenant];
        int64_t weight = w->weights[tenant];
        int64_t its_weight = w->weights[other];
        int64_t apart = mine * its_weight - its * weight; /* in turns, times both weights */
        must(apart <= TURNS_APART_MAX * weight * its_weight);
        must(-apart <= TURNS_APART_MAX * weight * its_weight);
        uint64_t both = (uint64_t)(mine + its);
        w->longest_backlog = both > w->longest_backlog && its > 0 ? both : w->longest_backlog;
    }
}

void shares_sent(struct world *w, const struct route *route, const struct model *m)
{
    struct sim_route *r = &w->routes[m->lane];
    uint32_t served = band_of(m->pri);
    for (uint32_t b = 0; b < CORE_BANDS; b++) {
        bool passed = b != served && !list_empty(&route->bands[b].lanes);
        r->band_passed[b] = passed ? r->band_passed[b] + 1 : 0;
        must(r->band_passed[b] <= BAND_PASSED_MAX);
    }
    uint32_t tenants = tenants_with_jobs(&route->bands[served]);
    forget_others(r, served, tenants | 1U << m->tenant);
    check_tenants(w, r, served, m->tenant);
    forget_others(r, served, tenants);
}
