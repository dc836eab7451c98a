#include "gateway/otp_request.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base/utf8.h"

enum { LANG_BYTES_MAX = 64 }; /* of a job */

/* The published parameters. Whatever else is sent becomes {param.NAME} of the templates. */
static const char *const published[] = {"key",  "aid",    "mid", "partner",    "msisdn",
                                        "type", "userId", "otp", "request_id", NULL};
/* Those that tell of the user, in every system. */
static const char *const of_user[] = {"ip", "userAgent", "user_agent", "lang", NULL};

/* Longest text that a job takes, and what to say when it is longer. */
static const struct {
    const char *name;
    size_t bytes_max;
    const char *detail;
} lengths[] = {
    {"userId", 256, "userId has more than 256 bytes"},
    {"type", 64, "type has more than 64 bytes"},
    {"otp", 64, "otp has more than 64 bytes"},
    {"request_id", 64, "request_id has more than 64 bytes"},
};

bool otp_refuse(struct otp_refusal *why, enum result_code code, const char *detail)
{
    why->code = code;
    (void)snprintf(why->detail, sizeof(why->detail), "%s", detail);
    return false;
}

/* Who says to be calling. */
struct credentials {
    struct slice key;
    uint64_t aid;
    uint64_t mid;
    bool contradicts; /* a parameter says other than the endpoint */
};

#define ID_RANGE " from 0 to 9223372036854775807"

/* A number that the endpoint may have settled. missing and wrong are static texts. */
static bool read_id(struct slice given, bool bound, uint64_t settled, const char *missing,
                    const char *wrong, uint64_t *out, bool *contradicts, struct otp_refusal *why)
{
    *out = settled;
    if (given.n == 0) {
        return bound ? true : otp_refuse(why, RESULT_INVALID_REQUEST, missing);
    }
    uint64_t value;
    if (!slice_to_u64(given, INT64_MAX, &value)) {
        return otp_refuse(why, RESULT_INVALID_REQUEST, wrong);
    }
    *contradicts = *contradicts || (bound && value != settled);
    *out = value;
    return true;
}

static bool read_credentials(const struct params *p, const struct binding *b,
                             struct credentials *out, struct otp_refusal *why)
{
    out->key = params_get(p, "key");
    out->contradicts = false;
    if (out->key.n == 0) {
        return otp_refuse(why, RESULT_INVALID_REQUEST, "key is missing");
    }
    return read_id(params_get(p, "aid"), b->bound, b->aid, "aid is missing",
                   "aid must be a whole number" ID_RANGE, &out->aid, &out->contradicts, why) &&
           read_id(params_get(p, "mid"), b->bound, b->mid, "mid is missing",
                   "mid must be a whole number" ID_RANGE, &out->mid, &out->contradicts, why);
}

/* One answer and one amount of work for every reason, so that neither tells which it was. */
static bool credentials_ok(const struct records *records, const struct credentials *c)
{
    static const struct affiliate nobody = {.key = (char *)"no-affiliate-has-this-key-00000000"};
    const struct affiliate *a = records_affiliate(records, c->aid);
    const struct affiliate *compared = a != NULL ? a : &nobody;
    unsigned wrong = record_key_equal(c->key, compared->key) ? 0 : 1;
    wrong |= a == NULL ? 1 : 0;
    wrong |= compared->api_access ? 0 : 1;
    wrong |= c->mid == records->mid && records->mid != 0 ? 0 : 1;
    wrong |= c->contradicts ? 1 : 0;
    return wrong == 0;
}

const struct integration *otp_route(const struct records *records, struct slice name,
                                    struct otp_refusal *why)
{
    const struct integration *i = records_integration(records, name);
    if (i == NULL) {
        (void)otp_refuse(why, RESULT_INTEGRATION_NOT_FOUND, "no integration has this partner name");
    } else if (i->paused && i->fallback.count == 0) {
        (void)otp_refuse(why, RESULT_INTEGRATION_PAUSED, "this partner is paused by its operator");
        i = NULL;
    }
    return i;
}

static const struct integration *find_route(const struct records *records, const struct params *p,
                                            const struct binding *b, struct otp_refusal *why)
{
    struct slice given = params_get(p, "partner");
    if (given.n == 0 && !b->bound) {
        (void)otp_refuse(why, RESULT_INVALID_REQUEST, "partner is missing");
        return NULL;
    }
    if (given.n > 0 && b->bound && !slice_eq(given, b->partner)) {
        (void)otp_refuse(why, RESULT_INTEGRATION_NOT_FOUND,
                         "partner is not the one of this endpoint");
        return NULL;
    }
    return otp_route(records, b->bound ? b->partner : given, why);
}

static bool check_lengths(const struct params *p, struct otp_refusal *why)
{
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        if (params_get(p, lengths[i].name).n > lengths[i].bytes_max) {
            return otp_refuse(why, RESULT_INVALID_REQUEST, lengths[i].detail);
        }
    }
    return true;
}

bool otp_number(struct msisdn *out, struct slice typed, const char *name, const char *country_code,
                struct otp_refusal *why)
{
    const char *reason;
    if (typed.n == 0) {
        why->code = RESULT_INVALID_REQUEST;
        (void)snprintf(why->detail, sizeof(why->detail), "%s is missing", name);
        return false;
    }
    if (!msisdn_parse(typed, country_code, out, &reason)) {
        why->code = RESULT_INVALID_MSISDN;
        (void)snprintf(why->detail, sizeof(why->detail), "%s %s", name, reason);
        return false;
    }
    return true;
}

