#include "common/meaning/dialect_made.h"

#include <inttypes.h>
#include <stdio.h>

enum { TIMEOUT_MS_MAX = 60000, TIMEOUT_MS = 10000, CONNECT_MS = 3000, URL_BYTES_MAX = 1024 };

/* ---- reading --------------------------------------------------------------------------------- */

static const struct yaml_node *needed(const struct dialect_reader *r,
                                      const struct yaml_node *integration, const char *key)
{
    const struct yaml_node *node = yaml_get(integration, key);
    if (node == NULL) {
        (void)read_fail(r, integration, "%s is missing", key);
        return NULL;
    }
    if (!read_is_text(r, node, key)) {
        return NULL;
    }
    if (node->text[0] == '\0') {
        (void)read_fail(r, node, "%s is empty", key);
        return NULL;
    }
    return node;
}

struct template *made_text_read(const struct dialect_reader *r, const struct yaml_node *integration,
                                const char *key, enum template_place place)
{
    const struct yaml_node *node = needed(r, integration, key);
    return node != NULL ? read_template(r, node, key, place, false) : NULL;
}

static bool read_url(const struct dialect_reader *r, const struct yaml_node *integration,
                     const char *path, struct template_call *c)
{
    const struct yaml_node *base = needed(r, integration, "base_url");
    if (base == NULL) {
        return false;
    }
    size_t bad = strcspn(base->text, "?{}");
    if (base->text[bad] != '\0') {
        return read_fail_inside(r, base, bad, "base_url is literal and has no query");
    }
    struct buf url;
    buf_init(&url, URL_BYTES_MAX);
    buf_puts(&url, base->text);
    while (url.n > 0 && url.p[url.n - 1] == '/') {
        url.p[--url.n] = '\0';
    }
    buf_puts(&url, path);
    struct yaml_node node = {.kind = YAML_SCALAR,
                             .line = base->line,
                             .column = base->column,
                             .text = url.p,
                             .quoted = base->quoted};
    bool good = buf_ok(&url) ? template_read_url(r, integration, &node, c)
                             : read_fail(r, base, "base_url is too long");
    buf_free(&url);
    return good;
}

static bool add_pair(const struct dialect_reader *r, const struct yaml_node *at, const char *name,
                     const char *value, struct template_pairs *out)
{
    struct template_error error;
    struct template_pair *pair = &out->at[out->count++];
    pair->key = template_compile(slice_of(name), TEMPLATE_QUERY, &error);
    if (pair->key != NULL) {
        pair->value = template_compile(slice_of(value), TEMPLATE_QUERY, &error);
    }
    return pair->value != NULL || read_fail(r, at, "%s: %s", name, error.text);
}

static bool read_pair(const struct dialect_reader *r, const struct yaml_node *integration,
                      const struct made_pair *p, struct template_pairs *out)
{
    if (p->value != NULL) {
        return add_pair(r, integration, p->name, p->value, out);
    }
    const struct yaml_node *node = needed(r, integration, p->key);
    if (node == NULL) {
        return false;
    }
    struct template_error error;
    struct template_pair *pair = &out->at[out->count++];
    pair->key = template_compile(slice_of(p->name), TEMPLATE_QUERY, &error);
    pair->value = read_template(r, node, p->key, TEMPLATE_QUERY, false);
    return pair->key != NULL && pair->value != NULL;
}

static bool is_name(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
    return n > 0 && n <= PARAM_NAME_BYTES_MAX && text[n] == '\0';
}

