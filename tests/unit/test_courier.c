/*
 * The courier with an outbox, an HTTP client and a broker of the test's own: what becomes of a task
 * for each thing that may happen to an attempt.
 */
#include "workers/courier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/meaning/code.h"
#include "common/meaning/job_ops.h"
#include "common/meaning/pack.h"
#include "tests/unit/records_fixture.h"

#define TASK   "a7255f31f4979f30ca69fe"
#define RID    "a70123456789abcdef0123456789abcd"
#define PEPPER SLICE("a pepper of some length")

/* What the courier asked for, and what it said in the end. */
static struct world {
    int64_t now_ms;
    struct records *records;
    struct courier *courier;
    struct buf data; /* of the task */
    int claims;
    void (*on_claim)(void *context, enum outbox_claimed outcome, const struct outbox_task *task);
    void *claim_context;
    int puts;
    struct slice put_data;
    void (*on_put)(void *context, enum outbox_claimed outcome);
    int finishes;
    struct outbox_finish finish;
    void (*on_finish)(void *context, bool written);
    int calls;
    bool no_room;
    char url[512];
    char body[512];
    fetch_callback *on_fetched;
    void *context; /* of the last one of put, finish, fetch, report */
    int reports;
    struct job_report report;
    flash_report_callback *on_report;
    enum result_code polled; /* what the dialect reads */
    int started;
    int results;
    enum job_end end;
    enum result_code code;
    int backs;
    enum result_code back;
    int idles;
} world;

/* ---- in place of what stands around it ------------------------------------------------------- */

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
    return world.now_ms + 1745948820000;
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

bool outbox_id_ok(struct slice id)
{
    return id.n == OUTBOX_ID_BYTES;
}

void outbox_id_of_job(struct slice job, char out[OUTBOX_ID_BYTES + 1])
{
    (void)job;
    (void)snprintf(out, OUTBOX_ID_BYTES + 1, "%s", TASK);
}

void outbox_claim(struct outbox_store *s, const struct outbox_attempt *a,
                  void (*done)(void *context, enum outbox_claimed outcome,
                               const struct outbox_task *task),
                  void *context)
{
    (void)s;
    assert_true(slice_is(a->id, TASK));
    assert_true(a->lease_ms > CALLBACK_TIMEOUT_MS);
    world.claims++;
    world.on_claim = done;
    world.claim_context = context;
}

void outbox_finish(struct outbox_store *s, const struct outbox_attempt *a,
                   const struct outbox_finish *f, void (*done)(void *context, bool written),
                   void *context)
{
    (void)s, (void)a;
    world.finishes++;
    world.finish = *f;
    world.on_finish = done;
    world.context = context;
}

void outbox_put(struct outbox_store *s, const struct outbox_new *task,
                void (*done)(void *context, enum outbox_claimed outcome), void *context)
{
    (void)s;
    assert_true(slice_is(task->kind, "http"));
    world.puts++;
    world.on_put = done;
    world.context = context;
}

void flash_report(struct flash_store *s, const struct flash_report *what,
                  flash_report_callback *done, void *context)
{
    (void)s;
    assert_true(slice_is(what->job_id, TASK));
    world.reports++;
    world.report = what->report;
    world.on_report = done;
    world.context = context;
}

struct fetch_call *fetch_start(struct fetch *f, const struct dialect_request *request,
                               const struct fetch_limits *limits, fetch_callback *done,
                               void *context)
{
    (void)f;
    assert_int_equal(limits->timeout_ms, CALLBACK_TIMEOUT_MS);
    world.calls++;
    (void)snprintf(world.url, sizeof world.url, "%s", buf_text(&request->url));
    (void)snprintf(world.body, sizeof world.body, "%s", buf_text(&request->body));
    world.on_fetched = done;
    world.context = context;
    return world.no_room ? NULL : (struct fetch_call *)&world;
}

void fetch_abandon(struct fetch_call *c)
{
    (void)c;
}

