#include "common/meaning/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <openssl/evp.h>

static void secrets_are_struck_out(void **state)
{
    (void)state;
    static const struct slice secrets[] = {{"p@ss w\"d", 8}, {"1234", 4}, {"", 0}, {"p@s", 3}};
    static const struct {
        const char *body;
        const char *wanted;
    } rows[] = {
        {"", ""},
        {"nothing here", "nothing here"},
        {"p@ss w\"d", "****"},
        {"?k=p%40ss%20w%22d&otp=1234", "?k=****&otp=****"},
        {"k=p%40ss+w%22d", "k=****"},
        {"{\"k\":\"p@ss w\\\"d\"}", "{\"k\":\"****\"}"},
        {"p@s!12341234", "****!********"},
        {"a\xff\xc3", "a??"},
        {"é€😀", "é€😀"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 64);
        redact(NULL, slice_of(rows[i].body), secrets, ARRAY_LEN(secrets), &out);
        assert_string_equal(buf_text(&out), rows[i].wanted);
        buf_free(&out);
    }
    struct buf small;
    buf_init(&small, 6);
    redact(NULL, SLICE("abcd€1234"), secrets, ARRAY_LEN(secrets), &small);
    assert_true(buf_ok(&small));
    assert_string_equal(buf_text(&small), "abcd");
    buf_clear(&small);
    redact(NULL, SLICE("a\0b"), NULL, 0, &small);
    assert_string_equal(buf_text(&small), "a?b");
    buf_free(&small);
}

/* A worker passes its whole secret store. */
static void many_secrets_are_struck_out(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static char texts[MANY][16];
    static struct slice secrets[MANY];
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "key=%zu/x", i);
        secrets[i] = slice_of(texts[i]);
    }
    struct buf out;
    buf_init(&out, 64);
    redact(NULL, SLICE("a key=999/x key%3D500%2Fx key=1000/x"), secrets, MANY, &out);
    assert_string_equal(buf_text(&out), "a **** **** key=1000/x");
    buf_free(&out);
}

static void a_cut_body_shows_no_beginning_of_a_secret(void **state)
{
    (void)state;
    struct slice secret = SLICE("s3cr/et");
    struct redactor *known = redactor_new(&secret, 1);
    static const char *const rows[][2] = {
        {"a key=s3cr/et", "a key=****"}, {"a key=s3cr/e", "a key=****"},
        {"a key=s3cr%2", "a key=****"},  {"a key=s", "a key=****"},
        {"a key=s3x", "a key=s3x"},      {"", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out;
        buf_init(&out, 64);
        redact_cut(known, slice_of(rows[i][0]), NULL, 0, &out);
        assert_string_equal(buf_text(&out), rows[i][1]);
        buf_free(&out);
    }
    redactor_destroy(&known);
}

static void check(struct slice secret, const char *body, const char *wanted)
{
    struct buf out;
    buf_init(&out, 4096);
    struct redactor *known = redactor_new(&secret, 1);
    redact(known, slice_of(body), NULL, 0, &out);
    assert_string_equal(buf_text(&out), wanted);
    redactor_destroy(&known);
    assert_null(known);
    buf_free(&out);
}

/* Written out, so that a mistake in making the forms is not repeated by the test. */
static void echoes_in_other_forms_are_struck_out(void **state)
{
    (void)state;
    struct slice secret = SLICE("s3cret-token");
    check(secret, "Basic czNjcmV0LXRva2Vu", "Basic ****");
    check(secret, "Basic dXNlcjpzM2NyZXQtdG9rZW4=", "Basic dXNlcjp****=");
    check(secret, "Basic bWU6czNjcmV0LXRva2Vu", "Basic bWU6****");
    check(secret, "Basic bWVlOnMzY3JldC10b2tlbg==", "Basic bWVlOn****==");
    check(secret, "QTpzM2NyZXQtdG9rZW46Qg==", "QTp****6Qg==");
    check(secret, "7333637265742d746f6b656e!", "****!");
    check(secret, "7333637265742D746F6B656E!", "****!");
    check(secret, "czNjcmV0LXRva2V", "czNjcmV0LXRva2V"); /* not the whole of it */
    struct slice odd = SLICE("a?\?>\xff\xfe/b");
    check(odd, "YT8/Pv/+L2I=", "****=");
    check(odd, "YT8_Pv_-L2I", "****");
    check(odd, "q=YT8%2FPv%2F%2BL2I%3D", "q=****%3D");
    check(odd, "{\"a\":\"YT8\\/Pv\\/+L2I=\"}", "{\"a\":\"****=\"}");
    check(SLICE("a/b\"c"), "{\"a\":\"a\\/b\\\"c\"}", "{\"a\":\"****\"}");
}

/* Short ones have forms that stand in any text. */
static void short_secrets_leave_ordinary_text(void **state)
{
    (void)state;
    check(SLICE("1"), "31 MQ== MTIz x1", "3**** MQ== MTIz x****");
    check(SLICE("12"), "MTI= 3132 aMTIz", "MTI= **** aMTIz");
    check(SLICE("1234"), "code MTIzNA== 31323334", "code ****== ****");
}

static void base64_of(struct slice text, bool url, char out[512])
{
    int n = EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)text.p, (int)text.n);
    for (int i = 0; i < n && url; i++) {
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    }
}

/* Any bytes in front of any secret and behind it: what is left never tells a whole byte of it. */
static void base64_is_found_at_every_place(void **state)
{
    (void)state;
    static const char bytes[] = "\x01\xff\xfe?>~ab\x80/+=zY09\xfb\xf0\x3e\x3f";
    struct buf out;
    buf_init(&out, 512);
    for (size_t n = 4; n < sizeof bytes; n++) {
        for (size_t lead = 0; lead < 7; lead++) {
            for (size_t behind = 0; behind < 4; behind++) {
                struct slice secret = slice_make(bytes + sizeof bytes - 1 - n, n);
                char text[64] = "#######";
                char encoded[512];
                memcpy(text + lead, secret.p, n);
                memset(text + lead + n, '#', behind);
                base64_of(slice_make(text, lead + n + behind), lead % 2 == 1, encoded);
                buf_clear(&out);
                redact(NULL, slice_of(encoded), &secret, 1, &out);
                const char *mask = strstr(buf_text(&out), "****");
                assert_non_null(mask);
                assert_int_equal(mask - out.p, (8 * lead + 5) / 6);
                assert_int_equal(strlen(mask + 4), strlen(encoded) - (8 * (lead + n) + 5) / 6);
            }
        }
    }
    buf_free(&out);
}

static void no_secrets_at_all(void **state)
{
    (void)state;
    struct redactor *none = redactor_new(NULL, 0);
    struct buf out;
    buf_init(&out, 16);
    redact(none, SLICE("abc"), NULL, 0, &out);
    assert_string_equal(buf_text(&out), "abc");
    redactor_destroy(&none);
    redactor_destroy(&none);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_struck_out),
        cmocka_unit_test(many_secrets_are_struck_out),
        cmocka_unit_test(a_cut_body_shows_no_beginning_of_a_secret),
        cmocka_unit_test(echoes_in_other_forms_are_struck_out),
        cmocka_unit_test(short_secrets_leave_ordinary_text),
        cmocka_unit_test(base64_is_found_at_every_place),
        cmocka_unit_test(no_secrets_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
