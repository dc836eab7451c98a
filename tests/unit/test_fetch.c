/*
 * fetch against a server that misbehaves at every point. The server counts what it was asked: the
 * question of each test is not only what the caller is told, but how often the advertiser saw it.
 */
#include "common/adapters/fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"

enum { CALLS_MAX = 64, BODY_MAX = 16 * 1024 };

/* ---- the advertiser -------------------------------------------------------------------------- */

struct server {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_int connections; /* accepted */
    atomic_int requests;    /* whole requests read */
    char last[2048];        /* the last request; read after the call has ended */
};

struct talk {
    struct server *server;
    int fd;
    int nth; /* requests on this connection */
};

static void say(int fd, const char *text)
{
    (void)!write(fd, text, strlen(text));
}

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* Reads up to the empty line and the body that Content-Length promises. */
static bool read_request(int fd, char *to, size_t max)
{
    size_t n = 0;
    size_t want = 0;
    for (;;) {
        ssize_t got = read(fd, to + n, max - 1 - n);
        if (got <= 0) {
            return false;
        }
        n += (size_t)got;
        to[n] = '\0';
        char *end = strstr(to, "\r\n\r\n");
        if (end == NULL) {
            continue;
        }
        char *length = strcasestr(to, "\r\nContent-Length: ");
        want = (size_t)(end + 4 - to) + (length != NULL ? (size_t)atoi(length + 18) : 0);
        if (n >= want) {
            return true;
        }
    }
}

static void say_ok(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void say_large(int fd)
{
    char block[1024];
    memset(block, 'x', sizeof block);
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n");
    for (int i = 0; i < 1024 && send(fd, block, sizeof block, MSG_NOSIGNAL) > 0; i++) {
    }
}

static void say_headers_without_end(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\n");
    while (send(fd, "X-More: and more and more\r\n", 27, MSG_NOSIGNAL) > 0) {
    }
}

static void say_slowly(int fd)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    for (int i = 0; i < 1000 && send(fd, "x", 1, MSG_NOSIGNAL) > 0; i++) {
        usleep(20 * 1000);
    }
}

