/*
 * dialect_read.h: reading a dialect's settings out of YAML with the place of every mistake. Inner
 * part of the dialects. Floor 1.
 */
#ifndef OTPQ_MEANING_DIALECT_READ_H
#define OTPQ_MEANING_DIALECT_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "common/meaning/dialect.h"
#include "common/meaning/template.h"
#include "common/meaning/yaml.h"

struct dialect_reader {
    const char *file;                       /* a name for messages */
    const struct dialect_setting *settings; /* the known keys */
    struct yaml_error *error;
};

/* Always false, so that it can end a condition. */
bool read_fail(const struct dialect_reader *r, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
bool read_fail_key(const struct dialect_reader *r, const struct yaml_pair *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* A mistake at a byte of a scalar's text: points at it where the scalar is on one line. */
bool read_fail_inside(const struct dialect_reader *r, const struct yaml_node *at, size_t offset,
                      const char *text);

/* The node is a map and has keys of this group only. */
MUST_CHECK bool read_keys(const struct dialect_reader *r, const struct yaml_node *map,
                          const char *group);
/* The node is a map; `what` names it. */
MUST_CHECK bool read_is_map(const struct dialect_reader *r, const struct yaml_node *node,
                            const char *what);
/* The node is a scalar; says what to do about a macro that YAML took for a map. */
MUST_CHECK bool read_is_text(const struct dialect_reader *r, const struct yaml_node *node,
                             const char *what);
/* A whole number under the key, or the fallback. */
MUST_CHECK bool read_uint(const struct dialect_reader *r, const struct yaml_node *map,
                          const char *key, uint32_t min, uint32_t max, uint32_t fallback,
                          uint32_t *out);
/* A scalar as a template; NULL and the error's place on a bad one. */
MUST_CHECK struct template *read_template(const struct dialect_reader *r,
                                          const struct yaml_node *node, const char *what,
                                          enum template_place place, bool raw);

#endif
