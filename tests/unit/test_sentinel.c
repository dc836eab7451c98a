#include "common/adapters/store_sentinel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

static struct sentinel_word says(uint64_t epoch, const char *host)
{
    struct sentinel_word word = {.heard = true, .epoch = epoch, .primary = {.port = 6379}};
    (void)snprintf(word.primary.host, sizeof word.primary.host, "%s", host);
    return word;
}

static const struct sentinel_word silent;

static const char *believed(struct sentinel_word before, struct sentinel_word a,
                            struct sentinel_word b, struct sentinel_word c)
{
    static struct sentinel_word words[3];
    static struct sentinel_word was;
    was = before;
    words[0] = a;
    words[1] = b;
    words[2] = c;
    const struct sentinel_word *now = sentinels_judge(&was, words, 3);
    return now->heard ? now->primary.host : "none";
}

static void the_newest_configuration_counts(void **state)
{
    (void)state;
    assert_string_equal(believed(silent, silent, silent, silent), "none");
    assert_string_equal(believed(silent, silent, says(0, "a"), silent), "a");
    assert_string_equal(believed(silent, says(1, "a"), says(2, "b"), says(1, "a")), "b");
    assert_string_equal(believed(says(1, "a"), says(1, "a"), says(1, "a"), says(2, "b")), "b");
    assert_string_equal(believed(says(2, "b"), says(3, "a"), silent, silent), "a");
}

static void an_older_word_is_not_gone_back_to(void **state)
{
    (void)state;
    /* one that was away still names the primary of then */
    assert_string_equal(believed(says(2, "b"), says(1, "a"), silent, silent), "b");
    assert_string_equal(believed(says(2, "b"), says(1, "a"), says(2, "b"), says(1, "a")), "b");
    assert_string_equal(believed(says(2, "b"), silent, silent, silent), "b");
    /* most of them know of nothing newer: they were set up anew */
    assert_string_equal(believed(says(2, "b"), says(0, "a"), says(0, "a"), silent), "a");
}

static void two_ways_to_name_one_server_do_not_flap(void **state)
{
    (void)state;
    struct sentinel_word name = says(4, "redis-1.example");
    struct sentinel_word digits = says(4, "192.0.2.1");
    assert_string_equal(believed(name, digits, name, digits), "redis-1.example");
    assert_string_equal(believed(digits, digits, name, silent), "192.0.2.1");
    assert_string_equal(believed(name, says(4, "REDIS-1.example"), digits, silent),
                        "redis-1.example");
    /* nobody says it that way any more */
    assert_string_equal(believed(name, digits, silent, digits), "192.0.2.1");
    /* another port is another server */
    struct sentinel_word other = says(4, "192.0.2.1");
    other.primary.port = 6380;
    assert_int_equal(sentinels_judge(&digits, &other, 1)->primary.port, 6380);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_configuration_counts),
        cmocka_unit_test(an_older_word_is_not_gone_back_to),
        cmocka_unit_test(two_ways_to_name_one_server_do_not_flap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
