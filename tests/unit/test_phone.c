#include "common/meaning/phone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct phone look(const char *digits)
{
    struct phone p;
    memset(&p, 0x5a, sizeof(p));
    phone_look(slice_of(digits), &p);
    return p;
}

static struct phone_forms written(const char *digits)
{
    struct phone_forms f;
    memset(&f, 0x5a, sizeof(f));
    phone_write(slice_of(digits), &f);
    return f;
}

static void knows_kinds_of_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *digits;
        enum phone_type type;
        const char *country;
    } rows[] = {
        {"66812340000", PHONE_MOBILE, "TH"},   {"6622340000", PHONE_FIXED, "TH"},
        {"6285273203675", PHONE_MOBILE, "ID"}, {"4915123456789", PHONE_MOBILE, "DE"},
        {"493012345678", PHONE_FIXED, "DE"},   {"12015550123", PHONE_FIXED_OR_MOBILE, "US"},
        {"442079460000", PHONE_FIXED, "GB"},   {"447400123456", PHONE_MOBILE, "GB"},
        {"80012345678", PHONE_OTHER, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct phone p = look(rows[i].digits);
        assert_true(p.possible);
        assert_true(p.valid);
        assert_int_equal(p.type, rows[i].type);
        assert_string_equal(p.country, rows[i].country);
    }
}

static void writes_a_number_in_every_form(void **state)
{
    (void)state;
    struct phone_forms p = written("66812340000");
    assert_true(p.possible);
    assert_string_equal(p.national, "812340000");
    assert_string_equal(p.dialled, "0812340000");
    assert_string_equal(p.international, "+66 81 234 0000");
    p = written("+390612345678"); /* Italy keeps its zero */
    assert_string_equal(p.national, "0612345678");
    assert_string_equal(p.dialled, "0612345678");
    p = written("12015550123"); /* a trunk prefix that nobody dials stays away */
    assert_string_equal(p.national, "2015550123");
    assert_string_equal(p.dialled, "2015550123");
}

static void tells_possible_from_valid(void **state)
{
    (void)state;
    struct phone p = look("66112340000"); /* as long as a mobile number; no such range */
    assert_true(p.possible);
    assert_false(p.valid);
    assert_int_equal(p.type, PHONE_UNKNOWN);
    assert_string_equal(written("66112340000").national, "112340000");
    p = look("6681234");
    assert_false(p.possible);
    assert_false(p.valid);
}

static void takes_any_bytes(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "", "+", "0", "+66", "66812x40000", "000000000000000", "999", "++66812340000"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct phone p = look(rows[i]);
        assert_false(p.possible);
        assert_false(p.valid);
        assert_string_equal(p.country, "");
    }
    assert_string_equal(written("999123456789").dialled, "999123456789"); /* nobody's code */
    struct phone p = look("6681234000066812340000668123400006681234000066812340000");
    assert_false(p.possible);
    struct phone_forms f = written("6681234000066812340000668123400006681234000066812340000");
    assert_false(f.possible);
    assert_int_equal(strlen(f.national), sizeof(f.national) - 1);
    phone_look(slice_make(NULL, 0), &p);
    assert_false(p.possible);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_kinds_of_numbers),
        cmocka_unit_test(writes_a_number_in_every_form),
        cmocka_unit_test(tells_possible_from_valid),
        cmocka_unit_test(takes_any_bytes),
    };
    return cmocka_run_group_tests_name("phone", tests, NULL, NULL);
}
