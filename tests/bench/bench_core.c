/*
 * bench_core.c: what the dispatch core costs by itself, without sockets: nanoseconds a job at
 * steady state, bytes a queued job at 1,000,000, and the rate at which such a queue drains.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "broker/core/core.h"

enum {
    BODY_BYTES = 250,
    RESULT_BYTES = 100,
    LIVE = 1000,
    QUEUED = 1000 * 1000,
    STEADY_JOBS = 3 * 1000 * 1000,
    ID_BYTES_MAX = 32
};

struct bench {
    struct core *core;             /* under test */
    char sent[LIVE][ID_BYTES_MAX]; /* ids with the worker, not yet answered */
    uint8_t sent_n[LIVE];          /* their lengths */
    uint32_t sent_count;           /* of them */
    uint64_t answered;             /* results that came back to the client */
    int64_t now_ms;                /* the time the core is told */
};

static void on_dispatch(void *context, uint32_t worker, const struct wire_job *job,
                        struct slice body)
{
    struct bench *b = context;
    (void)worker;
    (void)body;
    must(b->sent_count < LIVE && job->id.n < ID_BYTES_MAX);
    memcpy(b->sent[b->sent_count], job->id.p, job->id.n);
    b->sent_n[b->sent_count++] = (uint8_t)job->id.n;
}

static void on_answer(void *context, uint64_t client, const struct wire_result *result,
                      struct slice body)
{
    (void)client;
    (void)result;
    (void)body;
    ((struct bench *)context)->answered++;
}

/* Processor time, so that a busy machine does not count. */
static int64_t cpu_us(void)
{
    struct timespec t;
    must(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    must(f != NULL);
    must(fscanf(f, "%*s %ld", &pages) == 1);
    (void)fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static void start(struct bench *b)
{
    static const struct core_limits limits = {
        .jobs_max = 2 * QUEUED,
        .bytes_max = 4ULL << 30,
        .route_jobs_max = 2 * QUEUED,
        .tenant_jobs_max = 2 * QUEUED,
        .routes_max = 1000,
        .tenants_max = 100000,
        .workers_max = 64,
        .results_max = 200000,
        .results_bytes_max = 256 << 20,
        .result_ttl_ms = 600000,
        .attempts_max = 5,
        .seed = 42,
    };
    struct core_effects effects = {.context = b, .dispatch = on_dispatch, .answer = on_answer};
    *b = (struct bench){.now_ms = 1000};
    b->core = core_new(&limits, &effects, b->now_ms);
    struct core_route_policy open = {.known = true};
    must(core_route_policy(b->core, SLICE("demo"), &open, b->now_ms));
    core_worker_joined(b->core, 1, b->now_ms);
}

static void submit(struct bench *b, uint64_t number)
{
    static const char body[BODY_BYTES];
    char id[ID_BYTES_MAX];
    int n = snprintf(id, sizeof(id), "o-%08" PRIu64, number);
    struct wire_submit s = {
        .id = {id, (size_t)n},
        .route = SLICE("demo"),
        .tenant = SLICE("1001"),
        .op = WIRE_OP_SEND,
        .pri = 5,
        .ttl_ms = 3600000,
    };
    uint32_t retry;
    must(core_submit(b->core, &s, slice_make(body, sizeof(body)), 7, b->now_ms, &retry) ==
         CORE_QUEUED);
}

/* The worker answers all it has and gives as much credit again. */
static void work(struct bench *b, uint64_t *credit)
{
    static const char body[RESULT_BYTES];
    struct wire_result r = {.end = JOB_END_DONE, .code = RESULT_OTP_SENT};
    for (uint32_t i = 0; i < b->sent_count; i++) {
        r.id = slice_make(b->sent[i], b->sent_n[i]);
        must(core_result(b->core, 1, &r, slice_make(body, sizeof(body)), b->now_ms));
    }
    *credit += b->sent_count;
    b->sent_count = 0;
    core_worker_credit(b->core, 1, *credit, b->now_ms);
}

static void steady(void)
{
    static struct bench b;
    start(&b);
    uint64_t credit = LIVE;
    core_worker_credit(b.core, 1, credit, b.now_ms);
    int64_t began = cpu_us();
    for (uint64_t i = 0; i < STEADY_JOBS; b.now_ms++) {
        for (uint32_t k = 0; k < LIVE; k++) {
            submit(&b, i++);
        }
        (void)core_step(b.core, b.now_ms, LIVE);
        work(&b, &credit);
    }
    int64_t took = cpu_us() - began;
    must(b.answered == STEADY_JOBS);
    printf("core: %d live jobs: %.0f ns a job (submit + dispatch + result, 200000 results kept)\n",
           LIVE, (double)took * 1000 / STEADY_JOBS);
    core_destroy(&b.core);
}

static void queue_and_drain(void)
{
    static struct bench b;
    start(&b);
    int64_t before = resident_bytes();
    int64_t began = cpu_us();
    for (uint64_t i = 0; i < QUEUED; i++) {
        submit(&b, i);
    }
    int64_t took = cpu_us() - began;
    int64_t bytes = resident_bytes() - before;
    printf("core: %d queued jobs of %d bytes: %.1f bytes a job, %.0f ns a submit\n", QUEUED,
           BODY_BYTES, (double)bytes / QUEUED, (double)took * 1000 / QUEUED);
    uint64_t credit = LIVE;
    core_worker_credit(b.core, 1, credit, b.now_ms);
    began = cpu_us();
    while (b.answered < QUEUED) {
        (void)core_step(b.core, ++b.now_ms, LIVE);
        work(&b, &credit);
    }
    took = cpu_us() - began;
    printf("core: drained in %.2f s: %.0f jobs/s\n", (double)took / 1e6,
           QUEUED * 1e6 / (double)took);
    core_destroy(&b.core);
}

int main(void)
{
    queue_and_drain();
    steady();
    return 0;
}
