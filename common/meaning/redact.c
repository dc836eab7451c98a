#include "common/meaning/redact.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "common/base/utf8.h"
#include "common/meaning/encode.h"

/* FORMS_MAX, FORM_BYTES: ceilings of what one secret becomes, see put_forms. A form shorter than
 * SHORT_MAX is not looked for: it would strike out ordinary text. */
enum { FORMS_MAX = 20, FORM_BYTES = 56, FORM_BYTES_LEAST = 128, SHORT_MAX = 3, HEADS = 256 };

struct form {
    struct slice text; /* in redactor.bytes */
    bool tail;         /* base64: the character behind it holds the rest of the last byte */
};

struct redactor {
    struct buf bytes;         /* all forms; allocated once, so that it never moves */
    struct form *at;          /* by first byte, the longest first */
    size_t count;             /* of at */
    uint32_t head[HEADS + 1]; /* forms that begin with byte b: at[head[b]] up to at[head[b + 1]] */
};

/* ---- making the forms ------------------------------------------------------------------------ */

/* What was written behind `start` becomes a form, or is taken back. */
static void form_add(struct redactor *r, size_t start, struct slice secret, bool good, bool tail)
{
    struct slice text = slice_make(r->bytes.p + start, r->bytes.n - start);
    must(buf_ok(&r->bytes) && r->count < UINT32_MAX);
    if (good && text.n > 0 && !slice_eq(text, secret)) {
        r->at[r->count++] = (struct form){.text = text, .tail = tail};
    } else {
        r->bytes.n = start;
    }
}

static void put_encoded(struct redactor *r, enum template_place place, struct slice text, bool tail)
{
    size_t start = r->bytes.n;
    const char *why = NULL;
    bool good = encode_put(place, text, &r->bytes, &why);
    form_add(r, start, text, good, tail); /* what cannot be written so cannot be echoed so */
}

/* As JSON with its slashes escaped, which many encoders do. */
static void put_slashed(struct redactor *r, struct slice text, bool tail)
{
    if (text.n == 0 || memchr(text.p, '/', text.n) == NULL) {
        return;
    }
    size_t start = r->bytes.n;
    for (size_t i = 0; i < text.n; i++) {
        bool special = text.p[i] == '/' || text.p[i] == '"' || text.p[i] == '\\';
        buf_puts(&r->bytes, special ? "\\" : "");
        buf_putc(&r->bytes, text.p[i]);
    }
    form_add(r, start, text, true, tail);
}

static void put_hex(struct redactor *r, struct slice secret, const char digits[17])
{
    size_t start = r->bytes.n;
    for (size_t i = 0; i < secret.n; i++) {
        unsigned byte = (unsigned char)secret.p[i];
        buf_put(&r->bytes, (char[]){digits[byte >> 4], digits[byte & 15]}, 2);
    }
    form_add(r, start, secret, 2 * secret.n > SHORT_MAX, false);
}

/* The character number i of base64 when `lead` unknown bytes stand in front of the secret. */
static unsigned sextet(struct slice secret, size_t lead, size_t i)
{
    size_t bit = 6 * i - 8 * lead;
    size_t byte = bit / 8;
    unsigned high = (unsigned char)secret.p[byte];
    unsigned low = byte + 1 < secret.n ? (unsigned char)secret.p[byte + 1] : 0;
    return (high << 8 | low) >> (10 - bit % 8) & 63;
}

/* The characters that come of the secret alone, whatever stands in front of it and behind. */
static void put_base64(struct redactor *r, struct slice secret, size_t lead, const char last[3])
{
    static const char most[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t start = r->bytes.n;
    size_t end = 8 * (lead + secret.n) / 6;
    bool tail = 8 * (lead + secret.n) % 6 != 0;
    for (size_t i = (8 * lead + 5) / 6; i < end; i++) {
        unsigned six = sextet(secret, lead, i);
        buf_putc(&r->bytes, six < 62 ? most[six] : last[six - 62]);
    }
    size_t n = r->bytes.n - start;
    form_add(r, start, secret, n > SHORT_MAX, tail);
    if (r->bytes.n > start && last[0] == '+') {
        struct slice text = slice_make(r->bytes.p + start, n);
        put_encoded(r, TEMPLATE_QUERY, text, tail);
        put_slashed(r, text, tail);
    }
}

/* At most 8 bytes a byte in the places, 2 slashed, 4 hex; base64 of 4/3, each of three times plain,
 * for URLs, percent-encoded (3) and slashed (2): 28. */
static void put_forms(struct redactor *r, struct slice secret)
{
    static const enum template_place places[] = {TEMPLATE_QUERY, TEMPLATE_FORM, TEMPLATE_JSON};
    size_t start = r->bytes.n;
    if (secret.n == 0) {
        return;
    }
    buf_put_slice(&r->bytes, secret);
    form_add(r, start, slice_make(NULL, 0), true, false);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        put_encoded(r, places[i], secret, false);
    }
    put_slashed(r, secret, false);
    put_hex(r, secret, "0123456789abcdef");
    put_hex(r, secret, "0123456789ABCDEF");
    for (size_t lead = 0; lead < 3; lead++) {
        put_base64(r, secret, lead, "+/");
        put_base64(r, secret, lead, "-_");
    }
}

