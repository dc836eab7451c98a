/* gateway/params: what a request may carry, and what it may not. */
#include "common/meaning/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FORM "application/x-www-form-urlencoded"
#define JSON "application/json"

static void expect(const char *query, const char *type, struct slice body, const char *wanted)
{
    struct params p;
    char error[PARAMS_ERROR_BYTES];
    char text[4096] = "";
    size_t n = 0;
    if (!params_read(&p, slice_of(query), slice_of(type), body, error)) {
        (void)snprintf(text, sizeof(text), "error: %s", error);
    }
    for (uint32_t i = 0; text[0] != 'e' && i < p.count; i++) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "[%.*s=%.*s]", SLICE_ARG(p.at[i].name),
                              SLICE_ARG(p.at[i].value));
    }
    params_free(&p);
    assert_string_equal(text, wanted);
}

#define QUERY(query, wanted)     expect(query, "", SLICE(""), wanted)
#define BODY(type, body, wanted) expect("", type, SLICE(body), wanted)

static void reads_the_query(void **state)
{
    (void)state;
    QUERY("", "");
    QUERY("a=1&b=2", "[a=1][b=2]");
    QUERY("a=1&&b=", "[a=1][b=]");
    QUERY("a", "[a=]");
    QUERY("a=b=c", "[a=b=c]");
    QUERY("msisdn=%2B66+81%20234", "[msisdn=+66 81 234]");
    QUERY("%C3%A9=%e0%b8%81", "[\xc3\xa9=\xe0\xb8\x81]");
    QUERY("a=%2541", "[a=%41]");
}

static void refuses_bad_encoding(void **state)
{
    (void)state;
    const char *wanted = "error: \"%\" must be followed by two hex digits";
    QUERY("a=%", wanted);
    QUERY("a=%4", wanted);
    QUERY("a=%4g", wanted);
    QUERY("a=%%41", wanted);
    QUERY("%zz=1", wanted);
    QUERY("a=%-1", wanted);
}

static void refuses_bad_text(void **state)
{
    (void)state;
    const char *wanted = "error: a is not UTF-8 or has control characters";
    QUERY("a=%00", wanted);
    QUERY("a=x%0d%0ay", wanted);
    QUERY("a=%1f", wanted);
    QUERY("a=%7f", wanted);
    QUERY("a=%c2%85", wanted);
    QUERY("a=%ff", wanted);
    QUERY("a=%c0%80", wanted);
    QUERY("a=%ed%a0%80", wanted);
    QUERY("a=%e0%b8", wanted);
    QUERY("a%0a=1", "error: a parameter's name is not UTF-8 or has control characters");
    QUERY("=1", "error: a parameter has no name");
    BODY(JSON, "{\"a\":\"x\\ny\"}", wanted);
    BODY(JSON, "{\"a\":\"\\u0085\"}", wanted);
}

static void refuses_contradictions_only(void **state)
{
    (void)state;
    QUERY("a=1&a=1", "[a=1]");
    QUERY("a=1&a=2", "error: a is given twice with different values");
    expect("a=1", FORM, SLICE("a=1&b=2"), "[a=1][b=2]");
    expect("a=1", FORM, SLICE("a=2"), "error: a is given twice with different values");
    expect("a=1", JSON, SLICE("{\"a\":1}"), "[a=1]");
    expect("a=01", JSON, SLICE("{\"a\":1}"), "error: a is given twice with different values");
}

