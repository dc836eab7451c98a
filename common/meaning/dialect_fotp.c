/* System 4 called: FOTP, verified by an SMS that the user sends. The send brings a link with a code
 * of ours; verify asks for the state; the push says by itself what came. */
#include <stdio.h>

#include "common/meaning/dialect_made.h"
#include "common/meaning/fotp_words.h"
#include "common/meaning/sign.h"
#include "common/meaning/zone.h"

enum {
    VALIDITY_MIN = 5,
    VALIDITY_MIN_MAX = 10,
    TEXT_BYTES_MAX = 1024,
    PAIRS_MAX = 8,
    HEADER_BYTES = 65
};

static const struct dialect_setting settings_table[] = {
    {"integration", "base_url", "where the API is, as https://provider.example; literal"},
    {"integration", "ft_id", "the flash template at the provider"},
    {"integration", "account", "the account's name at the provider"},
    {"integration", "secret", "the account's secret; best as {secret.NAME}"},
    {"integration", "sign",
     "how requests are signed: md5-sorted, hmac-sha256-sorted, static or "
     "none; md5-sorted"},
    {"integration", "header_account", "name of the header with the account; account"},
    {"integration", "header_nonce", "name of the header with the nonce; nonce"},
    {"integration", "header_sign", "name of the header with the signature; sign"},
    {"integration", "validity_min", "how long a link lives, 1 to 10 minutes; 5"},
    {"integration", "language", "sent as Accept-Language: the language of messages"},
    {"integration", "time_zone", "zone of the times that the provider tells, as Asia/Bangkok; UTC"},
    {"integration", "timeout_ms", "time for the whole call, 1 to 60000; 10000"},
    {"integration", "connect_timeout_ms", "time to resolve, connect and greet, 1 to 60000; 3000"},
    {NULL, NULL, NULL},
};

static const char *const own_keys[] = {
    "base_url",           "ft_id",       "account",      "secret",   "sign",      "header_account",
    "header_nonce",       "header_sign", "validity_min", "language", "time_zone", "timeout_ms",
    "connect_timeout_ms", NULL};

enum part { PART_FT_ID, PART_ACCOUNT, PART_SECRET, PART_CODE, PART_TOKEN, PART_NONCE, PARTS };

struct settings {
    struct template_calls calls;   /* method, URL and times; the rest is made here */
    struct template *parts[PARTS]; /* secret: NULL where nothing is signed */
    enum sign_strategy sign;
    char header_account[HEADER_BYTES];
    char header_nonce[HEADER_BYTES];
    char header_sign[HEADER_BYTES];
    char language[HEADER_BYTES];
    char time_zone[ZONE_NAME_BYTES_MAX + 1];
    uint32_t validity_min;
};

/* ---- reading --------------------------------------------------------------------------------- */

static void release(void *settings)
{
    struct settings *s = settings;
    if (s == NULL) {
        return;
    }
    template_calls_free(&s->calls);
    for (int i = 0; i < PARTS; i++) {
        template_destroy(&s->parts[i]);
    }
    free(s);
}

/* Header names and their like: letters, digits, "-", "_"; `more` beside them. */
static bool read_word(const struct dialect_reader *r, const struct yaml_node *integration,
                      const char *key, const char *fallback, const char *more,
                      char out[HEADER_BYTES])
{
    const struct yaml_node *node = yaml_get(integration, key);
    if (node != NULL && !read_is_text(r, node, key)) {
        return false;
    }
    const char *text = node != NULL ? node->text : fallback;
    size_t n = strlen(text);
    bool good = n < HEADER_BYTES && (n > 0 || fallback[0] == '\0');
    for (size_t i = 0; good && i < n; i++) {
        char c = text[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || strchr(more, c) != NULL;
    }
    if (!good) {
        return read_fail(r, node, "%s must be 1 to %d letters, digits, \"-\" or \"_\"", key,
                         HEADER_BYTES - 1);
    }
    memcpy(out, text, n + 1);
    return true;
}

static bool read_sign(const struct dialect_reader *r, const struct yaml_node *node,
                      struct settings *s)
{
    static const char *const words[] = {"md5-sorted", "hmac-sha256-sorted", "static", "none"};
    if (node == NULL) {
        return true;
    }
    if (!read_is_text(r, node, "sign")) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(node->text, words[i]) == 0) {
            s->sign = (enum sign_strategy)i;
            return true;
        }
    }
    return read_fail(r, node, "sign must be md5-sorted, hmac-sha256-sorted, static or none");
}

