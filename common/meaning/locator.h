/*
 * locator.h: where a value is in an advertiser's answer: a JSON path (data.items[0].id) or a
 * regular expression with one group. Inner part of the dialects. Floor 1.
 */
#ifndef OTPQ_MEANING_LOCATOR_H
#define OTPQ_MEANING_LOCATOR_H

#include <jansson.h>
#include <stdbool.h>

#include "common/base/buf.h"
#include "common/meaning/dialect_read.h"

enum locator_kind { LOCATOR_NONE, LOCATOR_JSON, LOCATOR_REGEX };

enum {
    LOCATOR_STEPS_MAX = 16,
    LOCATOR_INDEX_MAX = 9999,
    LOCATOR_REGEX_BYTES_MAX = 512,
    LOCATOR_VALUE_BYTES_MAX = 1024
};

/* One step of a JSON path. */
struct locator_step {
    char *key;    /* member of an object, owned; NULL: an index */
    size_t index; /* element of an array */
};

struct locator {
    enum locator_kind kind;
    size_t step_count;
    struct locator_step steps[LOCATOR_STEPS_MAX];
    void *regex;    /* pcre2_code, owned */
    bool has_group; /* the value is group 1, else the whole match */
};

/* Reads `json` or `regex` of the map. need_group: a regex must have its one group. */
MUST_CHECK bool locator_read(const struct dialect_reader *r, const struct yaml_node *map,
                             bool need_group, struct locator *out);
void locator_free(struct locator *l);
/* The value as text into `out` (emptied first). False: it is not there, is null, an object or an
 * array, too long, or the regular expression ran into its limits. doc: the body as JSON or NULL. */
MUST_CHECK bool locator_find(const struct locator *l, const json_t *doc, struct slice body,
                             struct buf *out);

#endif
