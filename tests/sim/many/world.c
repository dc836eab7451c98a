/* world.c: what is to come, processes and what befalls them, the loop. */
#include <inttypes.h>
#include <unistd.h>

#include "tests/sim/many/many.h"
#include "tests/sim/sim.h"

enum {
    CLOSING_MS_MAX = 900 * 1000,
    THINGS_MAX = 1 << 20,
    SWEEP_EVERY = 200,    /* … between looks at all jobs */
    CHECK_EVERY = 32,     /* steps between looks at everything inside the cores */
    LONG_RUN = 500 * 1000 /* steps: then everything must have happened */
};

struct many the_many;

/* ---- what is to come ------------------------------------------------------------------------- */

static bool before(const struct thing *a, const struct thing *b)
{
    return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

static void swap(struct thing *a, struct thing *b)
{
    struct thing t = *a;
    *a = *b;
    *b = t;
}

void many_plan(struct many *w, int64_t at, const struct thing *t)
{
    must(w->queue_n < THINGS_MAX);
    if (w->queue_n == w->queue_cap) {
        w->queue_cap = w->queue_cap == 0 ? 1024 : 2 * w->queue_cap;
        w->queue = realloc(w->queue, w->queue_cap * sizeof *w->queue);
        must(w->queue != NULL);
    }
    uint32_t i = w->queue_n++;
    w->queue[i] = *t;
    w->queue[i].at = at > w->now ? at : w->now;
    w->queue[i].seq = w->seq++;
    for (; i > 0 && before(&w->queue[i], &w->queue[(i - 1) / 2]); i = (i - 1) / 2) {
        swap(&w->queue[i], &w->queue[(i - 1) / 2]);
    }
}

static struct thing next_thing(struct many *w)
{
    must(w->queue_n > 0);
    struct thing first = w->queue[0];
    w->queue[0] = w->queue[--w->queue_n];
    for (uint32_t i = 0, child = 1; child < w->queue_n; i = child, child = 2 * i + 1) {
        if (child + 1 < w->queue_n && before(&w->queue[child + 1], &w->queue[child])) {
            child++;
        }
        if (!before(&w->queue[child], &w->queue[i])) {
            break;
        }
        swap(&w->queue[child], &w->queue[i]);
    }
    return first;
}

int64_t many_arrival(struct many *w, int64_t *last)
{
    int64_t at = w->now + many_below(w, LATENCY_MS);
    *last = at > *last ? at : *last;
    return *last;
}

struct thing many_at_proc(const struct many *w, uint32_t proc)
{
    return (struct thing){.proc = proc + 1, .life = w->procs[proc].life};
}

/* ---- processes ------------------------------------------------------------------------------- */

static void wait_until_it_runs(struct proc *p, const struct thing *t)
{
    if (p->backlog_n == p->backlog_cap) {
        p->backlog_cap = p->backlog_cap == 0 ? 64 : 2 * p->backlog_cap;
        p->backlog = realloc(p->backlog, p->backlog_cap * sizeof *p->backlog);
        must(p->backlog != NULL);
    }
    p->backlog[p->backlog_n++] = *t;
}

static void backlog_drop(struct proc *p)
{
    for (uint32_t i = 0; i < p->backlog_n; i++) {
        free(p->backlog[i].p);
    }
    p->backlog_n = 0;
}

static void happen(struct many *w, struct thing *t)
{
    struct proc *p = t->proc == 0 ? NULL : &w->procs[t->proc - 1];
    if (p != NULL && (!p->alive || p->life != t->life)) {
        free(t->p);
        return;
    }
    if (p != NULL && p->paused) {
        wait_until_it_runs(p, t);
        return;
    }
    t->act(w, t);
    free(t->p);
    if (p != NULL && t->proc <= BROKERS && p->alive && p->life == t->life) {
        broker_turn(w, t->proc - 1);
    }
}

static void proc_start(struct many *w, uint32_t i)
{
    struct proc *p = &w->procs[i];
    p->alive = true;
    p->paused = false;
    p->life++;
    many_note(w, w->watched, "process %u starts", i);
    p->bad_at = p->harmed_at = w->now;
    if (i < BROKERS) {
        broker_start(w, i);
    } else {
        worker_start(w, i - BROKERS);
        for (uint32_t b = 0; b < w->brokers_n; b++) {
            link_join(w, b, i - BROKERS);
        }
    }
}

static void proc_kill(struct many *w, uint32_t i)
{
    struct proc *p = &w->procs[i];
    w->counts.kills++;
    many_note(w, w->watched, "process %u dies", i);
    backlog_drop(p);
    timers_forget(i);
    p->alive = p->paused = false;
    p->bad_at = p->harmed_at = w->now;
    if (i < BROKERS) {
        broker_kill(w, i);
    } else {
        worker_kill(w, i - BROKERS);
        for (uint32_t b = 0; b < w->brokers_n; b++) {
            link_lost(w, b, i - BROKERS);
        }
    }
}

static void proc_resume(struct many *w, uint32_t i)
{
    struct proc *p = &w->procs[i];
    struct thing *backlog = p->backlog;
    uint32_t n = p->backlog_n;
    uint32_t life = p->life;
    if (!p->paused) {
        return;
    }
    many_note(w, w->watched, "process %u goes on", i);
    p->paused = false;
    p->bad_at = p->harmed_at = w->now;
    p->backlog = NULL;
    p->backlog_n = p->backlog_cap = 0;
    for (uint32_t k = 0; k < n; k++) {
        if (p->alive && p->life == life) {
            backlog[k].act(w, &backlog[k]);
        }
        free(backlog[k].p);
    }
    free(backlog);
    if (i < BROKERS && p->alive && p->life == life) {
        broker_turn(w, i);
    }
    for (uint32_t b = 0; i >= BROKERS && b < w->brokers_n; b++) {
        if (w->links[b][i - BROKERS].lost) {
            link_join(w, b, i - BROKERS);
        }
    }
}

/* ---- what befalls them ----------------------------------------------------------------------- */

static void on_restart(struct many *w, struct thing *t)
{
    if (!w->procs[t->u].alive) {
        proc_start(w, t->u);
    }
}

static void on_resume(struct many *w, struct thing *t)
{
    if (w->procs[t->u].life == t->v) {
        proc_resume(w, t->u);
    }
}

static void kill_and_restart(struct many *w, uint32_t i)
{
    if (w->procs[i].alive) {
        proc_kill(w, i);
        many_plan(w, w->now + 1 + many_below(w, many_one_in(w, 3) ? 8000 : 1500),
                  &(struct thing){.act = on_restart, .u = i});
    }
}

/* Short of what makes others act, about that, and far beyond it. */
static uint32_t some_while(struct many *w)
{
    static const uint32_t most_ms[] = {200, 900, 1200, 4000, 12000};
    return 1 + many_below(w, most_ms[many_below(w, ARRAY_LEN(most_ms))]);
}

static void on_pause_noticed(struct many *w, struct thing *t)
{
    const struct proc *p = &w->procs[t->u];
    for (uint32_t b = 0; p->paused && p->life == t->v && b < w->brokers_n; b++) {
        link_lost(w, b, t->u - BROKERS);
    }
}

static void pause_for_a_while(struct many *w, uint32_t i)
{
    struct proc *p = &w->procs[i];
    if (p->alive && !p->paused) {
        w->counts.pauses++;
        many_note(w, w->watched, "process %u stands still", i);
        p->paused = true;
        p->bad_at = p->harmed_at = w->now;
        many_plan(w, w->now + some_while(w),
                  &(struct thing){.act = on_resume, .u = i, .v = p->life});
        if (i >= BROKERS) {
            many_plan(w, w->now + SILENCE_MS,
                      &(struct thing){.act = on_pause_noticed, .u = i, .v = p->life});
        }
    }
}

static void on_store_mended(struct many *w, struct thing *t)
{
    if (t->u < BROKERS) {
        w->brokers[t->u].store_cut = false;
    } else {
        w->workers[t->u - BROKERS].store_cut = false;
    }
    w->procs[t->u].bad_at = w->procs[t->u].harmed_at = w->now;
}

static void cut_from_store(struct many *w, uint32_t i)
{
    w->counts.partitions++;
    many_note(w, w->watched, "process %u is cut off from the store", i);
    w->procs[i].bad_at = w->procs[i].harmed_at = w->now;
    if (i < BROKERS) {
        w->brokers[i].store_cut = true;
    } else {
        w->workers[i - BROKERS].store_cut = true;
    }
    many_plan(w, w->now + some_while(w), &(struct thing){.act = on_store_mended, .u = i});
}

static void on_silence(struct many *w, struct thing *t)
{
    if (w->links[t->u][t->v].cut && w->links[t->u][t->v].epoch == t->a) {
        link_lost(w, t->u, t->v);
    }
}

static void on_link_mended(struct many *w, struct thing *t)
{
    struct link *l = &w->links[t->u][t->v];
    l->cut = false;
    if (l->lost) {
        link_join(w, t->u, t->v);
    }
}

static void cut_link(struct many *w, uint32_t broker, uint32_t worker)
{
    struct link *l = &w->links[broker][worker];
    if (l->cut || !l->joined) {
        return;
    }
    w->counts.partitions++;
    w->procs[BROKERS + worker].harmed_at = w->now;
    l->cut = true;
    struct thing t = {.act = on_silence, .u = broker, .v = worker, .a = l->epoch};
    many_plan(w, w->now + SILENCE_MS, &t);
    t.act = on_link_mended;
    many_plan(w, w->now + some_while(w), &t);
}

static void all_stores_lost(struct many *w)
{
    for (uint32_t b = 0; b < w->brokers_n; b++) {
        store_lost(w, b);
    }
}

static void on_redis_up(struct many *w, struct thing *t)
{
    (void)t;
    w->redis.up = true;
    workers_reconnect(w);
    w->redis.away_at = w->now;
}

static void redis_away(struct many *w, bool forgets)
{
    if (!w->redis.up) {
        return;
    }
    w->redis.up = false;
    w->redis.away_at = w->now;
    if (forgets) {
        w->counts.failovers++;
        redis_failover(w);
        many_note(w, w->watched, "the store fails over");
        ledger_failover(w);
    } else {
        w->counts.outages++;
    }
    all_stores_lost(w);
    many_plan(w, w->now + 1 + many_below(w, 2500), &(struct thing){.act = on_redis_up});
}

static void on_fault(struct many *w, struct thing *t)
{
    uint32_t broker = many_below(w, w->brokers_n);
    uint32_t worker = many_below(w, WORKERS);
    if (w->closing) {
        return;
    }
    /* by turns calm and stormy */
    bool storm = (w->now / 20000) % 3 == 0;
    many_plan(w, w->now + 1 + many_below(w, storm ? 1500 : 7000), t);
    switch (many_below(w, 20)) {
    case 0:
    case 1:
    case 2:
        kill_and_restart(w, broker);
        break;
    case 3:
    case 4:
    case 5:
        pause_for_a_while(w, broker);
        break;
    case 6:
    case 7:
        kill_and_restart(w, BROKERS + worker);
        break;
    case 8:
    case 9:
    case 10:
        pause_for_a_while(w, BROKERS + worker);
        break;
    case 11:
    case 12:
        cut_link(w, broker, worker);
        break;
    case 13:
    case 14:
        cut_from_store(w, broker);
        break;
    case 15:
        cut_from_store(w, BROKERS + worker);
        break;
    case 16:
        redis_away(w, false);
        break;
    case 17:
        redis_away(w, true);
        break;
    default:
        w->procs[broker].bad_at = w->now;
        store_lost(w, broker);
        break;
    }
}

static void on_reaper(struct many *w, struct thing *t)
{
    if (w->redis.up) {
        claims_reap(w);
    }
    many_plan(w, w->now + 300 + many_below(w, 400), t);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void step(struct many *w)
{
    struct thing t = next_thing(w);
    w->now = t.at > w->now ? t.at : w->now;
    happen(w, &t);
    w->step++;
    if (w->step % CHECK_EVERY == 0) {
        brokers_check(w);
    }
    if (w->step % SWEEP_EVERY == 0) {
        ledger_sweep(w);
    }
}

static void many_begin(struct many *w, uint64_t seed, enum plant plant)
{
    *w = (struct many){.seed = seed, .plant = plant, .now = 1000000, .next_job = 1, .oldest = 1};
    rng_seed(&w->rng, seed);
    rng_seed(&w->secret, seed ^ 0x5ec7e7);
    w->now += many_below(w, 1 << 30) * 4LL; /* so that some runs pass the wrap of 32-bit times */
    w->brokers_n = 2 + many_below(w, BROKERS - 1);
    w->models = xcalloc(JOBS, sizeof *w->models);
    redis_init(&w->redis);
    for (uint32_t b = 0; b < w->brokers_n; b++) {
        proc_start(w, b);
    }
    for (uint32_t k = 0; k < WORKERS; k++) {
        proc_start(w, BROKERS + k);
    }
    clients_begin(w);
    many_plan(w, w->now + 3000, &(struct thing){.act = on_fault});
    many_plan(w, w->now + 500, &(struct thing){.act = on_reaper});
}

/* No new jobs and no more faults: everything that was accepted must end, and leave nothing. */
static void many_close(struct many *w)
{
    int64_t until = w->now + CLOSING_MS_MAX;
    w->closing = true;
    while (w->live > 0) {
        must(w->now < until); /* else something was lost, or never ends */
        step(w);
    }
    int64_t quiet = w->now + 20 * 1000; /* shelves are swept once a second */
    while (w->now < quiet) {
        step(w);
    }
    brokers_check(w);
    redis_check_empty(w);
}

static void many_end(struct many *w)
{
    for (uint32_t i = 0; i < PROCS; i++) {
        if (w->procs[i].alive) {
            proc_kill(w, i);
        }
        backlog_drop(&w->procs[i]);
        free(w->procs[i].backlog);
    }
    for (uint32_t i = 0; i < w->queue_n; i++) {
        free(w->queue[i].p);
    }
    free(w->queue);
    free(w->models);
    redis_free(&w->redis);
}

static void say(const struct many *w, uint64_t simulated_ms)
{
    const struct counts *c = &w->counts;
    printf("sim: ok world=many seed=%" PRIu64 " steps=%" PRIu64 " simulated_s=%" PRIu64
           " brokers=%" PRIu32 " jobs=%" PRIu64 " stored=%" PRIu64 " done=%" PRIu64
           " refused=%" PRIu64 " unknown=%" PRIu64 " expired=%" PRIu64 " cancelled=%" PRIu64
           " not_taken=%" PRIu64 " gave_up=%" PRIu64 " starts=%" PRIu64 " kills=%" PRIu64
           " pauses=%" PRIu64 " partitions=%" PRIu64 " outages=%" PRIu64 " failovers=%" PRIu64
           " undone=%" PRIu64 " adopted=%" PRIu64 " deposed=%" PRIu64 " moved=%" PRIu64
           " lost_answers=%" PRIu64 " late_commands=%" PRIu64 " conflicts=%" PRIu64
           " corrected=%" PRIu64 " put_back=%" PRIu64 " revived=%" PRIu64 " excused_starts=%" PRIu64
           " excused_waits=%" PRIu64 " excused_orphans=%" PRIu64 " excused_ends=%" PRIu64
           " excused_removals=%" PRIu64 " excused_copies=%" PRIu64 " excused_words=%" PRIu64
           " excused_losses=%" PRIu64 "\n",
           w->seed, w->step, simulated_ms / 1000, w->brokers_n, c->jobs, c->stored, c->done,
           c->refused, c->unknown, c->expired, c->cancelled, c->not_taken, c->gave_up, c->starts,
           c->kills, c->pauses, c->partitions, c->outages, c->failovers, c->undone, c->adopted,
           c->deposed, c->moved, c->lost_answers, c->late_commands, c->conflicts, c->corrected,
           c->put_back, c->revived, c->excused_starts, c->excused_waits, c->excused_orphans,
           c->excused_ends, c->excused_removals, c->excused_copies, c->excused_words,
           c->excused_losses);
}

uint64_t many_step(void)
{
    return the_many.step;
}

uint64_t many_judged(void)
{
    return the_many.judged;
}

void many_run(uint64_t seed, uint64_t steps, uint32_t plant, uint64_t job)
{
    struct many *w = &the_many;
    many_begin(w, seed, (enum plant)plant);
    w->watched = job;
    int64_t began = w->now;
    while (w->step < steps) {
        step(w);
    }
    many_close(w);
    const struct counts *c = &w->counts;
    must(steps < LONG_RUN || (c->adopted > 0 && c->deposed > 0 && c->moved > 0 && c->undone > 0 &&
                              c->late_commands > 0 && c->conflicts > 0 && c->cancelled > 0));
    say(w, (uint64_t)(w->now - began));
    many_end(w);
}
