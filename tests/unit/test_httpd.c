/* common/adapters/httpd and http_frame, on raw sockets: every way a client can misbehave. */
#include "common/adapters/httpd.h"
#include "common/adapters/listen_fd.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/adapters/http_frame.h"
#include "common/base/clock.h"

enum { ARRIVE_MS = 300, BODY_MAX = 65536, HEADER_MAX = 8192, WAIT_MS = 3000 };

struct fixture {
    struct event_base *base;
    struct httpd *server;
    struct httpd_request *waiting; /* path /later: kept by the test */
    int requests;                  /* handed to the application */
    char seen[512];                /* "METHOD path query body" of the last one */
};

static void on_request(void *context, struct httpd_request *r)
{
    struct fixture *f = context;
    f->requests++;
    (void)snprintf(f->seen, sizeof(f->seen), "%.*s %.*s %.*s %.*s", SLICE_ARG(httpd_method(r)),
                   SLICE_ARG(httpd_path(r)), SLICE_ARG(httpd_query(r)), SLICE_ARG(httpd_body(r)));
    if (slice_is(httpd_path(r), "/later")) {
        f->waiting = r;
    } else if (slice_is(httpd_path(r), "/cut")) {
        httpd_cut(r);
    } else if (slice_is(httpd_path(r), "/drip")) {
        httpd_answer_raw(r, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"), 2);
    } else {
        httpd_set_header(r, "X-Request-Id", "t-1");
        httpd_answer(r, 200, "text/plain", SLICE("fine"));
    }
}

static struct httpd_options options_for(struct fixture *f)
{
    return (struct httpd_options){.listen = "127.0.0.1:0",
                                  .listen_key = "test.listen",
                                  .body_bytes_max = BODY_MAX,
                                  .header_bytes_max = HEADER_MAX,
                                  .arrive_ms = ARRIVE_MS,
                                  .connections_max = 3,
                                  .on_request = on_request,
                                  .context = f};
}

static int setup(void **state)
{
    char error[256];
    struct fixture *f = calloc(1, sizeof(*f));
    struct httpd_options o = options_for(f);
    f->base = event_base_new();
    f->server = httpd_new(f->base, &o, error);
    *state = f;
    return f->server == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    httpd_destroy(&f->server);
    event_base_loop(f->base, EVLOOP_NONBLOCK);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void turn(struct fixture *f)
{
    (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static int dial(struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(httpd_port(f->server)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    turn(f);
    return fd;
}

/* Sends all of it while the server's loop turns; stops quietly when the server has closed. */
static void say(struct fixture *f, int fd, struct slice bytes)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (bytes.n > 0 && clock_mono_ms() < until) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            bytes.p += n;
            bytes.n -= (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        }
        turn(f);
    }
}

/* Reads until `until` stands in the text, or the server closes (returns true then). */
static bool hear(struct fixture *f, int fd, char *out, size_t size, const char *until)
{
    size_t used = 0;
    int64_t end = clock_mono_ms() + WAIT_MS;
    out[0] = '\0';
    while (clock_mono_ms() < end) {
        turn(f);
        ssize_t n = recv(fd, out + used, size - 1 - used, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return true;
        }
        if (n > 0) {
            used += (size_t)n;
            out[used] = '\0';
        }
        if (until != NULL && strstr(out, until) != NULL) {
            return false;
        }
        struct pollfd p = {fd, POLLIN, 0};
        (void)poll(&p, 1, 1);
    }
    fail_msg("neither answered nor closed: %s", out);
    return false;
}

/* One connection, these bytes: the whole answer until the server closes. */
static void exchange(struct fixture *f, struct slice bytes, char *out, size_t size)
{
    int fd = dial(f);
    say(f, fd, bytes);
    assert_true(hear(f, fd, out, size, NULL));
    (void)close(fd);
    turn(f);
}

static void expect_refusal(struct fixture *f, struct slice bytes, const char *status,
                           const char *detail)
{
    char out[2048];
    int before = f->requests;
    exchange(f, bytes, out, sizeof(out));
    if (strncmp(out, status, strlen(status)) != 0 || strstr(out, detail) == NULL) {
        fail_msg("wanted %s … %s, got: %s", status, detail, out);
    }
    assert_non_null(strstr(out, "Connection: close\r\n"));
    assert_non_null(strstr(out, "X-Request-Id: h-"));
    assert_int_equal(f->requests, before);
}

static void answers_and_keeps_the_connection(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int fd = dial(f);
    for (int i = 0; i < 3; i++) {
        say(f, fd, SLICE("GET /a/b?x=1&y=%20 HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_false(hear(f, fd, out, sizeof(out), "fine"));
        assert_memory_equal(out, "HTTP/1.1 200 OK\r\n", 17);
        assert_non_null(strstr(out, "X-Request-Id: t-1\r\n"));
        assert_string_equal(f->seen, "GET /a/b x=1&y=%20 ");
    }
    say(f, fd, SLICE("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"));
    assert_false(hear(f, fd, out, sizeof(out), "fine"));
    assert_string_equal(f->seen, "POST /p  abc");
    say(f, fd, SLICE("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    assert_int_equal(f->requests, 5);
    assert_int_equal(httpd_requests_open(f->server), 0);
    (void)close(fd);
}

static void takes_every_method_and_bodies_of_get(void **state)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"GET",    "POST",    "PUT",  "PATCH",
                                          "DELETE", "OPTIONS", "TRACE"};
    char out[1024], text[256];
    int fd = dial(f);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        (void)snprintf(text, sizeof(text), "%s /m HTTP/1.1\r\nHost: h\r\n\r\n", methods[i]);
        say(f, fd, slice_of(text));
        assert_false(hear(f, fd, out, sizeof(out), "fine"));
        assert_memory_equal(f->seen, methods[i], strlen(methods[i]));
    }
    say(f, fd, SLICE("GET /m HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"));
    assert_false(hear(f, fd, out, sizeof(out), "fine"));
    assert_string_equal(f->seen, "GET /m  {}");
    say(f, fd, SLICE("HEAD /m HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    assert_non_null(strstr(out, "Content-Length: 4\r\n"));
    assert_null(strstr(out, "fine"));
    (void)close(fd);
}

static void refuses_doubtful_framing(void **state)
{
    struct fixture *f = *state;
#define POST_WITH(headers, body) SLICE("POST /p HTTP/1.1\r\nHost: h\r\n" headers "\r\n" body)
    expect_refusal(f, POST_WITH("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
                   "HTTP/1.1 400", "Content-Length is given twice");
    expect_refusal(f, POST_WITH("Content-Length: 3\r\ncontent-length: 30\r\n", "abc"),
                   "HTTP/1.1 400", "given twice");
    expect_refusal(f, POST_WITH("Content-Length: +3\r\n", "abc"), "HTTP/1.1 400", "plain number");
    expect_refusal(f, POST_WITH("Content-Length: -3\r\n", "abc"), "HTTP/1.1 400", "plain number");
    expect_refusal(f, POST_WITH("Content-Length: 3, 3\r\n", "abc"), "HTTP/1.1 400", "plain number");
    expect_refusal(f, POST_WITH("Content-Length: \r\n", ""), "HTTP/1.1 400", "plain number");
    expect_refusal(f, POST_WITH("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "abc"),
                   "HTTP/1.1 400", "both given");
    expect_refusal(f, POST_WITH("Transfer-Encoding: gzip\r\n", ""), "HTTP/1.1 400", "chunked");
    expect_refusal(f, POST_WITH("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""),
                   "HTTP/1.1 400", "chunked");
    expect_refusal(f, POST_WITH("Content-Length : 3\r\n", "abc"), "HTTP/1.1 400", "Name: value");
    expect_refusal(f, POST_WITH("X: 1\r\n folded\r\n", ""), "HTTP/1.1 400", "folded");
    expect_refusal(f, POST_WITH("X: 1\n", ""), "HTTP/1.1 400", "CR LF");
    expect_refusal(f, POST_WITH("X: a\rb\r\n", ""), "HTTP/1.1 400", "CR LF");
    expect_refusal(f, POST_WITH("X: a\0b\r\n", ""), "HTTP/1.1 400", "control");
    expect_refusal(f, POST_WITH("Host: other\r\n", ""), "HTTP/1.1 400", "Host is given twice");
    expect_refusal(f, POST_WITH("Expect: tea\r\n", ""), "HTTP/1.1 417", "100-continue");
    expect_refusal(f, SLICE("GET / HTTP/1.1\nHost: h\n\n"), "HTTP/1.1 400", "CR LF");
    expect_refusal(f, SLICE("DELETE / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"),
                   "HTTP/1.1 400", "no body");
}

static void refuses_bad_request_lines(void **state)
{
    struct fixture *f = *state;
    expect_refusal(f, SLICE("\r\n\r\n"), "HTTP/1.1 400", "request line");
    expect_refusal(f, SLICE("GET\r\n\r\n"), "HTTP/1.1 400", "request line");
    expect_refusal(f, SLICE("GET /\r\n\r\n"), "HTTP/1.1 400", "request line");
    expect_refusal(f, SLICE("GET / FTP/1.1\r\n\r\n"), "HTTP/1.1 400", "HTTP/1.1");
    expect_refusal(f, SLICE("GET / HTTP/2.0\r\n\r\n"), "HTTP/1.1 505", "HTTP/1.1");
    expect_refusal(f, SLICE("BREW / HTTP/1.1\r\n\r\n"), "HTTP/1.1 501", "unknown method");
    expect_refusal(f, SLICE("CONNECT a:1 HTTP/1.1\r\n\r\n"), "HTTP/1.1 501", "unknown method");
    expect_refusal(f, SLICE("GET a HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 400", "path");
    expect_refusal(f, SLICE("GET //a/b HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 400", "path");
    expect_refusal(f, SLICE("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 400", "path");
    expect_refusal(f, SLICE("GET /a b HTTP/1.1\r\n\r\n"), "HTTP/1.1 400", "path");
    expect_refusal(f, SLICE("GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 400", "path");
    expect_refusal(f, SLICE("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"), "HTTP/1.1 400",
                   "request line");
}

static void takes_a_whole_address_for_its_path(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int fd = dial(f);
    static const struct {
        const char *line;
        const char *seen;
    } rows[] = {
        {"GET http://other.example:8080/a/b?x=1", "GET /a/b x=1 "},
        {"POST HTTPS://[::1]/a", "POST /a  "},
        {"GET http://h", "GET /  "},
        {"GET http://h?x=http://y", "GET / x=http://y "},
        {"DELETE http://h/", "DELETE /  "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].line);
        say(f, fd, slice_of(text));
        assert_false(hear(f, fd, out, sizeof(out), "fine"));
        assert_string_equal(f->seen, rows[i].seen);
    }
    say(f, fd, SLICE("GET http://h/b HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"));
    assert_false(hear(f, fd, out, sizeof(out), "fine"));
    assert_string_equal(f->seen, "GET /b  {}");
    say(f, fd, SLICE("GET http://h/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    (void)close(fd);
    static const char *const bad[] = {"http://",    "http:///a",   "http://u@h/", "http://h//a",
                                      "http://h/#", "ftp://h/a",   "http:/h/a",   "http://h?#",
                                      "http://\\/", "http://h\x80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[256];
        (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", bad[i]);
        expect_refusal(f, slice_of(text), "HTTP/1.1 400", "path");
    }
}

static void wants_the_host_that_the_version_wants(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    expect_refusal(f, SLICE("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 400", "Host is missing");
    expect_refusal(f, SLICE("GET http://h/ HTTP/1.1\r\nX: 1\r\n\r\n"), "HTTP/1.1 400",
                   "Host is missing");
    expect_refusal(f, SLICE("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "HTTP/1.1 400",
                   "Host is given twice");
    expect_refusal(f, SLICE("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), "HTTP/1.1 400", "Host");
    exchange(f, SLICE("GET /old HTTP/1.0\r\n\r\n"), out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.", 7);
    assert_string_equal(f->seen, "GET /old  ");
    expect_refusal(f, SLICE("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
                   "HTTP/1.1 400", "HTTP/1.0 has no Transfer-Encoding");
}

static void refuses_what_is_too_large(void **state)
{
    struct fixture *f = *state;
    static char text[3 * BODY_MAX];
    int n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\nX: ");
    memset(text + n, 'x', HEADER_MAX);
    expect_refusal(f, slice_make(text, (size_t)n + HEADER_MAX), "HTTP/1.1 431", "headers");
    n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");
    for (int i = 0; i < HTTP_FRAME_HEADERS_MAX + 1; i++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "X%d: 1\r\n", i);
    }
    n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n");
    expect_refusal(f, slice_make(text, (size_t)n), "HTTP/1.1 431", "too many headers");
    n = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n",
                 BODY_MAX + 1);
    memset(text + n, 'x', BODY_MAX + 1);
    expect_refusal(f, slice_make(text, (size_t)n + BODY_MAX + 1), "HTTP/1.1 413", "body");
    expect_refusal(
        f, SLICE("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        "HTTP/1.1 413", "body");
    n = snprintf(text, sizeof(text),
                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n",
                 BODY_MAX + 1);
    expect_refusal(f, slice_make(text, (size_t)n), "HTTP/1.1 413", "body");
    n = snprintf(text, sizeof(text),
                 "POST /full HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                 "Content-Length: %d\r\n\r\n",
                 BODY_MAX);
    memset(text + n, 'y', BODY_MAX);
    char out[1024];
    exchange(f, slice_make(text, (size_t)n + BODY_MAX), out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 200", 12);
}

static void reads_chunks_and_refuses_bad_ones(void **state)
{
    struct fixture *f = *state;
#define CHUNKED(body)                                                                              \
    SLICE("POST /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"                                   \
          "Transfer-Encoding: chunked\r\n\r\n" body)
    char out[1024];
    exchange(f, CHUNKED("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 200", 12);
    assert_string_equal(f->seen, "POST /c  abc0123456789");
    expect_refusal(f, CHUNKED("3;x=y\r\nabc\r\n0\r\n\r\n"), "HTTP/1.1 400", "size");
    expect_refusal(f, CHUNKED("-3\r\nabc\r\n0\r\n\r\n"), "HTTP/1.1 400", "size");
    expect_refusal(f, CHUNKED("\r\nabc\r\n0\r\n\r\n"), "HTTP/1.1 400", "size");
    expect_refusal(f, CHUNKED("3\nabc\r\n0\r\n\r\n"), "HTTP/1.1 400", "size");
    expect_refusal(f, CHUNKED("123456789\r\n"), "HTTP/1.1 400", "size");
    expect_refusal(f, CHUNKED("3\r\nabcd\r\n0\r\n\r\n"), "HTTP/1.1 400", "longer");
    expect_refusal(f, CHUNKED("3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"), "HTTP/1.1 400", "trailers");
}

/* A byte now and then keeps an inactivity time-out quiet; the wall clock is what counts. */
static void cuts_a_request_that_drips(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int fd = dial(f);
    int64_t began = clock_mono_ms();
    const char *text =
        "GET / HTTP/1.1\r\nHost: h\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct pollfd p = {fd, POLLIN, 0};
    for (const char *c = text; *c != '\0' && poll(&p, 1, 10) == 0; c++) {
        say(f, fd, slice_make(c, 1));
    }
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    assert_memory_equal(out, "HTTP/1.1 408", 12);
    assert_in_range(clock_mono_ms() - began, ARRIVE_MS - 50, ARRIVE_MS + 1500);
    (void)close(fd);
    fd = dial(f);
    assert_true(hear(f, fd, out, sizeof(out), NULL)); /* not a byte: closed without words */
    assert_string_equal(out, "");
    (void)close(fd);
}

static void answers_pipelined_requests_in_turn(void **state)
{
    struct fixture *f = *state;
    char out[4096];
    int fd = dial(f);
    say(f, fd,
        SLICE("POST /later HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
              "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nyGET /3 HTTP/1.1\r\nHost: "
              "h\r\n"));
    turn(f);
    assert_int_equal(f->requests, 1);
    httpd_answer(f->waiting, 200, "text/plain", SLICE("first"));
    assert_false(hear(f, fd, out, sizeof(out), "fine"));
    assert_non_null(strstr(out, "first"));
    assert_string_equal(f->seen, "POST /2  y");
    say(f, fd, SLICE("\r\nBREW /4 HTTP/1.1\r\n\r\n"));
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    assert_non_null(strstr(out, "fine"));
    assert_non_null(strstr(out, "HTTP/1.1 501"));
    assert_int_equal(f->requests, 3);
    (void)close(fd);
}

static void notices_a_client_that_goes(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd, SLICE("GET /later HTTP/1.1\r\nHost: h\r\n\r\n"));
    turn(f);
    assert_false(httpd_client_gone(f->waiting));
    struct linger reset = {1, 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    (void)close(fd);
    for (int i = 0; i < 100 && !httpd_client_gone(f->waiting); i++) {
        turn(f);
        (void)poll(NULL, 0, 5);
    }
    assert_true(httpd_client_gone(f->waiting));
    assert_int_equal(httpd_requests_open(f->server), 1);
    httpd_answer(f->waiting, 200, "text/plain", SLICE("nobody hears"));
    turn(f);
    assert_int_equal(httpd_requests_open(f->server), 0);
}

static void answers_a_half_closed_client(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int fd = dial(f);
    say(f, fd, SLICE("GET /later HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (int i = 0; i < 100 && !httpd_client_gone(f->waiting); i++) {
        turn(f);
        (void)poll(NULL, 0, 5);
    }
    httpd_set_header(f->waiting, "X-Request-Id", "late");
    httpd_answer(f->waiting, 400, "text/plain", SLICE("still here"));
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    assert_memory_equal(out, "HTTP/1.1 400 Bad Request\r\n", 26);
    assert_non_null(strstr(out, "X-Request-Id: late\r\n"));
    assert_non_null(strstr(out, "\r\n\r\nstill here"));
    (void)close(fd);
}

static void a_request_outlives_the_server(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    say(f, fd, SLICE("POST /later?q HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"));
    turn(f);
    httpd_destroy(&f->server);
    assert_true(httpd_client_gone(f->waiting));
    assert_true(slice_is(httpd_body(f->waiting), "body"));
    assert_true(slice_is(httpd_query(f->waiting), "q"));
    httpd_answer(f->waiting, 200, "text/plain", SLICE("x"));
    (void)close(fd);
}

static void limits_connections(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int kept[3];
    for (int i = 0; i < 3; i++) {
        kept[i] = dial(f);
    }
    int fd = dial(f);
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    assert_memory_equal(out, "HTTP/1.1 503", 12);
    assert_non_null(strstr(out, "Retry-After: 1\r\n"));
    assert_non_null(strstr(out, "\"retry_after\":1}"));
    (void)close(fd);
    for (int i = 0; i < 3; i++) {
        (void)close(kept[i]);
    }
    turn(f);
    turn(f);
    exchange(f, SLICE("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 200", 12);
}

static void says_continue(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int fd = dial(f);
    say(f, fd,
        SLICE("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
    assert_false(hear(f, fd, out, sizeof(out), "\r\n\r\n"));
    assert_string_equal(out, "HTTP/1.1 100 Continue\r\n\r\n");
    say(f, fd, SLICE("ok"));
    assert_false(hear(f, fd, out, sizeof(out), "fine"));
    assert_memory_equal(out, "HTTP/1.1 200", 12);
    (void)close(fd);
}

static void cuts_and_drips_for_the_sandbox(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int fd = dial(f);
    say(f, fd, SLICE("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(hear(f, fd, out, sizeof(out), NULL));
    assert_string_equal(out, "");
    (void)close(fd);
    int64_t began = clock_mono_ms();
    exchange(f, SLICE("GET /drip HTTP/1.1\r\nHost: h\r\n\r\n"), out, sizeof(out));
    assert_string_equal(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab");
    assert_true(clock_mono_ms() - began >= 60);
}

static void drains(void **state)
{
    struct fixture *f = *state;
    char out[1024];
    int idle = dial(f);
    int busy = dial(f);
    say(f, busy, SLICE("GET /later HTTP/1.1\r\nHost: h\r\n\r\n"));
    turn(f);
    uint16_t port = httpd_port(f->server);
    httpd_stop_listening(f->server);
    assert_true(hear(f, idle, out, sizeof(out), NULL));
    httpd_answer(f->waiting, 200, "text/plain", SLICE("last"));
    assert_true(hear(f, busy, out, sizeof(out), NULL));
    assert_non_null(strstr(out, "last"));
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), -1);
    (void)close(fd);
    (void)close(idle);
    (void)close(busy);
}

/* A request that was on its way when the server began to leave is served; what stays idle is
 * closed. */
static void hears_kept_connections_out(void **state)
{
    struct fixture *f = *state;
    char error[256], out[1024];
    struct httpd_options o = options_for(f);
    httpd_destroy(&f->server);
    o.leave_ms = 300;
    f->server = httpd_new(f->base, &o, error);
    assert_non_null(f->server);
    int idle = dial(f);
    int kept = dial(f);
    turn(f);
    httpd_stop_listening(f->server);
    turn(f);
    say(f, kept, SLICE("GET /now HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(hear(f, kept, out, sizeof(out), NULL));
    assert_non_null(strstr(out, "200 OK"));
    assert_non_null(strstr(out, "Connection: close"));
    assert_true(hear(f, idle, out, sizeof(out), NULL));
    assert_string_equal(out, "");
    assert_int_equal(httpd_connections(f->server), 0);
    (void)close(idle);
    (void)close(kept);
}

/* Connections that wait in a passed socket outlive the server that was to take them. */
static void a_passed_socket_keeps_its_backlog(void **state)
{
    struct fixture *f = *state;
    char error[256], out[1024];
    struct httpd_options o = options_for(f);
    const struct listen_fd_options how = {.address = "127.0.0.1:0", .key = "test.listen"};
    int shared = listen_fd_open(&how, error);
    assert_true(shared >= 0);
    httpd_destroy(&f->server);
    o.passed_fd = dup(shared);
    f->server = httpd_new(f->base, &o, error);
    assert_non_null(f->server);
    assert_int_equal(httpd_port(f->server), listen_fd_port(shared));
    httpd_stop_listening(f->server);
    int early = dial(f);
    say(f, early, SLICE("GET /now HTTP/1.1\r\nHost: h\r\n\r\n"));
    httpd_destroy(&f->server);
    o.passed_fd = dup(shared);
    f->server = httpd_new(f->base, &o, error);
    assert_non_null(f->server);
    httpd_stop_listening(f->server); /* also what it had taken before it was told */
    httpd_destroy(&f->server);
    o.passed_fd = dup(shared);
    f->server = httpd_new(f->base, &o, error);
    assert_false(hear(f, early, out, sizeof(out), "\r\n\r\n"));
    assert_non_null(strstr(out, "200 OK"));
    (void)close(early);
    (void)close(shared);
}

static void names_what_is_wrong_with_the_address(void **state)
{
    struct fixture *f = *state;
    char error[256], listen[64];
    struct httpd_options o = options_for(f);
    static const char *const bad[] = {"",        "8080", "h",      "h:",      ":80",
                                      "h:99999", "h:x",  "::1:80", "[::1:80", "[]:80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        o.listen = bad[i];
        assert_null(httpd_new(f->base, &o, error));
        assert_non_null(strstr(error, "test.listen"));
    }
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", httpd_port(f->server));
    o.listen = listen;
    assert_null(httpd_new(f->base, &o, error));
    assert_non_null(strstr(error, "in use"));
    assert_non_null(strstr(error, listen + 10));
    assert_non_null(strstr(error, "test.listen"));
    assert_true(listen_fd_free("127.0.0.1:0", "test.listen", error));
    assert_true(listen_fd_free("no address", "test.listen", error));
    o.listen = "[::1]:0";
    struct httpd *six = httpd_new(f->base, &o, error);
    if (six == NULL) { /* a machine without IPv6, as most containers are */
        assert_non_null(strstr(error, "cannot listen on [::1]:0 (test.listen)"));
    }
    httpd_destroy(&six);
}

static void shares_a_port(void **state)
{
    struct fixture *f = *state;
    char error[256], listen[64];
    struct httpd_options o = options_for(f);
    o.reuse_port = true;
    struct httpd *one = httpd_new(f->base, &o, error);
    assert_non_null(one);
    (void)snprintf(listen, sizeof(listen), "127.0.0.1:%u", httpd_port(one));
    o.listen = listen;
    struct httpd *two = httpd_new(f->base, &o, error);
    assert_non_null(two);
    httpd_destroy(&one);
    httpd_destroy(&two);
}

/* Any cut of the bytes into two must give the same verdict as the whole. */
static void frames_do_not_depend_on_how_bytes_arrive(void **state)
{
    (void)state;
    static const struct http_frame_limits limits = {HEADER_MAX, BODY_MAX};
    static const char *const texts[] = {
        "GET http://h?x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET http://h/x HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nA: b\n\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\n\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct slice all = slice_of(texts[i]);
        struct http_frame whole;
        http_frame_init(&whole);
        enum http_frame_state wanted = http_frame_check(&whole, all, &limits);
        for (size_t cut = 1; cut < all.n; cut++) {
            struct http_frame f;
            http_frame_init(&f);
            enum http_frame_state s = http_frame_check(&f, slice_make(all.p, cut), &limits);
            if (s == HTTP_FRAME_MORE) {
                s = http_frame_check(&f, all, &limits);
            }
            assert_int_equal(s, wanted);
            assert_int_equal(f.whole_bytes, wanted == HTTP_FRAME_WHOLE ? all.n : 0);
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(answers_and_keeps_the_connection),
        T(takes_every_method_and_bodies_of_get),
        T(refuses_doubtful_framing),
        T(refuses_bad_request_lines),
        T(takes_a_whole_address_for_its_path),
        T(wants_the_host_that_the_version_wants),
        T(refuses_what_is_too_large),
        T(reads_chunks_and_refuses_bad_ones),
        T(cuts_a_request_that_drips),
        T(answers_pipelined_requests_in_turn),
        T(notices_a_client_that_goes),
        T(answers_a_half_closed_client),
        T(a_request_outlives_the_server),
        T(limits_connections),
        T(says_continue),
        T(cuts_and_drips_for_the_sandbox),
        T(drains),
        T(hears_kept_connections_out),
        T(a_passed_socket_keeps_its_backlog),
        T(names_what_is_wrong_with_the_address),
        T(shares_a_port),
        cmocka_unit_test(frames_do_not_depend_on_how_bytes_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
