#include "common/adapters/http_frame.h"

#include <strings.h>

/* Chunk lines and trailers may cost this much beside the body itself. */
enum { CHUNK_LINE_BYTES_MAX = 64, CHUNK_OVERHEAD_BYTES_MAX = 64 * 1024 };

/* What one pass over the headers gathers. */
struct head {
    bool is_http_1_0;
    bool has_length;
    bool has_encoding;
    bool has_host;
    uint64_t length;
    bool length_too_large;
};

void http_frame_init(struct http_frame *f)
{
    memset(f, 0, sizeof(*f));
}

static enum http_frame_state bad(struct http_frame *f, int status, const char *detail)
{
    f->status = status;
    f->detail = detail;
    return HTTP_FRAME_BAD;
}

static bool is_token(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool name_is(struct slice name, const char *wanted)
{
    return name.n == strlen(wanted) && strncasecmp(name.p, wanted, name.n) == 0;
}

static struct slice trimmed(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

/* The line at the start of s, without CRLF; false when CR and LF do not come as a pair. */
static bool take_line(struct slice *s, struct slice *line)
{
    const char *end = memchr(s->p, '\n', s->n);
    if (end == NULL || end == s->p || end[-1] != '\r') {
        return false;
    }
    *line = slice_make(s->p, (size_t)(end - s->p) - 1);
    s->n -= line->n + 2;
    s->p = end + 1;
    return line->n == 0 || memchr(line->p, '\r', line->n) == NULL;
}

static bool method_known(struct slice m)
{
    static const char *const known[] = {"GET",   "POST",   "HEAD",    "PUT",
                                        "PATCH", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (slice_is(m, known[i])) {
            return true;
        }
    }
    return false;
}

/* Visible ASCII without these. */
static bool is_plain(struct slice s, const char *but)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= 0x20 || c >= 0x7f || strchr(but, c) != NULL) {
            return false;
        }
    }
    return true;
}

/* host[:port]. Nothing here depends on which host was meant, so only its letters are checked. */
static bool host_ok(struct slice host)
{
    return is_plain(host, "\"#,/<>?@\\^`{|}");
}

/* How much of the target is "http://host" (RFC 9112, 3.2.2); 0: none, or no valid one. */
static size_t host_prefix(struct slice t)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (t.n > n && strncasecmp(t.p, schemes[i], n) == 0) {
            struct slice host = slice_make(t.p + n, 0);
            while (n + host.n < t.n && strchr("/?", host.p[host.n]) == NULL) {
                host.n++;
            }
            return host.n > 0 && host_ok(host) ? n + host.n : 0;
        }
    }
    return 0;
}

/* No fragment, no second slash: "//x" would be a host. */
static bool target_ok(struct http_frame *f, struct slice t)
{
    f->host_bytes = host_prefix(t);
    struct slice path = slice_make(t.p + f->host_bytes, t.n - f->host_bytes);
    if (!is_plain(path, "#")) {
        return false;
    }
    if (f->host_bytes > 0 && (path.n == 0 || path.p[0] == '?')) {
        return true;
    }
    return slice_is(t, "*") ||
           (path.n > 0 && path.p[0] == '/' && (path.n == 1 || path.p[1] != '/'));
}

static enum http_frame_state check_request_line(struct http_frame *f, struct head *h,
                                                struct slice line)
{
    const char *first = memchr(line.p, ' ', line.n);
    const char *last = memrchr(line.p, ' ', line.n);
    if (first == NULL || first == last || first == line.p) {
        return bad(f, 400, "the request line is not \"METHOD path HTTP/1.1\"");
    }
    struct slice method = slice_make(line.p, (size_t)(first - line.p));
    struct slice target = slice_make(first + 1, (size_t)(last - first) - 1);
    struct slice version = slice_make(last + 1, line.n - (size_t)(last + 1 - line.p));
    f->method_bytes = method.n;
    h->is_http_1_0 = slice_is(version, "HTTP/1.0");
    if (!slice_is(version, "HTTP/1.1") && !h->is_http_1_0) {
        return bad(f, version.n > 5 && memcmp(version.p, "HTTP/", 5) == 0 ? 505 : 400,
                   "only HTTP/1.1 and HTTP/1.0 are spoken here");
    }
    if (!method_known(method)) {
        return bad(f, 501, "unknown method");
    }
    if (!target_ok(f, target)) {
        return bad(f, 400, "the path must begin with one \"/\" and be percent-encoded ASCII");
    }
    return HTTP_FRAME_WHOLE;
}

