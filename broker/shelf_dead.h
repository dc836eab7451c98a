/*
 * shelf_dead.h: dead letters on their way: a stored job that ended without what was asked is
 * written down for a person before its entry leaves the shelf. A few are written at once, the
 * others wait. Floor 4.
 */
#ifndef OTPQ_BROKER_SHELF_DEAD_H
#define OTPQ_BROKER_SHELF_DEAD_H

#include <event2/event.h>

#include "common/adapters/dead_store.h"

struct dead_letters;

struct dead_options {
    struct event_base *base;
    struct store *store; /* outlives it */
    const char *prefix;  /* copied */
    uint64_t keep_s;
    /* Written: the entry may go. */
    void (*on_written)(void *context, uint32_t slot, uint32_t job, struct slice id);
    void *context;
};

struct dead_letters *dead_letters_new(const struct dead_options *o);
/* Takes NULL, nulls the pointer. */
void dead_letters_destroy(struct dead_letters **d);

/* Everything is copied. Nothing runs from in here. */
void dead_letters_put(struct dead_letters *d, uint32_t slot, uint32_t job,
                      const struct dead_letter *letter);
/* Begins with what was put. Not from inside the core. */
void dead_letters_flush(struct dead_letters *d);
/* Nothing is sent until they are let go: how these jobs end may be another broker's to say. */
void dead_letters_hold(struct dead_letters *d, bool hold);
/* The shelf is another's: who has it comes to the same end. */
void dead_letters_lost(struct dead_letters *d, uint32_t slot);
/* The id is put on the shelf anew: that entry does not go. */
void dead_letters_revived(struct dead_letters *d, uint32_t slot, struct slice id);
size_t dead_letters_pending(const struct dead_letters *d);
/* Of one shelf. */
MUST_CHECK bool dead_letters_any(const struct dead_letters *d, uint32_t slot);

#endif
