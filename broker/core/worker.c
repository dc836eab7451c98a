#include "broker/core/internal.h"

struct worker *worker_at(struct core *core, uint32_t worker)
{
    must(worker < core->limits.workers_max);
    return &core->workers[worker];
}

struct worker *worker_next(struct core *core)
{
    struct list *free = list_first(&core->free_workers);
    return free == NULL ? NULL : list_owner(free, struct worker, free);
}

void worker_spend(struct core *core, struct worker *w)
{
    must(w->alive && w->dispatched < w->credit);
    w->dispatched++;
    core->credit_free--;
    /* To the end of the turn, so that the load spreads. */
    list_remove(&w->free);
    if (w->dispatched < w->credit) {
        list_push(&core->free_workers, &w->free);
    }
}

void core_worker_joined(struct core *core, uint32_t worker, int64_t now_ms)
{
    core_tick(core, now_ms);
    struct worker *w = worker_at(core, worker);
    must(!w->alive);
    *w = (struct worker){.alive = true};
    list_init(&w->free);
    core->worker_count++;
}

void core_worker_credit(struct core *core, uint32_t worker, uint64_t total, int64_t now_ms)
{
    core_tick(core, now_ms);
    struct worker *w = worker_at(core, worker);
    must(w->alive);
    /* What a worker says is from outside: too much or less than before is cut, not believed. */
    if (total > w->dispatched + CREDIT_MAX) {
        total = w->dispatched + CREDIT_MAX;
    }
    if (total <= w->credit) {
        return;
    }
    core->credit_free += total - w->credit;
    w->credit = total;
    if (list_empty(&w->free)) {
        list_push(&core->free_workers, &w->free);
    }
}

void core_worker_gone(struct core *core, uint32_t worker, int64_t now_ms)
{
    core_tick(core, now_ms);
    struct worker *w = worker_at(core, worker);
    must(w->alive);
    list_remove(&w->free);
    core->credit_free -= w->credit - w->dispatched;
    core->worker_count--;
    w->alive = false;
    while (w->jobs.first != NO_JOB) {
        job_take_back(core, job_at(core, w->jobs.first));
    }
}
