#include <jansson.h>
#include <stdio.h>

#include "common/meaning/answer_rule.h"
#include "common/meaning/dialect.h"
#include "common/meaning/dialect_read.h"
#include "common/meaning/encode.h"

enum { PAIRS_MAX = 64, TIMEOUT_MS_MAX = 60000, TIMEOUT_MS = 10000, CONNECT_MS = 3000,
       ORIGIN_BYTES_MAX = 300 };

static const struct dialect_setting settings_table[] = {
    {"call", "method", "GET, POST, PUT, PATCH or DELETE; POST when there is a body, else GET"},
    {"call", "url", "the address; macros may stand in its path and query, never in scheme or host"},
    {"call", "query", "keys and values that are added to the URL's query"},
    {"call", "form", "keys and values of a form body (application/x-www-form-urlencoded)"},
    {"call", "json", "a JSON body, as nested maps and lists"},
    {"call", "body", "a body written as it is; needs content_type"},
    {"call", "content_type", "the body's media type; JSON and form bodies have one already"},
    {"call", "headers", "names and values of request headers"},
    {"call", "timeout_ms", "time for the whole call, 1 to 60000; 10000"},
    {"call", "connect_timeout_ms", "time to resolve, connect and greet, 1 to 60000; 3000"},
    {"call", "answer", "what the advertiser's answer means"},
    {"answer", "success", "when the call has succeeded; without it any 2xx is a success"},
    {"answer", "request_id", "where the advertiser's request id is"},
    {"answer", "error", "where the advertiser's error word is"},
    {"answer", "errors", "the advertiser's error words and the otpq code of each"},
    {"answer", "retry", "words of errors after which the same call may be repeated"},
    {"answer", "statuses", "HTTP statuses and the otpq code of each, where no word says more"},
    {"success", "http", "HTTP statuses of a success, as 200 or 2xx; one or a list; 2xx"},
    {"success", "json", "path of a value in the JSON answer"},
    {"success", "regex", "regular expression over the answer, with one group or none"},
    {"success", "equals", "the values that mean success; one or a list"},
    {"locator", "json", "path of the value in the JSON answer"},
    {"locator", "regex", "regular expression over the answer; its one group is the value"},
    {NULL, NULL, NULL},
};

static const char *const own_keys[] = {"send", "verify", NULL};

/* A key and a value of a query, a form or the headers. */
struct pair {
    struct template *key;
    struct template *value;
};

struct pairs {
    size_t count;
    struct pair *at;
    bool dynamic;             /* some key has a macro: two keys may become the same */
};

enum body_kind { BODY_NONE, BODY_FORM, BODY_JSON, BODY_RAW };

/* One call, compiled. */
struct call {
    const char *method;       /* static */
    char *origin;             /* "https://host:port", literal */
    struct template *path;    /* begins with "/" */
    struct template *url_query; /* behind "?" in the URL; NULL: none */
    struct pairs query;
    struct pairs headers;
    enum body_kind body_kind;
    struct pairs form;
    struct template *body;    /* JSON and raw */
    char *content_type;       /* of the body, or NULL */
    bool body_is_json;        /* the bytes must be JSON */
    bool json_dynamic;        /* some JSON key has a macro */
    uint32_t timeout_ms;
    uint32_t connect_ms;
    struct answer_rule *answer;
};

struct settings {
    struct call *calls[DIALECT_CALLS]; /* NULL: the advertiser has no such call */
};

/* ---- release ---------------------------------------------------------------------------------- */

static void free_pairs(struct pairs *p)
{
    for (size_t i = 0; i < p->count; i++) {
        template_destroy(&p->at[i].key);
        template_destroy(&p->at[i].value);
    }
    free(p->at);
}

