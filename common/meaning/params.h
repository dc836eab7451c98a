/*
 * params.h: the parameters of one HTTP request, merged from the query, a form body or a JSON object
 * body.
 *
 * Strict: percent-encoding is decoded once, text is UTF-8 without control characters, a name given
 * twice must have the same value both times. Bytes in, values out. Floor 1.
 */
#ifndef OTPQ_MEANING_PARAMS_H
#define OTPQ_MEANING_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

enum {
    PARAMS_MAX = 64,
    PARAM_NAME_BYTES_MAX = 64,
    PARAM_VALUE_BYTES_MAX = 1024,
    PARAMS_ERROR_BYTES = 160
};

struct param {
    struct slice name;  /* decoded, 1 to 64 bytes */
    struct slice value; /* decoded, may be empty */
};

struct params {
    uint32_t count;
    struct param at[PARAMS_MAX];
    char *bytes; /* owned: what the slices point into */
    size_t used; /* of bytes */
    size_t room; /* of bytes */
};

/* Reads query and body; content_type is the header's value or empty. A body that begins with "{" is
 * JSON whatever the header says: command-line clients send it as a form. False: error says which
 * parameter breaks which rule, without its value. params_free in either case. */
MUST_CHECK bool params_read(struct params *p, struct slice query, struct slice content_type,
                            struct slice body, char error[PARAMS_ERROR_BYTES]);
void params_free(struct params *p);
/* The value, or a slice with p == NULL when the parameter is not there. */
struct slice params_get(const struct params *p, const char *name);

/* UTF-8 without control characters. */
MUST_CHECK bool params_text_ok(struct slice s);

#endif
