/* sim.c: the world of one broker: the loop, the end. */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/sim/world.h"

enum {
    CHECK_ALL_EVERY = 8,
    CHECK_ALL_BELOW = 100,
    CLOSING_MS_MAX = 600 * 1000,
    LONG_RUN = 1000 * 1000, /* steps */
    LONG_BACKLOG = 100,     /* jobs */
    MANY = 1000             /* dispatches of a kind, or it was hardly tested */
};

static struct world the_world;

void world_plan(struct world *w, uint32_t in_ms, const struct event *e)
{
    must(w->free_event_count > 0);
    uint32_t at = w->free_events[--w->free_event_count];
    w->events[at] = *e;
    heap_push(&w->queue, (uint32_t)w->now + in_ms, at);
}

static void happen(struct world *w, const struct event *e)
{
    static void (*const acts[EVENT_KINDS])(struct world *, const struct event *) = {
        [EVENT_CLIENT] = client_acts,       [EVENT_OPERATOR] = operator_acts,
        [EVENT_WORKER_LIFE] = worker_life,  [EVENT_WORKER_GONE] = worker_found_gone,
        [EVENT_STORE] = store_toggle,       [EVENT_RECEIVE] = worker_receive,
        [EVENT_CALL_END] = worker_call_end, [EVENT_MESSAGE] = broker_message,
        [EVENT_LOST] = result_lost,
    };
    acts[e->kind](w, e);
}

/* The next thing: an event, or the moment at which the core wanted to be called. */
static void world_step(struct world *w, int64_t *wake)
{
    must(w->queue.count > 0);
    int64_t next = w->now + (int32_t)(w->queue.entries[0].at - (uint32_t)w->now);
    bool broker_sleeps = one_in(w, 500); /* too busy to be called in time */
    if (*wake < next && !broker_sleeps) {
        w->now = *wake > w->now ? *wake : w->now;
    } else {
        uint32_t at = heap_pop(&w->queue).ref;
        struct event e = w->events[at];
        w->free_events[w->free_event_count++] = at;
        w->now = next > w->now ? next : w->now;
        happen(w, &e);
        shares_look(w);
    }
    *wake = core_step(w->core, w->now, 1 + below(w, 64));
    w->step++;
    shares_look(w);
    model_ask_silent(w);
    model_check(w);
    if (w->live < CHECK_ALL_BELOW || w->step % CHECK_ALL_EVERY == 0) {
        core_check(w->core, w->now);
    }
}

static void world_start(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .now = 1000000, .store_up = true, .next_job = 1};
    rng_seed(&w->rng, seed);
    w->now += below(w, 1 << 30) * 4LL; /* so that some runs pass the wrap of 32-bit times */
    w->models = xcalloc(SIM_JOBS, sizeof(*w->models));
    w->events = xcalloc(SIM_EVENTS_MAX, sizeof(*w->events));
    w->free_events = xcalloc(SIM_EVENTS_MAX, sizeof(*w->free_events));
    for (uint32_t i = 0; i < SIM_EVENTS_MAX; i++) {
        w->free_events[w->free_event_count++] = i;
    }
    heap_init(&w->queue);
    struct core_limits limits = {
        .jobs_max = 700,
        .bytes_max = 120000,
        .route_jobs_max = 400,
        .tenant_jobs_max = 100,
        .routes_max = SIM_ROUTES,
        .tenants_max = SIM_TENANTS_MAX,
        .workers_max = SIM_WORKERS,
        .results_max = 1000,
        .results_bytes_max = 60000,
        .result_ttl_ms = 20000,
        .attempts_max = 4,
        .seed = seed,
    };
    struct core_effects effects = {.context = w, .dispatch = on_dispatch, .answer = on_answer};
    w->core = core_new(&limits, &effects, w->now);
    for (uint32_t route = 0; route < SIM_ROUTES; route++) {
        route_open(w, route);
    }
    for (uint32_t tenant = 0; tenant < SIM_TENANTS; tenant++) {
        shares_weight(w, tenant, 1);
    }
    for (uint32_t worker = 0; worker < SIM_WORKERS; worker++) {
        w->workers[worker].capacity = 1 + below(w, 60);
        world_plan(w, below(w, 3000), &(struct event){.kind = EVENT_WORKER_LIFE, .worker = worker});
    }
    world_plan(w, 0, &(struct event){.kind = EVENT_CLIENT});
    world_plan(w, 0, &(struct event){.kind = EVENT_OPERATOR});
    world_plan(w, 30000, &(struct event){.kind = EVENT_STORE});
}

/* No new jobs, all gates open, nobody dies: everything that was accepted must end. */
static void world_close(struct world *w, int64_t *wake)
{
    w->closing = true;
    w->store_up = true;
    for (uint32_t route = 0; route < SIM_ROUTES; route++) {
        route_open(w, route);
    }
    int64_t until = w->now + CLOSING_MS_MAX;
    while (w->live > 0) {
        must(w->now < until);
        world_step(w, wake);
    }
    core_check(w->core, w->now);
}

static void world_end(struct world *w)
{
    core_destroy(&w->core);
    heap_free(&w->queue);
    free(w->models);
    free(w->events);
    free(w->free_events);
}

uint64_t one_step(void)
{
    return the_world.step;
}

void one_run(uint64_t seed, uint64_t steps)
{
    struct world *w = &the_world;
    world_start(w, seed);
    int64_t began = w->now;
    int64_t wake = w->now;
    while (w->step < steps) {
        world_step(w, &wake);
        if (w->step % 100000 == 0 && isatty(STDERR_FILENO)) {
            (void)fprintf(stderr, "\rsim: step %" PRIu64 " ", w->step);
        }
    }
    world_close(w, &wake);
    must(steps < LONG_RUN || w->longest_backlog >= LONG_BACKLOG); /* or shares were hardly tested */
    must(steps < LONG_RUN || (w->moved > MANY && w->looks > MANY && w->free > MANY));
    printf("sim: ok world=one seed=%" PRIu64 " steps=%" PRIu64 " simulated_s=%" PRId64
           " jobs=%" PRIu64 " done=%" PRIu64 " refused=%" PRIu64 " unknown=%" PRIu64
           " expired=%" PRIu64 " cancelled=%" PRIu64 " starts=%" PRIu64 " deaths=%" PRIu64
           " lost=%" PRIu64 " settled=%" PRIu64 " moved=%" PRIu64 " looks=%" PRIu64 " free=%" PRIu64
           " repeats=%" PRIu64 " conflicts=%" PRIu64 " longest_backlog=%" PRIu64 "\n",
           seed, w->step, (w->now - began) / 1000, w->accepted, w->ended[JOB_END_DONE],
           w->ended[JOB_END_REFUSED], w->ended[JOB_END_UNKNOWN], w->ended[JOB_END_EXPIRED],
           w->ended[JOB_END_CANCELLED], w->starts, w->deaths, w->lost, w->settled, w->moved,
           w->looks, w->free, w->repeats, w->conflicts, w->longest_backlog);
    world_end(w);
}
