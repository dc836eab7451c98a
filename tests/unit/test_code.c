#include "common/meaning/code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { CODES = 1000000, CELLS = 10 };

/* χ² over each of the 4 places of a 4-digit code, and over pairs of neighbours. 10^6 codes. The
 * limits are beyond the quantiles for 9 and 99 degrees of freedom (69 and 217) that a right
 * generator misses once in 10^10 runs each. */
static void codes_are_uniform(void **state)
{
    (void)state;
    static unsigned single[4][CELLS];
    static unsigned pair[3][CELLS * CELLS];
    for (int i = 0; i < CODES; i++) {
        char code[5];
        code_make(code, 4);
        for (int at = 0; at < 4; at++) {
            single[at][code[at] - '0']++;
        }
        for (int at = 0; at < 3; at++) {
            pair[at][(code[at] - '0') * CELLS + code[at + 1] - '0']++;
        }
    }
    for (int at = 0; at < 4; at++) {
        double sum = 0;
        for (int i = 0; i < CELLS; i++) {
            double off = single[at][i] - CODES / 10.0;
            sum += off * off / (CODES / 10.0);
        }
        assert_true(sum < 75.0);
    }
    for (int at = 0; at < 3; at++) {
        double sum = 0;
        for (int i = 0; i < CELLS * CELLS; i++) {
            double off = pair[at][i] - CODES / 100.0;
            sum += off * off / (CODES / 100.0);
        }
        assert_true(sum < 225.0);
    }
}

static void codes_have_their_length(void **state)
{
    (void)state;
    for (int digits = CODE_DIGITS_MIN; digits <= CODE_DIGITS_MAX; digits++) {
        char code[CODE_DIGITS_MAX + 1];
        code_make(code, digits);
        assert_int_equal(strlen(code), digits);
        assert_int_equal(strspn(code, "0123456789"), digits);
    }
}

static void mac_is_hmac_sha256(void **state)
{
    (void)state;
    char mac[CODE_MAC_HEX + 1];
    /* RFC 4231, test case 1: 20 bytes 0x0b, "Hi There" */
    char key[20];
    memset(key, 0x0b, sizeof(key));
    static const char wanted[] = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
    code_mac(slice_make(key, sizeof(key)), SLICE("Hi "), SLICE("There"), mac);
    assert_string_equal(mac, wanted);
    code_mac(slice_make(key, sizeof(key)), slice_of(NULL), SLICE("Hi There"), mac);
    assert_string_equal(mac, wanted);
    code_mac(slice_make(key, sizeof(key)), SLICE("Hi "), SLICE("there"), mac);
    assert_string_not_equal(mac, wanted);
    code_mac(slice_make(key, sizeof(key)), slice_of(NULL), slice_of(NULL), mac);
    assert_int_equal(strlen(mac), CODE_MAC_HEX);
}

static void request_ids_carry_their_tag(void **state)
{
    (void)state;
    static const size_t lengths[JOB_ID_FORMS] = {
        [JOB_ID_TEXT] = 23, [JOB_ID_NUMBER] = 0, [JOB_ID_TOKEN] = 32};
    char id[CODE_REQUEST_ID_MAX];
    char other[CODE_REQUEST_ID_MAX];
    char wanted[3];
    char tag[3];
    for (int form = 0; form < JOB_ID_FORMS; form++) {
        for (unsigned i = 0; i < 256; i++) {
            (void)snprintf(wanted, sizeof wanted, "%02x", i);
            code_request_id(wanted, (enum job_id_form)form, id);
            code_request_id(wanted, (enum job_id_form)form, other);
            assert_string_not_equal(id, other);
            assert_true(lengths[form] == 0 || strlen(id) == lengths[form]);
            assert_true(code_request_tag(slice_of(id), tag));
            assert_string_equal(tag, wanted);
        }
    }
}

/* Customers read it as a JSON number, in languages that have only doubles. */
static void numbers_stay_below_two_to_the_53rd(void **state)
{
    (void)state;
    char id[CODE_REQUEST_ID_MAX];
    unsigned long long highest = 0;
    for (int i = 0; i < 10000; i++) {
        code_request_id("ff", JOB_ID_NUMBER, id);
        unsigned long long n = strtoull(id, NULL, 10);
        assert_true(n < 1ULL << 53 && n > 255);
        assert_true(id[0] != '0');
        highest = n > highest ? n : highest;
    }
    assert_true(highest > 1ULL << 52); /* fails by chance once in 2^10000 */
}

static void foreign_request_ids_have_no_tag(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "r",
        "ra7",
        "xa7aaaaaaaaaaaaaaaaaaaa",
        "rg7aaaaaaaaaaaaaaaaaaaa",
        "rA7aaaaaaaaaaaaaaaaaaaa",
        "ra7aaaaaaaaaaaaaaaaaaa",
        "ra7aaaaaaaaaaaaaaaaaaaaa",
        "ra7aaaaaaaaaaaaaaaaaaa1",
        "ra7aaaaaaaaaaaaaaaaaaa}",
        "0",
        "255",     /* nothing random in it */
        "0912345", /* a number has no leading zero */
        "-12345",
        "9007199254740992", /* 2^53 */
        "12345678901234567",
        "200e96b6a8bf8ed8c3de194cf14b342",
        "200e96b6a8bf8ed8c3de194cf14b342ff",
        "200E96b6a8bf8ed8c3de194cf14b342f",
        "200g96b6a8bf8ed8c3de194cf14b342f",
    };
    char tag[3];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(code_request_tag(slice_of(bad[i]), tag));
    }
    assert_true(code_request_tag(SLICE("9007199254740991"), tag));
    assert_string_equal(tag, "ff");
    assert_true(code_request_tag(SLICE("256"), tag));
    assert_string_equal(tag, "00");
    assert_true(code_request_tag(SLICE("200e96b6a8bf8ed8c3de194cf14b342f"), tag));
    assert_string_equal(tag, "20");
}

