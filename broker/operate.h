/*
 * operate.h: what an operator asks of this broker alone: to end what waits. In parts, with all
 * other work between them: a million jobs take a while. Floor 4.
 */
#ifndef OTPQ_BROKER_OPERATE_H
#define OTPQ_BROKER_OPERATE_H

#include <event2/event.h>

#include "broker/core/core.h"

struct operate;

enum { OPERATE_MAX = 8 /* purges at a time */ };

struct operate_options {
    struct event_base *base;
    struct core *core; /* outlives it */
    /* A purge is over; from the loop. */
    void (*on_purged)(void *context, uint64_t client, struct slice id, const struct wire_purged *p);
    void (*on_turn)(void *context); /* jobs ended: the core wants a step, clients their answers */
    void *context;
};

struct operate *operate_new(const struct operate_options *o);
/* Takes NULL, nulls the pointer. Purges that go on end without on_purged. */
void operate_destroy(struct operate **o);

/* Jobs accepted up to now, or older_ms before, end. Copies what it needs. False: OPERATE_MAX go on
 * already, and nothing was done. */
MUST_CHECK bool operate_purge(struct operate *o, uint64_t client, const struct wire_purge *p,
                              int64_t now_ms);

#endif
