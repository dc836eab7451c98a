/*
 * store_cluster.h: what stands behind a store whose address is cluster://, for store.c alone: one
 * plain store for each primary, a map of the slots, and commands that follow their slot. Floor 3.
 *
 * The map is read from any node (CLUSTER SLOTS): at start, when a node says MOVED, is lost or does
 * not answer, and every MAP_IDLE_MS. Each command goes to the owner of its first key's slot.
 *
 * MOVED: the command was certainly not run; the map is corrected and it is sent again at once.
 * ASK: a plain command follows, behind ASKING; a script does not, because its other keys may still
 * be on the first node. ASK of a script, TRYAGAIN, CLUSTERDOWN, a slot without owner or with one
 * that is not connected: sent again after a pause, until the command's deadline; then the answer is
 * an error that store_reply_unavailable knows: nothing was written. No connection to any node:
 * STORE_REFUSED at once. A connection that ends with the command in it: STORE_UNKNOWN, as with one
 * server.
 *
 * Commands that are in flight at the same time may be carried out in another order than they were
 * given, because one of them may have to wait.
 *
 * Up: every slot has an owner and every owner is connected. While one primary is away the store is
 * down for its users, as one server would be; commands for the others' slots are carried out all
 * the same. Forgot: a node that was a replica, or not there, has become the owner of another's
 * slots (it may lack the last writes), or a node came back as another process.
 */
#ifndef OTPQ_ADAPTERS_STORE_CLUSTER_H
#define OTPQ_ADAPTERS_STORE_CLUSTER_H

#include "common/adapters/store_inside.h"
#include "common/adapters/store_news.h"

struct store_cluster;

/* seeds: some of the nodes, copied. o: as store_new's; its address is not looked at. */
struct store_cluster *store_cluster_new(struct event_base *base, const struct store_options *o,
                                        const struct netaddr *seeds, size_t count);
void store_cluster_destroy(struct store_cluster **c);
bool store_cluster_up(const struct store_cluster *c);
/* As store_why, store_durability (the weakest of the owners') and store_quiet. */
const char *store_cluster_why(struct store_cluster *c);
const char *store_cluster_durability(const struct store_cluster *c);
void store_cluster_quiet(struct store_cluster *c);
/* As store_place. */
uint32_t store_cluster_place(const struct store_cluster *c, struct slice key);
/* Its nodes, as it learns of them. */
struct store_hosts *store_cluster_hosts(const struct store_cluster *c);

/* As store_command and store_eval. */
void store_cluster_command(struct store_cluster *c, store_callback *done, void *context, int argc,
                           const struct slice *argv);
void store_cluster_eval(struct store_cluster *c, enum store_script script, store_callback *done,
                        void *context, int keys, int argc, const struct slice *argv);

#endif