static void free_call(struct call *c)
{
    if (c == NULL) {
        return;
    }
    free(c->origin);
    free(c->content_type);
    template_destroy(&c->path);
    template_destroy(&c->url_query);
    template_destroy(&c->body);
    free_pairs(&c->query);
    free_pairs(&c->headers);
    free_pairs(&c->form);
    answer_rule_destroy(&c->answer);
    free(c);
}

static void release(void *settings)
{
    struct settings *s = settings;
    if (s == NULL) {
        return;
    }
    for (int i = 0; i < DIALECT_CALLS; i++) {
        free_call(s->calls[i]);
    }
    free(s);
}

/* ---- reading: URL ----------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A host name, an IPv4 address or an IPv6 address in brackets; then, at most, a port. */
static bool is_authority(struct slice s)
{
    size_t i = 0;
    if (s.n > 0 && s.p[0] == '[') {
        for (i = 1; i < s.n && (is_hex(s.p[i]) || s.p[i] == ':' || s.p[i] == '.'); i++) {
        }
        if (i == s.n || s.p[i] != ']' || i < 3) {
            return false;
        }
        i++;
    } else {
        while (i < s.n && (is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '.')) {
            i++;
        }
    }
    if (i == 0 || s.p[0] == '.' || s.p[0] == '-') {
        return false;
    }
    uint64_t port = 1;
    return i == s.n ||
           (s.p[i] == ':' && slice_to_u64(slice_make(s.p + i + 1, s.n - i - 1), 65535, &port) &&
            port > 0);
}

/* What may stand in a URL besides macros. The query allows "?" more than the path. */
static bool check_url_text(const struct dialect_reader *r, const struct yaml_node *node,
                           size_t begin)
{
    const char *text = node->text;
    bool in_macro = false;
    for (size_t i = begin; text[i] != '\0'; i++) {
        char c = text[i];
        if (c == '{' || c == '}') {
            if (text[i + 1] == c) {
                return read_fail_inside(r, node, i, "a brace in a URL is written %7B or %7D");
            }
            in_macro = c == '{';
        } else if (c == '#') {
            return read_fail_inside(r, node, i, "a URL that is called has no #fragment");
        } else if (c == '%' && !in_macro && !(is_hex(text[i + 1]) && is_hex(text[i + 2]))) {
            return read_fail_inside(r, node, i, "a percent sign in a URL is written %25");
        } else if (!in_macro && !is_alnum(c) && strchr("-._~!$&'()*+,;=:@/?%", c) == NULL) {
            return read_fail_inside(r, node, i,
                                    "this character must be percent-encoded in a URL");
        }
    }
    return true;
}

static bool read_origin(const struct dialect_reader *r, const struct yaml_node *node,
                        struct call *c, size_t *path_at)
{
    const char *text = node->text;
    size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
    if (scheme == 0) {
        return read_fail(r, node, "url must begin with https:// or http://, literally");
    }
    size_t n = strcspn(text + scheme, "/?#");
    struct slice authority = slice_make(text + scheme, n);
    if (n > 0 && memchr(authority.p, '{', n) != NULL) {
        return read_fail_inside(r, node, scheme,
                                "the host is literal: a macro could send calls anywhere");
    }
    if (n > 0 && memchr(authority.p, '@', n) != NULL) {
        return read_fail_inside(r, node, scheme, "credentials do not belong in the URL; "
                                                 "use a header with {secret.NAME|base64}");
    }
    if (scheme + n > ORIGIN_BYTES_MAX || !is_authority(authority)) {
        return read_fail_inside(r, node, scheme, "url needs a host name and, at most, a port");
    }
    c->origin = slice_dup(slice_make(text, scheme + n));
    *path_at = scheme + n;
    return check_url_text(r, node, scheme + n);
}

/* A part of the URL as a template, with mistakes placed in the whole URL. */
static struct template *read_url_part(const struct dialect_reader *r, const struct yaml_node *node,
                                      size_t begin, size_t n, enum template_place place)
{
    struct template_error error;
    struct template *t = template_compile_raw(slice_make(node->text + begin, n), place, &error);
    if (t == NULL) {
        (void)read_fail_inside(r, node, begin + error.offset, error.text);
    }
    return t;
}

