/* The first line is a secret that the store knows, the second a code, the rest the answer. */
#include "common/base/utf8.h"
#include "common/meaning/redact.h"
#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 2048 };

static void check(const struct buf *out)
{
    must(buf_ok(out) && out->n <= BYTES_MAX);
    for (struct slice s = buf_slice(out); s.n > 0;) {
        size_t n = utf8_first(s);
        must(n > 0 && s.p[0] != '\0');
        s = slice_make(s.p + n, s.n - n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    struct slice known = fuzz_line(&rest);
    struct slice code = fuzz_line(&rest);
    struct redactor *redactor = redactor_new(&known, 1);
    struct buf out;
    buf_init(&out, BYTES_MAX);
    redact(redactor, rest, &code, 1, &out);
    check(&out);
    bool long_enough = known.n >= 8 && known.n <= 128; /* shorter ones may be in the stars' words */
    must(!long_enough || memchr(known.p, '*', known.n) != NULL || out.n < known.n ||
         memmem(out.p, out.n, known.p, known.n) == NULL);
    buf_clear(&out);
    redact_cut(redactor, rest, &code, 1, &out);
    check(&out);
    redactor_destroy(&redactor);
    buf_free(&out);
    return 0;
}
