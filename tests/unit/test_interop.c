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
#include "gateway/answer.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affiliate_api),
    };
    return cmocka_run_group_tests_name("interop", tests, NULL, NULL);
}
