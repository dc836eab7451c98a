#include "common/meaning/callback.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#include "common/meaning/encode.h"
#include "common/meaning/pack.h"
#include "common/meaning/result.h"
#include "common/meaning/webhook.h"
#include "common/meaning/zone.h"

const struct callback_schedule callback_schedule = {
    .count = 10,
    .after_s = {5, 30, 120, 600, 1800, 3600, 10800, 21600, 43200, 86400},
};

enum callback_kind callback_kind_of(struct slice word)
{
    static const char *const words[CALLBACK_KINDS] = {
        [CALLBACK_STATUS] = "status", [CALLBACK_RESULT] = "result",     [CALLBACK_PUSH] = "push",
        [CALLBACK_EXPIRY] = "expiry", [CALLBACK_POSTBACK] = "postback", [CALLBACK_POLL] = "poll",
        [CALLBACK_HTTP] = "http",
    };
    int i = 0;
    while (i < CALLBACK_KINDS && !slice_is(word, words[i])) {
        i++;
    }
    return (enum callback_kind)i;
}

/* ---- fields ---------------------------------------------------------------------------------- */

#define FIELD(member)                                                                              \
    {                                                                                              \
#member, offsetof(struct callback_fields, member)                                          \
    }

static const struct {
    const char *name;
    size_t offset;
} field_rows[] = {
    FIELD(rid),    FIELD(eid),       FIELD(code),         FIELD(msisdn),  FIELD(mobile),
    FIELD(sender), FIELD(send_time), FIELD(deliver_time), FIELD(sealed),  FIELD(err),
    FIELD(ctx),    FIELD(route),     FIELD(party),        FIELD(country), FIELD(at_ms),
    FIELD(ft),     FIELD(method),    FIELD(url),          FIELD(headers), FIELD(body),
    FIELD(expect),
};

/* A packed map of texts: calls take for each. */
static bool each_text(struct slice data,
                      void (*take)(void *context, struct slice name, struct slice value),
                      void *context)
{
    struct pack p = pack_over(data);
    uint32_t pairs = 0;
    if (!pack_read_map(&p, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct slice name;
        struct slice value;
        if (!pack_read_str(&p, &name) || !pack_read_str(&p, &value)) {
            return false;
        }
        take(context, name, value);
    }
    return p.at == p.end;
}

static void take_field(void *context, struct slice name, struct slice value)
{
    for (size_t i = 0; i < ARRAY_LEN(field_rows); i++) {
        if (slice_is(name, field_rows[i].name)) {
            memcpy((char *)context + field_rows[i].offset, &value, sizeof value);
        }
    }
}

/* A map without pairs is packed by Redis as an array without items. */
bool callback_fields_read(struct slice data, struct callback_fields *out)
{
    *out = (struct callback_fields){0};
    return slice_eq(data, SLICE("\x90")) || each_text(data, take_field, out);
}

/* ---- kind http ------------------------------------------------------------------------------- */

static bool header_name_ok(struct slice name)
{
    static const char *const ours[] = {"Host", "Content-Length", "Transfer-Encoding", "Connection"};
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_')) {
            return false;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (name.n == strlen(ours[i]) && strncasecmp(name.p, ours[i], name.n) == 0) {
            return false;
        }
    }
    return name.n > 0;
}

static void put_pair(struct buf *out, const char *name, struct slice value)
{
    pack_put_str(out, slice_of(name));
    pack_put_str(out, value);
}

bool callback_http_data(const struct job_callback *body, struct buf *out, const char **why)
{
    struct buf lines;
    buf_init(&lines, CALLBACK_DATA_BYTES_MAX);
    for (uint32_t i = 0; i < body->headers.count; i++) {
        const struct job_param *h = &body->headers.at[i];
        if (!header_name_ok(h->name)) {
            *why = "headers: a name that cannot be sent, or that otpq sets itself";
            buf_free(&lines);
            return false;
        }
        buf_printf(&lines, "%.*s: %.*s\n", SLICE_ARG(h->name), SLICE_ARG(h->value));
    }
    pack_put_map(out, 5);
    put_pair(out, "method", body->method);
    put_pair(out, "url", body->url);
    put_pair(out, "headers", buf_slice(&lines));
    put_pair(out, "body", body->body);
    put_pair(out, "expect", body->expect);
    bool fits = buf_ok(&lines) && buf_ok(out);
    *why = fits ? NULL : "headers and body: too long";
    buf_free(&lines);
    return fits;
}

