/* The first byte is the dialect. Up to a line "..." the keys of an integration, then the value of
 * every macro: what is configured is built, both calls. */
#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 256 * 1024, DIALECTS = 4 };

static void build(const struct dialect *d, const void *settings, const struct template_values *v)
{
    for (int call = 0; call < DIALECT_CALLS; call++) {
        if (!d->has(settings, (enum dialect_call)call)) {
            continue;
        }
        struct template_error error = {0};
        struct buf out;
        buf_init(&out, BYTES_MAX);
        must(d->timeout_ms(settings, (enum dialect_call)call) > 0);
        (void)!dialect_preview(d, settings, (enum dialect_call)call, v, &out, &error);
        buf_clear(&out);
        struct dialect_request request;
        dialect_request_init(&request);
        if (d->build(settings, (enum dialect_call)call, v, false, &request, &error)) {
            must(memchr(request.url.p, '\n', request.url.n) == NULL);
            dialect_request_write(&request, &out);
        }
        dialect_request_free(&request);
        buf_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    const struct dialect *d = dialects[fuzz_byte(&rest) % DIALECTS];
    const char *end = rest.n > 0 ? memmem(rest.p, rest.n, "\n...\n", 5) : NULL;
    struct slice text = slice_make(rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n);
    struct slice value = end != NULL ? slice_make(end + 5, rest.n - text.n - 5) : SLICE("1");
    struct template_values v = fuzz_values(&value);
    struct yaml_error error = {""};
    struct yaml_node *node = yaml_parse("fuzz", text, &error);
    void *settings =
        node != NULL && node->kind == YAML_MAP ? d->configure("fuzz", node, &error) : NULL;
    if (settings != NULL) {
        build(d, settings, &v);
        d->release(settings);
    }
    yaml_destroy(&node);
    return 0;
}
