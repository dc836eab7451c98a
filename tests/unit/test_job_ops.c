/* Bodies of the ops beside send and verify. */
#include "common/meaning/job_ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/meaning/pack.h"

enum { ROOM = 65536, PAIRS_MAX = 8, LONG = 200 };

/* A map of strings, and what the decoder says of it. */
struct row {
    const char *pairs[2 * PAIRS_MAX]; /* key, value, …, NULL */
    const char *says;                 /* begin of the error; NULL: it is fine */
};

static void put_pairs(struct buf *b, const char *const pairs[2 * PAIRS_MAX])
{
    uint32_t count = 0;
    while (count < PAIRS_MAX && pairs[2 * count] != NULL) {
        count++;
    }
    pack_put_map(b, count);
    for (uint32_t i = 0; i < 2 * count; i++) {
        pack_put_str(b, slice_of(pairs[i]));
    }
}

#define CHECK_ROWS(rows, type, decode)                                                             \
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {                                                 \
        struct buf b;                                                                              \
        type got;                                                                                  \
        const char *error = NULL;                                                                  \
        buf_init(&b, ROOM);                                                                        \
        put_pairs(&b, (rows)[i].pairs);                                                            \
        bool ok = decode(buf_slice(&b), &got, &error);                                             \
        assert_int_equal(ok, (rows)[i].says == NULL);                                              \
        if (!ok && strncmp(error, (rows)[i].says, strlen((rows)[i].says)) != 0) {                  \
            fail_msg("row %zu: %s", i, error);                                                     \
        }                                                                                          \
        buf_free(&b);                                                                              \
    }

static const char *long_text(void)
{
    static char text[LONG + 1];
    memset(text, 'a', LONG);
    return text;
}

/* ---- flash.create ---------------------------------------------------------------------------- */

static void create_there_and_back(void **state)
{
    (void)state;
    const struct job_flash_create from = {.ft_id = SLICE("2"),
                                          .code = SLICE("012345"),
                                          .validity_s = 600,
                                          .account = SLICE("demo"),
                                          .nonce = SLICE("1653043349000")};
    struct job_flash_create got;
    struct buf b;
    const char *error = NULL;
    buf_init(&b, ROOM);
    job_flash_create_encode(&b, &from);
    assert_true(buf_ok(&b) && job_flash_create_decode(buf_slice(&b), &got, &error));
    assert_true(slice_is(got.ft_id, "2") && slice_is(got.code, "012345"));
    assert_true(slice_is(got.account, "demo") && slice_is(got.nonce, "1653043349000"));
    assert_int_equal(got.validity_s, 600);
    buf_free(&b);
}

static void create_rules(void **state)
{
    (void)state;
    const struct row rows[] = {
        {{"ft_id", "2", "account", "demo"}, NULL},
        {{"ft_id", "2", "account", "demo", "code", "1234", "new", "x"}, NULL},
        {{"account", "demo"}, "ft_id:"},
        {{"ft_id", "2"}, "account:"},
        {{"ft_id", "", "account", "demo"}, "ft_id:"},
        {{"ft_id", "a b", "account", "demo"}, "ft_id:"},
        {{"ft_id", "2", "account", "d\xc3\xa9mo"}, "account:"},
        {{"ft_id", "2", "account", long_text()}, "account:"},
        {{"ft_id", "2", "account", "demo", "code", "123"}, "code:"},
        {{"ft_id", "2", "account", "demo", "code", "1234567"}, "code:"},
        {{"ft_id", "2", "account", "demo", "code", "12a4"}, "code:"},
        {{"ft_id", "2", "account", "demo", "nonce", "a\nb"}, "nonce:"},
        {{"ft_id", "2", "account", "demo", "validity_s", "60"}, "validity_s:"},
    };
    CHECK_ROWS(rows, struct job_flash_create, job_flash_create_decode);
}

static void validity_is_bounded(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        bool ok;
    } rows[] = {{0, false}, {1, true}, {600, true}, {601, false}, {UINT32_MAX, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        struct job_flash_create got;
        const char *error = NULL;
        buf_init(&b, ROOM);
        pack_put_map(&b, 3);
        pack_put_str(&b, SLICE("ft_id"));
        pack_put_str(&b, SLICE("2"));
        pack_put_str(&b, SLICE("account"));
        pack_put_str(&b, SLICE("demo"));
        pack_put_str(&b, SLICE("validity_s"));
        pack_put_uint(&b, rows[i].value);
        assert_int_equal(job_flash_create_decode(buf_slice(&b), &got, &error), rows[i].ok);
        buf_free(&b);
    }
}