static int by_head_then_longest(const void *a, const void *b)
{
    const struct slice x = ((const struct form *)a)->text;
    const struct slice y = ((const struct form *)b)->text;
    if (x.p[0] != y.p[0]) {
        return (unsigned char)x.p[0] < (unsigned char)y.p[0] ? -1 : 1;
    }
    return x.n == y.n ? 0 : x.n > y.n ? -1 : 1;
}

static void redactor_fill(struct redactor *r, const struct slice *secrets, size_t count)
{
    size_t room = 0;
    for (size_t i = 0; i < count; i++) {
        room += FORM_BYTES * secrets[i].n + FORM_BYTES_LEAST;
    }
    *r = (struct redactor){.count = 0};
    if (count == 0) {
        return;
    }
    r->at = xcalloc(count, FORMS_MAX * sizeof *r->at);
    buf_init(&r->bytes, room);
    must(buf_room(&r->bytes, room) != NULL);
    for (size_t i = 0; i < count; i++) {
        put_forms(r, secrets[i]);
    }
    must(r->count <= count * FORMS_MAX);
    qsort(r->at, r->count, sizeof *r->at, by_head_then_longest);
    for (size_t b = 0, i = 0; b < HEADS; b++) {
        while (i < r->count && (unsigned char)r->at[i].text.p[0] == b) {
            i++;
        }
        r->head[b + 1] = (uint32_t)i;
    }
}

static void redactor_empty(struct redactor *r)
{
    if (r->bytes.n > 0) {
        OPENSSL_cleanse(r->bytes.p, r->bytes.n);
    }
    buf_free(&r->bytes);
    free(r->at);
}

struct redactor *redactor_new(const struct slice *secrets, size_t count)
{
    struct redactor *r = xmalloc(sizeof *r);
    redactor_fill(r, secrets, count);
    return r;
}

void redactor_destroy(struct redactor **rp)
{
    if (*rp != NULL) {
        redactor_empty(*rp);
        free(*rp);
        *rp = NULL;
    }
}

/* ---- striking out ---------------------------------------------------------------------------- */

static bool is_base64(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("+/-_", c) != NULL);
}

/* Bytes of the longest form that begins here, 0 for none. cut: what is missing behind the body may
 * be the rest of one. */
static size_t form_at(const struct redactor *r, struct slice body, bool cut)
{
    unsigned char b = (unsigned char)body.p[0];
    for (uint32_t i = r->head[b]; i < r->head[b + 1]; i++) {
        const struct form *f = &r->at[i];
        size_t n = f->text.n;
        if (n <= body.n && memcmp(f->text.p, body.p, n) == 0) {
            return n + (f->tail && n < body.n && is_base64(body.p[n]));
        }
        if (cut && n > body.n && memcmp(f->text.p, body.p, body.n) == 0) {
            return body.n;
        }
    }
    return 0;
}

/* One character, "?" for what is none; false when there is no room left. */
static bool put_char(struct slice *body, struct buf *out)
{
    size_t n = utf8_first(*body);
    bool odd = n == 0 || body->p[0] == '\0';
    size_t take = odd ? 1 : n;
    if (out->max - out->n < take) {
        return false;
    }
    buf_put(out, odd ? "?" : body->p, take);
    *body = slice_make(body->p + take, body->n - take);
    return true;
}

static void strike_out(const struct redactor *known, struct slice body, bool cut,
                       const struct slice *more, size_t count, struct buf *out)
{
    static const char mask[] = "****";
    struct redactor also;
    redactor_fill(&also, more, count);
    bool room = true;
    while (room && body.n > 0) {
        size_t n = known != NULL ? form_at(known, body, cut) : 0;
        size_t m = form_at(&also, body, cut);
        n = m > n ? m : n;
        if (n == 0) {
            room = put_char(&body, out);
            continue;
        }
        room = out->max - out->n >= sizeof mask - 1;
        buf_puts(out, room ? mask : "");
        body = slice_make(body.p + n, body.n - n);
    }
    redactor_empty(&also);
}

void redact(const struct redactor *known, struct slice body, const struct slice *more, size_t count,
            struct buf *out)
{
    strike_out(known, body, false, more, count, out);
}

void redact_cut(const struct redactor *known, struct slice body, const struct slice *more,
                size_t count, struct buf *out)
{
    strike_out(known, body, true, more, count, out);
}