static bool read_zone(const struct dialect_reader *r, const struct yaml_node *node,
                      struct settings *s)
{
    const char *zone = "UTC";
    if (node != NULL) {
        if (!read_is_text(r, node, "time_zone")) {
            return false;
        }
        zone = node->text;
        if (!zone_known(slice_of(zone))) {
            return read_fail(r, node, "time_zone must be a zone as Asia/Bangkok");
        }
    }
    (void)snprintf(s->time_zone, sizeof(s->time_zone), "%s", zone);
    return true;
}

static bool read_parts(const struct dialect_reader *r, const struct yaml_node *integration,
                       struct settings *s)
{
    static const struct {
        enum part part;
        const char *source;
    } ours[] = {
        {PART_CODE, "{otp}"}, {PART_TOKEN, "{advertiser_request_id}"}, {PART_NONCE, "{nonce}"}};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        struct template_error error;
        s->parts[ours[i].part] =
            template_compile(slice_of(ours[i].source), TEMPLATE_HEADER, &error);
        must(s->parts[ours[i].part] != NULL);
    }
    s->parts[PART_FT_ID] = made_text_read(r, integration, "ft_id", TEMPLATE_TEXT);
    if (s->parts[PART_FT_ID] == NULL) {
        return false;
    }
    s->parts[PART_ACCOUNT] = made_text_read(r, integration, "account", TEMPLATE_HEADER);
    if (s->parts[PART_ACCOUNT] == NULL) {
        return false;
    }
    if (s->sign == SIGN_NONE && yaml_get(integration, "secret") == NULL) {
        return true;
    }
    s->parts[PART_SECRET] = made_text_read(r, integration, "secret", TEMPLATE_HEADER);
    return s->parts[PART_SECRET] != NULL;
}

static bool read_calls(const struct dialect_reader *r, const struct yaml_node *integration,
                       struct settings *s)
{
    static const struct made_call made[DIALECT_CALLS] = {
        [DIALECT_SEND] = {"POST", "/flash/opt/verify", NULL, 0},
        [DIALECT_VERIFY] = {"POST", "/flash/opt/query", NULL, 0},
    };
    for (int i = 0; i < DIALECT_CALLS; i++) {
        s->calls.at[i] = made_call_read(r, integration, &made[i], NULL);
        if (s->calls.at[i] == NULL) {
            return false;
        }
    }
    return true;
}

static bool read_all(const struct dialect_reader *r, const struct yaml_node *integration,
                     struct settings *s)
{
    return read_calls(r, integration, s) && read_sign(r, yaml_get(integration, "sign"), s) &&
           read_parts(r, integration, s) &&
           read_word(r, integration, "header_account", "account", "", s->header_account) &&
           read_word(r, integration, "header_nonce", "nonce", "", s->header_nonce) &&
           read_word(r, integration, "header_sign", "sign", "", s->header_sign) &&
           read_word(r, integration, "language", "", ",;=.* ", s->language) &&
           read_zone(r, yaml_get(integration, "time_zone"), s) &&
           read_uint(r, integration, "validity_min", 1, VALIDITY_MIN_MAX, VALIDITY_MIN,
                     &s->validity_min);
}

static void *configure(const char *file, const struct yaml_node *integration,
                       struct yaml_error *error)
{
    struct dialect_reader r = {file, settings_table, error};
    struct settings *s = xcalloc(1, sizeof(*s));
    if (!read_all(&r, integration, s)) {
        release(s);
        return NULL;
    }
    return s;
}

