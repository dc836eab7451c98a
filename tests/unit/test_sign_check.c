/* gateway/sign_check, gateway/signed_body: who is let in with a signed request, and what of a body
 * is signed. */
#include "gateway/sign_check.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/meaning/sign.h"
#include "gateway/signed_body.h"

enum { HEADERS_MAX = 6 };
#define NOW INT64_C(1653043349000)

struct request {
    struct records *records;
    struct intake_input in;
    uint32_t count;
    struct {
        const char *name;
        char value[256];
    } headers[HEADERS_MAX];
    struct params body;
    struct signer who;
};

static struct slice header(void *context, const char *name)
{
    struct request *r = context;
    for (uint32_t i = 0; i < r->count; i++) {
        if (strcasecmp(r->headers[i].name, name) == 0) {
            return slice_of(r->headers[i].value);
        }
    }
    return slice_make(NULL, 0);
}

static void set(struct request *r, const char *name, const char *value)
{
    uint32_t i = 0;
    while (i < r->count && strcasecmp(r->headers[i].name, name) != 0) {
        i++;
    }
    assert_true(i < HEADERS_MAX);
    r->count = i == r->count ? i + 1 : r->count;
    r->headers[i].name = name;
    (void)snprintf(r->headers[i].value, sizeof(r->headers[i].value), "%s", value);
}

static struct records *make_records(void)
{
    static const struct {
        const char *name;
        const char *text;
    } accounts[] = {
        {"I6000000", "secret: secret\n"},
        {"mac", "sign: hmac-sha256-sorted\nsecret: secret\nheader_account: X-Account\n"
                "header_nonce: X-Nonce\nheader_sign: X-Sign\n"},
        {"pair", "sign: static\nsecret: right-value\nheader_account: X-User\nheader_sign: X-Key\n"},
        {"local", "sign: none\n"},
        {"keyless", "active: true\n"},
        {"keyless-static", "sign: static\n"},
        {"asleep", "active: false\nsecret: secret\n"},
    };
    struct record_text texts[ARRAY_LEN(accounts)];
    struct yaml_error error;
    for (size_t i = 0; i < ARRAY_LEN(accounts); i++) {
        texts[i] = (struct record_text){RECORD_ACCOUNT, (char *)accounts[i].name,
                                        (char *)accounts[i].text, 0, 0};
    }
    struct records *r = records_build(texts, ARRAY_LEN(texts), 1, &error);
    if (r == NULL) {
        fail_msg("%s", error.text);
    }
    return r;
}

static void begin(struct request *r, const char *body)
{
    char error[PARAMS_ERROR_BYTES];
    memset(r, 0, sizeof(*r));
    r->records = make_records();
    r->in = (struct intake_input){.header = header, .context = r, .wall_ms = NOW};
    r->in.caller.ip = SLICE("192.0.2.7");
    if (!signed_body_read(&r->body, slice_of(body), error)) {
        fail_msg("%s", error);
    }
}

static void end(struct request *r)
{
    params_free(&r->body);
    records_unref(&r->records);
}

static bool checks(struct request *r)
{
    return sign_check(r->records, &r->in, &r->body, &r->who);
}

static void sign(struct request *r, enum sign_strategy strategy, const char *account,
                 const char *nonce, const char *header_name)
{
    struct sign_pair pairs[PARAMS_MAX + 2] = {{SLICE("account"), slice_of(account)},
                                              {SLICE("nonce"), slice_of(nonce)}};
    size_t count = 2;
    struct buf out;
    for (uint32_t i = 0; i < r->body.count; i++) {
        pairs[count++] = (struct sign_pair){r->body.at[i].name, r->body.at[i].value};
    }
    buf_init(&out, 256);
    assert_true(sign_make(strategy, SLICE("secret"), pairs, count, &out));
    set(r, header_name, buf_text(&out));
    buf_free(&out);
}

