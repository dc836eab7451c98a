/*
 * shelf_commits.h: what is put on one shelf and taken off it, gathered into commits that are sent
 * in order, a few at a time. What has no answer is sent again, and all that followed it: an entry
 * that was taken off, and this is known, is never put back by what came before. Floor 4.
 */
#ifndef OTPQ_BROKER_SHELF_COMMITS_H
#define OTPQ_BROKER_SHELF_COMMITS_H

#include <event2/event.h>

#include "broker/core/core.h"
#include "common/adapters/shelf_store.h"

struct commits;

struct commits_options {
    struct event_base *base;
    struct shelf_store *store; /* outlives it */
    struct core *core;         /* told how it went */
    const char *shelf;         /* copied */
    const char *owner;         /* copied */
    /* The shelf is another's: nothing more is sent. It may be destroyed from in here. */
    void (*on_lost)(void *context);
    void (*on_turn)(void *context); /* the core was told something */
    void *context;
};

/* Held: it only gathers. */
struct commits *commits_new(const struct commits_options *o);
/* Takes NULL, nulls the pointer. The core hears no more of what was under way. */
void commits_destroy(struct commits **c);

/* job as effects.shelve and effects.unshelve have it. Nothing is sent from in here. */
void commits_put(struct commits *c, uint32_t job, struct slice id, struct slice entry);
void commits_remove(struct commits *c, uint32_t job, struct slice id);
/* Sends what there is, as far as there is room on the way. Not from inside the core. */
void commits_flush(struct commits *c);
/* Nothing is sent until it is let go. */
void commits_hold(struct commits *c, bool hold);
/* The store is away: jobs of which nothing was ever sent are certainly not kept. */
void commits_refuse(struct commits *c);
/* Asks whether the shelf is ours still, if nothing is on its way that would tell. */
void commits_probe(struct commits *c);
/* The shelf was ours at this moment: then the latest commit was sent that went well. 0: none. */
int64_t commits_proved_ms(const struct commits *c);
/* Puts and removals without an answer. */
size_t commits_pending(const struct commits *c);

struct commits_stats {
    uint64_t stored;  /* counter: jobs put */
    uint64_t removed; /* counter: ids taken off */
    uint64_t commits; /* counter: round trips */
};
/* Since the last time it was asked. */
struct commits_stats commits_counted(struct commits *c);

#endif
