#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/base/rng.h"
#include "common/meaning/yaml.h"

static struct yaml_node *parsed(const char *text)
{
    struct yaml_error error = {""};
    struct yaml_node *root = yaml_parse("t.yaml", slice_of(text), &error);
    if (root == NULL) {
        fail_msg("%s", error.text);
    }
    return root;
}

static void assert_refused(struct slice text, const char *expected)
{
    struct yaml_error error = {""};
    struct yaml_node *root = yaml_parse("t.yaml", text, &error);
    assert_null(root);
    if (strstr(error.text, expected) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", expected, error.text);
    }
}

static void places_are_exact(void **state)
{
    (void)state;
    struct yaml_node *root =
        parsed("# head\ngateway:\n  listen:   \"127.0.0.1:1\"\n  list: [a, b]\n");
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->pairs[0].line, 2);
    const struct yaml_node *gateway = yaml_get(root, "gateway");
    assert_int_equal(gateway->pairs[0].line, 3);
    assert_int_equal(gateway->pairs[0].column, 3);
    const struct yaml_node *listen = yaml_get(gateway, "listen");
    assert_int_equal(listen->line, 3);
    assert_int_equal(listen->column, 13);
    assert_true(listen->quoted);
    const struct yaml_node *list = yaml_get(gateway, "list");
    assert_int_equal(list->count, 2);
    assert_string_equal(list->items[1]->text, "b");
    assert_int_equal(list->items[1]->column, 13);
    assert_null(yaml_get(root, "nothing"));
    yaml_destroy(&root);
    assert_null(root);
}

static void an_empty_document_is_an_empty_map(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "# nothing\n", "\n\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct yaml_node *root = parsed(texts[i]);
        assert_int_equal(root->kind, YAML_MAP);
        assert_int_equal(root->count, 0);
        yaml_destroy(&root);
    }
}

static void refusals_name_the_place(void **state)
{
    (void)state;
    assert_refused(SLICE("a: 1\nb: 2\na: 3\n"),
                   "t.yaml:3:1: key \"a\" is given twice (first in line 1)");
    assert_refused(SLICE("a: &x 1\n"), "t.yaml:1:4: anchors");
    assert_refused(SLICE("a: *x\n"), "t.yaml:1:4: anchors");
    assert_refused(SLICE("a: !!int 1\n"), "t.yaml:1:4: tags");
    assert_refused(SLICE("? [a]\n: b\n"), "t.yaml:1:3: a key must be");
    assert_refused(SLICE("a: \"x\\0y\"\n"), "t.yaml:1:4: a text may not hold the NUL");
    assert_refused(SLICE("a: b\0c\n"), "t.yaml:1:5: control character 0x00");
    assert_refused(SLICE("a: b\nb: \xff\n"), "t.yaml:2:4: not UTF-8 text (byte 0xff)");
    assert_refused(SLICE("a: \xed\xa0\x80\n"), "not UTF-8");
    assert_refused(SLICE("a: \xc0\x80\n"), "not UTF-8");
    assert_refused(SLICE("a: \xe2\x82"), "not UTF-8");
    assert_refused(SLICE("a: 1\n---\nb: 2\n"), "t.yaml:2:1: only one document");
    assert_refused(SLICE("a: [1, 2\n"), "t.yaml:2:1:");
    assert_refused(SLICE("a: 1\n b: 2\n"), "t.yaml:2:3:");
}

static void everything_has_a_ceiling(void **state)
{
    (void)state;
    assert_refused(SLICE("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]"), "t.yaml:1:17: nested too deeply");
    struct buf b;
    buf_init(&b, YAML_BYTES_MAX + 1);
    for (size_t i = 0; i <= YAML_NODES_MAX; i++) {
        buf_puts(&b, "- \n");
    }
    assert_refused(buf_slice(&b), "too many values");
    buf_clear(&b);
    for (size_t i = 0; i <= YAML_KEY_BYTES_MAX; i++) {
        buf_putc(&b, 'k');
    }
    buf_puts(&b, ": 1\n");
    assert_refused(buf_slice(&b), "at most 200 bytes");
    buf_clear(&b);
    while (b.n <= YAML_BYTES_MAX) {
        buf_putc(&b, '#');
    }
    assert_refused(buf_slice(&b), "larger than 8 MiB");
    buf_free(&b);
}

