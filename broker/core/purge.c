/* purge.c: ends what waits in a queue, a part at a time. */
#include "broker/core/internal.h"

/* What ending a job costs, next to looking at one. */
enum { END_COST = 16 };

/* Nobody has begun it, and nobody can have: the same jobs that may be cancelled. */
static bool certainly_waits(const struct job *j)
{
    return (j->state == JOB_QUEUED || j->state == JOB_DELAYED) &&
           (j->flags & JOB_MAYBE_STARTED) == 0;
}

static bool is_meant(const struct core_purge *p, const struct job *j)
{
    const struct tenant *t = j->lane->flow->tenant;
    return (p->route.n == 0 || slice_eq(p->route, route_name_of(job_route(j)))) &&
           (!p->of_tenant || slice_eq(p->tenant, slice_make(t->name, t->name_n))) &&
           (!p->of_op || p->op == (enum wire_op)j->op) &&
           !time_before((uint32_t)p->before_ms, j->accepted);
}

static uint32_t purge_job(struct core *core, const struct core_purge *p, struct job *j,
                          struct core_purged *sum)
{
    if (!is_meant(p, j)) {
        return 1;
    }
    if (j->state == JOB_STORING || j->state == JOB_UNSHELVING) {
        sum->pending++;
        return 1;
    }
    if (!certainly_waits(j)) {
        sum->kept++;
        return 1;
    }
    sum->ended++;
    if (p->dry) {
        return 1;
    }
    sum->pending += j->shelf != 0; /* its entry comes off first */
    job_end_plain(core, j, JOB_END_CANCELLED, RESULT_CANCELLED);
    return END_COST;
}

bool core_purge(struct core *core, const struct core_purge *p, uint32_t *at, uint32_t budget,
                int64_t now_ms, struct core_purged *sum)
{
    core_tick(core, now_ms);
    for (uint32_t spent = 0; spent < budget;) {
        if (*at >= core->slots_used) {
            return false;
        }
        struct job *j = core->slots[++*at];
        bool live = j != NULL && ((uintptr_t)j & 1) == 0;
        spent += live ? purge_job(core, p, j, sum) : 1;
    }
    return true;
}
