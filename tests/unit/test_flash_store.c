/* Reports, the index of live codes, nonces and looks, against a Redis of the test's own. */
#include "common/adapters/flash_store.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/meaning/code.h"
#include "common/meaning/msisdn.h"
#include "tests/unit/redis_fixture.h"

#define PEPPER "0123456789abcdef0123456789abcdef"
#define TOKEN  "5a0e96b6a8bf8ed8c3de194cf14b342f"
#define S_KEY  "otpq:s:{5a}:" TOKEN
#define T_KEY  "otpq:t:{5a}:" TOKEN
#define LANE   "flash:2"
#define MOBILE "6285273203675"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    struct flash_store *flash;
    struct session_store *sessions;
    redisContext *c; /* to look and to tamper */
    bool up;
};

static void on_state(void *context, bool up)
{
    ((struct world *)context)->up = up;
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    const struct store_options o = {.address = w->redis.address,
                                    .timeout_ms = 2000,
                                    .pending_max = 10000,
                                    .on_state = on_state,
                                    .context = w};
    const struct session_store_options s = {.prefix = "otpq:",
                                            .owner = "w1",
                                            .pepper = SLICE(PEPPER),
                                            .session_keep_s = 3600,
                                            .events_keep_s = 7200,
                                            .result_keep_ms = 600000};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    w->flash = flash_store_new(w->store, &s);
    w->sessions = session_store_new(w->store, &s);
    w->c = store_blocking(w->redis.address, NULL, 5000, error);
    assert_non_null(w->c);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    redisFree(w->c);
    flash_store_destroy(&w->flash);
    session_store_destroy(&w->sessions);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

/* ---- looking into Redis ---------------------------------------------------------------------- */

static redisReply *ask(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    redisReply *r = redisvCommand(w->c, fmt, args);
    va_end(args);
    assert_non_null(r);
    if (r->type == REDIS_REPLY_ERROR) {
        fail_msg("%s: %s", fmt, r->str);
    }
    return r;
}

#define RUN(...) freeReplyObject(ask(__VA_ARGS__))

static bool field_is(struct world *w, const char *key, const char *field, const char *value)
{
    redisReply *r = ask(w, "HGET %s %s", key, field);
    bool same = r->type == REDIS_REPLY_STRING ? strcmp(r->str, value) == 0 : value[0] == '\0';
    freeReplyObject(r);
    return same;
}

static long long number_of(struct world *w, const char *command)
{
    redisReply *r = ask(w, command);
    long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : -1;
    freeReplyObject(r);
    return n;
}

/* How many steps of the time-line hold the text. */
static int steps_with(struct world *w, const char *text)
{
    redisReply *r = ask(w, "LRANGE " T_KEY " 0 -1");
    int n = 0;
    for (size_t i = 0; i < r->elements; i++) {
        n += strstr(r->element[i]->str, text) != NULL ? 1 : 0;
    }
    freeReplyObject(r);
    return n;
}

/* Events of a kind in the session's tag. */
static int events_of(struct world *w, const char *kind)
{
    redisReply *r = ask(w, "XRANGE otpq:ev:{5a} - +");
    int n = 0;
    for (size_t i = 0; i < r->elements; i++) {
        n += strcmp(r->element[i]->element[1]->element[1]->str, kind) == 0 ? 1 : 0;
    }
    freeReplyObject(r);
    return n;
}

/* Tasks of a kind in the outbox. */
static int tasks_of(struct world *w, const char *kind)
{
    redisReply *r = ask(w, "ZRANGE otpq:ol:{5a} 0 -1");
    int n = 0;
    for (size_t i = 0; i < r->elements; i++) {
        char key[64];
        (void)snprintf(key, sizeof key, "otpq:o:{5a}:%s", r->element[i]->str);
        n += field_is(w, key, "kind", kind) ? 1 : 0;
    }
    freeReplyObject(r);
    return n;
}

/* A session as a flash.create leaves it. left_ms < 0: it is over. */
static void a_session(struct world *w, const char *st, int64_t left_ms)
{
    RUN(w,
        "HSET " S_KEY " st %s aid account:demo route " LANE " lane " LANE " ft 2 exp %" PRId64
        " job cr-1 click %s msisdn %s",
        st, clock_wall_ms() + left_ms, strcmp(st, "unknown") == 0 ? "0" : "1", "");
    RUN(w, "PEXPIRE " S_KEY " 3600000");
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct heard {
    bool done;
    int calls;
    int answer;
    struct flash_reported reported;
};

static void on_reserved(void *context, enum flash_reserved outcome)
{
    struct heard *h = context;
    h->done = true;
    h->calls++;
    h->answer = (int)outcome;
}

static void on_nonce(void *context, enum flash_nonce_outcome outcome)
{
    struct heard *h = context;
    h->done = true;
    h->calls++;
    h->answer = (int)outcome;
}

static void on_report(void *context, const struct flash_reported *r)
{
    struct heard *h = context;
    h->done = true;
    h->calls++;
    h->reported = *r;
}

static int reserve_for(struct world *w, const char *code, const char *rid, uint64_t valid_ms)
{
    struct heard h = {0};
    flash_reserve(w->flash, SLICE(LANE), slice_of(code), slice_of(rid), valid_ms, on_reserved, &h);
    assert_false(h.done);
    assert_true(loop_until(w->base, &h.done, 5000));
    assert_int_equal(h.calls, 1);
    return h.answer;
}

static int nonce_of(struct world *w, const char *account, const char *nonce, const char *job)
{
    struct heard h = {0};
    flash_nonce(w->flash, slice_of(account), slice_of(nonce), slice_of(job), on_nonce, &h);
    assert_false(h.done);
    assert_true(loop_until(w->base, &h.done, 5000));
    return h.answer;
}

static struct flash_reported report_as(struct world *w, const char *job, const char *lane,
                                       const struct job_report *report)
{
    const struct flash_report what = {
        .job_id = slice_of(job), .lane = slice_of(lane), .valid_s = 300, .report = *report};
    struct heard h = {0};
    flash_report(w->flash, &what, on_report, &h);
    assert_false(h.done);
    assert_true(loop_until(w->base, &h.done, 5000));
    assert_int_equal(h.calls, 1);
    return h.reported;
}

static struct job_report an_mo(const char *code)
{
    return (struct job_report){.event = DIALECT_MO,
                               .otp = slice_of(code),
                               .mobile = SLICE(MOBILE),
                               .sender = SLICE("6285215410016"),
                               .send_time = SLICE("2025-04-29 17:47:00"),
                               .deliver_time = SLICE("2025-04-29 17:48:23")};
}

static enum flash_report_outcome mo(struct world *w, const char *job, const char *code)
{
    const struct job_report r = an_mo(code);
    return report_as(w, job, LANE, &r).outcome;
}

static struct flash_reported told(struct world *w, const char *job, enum dialect_event event,
                                  enum result_code code)
{
    const struct job_report r = {.event = event, .code = code, .request_id = SLICE(TOKEN)};
    return report_as(w, job, LANE, &r);
}

/* ---- codes of a lane ------------------------------------------------------------------------- */

static void a_code_is_one_requests(void **state)
{
    struct world *w = *state;
    assert_int_equal(reserve_for(w, "1234", "rid-1", 300000), FLASH_RESERVED);
    assert_int_equal(reserve_for(w, "1234", "rid-1", 300000), FLASH_RESERVED);
    assert_int_equal(reserve_for(w, "1234", "rid-2", 300000), FLASH_TAKEN);
    assert_int_equal(reserve_for(w, "1235", "rid-2", 300000), FLASH_RESERVED);
}

static void a_code_that_is_over_may_be_taken(void **state)
{
    struct world *w = *state;
    assert_int_equal(reserve_for(w, "2000", "rid-1", 1), FLASH_RESERVED);
    int64_t until = clock_mono_ms() + 5000;
    while (reserve_for(w, "2000", "rid-2", 300000) == FLASH_TAKEN) {
        assert_true(clock_mono_ms() < until);
    }
    assert_int_equal(reserve_for(w, "2000", "rid-1", 300000), FLASH_TAKEN);
}

static void no_code_lies_in_redis(void **state)
{
    struct world *w = *state;
    assert_int_equal(reserve_for(w, "739152", "rid-1", 300000), FLASH_RESERVED);
    redisReply *r = ask(w, "KEYS *739152*");
    assert_int_equal(r->elements, 0);
    freeReplyObject(r);
    r = ask(w, "KEYS otpq:m:*");
    assert_int_equal(r->elements, 1);
    redisReply *value = ask(w, "GET %s", r->element[0]->str);
    assert_null(strstr(value->str, "739152"));
    redisReply *ttl = ask(w, "PTTL %s", r->element[0]->str);
    assert_true(ttl->integer > 300000 && ttl->integer <= 300000 + 3600000);
    freeReplyObject(ttl);
    freeReplyObject(value);
    freeReplyObject(r);
}

/* ---- nonces ---------------------------------------------------------------------------------- */

static void a_nonce_is_one_jobs(void **state)
{
    struct world *w = *state;
    assert_int_equal(nonce_of(w, "demo", "1653043349000", "j1"), FLASH_NONCE_FRESH);
    assert_int_equal(nonce_of(w, "demo", "1653043349000", "j1"), FLASH_NONCE_FRESH);
    assert_int_equal(nonce_of(w, "demo", "1653043349000", "j2"), FLASH_NONCE_SEEN);
    assert_int_equal(nonce_of(w, "other", "1653043349000", "j2"), FLASH_NONCE_FRESH);
    redisReply *r = ask(w, "KEYS otpq:nx:*:demo:1653043349000");
    assert_int_equal(r->elements, 1);
    redisReply *ttl = ask(w, "PTTL %s", r->element[0]->str);
    assert_true(ttl->integer > 500000 && ttl->integer <= 600000);
    freeReplyObject(ttl);
    freeReplyObject(r);
}

/* ---- MOs ------------------------------------------------------------------------------------- */

static void an_mo_converts_once(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    assert_int_equal(reserve_for(w, "3872", TOKEN, 300000), FLASH_RESERVED);
    const struct job_report r = an_mo("3872");
    struct flash_reported got = report_as(w, "rep-1", LANE, &r);
    assert_int_equal(got.outcome, FLASH_REPORT_APPLIED);
    assert_string_equal(got.request_id, TOKEN);
    assert_string_equal(got.state, "verified");
    assert_false(got.over);
    assert_true(field_is(w, S_KEY, "st", "verified"));
    assert_true(field_is(w, S_KEY, "mobile", MOBILE));
    assert_true(field_is(w, S_KEY, "sender", "6285215410016"));
    assert_true(field_is(w, S_KEY, "send_time", "2025-04-29 17:47:00"));
    assert_true(field_is(w, S_KEY, "deliver_time", "2025-04-29 17:48:23"));
    assert_true(field_is(w, S_KEY, "country", "ID"));
    assert_int_equal(events_of(w, "conversion"), 1);
    assert_int_equal(tasks_of(w, "push"), 1);
    assert_int_equal(steps_with(w, "\"step\":\"report\",\"job\":\"rep-1\""), 1);

    assert_int_equal(mo(w, "rep-1", "3872"), FLASH_REPORT_APPLIED); /* sent again */
    assert_int_equal(steps_with(w, "report"), 1);
    assert_int_equal(mo(w, "rep-2", "3872"), FLASH_REPORT_IGNORED);
    assert_int_equal(steps_with(w, "report_ignored"), 1);
    assert_int_equal(steps_with(w, "a second one"), 1);
    assert_int_equal(events_of(w, "conversion"), 1);
    assert_int_equal(tasks_of(w, "push"), 1);
}

static void events_know_whose_mo_it_was(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    assert_int_equal(reserve_for(w, "3872", TOKEN, 300000), FLASH_RESERVED);
    assert_int_equal(mo(w, "rep-1", "3872"), FLASH_REPORT_APPLIED);
    redisReply *r = ask(w, "XRANGE otpq:ev:{5a} - +");
    redisReply *fields = r->element[r->elements - 1]->element[1];
    bool masked = false;
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        assert_null(strstr(fields->element[i + 1]->str, MOBILE));
        masked = masked || strcmp(fields->element[i + 1]->str, "628*******675") == 0;
    }
    assert_true(masked);
    freeReplyObject(r);
}

static void a_wrong_mo_is_counted_only(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    assert_int_equal(reserve_for(w, "3872", TOKEN, 300000), FLASH_RESERVED);
    assert_int_equal(mo(w, "rep-0", "0000"), FLASH_REPORT_UNKNOWN);
    long long keys = number_of(w, "DBSIZE");
    for (int i = 1; i < 300; i++) {
        char job[16], code[16];
        (void)snprintf(job, sizeof job, "rep-%d", i);
        (void)snprintf(code, sizeof code, "%04d", i);
        assert_int_equal(mo(w, job, code), FLASH_REPORT_UNKNOWN);
    }
    assert_int_equal(number_of(w, "DBSIZE"), keys);
    assert_true(field_is(w, S_KEY, "st", "sent"));
    redisReply *day = ask(w, "KEYS otpq:c:*");
    assert_int_equal(day->elements, 1);
    assert_true(field_is(w, day->element[0]->str, LANE ":0:mo_unmatched", "300"));
    freeReplyObject(day);
}

static void a_late_mo_changes_nothing(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", -1000);
    assert_int_equal(reserve_for(w, "3872", TOKEN, 1), FLASH_RESERVED);
    assert_int_equal(mo(w, "rep-1", "3872"), FLASH_REPORT_IGNORED);
    assert_true(field_is(w, S_KEY, "st", "sent"));
    assert_true(field_is(w, S_KEY, "mobile", ""));
    assert_int_equal(steps_with(w, "too late"), 1);
    assert_int_equal(tasks_of(w, "push"), 0);
}

static void an_advertisers_word_may_take_a_moment(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", -100000);
    assert_string_equal(told(w, "rep-1", DIALECT_MO, RESULT_OTP_VERIFIED).state, "sent");
    a_session(w, "sent", -20000);
    assert_string_equal(told(w, "rep-2", DIALECT_MO, RESULT_OTP_VERIFIED).state, "verified");
}

static void an_mo_of_another_number_changes_nothing(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    RUN(w, "HSET " S_KEY " msisdn 66812345678");
    assert_int_equal(reserve_for(w, "3872", TOKEN, 300000), FLASH_RESERVED);
    assert_int_equal(mo(w, "rep-1", "3872"), FLASH_REPORT_IGNORED);
    assert_int_equal(steps_with(w, "from another number"), 1);
    RUN(w, "HSET " S_KEY " msisdn " MOBILE);
    assert_int_equal(mo(w, "rep-2", "3872"), FLASH_REPORT_APPLIED);
    assert_true(field_is(w, S_KEY, "st", "verified"));
}

static void the_timeline_of_a_pestered_request_stays_short(void **state)
{
    struct world *w = *state;
    a_session(w, "verified", 300000);
    assert_int_equal(reserve_for(w, "3872", TOKEN, 300000), FLASH_RESERVED);
    for (int i = 0; i < 100; i++) {
        char job[16];
        (void)snprintf(job, sizeof job, "rep-%d", i);
        assert_int_equal(mo(w, job, "3872"), FLASH_REPORT_IGNORED);
    }
    assert_int_equal(steps_with(w, "report_ignored"), 20);
}

static void an_upstreams_failure_fails(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    assert_string_equal(told(w, "rep-1", DIALECT_MO, RESULT_PENDING).state, "sent");
    struct flash_reported r = told(w, "rep-2", DIALECT_MO, RESULT_OTP_EXPIRED);
    assert_int_equal(r.outcome, FLASH_REPORT_APPLIED);
    assert_string_equal(r.state, "failed");
    assert_int_equal(told(w, "rep-3", DIALECT_MO, RESULT_OTP_VERIFIED).outcome,
                     FLASH_REPORT_IGNORED);
}

/* ---- deliveries and verifications ------------------------------------------------------------ */

/* msgpack of the claim's key as a finish leaves it. */
static void an_unknown_job(struct world *w)
{
    static const char script[] =
        "local body = cmsgpack.pack({error = 'outcome_unknown', request_id = ARGV[1]}) "
        "redis.call('SET', KEYS[1], cmsgpack.pack({st = 'ended', fin = 'unknown', "
        "code = 'outcome_unknown', rid = ARGV[1], att = 1, fp = 'x', own = 'w', first = 'written', "
        "body = body}), 'PX', 60000)";
    redisReply *r = redisCommand(w->c, "EVAL %s 1 otpq:j:{5a}:cr-1 %s", script, TOKEN);
    assert_non_null(r);
    freeReplyObject(r);
}

static bool job_is(struct world *w, const char *fin, const char *code)
{
    static const char script[] =
        "local j = cmsgpack.unpack(redis.call('GET', KEYS[1])) "
        "local b = cmsgpack.unpack(j.body) "
        "return {j.fin, j.code, b.response or '', b.error or '', b.data or ''}";
    redisReply *r = redisCommand(w->c, "EVAL %s 1 otpq:j:{5a}:cr-1", script);
    assert_non_null(r);
    assert_int_equal(r->type, REDIS_REPLY_ARRAY);
    bool done = strcmp(fin, "done") == 0;
    bool same = strcmp(r->element[0]->str, fin) == 0 && strcmp(r->element[1]->str, code) == 0 &&
                strcmp(r->element[2]->str, done ? code : "") == 0 &&
                strcmp(r->element[3]->str, done ? "" : code) == 0 &&
                strcmp(r->element[4]->str, done ? TOKEN : "") == 0;
    freeReplyObject(r);
    return same;
}

static void a_late_success_corrects_an_unknown(void **state)
{
    struct world *w = *state;
    a_session(w, "unknown", 300000);
    an_unknown_job(w);
    assert_true(job_is(w, "unknown", "outcome_unknown"));
    struct flash_reported r = told(w, "rep-1", DIALECT_DELIVERY, RESULT_OTP_SENT);
    assert_int_equal(r.outcome, FLASH_REPORT_APPLIED);
    assert_string_equal(r.state, "sent");
    assert_true(job_is(w, "done", "otp_sent"));
    assert_true(number_of(w, "PTTL otpq:j:{5a}:cr-1") > 0);
    assert_int_equal(events_of(w, "click"), 1);
    assert_int_equal(told(w, "rep-2", DIALECT_DELIVERY, RESULT_OTP_SENT).outcome,
                     FLASH_REPORT_IGNORED);
    assert_int_equal(events_of(w, "click"), 1);
}

static void an_account_hears_the_better_word(void **state)
{
    struct world *w = *state;
    a_session(w, "unknown", 300000);
    RUN(w, "HSET " S_KEY " lane account:demo");
    (void)told(w, "rep-1", DIALECT_DELIVERY, RESULT_OTP_SENT);
    assert_int_equal(tasks_of(w, "status"), 1);
    (void)told(w, "rep-2", DIALECT_DELIVERY, RESULT_OTP_SENT);
    assert_int_equal(tasks_of(w, "status"), 1);
    assert_string_equal(told(w, "rep-3", DIALECT_VERIFICATION, RESULT_OTP_VERIFIED).state,
                        "verified");
    (void)told(w, "rep-4", DIALECT_VERIFICATION, RESULT_OTP_VERIFIED);
    assert_int_equal(tasks_of(w, "result"), 1);
}

static void a_failed_delivery_fails(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    assert_string_equal(told(w, "rep-1", DIALECT_DELIVERY, RESULT_INVALID_MSISDN).state, "failed");
    assert_int_equal(told(w, "rep-2", DIALECT_DELIVERY, RESULT_INVALID_MSISDN).outcome,
                     FLASH_REPORT_IGNORED);
    assert_int_equal(told(w, "rep-3", DIALECT_DELIVERY, RESULT_OTP_SENT).outcome,
                     FLASH_REPORT_IGNORED);
    assert_true(field_is(w, S_KEY, "st", "failed"));
}

static void a_failure_does_not_undo_a_verification(void **state)
{
    struct world *w = *state;
    a_session(w, "verified", 300000);
    assert_int_equal(told(w, "rep-1", DIALECT_DELIVERY, RESULT_ADVERTISER_ERROR).outcome,
                     FLASH_REPORT_IGNORED);
    assert_true(field_is(w, S_KEY, "st", "verified"));
}

static void a_verification_converts_once(void **state)
{
    struct world *w = *state;
    a_session(w, "unknown", 300000);
    an_unknown_job(w);
    assert_string_equal(told(w, "rep-1", DIALECT_VERIFICATION, RESULT_WRONG_OTP).state, "unknown");
    assert_string_equal(told(w, "rep-2", DIALECT_VERIFICATION, RESULT_OTP_VERIFIED).state,
                        "verified");
    assert_int_equal(told(w, "rep-3", DIALECT_VERIFICATION, RESULT_OTP_VERIFIED).outcome,
                     FLASH_REPORT_IGNORED);
    assert_int_equal(events_of(w, "conversion"), 1);
    assert_int_equal(events_of(w, "click"), 1); /* it was sent after all */
    assert_true(job_is(w, "done", "otp_sent"));
}

static void nobody_reports_of_anothers_requests(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    const struct job_report r = {
        .event = DIALECT_DELIVERY, .code = RESULT_ADVERTISER_ERROR, .request_id = SLICE(TOKEN)};
    assert_int_equal(report_as(w, "rep-1", "other", &r).outcome, FLASH_REPORT_UNKNOWN);
    RUN(w, "HSET " S_KEY " via other");
    assert_int_equal(report_as(w, "rep-2", "other", &r).outcome, FLASH_REPORT_APPLIED);
    assert_true(field_is(w, S_KEY, "st", "failed"));
}

static void ids_that_are_none_are_unknown(void **state)
{
    struct world *w = *state;
    static const char *const ids[] = {"x", "r zz", "r5a/", "99999999999999999999", "-1"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        const struct job_report r = {
            .event = DIALECT_DELIVERY, .code = RESULT_OTP_SENT, .request_id = slice_of(ids[i])};
        assert_int_equal(report_as(w, "rep-1", LANE, &r).outcome, FLASH_REPORT_UNKNOWN);
    }
}

/* What polls hear comes from outside, and an id may have been cut in the middle of a letter. */
static void a_report_of_no_texts_ends(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    const struct job_report r = {.event = DIALECT_VERIFICATION,
                                 .code = RESULT_OTP_VERIFIED,
                                 .request_id = SLICE(TOKEN),
                                 .advertiser_request_id = SLICE("abc\xc3")};
    assert_int_equal(report_as(w, "rep-1", LANE, &r).outcome, FLASH_REPORT_NO_STORE);
    assert_true(field_is(w, S_KEY, "st", "sent"));
}

/* ---- reports before their session ------------------------------------------------------------ */

static void early_reports_wait_and_are_bounded(void **state)
{
    struct world *w = *state;
    assert_int_equal(told(w, "rep-1", DIALECT_DELIVERY, RESULT_OTP_SENT).outcome,
                     FLASH_REPORT_KEPT);
    assert_int_equal(told(w, "rep-1", DIALECT_DELIVERY, RESULT_OTP_SENT).outcome,
                     FLASH_REPORT_KEPT);
    assert_int_equal(number_of(w, "LLEN otpq:rp:{5a}:" TOKEN), 1);
    long long ttl = number_of(w, "PTTL otpq:rp:{5a}:" TOKEN);
    assert_true(ttl > 0 && ttl <= 300000);
    for (int i = 2; i < 40; i++) {
        char job[16];
        (void)snprintf(job, sizeof job, "rep-%d", i);
        (void)told(w, job, DIALECT_DELIVERY, RESULT_OTP_SENT);
    }
    assert_int_equal(number_of(w, "LLEN otpq:rp:{5a}:" TOKEN), 8);
    for (int i = 0; i < 600; i++) {
        char rid[33];
        (void)snprintf(rid, sizeof rid, "5a%030d", i);
        const struct job_report r = {
            .event = DIALECT_DELIVERY, .code = RESULT_OTP_SENT, .request_id = slice_of(rid)};
        (void)report_as(w, "rep-x", LANE, &r);
    }
    assert_int_equal(number_of(w, "ZCARD otpq:rq:{5a}"), 256);
}

static void on_claim(void *context, const struct claim *c)
{
    struct heard *h = context;
    h->done = true;
    h->answer = (int)c->outcome;
}

struct ended {
    bool done;
    enum job_end end;
    enum result_code code;
    bool tells_id; /* data is the request id, as of any send that is done */
};

static void on_finish(void *context, const struct finish *f)
{
    struct ended *e = context;
    struct job_result r;
    const char *error = NULL;
    assert_int_equal(f->outcome, FINISH_WRITTEN);
    assert_true(job_result_decode(f->result_body, &r, &error));
    e->done = true;
    e->end = f->end;
    e->code = f->code;
    e->tells_id = slice_is(r.data, TOKEN) && r.error.n == 0;
}

/* A send whose call ended so. */
static struct ended send_ends(struct world *w, enum job_end end, enum result_code code)
{
    static char name[] = LANE;
    const struct integration route = {.name = name, .code_valid_s = 300};
    struct session_job job = {.job_id = SLICE("cr-1"),
                              .attempt = 1,
                              .fingerprint = 7,
                              .route = SLICE(LANE),
                              .tag = "5a",
                              .party = SLICE("account:demo"),
                              .facts = {.lane = SLICE(LANE), .ft = SLICE("2")},
                              .lease_ms = 5000};
    struct job_result result;
    struct heard claimed = {0};
    struct ended e = {0};
    job_result_init(&result);
    result.error = slice_of(end == JOB_END_DONE ? "" : result_name(code));
    const struct session_finish f = {.end = end, .code = code, .result = &result};
    session_claim_send(w->sessions, &job, &route, TOKEN, on_claim, &claimed);
    assert_true(loop_until(w->base, &claimed.done, 5000));
    assert_int_equal(claimed.answer, CLAIM_WON);
    session_finish_send(w->sessions, &job, &route, TOKEN, &f, on_finish, &e);
    assert_true(loop_until(w->base, &e.done, 5000));
    return e;
}

static void an_early_success_decides_an_unknown(void **state)
{
    struct world *w = *state;
    assert_int_equal(told(w, "rep-1", DIALECT_DELIVERY, RESULT_OTP_SENT).outcome,
                     FLASH_REPORT_KEPT);
    struct ended e = send_ends(w, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(e.end, JOB_END_DONE);
    assert_int_equal(e.code, RESULT_OTP_SENT);
    assert_true(e.tells_id);
    assert_true(field_is(w, S_KEY, "st", "sent"));
    assert_int_equal(events_of(w, "click"), 1);
    assert_int_equal(number_of(w, "EXISTS otpq:rp:{5a}:" TOKEN), 0);
    assert_int_equal(number_of(w, "ZCARD otpq:rq:{5a}"), 0);
    assert_int_equal(steps_with(w, "\"step\":\"report\",\"job\":\"rep-1\",\"op\":\"report\""), 1);
}

static void an_early_mo_converts_when_the_session_is_written(void **state)
{
    struct world *w = *state;
    assert_int_equal(reserve_for(w, "3872", TOKEN, 300000), FLASH_RESERVED);
    assert_int_equal(mo(w, "rep-1", "3872"), FLASH_REPORT_KEPT);
    struct ended e = send_ends(w, JOB_END_DONE, RESULT_OTP_SENT);
    assert_int_equal(e.end, JOB_END_DONE);
    assert_true(field_is(w, S_KEY, "st", "verified"));
    assert_true(field_is(w, S_KEY, "mobile", MOBILE));
    assert_int_equal(tasks_of(w, "push"), 1);
    assert_int_equal(mo(w, "rep-2", "3872"), FLASH_REPORT_IGNORED);
}

static void an_early_report_does_not_send_what_was_refused(void **state)
{
    struct world *w = *state;
    (void)told(w, "rep-1", DIALECT_DELIVERY, RESULT_OTP_SENT);
    struct ended e = send_ends(w, JOB_END_REFUSED, RESULT_NOT_ELIGIBLE);
    assert_int_equal(e.end, JOB_END_REFUSED);
    assert_int_equal(number_of(w, "EXISTS " S_KEY), 0);
}

/* Whoever knows a request id is not therefore believed about it once it has a session. */
static void an_early_report_of_anothers_request_is_nobodys(void **state)
{
    struct world *w = *state;
    const struct job_report sent = {
        .event = DIALECT_DELIVERY, .code = RESULT_OTP_SENT, .request_id = SLICE(TOKEN)};
    const struct job_report right = {
        .event = DIALECT_VERIFICATION, .code = RESULT_OTP_VERIFIED, .request_id = SLICE(TOKEN)};
    const struct flash_report strangers = {.job_id = SLICE("rep-3"),
                                           .lane = SLICE(LANE),
                                           .valid_s = 300,
                                           .report = right,
                                           .party = SLICE("account:other")};
    struct heard h = {0};
    assert_int_equal(report_as(w, "rep-1", "other", &sent).outcome, FLASH_REPORT_KEPT);
    assert_int_equal(report_as(w, "rep-2", "other", &right).outcome, FLASH_REPORT_KEPT);
    flash_report(w->flash, &strangers, on_report, &h);
    assert_true(loop_until(w->base, &h.done, 5000));
    struct ended e = send_ends(w, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(e.end, JOB_END_UNKNOWN);
    assert_true(field_is(w, S_KEY, "st", "unknown"));
    assert_int_equal(events_of(w, "conversion"), 0);
}

/* The integration asked for refused it, and another one carried it. */
static void only_the_carrier_tells_of_deliveries(void **state)
{
    struct world *w = *state;
    a_session(w, "sent", 300000);
    RUN(w, "HSET " S_KEY " via other");
    assert_int_equal(told(w, "rep-1", DIALECT_DELIVERY, RESULT_ADVERTISER_ERROR).outcome,
                     FLASH_REPORT_UNKNOWN);
    assert_true(field_is(w, S_KEY, "st", "sent"));
    assert_string_equal(told(w, "rep-2", DIALECT_VERIFICATION, RESULT_OTP_VERIFIED).state,
                        "verified");
}

/* ---- reports while others are at it ----------------------------------------------------------
 */

static char carrier_name[] = "carrier";
static const struct integration carrier = {
    .name = carrier_name, .code_valid_s = 300, .on_unknown = ON_UNKNOWN_RETRY};

static struct session_job carriers_job(const char *id)
{
    return (struct session_job){.job_id = slice_of(id),
                                .attempt = 1,
                                .fingerprint = 7,
                                .route = slice_of(carrier_name),
                                .tag = "5a",
                                .party = SLICE("account:demo"),
                                .msisdn = SLICE(MOBILE),
                                .facts = {.lane = SLICE("account:demo"), .eid = SLICE("e-1")},
                                .lease_ms = 5000};
}

struct claimed_end {
    bool done;
    enum claim_outcome outcome;
    enum job_end end;
    enum result_code code;
};

static void on_claim_end(void *context, const struct claim *c)
{
    struct claimed_end *e = context;
    *e = (struct claimed_end){true, c->outcome, c->end, c->code};
}

static void on_released(void *context, bool written)
{
    ((struct heard *)context)->done = written;
}

/* A call of which nobody knows the outcome, and which the route would have made again. */
static void what_a_report_says_was_sent_is_not_sent_again(void **state)
{
    struct world *w = *state;
    struct claimed_end c = {0};
    struct heard released = {0};
    struct session_job job = carriers_job("cr-1");
    const struct session_doubt doubt = {.code_mac = {0}, .user_id = {0}};
    const struct job_report r = {
        .event = DIALECT_DELIVERY, .code = RESULT_OTP_SENT, .request_id = SLICE(TOKEN)};
    session_claim_send(w->sessions, &job, &carrier, TOKEN, on_claim_end, &c);
    assert_true(loop_until(w->base, &c.done, 5000));
    session_release(w->sessions, &job, &carrier, &doubt, NULL, on_released, &released);
    assert_true(loop_until(w->base, &released.done, 5000));
    assert_int_equal(report_as(w, "rep-1", carrier_name, &r).outcome, FLASH_REPORT_KEPT);
    job.attempt = 2;
    job.token = 0;
    c.done = false;
    session_claim_send(w->sessions, &job, &carrier, "5a-other", on_claim_end, &c);
    assert_true(loop_until(w->base, &c.done, 5000));
    assert_int_equal(c.outcome, CLAIM_ENDED);
    assert_int_equal(c.end, JOB_END_DONE);
    assert_int_equal(c.code, RESULT_OTP_SENT);
    assert_true(field_is(w, S_KEY, "st", "sent"));
    assert_int_equal(number_of(w, "EXISTS otpq:rp:{5a}:" TOKEN), 0);
}

/* A link whose state is being asked for when its push comes. */
static void verify_of_a_link(struct world *w, const char *id, uint32_t lease_ms,
                             struct session_job *job)
{
    struct claimed_end c = {0};
    *job = carriers_job(id);
    job->link = true;
    job->lease_ms = lease_ms;
    session_claim_verify(w->sessions, job, &carrier, SLICE(TOKEN), SLICE("0"), on_claim_end, &c);
    assert_true(loop_until(w->base, &c.done, 5000));
    assert_int_equal(c.outcome, CLAIM_WON);
}

static void a_pushed_link(struct world *w)
{
    a_session(w, "sent", 300000);
    RUN(w, "HSET " S_KEY " route carrier lane account:demo msisdn " MOBILE);
}

static void push_of_a_link(struct world *w)
{
    const struct job_report r = {.event = DIALECT_MO,
                                 .code = RESULT_OTP_VERIFIED,
                                 .request_id = SLICE(TOKEN),
                                 .mobile = SLICE(MOBILE)};
    assert_int_equal(report_as(w, "rep-1", carrier_name, &r).outcome, FLASH_REPORT_APPLIED);
}

static void a_verify_that_a_push_overtook_is_told_as_right(void **state)
{
    struct world *w = *state;
    struct session_job job;
    struct job_result result;
    a_pushed_link(w);
    verify_of_a_link(w, "v1", 5000, &job);
    push_of_a_link(w);
    assert_int_equal(tasks_of(w, "result"), 0); /* the verify tells it */
    job_result_init(&result);
    const struct session_finish f = {
        .end = JOB_END_REFUSED, .code = RESULT_PENDING, .result = &result};
    for (int i = 0; i < 2; i++) {
        struct ended e = {0};
        session_finish_verify(w->sessions, &job, &carrier, TOKEN, &f, on_finish, &e);
        assert_true(loop_until(w->base, &e.done, 5000));
        assert_int_equal(e.end, JOB_END_DONE);
        assert_int_equal(e.code, RESULT_OTP_VERIFIED);
    }
    assert_int_equal(tasks_of(w, "result"), 1);
    assert_int_equal(events_of(w, "conversion"), 1);
    struct claimed_end c = {0};
    struct session_job asks = carriers_job("v2");
    asks.link = true;
    session_claim_verify(w->sessions, &asks, &carrier, SLICE(TOKEN), SLICE("0"), on_claim_end, &c);
    assert_true(loop_until(w->base, &c.done, 5000));
    assert_int_equal(c.code, RESULT_OTP_VERIFIED);
    assert_int_equal(tasks_of(w, "result"), 1); /* told once, however often it is asked for */
}

static void a_verify_that_died_meanwhile_is_told_too(void **state)
{
    struct world *w = *state;
    struct session_job job;
    struct claimed_end c = {0};
    a_pushed_link(w);
    verify_of_a_link(w, "v1", 400, &job);
    push_of_a_link(w);
    job.attempt = 2;
    job.token = 0;
    do {
        c.done = false;
        session_claim_verify(w->sessions, &job, &carrier, SLICE(TOKEN), SLICE("0"), on_claim_end,
                             &c);
        assert_true(loop_until(w->base, &c.done, 5000));
    } while (c.outcome == CLAIM_ELSEWHERE);
    assert_int_equal(c.end, JOB_END_DONE);
    assert_int_equal(c.code, RESULT_OTP_VERIFIED);
    assert_int_equal(tasks_of(w, "result"), 1);
}

/* How many pushes are due now, and whether their fields hold this. */
static int pushes_due_with(struct world *w, const char *text)
{
    redisReply *ids = ask(w, "ZRANGEBYSCORE otpq:due:{5a} -inf %" PRId64, clock_wall_ms() + 50);
    int n = 0;
    for (size_t i = 0; i < ids->elements; i++) {
        redisReply *r = ask(w, "HMGET otpq:o:{5a}:%s kind data", ids->element[i]->str);
        bool push = strcmp(r->element[0]->str, "push") == 0;
        const redisReply *data = r->element[1];
        n += push && memmem(data->str, data->len, text, strlen(text)) != NULL ? 1 : 0;
        freeReplyObject(r);
    }
    freeReplyObject(ids);
    return n;
}

/* A provider's callback says "verified" and no more; the verify knows the number of the SMS. */
static void a_push_waits_for_the_verify_that_knows_the_sms(void **state)
{
    struct world *w = *state;
    struct claimed_end c = {0};
    struct job_result result;
    struct session_job job = carriers_job("v1");
    job.facts = (struct session_facts){.mobile = SLICE(MOBILE), .sender = SLICE("1008611")};
    a_session(w, "sent", 300000);
    RUN(w, "HSET " S_KEY " route carrier lane flash:2 msisdn " MOBILE);
    session_claim_verify(w->sessions, &job, &carrier, SLICE(TOKEN), SLICE("0"), on_claim_end, &c);
    assert_true(loop_until(w->base, &c.done, 5000));
    assert_int_equal(c.outcome, CLAIM_WON);
    const struct job_report r = {
        .event = DIALECT_VERIFICATION, .code = RESULT_OTP_VERIFIED, .request_id = SLICE(TOKEN)};
    assert_int_equal(report_as(w, "rep-1", carrier_name, &r).outcome, FLASH_REPORT_APPLIED);
    assert_int_equal(tasks_of(w, "push"), 1);
    assert_int_equal(pushes_due_with(w, ""), 0);
    job_result_init(&result);
    const struct session_finish f = {
        .end = JOB_END_DONE, .code = RESULT_OTP_VERIFIED, .result = &result};
    for (int i = 0; i < 2; i++) {
        struct ended e = {0};
        session_finish_verify(w->sessions, &job, &carrier, TOKEN, &f, on_finish, &e);
        assert_true(loop_until(w->base, &e.done, 5000));
        assert_int_equal(e.code, RESULT_OTP_VERIFIED);
    }
    assert_int_equal(tasks_of(w, "push"), 1);
    assert_int_equal(pushes_due_with(w, "1008611"), 1);
    assert_int_equal(events_of(w, "conversion"), 1);
}

/* ---- looking --------------------------------------------------------------------------------- */

struct seen {
    bool done;
    struct flash_look look;
    char text[256]; /* state party route ft sealed url mobile sender send_time deliver_time */
};

static void on_look(void *context, const struct flash_look *look)
{
    struct seen *s = context;
    s->look = *look;
    (void)snprintf(s->text, sizeof s->text, "%.*s %.*s %.*s %.*s %.*s %.*s %.*s %.*s %.*s %.*s",
                   SLICE_ARG(look->state), SLICE_ARG(look->party), SLICE_ARG(look->route),
                   SLICE_ARG(look->ft_id), SLICE_ARG(look->sealed), SLICE_ARG(look->url),
                   SLICE_ARG(look->mobile), SLICE_ARG(look->sender), SLICE_ARG(look->send_time),
                   SLICE_ARG(look->deliver_time));
    s->done = true;
}

static struct seen look_at(struct world *w, const char *rid)
{
    struct seen s = {0};
    flash_look(w->flash, slice_of(rid), on_look, &s);
    assert_false(s.done);
    assert_true(loop_until(w->base, &s.done, 5000));
    return s;
}

static void a_look_sees_what_is_there(void **state)
{
    struct world *w = *state;
    assert_false(look_at(w, TOKEN).look.found);
    assert_false(look_at(w, "no id").look.found);
    a_session(w, "sent", 300000);
    RUN(w, "HSET " S_KEY " sealed aa url http://x");
    struct seen s = look_at(w, TOKEN);
    assert_true(s.look.answered && s.look.found);
    assert_string_equal(s.text, "sent account:demo " LANE " 2 aa http://x    ");
    assert_true(s.look.left_ms > 290000 && s.look.left_ms <= 300000);
    RUN(w, "HSET " S_KEY " mobile 1 sender 2 send_time 3 deliver_time 4 exp 1");
    s = look_at(w, TOKEN);
    assert_string_equal(s.text, "sent account:demo " LANE " 2 aa http://x 1 2 3 4");
    assert_int_equal(s.look.left_ms, 0);
}

/* ---- without a store ------------------------------------------------------------------------- */

static void without_a_store_everything_is_answered(void **state)
{
    struct world *w = *state;
    struct heard reserve = {0}, nonce = {0}, report = {0};
    struct seen look = {0};
    const struct job_report r = an_mo("3872");
    const struct flash_report what = {
        .job_id = SLICE("rep-1"), .lane = SLICE(LANE), .valid_s = 1, .report = r};
    redis_fixture_stop(&w->redis);
    flash_reserve(w->flash, SLICE(LANE), SLICE("1234"), SLICE("rid"), 1, on_reserved, &reserve);
    flash_nonce(w->flash, SLICE("demo"), SLICE("1"), SLICE("j"), on_nonce, &nonce);
    flash_report(w->flash, &what, on_report, &report);
    flash_look(w->flash, SLICE(TOKEN), on_look, &look);
    assert_true(loop_until(w->base, &reserve.done, 10000));
    assert_true(loop_until(w->base, &nonce.done, 10000));
    assert_true(loop_until(w->base, &report.done, 10000));
    assert_true(loop_until(w->base, &look.done, 10000));
    assert_int_equal(reserve.answer, FLASH_RESERVE_NO_STORE);
    assert_int_equal(nonce.answer, FLASH_NONCE_NO_STORE);
    assert_int_equal(report.reported.outcome, FLASH_REPORT_NO_STORE);
    assert_false(look.look.answered);
}

static void the_end_leaves_nobody_waiting(void **state)
{
    struct world *w = *state;
    struct heard h = {0};
    struct seen look = {0};
    flash_nonce(w->flash, SLICE("demo"), SLICE("1"), SLICE("j"), on_nonce, &h);
    flash_look(w->flash, SLICE(TOKEN), on_look, &look);
    flash_store_destroy(&w->flash);
    (void)number_of(w, "DBSIZE");
    (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    assert_false(h.done || look.done);
}

int main(void)
{
    log_setup("test", LOG_LEVEL_ERROR, false);
    (void)signal(SIGPIPE, SIG_IGN);
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_code_is_one_requests),
        TEST(a_code_that_is_over_may_be_taken),
        TEST(no_code_lies_in_redis),
        TEST(a_nonce_is_one_jobs),
        TEST(an_mo_converts_once),
        TEST(events_know_whose_mo_it_was),
        TEST(a_wrong_mo_is_counted_only),
        TEST(a_late_mo_changes_nothing),
        TEST(an_advertisers_word_may_take_a_moment),
        TEST(an_mo_of_another_number_changes_nothing),
        TEST(the_timeline_of_a_pestered_request_stays_short),
        TEST(an_upstreams_failure_fails),
        TEST(a_late_success_corrects_an_unknown),
        TEST(an_account_hears_the_better_word),
        TEST(a_failed_delivery_fails),
        TEST(a_failure_does_not_undo_a_verification),
        TEST(a_verification_converts_once),
        TEST(nobody_reports_of_anothers_requests),
        TEST(ids_that_are_none_are_unknown),
        TEST(a_report_of_no_texts_ends),
        TEST(early_reports_wait_and_are_bounded),
        TEST(an_early_success_decides_an_unknown),
        TEST(an_early_mo_converts_when_the_session_is_written),
        TEST(an_early_report_does_not_send_what_was_refused),
        TEST(an_early_report_of_anothers_request_is_nobodys),
        TEST(only_the_carrier_tells_of_deliveries),
        TEST(what_a_report_says_was_sent_is_not_sent_again),
        TEST(a_verify_that_a_push_overtook_is_told_as_right),
        TEST(a_verify_that_died_meanwhile_is_told_too),
        TEST(a_push_waits_for_the_verify_that_knows_the_sms),
        TEST(a_look_sees_what_is_there),
        TEST(without_a_store_everything_is_answered),
        TEST(the_end_leaves_nobody_waiting),
    };
    return cmocka_run_group_tests_name("flash_store", tests, NULL, NULL);
}
