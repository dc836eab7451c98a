#include "common/meaning/code.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { CODES = 1000000, CELLS = 10 };

/* χ² over each of the 4 places of a 4-digit code, and over pairs of neighbours. 10^6 codes. The
 * limits are the 0.9999999 quantiles for 9 and 99 degrees of freedom: a right generator misses one
 * of the 7 about once in a million runs. */
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
        assert_true(sum < 50.0);
    }
    for (int at = 0; at < 3; at++) {
        double sum = 0;
        for (int i = 0; i < CELLS * CELLS; i++) {
            double off = pair[at][i] - CODES / 100.0;
            sum += off * off / (CODES / 100.0);
        }
        assert_true(sum < 190.0);
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
    char id[24];
    char other[24];
    char tag[3];
    code_request_id("a7", id);
    code_request_id("a7", other);
    assert_string_not_equal(id, other);
    assert_int_equal(strlen(id), 23);
    assert_true(code_request_tag(slice_of(id), tag));
    assert_string_equal(tag, "a7");
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
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(code_request_tag(slice_of(bad[i]), tag));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_uniform),
        cmocka_unit_test(codes_have_their_length),
        cmocka_unit_test(mac_is_hmac_sha256),
        cmocka_unit_test(request_ids_carry_their_tag),
    };
    return cmocka_run_group_tests_name("code", tests, NULL, NULL);
}
