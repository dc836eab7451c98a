#include "common/meaning/template.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/rng.h"
#include "common/meaning/encode.h"
#include "common/meaning/template_filters.h"
#include "common/meaning/yaml.h"

const struct template_macro_row template_macros[MACROS] = {
    [MACRO_MSISDN] = {"msisdn", "the phone number: digits with country code, without \"+\""},
    [MACRO_OTP] = {"otp", "the OTP: on verify what the user typed, on send the code otpq made"},
    [MACRO_TEXT] = {"text", "the SMS text with the code in it, when otpq makes the code"},
    [MACRO_USER_ID] = {"user_id", "the affiliate's id for the user"},
    [MACRO_AID] = {"aid", "the affiliate's id"},
    [MACRO_MID] = {"mid", "the network's id"},
    [MACRO_PARTNER] = {"partner", "the integration's name"},
    [MACRO_REQUEST_ID] = {"request_id", "otpq's request id"},
    [MACRO_ADVERTISER_REQUEST_ID] = {"advertiser_request_id",
                                     "the advertiser's request id, from its answer to the send"},
    [MACRO_CLICK_ID] = {"click_id", "the id of the click that the send recorded"},
    [MACRO_IP] = {"ip", "the user's address, as the affiliate gave it"},
    [MACRO_USER_AGENT] = {"user_agent", "the user's browser, as the affiliate gave it"},
    [MACRO_COUNTRY] = {"country", "the number's country, two letters (ISO 3166-1), when known"},
    [MACRO_TIMESTAMP] = {"timestamp", "time of the call: seconds since 1970, UTC"},
    [MACRO_TIMESTAMP_MS] = {"timestamp_ms", "time of the call: milliseconds since 1970, UTC"},
    [MACRO_NONCE] = {"nonce", "the same, but not that of another call: for signatures"},
    [MACRO_UUID] = {"uuid", "a random UUID (version 4), one for the whole call"},
    [MACRO_TYPE] = {"type", "the type of request, as the affiliate gave it"},
    [MACRO_LANG] = {"lang", "the user's language, as the affiliate gave it"},
    [MACRO_PAYOUT] = {"payout",
                      "what the integration pays for a conversion (`payout` of its record)"},
    [MACRO_STATUS] = {"status", "in postbacks: how it ended, \"otp_verified\""},
    [MACRO_SUB1] = {"sub1", "the affiliate's parameter sub1, as the send brought it"},
    [MACRO_SUB2] = {"sub2", "the same of sub2"},
    [MACRO_SUB3] = {"sub3", "the same of sub3"},
    [MACRO_SUB4] = {"sub4", "the same of sub4"},
    [MACRO_SUB5] = {"sub5", "the same of sub5"},
    [MACRO_PARAM] = {"param.", "any further parameter of the affiliate's request"},
    [MACRO_SECRET] = {"secret.", "a value of the secret store; never logged or passed on"},
};

/* One use of a filter. */
struct filter_use {
    enum template_filter filter;
    struct slice argument; /* in the template's source */
};

/* A literal, or a macro with its filters. */
struct op {
    bool is_literal;
    char *literal;    /* owned, already in the place's form */
    size_t literal_n; /* bytes */
    size_t offset;    /* where it begins in the source */
    enum template_macro macro;
    struct slice name; /* of param. and secret., in the template's source */
    size_t filter_count;
    struct filter_use filters[TEMPLATE_CHAIN_MAX];
};

struct template
{
    char *source; /* owned copy */
    enum template_place place;
    size_t op_count;
    size_t op_cap;
    struct op *ops;
};

struct parser {
    struct template *t;
    struct slice source; /* t->source */
    size_t at;           /* next byte */
    bool raw;            /* literals stay as they are */
    bool in_string;      /* raw JSON: between quotes */
    bool escaped;        /* raw JSON: behind a backslash */
    size_t literal_at;   /* where the pending literal began */
    struct buf literal;  /* pending */
    struct template_error *error;
};

