/* Bodies of jobs and results. */
#include "common/meaning/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/rng.h"
#include "common/meaning/pack.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct job_body full = {
    .msisdn = TEXT("+66 81 234 5678"),
    .otp = TEXT("012345"),
    .request_id = TEXT("r07abc"),
    .aid = 1001,
    .user_id = TEXT("u1"),
    .ip = TEXT("203.0.113.9"),
    .user_agent = TEXT("UA/1"),
    .params = {.count = 2, .at = {{TEXT("a"), TEXT("1")}, {TEXT("b"), TEXT("")}}},
};

static void test_there_and_back(void **state)
{
    (void)state;
    for (int verify = 0; verify < 2; verify++) {
        struct buf b;
        struct job_body got;
        const char *error = NULL;
        buf_init(&b, 65536);
        job_body_encode(&b, &full, verify != 0);
        assert_true(buf_ok(&b));
        assert_true(job_body_decode(buf_slice(&b), verify != 0, &got, &error));
        assert_true(slice_eq(got.msisdn, full.msisdn) && got.aid == 1001);
        assert_true(slice_is(got.otp, verify ? "012345" : ""));
        assert_true(slice_is(got.request_id, verify ? "r07abc" : ""));
        assert_true(slice_is(got.ip, "203.0.113.9") && slice_is(got.user_agent, "UA/1"));
        assert_int_equal(got.params.count, 2);
        assert_true(slice_is(got.params.at[1].name, "b") && got.params.at[1].value.n == 0);
        buf_free(&b);
    }
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        struct slice bytes;
        bool verify;
        const char *says; /* NULL: fine */
    } rows[] = {
        {TEXT("\x81\xa6msisdn\xa1"
              "6"),
         false, NULL},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa3"
              "aid\xa4"
              "1001"),
         false, NULL},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa3"
              "aid\xcd\x03\xe9"),
         false, NULL},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa3new\xc0"),
         false, NULL},
        {TEXT("\x80"), false, "msisdn:"},
        {TEXT("\x81\xa6msisdn\x06"), false, "msisdn:"},
        {TEXT("\x81\xa6msisdn\xa0"), false, "msisdn:"},
        {TEXT("\x81\xa6msisdn\xa2"
              "6\0"),
         false, "msisdn:"},
        {TEXT("\x81\xa6msisdn\xa1"
              "6"),
         true, "otp:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa3otp\x07"),
         true, "otp:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa3"
              "aid\xff"),
         false, "aid:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa3"
              "aid\xa2"
              "1x"),
         false, "aid:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa6params\x90"),
         false, "params:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa6params\x81\xa1k\x01"),
         false, "params:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa6params\x81\xa0\xa1v"),
         false, "params:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa6params\x81\xa1k\xa1\0"),
         false, "params:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa6params\x81\xa1k\xa1\x7f"),
         false, "params:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa6params\x81\xa1k\xa1\xff"),
         false, "params:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa7user_id\xa4"
              "a\r\nb"),
         false, "user_id:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa7user_id\xa2\xc2\x85"),
         false, "user_id:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa4lang\xa2\xc3("),
         false, "lang:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa4text\xa4"
              "a\nb\n"),
         false, NULL},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa4text\xa3"
              "a\tb"),
         false, "text:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa4text\xa3\n\xff\n"),
         false, "text:"},
        {TEXT("\x82\xa6msisdn\xa1"
              "6\xa3otp\xa2"
              "1\n"),
         true, "otp:"},
        {TEXT("\x81\xa6msisdn\xa1"
              "6\x80"),
         false, "bytes behind"},
        {TEXT("\x90"), false, "a map"},
        {TEXT(""), false, "an object is missing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct job_body got;
        const char *error = NULL;
        bool ok = job_body_decode(rows[i].bytes, rows[i].verify, &got, &error);
        if (ok != (rows[i].says == NULL)) {
            fail_msg("row %zu: %s", i, ok ? "was taken" : error);
        }
        if (!ok) {
            assert_memory_equal(error, rows[i].says, strlen(rows[i].says));
        }
    }
}

static void test_too_many_params(void **state)
{
    (void)state;
    for (uint32_t n = JOB_PARAMS_MAX; n <= JOB_PARAMS_MAX + 1; n++) {
        struct buf b;
        struct job_body got;
        const char *error = NULL;
        buf_init(&b, 4096);
        pack_put_map(&b, 2);
        pack_put_str(&b, SLICE("msisdn"));
        pack_put_str(&b, SLICE("6"));
        pack_put_str(&b, SLICE("params"));
        pack_put_map(&b, n);
        for (uint32_t i = 0; i < 2 * n; i++) {
            pack_put_str(&b, SLICE("kv"));
        }
        assert_int_equal(job_body_decode(buf_slice(&b), false, &got, &error), n <= JOB_PARAMS_MAX);
        buf_free(&b);
    }
}

