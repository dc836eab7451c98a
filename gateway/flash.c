/*
 * System 4, FOTP: a link that a user opens to send an SMS, and its state. Requests are signed JSON;
 * what a template's integration is decides which job a request becomes (docs/flash.md).
 */
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "common/meaning/flash_index.h"
#include "common/meaning/job_ops.h"
#include "gateway/flash_answer.h"
#include "gateway/otp_request.h"
#include "gateway/outcome.h"
#include "gateway/sign_check.h"
#include "gateway/signed_body.h"

enum { VALIDITY_MIN_MAX = 10, PARTY_BYTES = 64, ZONE_BYTES = 72 };

#define LINK_PATH "/flash/opt/redirect/"

/* What tell needs to know of the request. */
struct kept {
    enum language language;
    bool has_link;              /* not where the advertiser makes the code */
    char time_zone[ZONE_BYTES]; /* of the account */
    char url_base[];            /* where links begin */
};

static void meet(struct intake *p, const struct intake_input *in)
{
    size_t n = strlen(in->public_url);
    struct kept *k = xcalloc(1, sizeof(*k) + n + sizeof(LINK_PATH));
    k->language = language_pick(in->caller.accept_language, NULL, LANGUAGE_ZH);
    k->has_link = true;
    memcpy(k->url_base, in->public_url, n);
    memcpy(k->url_base + n, LINK_PATH, sizeof(LINK_PATH));
    p->kept = k;
}

static enum language language_of(const void *kept)
{
    return ((const struct kept *)kept)->language;
}

/* Reads the body and who sent it. False: the answer is made. */
static bool admit(struct intake *p, const struct records *records, const struct intake_input *in,
                  struct params *body, struct signer *who)
{
    char error[PARAMS_ERROR_BYTES];
    struct kept *k = p->kept;
    if (!signed_body_read(body, in->body, error)) {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, error);
        return false;
    }
    if (!sign_check(records, in, body, who)) {
        intake_fail(p, RESULT_INVALID_USER_CREDENTIALS, 0, "");
        return false;
    }
    if (!who->account->active) {
        intake_fail(p, RESULT_ACCOUNT_NOT_ACTIVATED, 0, "");
        return false;
    }
    (void)snprintf(k->time_zone, sizeof(k->time_zone), "%s", who->account->time_zone);
    return true;
}

/* ---- /flash/opt/verify ---------------------------------------------------------------------- */

/* A request for a link, as it was asked. */
struct asked {
    const struct flash_template *template;
    struct slice code;   /* 4 to 6 digits, or empty */
    uint32_t validity_s; /* 0: the template's */
    struct slice mobile; /* as given; empty: none */
};

static bool refuse(struct intake *p, enum result_code code, const char *detail)
{
    intake_fail(p, code, 0, detail);
    return false;
}

static bool read_code(struct intake *p, struct slice given, struct asked *out)
{
    uint64_t number = 0;
    if (given.n > 0 && (given.n < MO_CODE_DIGITS_MIN || given.n > MO_CODE_DIGITS_MAX ||
                        !slice_to_u64(given, UINT32_MAX, &number))) {
        return refuse(p, RESULT_INVALID_REQUEST, "code must have 4 to 6 digits");
    }
    out->code = given;
    return true;
}

static bool read_validity(struct intake *p, struct slice given, struct asked *out)
{
    uint64_t minutes = 0;
    if (given.n > 0 && (!slice_to_u64(given, VALIDITY_MIN_MAX, &minutes) || minutes == 0)) {
        return refuse(p, RESULT_INVALID_REQUEST,
                      "validityPeriod must be a number of minutes from 1 to 10");
    }
    out->validity_s = (uint32_t)minutes * 60;
    return true;
}

