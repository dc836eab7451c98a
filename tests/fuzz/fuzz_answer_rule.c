/* Up to a line "..." the `answer` map of a template, then an HTTP status on a line, then a body. */
#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 64 * 1024 };

static void judge(const void *settings, struct slice rest)
{
    uint64_t status = 200;
    if (!slice_to_u64(fuzz_line(&rest), 999, &status)) {
        status = 200;
    }
    struct dialect_answer answer = {.http = (int)status, .body = rest};
    struct dialect_verdict v;
    dialect_template.parse(settings, DIALECT_SEND, &answer, &v);
    must(v.code > RESULT_NONE && v.code < RESULT_CODES && v.end < JOB_ENDS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    const char *end = rest.n > 0 ? memmem(rest.p, rest.n, "\n...\n", 5) : NULL;
    if (end == NULL) {
        return 0;
    }
    struct slice rule = slice_make(rest.p, (size_t)(end - rest.p));
    struct buf yaml;
    buf_init(&yaml, BYTES_MAX);
    buf_puts(&yaml, "send:\n  url: http://h/\n  answer:\n    ");
    for (size_t i = 0; i < rule.n; i++) {
        buf_putc(&yaml, rule.p[i]);
        buf_puts(&yaml, rule.p[i] == '\n' ? "    " : "");
    }
    struct yaml_error error = {""};
    struct yaml_node *node = buf_ok(&yaml) ? yaml_parse("fuzz", buf_slice(&yaml), &error) : NULL;
    void *settings = node != NULL && node->kind == YAML_MAP
                         ? dialect_template.configure("fuzz", node, &error)
                         : NULL;
    if (settings != NULL) {
        judge(settings, slice_make(end + 5, rest.n - rule.n - 5));
        dialect_template.release(settings);
    }
    yaml_destroy(&node);
    buf_free(&yaml);
    return 0;
}
