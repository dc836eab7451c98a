/* gateway/logins: who is let in, what is remembered, and how many wrong passwords cost a hash. */
#include "gateway/logins.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "gateway/intake.h"
#include "tests/unit/gateway_fixture.h"

static struct logins *logins;
static struct records *records;
static const struct account *found;

static enum login try(const char *name, const char *password, int64_t now_ms)
{
    return logins_check(logins, records, slice_of(name), slice_of(password), now_ms, &found);
}

static int begin(void **state)
{
    (void)state;
    logins = logins_new();
    records = gateway_records();
    return 0;
}

static int end(void **state)
{
    (void)state;
    logins_destroy(&logins);
    logins_destroy(&logins);
    records_unref(&records);
    return 0;
}

static void lets_in_who_has_the_password(void **state)
{
    (void)state;
    assert_int_equal(try("demo", "demo-pass", 0), LOGIN_GOOD);
    assert_string_equal(found->name, "demo");
    assert_int_equal(try("inactive", "demo-pass", 0), LOGIN_GOOD);
    assert_false(found->active);
}

static void nobody_else(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {{"demo", "demo-pasS"},    {"demo", ""},
                                           {"nobody", "demo-pass"},  {"keyless", ""},
                                           {"keyless", "demo-pass"}, {"", "demo-pass"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(try(wrong[i][0], wrong[i][1], (int64_t)i * 1000), LOGIN_WRONG);
        assert_null(found);
    }
}

static void wrong_ones_have_a_ceiling_for_a_name(void **state)
{
    (void)state;
    assert_int_equal(try("demo", "demo-pass", 0), LOGIN_GOOD);
    for (int i = 0; i < LOGINS_WRONG_NAME_S; i++) {
        assert_int_equal(try("demo", "wrong", 999), LOGIN_WRONG);
    }
    assert_int_equal(try("demo", "wrong", 999), LOGIN_TOO_MANY);
    assert_int_equal(try("demo", "wrong too", 999), LOGIN_TOO_MANY);
    assert_int_equal(try("demo", "demo-pass", 999), LOGIN_GOOD); /* remembered */
    assert_int_equal(try("demo", "wrong", 1000), LOGIN_WRONG);
}

static void and_for_all_names(void **state)
{
    (void)state;
    char name[32];
    int looked_at = 0;
    assert_int_equal(try("demo", "demo-pass", 0), LOGIN_GOOD);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof(name), "nobody%d", i);
        looked_at += try(name, "wrong", 500) == LOGIN_WRONG ? 1 : 0;
    }
    assert_int_equal(looked_at, LOGINS_WRONG_MAX_S);
    assert_int_equal(try("quiet", "demo-pass", 500), LOGIN_TOO_MANY); /* not seen before */
    assert_int_equal(try("demo", "demo-pass", 500), LOGIN_GOOD);
    assert_int_equal(try("quiet", "demo-pass", 1500), LOGIN_GOOD);
}

/* A remembered password must not outlive its account, its hash, or stand for another name. */
static void what_is_remembered_is_of_one_hash(void **state)
{
    (void)state;
    assert_int_equal(try("demo", "demo-pass", 0), LOGIN_GOOD);
    assert_int_equal(try("quiet", "other", 0), LOGIN_WRONG);
    struct account *demo = map_get(records->accounts, SLICE("demo"));
    demo->password_hash[strlen(demo->password_hash) - 1] ^= 1;
    assert_int_equal(try("demo", "demo-pass", 0), LOGIN_WRONG);
    demo->password_hash[strlen(demo->password_hash) - 1] ^= 1;
    assert_int_equal(try("demo", "demo-pass", 0), LOGIN_GOOD);
    record_destroy(RECORD_ACCOUNT, map_remove(records->accounts, SLICE("demo")));
    assert_int_equal(try("demo", "demo-pass", 0), LOGIN_WRONG);
    assert_null(found);
}

static struct slice no_header(void *context UNUSED, const char *name UNUSED)
{
    return slice_make(NULL, 0);
}

/* The answer to /send of system 3; the texts are those of its body that matter. */
static void send_says(const char *password, int64_t now_ms, const char *code, const char *msg)
{
    struct intake p;
    char query[128];
    char wanted[64];
    (void)snprintf(query, sizeof(query), "msisdn=66812340000&username=demo&password=%s", password);
    const struct intake_input in = {.method = SLICE("GET"),
                                    .path = SLICE("/send"),
                                    .query = slice_of(query),
                                    .caller.ip = SLICE("192.0.2.7"),
                                    .header = no_header,
                                    .public_url = "http://127.0.0.1",
                                    .mono_ms = now_ms,
                                    .logins = logins};
    intake_make(&p, records, &in);
    assert_int_equal(p.kind, INTAKE_ANSWER);
    (void)snprintf(wanted, sizeof(wanted), "\"CODE\":\"%s\"", code);
    assert_non_null(strstr(buf_text(&p.answer.body), wanted));
    assert_non_null(strstr(buf_text(&p.answer.body), msg));
    assert_int_equal(p.answer.retry_after_s, strcmp(code, "401") == 0 ? 0 : 1);
    intake_free(&p);
}

/* Who is told that a right password is wrong gives up. */
static void a_password_that_was_not_looked_at_is_not_called_wrong(void **state)
{
    (void)state;
    for (int i = 0; i < LOGINS_WRONG_NAME_S; i++) {
        send_says("wrong", 500, "401", "invalid_user_credentials: ");
    }
    send_says("demo-pass", 500, "500", "rate_limited: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lets_in_who_has_the_password, begin, end),
        cmocka_unit_test_setup_teardown(nobody_else, begin, end),
        cmocka_unit_test_setup_teardown(wrong_ones_have_a_ceiling_for_a_name, begin, end),
        cmocka_unit_test_setup_teardown(and_for_all_names, begin, end),
        cmocka_unit_test_setup_teardown(what_is_remembered_is_of_one_hash, begin, end),
        cmocka_unit_test_setup_teardown(a_password_that_was_not_looked_at_is_not_called_wrong,
                                        begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
