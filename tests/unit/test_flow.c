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
    bool doubt;               /* of the last release */
    struct session_step last; /* of the last release; step NULL: none */
    unsigned traits;          /* of the dialect */
    char url[32];             /* that the verdict has */
    bool uses_country;        /* the dialect's calls do */
    char country[8];          /* that the dialect was told */
    int reserves;
    char reserved_lane[65];
    char reserved_code[16];
    flash_reserve_callback *on_reserved;
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
    char back_via[65];
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

int64_t clock_nonce_ms(void)
{
    return clock_wall_ms();
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

void session_job_over(struct session_job *job)
{
    (void)job;
}

void session_release(struct session_store *s, const struct session_job *job,
                     const struct integration *route, const struct session_doubt *doubt,
                     const struct session_step *last, void (*done)(void *context, bool written),
                     void *context)
{
    (void)s, (void)job, (void)route;
    world.releases++;
    world.last = last != NULL ? *last : (struct session_step){0};
    world.doubt = doubt != NULL;
    world.on_release = done;
    world.context = context;
}

void flash_nonce(struct flash_store *s, struct slice account, struct slice nonce,
                 struct slice job_id, flash_nonce_callback *done, void *context)
{
    (void)s, (void)account, (void)nonce, (void)job_id, (void)done, (void)context;
    fail(); /* no job here is signed */
}

void flash_reserve(struct flash_store *s, struct slice lane, struct slice code,
                   struct slice request_id, uint64_t valid_ms, flash_reserve_callback *done,
                   void *context)
{
    (void)s, (void)request_id, (void)valid_ms;
    world.reserves++;
    (void)snprintf(world.reserved_lane, sizeof world.reserved_lane, "%.*s", SLICE_ARG(lane));
    (void)snprintf(world.reserved_code, sizeof world.reserved_code, "%.*s", SLICE_ARG(code));
    world.on_reserved = done;
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
    (void)snprintf(world.back_via, sizeof world.back_via, "%.*s", SLICE_ARG(g->via));
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
    (void)settings, (void)call, (void)masked, (void)out, (void)error;
    (void)snprintf(world.country, sizeof world.country, "%.*s", SLICE_ARG(v->macro[MACRO_COUNTRY]));
    return true;
}

static void parse(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out)
{
    (void)settings, (void)call, (void)a;
    memset(out, 0, sizeof *out);
    out->end = world.verdict_end;
    out->code = world.verdict_code;
    out->attempts_left = out->retry_after_s = -1;
    (void)snprintf(out->url, sizeof out->url, "%s", world.url);
}

static void release(void *settings)
{
    (void)settings;
}

static unsigned traits(const void *settings)
{
    (void)settings;
    return world.traits;
}

static bool fake_uses(const void *settings, enum dialect_call call, enum template_macro macro)
{
    (void)settings;
    (void)call;
    return macro == MACRO_COUNTRY && world.uses_country;
}

static const struct dialect dialect = {.name = "test",
                                       .has = has,
                                       .timeout_ms = timeout_ms,
                                       .uses = fake_uses,
                                       .build = build,
                                       .parse = parse,
                                       .traits = traits,
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
    world.route->code_digits = 6;
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

static void begin_job(const char *msisdn, struct wire_job job)
{
    struct job_body body = {.msisdn = slice_of(msisdn), .aid = 1001, .otp = SLICE("1234")};
    struct buf bytes;
    job.id = SLICE("j1");
    job.route = SLICE("r");
    job.attempt = job.attempt > 0 ? job.attempt : 1;
    buf_init(&bytes, 4096);
    job_body_encode(&bytes, &body, job.op == WIRE_OP_VERIFY);
    flow_begin(&world.flows, NULL, &job, buf_slice(&bytes), 0);
    buf_free(&bytes);
}

static void begin_to(const char *msisdn, enum wire_op op, uint32_t ttl_ms)
{
    begin_job(msisdn, (struct wire_job){.op = op, .ttl_ms = ttl_ms});
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

/* ---- numbers ----------------------------------------------------------------------------------
 */

static void test_a_landline_is_not_sent_to(void **state)
{
    (void)state;
    begin_to("6621234567", WIRE_OP_SEND, TTL_MS); /* Bangkok */
    assert_int_equal(world.claims, 0);
    assert_int_equal(world.code, RESULT_MSISDN_BLOCKED);
}

static void test_a_number_nobody_has(void **state)
{
    (void)state;
    begin_to("66012345678", WIRE_OP_SEND, TTL_MS);
    assert_int_equal(world.claims, 0);
    assert_int_equal(world.code, RESULT_INVALID_MSISDN);
    world.route->numbers = NUMBERS_POSSIBLE;
    begin_to("66012345678", WIRE_OP_SEND, TTL_MS);
    assert_int_equal(world.claims, 1);
    begin_to("668123456789012", WIRE_OP_SEND, TTL_MS);
    assert_int_equal(world.code, RESULT_INVALID_MSISDN);
}

static void test_the_country_is_known_to_the_claim(void **state)
{
    (void)state;
    begin(WIRE_OP_SEND, TTL_MS);
    assert_true(slice_is(world.claim->facts.country, "TH"));
    assert_true(slice_is(world.claim->party, "1001"));
}

static void test_a_rate_limit_says_until_when(void **state)
{
    (void)state;
    world.verdict_end = JOB_END_REFUSED;
    world.verdict_code = RESULT_RATE_LIMITED;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    struct fetch_result r = {.end = FETCH_ANSWERED, .http = 429, .detail = "", .retry_after_s = 17};
    world.on_fetched(world.context, &r);
    assert_int_equal(world.finish.code, RESULT_RATE_LIMITED);
    assert_int_equal(world.finish.result->retry_after_s, 17);
}

/* ---- fallback ---------------------------------------------------------------------------------
 */

static struct integration *falls_back_to(const char *name)
{
    struct record_list *list = &world.route->fallback;
    fixture_integration(world.records, name, "66", false);
    struct integration *i = map_get(world.records->integrations, slice_of(name));
    i->dialect = &dialect;
    list->at[list->count++] = slice_dup(slice_of(name));
    return i;
}

/* The nth step of this name so far; NULL: there is none. */
static void assert_told(const char *step, int nth, const char *detail)
{
    const char *found = NULL;
    for (size_t i = 0; i < world.claim->step_count && found == NULL; i++) {
        const struct session_step *s = &world.claim->steps[i];
        found = strcmp(s->step, step) == 0 && nth-- == 0 ? s->detail : NULL;
    }
    assert_true((found == NULL) == (detail == NULL));
    if (detail != NULL) {
        assert_string_equal(found, detail);
    }
}

static void assert_moved_on(const char *why, const char *via)
{
    char detail[64];
    (void)snprintf(detail, sizeof detail, "%s -> %s", why, via);
    assert_int_equal(world.releases, 1);
    assert_false(world.doubt);
    assert_string_equal(world.last.step, "fallback");
    assert_string_equal(world.last.detail, detail);
    world.on_release(world.context, true);
    assert_int_equal(world.backs, 1);
    assert_string_equal(world.back_via, via);
    assert_int_equal(world.back.delay_ms, 0);
    assert_int_equal(world.results, 0);
}

static void test_what_was_not_sent_goes_on_elsewhere(void **state)
{
    (void)state;
    (void)falls_back_to("second");
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_NOT_SENT);
    assert_moved_on("advertiser_unreachable", "second");
}

static void test_what_the_advertiser_does_not_want_goes_on(void **state)
{
    (void)state;
    (void)falls_back_to("second");
    world.verdict_end = JOB_END_REFUSED;
    world.verdict_code = RESULT_NOT_ELIGIBLE;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_ANSWERED);
    assert_moved_on("not_eligible", "second");
}

/* What may have been sent, and what no other advertiser does better, stays where it is. */
static void test_other_refusals_stay(void **state)
{
    (void)state;
    static const enum result_code codes[] = {RESULT_MSISDN_BLOCKED, RESULT_ADVERTISER_REFUSED,
                                             RESULT_RATE_LIMITED, RESULT_INSUFFICIENT_BALANCE};
    (void)falls_back_to("second");
    world.verdict_end = JOB_END_REFUSED;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        world.verdict_code = codes[i];
        begin(WIRE_OP_SEND, TTL_MS);
        claim_answers(CLAIM_WON);
        advertiser_answers(FETCH_ANSWERED);
        assert_int_equal(world.finish.code, codes[i]);
    }
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_UNKNOWN);
    assert_int_equal(world.finish.code, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(world.releases, 0);
}

