#include "broker/core/internal.h"

/* ---- life ------------------------------------------------------------------------------------ */

struct core *core_new(const struct core_limits *limits, const struct core_effects *effects,
                      int64_t now_ms)
{
    must(limits->jobs_max > 0 && limits->jobs_max < 1U << 29);
    must(limits->workers_max > 0 && limits->workers_max < NO_WORKER);
    must(limits->attempts_max > 0 && limits->attempts_max <= UINT8_MAX);
    must(limits->routes_max > 0 && limits->tenants_max > 0);
    must(limits->results_max < 1U << 30);
    must(effects->answer != NULL && effects->dispatch != NULL);
    struct core *core = xcalloc(1, sizeof(*core));
    core->limits = *limits;
    core->effects = *effects;
    core->now_ms = now_ms;
    core->now = (uint32_t)now_ms;
    core->ours_until_ms = INT64_MAX;
    index_init(&core->ids);
    index_init(&core->route_names);
    index_init(&core->tenant_names);
    index_init(&core->flow_pairs);
    list_init(&core->idle_flows);
    list_init(&core->free_workers);
    list_init(&core->ready);
    list_init(&core->doomed);
    list_init(&core->sifting);
    list_init(&core->stuck);
    list_init(&core->hungry);
    heap_init(&core->delayed.heap);
    heap_init(&core->settling.heap);
    heap_init_placed(&core->expiries);
    heap_init_placed(&core->wakeups);
    core->workers = xcalloc(limits->workers_max, sizeof(*core->workers));
    results_init(core);
    return core;
}

void core_destroy(struct core **corep)
{
    struct core *core = *corep;
    if (core == NULL) {
        return;
    }
    *corep = NULL;
    for (uint32_t slot = 1; slot <= core->slots_used; slot++) {
        struct job *j = core->slots[slot];
        if (j != NULL && ((uintptr_t)j & 1) == 0) {
            job_release(j);
        }
    }
    free(core->slots);
    lanes_free(core);
    routes_free(core);
    results_free(core);
    heap_free(&core->delayed.heap);
    heap_free(&core->settling.heap);
    heap_free(&core->expiries);
    heap_free(&core->wakeups);
    index_free(&core->ids);
    index_free(&core->route_names);
    index_free(&core->tenant_names);
    index_free(&core->flow_pairs);
    free(core->workers);
    free(core);
}

/* ---- ids ------------------------------------------------------------------------------------- */

struct found core_find(const struct core *core, struct slice id, uint32_t hash)
{
    struct index_walk w = index_walk(&core->ids, hash);
    for (uint32_t ref = index_next(&w); ref != 0; ref = index_next(&w)) {
        if ((ref & RESULT_REF) == 0) {
            struct job *j = job_at(core, ref);
            if (slice_eq(job_id(j), id)) {
                return (struct found){.job = j};
            }
        } else {
            const struct result_entry *e = results_at(core, ref);
            if (slice_eq(result_id(e), id)) {
                return (struct found){.result = e};
            }
        }
    }
    return (struct found){0};
}

/* By id, after old results have gone. */
static struct found find_id(struct core *core, struct slice id)
{
    results_expire(core);
    return core_find(core, id, hash32(core, id));
}

static enum core_state public_state(const struct job *j)
{
    switch ((enum job_state)j->state) {
    case JOB_STORING:
        return CORE_STATE_STORING;
    case JOB_DELAYED:
        return (j->flags & JOB_MAYBE_STARTED) != 0 ? CORE_STATE_STARTED : CORE_STATE_DELAYED;
    case JOB_QUEUED:
        return (j->flags & JOB_MAYBE_STARTED) != 0 ? CORE_STATE_STARTED : CORE_STATE_QUEUED;
    case JOB_DISPATCHED:
        return CORE_STATE_DISPATCHED;
    case JOB_SETTLING:
    case JOB_STARTED:
        return CORE_STATE_STARTED;
    case JOB_UNSHELVING:
    case JOB_ENDED:
        return CORE_STATE_ENDED;
    case JOB_NEW:
    case JOB_STATES:
        break;
    }
    return CORE_STATE_NONE;
}

