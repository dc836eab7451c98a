#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>

#include "clients/otpq/record_plan.h"
#include "common/meaning/password.h"
#include "tests/unit/record_files.h"

static char page[512 * 1024];

static const char *read_page(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        fail_msg("%s cannot be opened", path);
    }
    size_t n = fread(page, 1, sizeof(page) - 1, file);
    (void)fclose(file);
    page[n] = '\0';
    return page;
}

static char *written(struct record_texts *texts)
{
    struct buf b;
    buf_init(&b, YAML_BYTES_MAX);
    record_file_write(texts->at, texts->count, &b);
    assert_true(buf_ok(&b));
    return buf_take(&b);
}

static void the_demo_file_is_canonical(void **state)
{
    (void)state;
    struct record_texts texts = parsed(read_page("deploy/demo.yaml"));
    char *again = written(&texts);
    assert_string_equal(again, page);
    free(again);
    record_texts_free(&texts);
}

static void the_demo_file_builds(void **state)
{
    (void)state;
    struct yaml_error error;
    struct record_texts texts = parsed(read_page("deploy/demo.yaml"));
    struct records *r = records_build(texts.at, texts.count, 7, &error);
    assert_non_null(r);
    assert_int_equal(r->version, 7);
    assert_int_equal(r->mid, 1);
    const struct affiliate *a = records_affiliate(r, 1001);
    assert_true(a->api_access);
    assert_true(record_key_equal(SLICE("demo-key-1001"), a->key));
    assert_int_equal(a->weight, 1);
    assert_false(records_affiliate(r, 1002)->api_access);
    const struct integration *demo = records_integration(r, SLICE("demo"));
    assert_int_equal(demo->maker, CODE_BY_ADVERTISER);
    assert_int_equal(demo->code_valid_s, 600);
    assert_int_equal(demo->breaker_percent, 50);
    const struct integration *local = records_integration(r, SLICE("demo-local"));
    assert_int_equal(local->maker, CODE_BY_OTPQ);
    assert_int_equal(local->code_valid_s, 300);
    assert_int_equal(local->resend_after_s, 30);
    assert_int_equal(local->sends_max, 3);
    const struct endpoint *e = records_endpoint(r, SLICE("demo1001"));
    assert_string_equal(e->integration, "demo");
    assert_int_equal(e->affiliate, 1001);
    assert_string_equal(e->page_title, "Demo offer");
    const struct account *account = records_account(r, SLICE("demo"));
    assert_true(password_matches(SLICE("demo-pass"), account->password_hash));
    assert_int_equal(account->sign, SIGN_MD5_SORTED);
    const struct flash_template *flash = records_flash_template(r, SLICE("2"));
    assert_string_equal(flash->account, "demo");
    assert_string_equal(flash->receivers.at[0], "1008611");
    assert_string_equal(records_api_token(r, SLICE("demo-token"))->integration, "demo-local");
    assert_non_null(records_mo_source(r, SLICE("demo-mo")));
    assert_null(records_mo_source(r, SLICE("demo-m")));
    assert_null(records_affiliate(r, 1));
    assert_null(records_integration(r, SLICE("x")));
    assert_null(records_endpoint(r, SLICE("x")));
    struct records *same = records_ref(r);
    records_unref(&r);
    assert_null(r);
    assert_non_null(records_endpoint(same, SLICE("demo1001")));
    records_unref(&same);
    record_texts_free(&texts);
}

