#include "common/meaning/encode.h"

#include "common/base/utf8.h"

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static void put_percent(struct slice value, bool plus_for_space, struct buf *out)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        unsigned byte = (unsigned char)c;
        if (is_unreserved(c)) {
            buf_putc(out, c);
        } else if (c == ' ' && plus_for_space) {
            buf_putc(out, '+');
        } else {
            buf_put(out, (char[]){'%', hex[byte >> 4], hex[byte & 15]}, 3);
        }
    }
}

static bool is_utf8(struct slice s)
{
    while (s.n > 0) {
        size_t n = utf8_first(s);
        if (n == 0) {
            return false;
        }
        s = slice_make(s.p + n, s.n - n);
    }
    return true;
}

static bool put_json(struct slice value, struct buf *out, const char **why)
{
    if (!is_utf8(value)) {
        *why = "is not UTF-8, which JSON must be";
        return false;
    }
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '"' || c == '\\') {
            buf_put(out, (char[]){'\\', c}, 2);
        } else if (is_control(c)) {
            buf_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
        } else {
            buf_putc(out, c);
        }
    }
    return true;
}

static const char *xml_entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static bool put_xml(struct slice value, struct buf *out, const char **why)
{
    if (!is_utf8(value)) {
        *why = "is not UTF-8, which XML must be";
        return false;
    }
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        const char *entity = xml_entity(c);
        if (is_control(c) && c != '\n' && c != '\t') {
            *why = "has a control character, which XML cannot carry";
            return false;
        }
        if (entity != NULL) {
            buf_puts(out, entity);
        } else {
            buf_putc(out, c);
        }
    }
    return true;
}

static bool put_header(struct slice value, struct buf *out, const char **why)
{
    for (size_t i = 0; i < value.n; i++) {
        if (is_control(value.p[i])) {
            *why = "has a line break or another control character, which a header cannot carry";
            return false;
        }
    }
    buf_put_slice(out, value);
    return true;
}

static bool put_text(struct slice value, struct buf *out, const char **why)
{
    if (value.n > 0 && memchr(value.p, '\0', value.n) != NULL) {
        *why = "has a NUL";
        return false;
    }
    buf_put_slice(out, value);
    return true;
}

bool encode_put(enum template_place place, struct slice value, struct buf *out, const char **why)
{
    switch (place) {
    case TEMPLATE_PATH:
    case TEMPLATE_QUERY:
        put_percent(value, false, out);
        return true;
    case TEMPLATE_FORM:
        put_percent(value, true, out);
        return true;
    case TEMPLATE_JSON:
        return put_json(value, out, why);
    case TEMPLATE_XML:
        return put_xml(value, out, why);
    case TEMPLATE_HEADER:
        return put_header(value, out, why);
    case TEMPLATE_TEXT:
        return put_text(value, out, why);
    }
    must(false);
    return false;
}
