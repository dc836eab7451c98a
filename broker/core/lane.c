#include "broker/core/internal.h"

uint32_t band_of(uint8_t pri)
{
    return pri >= 7 ? 0 : pri >= 4 ? 1 : 2;
}

/* ---- tenants --------------------------------------------------------------------------------- */

static struct tenant *tenant_find(const struct core *core, struct slice name, uint32_t hash)
{
    struct index_walk w = index_walk(&core->tenant_names, hash);
    for (uint32_t ref = index_next(&w); ref != 0; ref = index_next(&w)) {
        struct tenant *t = table_at(&core->tenants, ref);
        if (slice_eq(slice_make(t->name, t->name_n), name)) {
            return t;
        }
    }
    return NULL;
}

static struct tenant *tenant_add(struct core *core, struct slice name, uint32_t hash)
{
    struct tenant *t = xcalloc(1, sizeof(*t));
    t->name = slice_dup(name);
    t->name_n = (uint32_t)name.n;
    t->hash = hash;
    t->weight = 1;
    t->slot = table_add(&core->tenants, t);
    index_add(&core->tenant_names, hash, t->slot);
    return t;
}

static void tenant_reap(struct core *core, struct tenant *t)
{
    if (t->flows > 0 || t->weight != 1) {
        return;
    }
    index_remove(&core->tenant_names, t->hash, t->slot);
    table_remove(&core->tenants, t->slot);
    free(t->name);
    free(t);
}

/* Makes room for one more tenant with flows, at the cost of idle flows. */
static bool tenant_room(struct core *core)
{
    while (core->tenants_busy >= core->limits.tenants_max) {
        if (list_empty(&core->idle_flows)) {
            return false;
        }
        flow_free(core, list_owner(list_first(&core->idle_flows), struct flow, idle));
    }
    return true;
}

/* The tenant that a flow is wanted of, or NULL: too many. */
static struct tenant *tenant_for(struct core *core, struct slice name)
{
    uint32_t hash = hash32(core, name);
    struct tenant *t = tenant_find(core, name, hash);
    if (t != NULL && t->flows > 0) {
        return t;
    }
    if (!tenant_room(core)) {
        return NULL;
    }
    return t != NULL ? t : tenant_add(core, name, hash);
}

bool tenant_set_weight(struct core *core, struct slice name, uint8_t weight)
{
    uint32_t hash = hash32(core, name);
    struct tenant *t = tenant_find(core, name, hash);
    bool had = t != NULL && t->weight != 1;
    if (weight != 1 && !had && core->tenants_weighted >= core->limits.tenants_max) {
        return false;
    }
    if (t == NULL && weight == 1) {
        return true;
    }
    t = t != NULL ? t : tenant_add(core, name, hash);
    t->weight = weight;
    core->tenants_weighted += (uint32_t)(weight != 1) - (uint32_t)had;
    tenant_reap(core, t);
    return true;
}

/* ---- flows ----------------------------------------------------------------------------------- */

static uint32_t pair_hash(const struct core *core, const struct route *route,
                          const struct tenant *tenant)
{
    uint64_t pair = (uint64_t)route->slot << 32 | tenant->slot;
    return hash32(core, slice_make(&pair, sizeof(pair)));
}

static struct flow *flow_find(const struct core *core, const struct route *route,
                              const struct tenant *tenant, uint32_t hash)
{
    struct index_walk w = index_walk(&core->flow_pairs, hash);
    for (uint32_t ref = index_next(&w); ref != 0; ref = index_next(&w)) {
        struct flow *f = table_at(&core->flows, ref);
        if (f->route == route && f->tenant == tenant) {
            return f;
        }
    }
    return NULL;
}

