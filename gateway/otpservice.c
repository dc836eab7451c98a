/* System 3, the OTP Service API: name and password with every request, and HTTP status 200 whatever
 * comes; CODE in the body says what came. */
#include <inttypes.h>
#include <stdio.h>

#include "common/meaning/job_ops.h"
#include "common/meaning/json_text.h"
#include "gateway/intake.h"
#include "gateway/otp_request.h"
#include "gateway/outcome.h"

enum { EID_BYTES_MAX = 128, CODE_BYTES_MAX = 64, PARTY_BYTES = 80 };

/* Ids stay below what a double holds exactly: they are numbers in JSON. */
static const uint64_t msgid_max = (1ULL << 53) - 1;

static const char *const published[] = {"msisdn", "username", "password", "eid",
                                        "sid",    "code",     NULL};

/* What an answer to /code says again of its request. */
struct kept {
    uint64_t msgid;
};

/* CODE of each word; those that are not here are 500. Of the words with 200 all but otp_verified
 * are checks that were made and failed: SUCCESS with RESULT FAILED. */
static const uint16_t codes[RESULT_CODES] = {
    [RESULT_OTP_SENT] = 200,
    [RESULT_OTP_VERIFIED] = 200,
    [RESULT_PENDING] = 200,
    [RESULT_WRONG_OTP] = 200,
    [RESULT_OTP_EXPIRED] = 200,
    [RESULT_TOO_MANY_ATTEMPTS] = 200,
    [RESULT_ALREADY_VERIFIED] = 200,
    [RESULT_REQUEST_NOT_FOUND] = 400,
    [RESULT_INVALID_REQUEST] = 400,
    [RESULT_INVALID_MSISDN] = 400,
    [RESULT_MSISDN_BLOCKED] = 400,
    [RESULT_NOT_ELIGIBLE] = 400,
    [RESULT_ALREADY_SUBSCRIBED] = 400,
    [RESULT_INVALID_USER_CREDENTIALS] = 401,
    [RESULT_ACCOUNT_NOT_ACTIVATED] = 412,
};

/* ---- answers -------------------------------------------------------------------------------- */

/* Everything that an answer is made of. */
struct says {
    bool verify;
    bool ran; /* it is what a job ended with */
    enum result_code code;
    struct slice detail;
    const struct kept *kept; /* may be NULL */
    const struct job_result *result;
};

static int code_of(const struct says *s)
{
    bool sent = s->code == RESULT_OTP_SENT || s->code == RESULT_PENDING;
    int code = codes[s->code] != 0 ? codes[s->code] : 500;
    bool of_other_call = s->verify ? s->code == RESULT_OTP_SENT : code == 200 && !sent;
    /* An advertiser that says no to our credentials says nothing about the customer's. */
    bool of_others = s->ran && (code == 401 || code == 412);
    return of_other_call || of_others ? 500 : code;
}

/* Overload is told in HTTP, for the proxies between; everything else is 200. */
static int http_of(enum result_code code)
{
    return code == RESULT_QUEUE_FULL || code == RESULT_STORE_UNAVAILABLE ? 503 : 200;
}

/* MSGID is text in the one answer and a number in the other, as published. */
static void put_ids(json_t *root, const struct says *s)
{
    if (!s->verify) {
        answer_put(root, "MSGID", json_text(s->result->request_id));
        if (s->result->url.n > 0) {
            answer_put(root, "url", json_text(s->result->url));
        }
        return;
    }
    uint64_t msgid = s->kept != NULL ? s->kept->msgid : 0;
    answer_put(root, "MSGID", json_integer((json_int_t)msgid));
    answer_put(root, "EXTID", json_text(s->result->eid));
    answer_put(root, "RESULT", json_string(s->code == RESULT_OTP_VERIFIED ? "PASS" : "FAILED"));
}

static void say(struct answer *a, int http, const struct says *s)
{
    char number[12];
    int code = code_of(s);
    bool plain = s->code == (s->verify ? RESULT_OTP_VERIFIED : RESULT_OTP_SENT);
    json_t *root = json_object();
    must(root != NULL);
    (void)snprintf(number, sizeof(number), "%d", code);
    answer_begin(a, http != 0 ? http : http_of(s->code));
    answer_put(root, "STATUS", json_string(code == 200 ? "SUCCESS" : "ERROR"));
    answer_put(root, "MSG", plain ? json_string("") : answer_sentence(s->code, s->detail));
    answer_put(root, "CODE", json_string(number));
    put_ids(root, s);
    if (!plain) {
        answer_put_facts(a, root, s->result);
    }
    answer_json(a, root);
}

static void tell(struct answer *a, bool verify, const struct kept *kept,
                 const struct otpq_answer *from)
{
    struct outcome o;
    outcome_read(from, &o);
    if (!o.ran) {
        o.result.retry_after_s = o.retry_after_s;
    }
    const struct says s = {.verify = verify,
                           .ran = o.ran,
                           .code = o.code,
                           .detail = o.ran ? o.result.detail : slice_of(o.detail),
                           .kept = kept,
                           .result = &o.result};
    say(a, 0, &s);
}

static void fail(struct answer *a, bool verify, const struct kept *kept, enum result_code code,
                 int http, const char *detail, uint32_t retry_after_s)
{
    struct job_result nothing;
    job_result_init(&nothing);
    nothing.retry_after_s = retry_after_s;
    const struct says s = {.verify = verify,
                           .code = code,
                           .detail = slice_of(detail),
                           .kept = kept,
                           .result = &nothing};
    say(a, http, &s);
}

/* ---- requests ------------------------------------------------------------------------------- */

static bool refuse(struct intake *p, enum result_code code, const char *detail)
{
    intake_fail(p, code, 0, detail);
    return false;
}

