/* The msgpack cursor: every form in both directions, and bytes that lie about themselves. */
#include "common/meaning/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define BYTES(...)                                                                                 \
    ((struct slice){(const char[]){__VA_ARGS__}, sizeof((const char[]){__VA_ARGS__})})
#define C(byte) ((char)(byte))

static void test_unsigned_widths(void **state)
{
    static const uint64_t values[] = {
        0,         1,         127,   128,        255,
        256,       65535,     65536, UINT32_MAX, (uint64_t)UINT32_MAX + 1,
        INT64_MAX, UINT64_MAX};
    static const size_t widths[] = {1, 1, 1, 2, 2, 3, 3, 5, 5, 9, 9, 9};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf b;
        uint64_t got = 1;
        buf_init(&b, 64);
        pack_put_uint(&b, values[i]);
        assert_int_equal(b.n, widths[i]);
        struct pack p = pack_over(buf_slice(&b));
        assert_true(pack_read_uint(&p, &got));
        assert_true(got == values[i]);
        assert_int_equal(pack_peek(&p), PACK_END);
        buf_free(&b);
    }
}

static void test_signed_widths(void **state)
{
    static const int64_t values[] = {0,         -1,
                                     -32,       -33,
                                     INT8_MIN,  INT8_MIN - 1,
                                     INT16_MIN, INT16_MIN - 1,
                                     INT32_MIN, (int64_t)INT32_MIN - 1,
                                     INT64_MIN, INT64_MAX,
                                     200};
    static const size_t widths[] = {1, 1, 1, 2, 2, 3, 3, 5, 5, 9, 9, 9, 2};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct buf b;
        int64_t got = 1;
        buf_init(&b, 64);
        pack_put_int(&b, values[i]);
        assert_int_equal(b.n, widths[i]);
        struct pack p = pack_over(buf_slice(&b));
        assert_true(pack_read_int(&p, &got));
        assert_true(got == values[i]);
        buf_free(&b);
    }
}

static void test_positive_in_signed_forms(void **state)
{
    (void)state;
    static const struct {
        struct slice bytes;
        uint64_t value;
    } rows[] = {
        {{"\xd0\x05", 2}, 5},
        {{"\xd1\x01\x00", 3}, 256},
        {{"\xd2\x00\x00\x00\x07", 5}, 7},
        {{"\xd3\x00\x00\x00\x00\x00\x00\x00\x09", 9}, 9},
        {{"\xcf\x00\x00\x00\x00\x00\x00\x00\x03", 9}, 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t got = 0;
        struct pack p = pack_over(rows[i].bytes);
        assert_true(pack_read_uint(&p, &got));
        assert_true(got == rows[i].value);
    }
}

static void test_strings(void **state)
{
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    static char text[65536];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf b;
        struct slice got;
        buf_init(&b, 70000);
        pack_put_str(&b, slice_make(text, sizes[i]));
        struct pack p = pack_over(buf_slice(&b));
        assert_int_equal(pack_peek(&p), PACK_STR);
        assert_true(pack_read_str(&p, &got));
        assert_int_equal(got.n, sizes[i]);
        p = pack_over(slice_make(b.p, b.n - 1)); /* one byte short */
        assert_false(sizes[i] > 0 && pack_read_str(&p, &got));
        buf_free(&b);
    }
    struct slice bin;
    struct pack p = pack_over(BYTES(C(0xc4), 2, 'h', 'i'));
    assert_true(pack_read_str(&p, &bin));
    assert_true(slice_is(bin, "hi"));
}

static void test_containers_and_the_rest(void **state)
{
    static const uint32_t counts[] = {0, 15, 16, 65535, 65536};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct buf b;
        uint32_t items = 1;
        uint32_t pairs = 1;
        buf_init(&b, 300000);
        pack_put_array(&b, counts[i]);
        for (uint32_t k = 0; k < counts[i]; k++) {
            pack_put_nil(&b);
        }
        struct pack p = pack_over(buf_slice(&b));
        assert_true(pack_read_array(&p, &items));
        assert_int_equal(items, counts[i]);
        buf_clear(&b);
        pack_put_map(&b, counts[i]);
        for (uint32_t k = 0; k < 2 * counts[i]; k++) {
            pack_put_bool(&b, k % 2 == 0);
        }
        p = pack_over(buf_slice(&b));
        assert_true(pack_read_map(&p, &pairs));
        assert_int_equal(pairs, counts[i]);
        bool truth = false;
        assert_true(pairs == 0 || (pack_read_bool(&p, &truth) && truth));
        buf_free(&b);
    }
}

