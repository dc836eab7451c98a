#include "broker/core/internal.h"

/* Jobs a band may send in a round while the others have jobs too: what they do not use goes on to
 * those that do. */
static const uint32_t band_shares[CORE_BANDS] = {8, 3, 1};

enum { CALL_TOKENS = 1000 * 1000, RUN_SMOOTHING = 8 };

/* ---- table ----------------------------------------------------------------------------------- */

struct route *route_find(const struct core *core, struct slice name)
{
    struct index_walk w = index_walk(&core->route_names, hash32(core, name));
    for (uint32_t ref = index_next(&w); ref != 0; ref = index_next(&w)) {
        struct route *r = table_at(&core->routes, ref);
        if (slice_eq(route_name_of(r), name)) {
            return r;
        }
    }
    return NULL;
}

struct route *route_add(struct core *core, struct slice name)
{
    if (table_count(&core->routes) >= core->limits.routes_max) {
        return NULL;
    }
    struct route *r = xcalloc(1, sizeof(*r));
    r->name = slice_dup(name);
    r->name_n = (uint32_t)name.n;
    r->hash = hash32(core, name);
    r->slot = table_add(&core->routes, r);
    list_init(&r->turn);
    list_init(&r->sift_turn);
    list_init(&r->hungry);
    for (uint32_t band = 0; band < LANE_BANDS; band++) {
        list_init(&r->bands[band].lanes);
        r->bands[band].share = band < CORE_BANDS ? band_shares[band] : 0;
    }
    r->refilled = core->now;
    index_add(&core->route_names, r->hash, r->slot);
    return r;
}

static void route_free(struct core *core, struct route *r)
{
    flows_forget_route(core, r);
    must(r->flows == 0);
    sift_stop(r);
    list_remove(&r->hungry);
    list_remove(&r->turn);
    heap_remove(&core->wakeups, r->slot);
    index_remove(&core->route_names, r->hash, r->slot);
    table_remove(&core->routes, r->slot);
    free(r->fallback_names);
    free(r->name);
    free(r);
}

void route_reap(struct core *core, struct route *r)
{
    if (!r->policy.known && r->waiting.count == 0 && r->delayed == 0 && r->calls == 0 &&
        r->settling == 0 && r->storing == 0 && r->unshelving == 0 && r->away == 0) {
        route_free(core, r);
    }
}

void routes_free(struct core *core)
{
    for (uint32_t at = 1; at <= core->routes.used; at++) {
        struct route *r = table_at(&core->routes, at);
        if (r != NULL) {
            free(r->fallback_names);
            free(r->name);
            free(r);
        }
    }
    table_free(&core->routes);
}

/* ---- rate ------------------------------------------------------------------------------------ */

/* What the bucket holds at most. Never less than one millisecond brings: time comes in these steps,
 * and a smaller bucket would slow the route down. */
static int64_t bucket_max(const struct core_route_policy *p, uint64_t milli_per_s)
{
    uint64_t burst = p->burst != 0 ? p->burst : p->calls_per_s;
    uint64_t part = burst * milli_per_s / ((uint64_t)p->calls_per_s * 1000);
    uint64_t least = (milli_per_s + 999999) / 1000000;
    return (int64_t)((part > least ? part : least) * CALL_TOKENS);
}

static void bucket_refill(const struct core *core, struct route *r)
{
    uint64_t rate = share_rate(core, r).n;
    int64_t max = bucket_max(&r->policy, rate);
    r->tokens += (int64_t)((core->now - r->refilled) * rate);
    r->refilled = core->now;
    if (r->tokens > max) {
        r->tokens = max;
    }
}

void route_set_share(struct core *core, struct route *r, const struct core_route_share *s)
{
    if (r->policy.calls_per_s != 0) {
        bucket_refill(core, r);
    }
    r->share = *s;
    if (r->policy.calls_per_s != 0) {
        bucket_refill(core, r); /* what is over the new size is gone */
    }
    route_refresh(core, r);
}