#define VECTOR_BODY "{\"msg\":\"this is your message\",\"mobile\":\"8615800000000\"}"
#define VECTOR_SIGN "15b9d304cb5ef70154478052d5a9ccc7"

static void vector(struct request *r)
{
    begin(r, VECTOR_BODY);
    set(r, "account", "I6000000");
    set(r, "nonce", "1653043349000");
    set(r, "sign", VECTOR_SIGN);
}

static void the_published_vector_is_taken(void **state)
{
    (void)state;
    struct request r;
    vector(&r);
    assert_true(checks(&r));
    assert_string_equal(r.who.account->name, "I6000000");
    assert_true(slice_is(r.who.nonce, "1653043349000"));
    end(&r);
}

static void refused_with(const char *name, const char *value)
{
    struct request r;
    vector(&r);
    set(&r, name, value);
    if (checks(&r)) {
        fail_msg("taken with %s: %s", name, value);
    }
    end(&r);
}

static void what_was_tampered_with_is_refused(void **state)
{
    (void)state;
    refused_with("sign", "15b9d304cb5ef70154478052d5a9ccc8");
    refused_with("sign", "15b9d304cb5ef70154478052d5a9ccc");
    refused_with("sign", "15b9d304cb5ef70154478052d5a9ccc70");
    refused_with("sign", "15B9D304CB5EF70154478052D5A9CCC7");
    refused_with("sign", "");
    refused_with("sign", "secret");
    refused_with("nonce", "1653043349001");
    refused_with("account", "I6000001");
    refused_with("account", "asleep"); /* another account with the same secret */
    refused_with("account", "");
    struct request r;
    begin(&r, "{\"msg\":\"this is your message!\",\"mobile\":\"8615800000000\"}");
    set(&r, "account", "I6000000");
    set(&r, "nonce", "1653043349000");
    set(&r, "sign", VECTOR_SIGN);
    assert_false(checks(&r));
    end(&r);
    begin(&r, "{\"msg\":\"this is your message\",\"mobile\":\"8615800000000\",\"code\":\"1234\"}");
    set(&r, "account", "I6000000");
    set(&r, "nonce", "1653043349000");
    set(&r, "sign", VECTOR_SIGN);
    assert_false(checks(&r));
    end(&r);
}

static bool nonce_taken(const char *nonce)
{
    struct request r;
    begin(&r, "{}");
    set(&r, "account", "I6000000");
    set(&r, "nonce", nonce);
    sign(&r, SIGN_MD5_SORTED, "I6000000", nonce, "sign");
    bool taken = checks(&r);
    end(&r);
    return taken;
}

