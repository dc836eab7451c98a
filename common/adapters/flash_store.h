/*
 * flash_store.h: what comes in about a request after its call (reports, MOs, states that were asked
 * for), the index of live codes that MOs are matched by, nonces of signed requests, and the look at
 * a flash session. docs/flash.md tells the rules, docs/redis.md the keys and scripts.
 *
 * Everything here may be sent again and is, for some seconds, when an answer does not come: nothing
 * is counted or told twice. All callbacks run exactly once and from the loop, never before the call
 * that caused them returns. Slices are copied. Only workers use it. Floor 3.
 *
 * Keys (prefix otpq:): m:{TAG of the lane}:LANE:MAC request id of a live code, nx:{TAG of the
 * account}:ACCOUNT:NONCE job that brought the nonce, rp:{TAG}:RID reports that came before their
 * session, rq:{TAG} which of those there are.
 */
#ifndef OTPQ_ADAPTERS_FLASH_STORE_H
#define OTPQ_ADAPTERS_FLASH_STORE_H

#include "common/adapters/session_store.h"
#include "common/meaning/job_ops.h"

struct flash_store;

/* Everything is copied. The store must outlive it. */
struct flash_store *flash_store_new(struct store *store, const struct session_store_options *o);
/* Calls that still wait end without a callback. */
void flash_store_destroy(struct flash_store **s);

/* ---- codes of a lane ------------------------------------------------------------------------- */

enum flash_reserved {
    FLASH_RESERVED, /* the code is this request's, until its validity ends */
    FLASH_TAKEN,    /* another live request of the lane has it */
    FLASH_RESERVE_NO_STORE
};
typedef void flash_reserve_callback(void *context, enum flash_reserved outcome);

/* After the claim and before the call: from then on an MO with this code in this lane is the
 * request's. valid_ms: as long as the session will be valid, with what the call may take. After it
 * the code may be another's; until then it is known whose late MO comes. */
void flash_reserve(struct flash_store *s, struct slice lane, struct slice code,
                   struct slice request_id, uint64_t valid_ms, flash_reserve_callback *done,
                   void *context);

/* ---- nonces ---------------------------------------------------------------------------------- */

enum flash_nonce_outcome {
    FLASH_NONCE_FRESH, /* not seen before, or by this same job */
    FLASH_NONCE_SEEN,  /* another job came with it */
    FLASH_NONCE_NO_STORE
};
typedef void flash_nonce_callback(void *context, enum flash_nonce_outcome outcome);

void flash_nonce(struct flash_store *s, struct slice account, struct slice nonce,
                 struct slice job_id, flash_nonce_callback *done, void *context);

/* ---- reports --------------------------------------------------------------------------------- */

/* Who tells what about which request. */
struct flash_report {
    struct slice job_id; /* of the op report; of a poll: the task. The same again changes nothing */
    struct slice lane;   /* integration that it came from, or FLASH_LANE of the template */
    uint32_t valid_s;    /* validity of the lane's requests, for what comes before its session */
    struct job_report report; /* times are UTC; mobile in digits, as msisdn.h makes them */
    struct slice party; /* only a session of this party, e.g. the template's account; or empty */
};

enum flash_report_outcome {
    FLASH_REPORT_APPLIED, /* the session, its send's result or its time-line changed by it */
    FLASH_REPORT_IGNORED, /* late, a second one, or it says nothing new: in the time-line only */
    FLASH_REPORT_KEPT,    /* its request has no session yet: applied when that is written */
    FLASH_REPORT_UNKNOWN, /* no request of this lane: counted only */
    FLASH_REPORT_NO_STORE
};
struct flash_reported {
    enum flash_report_outcome outcome;
    char request_id[64]; /* the session's, "" when there is none */
    char state[16];      /* of the session now: "sent", "unknown", "verified", "failed", or "" */
    bool over;           /* its validity has ended */
};
typedef void flash_report_callback(void *context, const struct flash_reported *r);

/* Takes in what a callback, an MO or a poll says:
 *   delivery      otp_sent: an unknown send becomes sent (click, result of the send's job); any
 *                 other word but pending: failed, unless verified
 *   verification  otp_verified: converts, once
 *   mo            converts, once, and keeps mobile, sender and times, while the request is valid;
 *                 with a code but otp_verified (FOTP's err): failed
 * Callbacks out (status, result, push, postback) are emitted by the same script. Found by
 * request_id, else by otp in the lane. What job_report_decode would not take ends as
 * FLASH_REPORT_NO_STORE. A poll's answer goes in as verification or mo, by whether it
 * says what the user sent; "pending" need not be told. */
void flash_report(struct flash_store *s, const struct flash_report *what,
                  flash_report_callback *done, void *context);

/* ---- looking --------------------------------------------------------------------------------- */

/* A session, as it is now. Slices are valid during the callback, and empty for what it has not. */
struct flash_look {
    bool answered;       /* false: no store; nothing else is set */
    bool found;          /* false: there is none of this request id */
    struct slice state;  /* "sent", "unknown", "verified", "failed" */
    int64_t left_ms;     /* until its validity ends; 0: over */
    struct slice party;  /* whose: "account:demo" */
    struct slice route;  /* integration, or FLASH_LANE of the template */
    struct slice ft_id;  /* flash template */
    struct slice sealed; /* its code (code_open), or empty: not ours to know */
    struct slice url;    /* link of a link dialect */
    struct slice mobile; /* this and the following: of the MO, once it is there */
    struct slice sender;
    struct slice send_time;
    struct slice deliver_time;
};
typedef void flash_look_callback(void *context, const struct flash_look *look);

void flash_look(struct flash_store *s, struct slice request_id, flash_look_callback *done,
                void *context);

#endif
