#include "common/meaning/callback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/meaning/pack.h"

#define ID     SLICE("a7255f31f4979f30ca69fe")
#define NOW_MS 1745948820123

static struct dialect_request built;
static char why[160];

static int clean(void **state)
{
    (void)state;
    dialect_request_free(&built);
    return 0;
}

static void build(enum callback_kind kind, const struct callback_fields *f,
                  const struct callback_where *w)
{
    dialect_request_init(&built);
    assert_true(callback_build(kind, ID, f, w, NOW_MS, &built, why));
}

static const char *header(const char *name)
{
    const char *line = buf_text(&built.headers);
    for (size_t i = 0; i < built.header_count; i++, line += strlen(line) + 1) {
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            return line + strlen(name) + 2;
        }
    }
    return "";
}

/* ---- system 3 -------------------------------------------------------------------------------- */

static void test_status(void **state)
{
    (void)state;
    const struct callback_fields f = {
        .rid = SLICE("12345"), .eid = SLICE("my order/7"), .code = SLICE("otp_sent")};
    build(CALLBACK_STATUS, &f, &(struct callback_where){.url = "http://c.example/cb"});
    assert_string_equal(built.method, "GET");
    assert_string_equal(buf_text(&built.url),
                        "http://c.example/cb?STATUS=SUCCESS&MSG=&TYPE=0&CODE=200&MSGID=12345&EXTID="
                        "my%20order%2F7");
    assert_string_equal(header("webhook-id"), "msg_a7255f31f4979f30ca69fe");
    assert_string_equal(header("webhook-timestamp"), "1745948820");
    assert_string_equal(header("webhook-signature"), ""); /* no secret */
    assert_int_equal(built.timeout_ms, 15000);
}

static void test_result(void **state)
{
    (void)state;
    const struct callback_fields f = {.rid = SLICE("12345"), .code = SLICE("wrong_otp")};
    build(CALLBACK_RESULT, &f, &(struct callback_where){.url = "http://c.example/cb?k=v"});
    assert_string_equal(buf_text(&built.url), "http://c.example/cb?k=v&STATUS=ERROR&MSG=wrong_otp&"
                                              "TYPE=1&CODE=400&MSGID=12345&EXTID=");
}

static void test_codes_of_system3(void **state)
{
    (void)state;
    static const struct {
        enum callback_kind kind;
        const char *word;
        const char *tells;
    } rows[] = {
        {CALLBACK_STATUS, "delivered", "=SUCCESS&MSG=&TYPE=0&CODE=200&"},
        {CALLBACK_STATUS, "invalid_msisdn", "=ERROR&MSG=invalid_msisdn&TYPE=0&CODE=400&"},
        {CALLBACK_STATUS, "advertiser_error", "=ERROR&MSG=advertiser_error&TYPE=0&CODE=500&"},
        {CALLBACK_STATUS, "no_word", "=ERROR&MSG=&TYPE=0&CODE=500&"},
        {CALLBACK_RESULT, "otp_verified", "=SUCCESS&MSG=&TYPE=1&CODE=200&"},
        {CALLBACK_RESULT, "otp_expired", "=ERROR&MSG=otp_expired&TYPE=1&CODE=400&"},
        {CALLBACK_RESULT, "advertiser_error", "=ERROR&MSG=advertiser_error&TYPE=1&CODE=500&"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct callback_fields f = {.code = slice_of(rows[i].word)};
        build(rows[i].kind, &f, &(struct callback_where){.url = "http://c.example/?"});
        assert_non_null(strstr(buf_text(&built.url), rows[i].tells));
        assert_null(strstr(buf_text(&built.url), "?&"));
        dialect_request_free(&built);
    }
}

/* ---- system 4 -------------------------------------------------------------------------------- */

static void test_push(void **state)
{
    (void)state;
    const struct callback_fields f = {.mobile = SLICE("6285273203675"),
                                      .sender = SLICE("6285215410016"),
                                      .send_time = SLICE("2025-04-29 17:47:00"),
                                      .deliver_time = SLICE("2025-04-29 17:48:23")};
    build(CALLBACK_PUSH, &f,
          &(struct callback_where){.url = "http://c.example/push",
                                   .secret = "whsec_c2VjcmV0",
                                   .time_zone = "Asia/Jakarta",
                                   .content = "Send this: ##FG5x-{code}##",
                                   .otp = SLICE("5777")});
    assert_string_equal(built.method, "POST");
    assert_string_equal(
        buf_text(&built.body),
        "{\"mobile\":\"6285273203675\",\"sender\":\"6285215410016\",\"sendTime\":\"2025-04-30 "
        "00:47:00\",\"code\":\"5777\",\"content\":\"Send this: ##FG5x-5777##\",\"deliverTime\":"
        "\"2025-04-30 00:48:23\"}");
    assert_string_equal(header("Content-Type"), "application/json");
    assert_int_equal(strlen(header("webhook-signature")), 47);
}

static void test_expiry(void **state)
{
    (void)state;
    build(CALLBACK_EXPIRY, &(struct callback_fields){.sealed = SLICE("x")},
          &(struct callback_where){
              .url = "http://c.example/push", .receiver = "1008611", .otp = SLICE("5777")});
    assert_string_equal(
        buf_text(&built.body),
        "{\"mobile\":\"\",\"sender\":\"1008611\",\"sendTime\":\"\",\"code\":\"5777\","
        "\"err\":\"otp_expired\"}");
}

static void test_what_a_push_is_answered(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum callback_verdict verdict;
    } rows[] = {
        {"{\"code\":\"0\"}", CALLBACK_RECEIVED},
        {"{\"code\":0}", CALLBACK_RECEIVED},
        {"{\"code\":\"1\"}", CALLBACK_FAILED},
        {"{\"code\":1}", CALLBACK_FAILED},
        {"{\"code\":null}", CALLBACK_FAILED},
        {"", CALLBACK_FAILED},
        {"OK", CALLBACK_FAILED},
        {"[]", CALLBACK_FAILED},
        {"{\"code\":\"0\"", CALLBACK_FAILED},
        {"{\"code\":\"0\",\"code\":\"1\"}", CALLBACK_FAILED},
    };
    const struct callback_fields f = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(callback_judge(CALLBACK_PUSH, &f, 200, slice_of(rows[i].body)),
                         rows[i].verdict);
    }
    assert_int_equal(callback_judge(CALLBACK_PUSH, &f, 500, SLICE("{\"code\":\"0\"}")),
                     CALLBACK_FAILED);
}

