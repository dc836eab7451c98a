/*
 * A worker's flow with a clock, a store, an advertiser and a broker of the test's own: what it does
 * when time passes between two of its steps, and when the store answers something rare.
 */
#include "workers/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/unit/records_fixture.h"

enum { CALL_MS = 5000, TTL_MS = 60000 };

/* What the flow asked for, and what it said in the end. */
static struct world {
    int64_t now_ms;
    struct records *records;
    struct integration *route;
    struct flows flows;
    struct secrets *secrets;
    int claims;
    struct session_job *claim;
    claim_callback *on_claim;
    void *claim_context;
    int finishes;
    struct session_finish finish;
    finish_callback *on_finish;
    int releases;
    bool doubt; /* of the last release */
    void (*on_release)(void *context, bool written);
    int calls; /* fetch_start */
    struct fetch_limits limits;
    fetch_callback *on_fetched;
    void *context; /* of the last one of finish, release, fetch */
    bool no_call;  /* the route has lost its calls */
    enum job_end verdict_end;
    enum result_code verdict_code;
    int results;
    enum job_end end;
    enum result_code code;
    int backs;
    struct wire_give_back back;
} world;

/* ---- in place of what stands around a flow --------------------------------------------------- */

int64_t clock_mono_ms(void)
{
    return world.now_ms;
}

int64_t clock_mono_us(void)
{
    return world.now_ms * 1000;
}

int64_t clock_wall_ms(void)
{
    return world.now_ms + 1000000;
}

struct records *records_watch_now(const struct records_watch *w)
{
    (void)w;
    return world.records;
}

static void claim_asked(struct session_job *job, claim_callback *done, void *context)
{
    world.claims++;
    world.claim = job;
    world.on_claim = done;
    world.claim_context = context;
}

void session_claim_send(struct session_store *s, struct session_job *job,
                        const struct integration *route, const char *new_request_id,
                        claim_callback *done, void *context)
{
    (void)s, (void)route, (void)new_request_id;
    claim_asked(job, done, context);
}

void session_claim_verify(struct session_store *s, struct session_job *job,
                          const struct integration *route, struct slice request_id,
                          struct slice code, claim_callback *done, void *context)
{
    (void)s, (void)route, (void)request_id, (void)code;
    claim_asked(job, done, context);
}

static void finish_asked(const struct session_finish *f, finish_callback *done, void *context)
{
    world.finishes++;
    world.finish = *f;
    world.on_finish = done;
    world.context = context;
}

void session_finish_send(struct session_store *s, const struct session_job *job,
                         const struct integration *route, const char *request_id,
                         const struct session_finish *f, finish_callback *done, void *context)
{
    (void)s, (void)job, (void)route, (void)request_id;
    finish_asked(f, done, context);
}

void session_finish_verify(struct session_store *s, const struct session_job *job,
                           const struct integration *route, const char *request_id,
                           const struct session_finish *f, finish_callback *done, void *context)
{
    (void)s, (void)job, (void)route, (void)request_id;
    finish_asked(f, done, context);
}

void session_release(struct session_store *s, const struct session_job *job,
                     const struct integration *route, const struct session_doubt *doubt,
                     const struct session_step *last, void (*done)(void *context, bool written),
                     void *context)
{
    (void)s, (void)job, (void)route, (void)last;
    world.releases++;
    world.doubt = doubt != NULL;
    world.on_release = done;
    world.context = context;
}

struct fetch_call *fetch_start(struct fetch *f, const struct dialect_request *request,
                               const struct fetch_limits *limits, fetch_callback *done,
                               void *context)
{
    (void)f, (void)request;
    world.calls++;
    world.limits = *limits;
    world.on_fetched = done;
    world.context = context;
    return (struct fetch_call *)&world;
}

void fetch_abandon(struct fetch_call *c)
{
    (void)c;
}

void link_started(struct link *l, struct slice id, uint32_t attempt)
{
    (void)l, (void)id, (void)attempt;
}

void link_result(struct link *l, const struct wire_result *r, struct slice body)
{
    (void)l, (void)body;
    world.results++;
    world.end = r->end;
    world.code = r->code;
}

void link_back(struct link *l, const struct wire_give_back *g)
{
    (void)l;
    world.backs++;
    world.back = *g;
}

/* ---- a dialect ------------------------------------------------------------------------------- */

static bool has(const void *settings, enum dialect_call call)
{
    (void)settings, (void)call;
    return !world.no_call;
}

static uint32_t timeout_ms(const void *settings, enum dialect_call call)
{
    (void)settings, (void)call;
    return CALL_MS;
}

