/* meaning/mo_text: which code an SMS holds, and whose. */
#include "common/meaning/mo_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool find(const char *content, const char *text, struct mo_found *out)
{
    struct mo_word w;
    assert_true(mo_word_of(slice_of(content), &w));
    return mo_text_find(&w, slice_of(text), out);
}

static void found(const char *content, const char *text, const char *code)
{
    struct mo_found f;
    if (!find(content, text, &f) || !slice_is(f.code, code)) {
        fail_msg("\"%s\" in \"%s\": not %s", content, text, code);
    }
}

static void absent(const char *content, const char *text)
{
    struct mo_found f;
    if (find(content, text, &f)) {
        fail_msg("\"%s\" found in \"%s\"", content, text);
    }
}

static void the_word_is_what_stands_around_the_code(void **state)
{
    (void)state;
    struct mo_word w;
    assert_true(mo_word_of(SLICE("Send this to continue: ##FG5x-{code}## now"), &w));
    assert_true(slice_is(w.before, "##FG5x-"));
    assert_true(slice_is(w.after, "##"));
    assert_true(mo_word_of(SLICE("{code}"), &w));
    assert_int_equal(w.before.n + w.after.n, 0);
    assert_false(mo_word_of(SLICE(""), &w));
    assert_false(mo_word_of(SLICE("no code {cod}"), &w));
    assert_false(mo_word_of(SLICE("{code} and {code}"), &w));
}

static void what_surrounds_the_word_does_not_matter(void **state)
{
    (void)state;
    static const char content[] = "Send this: ##FG5x-{code}##";
    found(content, "Send this: ##FG5x-3872##", "3872");
    found(content, "##FG5x-3872##", "3872");
    found(content, "  hello##FG5x-38721##bye", "38721");
    found(content, "12##FG5x-387210##34", "387210");
    found(content, "##FG5x- ##FG5x-12 ##FG5x-3872## ##FG5x-9999##", "3872");
}

static void the_word_is_needed_whole(void **state)
{
    (void)state;
    static const char content[] = "##FG5x-{code}##";
    absent(content, "");
    absent(content, "3872");
    absent(content, "##FG5y-3872##");
    absent(content, "##FG5x-3872");
    absent(content, "##FG5x-3872#");
    absent(content, "#FG5x-3872##");
    absent(content, "##FG5x- 3872##");
    absent(content, "##FG5x-387##");
    absent(content, "##FG5x-3872109##");
    absent(content, "##FG5x-38a2##");
    absent(content, "##FG5x-\xef\xbc\x93\xef\xbc\x98\xef\xbc\x97\xef\xbc\x92##"); /* full-width */
    absent(content, "##FG5x-\xd9\xa3\xd9\xa8\xd9\xa7\xd9\xa2##");                 /* Arabic-Indic */
}

static void another_case_is_taken_and_the_own_one_first(void **state)
{
    (void)state;
    struct mo_found f;
    found("##FG5x-{code}##", "##fg5X-3872##", "3872");
    found("##FG5x-{code}##", "##fg5x-1111## ##FG5x-2222##", "2222");
    assert_true(find("##FG5x-{code}##", "##fg5x-1111##", &f) && !f.exact);
    assert_true(find("##FG5x-{code}##", "##FG5x-1111##", &f) && f.exact);
    /* only ASCII has another case here: the two bytes of a letter are no letters */
    absent("\xc3\x84-{code}", "\xc3\xa4-1234");
}

static void digits_beside_the_code(void **state)
{
    (void)state;
    found("{code}", "1234", "1234");
    found("my {code} code", "the 123456.", "123456");
    absent("{code}", "12345678");
    absent("{code}", "123");
    absent("{code}", "at 1234567");
    found("{code}", "1234567 89012", "89012");
    absent("X{code}", "X1234567");
    absent("7-{code}", "17-1234");
    found("7-{code}", "a7-1234", "1234");
    found("X5{code}", "X51234", "1234");
    found("{code}77", "123477", "1234");
    found("{code}77", "12345677", "123456");
    absent("{code}77", "1234771");
}

static void which_word_is_meant(void **state)
{
    (void)state;
    struct mo_found a;
    struct mo_found b;
    static const char text[] = "AFG5x-1234 FG5y-5678";
    assert_true(find("FG5x-{code}", text, &a) && find("AFG5x-{code}", text, &b));
    assert_int_equal(mo_found_compare(&a, &b), -1); /* the longer */
    assert_int_equal(mo_found_compare(&b, &a), 1);
    assert_true(find("FG5y-{code}", text, &b));
    assert_int_equal(mo_found_compare(&a, &b), 1); /* the earlier */
    assert_true(find("FG5X-{code}", text, &b));
    assert_int_equal(mo_found_compare(&a, &b), 1); /* in its own case */
    assert_int_equal(mo_found_compare(&b, &a), -1);
    assert_int_equal(mo_found_compare(&a, &a), 0);
}

static void long_texts_are_read_to_the_limit(void **state)
{
    (void)state;
    static char text[4096];
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text + MO_TEXT_BYTES_MAX - 10, "##A-1234##", 10);
    found("##A-{code}##", text, "1234");
    memset(text, 'x', MO_TEXT_BYTES_MAX);
    memcpy(text + MO_TEXT_BYTES_MAX - 9, "##A-1234##", 10);
    absent("##A-{code}##", text);
}

static void words_are_compared(void **state)
{
    (void)state;
    struct mo_word a;
    struct mo_word b;
    assert_true(mo_word_of(SLICE("one ##A-{code}##"), &a));
    assert_true(mo_word_of(SLICE("##A-{code}## two"), &b));
    assert_true(mo_word_same(&a, &b));
    assert_true(mo_word_of(SLICE("##a-{code}##"), &b));
    assert_false(mo_word_same(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_word_is_what_stands_around_the_code),
        cmocka_unit_test(what_surrounds_the_word_does_not_matter),
        cmocka_unit_test(the_word_is_needed_whole),
        cmocka_unit_test(another_case_is_taken_and_the_own_one_first),
        cmocka_unit_test(digits_beside_the_code),
        cmocka_unit_test(which_word_is_meant),
        cmocka_unit_test(long_texts_are_read_to_the_limit),
        cmocka_unit_test(words_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
