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

enum { REDACT_VARIANTS = 4, REDACT_SECRETS_MAX = 64 };

/* A secret in every form in which an advertiser may echo it. */
struct variants {
    struct buf at[REDACT_VARIANTS]; /* as it is, percent-encoded, form-encoded, JSON-escaped */
};

static void variants_of(struct slice secret, struct variants *out)
{
    static const enum template_place places[REDACT_VARIANTS] = {TEMPLATE_TEXT, TEMPLATE_QUERY,
                                                                TEMPLATE_FORM, TEMPLATE_JSON};
    for (size_t i = 0; i < REDACT_VARIANTS; i++) {
        const char *why = NULL;
        buf_init(&out->at[i], TEMPLATE_VALUE_BYTES_MAX);
        if (!encode_put(places[i], secret, &out->at[i], &why) || !buf_ok(&out->at[i])) {
            buf_clear(&out->at[i]); /* cannot be written in this form, so it cannot be echoed */
        }
    }
}

/* Bytes of the longest secret that begins here, 0 for none. */
static size_t secret_at(struct slice body, const struct variants *all, size_t count)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < REDACT_VARIANTS; k++) {
            const struct buf *secret = &all[i].at[k];
            if (secret->n > longest && secret->n <= body.n &&
                memcmp(secret->p, body.p, secret->n) == 0) {
                longest = secret->n;
            }
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
    must(count <= REDACT_SECRETS_MAX);
    struct variants *all = xcalloc(count, sizeof(*all));
    for (size_t i = 0; i < count; i++) {
        variants_of(secrets[i], &all[i]);
    }
    bool room = true;
    while (room && body.n > 0) {
        size_t n = secret_at(body, all, count);
        if (n == 0) {
            room = put_char(&body, out);
            continue;
        }
        room = out->max - out->n >= sizeof(mask) - 1;
        buf_puts(out, room ? mask : "");
        body = slice_make(body.p + n, body.n - n);
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < REDACT_VARIANTS; k++) {
            buf_free(&all[i].at[k]);
        }
    }
    free(all);
}