/* Takes the policy over, with names of its own. */
static void keep_policy(struct route *r, const struct core_route_policy *p)
{
    size_t bytes = 1;
    must(p->fallback_count <= CORE_FALLBACKS_MAX);
    for (uint32_t i = 0; i < p->fallback_count; i++) {
        bytes += p->fallback[i].n;
    }
    char *names = xmalloc(bytes);
    char *at = names;
    r->policy = *p;
    for (uint32_t i = 0; i < p->fallback_count; i++) {
        r->policy.fallback[i] = slice_make(at, p->fallback[i].n);
        memcpy(at, p->fallback[i].p, p->fallback[i].n);
        at += p->fallback[i].n;
    }
    free(r->fallback_names);
    r->fallback_names = names;
}

void route_set_policy(struct core *core, struct route *r, const struct core_route_policy *p)
{
    bool known_before = r->policy.known;
    bool limited_before = r->policy.calls_per_s != 0;
    if (limited_before) {
        bucket_refill(core, r);
    }
    keep_policy(r, p);
    if (p->calls_per_s != 0) {
        int64_t max = bucket_max(p, share_rate(core, r).n);
        r->tokens = !limited_before || r->tokens > max ? max : r->tokens;
        r->refilled = core->now;
    }
    if (p->breaker_percent == 0) {
        r->breaker = (struct breaker){.since_ms = core->now_ms};
    }
    route_refresh(core, r);
    if (r->shut) {
        sift_start(core, r); /* it may name others now */
    }
    if (p->known && !known_before) {
        sift_stuck(core);
    }
}

/* ---- breaker --------------------------------------------------------------------------------- */

static void breaker_open(const struct core *core, struct route *r)
{
    uint32_t open_ms = r->policy.breaker_open_ms;
    r->breaker = (struct breaker){
        .state = BREAKER_OPEN,
        .since_ms = core->now_ms + (open_ms < BREAKER_OPEN_MAX_MS ? open_ms : BREAKER_OPEN_MAX_MS),
    };
}

/* Moves the sliding window, half by half. */
static void breaker_slide(const struct core *core, struct route *r)
{
    struct breaker *b = &r->breaker;
    uint32_t half = r->policy.breaker_window_ms / 2 + 1;
    int64_t passed_ms = core->now_ms - b->since_ms;
    if (passed_ms < half) {
        return;
    }
    bool next = passed_ms < 2 * (int64_t)half;
    b->calls[0] = next ? b->calls[1] : 0;
    b->failures[0] = next ? b->failures[1] : 0;
    b->calls[1] = 0;
    b->failures[1] = 0;
    b->since_ms = core->now_ms;
}

static void breaker_closed_call(const struct core *core, struct route *r, bool failed)
{
    struct breaker *b = &r->breaker;
    breaker_slide(core, r);
    b->calls[1]++;
    b->failures[1] += failed;
    uint64_t calls = (uint64_t)b->calls[0] + b->calls[1];
    uint64_t failures = (uint64_t)b->failures[0] + b->failures[1];
    if (failed && calls >= r->policy.breaker_calls &&
        failures * 100 >= calls * r->policy.breaker_percent) {
        breaker_open(core, r);
    }
}

static void breaker_probe_over(const struct core *core, struct route *r, bool failed)
{
    struct breaker *b = &r->breaker;
    b->probe = NO_JOB;
    if (failed) {
        breaker_open(core, r);
    } else if (++b->good_probes >= PROBES_TO_CLOSE) {
        *b = (struct breaker){.state = BREAKER_CLOSED, .since_ms = core->now_ms};
    }
}

/* What an end says about the advertiser. */
enum evidence { EVIDENCE_NONE, EVIDENCE_GOOD, EVIDENCE_BAD };

/* A callback may end without a call, or after one to somebody else, whatever lane it is in. */
static enum evidence evidence_of(enum wire_op op, enum job_end end, enum result_code code)
{
    if (op == WIRE_OP_CALLBACK) {
        return EVIDENCE_NONE;
    }
    if (end == JOB_END_UNKNOWN || code == RESULT_ADVERTISER_ERROR ||
        code == RESULT_ADVERTISER_UNREACHABLE) {
        return EVIDENCE_BAD;
    }
    switch (code) {
    case RESULT_OTP_SENT:
    case RESULT_OTP_VERIFIED:
    case RESULT_PENDING:
    case RESULT_WRONG_OTP:
    case RESULT_ALREADY_SUBSCRIBED:
    case RESULT_NOT_ELIGIBLE:
    case RESULT_INSUFFICIENT_BALANCE:
    case RESULT_MSISDN_BLOCKED:
    case RESULT_FRAUD_SUSPECTED:
    case RESULT_ADVERTISER_REFUSED:
        return EVIDENCE_GOOD;
    default: /* said by otpq itself, before or without a call */
        return EVIDENCE_NONE;
    }
}

