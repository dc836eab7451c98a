/* The first byte is the place, the first line the template, the rest the value of every macro. */
#include "common/meaning/template.h"
#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 256 * 1024 };

static void expand(const struct template *t, const struct template_values *v)
{
    struct template_error error = {0};
    struct buf out;
    buf_init(&out, BYTES_MAX);
    if (!template_expand(t, v, &out, &error)) {
        must(error.text[0] != '\0');
    }
    buf_clear(&out);
    (void)!template_expand_masked(t, v, &out, &error);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    unsigned choice = fuzz_byte(&rest);
    enum template_place place = (enum template_place)(choice % (TEMPLATE_TEXT + 1));
    struct slice source = fuzz_line(&rest);
    struct template_values v = fuzz_values(&rest);
    struct template_error error = {0};
    struct template *t = (choice & 64) != 0 ? template_compile_raw(source, place, &error)
                                            : template_compile(source, place, &error);
    if (t != NULL) {
        expand(t, &v);
    } else {
        must(error.text[0] != '\0');
    }
    template_destroy(&t);
    return 0;
}