bool op_calls(enum wire_op op)
{
    return op != WIRE_OP_REPORT && op != WIRE_OP_FLASH_QUERY;
}

/* ---- clients --------------------------------------------------------------------------------- */

uint64_t fingerprint_of(const struct core *core, const struct wire_submit *s, struct slice body)
{
    uint64_t what = index_hash(core->limits.seed + (uint64_t)s->op, s->route);
    return index_hash(what, body);
}

/* A client that waits for its job to be stored. */
static bool wants_stored(const struct wire_submit *s)
{
    return s->ack == WIRE_ACK_STORED || s->ack == WIRE_ACK_QUEUED;
}

static enum core_admit attached(struct core *core, struct job *j, const struct wire_submit *s,
                                uint64_t client)
{
    job_add_waiter(j, client, wants_stored(s));
    if (s->again) {
        j->flags |= JOB_MAYBE_STARTED;
    }
    if (j->state == JOB_STORING) {
        return CORE_STORING;
    }
    if (client != 0 && j->shelf != 0 && j->state != JOB_UNSHELVING && s->ack == WIRE_ACK_STORED) {
        core->effects.stored(core->effects.context, client, job_id(j), CORE_STORED);
    }
    return CORE_DUPLICATE;
}

static enum core_admit repeated(struct core *core, struct found found, uint64_t fingerprint,
                                const struct wire_submit *s, uint64_t client)
{
    uint64_t first = found.job != NULL ? found.job->fingerprint : found.result->fingerprint;
    if (first != fingerprint) {
        core->conflicts++;
        return CORE_CONFLICT;
    }
    core->duplicates++;
    if (found.job != NULL) {
        return attached(core, found.job, s, client);
    }
    results_answer(core, found.result, client);
    return CORE_DUPLICATE;
}

/* The limits of the whole. */
enum core_admit core_room(const struct core *core, const struct wire_submit *s, struct slice body)
{
    if (core->live >= core->limits.jobs_max) {
        return CORE_FULL_TOTAL;
    }
    if (core->bytes + job_size(s->id.n, s->trace.n, body.n) > core->limits.bytes_max) {
        return CORE_FULL_BYTES;
    }
    return CORE_QUEUED;
}

static enum core_admit full(struct core *core, enum core_admit why, const struct route *r,
                            uint32_t *retry_after_ms)
{
    bool whole = why == CORE_FULL_TOTAL || why == CORE_FULL_BYTES || r == NULL;
    core->refused_full++;
    *retry_after_ms = whole ? meter_retry_after_ms(core, &core->drain, core->live)
                            : meter_retry_after_ms(core, &r->drain, route_backlog(r));
    return why;
}

/* The route of a submit; NULL with *why when there is none. */
static struct route *route_of(struct core *core, struct slice name, enum core_admit *why)
{
    struct route *r = route_find(core, name);
    *why = CORE_UNKNOWN_ROUTE;
    if (r == NULL && core->limits.unknown_routes_accepted) {
        struct core_route_policy open = {.known = true};
        r = route_add(core, name);
        if (r == NULL) {
            *why = CORE_FULL_ROUTES;
            return NULL;
        }
        route_set_policy(core, r, &open);
    }
    return r == NULL || !r->policy.known ? NULL : r;
}

/* Callbacks of the outbox stand in the store already, which feeds them again. */
static bool is_to_be_stored(const struct route *r, const struct wire_submit *s, uint64_t client)
{
    return (s->ack == WIRE_ACK_STORED || r->policy.stored) &&
           !(s->op == WIRE_OP_CALLBACK && client == 0);
}

/* To its first home. */
static void take_in(struct core *core, struct job *j, struct route *r, const struct wire_submit *s)
{
    core->accepted++;
    r->accepted++;
    job_set_state(core, j, s->delay_ms > 0 ? JOB_DELAYED : JOB_QUEUED);
}

