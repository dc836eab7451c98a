/* meaning/flash_index: whose SMS it is, and what apply refuses because nobody could say. */
#include "common/meaning/flash_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct record_text account(const char *name, const char *text)
{
    return (struct record_text){RECORD_ACCOUNT, (char *)name, (char *)text, 0, 0};
}

static struct record_text template(const char *name, const char *text)
{
    return (struct record_text){RECORD_FLASH_TEMPLATE, (char *)name, (char *)text, 0, 0};
}

static struct records *build(const struct record_text *texts, size_t count)
{
    struct yaml_error error;
    struct records *r = records_build(texts, count, 1, &error);
    if (r == NULL) {
        fail_msg("%s", error.text);
    }
    return r;
}

static void refused(const struct record_text *texts, size_t count, const char *wanted)
{
    struct yaml_error error;
    struct records *r = records_build(texts, count, 1, &error);
    assert_null(r);
    if (strstr(error.text, wanted) == NULL) {
        fail_msg("got \"%s\", wanted \"%s\"", error.text, wanted);
    }
}

static void match(const struct records *r, const char *to, const char *text, const char *name,
                  const char *wanted)
{
    struct slice code = {NULL, 0};
    const struct flash_template *t =
        flash_index_match(r->flash, slice_of(to), slice_of(text), &code);
    if (name == NULL) {
        assert_null(t);
        return;
    }
    assert_non_null(t);
    assert_string_equal(t->name, name);
    assert_true(slice_is(code, wanted));
}

static void several_templates_share_a_receiver(void **state)
{
    (void)state;
    const struct record_text texts[] = {
        account("demo", "secret: demo-secret\n"),
        template("1", "account: demo\nreceivers: [1008611]\ncontent: \"##FG5x-{code}##\"\n"),
        template("2", "account: demo\nreceivers: [1008611, 2000]\ncontent: \"##FG5y-{code}##\"\n"),
        template("3", "account: demo\nreceivers: [1008611]\ncontent: \"a ##fg5x-{code}## b\"\n"),
        template("4", "account: demo\nreceivers: [3000, 3000]\ncontent: \"##FG5x-{code}##\"\n"),
    };
    struct records *r = build(texts, ARRAY_LEN(texts));
    match(r, "1008611", "##FG5x-1234##", "1", "1234");
    match(r, "1008611", "##FG5y-123456##", "2", "123456");
    match(r, "1008611", "##fg5x-1234##", "3", "1234");
    match(r, "1008611", "##Fg5X-1234##", NULL, NULL); /* of 1 or of 3: nobody can say */
    match(r, "2000", "##FG5y-1234##", "2", "1234");
    match(r, "2000", "##FG5x-1234##", NULL, NULL);
    match(r, "3000", "##FG5x-1234##", "4", "1234");
    match(r, "4000", "##FG5x-1234##", NULL, NULL);
    records_unref(&r);
}

static void what_nobody_could_tell_apart_is_refused(void **state)
{
    (void)state;
    const struct record_text twice[] = {
        account("demo", "secret: demo-secret\n"),
        template("1", "account: demo\nreceivers: [1008611]\ncontent: \"one ##FG5x-{code}##\"\n"),
        template("2", "account: demo\nreceivers: [2000, 1008611]\ncontent: \"##FG5x-{code}##\"\n"),
    };
    refused(twice, 3, "has the same word around {code} and the receiver 1008611");
    const struct record_text no_code[] = {
        template("1", "account: demo\nreceivers: [1008611]\ncontent: no place for it\n")};
    refused(no_code, 1, "content must hold {code} once");
    const struct record_text letters[] = {
        template("1", "account: demo\nreceivers: [OTPQ]\ncontent: \"a-{code}\"\n")};
    refused(letters, 1, "must be digits alone");
    const struct record_text too_long[] = {
        template("n1234567890123456789012345678901234567890123456789012345678",
                 "account: demo\nreceivers: [1008611]\ncontent: \"{code}\"\n")};
    refused(too_long, 1, "at most 48 characters");
}

static void receivers_and_headers_are_bounded(void **state)
{
    (void)state;
    struct record_text texts[FLASH_RECEIVER_TEMPLATES_MAX + 2];
    char names[ARRAY_LEN(texts)][8];
    char bodies[ARRAY_LEN(texts)][96];
    texts[0] = account("demo", "secret: demo-secret\n");
    (void)snprintf(names[0], sizeof(names[0]), "0");
    for (size_t i = 1; i < ARRAY_LEN(texts); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "%zu", i);
        (void)snprintf(bodies[i], sizeof(bodies[i]),
                       "account: demo\nreceivers: [1008611]\ncontent: \"A%zu-{code}\"\n", i);
        texts[i] = template(names[i], bodies[i]);
    }
    struct records *r = build(texts, ARRAY_LEN(texts) - 1);
    match(r, "1008611", "A63-1234", "63", "1234");
    records_unref(&r);
    refused(texts, ARRAY_LEN(texts), "more than 64 flash templates have the receiver 1008611");
    for (size_t i = 0; i <= FLASH_HEADERS_MAX; i++) {
        (void)snprintf(bodies[i], sizeof(bodies[i]), "header_account: X-Account-%zu\n", i);
        texts[i] = account(names[i], bodies[i]);
    }
    texts[FLASH_HEADERS_MAX + 1] = account("last", "header_account: x-account-0\n");
    r = build(texts, FLASH_HEADERS_MAX);
    assert_int_equal(r->flash->header_count, FLASH_HEADERS_MAX);
    records_unref(&r);
    refused(texts, FLASH_HEADERS_MAX + 2, "at most 8 names for header_account");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_templates_share_a_receiver),
        cmocka_unit_test(what_nobody_could_tell_apart_is_refused),
        cmocka_unit_test(receivers_and_headers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
