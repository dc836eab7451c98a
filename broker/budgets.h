/*
 * budgets.h: routes' limits hold over all brokers together. While there are others, this broker
 * leases a part of each limited route that it has calls for, and asks anew before the part is over;
 * alone, it has all of it and asks nobody. Floor 4.
 *
 * Who joins others begins with no part, and only after a lease, by when they have seen it; who is
 * left alone goes on leasing until what the dead were calling must be over.
 */
#ifndef OTPQ_BROKER_BUDGETS_H
#define OTPQ_BROKER_BUDGETS_H

#include <event2/event.h>

#include "broker/core/core.h"
#include "common/adapters/budget_store.h"

struct budgets;

struct budgets_options {
    struct event_base *base;
    struct store *store;            /* outlives it */
    const char *prefix;             /* copied */
    const char *token;              /* ours, as in peers; copied */
    struct core *core;              /* told of parts */
    void (*on_turn)(void *context); /* the core wants a step */
    void *context;
};

struct budgets *budgets_new(const struct budgets_options *o);
/* Takes NULL, nulls the pointer. Before the store. */
void budgets_destroy(struct budgets **b);
/* Brokers that live, ourselves included: of every look at them. */
void budgets_look(struct budgets *b, size_t live_count);
/* The end of a turn: asks for routes that became hungry in it. */
void budgets_turn(struct budgets *b);
/* We leave: parts go back at once, but for what is in flight. What is not told to the store by then
 * runs out. Nothing may begin any more. */
void budgets_leave(struct budgets *b);
/* True while limits are in parts. */
bool budgets_shared(const struct budgets *b);

#endif