enum core_admit core_submit(struct core *core, const struct wire_submit *s, struct slice body,
                            uint64_t client, int64_t now_ms, uint32_t *retry_after_ms)
{
    core_tick(core, now_ms);
    results_expire(core);
    *retry_after_ms = 0;
    uint32_t hash = hash32(core, s->id);
    index_expect(&core->ids, hash);
    uint64_t fingerprint = fingerprint_of(core, s, body);
    struct found found = core_find(core, s->id, hash);
    if (found.job != NULL || found.result != NULL) {
        return repeated(core, found, fingerprint, s, client);
    }
    enum core_admit why;
    struct route *r = route_of(core, s->route, &why);
    if (r == NULL) {
        return why == CORE_FULL_ROUTES ? full(core, why, NULL, retry_after_ms) : why;
    }
    if (r->policy.closed && op_calls(s->op) && !s->again && client != 0) {
        return CORE_CLOSED;
    }
    bool stored = is_to_be_stored(r, s, client);
    if (stored && core->shelf == 0) {
        return CORE_NO_SHELF;
    }
    why = core_room(core, s, body);
    if (why == CORE_QUEUED && route_backlog(r) >= core->limits.route_jobs_max) {
        why = CORE_FULL_ROUTE;
    }
    struct lane *lane = NULL;
    if (why == CORE_QUEUED) {
        uint32_t band = op_calls(s->op) ? band_of(s->pri) : FREE_BAND;
        why = lane_for(core, r, s->tenant, band, false, &lane);
    }
    if (why != CORE_QUEUED) {
        return full(core, why, r, retry_after_ms);
    }
    struct job *j = job_new(core, s, body, hash, fingerprint, lane);
    if (stored) {
        job_add_waiter(j, client, wants_stored(s));
        shelf_put(core, j, s, body);
        return CORE_STORING;
    }
    j->client = client;
    take_in(core, j, r, s);
    return CORE_QUEUED;
}

enum core_state core_get(struct core *core, struct slice id, uint64_t client, int64_t now_ms)
{
    core_tick(core, now_ms);
    struct found found = find_id(core, id);
    if (found.job != NULL) {
        job_add_waiter(found.job, client, false);
        return public_state(found.job);
    }
    if (found.result != NULL) {
        results_answer(core, found.result, client);
        return CORE_STATE_ENDED;
    }
    return CORE_STATE_NONE;
}

enum core_state core_cancel(struct core *core, struct slice id, uint64_t client, int64_t now_ms)
{
    core_tick(core, now_ms);
    struct found found = find_id(core, id);
    if (found.job == NULL) {
        if (found.result == NULL) {
            return CORE_STATE_NONE;
        }
        results_answer(core, found.result, client);
        return CORE_STATE_ENDED;
    }
    enum core_state state = public_state(found.job);
    bool ends = state == CORE_STATE_ENDED; /* its result comes when its entry is off the shelf */
    bool may = state == CORE_STATE_QUEUED || state == CORE_STATE_DELAYED ||
               (state == CORE_STATE_STORING && (found.job->flags & JOB_MAYBE_STARTED) == 0);
    if (!may && !ends) {
        return state;
    }
    job_add_waiter(found.job, client, false);
    if (may) {
        job_end_plain(core, found.job, JOB_END_CANCELLED, RESULT_CANCELLED);
    }
    return CORE_STATE_ENDED;
}

bool core_whose(struct core *core, struct slice id, int64_t now_ms, struct slice *route,
                struct slice *tenant)
{
    core_tick(core, now_ms);
    struct found found = find_id(core, id);
    if (found.job != NULL) {
        const struct route *asked = job_asked(found.job);
        const struct tenant *whose = found.job->lane->flow->tenant;
        *route = slice_make(asked->name, asked->name_n);
        *tenant = slice_make(whose->name, whose->name_n);
    } else if (found.result != NULL) {
        results_whose(found.result, route, tenant);
    }
    return found.job != NULL || found.result != NULL;
}

/* ---- reports of workers ---------------------------------------------------------------------- */

