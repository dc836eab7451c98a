#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/meaning/yaml.h"

/* True when YAML readers take the plain text for something else than text: null, a boolean, or
 * whatever begins like a number or a date. */
static bool looks_typed(struct slice s)
{
    static const char *const words[] = {"~",  "null", "true", "false", "yes", "no",
                                        "on", "off",  "y",    "n",     "<<",  "="};
    char c = s.p[0];
    if (isdigit((unsigned char)c) || (strchr("+-.", c) != NULL && s.n > 1)) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (s.n == strlen(words[i]) && strncasecmp(s.p, words[i], s.n) == 0) {
            return true;
        }
    }
    return false;
}

static bool begins_plain(struct slice s)
{
    if (s.p[0] == '-') {
        return s.n > 1 && isdigit((unsigned char)s.p[1]);
    }
    return strchr(" ?:,[]{}#&*!|>'\"%@`", s.p[0]) == NULL;
}

/* True when the text stands in block style without quotes and is read back as it is. */
static bool is_plain(struct slice s)
{
    if (s.n == 0 || !begins_plain(s) || s.p[s.n - 1] == ' ' || s.p[s.n - 1] == ':') {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool breaks = (c == ':' && s.p[i + 1] == ' ') || (c == '#' && s.p[i - 1] == ' ');
        if (c < ' ' || c >= 0x7f || breaks) {
            return false;
        }
    }
    return !(s.n >= 3 && memcmp(s.p, "...", 3) == 0);
}

/* The characters above ASCII that YAML breaks lines at or does not take: U+0080 to U+009F, U+2028,
 * U+2029, U+FEFF. Their code point, or 0. */
static unsigned odd_character(const unsigned char *p, size_t n)
{
    if (n >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        return p[1];
    }
    if (n >= 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) {
        return 0x2000U + (p[2] & 0x3fU);
    }
    return n >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf ? 0xfeff : 0;
}

static void put_quoted(struct buf *b, struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    buf_putc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned odd = p[i] > 0x7f ? odd_character(p + i, s.n - i) : 0;
        if (p[i] == '"' || p[i] == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, s.p[i]);
        } else if (p[i] == '\n' || p[i] == '\r' || p[i] == '\t') {
            buf_puts(b, p[i] == '\n' ? "\\n" : p[i] == '\r' ? "\\r" : "\\t");
        } else if (p[i] < ' ' || p[i] == 0x7f) {
            buf_printf(b, "\\x%02x", p[i]);
        } else if (odd != 0) {
            buf_printf(b, "\\u%04x", odd);
            i += odd < 0x100 ? 1 : 2;
        } else {
            buf_putc(b, s.p[i]);
        }
    }
    buf_putc(b, '"');
}

void yaml_put_scalar(struct buf *b, struct slice text, bool is_string)
{
    if (is_plain(text) && !(is_string && looks_typed(text))) {
        buf_put_slice(b, text);
    } else {
        put_quoted(b, text);
    }
}

static void put_indent(struct buf *b, int indent)
{
    for (int i = 0; i < indent; i++) {
        buf_putc(b, ' ');
    }
}

void yaml_put_key(struct buf *b, const char *key, int indent)
{
    put_indent(b, indent);
    yaml_put_scalar(b, slice_of(key), false);
    buf_putc(b, ':');
}

static void write_children(struct buf *b, const struct yaml_node *node, int indent, bool on_line);

/* "-" and the item; a collection's first child stands on the dash's own line. */
static void write_item(struct buf *b, const struct yaml_node *item, int indent)
{
    buf_putc(b, '-');
    if (item->kind == YAML_SCALAR || item->count == 0) {
        yaml_write_node(b, item, indent);
    } else {
        buf_putc(b, ' ');
        write_children(b, item, indent + 2, true);
    }
}

/* on_line: the first child goes where the line stands now. */
static void write_children(struct buf *b, const struct yaml_node *node, int indent, bool on_line)
{
    for (size_t i = 0; i < node->count; i++) {
        int before = i == 0 && on_line ? 0 : indent;
        if (node->kind == YAML_MAP) {
            yaml_put_key(b, node->pairs[i].key, before);
            yaml_write_node(b, node->pairs[i].value, indent);
        } else {
            put_indent(b, before);
            write_item(b, node->items[i], indent);
        }
    }
}

static void write_scalar(struct buf *b, const struct yaml_node *node)
{
    if (node->text[0] != '\0' || node->quoted) { /* else null, written as nothing */
        buf_putc(b, ' ');
        yaml_put_scalar(b, slice_of(node->text), node->quoted);
    }
    buf_putc(b, '\n');
}

void yaml_write_node(struct buf *b, const struct yaml_node *node, int indent)
{
    if (node->kind == YAML_SCALAR) {
        write_scalar(b, node);
    } else if (node->count == 0) {
        buf_puts(b, node->kind == YAML_MAP ? " {}\n" : " []\n");
    } else {
        buf_putc(b, '\n');
        write_children(b, node, indent + 2, false);
    }
}