static bool PRINTF_LIKE(3, 4)
    fail(struct template_error *error, size_t offset, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error->offset = offset;
    (void)vsnprintf(error->text, sizeof(error->text), fmt, args);
    va_end(args);
    return false;
}

/* ---- compile --------------------------------------------------------------------------------- */

static bool is_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.')) {
            return false;
        }
    }
    return s.n > 0 && s.n <= TEMPLATE_NAME_BYTES_MAX;
}

static struct op *add_op(struct parser *p, size_t offset)
{
    struct template *t = p->t;
    if (t->op_count == TEMPLATE_OPS_MAX) {
        (void)fail(p->error, offset, "more than %d parts in one text", TEMPLATE_OPS_MAX);
        return NULL;
    }
    if (t->op_count == t->op_cap) {
        t->op_cap = t->op_cap == 0 ? 4 : t->op_cap * 2;
        t->ops = xrealloc(t->ops, t->op_cap * sizeof(*t->ops));
    }
    struct op *op = &t->ops[t->op_count++];
    *op = (struct op){.offset = offset};
    return op;
}

static bool flush_literal(struct parser *p)
{
    if (p->literal.n == 0) {
        return true;
    }
    struct buf encoded;
    buf_init(&encoded, (size_t)TEMPLATE_SOURCE_BYTES_MAX * 6);
    const char *why = NULL;
    if (p->raw) {
        buf_put_slice(&encoded, buf_slice(&p->literal));
    } else if (!encode_put(p->t->place, buf_slice(&p->literal), &encoded, &why)) {
        buf_free(&encoded);
        return fail(p->error, p->literal_at, "the text %s", why);
    }
    buf_clear(&p->literal);
    struct op *op = add_op(p, p->literal_at);
    if (op == NULL) {
        buf_free(&encoded);
        return false;
    }
    op->is_literal = true;
    op->literal_n = encoded.n;
    op->literal = buf_take(&encoded);
    return true;
}

static void put_literal(struct parser *p, char c)
{
    if (p->literal.n == 0) {
        p->literal_at = p->at;
    }
    buf_putc(&p->literal, c);
    if (p->escaped) {
        p->escaped = false;
    } else if (c == '\\' && p->in_string) {
        p->escaped = true;
    } else if (c == '"') {
        p->in_string = !p->in_string;
    }
}

static bool unknown_macro(struct parser *p, size_t offset, struct slice name)
{
    const char *words[MACROS];
    for (int i = 0; i < MACROS; i++) {
        words[i] = template_macros[i].name;
    }
    if (!is_name(name)) {
        return fail(p->error, offset, "%s",
                    "a macro is {name}; a brace itself is written {{ or }}");
    }
    char typed[TEMPLATE_NAME_BYTES_MAX + 1];
    (void)snprintf(typed, sizeof(typed), "%.*s", SLICE_ARG(name));
    const char *near = yaml_suggest(typed, words, MACROS);
    if (near == NULL) {
        return fail(p->error, offset, "unknown macro {%s}; a parameter is {param.%s}", typed,
                    typed);
    }
    bool dotted = near[strlen(near) - 1] == '.';
    return fail(p->error, offset, "unknown macro {%s}; did you mean {%s%s}?", typed, near,
                dotted ? "NAME" : "");
}

static bool parse_macro_name(struct parser *p, struct op *op, size_t offset, struct slice word)
{
    for (int i = 0; i < MACROS; i++) {
        struct slice row = slice_of(template_macros[i].name);
        bool dotted = row.p[row.n - 1] == '.';
        if (!dotted && slice_eq(word, row)) {
            op->macro = (enum template_macro)i;
            return true;
        }
        if (dotted && word.n >= row.n && slice_eq(slice_make(word.p, row.n), row)) {
            op->macro = (enum template_macro)i;
            op->name = slice_make(word.p + row.n, word.n - row.n);
            return is_name(op->name) ||
                   fail(p->error, offset + row.n, "{%sNAME} needs a name of letters, digits, _ - .",
                        row.p);
        }
    }
    return unknown_macro(p, offset, word);
}

