#include "common/adapters/httpd_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/rng.h"

enum {
    IDLE_MS = 75000,          /* between requests of a kept connection */
    WRITE_MS = 30000,         /* for the client to take an answer */
    LINGER_MS = 1000,         /* for the client to read last words before the socket closes */
    REFUSED_OVER_MAX = 256,   /* connections over the limit that still get a 503 */
    METHOD_ROOM = 16,         /* the longest method with " /" behind it */
    CHUNKED_ROOM = 128 * 1024 /* what framing may add to the body in the input buffer */
};

/* While a request is not whole, evhttp's read callback must not run: no input is this long. */
#define HOLD_BYTES SIZE_MAX

static const struct {
    int status;
    const char *reason;
    const char *word; /* "error" in the body of a refusal */
} statuses[] = {
    {200, "OK", ""},
    {202, "Accepted", ""},
    {204, "No Content", ""},
    {400, "Bad Request", "invalid_request"},
    {403, "Forbidden", "invalid_request"},
    {404, "Not Found", "invalid_request"},
    {405, "Method Not Allowed", "invalid_request"},
    {408, "Request Timeout", "invalid_request"},
    {413, "Content Too Large", "invalid_request"},
    {415, "Unsupported Media Type", "invalid_request"},
    {417, "Expectation Failed", "invalid_request"},
    {429, "Too Many Requests", "rate_limited"},
    {431, "Request Header Fields Too Large", "invalid_request"},
    {500, "Internal Server Error", "internal_error"},
    {501, "Not Implemented", "invalid_request"},
    {503, "Service Unavailable", "queue_full"},
    {505, "HTTP Version Not Supported", "invalid_request"},
};

const char *httpd_reason(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        if (statuses[i].status == status) {
            return statuses[i].reason;
        }
    }
    return "Other";
}

static const char *refusal_word(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        if (statuses[i].status == status) {
            return statuses[i].word;
        }
    }
    return "invalid_request";
}

static void arm(struct httpd_conn *c, uint32_t ms)
{
    struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    need(event_add(&c->timer, &tv) == 0);
}

static size_t input_bytes_max(const struct httpd *h)
{
    return h->limits.head_bytes_max + h->limits.body_bytes_max + CHUNKED_ROOM;
}

/* True when bytes of the next request wait for their turn. */
static bool holding(const struct httpd_conn *c)
{
    return c->held != NULL && evbuffer_get_length(c->held) > 0;
}

/* True when no byte of a request has arrived. */
static bool idle(const struct httpd_conn *c)
{
    return c->state == CONN_READING && !holding(c) &&
           evbuffer_get_length(bufferevent_get_input(c->bev)) == 0;
}

/* ---- last words ------------------------------------------------------------------------------ */

static void last_read(struct bufferevent *bev, void *context)
{
    (void)context;
    struct evbuffer *in = bufferevent_get_input(bev);
    must(evbuffer_drain(in, evbuffer_get_length(in)) == 0);
}

/* Everything is with the kernel. Closing now, with unread bytes, would reset the connection and
 * take the answer back: say that we are done, and read until the peer has closed. */
static void last_written(struct bufferevent *bev, void *context)
{
    struct httpd_conn *c = context;
    if (c->drip == NULL) {
        (void)shutdown(bufferevent_getfd(bev), SHUT_WR);
        bufferevent_enable(bev, EV_READ);
    }
}

static void last_event(struct bufferevent *bev, short what, void *context)
{
    (void)bev;
    (void)what;
    httpd_conn_cut(context, false);
}

static void drip_next(struct httpd_conn *c)
{
    char byte;
    if (evbuffer_remove(c->drip, &byte, 1) == 1) {
        must(bufferevent_write(c->bev, &byte, 1) == 0);
        arm(c, c->drip_ms);
        return;
    }
    evbuffer_free(c->drip);
    c->drip = NULL;
    arm(c, LINGER_MS);
    last_written(c->bev, c);
}

void httpd_conn_last(struct httpd_conn *c, struct slice bytes, uint32_t drip_ms)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    c->state = CONN_LAST;
    (void)event_del(&c->watch);
    bufferevent_setcb(c->bev, last_read, last_written, last_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, input_bytes_max(c->server));
    must(evbuffer_drain(in, evbuffer_get_length(in)) == 0);
    bufferevent_enable(c->bev, EV_WRITE);
    if (drip_ms > 0) {
        c->drip_ms = drip_ms;
        c->drip = evbuffer_new();
        must(c->drip != NULL && evbuffer_add(c->drip, bytes.p, bytes.n) == 0);
        drip_next(c);
        return;
    }
    arm(c, LINGER_MS);
    must(bufferevent_write(c->bev, bytes.p, bytes.n) == 0);
}