static void test_judge(void **state)
{
    (void)state;
    const struct callback_fields f = {0};
    const struct callback_fields expects = {.expect = SLICE("OK")};
    assert_int_equal(callback_judge(CALLBACK_STATUS, &f, 204, SLICE("")), CALLBACK_RECEIVED);
    assert_int_equal(callback_judge(CALLBACK_STATUS, &f, 301, SLICE("")), CALLBACK_FAILED);
    assert_int_equal(callback_judge(CALLBACK_STATUS, &f, 0, SLICE("")), CALLBACK_FAILED);
    assert_int_equal(callback_judge(CALLBACK_STATUS, &f, 410, SLICE("")), CALLBACK_GONE);
    assert_int_equal(callback_judge(CALLBACK_HTTP, &expects, 200, SLICE("it is OK")),
                     CALLBACK_RECEIVED);
    assert_int_equal(callback_judge(CALLBACK_HTTP, &expects, 200, SLICE("no")), CALLBACK_FAILED);
}

/* ---- postbacks ------------------------------------------------------------------------------- */

static void put(struct buf *b, const char *name, const char *value)
{
    pack_put_str(b, slice_of(name));
    pack_put_str(b, slice_of(value));
}

static void test_postback(void **state)
{
    (void)state;
    struct buf ctx;
    buf_init(&ctx, 1000);
    pack_put_map(&ctx, 4);
    put(&ctx, "user_id", "u 1");
    put(&ctx, "param.sub1", "a&b=c");
    put(&ctx, "param.sub5", "five");
    put(&ctx, "param.other", "\xc3\xa9");
    const struct callback_fields f = {.rid = SLICE("ra7x"),
                                      .party = SLICE("1001"),
                                      .route = SLICE("demo"),
                                      .country = SLICE("TH"),
                                      .ctx = buf_slice(&ctx)};
    build(CALLBACK_POSTBACK, &f,
          &(struct callback_where){
              .url = "https://a.example/pb/{click_id}?aid={aid}&s1={sub1}&s2={sub2}&s5={sub5}"
                     "&p={payout}&st={status}&u={user_id}&x={param.other}&m={mid}&c={country}"
                     "&t={timestamp}&i={partner}",
              .payout = "1.20",
              .mid = 77});
    assert_string_equal(buf_text(&built.url),
                        "https://a.example/pb/ra7x?aid=1001&s1=a%26b%3Dc&s2=&s5=five&p=1.20&st=otp_"
                        "verified&u=u%201&x=%C3%A9&m=77&c=TH&t=1745948820&i=demo");
    buf_free(&ctx);
}

