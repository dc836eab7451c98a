/*
 * shelves.h: stored jobs between the core and the store: group commit onto our own shelf, adoption
 * of dead brokers' shelves, and what happens when a shelf is not ours any more. Floor 4.
 *
 * One commit a turn carries everything that the turn put on or took off a shelf; a bounded number
 * of commits is on its way at once. What has no answer is sent again until it has one.
 */
#ifndef OTPQ_BROKER_SHELVES_H
#define OTPQ_BROKER_SHELVES_H

#include <event2/event.h>

#include "broker/core/core.h"
#include "broker/peers.h"
#include "common/adapters/store.h"

struct shelves;

struct shelves_options {
    struct event_base *base;
    struct store *store;            /* outlives it */
    const char *prefix;             /* copied */
    const char *token;              /* ours, as in peers; copied */
    uint64_t dead_keep_s;           /* how long a dead letter waits for a person */
    struct core *core;              /* told of shelves and of how commits went */
    struct peers *peers;            /* the store's clock; told who is buried */
    bool (*ready)(void *context);   /* lanes are known: nothing is adopted before */
    void (*on_turn)(void *context); /* the core wants a step */
    void *context;
};

struct shelves *shelves_new(const struct shelves_options *o);
/* Takes NULL, nulls the pointer. Before the store. */
void shelves_destroy(struct shelves **s);

/* Jobs that are to be stored can be taken now. */
MUST_CHECK bool shelves_open(const struct shelves *s);

/* effects.shelve and effects.unshelve of the core. A dead one is written as a dead letter first. */
void shelves_put(struct shelves *s, uint32_t shelf, uint32_t job, const struct wire_submit *submit,
                 struct slice body);
void shelves_remove(struct shelves *s, uint32_t shelf, uint32_t job,
                    const struct wire_submit *submit, struct slice body,
                    const struct wire_result *result, bool dead);
/* The end of a turn: what it gathered leaves. */
void shelves_flush(struct shelves *s);
/* Who lives and who died, of peers: shelves without a living owner are adopted. */
void shelves_look(struct shelves *s, const struct broker_line *live, size_t live_count,
                  const char (*died)[BROKER_TOKEN_BYTES + 1], size_t died_count);
/* The store came or went; forgot: it may have lost what was written last. The core was told so. */
void shelves_store(struct shelves *s, bool up, bool forgot);
/* The broker leaves: nothing is stored or adopted any more, and its shelves are given away, for
 * others to adopt at once. What is with workers goes on here: claims decide. */
void shelves_drain(struct shelves *s);
/* That is done. */
MUST_CHECK bool shelves_drained(const struct shelves *s);

struct shelves_stats {
    uint64_t shelves;    /* gauge: ours, adopted ones included */
    uint64_t pending;    /* gauge: puts and removals without an answer */
    uint64_t stored;     /* counter: jobs put */
    uint64_t removed;    /* counter */
    uint64_t adopted;    /* counter: jobs */
    uint64_t commits;    /* counter: round trips */
    uint64_t deposed;    /* counter: shelves that were taken from us */
    uint64_t unreadable; /* counter: entries that are none; left where they are */
    uint64_t to_adopt;   /* gauge: shelves being read */
};
struct shelves_stats shelves_stats(const struct shelves *s);

#endif
