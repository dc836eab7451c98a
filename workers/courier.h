/*
 * courier.h: op callback: tells others what happened (docs/callbacks.md). A task of the outbox is
 * claimed, its request built from the records as they are now, sent once, and what came of it
 * written; then the job ends. Retries are new jobs: the outbox makes the task due again. A client's
 * own callback is put into the outbox, and its job ends at once. Floor 4.
 */
#ifndef OTPQ_WORKERS_COURIER_H
#define OTPQ_WORKERS_COURIER_H

#include <event2/event.h>

#include "common/adapters/fetch.h"
#include "common/adapters/flash_store.h"
#include "common/adapters/outbox_store.h"
#include "common/adapters/records_watch.h"
#include "common/meaning/callback.h"
#include "common/meaning/secrets.h"
#include "workers/link.h"

struct courier;

/* Borrowed parts outlive it. */
struct courier_options {
    struct fetch *fetch;
    struct outbox_store *outbox;
    struct flash_store *flash; /* takes what a poll was told */
    struct records_watch *watch;
    const struct secrets *secrets;
    struct slice pepper;               /* opens sealed codes */
    struct callback_schedule schedule; /* copied */
    uint32_t runs_max;                 /* jobs that may be here at once; more are given back */
    void (*on_idle)(void *context);    /* draining and the last one has ended */
    void *context;
};

struct courier *courier_new(const struct courier_options *o);
/* Drops what is left without a word: leases in the store end it. Takes NULL, nulls the pointer.
 * After the store: what that still owes is told before. */
void courier_destroy(struct courier **c);
/* Takes a job over: it ends in exactly one link_result or link_back. */
void courier_begin(struct courier *c, struct link *from, const struct wire_job *job,
                   struct slice body);
/* Jobs that are here. */
size_t courier_count(const struct courier *c);
/* Gives back all that still comes; attempts that run are finished. */
void courier_drain(struct courier *c);

#endif
