/*
 * zio.h: a ZeroMQ socket in a libevent loop. The one place in the project that knows that ZMQ_FD is
 * edge-triggered: after every send and receive ZMQ_EVENTS is looked at again (docs/architecture.md,
 * "Sockets"). One frame a message, raw zmq_msg_t. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_ZIO_H
#define OTPQ_ADAPTERS_ZIO_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "common/base/slice.h"

struct zio;

enum zio_kind { ZIO_ROUTER, ZIO_DEALER };

struct zio_options {
    enum zio_kind kind;
    const char *address;        /* "tcp://127.0.0.1:5560" */
    bool bind;                  /* else connect */
    int64_t message_bytes_max;  /* ZMQ_MAXMSGSIZE */
    int receive_max;            /* messages taken in one turn before others get theirs; 0: 256 */
    /* peer: routing id (ROUTER only, 5 bytes usually). extra_frames: the message had frames beyond
     * one payload (a REQ delimiter is taken off and req is true). Bytes live until it returns. */
    void (*on_message)(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed_frames);
    /* after a turn in which on_message ran: the time to flush batches */
    void (*on_turn)(void *context);
    void *context;
};

/* NULL: *error is a static or strerror text (address in use, bad address, …). */
MUST_CHECK struct zio *zio_new(struct event_base *base, void *zmq_context,
                               const struct zio_options *o, const char **error);
void zio_destroy(struct zio **z);

enum zio_sent { ZIO_SENT, ZIO_FULL /* peer's pipe is full: an alarm */, ZIO_GONE /* no such peer */ };
/* ROUTER: to a peer, with the REQ delimiter when req. Copies small payloads. */
MUST_CHECK enum zio_sent zio_send_to(struct zio *z, struct slice peer, bool req,
                                     struct slice payload);
/* DEALER. */
MUST_CHECK enum zio_sent zio_send(struct zio *z, struct slice payload);
/* Stops (and resumes) reading: back-pressure to the peers. */
void zio_pause(struct zio *z, bool paused);

#endif