static bool unknown_filter(struct parser *p, size_t offset, struct slice name)
{
    const char *words[FILTERS];
    for (int i = 0; i < FILTERS; i++) {
        words[i] = template_filters[i].name;
    }
    if (!is_name(name)) {
        return fail(p->error, offset, "%s", "a filter is a name of letters, digits and _");
    }
    char typed[TEMPLATE_NAME_BYTES_MAX + 1];
    (void)snprintf(typed, sizeof(typed), "%.*s", SLICE_ARG(name));
    const char *near = yaml_suggest(typed, words, FILTERS);
    return fail(p->error, offset, "unknown filter \"%s\"%s%s%s", typed,
                near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                near != NULL ? "\"?" : "");
}

static bool check_argument(struct parser *p, size_t offset, const struct filter_use *use,
                           bool has_colon)
{
    const struct template_filter_row *row = &template_filters[use->filter];
    if (row->argument == NULL) {
        return !has_colon || fail(p->error, offset, "filter \"%s\" takes no argument", row->name);
    }
    return is_name(use->argument) ||
           fail(p->error, offset, "filter \"%s\" needs the name of a secret: %s:%s", row->name,
                row->name, row->argument);
}

static bool parse_filter(struct parser *p, struct op *op, size_t offset, struct slice word)
{
    if (op->filter_count == TEMPLATE_CHAIN_MAX) {
        return fail(p->error, offset, "more than %d filters on one macro", TEMPLATE_CHAIN_MAX);
    }
    const char *colon = word.n > 0 ? memchr(word.p, ':', word.n) : NULL;
    struct slice name = word;
    struct filter_use use = {.argument = slice_of("")};
    if (colon != NULL) {
        name.n = (size_t)(colon - word.p);
        use.argument = slice_make(colon + 1, word.n - name.n - 1);
    }
    for (int i = 0; i < FILTERS; i++) {
        if (slice_is(name, template_filters[i].name)) {
            use.filter = (enum template_filter)i;
            op->filters[op->filter_count++] = use;
            return check_argument(p, offset, &use, colon != NULL);
        }
    }
    return unknown_filter(p, offset, name);
}

/* p->at stands behind the opening brace. */
static bool parse_macro(struct parser *p)
{
    size_t begin = p->at;
    const char *close = memchr(p->source.p + begin, '}', p->source.n - begin);
    if (close == NULL) {
        return fail(p->error, begin - 1, "%s", "{ without }; a brace itself is written {{");
    }
    if (p->raw && p->t->place == TEMPLATE_JSON && !p->in_string) {
        return fail(p->error, begin - 1, "%s",
                    "a macro in a JSON document stands inside quotes; a brace is written {{");
    }
    if (p->raw && p->t->place == TEMPLATE_JSON && p->escaped) {
        /* The backslash would eat the one that protects the value's first character. */
        return fail(p->error, begin - 1, "%s", "a macro cannot follow a backslash");
    }
    struct op *op = add_op(p, begin - 1);
    if (op == NULL) {
        return false;
    }
    size_t end = (size_t)(close - p->source.p);
    bool first = true;
    while (p->at <= end) {
        const char *bar = memchr(p->source.p + p->at, '|', end - p->at);
        size_t stop = bar != NULL ? (size_t)(bar - p->source.p) : end;
        struct slice word = slice_make(p->source.p + p->at, stop - p->at);
        if (!(first ? parse_macro_name(p, op, p->at, word) : parse_filter(p, op, p->at, word))) {
            return false;
        }
        first = false;
        p->at = stop + 1;
    }
    return true;
}

