/*
 * dead_store.h: dead letters in Redis: stored jobs that ended without what was asked (no attempt
 * left, too late, no such route), kept for a person. Floor 3.
 *
 * Keys (prefix otpq:, TAG two hex digits of the job id's hash): dead:{TAG} by when they ended,
 * dl:{TAG}:ID one of them (hash: entry, state, code, at). Bounded: DEAD_TAG_MAX a tag, oldest go.
 */
#ifndef OTPQ_ADAPTERS_DEAD_STORE_H
#define OTPQ_ADAPTERS_DEAD_STORE_H

#include "common/adapters/store.h"
#include "common/meaning/result.h"

enum { DEAD_TAGS = 256, DEAD_TAG_MAX = 4096, DEAD_ID_BYTES_MAX = 64 };

struct dead_letter {
    struct slice id;
    struct slice entry; /* stored_job.h */
    enum job_end end;
    enum result_code code;
    int64_t at_ms; /* store's clock */
};

/* Which tag an id is in: "a0". */
void dead_tag(struct slice id, char out[3]);
/* The same letter twice is one. done: written, or false: no answer, try again. keep_s: how long.
 * The callback may run before it returns. */
void dead_put(struct store *store, const char *prefix, const struct dead_letter *letter,
              uint64_t keep_s, void (*done)(void *context, bool written), void *context);

#endif
