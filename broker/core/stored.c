/* stored.c: jobs that stand on a shelf of the store as well (broker/shelves.h). */
#include "broker/core/internal.h"

/* ---- entries --------------------------------------------------------------------------------- */

static uint32_t clamped_ttl(int32_t ms)
{
    return ms < 1 ? 1 : ms > WIRE_TTL_MAX_MS ? WIRE_TTL_MAX_MS : (uint32_t)ms;
}

/* The time to live with which it was accepted. */
static uint32_t whole_ttl(const struct core *core, const struct job *j)
{
    if ((j->flags & JOB_SETTLE) == 0) {
        return clamped_ttl((int32_t)(j->deadline - j->accepted));
    }
    uint32_t kept = j->more != NULL ? j->more->ttl_ms : 0;
    return clamped_ttl((int32_t)(kept != 0 ? kept : core->now - j->accepted));
}

static struct wire_submit submit_of(const struct job *j, uint32_t ttl_ms, uint32_t delay_ms)
{
    const struct tenant *t = j->lane->flow->tenant;
    return (struct wire_submit){
        .id = job_id(j),
        .route = route_name_of(job_asked(j)),
        .tenant = slice_make(t->name, t->name_n),
        .trace = job_trace(j),
        .op = (enum wire_op)j->op,
        .ack = WIRE_ACK_STORED,
        .pri = j->pri,
        .ttl_ms = ttl_ms,
        .delay_ms = delay_ms,
    };
}

void job_set_shelf(struct core *core, struct job *j, uint8_t shelf)
{
    struct route *r = job_route(j);
    core->shelved += (uint32_t)(shelf != 0) - (uint32_t)(j->shelf != 0);
    r->shelved += (uint32_t)(shelf != 0) - (uint32_t)(j->shelf != 0);
    core->on_shelf[j->shelf] -= j->shelf != 0;
    core->on_shelf[shelf] += shelf != 0;
    j->shelf = shelf;
}

void shelf_put(struct core *core, struct job *j, const struct wire_submit *s, struct slice body)
{
    job_set_shelf(core, j, core->shelf);
    job_set_state(core, j, JOB_STORING);
    core->effects.shelve(core->effects.context, j->shelf, j->slot, s, body);
}

/* The entry as it is now; nobody waits for it. */
static void put_again(const struct core *core, const struct job *j)
{
    bool settle = (j->flags & JOB_SETTLE) != 0 || !time_before(core->now, j->deadline);
    bool delayed = j->state == JOB_DELAYED && time_before(core->now, j->at);
    struct wire_submit s =
        submit_of(j, settle ? 0 : j->deadline - core->now, delayed ? j->at - core->now : 0);
    core->effects.shelve(core->effects.context, j->shelf, 0, &s, job_body(j));
}

/* Somebody may want it back: it ended without what was asked, and not by the advertiser's word. */
static bool is_dead(const struct wire_result *r)
{
    switch (r->code) {
    case RESULT_ADVERTISER_UNREACHABLE:
    case RESULT_INTEGRATION_NOT_FOUND:
    case RESULT_INTEGRATION_PAUSED:
    case RESULT_QUEUE_FULL:
    case RESULT_RATE_LIMITED:
    case RESULT_STORE_UNAVAILABLE:
    case RESULT_INTERNAL_ERROR:
        return r->end == JOB_END_REFUSED || r->end == JOB_END_EXPIRED;
    default:
        return r->end == JOB_END_EXPIRED;
    }
}

void shelf_remove(const struct core *core, const struct job *j, const struct wire_result *r,
                  bool waits)
{
    struct wire_submit s = submit_of(j, whole_ttl(core, j), 0);
    core->effects.unshelve(core->effects.context, j->shelf, waits ? j->slot : 0, &s, job_body(j), r,
                           is_dead(r));
}

/* ---- how it went ----------------------------------------------------------------------------- */