void link_started(struct link *l, struct slice id, uint32_t attempt)
{
    (void)l, (void)id, (void)attempt;
    world.started++;
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
    world.back = g->code;
}

static void on_idle(void *context)
{
    (void)context;
    world.idles++;
}

/* ---- a link dialect -------------------------------------------------------------------------- */

static bool has(const void *settings, enum dialect_call call)
{
    (void)settings;
    return call == DIALECT_VERIFY;
}

static bool build(const void *settings, enum dialect_call call, const struct template_values *v,
                  bool masked, struct dialect_request *out, struct template_error *error)
{
    (void)settings, (void)masked, (void)error;
    assert_int_equal(call, DIALECT_VERIFY);
    buf_puts(&out->url, "http://link.example/query/");
    buf_put_slice(&out->url, v->macro[MACRO_ADVERTISER_REQUEST_ID]);
    return true;
}

static void parse(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out)
{
    (void)settings, (void)call, (void)a;
    out->code = world.polled;
    if (world.polled == RESULT_OTP_VERIFIED) {
        (void)snprintf(out->mo.mobile, sizeof out->mo.mobile, "66812345678");
    }
}

static void release(void *settings)
{
    (void)settings;
}

static const struct dialect asked = {
    .name = "asked", .has = has, .build = build, .parse = parse, .release = release};

/* ---- records --------------------------------------------------------------------------------- */

static void put_account(const char *url)
{
    struct account *a = xcalloc(1, sizeof *a);
    a->name = strdup("demo");
    a->callback_url = strdup(url);
    a->callback_secret = strdup("secret");
    a->time_zone = strdup("Asia/Bangkok");
    fixture_put(world.records->accounts, "demo", a);
}

static void put_template(void)
{
    struct flash_template *t = xcalloc(1, sizeof *t);
    t->name = strdup("2");
    t->account = strdup("demo");
    t->content = strdup("code {code}");
    t->callback_url = strdup("http://c.example/push");
    t->receivers.count = 1;
    t->receivers.at[0] = strdup("1008611");
    fixture_put(world.records->flash_templates, "2", t);
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.now_ms = 1000000;
    world.records = fixture_records();
    put_account("http://c.example/cb");
    put_template();
    struct integration *demo = map_get(world.records->integrations, SLICE("demo"));
    demo->dialect = &asked;
    struct affiliate *a = map_get(world.records->affiliates, SLICE("1001"));
    free(a->postback_url);
    a->postback_url = strdup("http://a.example/{click_id}/{payout}");
    buf_init(&world.data, 4096);
    struct courier_options o = {
        .pepper = PEPPER, .schedule = callback_schedule, .runs_max = 2, .on_idle = on_idle};
    world.courier = courier_new(&o);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    courier_destroy(&world.courier);
    buf_free(&world.data);
    records_unref(&world.records);
    return 0;
}

/* ---- what the tests say ---------------------------------------------------------------------- */

static void begin(const struct job_callback *body, uint32_t ttl_ms)
{
    struct buf b;
    buf_init(&b, WIRE_BODY_BYTES_MAX);
    job_callback_encode(&b, body);
    const struct wire_job job = {.id = SLICE("cb." TASK ".1"),
                                 .route = SLICE("account:demo"),
                                 .op = WIRE_OP_CALLBACK,
                                 .attempt = 1,
                                 .ttl_ms = ttl_ms};
    courier_begin(world.courier, NULL, &job, buf_slice(&b));
    buf_free(&b);
}

static void begin_task(void)
{
    begin(&(struct job_callback){.task = SLICE(TASK)}, 59000);
    assert_int_equal(world.claims, 1);
}

