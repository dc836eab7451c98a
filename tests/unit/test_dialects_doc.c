/* docs/dialects.md shows each dialect's keys as the code has them, and examples that are right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/meaning/record.h"

static struct buf doc;

static int read_doc(void **state)
{
    (void)state;
    FILE *file = fopen("docs/dialects.md", "r");
    if (file == NULL) {
        print_error("docs/dialects.md is not here; run from the project's root\n");
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

/* The dialect's part of the page, owned. */
static char *part_of(const struct dialect *d)
{
    char head[64];
    (void)snprintf(head, sizeof(head), "\n## `%s`: ", d->name);
    const char *begin = strstr(buf_text(&doc), head);
    if (begin == NULL) {
        fail_msg("docs/dialects.md lacks a part about %s", d->name);
    }
    const char *end = strstr(begin + strlen(head), "\n## ");
    return slice_dup(slice_make(begin, end != NULL ? (size_t)(end - begin) : strlen(begin)));
}

static void check_keys(const struct dialect *d, const char *part)
{
    size_t count = 0;
    for (const struct dialect_setting *s = d->settings; s->group != NULL; s++) {
        char line[300];
        assert_string_equal(s->group, "integration");
        (void)snprintf(line, sizeof(line), "\n| `%s` | %s |\n", s->key, s->meaning);
        if (strstr(part, line) == NULL) {
            fail_msg("docs/dialects.md lacks, at %s:%s", d->name, line);
        }
        assert_string_equal(d->keys[count], s->key);
        count++;
    }
    assert_null(d->keys[count]);
}

static void check_example(const struct dialect *d, const char *part)
{
    const char *begin = strstr(part, "```yaml\n");
    assert_non_null(begin);
    begin += strlen("```yaml\n");
    const char *end = strstr(begin, "```");
    assert_non_null(end);
    struct yaml_error error = {""};
    struct record_texts texts = {0};
    struct yaml_node *root = yaml_parse(d->name, slice_make(begin, (size_t)(end - begin)), &error);
    assert_string_equal(error.text, "");
    bool good = record_file_parse(d->name, root, &texts, &error);
    assert_string_equal(error.text, "");
    assert_true(good && texts.count == 1);
    record_texts_free(&texts);
    yaml_destroy(&root);
}

static void every_dialect(void **state)
{
    (void)state;
    for (size_t i = 0; dialects[i] != NULL; i++) {
        if (dialects[i] != &dialect_template) { /* has a page of its own */
            char *part = part_of(dialects[i]);
            check_keys(dialects[i], part);
            check_example(dialects[i], part);
            free(part);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dialect),
    };
    return cmocka_run_group_tests_name("dialects_doc", tests, read_doc, free_doc);
}