/* The live job of this id, if it is this worker's and of this attempt. */
static struct job *owned(struct core *core, uint32_t worker, struct slice id, uint32_t attempt)
{
    struct job *j = core_find(core, id, hash32(core, id)).job;
    return j != NULL && j->worker == worker && j->attempt == attempt ? j : NULL;
}

bool core_started(struct core *core, uint32_t worker, struct slice id, uint32_t attempt,
                  int64_t now_ms)
{
    core_tick(core, now_ms);
    struct job *j = owned(core, worker, id, attempt);
    if (j == NULL || j->state != JOB_DISPATCHED) {
        return false;
    }
    job_set_state(core, j, JOB_STARTED);
    return true;
}

static bool goes_elsewhere(const struct job *j, const struct wire_give_back *g)
{
    return g->via.n > 0 && j->op != WIRE_OP_CALLBACK && op_calls((enum wire_op)j->op) &&
           (j->flags & JOB_SETTLE) == 0 && !slice_eq(g->via, route_name_of(job_route(j)));
}

/* Reasons that say nothing about the job do not use up its attempts, nor do moves and looks. */
static bool counts_as_attempt(const struct job *j, const struct wire_give_back *g)
{
    return g->code != RESULT_NONE && g->code != RESULT_STORE_UNAVAILABLE &&
           (j->flags & JOB_LOOK) == 0 && !goes_elsewhere(j, g);
}

/* No worker may try it again. */
static void end_given_back(struct core *core, struct job *j, enum result_code code)
{
    bool unknown = (j->flags & JOB_MAYBE_STARTED) != 0;
    job_end_plain(core, j, unknown ? JOB_END_UNKNOWN : JOB_END_REFUSED,
                  unknown               ? RESULT_OUTCOME_UNKNOWN
                  : code == RESULT_NONE ? RESULT_INTEGRATION_NOT_FOUND
                                        : code);
}

/* Where a job that was given back waits. */
static void queue_given_back(struct core *core, struct job *j, const struct wire_give_back *g)
{
    bool settle = (j->flags & JOB_SETTLE) != 0;
    bool looked = (j->flags & JOB_LOOK) != 0 && !settle;
    bool away = g->code == RESULT_STORE_UNAVAILABLE;
    bool here = looked && g->code != RESULT_NONE && !away && !goes_elsewhere(j, g);
    uint32_t delay = away && g->delay_ms < STORE_RETRY_MS ? STORE_RETRY_MS : g->delay_ms;
    if (here) { /* once is enough: a shut route would have all its verifies looked up for ever */
        j->flags |= JOB_LOOKED;
        delay = 0;
    }
    enum job_state to = delay > 0 ? JOB_DELAYED : JOB_QUEUED;
    j->at = core->now + (delay < WIRE_TTL_MAX_MS ? delay : WIRE_TTL_MAX_MS);
    if (goes_elsewhere(j, g)) {
        if (!move_via(core, j, g->via, to)) {
            end_given_back(core, j, g->code);
        }
    } else if (looked) {
        look_over(core, j, to);
    } else if (settle && to == JOB_QUEUED) {
        job_settle(core, j);
    } else {
        job_set_state(core, j, to);
    }
}

/* Not by this worker, but an earlier one that died may have begun it, and the store does not know
 * any more: it is settled, wherever it was to go on. */
static bool back_is_in_doubt(struct core *core, struct job *j)
{
    if ((j->flags & JOB_FORGOTTEN) == 0) {
        return false;
    }
    j->flags &= (uint16_t)~JOB_FORGOTTEN;
    if ((j->flags & JOB_SETTLE) != 0) {
        j->flags |= JOB_WAS_STARTED;
        return false;
    }
    if ((j->flags & JOB_BEREAVED) != 0) {
        job_settle_forgotten(core, j);
    }
    return (j->flags & JOB_BEREAVED) != 0;
}

