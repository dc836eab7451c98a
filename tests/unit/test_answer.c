/* gateway/answer: shapes and key order, and that docs/http-api.md tells every result. */
#include "gateway/answer.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/asset.h"
#include "gateway/router.h"

ASSET(http_api_page, "docs/http-api.md");

static void check(struct answer *a, int http, uint32_t retry_after_s, const char *wanted)
{
    assert_int_equal(a->http, http);
    assert_int_equal(a->retry_after_s, retry_after_s);
    assert_string_equal(buf_text(&a->body), wanted);
    answer_free(a);
}

static void successes_are_as_published(void **state)
{
    (void)state;
    struct answer a;
    struct job_result r;
    job_result_init(&r);
    r.request_id = SLICE("r1");
    r.expires_in_s = 300;
    answer_result(&a, ANSWER_AF, RESULT_OTP_SENT, "", &r);
    check(&a, 200, 0, "{\"status\":\"200\",\"response\":\"otp_sent\",\"data\":\"r1\"}");
    answer_result(&a, ANSWER_AF, RESULT_OTP_VERIFIED, "", &r);
    check(&a, 200, 0, "{\"status\":\"200\",\"response\":\"otp_verified\"}");
    answer_result(&a, ANSWER_ENDPOINT, RESULT_OTP_SENT, "", &r);
    check(&a, 200, 0, "{\"status\":\"200\",\"response\":\"otp_sent_successfully\"}");
    answer_result(&a, ANSWER_ENDPOINT, RESULT_OTP_VERIFIED, "", &r);
    check(&a, 200, 0, "{\"status\":\"200\",\"response\":\"otp_verified_successfully\"}");
}

static void failures_carry_what_applies(void **state)
{
    (void)state;
    struct answer a;
    struct job_result r;
    job_result_init(&r);
    r.attempts_left = 0;
    r.retry_after_s = 5;
    r.expires_in_s = 9;
    r.advertiser_http = 502;
    r.advertiser_body = SLICE("a\xff\"\n\x01");
    answer_result(&a, ANSWER_AF, RESULT_WRONG_OTP, "", &r);
    check(&a, 400, 5,
          "{\"status\":\"400\",\"error\":\"wrong_otp\",\"attempts_left\":0,\"retry_after\":5,"
          "\"expires_in\":9}");
    r.detail = SLICE("the worker's words");
    answer_result(&a, ANSWER_ENDPOINT, RESULT_ADVERTISER_ERROR, "why", &r);
    check(&a, 400, 5,
          "{\"status\":\"400\",\"error\":\"advertiser_error\",\"detail\":\"why\","
          "\"attempts_left\":0,\"retry_after\":5,\"expires_in\":9,\"advertiser\":{\"http\":502,"
          "\"body\":\"a?\\\"\\n\\u0001\"}}");
    answer_result(&a, ANSWER_AF, RESULT_NONE, "", &r);
    assert_int_equal(a.http, 500);
    answer_free(&a);
}

static void a_worker_may_say_why(void **state)
{
    (void)state;
    struct answer a;
    struct job_result r;
    job_result_init(&r);
    r.detail = SLICE("msisdn is too long");
    answer_result(&a, ANSWER_AF, RESULT_INVALID_MSISDN, "", &r);
    check(&a, 400, 0,
          "{\"status\":\"400\",\"error\":\"invalid_msisdn\",\"detail\":\"msisdn is too long\"}");
}

static void an_advertiser_is_cut_to_2_kib(void **state)
{
    (void)state;
    static char body[5000];
    struct answer a;
    struct job_result r;
    job_result_init(&r);
    memset(body, '\x01', sizeof(body)); /* the longest when escaped */
    r.advertiser_http = 200;
    r.advertiser_body = slice_make(body, sizeof(body));
    answer_result(&a, ANSWER_ENDPOINT, RESULT_ADVERTISER_REFUSED, "", &r);
    assert_in_range(a.body.n, JOB_ADVERTISER_BODY_BYTES_MAX * 6,
                    JOB_ADVERTISER_BODY_BYTES_MAX * 6 + 200);
    answer_free(&a);
}

