/*
 * record_plan.h: what `otpq apply` is about to do: the records of a file beside those of the store.
 * Pure. Floor 4.
 */
#ifndef OTPQ_CLIENTS_RECORD_PLAN_H
#define OTPQ_CLIENTS_RECORD_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/meaning/record.h"

enum plan_step {
    PLAN_ADD,    /* the store does not have it */
    PLAN_CHANGE, /* the store has another text */
    PLAN_REMOVE, /* the file has the section and not the record, and is to be the whole truth */
    PLAN_KEEP,   /* the file does not have it */
    PLAN_SAME,   /* both have the same text */
    PLAN_STEPS
};
extern const char plan_signs[PLAN_STEPS];

struct plan_row {
    enum plan_step step;
    const struct record_text *stored; /* NULL: PLAN_ADD */
    const struct record_text *wanted; /* NULL: PLAN_REMOVE, PLAN_KEEP */
};

struct plan {
    size_t count;
    struct plan_row *rows;    /* in the order of a file */
    size_t steps[PLAN_STEPS]; /* how many rows of each step */
};

/* Sorts both, which must outlive the plan. prune: remove what the file's sections do not have. */
void plan_make(struct plan *p, struct record_texts *stored, struct record_texts *wanted,
               bool prune);
void plan_free(struct plan *p);
/* What is to be written (deletions have no text) and what the records will be then. Arrays of
 * borrowed texts with *count entries; the caller frees the array alone. */
MUST_CHECK struct record_text *plan_changes(const struct plan *p, size_t *count);
MUST_CHECK struct record_text *plan_outcome(const struct plan *p, size_t *count);

/* The lines that differ, each behind "- " or "+ ", with `indent` spaces before. Values whose key
 * speaks of a key, token, password or signature are shown as ***. */
void plan_put_lines(const struct plan_row *row, int indent, struct buf *out);

#endif