static enum http_frame_state check_length(struct http_frame *f, struct head *h, struct slice value)
{
    if (h->has_length) {
        return bad(f, 400, "Content-Length is given twice");
    }
    h->has_length = true;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') {
            return bad(f, 400, "Content-Length is not a plain number");
        }
    }
    if (value.n == 0) {
        return bad(f, 400, "Content-Length is not a plain number");
    }
    h->length_too_large = !slice_to_u64(value, UINT32_MAX, &h->length);
    return HTTP_FRAME_WHOLE;
}

static enum http_frame_state check_header(struct http_frame *f, struct head *h, struct slice name,
                                          struct slice value)
{
    if (name_is(name, "Content-Length")) {
        return check_length(f, h, value);
    }
    if (name_is(name, "Transfer-Encoding")) {
        if (h->has_encoding || !name_is(value, "chunked")) {
            return bad(f, 400, "Transfer-Encoding may only be \"chunked\", once");
        }
        h->has_encoding = true;
    } else if (name_is(name, "Host")) {
        if (h->has_host) {
            return bad(f, 400, "Host is given twice");
        }
        if (!host_ok(value)) {
            return bad(f, 400, "Host is not a host");
        }
        h->has_host = true;
    } else if (name_is(name, "Expect")) {
        if (!name_is(value, "100-continue")) {
            return bad(f, 417, "Expect may only be \"100-continue\"");
        }
        f->expects_continue = true;
    }
    return HTTP_FRAME_WHOLE;
}

static enum http_frame_state check_header_line(struct http_frame *f, struct head *h,
                                               struct slice line)
{
    if (line.p[0] == ' ' || line.p[0] == '\t') {
        return bad(f, 400, "a header is folded over two lines");
    }
    size_t n = 0;
    while (n < line.n && is_token((unsigned char)line.p[n])) {
        n++;
    }
    if (n == 0 || n == line.n || line.p[n] != ':') {
        return bad(f, 400, "a header line is not \"Name: value\"");
    }
    for (size_t i = n; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return bad(f, 400, "a header has control characters");
        }
    }
    return check_header(f, h, slice_make(line.p, n),
                        trimmed(slice_make(line.p + n + 1, line.n - n - 1)));
}

/* Only these may carry a body; evhttp would take the body of any other for the next request. */
static bool may_have_body(struct slice method)
{
    return slice_is(method, "GET") || slice_is(method, "POST") || slice_is(method, "PUT") ||
           slice_is(method, "PATCH");
}

static enum http_frame_state settle(struct http_frame *f, const struct head *h, struct slice method,
                                    const struct http_frame_limits *limits)
{
    if (h->has_length && h->has_encoding) {
        return bad(f, 400, "Content-Length and Transfer-Encoding are both given");
    }
    if (h->has_encoding && h->is_http_1_0) {
        return bad(f, 400, "HTTP/1.0 has no Transfer-Encoding");
    }
    if (!h->has_host && !h->is_http_1_0) {
        return bad(f, 400, "Host is missing");
    }
    if (h->length_too_large || h->length > limits->body_bytes_max) {
        return bad(f, 413, "the body is too large");
    }
    if (h->has_encoding) {
        f->kind = HTTP_BODY_CHUNKED;
        f->chunk_at = f->head_bytes;
    } else if (h->length > 0) {
        f->kind = HTTP_BODY_LENGTH;
        f->body_bytes = h->length;
    }
    if (f->kind != HTTP_BODY_NONE && !may_have_body(method)) {
        return bad(f, 400, "a request of this method has no body");
    }
    return HTTP_FRAME_WHOLE;
}

static enum http_frame_state check_head(struct http_frame *f, struct slice head,
                                        const struct http_frame_limits *limits)
{
    const char *start = head.p;
    struct head h = {0};
    struct slice line;
    if (!take_line(&head, &line)) {
        return bad(f, 400, "lines must end in CR LF");
    }
    enum http_frame_state s = check_request_line(f, &h, line);
    for (int count = 0; s == HTTP_FRAME_WHOLE && head.n > 2; count++) {
        if (count == HTTP_FRAME_HEADERS_MAX) {
            return bad(f, 431, "too many headers");
        }
        if (!take_line(&head, &line) || line.n == 0) {
            return bad(f, 400, "lines must end in CR LF");
        }
        s = check_header_line(f, &h, line);
    }
    return s == HTTP_FRAME_WHOLE ? settle(f, &h, slice_make(start, f->method_bytes), limits) : s;
}

