/* System 5, CAMARA One-Time-Password SMS: JSON in and out, a bearer token, x-correlator on every
 * answer. The published schema is strict: what it does not name is refused. */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "common/base/rng.h"
#include "common/base/utf8.h"
#include "common/meaning/json_text.h"
#include "gateway/intake.h"
#include "gateway/otp_request.h"
#include "gateway/outcome.h"

enum {
    CORRELATOR_BYTES_MAX = 256,
    MESSAGE_CHARACTERS_MAX = 160,
    ID_CHARACTERS_MAX = 36,
    CODE_CHARACTERS_MAX = 10,
    PARTY_BYTES = 80,
    WHY_BYTES = 160
};

#define CODE_LABEL "{{code}}" /* where the code stands in a message of this system … */
#define OTP_LABEL  "{otp}"    /* … and in a text of ours */
#define OWN(word)  "ONE_TIME_PASSWORD_SMS." word

struct kept {
    bool verify;
    bool bad_correlator; /* the caller's is not as published */
    bool out_of_range;   /* the failure has a word of its own */
    char correlator[CORRELATOR_BYTES_MAX + 1];
};

/* ---- answers -------------------------------------------------------------------------------- */

struct told {
    int http;
    const char *code;
};

#define DENIED                                                                                     \
    {                                                                                              \
        403, "PERMISSION_DENIED"                                                                   \
    }
#define NOT_ALLOWED                                                                                \
    {                                                                                              \
        403, OWN("PHONE_NUMBER_NOT_ALLOWED")                                                       \
    }
#define TOO_MANY                                                                                   \
    {                                                                                              \
        403, OWN("MAX_OTP_CODES_EXCEEDED")                                                         \
    }
#define BUSY                                                                                       \
    {                                                                                              \
        503, "UNAVAILABLE"                                                                         \
    }
#define FAILED                                                                                     \
    {                                                                                              \
        500, "INTERNAL"                                                                            \
    }

/* What each word is at send-code and at validate-code. Those that are not here are FAILED. */
static const struct {
    struct told send;
    struct told validate;
} rows[RESULT_CODES] = {
    [RESULT_OTP_SENT] = {{200, ""}, FAILED},
    [RESULT_OTP_VERIFIED] = {FAILED, {204, ""}},
    [RESULT_PENDING] = {{200, ""}, {400, OWN("INVALID_OTP")}},
    [RESULT_WRONG_OTP] = {FAILED, {400, OWN("INVALID_OTP")}},
    [RESULT_OTP_EXPIRED] = {FAILED, {400, OWN("VERIFICATION_EXPIRED")}},
    [RESULT_ALREADY_VERIFIED] = {FAILED, {400, OWN("VERIFICATION_EXPIRED")}},
    [RESULT_TOO_MANY_ATTEMPTS] = {TOO_MANY, {400, OWN("VERIFICATION_FAILED")}},
    [RESULT_RESEND_TOO_SOON] = {TOO_MANY, {429, "TOO_MANY_REQUESTS"}},
    [RESULT_TOO_MANY_SENDS] = {TOO_MANY, {429, "TOO_MANY_REQUESTS"}},
    [RESULT_REQUEST_NOT_FOUND] = {{404, "NOT_FOUND"}, {404, "NOT_FOUND"}},
    [RESULT_INVALID_REQUEST] = {{400, "INVALID_ARGUMENT"}, {400, "INVALID_ARGUMENT"}},
    [RESULT_INVALID_MSISDN] = {{400, "INVALID_ARGUMENT"}, {400, "INVALID_ARGUMENT"}},
    [RESULT_INVALID_USER_CREDENTIALS] = {{401, "UNAUTHENTICATED"}, {401, "UNAUTHENTICATED"}},
    [RESULT_ACCOUNT_NOT_ACTIVATED] = {DENIED, DENIED},
    [RESULT_INTEGRATION_NOT_FOUND] = {DENIED, DENIED},
    [RESULT_INTEGRATION_PAUSED] = {DENIED, DENIED},
    [RESULT_ALREADY_SUBSCRIBED] = {NOT_ALLOWED, DENIED},
    [RESULT_NOT_ELIGIBLE] = {NOT_ALLOWED, DENIED},
    [RESULT_FRAUD_SUSPECTED] = {NOT_ALLOWED, DENIED},
    [RESULT_MSISDN_BLOCKED] = {NOT_ALLOWED, DENIED},
    [RESULT_INSUFFICIENT_BALANCE] = {{429, "QUOTA_EXCEEDED"}, {429, "QUOTA_EXCEEDED"}},
    [RESULT_RATE_LIMITED] = {{429, "TOO_MANY_REQUESTS"}, {429, "TOO_MANY_REQUESTS"}},
    [RESULT_ADVERTISER_UNREACHABLE] = {BUSY, BUSY},
    [RESULT_DEADLINE_PASSED] = {BUSY, BUSY},
    [RESULT_QUEUE_FULL] = {BUSY, BUSY},
    [RESULT_STORE_UNAVAILABLE] = {BUSY, BUSY},
    [RESULT_CONFLICT] = {{409, "CONFLICT"}, {409, "CONFLICT"}},
};

