/*
 * job.h: what is inside a job: the bodies of each op and of a result, as msgpack maps
 * (job-protocol.md, "Bodies by op"). Slices borrow from the bytes decoded. Floor 1.
 */
#ifndef OTPQ_MEANING_JOB_H
#define OTPQ_MEANING_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/meaning/result.h"

enum { JOB_PARAMS_MAX = 32, JOB_PARAM_BYTES_MAX = 1024, JOB_ADVERTISER_BODY_BYTES_MAX = 2048 };

struct job_param {
    struct slice name;
    struct slice value;
};

struct job_params {
    uint32_t count;
    struct job_param at[JOB_PARAMS_MAX];
};

/* How a request id looks: what the system that is served publishes. */
enum job_id_form {
    JOB_ID_TEXT,   /* "r" and 22 characters */
    JOB_ID_NUMBER, /* digits of a number below 2^53 (system 3) */
    JOB_ID_TOKEN,  /* 32 hex digits (system 4) */
    JOB_ID_FORMS
};

/* op send and op verify share a shape: {msisdn, aid?, user_id?, type?, ip?, user_agent?, lang?,
 * text?, params?} and {msisdn?, otp, request_id?, aid?, user_id?, type?, ip?, user_agent?, lang?,
 * params?}; one of msisdn and request_id must be there. aid comes as an integer or as digits.
 * Unknown keys are ignored. */
struct job_body {
    struct slice msisdn;     /* as given; normalise with msisdn.h */
    struct slice otp;        /* verify: required */
    struct slice request_id; /* verify: may be empty: the newest live session is meant */
    uint64_t aid;            /* affiliate, 0: none */
    struct slice party; /* whose the request is, when no affiliate's: "account:demo", "token:x" */
    enum job_id_form id_as; /* send */
    struct slice eid;       /* send: the customer's own reference, handed back in callbacks */
    struct slice lane;      /* send: where its callbacks go, "account:demo", "flash:2"; or empty */
    struct slice ft_id;     /* send: flash template that it belongs to, or empty */
    struct slice sender;    /* verify by an MO: the number it was sent to */
    struct slice send_time; /* verify by an MO: YYYY-MM-DD HH:MM:SS, UTC */
    struct slice user_id;
    struct slice type;
    struct slice ip;
    struct slice user_agent;
    struct slice lang;
    struct slice text; /* send, otpq makes the code: with {otp}; empty: the integration's */
    struct job_params params;
};

/* False: *error is a static text that names the key and the rule broken. */
MUST_CHECK bool job_body_decode(struct slice bytes, bool verify, struct job_body *out,
                                const char **error);
void job_body_encode(struct buf *b, const struct job_body *body, bool verify);

/* What flash.create and flash.query tell. There at all when status is not empty. code is on the way
 * to the client only: what is stored has `sealed` in its place (code_seal). */
struct job_flash {
    struct slice message_id; /* digits of a 64-bit number */
    struct slice code;
    struct slice sealed;
    struct slice status; /* "0" in progress, "1" failed, "2" success */
    struct slice mobile; /* the user's number, once the MO is there */
    struct slice sender; /* the number that it was sent to */
    struct slice send_time;
    struct slice deliver_time;
    struct slice ft_id;
    struct slice receiver; /* for the redirect page */
    struct slice text;     /* for the redirect page, with the code in it */
};

/* Result body: {request_id, response?, error?, detail?, data?, url?, attempts_left?, retry_after?,
 * expires_in?, eid?, advertiser?: {http, body, ms}, flash?: {…}}. -1: the number is absent. */
struct job_result {
    struct slice request_id;
    struct slice response; /* vocabulary word on success */
    struct slice error;    /* vocabulary word on failure */
    struct slice detail;   /* for people: what is wrong; never a number or a code */
    struct slice data;
    struct slice url;
    int64_t attempts_left;
    int64_t retry_after_s;
    int64_t expires_in_s;
    int64_t advertiser_http;      /* status, 0: no answer, -1: no call */
    struct slice advertiser_body; /* <= 2 KiB, secrets removed */
    int64_t advertiser_ms;
    struct slice eid;       /* verify: the reference that the send came with */
    struct job_flash flash; /* flash.* */
};

void job_result_init(struct job_result *r);
/* Of attempts_left, retry_after and expires_in only what the code's row of result_rows names stays.
 */
void job_result_only_facts(struct job_result *r, enum result_code code);
MUST_CHECK bool job_result_decode(struct slice bytes, struct job_result *out, const char **error);
void job_result_encode(struct buf *b, const struct job_result *r);

#endif
