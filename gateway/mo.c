/*
 * SMSs that users sent (MO), handed in by an SMSC as Kannel's get-url does it: from, to, text,
 * time. One that holds the word of a flash template becomes a job; all others end here. Answers
 * have no body, which Kannel would send back as an SMS.
 */
#include <ctype.h>
#include <stdio.h>

#include "common/base/log.h"
#include "common/meaning/flash_index.h"
#include "common/meaning/job_ops.h"
#include "common/meaning/msisdn.h"
#include "common/meaning/zone.h"
#include "gateway/intake.h"
#include "gateway/outcome.h"

enum {
    RECEIVER_DIGITS_MAX = 15,
    PARTY_BYTES = 64,
    VALUE_BYTES_MAX = PARAM_VALUE_BYTES_MAX,
    UTF8_BYTES_MAX = 4
};

/* One SMS, made the same. */
struct mo {
    char to[RECEIVER_DIGITS_MAX + 1];
    struct slice from; /* as given */
    struct slice text;
    char sent[ZONE_TIME_BYTES];      /* YYYY-MM-DD HH:MM:SS, UTC */
    char delivered[ZONE_TIME_BYTES]; /* now */
};

static void answer_empty(struct answer *a, int http)
{
    answer_begin(a, http);
    answer_plain(a, "text/plain; charset=utf-8", SLICE(""));
}

/* Taken, and nothing comes of it. */
static void ignore(struct intake *p, const struct mo_source *source, struct slice from,
                   const char *why)
{
    char digits[32];
    size_t n = 0;
    for (size_t i = 0; i < from.n && n < sizeof(digits); i++) {
        if (isdigit((unsigned char)from.p[i])) {
            digits[n++] = from.p[i];
        }
    }
    struct msisdn_masked masked = msisdn_mask(slice_make(digits, n));
    log_info("SMS ignored", "source", source->name, "from", masked.text, "why", why, NULL);
    p->kind = INTAKE_ANSWER;
    answer_empty(&p->answer, 200);
}

/* ---- reading -------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* What of an encoded text is one byte of the decoded one: returns how long it is. */
static size_t one_byte(struct slice s, size_t at, unsigned char *byte)
{
    int high = s.p[at] == '%' && at + 2 < s.n ? hex(s.p[at + 1]) : -1;
    int low = high >= 0 ? hex(s.p[at + 2]) : -1;
    *byte = low >= 0 ? (unsigned char)(high * 16 + low) : (unsigned char)s.p[at];
    return low >= 0 ? 3 : 1;
}

/* People put line ends into their SMSs and write long ones, which parameters must not have and be:
 * encoded control characters become spaces, and what is too long is cut between two characters. In
 * another character set than UTF-8 (ascii) all that is not ASCII becomes "?": the word is. */
static void soften(struct buf *out, struct slice encoded, bool ascii)
{
    size_t in_value = 0; /* bytes since the last "&" or "=" */
    size_t step;
    for (size_t i = 0; i < encoded.n; i += step) {
        unsigned char byte;
        step = one_byte(encoded, i, &byte);
        in_value = step == 1 && (byte == '&' || byte == '=') ? 0 : in_value + 1;
        bool begins = (byte & 0xc0) != 0x80;
        if (in_value > VALUE_BYTES_MAX - UTF8_BYTES_MAX && begins) {
            in_value = VALUE_BYTES_MAX; /* nor any character after it */
        } else if (in_value <= VALUE_BYTES_MAX && (byte < ' ' || byte == 0x7f)) {
            buf_putc(out, '+');
        } else if (in_value <= VALUE_BYTES_MAX && ascii && byte >= 0x80) {
            buf_putc(out, '?');
        } else if (in_value <= VALUE_BYTES_MAX) {
            buf_put(out, encoded.p + i, step);
        }
    }
}

static bool read_softened(struct params *out, const struct intake_input *in, bool ascii)
{
    char error[PARAMS_ERROR_BYTES];
    struct buf query;
    struct buf body;
    bool json = in->body.n > 0 && in->body.p[0] == '{';
    buf_init(&query, in->query.n + 1);
    buf_init(&body, in->body.n + 1);
    soften(&query, in->query, ascii);
    soften(&body, in->body, ascii);
    bool ok = params_read(out, buf_slice(&query), in->content_type,
                          json ? in->body : buf_slice(&body), error);
    buf_free(&query);
    buf_free(&body);
    return ok;
}

static bool read_params(struct params *out, const struct intake_input *in)
{
    if (read_softened(out, in, false)) {
        return true;
    }
    params_free(out);
    return read_softened(out, in, true);
}

/* A receiver as the SMSC writes it, "+62 852…": digits, without 00. */
static bool read_receiver(struct slice typed, char out[RECEIVER_DIGITS_MAX + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < typed.n; i++) {
        char c = typed.p[i];
        if (c >= '0' && c <= '9') {
            if (n == RECEIVER_DIGITS_MAX) {
                return false;
            }
            out[n++] = c;
        } else if (strchr(" +-.()", c) == NULL || c == '\0') {
            return false;
        }
    }
    out[n] = '\0';
    if (n > 2 && out[0] == '0' && out[1] == '0') {
        memmove(out, out + 2, n - 1);
    }
    return out[0] != '\0';
}

/* %T of Kannel, seconds since 1970; %t, "2025-04-29 17:47", with or without seconds. What is
 * neither counts as now. */
