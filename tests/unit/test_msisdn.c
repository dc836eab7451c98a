#include "common/meaning/msisdn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void takes_what_people_type(void **state)
{
    (void)state;
    static const struct {
        const char *typed;
        const char *country_code;
        const char *digits; /* NULL: refused */
    } rows[] = {
        {"66812340000", NULL, "66812340000"},
        {"+66812340000", NULL, "66812340000"},
        {"0066812340000", NULL, "66812340000"},
        {"+66 81-234.0000", NULL, "66812340000"},
        {"(+66) 81 234 0000", NULL, "66812340000"},
        {"[66]812340000", NULL, "66812340000"},
        {"0812340000", "66", "66812340000"},
        {"0066812340000", "49", "66812340000"},
        {"66812340000", "66", "66812340000"},
        {"1234567", NULL, "1234567"},
        {"123456789012345", NULL, "123456789012345"},
        {"123456", NULL, NULL},
        {"1234567890123456", NULL, NULL},
        {"0812340000", NULL, NULL},
        {"0812340000", "", NULL},
        {"+0812340000", "66", NULL},
        {"000812340000", "66", NULL},
        {"01234567890123", "666", NULL},
        {"6681234000a", NULL, NULL},
        {"668123+40000", NULL, NULL},
        {"++66812340000", NULL, NULL},
        {"66812340000\n", NULL, NULL},
        {"６６812340000", NULL, NULL},
        {"", NULL, NULL},
        {"+", NULL, NULL},
        {"00", NULL, NULL},
        {"1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct msisdn m;
        const char *why = NULL;
        bool good = msisdn_parse(slice_of(rows[i].typed), rows[i].country_code, &m, &why);
        if (rows[i].digits == NULL) {
            assert_false(good);
            assert_non_null(why);
        } else {
            assert_true(good);
            assert_string_equal(m.digits, rows[i].digits);
        }
    }
    struct msisdn m;
    const char *why = NULL;
    assert_false(msisdn_parse(slice_make("66812340\0000", 12), NULL, &m, &why));
}

static void masks_all_but_the_ends(void **state)
{
    (void)state;
    assert_string_equal(msisdn_mask(slice_of("66812345678")).text, "668*****678");
    assert_string_equal(msisdn_mask(slice_of("1234567")).text, "123*567");
    assert_string_equal(msisdn_mask(slice_of("123456")).text, "******");
    assert_string_equal(msisdn_mask(slice_of("")).text, "");
    assert_string_equal(msisdn_mask(slice_of("12345678901234567890")).text, "123*********890");
}

static void cuts_the_country_code(void **state)
{
    (void)state;
    struct msisdn m = {"66812340000"};
    assert_true(slice_is(msisdn_national(slice_of(m.digits), "66"), "812340000"));
    assert_true(slice_is(msisdn_national(slice_of(m.digits), "49"), "66812340000"));
    assert_true(slice_is(msisdn_national(slice_of(m.digits), NULL), "66812340000"));
    assert_true(slice_is(msisdn_national(slice_of(m.digits), "66812340000"), "66812340000"));
}

static void tags_are_stable_and_spread(void **state)
{
    (void)state;
    unsigned seen[256] = {0};
    for (unsigned i = 0; i < 256 * 100; i++) {
        char digits[16];
        (void)snprintf(digits, sizeof(digits), "6681%07u", i);
        struct msisdn_tag tag = msisdn_tag(slice_of(digits));
        assert_string_equal(tag.text, msisdn_tag(slice_of(digits)).text);
        seen[strtoul(tag.text, NULL, 16)]++;
    }
    for (size_t i = 0; i < 256; i++) {
        assert_in_range(seen[i], 40, 180);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_people_type),
        cmocka_unit_test(masks_all_but_the_ends),
        cmocka_unit_test(cuts_the_country_code),
        cmocka_unit_test(tags_are_stable_and_spread),
    };
    return cmocka_run_group_tests_name("msisdn", tests, NULL, NULL);
}
