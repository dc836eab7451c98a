/* actors.c: workers, and the claim store that decides between them. */
#include "tests/sim/world.h"

static bool alive_as(const struct world *w, const struct event *e)
{
    const struct sim_worker *s = &w->workers[e->worker];
    return s->alive && s->life == e->life;
}

/* ---- messages to the broker ------------------------------------------------------------------ */

static void tell(struct world *w, const struct event *cause, enum message message, enum job_end end,
                 enum result_code code)
{
    struct event e = *cause;
    e.kind = EVENT_MESSAGE;
    e.message = message;
    e.end = end;
    e.code = code;
    world_plan(w, below(w, SIM_LATENCY_MS), &e);
}

/* One job less in hand: cumulative credit, told a little later. */
static void tell_credit(struct world *w, const struct event *cause)
{
    struct sim_worker *s = &w->workers[cause->worker];
    s->earned++;
    struct event e = {.kind = EVENT_MESSAGE,
                      .message = MESSAGE_CREDIT,
                      .worker = cause->worker,
                      .life = cause->life,
                      .credit = s->earned};
    world_plan(w, below(w, 2 * SIM_LATENCY_MS), &e);
}

static void tell_result(struct world *w, const struct event *cause, const struct model *m)
{
    must(m->claim == CLAIM_ENDED);
    if (one_in(w, 200)) { /* lost on the way: the broker must find out by itself */
        w->lost++;
        struct event e = *cause;
        int64_t from = m->deadline + OVERDUE_MS - w->now;
        e.kind = EVENT_LOST;
        world_plan(w, from > 0 ? (uint32_t)from : 0, &e);
    } else {
        tell(w, cause, MESSAGE_RESULT, m->claim_end, m->claim_code);
    }
    tell_credit(w, cause);
}

static void give_back(struct world *w, const struct event *cause, uint32_t delay_ms,
                      enum result_code code)
{
    struct event e = *cause;
    e.delay_ms = delay_ms;
    tell(w, &e, MESSAGE_BACK, JOB_END_REFUSED, code);
    tell_credit(w, cause);
}

void result_lost(struct world *w, const struct event *e)
{
    struct model *m = model_of(w, e->job);
    if (m != NULL && m->calling && m->worker == e->worker && m->attempt == e->attempt) {
        model_call_over(w, m);
    }
}

/* The next integration of the list of the route asked for, as route + 1; 0: none. */
static uint32_t next_of(const struct world *w, const struct model *m, uint32_t lane)
{
    const struct core_route_policy *p = &w->routes[m->route].policy;
    uint32_t i = 0;
    if (lane != m->route) {
        while (i < p->fallback_count && p->fallback[i].p[1] != (char)('0' + lane)) {
            i++;
        }
        i++;
    }
    return i < p->fallback_count ? (uint32_t)(p->fallback[i].p[1] - '0') + 1 : 0;
}

/* Certainly nothing was sent there: the next one, if there is one. */
static void give_back_refused(struct world *w, const struct event *e, const struct model *m)
{
    struct event back = *e;
    back.via = m->op == WIRE_OP_VERIFY ? 0 : next_of(w, m, e->lane); /* callbacks: by mistake */
    bool not_eligible = back.via != 0 && one_in(w, 2);
    give_back(w, &back, back.via != 0 ? 0 : below(w, 300),
              not_eligible ? RESULT_NOT_ELIGIBLE : RESULT_ADVERTISER_UNREACHABLE);
}

/* A verify belongs in the lane of its send; one to be looked up calls nobody anyway. */
static bool verify_elsewhere(struct world *w, const struct event *e, const struct model *m)
{
    if (m->op != WIRE_OP_VERIFY || e->deadline == 0) {
        return false;
    }
    if (m->home != e->lane) {
        struct event back = *e;
        back.via = m->home + 1;
        give_back(w, &back, 0, one_in(w, 2) ? RESULT_NONE : RESULT_ADVERTISER_UNREACHABLE);
        return true;
    }
    if (e->look != RESULT_NONE) {
        give_back(w, e, below(w, 1000), one_in(w, 5) ? RESULT_NONE : e->look);
    }
    return e->look != RESULT_NONE;
}

