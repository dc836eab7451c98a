/*
 * zio.h: a ZeroMQ socket in a libevent loop. The one place in the project that knows that ZMQ_FD is
 * edge-triggered: after every send and receive the socket's state is looked at again
 * (docs/architecture.md, "Sockets"). One frame a message, raw zmq_msg_t. Floor 3.
 *
 * One turn takes at most receive_max messages and calls on_turn once after them; what is left is
 * taken in the next round of the loop, so that a busy socket never keeps the others waiting.
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

enum {
    ZIO_RECEIVE_MAX = 256, /* messages a turn unless told otherwise */
    ZIO_SEND_HWM = 10000,  /* messages that wait for one peer's connection */
    ZIO_LINGER_MS = 1000   /* how long a closed socket may go on sending what it holds */
};

struct zio_options {
    enum zio_kind kind;
    const char *address;       /* "tcp://127.0.0.1:5560"; read by zio_new alone */
    bool bind;                 /* else connect */
    int64_t message_bytes_max; /* ZMQ_MAXMSGSIZE: a peer that sends more is disconnected */
    int receive_max;           /* messages taken in one turn before others get theirs; 0: 256 */
    int receive_hwm;           /* ZMQ_RCVHWM; 0: none, for peers that credit bounds */
    /* peer: routing id (ROUTER only, 5 bytes usually; empty for DEALER). req: a REQ's empty
     * delimiter was taken off. malformed_frames: there was more than one payload frame, and payload
     * is the first of them. Bytes live until it returns. It may send, not destroy. */
    void (*on_message)(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed_frames);
    /* after a turn in which on_message ran: the time to flush batches. NULL: not wanted */
    void (*on_turn)(void *context);
    void *context;
};

/* NULL: *error is a static or strerror text (address in use, bad address, …). */
MUST_CHECK struct zio *zio_new(struct event_base *base, void *zmq_context,
                               const struct zio_options *o, const char **error);
/* Takes NULL, nulls the pointer. Not from inside a callback of this zio. */
void zio_destroy(struct zio **z);

enum zio_sent {
    ZIO_SENT,
    ZIO_FULL, /* the peer's pipe is full: an alarm, nothing to wait for */
    ZIO_GONE  /* no such peer */
};
/* ROUTER: to a peer, with the REQ delimiter when req. Copies the payload, never waits. */
MUST_CHECK enum zio_sent zio_send_to(struct zio *z, struct slice peer, bool req,
                                     struct slice payload);
/* DEALER. Messages to a peer that is not (yet) connected wait in the socket. */
MUST_CHECK enum zio_sent zio_send(struct zio *z, struct slice payload);
/* Stops (and resumes) reading: back-pressure to the peers. */
void zio_pause(struct zio *z, bool paused);

#endif
