/* clients/otpq/sandbox_numbers and sandbox_inbox: the table and the memory of the sandbox. */
#include "clients/otpq/sandbox_inbox.h"
#include "clients/otpq/sandbox_numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/asset.h"

ASSET(sandbox_page, "docs/sandbox.md");

static const struct sandbox_number *row(const char *digits)
{
    return sandbox_number_find(slice_of(digits));
}

static void numbers_are_told_by_their_last_four_digits(void **state)
{
    (void)state;
    assert_null(row("66812340000"));
    assert_null(row("66812348999"));
    assert_null(row("123"));
    assert_string_equal(row("66812349000")->error, "wrong_number");
    assert_string_equal(row("9005")->error, "fraud");
    assert_int_equal(row("19011")->way, SANDBOX_HANGS);
    assert_int_equal(row("19104")->side, SANDBOX_VERIFY);
    assert_ptr_equal(row("19999"), row("19000"));
    assert_ptr_equal(row("19006"), row("19000"));
}

static void the_table_is_in_order_and_documented(void **state)
{
    (void)state;
    struct buf text;
    char last4[8];
    buf_init(&text, 65536);
    sandbox_numbers_print(&text);
    for (unsigned i = 0; i < sandbox_number_count; i++) {
        const struct sandbox_number *n = &sandbox_numbers[i];
        assert_true(i == 0 || n->last4 > sandbox_numbers[i - 1].last4);
        (void)snprintf(last4, sizeof(last4), "%04u", n->last4);
        assert_non_null(strstr(buf_text(&text), last4));
        const char *line = memmem(sandbox_page().p, sandbox_page().n, last4, 4);
        assert_non_null(line);
        if (strstr(sandbox_page().p, n->meaning) == NULL) {
            fail_msg("docs/sandbox.md does not say of %s: %s", last4, n->meaning);
        }
    }
    buf_free(&text);
}

static void expect_inbox(const struct inbox *b, const char *digits, const char *wanted)
{
    struct buf out;
    buf_init(&out, 65536);
    inbox_print(b, slice_of(digits), &out);
    assert_string_equal(buf_text(&out), wanted);
    buf_free(&out);
}

static void expect_ledger(const struct inbox *b, const char *digits, const char *wanted)
{
    struct buf out;
    buf_init(&out, 4096);
    inbox_print_ledger(b, slice_of(digits), &out);
    assert_string_equal(buf_text(&out), wanted);
    buf_free(&out);
}

static void shows_what_arrived_newest_first(void **state)
{
    (void)state;
    struct inbox *b = inbox_new(10, 10);
    assert_int_equal(inbox_send(b, SLICE("661"), SLICE("code 123456!"), false, 1000), 1);
    assert_int_equal(inbox_send(b, SLICE("661"), SLICE("PIN: 0042"), false, 2000), 2);
    assert_int_equal(inbox_send(b, SLICE("662"), SLICE("no digits 12"), false, 3000), 3);
    expect_inbox(b, "661",
                 "[{\"msisdn\":\"661\",\"otp\":\"0042\",\"text\":\"PIN: 0042\",\"at_ms\":2000},"
                 "{\"msisdn\":\"661\",\"otp\":\"123456\",\"text\":\"code 123456!\","
                 "\"at_ms\":1000}]");
    expect_inbox(b, "662",
                 "[{\"msisdn\":\"662\",\"otp\":\"\","
                 "\"text\":\"no digits 12\",\"at_ms\":3000}]");
    expect_inbox(b, "663", "[]");
    inbox_destroy(&b);
    assert_null(b);
}

static void makes_an_otp_when_there_is_no_text(void **state)
{
    (void)state;
    struct inbox *b = inbox_new(10, 10);
    struct buf out;
    (void)inbox_send(b, SLICE("661"), SLICE(""), false, 1);
    buf_init(&out, 4096);
    inbox_print(b, SLICE("661"), &out);
    const char *at = strstr(buf_text(&out), "\"otp\":\"");
    assert_non_null(at);
    struct slice otp = slice_make(at + 7, 6);
    uint64_t number;
    assert_true(slice_to_u64(otp, 999999, &number));
    assert_int_equal(inbox_verify(b, SLICE("661"), SLICE("x"), 0), INBOX_WRONG);
    assert_int_equal(inbox_verify(b, SLICE("661"), otp, 7), INBOX_NO_REQUEST);
    assert_int_equal(inbox_verify(b, SLICE("661"), otp, 1), INBOX_RIGHT);
    assert_int_equal(inbox_verify(b, SLICE("661"), otp, 1), INBOX_NO_REQUEST);
    buf_free(&out);
    inbox_destroy(&b);
}

static void limits_wrong_otps(void **state)
{
    (void)state;
    struct inbox *b = inbox_new(10, 10);
    (void)inbox_send(b, SLICE("661"), SLICE("123456"), false, 1);
    for (int i = 0; i < SANDBOX_CHECKS_MAX; i++) {
        assert_int_equal(inbox_verify(b, SLICE("661"), SLICE("1"), 0), INBOX_WRONG);
    }
    assert_int_equal(inbox_verify(b, SLICE("661"), SLICE("123456"), 0), INBOX_TOO_MANY);
    (void)inbox_send(b, SLICE("661"), SLICE("654321"), false, 1);
    assert_int_equal(inbox_verify(b, SLICE("661"), SLICE("654321"), 0), INBOX_RIGHT);
    assert_int_equal(inbox_verify(b, SLICE("662"), SLICE("654321"), 0), INBOX_NO_REQUEST);
    inbox_destroy(&b);
}

static void repeats_the_id_when_asked(void **state)
{
    (void)state;
    struct inbox *b = inbox_new(10, 10);
    assert_int_equal(inbox_send(b, SLICE("661"), SLICE(""), true, 1), 1);
    assert_int_equal(inbox_send(b, SLICE("662"), SLICE(""), true, 1), 2);
    assert_int_equal(inbox_send(b, SLICE("661"), SLICE(""), true, 1), 1);
    inbox_destroy(&b);
}

static void forgets_the_oldest_but_counts_all(void **state)
{
    (void)state;
    struct inbox *b = inbox_new(3, 4);
    char digits[16];
    for (int i = 0; i < 10; i++) {
        (void)snprintf(digits, sizeof(digits), "66%d", i);
        inbox_count_send(b, slice_of(digits));
        inbox_count_send(b, slice_of(digits));
        inbox_count_verify(b, slice_of(digits));
        (void)inbox_send(b, slice_of(digits), SLICE("1234"), false, i);
    }
    expect_ledger(b, "", "{\"sends\":20,\"verifies\":10}");
    expect_ledger(b, "669", "{\"sends\":2,\"verifies\":1}");
    expect_ledger(b, "665", "{\"sends\":0,\"verifies\":0}");
    expect_inbox(b, "666", "[]"); /* the number is known, its message was overwritten */
    assert_int_equal(inbox_verify(b, SLICE("666"), SLICE("1234"), 0), INBOX_NO_REQUEST);
    expect_inbox(b, "667", "[{\"msisdn\":\"667\",\"otp\":\"1234\",\"text\":\"1234\",\"at_ms\":7}]");
    inbox_destroy(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_told_by_their_last_four_digits),
        cmocka_unit_test(the_table_is_in_order_and_documented),
        cmocka_unit_test(shows_what_arrived_newest_first),
        cmocka_unit_test(makes_an_otp_when_there_is_no_text),
        cmocka_unit_test(limits_wrong_otps),
        cmocka_unit_test(repeats_the_id_when_asked),
        cmocka_unit_test(forgets_the_oldest_but_counts_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
