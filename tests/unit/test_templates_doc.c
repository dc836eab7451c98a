/* docs/templates.md says of every macro, filter, key and code what the tables in the code say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/meaning/dialect.h"

static struct buf doc;

static int read_doc(void **state)
{
    (void)state;
    FILE *file = fopen("docs/templates.md", "r");
    if (file == NULL) {
        print_error("docs/templates.md is not here; run from the project's root\n");
        return -1;
    }
    buf_init(&doc, 256 * 1024);
    char bytes[4096];
    for (size_t n = 0; (n = fread(bytes, 1, sizeof(bytes), file)) > 0;) {
        buf_put(&doc, bytes, n);
    }
    (void)fclose(file);
    return 0;
}

static int free_doc(void **state)
{
    (void)state;
    buf_free(&doc);
    return 0;
}

static void has_line(const char *line)
{
    if (strstr(buf_text(&doc), line) == NULL) {
        fail_msg("docs/templates.md lacks: %s", line);
    }
}

static void has_every_macro(void **state)
{
    (void)state;
    for (int i = 0; i < MACROS; i++) {
        const struct template_macro_row *m = &template_macros[i];
        char line[300];
        bool dotted = m->name[strlen(m->name) - 1] == '.';
        (void)snprintf(line, sizeof(line), "| `{%s%s}` | %s |\n", m->name, dotted ? "NAME" : "",
                       m->meaning);
        has_line(line);
    }
}

static void has_every_filter(void **state)
{
    (void)state;
    for (int i = 0; i < FILTERS; i++) {
        const struct template_filter_row *f = &template_filters[i];
        char line[300];
        (void)snprintf(line, sizeof(line), "| `%s%s%s` | %s |\n", f->name,
                       f->argument != NULL ? ":" : "", f->argument != NULL ? f->argument : "",
                       f->meaning);
        has_line(line);
    }
}

static void has_every_key(void **state)
{
    (void)state;
    for (const struct dialect_setting *s = dialect_template.settings; s->group != NULL; s++) {
        char line[300];
        (void)snprintf(line, sizeof(line), "| `%s` | %s |\n", s->key, s->meaning);
        has_line(line);
    }
}

/* True when `errors` takes the code. */
static bool is_taken(const char *code)
{
    char yaml[256];
    (void)snprintf(yaml, sizeof(yaml),
                   "send: {url: 'http://h/', answer: {error: {json: e}, errors: {w: %s}}}", code);
    struct yaml_error error;
    struct yaml_node *root = yaml_parse("doc", slice_of(yaml), &error);
    assert_non_null(root);
    void *settings = dialect_template.configure("doc", root, &error);
    dialect_template.release(settings);
    yaml_destroy(&root);
    return settings != NULL;
}

static void lists_the_codes_of_errors(void **state)
{
    (void)state;
    const char *list = strstr(buf_text(&doc), "may use:\n");
    assert_non_null(list);
    const char *end = strstr(list, "\n\n");
    assert_non_null(end);
    char *codes = slice_dup(slice_make(list, (size_t)(end - list)));
    for (int i = RESULT_NONE + 1; i < RESULT_CODES; i++) {
        char quoted[64];
        (void)snprintf(quoted, sizeof(quoted), "`%s`", result_rows[i].name);
        bool listed = strstr(codes, quoted) != NULL;
        if (listed != is_taken(result_rows[i].name)) {
            fail_msg("%s is %slisted as a code of errors", result_rows[i].name,
                     listed ? "" : "not ");
        }
    }
    free(codes);
}

static void its_example_is_right(void **state)
{
    (void)state;
    const char *begin = strstr(buf_text(&doc), "```yaml\n");
    assert_non_null(begin);
    begin += strlen("```yaml\n");
    const char *end = strstr(begin, "```");
    assert_non_null(end);
    struct yaml_error error = {""};
    struct yaml_node *root = yaml_parse("doc", slice_make(begin, (size_t)(end - begin)), &error);
    assert_string_equal(error.text, "");
    struct yaml_node *acme = yaml_get(yaml_get(root, "integrations"), "acme");
    void *settings = dialect_template.configure("doc", acme, &error);
    assert_string_equal(error.text, "");
    dialect_template.release(settings);
    yaml_destroy(&root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_example_is_right),      cmocka_unit_test(has_every_macro),
        cmocka_unit_test(has_every_filter),          cmocka_unit_test(has_every_key),
        cmocka_unit_test(lists_the_codes_of_errors),
    };
    return cmocka_run_group_tests_name("templates_doc", tests, read_doc, free_doc);
}
