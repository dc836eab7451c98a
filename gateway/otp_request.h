/*
 * otp_request.h: from the parameters of a request to the body of a job, or to the reason why not.
 * The rules that systems 1 and 2 share. Values in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_OTP_REQUEST_H
#define OTPQ_GATEWAY_OTP_REQUEST_H

#include <stdbool.h>

#include "common/meaning/job.h"
#include "common/meaning/msisdn.h"
#include "common/meaning/record.h"
#include "common/meaning/result.h"
#include "common/meaning/params.h"
#include "gateway/intake.h"

enum { OTP_AGENT_BYTES_MAX = 256, OTP_LANG_BYTES_MAX = 35, OTP_DETAIL_BYTES = 128 };

/* What the address itself says; parameters may repeat it and must not contradict it. */
struct binding {
    bool bound;           /* false: everything comes as parameters */
    uint64_t aid;         /* affiliate */
    uint64_t mid;         /* network */
    struct slice partner; /* integration; borrowed from the records */
};

/* Slices of body borrow from the params, the caller and msisdn: keep them until it is encoded. */
struct otp_request {
    const char *route;    /* integration's name; borrowed from the records */
    char tenant[24];      /* affiliate id as text */
    struct msisdn msisdn; /* normalised */
    struct job_body body; /* of the job */
};

struct otp_refusal {
    enum result_code code;         /* word of the vocabulary */
    char detail[OTP_DETAIL_BYTES]; /* what is wrong, and with which parameter; may be "" */
};

/* False: why is set; nothing may be queued. */
MUST_CHECK bool otp_request_make(struct otp_request *r, const struct records *records,
                                 const struct binding *binding, bool verify,
                                 const struct params *params, const struct otp_caller *caller,
                                 struct otp_refusal *why);

#endif
