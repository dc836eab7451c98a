/*
 * core_rig.h: a dispatch core with its clock and ears in the hands of a test: what it dispatched
 * and answered is kept in order. Used by test_core_*.c only.
 */
#ifndef OTPQ_TESTS_CORE_RIG_H
#define OTPQ_TESTS_CORE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/core/core.h"

enum { RIG_EVENTS_MAX = 4096, RIG_TEXT_MAX = 80, RIG_STEP_MAX = 1000 };

struct rig_sent {
    uint32_t worker;           /* who got it */
    char id[RIG_TEXT_MAX];     /* job */
    char tenant[RIG_TEXT_MAX]; /* … */
    char route[RIG_TEXT_MAX];  /* … */
    char via[RIG_TEXT_MAX];    /* … */
    enum result_code moved;    /* … */
    char trace[RIG_TEXT_MAX];  /* … */
    uint32_t attempt;          /* … */
    uint32_t ttl_ms;           /* … */
    uint32_t queued_ms;        /* … */
    size_t body_n;             /* bytes of its body */
};

struct rig_answer {
    uint64_t client;           /* who was told */
    char id[RIG_TEXT_MAX];     /* of the job */
    char body[RIG_TEXT_MAX];   /* of the result */
    struct wire_result result; /* its slices have ended: not to be read */
};

/* What went to a shelf or off it. */
struct rig_shelved {
    bool put;              /* or taken off */
    uint32_t shelf;        /* which */
    uint32_t job;          /* name for core_shelved, core_unshelved */
    char id[RIG_TEXT_MAX]; /* job */
    char route[RIG_TEXT_MAX];
    char tenant[RIG_TEXT_MAX];
    char body[RIG_TEXT_MAX];
    uint8_t pri;
    uint32_t ttl_ms;
    uint32_t delay_ms;
    bool dead;             /* taken off: for a person to see */
    bool ended;            /* taken off: with a result */
    enum result_code code; /* … its code */
};

struct rig_told {
    uint64_t client;       /* who was told */
    char id[RIG_TEXT_MAX]; /* of the job */
    enum core_stored what; /* what of it */
};

struct rig {
    struct core *core;                          /* under test */
    struct core_limits limits;                  /* as made */
    int64_t now;                                /* the core's clock, ms */
    uint32_t sent_n;                            /* used of sent */
    uint32_t answer_n;                          /* used of answers */
    struct rig_sent sent[RIG_EVENTS_MAX];       /* dispatches in order */
    struct rig_answer answers[RIG_EVENTS_MAX];  /* answers in order */
    uint32_t shelved_n;                         /* used of shelved */
    uint32_t told_n;                            /* used of told */
    struct rig_shelved shelved[RIG_EVENTS_MAX]; /* puts and removals in order */
    struct rig_told told[RIG_EVENTS_MAX];       /* words about them in order */
    uint64_t credit;                            /* of worker 1 */
};

static inline void rig_copy(char *to, struct slice s)
{
    must(s.n < RIG_TEXT_MAX);
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    to[s.n] = '\0';
}

static inline void rig_on_dispatch(void *context, uint32_t worker, const struct wire_job *job,
                                   struct slice body)
{
    struct rig *g = context;
    must(g->sent_n < RIG_EVENTS_MAX);
    struct rig_sent *s = &g->sent[g->sent_n++];
    *s = (struct rig_sent){.worker = worker,
                           .attempt = job->attempt,
                           .ttl_ms = job->ttl_ms,
                           .queued_ms = job->queued_ms,
                           .moved = job->moved,
                           .body_n = body.n};
    rig_copy(s->id, job->id);
    rig_copy(s->tenant, job->tenant);
    rig_copy(s->route, job->route);
    rig_copy(s->via, job->via);
    rig_copy(s->trace, job->trace);
}

static inline void rig_on_answer(void *context, uint64_t client, const struct wire_result *result,
                                 struct slice body)
{
    struct rig *g = context;
    must(g->answer_n < RIG_EVENTS_MAX);
    struct rig_answer *a = &g->answers[g->answer_n++];
    *a = (struct rig_answer){.client = client, .result = *result};
    rig_copy(a->id, result->id);
    rig_copy(a->body, body);
}

static inline struct rig_shelved *rig_add_shelved(struct rig *g, uint32_t shelf, uint32_t job,
                                                  const struct wire_submit *s, struct slice body)
{
    must(g->shelved_n < RIG_EVENTS_MAX);
    struct rig_shelved *e = &g->shelved[g->shelved_n++];
    *e = (struct rig_shelved){
        .shelf = shelf, .job = job, .pri = s->pri, .ttl_ms = s->ttl_ms, .delay_ms = s->delay_ms};
    rig_copy(e->id, s->id);
    rig_copy(e->route, s->route);
    rig_copy(e->tenant, s->tenant);
    rig_copy(e->body, body);
    return e;
}

static inline void rig_on_shelve(void *context, uint32_t shelf, uint32_t job,
                                 const struct wire_submit *s, struct slice body)
{
    rig_add_shelved(context, shelf, job, s, body)->put = true;
}

static inline void rig_on_unshelve(void *context, uint32_t shelf, uint32_t job,
                                   const struct wire_submit *s, struct slice body,
                                   const struct wire_result *result, bool dead)
{
    struct rig_shelved *e = rig_add_shelved(context, shelf, job, s, body);
    e->dead = dead;
    e->ended = result != NULL;
    e->code = result != NULL ? result->code : RESULT_NONE;
}

