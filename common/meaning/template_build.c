#include "common/meaning/template_call.h"

#include <jansson.h>
#include <stdio.h>
#include <strings.h>

/* One request under construction. */
struct builder {
    const struct template_call *c;
    const struct template_values *v;
    bool masked;
    bool probing; /* values are not real: two keys may be equal by chance */
    struct dialect_request *out;
    struct template_error *error;
};

static bool build_fail(struct builder *b, const char *text)
{
    b->error->offset = 0;
    (void)snprintf(b->error->text, sizeof(b->error->text), "%s", text);
    return false;
}

static bool put(struct builder *b, const struct template *t, struct buf *out)
{
    return b->masked ? template_expand_masked(t, b->v, out, b->error)
                     : template_expand(t, b->v, out, b->error);
}

static bool is_dots(struct slice segment)
{
    size_t dots = 0;
    for (size_t i = 0; i < segment.n; dots++) {
        if (segment.p[i] == '.') {
            i++;
        } else if (segment.n - i >= 3 && strncasecmp(segment.p + i, "%2e", 3) == 0) {
            i += 3;
        } else {
            return false;
        }
    }
    return dots == 1 || dots == 2;
}

/* "." and ".." would be taken out of the path on the way, and another address be called. */
static bool has_dot_segment(struct slice path)
{
    while (path.n > 0) {
        const char *slash = memchr(path.p, '/', path.n);
        size_t n = slash != NULL ? (size_t)(slash - path.p) : path.n;
        if (is_dots(slice_make(path.p, n))) {
            return true;
        }
        n += slash != NULL;
        path = slice_make(path.p + n, path.n - n);
    }
    return false;
}

/* Takes the first "key=value" off; *key gets the part before "=". */
static bool next_key(struct slice *rest, struct slice *key)
{
    if (rest->n == 0) {
        return false;
    }
    const char *amp = memchr(rest->p, '&', rest->n);
    size_t n = amp != NULL ? (size_t)(amp - rest->p) : rest->n;
    const char *equals = memchr(rest->p, '=', n);
    *key = slice_make(rest->p, equals != NULL ? (size_t)(equals - rest->p) : n);
    n += amp != NULL;
    *rest = slice_make(rest->p + n, rest->n - n);
    return true;
}

static bool has_twin_keys(struct slice encoded)
{
    struct slice key;
    while (next_key(&encoded, &key)) {
        struct slice others = encoded;
        struct slice other;
        while (next_key(&others, &other)) {
            if (slice_eq(key, other)) {
                return true;
            }
        }
    }
    return false;
}

static bool put_pairs(struct builder *b, const struct template_pairs *p, size_t begin,
                      struct buf *out)
{
    for (size_t i = 0; i < p->count; i++) {
        size_t before = out->n;
        buf_puts(out, out->n > begin ? "&" : "");
        if (!put(b, p->at[i].key, out)) {
            return false;
        }
        buf_putc(out, '=');
        size_t value = out->n;
        if (!put(b, p->at[i].value, out)) {
            return false;
        }
        if (p->skip_empty && out->n == value && buf_ok(out)) {
            out->n = before;
            out->p[before] = '\0';
        }
    }
    bool check = p->dynamic && !b->masked && !b->probing;
    return !check || !has_twin_keys(slice_make(out->p + begin, out->n - begin)) ||
           build_fail(b, "two parameters would have the same name");
}

static bool put_url(struct builder *b)
{
    const struct template_call *c = b->c;
    struct buf *url = &b->out->url;
    buf_puts(url, c->origin);
    size_t path = url->n;
    if (!put(b, c->path, url)) {
        return false;
    }
    if (url->n == path) {
        buf_putc(url, '/');
    }
    if (has_dot_segment(slice_make(url->p + path, url->n - path))) {
        return build_fail(b, "the path would have a segment \".\" or \"..\"");
    }
    if (c->url_query == NULL && c->query.count == 0) {
        return true;
    }
    buf_putc(url, '?');
    size_t query = url->n;
    return (c->url_query == NULL || put(b, c->url_query, url)) &&
           put_pairs(b, &c->query, query, url);
}

/* A header without a value is left out: the HTTP client could not send it otherwise than by a
 * special notation, and no advertiser means it. */
static bool put_header(struct builder *b, const struct template_pair *pair)
{
    struct buf *headers = &b->out->headers;
    struct buf value;
    buf_init(&value, DIALECT_REQUEST_BYTES_MAX);
    bool good = put(b, pair->value, &value);
    if (good && value.n > 0) {
        good = put(b, pair->key, headers);
        buf_puts(headers, ": ");
        buf_put_slice(headers, buf_slice(&value));
        buf_putc(headers, '\0');
        b->out->header_count++;
    }
    buf_free(&value);
    return good;
}

static bool put_headers(struct builder *b)
{
    if (b->c->content_type != NULL) {
        buf_printf(&b->out->headers, "Content-Type: %s", b->c->content_type);
        buf_putc(&b->out->headers, '\0');
        b->out->header_count++;
    }
    for (size_t i = 0; i < b->c->headers.count; i++) {
        if (!put_header(b, &b->c->headers.at[i])) {
            return false;
        }
    }
    return true;
}

/* A raw JSON body is read once, when it is configured; one whose keys have macros, each time. */
static bool check_json(struct builder *b)
{
    bool twins = b->c->json_dynamic && !b->masked && !b->probing;
    if (!b->c->body_is_json || !(twins || b->probing)) {
        return true;
    }
    json_error_t why;
    json_t *doc = json_loadb(b->out->body.p, b->out->body.n,
                             JSON_DECODE_ANY | (twins ? JSON_REJECT_DUPLICATES : 0), &why);
    if (doc == NULL) {
        char text[240];
        (void)snprintf(text, sizeof(text), "the body is not JSON: %.120s (line %d of the body)",
                       why.text, why.line);
        return build_fail(b, twins ? "two JSON fields would have the same name" : text);
    }
    json_decref(doc);
    return true;
}

static bool put_body(struct builder *b)
{
    struct buf *body = &b->out->body;
    switch (b->c->body_kind) {
    case BODY_FORM:
        return put_pairs(b, &b->c->form, 0, body);
    case BODY_JSON:
    case BODY_RAW:
        return put(b, b->c->body, body) && check_json(b);
    case BODY_NONE:
        break;
    }
    return true;
}

bool template_call_build(const struct template_call *c, const struct template_values *v,
                         bool masked, bool probing, struct dialect_request *out,
                         struct template_error *error)
{
    struct builder b = {c, v, masked, probing, out, error};
    buf_clear(&out->url);
    buf_clear(&out->body);
    buf_clear(&out->headers);
    out->header_count = 0;
    out->method = c->method;
    out->timeout_ms = c->timeout_ms;
    out->connect_ms = c->connect_ms;
    if (!put_url(&b) || !put_headers(&b) || !put_body(&b)) {
        return false;
    }
    return (buf_ok(&out->url) && buf_ok(&out->headers) && buf_ok(&out->body)) ||
           build_fail(&b, "the request is too large");
}
