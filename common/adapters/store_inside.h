/*
 * store_inside.h: what the files of the store share and nobody else includes. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_INSIDE_H
#define OTPQ_ADAPTERS_STORE_INSIDE_H

#include <stdbool.h>

#include "common/adapters/store.h"
#include "common/meaning/netaddr.h"

enum { STORE_SHA_HEX = 40 };
/* The whole source; guarded: as a node of a cluster is sent it, which refuses to begin on a slot
 * that is being moved (lua/cluster_guard.lua). Lives as long as the process. */
struct slice store_script_text(enum store_script script, bool guarded);
/* SHA1 of that source, lower-case hex: its name for EVALSHA. */
const char *store_script_sha(enum store_script script, bool guarded);

/* A node of a cluster: as store_new, but its scripts are guarded. */
struct store *store_node_new(struct event_base *base, const struct store_options *o);
/* Commands that it would take now. */
uint32_t store_room(const struct store *s);
enum { STORE_LISTENER_PENDING = 1, STORE_NODE_ADDRESS_BYTES = NETADDR_HOST_BYTES + 16 };
/* A subscriber of one server; o's on_state and context are its own, on_message has that context. */
struct store *store_listener_new(struct event_base *base, const struct store_options *o,
                                 const char *channel,
                                 void (*on_message)(void *context, struct slice message));
/* host: without brackets. */
void store_node_address(const char *host, int port, char out[STORE_NODE_ADDRESS_BYTES]);

/* Nothing of it stands in the log: its owner tells what there is to tell. Before the loop turns. */
void store_quiet(struct store *s);
/* It keeps no data (a sentinel): greeted by PING alone, and with the password only if it wants one.
 * Before the loop turns. */
void store_plain(struct store *s);
/* Why it is not up, of the last attempt; "" before there was one, and when it is up. */
const char *store_why(const struct store *s);

#endif
