/*
 * address_rules.h: which network addresses an outgoing call may reach. Pure: addresses in, an
 * answer out. Special ranges (IANA special-purpose registries, RFC 6890: loopback, private,
 * link-local, CGNAT, multicast, documentation, everything that wraps an IPv4 address in an IPv6
 * one …) are refused unless the operator's allow list has the host, host and port, or the
 * network. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_ADDRESS_RULES_H
#define OTPQ_ADAPTERS_ADDRESS_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/base/slice.h"

struct address_rules;

/* allow: "host", "host:port", "192.0.2.7", "192.0.2.7:8090", "[::1]:8090", "10.0.0.0/8",
 * "fd00::/8". NULL: *error names the entry that is none of these. */
MUST_CHECK struct address_rules *address_rules_new(const char *const *allow, size_t count,
                                                   char error[256]);
/* Takes NULL, nulls the pointer. */
void address_rules_destroy(struct address_rules **r);

/* The name of the special range that the address is in ("loopback", …), or NULL: global unicast. */
const char *address_special(const struct sockaddr *address);

/* True when a call to the URL's host, at this address and port, may go out. */
MUST_CHECK bool address_rules_allow(const struct address_rules *r, struct slice host, uint16_t port,
                                    const struct sockaddr *address);

/* "192.0.2.7" or "2001:db8::1", without brackets, as a socket address of port 0. */
MUST_CHECK bool address_parse(const char *text, struct sockaddr_storage *out);

#endif
