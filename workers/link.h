/*
 * link.h: a worker's end of OTPQ-W/1 with one broker: hello, credit, pings, batches. Lives as
 * long as the process: when the broker is silent or does not know us, the socket or the hello is
 * made anew, and results of jobs from before still go out here. Floor 4.
 */
#ifndef OTPQ_WORKERS_LINK_H
#define OTPQ_WORKERS_LINK_H

#include <event2/event.h>
#include <stdbool.h>

#include "common/meaning/curve_key.h"
#include "common/meaning/wire.h"

struct link;

enum {
    LINK_PING_MS = 250,    /* the broker calls a worker dead after 1000 of silence */
    LINK_SILENCE_MS = 3000 /* without a word from the broker: a new socket */
};

struct link_options {
    struct event_base *base;
    void *zmq_context;
    const char *address;           /* of the broker's workers' socket */
    const char *key;               /* the broker's public one, copied; NULL or "": it has none */
    const struct curve_pair *pair; /* own, for a broker with a key; borrowed */
    const char *name;              /* this worker's, for people; borrowed */
    uint32_t capacity;             /* of this worker, told in the hello */
    /* A job. waited_ms: how long it may have been on its way when that is not next to nothing (this
     * process or the network stood still): gone from its time to live. Slices live until it
     * returns. */
    void (*on_job)(void *context, struct link *from, const struct wire_job *job, struct slice body,
                   int64_t waited_ms);
    /* A job of the broker has ended here: link_result or link_back was called. */
    void (*on_left)(void *context);
    /* How many more jobs may come, from whomever. */
    uint32_t (*room)(void *context);
    /* The broker has begun or ceased to answer: time to share the capacity anew. */
    void (*on_state)(void *context, struct link *link, bool up);
    void *context;
};

/* NULL: *error says why the address is none. */
MUST_CHECK struct link *link_new(const struct link_options *o, const char **error);
void link_destroy(struct link **l);
/* The broker has another key now: for the next socket. */
void link_key(struct link *l, const char *key);
bool link_up(const struct link *l);

const char *link_address(const struct link *l);
/* Jobs of this broker that are here. */
uint32_t link_running(const struct link *l);

/* How many jobs the broker may send beyond those that came, as far as there is room. Credit that
 * was told is not taken back. */
void link_window(struct link *l, uint32_t jobs);
/* There is room again: credit follows, as far as it is worth a message. It also does by itself as
 * jobs of this broker end. */
void link_renew(struct link *l);
/* No more credit, for good: the broker may still send what it has credit for. */
void link_freeze(struct link *l);

/* Into the batch that leaves at the end of this turn of the loop. link_result and link_back end the
 * job here: its place is free again. */
void link_started(struct link *l, struct slice id, uint32_t attempt);
void link_result(struct link *l, const struct wire_result *r, struct slice body);
void link_back(struct link *l, const struct wire_give_back *g);
/* Everything in the batches, then goodbye. */
void link_quit(struct link *l);

#endif