/* The canonical text has a line for the key: it has a value of its own. */
static bool has_key(const struct record_text *t, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = t->text; line != NULL && *line != '\0';) {
        if (strncmp(line, key, n) == 0 && line[n] == ':') {
            return true;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return false;
}

static void assert_some_has(const struct record_texts *texts, enum record_kind kind,
                            const struct dialect *dialect, const char *key)
{
    for (size_t i = 0; i < texts->count; i++) {
        const struct record_text *t = &texts->at[i];
        char line[64] = "";
        if (dialect != NULL && dialect != &dialect_template) {
            (void)snprintf(line, sizeof(line), "dialect: %s\n", dialect->name);
        }
        if (t->kind == kind && strstr(t->text, line) != NULL && has_key(t, key)) {
            return;
        }
    }
    fail_msg("tests/golden/records/full.yaml: no %s has %s with a value that is not its default",
             record_schemas[kind].one, key);
}

/* The file has every key of every kind and dialect, so none can be lost on its way through the
 * store: test_records.py takes it there. */
static void every_key_is_written_again(void **state)
{
    (void)state;
    struct yaml_error error;
    struct record_texts texts = parsed(read_page("tests/golden/records/full.yaml"));
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        for (size_t i = 0; i < record_schemas[kind].key_count; i++) {
            assert_some_has(&texts, (enum record_kind)kind, NULL,
                            record_schemas[kind].keys[i].name);
        }
    }
    for (size_t d = 0; dialects[d] != NULL; d++) {
        for (size_t i = 0; dialects[d]->keys[i] != NULL; i++) {
            assert_some_has(&texts, RECORD_INTEGRATION, dialects[d], dialects[d]->keys[i]);
        }
    }
    char *again = written(&texts);
    assert_string_equal(again, page);
    free(again);
    struct records *r = records_build(texts.at, texts.count, 1, &error);
    assert_non_null(r);
    records_unref(&r);
    record_texts_free(&texts);
}

/* Strangers show tokens, too: what a look-up costs must not grow with the records, nor with what
 * they show. */
static void tokens_are_found_by_their_digest(void **state)
{
    (void)state;
    struct yaml_error error;
    char name[24], text[96];
    char shown[8192];
    struct records *r = NULL;
    struct record_text texts[200];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        bool api = i % 2 == 0;
        (void)snprintf(name, sizeof(name), "n%zu", i);
        (void)snprintf(text, sizeof(text), "token: token-%03zu\n%s", i,
                       api ? "integration: one\n" : "");
        texts[i] = (struct record_text){.kind = api ? RECORD_API_TOKEN : RECORD_MO_SOURCE,
                                        .name = strdup(name),
                                        .text = strdup(text)};
    }
    r = records_build(texts, ARRAY_LEN(texts), 1, &error);
    if (r == NULL) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(map_count(r->api_by_token), 100);
    assert_int_equal(map_count(r->mo_by_token), 100);
    assert_string_equal(records_api_token(r, SLICE("token-042"))->name, "n42");
    assert_string_equal(records_mo_source(r, SLICE("token-043"))->name, "n43");
    assert_null(records_api_token(r, SLICE("token-043")));
    assert_null(records_mo_source(r, SLICE("token-042")));
    assert_null(records_api_token(r, SLICE("")));
    assert_null(records_api_token(r, (struct slice){NULL, 0}));
    memset(shown, 'x', sizeof(shown));
    assert_null(records_api_token(r, slice_make(shown, sizeof(shown))));
    records_unref(&r);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        free(texts[i].name);
        free(texts[i].text);
    }
}

static void any_file_becomes_canonical(void **state)
{
    (void)state;
    struct record_texts texts = parsed(
        "endpoints: {e: {affiliate: 9, integration: one}}\n"
        "affiliates:\n  10: {key: '1234567890', api_access: false}\n"
        "  9: {weight: 30, api_access: true, name: \"9\", key: abcdefgh}\n" GOOD
        "    code_checks: 5\n    paused: true\n    country_code: '66'\nnetwork: {mid: 12}\n");
    char *once = written(&texts);
    assert_string_equal(once, "network:\n  mid: 12\n"
                              "affiliates:\n  9:\n    name: \"9\"\n    key: abcdefgh\n"
                              "    api_access: true\n    weight: 30\n"
                              "  10:\n    key: \"1234567890\"\n"
                              "integrations:\n  one:\n    paused: true\n    country_code: \"66\"\n"
                              "    send:\n      url: http://a.example/x\n      form:\n"
                              "        m: \"{msisdn}\"\n"
                              "    verify:\n      url: http://a.example/x\n      form:\n"
                              "        m: \"{msisdn}\"\n        c: \"{otp}\"\n"
                              "endpoints:\n  e:\n    integration: one\n    affiliate: 9\n");
    record_texts_free(&texts);
    texts = parsed(once);
    char *twice = written(&texts);
    assert_string_equal(once, twice);
    free(once);
    free(twice);
    record_texts_free(&texts);
}

