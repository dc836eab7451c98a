/*
 * permits.h: who may do what at the broker's sockets. With a pair of keys for the broker both are
 * CURVE sockets: only bearers of keys in the records come in, every message is judged by the key
 * it came under, and when that is revoked its connections are cut. Without, nobody is asked, and
 * everybody who reaches the sockets may everything: config.h sees to it that this is only this
 * host. Floor 4.
 *
 * The identity is the key alone. Routing ids are ZeroMQ's: one that a peer chose could be another's
 * on the next connection, and the answers with it.
 */
#ifndef OTPQ_BROKER_PERMITS_H
#define OTPQ_BROKER_PERMITS_H

#include "common/adapters/zap.h"
#include "common/meaning/record.h"

struct permits;

enum permits_side { PERMITS_CLIENTS, PERMITS_WORKERS, PERMITS_SIDES };

/* pair: of the broker; must outlive it. NULL: *error says why. Before the sockets. */
MUST_CHECK struct permits *permits_new(struct event_base *base, void *zmq_context,
                                       const struct curve_pair *pair, const char **error);
/* Takes NULL, nulls the pointer. Behind the sockets. */
void permits_destroy(struct permits **p);
/* The records as they are now, before which nobody is let in: whoever may no longer be here is cut
 * off. */
void permits_records(struct permits *p, struct records *now);

/* The following take NULL for p: there are no keys. */

/* What zio_new wants for the socket of this side; NULL: nothing. Lives as long as p. */
const struct zio_curve *permits_curve(const struct permits *p, enum permits_side side);
/* Counts its handshakes. */
MUST_CHECK bool permits_watch(struct permits *p, struct zio *socket, const char **error);
/* Whose the message is that is being handed over; NULL: nobody's who may be here: it is to be
 * dropped, and its connection has been cut. Lives until the next permits_records. */
const struct curve_key *permits_sender(struct permits *p, enum permits_side side,
                                       struct zio *socket, struct slice peer);

/* Whether its jobs may have this route and tenant; false: *detail is what to tell. */
MUST_CHECK bool permits_job(const struct curve_key *who, struct slice route, struct slice tenant,
                            const char **detail);
/* True: it may not see what is others'. */
bool permits_bound(const struct curve_key *who);
/* Whether it may change how the queue runs: pause, drain, purge. */
bool permits_operator(const struct curve_key *who);

struct permits_stats {
    uint64_t handshakes[ZAP_VERDICTS]; /* by how they ended */
    uint64_t cut;                      /* connections */
};
struct permits_stats permits_stats(const struct permits *p);

#endif
