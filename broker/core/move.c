/* move.c: fallback. Jobs that go on in another route's lane, and verifies that are looked up. */
#include "broker/core/internal.h"

/* ---- moving ---------------------------------------------------------------------------------- */

/* Only these may begin elsewhere: nothing of theirs is anywhere yet. */
static bool may_move(const struct job *j)
{
    bool begins = j->op == WIRE_OP_SEND || j->op == WIRE_OP_FLASH_CREATE;
    return begins && (j->flags & JOB_WAS_STARTED) == 0;
}

static bool has_moves_left(const struct job *j)
{
    return j->more == NULL || j->more->moves < CORE_MOVES_MAX;
}

static bool has_room(const struct core *core, const struct route *r)
{
    return route_backlog(r) < core->limits.route_jobs_max;
}

/* Where to go from the lane it is in: the next of its own route's list that is known, takes calls
 * and is not full. A lane that is not in the list is at its end. */
static struct route *next_lane(const struct core *core, const struct job *j)
{
    const struct route *asked = job_asked(j);
    const struct route *here = job_route(j);
    const struct core_route_policy *p = &asked->policy;
    uint32_t i = 0;
    if (here != asked) {
        while (i < p->fallback_count && !slice_eq(p->fallback[i], route_name_of(here))) {
            i++;
        }
        i++;
    }
    for (; i < p->fallback_count; i++) {
        struct route *r = route_find(core, p->fallback[i]);
        if (r != NULL && r != here && r != asked && r->policy.known && !r->policy.closed &&
            !route_shut(core, r) && has_room(core, r)) {
            return r;
        }
    }
    return NULL;
}

static void move(struct core *core, struct job *j, struct route *to, enum job_state state,
                 enum result_code why)
{
    struct route *from = job_route(j);
    struct job_more *more = job_more(j);
    uint32_t band = (j->flags & JOB_LOOK) != 0 ? more->look_band : j->lane->band;
    struct lane *lane = lane_beside(core, j, to, band);
    must(more->moves < CORE_MOVES_MAX && to != from);
    more->moves++;
    more->moved = (uint8_t)why;
    from->moved_out++;
    to->moved_in++;
    if (more->asked == NULL) {
        more->asked = from;
        from->away++;
    } else if (more->asked == to) {
        more->asked = NULL;
        to->away--;
    }
    job_set_lane(core, j, lane, state);
    j->flags &= (uint16_t)~JOB_LOOK;
}

bool move_on(struct core *core, struct job *j, enum result_code why)
{
    struct route *to = may_move(j) && has_moves_left(j) ? next_lane(core, j) : NULL;
    if (to != NULL) {
        move(core, j, to, JOB_QUEUED, why);
    }
    return to != NULL;
}

bool move_via(struct core *core, struct job *j, struct slice via, enum job_state to)
{
    struct route *lane = route_find(core, via);
    if (lane == NULL || !lane->policy.known || (lane->policy.closed && may_move(j))) {
        lane = may_move(j) ? next_lane(core, j) : NULL;
    }
    if (lane == NULL || !has_moves_left(j)) {
        return false;
    }
    move(core, j, lane, to, RESULT_NONE);
    return true;
}

/* ---- looking up ------------------------------------------------------------------------------ */

static void look(struct core *core, struct job *j, enum result_code why)
{
    struct job_more *more = job_more(j);
    more->look_band = j->lane->band;
    more->moved = (uint8_t)why;
    job_set_lane(core, j, &j->lane->flow->lanes[FREE_BAND], JOB_QUEUED);
    j->flags |= JOB_LOOK;
}

void look_over(struct core *core, struct job *j, enum job_state to)
{
    struct job_more *more = job_more(j);
    more->moved = RESULT_NONE;
    job_set_lane(core, j, &j->lane->flow->lanes[more->look_band], to);
    j->flags &= (uint16_t)~JOB_LOOK;
}

/* ---- looking through a shut route ------------------------------------------------------------ */

/* Most routes have no fallback and nobody's jobs but their own: those are not looked through. */
static bool worth_sifting(const struct route *r)
{
    return r->policy.known && (r->policy.fallback_count > 0 || r->moved_in > 0);
}

static void sift_from(struct core *core, struct route *r, uint32_t slot)
{
    r->sift = slot;
    list_remove(&r->sift_turn);
    list_push(&core->sifting, &r->sift_turn);
}

void sift_start(struct core *core, struct route *r)
{
    if (worth_sifting(r) && r->waiting.first != NO_JOB) {
        r->stuck = false;
        sift_from(core, r, r->waiting.first);
    }
}

void sift_joined(struct core *core, struct route *r, const struct job *j)
{
    if (r->shut && r->sift == NO_JOB && worth_sifting(r)) {
        sift_from(core, r, j->slot);
    }
}

void sift_left(struct route *r, const struct job *j)
{
    if (r->sift == j->slot) {
        r->sift = j->next; /* at the end, sift_step takes the route from its list */
    }
}

void sift_stop(struct route *r)
{
    r->sift = NO_JOB;
    r->stuck = false;
    list_remove(&r->sift_turn);
}

void sift_stuck(struct core *core)
{
    struct list *turn;
    while ((turn = list_first(&core->stuck)) != NULL) {
        struct route *r = list_owner(turn, struct route, sift_turn);
        sift_stop(r);
        sift_start(core, r);
    }
}

static void sift_job(struct core *core, struct route *r, struct job *j)
{
    enum result_code why =
        r->policy.paused ? RESULT_INTEGRATION_PAUSED : RESULT_ADVERTISER_UNREACHABLE;
    if (!job_calls(j) || job_asked(j)->policy.fallback_count == 0) {
        return;
    }
    const unsigned settled = JOB_WAS_STARTED | JOB_LOOKED;
    if (j->op == WIRE_OP_VERIFY && job_asked(j) == r && (j->flags & settled) == 0) {
        look(core, j, why);
    } else if (may_move(j) && has_moves_left(j) && !move_on(core, j, why)) {
        r->stuck = true;
    }
}

void sift_step(struct core *core, uint32_t *budget)
{
    struct list *turn;
    while (*budget > 0 && (turn = list_first(&core->sifting)) != NULL) {
        struct route *r = list_owner(turn, struct route, sift_turn);
        if (r->sift == NO_JOB) {
            list_remove(turn);
            if (r->stuck) {
                list_push(&core->stuck, turn);
            }
            continue;
        }
        struct job *j = job_at(core, r->sift);
        r->sift = j->next;
        --*budget;
        sift_job(core, r, j);
    }
}
