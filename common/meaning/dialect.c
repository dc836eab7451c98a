#include "common/meaning/dialect.h"

#include "common/base/utf8.h"
#include "common/meaning/encode.h"

const struct dialect *const dialects[] = {&dialect_template, NULL};

const struct dialect *dialect_find(const char *name)
{
    for (size_t i = 0; dialects[i] != NULL; i++) {
        if (strcmp(dialects[i]->name, name) == 0) {
            return dialects[i];
        }
    }
    return NULL;
}

void dialect_request_init(struct dialect_request *r)
{
    *r = (struct dialect_request){.method = "GET"};
    buf_init(&r->url, DIALECT_REQUEST_BYTES_MAX);
    buf_init(&r->body, DIALECT_REQUEST_BYTES_MAX);
    buf_init(&r->headers, DIALECT_REQUEST_BYTES_MAX);
}

void dialect_request_free(struct dialect_request *r)
{
    buf_free(&r->url);
    buf_free(&r->body);
    buf_free(&r->headers);
}

void dialect_request_write(const struct dialect_request *r, struct buf *out)
{
    buf_printf(out, "%s %s\n", r->method, buf_text(&r->url));
    const char *line = buf_text(&r->headers);
    for (size_t i = 0; i < r->header_count; i++) {
        buf_printf(out, "%s\n", line);
        line += strlen(line) + 1;
    }
    if (r->body.n > 0) {
        buf_puts(out, "\n");
        buf_put_slice(out, buf_slice(&r->body));
        buf_puts(out, "\n");
    }
}

bool dialect_preview(const struct dialect *d, const void *settings, enum dialect_call call,
                     const struct template_values *v, struct buf *out, struct template_error *error)
{
    struct dialect_request request;
    dialect_request_init(&request);
    bool good = d->build(settings, call, v, true, &request, error);
    if (good) {
        dialect_request_write(&request, out);
    }
    dialect_request_free(&request);
    return good;
}

/* ---- redaction ------------------------------------------------------------------------------- */

enum { REDACT_VARIANTS = 4 };

/* Every form in which an advertiser may echo a secret. */
struct needles {
    size_t count;
    struct slice *at;    /* borrowed, or in `encoded` */
    struct buf *encoded; /* owned forms that differ from the secret itself */
    size_t encoded_count;
    bool first[256]; /* some needle begins with this byte */
};

static void add_needle(struct needles *n, struct slice needle)
{
    if (needle.n > 0) {
        n->at[n->count++] = needle;
        n->first[(unsigned char)needle.p[0]] = true;
    }
}

/* Percent-encoded, form-encoded and JSON-escaped, where that is not the secret as it is. */
static void add_encoded(struct needles *n, struct slice secret)
{
    static const enum template_place places[] = {TEMPLATE_QUERY, TEMPLATE_FORM, TEMPLATE_JSON};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct buf *form = &n->encoded[n->encoded_count];
        const char *why = NULL;
        buf_init(form, TEMPLATE_VALUE_BYTES_MAX);
        if (encode_put(places[i], secret, form, &why) && buf_ok(form) &&
            !slice_eq(buf_slice(form), secret)) {
            add_needle(n, buf_slice(form));
            n->encoded_count++;
        } else {
            buf_free(form); /* cannot be written in this form, so it cannot be echoed in it */
        }
    }
}

static void needles_make(struct needles *n, const struct slice *secrets, size_t count)
{
    *n = (struct needles){.count = 0};
    n->at = xcalloc(count * REDACT_VARIANTS, sizeof(*n->at));
    n->encoded = xcalloc(count * REDACT_VARIANTS, sizeof(*n->encoded));
    for (size_t i = 0; i < count; i++) {
        add_needle(n, secrets[i]);
        add_encoded(n, secrets[i]);
    }
}

static void needles_free(struct needles *n)
{
    for (size_t i = 0; i < n->encoded_count; i++) {
        buf_free(&n->encoded[i]);
    }
    free(n->encoded);
    free(n->at);
}

/* Bytes of the longest secret that begins here, 0 for none. */
static size_t secret_at(const struct needles *n, struct slice body)
{
    size_t longest = 0;
    if (!n->first[(unsigned char)body.p[0]]) {
        return 0;
    }
    for (size_t i = 0; i < n->count; i++) {
        struct slice needle = n->at[i];
        if (needle.n > longest && needle.n <= body.n && memcmp(needle.p, body.p, needle.n) == 0) {
            longest = needle.n;
        }
    }
    return longest;
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

void dialect_redact(struct slice body, const struct slice *secrets, size_t count, struct buf *out)
{
    static const char mask[] = "****";
    struct needles needles;
    needles_make(&needles, secrets, count);
    bool room = true;
    while (room && body.n > 0) {
        size_t n = secret_at(&needles, body);
        if (n == 0) {
            room = put_char(&body, out);
            continue;
        }
        room = out->max - out->n >= sizeof(mask) - 1;
        buf_puts(out, room ? mask : "");
        body = slice_make(body.p + n, body.n - n);
    }
    needles_free(&needles);
}
