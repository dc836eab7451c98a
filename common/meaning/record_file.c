#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/meaning/record_rules.h"

void record_texts_free(struct record_texts *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->at[i].name);
        free(t->at[i].text);
    }
    free(t->at);
    *t = (struct record_texts){0};
}

/* ---- reading --------------------------------------------------------------------------------- */

static void append(struct record_texts *t, struct record_text text)
{
    if ((t->count & (t->count - 1)) == 0) {
        t->at = xrealloc(t->at, (t->count == 0 ? 1 : t->count * 2) * sizeof(*t->at));
    }
    t->at[t->count++] = text;
}

static bool read_record(enum record_kind kind, const char *file, const struct yaml_pair *pair,
                        struct record_texts *out, struct yaml_error *error)
{
    void *record = record_read(kind, file, pair, error);
    if (record == NULL) {
        return false;
    }
    struct record_fault fault;
    if (!record_keeps_file_rules(kind, record, &fault)) {
        record_destroy(kind, record);
        return record_fault_tell(&fault, file, pair, error);
    }
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    record_write(kind, record, pair->value, &b);
    record_destroy(kind, record);
    if (!buf_ok(&b)) {
        buf_free(&b);
        yaml_error_at(error, file, pair->line, pair->column, "%s %s is larger than 64 KiB",
                      record_schemas[kind].one, pair->key);
        return false;
    }
    append(out, (struct record_text){kind, slice_dup(slice_of(pair->key)), buf_take(&b), pair->line,
                                     pair->column});
    return true;
}

static bool read_section(enum record_kind kind, const char *file, const struct yaml_pair *section,
                         struct record_texts *out, struct yaml_error *error)
{
    const struct yaml_node *records = section->value;
    out->has[kind] = true;
    if (records->kind == YAML_SCALAR && records->text[0] == '\0' && !records->quoted) {
        return true; /* "affiliates:" with nothing below: none */
    }
    if (kind == RECORD_NETWORK) {
        return read_record(kind, file, section, out, error); /* it is its section */
    }
    if (records->kind != YAML_MAP || records->count > RECORDS_MAX) {
        yaml_error_at(error, file, records->line, records->column,
                      "%s: at most %d records stand below it, indented, each by its %s",
                      section->key, RECORDS_MAX, kind == RECORD_AFFILIATE ? "number" : "name");
        return false;
    }
    for (size_t i = 0; i < records->count; i++) {
        if (!read_record(kind, file, &records->pairs[i], out, error)) {
            return false;
        }
    }
    return true;
}

static enum record_kind kind_of(const char *section)
{
    int kind = 0;
    while (kind < RECORD_KINDS && strcmp(record_sections[kind], section) != 0) {
        kind++;
    }
    return (enum record_kind)kind;
}

bool record_file_parse(const char *file, const struct yaml_node *root, struct record_texts *out,
                       struct yaml_error *error)
{
    *out = (struct record_texts){0};
    bool ok = root->kind == YAML_MAP;
    if (!ok) {
        yaml_error_at(error, file, root->line, root->column,
                      "sections are wanted: network, affiliates, integrations, endpoints, …");
    }
    for (size_t i = 0; ok && i < root->count; i++) {
        const struct yaml_pair *pair = &root->pairs[i];
        enum record_kind kind = kind_of(pair->key);
        if (kind < RECORD_KINDS) {
            ok = read_section(kind, file, pair, out, error);
            continue;
        }
        const char *near = yaml_suggest(pair->key, record_sections, RECORD_KINDS);
        yaml_error_at(error, file, pair->line, pair->column, "unknown section \"%.64s\"%s%s%s",
                      pair->key, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                      near != NULL ? "\"?" : "");
        ok = false;
    }
    if (!ok) {
        record_texts_free(out);
    }
    return ok;
}

/* ---- writing --------------------------------------------------------------------------------- */

int record_text_compare(const void *a, const void *b)
{
    const struct record_text *x = a;
    const struct record_text *y = b;
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    size_t xn = strlen(x->name);
    size_t yn = strlen(y->name);
    if (x->kind == RECORD_AFFILIATE && xn != yn) {
        return xn < yn ? -1 : 1; /* numbers without leading zeros */
    }
    return strcmp(x->name, y->name);
}

/* Canonical texts have no value over several lines, so indenting lines is all there is to do. */
static void put_indented(struct buf *out, const char *text, int indent)
{
    for (const char *line = text; *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        buf_printf(out, "%*s", indent, "");
        buf_put(out, line, (size_t)(end - line));
        buf_putc(out, '\n');
        line = *end == '\n' ? end + 1 : end;
    }
}

void record_file_write(struct record_text *texts, size_t count, struct buf *out)
{
    if (count > 1) {
        qsort(texts, count, sizeof(*texts), record_text_compare);
    }
    for (size_t i = 0; i < count; i++) {
        const struct record_text *t = &texts[i];
        if (i == 0 || texts[i - 1].kind != t->kind) {
            yaml_put_key(out, record_sections[t->kind], 0);
            buf_putc(out, '\n');
        }
        if (t->kind != RECORD_NETWORK) {
            yaml_put_key(out, t->name, 2);
            buf_putc(out, '\n');
        }
        put_indented(out, t->text, t->kind == RECORD_NETWORK ? 2 : 4);
    }
}