static bool build(const void *settings, enum dialect_call call, const struct template_values *v,
                  bool masked, struct dialect_request *out, struct template_error *error)
{
    (void)settings, (void)call, (void)v, (void)masked, (void)out, (void)error;
    return true;
}

static void parse(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out)
{
    (void)settings, (void)call, (void)a;
    memset(out, 0, sizeof *out);
    out->end = world.verdict_end;
    out->code = world.verdict_code;
}

static void release(void *settings)
{
    (void)settings;
}

static const struct dialect dialect = {.name = "test",
                                       .has = has,
                                       .timeout_ms = timeout_ms,
                                       .build = build,
                                       .parse = parse,
                                       .release = release};

/* ---- the tests' hands ------------------------------------------------------------------------ */

static int set_up(void **state)
{
    (void)state;
    struct yaml_error error;
    memset(&world, 0, sizeof world);
    world.now_ms = 1000000;
    world.records = records_new();
    fixture_integration(world.records, "r", "66", false);
    world.route = map_get(world.records->integrations, SLICE("r"));
    world.route->dialect = &dialect;
    world.secrets = secrets_load("", &error);
    world.flows = (struct flows){.base = event_base_new(),
                                 .secrets = world.secrets,
                                 .pepper = SLICE("0123456789abcdef"),
                                 .flows_max = 10};
    flows_init(&world.flows);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    flows_abandon(&world.flows);
    event_base_free(world.flows.base);
    secrets_destroy(&world.secrets);
    records_unref(&world.records);
    return 0;
}

static void begin_to(const char *msisdn, enum wire_op op, uint32_t ttl_ms)
{
    struct job_body body = {.msisdn = slice_of(msisdn), .aid = 1001, .otp = SLICE("1234")};
    struct wire_job job = {
        .id = SLICE("j1"), .route = SLICE("r"), .op = op, .attempt = 1, .ttl_ms = ttl_ms};
    struct buf bytes;
    buf_init(&bytes, 4096);
    job_body_encode(&bytes, &body, op == WIRE_OP_VERIFY);
    flow_begin(&world.flows, NULL, &job, buf_slice(&bytes), 0);
    buf_free(&bytes);
}

static void begin(enum wire_op op, uint32_t ttl_ms)
{
    begin_to("66812345678", op, ttl_ms);
}

static void claim_answers(enum claim_outcome outcome)
{
    struct claim c = {.outcome = outcome,
                      .end = JOB_END_UNKNOWN,
                      .code = RESULT_OUTCOME_UNKNOWN,
                      .request_id = "r00",
                      .attempts_left = -1,
                      .retry_after_s = -1,
                      .expires_in_s = -1};
    world.on_claim(world.claim_context, &c);
}

static void advertiser_answers(enum fetch_end end)
{
    struct fetch_result r = {.end = end, .http = end == FETCH_ANSWERED ? 200 : 0, .detail = ""};
    world.on_fetched(world.context, &r);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_a_call_and_its_limits(void **state)
{
    (void)state;
    begin(WIRE_OP_SEND, TTL_MS);
    int64_t asked_ms = world.now_ms;
    world.now_ms += 1500; /* as slow as a store may be */
    claim_answers(CLAIM_WON);
    assert_int_equal(world.calls, 1);
    assert_int_equal(world.claims, 1);
    assert_true(world.limits.begin_by_ms < asked_ms + world.claim->lease_ms);
    assert_true(world.limits.begin_by_ms >= world.now_ms + CALL_MS);
}

static void test_a_short_deadline_is_the_last_moment(void **state)
{
    (void)state;
    begin(WIRE_OP_SEND, 300);
    claim_answers(CLAIM_WON);
    assert_int_equal(world.limits.begin_by_ms, world.now_ms + 300);
    assert_int_equal(world.limits.timeout_ms, 300);
}

/* This process stood still between the script and its answer. */
static void test_a_claim_answered_late_is_asked_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        if (i == 0) {
            begin(WIRE_OP_SEND, TTL_MS);
        }
        world.now_ms += i == 1 ? 2000 : CALL_MS + 3000;
        claim_answers(CLAIM_WON);
        assert_int_equal(world.calls, 0);
        assert_int_equal(world.claims, i + 2);
    }
    claim_answers(CLAIM_WON); /* still this run's, with a new lease */
    assert_int_equal(world.calls, 1);
}

static void test_a_claim_answered_late_and_lost(void **state)
{
    (void)state;
    begin(WIRE_OP_VERIFY, TTL_MS);
    world.now_ms += CALL_MS + 3000;
    claim_answers(CLAIM_WON);
    claim_answers(CLAIM_ENDED);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.results, 1);
    assert_int_equal(world.end, JOB_END_UNKNOWN);
}