/* By on_unknown: retry. The user may have that code: a second advertiser must not send another. */
static void test_what_an_earlier_run_may_have_sent_stays(void **state)
{
    (void)state;
    static const enum result_code codes[] = {RESULT_NOT_ELIGIBLE, RESULT_ALREADY_SUBSCRIBED,
                                             RESULT_ADVERTISER_UNREACHABLE};
    struct claim c = {.outcome = CLAIM_WON, .request_id = "r00", .unsure = true};
    (void)falls_back_to("second");
    world.route->on_unknown = ON_UNKNOWN_RETRY;
    world.verdict_end = JOB_END_REFUSED;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        world.verdict_code = codes[i];
        begin_job("66812345678",
                  (struct wire_job){.op = WIRE_OP_SEND, .ttl_ms = TTL_MS, .attempt = 2});
        world.on_claim(world.claim_context, &c);
        advertiser_answers(FETCH_ANSWERED);
        assert_int_equal(world.finish.code, codes[i]);
        assert_int_equal(world.finishes, i + 1);
    }
    assert_int_equal(world.releases, 0);
    begin_job("66812345678", (struct wire_job){.op = WIRE_OP_SEND, .ttl_ms = TTL_MS, .attempt = 2});
    world.on_claim(world.claim_context, &c);
    advertiser_answers(FETCH_NOT_SENT);
    assert_int_equal(world.releases, 1);
    assert_null(world.last.step);
    world.on_release(world.context, true);
    assert_string_equal(world.back_via, "");
}