static void slips_are_found_where_they_are(void **state)
{
    (void)state;
    assert_refused("affilates:\n",
                   "r.yaml:1:1: unknown section \"affilates\"; did you mean \"affiliates\"?");
    assert_refused("- x\n", "r.yaml:1:1: sections are wanted");
    assert_refused("affiliates:\n  1:\n    kye: abcdefgh\n",
                   "r.yaml:3:5: unknown key \"kye\" of an affiliate; did you mean \"key\"?");
    assert_refused("integrations:\n  one:\n    sned: {}\n",
                   "r.yaml:3:5: unknown key \"sned\" of an integration; did you mean \"send\"?");
    assert_refused("affiliates:\n  1: {name: x}\n", "r.yaml:2:3: affiliate 1 has no \"key\"");
    assert_refused(
        "affiliates:\n  1: {key: short}\n",
        "r.yaml:2:12: key must be visible characters without spaces, 8 to 128 characters");
    assert_refused("affiliates:\n  1: {key: abcdefgh, api_access: yes}\n",
                   "r.yaml:2:34: api_access must be true or false (it is \"yes\")");
    assert_refused("affiliates:\n  1: {key: abcdefgh, weight: 0}\n",
                   "r.yaml:2:30: weight must be a whole number from 1 to 100 (it is \"0\")");
    assert_refused("affiliates:\n  01: {key: abcdefgh}\n",
                   "r.yaml:2:3: an affiliate's number is 1 to 4294967295, not \"01\"");
    assert_refused("affiliates:\n  1: {key: abcdefgh}\n  1: {key: abcdefgh}\n",
                   "r.yaml:3:3: key \"1\" is given twice (first in line 2)");
    assert_refused("affiliates: [1]\n", "r.yaml:1:13: affiliates: at most 100000 records");
    assert_refused("affiliates:\n  1:\n", "r.yaml:2:3: affiliate 1 has keys of its own");
    assert_refused("network:\n  mid: 0\n",
                   "r.yaml:2:8: mid must be a whole number from 1 to 4294967295 (it is \"0\")");
    assert_refused("network:\n  mid: [1]\n", "r.yaml:2:8: mid is one value, not a list");
    assert_refused("network:\n  mid:\n", "r.yaml:2:7: mid has no value");
    assert_refused("integrations:\n  a b: {}\n",
                   "r.yaml:2:3: the name of an integration is 1 to 64");
    assert_refused("integrations:\n  a: {dialect: tmplate}\n",
                   "r.yaml:2:16: dialect must be one of template");
    assert_refused("integrations:\n  a: {maker: me}\n",
                   "r.yaml:2:14: maker must be one of advertiser|otpq (it is \"me\")");
    assert_refused("integrations:\n  a: {code_digits: 11}\n",
                   "r.yaml:2:20: code_digits must be a whole number from 4 to 10 digits");
}

static void an_unknown_macro_has_its_place(void **state)
{
    (void)state;
    assert_refused("integrations:\n  one:\n    send:\n      url: http://a.example/x\n"
                   "      form:\n        m: \"+{msisdm}\"\n" VERIFY,
                   "r.yaml:6:");
    assert_refused(
        "integrations:\n  one:\n    maker: otpq\n    text: \"Code {opt}\"\n    send:\n" CALL(
            "m: \"{msisdn}\", t: \"{text}\""),
        "r.yaml:4:18: text: unknown macro {opt}");
}

