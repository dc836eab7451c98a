#include "common/meaning/dialect_read.h"

#include <stdarg.h>
#include <stdio.h>

enum { KEYS_MAX = 64 };

static bool fail_va(const struct dialect_reader *r, int line, int column, const char *fmt,
                    va_list args)
{
    char text[400];
    (void)vsnprintf(text, sizeof(text), fmt, args);
    yaml_error_at(r->error, r->file, line, column, "%s", text);
    return false;
}

bool read_fail(const struct dialect_reader *r, const struct yaml_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fail_va(r, at->line, at->column, fmt, args);
    va_end(args);
    return false;
}

bool read_fail_key(const struct dialect_reader *r, const struct yaml_pair *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fail_va(r, at->line, at->column, fmt, args);
    va_end(args);
    return false;
}

bool read_fail_inside(const struct dialect_reader *r, const struct yaml_node *at, size_t offset,
                      const char *text)
{
    if (strchr(at->text, '\n') != NULL) {
        return read_fail(r, at, "%s (byte %zu of the text)", text, offset);
    }
    int column = at->column + (at->quoted ? 1 : 0);
    for (size_t i = 0; i < offset && at->text[i] != '\0'; i++) {
        column += (at->text[i] & 0xc0) != 0x80; /* columns count characters */
    }
    yaml_error_at(r->error, r->file, at->line, column, "%s", text);
    return false;
}

static bool unknown_key(const struct dialect_reader *r, const struct yaml_pair *pair,
                        const char *group)
{
    const char *words[KEYS_MAX];
    size_t n = 0;
    for (const struct dialect_setting *s = r->settings; s->group != NULL; s++) {
        if (strcmp(s->group, group) == 0 && n < KEYS_MAX) {
            words[n++] = s->key;
        }
    }
    const char *near = yaml_suggest(pair->key, words, n);
    if (near != NULL) {
        return read_fail_key(r, pair, "unknown key \"%s\"; did you mean \"%s\"?", pair->key, near);
    }
    return read_fail_key(r, pair, "unknown key \"%s\"", pair->key);
}

static bool is_setting(const struct dialect_reader *r, const char *group, const char *key)
{
    for (const struct dialect_setting *s = r->settings; s->group != NULL; s++) {
        if (strcmp(s->group, group) == 0 && strcmp(s->key, key) == 0) {
            return true;
        }
    }
    return false;
}

bool read_is_map(const struct dialect_reader *r, const struct yaml_node *node, const char *what)
{
    return node->kind == YAML_MAP ||
           read_fail(r, node, "%s must be a map of keys and values", what);
}

bool read_keys(const struct dialect_reader *r, const struct yaml_node *map, const char *group)
{
    if (!read_is_map(r, map, group)) {
        return false;
    }
    for (size_t i = 0; i < map->count; i++) {
        if (!is_setting(r, group, map->pairs[i].key)) {
            return unknown_key(r, &map->pairs[i], group);
        }
    }
    return true;
}

bool read_is_text(const struct dialect_reader *r, const struct yaml_node *node, const char *what)
{
    if (node->kind == YAML_SCALAR) {
        return true;
    }
    if (node->kind == YAML_MAP && node->count == 1) {
        return read_fail(r, node,
                         "%s must be a text; a text that begins with { is quoted: \"{%s}\"", what,
                         node->pairs[0].key);
    }
    return read_fail(r, node, "%s must be a text", what);
}

bool read_uint(const struct dialect_reader *r, const struct yaml_node *map, const char *key,
               uint32_t min, uint32_t max, uint32_t fallback, uint32_t *out)
{
    const struct yaml_node *node = yaml_get(map, key);
    uint64_t value = fallback;
    if (node != NULL && (node->kind != YAML_SCALAR || node->quoted ||
                         !slice_to_u64(slice_of(node->text), max, &value) || value < min)) {
        return read_fail(r, node, "%s must be a whole number from %u to %u", key, min, max);
    }
    *out = (uint32_t)value;
    return true;
}

struct template *read_template(const struct dialect_reader *r, const struct yaml_node *node,
                               const char *what, enum template_place place, bool raw)
{
    if (!read_is_text(r, node, what)) {
        return NULL;
    }
    struct template_error error;
    struct slice source = slice_of(node->text);
    struct template *t =
        raw ? template_compile_raw(source, place, &error) : template_compile(source, place, &error);
    if (t == NULL) {
        (void)read_fail_inside(r, node, error.offset, error.text);
    }
    return t;
}
