/*
 * What the served side of a system answers must be understood by the dialect that calls it, word
 * by word: two nodes of otpq behind each other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/meaning/dialect.h"
#include "common/meaning/fotp_words.h"
#include "gateway/answer.h"
#include "gateway/flash_answer.h"
#include "gateway/system.h"

/* An integration of each dialect. */
static void *settings_of(const struct dialect *d, const char *yaml)
{
    struct yaml_error error = {""};
    struct yaml_node *node = yaml_parse("interop", slice_of(yaml), &error);
    assert_non_null(node);
    void *settings = d->configure("interop", node, &error);
    assert_string_equal(error.text, "");
    yaml_destroy(&node);
    return settings;
}

static struct dialect_verdict heard(const struct dialect *d, const void *settings,
                                    enum dialect_call call, const struct answer *a)
{
    const struct dialect_answer answer = {.http = a->http, .body = buf_slice(&a->body)};
    struct dialect_verdict v;
    d->parse(settings, call, &answer, &v);
    return v;
}

/* What a word of another node's means here: its own troubles are an advertiser's. */
static enum result_code expected(enum result_code said)
{
    switch (said) {
    case RESULT_QUEUE_FULL:
    case RESULT_STORE_UNAVAILABLE:
    case RESULT_DEADLINE_PASSED:
        return RESULT_RATE_LIMITED;
    case RESULT_INTERNAL_ERROR:
    case RESULT_CANCELLED:
        return RESULT_ADVERTISER_ERROR;
    case RESULT_CONFLICT:
    case RESULT_DELIVERED:
        return RESULT_ADVERTISER_REFUSED;
    default:
        return said;
    }
}

static enum job_end expected_end(enum result_code code)
{
    switch (code) {
    case RESULT_OTP_SENT:
    case RESULT_OTP_VERIFIED:
        return JOB_END_DONE;
    case RESULT_PENDING:
    case RESULT_OUTCOME_UNKNOWN:
        return JOB_END_UNKNOWN;
    default:
        return JOB_END_REFUSED;
    }
}

static bool is_of(enum result_code code, enum dialect_call call)
{
    return code != (call == DIALECT_SEND ? RESULT_OTP_VERIFIED : RESULT_OTP_SENT);
}

static void same(enum result_code said, const struct dialect_verdict *v)
{
    enum result_code wanted = expected(said);
    if (v->code != wanted || v->end != expected_end(wanted)) {
        fail_msg("%s was heard as %s %s", result_name(said), job_end_names[v->end],
                 result_name(v->code));
    }
}

static void af(enum answer_shape shape, enum dialect_call call, enum result_code code)
{
    void *settings =
        settings_of(&dialect_offer18, "{base_url: 'http://b', key: k, aid: 1, mid: 2, partner: p}");
    struct job_result result;
    struct answer a = {0};
    job_result_init(&result);
    result.request_id = SLICE("r9ours");
    result.attempts_left = 2;
    result.retry_after_s = 17;
    answer_result(&a, shape, code, "", &result);
    struct dialect_verdict v = heard(&dialect_offer18, settings, call, &a);
    same(code, &v);
    if (shape == ANSWER_AF && code == RESULT_OTP_SENT) {
        assert_string_equal(v.advertiser_request_id, "r9ours");
    }
    if (code == RESULT_WRONG_OTP) {
        assert_int_equal(v.attempts_left, 2);
        assert_int_equal(v.retry_after_s, 17);
    }
    answer_free(&a);
    answer_failure(&a, code, 0, "in words", 3);
    v = heard(&dialect_offer18, settings, call, &a);
    if (expected_end(code) != JOB_END_DONE && code != RESULT_DELIVERED) {
        same(code, &v);
    }
    answer_free(&a);
    dialect_offer18.release(settings);
}

/* System 2, and the endpoints of system 1, which say the same. */
static void affiliate_api(void **state)
{
    (void)state;
    for (int code = RESULT_NONE + 1; code < RESULT_DELIVERED; code++) {
        for (int call = 0; call < DIALECT_CALLS; call++) {
            if (is_of((enum result_code)code, (enum dialect_call)call)) {
                af(ANSWER_AF, (enum dialect_call)call, (enum result_code)code);
                af(ANSWER_ENDPOINT, (enum dialect_call)call, (enum result_code)code);
            }
        }
    }
}

/* ---- system 3 -------------------------------------------------------------------------------- */