/* To know it costs as much as all else of a verify. */
static void test_a_verify_knows_the_country_that_is_asked_for(void **state)
{
    (void)state;
    begin(WIRE_OP_VERIFY, TTL_MS);
    claim_answers(CLAIM_WON);
    assert_string_equal(world.country, "");
    advertiser_answers(FETCH_UNKNOWN);
    world.on_finish(world.context, &(struct finish){.outcome = FINISH_WRITTEN});
    world.uses_country = true;
    begin(WIRE_OP_VERIFY, TTL_MS);
    claim_answers(CLAIM_WON);
    assert_string_equal(world.country, "TH");
}

static void test_a_verify_never_falls_back(void **state)
{
    (void)state;
    (void)falls_back_to("second");
    begin(WIRE_OP_VERIFY, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_NOT_SENT);
    assert_int_equal(world.releases, 1);
    assert_null(world.last.step);
    world.on_release(world.context, true);
    assert_string_equal(world.back_via, "");
}

static void test_paused_and_missing_ones_are_passed_over(void **state)
{
    (void)state;
    falls_back_to("paused")->paused = true;
    (void)falls_back_to("gone");
    record_destroy(RECORD_INTEGRATION, map_remove(world.records->integrations, SLICE("gone")));
    (void)falls_back_to("third");
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_NOT_SENT);
    assert_told("fallback", 0, "paused skipped: integration_paused");
    assert_told("fallback", 1, "gone skipped: integration_not_found");
    assert_told("fallback", 2, NULL);
    assert_moved_on("advertiser_unreachable", "third");
}

