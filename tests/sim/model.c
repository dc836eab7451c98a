#include "tests/sim/world.h"

struct model *model_of(struct world *w, uint64_t number)
{
    struct model *m = &w->models[number % SIM_JOBS];
    return m->number == number ? m : NULL;
}

struct slice model_id(uint64_t number)
{
    static char text[32];
    int n = snprintf(text, sizeof(text), "j%llu", (unsigned long long)number);
    return slice_make(text, (size_t)n);
}

struct slice route_name(uint32_t route)
{
    static char text[4];
    (void)snprintf(text, sizeof(text), "r%u", route % 10);
    return slice_of(text);
}

static struct model *model_named(struct world *w, struct slice id)
{
    uint64_t number;
    must(id.n > 1 && slice_to_u64(slice_make(id.p + 1, id.n - 1), UINT64_MAX, &number));
    struct model *m = model_of(w, number);
    must(m != NULL);
    return m;
}

void model_accepted(struct world *w, struct model *m, uint32_t ttl_ms)
{
    must(!m->live);
    m->live = true;
    m->ended = false;
    m->broker_end = false;
    m->deadline = w->now + ttl_ms;
    m->waiting_n = 0;
    m->sent_attempt = 0;
    m->lane = m->route;
    w->accepted++;
    w->live++;
}

void model_wait(struct model *m, uint64_t client)
{
    if (client == 0) { /* nobody */
        return;
    }
    for (uint32_t i = 0; i < m->waiting_n; i++) {
        if (m->waiting[i] == client) {
            return;
        }
    }
    if (m->waiting_n == CORE_WAITERS_MAX) {
        m->waiting_n--;
        memmove(m->waiting, m->waiting + 1, m->waiting_n * sizeof(m->waiting[0]));
    }
    m->waiting[m->waiting_n++] = client;
}

void model_call_over(struct world *w, struct model *m)
{
    if (m->calling) {
        m->calling = false;
        must(w->routes[m->lane].calls > 0);
        w->routes[m->lane].calls--;
    }
}

void model_start(struct world *w, struct model *m)
{
    must(m->starts == 0);                            /* never twice */
    must(!m->broker_end);                            /* not after the broker said: never started */
    must(w->now < m->deadline + 2 * SIM_LATENCY_MS); /* not when it is too late */
    m->starts++;
    w->starts++;
}

/* ---- the gates, as an outsider sees them ----------------------------------------------------- */

static void check_rate(struct world *w, struct sim_route *r)
{
    const struct core_route_policy *p = &r->policy;
    if (p->calls_per_s == 0) {
        return;
    }
    double bucket = p->burst != 0 ? p->burst : p->calls_per_s;
    double least = (p->calls_per_s + 999) / 1000;
    bucket = bucket > least ? bucket : least;
    r->tokens += (double)(w->now - r->refilled) * p->calls_per_s / 1000;
    r->tokens = r->tokens > bucket ? bucket : r->tokens;
    r->refilled = w->now;
    r->tokens -= 1;
    must(r->tokens > -0.001);
}

static void check_gates(struct world *w, struct model *m, const struct wire_job *job)
{
    struct sim_route *r = &w->routes[m->lane];
    const struct core_route_policy *p = &r->policy;
    must(p->known && !p->paused);
    must(w->now < m->deadline && job->ttl_ms == m->deadline - w->now);
    r->calls++;
    must(p->calls_at_once == 0 || r->calls <= p->calls_at_once);
    check_rate(w, r);
    const struct route *route = route_find(w->core, job->via.n > 0 ? job->via : job->route);
    must(route->breaker.state != BREAKER_OPEN);
    shares_sent(w, route, m);
}

static uint32_t route_number(struct slice name)
{
    must(name.n == 2 && name.p[0] == 'r');
    return (uint32_t)(name.p[1] - '0');
}

/* What a verify is sent out for to be looked up: its route takes no calls, and has fallbacks. */
static void check_look(struct world *w, const struct model *m, const struct wire_job *job)
{
    const struct route *r = route_find(w->core, job->route);
    must(m->op == WIRE_OP_VERIFY && m->lane == m->route);
    must(r->shut && r->policy.known && r->policy.fallback_count > 0);
    w->looks++;
}

/* Where it goes: the route asked for never changes, and only what may begin elsewhere moves. */
static void look_where(struct world *w, struct model *m, const struct wire_job *job)
{
    must(route_number(job->route) == m->route);
    must(!slice_eq(job->route, job->via));
    m->lane = job->via.n > 0 ? route_number(job->via) : m->route;
    must(m->lane == m->route || (op_calls(m->op) && m->op != WIRE_OP_CALLBACK));
    w->moved += m->lane != m->route;
}