/* Every kind that can be stepped over, in one array. */
static void test_skip_every_form(void **state)
{
    static const char all[] =
        "\xdc\x00\x16"
        "\xc0\xc2\xc3\x07\xff"
        "\xc4\x01z\xc5\x00\x01z\xc6\x00\x00\x00\x01z"
        "\xc7\x01\x05z\xc8\x00\x01\x05z\xc9\x00\x00\x00\x01\x05z"
        "\xca\0\0\0\0\xcb\0\0\0\0\0\0\0\0"
        "\xd4\x01z\xd5\x01zz\xd6\x01zzzz\xd7\x01zzzzzzzz\xd8\x01zzzzzzzzzzzzzzzz"
        "\xd9\x01z\xda\x00\x01z\xdb\x00\x00\x00\x01z"
        "\x81\xa1k\x91\x01";
    struct slice bytes = {all, sizeof(all) - 1};
    struct slice whole;
    (void)state;
    struct pack p = pack_over(bytes);
    assert_true(pack_skip(&p, &whole));
    assert_int_equal(whole.n, bytes.n);
    for (size_t n = 0; n < bytes.n; n++) {
        p = pack_over(slice_make(all, n));
        assert_false(pack_skip(&p, &whole));
        assert_non_null(p.error);
        assert_true(pack_offset(&p) <= n);
    }
}

static void test_liars(void **state)
{
    static const struct {
        const char *what;
        struct slice bytes;
    } rows[] = {
        {"array of 268 million in five bytes", {"\xdd\x10\x00\x00\x00", 5}},
        {"map of four billion", {"\xdf\xff\xff\xff\xff", 5}},
        {"string of four billion", {"\xdb\xff\xff\xff\xff", 5}},
        {"bin without its length", {"\xc6\x00\x00", 3}},
        {"ext of four billion", {"\xc9\xff\xff\xff\xff\x01", 6}},
        {"never used byte", {"\xc1", 1}},
        {"nothing", {"", 0}},
        {"nine deep", {"\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01", 10}},
        {"map without its value", {"\x81\xa1k", 3}},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice whole;
        uint32_t count;
        struct pack p = pack_over(rows[i].bytes);
        if (pack_skip(&p, &whole) || p.error == NULL) {
            fail_msg("%s was taken", rows[i].what);
        }
        p = pack_over(rows[i].bytes);
        if (rows[i].bytes.n == 5 && pack_peek(&p) == PACK_MAP) {
            assert_false(pack_read_map(&p, &count));
            assert_int_equal(pack_offset(&p), 0);
        }
    }
    struct slice whole;
    struct pack p = pack_over((struct slice){"\x91\x91\x91\x91\x91\x91\x91\x91\x01", 9});
    assert_true(pack_skip(&p, &whole)); /* eight deep is fine */
}

static void test_wrong_types_leave_the_cursor(void **state)
{
    struct slice s;
    uint64_t u;
    int64_t i;
    uint32_t n;
    bool b;
    (void)state;
    struct pack p = pack_over(BYTES(C(0xff), 1));
    assert_false(pack_read_uint(&p, &u));
    assert_false(pack_read_str(&p, &s));
    assert_false(pack_read_map(&p, &n));
    assert_false(pack_read_array(&p, &n));
    assert_false(pack_read_bool(&p, &b));
    assert_int_equal(pack_offset(&p), 0);
    assert_non_null(p.error);
    assert_true(pack_read_int(&p, &i));
    assert_int_equal(i, -1);
    p = pack_over((struct slice){"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9});
    assert_false(pack_read_int(&p, &i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unsigned_widths),
        cmocka_unit_test(test_signed_widths),
        cmocka_unit_test(test_positive_in_signed_forms),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_containers_and_the_rest),
        cmocka_unit_test(test_skip_every_form),
        cmocka_unit_test(test_liars),
        cmocka_unit_test(test_wrong_types_leave_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
