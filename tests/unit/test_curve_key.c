/* CURVE keys as texts, and the file of a pair. */
#include "common/meaning/curve_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
/* behind the others */
#include <cmocka.h>
#include <zmq.h>

/* The example of RFC 32 is 8 bytes; four of them are a key. */
#define KEY_OK  "HelloWorldHelloWorldHelloWorldHelloWorld"
#define KEY_TOO "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"

static void keys_are_told_from_other_texts(void **state)
{
    (void)state;
    assert_true(curve_key_ok(SLICE(KEY_OK)));
    assert_true(curve_key_ok(SLICE(KEY_TOO)));
    assert_false(curve_key_ok(SLICE("")));
    assert_false(curve_key_ok(SLICE("HelloWorldHelloWorldHelloWorldHelloWorl")));
    assert_false(curve_key_ok(SLICE("HelloWorldHelloWorldHelloWorldHelloWorld0")));
    assert_false(curve_key_ok(SLICE("HelloWorldHelloWorldHelloWorldHelloWorl\"")));
    assert_false(curve_key_ok(SLICE("HelloWorldHelloWorldHelloWorldHelloWorl ")));
    assert_false(curve_key_ok(slice_make("HelloWorldHelloWorldHelloWorldHelloWorl\0", 40)));
    /* five digits may say more than 32 bits hold */
    assert_false(curve_key_ok(SLICE("#####00000000000000000000000000000000000")));
    assert_false(curve_key_ok(SLICE("%nSc100000000000000000000000000000000000")));
    assert_true(curve_key_ok(SLICE("%nSc000000000000000000000000000000000000")));
}

/* What ZeroMQ makes is a key, as often as one likes. */
static void keys_of_zeromq_are_keys(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct curve_pair pair;
        assert_int_equal(zmq_curve_keypair(pair.public_key, pair.secret_key), 0);
        assert_true(curve_key_ok(slice_of(pair.public_key)));
        assert_true(curve_key_ok(slice_of(pair.secret_key)));
    }
}

static void a_file_is_read_as_it_was_written(void **state)
{
    (void)state;
    char text[512], why[256];
    struct curve_pair pair = {.public_key = KEY_OK, .secret_key = KEY_TOO};
    struct curve_pair again;
    assert_true(curve_file_write(text, sizeof(text), &pair, "shop", "client", "2026-01-01"));
    assert_true(curve_file_parse(slice_of(text), &again, why));
    assert_string_equal(again.public_key, KEY_OK);
    assert_string_equal(again.secret_key, KEY_TOO);
    assert_false(curve_file_write(text, 100, &pair, "shop", "client", "2026-01-01"));
    curve_pair_wipe(&again);
    assert_string_equal(again.secret_key, "");
}

static void assert_wrong(const char *text, const char *reason)
{
    char why[256] = "";
    struct curve_pair pair;
    assert_false(curve_file_parse(slice_of(text), &pair, why));
    if (strstr(why, reason) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, reason);
    }
    assert_null(strstr(why, KEY_TOO)); /* it may be the secret one */
    assert_string_equal(pair.secret_key, "");
}

static void a_wrong_file_is_told_without_its_secret(void **state)
{
    (void)state;
    char why[256];
    struct curve_pair pair;
    assert_wrong("", "public_key is missing");
    assert_wrong("public_key: \"" KEY_OK "\"\n", "secret_key is missing");
    assert_wrong("secret_key: \"" KEY_TOO "\"\n", "public_key is missing");
    assert_wrong("public_key: \"" KEY_OK "\"\nsecret_key: " KEY_TOO "\n",
                 "line 2: secret_key must");
    assert_wrong("public_key: \"" KEY_OK "\"\nsecret_key: \"" KEY_TOO "0\"\n", "line 2");
    assert_wrong("secret_key: \"" KEY_TOO "\"\nsecret_key: \"" KEY_TOO "\"\n", "line 2: a second");
    assert_wrong("# a\n\npublic: \"" KEY_OK "\"\n", "line 3: public_key");
    assert_wrong(KEY_TOO, "line 1");
    assert_true(curve_file_parse(
        SLICE("secret_key:   '" KEY_TOO "'  \r\n# b\npublic_key: \"" KEY_OK "\""), &pair, why));
    assert_string_equal(pair.secret_key, KEY_TOO);
}

static void a_file_open_to_others_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/otpq-curve-XXXXXX", why[256];
    struct curve_pair pair;
    int fd = mkstemp(path);
    static const char text[] = "public_key: \"" KEY_OK "\"\nsecret_key: \"" KEY_TOO "\"\n";
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    assert_true(curve_file_read(path, &pair, why));
    assert_string_equal(pair.public_key, KEY_OK);
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_false(curve_file_read(path, &pair, why));
    assert_non_null(strstr(why, "is open to others"));
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    assert_false(curve_file_read(path, &pair, why));
    assert_non_null(strstr(why, "cannot be opened"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_told_from_other_texts),
        cmocka_unit_test(keys_of_zeromq_are_keys),
        cmocka_unit_test(a_file_is_read_as_it_was_written),
        cmocka_unit_test(a_wrong_file_is_told_without_its_secret),
        cmocka_unit_test(a_file_open_to_others_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