/* ---- flash.query ----------------------------------------------------------------------------- */

static void query_there_and_back(void **state)
{
    (void)state;
    const struct job_flash_query from = {.ft_token = SLICE("200e96b6a8bf8ed8c3de194cf14b342f"),
                                         .account = SLICE("demo"),
                                         .nonce = SLICE("n 1")};
    struct job_flash_query got;
    struct buf b;
    const char *error = NULL;
    buf_init(&b, ROOM);
    job_flash_query_encode(&b, &from);
    assert_true(buf_ok(&b) && job_flash_query_decode(buf_slice(&b), &got, &error));
    assert_true(slice_eq(got.ft_token, from.ft_token) && slice_is(got.account, "demo"));
    assert_true(slice_is(got.nonce, "n 1"));
    buf_free(&b);
}

static void query_rules(void **state)
{
    (void)state;
    const struct row rows[] = {
        {{"ft_token", "ab"}, NULL},
        {{"account", "demo"}, "ft_token:"},
        {{"ft_token", long_text()}, "ft_token:"},
        {{"ft_token", "a/b"}, "ft_token:"},
        {{"ft_token", "ab", "account", ""}, "account:"},
    };
    CHECK_ROWS(rows, struct job_flash_query, job_flash_query_decode);
}

/* ---- report ---------------------------------------------------------------------------------- */

static void report_there_and_back(void **state)
{
    (void)state;
    const struct job_report from = {.event = DIALECT_MO,
                                    .code = RESULT_OTP_VERIFIED,
                                    .request_id = SLICE("r07abc"),
                                    .advertiser_request_id = SLICE("their id"),
                                    .otp = SLICE("3872"),
                                    .mobile = SLICE("6285273203675"),
                                    .sender = SLICE("6285215410016"),
                                    .send_time = SLICE("2025-04-29 17:47:00"),
                                    .deliver_time = SLICE("2025-04-29 17:48:23")};
    struct job_report got;
    struct buf b;
    const char *error = NULL;
    buf_init(&b, ROOM);
    job_report_encode(&b, &from);
    assert_true(buf_ok(&b) && job_report_decode(buf_slice(&b), &got, &error));
    assert_int_equal(got.event, DIALECT_MO);
    assert_int_equal(got.code, RESULT_OTP_VERIFIED);
    assert_true(slice_eq(got.request_id, from.request_id) && slice_eq(got.otp, from.otp));
    assert_true(slice_eq(got.advertiser_request_id, from.advertiser_request_id));
    assert_true(slice_eq(got.mobile, from.mobile) && slice_eq(got.sender, from.sender));
    assert_true(slice_eq(got.send_time, from.send_time));
    assert_true(slice_eq(got.deliver_time, from.deliver_time));
    buf_free(&b);
}

static void every_event_has_its_word(void **state)
{
    (void)state;
    for (int event = DIALECT_DELIVERY; event <= DIALECT_MO; event++) {
        const struct job_report from = {.event = (enum dialect_event)event, .otp = SLICE("1")};
        struct job_report got;
        struct buf b;
        const char *error = NULL;
        buf_init(&b, ROOM);
        job_report_encode(&b, &from);
        assert_true(job_report_decode(buf_slice(&b), &got, &error));
        assert_int_equal(got.event, event);
        assert_int_equal(got.code, RESULT_NONE);
        buf_free(&b);
    }
}

static void report_rules(void **state)
{
    (void)state;
    const struct row rows[] = {
        {{"event", "mo", "otp", "1234"}, NULL},
        {{"event", "delivery", "request_id", "r07", "code", "otp_sent"}, NULL},
        {{"event", "delivery", "advertiser_request_id", "x"}, NULL},
        {{"otp", "1234"}, "event:"},
        {{"event", "MO", "otp", "1234"}, "event:"},
        {{"event", "mo"}, "request_id, advertiser_request_id, otp:"},
        {{"event", "mo", "otp", "1234", "code", "fine"}, "code:"},
        {{"event", "mo", "otp", "12345678901234567"}, "otp:"},
        {{"event", "mo", "otp", "1234", "mobile", long_text()}, "mobile:"},
        {{"event", "mo", "otp", "1234", "sender", "a\x01"}, "sender:"},
        {{"event", "mo", "otp", "1234", "send_time", long_text()}, "send_time:"},
        {{"event", "mo", "otp", "1234", "deliver_time", "\xff"}, "deliver_time:"},
    };
    CHECK_ROWS(rows, struct job_report, job_report_decode);
}

