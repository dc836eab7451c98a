/*
 * budget_store.h: the parts that brokers have of a route's limits, leased from Redis
 * (lua/budget.lua). Floor 3.
 *
 * Key (prefix otpq:): bu:{ROUTE}, a hash of parts by broker's token; gone when nobody asks.
 */
#ifndef OTPQ_ADAPTERS_BUDGET_STORE_H
#define OTPQ_ADAPTERS_BUDGET_STORE_H

#include "common/adapters/store.h"

enum {
    BUDGET_HOLD_MS = 1000, /* a part is good for, counted from the question */
    /* Calls of a broker that fell silent may run so long: what it had at once is nobody's. */
    BUDGET_LINGER_MS = 15000
};

struct budget_part {
    uint32_t calls_at_once;
    uint64_t milli_calls_per_s;
};

struct budget_question {
    const char *token; /* this broker's */
    struct slice route;
    struct budget_part all;  /* the route's limits, 0: none */
    struct budget_part have; /* the part until now */
    uint32_t calls;          /* in flight here */
    uint32_t waiting;        /* here */
};

/* part NULL: the store did not answer. The callback may run before it returns. */
void budget_ask(struct store *store, const char *prefix, const struct budget_question *q,
                void (*done)(void *context, const struct budget_part *part), void *context);

#endif