static void nonces_are_of_now(void **state)
{
    (void)state;
    char nonce[32];
    static const struct {
        int64_t off;
        bool taken;
    } cases[] = {{0, true},       {-300000, true},   {-300001, false},      {300000, true},
                 {300001, false}, {-1000000, false}, {INT64_MAX / 2, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        (void)snprintf(nonce, sizeof(nonce), "%" PRId64, NOW + cases[i].off);
        assert_int_equal(nonce_taken(nonce), cases[i].taken);
    }
    assert_false(nonce_taken(""));
    assert_false(nonce_taken("1653043349"));
    assert_false(nonce_taken("-1653043349000"));
    assert_false(nonce_taken("1653043349000.0"));
    assert_false(nonce_taken("now"));
    assert_false(nonce_taken("00000001653043349000"));
    assert_false(nonce_taken("99999999999999999999999999"));
}

static void headers_have_the_accounts_names(void **state)
{
    (void)state;
    struct request r;
    begin(&r, "{\"ftId\":\"2\"}");
    set(&r, "x-account", "mac");
    set(&r, "X-NONCE", "1653043349000");
    sign(&r, SIGN_HMAC_SHA256_SORTED, "mac", "1653043349000", "X-Sign");
    assert_true(checks(&r));
    assert_string_equal(r.who.account->name, "mac");
    sign(&r, SIGN_MD5_SORTED, "mac", "1653043349000", "X-Sign");
    assert_false(checks(&r));
    end(&r);
    /* an account that names itself in another's header is not that account */
    begin(&r, "{}");
    set(&r, "account", "mac");
    set(&r, "X-Nonce", "1653043349000");
    sign(&r, SIGN_HMAC_SHA256_SORTED, "mac", "1653043349000", "X-Sign");
    assert_false(checks(&r));
    end(&r);
}

static void a_header_pair_needs_no_nonce(void **state)
{
    (void)state;
    struct request r;
    begin(&r, "{}");
    set(&r, "X-User", "pair");
    set(&r, "X-Key", "right-value");
    assert_true(checks(&r));
    assert_int_equal(r.who.nonce.n, 0);
    set(&r, "X-Key", "right-valuf");
    assert_false(checks(&r));
    set(&r, "X-Key", "");
    assert_false(checks(&r));
    end(&r);
}

static void accounts_without_a_secret_have_no_access(void **state)
{
    (void)state;
    struct request r;
    begin(&r, "{}");
    set(&r, "account", "keyless");
    set(&r, "nonce", "1653043349000");
    struct sign_pair pairs[] = {{SLICE("account"), SLICE("keyless")},
                                {SLICE("nonce"), SLICE("1653043349000")}};
    struct buf out;
    buf_init(&out, 256);
    assert_true(sign_make(SIGN_MD5_SORTED, SLICE(""), pairs, 2, &out));
    set(&r, "sign", buf_text(&out));
    buf_free(&out);
    assert_false(checks(&r));
    set(&r, "account", "keyless-static");
    set(&r, "sign", "");
    assert_false(checks(&r));
    end(&r);
}

static bool local_from(const char *ip, const char *proxy_header)
{
    struct request r;
    begin(&r, "{}");
    r.in.caller.ip = slice_of(ip);
    set(&r, "account", "local");
    if (proxy_header != NULL) {
        set(&r, proxy_header, "192.0.2.1");
    }
    bool taken = checks(&r);
    end(&r);
    return taken;
}

static void unsigned_is_for_neighbours(void **state)
{
    (void)state;
    assert_true(local_from("127.0.0.1", NULL));
    assert_true(local_from("127.9.9.9", NULL));
    assert_true(local_from("::1", NULL));
    assert_true(local_from("::ffff:127.0.0.1", NULL));
    assert_false(local_from("192.0.2.7", NULL));
    assert_false(local_from("::ffff:192.0.2.7", NULL));
    assert_false(local_from("1270.0.0.1", NULL));
    assert_false(local_from("", NULL));
    assert_false(local_from("127.0.0.1", "X-Forwarded-For"));
    assert_false(local_from("127.0.0.1", "Forwarded"));
    assert_false(local_from("127.0.0.1", "X-Forwarded-Proto"));
    assert_false(local_from("127.0.0.1", "X-Forwarded-Host"));
    assert_false(local_from("127.0.0.1", "Via"));
    assert_false(local_from("127.0.0.1", "X-Real-IP"));
}

static void accounts_that_sleep_are_proven_all_the_same(void **state)
{
    (void)state;
    struct request r;
    begin(&r, "{}");
    set(&r, "account", "asleep");
    set(&r, "nonce", "1653043349000");
    sign(&r, SIGN_MD5_SORTED, "asleep", "1653043349000", "sign");
    assert_true(checks(&r));
    assert_false(r.who.account->active);
    end(&r);
}

static void account_and_nonce_of_the_body_say_nothing(void **state)
{
    (void)state;
    struct request r;
    begin(&r, "{\"account\":\"other\",\"nonce\":\"1\",\"ftId\":\"2\"}");
    struct request bare;
    begin(&bare, "{\"ftId\":\"2\"}");
    sign(&bare, SIGN_MD5_SORTED, "I6000000", "1653043349000", "sign");
    set(&r, "account", "I6000000");
    set(&r, "nonce", "1653043349000");
    set(&r, "sign", bare.headers[0].value);
    assert_true(checks(&r));
    end(&r);
    end(&bare);
}

/* As many parameters as a body may have are all signed. */
static void a_full_body_is_signed(void **state)
{
    (void)state;
    struct request r;
    struct buf b;
    buf_init(&b, 65536);
    for (int i = 0; i < PARAMS_MAX; i++) {
        buf_printf(&b, "%c\"n%d\":%d", i == 0 ? '{' : ',', i, i);
    }
    buf_putc(&b, '}');
    begin(&r, buf_text(&b));
    buf_free(&b);
    set(&r, "account", "I6000000");
    set(&r, "nonce", "1653043349000");
    sign(&r, SIGN_MD5_SORTED, "I6000000", "1653043349000", "sign");
    assert_true(checks(&r));
    end(&r);
}

/* ---- signed_body ---------------------------------------------------------------------------- */

static void value(const struct params *p, const char *name, const char *wanted)
{
    struct slice got = params_get(p, name);
    if (wanted == NULL ? got.p != NULL : !slice_is(got, wanted)) {
        fail_msg("%s: got \"%.*s\"", name, SLICE_ARG(got));
    }
}

static void scalars_are_taken_as_written(void **state)
{
    (void)state;
    struct params p;
    char error[PARAMS_ERROR_BYTES];
    static const char body[] =
        " {\"a\" : \"x\\\"},{\\u00e9\" ,\"b\":5 , \"c\":5.0,\"d\":1e3\n,\"e\":-0.50,\t\"f\":true,"
        "\"g\":false,\"h\":null,\"i\":{\"j\":\"}\",\"k\":[1,{\"l\":2}]},\"m\":[\"]\",2],\"n\":\"\","
        "\"\\u006f\":12345678901234567,\"p\\\"\":\"last\"} ";
    if (!signed_body_read(&p, SLICE(body), error)) {
        fail_msg("%s", error);
    }
    value(&p, "a", "x\"},{\xc3\xa9");
    value(&p, "b", "5");
    value(&p, "c", "5.0");
    value(&p, "d", "1e3");
    value(&p, "e", "-0.50");
    value(&p, "f", "true");
    value(&p, "g", "false");
    value(&p, "h", NULL);
    value(&p, "i", NULL);
    value(&p, "j", NULL);
    value(&p, "m", NULL);
    value(&p, "n", "");
    value(&p, "o", "12345678901234567");
    value(&p, "p\"", "last");
    assert_int_equal(p.count, 10);
    params_free(&p);
    assert_true(signed_body_read(&p, SLICE("{}"), error));
    assert_int_equal(p.count, 0);
    params_free(&p);
}

static void other_bodies_are_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {"",
                                         "[]",
                                         "\"a\"",
                                         "5",
                                         "null",
                                         "a=1",
                                         "{",
                                         "{\"a\":1",
                                         "{\"a\":1,}",
                                         "{\"a\":1}x",
                                         "{\"a\":1,\"a\":1}",
                                         "{\"a\":\"\xff\"}",
                                         "{\"a\":\"\\u0000\"}",
                                         "{\"a\":\"\\n\"}",
                                         "{\"\":1}",
                                         "{\"a\\u0007\":1}",
                                         "{\"a\":01}",
                                         "{\"a\":NaN}"};
    struct params p;
    char error[PARAMS_ERROR_BYTES];
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        if (signed_body_read(&p, slice_of(bodies[i]), error)) {
            fail_msg("taken: %s", bodies[i]);
        }
        assert_true(strlen(error) > 0);
        params_free(&p);
    }
}