/* The same word says less when we said it ourselves than when the number's operator did. */
static struct told told_of(bool verify, enum result_code code, bool ran, const struct job_result *r)
{
    struct told t = verify ? rows[code].validate : rows[code].send;
    bool of_operator = ran && r->advertiser_http >= 0;
    if (ran && (code == RESULT_INVALID_USER_CREDENTIALS || code == RESULT_ACCOUNT_NOT_ACTIVATED)) {
        t.http = 0; /* ours with the advertiser, not the caller's */
    } else if (of_operator && code == RESULT_INVALID_MSISDN) {
        t = (struct told){404, "NOT_FOUND"};
    } else if (of_operator && code == RESULT_MSISDN_BLOCKED && !verify) {
        t = (struct told){403, OWN("PHONE_NUMBER_BLOCKED")};
    }
    return t.http != 0 ? t : (struct told)FAILED;
}

/* A random UUID (RFC 9562, version 4). */
static void mint(char out[CORRELATOR_BYTES_MAX + 1])
{
    uint8_t b[16];
    rng_secure(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, CORRELATOR_BYTES_MAX + 1,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

static void put_correlator(struct answer *a, const struct kept *kept)
{
    answer_header(a, "x-correlator", kept->correlator);
}

static void say_error(struct answer *a, const struct kept *kept, struct told t,
                      enum result_code code, struct slice detail, const struct job_result *r)
{
    json_t *root = json_object();
    must(root != NULL);
    answer_begin(a, t.http);
    put_correlator(a, kept);
    if (t.http == 401) {
        answer_header(a, "WWW-Authenticate", "Bearer"); /* RFC 6750, 3 */
    }
    answer_put(root, "status", json_integer(t.http));
    answer_put(root, "code", json_string(t.code));
    answer_put(root, "message", answer_sentence(code, detail));
    answer_put_facts(a, root, r);
    answer_json(a, root);
}

static void say_sent(struct answer *a, const struct kept *kept, const struct job_result *r)
{
    json_t *root = json_object();
    must(root != NULL);
    answer_begin(a, 200);
    put_correlator(a, kept);
    answer_put(root, "authenticationId", json_text(r->request_id));
    if (r->url.n > 0) {
        answer_put(root, "url", json_text(r->url));
    }
    answer_json(a, root);
}

static void tell(struct answer *a, const void *context, const struct otpq_answer *from)
{
    const struct kept *kept = context;
    struct outcome o;
    outcome_read(from, &o);
    struct told t = told_of(kept->verify, o.code, o.ran, &o.result);
    if (!o.ran) {
        o.result.retry_after_s = o.retry_after_s;
    }
    if (t.http == 204) {
        answer_begin(a, 204);
        put_correlator(a, kept);
    } else if (t.http == 200) {
        say_sent(a, kept, &o.result);
    } else {
        say_error(a, kept, t, o.code, o.ran ? o.result.detail : slice_of(o.detail), &o.result);
    }
}

static struct told told_of_http(int http)
{
    return http == 405   ? (struct told){405, "METHOD_NOT_ALLOWED"}
           : http == 404 ? (struct told){404, "NOT_FOUND"}
                         : (struct told){http, "INTERNAL"};
}

static void fail(struct answer *a, const void *context, enum result_code code, int http,
                 const char *detail, uint32_t retry_after_s)
{
    const struct kept *kept = context;
    struct job_result nothing;
    job_result_init(&nothing);
    nothing.retry_after_s = retry_after_s;
    struct told t = http != 0 ? told_of_http(http) : told_of(kept->verify, code, false, &nothing);
    if (kept->out_of_range) {
        t = (struct told){400, "OUT_OF_RANGE"};
    }
    say_error(a, kept, t, code, slice_of(detail), &nothing);
}

/* ---- requests ------------------------------------------------------------------------------- */

static bool refuse(struct intake *p, const char *detail)
{
    intake_fail(p, RESULT_INVALID_REQUEST, 0, detail);
    return false;
}

/* The caller's, or a new one. */
static void meet(struct intake *p, const struct intake_input *in)
{
    struct kept *kept = xcalloc(1, sizeof(*kept));
    p->kept = kept;
    struct slice given = in->header(in->context, "x-correlator");
    bool good = given.n <= CORRELATOR_BYTES_MAX;
    for (size_t i = 0; good && i < given.n; i++) {
        char c = given.p[i];
        good = isalnum((unsigned char)c) || (c != '\0' && strchr("-_:;./<>{}", c) != NULL);
    }
    kept->bad_correlator = !good;
    if (!good || given.n == 0) {
        mint(kept->correlator);
        return;
    }
    memcpy(kept->correlator, given.p, given.n);
    kept->correlator[given.n] = '\0';
}

static const struct api_token *authenticate(struct intake *p, const struct records *records,
                                            const struct intake_input *in)
{
    static const char scheme[] = "Bearer ";
    struct slice given = in->header(in->context, "Authorization");
    size_t n = sizeof(scheme) - 1;
    if (given.n <= n || strncasecmp(given.p, scheme, n) != 0) {
        intake_fail(p, RESULT_INVALID_USER_CREDENTIALS, 0,
                    "the header Authorization with a bearer token is missing");
        return NULL;
    }
    const struct api_token *t = records_api_token(records, slice_make(given.p + n, given.n - n));
    if (t == NULL) {
        intake_fail(p, RESULT_INVALID_USER_CREDENTIALS, 0,
                    "the bearer token is not valid, or not any more");
    }
    return t;
}

/* A property of a body, all of which are texts that must be there. */
struct property {
    const char *name;
    size_t characters_max;
    bool range; /* a longer one is OUT_OF_RANGE; else it is an argument like others */
    struct slice *out;
};

static size_t characters(struct slice s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.n; count++) {
        size_t n = utf8_first(slice_make(s.p + i, s.n - i));
        must(n > 0); /* params_text_ok before */
        i += n;
    }
    return count;
}

static bool read_property(struct intake *p, json_t *root, const struct property *wanted)
{
    char why[WHY_BYTES];
    const json_t *value = json_object_get(root, wanted->name);
    const char *rule = NULL;
    *wanted->out = json_is_string(value)
                       ? slice_make(json_string_value(value), json_string_length(value))
                       : slice_of("");
    if (value == NULL) {
        rule = "is missing";
    } else if (!json_is_string(value)) {
        rule = "is not a string";
    } else if (wanted->out->n == 0) {
        rule = "is empty";
    } else if (!params_text_ok(*wanted->out)) {
        rule = "has control characters";
    } else if (characters(*wanted->out) > wanted->characters_max) {
        struct kept *kept = p->kept;
        kept->out_of_range = wanted->range;
        (void)snprintf(why, sizeof(why), "%s has more than %zu characters", wanted->name,
                       wanted->characters_max);
        return refuse(p, why);
    }
    if (rule != NULL) {
        (void)snprintf(why, sizeof(why), "%s %s", wanted->name, rule);
        return refuse(p, why);
    }
    return true;
}

static bool is_wanted(const char *name, const struct property *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, wanted[i].name) == 0) {
            return true;
        }
    }
    return false;
}

