/* inspect.c: figures for people and machines, and the check of all that must hold. */
#include "broker/core/internal.h"

/* ---- statistics ------------------------------------------------------------------------------ */

static int64_t oldest_ms(const struct core *core, const struct route *r, int64_t now_ms)
{
    if (r->waiting.first == NO_JOB) {
        return 0;
    }
    return (int64_t)((uint32_t)now_ms - job_at(core, r->waiting.first)->at);
}

void core_stats(const struct core *core, int64_t now_ms, struct core_stats *out)
{
    *out = (struct core_stats){
        .queued = core->live - core->in_flight - (core->delayed.heap.count - core->delayed.holes) -
                  core->storing - core->unshelving,
        .delayed = core->delayed.heap.count - core->delayed.holes,
        .in_flight = core->in_flight,
        .storing = core->storing,
        .unshelving = core->unshelving,
        .stored = core->shelved - core->storing,
        .results_kept = core->results.count,
        .results_bytes = core->results.bytes,
        .bytes = core->bytes,
        .accepted = core->accepted,
        .adopted = core->adopted,
        .handed_over = core->handed_over,
        .duplicates = core->duplicates,
        .conflicts = core->conflicts,
        .refused_full = core->refused_full,
        .redispatched = core->redispatched,
        .workers = core->worker_count,
        .routes = table_count(&core->routes),
        .tenants = core->tenants_busy,
        .credit_free = core->credit_free,
    };
    memcpy(out->ended, core->ended, sizeof(out->ended));
    for (uint32_t at = 1; at <= core->routes.used; at++) {
        const struct route *r = table_at(&core->routes, at);
        int64_t age = r == NULL ? 0 : oldest_ms(core, r, now_ms);
        out->oldest_ms = age > out->oldest_ms ? age : out->oldest_ms;
    }
}

bool core_route_stats(const struct core *core, size_t *at, int64_t now_ms,
                      struct core_route_stats *out)
{
    const struct route *r = NULL;
    while (r == NULL && *at < core->routes.used) {
        r = table_at(&core->routes, (uint32_t)++ * at);
    }
    if (r == NULL) {
        return false;
    }
    *out = (struct core_route_stats){
        .name = slice_make(r->name, r->name_n),
        .queued = r->waiting.count,
        .delayed = r->delayed,
        .in_flight = r->calls + r->settling,
        .storing = r->storing,
        .unshelving = r->unshelving,
        .on_shelf = r->shelved - r->storing,
        .oldest_ms = oldest_ms(core, r, now_ms),
        .accepted = r->accepted,
        .adopted = r->adopted,
        .handed_over = r->handed_over,
        .done = r->ended[JOB_END_DONE],
        .refused = r->ended[JOB_END_REFUSED],
        .unknown = r->ended[JOB_END_UNKNOWN],
        .expired = r->ended[JOB_END_EXPIRED],
        .cancelled = r->ended[JOB_END_CANCELLED],
        .redispatched = r->redispatched,
        .moved_out = r->moved_out,
        .moved_in = r->moved_in,
        .paused = r->policy.paused,
        .held = r->policy.held,
        .closed = r->policy.closed,
        .stored = r->policy.stored,
        .breaker = (int)r->breaker.state,
    };
    return true;
}

/* ---- check ----------------------------------------------------------------------------------- */

/* What is counted while walking over all jobs, to be compared with what the core says. */
struct tally {
    uint64_t by_state[JOB_STATES]; /* jobs */
    uint64_t bytes;                /* of jobs */
    uint64_t jobs;                 /* live */
    uint64_t away;                 /* of them: not in the lane of the route asked for */
    uint64_t shelved;              /* of them: with a shelf */
};

static void check_more(const struct core *core, const struct job *j)
{
    const struct job_more *more = j->more;
    if (more == NULL) {
        return;
    }
    must(more->moves <= CORE_MOVES_MAX && more->waiter_count <= ARRAY_LEN(more->clients));
    must(more->asked == NULL || more->moves > 0);
    must(more->ending == NULL || j->state == JOB_STORING || j->state == JOB_UNSHELVING);
    must(more->asked != job_route(j));
    must(more->asked == NULL || table_at(&core->routes, more->asked->slot) == more->asked);
}