static void bodies_are_bounded(void **state)
{
    (void)state;
    struct params p;
    char error[PARAMS_ERROR_BYTES];
    struct buf b;
    buf_init(&b, 65536);
    for (int i = 0; i <= PARAMS_MAX; i++) {
        buf_printf(&b, "%c\"n%d\":%d", i == 0 ? '{' : ',', i, i);
    }
    buf_putc(&b, '}');
    assert_false(signed_body_read(&p, buf_slice(&b), error));
    assert_string_equal(error, "more than 64 parameters");
    params_free(&p);
    buf_clear(&b);
    buf_printf(&b, "{\"a\":\"%01025d\"}", 0);
    assert_false(signed_body_read(&p, buf_slice(&b), error));
    assert_non_null(strstr(error, "a must have at most 1024 bytes"));
    params_free(&p);
    buf_free(&b);
}

/* Pieces that JSON is made of, put together at random: what is taken is what jansson reads. */
static void make_random(struct rng *rng, struct buf *b)
{
    static const char *const pieces[] = {
        "{",        "}",         "[",  "]",     ",",      ":",        "\"a\"",   "\"b,}\"",
        "\"\\\"\"", "\"]\\\\\"", "1",  "-2.50", "1e3",    "true",     "false",   "null",
        " ",        "\n",        "{}", "[1,2]", "\"c\":", "\"d\":5,", "\"e\":{", "\"f\":[\"}\"],"};
    size_t count = 1 + rng_below(rng, 12);
    buf_puts(b, "{");
    for (size_t i = 0; i < count; i++) {
        if (rng_below(rng, 3) > 0) {
            buf_printf(b, "%s\"k%zu\" : ", i > 0 ? "," : "", i);
        }
        buf_puts(b, pieces[rng_below(rng, ARRAY_LEN(pieces))]);
    }
    buf_puts(b, "}");
}