/* names and values in pairs, NULL at the end */
static void won(const char *kind, const char *lane, uint32_t attempt, const char *const *fields)
{
    uint32_t n = 0;
    while (fields[2 * n] != NULL) {
        n++;
    }
    pack_put_map(&world.data, n);
    for (uint32_t i = 0; i < 2 * n; i++) {
        pack_put_str(&world.data, slice_of(fields[i]));
    }
    const struct outbox_task task = {.kind = slice_of(kind),
                                     .lane = slice_of(lane),
                                     .rid = SLICE(RID),
                                     .data = buf_slice(&world.data),
                                     .attempt = attempt,
                                     .left_ms = 10000,
                                     .arid = SLICE("their-1")};
    world.on_claim(world.claim_context, OUTBOX_WON, &task);
}

static const char *const plain[] = {"rid", RID, "eid", "ref", "code", "otp_sent", NULL};

static void fetched(enum fetch_end end, int http, const char *body, int64_t retry_after_s)
{
    const struct fetch_result r = {.end = end,
                                   .http = http,
                                   .body = slice_of(body),
                                   .detail = "",
                                   .total_us = 7000,
                                   .retry_after_s = retry_after_s};
    world.on_fetched(world.context, &r);
}

static void ended(enum outbox_end how, enum job_end end, enum result_code code)
{
    assert_int_equal(world.finishes, 1);
    assert_int_equal(world.finish.end, how);
    assert_int_equal(world.results, 0); /* not before it is on record */
    world.on_finish(world.context, true);
    assert_int_equal(world.results, 1);
    assert_int_equal(world.end, end);
    assert_int_equal(world.code, code);
    assert_int_equal(courier_count(world.courier), 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_received(void **state)
{
    (void)state;
    begin_task();
    won("status", "account:demo", 1, plain);
    assert_int_equal(world.started, 1);
    assert_string_equal(world.url,
                        "http://c.example/cb?STATUS=SUCCESS&MSG=&TYPE=0&CODE=200&MSGID=" RID
                        "&EXTID=ref");
    fetched(FETCH_ANSWERED, 204, "", -1);
    assert_int_equal(world.finish.http, 204);
    assert_int_equal(world.finish.ms, 7);
    ended(OUTBOX_DONE, JOB_END_DONE, RESULT_DELIVERED);
}

static void test_failed(void **state)
{
    (void)state;
    begin_task();
    won("status", "account:demo", 2, plain);
    fetched(FETCH_ANSWERED, 503, "", -1);
    assert_in_range(world.finish.next_ms, 24000, 36000); /* 30 s, a fifth more or less */
    ended(OUTBOX_AGAIN, JOB_END_REFUSED, RESULT_ADVERTISER_ERROR);
}

static void test_asked_for_patience(void **state)
{
    (void)state;
    begin_task();
    won("status", "account:demo", 1, plain);
    fetched(FETCH_ANSWERED, 429, "", 3600);
    assert_int_equal(world.finish.next_ms, 3600000);
    ended(OUTBOX_AGAIN, JOB_END_REFUSED, RESULT_ADVERTISER_ERROR);
}

static void test_the_last_attempt(void **state)
{
    (void)state;
    begin_task();
    won("status", "account:demo", 11, plain);
    fetched(FETCH_ANSWERED, 500, "", 60);
    ended(OUTBOX_DEAD, JOB_END_REFUSED, RESULT_ADVERTISER_ERROR);
}

static void test_gone(void **state)
{
    (void)state;
    begin_task();
    won("status", "account:demo", 1, plain);
    fetched(FETCH_ANSWERED, 410, "", -1);
    ended(OUTBOX_DEAD, JOB_END_REFUSED, RESULT_ADVERTISER_ERROR);
}

static void test_no_answer(void **state)
{
    (void)state;
    static const struct {
        enum fetch_end end;
        enum job_end job;
        enum result_code code;
        const char *word;
    } rows[] = {
        {FETCH_NOT_SENT, JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE, "not reached"},
        {FETCH_FORBIDDEN, JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE, "address not allowed"},
        {FETCH_UNKNOWN, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN, "no whole answer"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0) {
            (void)teardown(NULL);
            (void)setup(NULL);
        }
        begin_task();
        won("status", "account:demo", 1, plain);
        fetched(rows[i].end, 0, "", -1);
        assert_string_equal(world.finish.word, rows[i].word);
        ended(OUTBOX_AGAIN, rows[i].job, rows[i].code);
    }
}

static void test_a_long_answer_is_an_answer(void **state)
{
    (void)state;
    begin_task();
    won("status", "account:demo", 1, plain);
    fetched(FETCH_TOO_LARGE, 200, "…", -1);
    ended(OUTBOX_DONE, JOB_END_DONE, RESULT_DELIVERED);
}

static void test_push(void **state)
{
    (void)state;
    char sealed[CODE_SEALED_HEX + 1];
    code_seal(PEPPER, SLICE(RID), SLICE("5777"), sealed);
    const char *const fields[] = {"rid",    RID,           "sealed",    sealed,
                                  "mobile", "66812345678", "send_time", "2025-04-29 17:47:00",
                                  "ft",     "2",           NULL};
    begin_task();
    won("push", "flash:2", 1, fields);
    assert_string_equal(world.url, "http://c.example/push");
    assert_non_null(strstr(world.body, "\"code\":\"5777\",\"content\":\"code 5777\""));
    assert_non_null(strstr(world.body, "\"sendTime\":\"2025-04-30 00:47:00\""));
    fetched(FETCH_ANSWERED, 200, "OK", -1); /* not what FOTP asks for */
    ended(OUTBOX_AGAIN, JOB_END_REFUSED, RESULT_ADVERTISER_ERROR);
}

static void test_postback(void **state)
{
    (void)state;
    const char *const fields[] = {"rid", RID, "route", "demo", "party", "1001", NULL};
    begin_task();
    won("postback", "affiliate:1001", 1, fields);
    assert_string_equal(world.url, "http://a.example/" RID "/");
    fetched(FETCH_ANSWERED, 200, "", -1);
    ended(OUTBOX_DONE, JOB_END_DONE, RESULT_DELIVERED);
}

static void test_nobody_to_tell(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"status", "account:other"},    {"status", "flash:2"},      {"push", "flash:3"},
        {"postback", "affiliate:1002"}, {"postback", "affiliate:"}, {"poll", "nowhere"},
        {"no-kind", "account:demo"},    {"http", "demo"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0) {
            (void)teardown(NULL);
            (void)setup(NULL);
        }
        begin_task();
        won(rows[i][0], rows[i][1], 1, plain);
        assert_int_equal(world.calls, 0);
        ended(OUTBOX_DROPPED, JOB_END_REFUSED, RESULT_INVALID_REQUEST);
    }
}

