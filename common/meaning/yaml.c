#include "common/meaning/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "common/base/map.h"

/* ---- errors ---------------------------------------------------------------------------------- */

void yaml_error_at(struct yaml_error *e, const char *file, int line, int column, const char *fmt,
                   ...)
{
    int n;
    if (line > 0) {
        n = snprintf(e->text, sizeof(e->text), "%s:%d:%d: ", file, line, column);
    } else {
        n = snprintf(e->text, sizeof(e->text), "%s: ", file);
    }
    size_t used = n > 0 ? (size_t)n : 0;
    if (used < sizeof(e->text)) {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(e->text + used, sizeof(e->text) - used, fmt, args);
        va_end(args);
    }
}

/* ---- bytes: UTF-8 without control characters, checked here because libyaml reports such errors
 * without line and column ---------------------------------------------------------------------- */

/* Bytes of the character at p (n left), or 0 when it is not UTF-8 (RFC 3629: no surrogates, no
 * overlong forms, nothing above U+10FFFF). */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80) {
        return 1;
    }
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || length > n) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || outside ? 0 : length;
}

static bool check_bytes(const char *file, struct slice text, struct yaml_error *error)
{
    const unsigned char *p = (const unsigned char *)text.p;
    int line = 1;
    int column = 1;
    for (size_t i = 0; i < text.n;) {
        size_t length = utf8_length(p + i, text.n - i);
        if (length == 0) {
            yaml_error_at(error, file, line, column, "not UTF-8 text (byte 0x%02x)", p[i]);
            return false;
        }
        if ((p[i] < 0x20 && strchr("\t\n\r", p[i]) == NULL) || p[i] == 0 || p[i] == 0x7f) {
            yaml_error_at(error, file, line, column, "control character 0x%02x", p[i]);
            return false;
        }
        column = p[i] == '\n' ? 1 : column + 1;
        line += p[i] == '\n';
        i += length;
    }
    return true;
}

/* ---- tree ------------------------------------------------------------------------------------ */

struct reader {
    yaml_parser_t yaml;       /* libyaml's */
    const char *file;         /* name for messages */
    struct yaml_error *error; /* where the first error goes */
    size_t nodes;             /* made so far */
    size_t documents;         /* begun so far */
};

static void fail_at(struct reader *r, const yaml_mark_t *mark, const char *what)
{
    yaml_error_at(r->error, r->file, (int)mark->line + 1, (int)mark->column + 1, "%s", what);
}

static bool next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->yaml, event)) {
        return true;
    }
    const yaml_parser_t *y = &r->yaml;
    if (y->error == YAML_MEMORY_ERROR) {
        out_of_memory(); /* nothing is wrong with the text: refused, it would stay refused */
    }
    const char *problem = y->problem != NULL ? y->problem : "cannot be read";
    yaml_error_at(r->error, r->file, (int)y->problem_mark.line + 1, (int)y->problem_mark.column + 1,
                  "%s%s%s", problem, y->context != NULL ? " " : "",
                  y->context != NULL ? y->context : "");
    return false;
}

void yaml_destroy(struct yaml_node **nodep)
{
    struct yaml_node *node = *nodep;
    if (node == NULL) {
        return;
    }
    *nodep = NULL;
    for (size_t i = 0; i < node->count; i++) {
        if (node->kind == YAML_MAP) {
            free(node->pairs[i].key);
            yaml_destroy(&node->pairs[i].value);
        } else {
            yaml_destroy(&node->items[i]);
        }
    }
    free(node->pairs);
    free(node->items);
    if (node->text != NULL) {
        explicit_bzero(node->text, strlen(node->text)); /* it may have been a secret */
    }
    free(node->text);
    free(node);
}

static struct yaml_node *node_new(enum yaml_kind kind, const yaml_mark_t *mark)
{
    struct yaml_node *node = xcalloc(1, sizeof(*node));
    node->kind = kind;
    node->line = (int)mark->line + 1;
    node->column = (int)mark->column + 1;
    return node;
}

/* Room for one more child: the arrays double at powers of two. */
static void grow(void *arrayp, size_t count, size_t size)
{
    if ((count & (count - 1)) == 0) {
        void **array = arrayp;
        *array = xrealloc(*array, (count == 0 ? 1 : count * 2) * size);
    }
}

/* Anchors and tags make a text mean more than it says: neither is taken. */
static bool is_bare(struct reader *r, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    }
    if (anchor != NULL || e->type == YAML_ALIAS_EVENT) {
        fail_at(r, &e->start_mark,
                "anchors and aliases are not taken: write the value out, or quote it");
        return false;
    }
    if (tag != NULL) {
        fail_at(r, &e->start_mark, "tags (\"!\") are not taken: quote the value if it is text");
        return false;
    }
    return true;
}