/* What the path asks for. False: the connection is over. */
static bool misbehave(struct talk *t, const char *request)
{
    const char *path = strchr(request, ' ');
    path = path != NULL ? path + 1 : "";
#define PATH(p) (strncmp(path, p " ", sizeof p) == 0)
    if (PATH("/ok")) {
        say_ok(t->fd);
        return true;
    }
    if (PATH("/once-then-die") && t->nth == 1) {
        say_ok(t->fd);
        return true;
    }
    if (PATH("/then-quiet-close")) {
        say_ok(t->fd);
    } else if (PATH("/redirect")) {
        say(t->fd, "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n");
        return true;
    } else if (PATH("/reset")) {
        reset(t->fd);
    } else if (PATH("/half-status")) {
        say(t->fd, "HTTP/1.1 2");
    } else if (PATH("/half-body")) {
        say(t->fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    } else if (PATH("/half-body-reset")) {
        say(t->fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        usleep(20 * 1000);
        reset(t->fd);
    } else if (PATH("/not-http")) {
        say(t->fd, "hello, who are you?\n");
    } else if (PATH("/large")) {
        say_large(t->fd);
    } else if (PATH("/headers")) {
        say_headers_without_end(t->fd);
    } else if (PATH("/drip")) {
        say_slowly(t->fd);
    } else if (PATH("/hang")) {
        char c;
        (void)!read(t->fd, &c, 1); /* until the caller gives up */
    }
    return false;
#undef PATH
}

static void *talk_run(void *context)
{
    struct talk *t = context;
    char request[sizeof t->server->last];
    while (read_request(t->fd, request, sizeof request)) {
        t->nth++;
        memcpy(t->server->last, request, sizeof request);
        t->server->requests++;
        if (!misbehave(t, request)) {
            break;
        }
    }
    close(t->fd);
    free(t);
    return NULL;
}

static void *server_run(void *context)
{
    struct server *s = context;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        s->connections++;
        struct talk *t = xcalloc(1, sizeof *t);
        *t = (struct talk){.server = s, .fd = fd};
        pthread_t thread;
        must(pthread_create(&thread, NULL, talk_run, t) == 0);
        must(pthread_detach(thread) == 0);
    }
}

static int listen_somewhere(uint16_t *port, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    must(bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
    must(listen(fd, backlog) == 0);
    must(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* ---- the caller ------------------------------------------------------------------------------ */

struct seen {
    struct event_base *base;
    int count;
    struct fetch_result result;
    char body[BODY_MAX + 1];
    char detail[512];
};

struct fixture {
    struct event_base *base;
    struct fetch *fetch;
    struct server server;
};

static void on_done(void *context, const struct fetch_result *r)
{
    struct seen *seen = context;
    seen->count++;
    seen->result = *r;
    must(r->body.n <= BODY_MAX);
    (void)snprintf(seen->body, sizeof seen->body, "%.*s", SLICE_ARG(r->body));
    (void)snprintf(seen->detail, sizeof seen->detail, "%s", r->detail);
    event_base_loopbreak(seen->base);
}

static struct fetch *make_fetch(struct event_base *base, const char *const *allow, size_t count)
{
    char error[256];
    struct fetch_options o = {.multi_handles = 4,
                              .calls_max = CALLS_MAX,
                              .body_bytes_max = BODY_MAX,
                              .allow = allow,
                              .allow_count = count,
                              .proxy = "",
                              .user_agent = "otpq-test"};
    struct fetch *f = fetch_new(base, &o, error);
    must(f != NULL);
    return f;
}

static int set_up(void **state)
{
    struct fixture *x = xcalloc(1, sizeof *x);
    static const char *const allow[] = {"127.0.0.0/8"};
    x->base = event_base_new();
    x->fetch = make_fetch(x->base, allow, 1);
    x->server.listener = listen_somewhere(&x->server.port, 64);
    must(pthread_create(&x->server.thread, NULL, server_run, &x->server) == 0);
    *state = x;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *x = *state;
    fetch_destroy(&x->fetch);
    event_base_free(x->base);
    (void)shutdown(x->server.listener, SHUT_RDWR);
    (void)pthread_join(x->server.thread, NULL);
    close(x->server.listener);
    usleep(50 * 1000); /* the connections' threads see their sockets close */
    free(x);
    return 0;
}

struct ask {
    const char *method, *url, *body, *header;
    uint32_t timeout_ms, connect_ms;
};

static struct dialect_request make_request(const struct ask *a)
{
    struct dialect_request r = {.method = a->method != NULL ? a->method : "GET",
                                .timeout_ms = a->timeout_ms > 0 ? a->timeout_ms : 3000,
                                .connect_ms = a->connect_ms > 0 ? a->connect_ms : 1000};
    buf_init(&r.url, 4096);
    buf_init(&r.body, 4096);
    buf_init(&r.headers, 4096);
    buf_puts(&r.url, a->url);
    buf_puts(&r.body, a->body != NULL ? a->body : "");
    if (a->header != NULL) {
        buf_put(&r.headers, a->header, strlen(a->header) + 1);
        r.header_count = 1;
    }
    return r;
}

static void free_request(struct dialect_request *r)
{
    buf_free(&r->url);
    buf_free(&r->body);
    buf_free(&r->headers);
}

static struct seen call(struct event_base *base, struct fetch *f, const struct ask *a)
{
    struct seen seen = {.base = base};
    struct dialect_request r = make_request(a);
    struct fetch_limits limits = {.timeout_ms = 10000, .begin_by_ms = INT64_MAX};
    struct fetch_call *c = fetch_start(f, &r, &limits, on_done, &seen);
    assert_non_null(c);
    assert_int_equal(seen.count, 0);
    free_request(&r);
    assert_int_equal(event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY), 0);
    assert_int_equal(seen.count, 1);
    assert_int_equal(fetch_in_flight(f), 0);
    return seen;
}

static struct seen get(struct fixture *x, const char *path)
{
    char url[256];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", x->server.port, path);
    struct ask a = {.url = url, .timeout_ms = 700};
    return call(x->base, x->fetch, &a);
}

static void assert_end(struct seen seen, enum fetch_end end)
{
    if (seen.result.end != end) {
        fail_msg("end %d, not %d: %s", (int)seen.result.end, (int)end, seen.detail);
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_answer(void **state)
{
    struct fixture *x = *state;
    struct seen seen = get(x, "/ok");
    assert_end(seen, FETCH_ANSWERED);
    assert_int_equal(seen.result.http, 200);
    assert_string_equal(seen.body, "ok");
    assert_false(seen.result.reused);
    assert_true(seen.result.connect_us > 0);
    assert_true(seen.result.first_byte_us >= seen.result.connect_us);
    assert_true(seen.result.total_us >= seen.result.first_byte_us);
    seen = get(x, "/ok");
    assert_end(seen, FETCH_ANSWERED);
    assert_true(seen.result.reused);
    assert_int_equal(seen.result.connect_us, 0);
    assert_int_equal(x->server.connections, 1);
    assert_int_equal(x->server.requests, 2);
}

static void test_methods_headers_bodies(void **state)
{
    struct fixture *x = *state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", x->server.port);
    struct ask a = {.method = "POST", .url = url, .body = "a=1", .header = "X-One: two"};
    assert_end(call(x->base, x->fetch, &a), FETCH_ANSWERED);
    assert_non_null(strstr(x->server.last, "POST /ok HTTP/1.1\r\n"));
    assert_non_null(strstr(x->server.last, "X-One: two\r\n"));
    assert_non_null(strstr(x->server.last, "User-Agent: otpq-test\r\n"));
    assert_non_null(strstr(x->server.last, "\r\n\r\na=1"));
    a = (struct ask){.method = "PUT", .url = url, .body = "b"};
    assert_end(call(x->base, x->fetch, &a), FETCH_ANSWERED);
    assert_non_null(strstr(x->server.last, "PUT /ok HTTP/1.1\r\n"));
    a = (struct ask){.method = "POST", .url = url};
    assert_end(call(x->base, x->fetch, &a), FETCH_ANSWERED);
    assert_non_null(strstr(x->server.last, "Content-Length: 0\r\n"));
    a = (struct ask){.method = "DELETE", .url = url};
    assert_end(call(x->base, x->fetch, &a), FETCH_ANSWERED);
    assert_non_null(strstr(x->server.last, "DELETE /ok HTTP/1.1\r\n"));
    a = (struct ask){.method = "GET", .url = url};
    assert_end(call(x->base, x->fetch, &a), FETCH_ANSWERED);
    assert_non_null(strstr(x->server.last, "GET /ok HTTP/1.1\r\n"));
    assert_null(strstr(x->server.last, "Content-"));
    assert_null(strstr(x->server.last, "X-One"));
}

static void test_sent_and_no_whole_answer_is_unknown(void **state)
{
    struct fixture *x = *state;
    static const char *const paths[] = {
        "/close",           "/reset",    "/half-status", "/half-body",
        "/half-body-reset", "/not-http", "/drip",        "/hang"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int before = x->server.requests;
        assert_end(get(x, paths[i]), FETCH_UNKNOWN);
        assert_int_equal(x->server.requests, before + 1);
    }
}

static void test_time_out_is_kept(void **state)
{
    struct fixture *x = *state;
    int64_t began = clock_mono_ms();
    assert_end(get(x, "/hang"), FETCH_UNKNOWN);
    int64_t took = clock_mono_ms() - began;
    assert_true(took >= 690 && took < 1500);
}

/* The peer takes the second request on a kept connection and dies without a byte: libcurl would
 * send it again on a new connection. The advertiser must see it once. */
static void silent_repeat(struct fixture *x, const char *method, const char *body)
{
    int before = x->server.requests;
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/once-then-die", x->server.port);
    struct ask a = {.method = method, .url = url, .body = body};
    assert_end(call(x->base, x->fetch, &a), FETCH_ANSWERED);
    struct seen seen = call(x->base, x->fetch, &a);
    assert_end(seen, FETCH_UNKNOWN);
    assert_string_equal(seen.detail, "the kept connection died before an answer; not repeated");
    assert_int_equal(x->server.requests, before + 2);
}

static void test_no_silent_repeat(void **state)
{
    struct fixture *x = *state;
    silent_repeat(x, "GET", NULL);
    silent_repeat(x, "POST", "a=1");
    silent_repeat(x, "PUT", "a=1");
    /* And the handle is as good as new. */
    assert_end(get(x, "/ok"), FETCH_ANSWERED);
}

static void test_kept_connection_closed_while_idle(void **state)
{
    struct fixture *x = *state;
    for (int i = 0; i < 3; i++) {
        assert_end(get(x, "/then-quiet-close"), FETCH_ANSWERED);
        usleep(50 * 1000); /* the close arrives */
    }
    assert_int_equal(x->server.requests, 3);
    assert_int_equal(x->server.connections, 3);
}

static void test_too_large(void **state)
{
    struct fixture *x = *state;
    struct seen seen = get(x, "/large");
    assert_end(seen, FETCH_TOO_LARGE);
    assert_int_equal(seen.result.http, 200);
    assert_int_equal(seen.result.body.n, BODY_MAX);
    assert_end(get(x, "/headers"), FETCH_TOO_LARGE);
}

static void test_redirect_is_an_answer(void **state)
{
    struct fixture *x = *state;
    struct seen seen = get(x, "/redirect");
    assert_end(seen, FETCH_ANSWERED);
    assert_int_equal(seen.result.http, 302);
    assert_int_equal(x->server.requests, 1);
}

static void expect_not_sent(struct fixture *x, const char *url)
{
    struct ask a = {.url = url, .timeout_ms = 2000, .connect_ms = 300};
    struct seen seen = call(x->base, x->fetch, &a);
    assert_end(seen, FETCH_NOT_SENT);
    assert_true(strlen(seen.detail) > 0);
    assert_int_equal(seen.result.http, 0);
}

static void test_provably_not_sent(void **state)
{
    struct fixture *x = *state;
    char url[128];
    uint16_t port;
    int fd = listen_somewhere(&port, 1);
    close(fd);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", port); /* nobody listens */
    expect_not_sent(x, url);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/ok", x->server.port); /* no TLS there */
    expect_not_sent(x, url);
    expect_not_sent(x, "http://no-such-host.invalid/");
    expect_not_sent(x, "ftp://127.0.0.1/");
    expect_not_sent(x, "http://127.0.0.1:99999/");
    expect_not_sent(x, "not a url");
    assert_int_equal(x->server.requests, 0);
}

static void test_tls_that_never_answers_is_not_sent(void **state)
{
    struct fixture *x = *state;
    uint16_t port;
    int fd = listen_somewhere(&port, 8); /* the kernel connects, nobody speaks */
    char url[128];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/ok", port);
    expect_not_sent(x, url);
    close(fd);
}

static void test_full_backlog_is_not_sent(void **state)
{
    struct fixture *x = *state;
    uint16_t port;
    int listener = listen_somewhere(&port, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int filler[4];
    for (size_t i = 0; i < ARRAY_LEN(filler); i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(filler[i], (struct sockaddr *)&a, sizeof a);
    }
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", port);
    expect_not_sent(x, url); /* the connect times out */
    for (size_t i = 0; i < ARRAY_LEN(filler); i++) {
        close(filler[i]);
    }
    close(listener);
}

/* A process that stood still between start and the first byte, on a new connection and on a kept
 * one: nothing leaves any more. */
static void test_too_late_to_begin(void **state)
{
    struct fixture *x = *state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", x->server.port);
    struct ask a = {.url = url};
    struct dialect_request r = make_request(&a);
    for (int i = 0; i < 2; i++) {
        struct seen seen = {.base = x->base};
        struct fetch_limits limits = {.timeout_ms = 5000, .begin_by_ms = clock_mono_ms() + 50};
        assert_non_null(fetch_start(x->fetch, &r, &limits, on_done, &seen));
        usleep(60 * 1000);
        assert_int_equal(event_base_loop(x->base, EVLOOP_NO_EXIT_ON_EMPTY), 0);
        assert_end(seen, FETCH_NOT_SENT);
        assert_string_equal(seen.detail, "too late to begin");
        assert_int_equal(x->server.requests, i);
        assert_end(get(x, "/ok"), FETCH_ANSWERED);
    }
    free_request(&r);
}

/* The kernel of the peer took the connection, its program never did: bytes have left us. */
static void test_closed_before_accept_is_unknown(void **state)
{
    struct fixture *x = *state;
    uint16_t port;
    int listener = listen_somewhere(&port, 8);
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", port);
    struct ask a = {.url = url, .timeout_ms = 300};
    assert_end(call(x->base, x->fetch, &a), FETCH_UNKNOWN);
    close(listener);
}

static void test_forbidden_addresses(void **state)
{
    struct fixture *x = *state;
    static const char *const urls[] = {
        "http://127.0.0.1:%u/ok",
        "http://localhost:%u/ok",
        "http://2130706433:%u/ok",
        "http://0x7f000001:%u/ok",
        "http://0177.0.0.1:%u/ok",
        "http://127.1:%u/ok",
        "http://[::1]:%u/ok",
        "http://[::ffff:127.0.0.1]:%u/ok",
        "http://[::ffff:7f00:1]:%u/ok",
        "http://0.0.0.0:%u/ok",
        "http://[::]:%u/ok",
        "http://169.254.169.254/latest/meta-data",
        "http://user:pw@127.0.0.1:%u/ok",
        "http://10.0.0.1/",
        "https://192.168.0.1/",
    };
    static const char *const allow[] = {"127.0.0.1:1", "example.com"};
    struct fetch *f = make_fetch(x->base, allow, 2);
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        char url[128];
        /* the format comes from the table above */
        char port[8];
        (void)snprintf(port, sizeof port, "%u", x->server.port);
        const char *at = strstr(urls[i], "%u");
        (void)snprintf(url, sizeof url, "%.*s%s%s", at != NULL ? (int)(at - urls[i]) : 100, urls[i],
                       at != NULL ? port : "", at != NULL ? at + 2 : "");
        struct ask a = {.url = url};
        struct seen seen = call(x->base, f, &a);
        if (seen.result.end != FETCH_FORBIDDEN) {
            fail_msg("%s: end %d %s", url, (int)seen.result.end, seen.detail);
        }
        assert_non_null(strstr(seen.detail, "outgoing.allow"));
    }
    assert_int_equal(x->server.connections, 0);
    fetch_destroy(&f);
}

static void test_allowed_by_name_and_port(void **state)
{
    struct fixture *x = *state;
    char entry[64];
    (void)snprintf(entry, sizeof entry, "localhost:%u", x->server.port);
    const char *const allow[] = {entry};
    struct fetch *f = make_fetch(x->base, allow, 1);
    char url[128];
    (void)snprintf(url, sizeof url, "http://localhost:%u/ok", x->server.port);
    struct ask a = {.url = url};
    assert_end(call(x->base, f, &a), FETCH_ANSWERED);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", x->server.port);
    /* Allowed by its name only: the kept connection of the name is no way around it. */
    assert_end(call(x->base, f, &a), FETCH_FORBIDDEN);
    fetch_destroy(&f);
}

static void test_proxy_of_the_environment_is_ignored(void **state)
{
    struct fixture *x = *state;
    must(setenv("http_proxy", "http://127.0.0.1:1", 1) == 0);
    must(setenv("ALL_PROXY", "http://127.0.0.1:1", 1) == 0);
    assert_end(get(x, "/ok"), FETCH_ANSWERED);
    must(unsetenv("http_proxy") == 0);
    must(unsetenv("ALL_PROXY") == 0);
}

static void test_ceiling_and_abandon(void **state)
{
    struct fixture *x = *state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/hang", x->server.port);
    struct ask a = {.url = url};
    struct dialect_request r = make_request(&a);
    struct seen seen = {.base = x->base};
    struct fetch_call *calls[CALLS_MAX];
    const struct fetch_limits limits = {.timeout_ms = 1000, .begin_by_ms = INT64_MAX};
    for (size_t i = 0; i < CALLS_MAX; i++) {
        calls[i] = fetch_start(x->fetch, &r, &limits, on_done, &seen);
        assert_non_null(calls[i]);
    }
    assert_null(fetch_start(x->fetch, &r, &limits, on_done, &seen));
    assert_int_equal(event_base_loop(x->base, EVLOOP_NONBLOCK), 0);
    for (size_t i = 0; i < CALLS_MAX / 2; i++) {
        fetch_abandon(calls[i]);
    }
    assert_int_equal(fetch_in_flight(x->fetch), CALLS_MAX / 2);
    assert_int_equal(seen.count, 0);
    free_request(&r);
    /* tear_down destroys with calls in flight */
}

struct many {
    struct event_base *base;
    int left;
    int answered;
};

static void on_one_of_many(void *context, const struct fetch_result *r)
{
    struct many *m = context;
    m->answered += r->end == FETCH_ANSWERED;
    if (--m->left == 0) {
        event_base_loopbreak(m->base);
    }
}

static void test_many_at_once_then_all_on_kept_connections(void **state)
{
    struct fixture *x = *state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", x->server.port);
    struct ask a = {.url = url};
    struct dialect_request r = make_request(&a);
    const struct fetch_limits limits = {.timeout_ms = 5000, .begin_by_ms = INT64_MAX};
    for (int round = 0; round < 3; round++) {
        struct many m = {.base = x->base, .left = CALLS_MAX};
        for (int i = 0; i < CALLS_MAX; i++) {
            assert_non_null(fetch_start(x->fetch, &r, &limits, on_one_of_many, &m));
        }
        assert_int_equal(event_base_loop(x->base, EVLOOP_NO_EXIT_ON_EMPTY), 0);
        assert_int_equal(m.answered, CALLS_MAX);
    }
    free_request(&r);
    assert_int_equal(x->server.requests, 3 * CALLS_MAX);
    assert_int_equal(x->server.connections, CALLS_MAX);
}

static void test_bad_allow_entry_is_named(void **state)
{
    (void)state;
    static const char *const allow[] = {"http://x"};
    struct event_base *base = event_base_new();
    char error[256] = "";
    struct fetch_options o = {.multi_handles = 1,
                              .calls_max = 1,
                              .body_bytes_max = 1,
                              .allow = allow,
                              .allow_count = 1,
                              .proxy = "",
                              .user_agent = ""};
    assert_null(fetch_new(base, &o, error));
    assert_non_null(strstr(error, "http://x"));
    event_base_free(base);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH(test_answer),
        WITH(test_methods_headers_bodies),
        WITH(test_sent_and_no_whole_answer_is_unknown),
        WITH(test_time_out_is_kept),
        WITH(test_no_silent_repeat),
        WITH(test_kept_connection_closed_while_idle),
        WITH(test_too_large),
        WITH(test_redirect_is_an_answer),
        WITH(test_provably_not_sent),
        WITH(test_tls_that_never_answers_is_not_sent),
        WITH(test_full_backlog_is_not_sent),
        WITH(test_too_late_to_begin),
        WITH(test_closed_before_accept_is_unknown),
        WITH(test_forbidden_addresses),
        WITH(test_allowed_by_name_and_port),
        WITH(test_proxy_of_the_environment_is_ignored),
        WITH(test_ceiling_and_abandon),
        WITH(test_many_at_once_then_all_on_kept_connections),
        cmocka_unit_test(test_bad_allow_entry_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
