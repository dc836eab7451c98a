/* dispatch.c: what happens when time passes. */
#include "broker/core/internal.h"

/* ---- time ------------------------------------------------------------------------------------ */

static void ready_delayed(struct core *core, uint32_t *budget)
{
    for (; *budget > 0; --*budget) {
        struct job *j = job_heap_top(core, &core->delayed);
        if (j == NULL || time_before(core->now, core->delayed.heap.entries[0].at)) {
            return;
        }
        if (!time_before(core->now, j->deadline)) {
            job_out_of_time(core, j);
        } else if ((j->flags & JOB_SETTLE) != 0) {
            job_settle(core, j);
        } else {
            job_set_state(core, j, JOB_QUEUED);
        }
    }
}

static void expire_lanes(struct core *core, uint32_t *budget)
{
    struct heap *h = &core->expiries;
    while (*budget > 0 && h->count > 0 && !time_before(core->now, h->entries[0].at)) {
        lane_expire(core, h->entries[0].ref, budget);
    }
}

static void expire_settling(struct core *core, uint32_t *budget)
{
    for (; *budget > 0; --*budget) {
        struct job *j = job_heap_top(core, &core->settling);
        if (j == NULL || time_before(core->now, j->deadline)) {
            return;
        }
        job_out_of_time(core, j);
    }
}

static void end_doomed(struct core *core, uint32_t *budget)
{
    for (; *budget > 0; --*budget) {
        struct list *turn = list_first(&core->doomed);
        if (turn == NULL) {
            return;
        }
        struct route *r = list_owner(turn, struct route, turn);
        struct job *j = route_next(core, r);
        if (j->more != NULL && j->more->asked != NULL &&
            move_on(core, j, RESULT_INTEGRATION_NOT_FOUND)) {
            continue;
        }
        if ((j->flags & JOB_MAYBE_STARTED) != 0) {
            job_settle(core, j);
        } else {
            job_end_plain(core, j, JOB_END_REFUSED, RESULT_INTEGRATION_NOT_FOUND);
        }
    }
}

static void wake_routes(struct core *core)
{
    struct heap *h = &core->wakeups;
    while (h->count > 0 && !time_before(core->now, h->entries[0].at)) {
        route_refresh(core, table_at(&core->routes, heap_pop(h).ref));
    }
}

/* A worker that is alive and yet never answers: its result was lost on the way. The jobs looked at
 * go to the end of the worker's list, so that in time all are. */
static void sweep_worker(struct core *core, struct worker *w)
{
    uint32_t n = w->jobs.count < SWEEP_JOBS ? w->jobs.count : SWEEP_JOBS;
    for (; n > 0; n--) {
        struct job *j = job_at(core, w->jobs.first);
        if (time_before(core->now, j->deadline + OVERDUE_MS)) {
            job_list_remove(core, &w->jobs, j);
            job_list_push(core, &w->jobs, j);
        } else {
            job_take_back(core, j);
        }
    }
}