/* The last one's result counts, and it is tried again as any other. */
static void test_the_last_one_goes_nowhere(void **state)
{
    (void)state;
    (void)falls_back_to("second");
    begin_job("66812345678",
              (struct wire_job){.op = WIRE_OP_SEND, .ttl_ms = TTL_MS, .via = SLICE("second")});
    assert_true(slice_is(world.claim->via, "second"));
    assert_true(slice_is(world.claim->route, "r"));
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_NOT_SENT);
    assert_null(world.last.step);
    world.on_release(world.context, true);
    assert_string_equal(world.back_via, "");
    assert_int_equal(world.back.code, RESULT_ADVERTISER_UNREACHABLE);
}

static void test_a_move_of_the_broker_stands_in_the_time_line(void **state)
{
    (void)state;
    (void)falls_back_to("busy");
    falls_back_to("paused")->paused = true;
    (void)falls_back_to("second");
    falls_back_to("third")->paused = true;
    begin_job("66812345678", (struct wire_job){.op = WIRE_OP_SEND,
                                               .ttl_ms = TTL_MS,
                                               .via = SLICE("second"),
                                               .moved = RESULT_INTEGRATION_PAUSED});
    assert_told("accepted", 0, "");
    assert_told("fallback", 0, "paused skipped: integration_paused");
    assert_told("fallback", 1, "integration_paused -> second");
    assert_told("fallback", 2, NULL);
    assert_told("dispatched", 0, "via second");
}

/* Nobody is left to go on to: that they were asked for is on the time-line all the same. */
static void test_all_of_a_full_list_are_passed_over(void **state)
{
    (void)state;
    static const char *const names[RECORD_LIST_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        falls_back_to(names[i])->paused = true;
    }
    world.verdict_end = JOB_END_REFUSED;
    world.verdict_code = RESULT_NOT_ELIGIBLE;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    advertiser_answers(FETCH_ANSWERED);
    assert_int_equal(world.finish.code, RESULT_NOT_ELIGIBLE);
    assert_string_equal(world.finish.steps[world.finish.step_count - 1].detail,
                        "h skipped: integration_paused");
}

static void test_a_later_hand_over_says_which_it_is(void **state)
{
    (void)state;
    (void)falls_back_to("second");
    struct wire_job job = {.op = WIRE_OP_SEND, .ttl_ms = TTL_MS, .attempt = 2};
    begin_job("66812345678", job);
    assert_told("dispatched", 0, "attempt 2");
    job.attempt = 3;
    job.via = SLICE("second");
    begin_job("66812345678", job);
    assert_told("dispatched", 0, "attempt 3, via second");
    begin(WIRE_OP_SEND, TTL_MS);
    assert_told("dispatched", 0, "");
}

static void test_a_verify_follows_its_send(void **state)
{
    (void)state;
    (void)falls_back_to("second");
    begin(WIRE_OP_VERIFY, TTL_MS);
    struct claim c = {.outcome = CLAIM_MOVED, .via = "second"};
    world.on_claim(world.claim_context, &c);
    assert_int_equal(world.calls, 0);
    assert_string_equal(world.back_via, "second");
    assert_int_equal(world.back.delay_ms, 0);
}

/* The route takes no calls now, but the request may be another's. */
static void test_a_verify_of_a_paused_route_is_looked_up(void **state)
{
    (void)state;
    (void)falls_back_to("second");
    world.route->paused = true;
    begin(WIRE_OP_VERIFY, TTL_MS);
    assert_int_equal(world.claims, 1);
    assert_true(world.claim->nowhere);
    struct claim c = {.outcome = CLAIM_MOVED, .via = "r"};
    world.on_claim(world.claim_context, &c);
    assert_int_equal(world.backs, 1);
    assert_string_equal(world.back_via, "");
    assert_true(world.back.delay_ms > 0);
    world.route->paused = false;
    begin_job("66812345678", (struct wire_job){.op = WIRE_OP_VERIFY,
                                               .ttl_ms = TTL_MS,
                                               .moved = RESULT_ADVERTISER_UNREACHABLE});
    assert_true(world.claim->nowhere);
    begin(WIRE_OP_SEND, TTL_MS);
    assert_false(world.claim->nowhere);
}

