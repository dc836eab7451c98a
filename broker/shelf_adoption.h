/*
 * shelf_adoption.h: reads a shelf that was another broker's into the core, in parts, some of them
 * ahead, and a few milliseconds at a time: clients and workers are served meanwhile. Floor 4.
 */
#ifndef OTPQ_BROKER_SHELF_ADOPTION_H
#define OTPQ_BROKER_SHELF_ADOPTION_H

#include <event2/event.h>

#include "broker/core/core.h"
#include "broker/peers.h"
#include "common/adapters/shelf_store.h"

struct adoption;

struct adoption_options {
    struct event_base *base;
    struct shelf_store *store; /* outlives it */
    struct core *core;
    const struct peers *peers;      /* the store's clock */
    const char *shelf;              /* copied */
    uint32_t slot;                  /* the core's number of the shelf */
    void (*on_turn)(void *context); /* the core was given jobs */
    void *context;
};

struct adoption *adoption_new(const struct adoption_options *o);
/* Takes NULL, nulls the pointer. */
void adoption_destroy(struct adoption **a);
/* From the first entry on again: the store is another one. */
void adoption_restart(struct adoption *a);
/* All of it is with the core. */
MUST_CHECK bool adoption_over(const struct adoption *a);

struct adoption_stats {
    uint64_t adopted;    /* counter: entries that the core took */
    uint64_t unreadable; /* counter: entries that are none; left where they are */
};
/* Since the last time it was asked. */
struct adoption_stats adoption_counted(struct adoption *a);

#endif