static void reads_bodies(void **state)
{
    (void)state;
    BODY(FORM, "a=1&b=%41", "[a=1][b=A]");
    BODY(FORM "; charset=utf-8", "a=1", "[a=1]");
    BODY("", "a=1", "[a=1]");
    BODY("Application/X-WWW-Form-Urlencoded", "a=1", "[a=1]");
    BODY(JSON, "{\"a\":\"x\",\"b\":66812340000,\"c\":null,\"d\":true,\"e\":-3}",
         "[a=x][b=66812340000][d=true][e=-3]");
    BODY(JSON, " \r\n{\"a\":\"\\u00e9\"}", "[a=\xc3\xa9]");
    BODY(FORM, "{\"a\":\"x\"}", "[a=x]");
    BODY("text/plain", " {\"a\":\"x\"}", "[a=x]");
    BODY("", "{\"a\":\"x\"}", "[a=x]");
    BODY("text/plain", "", "");
    BODY("text/plain", "a=1",
         "error: the body must be a form (application/x-www-form-urlencoded) or a JSON object "
         "(application/json)");
    BODY("multipart/form-data", "--x",
         "error: the body must be a form (application/x-www-form-urlencoded) or a JSON object "
         "(application/json)");
    BODY("application/jsonp", "x",
         "error: the body must be a form "
         "(application/x-www-form-urlencoded) or a JSON object (application/json)");
}

static void refuses_bad_json(void **state)
{
    (void)state;
    BODY(JSON, "[1]", "error: the body is not a JSON object");
    BODY(JSON, "x", "error: the body is not a JSON object");
    BODY(JSON, "{\"a\":1,\"a\":1}",
         "error: the JSON body cannot be read: duplicate object key (line 1, column 10)");
    BODY(JSON, "{\"a\":01}",
         "error: the JSON body cannot be read: invalid token (line 1, column 6)");
    BODY(JSON, "{\"a\":1}x",
         "error: the JSON body cannot be read: end of file expected (line 1, column 8)");
    BODY(JSON, "{\"a\":\"\\u0000\"}",
         "error: the JSON body cannot be read: \\u0000 is not allowed (line 1, column 13)");
    BODY(JSON, "{\"a\":\"\xff\"}",
         "error: the JSON body cannot be read: unable to decode byte 0xff (line 1, column 6)");
    BODY(JSON, "{\"otp\":\n123456789012345678901}",
         "error: the JSON body cannot be read: too big integer (line 2, column 21)");
    BODY(JSON, "{\"otp\":\"4711\" 4712}",
         "error: the JSON body cannot be read: '}' expected (line 1, column 18)");
    BODY(JSON, "{\"a\":1.5}", "error: a must be a string or a whole number");
    BODY(JSON, "{\"a\":[]}", "error: a must be a string or a whole number");
    BODY(JSON, "{\"a\":{}}", "error: a must be a string or a whole number");
    BODY(JSON, "{\"\":1}", "error: a parameter has no name");
}

static void is_bounded(void **state)
{
    (void)state;
    char text[8192];
    int n = snprintf(text, sizeof(text), "a=");
    memset(text + n, 'x', PARAM_VALUE_BYTES_MAX + 1);
    text[n + PARAM_VALUE_BYTES_MAX + 1] = '\0';
    QUERY(text, "error: a has more than 1024 bytes");
    memset(text, 'n', PARAM_NAME_BYTES_MAX + 1);
    text[PARAM_NAME_BYTES_MAX + 1] = '\0';
    QUERY(text, "error: a parameter's name has more than 64 bytes");
    n = 0;
    for (int i = 0; i <= PARAMS_MAX; i++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "p%d=1&", i);
    }
    QUERY(text, "error: more than 64 parameters");
}

static void finds_by_name(void **state)
{
    (void)state;
    struct params p;
    char error[PARAMS_ERROR_BYTES];
    assert_true(params_read(&p, SLICE("a=&b=2"), SLICE(""), SLICE(""), error));
    assert_non_null(params_get(&p, "a").p);
    assert_true(slice_is(params_get(&p, "b"), "2"));
    assert_null(params_get(&p, "c").p);
    params_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_query),  cmocka_unit_test(refuses_bad_encoding),
        cmocka_unit_test(refuses_bad_text), cmocka_unit_test(refuses_contradictions_only),
        cmocka_unit_test(reads_bodies),     cmocka_unit_test(refuses_bad_json),
        cmocka_unit_test(is_bounded),       cmocka_unit_test(finds_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