/* Who calls, and may. NULL: it is answered. */
static const struct account *log_in(struct intake *p, const struct records *records,
                                    const struct params *params, const struct intake_input *in)
{
    const struct account *a = NULL;
    struct slice username = params_get(params, "username");
    struct slice password = params_get(params, "password");
    if (username.n == 0 || password.n == 0) {
        intake_fail(p, RESULT_INVALID_REQUEST, 0,
                    username.n == 0 ? "username is missing" : "password is missing");
        return NULL;
    }
    enum login login = logins_check(in->logins, records, username, password, in->mono_ms, &a);
    if (login == LOGIN_TOO_MANY) {
        /* Not 401: nobody knows whether it is the right one. */
        p->system->fail(&p->answer, p->kept, RESULT_RATE_LIMITED, 0,
                        "too many wrong passwords came; this one was not looked at", 1);
        return NULL;
    }
    if (login != LOGIN_GOOD) {
        intake_fail(p, RESULT_INVALID_USER_CREDENTIALS, 0,
                    "no account has this username and password");
    } else if (!a->active) {
        intake_fail(p, RESULT_ACCOUNT_NOT_ACTIVATED, 0, "");
    } else if (a->integration[0] == '\0') {
        intake_fail(p, RESULT_ACCOUNT_NOT_ACTIVATED, 0,
                    "no integration carries the SMS of this account");
    } else {
        return a;
    }
    return NULL;
}

static bool read_send(struct intake *p, struct job_body *body, struct msisdn *number,
                      const struct account *a, const struct integration *route,
                      const struct params *params)
{
    struct otp_refusal why;
    if (!otp_number(number, params_get(params, "msisdn"), "msisdn", route->country_code, &why)) {
        return refuse(p, why.code, why.detail);
    }
    body->eid = params_get(params, "eid");
    if (body->eid.n > EID_BYTES_MAX) {
        return refuse(p, RESULT_INVALID_REQUEST, "eid has more than 128 bytes");
    }
    body->msisdn = slice_of(number->digits);
    body->id_as = JOB_ID_NUMBER;
    body->text = slice_of(a->text);
    body->lane = a->callback_url[0] != '\0' ? body->party : slice_of("");
    return true;
}

/* sid goes on as its digits, however many zeros it was written with. */
static bool read_code(struct intake *p, struct job_body *body, char sid[24],
                      const struct params *params)
{
    struct slice given = params_get(params, "sid");
    uint64_t msgid = 0;
    if (given.n == 0 || !slice_to_u64(given, msgid_max, &msgid)) {
        return refuse(p, RESULT_INVALID_REQUEST,
                      given.n == 0 ? "sid is missing" : "sid is not a MSGID, which is a number");
    }
    (void)snprintf(sid, 24, "%" PRIu64, msgid);
    body->request_id = slice_of(sid);
    body->otp = params_get(params, "code");
    if (body->otp.n == 0 || body->otp.n > CODE_BYTES_MAX) {
        return refuse(p, RESULT_INVALID_REQUEST,
                      body->otp.n == 0 ? "code is missing" : "code has more than 64 bytes");
    }
    return true;
}

static void make_job(struct intake *p, const struct records *records, bool verify,
                     const struct params *params, const struct intake_input *in)
{
    char party[PARTY_BYTES];
    char sid[24];
    struct msisdn number;
    struct otp_refusal why;
    struct job_body body = {.id_as = JOB_ID_TEXT};
    const struct account *a = log_in(p, records, params, in);
    if (a == NULL) {
        return;
    }
    const struct integration *route = otp_route(records, slice_of(a->integration), &why);
    if (route == NULL) {
        intake_fail(p, why.code, 0, "");
        return;
    }
    (void)snprintf(party, sizeof(party), ACCOUNT_LANE "%s", a->name);
    body.party = slice_of(party);
    if (!otp_user(&body, params, &in->caller, &why) ||
        !otp_extras(&body.params, params, published, &why)) {
        intake_fail(p, why.code, 0, why.detail);
        return;
    }
    if (verify ? read_code(p, &body, sid, params)
               : read_send(p, &body, &number, a, route, params)) {
        intake_job(p, verify ? WIRE_OP_VERIFY : WIRE_OP_SEND, slice_of(route->name), body.party);
        job_body_encode(&p->body, &body, verify);
        (void)intake_job_fits(p);
    }
}

static void take(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in)
{
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    bool verify = m->row->op == ROUTE_VERIFY;
    struct kept *kept = verify ? xcalloc(1, sizeof(*kept)) : NULL;
    p->kept = kept;
    if (params_read(&params, in->query, in->content_type, in->body, error)) {
        if (verify && !slice_to_u64(params_get(&params, "sid"), msgid_max, &kept->msgid)) {
            kept->msgid = 0;
        }
        make_job(p, records, verify, &params, in);
    } else {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, error);
    }
    params_free(&params);
}

/* ---- the two of them ------------------------------------------------------------------------ */

static void tell_send(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    tell(a, false, kept, from);
}

static void tell_code(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    tell(a, true, kept, from);
}

static void fail_send(struct answer *a, const void *kept, enum result_code code, int http,
                      const char *detail, uint32_t retry_after_s)
{
    fail(a, false, kept, code, http, detail, retry_after_s);
}

static void fail_code(struct answer *a, const void *kept, enum result_code code, int http,
                      const char *detail, uint32_t retry_after_s)
{
    fail(a, true, kept, code, http, detail, retry_after_s);
}

const struct system system_otpservice_send = {
    .name = "otpservice", .take = take, .tell = tell_send, .fail = fail_send};
const struct system system_otpservice_code = {
    .name = "otpservice", .take = take, .tell = tell_code, .fail = fail_code};