static void test_no_room_for_a_call(void **state)
{
    (void)state;
    world.no_room = true;
    begin_task();
    won("status", "account:demo", 1, plain);
    ended(OUTBOX_LATER, JOB_END_REFUSED, RESULT_INTERNAL_ERROR);
}

static void test_claims_that_are_not_won(void **state)
{
    (void)state;
    static const enum outbox_claimed outcomes[] = {OUTBOX_ENDED, OUTBOX_ELSEWHERE};
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        world.claims = world.results = 0;
        begin_task();
        world.on_claim(world.claim_context, outcomes[i], NULL);
        assert_int_equal(world.code, RESULT_PENDING);
        assert_int_equal(world.results, 1);
    }
    world.claims = 0;
    begin_task();
    world.on_claim(world.claim_context, OUTBOX_NO_STORE, NULL);
    assert_int_equal(world.back, RESULT_STORE_UNAVAILABLE);
    assert_int_equal(world.started, 0);
}

static void test_not_begun(void **state)
{
    (void)state;
    begin(&(struct job_callback){.task = SLICE(TASK)}, 0); /* its worker died */
    assert_int_equal(world.end, JOB_END_UNKNOWN);
    begin(&(struct job_callback){.task = SLICE("short")}, 1000);
    assert_int_equal(world.code, RESULT_INVALID_REQUEST);
    assert_int_equal(world.claims, 0);
    begin_task();
    world.claims = 0;
    begin_task();
    begin(&(struct job_callback){.task = SLICE(TASK)}, 1000); /* a third: there is room for two */
    assert_int_equal(world.backs, 1);
}