static void test_result(void **state)
{
    (void)state;
    static const struct job_result rows[] = {
        {.request_id = TEXT("r1"),
         .response = TEXT("otp_sent"),
         .attempts_left = 5,
         .retry_after_s = 0,
         .expires_in_s = 300,
         .advertiser_http = 200,
         .advertiser_body = TEXT("\xff\0ok"),
         .advertiser_ms = 41},
        {.error = TEXT("wrong_otp"),
         .detail = TEXT("why"),
         .attempts_left = 2,
         .retry_after_s = -1,
         .expires_in_s = -1,
         .advertiser_http = 0,
         .advertiser_ms = -1},
        {.data = TEXT("{}"),
         .url = TEXT("https://x"),
         .attempts_left = -1,
         .retry_after_s = -1,
         .expires_in_s = -1,
         .advertiser_http = -1,
         .advertiser_ms = -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct job_result *r = &rows[i];
        struct buf b;
        struct job_result got;
        const char *error = NULL;
        buf_init(&b, 65536);
        job_result_encode(&b, r);
        assert_true(job_result_decode(buf_slice(&b), &got, &error));
        assert_true(slice_eq(got.request_id, r->request_id) && slice_eq(got.data, r->data) &&
                    slice_eq(got.response, r->response) && slice_eq(got.detail, r->detail) &&
                    slice_eq(got.error, r->error) && slice_eq(got.url, r->url) &&
                    slice_eq(got.advertiser_body, r->advertiser_body));
        assert_int_equal(got.attempts_left, r->attempts_left);
        assert_int_equal(got.retry_after_s, r->retry_after_s);
        assert_int_equal(got.expires_in_s, r->expires_in_s);
        assert_int_equal(got.advertiser_http, r->advertiser_http);
        assert_int_equal(got.advertiser_ms, r->advertiser_ms);
        buf_free(&b);
    }
}

static void test_only_facts(void **state)
{
    (void)state;
    static const struct {
        enum result_code code;
        int64_t attempts_left, retry_after_s, expires_in_s;
    } rows[] = {
        {RESULT_OTP_SENT, -1, -1, 300},         {RESULT_WRONG_OTP, 4, -1, 300},
        {RESULT_TOO_MANY_ATTEMPTS, 0, 60, -1},  {RESULT_RESEND_TOO_SOON, -1, 60, -1},
        {RESULT_TOO_MANY_SENDS, -1, 60, -1},    {RESULT_OTP_EXPIRED, -1, -1, -1},
        {RESULT_REQUEST_NOT_FOUND, -1, -1, -1}, {RESULT_OUTCOME_UNKNOWN, -1, -1, -1},
        {RESULT_OTP_VERIFIED, -1, -1, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct job_result r;
        job_result_init(&r);
        r.attempts_left = 4;
        r.retry_after_s = 60;
        r.expires_in_s = 300;
        job_result_only_facts(&r, rows[i].code);
        assert_int_equal(r.attempts_left, rows[i].attempts_left);
        assert_int_equal(r.retry_after_s, rows[i].retry_after_s);
        assert_int_equal(r.expires_in_s, rows[i].expires_in_s);
    }
}

static void test_mutations(void **state)
{
    (void)state;
    struct rng rng;
    struct buf b;
    struct job_body body;
    struct job_result result;
    const char *error;
    rng_seed(&rng, 7);
    buf_init(&b, 4096);
    job_body_encode(&b, &full, true);
    for (int i = 0; i < 200000; i++) {
        size_t n = 1 + (size_t)rng_below(&rng, b.n);
        char *copy = xmalloc(n);
        memcpy(copy, b.p, n);
        for (int k = 0; k < 3; k++) {
            copy[rng_below(&rng, n)] = (char)rng_next(&rng);
        }
        for (int verify = 0; verify < 2; verify++) {
            error = NULL;
            assert_true(job_body_decode(slice_make(copy, n), verify != 0, &body, &error) ||
                        error != NULL);
        }
        error = NULL;
        assert_true(job_result_decode(slice_make(copy, n), &result, &error) || error != NULL);
        free(copy);
    }
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),  cmocka_unit_test(test_rules),
        cmocka_unit_test(test_too_many_params), cmocka_unit_test(test_result),
        cmocka_unit_test(test_only_facts),      cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