static void put_header(struct dialect_request *out, const char *name, struct slice value)
{
    buf_printf(&out->headers, "%s: %.*s", name, SLICE_ARG(value));
    buf_putc(&out->headers, '\0');
    out->header_count++;
}

static bool build_http(const struct callback_fields *f, struct dialect_request *out)
{
    const char *at = f->headers.p;
    const char *end = f->headers.n > 0 ? at + f->headers.n : at;
    out->method = slice_is(f->method, "POST") ? "POST" : "GET";
    buf_put_slice(&out->url, f->url);
    buf_put_slice(&out->body, f->body);
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        buf_put(&out->headers, at, (size_t)(stop - at));
        buf_putc(&out->headers, '\0');
        out->header_count++;
        at = stop + 1;
    }
    return true;
}

/* ---- system 3 -------------------------------------------------------------------------------- */

/* CODE of the published system: 200 success, 400 wrong number, 500 internal server error. For a
 * verification, what the user did wrong is 400 too. */
static const char *code_of_system3(enum callback_kind kind, enum result_code code)
{
    switch (code) {
    case RESULT_OTP_SENT:
    case RESULT_DELIVERED:
    case RESULT_OTP_VERIFIED:
        return "200";
    case RESULT_INVALID_MSISDN:
    case RESULT_MSISDN_BLOCKED:
    case RESULT_NOT_ELIGIBLE:
    case RESULT_ALREADY_SUBSCRIBED:
        return "400";
    case RESULT_WRONG_OTP:
    case RESULT_OTP_EXPIRED:
    case RESULT_TOO_MANY_ATTEMPTS:
    case RESULT_ALREADY_VERIFIED:
    case RESULT_REQUEST_NOT_FOUND:
    case RESULT_INVALID_REQUEST:
        return kind == CALLBACK_RESULT ? "400" : "500";
    default:
        return "500";
    }
}

static bool put_query(struct buf *url, char before, const char *name, struct slice value)
{
    const char *why = NULL;
    buf_printf(url, "%c%s=", before, name);
    return encode_put(TEMPLATE_QUERY, value, url, &why);
}

static bool build_system3(enum callback_kind kind, const struct callback_fields *f,
                          const struct callback_where *w, struct dialect_request *out)
{
    enum result_code word = result_of(f->code);
    const char *code = code_of_system3(kind, word);
    bool good = strcmp(code, "200") == 0;
    const char *mark = strchr(w->url, '?');
    char first = mark == NULL ? '?' : '&';
    struct buf *url = &out->url;
    buf_puts(url, w->url);
    if (mark != NULL && mark[1] == '\0') {
        buf_clear(url); /* "…?" needs no second sign */
        buf_put(url, w->url, strlen(w->url) - 1);
        first = '?';
    }
    return put_query(url, first, "STATUS", slice_of(good ? "SUCCESS" : "ERROR")) &&
           put_query(url, '&', "MSG", good ? SLICE("") : slice_of(result_name(word))) &&
           put_query(url, '&', "TYPE", slice_of(kind == CALLBACK_RESULT ? "1" : "0")) &&
           put_query(url, '&', "CODE", slice_of(code)) && put_query(url, '&', "MSGID", f->rid) &&
           put_query(url, '&', "EXTID", f->eid);
}

/* ---- system 4 -------------------------------------------------------------------------------- */

static void put_json_text(json_t *object, const char *name, struct slice value)
{
    json_t *text = json_stringn(value.p != NULL ? value.p : "", value.n);
    must(json_object_set_new(object, name, text != NULL ? text : json_string("")) == 0);
}

static void put_json_time(json_t *object, const char *name, const char *zone, struct slice utc)
{
    char text[ZONE_TIME_BYTES];
    bool known = zone_from_utc(slice_of(zone), utc, text);
    put_json_text(object, name, known ? slice_of(text) : utc);
}

/* What the user was asked to send, and did. */
static void put_json_content(json_t *object, const struct callback_where *w)
{
    const char *at = w->content != NULL ? strstr(w->content, "{code}") : NULL;
    if (at == NULL || w->otp.n == 0) {
        return;
    }
    struct buf text;
    buf_init(&text, 4096);
    buf_put(&text, w->content, (size_t)(at - w->content));
    buf_put_slice(&text, w->otp);
    buf_puts(&text, at + strlen("{code}"));
    if (buf_ok(&text)) {
        put_json_text(object, "content", buf_slice(&text));
    }
    buf_free(&text);
}

