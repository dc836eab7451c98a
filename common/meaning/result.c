#include "common/meaning/result.h"

const struct result_row result_rows[RESULT_CODES] = {
    [RESULT_NONE] = {"", false, 500, "no result", 0},
    [RESULT_OTP_SENT] = {"otp_sent", false, 200, "the OTP was sent", RESULT_EXPIRES_IN},
    [RESULT_OTP_VERIFIED] = {"otp_verified", false, 200, "the OTP was right", 0},
    [RESULT_PENDING] = {"pending", true, 202, "the outcome is not known yet; ask again", 0},
    [RESULT_WRONG_OTP] = {"wrong_otp", false, 400, "the OTP was wrong; another may be tried",
                          RESULT_ATTEMPTS_LEFT | RESULT_EXPIRES_IN},
    [RESULT_OTP_EXPIRED] = {"otp_expired", false, 400, "the OTP was right or wrong, but too late",
                            0},
    [RESULT_TOO_MANY_ATTEMPTS] = {"too_many_attempts", false, 400,
                                  "the checks allowed for this OTP are used up",
                                  RESULT_NO_ATTEMPTS | RESULT_RETRY_AFTER},
    [RESULT_RESEND_TOO_SOON] = {"resend_too_soon", true, 400,
                                "an OTP went to this number a moment ago; wait retry_after",
                                RESULT_RETRY_AFTER},
    [RESULT_TOO_MANY_SENDS] = {"too_many_sends", true, 400,
                               "this number had its share of OTPs; wait retry_after",
                               RESULT_RETRY_AFTER},
    [RESULT_ALREADY_VERIFIED] = {"already_verified", false, 400,
                                 "this request was verified before; it counts once", 0},
    [RESULT_REQUEST_NOT_FOUND] = {"request_not_found", false, 400,
                                  "no live request of this caller, integration and number", 0},
    [RESULT_INVALID_REQUEST] = {"invalid_request", false, 400, "a parameter is missing or wrong",
                                0},
    [RESULT_INVALID_MSISDN] = {"invalid_msisdn", false, 400, "not a valid mobile number", 0},
    [RESULT_INVALID_USER_CREDENTIALS] = {"invalid_user_credentials", false, 400,
                                         "key, aid and mid do not belong together", 0},
    [RESULT_ACCOUNT_NOT_ACTIVATED] = {"account_not_activated", false, 400,
                                      "the account exists and is not active", 0},
    [RESULT_INTEGRATION_NOT_FOUND] = {"integration_not_found", false, 400,
                                      "no integration of this name", 0},
    [RESULT_INTEGRATION_PAUSED] = {"integration_paused", true, 400,
                                   "the integration is paused by its operator", 0},
    [RESULT_ALREADY_SUBSCRIBED] = {"already_subscribed", false, 400,
                                   "the number has this subscription", 0},
    [RESULT_NOT_ELIGIBLE] = {"not_eligible", false, 400, "the advertiser does not take this number",
                             0},
    [RESULT_INSUFFICIENT_BALANCE] = {"insufficient_balance", false, 400,
                                     "the number cannot pay for it", 0},
    [RESULT_MSISDN_BLOCKED] = {"msisdn_blocked", false, 400, "the number is blocked", 0},
    [RESULT_FRAUD_SUSPECTED] = {"fraud_suspected", false, 400, "the advertiser suspects fraud", 0},
    [RESULT_ADVERTISER_REFUSED] = {"advertiser_refused", false, 400,
                                   "the advertiser said no, in words of its own", 0},
    [RESULT_ADVERTISER_ERROR] = {"advertiser_error", false, 400,
                                 "the advertiser said that it failed", 0},
    [RESULT_ADVERTISER_UNREACHABLE] = {"advertiser_unreachable", true, 400,
                                       "no connection to the advertiser; nothing was sent", 0},
    [RESULT_OUTCOME_UNKNOWN] = {"outcome_unknown", false, 400,
                                "the request went out and no clear answer came; never repeated", 0},
    [RESULT_DEADLINE_PASSED] = {"deadline_passed", true, 400,
                                "the time to live ended before the call; nothing was sent", 0},
    [RESULT_QUEUE_FULL] = {"queue_full", true, 503, "a limit of the queue is reached; later", 0},
    [RESULT_RATE_LIMITED] = {"rate_limited", true, 429, "too many requests; later",
                             RESULT_RETRY_AFTER},
    [RESULT_STORE_UNAVAILABLE] = {"store_unavailable", true, 503, "the store is away; later", 0},
    [RESULT_CANCELLED] = {"cancelled", false, 400, "cancelled before it started", 0},
    [RESULT_CONFLICT] = {"conflict", false, 400, "the same id was used with another body", 0},
    [RESULT_INTERNAL_ERROR] = {"internal_error", false, 500, "otpq failed; see its log", 0},
    [RESULT_DELIVERED] = {"delivered", false, 200, "a callback was received, or a report taken in",
                          0},
};

const char *const job_end_names[JOB_ENDS] = {
    [JOB_END_DONE] = "done",       [JOB_END_REFUSED] = "refused",     [JOB_END_UNKNOWN] = "unknown",
    [JOB_END_EXPIRED] = "expired", [JOB_END_CANCELLED] = "cancelled",
};

enum result_code result_of(struct slice name)
{
    if (name.n == 0) {
        return RESULT_NONE;
    }
    /* The first byte is compared before the rest: this runs once for every result on the wire. */
    for (int i = 1; i < RESULT_CODES; i++) {
        if (result_rows[i].name[0] == name.p[0] && slice_is(name, result_rows[i].name)) {
            return (enum result_code)i;
        }
    }
    return RESULT_NONE;
}

enum job_end job_end_of(struct slice name)
{
    for (int i = 0; i < JOB_ENDS; i++) {
        if (slice_is(name, job_end_names[i])) {
            return (enum job_end)i;
        }
    }
    return JOB_ENDS;
}
