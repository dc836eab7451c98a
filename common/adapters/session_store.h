/*
 * session_store.h: claims, sessions, expiry, clicks and conversions as typed calls over store.h.
 * One script a transition; each is replay-safe. Only workers use it. docs/redis.md lists keys and
 * scripts.
 *
 * Keys (prefix otpq:, TAG = that of the job): j:{TAG}:JOB claim and result, s:{TAG}:RID session,
 * n:{TAG}:PARTY:ROUTE:MSISDN newest session, v:{TAG}:ROUTE:MSISDN velocity, t:{TAG}:RID time-line,
 * ev:{TAG} events stream, c:{TAG}:YYYYMMDD day counters; and with a tag of the id instead of the
 * number d:{TAG}:JOB, what the id stands for. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_SESSION_STORE_H
#define OTPQ_ADAPTERS_SESSION_STORE_H

#include "common/adapters/store.h"
#include "common/meaning/job.h"
#include "common/meaning/record.h"
#include "common/meaning/result.h"

struct session_store;

struct session_store_options {
    const char *prefix;
    const char *owner;   /* this worker's random name: with a claim's token its owner */
    struct slice pepper; /* key of code MACs and of number hashes in events; copied, wiped */
    uint64_t session_keep_s;
    uint64_t events_keep_s;
    uint64_t result_keep_ms; /* claims and results, at least; see session_result_keep_ms */
};
/* Everything is copied. The store must outlive it. */
struct session_store *session_store_new(struct store *store, const struct session_store_options *o);
/* Calls that still wait end without a callback. */
void session_store_destroy(struct session_store **s);

/* One step of the time-line. */
struct session_step {
    const char
        *step;     /* "accepted", "dispatched", "started", "connect", "first_byte", "answer", … */
    int64_t at_ms; /* wall clock */
    /* "" or a short fact: "http 200", "attempt 2", "NAME skipped: WHY"; no secrets, no numbers */
    char detail[112];
};
enum { SESSION_STEPS_MAX = 16 };

/* What a session keeps beside its code. Empty ones are not kept. Times are UTC, YYYY-MM-DD
 * HH:MM:SS.
 */
struct session_facts {
    struct slice eid;     /* the customer's reference */
    struct slice lane;    /* where its callbacks go: "account:demo", "flash:2" */
    struct slice country; /* of the number, "TH" */
    struct slice ctx;     /* msgpack map of strings: what macros of a postback need of the send */
    struct slice ft;      /* flash template */
    struct slice url;     /* link that the user opens */
    struct slice sealed;  /* code that is told again (code_seal) */
    struct slice mobile;  /* this and the following: of the SMS that the user sent */
    struct slice sender;
    struct slice send_time;
    struct slice deliver_time;
};

/* What a claim is about: one run of one job, zeroed before its first claim. Slices and steps must
 * live until the callback of each call (the worker's flow owns them). */
struct session_job {
    struct slice job_id;
    uint32_t attempt;
    uint64_t fingerprint; /* of op, route, body: same id + other body = conflict */
    struct slice route;   /* as asked for, whoever carries it */
    char tag[3];          /* that all keys of the request share: of the number; of the request id
                             when there is only that; of the job's id when there is neither */
    struct slice msisdn;  /* E.164 digits; empty: the session's */
    struct slice party;   /* whose: digits of an affiliate, "account:demo", "token:x"; "0" */
    struct slice via;     /* integration that is called in place of the route's own; or empty */
    bool nowhere;         /* verify: no advertiser may be called now, CLAIM_MOVED says whose turn */
    bool link;            /* a link dialect is called: a verify asks for the state */
    bool reports;         /* what is called tells deliveries later */
    bool query;           /* where the outcome is unknown the advertiser is asked for the state */
    bool postback;        /* the affiliate wants to hear of conversions */
    struct session_facts facts; /* of the send; of a verify what the user sent */
    uint32_t lease_ms;          /* call time-out + 2 s: after it a started claim is unknown */
    uint32_t left_ms;           /* until its deadline */
    uint64_t life_ms;           /* from its acceptance to its deadline; 0: not known */
    size_t step_count; /* steps known before the claim (accepted, dispatched): written only */
    const struct session_step *steps; /* when the claim itself ends the job (refused, checked) */
    bool settle;    /* no time left: what another run may have sent is not sent again, whatever the
                       route says, but ends as unknown */
    uint64_t token; /* 0 before the first claim, which sets it: asking again is the same
                       claim, while a second copy of the job in this process is not */
    bool elsewhere; /* another run was at it when it was last asked for */
    struct session_claimed *claimed; /* of the session store: the claim that was won; or NULL */
};

