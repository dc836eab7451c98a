#include "common/meaning/password.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* As `openssl passwd -6 -salt saltsalt demo-pass` and `mkpasswd -m yescrypt` print them. */
static const char sha512[] = "$6$saltsalt$1iTfGOdGeE9gEpX4aROMC/"
                             "835OHPIt.theUPlCg55BZ8j60Mecx1lmwruyp2vNHoM6X3vYpYTYRDN7XcoMPwZ0";
static const char yescrypt[] = "$y$j9T$abcdefgh$pxqWn0Nr.7wBn2LvFo5/p16gIoNDMR9JUQQIvkhJxS4";

static void knows_hashes_of_other_tools(void **state)
{
    (void)state;
    assert_true(password_matches(slice_of("demo-pass"), sha512));
    assert_false(password_matches(slice_of("demo-pasS"), sha512));
    assert_false(password_matches(slice_of("demo-pass "), sha512));
    assert_true(password_matches(slice_of("demo-pass"), yescrypt));
    assert_false(password_matches(slice_of("demo-pas"), yescrypt));
}

static void makes_hashes_that_match(void **state)
{
    (void)state;
    char one[PASSWORD_HASH_BYTES];
    char two[PASSWORD_HASH_BYTES];
    assert_true(password_hash(slice_of("s3cret \xc3\xa4"), one));
    assert_true(password_hash(slice_of("s3cret \xc3\xa4"), two));
    assert_string_not_equal(one, two); /* the salt is random */
    assert_int_equal(strncmp(one, "$6$", 3), 0);
    assert_true(password_hash_is_whole(one));
    assert_true(password_matches(slice_of("s3cret \xc3\xa4"), one));
    assert_false(password_matches(slice_of("s3cret a"), one));
}

static void bounds_what_it_is_given(void **state)
{
    (void)state;
    char hash[PASSWORD_HASH_BYTES];
    char longest[PASSWORD_BYTES_MAX + 1];
    memset(longest, 'x', sizeof(longest));
    assert_true(password_hash(slice_make(longest, PASSWORD_BYTES_MAX), hash));
    assert_true(password_matches(slice_make(longest, PASSWORD_BYTES_MAX), hash));
    assert_false(password_matches(slice_make(longest, PASSWORD_BYTES_MAX + 1), hash));
    assert_false(password_hash(slice_make(longest, PASSWORD_BYTES_MAX + 1), hash));
    assert_false(password_hash(slice_of(""), hash));
    assert_false(password_hash(slice_make("a\0b", 3), hash));
    assert_false(password_matches(slice_make("demo-pass\0", 10), sha512));
    assert_false(password_matches(slice_of(""), sha512));
    assert_false(password_matches(slice_of("demo-pass"), ""));
    assert_false(password_matches(slice_of(""), ""));
    assert_false(password_matches(slice_of("none"), ""));
    assert_false(password_matches(slice_of("demo-pass"), "demo-pass"));
    assert_false(password_matches(slice_of("demo-pass"), "*0"));
}

static void tells_a_hash_from_other_texts(void **state)
{
    (void)state;
    assert_true(password_hash_is_whole(sha512));
    assert_true(password_hash_is_whole(yescrypt));
    static const char *const rows[] = {"",
                                       "demo-pass",
                                       "$1$saltsalt$",
                                       "$6$",
                                       "$6$salt",
                                       "$6$salt$",
                                       "$6$salt$short",
                                       "$6$rounds=5000$salt$short",
                                       "$y$j9T$salt$short",
                                       "$y$$salt$x",
                                       "$6$$$"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_false(password_hash_is_whole(rows[i]));
    }
    char text[256];
    (void)snprintf(text, sizeof(text), "%sx", sha512);
    assert_false(password_hash_is_whole(text));
    (void)snprintf(text, sizeof(text), "$6$saltsaltsaltsalt%s", sha512 + 11);
    assert_true(password_hash_is_whole(text));
    (void)snprintf(text, sizeof(text), "$6$saltsaltsaltsalts%s", sha512 + 11); /* crypt cuts it */
    assert_false(password_hash_is_whole(text));
}

/* A hash says what a check of it costs, and whoever wrote it may not say anything. */
static void bounds_what_a_check_costs(void **state)
{
    (void)state;
    static const struct {
        const char *cost;
        bool good;
    } rows[] = {
        {"$6$rounds=1000", true},
        {"$6$rounds=100000", true},
        {"$6$rounds=100001", false},
        {"$6$rounds=999999999", false},
        {"$6$rounds=999", false},
        {"$6$rounds=01000", false},
        {"$6$rounds=", false},
        {"$6$rounds=5000x", false},
        {"$6$rounds=-1", false},
        {"$y$j7T", true},
        {"$y$j8T", true},
        {"$y$j9T", true},
        {"$y$jAT", false},
        {"$y$jFT", false},
        {"$y$j9T0", false},
        {"$y$j95", false},
        {"$7$CU..../....", false},
        {"$gy$j9T", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[256];
        const char *rest = rows[i].cost[1] == 'y' ? yescrypt + 6 : sha512 + 2;
        (void)snprintf(text, sizeof(text), "%s%s", rows[i].cost, rest);
        if (password_hash_is_whole(text) != rows[i].good) {
            fail_msg("%s", text);
        }
    }
}

/* What an older otpq took into the store is refused in the time of any other. */
static void a_costly_hash_is_nobodys(void **state)
{
    (void)state;
    char text[256];
    (void)snprintf(text, sizeof(text), "$6$rounds=999999999%s", sha512 + 2);
    assert_false(password_matches(slice_of("demo-pass"), text));
    (void)snprintf(text, sizeof(text), "$y$jFT%s", yescrypt + 6);
    assert_false(password_matches(slice_of("demo-pass"), text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_hashes_of_other_tools),
        cmocka_unit_test(makes_hashes_that_match),
        cmocka_unit_test(bounds_what_it_is_given),
        cmocka_unit_test(tells_a_hash_from_other_texts),
        cmocka_unit_test(bounds_what_a_check_costs),
        cmocka_unit_test(a_costly_hash_is_nobodys),
    };
    return cmocka_run_group_tests_name("password", tests, NULL, NULL);
}
