/* people.c: clients, and operators that change policies. */
#include "tests/sim/world.h"

static const uint32_t ttls_ms[] = {50, 300, 1000, 3000, 10000, 30000};

static enum core_admit submit(struct world *w, const struct model *m, struct slice body,
                              uint64_t client, uint32_t ttl_ms, uint32_t delay_ms, bool again)
{
    char id[32];
    char tenant[4];
    (void)snprintf(id, sizeof(id), "%.*s", SLICE_ARG(model_id(m->number)));
    (void)snprintf(tenant, sizeof(tenant), "t%u", m->tenant % 10);
    struct wire_submit s = {.id = slice_of(id),
                            .route = route_name(m->route),
                            .tenant = slice_of(tenant),
                            .op = m->op,
                            .pri = m->pri,
                            .ttl_ms = ttl_ms,
                            .delay_ms = delay_ms,
                            .again = again};
    uint32_t retry = 0;
    w->direct_client = client;
    enum core_admit a = core_submit(w->core, &s, body, client, w->now, &retry);
    bool told = client != 0 && w->direct_client == 0;
    w->direct_client = 0;
    must(told == (client != 0 && a == CORE_DUPLICATE && !m->live));
    must((retry > 0) == (a >= CORE_FULL_TOTAL && a <= CORE_FULL_TENANTS));
    return a;
}

static uint32_t some_delay(struct world *w)
{
    return one_in(w, 10) ? below(w, 3000) : 0;
}

/* Half of the jobs come as the weights are: then all tenants of a busy route stay busy for long. */
static uint32_t some_tenant(struct world *w)
{
    if (one_in(w, 2)) {
        return below(w, SIM_TENANTS);
    }
    uint32_t sum = 0;
    for (uint32_t t = 0; t < SIM_TENANTS; t++) {
        sum += w->weights[t];
    }
    uint32_t at = below(w, sum);
    uint32_t tenant = 0;
    for (; at >= w->weights[tenant]; tenant++) {
        at -= w->weights[tenant];
    }
    return tenant;
}

/* Another broker had it, and died when its worker had done it. */
static bool done_elsewhere(struct world *w, struct model *m)
{
    if (!one_in(w, 20)) {
        return false;
    }
    m->starts = 1;
    m->claim = CLAIM_ENDED;
    m->claim_attempt = 1 + below(w, 3);
    m->claim_end = JOB_END_DONE;
    m->claim_code = RESULT_OTP_SENT;
    return true;
}

/* Most send; verifies of a route with fallbacks belong anywhere. */
static void some_op(struct world *w, struct model *m)
{
    static const enum wire_op others[] = {WIRE_OP_VERIFY, WIRE_OP_VERIFY, WIRE_OP_VERIFY,
                                          WIRE_OP_CALLBACK, WIRE_OP_REPORT};
    m->op = one_in(w, 3)   ? others[below(w, ARRAY_LEN(others))]
            : one_in(w, 5) ? WIRE_OP_FLASH_CREATE
                           : WIRE_OP_SEND;
    m->home = one_in(w, 2) ? m->route : below(w, SIM_ROUTES);
}

static void new_job(struct world *w, uint64_t client)
{
    struct model *m = &w->models[w->next_job % SIM_JOBS];
    if (m->live) {
        return;
    }
    *m = (struct model){.number = w->next_job++,
                        .tenant = some_tenant(w),
                        .pri = (uint8_t)below(w, WIRE_PRI_MAX + 1)};
    /* a few routes carry most */
    m->route = one_in(w, 2) ? 0 : below(w, SIM_ROUTES);
    some_op(w, m);
    /* Of a callback that nobody waits for no result is kept: it could not be asked for later. */
    client = one_in(w, 10) && m->op != WIRE_OP_CALLBACK ? 0 : client;
    uint32_t ttl_ms = ttls_ms[below(w, ARRAY_LEN(ttls_ms))];
    bool again = done_elsewhere(w, m);
    uint32_t delay_ms = again ? 0 : some_delay(w);
    char body[32];
    (void)snprintf(body, sizeof(body), "%.*s", SLICE_ARG(model_id(m->number)));
    enum core_admit a = submit(w, m, slice_of(body), client, ttl_ms, delay_ms, again);
    must(a != CORE_DUPLICATE && a != CORE_CONFLICT);
    must((a == CORE_UNKNOWN_ROUTE) == !w->routes[m->route].policy.known);
    if (a == CORE_QUEUED) {
        model_accepted(w, m, ttl_ms);
        model_wait(m, client);
        if (client == 0) {
            must(w->silent_n < SIM_SILENT);
            w->silent[w->silent_n++] = m->number;
        }
    } else {
        m->number = 0;
    }
}

/* A recent job, or NULL. */
static struct model *some_job(struct world *w)
{
    uint32_t back = 1 + below(w, one_in(w, 4) ? 5000 : 50);
    return w->next_job <= back ? NULL : model_of(w, w->next_job - back);
}

