#include "common/meaning/redis_slot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The check value of the algorithm, as the cluster specification has it. */
static void test_crc(void **state UNUSED)
{
    assert_int_equal(redis_crc16(SLICE("123456789")), 0x31C3);
    assert_int_equal(redis_crc16(SLICE("")), 0);
    assert_int_equal(redis_crc16(slice_make("\xff\x00\x80", 3)), 0x5EEB);
}

/* What CLUSTER KEYSLOT of Redis 7.0 answers. */
static void test_slots(void **state UNUSED)
{
    static const struct {
        struct slice key;
        int slot;
    } rows[] = {
        {SLICE("123456789"), 12739},
        {SLICE("foo"), 12182},
        {SLICE("bar"), 5061},
        {SLICE(""), 0},
        {SLICE("{}x"), 10595},
        {SLICE("a{b}{c}"), 3300},
        {SLICE("x{"), 3596},
        {SLICE("x}{y}"), 12222},
        {SLICE("{3f"), 13407},
        {SLICE("{user1000}.following"), 3443},
        {SLICE("foo{{bar}}zap"), 4015},
        {SLICE("foo{}{bar}"), 8363},
        {SLICE("{rec}"), 7794},
        {SLICE("otpq:j:{3f}:job-1"), 7334},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(redis_slot(rows[i].key), rows[i].slot);
    }
    assert_int_equal(redis_slot(slice_make(NULL, 0)), 0);
}

static void test_tags(void **state UNUSED)
{
    assert_true(slice_is(redis_hash_tag(SLICE("otpq:s:{3f}:r3fabc")), "3f"));
    assert_true(slice_is(redis_hash_tag(SLICE("foo{{bar}}zap")), "{bar"));
    assert_true(slice_is(redis_hash_tag(SLICE("foo{}{bar}")), "foo{}{bar}"));
    assert_int_equal(redis_slot(SLICE("otpq:s:{3f}:r3fabc")), redis_slot(SLICE("otpq:ev:{3f}")));
}

static void test_redirects(void **state UNUSED)
{
    struct redis_redirect r;
    assert_true(redis_redirect_read(SLICE("MOVED 3999 127.0.0.1:6381"), &r));
    assert_false(r.ask);
    assert_int_equal(r.slot, 3999);
    assert_string_equal(r.to.host, "127.0.0.1");
    assert_int_equal(r.to.port, 6381);
    assert_true(redis_redirect_read(SLICE("ASK 16383 ::1:7000"), &r));
    assert_true(r.ask);
    assert_string_equal(r.to.host, "::1");
    assert_int_equal(r.to.port, 7000);
    assert_true(redis_redirect_read(SLICE("MOVED 0 :7000"), &r));
    assert_string_equal(r.to.host, "");
    static const char *const none[] = {
        "",
        "MOVED",
        "MOVED 1",
        "MOVED 16384 a:1",
        "MOVED -1 a:1",
        "MOVED x a:1",
        "MOVED 1 a",
        "MOVED 1 a:0",
        "MOVED 1 a:65536",
        "MOVED 1 a:",
        "MOVED  1 a:1",
        "ASKED 1 a:1",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "ERR MOVED 1 a:1",
    };
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        assert_false(redis_redirect_read(slice_of(none[i]), &r));
    }
    char far[400] = "MOVED 1 ";
    memset(far + 8, 'a', 300);
    memcpy(far + 308, ":1", 3);
    assert_false(redis_redirect_read(slice_of(far), &r));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_redirects),
    };
    return cmocka_run_group_tests_name("redis_slot", tests, NULL, NULL);
}
