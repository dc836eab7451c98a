/*
 * pool.h: the workers' side of the broker: OTPQ-W/1 on a ROUTER (docs/worker-protocol.md). Who is
 * there, who fell silent, jobs out in one message a worker and turn, reports in. Floor 4.
 *
 * A worker that was silent for silence_ms is dead, and so is one whose connection is gone: its jobs
 * go to others. That is safe even if it lives: claims in the store decide who may call.
 */
#ifndef OTPQ_BROKER_POOL_H
#define OTPQ_BROKER_POOL_H

#include <event2/event.h>

#include "broker/core/core.h"
#include "broker/permits.h"

struct pool;

struct pool_options {
    struct event_base *base;
    void *zmq;            /* ZeroMQ context */
    const char *address;  /* bound */
    uint32_t workers_max; /* as the core's */
    uint32_t silence_ms;
    struct core *core;
    struct permits *permits; /* who is let in; NULL: everybody */
    /* a result was handed on; rid names the time-line it belongs to */
    void (*on_answered)(void *context, struct slice job, struct slice rid);
    void (*on_turn)(void *context); /* something changed: the core wants a step */
    /* many results were taken: the core wants a step now, and may flush, before more is read */
    void (*on_many)(void *context);
    uint32_t many; /* how many are many */
    void *context;
};

/* NULL: *error says why. */
MUST_CHECK struct pool *pool_new(const struct pool_options *o, const char **error);
/* Takes NULL, nulls the pointer. The core is not told of anything any more. */
void pool_destroy(struct pool **p);

/* effects.dispatch of the core: into the worker's batch. */
void pool_put_job(struct pool *p, uint32_t worker, const struct wire_job *job, struct slice body);
/* Sends every batch. True: a worker turned out to be gone, and the core has its jobs back. */
MUST_CHECK bool pool_flush(struct pool *p);

struct pool_stats {
    uint64_t messages;  /* received */
    uint64_t malformed; /* of them, not readable to their end */
    uint64_t lost;      /* workers gone without a goodbye */
};
struct pool_stats pool_stats(const struct pool *p);

#endif
