#include "broker/core/internal.h"

enum { SLOTS_FIRST = 256, ENDS = 1 << JOB_UNSHELVING | 1 << JOB_ENDED };

/* From a state, the states a job may go to. */
static const uint16_t legal_edges[JOB_STATES] = {
    [JOB_NEW] = 1 << JOB_STORING | 1 << JOB_DELAYED | 1 << JOB_QUEUED | 1 << JOB_SETTLING,
    [JOB_STORING] = 1 << JOB_DELAYED | 1 << JOB_QUEUED | 1 << JOB_SETTLING | ENDS,
    [JOB_DELAYED] = 1 << JOB_QUEUED | 1 << JOB_SETTLING | ENDS,
    [JOB_QUEUED] = 1 << JOB_DELAYED | 1 << JOB_DISPATCHED | 1 << JOB_SETTLING | ENDS,
    [JOB_SETTLING] = 1 << JOB_DISPATCHED | ENDS,
    [JOB_DISPATCHED] =
        1 << JOB_STARTED | 1 << JOB_QUEUED | 1 << JOB_DELAYED | 1 << JOB_SETTLING | ENDS,
    [JOB_STARTED] = 1 << JOB_QUEUED | 1 << JOB_DELAYED | 1 << JOB_SETTLING | ENDS,
    [JOB_UNSHELVING] = 1 << JOB_ENDED,
    [JOB_ENDED] = 0,
};

/* ---- the table of jobs ----------------------------------------------------------------------- */

/* A free place holds the next free one, marked by its lowest bit: no pointer is odd. */
static struct job *free_mark(uint32_t next)
{
    return (struct job *)(uintptr_t)((uint64_t)next << 1 | 1);
}

static uint32_t slot_take(struct core *core)
{
    if (core->free_slot != NO_JOB) {
        uint32_t slot = core->free_slot;
        core->free_slot = (uint32_t)((uintptr_t)core->slots[slot] >> 1);
        return slot;
    }
    core->slots_used++;
    must(core->slots_used < RESULT_REF);
    if (core->slots_used >= core->slots_cap) {
        core->slots_cap =
            core->slots_cap == 0 ? SLOTS_FIRST : core->slots_cap + core->slots_cap / 2;
        core->slots = xrealloc(core->slots, (size_t)core->slots_cap * sizeof(*core->slots));
    }
    return core->slots_used;
}

static void slot_release(struct core *core, uint32_t slot)
{
    core->slots[slot] = free_mark(core->free_slot);
    core->free_slot = slot;
}

struct job *job_at(const struct core *core, uint32_t slot)
{
    struct job *j = core->slots[slot];
    must(j != NULL && ((uintptr_t)j & 1) == 0);
    return j;
}

uint32_t job_size(size_t id_n, size_t trace_n, size_t body_n)
{
    return (uint32_t)(offsetof(struct job, bytes) + id_n + trace_n + body_n + JOB_OVERHEAD_BYTES);
}

static void put_bytes(char **at, struct slice s)
{
    if (s.n > 0) {
        memcpy(*at, s.p, s.n);
    }
    *at += s.n;
}

struct job *job_new(struct core *core, const struct wire_submit *s, struct slice body,
                    uint32_t hash, uint64_t fingerprint, struct lane *lane)
{
    must(s->id.n <= UINT8_MAX && s->trace.n <= UINT8_MAX && body.n <= WIRE_BODY_BYTES_MAX);
    size_t size = offsetof(struct job, bytes) + s->id.n + s->trace.n + body.n;
    struct job *j = xmalloc(size > sizeof(*j) ? size : sizeof(*j));
    *j = (struct job){
        .fingerprint = fingerprint,
        .lane = lane,
        .hash = hash,
        .accepted = core->now,
        .deadline = core->now + s->ttl_ms,
        .at = core->now + s->delay_ms,
        .attempt = 1,
        .body_n = (uint32_t)body.n,
        .worker = NO_WORKER,
        .state = JOB_NEW,
        .op = (uint8_t)s->op,
        .flags = s->again ? JOB_MAYBE_STARTED : 0,
        .id_n = (uint8_t)s->id.n,
        .trace_n = (uint8_t)s->trace.n,
        .pri = (uint8_t)(s->pri & 15),
    };
    char *at = j->bytes;
    put_bytes(&at, s->id);
    put_bytes(&at, s->trace);
    put_bytes(&at, body);
    j->slot = slot_take(core);
    core->slots[j->slot] = j;
    index_add(&core->ids, hash, j->slot);
    core->live++;
    core->bytes += job_size(j->id_n, j->trace_n, j->body_n);
    flow_job_added(core, lane->flow);
    return j;
}

