/*
 * brokers_watch.h: for those who connect to brokers (workers, gateways): all that live, whenever
 * that changes. Told by the channel, and by a look once a second. A broker whose beat stood still
 * for BROKERS_FORGET_MS is left out; while the store is away everything stays as it was. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_BROKERS_WATCH_H
#define OTPQ_ADAPTERS_BROKERS_WATCH_H

#include "common/adapters/brokers_store.h"

enum { BROKERS_FORGET_MS = 10000 };

struct brokers_watch;

/* on_change: the lines of all brokers now; they live until it returns. From the loop, never before
 * it returns. The store must outlive it. */
struct brokers_watch *
brokers_watch_new(struct event_base *base, struct store *store, const char *prefix,
                  void (*on_change)(void *context, const struct broker_line *lines, size_t count),
                  void *context);
/* Takes NULL, nulls the pointer. */
void brokers_watch_destroy(struct brokers_watch **w);

#endif