static void check_job(const struct core *core, const struct job *j, struct tally *t)
{
    struct index_walk w = index_walk(&core->ids, j->hash);
    uint32_t ref = index_next(&w);
    while (ref != 0 && ref != j->slot) {
        ref = index_next(&w);
    }
    must(ref == j->slot);
    must(j->state > JOB_NEW && j->state < JOB_ENDED);
    bool in_flight = j->state == JOB_DISPATCHED || j->state == JOB_STARTED;
    must(in_flight == (j->worker != NO_WORKER));
    must(!in_flight || core->workers[j->worker].alive);
    must((j->flags & JOB_SETTLE) == 0 || (j->flags & JOB_MAYBE_STARTED) != 0);
    must((j->flags & JOB_SETTLE) == 0 || j->state != JOB_QUEUED);
    must((j->flags & JOB_PROBE) == 0 || (in_flight && job_calls(j)));
    bool look = (j->flags & JOB_LOOK) != 0;
    must((j->lane->band == FREE_BAND) == (look || !op_calls((enum wire_op)j->op)));
    must(!look || j->op == WIRE_OP_VERIFY);
    must(!look || j->state != JOB_DELAYED || (j->flags & JOB_SETTLE) != 0);
    check_more(core, j);
    bool unshelving = j->state == JOB_UNSHELVING;
    must(j->shelf != 0 || (j->state != JOB_STORING && !unshelving));
    must(!unshelving || (j->more != NULL && j->more->ending != NULL));
    must((j->flags & JOB_FORGOTTEN) == 0 || in_flight || unshelving);
    must((j->flags & JOB_BEREAVED) == 0 || (j->flags & JOB_MAYBE_STARTED) != 0);
    must(j->state != JOB_SETTLING || (j->flags & JOB_SETTLE) != 0);
    must(j->dispatches <= core->limits.attempts_max);
    t->by_state[j->state]++;
    t->jobs++;
    t->shelved += j->shelf != 0;
    t->away += job_asked(j) != job_route(j);
    t->bytes += job_size(j->id_n, j->trace_n, j->body_n);
}

static uint32_t check_list(const struct core *core, const struct job_list *l)
{
    uint32_t count = 0;
    uint32_t before = NO_JOB;
    for (uint32_t at = l->first; at != NO_JOB; at = job_at(core, at)->next) {
        must(job_at(core, at)->prev == before);
        before = at;
        count++;
    }
    must(before == l->last && count == l->count);
    return count;
}

/* The live entries of a heap, all in this state. */
static uint32_t check_heap(const struct core *core, const struct job_heap *h, enum job_state state)
{
    uint32_t live = 0;
    for (uint32_t i = 0; i < h->heap.count; i++) {
        const struct heap_entry *e = &h->heap.entries[i];
        must(i == 0 || !time_before(e->at, h->heap.entries[(i - 1) / 4].at));
        if (core->slots[e->ref] != NULL) {
            must(job_at(core, e->ref)->state == state);
            live++;
        }
    }
    must(live + h->holes == h->heap.count);
    must(h->heap.count == 0 || core->slots[h->heap.entries[0].ref] != NULL);
    return live;
}

static uint32_t check_flow(const struct core *core, const struct flow *f)
{
    uint32_t queued = 0;
    for (uint32_t band = 0; band < LANE_BANDS; band++) {
        const struct lane *lane = &f->lanes[band];
        uint32_t jobs =
            check_heap(core, &lane->jobs, JOB_QUEUED) + check_heap(core, &lane->ahead, JOB_QUEUED);
        must(jobs == lane_count(lane));
        must((jobs == 0) == list_empty(&lane->turn));
        must(lane->deficit < CORE_WEIGHT_MAX);
        must(lane->deficit == 0 || f->route->bands[band].lanes.next == &lane->turn);
        must(jobs == 0 || heap_has(&core->expiries, f->slot * LANE_BANDS + band));
        queued += jobs;
    }
    must(queued <= f->waiting && f->waiting <= f->jobs);
    must((f->jobs == 0) == !list_empty(&f->idle));
    return queued;
}

/* No route with jobs is forgotten: if no call of its own can wake it, time can. */
static void check_gates(const struct core *core, const struct route *r)
{
    if (r->waiting.count == 0) {
        return;
    }
    must(r->policy.known || r->where == ROUTE_DOOMED);
    must(!r->policy.known || r->free_waiting == 0 || r->where == ROUTE_READY);
    must(list_empty(&r->hungry) || core->sharing);
    if (r->policy.known && !r->policy.paused && r->calls == 0 && !core->sharing) {
        must(r->where == ROUTE_READY || heap_has(&core->wakeups, r->slot));
    }
}

/* A shut route whose jobs might go on elsewhere is looked through, now or when another opens. */
static void check_sift(const struct core *core, const struct route *r)
{
    must(r->shut || !route_shut(core, r));
    must(r->sift == NO_JOB || (r->shut && !list_empty(&r->sift_turn)));
    must(r->sift == NO_JOB ||
         (job_at(core, r->sift)->state == JOB_QUEUED && job_route(job_at(core, r->sift)) == r));
    must(!r->stuck || !list_empty(&r->sift_turn));
    for (uint32_t at = r->waiting.first; at != NO_JOB; at = job_at(core, at)->next) {
        const struct job *j = job_at(core, at);
        /* A guest whose own route names others only now waits for some route to open. */
        bool begins = j->op == WIRE_OP_SEND || j->op == WIRE_OP_FLASH_CREATE;
        bool asks = j->op == WIRE_OP_VERIFY && (j->flags & (JOB_LOOK | JOB_LOOKED)) == 0;
        bool left = j->more == NULL || j->more->moves < CORE_MOVES_MAX;
        bool wants = (asks || (begins && left)) && (j->flags & JOB_WAS_STARTED) == 0 &&
                     job_asked(j) == r && r->policy.fallback_count > 0;
        must(!r->shut || !r->policy.known || !wants || r->stuck || !list_empty(&r->sift_turn));
    }
}