static void busy_answers_say_when_to_come_back(void **state)
{
    (void)state;
    struct answer a;
    answer_failure(&a, RESULT_QUEUE_FULL, 0, "", 0);
    check(&a, 503, 1, "{\"status\":\"503\",\"error\":\"queue_full\",\"retry_after\":1}");
    answer_failure(&a, RESULT_RATE_LIMITED, 0, "", 7);
    check(&a, 429, 7, "{\"status\":\"429\",\"error\":\"rate_limited\",\"retry_after\":7}");
    answer_failure(&a, RESULT_INVALID_REQUEST, 404, "not \"here\"", 0);
    check(&a, 404, 0,
          "{\"status\":\"404\",\"error\":\"invalid_request\",\"detail\":\"not \\\"here\\\"\"}");
}

static void other_systems_use_the_parts(void **state)
{
    (void)state;
    struct answer a;
    struct job_result r;
    json_t *root = json_object();
    job_result_init(&r);
    r.attempts_left = 2;
    answer_begin(&a, 429);
    answer_put(root, "said", answer_sentence(RESULT_RATE_LIMITED, slice_of("")));
    answer_put(root, "why", answer_sentence(RESULT_CONFLICT, SLICE("a\xff")));
    answer_put_facts(&a, root, &r);
    answer_json(&a, root);
    check(&a, 429, 1,
          "{\"said\":\"rate_limited: too many requests; later\",\"why\":\"conflict: a?\","
          "\"attempts_left\":2,\"retry_after\":1}");
    answer_begin(&a, 200);
    answer_plain(&a, "text/plain", slice_of(""));
    assert_string_equal(a.type, "text/plain");
    check(&a, 200, 0, "");
}

static bool page_has(const char *text)
{
    return memmem(http_api_page().p, http_api_page().n, text, strlen(text)) != NULL;
}

/* How many bytes of the text an address takes that is written with a word of capitals for each "{}"
 * ("/e/ENDPOINT/otp_gen"); 0: it is another one. */
static size_t address_bytes(const char *pattern, struct slice text)
{
    size_t at = 0;
    for (const char *p = pattern; *p != '\0'; p++) {
        size_t from = at;
        if (p[0] == '{' && p[1] == '}') {
            while (at < text.n && (isupper((unsigned char)text.p[at]) || text.p[at] == '_')) {
                at++;
            }
            p++;
        } else if (at < text.n && text.p[at] == *p) {
            at++;
        }
        if (at == from) {
            return 0;
        }
    }
    return at;
}

static bool page_has_address(const char *pattern)
{
    struct slice page = http_api_page();
    for (size_t i = 0; i < page.n; i++) {
        size_t n = address_bytes(pattern, slice_make(page.p + i, page.n - i));
        if (n > 0 && i + n < page.n && page.p[i + n] == '`') {
            return true;
        }
    }
    return false;
}

static void the_page_tells_every_result_and_address(void **state)
{
    (void)state;
    char row[512];
    for (int i = 1; i < RESULT_CODES; i++) {
        const struct result_row *r = &result_rows[i];
        (void)snprintf(row, sizeof(row), "| `%s` | %d | %s | %s |", r->name, r->http,
                       r->retryable ? "yes" : "no", r->meaning);
        if (!page_has(row)) {
            fail_msg("docs/http-api.md lacks the row: %s", row);
        }
    }
    for (unsigned i = 0; i < router_count; i++) {
        if (!page_has_address(router_rows[i].pattern)) {
            fail_msg("docs/http-api.md lacks the address %s", router_rows[i].pattern);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(successes_are_as_published),
        cmocka_unit_test(failures_carry_what_applies),
        cmocka_unit_test(a_worker_may_say_why),
        cmocka_unit_test(an_advertiser_is_cut_to_2_kib),
        cmocka_unit_test(busy_answers_say_when_to_come_back),
        cmocka_unit_test(other_systems_use_the_parts),
        cmocka_unit_test(the_page_tells_every_result_and_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