void on_dispatch(void *context, uint32_t worker, const struct wire_job *job, struct slice body)
{
    struct world *w = context;
    struct model *m = model_named(w, job->id);
    struct sim_worker *s = &w->workers[worker];
    must(m->live);
    must(s->joined && s->received < s->credit);
    must(slice_eq(body, job->id));        /* every body is its id, so that none can be mixed up */
    must(job->attempt > m->sent_attempt); /* or the store takes it for an old one */
    m->sent_attempt = job->attempt;
    s->received++;
    model_call_over(w, m); /* had it been elsewhere: the broker gave that up */
    look_where(w, m, job);
    bool look = m->op == WIRE_OP_VERIFY && job->moved != RESULT_NONE;
    struct event e = {.kind = EVENT_RECEIVE,
                      .worker = worker,
                      .life = s->life,
                      .job = m->number,
                      .attempt = job->attempt,
                      .lane = m->lane};
    if (job->ttl_ms == 0) {
        w->settled++;
    } else if (look || !op_calls(m->op)) {
        w->free += !look;
        e.look = look ? job->moved : RESULT_NONE;
        e.deadline = w->now + job->ttl_ms;
        if (look) {
            check_look(w, m, job);
        }
    } else {
        check_gates(w, m, job);
        m->calling = true;
        m->worker = worker;
        m->attempt = job->attempt;
        e.deadline = w->now + job->ttl_ms;
    }
    world_plan(w, below(w, SIM_LATENCY_MS), &e);
}

/* An end that the store did not decide: the broker must know that the job never started. */
static bool by_broker(const struct model *m, enum job_end end)
{
    return m->claim != CLAIM_ENDED && end != JOB_END_UNKNOWN;
}

void on_answer(void *context, uint64_t client, const struct wire_result *r, struct slice body)
{
    struct world *w = context;
    struct model *m = model_named(w, r->id);
    must(client != 0);
    must(body.n == 0 || slice_eq(body, r->id));
    if (m->live) {
        m->live = false;
        m->ended = true;
        m->end = r->end;
        m->code = r->code;
        m->broker_end = by_broker(m, r->end);
        must(!m->broker_end || m->starts == 0);
        must(m->claim != CLAIM_ENDED || r->end == m->claim_end || r->end == JOB_END_UNKNOWN);
        must(r->end != JOB_END_DONE || m->starts == 1);
        model_call_over(w, m);
        w->live--;
        w->ended[r->end]++;
    }
    must(m->ended && m->end == r->end && m->code == r->code);
    if (m->waiting_n == 0) {
        must(w->direct_client == client);
        w->direct_client = 0;
        return;
    }
    must(m->waiting[0] == client); /* all are told once, in order */
    m->waiting_n--;
    memmove(m->waiting, m->waiting + 1, m->waiting_n * sizeof(m->waiting[0]));
}

/* An open breaker stays open for its time, whatever ends meanwhile. */
static void check_breaker(struct world *w, uint32_t index)
{
    struct sim_route *r = &w->routes[index];
    const struct route *route = route_find(w->core, route_name(index));
    if (route != NULL && route->breaker.state == BREAKER_OPEN) {
        r->open_until = route->breaker.since_ms;
    } else {
        must(route == NULL || r->open_until <= w->now); /* forgotten with its route: no matter */
        r->open_until = 0;
    }
}

void model_ask_silent(struct world *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->silent_n; i++) {
        uint64_t number = w->silent[i];
        struct model *m = model_of(w, number);
        if (m == NULL || !m->live) {
            continue; /* somebody asked */
        }
        enum core_state s = core_get(w->core, model_id(number), 0, w->now);
        must(s != CORE_STATE_NONE);
        if (s == CORE_STATE_ENDED) {
            must(m->waiting_n == 0);
            w->direct_client = SIM_SPY;
            must(core_get(w->core, model_id(number), SIM_SPY, w->now) == CORE_STATE_ENDED);
            must(w->direct_client == 0 && !m->live);
        } else {
            w->silent[kept++] = number;
        }
    }
    w->silent_n = kept;
}

/* Every job that left a lane came to another. */
static void check_moves(struct world *w)
{
    struct core_route_stats r;
    for (size_t at = 0; core_route_stats(w->core, &at, w->now, &r);) {
        must(r.moved_out <= r.accepted + r.moved_in);
    }
}

void model_check(struct world *w)
{
    check_moves(w);
    for (uint32_t route = 0; route < SIM_ROUTES; route++) {
        check_breaker(w, route);
    }
    struct core_stats s;
    core_stats(w->core, w->now, &s);
    must(s.queued + s.delayed + s.in_flight == w->live);
    must(s.accepted == w->accepted);
    for (uint32_t end = 0; end < JOB_ENDS; end++) {
        must(s.ended[end] == w->ended[end]);
    }
    uint64_t ends = 0;
    for (uint32_t end = 0; end < JOB_ENDS; end++) {
        ends += w->ended[end];
    }
    must(w->accepted == ends + w->live);
}