static void test_a_claim_answered_after_the_deadline(void **state)
{
    (void)state;
    begin(WIRE_OP_SEND, 1000);
    world.now_ms += 10000;
    claim_answers(CLAIM_WON);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.claims, 1);
    assert_int_equal(world.finish.end, JOB_END_EXPIRED);
}

/* It stood still after the call was prepared: nothing left, so the job goes back. */
static void test_a_call_that_began_too_late_goes_back(void **state)
{
    (void)state;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    world.now_ms += CALL_MS + 3000;
    advertiser_answers(FETCH_NOT_SENT);
    assert_int_equal(world.releases, 1);
    assert_false(world.doubt);
    world.on_release(world.context, false);
    assert_int_equal(world.backs, 1);
    assert_int_equal(world.results, 0);
}

/* Only what nobody knows may be repeated by policy; `pending` says that the advertiser has it. */
static void test_pending_is_not_repeated(void **state)
{
    (void)state;
    world.route->on_unknown = ON_UNKNOWN_RETRY;
    world.verdict_end = JOB_END_UNKNOWN;
    world.verdict_code = RESULT_PENDING;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_ANSWERED);
    assert_int_equal(world.releases, 0);
    assert_int_equal(world.finish.end, JOB_END_UNKNOWN);
    assert_int_equal(world.finish.code, RESULT_PENDING);
}

static void test_unknown_is_repeated_by_policy(void **state)
{
    (void)state;
    world.route->on_unknown = ON_UNKNOWN_RETRY;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_UNKNOWN);
    assert_int_equal(world.releases, 1);
    assert_true(world.doubt);
    assert_int_equal(world.finishes, 0);
}

static void test_without_time_a_claim_only_settles(void **state)
{
    (void)state;
    begin(WIRE_OP_SEND, TTL_MS);
    assert_false(world.claim->settle);
    world.now_ms += TTL_MS;
    claim_answers(CLAIM_NO_STORE);
    begin(WIRE_OP_SEND, 0);
    assert_true(world.claim->settle);
}

/* A job that may have started comes to be settled after its route's record has changed. */
static void test_a_changed_route_refuses_nothing_that_may_have_started(void **state)
{
    (void)state;
    world.no_call = true;
    begin(WIRE_OP_SEND, TTL_MS);
    assert_int_equal(world.end, JOB_END_REFUSED);
    assert_int_equal(world.code, RESULT_INVALID_REQUEST);
    begin(WIRE_OP_SEND, 0);
    assert_int_equal(world.claims, 1); /* the store knows */
    claim_answers(CLAIM_ENDED);
    assert_int_equal(world.end, JOB_END_UNKNOWN);
    world.no_call = false;
    begin_to("12", WIRE_OP_SEND, TTL_MS);
    assert_int_equal(world.end, JOB_END_REFUSED);
    assert_int_equal(world.code, RESULT_INVALID_MSISDN);
    begin_to("12", WIRE_OP_SEND, 0);
    assert_int_equal(world.end, JOB_END_UNKNOWN);
    assert_int_equal(world.code, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(world.results, 4);
    assert_int_equal(world.calls, 0);
}

/* The call was made, but its lease was over and another owner repeats it by policy: how the job
 * ends is that one's to tell. */
static void test_an_outcome_that_came_too_late_is_not_told(void **state)
{
    (void)state;
    world.verdict_code = RESULT_OTP_SENT;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_ANSWERED);
    struct finish lost = {
        .outcome = FINISH_ELSEWHERE, .end = JOB_END_UNKNOWN, .code = RESULT_OUTCOME_UNKNOWN};
    world.on_finish(world.context, &lost);
    assert_int_equal(world.results, 0);
    assert_int_equal(world.backs, 1);
    assert_int_equal(world.back.code, RESULT_OUTCOME_UNKNOWN);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_a_call_and_its_limits),
        WITH(test_a_short_deadline_is_the_last_moment),
        WITH(test_a_claim_answered_late_is_asked_again),
        WITH(test_a_claim_answered_late_and_lost),
        WITH(test_a_claim_answered_after_the_deadline),
        WITH(test_a_call_that_began_too_late_goes_back),
        WITH(test_pending_is_not_repeated),
        WITH(test_unknown_is_repeated_by_policy),
        WITH(test_without_time_a_claim_only_settles),
        WITH(test_an_outcome_that_came_too_late_is_not_told),
        WITH(test_a_changed_route_refuses_nothing_that_may_have_started),
    };
    log_setup("test_flow", LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
