/*
 * brokers.h: the brokers of a worker: those that are configured and those that are found, a link to
 * each, and how they share worker.capacity. Floor 4.
 *
 * Each broker may at any time send as many jobs as there is room here, at most its window: with one
 * broker the capacity, with n of them 2/n of it. So one that is busy gets all of the capacity, and
 * what an idle one does not use is not kept from the others. The jobs begun are never more than the
 * capacity; when several brokers send at once, up to once the capacity waits in the backlog, and no
 * longer than BACKLOG_HELD_MS: then a job goes back, for another worker may have room. Nothing new
 * is asked for while the room is used up, so who waits there is next, whichever broker it is from.
 */
#ifndef OTPQ_WORKERS_BROKERS_H
#define OTPQ_WORKERS_BROKERS_H

#include "common/adapters/brokers_store.h"
#include "workers/link.h"

struct brokers;

enum { BROKER_LINKS_MAX = 64, BACKLOG_HELD_MS = 200 };

struct brokers_options {
    struct event_base *base;
    void *zmq_context;
    const char *name;              /* this worker's, for people; borrowed */
    uint32_t capacity;             /* jobs begun at once */
    const struct curve_pair *pair; /* own, for brokers with keys; borrowed */
    /* Begin it: it ends in exactly one link_result or link_back. waited_ms is gone from its time to
     * live. Slices live until it returns. */
    void (*begin)(void *context, struct link *from, const struct wire_job *job, struct slice body,
                  int64_t waited_ms);
    void *context;
};

struct brokers *brokers_new(const struct brokers_options *o);
void brokers_destroy(struct brokers **b);
/* A configured one: it stays, whoever is found, and so does its key (NULL: none). False: *error
 * says why the address is none. */
MUST_CHECK bool brokers_connect(struct brokers *b, const char *address, const char *key,
                                const char **error);
/* All that live, by brokers_watch. One that is in no line any more, and not configured, is let go
 * as soon as no job of it is here. */
void brokers_found(struct brokers *b, const struct broker_line *lines, size_t count);
/* Jobs may begin here, or not: then nobody gets credit. */
void brokers_able(struct brokers *b, bool able);
/* The worker leaves: no more credit, for good, and what did not begin goes back. */
void brokers_freeze(struct brokers *b);
/* Jobs of all brokers that are here: begun, or waiting in the backlog. */
uint32_t brokers_jobs(const struct brokers *b);
/* Everything in the batches, then goodbye. */
void brokers_quit(struct brokers *b);

#endif
