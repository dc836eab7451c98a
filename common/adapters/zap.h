/*
 * zap.h: ZeroMQ's authenticator (RFC 27) in the loop of the process: for every CURVE handshake at a
 * socket that binds it asks who the key is. Without it ZeroMQ would let everybody in, so it comes
 * before the first such socket and goes after the last. Floor 3.
 *
 * Handshakes wait while the loop is busy; each has ZIO_HANDSHAKE_MS. A turn answers a bounded
 * number of them, so that a flood of handshakes leaves the loop to those who are in.
 */
#ifndef OTPQ_ADAPTERS_ZAP_H
#define OTPQ_ADAPTERS_ZAP_H

#include "common/adapters/zio.h"
#include "common/meaning/curve_key.h"

struct zap;

enum zap_verdict {
    ZAP_ALLOWED,
    ZAP_UNKNOWN,    /* a key that is nobody's */
    ZAP_REVOKED,    /* a key that was somebody's */
    ZAP_WRONG_KIND, /* a key that does not open this socket */
    ZAP_MALFORMED,  /* no question of CURVE */
    ZAP_NO_KEY,     /* it came to no key: no CURVE, another server's key, silence */
    ZAP_VERDICTS
};
extern const char *const zap_verdict_names[ZAP_VERDICTS]; /* "allowed", "unknown", … */

/* Whether the bearer of this key (Z85) may come in at this domain's socket. */
typedef enum zap_verdict zap_judge(void *context, struct slice domain, const char *public_key);

/* NULL: *error says why. One for a ZeroMQ context. */
MUST_CHECK struct zap *zap_new(struct event_base *base, void *zmq_context, zap_judge *judge,
                               void *context, const char **error);
/* Stops (and resumes) answering: handshakes wait. For a process that does not know anybody yet: to
 * say no now would keep its peers away for seconds, or for good. */
void zap_pause(struct zap *z, bool paused);
/* Takes NULL, nulls the pointer. Behind all sockets that are watched. */
void zap_destroy(struct zap **z);
/* Counts handshakes at this socket that came to no key, too. At most ZAP_WATCHED_MAX sockets. */
enum { ZAP_WATCHED_MAX = 4 };
MUST_CHECK bool zap_watch(struct zap *z, struct zio *socket, const char **error);
/* How many handshakes ended so. */
uint64_t zap_count(const struct zap *z, enum zap_verdict verdict);

#endif
