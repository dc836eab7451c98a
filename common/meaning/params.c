#include "common/meaning/params.h"

#include <jansson.h>
#include <stdio.h>
#include <strings.h>

#include "common/base/utf8.h"

/* A JSON integer can be longer as text than as it was sent ("1e" is refused, so never by more). */
enum { NUMBER_BYTES_MAX = 24 };

static bool fail(char error[PARAMS_ERROR_BYTES], struct slice name, const char *what)
{
    (void)snprintf(error, PARAMS_ERROR_BYTES, "%.*s %s", SLICE_ARG(name), what);
    return false;
}

static bool fail_plain(char error[PARAMS_ERROR_BYTES], const char *what)
{
    (void)snprintf(error, PARAMS_ERROR_BYTES, "%s", what);
    return false;
}

/* Control characters are C0, DEL and C1. */
bool params_text_ok(struct slice s)
{
    while (s.n > 0) {
        size_t n = utf8_first(s);
        const uint8_t *c = (const uint8_t *)s.p;
        if (n == 0 || c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0)) {
            return false;
        }
        s = slice_make(s.p + n, s.n - n);
    }
    return true;
}

struct slice params_get(const struct params *p, const char *name)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (slice_is(p->at[i].name, name)) {
            return p->at[i].value;
        }
    }
    return (struct slice){NULL, 0};
}

/* Both slices live in p->bytes. */
static bool add(struct params *p, struct slice name, struct slice value,
                char error[PARAMS_ERROR_BYTES])
{
    if (name.n == 0) {
        return fail_plain(error, "a parameter has no name");
    }
    if (name.n > PARAM_NAME_BYTES_MAX) {
        return fail_plain(error, "a parameter's name has more than 64 bytes");
    }
    if (!params_text_ok(name)) {
        return fail_plain(error, "a parameter's name is not UTF-8 or has control characters");
    }
    if (value.n > PARAM_VALUE_BYTES_MAX) {
        return fail(error, name, "has more than 1024 bytes");
    }
    if (!params_text_ok(value)) {
        return fail(error, name, "is not UTF-8 or has control characters");
    }
    for (uint32_t i = 0; i < p->count; i++) {
        if (slice_eq(p->at[i].name, name)) {
            return slice_eq(p->at[i].value, value)
                       ? true
                       : fail(error, name, "is given twice with different values");
        }
    }
    if (p->count == PARAMS_MAX) {
        return fail_plain(error, "more than 64 parameters");
    }
    p->at[p->count++] = (struct param){name, value};
    return true;
}

