/*
 * fuzz.h: what the fuzz targets share. A target is one file, fuzz_NAME.c, with one function; its
 * corpus is corpus/NAME. Inputs are a heap copy of exactly their length, so that one byte too far
 * is seen.
 */
#ifndef OTPQ_FUZZ_H
#define OTPQ_FUZZ_H

#include "common/base/slice.h"
#include "common/meaning/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline struct slice fuzz_slice(const uint8_t *data, size_t size)
{
    return slice_make(data, size);
}

/* Takes the first line off, without its line feed. */
static inline struct slice fuzz_line(struct slice *rest)
{
    const char *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
    size_t n = end != NULL ? (size_t)(end - rest->p) : rest->n;
    struct slice line = slice_make(rest->p, n);
    n += end != NULL;
    *rest = slice_make(rest->p + n, rest->n - n);
    return line;
}

/* Takes the first byte off; 0 when there is none. */
static inline unsigned fuzz_byte(struct slice *rest)
{
    if (rest->n == 0) {
        return 0;
    }
    unsigned char c = (unsigned char)rest->p[0];
    *rest = slice_make(rest->p + 1, rest->n - 1);
    return c;
}

static inline struct slice fuzz_param(void *context, struct slice name)
{
    (void)name;
    return *(struct slice *)context;
}

static inline bool fuzz_secret(void *context, struct slice name, struct slice *value)
{
    *value = *(struct slice *)context;
    return name.n > 0;
}

/* Every value is the same text. */
static inline struct template_values fuzz_values(struct slice *text)
{
    struct template_values v = {
        .country_code = "66", .param = fuzz_param, .secret = fuzz_secret, .context = text};
    for (int i = 0; i < MACROS; i++) {
        v.macro[i] = *text;
    }
    return v;
}

#endif