static bool is_same(json_t *value, struct slice text)
{
    char copy[64];
    (void)snprintf(copy, sizeof(copy), "%.*s", SLICE_ARG(text));
    switch (json_typeof(value)) {
    case JSON_STRING:
        return slice_is(text, json_string_value(value));
    case JSON_INTEGER:
        return strtoll(copy, NULL, 10) == json_integer_value(value);
    case JSON_REAL:
        return strtod(copy, NULL) == json_real_value(value);
    default:
        return strcmp(copy, json_is_true(value) ? "true" : "false") == 0;
    }
}

static void as_another_reader_does(void **state)
{
    (void)state;
    struct rng rng;
    size_t taken = 0;
    rng_seed(&rng, 20250429);
    for (int i = 0; i < 200000; i++) {
        struct buf b;
        struct params p;
        char error[PARAMS_ERROR_BYTES];
        buf_init(&b, 4096);
        make_random(&rng, &b);
        json_t *root = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL);
        bool good = signed_body_read(&p, buf_slice(&b), error);
        assert_int_equal(good, root != NULL);
        uint32_t at = 0;
        const char *key;
        json_t *value;
        json_object_foreach(root, key, value)
        {
            if (json_is_null(value) || json_is_object(value) || json_is_array(value)) {
                continue;
            }
            if (at >= p.count || !slice_is(p.at[at].name, key) || !is_same(value, p.at[at].value)) {
                fail_msg("%s of %s", key, buf_text(&b));
            }
            at++;
        }
        assert_true(!good || at == p.count);
        taken += good ? 1 : 0;
        json_decref(root);
        params_free(&p);
        buf_free(&b);
    }
    assert_true(taken > 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vector_is_taken),
        cmocka_unit_test(what_was_tampered_with_is_refused),
        cmocka_unit_test(nonces_are_of_now),
        cmocka_unit_test(headers_have_the_accounts_names),
        cmocka_unit_test(a_header_pair_needs_no_nonce),
        cmocka_unit_test(accounts_without_a_secret_have_no_access),
        cmocka_unit_test(unsigned_is_for_neighbours),
        cmocka_unit_test(accounts_that_sleep_are_proven_all_the_same),
        cmocka_unit_test(account_and_nonce_of_the_body_say_nothing),
        cmocka_unit_test(a_full_body_is_signed),
        cmocka_unit_test(scalars_are_taken_as_written),
        cmocka_unit_test(other_bodies_are_refused),
        cmocka_unit_test(bodies_are_bounded),
        cmocka_unit_test(as_another_reader_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