static bool read_asked(struct intake *p, const struct records *records, const struct params *body,
                       const struct account *account, struct asked *out)
{
    struct slice ft_id = params_get(body, "ftId");
    *out = (struct asked){.mobile = params_get(body, "mobile")};
    if (ft_id.n == 0) {
        return refuse(p, RESULT_INVALID_REQUEST, "ftId is missing");
    }
    if (!read_code(p, params_get(body, "code"), out) ||
        !read_validity(p, params_get(body, "validityPeriod"), out)) {
        return false;
    }
    out->template = records_flash_template(records, ft_id);
    if (out->template == NULL || strcmp(out->template->account, account->name) != 0) {
        return refuse(p, RESULT_INTEGRATION_NOT_FOUND, "");
    }
    return true;
}

static void create(struct intake *p, const struct asked *asked, const char *route,
                   struct slice tenant, const struct signer *who)
{
    const struct job_flash_create job = {.ft_id = slice_of(asked->template->name),
                                         .code = asked->code,
                                         .validity_s = asked->validity_s,
                                         .account = slice_of(who->account->name),
                                         .nonce = who->nonce};
    intake_job(p, WIRE_OP_FLASH_CREATE, slice_of(route), tenant);
    job_flash_create_encode(&p->body, &job);
    (void)intake_job_fits(p);
}

/* The advertiser makes the code: the nonce is in the job's id, so that the request again is the
 * same job again, and sends nothing. */
static void name_job(struct intake *p, const struct signer *who)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct buf b;
    unsigned int n = 0;
    if (who->nonce.n == 0) {
        return;
    }
    buf_init(&b, 256);
    buf_printf(&b, "%s|%.*s", who->account->name, SLICE_ARG(who->nonce));
    must(buf_ok(&b) && EVP_Digest(b.p, b.n, digest, &n, EVP_sha256(), NULL) == 1);
    buf_free(&b);
    char *at = p->id;
    *at++ = 'n';
    *at++ = '-';
    for (size_t i = 0; i < 16; i++, at += 2) {
        (void)snprintf(at, 3, "%02x", digest[i]);
    }
}

static void send_code(struct intake *p, const struct asked *asked, const struct integration *route,
                      struct slice party, const struct signer *who)
{
    struct msisdn mobile;
    struct otp_refusal why;
    char lane[INTAKE_ROUTE_BYTES];
    if (asked->code.n > 0) {
        intake_fail(p, RESULT_INVALID_REQUEST, 0,
                    "code cannot be chosen: the advertiser of this template makes it");
        return;
    }
    if (asked->mobile.n == 0) {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, "mobile is missing: this template needs it");
        return;
    }
    if (!otp_number(&mobile, asked->mobile, "mobile", route->country_code, &why)) {
        intake_fail(p, why.code, 0, why.detail);
        return;
    }
    (void)snprintf(lane, sizeof(lane), FLASH_LANE "%s", asked->template->name);
    const struct job_body job = {.msisdn = slice_of(mobile.digits),
                                 .party = party,
                                 .id_as = JOB_ID_TOKEN,
                                 .lane = slice_of(lane),
                                 .ft_id = slice_of(asked->template->name)};
    intake_job(p, WIRE_OP_SEND, slice_of(route->name), party);
    name_job(p, who);
    job_body_encode(&p->body, &job, false);
    if (intake_job_fits(p)) {
        ((struct kept *)p->kept)->has_link = false;
    }
}

static void make_link(struct intake *p, const struct records *records, const struct asked *asked,
                      const struct signer *who)
{
    const struct flash_template *t = asked->template;
    const struct integration *route = records_integration(records, slice_of(t->integration));
    char party[PARTY_BYTES];
    char lane[INTAKE_ROUTE_BYTES];
    (void)snprintf(party, sizeof(party), ACCOUNT_LANE "%s", who->account->name);
    (void)snprintf(lane, sizeof(lane), FLASH_LANE "%s", t->name);
    if (t->integration[0] == '\0') {
        create(p, asked, lane, slice_of(party), who);
    } else if (route == NULL) {
        intake_fail(p, RESULT_INTEGRATION_NOT_FOUND, 0, "");
    } else if (route->paused && route->fallback.count == 0) {
        intake_fail(p, RESULT_INTEGRATION_PAUSED, 0, "");
    } else if ((dialect_traits(route->dialect, route->settings) & DIALECT_LINK) != 0) {
        create(p, asked, route->name, slice_of(party), who);
    } else {
        send_code(p, asked, route, slice_of(party), who);
    }
}

