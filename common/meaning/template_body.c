#include "common/meaning/template_call.h"

#include <stdio.h>

#include "common/meaning/encode.h"

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
    struct template_call *c;
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
        struct template *key = template_read_key(w->r, &node->pairs[i], TEMPLATE_JSON);
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

static bool read_json(const struct dialect_reader *r, const struct yaml_node *node,
                      struct template_call *c)
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
                     const struct yaml_node *type, struct template_call *c)
{
    enum template_place place = TEMPLATE_TEXT;
    if (type == NULL) {
        return read_fail(r, node, "body needs content_type beside it");
    }
    if (!place_of_type(c->content_type, &place)) {
        return read_fail(r, type,
                         "content_type of a body must be application/json, "
                         "application/xml, text/xml, …+json, …+xml, "
                         "application/x-www-form-urlencoded or text/plain: values are "
                         "encoded by it");
    }
    c->body = read_template(r, node, "body", place, true);
    c->body_is_json = place == TEMPLATE_JSON;
    return c->body != NULL;
}

static bool read_content_type(const struct dialect_reader *r, const struct yaml_node *type,
                              struct template_call *c)
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

bool template_read_body(const struct dialect_reader *r, const struct yaml_node *map,
                        struct template_call *c)
{
    static const char *const names[] = {
        [BODY_FORM] = "form", [BODY_JSON] = "json", [BODY_RAW] = "body"};
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
        return template_read_pairs(r, node, "form", TEMPLATE_FORM, TEMPLATE_PAIRS_MAX, &c->form);
    case BODY_JSON:
        return read_json(r, node, c);
    case BODY_RAW:
        return read_raw(r, node, type, c);
    case BODY_NONE:
        break;
    }
    return true;
}