static void sweep(struct core *core)
{
    if (core->in_flight == 0 || time_before(core->now, core->sweep)) {
        return;
    }
    core->sweep = core->now + SWEEP_MS;
    for (uint32_t i = 0; i < core->limits.workers_max; i++) {
        sweep_worker(core, &core->workers[i]);
    }
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static void send(struct core *core, struct worker *w, struct job *j)
{
    bool settle = (j->flags & JOB_SETTLE) != 0;
    j->worker = (uint16_t)(w - core->workers);
    job_set_state(core, j, JOB_DISPATCHED);
    j->flags &= (uint16_t)~JOB_AHEAD;
    j->dispatches++;
    worker_spend(core, w);
    const struct flow *f = j->lane->flow;
    const struct route *asked = job_asked(j);
    struct wire_job out = {
        .id = job_id(j),
        .route = route_name_of(asked),
        .via = f->route == asked ? (struct slice){NULL, 0} : route_name_of(f->route),
        .moved = settle || j->more == NULL ? RESULT_NONE : (enum result_code)j->more->moved,
        .tenant = slice_make(f->tenant->name, f->tenant->name_n),
        .trace = job_trace(j),
        .op = (enum wire_op)j->op,
        .attempt = j->attempt,
        .ttl_ms = settle ? 0 : j->deadline - core->now,
        .queued_ms = core->now - j->accepted,
    };
    core->effects.dispatch(core->effects.context, j->worker, &out, job_body(j));
}

static void turn_of(struct core *core, struct route *r)
{
    if (core->sharing) { /* its part may have lapsed while this process stood still */
        route_refresh(core, r);
        if (r->where != ROUTE_READY) {
            return;
        }
    }
    struct job *j = route_next(core, r);
    if (!time_before(core->now, job_expires(j))) {
        job_out_of_time(core, j);
        return;
    }
    bool wanted = r->shut && r->policy.fallback_count > 0;
    if ((j->flags & JOB_LOOK) != 0 && !wanted) { /* the route or its record changed meanwhile */
        look_over(core, j, JOB_QUEUED);
        return;
    }
    if (job_held(core, j)) {
        return;
    }
    route_job_out(core, r, j);
    send(core, worker_next(core), j);
}

static void dispatch(struct core *core, uint32_t dispatch_max)
{
    for (uint32_t n = 0; n < dispatch_max && worker_next(core) != NULL; n++) {
        struct job *unsettled = job_heap_top(core, &core->settling);
        if (unsettled != NULL && !store_unsure(core)) {
            send(core, worker_next(core), unsettled);
            continue;
        }
        struct list *turn = list_first(&core->ready);
        if (turn == NULL) {
            return;
        }
        list_remove(turn);
        list_push(&core->ready, turn);
        turn_of(core, list_owner(turn, struct route, turn));
    }
}

/* ---- wake-up --------------------------------------------------------------------------------- */

struct wake {
    const struct core *core; /* whose times */
    int32_t in_ms;           /* the least so far */
    bool any;                /* something was considered */
};

static void consider(struct wake *w, uint32_t at)
{
    int32_t in_ms = (int32_t)(at - w->core->now);
    if (!w->any || in_ms < w->in_ms) {
        w->in_ms = in_ms;
        w->any = true;
    }
}

static int64_t next_wake(const struct core *core)
{
    struct wake w = {.core = core};
    if (!list_empty(&core->doomed) || !list_empty(&core->sifting)) {
        return core->now_ms;
    }
    if (!list_empty(&core->free_workers) &&
        (!list_empty(&core->ready) || (core->settling.heap.count > 0 && !store_unsure(core)))) {
        return core->now_ms;
    }
    if (core->delayed.heap.count > 0) {
        consider(&w, core->delayed.heap.entries[0].at);
    }
    if (core->expiries.count > 0) {
        consider(&w, core->expiries.entries[0].at);
    }
    if (core->wakeups.count > 0) {
        consider(&w, core->wakeups.entries[0].at);
    }
    if (core->settling.heap.count > 0) {
        consider(&w, core->settling.heap.entries[0].at);
        if (store_unsure(core)) {
            consider(&w, (uint32_t)core->hold_until_ms);
        }
    }
    if (core->in_flight > 0) {
        consider(&w, core->sweep);
    }
    uint32_t at;
    if (results_wake(core, &at)) {
        consider(&w, at + SWEEP_MS); /* no hurry: what is too old is not given out anyway */
    }
    return !w.any ? INT64_MAX : core->now_ms + (w.in_ms > 0 ? w.in_ms : 0);
}

int64_t core_step(struct core *core, int64_t now_ms, uint32_t dispatch_max)
{
    core_tick(core, now_ms);
    uint32_t budget = STEP_EXPIRES_MAX;
    ready_delayed(core, &budget);
    expire_lanes(core, &budget);
    expire_settling(core, &budget);
    end_doomed(core, &budget);
    sweep(core);
    wake_routes(core);
    sift_step(core, &budget);
    results_expire(core);
    dispatch(core, dispatch_max);
    return next_wake(core);
}