static bool is_of(struct slice name, const char *const *list)
{
    for (size_t i = 0; list[i] != NULL; i++) {
        if (slice_is(name, list[i])) {
            return true;
        }
    }
    return false;
}

bool otp_extras(struct job_params *out, const struct params *p, const char *const *others,
                struct otp_refusal *why)
{
    out->count = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        if (is_of(p->at[i].name, others) || is_of(p->at[i].name, of_user)) {
            continue;
        }
        if (out->count == JOB_PARAMS_MAX) {
            return otp_refuse(why, RESULT_INVALID_REQUEST,
                              "more than 32 parameters beside the published ones");
        }
        out->at[out->count++] = (struct job_param){p->at[i].name, p->at[i].value};
    }
    return true;
}

/* A header may hold anything; what is not clean text is left out, what is long is cut. */
static struct slice clean_agent(struct slice agent)
{
    size_t n = 0;
    if (!params_text_ok(agent)) {
        return (struct slice){NULL, 0};
    }
    while (n < agent.n) {
        size_t step = utf8_first(slice_make(agent.p + n, agent.n - n));
        if (n + step > OTP_AGENT_BYTES_MAX) {
            break;
        }
        n += step;
    }
    return slice_make(agent.p, n);
}

/* The first tag of an Accept-Language header, "th" of "th, en;q=0.8"; empty when it is none. */
static struct slice first_language(struct slice header)
{
    size_t n = 0;
    while (n < header.n && (isalnum((unsigned char)header.p[n]) || header.p[n] == '-')) {
        n++;
    }
    bool ends = n == header.n || strchr(",; \t", header.p[n]) != NULL;
    return n <= OTP_LANG_BYTES_MAX && ends ? slice_make(header.p, n) : (struct slice){NULL, 0};
}

static bool is_ip(struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char parsed[sizeof(struct in6_addr)];
    if (s.n >= sizeof(text)) {
        return false;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET, text, parsed) == 1 || inet_pton(AF_INET6, text, parsed) == 1;
}

/* The user's browser, by either name. */
static bool read_agent(struct slice *out, const struct params *p, struct otp_refusal *why)
{
    struct slice one = params_get(p, "user_agent");
    struct slice other = params_get(p, "userAgent");
    if (one.n > 0 && other.n > 0 && !slice_eq(one, other)) {
        return otp_refuse(why, RESULT_INVALID_REQUEST, "userAgent and user_agent differ");
    }
    *out = one.n > 0 ? one : other;
    return true;
}

/* Most affiliates call from their servers: the connection then tells of the server, and is taken
 * only where the parameters do not tell of the user. */
bool otp_user(struct job_body *body, const struct params *p, const struct otp_caller *caller,
              struct otp_refusal *why)
{
    body->ip = params_get(p, "ip");
    if (body->ip.n > 0 && !is_ip(body->ip)) {
        return otp_refuse(why, RESULT_INVALID_REQUEST, "ip is not an IP address");
    }
    if (body->ip.n == 0) {
        body->ip = caller->ip;
    }
    if (!read_agent(&body->user_agent, p, why)) {
        return false;
    }
    if (body->user_agent.n == 0) {
        body->user_agent = clean_agent(caller->user_agent);
    }
    body->lang = params_get(p, "lang");
    if (body->lang.n == 0) {
        body->lang = first_language(caller->accept_language);
    }
    return body->lang.n <= LANG_BYTES_MAX
               ? true
               : otp_refuse(why, RESULT_INVALID_REQUEST, "lang has more than 64 bytes");
}

bool otp_request_make(struct otp_request *r, const struct records *records,
                      const struct binding *binding, bool verify, const struct params *params,
                      const struct otp_caller *caller, struct otp_refusal *why)
{
    struct credentials c;
    memset(r, 0, sizeof(*r));
    if (!read_credentials(params, binding, &c, why)) {
        return false;
    }
    if (!credentials_ok(records, &c)) {
        return otp_refuse(why, RESULT_INVALID_USER_CREDENTIALS, "");
    }
    const struct integration *route = find_route(records, params, binding, why);
    if (route == NULL ||
        !otp_number(&r->msisdn, params_get(params, "msisdn"), "msisdn", route->country_code, why) ||
        !check_lengths(params, why) || !otp_extras(&r->body.params, params, published, why) ||
        !otp_user(&r->body, params, caller, why)) {
        return false;
    }
    r->body.otp = params_get(params, "otp");
    if (verify && r->body.otp.n == 0) {
        return otp_refuse(why, RESULT_INVALID_REQUEST, "otp is missing");
    }
    r->route = route->name;
    (void)snprintf(r->tenant, sizeof(r->tenant), "%" PRIu64, c.aid);
    r->body.msisdn = slice_of(r->msisdn.digits);
    r->body.aid = c.aid;
    r->body.request_id = params_get(params, "request_id");
    r->body.user_id = params_get(params, "userId");
    r->body.type = params_get(params, "type");
    return true;
}