static void test_postback_that_cannot_be_made(void **state)
{
    (void)state;
    dialect_request_init(&built);
    assert_false(callback_build(CALLBACK_POSTBACK, ID, &(struct callback_fields){0},
                                &(struct callback_where){.url = "http://a/{secret.key}"}, NOW_MS,
                                &built, why));
    assert_non_null(strstr(why, "no secret \"key\""));
    assert_false(callback_build(CALLBACK_POSTBACK, ID, &(struct callback_fields){0},
                                &(struct callback_where){.url = "http://a/{nonsense}"}, NOW_MS,
                                &built, why));
    assert_non_null(strstr(why, "unknown macro"));
}

/* ---- a client's own -------------------------------------------------------------------------- */

static void test_http(void **state)
{
    (void)state;
    struct buf data;
    const char *error = NULL;
    struct callback_fields f;
    struct job_callback body = {
        .method = SLICE("POST"),
        .url = SLICE("http://c.example/x"),
        .headers = {.count = 2,
                    .at = {{SLICE("X-One"), SLICE("1")}, {SLICE("X-Two"), SLICE("a: b")}}},
        .body = SLICE("hello"),
        .expect = SLICE("ok")};
    buf_init(&data, CALLBACK_DATA_BYTES_MAX);
    assert_true(callback_http_data(&body, &data, &error));
    assert_true(callback_fields_read(buf_slice(&data), &f));
    build(CALLBACK_HTTP, &f, &(struct callback_where){.url = ""});
    assert_string_equal(built.method, "POST");
    assert_string_equal(buf_text(&built.url), "http://c.example/x");
    assert_string_equal(buf_text(&built.body), "hello");
    assert_string_equal(header("X-One"), "1");
    assert_string_equal(header("X-Two"), "a: b");
    assert_int_equal(callback_judge(CALLBACK_HTTP, &f, 200, SLICE("ko")), CALLBACK_FAILED);
    body.headers.at[0].name = SLICE("content-length");
    assert_false(callback_http_data(&body, &data, &error));
    body.headers.at[0].name = SLICE("X One");
    assert_false(callback_http_data(&body, &data, &error));
    buf_free(&data);
}

static void test_fields(void **state)
{
    (void)state;
    struct callback_fields f;
    assert_true(callback_fields_read(SLICE("\x90"), &f)); /* what Redis makes of an empty map */
    assert_true(callback_fields_read(SLICE("\x82\xa3rid\xa1x\xa3new\xa1y"), &f));
    assert_true(slice_is(f.rid, "x"));
    assert_false(callback_fields_read(SLICE(""), &f));
    assert_false(callback_fields_read(SLICE("\x81\xa3rid"), &f));
    assert_false(callback_fields_read(SLICE("\x81\xa3rid\x01"), &f));
    assert_false(callback_fields_read(SLICE("\xdf\xff\xff\xff\xff"), &f));
    assert_int_equal(callback_kind_of(SLICE("poll")), CALLBACK_POLL);
    assert_int_equal(callback_kind_of(SLICE("")), CALLBACK_KINDS);
}

/* ---- times ----------------------------------------------------------------------------------- */

static void test_schedule(void **state)
{
    (void)state;
    static const uint32_t after_s[] = {5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200, 86400};
    assert_int_equal(callback_schedule.count, ARRAY_LEN(after_s));
    for (uint32_t i = 0; i < ARRAY_LEN(after_s); i++) {
        uint32_t least = callback_next_ms(&callback_schedule, i + 1, -1, 0);
        assert_int_equal(least, after_s[i] * 800);
        for (uint64_t r = 0; r < 1000; r++) {
            uint32_t ms = callback_next_ms(&callback_schedule, i + 1, -1, r * 0x9e3779b97f4a7c15);
            assert_true(ms >= least && ms <= after_s[i] * 1200);
        }
    }
    assert_int_equal(callback_next_ms(&callback_schedule, 11, -1, 0), 0); /* that was the last */
    assert_int_equal(callback_next_ms(&callback_schedule, 11, 60, 0), 0);
    assert_int_equal(callback_next_ms(&callback_schedule, 1, 60, 0), 60000);
    assert_int_equal(callback_next_ms(&callback_schedule, 1, 1, 0), 4000); /* ours is longer */
    assert_int_equal(callback_next_ms(&callback_schedule, 1, INT64_MAX, 0), 86400000);
    assert_int_equal(callback_next_ms(&callback_schedule, 1, INT64_MIN, 0), 4000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_status, clean),
        cmocka_unit_test_teardown(test_result, clean),
        cmocka_unit_test(test_codes_of_system3),
        cmocka_unit_test_teardown(test_push, clean),
        cmocka_unit_test_teardown(test_expiry, clean),
        cmocka_unit_test(test_what_a_push_is_answered),
        cmocka_unit_test(test_judge),
        cmocka_unit_test_teardown(test_postback, clean),
        cmocka_unit_test_teardown(test_postback_that_cannot_be_made, clean),
        cmocka_unit_test_teardown(test_http, clean),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