enum claim_outcome {
    CLAIM_WON,       /* go on; the point of no return is behind us */
    CLAIM_ENDED,     /* the job has its result: answer it again */
    CLAIM_ELSEWHERE, /* another owner runs it: ask again in wait_ms (it becomes ENDED or, when the
                        lease is over, the script ends it as unknown and answers ENDED) */
    CLAIM_STALE,     /* attempt is older than attempt_seen: give back */
    CLAIM_REFUSED,  /* a rule of the session says no (code): already written as this job's result */
    CLAIM_CONFLICT, /* same id, other body; nothing was changed */
    CLAIM_MOVED,    /* verify: via's advertiser sent the code: give back, to be called from there */
    CLAIM_BUSY, /* verify: another verify of this session is at the advertiser: again in wait_ms */
    CLAIM_NO_STORE /* down or no answer: nothing may start; give back with store_unavailable. A
                      claim that may have been won all the same is asked for again for some seconds
                      before, and released behind the scenes afterwards */
};

struct claim {
    enum claim_outcome outcome;
    enum job_end end; /* ENDED, REFUSED, and WON+checked verify */
    enum result_code code;
    struct slice result_body; /* ENDED, REFUSED: msgpack, valid during the callback */
    char request_id[64];      /* the session's */
    char advertiser_request_id[128];
    char msisdn[16]; /* the session's, when the claim has none; or "" */
    char via[65];    /* MOVED */
    uint32_t attempt_seen;
    uint32_t wait_ms;
    int64_t attempts_left; /* -1 none */
    int64_t retry_after_s; /* -1 none */
    int64_t expires_in_s;  /* -1 none */
    bool resend;           /* send: this session existed: same request id */
    bool unsure;           /* send, WON: an earlier run of the job may have sent it */
};
/* All callbacks run exactly once and from the loop, never before the call that caused them returns.
 */
typedef void claim_callback(void *context, const struct claim *c);

/* How long claim and result of a job are kept from their last change on, so that a client that asks
 * for the same id as late as it may, and for as long a life, still meets the first result. */
uint64_t session_result_keep_ms(const struct session_job *job, uint64_t least_ms);

/* op send. new_request_id is used when no live unverified session asks for a resend (otpq codes
 * only: cooldown, sends_max). */
void session_claim_send(struct session_store *s, struct session_job *job,
                        const struct integration *route, const char *new_request_id,
                        claim_callback *done, void *context);

/* op verify. request_id may be empty: newest live session of (party, route, msisdn); the callback's
 * request_id says which. msisdn may be empty instead: the session's. otpq codes: the code is
 * checked, counted and consumed in the same script (constant time over MACs; the MAC is made here:
 * the code itself never leaves): then outcome is CLAIM_ENDED with the verdict already written,
 * conversion and result included. Advertiser codes: CLAIM_WON locks the session for this job until
 * finish or the lease's end. Links: the same, while it is neither verified nor expired; no check is
 * counted. */
void session_claim_verify(struct session_store *s, struct session_job *job,
                          const struct integration *route, struct slice request_id,
                          struct slice code, claim_callback *done, void *context);

/* How it ended. The scripts write session, result, click or conversion, counters and time-line in
 * one go; "session_written" is stamped by the script. */
struct session_finish {
    enum job_end end;
    enum result_code code;
    struct slice advertiser_request_id;
    struct slice user_id;
    struct slice code_mac;           /* otpq codes, send: hex; else empty */
    const struct job_result *result; /* request_id, attempts_left and expires_in are set by the
                                        store when they are absent; then it is encoded */
    size_t step_count;
    const struct session_step *steps;
};
enum finish_outcome {
    FINISH_WRITTEN, /* result_body is what to answer */
    FINISH_LOST, /* the claim is no longer ours (lease over, ended by another): answer what is there
                  */
    FINISH_ELSEWHERE, /* the claim is another run's, which has not ended yet: nothing to answer */
    FINISH_NO_STORE /* outcome happened but was not on record by the lease's end; it is tried for a
                       minute more, to correct what the reaper made of the job */
};
struct finish {
    enum finish_outcome outcome;
    enum job_end end;
    enum result_code code;
    struct slice result_body;
};
typedef void finish_callback(void *context, const struct finish *f);
void session_finish_send(struct session_store *s, const struct session_job *job,
                         const struct integration *route, const char *request_id,
                         const struct session_finish *f, finish_callback *done, void *context);
void session_finish_verify(struct session_store *s, const struct session_job *job,
                           const struct integration *route, const char *request_id,
                           const struct session_finish *f, finish_callback *done, void *context);
/* What a released run may have sent. Should no other run follow, the session gets it. */
struct session_doubt {
    struct slice code_mac; /* otpq codes: hex; else empty */
    struct slice user_id;
};
/* The run is over, its end is written or nobody will: what was won is not put back any more
 * (session_store_forgot). */
void session_job_over(struct session_job *job);
/* The store may have forgotten what was written last (store.h): it is told of every claim that was
 * won and whose run is not over, so that no other run wins it. Claims under way, those of jobs that
 * another run was at, and what opens a claim in doubt wait for WIRE_REASSERT_MS: other processes
 * tell it of theirs. */
void session_store_forgot(struct session_store *s);

/* The claim is open again for a higher attempt. doubt NULL: provably nothing was sent. last, may be
 * NULL: the job goes on elsewhere, and its steps and this one are for the time-line. */
void session_release(struct session_store *s, const struct session_job *job,
                     const struct integration *route, const struct session_doubt *doubt,
                     const struct session_step *last, void (*done)(void *context, bool written),
                     void *context);

#endif