/* NULL: it is answered. The texts live as long as what is returned. */
static json_t *read_body(struct intake *p, struct slice body, const struct property *wanted,
                         size_t count)
{
    json_error_t error;
    const char *name;
    json_t *value;
    json_t *root = json_loadb(body.n > 0 ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &error);
    bool good = json_is_object(root);
    if (!good) {
        (void)refuse(p, body.n == 0 ? "the body is missing"
                                    : "the body is not a JSON object, or names a property twice");
    }
    json_object_foreach(root, name, value)
    {
        if (good && !is_wanted(name, wanted, count)) {
            good = refuse(p, "the body has a property that this call does not know");
        }
    }
    for (size_t i = 0; good && i < count; i++) {
        good = read_property(p, root, &wanted[i]);
    }
    if (!good) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/* E.164 as published: a plus and digits, nothing that people type between them. */
static bool is_e164(struct slice s)
{
    if (s.n < 6 || s.n > 16 || s.p[0] != '+' || s.p[1] < '1' || s.p[1] > '9') {
        return false;
    }
    for (size_t i = 2; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }
    return true;
}

/* The message with our own label; the caller has seen to it that there is one. */
static void put_text(struct buf *out, struct slice message)
{
    const char *at;
    while ((at = memmem(message.p, message.n, CODE_LABEL, strlen(CODE_LABEL))) != NULL) {
        size_t before = (size_t)(at - message.p);
        buf_put(out, message.p, before);
        buf_puts(out, OTP_LABEL);
        before += strlen(CODE_LABEL);
        message = slice_make(message.p + before, message.n - before);
    }
    buf_put_slice(out, message);
}

static void queue(struct intake *p, const char *route, const struct job_body *body, bool verify)
{
    intake_job(p, verify ? WIRE_OP_VERIFY : WIRE_OP_SEND, slice_of(route), body->party);
    job_body_encode(&p->body, body, verify);
    (void)intake_job_fits(p);
}

static void send_code(struct intake *p, const struct integration *route, struct job_body *body,
                      struct slice number, struct slice message)
{
    struct msisdn msisdn;
    struct otp_refusal why;
    struct buf text;
    if (!is_e164(number)) {
        (void)refuse(p, "phoneNumber is not + and 5 to 15 digits");
        return;
    }
    if (memmem(message.p, message.n, CODE_LABEL, strlen(CODE_LABEL)) == NULL) {
        (void)refuse(p, "message has no " CODE_LABEL);
        return;
    }
    if (!otp_number(&msisdn, number, "phoneNumber", "", &why)) {
        intake_fail(p, why.code, 0, why.detail);
        return;
    }
    buf_init(&text, 4 * MESSAGE_CHARACTERS_MAX + 1);
    put_text(&text, message);
    must(buf_ok(&text));
    body->msisdn = slice_of(msisdn.digits);
    body->text = buf_slice(&text);
    queue(p, route->name, body, false);
    buf_free(&text);
}

static void take_send(struct intake *p, const struct integration *route, struct job_body *body,
                      struct slice bytes)
{
    struct slice number;
    struct slice message;
    const struct property wanted[] = {{"phoneNumber", 16, false, &number},
                                      {"message", MESSAGE_CHARACTERS_MAX, false, &message}};
    json_t *root = read_body(p, bytes, wanted, ARRAY_LEN(wanted));
    if (root != NULL) {
        send_code(p, route, body, number, message);
        json_decref(root);
    }
}

static void take_validate(struct intake *p, const struct integration *route, struct job_body *body,
                          struct slice bytes)
{
    const struct property wanted[] = {
        {"authenticationId", ID_CHARACTERS_MAX, true, &body->request_id},
        {"code", CODE_CHARACTERS_MAX, false, &body->otp}};
    json_t *root = read_body(p, bytes, wanted, ARRAY_LEN(wanted));
    if (root != NULL) {
        queue(p, route->name, body, true);
        json_decref(root);
    }
}

static void take(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in)
{
    static const struct params none = {.count = 0};
    char party[PARTY_BYTES];
    struct otp_refusal why;
    struct job_body body = {.id_as = JOB_ID_TEXT};
    struct kept *kept = p->kept;
    kept->verify = m->row->op == ROUTE_VERIFY;
    const struct api_token *token = authenticate(p, records, in);
    if (token == NULL) {
        return;
    }
    if (kept->bad_correlator) {
        (void)refuse(p, "x-correlator is not at most 256 of A-Z a-z 0-9 - _ : ; . / < > { }");
        return;
    }
    const struct integration *route = otp_route(records, slice_of(token->integration), &why);
    if (route == NULL || !otp_user(&body, &none, &in->caller, &why)) {
        intake_fail(p, why.code, 0, "");
        return;
    }
    (void)snprintf(party, sizeof(party), "token:%s", token->name);
    body.party = slice_of(party);
    if (kept->verify) {
        take_validate(p, route, &body, in->body);
    } else {
        take_send(p, route, &body, in->body);
    }
}

const struct system system_camara = {
    .name = "camara", .meet = meet, .take = take, .tell = tell, .fail = fail};