static bool read_url(const struct dialect_reader *r, const struct yaml_node *map,
                     const struct yaml_node *node, struct call *c)
{
    size_t at = 0;
    if (node == NULL) {
        return read_fail(r, map, "url is missing");
    }
    if (!read_is_text(r, node, "url") || !read_origin(r, node, c, &at)) {
        return false;
    }
    size_t path = strcspn(node->text + at, "?");
    c->path = read_url_part(r, node, at, path, TEMPLATE_PATH);
    if (c->path == NULL || node->text[at + path] == '\0') {
        return c->path != NULL;
    }
    at += path + 1;
    c->url_query = read_url_part(r, node, at, strlen(node->text + at), TEMPLATE_QUERY);
    return c->url_query != NULL;
}

/* ---- reading: keys and values ----------------------------------------------------------------- */

static struct template *read_key(const struct dialect_reader *r, const struct yaml_pair *pair,
                                 enum template_place place)
{
    struct template_error error;
    struct template *t = template_compile(slice_of(pair->key), place, &error);
    if (t == NULL) {
        (void)read_fail_key(r, pair, "%s", error.text);
    }
    return t;
}

static bool read_pairs(const struct dialect_reader *r, const struct yaml_node *map, const char *what,
                       enum template_place place, size_t max, struct pairs *out)
{
    if (map == NULL) {
        return true;
    }
    if (!read_is_map(r, map, what)) {
        return false;
    }
    if (map->count > max) {
        return read_fail(r, map, "%s has more than %zu keys", what, max);
    }
    out->at = xcalloc(map->count, sizeof(*out->at));
    for (size_t i = 0; i < map->count; i++) {
        struct pair *pair = &out->at[out->count++];
        pair->key = read_key(r, &map->pairs[i], place);
        if (pair->key == NULL) {
            return false;
        }
        pair->value = read_template(r, map->pairs[i].value, map->pairs[i].key, place, false);
        if (pair->value == NULL) {
            return false;
        }
        out->dynamic = out->dynamic || !template_is_literal(pair->key);
    }
    return true;
}

static bool is_token(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        if (!is_alnum(*c) && strchr("!#$%&'*+-.^_`|~", *c) == NULL) {
            return false;
        }
    }
    return name[0] != '\0';
}

/* The HTTP client's own business, or a way to make it speak nonsense. */
static bool check_header_name(const struct dialect_reader *r, const struct yaml_pair *pair)
{
    static const char *const forbidden[] = {"host", "content-length", "transfer-encoding", "te",
                                            "connection", "keep-alive", "upgrade", "trailer",
                                            "expect", "proxy-connection", "proxy-authorization"};
    if (!is_token(pair->key)) {
        return read_fail_key(r, pair, "a header's name is literal and has no spaces: \"%s\"",
                             pair->key);
    }
    if (strcasecmp(pair->key, "content-type") == 0) {
        return read_fail_key(r, pair, "the key content_type sets this header");
    }
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
        if (strcasecmp(pair->key, forbidden[i]) == 0) {
            return read_fail_key(r, pair, "header \"%s\" is set by otpq alone", pair->key);
        }
    }
    return true;
}

static bool read_headers(const struct dialect_reader *r, const struct yaml_node *map, struct call *c)
{
    if (!read_pairs(r, map, "headers", TEMPLATE_HEADER, DIALECT_HEADERS_MAX - 1, &c->headers)) {
        return false;
    }
    for (size_t i = 0; map != NULL && i < map->count; i++) {
        if (!check_header_name(r, &map->pairs[i])) {
            return false;
        }
    }
    return true;
}

/* ---- reading: bodies -------------------------------------------------------------------------- */

