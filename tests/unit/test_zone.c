#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/meaning/zone.h"

static void both_ways(const char *zone, const char *there, const char *utc)
{
    char out[ZONE_TIME_BYTES];
    assert_true(zone_to_utc(slice_of(zone), slice_of(there), out));
    assert_string_equal(out, utc);
    assert_true(zone_from_utc(slice_of(zone), slice_of(utc), out));
    assert_string_equal(out, there);
}

static void zones(void **state)
{
    (void)state;
    both_ways("UTC", "2025-04-29 17:47:00", "2025-04-29 17:47:00");
    both_ways("Asia/Bangkok", "2025-04-29 17:47:00", "2025-04-29 10:47:00");
    both_ways("Asia/Kolkata", "2025-01-01 00:00:00", "2024-12-31 18:30:00");
    both_ways("America/New_York", "2025-03-09 03:00:00", "2025-03-09 07:00:00");
    both_ways("America/New_York", "2025-01-09 03:00:00", "2025-01-09 08:00:00");
    both_ways("GMT+7", "2024-02-29 23:59:59", "2024-02-29 16:59:59");
}

/* 02:30 was left out that night; 01:30 was there twice in November. */
static void changes_of_summer_time(void **state)
{
    (void)state;
    char out[ZONE_TIME_BYTES];
    struct slice zone = SLICE("America/New_York");
    assert_true(zone_to_utc(zone, SLICE("2025-03-09 02:30:00"), out));
    assert_string_equal(out, "2025-03-09 07:30:00");
    assert_true(zone_to_utc(zone, SLICE("2025-11-02 01:30:00"), out));
    assert_string_equal(out, "2025-11-02 06:30:00");
}

static void not_times(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2025-04-29",
        "2025-04-29T17:47:00",
        "2025-04-29 17:47:0",
        "2025-04-29 17:47:000",
        "2025-04-29 17:47:60",
        "2025-04-29 24:00:00",
        "2025-13-01 00:00:00",
        "2025-00-01 00:00:00",
        "2025-02-29 00:00:00",
        "2025-04-31 00:00:00",
        "1969-12-31 23:59:59",
        "2025-04-29 +7:47:00",
        "2025/04/29 17:47:00",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[ZONE_TIME_BYTES] = "x";
        assert_false(zone_to_utc(SLICE("UTC"), slice_of(bad[i]), out));
        assert_string_equal(out, "");
        assert_false(zone_from_utc(SLICE("Asia/Bangkok"), slice_of(bad[i]), out));
    }
}

static void before_1970(void **state)
{
    (void)state;
    char out[ZONE_TIME_BYTES];
    assert_false(zone_to_utc(SLICE("Asia/Bangkok"), SLICE("1970-01-01 01:00:00"), out));
    assert_false(zone_from_utc(SLICE("America/New_York"), SLICE("1970-01-01 01:00:00"), out));
}

static void known(void **state)
{
    (void)state;
    assert_true(zone_known(SLICE("UTC")));
    assert_true(zone_known(SLICE("Asia/Bangkok")));
    assert_false(zone_known(SLICE("Asia/Bangkog")));
    assert_false(zone_known(SLICE("Asia/ Bangkok")));
    assert_false(zone_known(slice_of("")));
    char out[ZONE_TIME_BYTES];
    assert_false(zone_to_utc(SLICE("Nowhere/City"), SLICE("2025-04-29 17:47:00"), out));
    assert_false(zone_from_utc(SLICE("Nowhere/City"), SLICE("2025-04-29 17:47:00"), out));
}

static void milliseconds(void **state)
{
    (void)state;
    char out[ZONE_TIME_BYTES];
    zone_utc_text(1745948820999, out);
    assert_string_equal(out, "2025-04-29 17:47:00");
    uint64_t ms = 0;
    assert_true(zone_utc_ms(slice_of(out), &ms));
    assert_true(ms == 1745948820000);
    assert_false(zone_utc_ms(SLICE("today"), &ms));
    zone_utc_text(UINT64_MAX, out);
    assert_string_equal(out, "9999-12-31 23:59:59");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones),     cmocka_unit_test(changes_of_summer_time),
        cmocka_unit_test(not_times), cmocka_unit_test(before_1970),
        cmocka_unit_test(known),     cmocka_unit_test(milliseconds),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