struct job_more *job_more(struct job *j)
{
    if (j->more == NULL) {
        j->more = xcalloc(1, sizeof(*j->more));
    }
    return j->more;
}

void job_release(struct job *j)
{
    if (j->more != NULL) {
        free(j->more->ending);
        free(j->more);
    }
    free(j);
}

void job_free(struct core *core, struct job *j)
{
    struct route *asked = j->more != NULL ? j->more->asked : NULL;
    core->live--;
    core->bytes -= job_size(j->id_n, j->trace_n, j->body_n);
    if (j->slot != NO_JOB) {
        slot_release(core, j->slot);
    }
    if (j->shelf != 0) {
        job_set_shelf(core, j, 0);
    }
    flow_job_gone(core, j->lane->flow);
    job_release(j);
    if (asked != NULL) {
        asked->away--;
        route_reap(core, asked);
    }
}

static void tell_later(struct job *j, uint32_t waiter, bool told)
{
    j->told = (uint8_t)((j->told | (unsigned)told << waiter) & 15);
}

void job_add_waiter(struct job *j, uint64_t client, bool told)
{
    if (client == 0) { /* nobody */
        return;
    }
    if (j->client == 0 || j->client == client) {
        j->client = client;
        tell_later(j, 0, told);
        return;
    }
    struct job_more *w = job_more(j);
    for (uint32_t i = 0; i < w->waiter_count; i++) {
        if (w->clients[i] == client) {
            tell_later(j, i + 1, told);
            return;
        }
    }
    if (w->waiter_count == ARRAY_LEN(w->clients)) {
        j->client = w->clients[0];
        j->told = (uint8_t)(j->told >> 1 & 7);
        w->waiter_count--;
        memmove(w->clients, w->clients + 1, w->waiter_count * sizeof(w->clients[0]));
    }
    w->clients[w->waiter_count++] = client;
    tell_later(j, w->waiter_count, told);
}

/* ---- homes ----------------------------------------------------------------------------------- */

void job_list_push(struct core *core, struct job_list *l, struct job *j)
{
    j->prev = l->last;
    j->next = NO_JOB;
    if (l->last != NO_JOB) {
        job_at(core, l->last)->next = j->slot;
    } else {
        l->first = j->slot;
    }
    l->last = j->slot;
    l->count++;
}

void job_list_remove(struct core *core, struct job_list *l, struct job *j)
{
    must(l->count > 0);
    if (j->prev != NO_JOB) {
        job_at(core, j->prev)->next = j->next;
    } else {
        l->first = j->next;
    }
    if (j->next != NO_JOB) {
        job_at(core, j->next)->prev = j->prev;
    } else {
        l->last = j->prev;
    }
    l->count--;
}

void job_heap_push(struct job_heap *h, uint32_t at, const struct job *j)
{
    heap_push(&h->heap, at, j->slot);
}

struct job *job_heap_top(const struct core *core, const struct job_heap *h)
{
    return h->heap.count == 0 ? NULL : job_at(core, h->heap.entries[0].ref);
}