static void suggestions_are_slips_of_the_finger(void **state)
{
    (void)state;
    static const char *const words[] = {"listen", "brokers", NULL, "request_ms", "paused"};
    assert_string_equal(yaml_suggest("lisetn", words, 5), "listen");
    assert_string_equal(yaml_suggest("broker", words, 5), "brokers");
    assert_string_equal(yaml_suggest("Listen", words, 5), "listen");
    assert_string_equal(yaml_suggest("request-ms", words, 5), "request_ms");
    assert_null(yaml_suggest("colour", words, 5));
    assert_null(yaml_suggest("", words, 5));
    assert_null(yaml_suggest("x", (const char *const[]){"y"}, 1));
}

static void assert_written(const char *text, const char *expected)
{
    struct yaml_node *root = parsed(text);
    struct buf b;
    buf_init(&b, 65536);
    yaml_write_node(&b, root, -2);
    assert_string_equal(buf_text(&b), expected);
    struct yaml_node *again = parsed(buf_text(&b));
    struct buf second;
    buf_init(&second, 65536);
    yaml_write_node(&second, again, -2);
    assert_string_equal(buf_text(&second), expected);
    buf_free(&b);
    buf_free(&second);
    yaml_destroy(&root);
    yaml_destroy(&again);
}

static void writing_is_canonical(void **state)
{
    (void)state;
    assert_written("{b: '1', a: 1, c: 'plain', d: \"{msisdn}\"}",
                   "\nb: \"1\"\na: 1\nc: plain\nd: \"{msisdn}\"\n");
    assert_written("a: {}\nb: []\nc:\nd: ''\n", "\na: {}\nb: []\nc:\nd: \"\"\n");
    assert_written("a: [1, [2, [3, {x: 1, y: {z: 2}}]], {k: [v]}]",
                   "\na:\n  - 1\n  - - 2\n    - - 3\n      - x: 1\n        y:\n          z: 2\n"
                   "  - k:\n      - v\n");
    assert_written("a: |\n  two\n  lines\n", "\na: \"two\\nlines\\n\"\n");
    assert_written("404: not found\n'a: b': c # d\n", "\n404: not found\n\"a: b\": c\n");
    assert_written("a: 'c # d'\nb: 'é'\nc: -1\nd: \"\\u2028\\t\"\n",
                   "\na: \"c # d\"\nb: \"é\"\nc: -1\nd: \"\\u2028\\t\"\n");
}

/* Any text survives being written and read, as a value and as a key. */
static void any_text_survives(void **state)
{
    (void)state;
    static const char letters[] =
        "ab1 :#-'\"\\{}[],&*!|>%@`\n\t~.=?<0\xc2\x85\xe2\x80\xa8\xef\xbb\xbf";
    struct rng r;
    rng_seed(&r, 4);
    for (int round = 0; round < 5000; round++) {
        char text[16];
        size_t n = 0;
        for (size_t left = rng_below(&r, 7); left > 0; left--) {
            size_t at = rng_below(&r, sizeof(letters) - 1);
            unsigned char c = (unsigned char)letters[at];
            if (c < 0x80) {
                text[n++] = letters[at];
            }
        }
        if (rng_below(&r, 4) == 0) {
            memcpy(text + n, "\xe2\x80\xa8", 3);
            n += 3;
        }
        text[n] = '\0';
        struct buf b;
        buf_init(&b, 4096);
        yaml_put_key(&b, text, 0);
        buf_putc(&b, ' ');
        yaml_put_scalar(&b, slice_of(text), true);
        buf_putc(&b, '\n');
        struct yaml_node *root = parsed(buf_text(&b));
        assert_int_equal(root->count, 1);
        assert_string_equal(root->pairs[0].key, text);
        assert_string_equal(root->pairs[0].value->text, text);
        yaml_destroy(&root);
        buf_free(&b);
    }
}

static void a_file_that_is_not_there(void **state)
{
    (void)state;
    struct yaml_error error;
    assert_null(yaml_load("/nonexistent/x.yaml", &error));
    assert_string_equal(error.text,
                        "/nonexistent/x.yaml: cannot be opened: No such file or directory");
    assert_null(yaml_load("/", &error));
    assert_non_null(strstr(error.text, "cannot be read"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_exact),
        cmocka_unit_test(an_empty_document_is_an_empty_map),
        cmocka_unit_test(refusals_name_the_place),
        cmocka_unit_test(everything_has_a_ceiling),
        cmocka_unit_test(suggestions_are_slips_of_the_finger),
        cmocka_unit_test(writing_is_canonical),
        cmocka_unit_test(any_text_survives),
        cmocka_unit_test(a_file_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