/* ---- links ------------------------------------------------------------------------------------
 */

static void test_a_link_reserves_its_code(void **state)
{
    (void)state;
    world.traits = DIALECT_LINK;
    world.route->code_digits = 10; /* more than FOTP takes */
    begin(WIRE_OP_SEND, TTL_MS);
    assert_true(world.claim->link);
    claim_answers(CLAIM_WON);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.reserves, 1);
    assert_string_equal(world.reserved_lane, "r");
    assert_int_equal(strlen(world.reserved_code), 6);
    char first[16];
    (void)snprintf(first, sizeof first, "%s", world.reserved_code);
    world.on_reserved(world.context, FLASH_TAKEN);
    assert_int_equal(world.reserves, 2);
    world.on_reserved(world.context, FLASH_TAKEN);
    assert_true(strcmp(first, world.reserved_code) != 0 || world.reserves == 3);
    world.on_reserved(world.context, FLASH_RESERVED);
    assert_int_equal(world.calls, 1);
    world.verdict_end = JOB_END_DONE;
    world.verdict_code = RESULT_OTP_SENT;
    (void)snprintf(world.url, sizeof world.url, "https://x/1");
    advertiser_answers(FETCH_ANSWERED);
    assert_true(slice_is(world.finish.result->url, "https://x/1"));
    assert_true(slice_is(world.claim->facts.url, "https://x/1"));
}

static void test_every_code_taken(void **state)
{
    (void)state;
    world.traits = DIALECT_LINK;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    for (int i = 0; i < 100 && world.finishes == 0; i++) {
        world.on_reserved(world.context, FLASH_TAKEN);
    }
    assert_int_equal(world.reserves, 20);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.finish.code, RESULT_INTERNAL_ERROR);
}

static void test_a_reserve_without_a_store(void **state)
{
    (void)state;
    world.traits = DIALECT_LINK;
    begin(WIRE_OP_SEND, TTL_MS);
    claim_answers(CLAIM_WON);
    world.on_reserved(world.context, FLASH_RESERVE_NO_STORE);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.releases, 1);
    world.on_release(world.context, true);
    assert_int_equal(world.back.code, RESULT_STORE_UNAVAILABLE);
}

/* The store is slow: what was free when it was asked is not called after the deadline. */
static void test_a_reserve_answered_after_the_deadline(void **state)
{
    (void)state;
    world.traits = DIALECT_LINK;
    begin(WIRE_OP_SEND, 300);
    claim_answers(CLAIM_WON);
    world.now_ms += 400;
    world.on_reserved(world.context, FLASH_RESERVED);
    assert_int_equal(world.calls, 0);
    assert_int_equal(world.finish.end, JOB_END_EXPIRED);
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
        WITH(test_a_landline_is_not_sent_to),
        WITH(test_a_number_nobody_has),
        WITH(test_the_country_is_known_to_the_claim),
        WITH(test_a_rate_limit_says_until_when),
        WITH(test_what_was_not_sent_goes_on_elsewhere),
        WITH(test_what_the_advertiser_does_not_want_goes_on),
        WITH(test_other_refusals_stay),
        WITH(test_what_an_earlier_run_may_have_sent_stays),
        WITH(test_a_verify_knows_the_country_that_is_asked_for),
        WITH(test_a_verify_never_falls_back),
        WITH(test_paused_and_missing_ones_are_passed_over),
        WITH(test_the_last_one_goes_nowhere),
        WITH(test_a_move_of_the_broker_stands_in_the_time_line),
        WITH(test_all_of_a_full_list_are_passed_over),
        WITH(test_a_later_hand_over_says_which_it_is),
        WITH(test_a_verify_follows_its_send),
        WITH(test_a_verify_of_a_paused_route_is_looked_up),
        WITH(test_a_link_reserves_its_code),
        WITH(test_every_code_taken),
        WITH(test_a_reserve_without_a_store),
        WITH(test_a_reserve_answered_after_the_deadline),
    };
    log_setup("test_flow", LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