static size_t digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* RFC 8259, section 6. */
static bool is_json_number(const char *text)
{
    text += *text == '-';
    size_t n = digits(text);
    if (n == 0 || (n > 1 && text[0] == '0')) {
        return false;
    }
    text += n;
    if (*text == '.') {
        n = digits(text + 1);
        text += n + 1;
        if (n == 0) {
            return false;
        }
    }
    if (*text == 'e' || *text == 'E') {
        text += 1 + (text[1] == '+' || text[1] == '-');
        n = digits(text);
        text += n;
        return n > 0 && *text == '\0';
    }
    return *text == '\0';
}

/* What a scalar without quotes means in JSON, or NULL: a string. */
static const char *json_literal(const struct yaml_node *node)
{
    if (node->quoted) {
        return NULL;
    }
    if (node->text[0] == '\0' || strcmp(node->text, "~") == 0) {
        return "null";
    }
    bool word = strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0 ||
                strcmp(node->text, "null") == 0;
    return word || is_json_number(node->text) ? node->text : NULL;
}

/* The JSON body as the source of one raw JSON template: braces of objects doubled, texts quoted and
 * escaped; macros have no character that JSON would escape. */
struct json_writer {
    const struct dialect_reader *r;
    struct call *c;
    struct buf source;
};

static bool write_json(struct json_writer *w, const struct yaml_node *node);

static void put_json_text(struct json_writer *w, const char *text)
{
    const char *why = NULL;
    buf_putc(&w->source, '"');
    must(encode_put(TEMPLATE_JSON, slice_of(text), &w->source, &why)); /* YAML is UTF-8 */
    buf_putc(&w->source, '"');
}

static bool write_json_scalar(struct json_writer *w, const struct yaml_node *node)
{
    const char *literal = json_literal(node);
    if (literal != NULL) {
        buf_puts(&w->source, literal);
        return true;
    }
    /* Compiled alone first, because here the place of a mistake is known. */
    struct template *t = read_template(w->r, node, "a JSON value", TEMPLATE_JSON, false);
    if (t == NULL) {
        return false;
    }
    template_destroy(&t);
    put_json_text(w, node->text);
    return true;
}

static bool write_json_list(struct json_writer *w, const struct yaml_node *node)
{
    buf_putc(&w->source, '[');
    for (size_t i = 0; i < node->count; i++) {
        buf_puts(&w->source, i > 0 ? "," : "");
        if (!write_json(w, node->items[i])) {
            return false;
        }
    }
    buf_putc(&w->source, ']');
    return true;
}

/* `key: {msisdn}` without quotes is a YAML map: almost surely a slip. */
static bool is_naked_macro(const struct yaml_node *node)
{
    if (node->count != 1 || node->pairs[0].value->kind != YAML_SCALAR ||
        node->pairs[0].value->quoted || node->pairs[0].value->text[0] != '\0') {
        return false;
    }
    struct template_error error;
    char source[300];
    (void)snprintf(source, sizeof(source), "{%s}", node->pairs[0].key);
    struct template *t = template_compile(slice_of(source), TEMPLATE_TEXT, &error);
    bool macro = t != NULL;
    template_destroy(&t);
    return macro;
}

static bool write_json_map(struct json_writer *w, const struct yaml_node *node)
{
    if (is_naked_macro(node)) {
        return read_fail(w->r, node, "a text that begins with { is quoted: \"{%s}\"",
                         node->pairs[0].key);
    }
    buf_puts(&w->source, "{{");
    for (size_t i = 0; i < node->count; i++) {
        struct template *key = read_key(w->r, &node->pairs[i], TEMPLATE_JSON);
        if (key == NULL) {
            return false;
        }
        w->c->json_dynamic = w->c->json_dynamic || !template_is_literal(key);
        template_destroy(&key);
        buf_puts(&w->source, i > 0 ? "," : "");
        put_json_text(w, node->pairs[i].key);
        buf_putc(&w->source, ':');
        if (!write_json(w, node->pairs[i].value)) {
            return false;
        }
    }
    buf_puts(&w->source, "}}");
    return true;
}

