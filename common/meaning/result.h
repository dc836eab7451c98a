/*
 * result.h: the closed vocabulary of results. One row, many readers: dialects, the gateway, the
 * wire, metrics and docs/ all read result_rows. No free text decides anything. Floor 1.
 */
#ifndef OTPQ_MEANING_RESULT_H
#define OTPQ_MEANING_RESULT_H

#include <stdbool.h>

#include "common/base/slice.h"

enum result_code {
    RESULT_NONE, /* no answer yet; never on the wire */
    RESULT_OTP_SENT,
    RESULT_OTP_VERIFIED,
    RESULT_PENDING,
    RESULT_WRONG_OTP,
    RESULT_OTP_EXPIRED,
    RESULT_TOO_MANY_ATTEMPTS,
    RESULT_RESEND_TOO_SOON,
    RESULT_TOO_MANY_SENDS,
    RESULT_ALREADY_VERIFIED,
    RESULT_REQUEST_NOT_FOUND,
    RESULT_INVALID_REQUEST,
    RESULT_INVALID_MSISDN,
    RESULT_INVALID_USER_CREDENTIALS,
    RESULT_ACCOUNT_NOT_ACTIVATED,
    RESULT_INTEGRATION_NOT_FOUND,
    RESULT_INTEGRATION_PAUSED,
    RESULT_ALREADY_SUBSCRIBED,
    RESULT_NOT_ELIGIBLE,
    RESULT_INSUFFICIENT_BALANCE,
    RESULT_MSISDN_BLOCKED,
    RESULT_FRAUD_SUSPECTED,
    RESULT_ADVERTISER_REFUSED,
    RESULT_ADVERTISER_ERROR,
    RESULT_ADVERTISER_UNREACHABLE,
    RESULT_OUTCOME_UNKNOWN,
    RESULT_DEADLINE_PASSED,
    RESULT_QUEUE_FULL,
    RESULT_RATE_LIMITED,
    RESULT_STORE_UNAVAILABLE,
    RESULT_CANCELLED,
    RESULT_CONFLICT,
    RESULT_INTERNAL_ERROR,
    RESULT_DELIVERED,
    RESULT_CODES
};

struct result_row {
    const char *name;    /* the word on the wire and in every record */
    bool retryable;      /* the same request may succeed later, and repeating it harms nobody */
    int http;            /* status at the served systems 1 and 2 */
    const char *meaning; /* one sentence for docs/ and --help */
    unsigned facts;      /* what is said with it, RESULT_… of enum result_fact */
};

/* The numbers of a result body that mean something with a code; the others stay away. */
enum result_fact {
    RESULT_EXPIRES_IN = 1,
    RESULT_ATTEMPTS_LEFT = 2,
    RESULT_NO_ATTEMPTS = 4, /* attempts_left is 0, whatever was counted */
    RESULT_RETRY_AFTER = 8
};

/* Indexed by enum result_code; RESULT_NONE has the name "". */
extern const struct result_row result_rows[RESULT_CODES];

/* RESULT_NONE when the word is not of the vocabulary. */
enum result_code result_of(struct slice name);

static inline const char *result_name(enum result_code code)
{
    return result_rows[code].name;
}

/* Where a job ends. Every accepted job ends in exactly one of these (job-protocol). */
enum job_end {
    JOB_END_DONE,
    JOB_END_REFUSED,
    JOB_END_UNKNOWN,
    JOB_END_EXPIRED,
    JOB_END_CANCELLED,
    JOB_ENDS
};

extern const char *const job_end_names[JOB_ENDS]; /* "done", "refused", … */

/* JOB_ENDS when it is none of them. */
enum job_end job_end_of(struct slice name);

#endif
