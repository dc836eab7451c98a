/* gateway/redirect_page, gateway/language: what a user's browser gets, for which phone, in which
 * language; and the words of FOTP in the docs. */
#include "gateway/redirect_page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/asset.h"
#include "common/meaning/fotp_words.h"

ASSET(flash_page, "docs/flash.md");

static const char iphone[] = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) "
                             "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Safari/604.1";
static const char android[] = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, "
                              "like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36";
static const char desktop[] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like "
                              "Gecko) Chrome/124.0.0.0 Safari/537.36";

static void devices_are_told_by_their_browsers(void **state)
{
    (void)state;
    assert_int_equal(redirect_device_of(slice_of(iphone)), DEVICE_IOS);
    assert_int_equal(redirect_device_of(slice_of(android)), DEVICE_PHONE);
    assert_int_equal(redirect_device_of(slice_of(desktop)), DEVICE_DESKTOP);
    assert_int_equal(redirect_device_of(SLICE("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)")),
                     DEVICE_MAC);
    assert_int_equal(redirect_device_of(SLICE("Mozilla/5.0 (Mobile; Nokia; KAIOS/3.1)")),
                     DEVICE_PHONE);
    assert_int_equal(redirect_device_of(SLICE("")), DEVICE_DESKTOP);
}

static void address(enum redirect_device device, const char *text, const char *wanted)
{
    struct buf b;
    buf_init(&b, 1024);
    redirect_sms_address(&b, device, SLICE("1008611"), slice_of(text));
    assert_string_equal(buf_text(&b), wanted);
    buf_free(&b);
}

static void phones_have_their_forms(void **state)
{
    (void)state;
    address(DEVICE_PHONE, "##FG5x-3872##", "sms:1008611?body=%23%23FG5x-3872%23%23");
    address(DEVICE_IOS, "##FG5x-3872##", "sms:1008611&body=%23%23FG5x-3872%23%23");
    address(DEVICE_MAC, "a", "sms:1008611&body=a");
    address(DEVICE_DESKTOP, "a&b=c d+e%\"'<>\xe7\x9f\xad",
            "sms:1008611?body=a%26b%3Dc%20d%2Be%25%22%27%3C%3E%E7%9F%AD");
}

static struct buf page(enum redirect_device device, enum language language, const char *text,
                       const char *link)
{
    struct buf b;
    const struct redirect_page p = {.language = language,
                                    .device = device,
                                    .receiver = SLICE("1008611"),
                                    .text = slice_of(text),
                                    .link = slice_of(link),
                                    .valid_s = 61};
    buf_init(&b, ANSWER_BYTES_MAX);
    redirect_page_write(&b, &p);
    assert_true(buf_ok(&b));
    return b;
}

static void holds(const struct buf *b, const char *text, bool wanted)
{
    if ((strstr(buf_text(b), text) != NULL) != wanted) {
        fail_msg("%s: %s\n%s", wanted ? "lacks" : "has", text, buf_text(b));
    }
}

#define LINK "https://host/flash/opt/redirect/200e96b6a8bf8ed8c3de194cf14b342f"

static void a_phone_gets_a_button_that_opens_by_itself(void **state)
{
    (void)state;
    struct buf b = page(DEVICE_IOS, LANGUAGE_EN, "Send: ##FG5x-3872##", LINK);
    holds(&b, "<html lang=\"en\" dir=\"ltr\">", true);
    holds(&b, "<title>Confirm by SMS</title>", true);
    holds(&b, "href=\"sms:1008611&amp;body=Send%3A%20%23%23FG5x-3872%23%23\" data-auto>", true);
    holds(&b, "<bdi><span>Send:</span> <span>##FG5x-3872##</span></bdi>", true);
    holds(&b, "another 2 min", true);
    holds(&b, "<svg", false);
    holds(&b, "{{", false);
    buf_free(&b);
    b = page(DEVICE_PHONE, LANGUAGE_ZH, "Send: ##FG5x-3872##", LINK);
    holds(&b, "<html lang=\"zh\" dir=\"ltr\">", true);
    holds(&b, "href=\"sms:1008611?body=Send%3A%20%23%23FG5x-3872%23%23\" data-auto>", true);
    buf_free(&b);
}

static void a_desktop_gets_a_code_of_the_link(void **state)
{
    (void)state;
    struct buf b = page(DEVICE_DESKTOP, LANGUAGE_EN, "##FG5x-3872##", LINK);
    holds(&b, "<svg", true);
    holds(&b, "aria-label=\"QR code", true);
    holds(&b, " data-auto", false);
    holds(&b, "href=\"sms:1008611?body=", true);
    assert_in_range(b.n, 1, REDIRECT_PAGE_BYTES_MAX);
    buf_free(&b);
}

static void nothing_of_the_text_becomes_html(void **state)
{
    (void)state;
    struct buf b = page(DEVICE_PHONE, LANGUAGE_EN, "</dd><script>x</script>\"'&{{title}}", LINK);
    holds(&b, "<script>x", false);
    holds(&b, "&lt;/dd&gt;&lt;script&gt;x&lt;/script&gt;&quot;&#39;&amp;{{title}}", true);
    buf_free(&b);
}