static void makers_have_rules(void **state)
{
    (void)state;
    assert_refused("integrations:\n  one:\n    paused: true\n", "r.yaml:3:5: send is missing");
    assert_refused("integrations:\n  one:\n" SEND, "r.yaml:2:3: verify is missing");
    assert_refused("integrations:\n  one:\n    send:\n" CALL("m: 1") VERIFY,
                   "r.yaml:3:5: send must carry {msisdn}");
    assert_refused("integrations:\n  one:\n" SEND "    verify:\n" CALL("o: \"{otp}\""),
                   "r.yaml:6:5: verify must carry {msisdn}");
    assert_refused("integrations:\n  one:\n" SEND "    verify:\n" CALL("m: \"{msisdn}\""),
                   "r.yaml:6:5: verify must carry {otp}");
    assert_refused("integrations:\n  one:\n    send:\n" CALL("m: \"{msisdn}\", o: \"{otp}\"")
                       VERIFY,
                   "r.yaml:3:5: send cannot carry {otp}");
    assert_refused(GOOD "    text: \"{otp}\"\n", "r.yaml:9:5: text is for codes that otpq makes");
    assert_refused(GOOD "    maker: otpq\n", "r.yaml:6:5: no verify call when otpq makes the code");
    assert_refused("integrations:\n  one:\n    maker: otpq\n" SEND,
                   "r.yaml:4:5: send must carry {otp} or {text}");
    assert_refused("integrations:\n  one:\n    maker: otpq\n    send:\n" CALL(
                       "m: \"{msisdn}\", t: \"{text}\""),
                   "r.yaml:4:5: send carries {text}, so the key \"text\" must be there");
    assert_refused("integrations:\n  one:\n    maker: otpq\n    text: hello\n    send:\n" CALL(
                       "m: \"{msisdn}\", t: \"{text}\""),
                   "r.yaml:4:5: text must hold {otp}");
    assert_refused(
        "integrations:\n  one:\n    maker: otpq\n    text: \"{otp} {text}\"\n    send:\n" CALL(
            "m: \"{msisdn}\", t: \"{text}\""),
        "r.yaml:4:5: text cannot hold {text}");
    assert_refused(
        "integrations:\n  one:\n    maker: otpq\n    code_valid_s: 601\n    send:\n" CALL(
            "m: \"{msisdn}\", t: \"{otp}\""),
        "r.yaml:4:5: code_valid_s is at most 600 s");
}

static void keys_are_compared_whole(void **state)
{
    (void)state;
    assert_true(record_key_equal(SLICE("abc"), "abc"));
    assert_false(record_key_equal(SLICE("abd"), "abc"));
    assert_false(record_key_equal(SLICE("ab"), "abc"));
    assert_false(record_key_equal(SLICE("abcd"), "abc"));
    assert_false(record_key_equal(SLICE(""), "abc"));
    assert_true(record_key_equal(SLICE(""), ""));
    assert_false(record_key_equal(slice_make("abc\0", 4), "abc"));
}

#define AFFILIATES "affiliates:\n  1: {key: first-key}\n  2: {key: second-key}\n"

static void a_plan_says_what_changes(void **state)
{
    (void)state;
    struct record_texts stored = parsed(AFFILIATES GOOD);
    struct record_texts wanted = parsed("affiliates:\n  2: {key: other-key, name: Two}\n"
                                        "  3: {key: third-key}\n");
    struct plan p;
    plan_make(&p, &stored, &wanted, true);
    assert_int_equal(p.count, 4);
    assert_int_equal(p.rows[0].step, PLAN_REMOVE);
    assert_int_equal(p.rows[1].step, PLAN_CHANGE);
    assert_int_equal(p.rows[2].step, PLAN_ADD);
    assert_int_equal(p.rows[3].step, PLAN_KEEP); /* its section is not in the file */
    size_t count = 0;
    struct record_text *changes = plan_changes(&p, &count);
    assert_int_equal(count, 3);
    assert_null(changes[0].text);
    free(changes);
    struct record_text *outcome = plan_outcome(&p, &count);
    assert_int_equal(count, 3);
    assert_string_equal(outcome[0].name, "2");
    assert_non_null(strstr(outcome[0].text, "Two"));
    free(outcome);
    struct buf lines;
    buf_init(&lines, 4096);
    plan_put_lines(&p.rows[1], 2, &lines);
    assert_string_equal(buf_text(&lines), "  - key: ***\n  + name: Two\n  + key: ***\n");
    buf_free(&lines);
    plan_free(&p);
    plan_make(&p, &stored, &wanted, false);
    assert_int_equal(p.steps[PLAN_KEEP], 2);
    assert_int_equal(p.steps[PLAN_REMOVE], 0);
    plan_free(&p);
    record_texts_free(&stored);
    record_texts_free(&wanted);
}