static bool keep_live(const void *context, uint32_t ref)
{
    /* The context is only read-only for the heap; the place of a hole is free from here on. */
    struct core *core = *(struct core *const *)context;
    if (core->slots[ref] != NULL) {
        return true;
    }
    slot_release(core, ref);
    return false;
}

void job_heap_leave(struct core *core, struct job_heap *h, struct job *j)
{
    must(h->heap.count > 0);
    if (h->heap.entries[0].ref == j->slot) {
        (void)heap_pop(&h->heap);
    } else {
        core->slots[j->slot] = NULL;
        j->slot = NO_JOB;
        h->holes++;
    }
    while (h->heap.count > 0 && core->slots[h->heap.entries[0].ref] == NULL) {
        slot_release(core, heap_pop(&h->heap).ref);
        h->holes--;
    }
    if (h->holes > 64 && h->holes > h->heap.count / 2) {
        heap_filter(&h->heap, keep_live, &core);
        h->holes = 0;
    }
}

static struct job_list *worker_list(struct core *core, const struct job *j)
{
    return &core->workers[j->worker].jobs;
}

static void leave_worker(struct core *core, struct job *j)
{
    struct route *r = job_route(j);
    if ((j->flags & JOB_PROBE) != 0) {
        route_call_void(core, r, j);
    }
    job_list_remove(core, worker_list(core, j), j);
    core->in_flight--;
    j->worker = NO_WORKER;
    *(job_calls(j) ? &r->calls : &r->settling) -= 1;
}

static void leave(struct core *core, struct job *j)
{
    struct route *r = job_route(j);
    switch ((enum job_state)j->state) {
    case JOB_STORING:
        core->storing--;
        r->storing--;
        j->lane->flow->waiting--;
        break;
    case JOB_UNSHELVING:
        core->unshelving--;
        r->unshelving--;
        break;
    case JOB_DELAYED:
        r->delayed--;
        j->lane->flow->waiting--;
        job_heap_leave(core, &core->delayed, j);
        break;
    case JOB_QUEUED:
        sift_left(r, j);
        job_list_remove(core, &r->waiting, j);
        r->free_waiting -= j->lane->band == FREE_BAND;
        j->lane->flow->waiting--;
        lane_leave(core, j);
        break;
    case JOB_SETTLING:
        job_heap_leave(core, &core->settling, j);
        r->settling--;
        break;
    case JOB_DISPATCHED:
    case JOB_STARTED:
        leave_worker(core, j);
        break;
    case JOB_NEW:
    case JOB_ENDED:
    case JOB_STATES:
        break;
    }
}

static void enter(struct core *core, struct job *j)
{
    struct route *r = job_route(j);
    switch ((enum job_state)j->state) {
    case JOB_STORING:
        core->storing++;
        r->storing++;
        j->lane->flow->waiting++;
        break;
    case JOB_UNSHELVING:
        core->unshelving++;
        r->unshelving++;
        break;
    case JOB_DELAYED:
        r->delayed++;
        j->lane->flow->waiting++;
        job_heap_push(&core->delayed, time_before(j->at, j->deadline) ? j->at : j->deadline, j);
        break;
    case JOB_QUEUED:
        j->at = core->now;
        j->lane->flow->waiting++;
        job_list_push(core, &r->waiting, j);
        r->free_waiting += j->lane->band == FREE_BAND;
        lane_push(core, j);
        sift_joined(core, r, j);
        break;
    case JOB_SETTLING:
        j->at = core->now;
        r->settling++;
        job_heap_push(&core->settling, j->deadline, j);
        break;
    case JOB_DISPATCHED:
        must(j->worker != NO_WORKER);
        j->at = core->now;
        if (core->in_flight++ == 0) {
            core->sweep = core->now + SWEEP_MS;
        }
        *(job_calls(j) ? &r->calls : &r->settling) += 1;
        job_list_push(core, worker_list(core, j), j);
        break;
    case JOB_NEW:
    case JOB_STARTED:
    case JOB_ENDED:
    case JOB_STATES:
        break;
    }
}