static bool write_json(struct json_writer *w, const struct yaml_node *node)
{
    switch (node->kind) {
    case YAML_SCALAR:
        return write_json_scalar(w, node);
    case YAML_LIST:
        return write_json_list(w, node);
    case YAML_MAP:
        return write_json_map(w, node);
    }
    return false;
}

static bool read_json(const struct dialect_reader *r, const struct yaml_node *node, struct call *c)
{
    if (node->kind == YAML_SCALAR) {
        return read_fail(r, node, "json must be a map or a list; a text goes under body");
    }
    struct json_writer w = {.r = r, .c = c};
    buf_init(&w.source, TEMPLATE_SOURCE_BYTES_MAX);
    bool good = write_json(&w, node);
    if (good && !buf_ok(&w.source)) {
        good = read_fail(r, node, "json is larger than %d bytes", TEMPLATE_SOURCE_BYTES_MAX);
    }
    struct template_error error;
    if (good) {
        c->body = template_compile_raw(buf_slice(&w.source), TEMPLATE_JSON, &error);
        good = c->body != NULL || read_fail(r, node, "%s", error.text);
    }
    buf_free(&w.source);
    c->body_is_json = true;
    return good;
}

/* The encoder for values in a body of this type. */
static bool place_of_type(const char *content_type, enum template_place *place)
{
    size_t n = strcspn(content_type, "; ");
    struct slice type = slice_make(content_type, n);
    bool json_suffix = n > 5 && strncasecmp(content_type + n - 5, "+json", 5) == 0;
    bool xml_suffix = n > 4 && strncasecmp(content_type + n - 4, "+xml", 4) == 0;
    if (json_suffix || slice_is(type, "application/json")) {
        *place = TEMPLATE_JSON;
    } else if (xml_suffix || slice_is(type, "application/xml") || slice_is(type, "text/xml")) {
        *place = TEMPLATE_XML;
    } else if (slice_is(type, "application/x-www-form-urlencoded")) {
        *place = TEMPLATE_FORM;
    } else if (slice_is(type, "text/plain")) {
        *place = TEMPLATE_TEXT;
    } else {
        return false;
    }
    return true;
}

static bool read_raw(const struct dialect_reader *r, const struct yaml_node *node,
                     const struct yaml_node *type, struct call *c)
{
    enum template_place place = TEMPLATE_TEXT;
    if (type == NULL) {
        return read_fail(r, node, "body needs content_type beside it");
    }
    if (!place_of_type(c->content_type, &place)) {
        return read_fail(r, type, "content_type of a body must be application/json, "
                                  "application/xml, text/xml, …+json, …+xml, "
                                  "application/x-www-form-urlencoded or text/plain: values are "
                                  "encoded by it");
    }
    c->body = read_template(r, node, "body", place, true);
    c->body_is_json = place == TEMPLATE_JSON;
    return c->body != NULL;
}

static bool read_content_type(const struct dialect_reader *r, const struct yaml_node *type,
                              struct call *c)
{
    if (type == NULL) {
        const char *own = c->body_kind == BODY_FORM   ? "application/x-www-form-urlencoded"
                          : c->body_kind == BODY_JSON ? "application/json"
                                                      : NULL;
        c->content_type = own != NULL ? slice_dup(slice_of(own)) : NULL;
        return true;
    }
    if (c->body_kind == BODY_NONE) {
        return read_fail(r, type, "content_type needs form, json or body beside it");
    }
    if (!read_is_text(r, type, "content_type")) {
        return false;
    }
    for (const char *p = type->text; *p != '\0'; p++) {
        if (*p < 0x20 || *p > 0x7e || *p == '{' || *p == '}') {
            return read_fail(r, type, "content_type is literal, without macros");
        }
    }
    c->content_type = slice_dup(slice_of(type->text));
    return true;
}