static void changed_lines_have_their_heading(void **state)
{
    (void)state;
    struct record_text old = {RECORD_INTEGRATION, NULL,
                              (char[]){"paused: true\nsend:\n  url: a\n  t: 1\nverify:\n  t: 1\n"},
                              0, 0};
    struct record_text new = {RECORD_INTEGRATION, NULL,
                              (char[]){"send:\n  url: a\n  t: 2\nverify:\n  t: 2\n"}, 0, 0};
    struct plan_row row = {PLAN_CHANGE, &old, &new};
    struct buf lines;
    buf_init(&lines, 4096);
    plan_put_lines(&row, 0, &lines);
    assert_string_equal(buf_text(&lines), "- paused: true\n  send:\n-   t: 1\n+   t: 2\n"
                                          "  verify:\n-   t: 1\n+   t: 2\n");
    buf_free(&lines);
}

static void the_same_file_changes_nothing(void **state)
{
    (void)state;
    struct record_texts stored = parsed(AFFILIATES GOOD);
    struct record_texts wanted = parsed(GOOD AFFILIATES);
    struct plan p;
    size_t count = 1;
    plan_make(&p, &stored, &wanted, true);
    assert_int_equal(p.steps[PLAN_SAME], 3);
    struct record_text *changes = plan_changes(&p, &count);
    assert_int_equal(count, 0);
    free(changes);
    plan_free(&p);
    record_texts_free(&stored);
    record_texts_free(&wanted);
}

/* docs/records.md has a row for every key of every schema. */
static void the_page_is_whole(void **state)
{
    (void)state;
    const char *text = read_page("docs/records.md");
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        const struct record_schema *schema = &record_schemas[kind];
        for (size_t i = 0; i < schema->key_count; i++) {
            const struct record_key *k = &schema->keys[i];
            char row[128];
            (void)snprintf(row, sizeof(row), "| `%s` | %s%s%s |", k->name,
                           k->fallback != NULL ? "`" : "",
                           k->fallback == NULL      ? "needed"
                           : k->fallback[0] == '\0' ? "\"\""
                                                    : k->fallback,
                           k->fallback != NULL ? "`" : "");
            if (strstr(text, row) == NULL || strstr(text, k->meaning) == NULL) {
                fail_msg("docs/records.md lacks the row \"%s … | %s |\"", row, k->meaning);
            }
        }
    }
}

/* Its examples, put together, are one file that apply takes; an excerpt begins with no section. */
static void examples_of_the_page_are_taken(void **state)
{
    (void)state;
    struct buf file;
    buf_init(&file, YAML_BYTES_MAX);
    for (const char *at = read_page("docs/records.md"); (at = strstr(at, "```yaml\n")) != NULL;) {
        const char *begin = at + 8;
        const char *end = strstr(begin, "```");
        assert_non_null(end);
        for (int kind = 0; kind < RECORD_KINDS; kind++) {
            size_t n = strlen(record_sections[kind]);
            if (strncmp(begin, record_sections[kind], n) == 0 && begin[n] == ':') {
                buf_put(&file, begin, (size_t)(end - begin));
            }
        }
        at = end;
    }
    struct record_texts texts = parsed(buf_text(&file));
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        assert_true(texts.has[kind]);
    }
    record_texts_free(&texts);
    buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_demo_file_is_canonical),
        cmocka_unit_test(the_demo_file_builds),
        cmocka_unit_test(every_key_is_written_again),
        cmocka_unit_test(tokens_are_found_by_their_digest),
        cmocka_unit_test(any_file_becomes_canonical),
        cmocka_unit_test(slips_are_found_where_they_are),
        cmocka_unit_test(an_unknown_macro_has_its_place),
        cmocka_unit_test(makers_have_rules),
        cmocka_unit_test(keys_are_compared_whole),
        cmocka_unit_test(a_plan_says_what_changes),
        cmocka_unit_test(changed_lines_have_their_heading),
        cmocka_unit_test(the_same_file_changes_nothing),
        cmocka_unit_test(the_page_is_whole),
        cmocka_unit_test(examples_of_the_page_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