static bool is_within_limits(struct reader *r, const yaml_event_t *e, int depth)
{
    if (depth > YAML_DEPTH_MAX) {
        fail_at(r, &e->start_mark, "nested too deeply (at most 16 levels)");
        return false;
    }
    if (++r->nodes > YAML_NODES_MAX) {
        fail_at(r, &e->start_mark, "too many values (at most 500,000)");
        return false;
    }
    return true;
}

static struct yaml_node *read_scalar(struct reader *r, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    if (memchr(text, '\0', n) != NULL) {
        fail_at(r, &e->start_mark, "a text may not hold the NUL character");
        return NULL;
    }
    struct yaml_node *node = node_new(YAML_SCALAR, &e->start_mark);
    node->text = slice_dup(slice_make(text, n));
    node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return node;
}

static struct yaml_node *read_node(struct reader *r, const yaml_event_t *e, int depth);

static bool read_list(struct reader *r, struct yaml_node *list, int depth)
{
    for (;;) {
        yaml_event_t e;
        if (!next_event(r, &e)) {
            return false;
        }
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return true;
        }
        struct yaml_node *item = read_node(r, &e, depth + 1);
        yaml_event_delete(&e);
        if (item == NULL) {
            return false;
        }
        grow(&list->items, list->count, sizeof(struct yaml_node *));
        list->items[list->count++] = item;
    }
}

/* The key of a pair, or NULL. seen remembers the lines of the keys of this map. */
static char *read_key(struct reader *r, const yaml_event_t *e, struct map *seen)
{
    if (!is_bare(r, e)) {
        return NULL;
    }
    if (e->type != YAML_SCALAR_EVENT) {
        fail_at(r, &e->start_mark, "a key must be a plain word or a quoted text");
        return NULL;
    }
    struct slice key = slice_make(e->data.scalar.value, e->data.scalar.length);
    if (key.n > YAML_KEY_BYTES_MAX || memchr(key.p, '\0', key.n) != NULL) {
        fail_at(r, &e->start_mark, "a key may have at most 200 bytes and no NUL character");
        return NULL;
    }
    int line = (int)e->start_mark.line + 1;
    void *first = map_get(seen, key);
    if (first != NULL) {
        yaml_error_at(r->error, r->file, line, (int)e->start_mark.column + 1,
                      "key \"%.*s\" is given twice (first in line %d)", SLICE_ARG(key),
                      (int)(intptr_t)first);
        return NULL;
    }
    must(map_set(seen, key, (void *)(intptr_t)line, NULL)); /* bounded by YAML_NODES_MAX */
    return slice_dup(key);
}

static bool read_pair(struct reader *r, struct yaml_node *map, const yaml_event_t *key_event,
                      struct map *seen, int depth)
{
    char *key = read_key(r, key_event, seen);
    yaml_event_t e;
    if (key == NULL || !next_event(r, &e)) {
        free(key);
        return false;
    }
    struct yaml_node *value = read_node(r, &e, depth + 1);
    yaml_event_delete(&e);
    if (value == NULL) {
        free(key);
        return false;
    }
    grow(&map->pairs, map->count, sizeof(struct yaml_pair));
    map->pairs[map->count++] = (struct yaml_pair){key, (int)key_event->start_mark.line + 1,
                                                  (int)key_event->start_mark.column + 1, value};
    return true;
}

static bool read_map(struct reader *r, struct yaml_node *map, int depth)
{
    struct map *seen = map_new(YAML_NODES_MAX + 1);
    bool more = true;
    bool ok = true;
    while (ok && more) {
        yaml_event_t e;
        if (!next_event(r, &e)) {
            ok = false;
            break;
        }
        more = e.type != YAML_MAPPING_END_EVENT;
        ok = !more || read_pair(r, map, &e, seen, depth);
        yaml_event_delete(&e);
    }
    map_destroy(&seen, NULL);
    return ok;
}

static struct yaml_node *read_node(struct reader *r, const yaml_event_t *e, int depth)
{
    if (!is_bare(r, e) || !is_within_limits(r, e, depth)) {
        return NULL;
    }
    if (e->type == YAML_SCALAR_EVENT) {
        return read_scalar(r, e);
    }
    bool is_map = e->type == YAML_MAPPING_START_EVENT;
    must(is_map || e->type == YAML_SEQUENCE_START_EVENT);
    struct yaml_node *node = node_new(is_map ? YAML_MAP : YAML_LIST, &e->start_mark);
    if (is_map ? !read_map(r, node, depth) : !read_list(r, node, depth)) {
        yaml_destroy(&node);
    }
    return node;
}

