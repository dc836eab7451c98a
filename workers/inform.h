/*
 * inform.h: jobs that call nobody: what came in about a request (op report), and how a flash
 * request stands (op flash.query). Read, written to or read from the store, answered; repeating one
 * changes nothing, so that none of them is claimed. docs/flash.md is the prose of it. Floor 4.
 */
#ifndef OTPQ_WORKERS_INFORM_H
#define OTPQ_WORKERS_INFORM_H

#include "common/adapters/flash_store.h"
#include "common/adapters/records_watch.h"
#include "common/base/list.h"
#include "workers/link.h"

/* All of a process, and what they work with. Borrowed parts outlive it. */
struct informs {
    struct flash_store *flash;
    struct records_watch *watch;
    struct slice pepper;            /* codes are sealed under it */
    uint32_t max;                   /* jobs that may be here at once; more are given back */
    void (*on_idle)(void *context); /* draining and the last one has ended */
    void *context;

    struct list running;
    uint32_t count; /* in running */
    bool draining;
};

/* The parts above are set by the caller; the rest here. */
void informs_init(struct informs *all);
/* Takes a job over: it ends in exactly one link_result or link_back. */
void inform_begin(struct informs *all, struct link *from, const struct wire_job *job,
                  struct slice body);
/* Gives back all that still comes; what has begun waits for the store, some seconds at most.
 * on_idle runs when nothing is left, perhaps before this returns. */
void informs_drain(struct informs *all);
/* Drops what is left without a word. The flash store must not call back any more. */
void informs_abandon(struct informs *all);

#endif
