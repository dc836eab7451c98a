/*
 * sign_check.h: who sends a signed request of FOTP (system 4): the account that a header names, and
 * whether the signature is its own. Whether a nonce was seen before is asked in Redis, by the job.
 * Values in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_SIGN_CHECK_H
#define OTPQ_GATEWAY_SIGN_CHECK_H

#include "common/meaning/params.h"
#include "common/meaning/record.h"
#include "gateway/intake.h"

enum { SIGN_NONCE_AGE_MAX_MS = 300 * 1000 }; /* into the past and into the future */

struct signer {
    const struct account *account; /* borrowed from the records */
    struct slice nonce;            /* borrowed from the header; empty where the strategy has none */
};

/* body: the top-level scalars. False: not proven, whatever the reason; the work is the same for all
 * of them. An account that is not active is proven all the same. */
MUST_CHECK bool sign_check(const struct records *records, const struct intake_input *in,
                           const struct params *body, struct signer *out);

#endif
