#include "common/meaning/template_call.h"

enum { ORIGIN_BYTES_MAX = 300 };

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A host name, an IPv4 address or an IPv6 address in brackets; then, at most, a port. */
static bool is_authority(struct slice s)
{
    size_t i = 0;
    if (s.n > 0 && s.p[0] == '[') {
        for (i = 1; i < s.n && (is_hex(s.p[i]) || s.p[i] == ':' || s.p[i] == '.'); i++) {
        }
        if (i == s.n || s.p[i] != ']' || i < 3) {
            return false;
        }
        i++;
    } else {
        while (i < s.n && (is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '.')) {
            i++;
        }
    }
    if (i == 0 || s.p[0] == '.' || s.p[0] == '-') {
        return false;
    }
    uint64_t port = 1;
    return i == s.n ||
           (s.p[i] == ':' && slice_to_u64(slice_make(s.p + i + 1, s.n - i - 1), 65535, &port) &&
            port > 0);
}

/* What may stand in a URL besides macros. The query allows "?" more than the path. */
static const char *url_text_fault(const char *text, size_t begin, size_t *at)
{
    bool in_macro = false;
    for (size_t i = begin; text[i] != '\0'; i++) {
        char c = text[i];
        *at = i;
        if (c == '{' || c == '}') {
            if (text[i + 1] == c) {
                return "a brace in a URL is written %7B or %7D";
            }
            in_macro = c == '{';
        } else if (c == '#') {
            return "a URL that is called has no #fragment";
        } else if (c == '%' && !in_macro && !(is_hex(text[i + 1]) && is_hex(text[i + 2]))) {
            return "a percent sign in a URL is written %25";
        } else if (!in_macro && !is_alnum(c) && strchr("-._~!$&'()*+,;=:@/?%", c) == NULL) {
            return "this character must be percent-encoded in a URL";
        }
    }
    return NULL;
}

const char *template_url_fault(const char *text, size_t *path_at, size_t *at)
{
    size_t scheme = strncmp(text, "https://", 8) == 0  ? 8
                    : strncmp(text, "http://", 7) == 0 ? 7
                                                       : 0;
    *at = scheme;
    if (scheme == 0) {
        return "must begin with https:// or http://, literally";
    }
    size_t n = strcspn(text + scheme, "/?#");
    struct slice authority = slice_make(text + scheme, n);
    if (n > 0 && memchr(authority.p, '{', n) != NULL) {
        return "the host is literal: a macro could send calls anywhere";
    }
    if (n > 0 && memchr(authority.p, '@', n) != NULL) {
        return "credentials do not belong in the URL; use a header with {secret.NAME|base64}";
    }
    if (scheme + n > ORIGIN_BYTES_MAX || !is_authority(authority)) {
        return "url needs a host name and, at most, a port";
    }
    *path_at = scheme + n;
    return url_text_fault(text, *path_at, at);
}

static bool read_origin(const struct dialect_reader *r, const struct yaml_node *node,
                        struct template_call *c, size_t *path_at)
{
    size_t at = 0;
    const char *why = template_url_fault(node->text, path_at, &at);
    if (why != NULL && at == 0) {
        return read_fail(r, node, "url %s", why);
    }
    if (why != NULL) {
        return read_fail_inside(r, node, at, why);
    }
    c->origin = slice_dup(slice_make(node->text, *path_at));
    return true;
}

/* A part of the URL as a template, with mistakes placed in the whole URL. */
static struct template *read_url_part(const struct dialect_reader *r, const struct yaml_node *node,
                                      size_t begin, size_t n, enum template_place place)
{
    struct template_error error;
    struct template *t = template_compile_raw(slice_make(node->text + begin, n), place, &error);
    if (t == NULL) {
        (void)read_fail_inside(r, node, begin + error.offset, error.text);
    }
    return t;
}

bool template_read_url(const struct dialect_reader *r, const struct yaml_node *map,
                       const struct yaml_node *node, struct template_call *c)
{
    size_t at = 0;
    if (node == NULL) {
        return read_fail(r, map, "url is missing");
    }
    if (!read_is_text(r, node, "url") || !read_origin(r, node, c, &at)) {
        return false;
    }
    size_t path = strcspn(node->text + at, "?");
    c->path = read_url_part(r, node, at, path, TEMPLATE_PATH);
    if (c->path == NULL || node->text[at + path] == '\0') {
        return c->path != NULL;
    }
    at += path + 1;
    c->url_query = read_url_part(r, node, at, strlen(node->text + at), TEMPLATE_QUERY);
    return c->url_query != NULL;
}