static bool build_push(enum callback_kind kind, const struct callback_fields *f,
                       const struct callback_where *w, struct dialect_request *out)
{
    bool expired = kind == CALLBACK_EXPIRY;
    const char *zone = w->time_zone != NULL ? w->time_zone : "UTC";
    struct slice receiver = slice_of(w->receiver != NULL ? w->receiver : "");
    json_t *body = json_object();
    put_json_text(body, "mobile", f->mobile);
    put_json_text(body, "sender", f->sender.n > 0 ? f->sender : receiver);
    put_json_time(body, "sendTime", zone, f->send_time);
    put_json_text(body, "code", w->otp);
    if (expired) {
        put_json_text(body, "err", f->err.n > 0 ? f->err : SLICE("otp_expired"));
    } else {
        put_json_content(body, w);
        put_json_time(body, "deliverTime", zone, f->deliver_time);
    }
    char *text = json_dumps(body, JSON_COMPACT);
    must(text != NULL);
    out->method = "POST";
    buf_puts(&out->url, w->url);
    buf_puts(&out->body, text);
    put_header(out, "Content-Type", SLICE("application/json"));
    free(text);
    json_decref(body);
    return true;
}

/* ---- postbacks ------------------------------------------------------------------------------- */

/* What the macros of one postback stand for. */
struct postback {
    const struct callback_fields *f;
    const struct callback_where *w;
    struct slice wanted; /* name of the ctx value that is being looked for */
    struct slice found;
    char mid[24];
    char now_s[24];
    char now_ms[24];
    char uuid[TEMPLATE_UUID_CHARS + 1];
};

static void take_wanted(void *context, struct slice name, struct slice value)
{
    struct postback *p = context;
    if (slice_eq(name, p->wanted)) {
        p->found = value;
    }
}

static struct slice ctx_value(struct postback *p, const char *name)
{
    p->wanted = slice_of(name);
    p->found = (struct slice){0};
    if (p->f->ctx.n > 0 && !each_text(p->f->ctx, take_wanted, p)) {
        return (struct slice){0};
    }
    return p->found;
}

static struct slice postback_param(void *context, struct slice name)
{
    char full[8 + TEMPLATE_NAME_BYTES_MAX];
    (void)snprintf(full, sizeof full, "param.%.*s", SLICE_ARG(name));
    return ctx_value(context, full);
}

static bool postback_secret(void *context, struct slice name, struct slice *value)
{
    struct postback *p = context;
    return p->w->secrets != NULL && secrets_find(p->w->secrets, name, value);
}

static void postback_values(struct postback *p, struct template_values *v)
{
    const struct callback_fields *f = p->f;
    *v = (struct template_values){
        .macro =
            {
                [MACRO_MSISDN] = f->msisdn,
                [MACRO_USER_ID] = ctx_value(p, "user_id"),
                [MACRO_AID] = f->party,
                [MACRO_MID] = slice_of(p->mid),
                [MACRO_PARTNER] = f->route,
                [MACRO_REQUEST_ID] = f->rid,
                [MACRO_CLICK_ID] = f->rid,
                [MACRO_IP] = ctx_value(p, "ip"),
                [MACRO_USER_AGENT] = ctx_value(p, "user_agent"),
                [MACRO_COUNTRY] = f->country.n > 0 ? f->country : ctx_value(p, "country"),
                [MACRO_TIMESTAMP] = slice_of(p->now_s),
                [MACRO_TIMESTAMP_MS] = slice_of(p->now_ms),
                [MACRO_UUID] = slice_of(p->uuid),
                [MACRO_TYPE] = ctx_value(p, "type"),
                [MACRO_LANG] = ctx_value(p, "lang"),
                [MACRO_PAYOUT] = slice_of(p->w->payout != NULL ? p->w->payout : ""),
                [MACRO_STATUS] = f->code.n > 0 ? f->code : SLICE("otp_verified"),
                [MACRO_SUB1] = ctx_value(p, "param.sub1"),
                [MACRO_SUB2] = ctx_value(p, "param.sub2"),
                [MACRO_SUB3] = ctx_value(p, "param.sub3"),
                [MACRO_SUB4] = ctx_value(p, "param.sub4"),
                [MACRO_SUB5] = ctx_value(p, "param.sub5"),
            },
        .param = postback_param,
        .secret = postback_secret,
        .context = p,
    };
}

