#include "common/meaning/template_call.h"

#include <strings.h>

enum { TIMEOUT_MS_MAX = 60000, TIMEOUT_MS = 10000, CONNECT_MS = 3000 };

static void free_pairs(struct template_pairs *p)
{
    for (size_t i = 0; i < p->count; i++) {
        template_destroy(&p->at[i].key);
        template_destroy(&p->at[i].value);
    }
    free(p->at);
}

void template_call_destroy(struct template_call **call)
{
    struct template_call *c = *call;
    *call = NULL;
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

static bool pairs_use(const struct template_pairs *p, enum template_macro macro)
{
    for (size_t i = 0; i < p->count; i++) {
        if (template_uses(p->at[i].key, macro) || template_uses(p->at[i].value, macro)) {
            return true;
        }
    }
    return false;
}

bool template_call_uses(const struct template_call *c, enum template_macro macro)
{
    return template_uses(c->path, macro) ||
           (c->url_query != NULL && template_uses(c->url_query, macro)) ||
           (c->body != NULL && template_uses(c->body, macro)) || pairs_use(&c->query, macro) ||
           pairs_use(&c->form, macro) || pairs_use(&c->headers, macro);
}

/* ---- reading: keys and values ---------------------------------------------------------------- */

struct template *template_read_key(const struct dialect_reader *r, const struct yaml_pair *pair,
                                   enum template_place place)
{
    struct template_error error;
    struct template *t = template_compile(slice_of(pair->key), place, &error);
    if (t == NULL) {
        (void)read_fail_key(r, pair, "%s", error.text);
    }
    return t;
}

bool template_read_pairs(const struct dialect_reader *r, const struct yaml_node *map,
                         const char *what, enum template_place place, size_t max,
                         struct template_pairs *out)
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
        struct template_pair *pair = &out->at[out->count++];
        pair->key = template_read_key(r, &map->pairs[i], place);
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

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
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
    static const char *const forbidden[] = {"host",
                                            "content-length",
                                            "transfer-encoding",
                                            "te",
                                            "connection",
                                            "keep-alive",
                                            "upgrade",
                                            "trailer",
                                            "expect",
                                            "proxy-connection",
                                            "proxy-authorization"};
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

static bool read_headers(const struct dialect_reader *r, const struct yaml_node *map,
                         struct template_call *c)
{
    if (!template_read_pairs(r, map, "headers", TEMPLATE_HEADER, DIALECT_HEADERS_MAX - 1,
                             &c->headers)) {
        return false;
    }
    for (size_t i = 0; map != NULL && i < map->count; i++) {
        if (!check_header_name(r, &map->pairs[i])) {
            return false;
        }
    }
    return true;
}

static bool read_method(const struct dialect_reader *r, const struct yaml_node *node,
                        struct template_call *c)
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
static bool probe(const struct dialect_reader *r, const struct yaml_node *map,
                  const struct template_call *c)
{
    struct template_values v = {.param = probe_param, .secret = probe_secret};
    for (int i = 0; i < MACROS; i++) {
        v.macro[i] = SLICE("1");
    }
    struct dialect_request request;
    struct template_error error;
    dialect_request_init(&request);
    bool good = template_call_build(c, &v, false, true, &request, &error);
    dialect_request_free(&request);
    return good || read_fail(r, map, "%s", error.text);
}

static bool read_call(const struct dialect_reader *r, const struct yaml_node *map,
                      struct template_call *c)
{
    return read_keys(r, map, "call") && template_read_body(r, map, c) &&
           read_method(r, yaml_get(map, "method"), c) &&
           template_read_url(r, map, yaml_get(map, "url"), c) &&
           template_read_pairs(r, yaml_get(map, "query"), "query", TEMPLATE_QUERY,
                               TEMPLATE_PAIRS_MAX, &c->query) &&
           read_headers(r, yaml_get(map, "headers"), c) &&
           read_uint(r, map, "timeout_ms", 1, TIMEOUT_MS_MAX, TIMEOUT_MS, &c->timeout_ms) &&
           read_uint(r, map, "connect_timeout_ms", 1, TIMEOUT_MS_MAX, CONNECT_MS, &c->connect_ms) &&
           (c->answer = answer_rule_read(r, yaml_get(map, "answer"))) != NULL && probe(r, map, c);
}

struct template_call *template_call_read(const struct dialect_reader *r,
                                         const struct yaml_node *map)
{
    struct template_call *c = xcalloc(1, sizeof(*c));
    if (!read_call(r, map, c)) {
        template_call_destroy(&c);
    }
    return c;
}

/* ---- the calls of a dialect ------------------------------------------------------------------ */

static const struct template_call *call_of(const void *settings, enum dialect_call call)
{
    const struct template_calls *calls = settings;
    must(calls->at[call] != NULL);
    return calls->at[call];
}

void template_calls_free(struct template_calls *calls)
{
    for (int i = 0; i < DIALECT_CALLS; i++) {
        template_call_destroy(&calls->at[i]);
    }
}

void template_calls_release(void *settings)
{
    if (settings != NULL) {
        template_calls_free(settings);
        free(settings);
    }
}

bool template_calls_has(const void *settings, enum dialect_call call)
{
    return ((const struct template_calls *)settings)->at[call] != NULL;
}

bool template_calls_uses(const void *settings, enum dialect_call call, enum template_macro macro)
{
    return template_calls_has(settings, call) && template_call_uses(call_of(settings, call), macro);
}

uint32_t template_calls_timeout_ms(const void *settings, enum dialect_call call)
{
    return call_of(settings, call)->timeout_ms;
}

bool template_calls_build(const void *settings, enum dialect_call call,
                          const struct template_values *v, bool masked, struct dialect_request *out,
                          struct template_error *error)
{
    return template_call_build(call_of(settings, call), v, masked, false, out, error);
}