static bool is_taken(const struct made_call *what, const struct yaml_node *params, size_t before,
                     const char *name)
{
    for (size_t i = 0; i < what->count; i++) {
        if (strcmp(what->pairs[i].name, name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < before; i++) {
        if (strcmp(params->items[i]->text, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool read_params(const struct dialect_reader *r, const struct made_call *what,
                        const struct yaml_node *params, struct template_pairs *out)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct yaml_node *item = params->items[i];
        if (!read_is_text(r, item, "a name of params")) {
            return false;
        }
        if (!is_name(item->text)) {
            return read_fail(r, item, "a parameter's name is letters, digits, \"_\", \"-\", \".\"");
        }
        if (is_taken(what, params, i, item->text)) {
            return read_fail(r, item, "\"%s\" is sent already", item->text);
        }
        char value[PARAM_NAME_BYTES_MAX + 16];
        (void)snprintf(value, sizeof(value), "{param.%s}", item->text);
        if (!add_pair(r, item, item->text, value, out)) {
            return false;
        }
    }
    return true;
}

static bool read_query(const struct dialect_reader *r, const struct yaml_node *integration,
                       const struct made_call *what, const struct yaml_node *params,
                       struct template_pairs *out)
{
    size_t extra = 0;
    if (params != NULL) {
        if (params->kind != YAML_LIST || params->count + what->count > TEMPLATE_PAIRS_MAX) {
            return read_fail(r, params, "params must be a list of names, at most %zu",
                             TEMPLATE_PAIRS_MAX - what->count);
        }
        extra = params->count;
    }
    out->at = xcalloc(what->count + extra, sizeof(*out->at));
    out->skip_empty = true;
    for (size_t i = 0; i < what->count; i++) {
        if (!read_pair(r, integration, &what->pairs[i], out)) {
            return false;
        }
    }
    return extra == 0 || read_params(r, what, params, out);
}

struct template_call *made_call_read(const struct dialect_reader *r,
                                     const struct yaml_node *integration,
                                     const struct made_call *what, const struct yaml_node *params)
{
    struct template_call *c = xcalloc(1, sizeof(*c));
    c->method = what->method;
    if (!read_url(r, integration, what->path, c) ||
        !read_query(r, integration, what, params, &c->query) ||
        !read_uint(r, integration, "timeout_ms", 1, TIMEOUT_MS_MAX, TIMEOUT_MS, &c->timeout_ms) ||
        !read_uint(r, integration, "connect_timeout_ms", 1, TIMEOUT_MS_MAX, CONNECT_MS,
                   &c->connect_ms)) {
        template_call_destroy(&c);
    }
    return c;
}

/* ---- answers --------------------------------------------------------------------------------- */

json_t *made_json(struct slice body)
{
    json_error_t error;
    json_t *doc = body.n > 0 ? json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (doc == NULL && body.n > 0 && json_error_code(&error) == json_error_numeric_overflow) {
        /* An integer over 64 bits is JSON too; as a double it is at least no reason to give up. */
        doc = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    }
    if (!json_is_object(doc)) {
        json_decref(doc);
        return NULL;
    }
    return doc;
}

const char *made_text(const json_t *object, const char *key, char *out, size_t bytes)
{
    const json_t *value = json_object_get(object, key);
    int n = 0;
    out[0] = '\0';
    if (json_is_string(value) && json_string_length(value) == strlen(json_string_value(value))) {
        n = snprintf(out, bytes, "%s", json_string_value(value));
    } else if (json_is_integer(value)) {
        n = snprintf(out, bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        n = snprintf(out, bytes, "%s", json_is_true(value) ? "true" : "false");
    }
    if (n < 0 || (size_t)n >= bytes) {
        out[0] = '\0';
    }
    return out;
}

int64_t made_number(const json_t *object, const char *key)
{
    char text[24];
    uint64_t value = 0;
    bool good =
        slice_to_u64(slice_of(made_text(object, key, text, sizeof(text))), INT32_MAX, &value);
    return good ? (int64_t)value : -1;
}

void made_keep(char *out, size_t bytes, const char *text)
{
    size_t n = strlen(text);
    out[0] = '\0';
    if (n < bytes && params_text_ok(slice_make(text, n))) {
        memcpy(out, text, n + 1);
    }
}

void made_keep_url(char *out, size_t bytes, const char *text)
{
    bool is_page = strncmp(text, "https://", 8) == 0 || strncmp(text, "http://", 7) == 0;
    made_keep(out, bytes, is_page ? text : "");
}

static void say(struct dialect_verdict *out, enum job_end end, enum result_code code, bool retry)
{
    out->end = end;
    out->code = code;
    out->retry = retry;
}

void made_hear(enum result_code word, struct dialect_verdict *out)
{
    switch (word) {
    case RESULT_OTP_SENT:
    case RESULT_OTP_VERIFIED:
        say(out, JOB_END_DONE, word, false);
        break;
    case RESULT_PENDING:
    case RESULT_OUTCOME_UNKNOWN:
        say(out, JOB_END_UNKNOWN, word, false);
        break;
    case RESULT_RATE_LIMITED: /* busy: nothing was done, and the same may be asked again */
    case RESULT_QUEUE_FULL:
    case RESULT_STORE_UNAVAILABLE:
    case RESULT_DEADLINE_PASSED:
        say(out, JOB_END_REFUSED, RESULT_RATE_LIMITED, true);
        break;
    case RESULT_INTERNAL_ERROR:
    case RESULT_CANCELLED:
        say(out, JOB_END_REFUSED, RESULT_ADVERTISER_ERROR, false);
        break;
    case RESULT_NONE:
    case RESULT_CONFLICT: /* of ids that are not ours */
    case RESULT_DELIVERED:
        say(out, JOB_END_REFUSED, RESULT_ADVERTISER_REFUSED, false);
        break;
    default:
        say(out, JOB_END_REFUSED, word, false);
    }
}

void made_hear_status(int http, bool readable, struct dialect_verdict *out)
{
    int hundred = http / 100;
    if (hundred == 4 || (hundred == 2 && readable)) {
        say(out, JOB_END_REFUSED, RESULT_ADVERTISER_REFUSED, false);
    } else {
        say(out, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN, false);
    }
}

enum result_code made_word_before_colon(const char *message)
{
    size_t n = strcspn(message, ":");
    return message[n] == ':' ? result_of(slice_make(message, n)) : RESULT_NONE;
}