void job_tell(const struct core *core, const struct job *j, bool all, enum core_stored what)
{
    const struct core_effects *e = &core->effects;
    if (j->client != 0 && (all || (j->told & 1) != 0)) {
        e->stored(e->context, j->client, job_id(j), what);
    }
    for (uint32_t i = 0; j->more != NULL && i < j->more->waiter_count; i++) {
        if (all || (j->told >> (i + 1) & 1) != 0) {
            e->stored(e->context, j->more->clients[i], job_id(j), what);
        }
    }
}

static void count_accepted(struct core *core, const struct job *j)
{
    core->accepted++;
    job_route(j)->accepted++;
}

/* It stands there by now, and its end is known. waits: it is told when the entry is off again. */
static void end_on_shelf(struct core *core, struct job *j, bool waits)
{
    if (waits) {
        job_set_state(core, j, JOB_UNSHELVING);
    }
    shelf_remove(core, j, &j->more->ending->result, waits);
    if (!waits) {
        job_end_kept(core, j);
    }
}

/* Its first home after the shelf. */
static void go_on(struct core *core, struct job *j)
{
    if (time_before(core->now, j->deadline)) {
        job_set_state(core, j, time_before(core->now, j->at) ? JOB_DELAYED : JOB_QUEUED);
    } else if ((j->flags & JOB_MAYBE_STARTED) != 0) {
        job_settle(core, j);
    } else {
        job_end_plain(core, j, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
        end_on_shelf(core, j, !shelves_ours(core));
    }
}

void core_shelf(struct core *core, uint32_t shelf)
{
    const struct core_effects *e = &core->effects;
    must(shelf <= CORE_SHELVES_MAX);
    must(shelf == 0 || (e->shelve != NULL && e->unshelve != NULL && e->stored != NULL));
    core->shelf = (uint8_t)shelf;
}

void core_shelves_ours(struct core *core, int64_t until_ms)
{
    core->ours_until_ms = until_ms;
}

void core_shelved(struct core *core, uint32_t job, bool kept, int64_t now_ms)
{
    core_tick(core, now_ms);
    struct job *j = job_at(core, job);
    must(j->state == JOB_STORING);
    bool ends = j->more != NULL && j->more->ending != NULL;
    if (!kept && !ends) {
        job_forget(core, j, CORE_STORE_FAILED);
        return;
    }
    count_accepted(core, j);
    if (!kept) {
        job_end_kept(core, j);
        return;
    }
    job_tell(core, j, false, CORE_STORED);
    if (ends) {
        end_on_shelf(core, j, true);
    } else {
        go_on(core, j);
    }
}

void core_unshelved(struct core *core, uint32_t job, int64_t now_ms)
{
    core_tick(core, now_ms);
    struct job *j = job_at(core, job);
    must(j->state == JOB_UNSHELVING);
    job_end_kept(core, j);
}

/* ---- adoption -------------------------------------------------------------------------------- */

/* The entry is not needed: the job has ended, or stands elsewhere. One that cannot be done because
 * another job has its id was acknowledged all the same: a person should know. */
static void drop_entry(const struct core *core, uint32_t shelf, const struct wire_submit *s,
                       struct slice body, const struct wire_result *r)
{
    bool dead = r != NULL && r->code == RESULT_CONFLICT;
    core->effects.unshelve(core->effects.context, shelf, 0, s, body, r, dead);
}

static enum core_admit adopt_conflict(struct core *core, uint32_t shelf,
                                      const struct wire_submit *s, struct slice body)
{
    struct wire_result r = {.id = s->id, .end = JOB_END_REFUSED, .code = RESULT_CONFLICT};
    core->conflicts++;
    drop_entry(core, shelf, s, body, &r);
    return CORE_CONFLICT;
}

/* A client has sent it here already. */
static enum core_admit adopt_live(struct core *core, uint32_t shelf, struct job *j,
                                  const struct wire_submit *s, struct slice body)
{
    if (j->shelf == shelf) { /* the same entry, read twice */
        return CORE_DUPLICATE;
    }
    core->duplicates++;
    j->flags |= JOB_MAYBE_STARTED;
    if (j->shelf == 0) {
        job_set_shelf(core, j, (uint8_t)shelf);
    } else {
        drop_entry(core, shelf, s, body, NULL);
    }
    return CORE_DUPLICATE;
}

static enum core_admit adopt_ended(struct core *core, uint32_t shelf, const struct result_entry *e,
                                   const struct wire_submit *s, struct slice body)
{
    struct wire_result r = {
        .id = s->id,
        .end = (enum job_end)e->end,
        .code = (enum result_code)e->code,
        .queued_ms = e->queued_ms,
        .run_ms = e->run_ms,
        .attempts = e->attempts,
    };
    core->duplicates++;
    drop_entry(core, shelf, s, body, &r);
    return CORE_DUPLICATE;
}

/* Its lane. A route that is unknown by now gets one as well: only the store knows whether the job
 * has started, so it is settled. */
static enum core_admit adopt_lane(struct core *core, const struct wire_submit *s, struct lane **out)
{
    struct route *r = route_find(core, s->route);
    if (r == NULL) {
        r = route_add(core, s->route);
        if (r == NULL) {
            return CORE_FULL_ROUTES;
        }
        struct core_route_policy p = {.known = core->limits.unknown_routes_accepted};
        route_set_policy(core, r, &p);
    }
    uint32_t band = op_calls(s->op) ? band_of(s->pri) : FREE_BAND;
    enum core_admit why = lane_for(core, r, s->tenant, band, true, out);
    if (why != CORE_QUEUED) {
        route_reap(core, r);
    }
    return why;
}

static void adopt_new(struct core *core, struct job *j, uint32_t shelf, uint32_t age_ms)
{
    struct route *r = job_route(j);
    bool late = j->deadline == core->now;
    j->accepted = core->now - age_ms;
    j->flags |= JOB_MAYBE_STARTED;
    job_set_shelf(core, j, (uint8_t)shelf);
    core->adopted++;
    r->adopted++;
    if (late || !r->policy.known) {
        job_settle(core, j);
    } else {
        job_set_state(core, j, time_before(core->now, j->at) ? JOB_DELAYED : JOB_QUEUED);
    }
}

void core_expect(const struct core *core, struct slice id)
{
    index_expect(&core->ids, hash32(core, id));
}

enum core_admit core_adopt(struct core *core, uint32_t shelf, const struct wire_submit *s,
                           struct slice body, uint32_t age_ms, int64_t now_ms)
{
    must(shelf > 0 && shelf <= CORE_SHELVES_MAX && core->effects.unshelve != NULL);
    core_tick(core, now_ms);
    results_expire(core);
    uint32_t hash = hash32(core, s->id);
    uint64_t fingerprint = fingerprint_of(core, s, body);
    struct found found = core_find(core, s->id, hash);
    if (found.job != NULL && found.job->shelf != shelf &&
        (found.job->state == JOB_STORING || found.job->state == JOB_UNSHELVING)) {
        return CORE_FULL_TOTAL; /* not before it is known which of the two entries is to be kept */
    }
    if (found.job != NULL) {
        return found.job->fingerprint == fingerprint ? adopt_live(core, shelf, found.job, s, body)
                                                     : adopt_conflict(core, shelf, s, body);
    }
    if (found.result != NULL) {
        return found.result->fingerprint == fingerprint
                   ? adopt_ended(core, shelf, found.result, s, body)
                   : adopt_conflict(core, shelf, s, body);
    }
    enum core_admit why = core_room(core, s, body);
    struct lane *lane = NULL;
    if (why == CORE_QUEUED) {
        why = adopt_lane(core, s, &lane);
    }
    if (why == CORE_QUEUED) {
        adopt_new(core, job_new(core, s, body, hash, fingerprint, lane), shelf, age_ms);
    }
    return why;
}

/* ---- shelves that are lost, stores that forget ----------------------------------------------- */

/* The job in that place, or NULL. */
static struct job *live_at(const struct core *core, uint32_t slot)
{
    struct job *j = core->slots[slot];
    return j != NULL && ((uintptr_t)j & 1) == 0 ? j : NULL;
}

void core_shelf_lost(struct core *core, uint32_t shelf, int64_t now_ms)
{
    core_tick(core, now_ms);
    must(shelf > 0 && shelf <= CORE_SHELVES_MAX);
    if (core->shelf == shelf) {
        core->shelf = 0;
    }
    core->again[shelf] = false;
    for (uint32_t slot = 1; core->on_shelf[shelf] > 0; slot++) {
        must(slot <= core->slots_used);
        struct job *j = live_at(core, slot);
        if (j == NULL || j->shelf != shelf) {
            continue;
        }
        if (j->state == JOB_DISPATCHED || j->state == JOB_STARTED) {
            job_set_shelf(core, j, 0);
            j->flags |= JOB_MAYBE_STARTED; /* another broker may send it out as well */
            continue;
        }
        if (j->state != JOB_STORING) {
            core->handed_over++;
            job_route(j)->handed_over++;
        }
        job_forget(core, j, CORE_STORED_MOVED);
    }
}

static bool stands(const struct job *j, uint32_t shelf)
{
    return j->shelf == shelf && j->state != JOB_STORING && j->state != JOB_UNSHELVING;
}

bool core_shelf_again(struct core *core, uint32_t shelf, uint32_t *at, uint32_t most)
{
    must(shelf > 0 && shelf <= CORE_SHELVES_MAX);
    core->again[shelf] = true;
    while (*at < core->slots_used) {
        struct job *j = live_at(core, *at + 1);
        if (j != NULL && stands(j, shelf)) {
            if (most-- == 0) {
                return true;
            }
            put_again(core, j);
        }
        ++*at;
    }
    core->again[shelf] = false;
    return false;
}

void shelf_place_changed(const struct core *core, const struct job *j, uint32_t before)
{
    if (core->again[j->shelf] && j->slot < before) {
        put_again(core, j);
    }
}

void job_settle_forgotten(struct core *core, struct job *j)
{
    j->flags = (uint16_t)((j->flags & ~JOB_FORGOTTEN) | JOB_MAYBE_STARTED | JOB_WAS_STARTED);
    job_settle(core, j);
}

/* The store may have lost that a worker started it. One that lives tells the store again: only
 * should it die before, or the job have been with one that had died, is nobody left who would. */
static void store_lost(struct core *core, struct job *j)
{
    bool bereaved = (j->flags & JOB_BEREAVED) != 0;
    switch ((enum job_state)j->state) {
    case JOB_DISPATCHED:
    case JOB_STARTED:
        j->flags |= JOB_FORGOTTEN;
        break;
    case JOB_DELAYED:
    case JOB_QUEUED:
        if (bereaved && (j->flags & JOB_SETTLE) == 0) {
            job_settle_forgotten(core, j);
            break;
        } /* fall through */
    case JOB_SETTLING:
        j->flags |= bereaved ? JOB_WAS_STARTED : 0;
        break;
    case JOB_NEW:
    case JOB_STORING:
    case JOB_UNSHELVING:
    case JOB_ENDED:
    case JOB_STATES:
        break;
    }
}

void core_store_forgot(struct core *core, int64_t now_ms)
{
    core_tick(core, now_ms);
    core->hold_until_ms = core->reassert_until_ms = core->now_ms + CORE_REASSERT_MS;
    for (uint32_t slot = 1; slot <= core->slots_used; slot++) {
        struct job *j = live_at(core, slot);
        if (j != NULL) {
            store_lost(core, j);
        }
    }
}

void core_store_away(struct core *core, bool away, int64_t now_ms)
{
    core_tick(core, now_ms);
    core->hold_until_ms = away ? core->now_ms + AWAY_MS : core->reassert_until_ms;
}

bool job_held(struct core *core, struct job *j)
{
    if (!store_unsure(core) || !job_calls(j) || (j->flags & JOB_MAYBE_STARTED) == 0) {
        return false;
    }
    int64_t left_ms =
        core->hold_until_ms - core->now_ms; /* a store that is away may be back soon */
    j->at = core->now + (uint32_t)(left_ms < CORE_REASSERT_MS ? left_ms : CORE_REASSERT_MS);
    job_set_state(core, j, JOB_DELAYED);
    return true;
}