static bool parse_next(struct parser *p)
{
    char c = p->source.p[p->at];
    bool brace = c == '{' || c == '}';
    if (!brace) {
        put_literal(p, c);
        p->at++;
        return true;
    }
    if (p->at + 1 < p->source.n && p->source.p[p->at + 1] == c) {
        put_literal(p, c);
        p->at += 2;
        return true;
    }
    if (c == '}') {
        return fail(p->error, p->at, "%s", "} without {; a brace itself is written }}");
    }
    if (!flush_literal(p)) {
        return false;
    }
    p->at++;
    return parse_macro(p);
}

static struct template *compile(struct slice source, enum template_place place, bool raw,
                                struct template_error *error)
{
    if (source.n > TEMPLATE_SOURCE_BYTES_MAX) {
        (void)fail(error, 0, "longer than %d bytes", TEMPLATE_SOURCE_BYTES_MAX);
        return NULL;
    }
    struct template *t = xcalloc(1, sizeof(*t));
    t->source = slice_dup(source);
    t->place = place;
    struct parser p = {.t = t, .source = {t->source, source.n}, .raw = raw, .error = error};
    buf_init(&p.literal, TEMPLATE_SOURCE_BYTES_MAX);
    bool good = true;
    while (good && p.at < p.source.n) {
        good = parse_next(&p);
    }
    good = good && flush_literal(&p);
    buf_free(&p.literal);
    if (!good) {
        template_destroy(&t);
    }
    return t;
}

struct template *template_compile(struct slice source, enum template_place place,
                                  struct template_error *error)
{
    return compile(source, place, false, error);
}

struct template *template_compile_raw(struct slice source, enum template_place place,
                                      struct template_error *error)
{
    return compile(source, place, true, error);
}

void template_destroy(struct template **t)
{
    if (*t == NULL) {
        return;
    }
    for (size_t i = 0; i < (*t)->op_count; i++) {
        free((*t)->ops[i].literal);
    }
    free((*t)->ops);
    free((*t)->source);
    free(*t);
    *t = NULL;
}

bool template_uses(const struct template *t, enum template_macro macro)
{
    for (size_t i = 0; i < t->op_count; i++) {
        if (!t->ops[i].is_literal && t->ops[i].macro == macro) {
            return true;
        }
    }
    return false;
}

bool template_is_literal(const struct template *t)
{
    for (size_t i = 0; i < t->op_count; i++) {
        if (!t->ops[i].is_literal) {
            return false;
        }
    }
    return true;
}

/* ---- expand ---------------------------------------------------------------------------------- */

/* One expansion. */
struct expansion {
    const struct template *t;
    const struct template_values *v;
    bool masked;
    struct buf *out;
    struct template_error *error;
};

static bool fail_op(const struct expansion *e, const struct op *op, const char *why)
{
    return fail(e->error, op->offset, "{%s%.*s} %s", template_macros[op->macro].name,
                SLICE_ARG(op->name), why);
}

static bool secret_of(const struct expansion *e, const struct op *op, struct slice name,
                      struct slice *value)
{
    if (e->v->secret != NULL && e->v->secret(e->v->context, name, value)) {
        return true;
    }
    return fail(e->error, op->offset, "there is no secret \"%.*s\"", SLICE_ARG(name));
}

static bool value_of(const struct expansion *e, const struct op *op, struct slice *value)
{
    switch (op->macro) {
    case MACRO_PARAM:
        *value = e->v->param != NULL ? e->v->param(e->v->context, op->name) : slice_of("");
        return true;
    case MACRO_SECRET:
        return secret_of(e, op, op->name, value);
    default:
        *value = e->v->macro[op->macro];
        return true;
    }
}

/* The value through the filters. `from` and `to` change places; the last result is in *value. */
static bool filter_value(const struct expansion *e, const struct op *op, struct slice *value,
                         struct buf two[2])
{
    for (size_t i = 0; i < op->filter_count; i++) {
        const struct filter_use *use = &op->filters[i];
        struct buf *to = &two[i % 2];
        struct slice key = slice_of("");
        if (use->filter == FILTER_HMAC_SHA256 && !secret_of(e, op, use->argument, &key)) {
            return false;
        }
        buf_clear(to);
        template_filter_apply(use->filter, *value, key, e->v->country_code, to);
        if (!buf_ok(to)) {
            return fail_op(e, op, "is too long");
        }
        *value = buf_slice(to);
    }
    return true;
}

