#include "common/meaning/job.h"

#include "common/meaning/job_read.h"
#include "common/meaning/params.h"

/* ---- the body of send and verify ------------------------------------------------------------ */

/* What the table reads into: params wait as raw bytes until their own walk. */
struct body_read {
    struct job_body body;
    struct slice params;
};

/* SMS texts have lines; otherwise the rule of all texts, over HTTP too. */
static bool lines_ok(struct slice s)
{
    const char *end;
    while (s.n > 0 && (end = memchr(s.p, '\n', s.n)) != NULL) {
        size_t n = (size_t)(end - s.p);
        if (!params_text_ok(slice_make(s.p, n))) {
            return false;
        }
        s = slice_make(end + 1, s.n - n - 1);
    }
    return params_text_ok(s);
}

#define PLAIN " of UTF-8 without control characters"
#define TEXT(member, max)                                                                          \
    {                                                                                              \
        FIELD(struct body_read, body.member, #member, FIELD_TEXT, 0), 0, max,                      \
            #member ": a string of at most " #max " bytes" PLAIN, .text_ok = params_text_ok        \
    }
#define MSISDN                                                                                     \
    {                                                                                              \
        FIELD(struct body_read, body.msisdn, "msisdn", FIELD_TEXT, FIELD_NEEDED), 1, 32,           \
            "msisdn: needed, a string of 1 to 32 bytes" PLAIN, .text_ok = params_text_ok           \
    }
#define AID                                                                                        \
    {                                                                                              \
        FIELD(struct body_read, body.aid, "aid", FIELD_DIGITS, 0), 0, INT64_MAX,                   \
            "aid: a whole number or its digits"                                                    \
    }
#define PARAMS                                                                                     \
    {                                                                                              \
        FIELD(struct body_read, params, "params", FIELD_RAW, 0), .rule = "params: a map"           \
    }

#define PARTY                                                                                      \
    {                                                                                              \
        FIELD(struct body_read, body.party, "party", FIELD_ID, 0), 1, 64,                          \
            "party: 1 to 64 bytes of A-Z a-z 0-9 _ . : -"                                          \
    }

static const char *const id_forms[JOB_ID_FORMS] = {
    [JOB_ID_TEXT] = NULL, [JOB_ID_NUMBER] = "number", [JOB_ID_TOKEN] = "token"};

static int id_form_of(struct slice word)
{
    for (int i = 1; i < JOB_ID_FORMS; i++) {
        if (slice_is(word, id_forms[i])) {
            return i;
        }
    }
    return -1;
}

static const char *id_form_word(int form)
{
    return id_forms[form];
}

static const struct field send_rows[] = {
    MSISDN,
    AID,
    PARTY,
    {FIELD(struct body_read, body.id_as, "id_as", FIELD_WORD, 0), .of_word = id_form_of,
     .word_of = id_form_word, .rule = "id_as: number or token"},
    TEXT(eid, 128),
    TEXT(lane, 64),
    TEXT(ft_id, 64),
    TEXT(user_id, 256),
    TEXT(type, 64),
    TEXT(ip, 64),
    TEXT(user_agent, 1024),
    TEXT(lang, 64),
    {FIELD(struct body_read, body.text, "text", FIELD_TEXT, 0), 0, 2048,
     "text: a string of at most 2048 bytes" PLAIN " but newlines", .text_ok = lines_ok},
    PARAMS,
};

static const struct field verify_rows[] = {
    {FIELD(struct body_read, body.msisdn, "msisdn", FIELD_TEXT, 0), 1, 32,
     "msisdn: a string of 1 to 32 bytes" PLAIN, .text_ok = params_text_ok},
    {FIELD(struct body_read, body.otp, "otp", FIELD_TEXT, FIELD_NEEDED), 1, 64,
     "otp: needed, a string of 1 to 64 bytes" PLAIN, .text_ok = params_text_ok},
    TEXT(request_id, 64),
    AID,
    PARTY,
    TEXT(sender, 24),
    TEXT(send_time, 24),
    TEXT(user_id, 256),
    TEXT(type, 64),
    TEXT(ip, 64),
    TEXT(user_agent, 1024),
    TEXT(lang, 64),
    PARAMS,
};

static struct fields body_fields(bool verify)
{
    return verify ? FIELDS(verify_rows) : FIELDS(send_rows);
}

static bool read_param(struct pack *p, struct job_param *param, const char **error)
{
    if (!pack_read_str(p, &param->name) || !pack_read_str(p, &param->value)) {
        *error = "params: names and values must be strings";
        return false;
    }
    if (param->name.n < 1 || param->name.n > 64 || param->value.n > JOB_PARAM_BYTES_MAX) {
        *error = "params: a name has 1 to 64 bytes, a value at most 1024";
        return false;
    }
    if (!params_text_ok(param->name) || !params_text_ok(param->value)) {
        *error = "params: names and values are UTF-8 without control characters";
        return false;
    }
    return true;
}

bool job_read_params(struct slice raw, struct job_params *out, const char **error)
{
    struct pack p = pack_over(raw);
    uint32_t pairs = 0;
    if (raw.n > 0 && !pack_read_map(&p, &pairs)) {
        *error = "params: a map";
        return false;
    }
    if (pairs > JOB_PARAMS_MAX) {
        *error = "params: at most 32";
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        if (!read_param(&p, &out->at[i], error)) {
            return false;
        }
    }
    out->count = pairs;
    return true;
}

/* A whole body: one map and nothing behind it. */
bool job_read_whole(struct slice bytes, const struct fields *t, void *out, const char **error)
{
    struct pack p = pack_over(bytes);
    if (fields_read(&p, t, PACK_DEPTH_MAX - 1, out, error) == FIELDS_OK && p.at == p.end) {
        return true;
    }
    if (p.error != NULL) {
        *error = p.error;
    } else if (*error == NULL) {
        *error = "bytes behind the body";
    }
    return false;
}

bool job_body_decode(struct slice bytes, bool verify, struct job_body *out, const char **error)
{
    struct body_read read;
    struct fields t = body_fields(verify);
    /* Not the 1 KiB of params, which count guards. */
    memset(&read.body, 0, offsetof(struct job_body, params.at));
    read.params = (struct slice){0};
    if (!job_read_whole(bytes, &t, &read, error) ||
        !job_read_params(read.params, &read.body.params, error)) {
        return false;
    }
    if (verify && read.body.msisdn.n == 0 && read.body.request_id.n == 0) {
        *error = "msisdn: needed, unless request_id says which request is meant";
        return false;
    }
    memcpy(out, &read.body,
           offsetof(struct job_body, params.at) +
               read.body.params.count * sizeof(struct job_param));
    return true;
}

void job_put_params(struct buf *b, const struct job_params *params)
{
    must(params->count <= JOB_PARAMS_MAX);
    if (params->count == 0) {
        return;
    }
    pack_put_map(b, params->count);
    for (uint32_t i = 0; i < params->count; i++) {
        pack_put_str(b, params->at[i].name);
        pack_put_str(b, params->at[i].value);
    }
}

void job_body_encode(struct buf *b, const struct job_body *body, bool verify)
{
    struct body_read from = {.body = *body};
    struct fields t = body_fields(verify);
    struct buf params;
    buf_init(&params, JOB_PARAMS_MAX * (JOB_PARAM_BYTES_MAX + 128));
    job_put_params(&params, &body->params);
    b->overflow |= !buf_ok(&params);
    from.params = buf_slice(&params);
    fields_put(b, &t, &from);
    buf_free(&params);
}

/* ---- the body of a result ------------------------------------------------------------------- */

struct result_read {
    struct job_result result;
    struct slice advertiser; /* {http, body, ms}, raw */
    struct slice flash;      /* {message_id, …}, raw */
};

#define RESULT_TEXT(member, max)                                                                   \
    {                                                                                              \
        FIELD(struct result_read, result.member, #member, FIELD_TEXT, 0), 0, max,                  \
            #member ": a string of at most " #max " bytes"                                         \
    }
#define RESULT_NUMBER(member, key)                                                                 \
    {                                                                                              \
        FIELD(struct result_read, result.member, key, FIELD_I64, 0), 0, INT64_MAX,                 \
            key ": a whole number"                                                                 \
    }

static const struct field answer_rows[] = {
    RESULT_TEXT(request_id, 64),
    RESULT_TEXT(response, 64),
    RESULT_TEXT(error, 64),
    RESULT_TEXT(detail, 256),
    RESULT_TEXT(data, 16384),
    RESULT_TEXT(url, 4096),
    RESULT_NUMBER(attempts_left, "attempts_left"),
    RESULT_NUMBER(retry_after_s, "retry_after"),
    RESULT_NUMBER(expires_in_s, "expires_in"),
    RESULT_TEXT(eid, 128),
    {FIELD(struct result_read, advertiser, "advertiser", FIELD_RAW, 0),
     .rule = "advertiser: a map"},
    {FIELD(struct result_read, flash, "flash", FIELD_RAW, 0), .rule = "flash: a map"},
};

#define FLASH_TEXT(member, max)                                                                    \
    {                                                                                              \
        FIELD(struct job_flash, member, #member, FIELD_TEXT, 0), 0, max,                           \
            "flash." #member ": a string of at most " #max " bytes"                                \
    }

static const struct field flash_rows[] = {
    FLASH_TEXT(message_id, 32), FLASH_TEXT(code, 16),         FLASH_TEXT(sealed, 128),
    FLASH_TEXT(status, 4),      FLASH_TEXT(mobile, 24),       FLASH_TEXT(sender, 24),
    FLASH_TEXT(send_time, 24),  FLASH_TEXT(deliver_time, 24), FLASH_TEXT(ft_id, 64),
    FLASH_TEXT(receiver, 24),   FLASH_TEXT(text, 512),
};

static const struct field advertiser_rows[] = {
    {FIELD(struct job_result, advertiser_http, "http", FIELD_I64, 0), 0, 999,
     "advertiser.http: a status"},
    {FIELD(struct job_result, advertiser_body, "body", FIELD_BYTES, 0), 0,
     JOB_ADVERTISER_BODY_BYTES_MAX, "advertiser.body: a string of at most 2048 bytes"},
    {FIELD(struct job_result, advertiser_ms, "ms", FIELD_I64, 0), 0, INT64_MAX,
     "advertiser.ms: milliseconds"},
};

void job_result_init(struct job_result *r)
{
    *r = (struct job_result){.attempts_left = -1,
                             .retry_after_s = -1,
                             .expires_in_s = -1,
                             .advertiser_http = -1,
                             .advertiser_ms = -1};
}

void job_result_only_facts(struct job_result *r, enum result_code code)
{
    unsigned facts = result_rows[code].facts;
    if ((facts & RESULT_ATTEMPTS_LEFT) == 0) {
        r->attempts_left = (facts & RESULT_NO_ATTEMPTS) != 0 ? 0 : -1;
    }
    r->retry_after_s = (facts & RESULT_RETRY_AFTER) != 0 ? r->retry_after_s : -1;
    r->expires_in_s = (facts & RESULT_EXPIRES_IN) != 0 ? r->expires_in_s : -1;
}

bool job_result_decode(struct slice bytes, struct job_result *out, const char **error)
{
    struct result_read read = {0};
    job_result_init(&read.result);
    if (!job_read_whole(bytes, &FIELDS(answer_rows), &read, error) ||
        (read.advertiser.n > 0 &&
         !job_read_whole(read.advertiser, &FIELDS(advertiser_rows), &read.result, error)) ||
        (read.flash.n > 0 &&
         !job_read_whole(read.flash, &FIELDS(flash_rows), &read.result.flash, error))) {
        return false;
    }
    *out = read.result;
    return true;
}

void job_result_encode(struct buf *b, const struct job_result *r)
{
    struct result_read from = {.result = *r};
    struct buf advertiser;
    struct buf flash;
    buf_init(&advertiser, JOB_ADVERTISER_BODY_BYTES_MAX + 256);
    buf_init(&flash, 4096);
    if (r->flash.status.n > 0) {
        fields_put(&flash, &FIELDS(flash_rows), &r->flash);
        must(buf_ok(&flash));
        from.flash = buf_slice(&flash);
    }
    if (r->advertiser_http >= 0) {
        must(r->advertiser_body.n <= JOB_ADVERTISER_BODY_BYTES_MAX);
        fields_put(&advertiser, &FIELDS(advertiser_rows), r);
        from.advertiser = buf_slice(&advertiser);
    }
    fields_put(b, &FIELDS(answer_rows), &from);
    buf_free(&advertiser);
    buf_free(&flash);
}
