/*
 * clients.h: the clients' side of the broker: OTPQ/1 on a ROUTER. Reads messages, hands jobs to the
 * core, gathers the answers of a turn into one message a client (docs/job-protocol.md). Floor 4.
 *
 * A REQ socket has one question open at a time: it is sent exactly one message for each, the first
 * answer there is; what comes later for the same job waits under its id.
 */
#ifndef OTPQ_BROKER_CLIENTS_H
#define OTPQ_BROKER_CLIENTS_H

#include <event2/event.h>

#include "broker/core/core.h"
#include "broker/permits.h"
#include "common/base/buf.h"

struct clients;

struct clients_options {
    struct event_base *base;
    void *zmq;            /* ZeroMQ context */
    const char *address;  /* bound */
    uint32_t clients_max; /* remembered; one more: the longest silent is forgotten */
    struct core *core;
    struct permits *permits; /* who may what; NULL: everybody everything */
    /* writes the pair that answers I */
    void (*put_info)(void *context, struct buf *out, struct slice id);
    bool (*routes_known)(
        void *context); /* records were read: an unknown route is the client's fault */
    /* M: an operator's question; clients_put_purged answers. False: too many at once */
    bool (*purge)(void *context, uint64_t client, const struct wire_purge *p);
    void (*on_turn)(void *context); /* messages were taken: the core wants a step */
    /* many jobs were taken: the core wants a step now, and may flush, before more is read */
    void (*on_many)(void *context);
    uint32_t many; /* how many are many */
    void *context;
};

/* NULL: *error says why. */
MUST_CHECK struct clients *clients_new(const struct clients_options *o, const char **error);
/* Takes NULL, nulls the pointer. What was flushed is still sent by the socket's linger. */
void clients_destroy(struct clients **c);

/* effects.answer of the core: into the client's batch. */
void clients_put_result(struct clients *c, uint64_t client, const struct wire_result *result,
                        struct slice body);
/* effects.stored of the core: A "stored", or N that says why it is not. */
void clients_put_stored(struct clients *c, uint64_t client, struct slice id, enum core_stored what);
/* Answers M. */
void clients_put_purged(struct clients *c, uint64_t client, struct slice id,
                        const struct wire_purged *p);
/* Whether the client of this handle is there to be told of the job. */
MUST_CHECK bool clients_hear(const struct clients *c, uint64_t client, struct slice id);
/* Sends every batch: the end of a turn. */
void clients_flush(struct clients *c);
/* Starts reading: until then clients wait in their own queues. */
void clients_open(struct clients *c);
/* From now on every submit is refused, or no longer: the broker is leaving, or an operator says so.
 */
void clients_drain(struct clients *c, bool drains);

struct clients_stats {
    uint64_t known;        /* gauge */
    uint64_t messages;     /* received */
    uint64_t malformed;    /* of them, not readable to their end */
    uint64_t forbidden;    /* submits and questions that the key is not for */
    uint64_t dropped;      /* clients forgotten to make room */
    uint64_t answers_gone; /* messages to clients that had left */
    uint64_t answers_full; /* messages to clients that do not read */
};
struct clients_stats clients_stats(const struct clients *c);

#endif