static void pages_are_small(void **state)
{
    (void)state;
    char text[301];
    char link[513];
    memset(text, '"', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memset(link, 'x', sizeof(link) - 1);
    link[sizeof(link) - 1] = '\0';
    memcpy(link, "https://", 8);
    for (int l = 0; l < LANGUAGES; l++) {
        struct buf b = page(DEVICE_DESKTOP, (enum language)l, text, link);
        assert_in_range(b.n, 1, REDIRECT_PAGE_BYTES_MAX);
        buf_free(&b);
    }
}

static void notices_have_nothing_to_send(void **state)
{
    (void)state;
    struct buf b;
    for (int n = 0; n < REDIRECT_NOTICES; n++) {
        buf_init(&b, ANSWER_BYTES_MAX);
        redirect_notice_write(&b, LANGUAGE_EN, (enum redirect_notice)n);
        holds(&b, "<h1>", true);
        holds(&b, "sms:", false);
        holds(&b, "<script", false);
        holds(&b, "{{", false);
        buf_free(&b);
    }
}

static void the_policy_lets_nothing_else_in(void **state)
{
    (void)state;
    char policy[ANSWER_HEADER_BYTES];
    redirect_page_policy(policy);
    assert_non_null(strstr(policy, "default-src 'none'"));
    assert_non_null(strstr(policy, "frame-ancestors 'none'"));
    assert_non_null(strstr(policy, "script-src 'sha256-"));
    assert_null(strstr(policy, "unsafe"));
}

static void pick(const char *header, const struct record_list *allowed, enum language wanted)
{
    enum language got = language_pick(slice_of(header), allowed, LANGUAGE_EN);
    if (got != wanted) {
        fail_msg("%s: %s", header, language_rows[got].tag);
    }
}

static void languages_are_picked_by_weight(void **state)
{
    (void)state;
    struct record_list zh = {1, {(char *)"zh"}};
    struct record_list both = {2, {(char *)"zh", (char *)"en"}};
    struct record_list other = {1, {(char *)"ar"}};
    pick("", NULL, LANGUAGE_EN);
    pick("zh", NULL, LANGUAGE_ZH);
    pick("ZH-hans-cn", NULL, LANGUAGE_ZH);
    pick("zha", NULL, LANGUAGE_EN);
    pick("zh;q=0.5, en;q=0.8", NULL, LANGUAGE_EN);
    pick("zh;q=0.8,en;q=0.75", NULL, LANGUAGE_ZH);
    pick("fr, zh ; q=0.001", NULL, LANGUAGE_ZH);
    pick("zh;q=0", NULL, LANGUAGE_EN);
    pick("en;q=0.9,zh", NULL, LANGUAGE_ZH);
    pick("zh;q=x", NULL, LANGUAGE_EN);
    pick(",,;q=1,;,zh", NULL, LANGUAGE_ZH);
    pick("en", &zh, LANGUAGE_ZH);
    pick("th", &both, LANGUAGE_ZH);
    pick("en-GB", &both, LANGUAGE_EN);
    pick("zh", &other, LANGUAGE_EN);
    assert_int_equal(language_pick(SLICE("th"), NULL, LANGUAGE_ZH), LANGUAGE_ZH);
}

static void the_docs_tell_every_code(void **state)
{
    (void)state;
    char row[512];
    for (int i = 1; i < RESULT_CODES; i++) {
        const struct fotp_word *w = &fotp_words[i];
        assert_int_equal(strlen(w->code), 6);
        assert_int_equal(strspn(w->code, "0123456789"), 6);
        (void)snprintf(row, sizeof(row), "| `%s` | %d | `%s` | %s | %s |\n", w->code, w->http,
                       result_name((enum result_code)i), w->zh, w->en);
        if (memmem(flash_page().p, flash_page().n, row, strlen(row)) == NULL) {
            fail_msg("docs/flash.md lacks the row: %s", row);
        }
        bool success = strcmp(w->code, FOTP_SUCCESS) == 0;
        assert_int_equal(fotp_word_of(slice_of(w->code)), success ? RESULT_NONE : i);
    }
    assert_int_equal(fotp_word_of(SLICE("123456")), RESULT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_told_by_their_browsers),
        cmocka_unit_test(phones_have_their_forms),
        cmocka_unit_test(a_phone_gets_a_button_that_opens_by_itself),
        cmocka_unit_test(a_desktop_gets_a_code_of_the_link),
        cmocka_unit_test(nothing_of_the_text_becomes_html),
        cmocka_unit_test(pages_are_small),
        cmocka_unit_test(notices_have_nothing_to_send),
        cmocka_unit_test(the_policy_lets_nothing_else_in),
        cmocka_unit_test(languages_are_picked_by_weight),
        cmocka_unit_test(the_docs_tell_every_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