/* Looks for the empty line. A head that ends "\n\n" is bad at once, or it would wait for ever. */
static enum http_frame_state find_head(struct http_frame *f, struct slice bytes,
                                       const struct http_frame_limits *limits)
{
    size_t from = f->searched < 2 ? 0 : f->searched - 2;
    const char *end = memmem(bytes.p + from, bytes.n - from, "\n\r\n", 3);
    const char *bare = memmem(bytes.p + from, bytes.n - from, "\n\n", 2);
    f->searched = bytes.n;
    if (bare != NULL && (end == NULL || bare < end)) {
        return bad(f, 400, "lines must end in CR LF");
    }
    size_t head_bytes = end != NULL ? (size_t)(end - bytes.p) + 3 : bytes.n;
    if (head_bytes > limits->head_bytes_max) {
        return bad(f, 431, "the headers are too large");
    }
    if (end == NULL) {
        return HTTP_FRAME_MORE;
    }
    f->head_bytes = head_bytes;
    return check_head(f, slice_make(bytes.p, head_bytes), limits);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The size line of a chunk, without extensions: nobody here needs them and parsers disagree. */
static enum http_frame_state chunk_size(struct http_frame *f, struct slice rest, size_t *size,
                                        size_t *line_bytes)
{
    struct slice line;
    const char *end = memchr(rest.p, '\n', rest.n);
    if (end == NULL) {
        return rest.n > CHUNK_LINE_BYTES_MAX ? bad(f, 400, "a chunk's size is not a number")
                                             : HTTP_FRAME_MORE;
    }
    struct slice scan = rest;
    if (!take_line(&scan, &line) || line.n == 0 || line.n > 8) {
        return bad(f, 400, "a chunk's size is not a number");
    }
    *size = 0;
    for (size_t i = 0; i < line.n; i++) {
        int digit = hex_value(line.p[i]);
        if (digit < 0) {
            return bad(f, 400, "a chunk's size is not a number");
        }
        *size = *size * 16 + (size_t)digit;
    }
    *line_bytes = line.n + 2;
    return HTTP_FRAME_WHOLE;
}

/* After the last chunk: the empty line. Trailers are refused, no client here sends them. */
static enum http_frame_state last_chunk(struct http_frame *f, struct slice rest, size_t line_bytes)
{
    if (rest.n < line_bytes + 2) {
        return HTTP_FRAME_MORE;
    }
    if (memcmp(rest.p + line_bytes, "\r\n", 2) != 0) {
        return bad(f, 400, "trailers after a chunked body are not taken");
    }
    f->whole_bytes = f->chunk_at + line_bytes + 2;
    return HTTP_FRAME_WHOLE;
}

static enum http_frame_state check_chunks(struct http_frame *f, struct slice bytes,
                                          const struct http_frame_limits *limits)
{
    for (;;) {
        struct slice rest = slice_make(bytes.p + f->chunk_at, bytes.n - f->chunk_at);
        size_t size = 0;
        size_t line_bytes = 0;
        enum http_frame_state s = chunk_size(f, rest, &size, &line_bytes);
        if (s != HTTP_FRAME_WHOLE) {
            return s;
        }
        if (size == 0) {
            return last_chunk(f, rest, line_bytes);
        }
        if (f->body_bytes + size > limits->body_bytes_max ||
            f->chunk_at - f->head_bytes > limits->body_bytes_max + CHUNK_OVERHEAD_BYTES_MAX) {
            return bad(f, 413, "the body is too large");
        }
        if (rest.n < line_bytes + size + 2) {
            return HTTP_FRAME_MORE;
        }
        if (memcmp(rest.p + line_bytes + size, "\r\n", 2) != 0) {
            return bad(f, 400, "a chunk is longer than its size");
        }
        f->body_bytes += size;
        f->chunk_at += line_bytes + size + 2;
    }
}

enum http_frame_state http_frame_check(struct http_frame *f, struct slice bytes,
                                       const struct http_frame_limits *limits)
{
    if (f->head_bytes == 0) {
        enum http_frame_state s = find_head(f, bytes, limits);
        if (s != HTTP_FRAME_WHOLE) {
            return s;
        }
    }
    if (f->kind == HTTP_BODY_CHUNKED) {
        return check_chunks(f, bytes, limits);
    }
    f->whole_bytes = f->head_bytes + f->body_bytes;
    return bytes.n >= f->whole_bytes ? HTTP_FRAME_WHOLE : HTTP_FRAME_MORE;
}