/* ---- callback -------------------------------------------------------------------------------- */

static void callback_there_and_back(void **state)
{
    (void)state;
    const struct job_callback from = {
        .method = SLICE("POST"),
        .url = SLICE("https://customer.example/cb"),
        .headers = {.count = 1, .at = {{SLICE("x-a"), SLICE("1")}}},
        .body = SLICE("{\n\x01\xff}"),
        .expect = SLICE("ok"),
    };
    struct job_callback got;
    struct buf b;
    const char *error = NULL;
    buf_init(&b, ROOM);
    job_callback_encode(&b, &from);
    assert_true(buf_ok(&b) && job_callback_decode(buf_slice(&b), &got, &error));
    assert_true(slice_is(got.method, "POST") && slice_eq(got.url, from.url));
    assert_int_equal(got.headers.count, 1);
    assert_true(slice_is(got.headers.at[0].name, "x-a") && slice_is(got.headers.at[0].value, "1"));
    assert_true(slice_eq(got.body, from.body) && slice_is(got.expect, "ok") && got.task.n == 0);
    buf_free(&b);
}

static void a_task_needs_nothing_else(void **state)
{
    (void)state;
    const struct job_callback from = {.task = SLICE("ab0123456789abcdef0123")};
    struct job_callback got;
    struct buf b;
    const char *error = NULL;
    buf_init(&b, ROOM);
    job_callback_encode(&b, &from);
    assert_true(buf_ok(&b) && job_callback_decode(buf_slice(&b), &got, &error));
    assert_true(slice_eq(got.task, from.task) && got.url.n == 0 && got.headers.count == 0);
    buf_free(&b);
}

static void callback_rules(void **state)
{
    (void)state;
    const struct row rows[] = {
        {{"method", "GET", "url", "http://a/b"}, NULL},
        {{"task", "ab01"}, NULL},
        {{"method", "GET"}, "method and url:"},
        {{"url", "http://a/b"}, "method and url:"},
        {{"method", "PUT", "url", "http://a/b"}, "method:"},
        {{"method", "GET", "url", "x"}, "url:"},
        {{"method", "GET", "url", "http://a/\n"}, "url:"},
        {{"task", "a b"}, "task:"},
        {{"task", long_text()}, "task:"},
        {{"method", "GET", "url", "http://a/b", "headers", "x"}, "headers:"},
        {{"method", "GET", "url", "http://a/b", "expect", "\x01"}, "expect:"},
    };
    CHECK_ROWS(rows, struct job_callback, job_callback_decode);
}

/* ---- bytes that are no body ------------------------------------------------------------------ */

static void what_is_no_map_is_refused(void **state)
{
    (void)state;
    static const struct slice rows[] = {
        {"", 0}, {"\xc0", 1}, {"\x81", 1}, {"\x80\x80", 2}, {"\xdf\xff\xff\xff\xff", 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct job_flash_create create;
        struct job_flash_query query;
        struct job_report report;
        struct job_callback callback;
        const char *error = NULL;
        assert_false(job_flash_create_decode(rows[i], &create, &error));
        assert_false(job_flash_query_decode(rows[i], &query, &error));
        assert_false(job_report_decode(rows[i], &report, &error));
        assert_false(job_callback_decode(rows[i], &callback, &error));
        assert_non_null(error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_there_and_back),
        cmocka_unit_test(create_rules),
        cmocka_unit_test(validity_is_bounded),
        cmocka_unit_test(query_there_and_back),
        cmocka_unit_test(query_rules),
        cmocka_unit_test(report_there_and_back),
        cmocka_unit_test(every_event_has_its_word),
        cmocka_unit_test(report_rules),
        cmocka_unit_test(callback_there_and_back),
        cmocka_unit_test(a_task_needs_nothing_else),
        cmocka_unit_test(callback_rules),
        cmocka_unit_test(what_is_no_map_is_refused),
    };
    return cmocka_run_group_tests_name("job_ops", tests, NULL, NULL);
}