/* A hole in the heap that it left keeps its place: another one. */
static void place_again(struct core *core, struct job *j, uint32_t before)
{
    j->slot = slot_take(core);
    core->slots[j->slot] = j;
    index_replace(&core->ids, j->hash, before, j->slot);
    if (j->shelf != 0) {
        shelf_place_changed(core, j, before);
    }
}

void job_set_state(struct core *core, struct job *j, enum job_state to)
{
    must((legal_edges[j->state] & 1 << to) != 0);
    if (to == JOB_STARTED) { /* stays where it is */
        j->state = JOB_STARTED;
        return;
    }
    uint32_t slot = j->slot;
    leave(core, j);
    if (to != JOB_ENDED && j->slot == NO_JOB) {
        place_again(core, j, slot);
    }
    j->state = (uint8_t)to;
    enter(core, j);
    route_refresh(core, job_route(j));
}

void job_set_lane(struct core *core, struct job *j, struct lane *lane, enum job_state to)
{
    must(to == JOB_QUEUED || to == JOB_DELAYED);
    must(j->state == JOB_QUEUED || (legal_edges[j->state] & 1 << to) != 0);
    must(lane->flow->tenant == j->lane->flow->tenant);
    struct flow *before = j->lane->flow;
    uint32_t slot = j->slot;
    leave(core, j);
    if (j->slot == NO_JOB) {
        place_again(core, j, slot);
    }
    flow_job_added(core, lane->flow);
    before->route->shelved -= j->shelf != 0;
    lane->flow->route->shelved += j->shelf != 0;
    j->lane = lane;
    j->state = (uint8_t)to;
    enter(core, j);
    route_refresh(core, lane->flow->route);
    route_refresh(core, before->route);
    flow_job_gone(core, before); /* may free it, and its route */
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void answer_all(const struct core *core, const struct job *j, const struct wire_result *r,
                       struct slice body)
{
    if (j->client != 0) {
        core->effects.answer(core->effects.context, j->client, r, body);
    }
    for (uint32_t i = 0; j->more != NULL && i < j->more->waiter_count; i++) {
        core->effects.answer(core->effects.context, j->more->clients[i], r, body);
    }
}

/* A callback that the outbox fed: its id never comes again, and nobody asks how it ended. Kept,
 * these would take the room of results that somebody waits for. */
static bool is_forgotten(const struct job *j)
{
    return j->op == WIRE_OP_CALLBACK && j->client == 0 &&
           (j->more == NULL || j->more->waiter_count == 0);
}

/* What a job's result says beside end and code. */
static struct wire_result whole_result(const struct core *core, const struct job *j,
                                       const struct wire_result *r)
{
    bool in_flight = j->state == JOB_DISPATCHED || j->state == JOB_STARTED;
    struct wire_result full = *r;
    full.id = job_id(j);
    full.queued_ms = (in_flight ? j->at : core->now) - j->accepted;
    full.run_ms = in_flight ? core->now - j->at : 0;
    full.attempts = j->dispatches;
    full.trace_id = (struct slice){NULL, 0}; /* between worker and broker only */
    return full;
}

static void end(struct core *core, struct job *j, const struct wire_result *full, struct slice body)
{
    struct route *route = job_route(j);
    if (full->code == RESULT_CONFLICT || is_forgotten(j)) {
        /* A conflict: the id is another job's, its result is not ours to keep. */
        index_remove(&core->ids, j->hash, j->slot);
    } else {
        uint32_t slot = j->slot;
        uint32_t ref = results_put(core, j, full, body);
        index_replace(&core->ids, j->hash, slot, ref);
    }
    route->ended[full->end]++;
    core->ended[full->end]++;
    meter_count(core, &route->drain);
    meter_count(core, &core->drain);
    job_set_state(core, j, JOB_ENDED);
    answer_all(core, j, full, body);
    job_free(core, j);
}

static void keep_ending(struct job *j, const struct wire_result *full, struct slice body)
{
    struct job_more *more = job_more(j);
    struct ending *e = xmalloc(sizeof(*e) + body.n);
    e->result = *full;
    e->body_n = (uint32_t)body.n;
    if (body.n > 0) {
        memcpy(e->body, body.p, body.n);
    }
    free(more->ending);
    more->ending = e;
}

void job_end(struct core *core, struct job *j, const struct wire_result *r, struct slice body)
{
    struct wire_result full = whole_result(core, j, r);
    if (j->shelf != 0 && (j->state == JOB_STORING || j->state == JOB_UNSHELVING)) {
        keep_ending(j, &full, body); /* its name is still in use: the store's answer comes first */
        return;
    }
    if (j->shelf != 0) {
        shelf_remove(core, j, &full, false);
    }
    end(core, j, &full, body);
}

void job_end_here(struct core *core, struct job *j, const struct wire_result *r, struct slice body)
{
    if (j->shelf == 0 || j->state == JOB_STORING || j->state == JOB_UNSHELVING) {
        job_end(core, j, r, body);
        return;
    }
    struct wire_result full = whole_result(core, j, r);
    keep_ending(j, &full, body);
    job_set_state(core, j, JOB_UNSHELVING);
    shelf_remove(core, j, &full, true);
}

void job_end_kept(struct core *core, struct job *j)
{
    struct ending *e = j->more->ending;
    j->more->ending = NULL;
    end(core, j, &e->result, slice_make(e->body, e->body_n));
    free(e);
}

void job_end_plain(struct core *core, struct job *j, enum job_end how, enum result_code code)
{
    struct wire_result r = {.end = how, .code = code};
    bool certain = how == JOB_END_EXPIRED && shelves_ours(core);
    (certain ? job_end : job_end_here)(core, j, &r, (struct slice){NULL, 0});
}

void job_forget(struct core *core, struct job *j, enum core_stored what)
{
    index_remove(&core->ids, j->hash, j->slot);
    job_set_state(core, j, JOB_ENDED);
    job_tell(core, j, true, what);
    job_free(core, j);
}

void job_settle(struct core *core, struct job *j)
{
    if ((j->flags & JOB_SETTLE) == 0) {
        if (j->shelf != 0) {
            job_more(j)->ttl_ms = j->deadline - j->accepted;
        }
        j->deadline = core->now + SETTLE_MS;
    }
    job_set_state(core, j, JOB_SETTLING);
    j->flags |= JOB_SETTLE; /* after it has left: its old home counts it by this flag */
}

void job_out_of_time(struct core *core, struct job *j)
{
    if ((j->flags & JOB_SETTLE) != 0) {
        job_end_plain(core, j, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    } else if ((j->flags & JOB_MAYBE_STARTED) != 0) {
        job_settle(core, j);
    } else {
        job_end_plain(core, j, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    }
}

void job_take_back(struct core *core, struct job *j)
{
    bool late = !time_before(core->now, j->deadline);
    j->attempt++;
    if (j->state == JOB_STARTED) {
        j->flags |= JOB_WAS_STARTED;
    }
    j->flags |= JOB_MAYBE_STARTED | JOB_AHEAD | JOB_BEREAVED;
    core->redispatched++;
    job_route(j)->redispatched++;
    if (j->dispatches >= core->limits.attempts_max) {
        job_end_plain(core, j, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    } else if ((j->flags & JOB_SETTLE) != 0 && late) {
        job_end_plain(core, j, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    } else if ((j->flags & JOB_FORGOTTEN) != 0) {
        job_settle_forgotten(core, j);
    } else if (late || (j->flags & (JOB_SETTLE | JOB_WAS_STARTED)) != 0) {
        job_settle(core, j);
    } else {
        job_set_state(core, j, JOB_QUEUED);
    }
}