static void take_create(struct intake *p, const struct records *records,
                        const struct router_match *m, const struct intake_input *in)
{
    struct params body;
    struct signer who;
    struct asked asked;
    (void)m;
    if (admit(p, records, in, &body, &who) && read_asked(p, records, &body, who.account, &asked)) {
        make_link(p, records, &asked, &who);
    }
    params_free(&body);
}

/* ---- /flash/opt/query ----------------------------------------------------------------------- */

static void take_query(struct intake *p, const struct records *records,
                       const struct router_match *m, const struct intake_input *in)
{
    struct params body;
    struct signer who;
    (void)m;
    if (admit(p, records, in, &body, &who)) {
        struct slice token = params_get(&body, "ftToken");
        const char *lane = flash_index_lane(records->flash, who.account->name);
        if (token.n == 0) {
            intake_fail(p, RESULT_INVALID_REQUEST, 0, "ftToken is missing");
        } else if (!flash_token_ok(token) || lane == NULL) {
            intake_fail(p, RESULT_REQUEST_NOT_FOUND, 0, "");
        } else {
            char party[PARTY_BYTES];
            const struct job_flash_query job = {
                .ft_token = token, .account = slice_of(who.account->name), .nonce = who.nonce};
            (void)snprintf(party, sizeof(party), ACCOUNT_LANE "%s", who.account->name);
            intake_job(p, WIRE_OP_FLASH_QUERY, slice_of(lane), slice_of(party));
            job_flash_query_encode(&p->body, &job);
            (void)intake_job_fits(p);
        }
    }
    params_free(&body);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void fail(struct answer *a, const void *kept, enum result_code code, int http,
                 const char *detail, uint32_t retry_after_s)
{
    flash_answer_failure(a, language_of(kept), code, http, slice_of(detail), retry_after_s);
}

/* What is said when a job did not bring what was asked for. */
static void tell_failure(struct answer *a, const void *kept, const struct outcome *o)
{
    uint32_t retry_after_s = o->retry_after_s;
    struct slice detail = o->ran ? o->result.detail : slice_of(o->detail);
    if (o->code == RESULT_INVALID_USER_CREDENTIALS) {
        detail.n = 0; /* a nonce of yesterday is told no better than a wrong signature */
    }
    if (o->ran && o->result.retry_after_s > 0) {
        retry_after_s =
            o->result.retry_after_s > UINT32_MAX ? UINT32_MAX : (uint32_t)o->result.retry_after_s;
    }
    flash_answer_failure(a, language_of(kept), o->code, 0, detail, retry_after_s);
}

static void tell_create(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    const struct kept *k = kept;
    struct outcome o;
    outcome_read(from, &o);
    if (o.ran && o.code == RESULT_OTP_SENT && o.result.request_id.n > 0) {
        flash_answer_created(a, k->language, &o.result, k->url_base, k->has_link);
    } else {
        tell_failure(a, kept, &o);
    }
}

static void tell_query(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    const struct kept *k = kept;
    struct outcome o;
    outcome_read(from, &o);
    if (o.ran && o.result.flash.status.n > 0) {
        flash_answer_state(a, k->language, &o.result, k->time_zone);
    } else {
        tell_failure(a, kept, &o);
    }
}

const struct system system_flash_create = {
    .name = "flash.create", .meet = meet, .take = take_create, .tell = tell_create, .fail = fail};
const struct system system_flash_query = {
    .name = "flash.query", .meet = meet, .take = take_query, .tell = tell_query, .fail = fail};
