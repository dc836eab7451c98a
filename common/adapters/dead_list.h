/*
 * dead_list.h: dead letters (dead_store.h) for a person: listed, shown, taken away. Blocking, for
 * `otpq dead`. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_DEAD_LIST_H
#define OTPQ_ADAPTERS_DEAD_LIST_H

#include "common/adapters/dead_store.h"
#include "common/adapters/store_ask.h"

/* Slices live as long as the call that has it. */
struct dead_row {
    struct slice id;
    struct slice entry; /* stored_job.h */
    struct slice state; /* word of enum job_end */
    struct slice code;  /* word of the vocabulary */
    int64_t at_ms;      /* when it ended */
};
/* False: no more of them. */
typedef bool dead_row_taker(void *context, const struct dead_row *row);

/* The letters of one tag that ended at since_ms or later, the newest first, in parts: those that
 * `row` takes away meanwhile do not hide others, if it takes all that it is shown. False: error
 * filled. */
MUST_CHECK bool dead_list(struct asker *a, const char *prefix, unsigned tag, int64_t since_ms,
                          dead_row_taker *row, void *context, char error[512]);
/* One letter. 1: `row` has seen it, 0: there is none, -1: error filled. */
MUST_CHECK int dead_show(struct asker *a, const char *prefix, struct slice id, dead_row_taker *row,
                         void *context, char error[512]);
/* Takes it away. 1: it was there, 0: there was none, -1: error filled. */
MUST_CHECK int dead_take(struct asker *a, const char *prefix, struct slice id, char error[512]);

#endif