static bool uses(const void *settings, enum dialect_call call, enum template_macro macro)
{
    const struct settings *s = settings;
    bool own = false;
    for (int i = 0; i < PART_CODE; i++) {
        own = own || (s->parts[i] != NULL && template_uses(s->parts[i], macro));
    }
    return own || macro == MACRO_NONCE ||
           macro == (call == DIALECT_SEND ? MACRO_OTP : MACRO_ADVERTISER_REQUEST_ID);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* One request under construction. */
struct builder {
    const struct settings *s;
    const struct template_values *v;
    bool masked;
    struct buf text[PARTS]; /* the parts with their values */
    struct dialect_request *out;
    struct template_error *error;
};

static bool build_fail(struct builder *b, const char *text)
{
    b->error->offset = 0;
    (void)snprintf(b->error->text, sizeof(b->error->text), "%s", text);
    return false;
}

static bool expand(struct builder *b)
{
    for (int i = 0; i < PARTS; i++) {
        const struct template *t = b->s->parts[i];
        if (t == NULL) {
            continue;
        }
        if (!(b->masked ? template_expand_masked(t, b->v, &b->text[i], b->error)
                        : template_expand(t, b->v, &b->text[i], b->error))) {
            return false;
        }
        if (!buf_ok(&b->text[i])) {
            return build_fail(b, "a value is too long");
        }
    }
    return true;
}

static bool put_field(json_t *body, const char *key, struct slice value)
{
    return value.n == 0 || json_object_set_new(body, key, json_stringn(value.p, value.n)) == 0;
}

static json_t *body_of(struct builder *b, enum dialect_call call)
{
    char minutes[12];
    json_t *body = json_object();
    must(body != NULL);
    (void)snprintf(minutes, sizeof(minutes), "%u", (unsigned)b->s->validity_min);
    bool good = call == DIALECT_SEND
                    ? put_field(body, "ftId", buf_slice(&b->text[PART_FT_ID])) &&
                          put_field(body, "code", buf_slice(&b->text[PART_CODE])) &&
                          put_field(body, "validityPeriod", slice_of(minutes))
                    : put_field(body, "ftToken", buf_slice(&b->text[PART_TOKEN]));
    if (!good) {
        (void)build_fail(b, "a value is not UTF-8, which JSON must be");
        json_decref(body);
        return NULL;
    }
    return body;
}

static void put_header(struct builder *b, const char *name, struct slice value)
{
    if (value.n > 0) {
        buf_printf(&b->out->headers, "%s: %.*s", name, SLICE_ARG(value));
        buf_putc(&b->out->headers, '\0');
        b->out->header_count++;
    }
}

static bool sign(struct builder *b, const json_t *body, struct buf *out)
{
    struct sign_pair pairs[PAIRS_MAX + 2];
    char numbers[PAIRS_MAX][SIGN_TEXT_BYTES];
    size_t count = sign_pairs_of(body, pairs, PAIRS_MAX, numbers);
    pairs[count++] = (struct sign_pair){SLICE(SIGN_ACCOUNT), buf_slice(&b->text[PART_ACCOUNT])};
    pairs[count++] = (struct sign_pair){SLICE(SIGN_NONCE), buf_slice(&b->text[PART_NONCE])};
    return sign_make(b->s->sign, buf_slice(&b->text[PART_SECRET]), pairs, count, out);
}

static bool put_headers(struct builder *b, const json_t *body)
{
    const struct settings *s = b->s;
    struct buf signature;
    buf_init(&signature, TEXT_BYTES_MAX);
    put_header(b, "Content-Type", SLICE("application/json"));
    put_header(b, "Accept-Language", slice_of(s->language));
    put_header(b, s->header_account, buf_slice(&b->text[PART_ACCOUNT]));
    if (s->sign == SIGN_MD5_SORTED || s->sign == SIGN_HMAC_SHA256_SORTED) {
        put_header(b, s->header_nonce, buf_slice(&b->text[PART_NONCE]));
    }
    bool good = sign(b, body, &signature);
    if (signature.n > 0) {
        put_header(b, s->header_sign, b->masked ? SLICE("***") : buf_slice(&signature));
    }
    buf_free(&signature);
    return good || build_fail(b, "the request cannot be signed");
}

static bool put_request(struct builder *b, enum dialect_call call)
{
    json_t *body = body_of(b, call);
    if (body == NULL) {
        return false;
    }
    char *text = json_dumps(body, JSON_COMPACT);
    must(text != NULL);
    buf_puts(&b->out->body, text);
    free(text);
    bool good = put_headers(b, body);
    json_decref(body);
    return good;
}

static bool build(const void *settings, enum dialect_call call, const struct template_values *v,
                  bool masked, struct dialect_request *out, struct template_error *error)
{
    const struct settings *s = settings;
    struct builder b = {.s = s, .v = v, .masked = masked, .out = out, .error = error};
    /* The URL and the times; the body and headers of it are empty. */
    if (!template_call_build(s->calls.at[call], v, masked, false, out, error)) {
        return false;
    }
    for (int i = 0; i < PARTS; i++) {
        buf_init(&b.text[i], TEXT_BYTES_MAX);
    }
    bool good = expand(&b) && put_request(&b, call);
    for (int i = 0; i < PARTS; i++) {
        if (b.text[i].p != NULL) {
            explicit_bzero(b.text[i].p, b.text[i].n);
        }
        buf_free(&b.text[i]);
    }
    return good;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void keep_link(const json_t *data, struct dialect_verdict *out)
{
    char text[DIALECT_URL_BYTES];
    made_keep(out->advertiser_request_id, sizeof(out->advertiser_request_id),
              made_text(data, "ftToken", text, sizeof(text)));
    made_keep_url(out->url, sizeof(out->url), made_text(data, "url", text, sizeof(text)));
    if (out->advertiser_request_id[0] != '\0' && out->url[0] != '\0') {
        made_hear(RESULT_OTP_SENT, out);
    } /* else: there may be a link, and nobody can open it */
}

static void keep_time(const struct settings *s, const char *text, char out[24])
{
    char utc[ZONE_TIME_BYTES];
    out[0] = '\0';
    if (zone_to_utc(slice_of(s->time_zone), slice_of(text), utc)) {
        memcpy(out, utc, sizeof(utc));
    }
}

/* Digits, with what people write between them and a "+" in front left out; "" for everything
 * else. */
static void keep_digits(const char *text, char *out, size_t bytes)
{
    size_t n = 0;
    text += text[0] == '+';
    for (; *text != '\0' && n < bytes; text++) {
        if (*text >= '0' && *text <= '9') {
            out[n++] = *text;
        } else if (strchr(" .-()", *text) == NULL) {
            n = bytes;
        }
    }
    out[n < bytes ? n : 0] = '\0';
}

static bool is_told(const json_t *data, const char *key)
{
    const json_t *value = json_object_get(data, key);
    return value != NULL && !json_is_null(value) &&
           !(json_is_string(value) && json_string_length(value) == 0);
}

static void keep_message(const struct settings *s, const json_t *data, struct dialect_message *mo)
{
    char text[64];
    keep_digits(made_text(data, "mobile", text, sizeof(text)), mo->mobile, sizeof(mo->mobile));
    keep_digits(made_text(data, "sender", text, sizeof(text)), mo->sender, sizeof(mo->sender));
    keep_time(s, made_text(data, "sendTime", text, sizeof(text)), mo->send_time);
    keep_time(s, made_text(data, "deliverTime", text, sizeof(text)), mo->deliver_time);
}

static void keep_state(const struct settings *s, const json_t *data, struct dialect_verdict *out)
{
    char text[64];
    (void)made_text(data, "status", text, sizeof(text));
    if (strcmp(text, "0") == 0) {
        made_hear(RESULT_PENDING, out);
    } else if (strcmp(text, "1") == 0) {
        made_hear(RESULT_OTP_EXPIRED, out);
    } else if (strcmp(text, "2") == 0) {
        keep_message(s, data, &out->mo);
        /* A sender that is no phone number, which anybody may have, is nobody's answer. */
        bool from_phone = out->mo.mobile[0] != '\0' || !is_told(data, "mobile");
        made_hear(from_phone ? RESULT_OTP_VERIFIED : RESULT_PENDING, out);
    }
}

static void judge_failure(const char *code, int http, bool readable, struct dialect_verdict *out)
{
    enum result_code word = fotp_word_of(slice_of(code));
    if (word != RESULT_NONE) {
        made_hear(word, out);
    } else {
        made_hear_status(http, readable, out);
    }
}

static void parse(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out)
{
    const struct settings *s = settings;
    char code[16];
    dialect_verdict_init(out);
    json_t *doc = made_json(a->body);
    (void)made_text(doc, "code", code, sizeof(code));
    const json_t *data = json_object_get(doc, "data");
    bool success = strcmp(code, FOTP_SUCCESS) == 0 || strcmp(code, "0") == 0;
    bool denied = json_is_false(json_object_get(doc, "success"));
    if (!success || denied || a->http / 100 != 2) {
        /* a success that is denied in the same breath is neither */
        judge_failure(success ? "" : code, a->http, !success && code[0] != '\0', out);
    } else if (call == DIALECT_SEND) {
        keep_link(data, out);
    } else {
        keep_state(s, data, out);
    }
    out->attempts_left = made_number(doc, "attempts_left");
    out->retry_after_s = made_number(doc, "retry_after");
    json_decref(doc);
}

/* ---- pushes in ------------------------------------------------------------------------------- */

static unsigned traits(const void *settings)
{
    (void)settings;
    return DIALECT_LINK;
}

static const char *param_text(const struct params *params, const char *name, char *out,
                              size_t bytes)
{
    struct slice s = params_get(params, name);
    out[0] = '\0';
    if (s.n > 0 && s.n < bytes) {
        memcpy(out, s.p, s.n);
        out[s.n] = '\0';
    }
    return out;
}

static bool read_message(const struct settings *s, const struct params *params,
                         struct dialect_message *mo, const char **why)
{
    char text[64];
    keep_digits(param_text(params, "mobile", text, sizeof(text)), mo->mobile, sizeof(mo->mobile));
    keep_digits(param_text(params, "sender", text, sizeof(text)), mo->sender, sizeof(mo->sender));
    keep_time(s, param_text(params, "sendTime", text, sizeof(text)), mo->send_time);
    keep_time(s, param_text(params, "deliverTime", text, sizeof(text)), mo->deliver_time);
    if (mo->mobile[0] == '\0') {
        *why = "mobile must be a number in digits";
    } else if (mo->sender[0] == '\0') {
        *why = "sender must be a number in digits";
    } else if (mo->send_time[0] == '\0') {
        *why = "sendTime must be YYYY-MM-DD HH:MM:SS";
    } else {
        return true;
    }
    return false;
}

static bool report(const void *settings, const struct params *params, struct dialect_report *out,
                   const char **why)
{
    char code[64];
    *out = (struct dialect_report){.event = DIALECT_MO, .code = RESULT_OTP_VERIFIED};
    keep_digits(param_text(params, "code", code, sizeof(code)), out->otp, sizeof(out->otp));
    if (out->otp[0] == '\0') {
        *why = "code must be the code in digits";
        return false;
    }
    struct slice err = params_get(params, "err");
    if (err.n > 0 && !slice_is(err, "0")) { /* no SMS came: there is nothing to tell of it */
        out->code = RESULT_OTP_EXPIRED;
        return true;
    }
    return read_message(settings, params, &out->mo, why);
}

const struct dialect dialect_fotp = {
    .name = "fotp",
    .keys = own_keys,
    .settings = settings_table,
    .configure = configure,
    .release = release,
    .has = template_calls_has,
    .uses = uses,
    .timeout_ms = template_calls_timeout_ms,
    .build = build,
    .parse = parse,
    .traits = traits,
    .report = report,
    .report_answer = "{\"code\":\"0\"}",
};