#define PEPPER "0123456789abcdef"

static void what_is_sealed_opens_for_its_request_alone(void **state)
{
    (void)state;
    char sealed[CODE_SEALED_HEX + 1];
    char again[CODE_SEALED_HEX + 1];
    char out[CODE_DIGITS_MAX + 1];
    code_seal(SLICE(PEPPER), SLICE("r1"), SLICE("3872"), sealed);
    code_seal(SLICE(PEPPER), SLICE("r1"), SLICE("3872"), again);
    assert_string_not_equal(sealed, again);
    assert_null(strstr(sealed, "33383732"));
    assert_true(code_open(SLICE(PEPPER), SLICE("r1"), slice_of(sealed), out));
    assert_string_equal(out, "3872");
    assert_false(code_open(SLICE(PEPPER), SLICE("r2"), slice_of(sealed), out));
    assert_string_equal(out, "");
    assert_false(code_open(SLICE("0123456789abcdeX"), SLICE("r1"), slice_of(sealed), out));
    code_seal(SLICE(PEPPER), SLICE("r1"), SLICE("0123456789"), sealed);
    assert_int_equal(strlen(sealed), CODE_SEALED_HEX);
    assert_true(code_open(SLICE(PEPPER), SLICE("r1"), slice_of(sealed), out));
    assert_string_equal(out, "0123456789");
}

static void what_was_never_sealed_does_not_open(void **state)
{
    (void)state;
    char sealed[CODE_SEALED_HEX + 1];
    char out[CODE_DIGITS_MAX + 1];
    code_seal(SLICE(PEPPER), SLICE("r1"), SLICE("123456"), sealed);
    size_t n = strlen(sealed);
    for (size_t cut = 0; cut < n; cut++) {
        assert_false(code_open(SLICE(PEPPER), SLICE("r1"), slice_make(sealed, cut), out));
    }
    for (size_t i = 0; i < n; i++) {
        char was = sealed[i];
        sealed[i] = was == '0' ? '1' : '0';
        assert_false(code_open(SLICE(PEPPER), SLICE("r1"), slice_make(sealed, n), out));
        sealed[i] = 'x';
        assert_false(code_open(SLICE(PEPPER), SLICE("r1"), slice_make(sealed, n), out));
        sealed[i] = was;
    }
    char long_one[2 * CODE_SEALED_HEX];
    memset(long_one, 'a', sizeof long_one);
    assert_false(code_open(SLICE(PEPPER), SLICE("r1"), slice_make(long_one, sizeof long_one), out));
}

static void lane_macs_tell_lanes_and_codes_apart(void **state)
{
    (void)state;
    char a[CODE_LANE_MAC_HEX + 1];
    char b[CODE_LANE_MAC_HEX + 1];
    code_lane_mac(SLICE(PEPPER), SLICE("flash:1"), SLICE("1234"), a);
    assert_int_equal(strlen(a), CODE_LANE_MAC_HEX);
    code_lane_mac(SLICE(PEPPER), SLICE("flash:1"), SLICE("1235"), b);
    assert_string_not_equal(a, b);
    code_lane_mac(SLICE(PEPPER), SLICE("flash:11"), SLICE("234"), b);
    assert_string_not_equal(a, b);
    code_lane_mac(SLICE(PEPPER), SLICE("flash:1"), SLICE("1234"), b);
    assert_string_equal(a, b);
}

/* Over 10^6 codes of 6 digits in 10,000 cells: the sum is distributed with mean 9,999 and standard
 * deviation 141.4. The bound is 9 deviations off: chance alone is above it less than once in 10^9
 * runs (the tail of the distribution at 11,272 is below 10^-17). */
static void a_million_codes_are_uniform(void **state)
{
    (void)state;
    enum { GROUPS = 10000 };
    static unsigned cells[GROUPS], first[10], last[10];
    char code[CODE_DIGITS_MAX + 1];
    for (int i = 0; i < CODES; i++) {
        code_make(code, 6);
        cells[strtoul(code, NULL, 10) % GROUPS]++;
        first[code[0] - '0']++;
        last[code[5] - '0']++;
    }
    double sum = 0;
    for (int i = 0; i < GROUPS; i++) {
        double off = (double)cells[i] - (double)CODES / GROUPS;
        sum += off * off / ((double)CODES / GROUPS);
    }
    assert_true(sum < GROUPS - 1 + 9 * 141.4);
    for (int i = 0; i < 10; i++) { /* standard deviation 300 */
        assert_in_range(first[i], 100000 - 2400, 100000 + 2400);
        assert_in_range(last[i], 100000 - 2400, 100000 + 2400);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_uniform),
        cmocka_unit_test(codes_have_their_length),
        cmocka_unit_test(mac_is_hmac_sha256),
        cmocka_unit_test(a_million_codes_are_uniform),
        cmocka_unit_test(request_ids_carry_their_tag),
        cmocka_unit_test(numbers_stay_below_two_to_the_53rd),
        cmocka_unit_test(foreign_request_ids_have_no_tag),
        cmocka_unit_test(what_is_sealed_opens_for_its_request_alone),
        cmocka_unit_test(what_was_never_sealed_does_not_open),
        cmocka_unit_test(lane_macs_tell_lanes_and_codes_apart),
    };
    return cmocka_run_group_tests_name("code", tests, NULL, NULL);
}
