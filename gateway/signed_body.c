#include "gateway/signed_body.h"

#include <jansson.h>
#include <stdio.h>

static bool fail(char error[PARAMS_ERROR_BYTES], const char *what)
{
    (void)snprintf(error, PARAMS_ERROR_BYTES, "%s", what);
    return false;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The end of a string that begins at `at`: behind its closing quote. */
static size_t skip_string(struct slice s, size_t at)
{
    for (at++; at < s.n && s.p[at] != '"'; at++) {
        at += s.p[at] == '\\' ? 1 : 0;
    }
    return at < s.n ? at + 1 : s.n;
}

/* The end of a value inside an object: at the "," or "}" behind it. */
static size_t skip_value(struct slice s, size_t at)
{
    for (int depth = 0; at < s.n; at++) {
        char c = s.p[at];
        if (c == '"') {
            at = skip_string(s, at) - 1;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth == 0 && (c == ',' || c == '}')) {
            break;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return at;
}

/* jansson read the same text before: it is well-formed, and each walk ends at its end. */
static struct slice next_value(struct slice s, size_t *at)
{
    while (*at < s.n && s.p[*at] != '"') {
        (*at)++; /* "{" or ",", and spaces */
    }
    *at = skip_string(s, *at);
    while (*at < s.n && s.p[*at] != ':') {
        (*at)++;
    }
    size_t from = *at + 1 < s.n ? *at + 1 : s.n;
    while (from < s.n && is_space(s.p[from])) {
        from++;
    }
    *at = skip_value(s, from);
    size_t end = *at;
    while (end > from && is_space(s.p[end - 1])) {
        end--;
    }
    return slice_make(s.p + from, end - from);
}

static struct slice keep(struct params *p, const char *bytes, size_t n)
{
    must(p->used + n <= p->room);
    char *at = p->bytes + p->used;
    memcpy(at, bytes, n);
    p->used += n;
    return slice_make(at, n);
}

static bool add(struct params *p, const char *key, json_t *value, struct slice raw,
                char error[PARAMS_ERROR_BYTES])
{
    struct slice name = slice_of(key);
    struct slice text = raw;
    if (json_is_null(value) || json_is_object(value) || json_is_array(value)) {
        return true;
    }
    if (json_is_string(value)) {
        text = slice_make(json_string_value(value), json_string_length(value));
    }
    if (name.n == 0 || name.n > PARAM_NAME_BYTES_MAX || !params_text_ok(name)) {
        return fail(error, "a name in the body must have 1 to 64 bytes without control characters");
    }
    if (text.n > PARAM_VALUE_BYTES_MAX || !params_text_ok(text)) {
        (void)snprintf(error, PARAMS_ERROR_BYTES,
                       "%s must have at most 1024 bytes without control characters", key);
        return false;
    }
    if (p->count == PARAMS_MAX) {
        return fail(error, "more than 64 parameters");
    }
    p->at[p->count++] =
        (struct param){keep(p, name.p, name.n), keep(p, text.n > 0 ? text.p : "", text.n)};
    return true;
}

bool signed_body_read(struct params *p, struct slice body, char error[PARAMS_ERROR_BYTES])
{
    p->count = 0;
    p->used = 0;
    p->room = body.n + 1; /* decoding never lengthens text */
    p->bytes = xmalloc(p->room);
    json_error_t why;
    json_t *root = json_loadb(body.n > 0 ? body.p : "", body.n, JSON_REJECT_DUPLICATES, &why);
    if (!json_is_object(root)) {
        json_decref(root);
        return fail(error, "the body must be a JSON object, each name in it once");
    }
    bool good = true;
    size_t at = 0;
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) /* in the order of the text */
    {
        struct slice raw = next_value(body, &at);
        good = good && add(p, key, value, raw, error);
    }
    json_decref(root);
    return good;
}
