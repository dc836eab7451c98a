/*
 * flow.h: one job on its way through a worker: route found → claimed in the store → deadline looked
 * at again → what the op needs reserved → advertiser called → outcome written → answered.
 * docs/architecture.md, "The life of a job", is the prose of it. Floor 4.
 *
 *   READY      waits for its turn to be claimed (FLOW_CLAIMS_MAX scripts at once, so that none of
 *              them waits so long for the store that it is taken for lost)
 *   CLAIMING   the claim script is on its way
 *   WAITING    somebody else has the job, or its session: a timer runs until asking again
 *   RESERVING  an op asks for what its call needs
 *   CALLING    the request is with the HTTP client
 *   FINISHING  the outcome is being written, or a timer runs until trying again
 *   RELEASING  nothing was sent: the claim is being opened again, or a timer as above
 */
#ifndef OTPQ_WORKERS_FLOW_H
#define OTPQ_WORKERS_FLOW_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/adapters/fetch.h"
#include "common/adapters/flash_store.h"
#include "common/adapters/records_watch.h"
#include "common/adapters/session_store.h"
#include "common/base/list.h"
#include "common/meaning/secrets.h"
#include "workers/link.h"

/* All flows of a process and what they work with. Borrowed parts outlive it. */
struct flows {
    struct event_base *base;
    struct fetch *fetch;
    struct session_store *sessions;
    struct flash_store *flash;
    struct records_watch *watch;
    const struct secrets *secrets;
    struct slice pepper;            /* key of code MACs */
    uint32_t flows_max;             /* jobs that may be here at once; more are given back */
    void (*on_idle)(void *context); /* draining and the last one has ended */
    void *context;

    struct list running;
    uint32_t count;    /* in running */
    struct list ready; /* READY ones, in order */
    uint32_t claiming; /* CLAIMING ones */
    bool pumping;      /* ready ones are being claimed further up the stack */
    bool draining;
};

/* The parts above are set by the caller; the rest here. */
void flows_init(struct flows *all);
/* Takes a job over: it ends in exactly one link_result or link_back. waited_ms is gone from its
 * time to live. */
void flow_begin(struct flows *all, struct link *from, const struct wire_job *job, struct slice body,
                int64_t waited_ms);
/* Gives back what has not started, and all that still comes; what has started is finished. on_idle
 * runs when nothing is left, perhaps before this returns. */
void flows_drain(struct flows *all);
/* Drops what is left without a word: leases in the store end it. */
void flows_abandon(struct flows *all);

#endif