static bool read_body(const struct dialect_reader *r, const struct yaml_node *map, struct call *c)
{
    static const char *const names[] = {[BODY_FORM] = "form", [BODY_JSON] = "json",
                                        [BODY_RAW] = "body"};
    const struct yaml_node *node = NULL;
    for (int kind = BODY_FORM; kind <= BODY_RAW; kind++) {
        const struct yaml_node *found = yaml_get(map, names[kind]);
        if (found != NULL && node != NULL) {
            return read_fail(r, found, "%s and %s exclude each other", names[c->body_kind],
                             names[kind]);
        }
        if (found != NULL) {
            node = found;
            c->body_kind = (enum body_kind)kind;
        }
    }
    const struct yaml_node *type = yaml_get(map, "content_type");
    if (!read_content_type(r, type, c)) {
        return false;
    }
    switch (c->body_kind) {
    case BODY_FORM:
        return read_pairs(r, node, "form", TEMPLATE_FORM, PAIRS_MAX, &c->form);
    case BODY_JSON:
        return read_json(r, node, c);
    case BODY_RAW:
        return read_raw(r, node, type, c);
    case BODY_NONE:
        break;
    }
    return true;
}

/* ---- reading: the call ------------------------------------------------------------------------ */

static bool read_method(const struct dialect_reader *r, const struct yaml_node *node, struct call *c)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    c->method = c->body_kind == BODY_NONE ? "GET" : "POST";
    if (node == NULL) {
        return true;
    }
    if (!read_is_text(r, node, "method")) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (strcmp(node->text, methods[i]) == 0) {
            c->method = methods[i];
            return i > 0 || c->body_kind == BODY_NONE ||
                   read_fail(r, node, "a GET has no body; use query, or another method");
        }
    }
    return read_fail(r, node, "method must be GET, POST, PUT, PATCH or DELETE");
}

static bool build_call(const struct call *c, const struct template_values *v, bool masked,
                       bool probing, struct dialect_request *out, struct template_error *error);

static struct slice probe_param(void *context, struct slice name)
{
    (void)context;
    return name;
}

static bool probe_secret(void *context, struct slice name, struct slice *value)
{
    (void)context;
    *value = name;
    return true;
}

/* Builds one request with harmless values: whatever fails then, would always fail. */
static bool probe(const struct dialect_reader *r, const struct yaml_node *map, const struct call *c)
{
    struct template_values v = {.param = probe_param, .secret = probe_secret};
    for (int i = 0; i < MACROS; i++) {
        v.macro[i] = SLICE("1");
    }
    struct dialect_request request;
    struct template_error error;
    dialect_request_init(&request);
    bool good = build_call(c, &v, false, true, &request, &error);
    dialect_request_free(&request);
    return good || read_fail(r, map, "%s", error.text);
}

static bool read_call(const struct dialect_reader *r, const struct yaml_node *map, struct call *c)
{
    return read_keys(r, map, "call") && read_body(r, map, c) &&
           read_method(r, yaml_get(map, "method"), c) &&
           read_url(r, map, yaml_get(map, "url"), c) &&
           read_pairs(r, yaml_get(map, "query"), "query", TEMPLATE_QUERY, PAIRS_MAX, &c->query) &&
           read_headers(r, yaml_get(map, "headers"), c) &&
           read_uint(r, map, "timeout_ms", 1, TIMEOUT_MS_MAX, TIMEOUT_MS, &c->timeout_ms) &&
           read_uint(r, map, "connect_timeout_ms", 1, TIMEOUT_MS_MAX, CONNECT_MS, &c->connect_ms) &&
           (c->answer = answer_rule_read(r, yaml_get(map, "answer"))) != NULL && probe(r, map, c);
}

