#include "common/meaning/job_ops.h"

#include "common/meaning/job_read.h"
#include "common/meaning/params.h"
#include "common/meaning/wire.h"

#define TEXT(type, member, max, flags)                                                             \
    {                                                                                              \
        FIELD(type, member, #member, FIELD_TEXT, flags), 1, max,                                   \
            #member ": a string of 1 to " #max " bytes of UTF-8 without control characters",       \
            .text_ok = params_text_ok                                                              \
    }

#define NAME(type, member, max, flags)                                                             \
    {                                                                                              \
        FIELD(type, member, #member, FIELD_ID, flags), 1, max,                                     \
            #member ": 1 to " #max " bytes of A-Z a-z 0-9 _ . : -"                                 \
    }

/* ---- flash.create, flash.query -------------------------------------------------------------- */

static bool code_ok(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }
    return true;
}

static const struct field create_rows[] = {
    NAME(struct job_flash_create, ft_id, 64, FIELD_NEEDED),
    {FIELD(struct job_flash_create, code, "code", FIELD_TEXT, 0), 4, 6, "code: 4 to 6 digits",
     .text_ok = code_ok},
    {FIELD(struct job_flash_create, validity_s, "validity_s", FIELD_U32, FIELD_SKIP_ZERO), 1, 600,
     "validity_s: a whole number from 1 to 600"},
    NAME(struct job_flash_create, account, 48, FIELD_NEEDED),
    TEXT(struct job_flash_create, nonce, 64, 0),
};

static const struct field query_rows[] = {
    NAME(struct job_flash_query, ft_token, 64, FIELD_NEEDED),
    NAME(struct job_flash_query, account, 48, 0),
    TEXT(struct job_flash_query, nonce, 64, 0),
};

bool job_flash_create_decode(struct slice bytes, struct job_flash_create *out, const char **error)
{
    *out = (struct job_flash_create){0};
    return job_read_whole(bytes, &FIELDS(create_rows), out, error);
}

void job_flash_create_encode(struct buf *b, const struct job_flash_create *body)
{
    fields_put(b, &FIELDS(create_rows), body);
}

bool job_flash_query_decode(struct slice bytes, struct job_flash_query *out, const char **error)
{
    *out = (struct job_flash_query){0};
    return job_read_whole(bytes, &FIELDS(query_rows), out, error);
}

void job_flash_query_encode(struct buf *b, const struct job_flash_query *body)
{
    fields_put(b, &FIELDS(query_rows), body);
}

/* ---- report --------------------------------------------------------------------------------- */

static const char *const event_names[] = {
    [DIALECT_DELIVERY] = "delivery", [DIALECT_VERIFICATION] = "verification", [DIALECT_MO] = "mo"};

static int event_of(struct slice word)
{
    for (int i = 0; i < (int)ARRAY_LEN(event_names); i++) {
        if (slice_is(word, event_names[i])) {
            return i;
        }
    }
    return -1;
}

static const char *event_word(int event)
{
    return event_names[event];
}

static int code_of(struct slice word)
{
    enum result_code code = result_of(word);
    return code == RESULT_NONE ? -1 : (int)code;
}

static const char *code_word(int code)
{
    return code == RESULT_NONE ? NULL : result_name((enum result_code)code);
}

static const struct field report_rows[] = {
    {FIELD(struct job_report, event, "event", FIELD_WORD, FIELD_NEEDED), .of_word = event_of,
     .word_of = event_word, .rule = "event: one of delivery, verification, mo"},
    {FIELD(struct job_report, code, "code", FIELD_WORD, 0), .of_word = code_of,
     .word_of = code_word, .rule = "code: a word of the vocabulary"},
    TEXT(struct job_report, request_id, 64, 0),
    TEXT(struct job_report, advertiser_request_id, 128, 0),
    TEXT(struct job_report, otp, 16, 0),
    TEXT(struct job_report, mobile, 24, 0),
    TEXT(struct job_report, sender, 24, 0),
    TEXT(struct job_report, send_time, 24, 0),
    TEXT(struct job_report, deliver_time, 24, 0),
};

bool job_report_decode(struct slice bytes, struct job_report *out, const char **error)
{
    *out = (struct job_report){.code = RESULT_NONE};
    if (!job_read_whole(bytes, &FIELDS(report_rows), out, error)) {
        return false;
    }
    if (out->request_id.n == 0 && out->advertiser_request_id.n == 0 && out->otp.n == 0) {
        *error = "request_id, advertiser_request_id, otp: one of them is needed";
        return false;
    }
    return true;
}

void job_report_encode(struct buf *b, const struct job_report *body)
{
    fields_put(b, &FIELDS(report_rows), body);
}

/* ---- callback ------------------------------------------------------------------------------- */

/* What the table reads into: headers wait as raw bytes until their own walk. */
struct callback_read {
    struct job_callback body;
    struct slice headers;
};

static bool method_ok(struct slice s)
{
    return slice_is(s, "GET") || slice_is(s, "POST");
}

static const struct field callback_rows[] = {
    {FIELD(struct callback_read, body.task, "task", FIELD_ID, 0), 1, 40,
     "task: 1 to 40 bytes of A-Z a-z 0-9 _ . : -"},
    {FIELD(struct callback_read, body.method, "method", FIELD_TEXT, 0), 1, 8, "method: GET or POST",
     .text_ok = method_ok},
    {FIELD(struct callback_read, body.url, "url", FIELD_TEXT, 0), 8, 2048,
     "url: 8 to 2048 bytes of UTF-8 without control characters", .text_ok = params_text_ok},
    {FIELD(struct callback_read, headers, "headers", FIELD_RAW, 0), .rule = "headers: a map"},
    {FIELD(struct callback_read, body.body, "body", FIELD_BYTES, 0), 0, 16384,
     "body: at most 16384 bytes"},
    {FIELD(struct callback_read, body.expect, "expect", FIELD_TEXT, 0), 0, 256,
     "expect: at most 256 bytes of UTF-8 without control characters", .text_ok = params_text_ok},
};

bool job_callback_decode(struct slice bytes, struct job_callback *out, const char **error)
{
    struct callback_read read = {0};
    if (!job_read_whole(bytes, &FIELDS(callback_rows), &read, error)) {
        return false;
    }
    if (!job_read_params(read.headers, &read.body.headers, error)) {
        *error = "headers: at most 32 names of 1 to 64 bytes and values of at most 1024";
        return false;
    }
    if (read.body.task.n == 0 && (read.body.method.n == 0 || read.body.url.n == 0)) {
        *error = "method and url: needed";
        return false;
    }
    *out = read.body;
    return true;
}

void job_callback_encode(struct buf *b, const struct job_callback *body)
{
    struct callback_read from = {.body = *body};
    struct buf headers;
    buf_init(&headers, WIRE_BODY_BYTES_MAX);
    job_put_params(&headers, &body->headers);
    b->overflow |= !buf_ok(&headers);
    from.headers = buf_slice(&headers);
    fields_put(b, &FIELDS(callback_rows), &from);
    buf_free(&headers);
}
