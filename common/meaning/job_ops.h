/*
 * job_ops.h: the bodies of the ops beside send and verify (docs/job-protocol.md, "Bodies by op").
 * Slices borrow from the bytes decoded. Floor 1.
 */
#ifndef OTPQ_MEANING_JOB_OPS_H
#define OTPQ_MEANING_JOB_OPS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/meaning/dialect.h"
#include "common/meaning/job.h"

/* op flash.create: {ft_id, code?, validity_s?, account, nonce?}. Route: FLASH_LANE of the template,
 * or its integration when that speaks a link dialect. */
struct job_flash_create {
    struct slice ft_id;   /* flash template */
    struct slice code;    /* 4 to 6 digits; empty: made here */
    uint32_t validity_s;  /* 0: the template's */
    struct slice account; /* whose; must be the template's */
    struct slice nonce;   /* of the signed request: seen once, then refused; may be empty */
};
MUST_CHECK bool job_flash_create_decode(struct slice bytes, struct job_flash_create *out,
                                        const char **error);
void job_flash_create_encode(struct buf *b, const struct job_flash_create *body);

/* op flash.query: {ft_token, account?, nonce?}. Without an account it is the redirect page that
 * asks: receiver, text and time left, nothing of the user. */
struct job_flash_query {
    struct slice ft_token;
    struct slice account;
    struct slice nonce;
};
MUST_CHECK bool job_flash_query_decode(struct slice bytes, struct job_flash_query *out,
                                       const char **error);
void job_flash_query_encode(struct buf *b, const struct job_flash_query *body);

/* op report: {event, code?, request_id?, advertiser_request_id?, otp?, mobile?, sender?,
 * send_time?, deliver_time?, content?}. Route: the integration that it came for, or FLASH_LANE of
 * the template whose text the MO holds. Found by request_id, else by otp among the live codes of
 * the route; one of the three must be there. */
struct job_report {
    enum dialect_event event; /* "delivery", "verification", "mo" */
    enum result_code code;    /* what it says; RESULT_NONE with an MO of our own */
    struct slice request_id;
    struct slice advertiser_request_id;
    struct slice otp;
    struct slice mobile; /* digits */
    struct slice sender; /* the number it was sent to */
    struct slice send_time;
    struct slice deliver_time;
};
MUST_CHECK bool job_report_decode(struct slice bytes, struct job_report *out, const char **error);
void job_report_encode(struct buf *b, const struct job_report *body);

/* op callback. From clients: {method, url, headers?, body?, expect?}; from the broker, for what is
 * due in the outbox: {task}. */
struct job_callback {
    struct slice task;   /* id in the outbox; then all others are empty */
    struct slice method; /* GET or POST */
    struct slice url;
    struct job_params headers;
    struct slice body;
    struct slice expect; /* text that a 2xx answer must hold; empty: any 2xx */
};
MUST_CHECK bool job_callback_decode(struct slice bytes, struct job_callback *out,
                                    const char **error);
void job_callback_encode(struct buf *b, const struct job_callback *body);

/* Lanes of what has no integration: "flash:2", "account:demo", "affiliate:1001". Names of
 * integrations may not begin like that. */
#define FLASH_LANE     "flash:"
#define ACCOUNT_LANE   "account:"
#define AFFILIATE_LANE "affiliate:"

#endif