/* ---- the store ------------------------------------------------------------------------------- */

static void store_end(struct model *m, enum job_end end, enum result_code code)
{
    m->claim = CLAIM_ENDED;
    m->claim_end = end;
    m->claim_code = code;
}

static bool claim_is_mine(const struct model *m, const struct event *e)
{
    return m->claim == CLAIM_STARTED && m->claim_worker == e->worker && m->claim_life == e->life &&
           m->claim_attempt == e->attempt;
}

/* Worker side: asks for the claim, and acts on the answer. */
void worker_receive(struct world *w, const struct event *e)
{
    struct model *m = model_of(w, e->job);
    if (!alive_as(w, e) || m == NULL) {
        return;
    }
    if (!w->store_up) {
        give_back(w, e, below(w, 100), RESULT_STORE_UNAVAILABLE);
        return;
    }
    if (m->claim == CLAIM_STARTED && w->now >= m->lease_until) {
        store_end(m, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    }
    if (m->claim == CLAIM_ENDED) {
        tell_result(w, e, m);
    } else if (m->claim == CLAIM_STARTED) {
        world_plan(w, 50 + below(w, 100), e); /* elsewhere: ask again */
    } else if (e->attempt <= m->claim_attempt) {
        give_back(w, e, 0, RESULT_NONE); /* stale */
    } else if (w->now >= e->deadline) {
        store_end(m, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
        tell_result(w, e, m);
    } else if (verify_elsewhere(w, e, m)) {
        return;
    } else if (!op_calls(m->op)) { /* done in the store, and that is all */
        model_start(w, m);
        store_end(m, JOB_END_DONE, RESULT_OTP_VERIFIED);
        tell_result(w, e, m);
    } else {
        m->claim = CLAIM_STARTED;
        m->claim_attempt = e->attempt;
        m->claim_worker = e->worker;
        m->claim_life = e->life;
        m->lease_until = w->now + SIM_CALL_MS + 2000;
        tell(w, e, MESSAGE_STARTED, JOB_END_DONE, RESULT_NONE);
        struct event call = *e;
        call.kind = EVENT_CALL_END;
        bool refused_connection = one_in(w, 20);
        call.code = refused_connection ? RESULT_ADVERTISER_UNREACHABLE : RESULT_OTP_SENT;
        if (!refused_connection) {
            model_start(w, m);
        }
        int64_t left = e->deadline - w->now;
        uint32_t most = left < SIM_CALL_MS ? (uint32_t)left : SIM_CALL_MS;
        world_plan(w, one_in(w, 10) ? most : below(w, most / 4 + 1), &call);
    }
}

void worker_call_end(struct world *w, const struct event *e)
{
    struct model *m = model_of(w, e->job);
    if (!alive_as(w, e) || m == NULL) {
        return;
    }
    if (!w->store_up) { /* try again: the claim stands */
        world_plan(w, 50, e);
        return;
    }
    if (!claim_is_mine(m, e)) {
        if (m->claim == CLAIM_ENDED) {
            tell_result(w, e, m); /* the lease ran out: what is there counts */
        }
        return;
    }
    if (e->code == RESULT_ADVERTISER_UNREACHABLE) {
        m->claim = CLAIM_FREE; /* provably nothing sent */
        give_back_refused(w, e, m);
        return;
    }
    switch (below(w, 10)) {
    case 0:
        store_end(m, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
        break;
    case 1:
        store_end(m, JOB_END_REFUSED, RESULT_ADVERTISER_REFUSED);
        break;
    default:
        store_end(m, JOB_END_DONE, RESULT_OTP_SENT);
        break;
    }
    tell_result(w, e, m);
}

void store_toggle(struct world *w, const struct event *e)
{
    w->store_up = !w->store_up || w->closing;
    world_plan(w, w->store_up ? 20000 + below(w, 40000) : 200 + below(w, 3000), e);
}

/* ---- lives of workers ------------------------------------------------------------------------ */

void worker_join(struct world *w, uint32_t worker)
{
    struct sim_worker *s = &w->workers[worker];
    must(!s->joined);
    s->joined = true;
    s->received = 0;
    s->credit = s->capacity;
    s->earned = s->capacity;
    core_worker_joined(w->core, worker, w->now);
    core_worker_credit(w->core, worker, s->credit, w->now);
}

static void forget_calls_of(struct world *w, uint32_t worker)
{
    for (uint32_t i = 0; i < SIM_JOBS; i++) {
        struct model *m = &w->models[i];
        if (m->calling && m->worker == worker) {
            model_call_over(w, m);
        }
    }
}

/* The broker finds out that a worker is silent: dead, or cut off and alive. */
void worker_found_gone(struct world *w, const struct event *e)
{
    struct sim_worker *s = &w->workers[e->worker];
    if (!s->joined || s->life != e->life) {
        return;
    }
    forget_calls_of(w, e->worker);
    s->joined = false;
    core_worker_gone(w->core, e->worker, w->now);
}

void worker_life(struct world *w, const struct event *e)
{
    struct sim_worker *s = &w->workers[e->worker];
    struct event gone = {.kind = EVENT_WORKER_GONE, .worker = e->worker, .life = s->life};
    if (!s->alive && !s->joined) { /* comes back as a new process */
        s->alive = true;
        s->life++;
        worker_join(w, e->worker);
        world_plan(w, 5000 + below(w, 60000), e);
    } else if (s->alive && !s->joined) { /* was cut off: says hello again, its calls go on */
        worker_join(w, e->worker);
        world_plan(w, 5000 + below(w, 60000), e);
    } else if (w->closing) {
        world_plan(w, 1000, e);
    } else {
        w->deaths++;
        s->alive = one_in(w, 3); /* else only cut off */
        world_plan(w, SIM_SILENCE_MS, &gone);
        world_plan(w, SIM_SILENCE_MS + 1 + below(w, 4000), e);
    }
}

/* ---- what reaches the broker ----------------------------------------------------------------- */

static void message_back(struct world *w, const struct event *e, struct model *m)
{
    char via[4] = "";
    if (e->via != 0) {
        (void)snprintf(via, sizeof(via), "r%u", (e->via - 1) % 10);
    }
    struct wire_give_back b = {.id = model_id(e->job),
                               .via = slice_of(via),
                               .attempt = e->attempt,
                               .attempt_seen = m->claim_attempt,
                               .delay_ms = e->delay_ms,
                               .code = e->code};
    bool mine = m->calling && m->worker == e->worker && m->attempt == e->attempt;
    if (core_given_back(w->core, e->worker, &b, w->now) && mine) {
        model_call_over(w, m);
    }
}

void broker_message(struct world *w, const struct event *e)
{
    struct sim_worker *s = &w->workers[e->worker];
    if (e->message == MESSAGE_CREDIT) {
        if (s->joined && s->life == e->life && e->credit <= s->earned) {
            s->credit = e->credit > s->credit ? e->credit : s->credit;
            core_worker_credit(w->core, e->worker, e->credit, w->now);
        }
        return;
    }
    struct model *m = model_of(w, e->job);
    if (m == NULL) {
        return;
    }
    if (e->message == MESSAGE_RESULT) {
        struct slice id = model_id(e->job);
        struct wire_result r = {.id = id, .end = e->end, .code = e->code};
        bool was_live = m->live;
        must(core_result(w->core, e->worker, &r, id, w->now) == was_live);
        model_ask_silent(w);
        must(!m->live);
        return;
    }
    if (!s->joined || s->life != e->life) {
        return; /* from a former life: the shell knows no such worker */
    }
    if (e->message == MESSAGE_STARTED) {
        (void)core_started(w->core, e->worker, model_id(e->job), e->attempt, w->now);
    } else {
        message_back(w, e, m);
    }
}