static inline void rig_on_stored(void *context, uint64_t client, struct slice id,
                                 enum core_stored what)
{
    struct rig *g = context;
    must(g->told_n < RIG_EVENTS_MAX);
    struct rig_told *t = &g->told[g->told_n++];
    *t = (struct rig_told){.client = client, .what = what};
    rig_copy(t->id, id);
}

static inline struct core_limits rig_limits(void)
{
    return (struct core_limits){
        .jobs_max = 10000,
        .bytes_max = 100 << 20,
        .route_jobs_max = 10000,
        .tenant_jobs_max = 10000,
        .routes_max = 100,
        .tenants_max = 1000,
        .workers_max = 16,
        .results_max = 1000,
        .results_bytes_max = 1 << 20,
        .result_ttl_ms = 600000,
        .attempts_max = 3,
        .seed = 7,
    };
}

static inline bool rig_policy(struct rig *g, const char *route, struct core_route_policy p)
{
    return core_route_policy(g->core, slice_of(route), &p, g->now);
}

/* A core with a known route "r" without limits and worker 1 without credit. */
static inline void rig_start(struct rig *g, struct core_limits limits)
{
    memset(g, 0, sizeof(*g));
    g->limits = limits;
    g->now = 1000000;
    struct core_effects effects = {.context = g,
                                   .dispatch = rig_on_dispatch,
                                   .answer = rig_on_answer,
                                   .shelve = rig_on_shelve,
                                   .unshelve = rig_on_unshelve,
                                   .stored = rig_on_stored};
    g->core = core_new(&limits, &effects, g->now);
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true}));
    core_worker_joined(g->core, 1, g->now);
}

static inline void rig_stop(struct rig *g)
{
    core_check(g->core, g->now);
    core_destroy(&g->core);
    assert_null(g->core);
}

/* One job with everything said; the short forms below change what a test is about. */
static inline struct wire_submit rig_job(const char *id)
{
    return (struct wire_submit){
        .id = slice_of(id), .route = SLICE("r"), .op = WIRE_OP_SEND, .pri = 5, .ttl_ms = 30000};
}

static inline enum core_admit rig_submit_as(struct rig *g, const struct wire_submit *s,
                                            const char *body, uint64_t client)
{
    uint32_t retry = 0;
    enum core_admit a = core_submit(g->core, s, slice_of(body), client, g->now, &retry);
    bool is_full = a >= CORE_FULL_TOTAL && a <= CORE_FULL_TENANTS;
    must(is_full ? retry >= 50 && retry <= 10000 : retry == 0);
    return a;
}

static inline void rig_put(struct rig *g, struct wire_submit s)
{
    assert_int_equal(rig_submit_as(g, &s, "body", 7), CORE_QUEUED);
}

/* n more jobs may go to worker 1. */
static inline void rig_credit(struct rig *g, uint32_t n)
{
    g->credit += n;
    core_worker_credit(g->core, 1, g->credit, g->now);
}

static inline int64_t rig_step(struct rig *g)
{
    int64_t wake = core_step(g->core, g->now, RIG_STEP_MAX);
    core_check(g->core, g->now);
    return wake;
}

static inline bool rig_result(struct rig *g, uint32_t worker, const char *id, enum job_end end,
                              enum result_code code)
{
    struct wire_result r = {.id = slice_of(id), .end = end, .code = code};
    return core_result(g->core, worker, &r, SLICE("answer"), g->now);
}

static inline bool rig_done(struct rig *g, const char *id)
{
    return rig_result(g, 1, id, JOB_END_DONE, RESULT_OTP_SENT);
}

static inline bool rig_back(struct rig *g, const char *id, uint32_t attempt, uint32_t seen,
                            uint32_t delay_ms, enum result_code code)
{
    struct wire_give_back b = {slice_of(id), attempt, seen, delay_ms, code, {NULL, 0}};
    return core_given_back(g->core, 1, &b, g->now);
}

static inline bool rig_back_via(struct rig *g, const char *id, uint32_t attempt,
                                enum result_code code, const char *via)
{
    struct wire_give_back b = {
        .id = slice_of(id), .attempt = attempt, .code = code, .via = slice_of(via)};
    return core_given_back(g->core, 1, &b, g->now);
}

static inline const struct rig_sent *rig_last(const struct rig *g)
{
    must(g->sent_n > 0);
    return &g->sent[g->sent_n - 1];
}

/* The latest answer: end and code. */
static inline void rig_expect_end(const struct rig *g, const char *id, enum job_end end,
                                  enum result_code code)
{
    must(g->answer_n > 0);
    const struct rig_answer *a = &g->answers[g->answer_n - 1];
    assert_string_equal(a->id, id);
    assert_int_equal(a->result.end, end);
    assert_int_equal(a->result.code, code);
}

static inline struct core_stats rig_stats(const struct rig *g)
{
    struct core_stats s;
    core_stats(g->core, g->now, &s);
    return s;
}

static inline struct core_route_stats rig_route_stats(const struct rig *g, const char *route)
{
    struct core_route_stats s;
    size_t at = 0;
    while (core_route_stats(g->core, &at, g->now, &s)) {
        if (slice_is(s.name, route)) {
            return s;
        }
    }
    return (struct core_route_stats){.name = {NULL, 0}};
}

/* cmocka set-up and tear-down: one rig, of the usual limits, a test. */
static struct rig the_rig;

static inline int rig_setup(void **state)
{
    rig_start(&the_rig, rig_limits());
    *state = &the_rig;
    return 0;
}

static inline int rig_teardown(void **state)
{
    (void)state;
    rig_stop(&the_rig);
    return 0;
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

#endif