void route_call_void(struct core *core, struct route *r, struct job *j)
{
    (void)core;
    if ((j->flags & JOB_PROBE) != 0) {
        j->flags &= (uint16_t)~JOB_PROBE;
        if (r->breaker.state == BREAKER_HALF_OPEN && r->breaker.probe == j->slot) {
            r->breaker.probe = NO_JOB;
        }
    }
}

void route_call_over(struct core *core, struct route *r, struct job *j, enum job_end end,
                     enum result_code code)
{
    enum evidence e = evidence_of((enum wire_op)j->op, end, code);
    if (e == EVIDENCE_GOOD) {
        uint32_t run = core->now - j->at;
        r->run_ms = r->run_ms == 0 ? run : (r->run_ms * (RUN_SMOOTHING - 1) + run) / RUN_SMOOTHING;
    }
    if (e == EVIDENCE_NONE || r->policy.breaker_percent == 0) {
        route_call_void(core, r, j);
    } else if (r->breaker.state == BREAKER_CLOSED) {
        breaker_closed_call(core, r, e == EVIDENCE_BAD);
    } else if (r->breaker.state == BREAKER_HALF_OPEN && r->breaker.probe == j->slot) {
        j->flags &= (uint16_t)~JOB_PROBE;
        breaker_probe_over(core, r, e == EVIDENCE_BAD);
    } /* calls from before it opened say nothing new */
}

/* ---- gates ----------------------------------------------------------------------------------- */

bool route_shut(const struct core *core, const struct route *r)
{
    return r->policy.paused ||
           (r->breaker.state == BREAKER_OPEN && core->now_ms < r->breaker.since_ms) ||
           (r->breaker.state == BREAKER_HALF_OPEN && r->breaker.probe != NO_JOB);
}

/* Others may wait for it to open, or its own jobs want to go elsewhere when it shuts. */
static void look_whether_shut(struct core *core, struct route *r)
{
    bool before = r->shut;
    r->shut = route_shut(core, r);
    if (r->shut && !before) {
        sift_start(core, r);
    } else if (before && !r->shut) {
        sift_stop(r);
        sift_stuck(core);
    }
}

/* Whether the bucket has a call in it; *asleep and *until as gates_open has them. */
static bool bucket_has(const struct core *core, struct route *r, bool *asleep, uint32_t *until)
{
    uint64_t rate = share_rate(core, r).n;
    bucket_refill(core, r);
    if (r->tokens >= CALL_TOKENS) {
        return true;
    }
    *asleep = rate > 0; /* else a share must come first */
    if (rate > 0) {
        *until = core->now + (uint32_t)(((uint64_t)(CALL_TOKENS - r->tokens) + rate - 1) / rate);
    }
    return false;
}

/* Whether a call may go out; *asleep and *until with false when time alone will let it go. */
static bool gates_open(struct core *core, struct route *r, bool *asleep, uint32_t *until)
{
    const struct core_route_policy *p = &r->policy;
    const struct limit at_once = share_at_once(core, r);
    if (p->paused || (p->calls_at_once != 0 && r->calls >= p->calls_at_once)) {
        return false;
    }
    if (r->breaker.state == BREAKER_OPEN && core->now_ms < r->breaker.since_ms) {
        *asleep = true;
        *until = (uint32_t)r->breaker.since_ms;
        return false;
    }
    if (r->breaker.state == BREAKER_OPEN) {
        r->breaker = (struct breaker){.state = BREAKER_HALF_OPEN};
    }
    if (r->breaker.state == BREAKER_HALF_OPEN && r->breaker.probe != NO_JOB) {
        return false;
    }
    if (at_once.limited && r->calls >= at_once.n) {
        share_hungry(core, r);
        return false;
    }
    if (p->calls_per_s != 0 && share_rate(core, r).n == 0) {
        share_hungry(core, r);
        return false;
    }
    return p->calls_per_s == 0 || bucket_has(core, r, asleep, until);
}