/* Refuses what evhttp was never shown. */
static void refuse(struct httpd_conn *c, int status, const char *detail)
{
    char id[27];
    struct buf body;
    struct buf words;
    rng_secure_text(id, sizeof(id) - 1);
    buf_init(&body, 512);
    buf_printf(&body, "{\"status\":\"%d\",\"error\":\"%s\",\"detail\":\"", status,
               refusal_word(status));
    for (const char *p = detail; *p != '\0'; p++) {
        if (*p == '"') {
            buf_putc(&body, '\\');
        }
        buf_putc(&body, *p);
    }
    buf_puts(&body, status == 503 ? "\",\"retry_after\":1}" : "\"}");
    buf_init(&words, 1024);
    buf_printf(&words,
               "HTTP/1.1 %d %s\r\n%sContent-Type: application/json\r\nX-Request-Id: h-%s\r\n"
               "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
               status, httpd_reason(status), status == 503 ? "Retry-After: 1\r\n" : "", id, body.n,
               buf_text(&body));
    must(buf_ok(&body) && buf_ok(&words));
    httpd_conn_last(c, buf_slice(&words), 0);
    buf_free(&words);
    buf_free(&body);
}

/* ---- a request arrives ----------------------------------------------------------------------- */

/* Shows evhttp another request line than what came. A body with GET it would read as the next
 * request, but the published APIs take parameters in the body of either method: it becomes a POST.
 * "http://host/path" it would take for a proxy's: the host goes, the path stays. */
static void retell(struct httpd_conn *c, struct evbuffer *in)
{
    char line[METHOD_ROOM] = "POST";
    char after = '\0';
    size_t n = c->frame.method_bytes;
    size_t cut = n + 1 + c->frame.host_bytes;
    must(n < sizeof(line) - 2);
    if (!c->as_post) {
        must(evbuffer_copyout(in, line, n) == (ssize_t)n);
        line[n] = '\0';
    }
    must(evbuffer_drain(in, cut) == 0 && evbuffer_copyout(in, &after, 1) == 1);
    (void)strcat(line, c->frame.host_bytes > 0 && after != '/' ? " /" : " ");
    must(evbuffer_prepend(in, line, strlen(line)) == 0);
}

static void request_whole(struct httpd_conn *c, struct evbuffer *in, bool is_get)
{
    c->state = CONN_RUNNING;
    c->server->ready = c;
    (void)event_del(&c->timer);
    c->as_post = is_get && c->frame.kind != HTTP_BODY_NONE;
    if (c->as_post || c->frame.host_bytes > 0) {
        retell(c, in);
    }
    bufferevent_setwatermark(c->bev, EV_READ, 0, input_bytes_max(c->server));
}

