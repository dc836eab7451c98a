/*
 * otp_request.h: from the parameters of a request to the body of a job, or to the reason why not.
 * The rules that systems 1 and 2 share, and those that every system has. Values in, values out.
 * Floor 4.
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

/* ---- what other systems take of it ---- */

/* Sets *why; false, to be returned at once. detail may be "". */
bool otp_refuse(struct otp_refusal *why, enum result_code code, const char *detail);
/* The integration of this name, when it takes requests: one that is paused takes them only when
 * others stand in for it. NULL: why is set. */
const struct integration *otp_route(const struct records *records, struct slice name,
                                    struct otp_refusal *why);
/* The phone number; name is the parameter's, for the detail. */
MUST_CHECK bool otp_number(struct msisdn *out, struct slice typed, const char *name,
                           const char *country_code, struct otp_refusal *why);
/* ip, user_agent and lang: as the parameters say, else as the connection does. */
MUST_CHECK bool otp_user(struct job_body *body, const struct params *params,
                         const struct otp_caller *caller, struct otp_refusal *why);
/* The parameters beside the published ones, a list ended by NULL, and beside those of otp_user. */
MUST_CHECK bool otp_extras(struct job_params *out, const struct params *params,
                           const char *const *published, struct otp_refusal *why);

#endif