static bool put_value(const struct expansion *e, const struct op *op, struct slice value)
{
    struct buf two[2];
    buf_init(&two[0], TEMPLATE_VALUE_BYTES_MAX);
    buf_init(&two[1], TEMPLATE_VALUE_BYTES_MAX);
    const char *why = NULL;
    bool good = filter_value(e, op, &value, two);
    if (good && !encode_put(e->t->place, value, e->out, &why)) {
        good = fail_op(e, op, why);
    }
    buf_free(&two[0]);
    buf_free(&two[1]);
    return good;
}

static bool has_filter(const struct op *op, enum template_filter filter)
{
    for (size_t i = 0; i < op->filter_count; i++) {
        if (op->filters[i].filter == filter) {
            return true;
        }
    }
    return false;
}

/* The SMS text holds the code: only the code is hidden in it. */
static bool put_masked_text(const struct expansion *e, const struct op *op)
{
    struct slice text = e->v->macro[MACRO_TEXT];
    struct slice otp = e->v->macro[MACRO_OTP];
    struct buf masked;
    buf_init(&masked, TEMPLATE_VALUE_BYTES_MAX);
    for (size_t i = 0; i < text.n;) {
        if (otp.n > 0 && text.n - i >= otp.n && memcmp(text.p + i, otp.p, otp.n) == 0) {
            buf_puts(&masked, "******");
            i += otp.n;
        } else {
            buf_putc(&masked, text.p[i++]);
        }
    }
    bool good =
        buf_ok(&masked) ? put_value(e, op, buf_slice(&masked)) : fail_op(e, op, "is too long");
    buf_free(&masked);
    return good;
}

/* True when the value was put, masked; false when it may be shown. */
static bool put_mask(const struct expansion *e, const struct op *op)
{
    if (op->macro == MACRO_OTP) {
        buf_puts(e->out, "******");
        return true;
    }
    if (op->macro == MACRO_SECRET || has_filter(op, FILTER_HMAC_SHA256)) {
        buf_puts(e->out, "***");
        return true;
    }
    return false;
}

static bool expand_op(const struct expansion *e, const struct op *op)
{
    if (op->is_literal) {
        buf_put(e->out, op->literal, op->literal_n);
        return true;
    }
    if (e->masked && put_mask(e, op)) {
        return true;
    }
    if (e->masked && op->macro == MACRO_TEXT) {
        return put_masked_text(e, op);
    }
    struct slice value;
    return value_of(e, op, &value) && put_value(e, op, value);
}

static bool expand(const struct expansion *e)
{
    for (size_t i = 0; i < e->t->op_count; i++) {
        if (!expand_op(e, &e->t->ops[i])) {
            return false;
        }
    }
    return buf_ok(e->out) || fail(e->error, 0, "longer than %zu bytes", e->out->max);
}

bool template_expand(const struct template *t, const struct template_values *v, struct buf *out,
                     struct template_error *error)
{
    return expand(&(struct expansion){t, v, false, out, error});
}

bool template_expand_masked(const struct template *t, const struct template_values *v,
                            struct buf *out, struct template_error *error)
{
    return expand(&(struct expansion){t, v, true, out, error});
}

void template_uuid(char out[TEMPLATE_UUID_CHARS + 1])
{
    uint8_t b[16];
    rng_secure(b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    char *at = out;
    for (size_t i = 0; i < sizeof(b); i++) {
        bool dash = i == 4 || i == 6 || i == 8 || i == 10;
        at += sprintf(at, dash ? "-%02x" : "%02x", b[i]);
    }
}