static void test_draining(void **state)
{
    (void)state;
    begin_task();
    courier_drain(world.courier);
    begin(&(struct job_callback){.task = SLICE(TASK)}, 1000);
    assert_int_equal(world.backs, 1);
    assert_int_equal(world.idles, 0);
    won("status", "account:demo", 1, plain);
    fetched(FETCH_ANSWERED, 200, "", -1);
    ended(OUTBOX_DONE, JOB_END_DONE, RESULT_DELIVERED);
    assert_int_equal(world.idles, 1);
}

static void test_a_clients_own(void **state)
{
    (void)state;
    struct job_callback body = {.method = SLICE("GET"), .url = SLICE("http://x.example/")};
    begin(&body, 1000);
    assert_int_equal(world.puts, 1);
    world.on_put(world.context, OUTBOX_WON);
    assert_int_equal(world.end, JOB_END_DONE);
    assert_int_equal(world.code, RESULT_PENDING);
    begin(&body, 1000);
    world.on_put(world.context, OUTBOX_ENDED);
    assert_int_equal(world.code, RESULT_QUEUE_FULL);
    begin(&body, 1000);
    world.on_put(world.context, OUTBOX_NO_STORE);
    assert_int_equal(world.backs, 1);
    body.url = SLICE("ftp://x.example/");
    begin(&body, 1000);
    assert_int_equal(world.code, RESULT_INVALID_REQUEST);
}

static void test_poll(void **state)
{
    (void)state;
    begin_task();
    won("poll", "demo", 1, plain);
    assert_string_equal(world.url, "http://link.example/query/their-1");
    world.polled = RESULT_PENDING;
    fetched(FETCH_ANSWERED, 200, "{}", -1);
    assert_int_equal(world.finish.next_ms, 5000);
    ended(OUTBOX_LATER, JOB_END_DONE, RESULT_PENDING);
}

static void test_poll_is_told(void **state)
{
    (void)state;
    const struct flash_reported applied = {.outcome = FLASH_REPORT_APPLIED};
    begin_task();
    won("poll", "demo", 1, plain);
    world.polled = RESULT_OTP_VERIFIED;
    fetched(FETCH_ANSWERED, 200, "{}", -1);
    assert_int_equal(world.reports, 1);
    assert_int_equal(world.report.event, DIALECT_MO);
    assert_int_equal(world.report.code, RESULT_OTP_VERIFIED);
    assert_true(slice_is(world.report.mobile, "66812345678"));
    assert_true(slice_is(world.report.request_id, RID));
    world.on_report(world.context, &applied);
    ended(OUTBOX_DONE, JOB_END_DONE, RESULT_DELIVERED);
}

static void test_poll_ends_with_the_session(void **state)
{
    (void)state;
    begin_task();
    won("poll", "demo", 1, plain);
    world.now_ms += 10000;
    fetched(FETCH_NOT_SENT, 0, "", -1);
    ended(OUTBOX_DONE, JOB_END_DONE, RESULT_PENDING);
}

static void test_left_behind(void **state)
{
    (void)state;
    begin_task();
    won("status", "account:demo", 1, plain); /* its call is out when all is destroyed */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_received),
        T(test_failed),
        T(test_asked_for_patience),
        T(test_the_last_attempt),
        T(test_gone),
        T(test_no_answer),
        T(test_a_long_answer_is_an_answer),
        T(test_push),
        T(test_postback),
        T(test_nobody_to_tell),
        T(test_no_room_for_a_call),
        T(test_claims_that_are_not_won),
        T(test_not_begun),
        T(test_draining),
        T(test_a_clients_own),
        T(test_poll),
        T(test_poll_is_told),
        T(test_poll_ends_with_the_session),
        T(test_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
