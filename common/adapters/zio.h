/*
 * zio.h: a ZeroMQ socket in a libevent loop. The one place in the project that knows that ZMQ_FD is
 * edge-triggered: after every send and receive the socket's state is looked at again
 * (docs/architecture.md, "Sockets"). One frame a message, raw zmq_msg_t. Floor 3.
 *
 * One turn takes at most receive_max messages and calls on_turn once after them; what is left is
 * taken in the next round of the loop, so that a busy socket never keeps the others waiting.
 *
 * A socket with a pair of keys (CURVE) is encrypted. One that binds asks the authenticator (zap.h)
 * about every key: that must be there before the first such socket, because ZeroMQ lets everybody
 * in when there is none.
 */
#ifndef OTPQ_ADAPTERS_ZIO_H
#define OTPQ_ADAPTERS_ZIO_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "common/base/slice.h"

struct zio;

enum zio_kind {
    ZIO_ROUTER,
    ZIO_DEALER,
    ZIO_REP, /* by frames: ZeroMQ's own protocols */
    ZIO_PAIR /* … */
};

enum {
    ZIO_RECEIVE_MAX = 256,   /* messages a turn unless told otherwise */
    ZIO_SEND_HWM = 10000,    /* messages that wait for one peer's connection */
    ZIO_FRAMES_MAX = 8,      /* of a message by frames; more are dropped */
    ZIO_HANDSHAKE_MS = 5000, /* of one with keys; then its connection is closed */
    ZIO_LINGER_MS = 1000     /* how long a closed socket may go on sending what it holds */
};

/* Who this socket is, and whom it talks to; read by zio_new alone. */
struct zio_curve {
    const char *public_key; /* own pair, Z85 */
    const char *secret_key; /* … */
    const char *server_key; /* connecting: public key of who binds there */
    const char *domain;     /* binding: what the authenticator is told; never empty */
};

struct zio_options {
    enum zio_kind kind;
    const char *address;           /* "tcp://127.0.0.1:5560"; read by zio_new alone */
    bool bind;                     /* else connect */
    int64_t message_bytes_max;     /* ZMQ_MAXMSGSIZE: a peer that sends more is disconnected */
    int receive_max;               /* messages taken in one turn before others get theirs; 0: 256 */
    const struct zio_curve *curve; /* or NULL: plain, for loopback and ipc */
    int receive_hwm;               /* ZMQ_RCVHWM; 0: none, for peers that credit bounds */
    /* peer: routing id (ROUTER only, 5 bytes usually; empty for DEALER). req: a REQ's empty
     * delimiter was taken off. malformed_frames: there was more than one payload frame, and payload
     * is the first of them. Bytes live until it returns. It may send, not destroy. */
    void (*on_message)(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed_frames);
    /* In place of on_message for ZIO_REP and ZIO_PAIR. */
    void (*on_frames)(void *context, const struct slice *frames, size_t count);
    /* after a turn in which on_message ran: the time to flush batches. NULL: not wanted */
    void (*on_turn)(void *context);
    void *context;
};

/* NULL: *error is a static or strerror text (address in use, bad address, …). */
MUST_CHECK struct zio *zio_new(struct event_base *base, void *zmq_context,
                               const struct zio_options *o, const char **error);
/* Takes NULL, nulls the pointer. Not from inside a callback of this zio. */
void zio_destroy(struct zio **z);

/* Who sent the message that is being handed over. */
struct zio_sender {
    const char *user; /* public key, as the authenticator named it; NULL: not authenticated */
    const char *host; /* its address, without a port; NULL: not known */
    int fd;           /* of its connection, which may have ended meanwhile; -1: none */
};
/* Inside on_message alone; texts live until it returns. */
struct zio_sender zio_sender(struct zio *z);
/* Tells a ZIO_PAIR that connects to this inproc address of these ZMQ_EVENT_*. */
MUST_CHECK bool zio_monitor(struct zio *z, const char *address, int events);

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
/* ZIO_REP, ZIO_PAIR. */
MUST_CHECK enum zio_sent zio_send_frames(struct zio *z, const struct slice *frames, size_t count);
/* Stops (and resumes) reading: back-pressure to the peers. */
void zio_pause(struct zio *z, bool paused);

#endif