static void send_continue(struct httpd_conn *c)
{
    static const char words[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!c->continue_sent && c->frame.expects_continue && c->frame.head_bytes > 0) {
        c->continue_sent = true;
        (void)!send(bufferevent_getfd(c->bev), words, sizeof(words) - 1,
                    MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

static void check_input(struct httpd_conn *c, struct evbuffer *in)
{
    size_t n = evbuffer_get_length(in);
    if (c->frame.searched == 0) {
        arm(c, c->server->options.arrive_ms);
    }
    /* A body of known length needs no look until it is there. */
    if (c->frame.kind == HTTP_BODY_LENGTH && n < c->frame.head_bytes + c->frame.body_bytes) {
        return;
    }
    const char *bytes = (const char *)evbuffer_pullup(in, -1);
    must(bytes != NULL);
    switch (http_frame_check(&c->frame, slice_make(bytes, n), &c->server->limits)) {
    case HTTP_FRAME_MORE:
        send_continue(c);
        break;
    case HTTP_FRAME_WHOLE:
        request_whole(c, in, bytes[0] == 'G');
        break;
    case HTTP_FRAME_BAD:
        refuse(c, c->frame.status, c->frame.detail);
        break;
    }
}

/* Runs for every change of the input buffer, before the read callback. */
static void on_input(struct evbuffer *in, const struct evbuffer_cb_info *info, void *context)
{
    struct httpd_conn *c = context;
    if (info->n_added > 0 && c->state == CONN_READING && !holding(c)) {
        check_input(c, in);
    }
}

/* ---- while the application works ------------------------------------------------------------- */

/* One shot: what stays readable (pipelined bytes, an error) must not keep the loop awake. */
static void on_watch(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct httpd_conn *c = context;
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    c->gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void httpd_conn_watch(struct httpd_conn *c)
{
    need(event_add(&c->watch, NULL) == 0);
}

/* The answer left. Bytes of a next request are taken from evhttp and given back in the next turn,
 * through the checks; evhttp finds nothing and waits. */
static void on_answered(struct evhttp_request *req, void *context)
{
    (void)req;
    struct httpd_conn *c = context;
    struct evbuffer *in = bufferevent_get_input(c->bev);
    c->state = CONN_READING;
    c->as_post = false;
    c->continue_sent = false;
    http_frame_init(&c->frame);
    bufferevent_setwatermark(c->bev, EV_READ, HOLD_BYTES, input_bytes_max(c->server));
    arm(c, c->server->stopping ? c->server->options.leave_ms : IDLE_MS);
    if (evbuffer_get_length(in) > 0) {
        if (c->held == NULL) {
            c->held = evbuffer_new();
        }
        must(c->held != NULL && evbuffer_add_buffer(c->held, in) == 0);
        event_active(&c->kick, EV_TIMEOUT, 1);
    }
}

void httpd_conn_writing(struct httpd_conn *c, struct evhttp_request *req)
{
    c->state = CONN_WRITING;
    c->request = NULL;
    (void)event_del(&c->watch);
    arm(c, WRITE_MS);
    evhttp_request_set_on_complete_cb(req, on_answered, c);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct httpd_conn *c = context;
    switch (c->state) {
    case CONN_READING:
        if (idle(c)) {
            httpd_conn_cut(c, false);
        } else {
            refuse(c, 408, "the request took too long to arrive");
        }
        break;
    case CONN_LAST:
        if (c->drip != NULL) {
            drip_next(c);
        } else {
            httpd_conn_cut(c, false);
        }
        break;
    case CONN_RUNNING:
    case CONN_WRITING:
        httpd_conn_cut(c, true);
        break;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* evhttp frees the connection, for whatever reason; its bufferevent is still there. */
static void on_close(struct evhttp_connection *evcon, void *context)
{
    (void)evcon;
    struct httpd_conn *c = context;
    struct httpd *h = c->server;
    list_remove(&c->node);
    h->conn_count--;
    if (h->ready == c) {
        h->ready = NULL;
    }
    (void)event_del(&c->timer);
    (void)event_del(&c->kick);
    (void)event_del(&c->watch);
    must(evbuffer_remove_cb(bufferevent_get_input(c->bev), on_input, c) == 0);
    if (c->held != NULL) {
        evbuffer_free(c->held);
    }
    if (c->drip != NULL) {
        evbuffer_free(c->drip);
    }
    if (c->request != NULL) {
        httpd_request_orphaned(c->request);
    }
    free(c);
}

/* evhttp has made its connection around our bufferevent, whose callbacks carry it. */
static void adopt(struct httpd_conn *c)
{
    void *evcon = NULL;
    bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
    need(evcon != NULL);
    c->evcon = evcon;
    evhttp_connection_set_closecb(c->evcon, on_close, c);
    event_assign(&c->watch, c->server->base, bufferevent_getfd(c->bev), EV_READ, on_watch, c);
}

void httpd_conn_cut(struct httpd_conn *c, bool reset)
{
    if (reset) {
        /* Dissolving the association sends the reset now; close alone would begin with a FIN. */
        struct sockaddr nobody = {.sa_family = AF_UNSPEC};
        (void)!connect(bufferevent_getfd(c->bev), &nobody, sizeof(nobody));
    }
    if (c->evcon == NULL) {
        adopt(c);
    }
    evhttp_connection_free(c->evcon);
}

void httpd_conn_leave(struct httpd_conn *c)
{
    uint32_t leave_ms = c->server->options.leave_ms;
    if (!idle(c)) {
        return;
    }
    if (leave_ms == 0) {
        httpd_conn_cut(c, false);
    } else {
        arm(c, leave_ms);
    }
}

/* The first turn after accept. */
static void begin(struct httpd_conn *c)
{
    char *address = NULL;
    ev_uint16_t port = 0;
    int on = 1;
    adopt(c);
    evhttp_connection_get_peer(c->evcon, &address, &port);
    (void)snprintf(c->peer, sizeof(c->peer), "%s", address != NULL ? address : "");
    (void)setsockopt(bufferevent_getfd(c->bev), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (c->server->conn_count > c->server->options.connections_max + REFUSED_OVER_MAX) {
        httpd_conn_cut(c, true);
    } else if (c->server->conn_count > c->server->options.connections_max) {
        refuse(c, 503, "too many connections");
    }
}

static void resume(struct httpd_conn *c)
{
    must(evbuffer_prepend_buffer(bufferevent_get_input(c->bev), c->held) == 0);
    bufferevent_trigger(c->bev, EV_READ, 0);
}

static void on_kick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct httpd_conn *c = context;
    if (c->evcon == NULL) {
        begin(c);
    } else {
        resume(c);
    }
}

struct bufferevent *httpd_conn_accept(struct event_base *base, void *context)
{
    struct httpd *h = context;
    struct httpd_conn *c = xcalloc(1, sizeof(*c));
    c->server = h;
    c->bev = bufferevent_socket_new(base, -1, 0);
    must(c->bev != NULL);
    list_init(&c->node);
    list_push(&h->conns, &c->node);
    h->conn_count++;
    http_frame_init(&c->frame);
    must(evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c) != NULL);
    bufferevent_setwatermark(c->bev, EV_READ, HOLD_BYTES, input_bytes_max(h));
    event_assign(&c->timer, base, -1, 0, on_timer, c);
    event_assign(&c->kick, base, -1, 0, on_kick, c);
    arm(c, h->options.arrive_ms);
    event_active(&c->kick, EV_TIMEOUT, 1);
    return c->bev;
}