static void read_time(struct slice given, int64_t now_ms, char out[ZONE_TIME_BYTES])
{
    char text[ZONE_TIME_BYTES] = "";
    uint64_t at = 0;
    if (slice_to_u64(given, UINT32_MAX, &at)) {
        zone_utc_text(at * 1000, out);
        return;
    }
    if (given.n == 16 || given.n == 19) {
        (void)snprintf(text, sizeof(text), "%.*s%s", SLICE_ARG(given), given.n == 16 ? ":00" : "");
    }
    bool told = zone_utc_ms(slice_of(text), &at);
    zone_utc_text(told ? at : (uint64_t)now_ms, out);
}

/* ---- the job -------------------------------------------------------------------------------- */

/* The user sends back a code that an advertiser made: it is verified there. */
static void make_verify(struct intake *p, const struct flash_template *t, const char *party,
                        const struct mo *mo, struct slice code, struct slice from)
{
    const struct job_body job = {.msisdn = from,
                                 .otp = code,
                                 .party = slice_of(party),
                                 .sender = slice_of(mo->to),
                                 .send_time = slice_of(mo->sent)};
    intake_job(p, WIRE_OP_VERIFY, slice_of(t->integration), slice_of(party));
    job_body_encode(&p->body, &job, true);
    (void)intake_job_fits(p);
}

static void make_report(struct intake *p, const struct flash_template *t, const char *party,
                        const struct mo *mo, struct slice code, struct slice from)
{
    char lane[INTAKE_ROUTE_BYTES];
    const struct job_report job = {.event = DIALECT_MO,
                                   .otp = code,
                                   .mobile = from,
                                   .sender = slice_of(mo->to),
                                   .send_time = slice_of(mo->sent),
                                   .deliver_time = slice_of(mo->delivered)};
    (void)snprintf(lane, sizeof(lane), FLASH_LANE "%s", t->name);
    intake_job(p, WIRE_OP_REPORT, slice_of(lane), slice_of(party));
    job_report_encode(&p->body, &job);
    (void)intake_job_fits(p);
}

static void hand_on(struct intake *p, const struct records *records, const struct mo_source *source,
                    const struct mo *mo)
{
    struct slice code = {NULL, 0};
    struct msisdn from;
    const char *why;
    char party[PARTY_BYTES];
    const struct flash_template *t =
        flash_index_match(records->flash, slice_of(mo->to), mo->text, &code);
    if (t == NULL) {
        ignore(p, source, mo->from, "no template's word in it, or not to its receiver");
        return;
    }
    const struct integration *i = records_integration(records, slice_of(t->integration));
    if (!msisdn_parse(mo->from, i != NULL ? i->country_code : NULL, &from, &why)) {
        ignore(p, source, mo->from, "it came from something that is no phone number");
        return;
    }
    (void)snprintf(party, sizeof(party), ACCOUNT_LANE "%s", t->account);
    if (t->integration[0] == '\0') {
        make_report(p, t, party, mo, code, slice_of(from.digits));
    } else if (i != NULL) {
        make_verify(p, t, party, mo, code, slice_of(from.digits));
    } else {
        ignore(p, source, mo->from, "its template's integration is not there");
    }
}

static bool is_there(const struct params *p, const char *name)
{
    return params_get(p, name).p != NULL;
}

static void take_params(struct intake *p, const struct records *records,
                        const struct mo_source *source, const struct params *params, int64_t now_ms)
{
    struct mo mo = {.from = params_get(params, "from"), .text = params_get(params, "text")};
    if (!is_there(params, "from") || !is_there(params, "to") || !is_there(params, "text")) {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, "from, to and text are needed");
        return;
    }
    read_time(params_get(params, "time"), now_ms, mo.sent);
    zone_utc_text((uint64_t)now_ms, mo.delivered);
    if (read_receiver(params_get(params, "to"), mo.to)) {
        hand_on(p, records, source, &mo);
    } else {
        ignore(p, source, mo.from, "it went to something that is no phone number");
    }
}

static void take(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in)
{
    const struct mo_source *source = records_mo_source(records, m->names[0]);
    struct params params;
    if (source == NULL) {
        intake_fail(p, RESULT_INVALID_REQUEST, 404, "there is nothing at this path");
        return;
    }
    if (read_params(&params, in)) {
        take_params(p, records, source, &params, in->wall_ms);
    } else {
        /* What users send must not become errors, which Kannel may answer to them. */
        ignore(p, source, slice_of(""), "its parameters cannot be read");
    }
    params_free(&params);
}

static bool was_taken(const struct outcome *o)
{
    switch (o->code) {
    case RESULT_STORE_UNAVAILABLE:
    case RESULT_DEADLINE_PASSED:
    case RESULT_QUEUE_FULL:
    case RESULT_RATE_LIMITED:
    case RESULT_INTEGRATION_PAUSED:
    case RESULT_ADVERTISER_UNREACHABLE:
    case RESULT_CANCELLED:
    case RESULT_INTERNAL_ERROR:
        return false;
    default:
        return o->ran;
    }
}

/* Nobody learns from the status whether the code was right. */
static void tell(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    struct outcome o;
    (void)kept;
    outcome_read(from, &o);
    answer_empty(a, was_taken(&o) ? 200 : 503);
    a->retry_after_s = answer_retry_after(a->http, a->http == 503 ? o.retry_after_s : 0);
}

static void fail(struct answer *a, const void *kept, enum result_code code, int http,
                 const char *detail, uint32_t retry_after_s)
{
    (void)kept;
    bool wrong = code == RESULT_INVALID_REQUEST;
    answer_begin(a, http != 0 ? http : wrong ? 400 : 503);
    answer_plain(a, "text/plain; charset=utf-8", slice_of(wrong ? detail : ""));
    a->retry_after_s = answer_retry_after(a->http, retry_after_s);
}

const struct system system_flash_mo = {
    .name = "flash.mo", .take = take, .tell = tell, .fail = fail};