static void *configure(const char *file, const struct yaml_node *integration,
                       struct yaml_error *error)
{
    struct dialect_reader r = {file, settings_table, error};
    struct settings *s = xcalloc(1, sizeof(*s));
    bool good = true;
    for (int i = 0; good && i < DIALECT_CALLS; i++) {
        const struct yaml_node *map = yaml_get(integration, own_keys[i]);
        if (map != NULL) {
            s->calls[i] = xcalloc(1, sizeof(*s->calls[i]));
            good = read_call(&r, map, s->calls[i]);
        }
    }
    if (good && s->calls[DIALECT_SEND] == NULL) {
        good = read_fail(&r, integration, "send is missing: how an OTP is asked for");
    }
    if (!good) {
        release(s);
        return NULL;
    }
    return s;
}

/* ---- asking ----------------------------------------------------------------------------------- */

static bool has(const void *settings, enum dialect_call call)
{
    return ((const struct settings *)settings)->calls[call] != NULL;
}

static uint32_t timeout_ms(const void *settings, enum dialect_call call)
{
    const struct call *c = ((const struct settings *)settings)->calls[call];
    must(c != NULL);
    return c->timeout_ms;
}

static bool pairs_use(const struct pairs *p, enum template_macro macro)
{
    for (size_t i = 0; i < p->count; i++) {
        if (template_uses(p->at[i].key, macro) || template_uses(p->at[i].value, macro)) {
            return true;
        }
    }
    return false;
}

static bool uses(const void *settings, enum dialect_call call, enum template_macro macro)
{
    const struct call *c = ((const struct settings *)settings)->calls[call];
    return c != NULL &&
           (template_uses(c->path, macro) ||
            (c->url_query != NULL && template_uses(c->url_query, macro)) ||
            (c->body != NULL && template_uses(c->body, macro)) || pairs_use(&c->query, macro) ||
            pairs_use(&c->form, macro) || pairs_use(&c->headers, macro));
}

/* ---- building --------------------------------------------------------------------------------- */

/* One request under construction. */
struct builder {
    const struct call *c;
    const struct template_values *v;
    bool masked;
    bool probing;                 /* values are not real: two keys may be equal by chance */
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

static bool put_pairs(struct builder *b, const struct pairs *p, size_t begin, struct buf *out)
{
    for (size_t i = 0; i < p->count; i++) {
        buf_puts(out, out->n > begin ? "&" : "");
        if (!put(b, p->at[i].key, out)) {
            return false;
        }
        buf_putc(out, '=');
        if (!put(b, p->at[i].value, out)) {
            return false;
        }
    }
    bool check = p->dynamic && !b->masked && !b->probing;
    return !check || !has_twin_keys(slice_make(out->p + begin, out->n - begin)) ||
           build_fail(b, "two parameters would have the same name");
}

static bool put_url(struct builder *b)
{
    const struct call *c = b->c;
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
static bool put_header(struct builder *b, const struct pair *pair)
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

static bool build_call(const struct call *c, const struct template_values *v, bool masked,
                       bool probing, struct dialect_request *out, struct template_error *error)
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

static bool build(const void *settings, enum dialect_call call, const struct template_values *v,
                  bool masked, struct dialect_request *out, struct template_error *error)
{
    const struct call *c = ((const struct settings *)settings)->calls[call];
    must(c != NULL);
    return build_call(c, v, masked, false, out, error);
}

static void parse(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out)
{
    const struct call *c = ((const struct settings *)settings)->calls[call];
    must(c != NULL);
    answer_rule_apply(c->answer, call == DIALECT_SEND ? RESULT_OTP_SENT : RESULT_OTP_VERIFIED, a,
                      out);
}

const struct dialect dialect_template = {
    .name = "template",
    .keys = own_keys,
    .settings = settings_table,
    .configure = configure,
    .release = release,
    .has = has,
    .uses = uses,
    .timeout_ms = timeout_ms,
    .build = build,
    .parse = parse,
};
