/*
 * outbox.h: the feeder: what is due in the outbox becomes a job of the queue (docs/callbacks.md).
 * Told of it by a channel, and by a look at every tag once a second. Several brokers may feed: a
 * task that one of them has taken is hidden from the others for a while; should it be fed twice all
 * the same, a worker's claim lets only one attempt begin. Floor 4.
 */
#ifndef OTPQ_BROKER_OUTBOX_H
#define OTPQ_BROKER_OUTBOX_H

#include <event2/event.h>

#include "broker/core/core.h"
#include "common/adapters/store.h"

struct outbox;

struct outbox_options {
    struct event_base *base;
    struct store *store; /* outlives it */
    const char *prefix;  /* copied */
    struct core *core;
    bool (*ready)(void *context);   /* lanes are known: before that every one would be refused */
    void (*on_turn)(void *context); /* jobs were submitted: the core wants a step */
    void *context;
};

struct outbox *outbox_new(const struct outbox_options *o);
/* Takes NULL, nulls the pointer. Before the store. */
void outbox_destroy(struct outbox **o);
/* Nothing is fed any more: the broker is leaving. */
void outbox_drain(struct outbox *o);

struct outbox_stats {
    uint64_t open;    /* gauge: tasks that have not ended, of all brokers */
    uint64_t late_ms; /* gauge: since when the oldest of them has been due */
    uint64_t fed;     /* counter */
    uint64_t reaped;  /* counter: jobs ended as unknown, their lease being over */
    uint64_t refused; /* counter: not taken by the core; fed again a minute later */
};
struct outbox_stats outbox_stats(const struct outbox *o);

#endif