static enum route_where route_judge(struct core *core, struct route *r, bool *asleep,
                                    uint32_t *until)
{
    /* Even with nobody here: others may wait for its breaker. */
    *asleep = r->shut && !r->policy.paused && r->breaker.state == BREAKER_OPEN;
    *until = (uint32_t)r->breaker.since_ms;
    r->calls_go = false;
    if (r->waiting.count == 0) {
        return ROUTE_NOWHERE;
    }
    if (!r->policy.known) {
        return ROUTE_DOOMED;
    }
    if (r->waiting.count > r->free_waiting) {
        r->calls_go = gates_open(core, r, asleep, until);
    }
    return r->calls_go || r->free_waiting > 0 ? ROUTE_READY : ROUTE_NOWHERE;
}

void route_refresh(struct core *core, struct route *r)
{
    bool asleep;
    uint32_t until = 0;
    look_whether_shut(core, r);
    enum route_where where = route_judge(core, r, &asleep, &until);
    if (where != r->where) {
        list_remove(&r->turn);
        r->where = where;
        if (where != ROUTE_NOWHERE) {
            list_push(where == ROUTE_READY ? &core->ready : &core->doomed, &r->turn);
        }
    }
    if (asleep) {
        heap_set(&core->wakeups, until, r->slot);
    } else {
        heap_remove(&core->wakeups, r->slot);
    }
}

void route_job_out(struct core *core, struct route *r, struct job *j)
{
    /* Deficit round robin with every job of cost 1. */
    lane_charge(j->lane);
    r->free_went = j->lane->band == FREE_BAND;
    if (r->free_went) {
        return;
    }
    r->bands[j->lane->band].share--;
    if (r->policy.calls_per_s != 0) {
        bucket_refill(core, r); /* before, or a full bucket would gather beyond its size */
        r->tokens -= CALL_TOKENS;
    }
    if (r->breaker.state == BREAKER_HALF_OPEN) {
        r->breaker.probe = j->slot;
        j->flags |= JOB_PROBE;
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* The highest band that has jobs and share left; when none has, a new round begins. */
static struct band *band_next(struct route *r)
{
    struct band *first = NULL;
    for (uint32_t i = 0; i < CORE_BANDS; i++) {
        struct band *b = &r->bands[i];
        if (list_empty(&b->lanes)) {
            continue;
        }
        if (b->share > 0) {
            return b;
        }
        if (first == NULL) {
            first = b;
        }
    }
    must(first != NULL);
    for (uint32_t i = 0; i < CORE_BANDS; i++) {
        r->bands[i].share = band_shares[i];
    }
    return first;
}

struct job *route_next(struct core *core, struct route *r)
{
    /* Calls and the others by turns, so that neither holds the other up. */
    bool free = r->free_waiting > 0 && !(r->calls_go && r->free_went);
    bool calls = r->waiting.count > r->free_waiting;
    struct band *b = free || !calls ? &r->bands[FREE_BAND] : band_next(r);
    return lane_top(core, list_owner(list_first(&b->lanes), struct lane, turn));
}

/* ---- drain ----------------------------------------------------------------------------------- */

static uint32_t meter_now(const struct core *core, const struct meter *m)
{
    uint32_t passed = core->now - m->since;
    if (passed < 1000) {
        return m->per_s;
    }
    uint32_t last = (uint32_t)((uint64_t)m->count * 1000 / passed);
    return m->per_s == 0 || passed > 5000 ? last : (m->per_s + last) / 2;
}

void meter_count(const struct core *core, struct meter *m)
{
    if (core->now - m->since >= 1000) {
        m->per_s = meter_now(core, m);
        m->since = core->now;
        m->count = 0;
    }
    m->count++;
}

uint32_t meter_retry_after_ms(const struct core *core, const struct meter *m, uint64_t backlog)
{
    enum { LEAST_MS = 50, MOST_MS = 10000 };
    uint32_t per_s = meter_now(core, m);
    if (per_s == 0) {
        per_s = m->count;
    }
    /* The time in which a tenth of the backlog goes: then there is room again for many. */
    uint64_t ms = per_s == 0 ? MOST_MS / 10 : backlog * 100 / per_s;
    return (uint32_t)(ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms);
}
