/*
 * outbox_store.h: the outbox in Redis as typed calls: what otpq has to tell others, until they have
 * been told (docs/callbacks.md). Session scripts put tasks into it (lua/outbox_emit.lua); the
 * broker feeds what is due to its queue; a worker claims one, makes the attempt and writes how it
 * ended. Every script may be sent again. Floor 3.
 *
 * Keys (prefix otpq:): o:{TAG}:ID one task, due:{TAG} by when they are due next, ol:{TAG} the same
 * by when they were due first, oe:{TAG} the ended ones. An id is TAG and 20 more hex digits.
 */
#ifndef OTPQ_ADAPTERS_OUTBOX_STORE_H
#define OTPQ_ADAPTERS_OUTBOX_STORE_H

#include "common/adapters/store_ask.h"
#include "common/base/buf.h"

enum {
    OUTBOX_ID_BYTES = 22,
    OUTBOX_TAGS = 256,
    OUTBOX_LANE_BYTES = 64,
    OUTBOX_FED_MS = 60000, /* a task that was fed is not fed again before */
    OUTBOX_DUE_MAX = 64,   /* tasks in one answer */
    OUTBOX_OVER_MAX = 64   /* jobs in one answer whose lease is over */
};

/* Behind the prefix: each message is a tag in which something has become due. */
#define OUTBOX_CHANNEL "due"

struct outbox_store;

/* Everything is copied. The store must outlive it. keep_s: how long ended tasks are kept. */
struct outbox_store *outbox_store_new(struct store *store, const char *prefix, uint64_t keep_s);
/* Calls that still wait end without a callback. */
void outbox_store_destroy(struct outbox_store **s);

/* "a0" of 160. */
void outbox_tag(unsigned tag, char out[3]);
/* An id as outbox ids are: 22 lower-case hex digits. */
MUST_CHECK bool outbox_id_ok(struct slice id);
/* The id of the task that a job of this id makes. */
void outbox_id_of_job(struct slice job, char out[OUTBOX_ID_BYTES + 1]);

/* ---- for the broker */

struct outbox_due {
    struct slice id;
    struct slice lane;
    uint64_t fed; /* how often it was fed, with this time: makes the job's id */
};
struct outbox_found {
    uint64_t open;    /* tasks of the tag that have not ended */
    uint64_t late_ms; /* since when the oldest of them has been due; 0: none is late */
    bool more;        /* there was no room for all that is due */
    int64_t lease_ms; /* until the lease of the tag's next started job is over; -1: there is none */
    uint32_t over_count;
    struct slice over[OUTBOX_OVER_MAX]; /* jobs whose lease is over; live as the others do */
    uint32_t count;
    struct outbox_due at[OUTBOX_DUE_MAX]; /* slices live as long as the callback */
};
/* What is due in a tag, at most `most` tasks, and which claims are over. Tasks are hidden from
 * everybody else for OUTBOX_FED_MS. found NULL: the store did not answer. The callback may run
 * before this returns. */
void outbox_due(struct outbox_store *s, unsigned tag, uint32_t most,
                void (*done)(void *context, unsigned tag, const struct outbox_found *found),
                void *context);

/* ---- for the worker */

enum outbox_claimed {
    OUTBOX_WON,       /* make the attempt */
    OUTBOX_ENDED,     /* done, dead, dropped, or not there any more */
    OUTBOX_ELSEWHERE, /* another attempt runs, or its time is not yet: it comes again by itself */
    OUTBOX_NO_STORE   /* nobody knows: it comes again when the lease is over */
};
/* Slices live as long as the callback. */
struct outbox_task {
    struct slice kind;
    struct slice lane;
    struct slice rid;   /* request id, or empty */
    struct slice party; /* whose */
    struct slice data;  /* msgpack map of texts */
    uint32_t attempt;   /* 1 for the first of its schedule */
    int64_t made_ms;    /* wall clock of Redis */
    int64_t left_ms;    /* of the session's validity; 0: over, or there is none */
    struct slice arid;  /* the advertiser's request id, or empty */
};
struct outbox_attempt {
    struct slice id;
    uint64_t token;        /* random: this attempt's */
    uint32_t lease_ms;     /* the attempt is over by then */
    uint32_t attempts_max; /* of the schedule: a lost attempt may have been the last */
};
/* The callback may run before this returns (no connection). */
void outbox_claim(struct outbox_store *s, const struct outbox_attempt *a,
                  void (*done)(void *context, enum outbox_claimed outcome,
                               const struct outbox_task *task),
                  void *context);

enum outbox_end {
    OUTBOX_DONE,
    OUTBOX_DEAD,    /* given up: waits for a person */
    OUTBOX_DROPPED, /* there is nobody to tell */
    OUTBOX_AGAIN,   /* failed: again in next_ms */
    OUTBOX_LATER    /* was no attempt: again in next_ms */
};
struct outbox_finish {
    enum outbox_end end;
    uint32_t next_ms;
    int http;         /* status, 0: none */
    const char *word; /* what else happened, static: "time-out"; or "" */
    uint32_t ms;      /* that it took */
};
/* Tried until the lease is over. done(context, written). */
void outbox_finish(struct outbox_store *s, const struct outbox_attempt *a,
                   const struct outbox_finish *f, void (*done)(void *context, bool written),
                   void *context);

/* Puts a task there that no session made. done(context, outcome): OUTBOX_WON when it is there now,
 * OUTBOX_ENDED when the outbox is full, OUTBOX_NO_STORE. */
struct outbox_new {
    struct slice id;
    struct slice kind;
    struct slice lane;
    struct slice party;
    struct slice data;
};
void outbox_put(struct outbox_store *s, const struct outbox_new *task,
                void (*done)(void *context, enum outbox_claimed outcome), void *context);

/* ---- for people: blocking */

struct outbox_try {
    int64_t at_ms;
    int64_t http;
    char word[40];
    int64_t ms;
};
enum { OUTBOX_TRIES_MAX = 10 };
struct outbox_row {
    char id[OUTBOX_ID_BYTES + 1];
    char kind[16];
    char lane[OUTBOX_LANE_BYTES + 1];
    char state[16];
    char rid[65];   /* show only */
    char party[65]; /* show only */
    uint32_t attempts;
    int64_t made_ms;
    int64_t next_ms; /* due: when */
    uint32_t try_count;
    struct outbox_try tries[OUTBOX_TRIES_MAX]; /* the last ones, oldest first */
};
/* Calls `row` for each task of a tag, the newest of each list first, until it says false. state and
 * lane: "" any. False: error filled. */
MUST_CHECK bool outbox_list(struct asker *a, const char *prefix, unsigned tag, const char *state,
                            const char *lane,
                            bool (*row)(void *context, const struct outbox_row *row), void *context,
                            char error[512]);
/* One task. 1: there, 0: none, -1: error filled. */
MUST_CHECK int outbox_show(struct asker *a, const char *prefix, const char *id,
                           struct outbox_row *row, char error[512]);
/* Due again, with the whole schedule before it. 1: it is, 0: there is none, -1: error filled (also
 * when an attempt runs, or none was made yet). */
MUST_CHECK int outbox_replay(struct asker *a, const char *prefix, const char *id, char error[512]);

#endif