static void check_routes(const struct core *core, const struct tally *t)
{
    uint64_t waiting = 0;
    uint64_t delayed = 0;
    uint64_t calls = 0;
    uint64_t settling = 0;
    uint64_t queued = 0;
    uint64_t away = 0;
    uint64_t storing = 0;
    uint64_t unshelving = 0;
    uint64_t shelved = 0;
    for (uint32_t at = 1; at <= core->routes.used; at++) {
        const struct route *r = table_at(&core->routes, at);
        if (r == NULL) {
            continue;
        }
        waiting += check_list(core, &r->waiting);
        delayed += r->delayed;
        calls += r->calls;
        settling += r->settling;
        must((r->where == ROUTE_NOWHERE) == list_empty(&r->turn));
        must(r->where == ROUTE_NOWHERE || r->waiting.count > 0);
        away += r->away;
        storing += r->storing;
        unshelving += r->unshelving;
        shelved += r->shelved;
        check_gates(core, r);
        check_sift(core, r);
    }
    must(away == t->away && shelved == t->shelved);
    must(storing == t->by_state[JOB_STORING] && unshelving == t->by_state[JOB_UNSHELVING]);
    for (uint32_t at = 1; at <= core->flows.used; at++) {
        const struct flow *f = table_at(&core->flows, at);
        queued += f == NULL ? 0 : check_flow(core, f);
    }
    must(waiting == t->by_state[JOB_QUEUED] && queued == waiting);
    must(delayed == t->by_state[JOB_DELAYED]);
    must(calls + settling == core->in_flight + t->by_state[JOB_SETTLING]);
}

static void check_tenants(const struct core *core)
{
    uint32_t busy = 0;
    uint32_t weighted = 0;
    uint32_t flows = 0;
    for (uint32_t at = 1; at <= core->tenants.used; at++) {
        const struct tenant *t = table_at(&core->tenants, at);
        if (t == NULL) {
            continue;
        }
        must(t->weight >= 1 && t->weight <= CORE_WEIGHT_MAX);
        must(t->flows > 0 || t->weight != 1);
        busy += t->flows > 0;
        weighted += t->weight != 1;
        flows += t->flows;
    }
    must(busy == core->tenants_busy && busy <= core->limits.tenants_max);
    must(weighted == core->tenants_weighted && weighted <= core->limits.tenants_max);
    must(flows == table_count(&core->flows));
}

static void check_workers(const struct core *core)
{
    uint64_t jobs = 0;
    uint64_t credit = 0;
    for (uint32_t i = 0; i < core->limits.workers_max; i++) {
        const struct worker *w = &core->workers[i];
        uint32_t n = check_list(core, &w->jobs);
        must(w->alive || n == 0);
        must(w->dispatched <= w->credit && n <= w->dispatched);
        jobs += n;
        if (w->alive) {
            must((w->dispatched < w->credit) == !list_empty(&w->free));
            credit += w->credit - w->dispatched;
        }
    }
    must(jobs == core->in_flight && credit == core->credit_free);
}

void core_check(const struct core *core, int64_t now_ms)
{
    struct tally t = {0};
    must(now_ms >= core->now_ms);
    for (uint32_t slot = 1; slot <= core->slots_used; slot++) {
        const struct job *j = core->slots[slot];
        if (j != NULL && ((uintptr_t)j & 1) == 0) {
            must(j->slot == slot);
            check_job(core, j, &t);
        }
    }
    must(t.jobs == core->live && t.bytes == core->bytes);
    must(t.by_state[JOB_DISPATCHED] + t.by_state[JOB_STARTED] == core->in_flight);
    must(check_heap(core, &core->delayed, JOB_DELAYED) == t.by_state[JOB_DELAYED]);
    must(check_heap(core, &core->settling, JOB_SETTLING) == t.by_state[JOB_SETTLING]);
    must(core->ids.count == core->live + core->results.count);
    must(core->results.count <= core->limits.results_max || core->results.count <= 1);
    uint64_t ended = 0;
    for (uint32_t end = 0; end < JOB_ENDS; end++) {
        ended += core->ended[end];
    }
    must(t.by_state[JOB_STORING] == core->storing &&
         t.by_state[JOB_UNSHELVING] == core->unshelving);
    must(t.shelved == core->shelved);
    must(core->accepted + core->adopted == ended + core->live - core->storing + core->handed_over);
    check_routes(core, &t);
    check_tenants(core);
    check_workers(core);
}