static struct slice keep(struct params *p, const char *bytes, size_t n)
{
    must(p->used + n <= p->room);
    char *at = p->bytes + p->used;
    memcpy(at, bytes, n);
    p->used += n;
    return slice_make(at, n);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One pass of decoding into p->bytes. False: a "%" without two hex digits. */
static bool decode(struct params *p, struct slice raw, struct slice *out)
{
    must(p->used + raw.n <= p->room);
    char *at = p->bytes + p->used;
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        char c = raw.p[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < raw.n ? hex(raw.p[i + 1]) : -1;
            int low = i + 2 < raw.n ? hex(raw.p[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        at[n++] = c;
    }
    p->used += n;
    *out = slice_make(at, n);
    return true;
}

static bool add_pair(struct params *p, struct slice pair, char error[PARAMS_ERROR_BYTES])
{
    const char *equals = memchr(pair.p, '=', pair.n);
    size_t n = equals != NULL ? (size_t)(equals - pair.p) : pair.n;
    struct slice raw_value =
        equals != NULL ? slice_make(equals + 1, pair.n - n - 1) : slice_make("", 0);
    struct slice name;
    struct slice value;
    if (!decode(p, slice_make(pair.p, n), &name) || !decode(p, raw_value, &value)) {
        return fail_plain(error, "\"%\" must be followed by two hex digits");
    }
    return add(p, name, value, error);
}

static bool read_form(struct params *p, struct slice text, char error[PARAMS_ERROR_BYTES])
{
    while (text.n > 0) {
        const char *end = memchr(text.p, '&', text.n);
        struct slice pair = slice_make(text.p, end != NULL ? (size_t)(end - text.p) : text.n);
        if (pair.n > 0 && !add_pair(p, pair, error)) {
            return false;
        }
        size_t step = pair.n + (end != NULL ? 1 : 0);
        text = slice_make(text.p + step, text.n - step);
    }
    return true;
}

static bool add_json(struct params *p, const char *key, json_t *value,
                     char error[PARAMS_ERROR_BYTES])
{
    char number[NUMBER_BYTES_MAX];
    struct slice name = keep(p, key, strlen(key));
    if (json_is_null(value)) {
        return true;
    }
    if (json_is_string(value)) {
        return add(p, name, keep(p, json_string_value(value), json_string_length(value)), error);
    }
    if (json_is_boolean(value)) {
        return add(p, name, slice_of(json_is_true(value) ? "true" : "false"), error);
    }
    if (json_is_integer(value)) {
        int n =
            snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return add(p, name, keep(p, number, (size_t)n), error);
    }
    if (name.n > PARAM_NAME_BYTES_MAX || !params_text_ok(name)) {
        return fail_plain(error, "a value in the JSON body is not a string or a whole number");
    }
    return fail(error, name, "must be a string or a whole number");
}

/* jansson's words without what they quote of the input, maybe a secret, and without its flags. */
static bool fail_json(char error[PARAMS_ERROR_BYTES], const json_error_t *why)
{
    size_t n = strlen(why->text);
    static const char *const ends[] = {" near '", " without JSON_"};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        const char *end = strstr(why->text, ends[i]);
        if (end != NULL && (size_t)(end - why->text) < n) {
            n = (size_t)(end - why->text);
        }
    }
    (void)snprintf(error, PARAMS_ERROR_BYTES,
                   "the JSON body cannot be read: %.*s (line %d, column %d)", (int)n, why->text,
                   why->line, why->column);
    return false;
}

static bool read_json(struct params *p, struct slice text, char error[PARAMS_ERROR_BYTES])
{
    json_error_t why;
    json_t *root = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) {
        return fail_json(error, &why);
    }
    bool good = true;
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        good = good && add_json(p, key, value, error);
    }
    json_decref(root);
    return good;
}

static bool is_json(struct slice body)
{
    size_t i = 0;
    while (i < body.n && strchr(" \t\r\n", body.p[i]) != NULL && body.p[i] != '\0') {
        i++;
    }
    return i < body.n && body.p[i] == '{';
}

static bool type_is(struct slice content_type, const char *wanted)
{
    size_t n = strlen(wanted);
    return content_type.n >= n && strncasecmp(content_type.p, wanted, n) == 0 &&
           (content_type.n == n || strchr("; \t", content_type.p[n]) != NULL);
}

static bool read_body(struct params *p, struct slice type, struct slice body,
                      char error[PARAMS_ERROR_BYTES])
{
    if (body.n == 0) {
        return true;
    }
    if (is_json(body)) {
        return read_json(p, body, error);
    }
    if (type_is(type, "application/json")) {
        return fail_plain(error, "the body is not a JSON object");
    }
    if (type.n == 0 || type_is(type, "application/x-www-form-urlencoded")) {
        return read_form(p, body, error);
    }
    return fail_plain(error, "the body must be a form (application/x-www-form-urlencoded) or a "
                             "JSON object (application/json)");
}

bool params_read(struct params *p, struct slice query, struct slice content_type, struct slice body,
                 char error[PARAMS_ERROR_BYTES])
{
    p->count = 0;
    p->used = 0;
    /* Decoding never lengthens text; an integer is printed as it was written, or shorter. */
    p->room = query.n + body.n + 1;
    p->bytes = xmalloc(p->room);
    return read_form(p, query, error) && read_body(p, content_type, body, error);
}

void params_free(struct params *p)
{
    free(p->bytes);
    p->bytes = NULL;
    p->count = 0;
}
