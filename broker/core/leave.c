/* leave.c: a broker that leaves hands on what it has not begun. */
#include "broker/core/internal.h"

/* What forgetting a job costs, next to looking at one. */
enum { FORGET_COST = 16 };

/* A job that nobody would submit again would be lost: each of its waiters must hear. */
static bool all_hear(const struct core_leave *l, const struct job *j)
{
    if (j->client == 0 || !l->hears(l->context, j->client, job_id(j))) {
        return false;
    }
    for (uint32_t i = 0; j->more != NULL && i < j->more->waiter_count; i++) {
        if (!l->hears(l->context, j->more->clients[i], job_id(j))) {
            return false;
        }
    }
    return true;
}

/* Only those in memory, and only what certainly no worker has begun: another broker may start it
 * as new. */
static bool may_go(const struct core_leave *l, const struct job *j)
{
    return j->shelf == 0 && (j->state == JOB_QUEUED || j->state == JOB_DELAYED) &&
           (j->flags & JOB_MAYBE_STARTED) == 0 && all_hear(l, j);
}

bool core_hand_over(struct core *core, const struct core_leave *l, uint32_t *at, uint32_t budget,
                    int64_t now_ms)
{
    core_tick(core, now_ms);
    for (uint32_t spent = 0; spent < budget; spent++) {
        if (*at >= core->slots_used) {
            return false;
        }
        struct job *j = core->slots[++*at];
        bool live = j != NULL && ((uintptr_t)j & 1) == 0;
        if (live && may_go(l, j)) {
            core->handed_over++;
            job_route(j)->handed_over++;
            job_forget(core, j, CORE_HANDED_OVER);
            spent += FORGET_COST;
        }
    }
    return true;
}
