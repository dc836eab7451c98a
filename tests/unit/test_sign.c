#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/meaning/sign.h"

static void signature(enum sign_strategy strategy, const char *wanted)
{
    /* Not in order, and with an empty value: sorting and dropping are part of it. */
    struct sign_pair pairs[] = {
        {SLICE("nonce"), SLICE("1653043349000")},      {SLICE("empty"), SLICE("")},
        {SLICE("msg"), SLICE("this is your message")}, {SLICE("account"), SLICE("I6000000")},
        {SLICE("mobile"), SLICE("8615800000000")},
    };
    struct buf out;
    buf_init(&out, 256);
    assert_true(sign_make(strategy, SLICE("secret"), pairs, ARRAY_LEN(pairs), &out));
    assert_string_equal(buf_text(&out), wanted);
    buf_free(&out);
}

static void published_vector(void **state)
{
    (void)state;
    signature(SIGN_MD5_SORTED, "15b9d304cb5ef70154478052d5a9ccc7");
}

static void other_strategies(void **state)
{
    (void)state;
    signature(SIGN_HMAC_SHA256_SORTED,
              "a68f555e75a81c594fa0b801a78f369497b5a656c09595e5e364fff2e0c5fd85");
    signature(SIGN_STATIC, "secret");
    signature(SIGN_NONE, "");
}

static void nothing_to_sign(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 256);
    assert_true(sign_make(SIGN_MD5_SORTED, slice_of(""), NULL, 0, &out));
    assert_string_equal(buf_text(&out), "d41d8cd98f00b204e9800998ecf8427e");
    assert_true(sign_make(SIGN_HMAC_SHA256_SORTED, slice_of(""), NULL, 0, &out));
    assert_int_equal(out.n, 64);
    buf_free(&out);
}

/* "a" before "a1" before "b"; capitals before small letters. */
static void ascii_order(void **state)
{
    (void)state;
    struct sign_pair pairs[] = {
        {SLICE("b"), SLICE("4")},
        {SLICE("a1"), SLICE("3")},
        {SLICE("a"), SLICE("2")},
        {SLICE("Z"), SLICE("1")},
    };
    struct buf got;
    struct buf wanted;
    buf_init(&got, 256);
    buf_init(&wanted, 256);
    assert_true(sign_make(SIGN_MD5_SORTED, SLICE("s"), pairs, ARRAY_LEN(pairs), &got));
    struct sign_pair one[] = {{SLICE("Z1a2a13b"), SLICE("4")}};
    assert_true(sign_make(SIGN_MD5_SORTED, SLICE("s"), one, 1, &wanted));
    assert_string_equal(buf_text(&got), buf_text(&wanted));
    buf_free(&got);
    buf_free(&wanted);
}

static void bounded(void **state)
{
    (void)state;
    static struct sign_pair many[SIGN_PAIRS_MAX + 1];
    static char large[SIGN_BYTES_MAX + 1];
    struct sign_pair one = {SLICE("a"), slice_make(large, sizeof(large))};
    struct buf out;
    buf_init(&out, 256);
    assert_false(sign_make(SIGN_MD5_SORTED, SLICE("s"), many, ARRAY_LEN(many), &out));
    assert_false(sign_make(SIGN_MD5_SORTED, SLICE("s"), &one, 1, &out));
    buf_free(&out);
}

static void pairs_of_a_body(void **state)
{
    (void)state;
    json_t *body = json_loads("{\"s\":\"x\",\"i\":-7,\"t\":true,\"f\":false,\"n\":null,\"e\":\"\","
                              "\"o\":{\"a\":1},\"l\":[1],\"r\":1.5}",
                              0, NULL);
    assert_non_null(body);
    struct sign_pair pairs[8];
    char numbers[8][SIGN_TEXT_BYTES];
    assert_int_equal(sign_pairs_of(body, pairs, 8, numbers), 4);
    assert_true(slice_is(pairs[0].name, "s") && slice_is(pairs[0].value, "x"));
    assert_true(slice_is(pairs[1].name, "i") && slice_is(pairs[1].value, "-7"));
    assert_true(slice_is(pairs[2].value, "true"));
    assert_true(slice_is(pairs[3].value, "false"));
    assert_int_equal(sign_pairs_of(body, pairs, 2, numbers), 2);
    json_decref(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vector), cmocka_unit_test(other_strategies),
        cmocka_unit_test(nothing_to_sign),  cmocka_unit_test(ascii_order),
        cmocka_unit_test(bounded),          cmocka_unit_test(pairs_of_a_body),
    };
    return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