static struct flow *flow_add(struct core *core, struct route *route, struct tenant *tenant,
                             uint32_t hash)
{
    struct flow *f = xcalloc(1, sizeof(*f));
    f->route = route;
    f->tenant = tenant;
    f->hash = hash;
    f->slot = table_add(&core->flows, f);
    core->tenants_busy += tenant->flows++ == 0;
    route->flows++;
    list_init(&f->idle);
    for (uint32_t band = 0; band < LANE_BANDS; band++) {
        struct lane *lane = &f->lanes[band];
        lane->flow = f;
        lane->band = (uint8_t)band;
        list_init(&lane->turn);
        heap_init(&lane->jobs.heap);
        heap_init(&lane->ahead.heap);
    }
    index_add(&core->flow_pairs, hash, f->slot);
    list_push(&core->idle_flows, &f->idle);
    core->idle_flow_count++;
    return f;
}

void flow_free(struct core *core, struct flow *f)
{
    must(f->jobs == 0);
    list_remove(&f->idle);
    core->idle_flow_count--;
    for (uint32_t band = 0; band < LANE_BANDS; band++) {
        struct lane *lane = &f->lanes[band];
        must(lane_count(lane) == 0);
        heap_remove(&core->expiries, f->slot * LANE_BANDS + band);
        heap_free(&lane->jobs.heap);
        heap_free(&lane->ahead.heap);
    }
    index_remove(&core->flow_pairs, f->hash, f->slot);
    table_remove(&core->flows, f->slot);
    f->route->flows--;
    core->tenants_busy -= --f->tenant->flows == 0;
    tenant_reap(core, f->tenant);
    free(f);
}

void flow_job_added(struct core *core, struct flow *f)
{
    if (f->jobs++ == 0) {
        list_remove(&f->idle);
        core->idle_flow_count--;
    }
}

void flow_job_gone(struct core *core, struct flow *f)
{
    must(f->jobs > 0);
    if (--f->jobs > 0) {
        return;
    }
    struct route *route = f->route;
    list_push(&core->idle_flows, &f->idle);
    core->idle_flow_count++;
    if (core->idle_flow_count > FLOWS_IDLE_MAX) {
        flow_free(core, list_owner(list_first(&core->idle_flows), struct flow, idle));
    }
    route_reap(core, route);
}

void flows_forget_route(struct core *core, const struct route *route)
{
    list_each(it, &core->idle_flows)
    {
        struct flow *f = list_owner(it, struct flow, idle);
        if (f->route == route) {
            flow_free(core, f);
        }
    }
}

/* ---- lanes ----------------------------------------------------------------------------------- */

enum core_admit lane_for(struct core *core, struct route *route, struct slice tenant, uint32_t band,
                         bool accepted, struct lane **out)
{
    struct tenant *t = tenant_for(core, tenant);
    if (t == NULL) {
        return CORE_FULL_TENANTS;
    }
    uint32_t pair = pair_hash(core, route, t);
    struct flow *f = flow_find(core, route, t, pair);
    if (f == NULL) {
        f = flow_add(core, route, t, pair);
    } else if (!accepted && f->waiting >= core->limits.tenant_jobs_max) {
        return CORE_FULL_TENANT;
    }
    *out = &f->lanes[band];
    return CORE_QUEUED;
}

struct lane *lane_beside(struct core *core, const struct job *j, struct route *route, uint32_t band)
{
    struct tenant *t = j->lane->flow->tenant;
    uint32_t pair = pair_hash(core, route, t);
    struct flow *f = flow_find(core, route, t, pair);
    return &(f != NULL ? f : flow_add(core, route, t, pair))->lanes[band];
}

uint32_t lane_count(const struct lane *lane)
{
    return lane->jobs.heap.count - lane->jobs.holes + lane->ahead.heap.count - lane->ahead.holes;
}

static uint32_t lane_ref(const struct lane *lane)
{
    return lane->flow->slot * LANE_BANDS + lane->band;
}

static struct lane *lane_at(const struct core *core, uint32_t ref)
{
    struct flow *f = table_at(&core->flows, ref / LANE_BANDS);
    return f == NULL ? NULL : &f->lanes[ref % LANE_BANDS];
}

