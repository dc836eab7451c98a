/*
 * peers.h: this broker among the others: beats, finds out who died, knows the store's clock. A
 * broker whose beat stood still for BROKER_LEASE_MS, all the while the store answered us, is dead;
 * so is one with our own name that is not us, from the first look on: only one process can listen
 * on an address. A wrong verdict harms nothing: shelves are fenced, claims decide who calls.
 * Floor 4.
 */
#ifndef OTPQ_BROKER_PEERS_H
#define OTPQ_BROKER_PEERS_H

#include "common/adapters/brokers_store.h"

struct peers;

struct peers_options {
    struct event_base *base;
    struct store *store;           /* outlives it */
    const char *prefix;            /* copied */
    const struct broker_line *own; /* copied; the beat is counted here */
    /* Every look that succeeded: all that live, ourselves included; tokens of who just died. */
    void (*on_look)(void *context, const struct broker_line *live, size_t live_count,
                    const char (*died)[BROKER_TOKEN_BYTES + 1], size_t died_count);
    void *context;
};

struct peers *peers_new(const struct peers_options *o);
/* Takes NULL, nulls the pointer. Before the store. */
void peers_destroy(struct peers **p);
/* From now on others see us leaving. */
void peers_leave(struct peers *p);
/* Our line goes, and no beat follows. */
void peers_end(struct peers *p);
/* Brokers that live, ourselves included; at least 1. */
size_t peers_count(const struct peers *p);
/* Before this moment nobody can have taken us for dead since the last beat that was answered, which
 * was sent BROKER_LEASE_MS earlier; 0: none was. */
int64_t peers_lease_ms(const struct peers *p);
/* The store's clock now, by the last answer; false: it has not answered yet. Never ahead of it: an
 * answer was on its way, or waited to be read, for a time that nobody knows. */
MUST_CHECK bool peers_store_ms(const struct peers *p, int64_t now_ms, int64_t *store_ms);
/* The same, never behind it: for deadlines of the store, after which nothing may be sent. Once it
 * has answered. */
int64_t peers_store_latest_ms(const struct peers *p, int64_t now_ms);
/* Every line is gone that this token has: its shelves were adopted. */
void peers_buried(struct peers *p, const char *token);

#endif