/* The same again: by a client that heard nothing, or that reconnected. */
static void repeat(struct world *w, struct model *m, uint64_t client)
{
    char body[32];
    (void)snprintf(body, sizeof(body), "%.*s", SLICE_ARG(model_id(m->number)));
    uint32_t ttl_ms = ttls_ms[below(w, ARRAY_LEN(ttls_ms))];
    bool was_live = m->live;
    if (was_live) {
        model_wait(m, client);
    }
    enum core_admit a = submit(w, m, slice_of(body), client, ttl_ms, 0, !was_live || one_in(w, 2));
    must(a != CORE_CONFLICT && (!was_live || a == CORE_DUPLICATE));
    w->repeats++;
    if (a == CORE_QUEUED) { /* its result was forgotten: the store still knows */
        model_accepted(w, m, ttl_ms);
        model_wait(m, client);
    }
}

static void contradict(struct world *w, struct model *m, uint64_t client)
{
    if (m->live) { /* one that is forgotten would be taken as new */
        must(submit(w, m, SLICE("another body"), client, 1000, 0, true) == CORE_CONFLICT);
        w->conflicts++;
    }
}

static void ask(struct world *w, struct model *m, uint64_t client, bool cancel)
{
    bool was_live = m->live;
    w->direct_client = client;
    struct model before = *m;
    if (was_live) {
        model_wait(m, client);
    }
    enum core_state s = cancel ? core_cancel(w->core, model_id(m->number), client, w->now)
                               : core_get(w->core, model_id(m->number), client, w->now);
    if (cancel && m->live) { /* it did nothing, so nobody waits more than before */
        memcpy(m->waiting, before.waiting, sizeof(m->waiting));
        m->waiting_n = before.waiting_n;
    }
    bool told = w->direct_client == 0;
    w->direct_client = 0;
    must(was_live ? s != CORE_STATE_NONE : s == CORE_STATE_NONE || s == CORE_STATE_ENDED);
    must(told == (!was_live && s == CORE_STATE_ENDED) || was_live);
    must(!(was_live && !cancel) || s != CORE_STATE_ENDED);
}

void client_acts(struct world *w, const struct event *e)
{
    uint64_t client = 1 + below(w, SIM_CLIENTS);
    if (!w->closing) {
        /* by turns a trickle and a flood, so that queues grow and empty */
        bool flood = (w->now / 7000) % 3 == 0;
        world_plan(w, below(w, flood ? 3 : 30), e);
        new_job(w, client);
    }
    struct model *m = some_job(w);
    if (m == NULL || w->closing) {
        return;
    }
    switch (below(w, 40)) {
    case 0:
        repeat(w, m, client);
        break;
    case 1:
        contradict(w, m, client);
        break;
    case 2:
        ask(w, m, client, true);
        break;
    case 3:
        ask(w, m, client, false);
        break;
    default:
        break;
    }
}

static void route_set(struct world *w, uint32_t route, struct core_route_policy p)
{
    struct sim_route *r = &w->routes[route];
    r->policy = p;   /* the names in it are static */
    r->tokens = 1e9; /* cut to the bucket at the next call */
    r->refilled = w->now;
    r->open_until = 0;
    must(core_route_policy(w->core, route_name(route), &p, w->now));
}

void route_open(struct world *w, uint32_t route)
{
    route_set(w, route, (struct core_route_policy){.known = true});
}

static void some_fallbacks(struct world *w, uint32_t route, struct core_route_policy *p)
{
    static const char names[SIM_ROUTES][4] = {"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"};
    uint32_t n = one_in(w, 3) ? 0 : below(w, CORE_FALLBACKS_MAX + 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t other = below(w, SIM_ROUTES); /* twice the same is a mistake that may be made */
        if (other != route) {
            p->fallback[p->fallback_count++] = slice_of(names[other]);
        }
    }
}

void operator_acts(struct world *w, const struct event *e)
{
    if (w->closing) {
        return;
    }
    world_plan(w, 200 + below(w, 2000), e);
    if (one_in(w, 8)) {
        shares_weight(w, below(w, SIM_TENANTS), one_in(w, 3) ? 1 : 1 + below(w, SIM_WEIGHT_MAX));
    }
    struct core_route_policy p = {.known = !one_in(w, 15), .paused = one_in(w, 8)};
    if (one_in(w, 2)) {
        p.calls_per_s = 1 + below(w, 400);
        p.burst = below(w, 20);
    }
    if (one_in(w, 2)) {
        p.calls_at_once = 1 + below(w, 20);
    }
    if (one_in(w, 2)) {
        p.breaker_percent = 10 + below(w, 60);
        p.breaker_calls = 3 + below(w, 10);
        p.breaker_window_ms = 1000 + below(w, 5000);
        p.breaker_open_ms = 100 + below(w, 3000);
    }
    uint32_t route = below(w, SIM_ROUTES);
    some_fallbacks(w, route, &p);
    route_set(w, route, p);
}