uint32_t job_expires(const struct job *j)
{
    if ((j->flags & JOB_MAYBE_STARTED) != 0) {
        return j->deadline;
    }
    uint32_t usual = job_route(j)->run_ms;
    uint32_t half = (j->deadline - j->accepted) / 2;
    return j->deadline - (usual < half ? usual : half);
}

/* The timer may be early (it is looked at again when it fires), never late. */
static void lane_timer(struct core *core, const struct lane *lane, uint32_t at)
{
    uint32_t ref = lane_ref(lane);
    if (!heap_has(&core->expiries, ref) || time_before(at, heap_time(&core->expiries, ref))) {
        heap_set(&core->expiries, at, ref);
    }
}

void lane_push(struct core *core, struct job *j)
{
    struct lane *lane = j->lane;
    job_heap_push((j->flags & JOB_AHEAD) != 0 ? &lane->ahead : &lane->jobs, j->deadline, j);
    if (list_empty(&lane->turn)) {
        list_push(&lane->flow->route->bands[lane->band].lanes, &lane->turn);
    }
    lane_timer(core, lane, job_expires(j));
}

void lane_leave(struct core *core, struct job *j)
{
    struct lane *lane = j->lane;
    job_heap_leave(core, (j->flags & JOB_AHEAD) != 0 ? &lane->ahead : &lane->jobs, j);
    if (lane_count(lane) == 0) {
        list_remove(&lane->turn);
        lane->deficit = 0; /* what it did not use in this turn is gone */
    }
}

void lane_charge(struct lane *lane)
{
    struct list *lanes = &lane->flow->route->bands[lane->band].lanes;
    uint8_t weight = lane->flow->tenant->weight;
    must(list_first(lanes) == &lane->turn);
    if (lane->deficit == 0 || lane->deficit > weight) { /* its turn begins, or it weighs less now */
        lane->deficit = weight;
    }
    if (--lane->deficit == 0) {
        list_remove(&lane->turn);
        list_push(lanes, &lane->turn);
    }
}

struct job *lane_top(const struct core *core, const struct lane *lane)
{
    struct job *j = job_heap_top(core, &lane->ahead);
    return j != NULL ? j : job_heap_top(core, &lane->jobs);
}

/* The job of the lane that expires first, or NULL: the top of either heap. */
static struct job *first_to_expire(const struct core *core, const struct lane *lane)
{
    struct job *a = job_heap_top(core, &lane->ahead);
    struct job *b = job_heap_top(core, &lane->jobs);
    if (a == NULL || b == NULL) {
        return a != NULL ? a : b;
    }
    return time_before(job_expires(a), job_expires(b)) ? a : b;
}

void lane_expire(struct core *core, uint32_t ref, uint32_t *budget)
{
    for (;;) {
        /* An end may free the flow with its route. */
        struct lane *lane = lane_at(core, ref);
        struct job *j = lane == NULL ? NULL : first_to_expire(core, lane);
        if (j == NULL) {
            heap_remove(&core->expiries, ref);
            return;
        }
        uint32_t at = job_expires(j);
        if (time_before(core->now, at)) {
            heap_set(&core->expiries, at, ref);
            return;
        }
        if (*budget == 0) {
            return;
        }
        --*budget;
        job_out_of_time(core, j);
    }
}

void lanes_free(struct core *core)
{
    for (uint32_t at = 1; at <= core->flows.used; at++) {
        struct flow *f = table_at(&core->flows, at);
        for (uint32_t band = 0; f != NULL && band < LANE_BANDS; band++) {
            heap_free(&f->lanes[band].jobs.heap);
            heap_free(&f->lanes[band].ahead.heap);
        }
        free(f);
    }
    for (uint32_t at = 1; at <= core->tenants.used; at++) {
        struct tenant *t = table_at(&core->tenants, at);
        if (t != NULL) {
            free(t->name);
            free(t);
        }
    }
    table_free(&core->flows);
    table_free(&core->tenants);
}
