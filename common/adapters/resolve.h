/*
 * resolve.h: the address behind one host name, looked up outside of the event loop.
 *
 * The system's resolver (/etc/hosts, DNS, whatever the machine is set to) blocks for seconds when a
 * name server is silent, and cannot be cancelled: it runs in a thread. A resolver has at most one
 * thread at a time, for as long as a look-up takes; one that is stuck is not joined by a second
 * one, and its late answer goes to the next question. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_RESOLVE_H
#define OTPQ_ADAPTERS_RESOLVE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"

enum { RESOLVE_ADDRESS_BYTES = 64 }; /* the longest number with its scope, and a NUL */

/* Blocks, in a thread of its own. False: *why is a static text. */
typedef bool resolve_lookup(const char *host, char address[RESOLVE_ADDRESS_BYTES],
                            const char **why);
/* address: in digits, valid during the call; NULL: why says what is wrong. */
typedef void resolve_callback(void *context, const char *address, const char *why);

struct resolver;

/* True for an address in digits: nothing to look up. Does not block. */
MUST_CHECK bool resolve_is_number(const char *host);

/* lookup NULL: the system's (IPv4 first). done runs from the loop, once for each question. */
struct resolver *resolver_new(struct event_base *base, const char *host, resolve_lookup *lookup,
                              resolve_callback *done, void *context);
/* A question under way is forgotten: done does not run; a thread that still looks up ends by itself
 * and touches nothing of ours. Never from inside done. */
void resolver_destroy(struct resolver **r);
/* One question at a time. Answered within timeout_ms. */
void resolver_ask(struct resolver *r, uint32_t timeout_ms);

#endif