static void otpservice(enum dialect_call call, enum result_code code)
{
    void *settings =
        settings_of(&dialect_otpservice, "{base_url: 'http://b', username: demo, password: p}");
    const struct system *system =
        call == DIALECT_SEND ? &system_otpservice_send : &system_otpservice_code;
    struct job_result result;
    struct answer a = {0};
    struct buf body;
    buf_init(&body, 16384);
    job_result_init(&result);
    result.request_id = SLICE("4503599627370497");
    result.attempts_left = 2;
    job_result_encode(&body, &result);
    const struct otpq_answer told = {.outcome = OTPQ_RESULT,
                                     .code = result_name(code),
                                     .detail = "",
                                     .body = body.p,
                                     .body_bytes = body.n};
    system->tell(&a, NULL, &told);
    struct dialect_verdict v = heard(&dialect_otpservice, settings, call, &a);
    same(code, &v);
    if (code == RESULT_OTP_SENT) {
        assert_string_equal(v.advertiser_request_id, "4503599627370497");
    }
    answer_free(&a);
    buf_free(&body);
    dialect_otpservice.release(settings);
}

static void otp_service_api(void **state)
{
    (void)state;
    for (int code = RESULT_NONE + 1; code < RESULT_DELIVERED; code++) {
        for (int call = 0; call < DIALECT_CALLS; call++) {
            if (is_of((enum result_code)code, (enum dialect_call)call)) {
                otpservice((enum dialect_call)call, (enum result_code)code);
            }
        }
    }
}

/* ---- system 4 -------------------------------------------------------------------------------- */

#define TOKEN "200e96b6a8bf8ed8c3de194cf14b342f"

static void *fotp_settings(void)
{
    return settings_of(&dialect_fotp, "{base_url: 'http://b', ft_id: 2, account: demo, secret: s, "
                                      "time_zone: Asia/Bangkok}");
}

static void fotp_failures(void **state)
{
    (void)state;
    void *settings = fotp_settings();
    for (int code = RESULT_NONE + 1; code < RESULT_CODES; code++) {
        if (strcmp(fotp_words[code].code, FOTP_SUCCESS) == 0) {
            continue;
        }
        for (int call = 0; call < DIALECT_CALLS; call++) {
            struct answer a = {0};
            flash_answer_failure(&a, call == DIALECT_SEND ? LANGUAGE_ZH : LANGUAGE_EN,
                                 (enum result_code)code, 0, SLICE("in words"), 0);
            struct dialect_verdict v = heard(&dialect_fotp, settings, (enum dialect_call)call, &a);
            same((enum result_code)code, &v);
            answer_free(&a);
        }
    }
    dialect_fotp.release(settings);
}

static void fotp_link(void **state)
{
    (void)state;
    void *settings = fotp_settings();
    struct job_result result;
    struct answer a = {0};
    job_result_init(&result);
    result.request_id = SLICE(TOKEN);
    result.flash.code = SLICE("3872");
    flash_answer_created(&a, LANGUAGE_ZH, &result, "https://b.example/flash/opt/redirect/", true);
    struct dialect_verdict v = heard(&dialect_fotp, settings, DIALECT_SEND, &a);
    same(RESULT_OTP_SENT, &v);
    assert_string_equal(v.advertiser_request_id, TOKEN);
    assert_string_equal(v.url, "https://b.example/flash/opt/redirect/" TOKEN);
    answer_free(&a);
    dialect_fotp.release(settings);
}

static void fotp_states(void **state)
{
    (void)state;
    static const struct {
        const char *status;
        enum result_code code;
    } states[] = {{"0", RESULT_PENDING}, {"1", RESULT_OTP_EXPIRED}, {"2", RESULT_OTP_VERIFIED}};
    void *settings = fotp_settings();
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        struct job_result result;
        struct answer a = {0};
        job_result_init(&result);
        result.flash.status = slice_of(states[i].status);
        result.flash.mobile = SLICE("66812340000");
        result.flash.sender = SLICE("1008611");
        result.flash.send_time = SLICE("2025-04-29 17:47:00");
        flash_answer_state(&a, LANGUAGE_EN, &result, "Asia/Bangkok");
        struct dialect_verdict v = heard(&dialect_fotp, settings, DIALECT_VERIFY, &a);
        same(states[i].code, &v);
        if (v.end == JOB_END_DONE) {
            assert_string_equal(v.mo.mobile, "66812340000");
            assert_string_equal(v.mo.sender, "1008611");
            assert_string_equal(v.mo.send_time, "2025-04-29 17:47:00"); /* there and back */
        }
        answer_free(&a);
    }
    dialect_fotp.release(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affiliate_api), cmocka_unit_test(otp_service_api),
        cmocka_unit_test(fotp_failures), cmocka_unit_test(fotp_link),
        cmocka_unit_test(fotp_states),
    };
    return cmocka_run_group_tests_name("interop", tests, NULL, NULL);
}
