/*
 * routes.h: tells the core what each integration bears and what each affiliate weighs, whenever the
 * records or the controls of operators change. Who is called back has a lane of his own:
 * "account:NAME", "affiliate:AID", "flash:FTID". Without a store all stays as it was. Floor 4.
 */
#ifndef OTPQ_BROKER_ROUTES_H
#define OTPQ_BROKER_ROUTES_H

#include <event2/event.h>
#include <stdbool.h>

#include "broker/core/core.h"
#include "common/adapters/controls_store.h"

struct routes;
struct records; /* common/meaning/record.h */

/* on_change: policies or weights changed, the core wants a step. The store must outlive it. */
struct routes *routes_new(struct event_base *base, struct store *store, const char *prefix,
                          struct core *core, void (*on_change)(void *context), void *context);
/* Takes NULL, nulls the pointer. */
void routes_destroy(struct routes **r);
/* What operators say now; copied. Nothing is told to the core before the first time: a broker that
 * starts would let out what is paused. */
void routes_follow(struct routes *r, const struct controls *now);
/* True once records and controls were read: before that every route is unknown. */
bool routes_loaded(const struct routes *r);
/* The records as they are now, borrowed; NULL before. */
struct records *routes_records(const struct routes *r);

#endif
