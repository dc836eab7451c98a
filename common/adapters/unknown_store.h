/*
 * unknown_store.h: jobs whose outcome nobody knows, in Redis, as typed calls: the reaper's end of a
 * started job whose lease is over, and for people what is unknown and what became of it. Every
 * script may be sent again. Floor 3.
 *
 * Keys (prefix otpq:): st:{TAG} started jobs by the end of their lease, uk:{TAG} unknown ones by
 * when they became it; claims and sessions as session_store.h has them.
 */
#ifndef OTPQ_ADAPTERS_UNKNOWN_STORE_H
#define OTPQ_ADAPTERS_UNKNOWN_STORE_H

#include "common/adapters/store_ask.h"

enum { UNKNOWN_TAGS = 256, UNKNOWN_ID_BYTES = 64 };

struct unknown_store;

/* prefix is copied. The store must outlive it. */
struct unknown_store *unknown_store_new(struct store *store, const char *prefix);
/* Calls that still wait end without a callback. */
void unknown_store_destroy(struct unknown_store **s);

/* ---- for the broker */

enum unknown_reaped {
    UNKNOWN_REAPED, /* it is unknown from now on */
    UNKNOWN_KNOWN,  /* reports say what became of it: so it ended */
    UNKNOWN_LIVES,  /* it has ended, or its lease is not over */
    UNKNOWN_NO_STORE
};
/* Ends a started job whose lease is over. The callback may run before this returns. */
void unknown_reap(struct unknown_store *s, unsigned tag, struct slice job,
                  void (*done)(void *context, struct slice job, enum unknown_reaped what),
                  void *context);

/* ---- for people: blocking */

struct unknown_row {
    char job[UNKNOWN_ID_BYTES + 1];
    char op[16]; /* "send" or "verify" */
    char route[65];
    char party[65];
    char request_id[65];
    char number[24]; /* masked; "" where there is none */
    int64_t since_ms;
};
/* Calls `row` for each unknown job of a tag, the newest first, until it says false. False: error
 * filled. */
MUST_CHECK bool unknown_list(struct asker *a, const char *prefix, unsigned tag,
                             bool (*row)(void *context, const struct unknown_row *row),
                             void *context, char error[512]);

enum unknown_fate { UNKNOWN_SENT, UNKNOWN_NOT_SENT, UNKNOWN_VERIFIED, UNKNOWN_NOT_VERIFIED };
extern const char *const unknown_fates[4]; /* "sent", "not_sent", … */

struct unknown_word {
    const char *job;
    enum unknown_fate fate;
    const char *who; /* who says so */
    uint64_t events_keep_s;
};
enum unknown_resolved {
    UNKNOWN_RESOLVED,
    UNKNOWN_RESOLVED_BEFORE, /* its outcome is known: end and code say which */
    UNKNOWN_OTHER_OP,        /* a verify is not sent, and a send not verified: end says the op */
    UNKNOWN_GONE,            /* there is no such job */
    UNKNOWN_ERROR            /* error filled */
};
struct unknown_outcome {
    char end[16];
    char code[40];
};
/* What became of an unknown job: result, session, click or conversion, callbacks, once. */
MUST_CHECK enum unknown_resolved unknown_resolve(struct asker *a, const char *prefix,
                                                 const struct unknown_word *word,
                                                 struct unknown_outcome *out, char error[512]);

#endif