/* Passes over events that say nothing until one of a value or the stream's end. */
static bool skip_to_value(struct reader *r, yaml_event_t *e)
{
    for (;;) {
        if (!next_event(r, e)) {
            return false;
        }
        bool says_nothing = e->type == YAML_STREAM_START_EVENT ||
                            e->type == YAML_DOCUMENT_START_EVENT ||
                            e->type == YAML_DOCUMENT_END_EVENT;
        if (!says_nothing) {
            return true;
        }
        bool is_second = e->type == YAML_DOCUMENT_START_EVENT && ++r->documents > 1;
        if (is_second) {
            fail_at(r, &e->start_mark, "only one document is taken (\"---\" begins a second one)");
        }
        yaml_event_delete(e);
        if (is_second) {
            return false;
        }
    }
}

static struct yaml_node *read_document(struct reader *r)
{
    yaml_event_t e;
    if (!skip_to_value(r, &e)) {
        return NULL;
    }
    if (e.type == YAML_STREAM_END_EVENT) {
        yaml_event_delete(&e);
        return node_new(YAML_MAP, &(yaml_mark_t){0});
    }
    struct yaml_node *root = read_node(r, &e, 1);
    yaml_event_delete(&e);
    if (root == NULL || !skip_to_value(r, &e)) {
        yaml_destroy(&root);
        return NULL;
    }
    must(e.type == YAML_STREAM_END_EVENT);
    yaml_event_delete(&e);
    return root;
}

struct yaml_node *yaml_parse(const char *file, struct slice text, struct yaml_error *error)
{
    if (text.n > YAML_BYTES_MAX) {
        yaml_error_at(error, file, 0, 0, "larger than 8 MiB");
        return NULL;
    }
    if (!check_bytes(file, text, error)) {
        return NULL;
    }
    struct reader r = {.file = file, .error = error};
    need(yaml_parser_initialize(&r.yaml)); /* allocates */
    yaml_parser_set_encoding(&r.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)(text.n > 0 ? text.p : ""),
                                 text.n);
    struct yaml_node *root = read_document(&r);
    yaml_parser_delete(&r.yaml);
    return root;
}

/* ---- file ------------------------------------------------------------------------------------ */

static bool read_all(int fd, struct buf *b)
{
    for (;;) {
        char *room = buf_room(b, 65536);
        if (room == NULL) {
            return true; /* over the ceiling: the caller asks buf_ok */
        }
        ssize_t n = read(fd, room, 65536);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0;
        }
        buf_added(b, (size_t)n);
    }
}

struct yaml_node *yaml_load(const char *path, struct yaml_error *error)
{
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        yaml_error_at(error, name, 0, 0, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    struct buf b;
    buf_init(&b, YAML_BYTES_MAX + 65536);
    struct yaml_node *root = NULL;
    if (!read_all(fd, &b)) {
        yaml_error_at(error, name, 0, 0, "cannot be read: %s", strerror(errno));
    } else if (!buf_ok(&b)) {
        yaml_error_at(error, name, 0, 0, "larger than 8 MiB");
    } else {
        root = yaml_parse(name, buf_slice(&b), error);
    }
    if (b.p != NULL) {
        explicit_bzero(b.p, b.n);
    }
    buf_free(&b);
    if (!is_stdin) {
        (void)close(fd);
    }
    return root;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP) {
        return NULL;
    }
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->pairs[i].key, key) == 0) {
            return map->pairs[i].value;
        }
    }
    return NULL;
}

/* ---- did you mean ---------------------------------------------------------------------------- */

enum { SUGGEST_BYTES_MAX = 64 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Damerau-Levenshtein distance (restricted: no substring is edited twice), case ignored. */
static size_t edit_distance(const char *a, size_t an, const char *b, size_t bn)
{
    size_t d[SUGGEST_BYTES_MAX + 1][SUGGEST_BYTES_MAX + 1];
    for (size_t i = 0; i <= an; i++) {
        d[i][0] = i;
    }
    for (size_t j = 0; j <= bn; j++) {
        d[0][j] = j;
    }
    for (size_t i = 1; i <= an; i++) {
        for (size_t j = 1; j <= bn; j++) {
            size_t change = d[i - 1][j - 1] + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1);
            d[i][j] = least(change, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                same_letter(a[i - 2], b[j - 1])) {
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[an][bn];
}

const char *yaml_suggest(const char *word, const char *const *words, size_t n)
{
    size_t length = strlen(word);
    if (length == 0 || length > SUGGEST_BYTES_MAX) {
        return NULL;
    }
    const char *best = NULL;
    size_t near = length <= 3 ? 1 : length <= 8 ? 2 : 3;
    for (size_t i = 0; i < n; i++) {
        size_t other = words[i] != NULL ? strlen(words[i]) : 0;
        if (other == 0 || other > SUGGEST_BYTES_MAX) {
            continue;
        }
        size_t distance = edit_distance(word, length, words[i], other);
        if (distance <= near && distance < other) {
            if (distance == 0) {
                return words[i];
            }
            best = words[i];
            near = distance - 1; /* only a nearer one replaces it */
        }
    }
    return best;
}