static bool build_postback(const struct callback_fields *f, const struct callback_where *w,
                           int64_t now_ms, struct dialect_request *out, char why[160])
{
    struct template_error error;
    struct template_values values;
    struct postback p = {.f = f, .w = w};
    struct template *t = template_compile_raw(slice_of(w->url), TEMPLATE_QUERY, &error);
    (void)snprintf(p.mid, sizeof p.mid, "%" PRIu64, w->mid);
    (void)snprintf(p.now_s, sizeof p.now_s, "%" PRId64, now_ms / 1000);
    (void)snprintf(p.now_ms, sizeof p.now_ms, "%" PRId64, now_ms);
    template_uuid(p.uuid);
    postback_values(&p, &values);
    bool good = t != NULL && template_expand(t, &values, &out->url, &error);
    if (!good) {
        (void)snprintf(why, 160, "postback_url: %.140s", error.text);
    }
    template_destroy(&t);
    return good;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void put_signature(struct slice id, const char *secret, int64_t now_ms,
                          struct dialect_request *out)
{
    char name[64];
    char text[64];
    (void)snprintf(name, sizeof name, "msg_%.*s", SLICE_ARG(id));
    put_header(out, "webhook-id", slice_of(name));
    (void)snprintf(text, sizeof text, "%" PRId64, now_ms / 1000);
    put_header(out, "webhook-timestamp", slice_of(text));
    if (secret != NULL && secret[0] != '\0') {
        webhook_sign(slice_of(secret), slice_of(name), now_ms / 1000, buf_slice(&out->body), text);
        put_header(out, "webhook-signature", slice_of(text));
    }
}

bool callback_build(enum callback_kind kind, struct slice id, const struct callback_fields *f,
                    const struct callback_where *w, int64_t now_ms, struct dialect_request *out,
                    char why[160])
{
    bool good = false;
    out->method = "GET";
    out->timeout_ms = CALLBACK_TIMEOUT_MS;
    out->connect_ms = CALLBACK_CONNECT_MS;
    (void)snprintf(why, 160, "a value cannot be sent");
    switch (kind) {
    case CALLBACK_STATUS:
    case CALLBACK_RESULT:
        good = build_system3(kind, f, w, out);
        break;
    case CALLBACK_PUSH:
    case CALLBACK_EXPIRY:
        good = build_push(kind, f, w, out);
        break;
    case CALLBACK_POSTBACK:
        good = build_postback(f, w, now_ms, out, why);
        break;
    case CALLBACK_HTTP:
        good = build_http(f, out);
        break;
    case CALLBACK_POLL:
    case CALLBACK_KINDS:
        break;
    }
    put_signature(id, w->secret, now_ms, out);
    return good && buf_ok(&out->url) && buf_ok(&out->headers) && buf_ok(&out->body);
}

/* {"code":"0"}, also as a number: that is how FOTP's customers say that they have it. */
static bool push_received(struct slice body)
{
    json_error_t error;
    json_t *answer =
        json_loadb(body.p != NULL ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &error);
    const json_t *code = json_object_get(answer, "code");
    const char *text = json_string_value(code);
    bool received = text != NULL ? strcmp(text, "0") == 0
                                 : json_is_integer(code) && json_integer_value(code) == 0;
    json_decref(answer);
    return received;
}

enum callback_verdict callback_judge(enum callback_kind kind, const struct callback_fields *f,
                                     int http, struct slice body)
{
    if (http == 410) {
        return CALLBACK_GONE;
    }
    if (http < 200 || http > 299) {
        return CALLBACK_FAILED;
    }
    if (kind == CALLBACK_PUSH || kind == CALLBACK_EXPIRY) {
        return push_received(body) ? CALLBACK_RECEIVED : CALLBACK_FAILED;
    }
    bool expected = f->expect.n == 0 || (body.n >= f->expect.n &&
                                         memmem(body.p, body.n, f->expect.p, f->expect.n) != NULL);
    return expected ? CALLBACK_RECEIVED : CALLBACK_FAILED;
}

uint32_t callback_next_ms(const struct callback_schedule *s, uint32_t attempt,
                          int64_t retry_after_s, uint64_t random)
{
    must(attempt > 0);
    if (attempt > s->count) {
        return 0;
    }
    uint64_t base_ms = (uint64_t)s->after_s[attempt - 1] * 1000;
    uint64_t next_ms = base_ms * 4 / 5 + (base_ms > 0 ? random % (base_ms * 2 / 5 + 1) : 0);
    int64_t asked_s =
        retry_after_s < CALLBACK_RETRY_AFTER_S_MAX ? retry_after_s : CALLBACK_RETRY_AFTER_S_MAX;
    if (asked_s > 0 && (uint64_t)asked_s * 1000 > next_ms) {
        next_ms = (uint64_t)asked_s * 1000;
    }
    return next_ms > 0 ? (uint32_t)next_ms : 1;
}