bool core_given_back(struct core *core, uint32_t worker, const struct wire_give_back *g,
                     int64_t now_ms)
{
    core_tick(core, now_ms);
    struct job *j = owned(core, worker, g->id, g->attempt);
    if (j == NULL) {
        return false;
    }
    if (job_calls(j)) {
        route_call_over(core, job_route(j), j, JOB_END_REFUSED, g->code);
    }
    if (g->code == RESULT_OUTCOME_UNKNOWN) {
        /* Sent, and its route wants it sent again: should that not happen, it is no expired job. */
        j->flags |= JOB_MAYBE_STARTED | JOB_WAS_STARTED;
    }
    j->attempt = (j->attempt > g->attempt_seen ? j->attempt : g->attempt_seen) + 1;
    if (j->more != NULL) {
        j->more->moved = RESULT_NONE; /* the worker has noted it */
    }
    if (!counts_as_attempt(j, g)) {
        j->dispatches--;
    } else if (j->dispatches >= core->limits.attempts_max) {
        end_given_back(core, j, g->code);
        return true;
    }
    if (!back_is_in_doubt(core, j)) {
        queue_given_back(core, j, g);
    }
    return true;
}

/* Said without asking the store. */
static bool is_own_word(enum result_code code)
{
    switch (code) {
    case RESULT_INVALID_REQUEST:
    case RESULT_INVALID_MSISDN:
    case RESULT_INTEGRATION_NOT_FOUND:
    case RESULT_INTEGRATION_PAUSED:
    case RESULT_QUEUE_FULL:
    case RESULT_RATE_LIMITED:
    case RESULT_STORE_UNAVAILABLE:
    case RESULT_INTERNAL_ERROR:
        return true;
    default:
        return false;
    }
}

/* A code of otpq's own that says "nothing was sent" of a job whose earlier attempt may have been or
 * was. The store's word stands while it may still know that attempt; what is said without asking it
 * never does. */
static bool forgets_a_start(const struct job *j, enum result_code code)
{
    if (is_own_word(code)) {
        return (j->flags & JOB_MAYBE_STARTED) != 0;
    }
    switch (code) {
    case RESULT_ADVERTISER_UNREACHABLE:
    case RESULT_RESEND_TOO_SOON:
    case RESULT_TOO_MANY_SENDS:
    case RESULT_DEADLINE_PASSED:
        return (j->flags & JOB_WAS_STARTED) != 0;
    default: /* the advertiser's word, or one about a verify that the store has checked */
        return false;
    }
}

bool core_result(struct core *core, uint32_t worker, const struct wire_result *r, struct slice body,
                 int64_t now_ms)
{
    core_tick(core, now_ms);
    struct job *j = core_find(core, r->id, hash32(core, r->id)).job;
    if (j == NULL || r->end >= JOB_ENDS || r->code >= RESULT_CODES) {
        return false;
    }
    struct wire_result end = *r;
    if (j->worker == worker && job_calls(j)) {
        route_call_over(core, job_route(j), j, r->end, r->code);
    }
    bool forgets =
        (r->end == JOB_END_REFUSED || r->end == JOB_END_EXPIRED) && forgets_a_start(j, r->code);
    if (forgets) { /* Nobody can say what that attempt did. */
        end.end = JOB_END_UNKNOWN;
        end.code = RESULT_OUTCOME_UNKNOWN;
        body = (struct slice){NULL, 0};
    }
    if (forgets || is_own_word(r->code)) {
        job_end_here(core, j, &end, body);
    } else {
        job_end(core, j, &end, body);
    }
    return true;
}

bool core_route_policy(struct core *core, struct slice route, const struct core_route_policy *p,
                       int64_t now_ms)
{
    core_tick(core, now_ms);
    struct route *r = route_find(core, route);
    if (r == NULL) {
        if (!p->known) {
            return true;
        }
        r = route_add(core, route);
        if (r == NULL) {
            return false;
        }
    }
    route_set_policy(core, r, p);
    route_reap(core, r);
    return true;
}

bool core_tenant_weight(struct core *core, struct slice tenant, uint32_t weight, int64_t now_ms)
{
    core_tick(core, now_ms);
    must(weight >= 1 && weight <= CORE_WEIGHT_MAX);
    return tenant_set_weight(core, tenant, (uint8_t)weight);
}
