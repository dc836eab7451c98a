#include "common/adapters/httpd.h"

#include <event2/listener.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/adapters/httpd_conn.h"
#include "common/adapters/listen_fd.h"
#include "common/base/log.h"

enum { FILES_FOR_OTHERS = 512 };

struct httpd_request {
    struct httpd *server;        /* NULL when the server is gone */
    struct httpd_conn *conn;     /* NULL when the connection is gone */
    struct evhttp_request *req;  /* evhttp's until the connection goes, then ours */
    struct slice body;           /* whole, in req's input buffer */
    bool as_post;                /* GET shown to evhttp as POST */
    char peer[HTTPD_PEER_BYTES]; /* of the connection, which may go first */
};

/* ---- requests -------------------------------------------------------------------------------- */

void httpd_request_orphaned(struct httpd_request *r)
{
    /* Called while evhttp frees the connection: claim the request, or it goes too. */
    evhttp_request_own(r->req);
    r->server->requests_open--;
    r->server = NULL;
    r->conn = NULL;
}

static void on_http(struct evhttp_request *req, void *context)
{
    struct httpd *h = context;
    struct httpd_conn *c = h->ready;
    must(c != NULL && c->state == CONN_RUNNING && evhttp_request_get_connection(req) == c->evcon);
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    struct httpd_request *r = xcalloc(1, sizeof(*r));
    r->server = h;
    r->conn = c;
    r->req = req;
    r->body = slice_make(evbuffer_pullup(in, -1), evbuffer_get_length(in));
    r->as_post = c->as_post;
    memcpy(r->peer, c->peer, sizeof(r->peer));
    c->request = r;
    h->requests_open++;
    h->options.on_request(h->options.context, r);
    /* Both may be gone by now; on_close clears ready. */
    if (h->ready != NULL && h->ready->request == r) {
        httpd_conn_watch(c);
    }
    h->ready = NULL;
}

static const char *method_text(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_OPTIONS:
        return "OPTIONS";
    case EVHTTP_REQ_TRACE:
        return "TRACE";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    default:
        return "";
    }
}

struct slice httpd_method(const struct httpd_request *r)
{
    return slice_of(r->as_post ? "GET" : method_text(evhttp_request_get_command(r->req)));
}

struct slice httpd_path(const struct httpd_request *r)
{
    const char *uri = evhttp_request_get_uri(r->req);
    return slice_make(uri, strcspn(uri, "?"));
}

struct slice httpd_query(const struct httpd_request *r)
{
    const char *mark = strchr(evhttp_request_get_uri(r->req), '?');
    return slice_of(mark != NULL ? mark + 1 : "");
}

struct slice httpd_body(const struct httpd_request *r)
{
    return r->body;
}

struct slice httpd_header(const struct httpd_request *r, const char *name)
{
    return slice_of(evhttp_find_header(evhttp_request_get_input_headers(r->req), name));
}

void httpd_each_header(const struct httpd_request *r,
                       void (*each)(void *context, const char *name, const char *value),
                       void *context)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(r->req);
    for (const struct evkeyval *h = headers->tqh_first; h != NULL; h = h->next.tqe_next) {
        each(context, h->key, h->value);
    }
}

struct slice httpd_peer(const struct httpd_request *r)
{
    return slice_of(r->peer);
}

bool httpd_client_gone(const struct httpd_request *r)
{
    return r->conn == NULL || r->conn->gone;
}

void httpd_set_header(struct httpd_request *r, const char *name, const char *value)
{
    must(strpbrk(name, "\r\n") == NULL && strpbrk(value, "\r\n") == NULL);
    must(evhttp_add_header(evhttp_request_get_output_headers(r->req), name, value) == 0);
}

/* Ends the application's hold on the request; the connection to go on with, or NULL. */
static struct httpd_conn *give_back(struct httpd_request *r)
{
    struct httpd_conn *c = r->conn;
    if (r->server == NULL) {
        evhttp_request_free(r->req);
        return NULL;
    }
    r->server->requests_open--;
    c->request = NULL;
    return c;
}

/* The client closed its side, or all of it: evhttp would see the end of the stream first and drop
 * the answer, which a half-closed client still waits for. */
static void answer_half_closed(struct httpd_conn *c, struct evhttp_request *req, int status,
                               struct slice body)
{
    bool head = evhttp_request_get_command(req) == EVHTTP_REQ_HEAD;
    struct buf b;
    struct evkeyval *header;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    buf_init(&b, body.n + 16384);
    buf_printf(&b, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nConnection: close\r\n", status,
               httpd_reason(status), body.n);
    for (header = headers->tqh_first; header != NULL; header = header->next.tqe_next) {
        buf_printf(&b, "%s: %s\r\n", header->key, header->value);
    }
    buf_puts(&b, "\r\n");
    buf_put_slice(&b, head ? (struct slice){NULL, 0} : body);
    httpd_conn_last(c, buf_slice(&b), 0);
    buf_free(&b);
}

static void answer_open(struct httpd_conn *c, struct evhttp_request *req, int status,
                        struct slice body)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    if (c->server->stopping) {
        must(evhttp_add_header(headers, "Connection", "close") == 0);
    }
    if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
        char length[24];
        (void)snprintf(length, sizeof(length), "%zu", body.n);
        must(evhttp_add_header(headers, "Content-Length", length) == 0);
    } else if (body.n > 0) {
        must(evbuffer_add(evhttp_request_get_output_buffer(req), body.p, body.n) == 0);
    }
    httpd_conn_writing(c, req);
    evhttp_send_reply(req, status, httpd_reason(status), NULL);
}

void httpd_answer(struct httpd_request *r, int status, const char *content_type, struct slice body)
{
    struct evhttp_request *req = r->req;
    if (r->conn != NULL) {
        httpd_set_header(r, "Content-Type", content_type);
    }
    struct httpd_conn *c = give_back(r);
    free(r);
    if (c == NULL) {
        return;
    }
    if (c->gone) {
        answer_half_closed(c, req, status, body);
    } else {
        answer_open(c, req, status, body);
    }
}

void httpd_cut(struct httpd_request *r)
{
    struct httpd_conn *c = give_back(r);
    free(r);
    if (c != NULL) {
        httpd_conn_cut(c, true);
    }
}

void httpd_answer_raw(struct httpd_request *r, struct slice bytes, uint32_t wait_ms)
{
    struct httpd_conn *c = give_back(r);
    free(r);
    if (c != NULL) {
        httpd_conn_last(c, bytes, wait_ms);
    }
}

/* ---- the listener ---------------------------------------------------------------------------- */

/* Without descriptors accept fails in a busy loop: the limit on connections must come first. */
static uint32_t connections_affordable(uint32_t wanted)
{
    struct rlimit r;
    must(getrlimit(RLIMIT_NOFILE, &r) == 0);
    if (r.rlim_cur < r.rlim_max) {
        struct rlimit more = {r.rlim_max, r.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &more) == 0) {
            r.rlim_cur = r.rlim_max;
        }
    }
    if (r.rlim_cur == RLIM_INFINITY || r.rlim_cur > (rlim_t)wanted + 2 * FILES_FOR_OTHERS) {
        return wanted;
    }
    uint32_t can = r.rlim_cur > 2 * 2 * FILES_FOR_OTHERS
                       ? (uint32_t)r.rlim_cur - 2 * FILES_FOR_OTHERS
                       : (uint32_t)r.rlim_cur / 2;
    log_warn("fewer connections than configured: raise the limit of open files (ulimit -n)",
             "wanted", log_num(wanted), "possible", log_num(can), NULL);
    return can;
}

void httpd_start_listening(struct httpd *h)
{
    need(h->fd >= 0);
    if (h->options.listen_later && h->options.passed_fd <= 0) {
        listen_fd_listen(h->fd);
    }
    struct evconnlistener *l = evconnlistener_new(
        h->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, h->fd);
    h->fd = -1;
    must(l != NULL);
    h->bound = evhttp_bind_listener(h->http, l);
    must(h->bound != NULL);
}

struct httpd *httpd_new(struct event_base *base, const struct httpd_options *o, char error[256])
{
    const struct listen_fd_options own = {.address = o->listen,
                                          .key = o->listen_key,
                                          .reuse_port = o->reuse_port,
                                          .later = o->listen_later};
    int fd = o->passed_fd > 0 ? o->passed_fd : listen_fd_open(&own, error);
    if (fd < 0) {
        return NULL;
    }
    /* A peer that has gone is an error code here, never the end of the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    struct httpd *h = xcalloc(1, sizeof(*h));
    h->base = base;
    h->options = *o;
    h->options.listen = NULL;
    h->options.listen_key = NULL;
    h->options.connections_max = connections_affordable(o->connections_max);
    h->limits.head_bytes_max = o->header_bytes_max;
    h->limits.body_bytes_max = o->body_bytes_max;
    h->port = listen_fd_port(fd);
    list_init(&h->conns);
    h->http = evhttp_new(base);
    need(h->http != NULL);
    evhttp_set_allowed_methods(
        h->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                     EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE | EVHTTP_REQ_PATCH);
    evhttp_set_bevcb(h->http, httpd_conn_accept, h);
    evhttp_set_gencb(h->http, on_http, h);
    h->fd = fd;
    if (!o->listen_later) {
        httpd_start_listening(h);
    }
    return h;
}

static void close_unheard(struct httpd *h)
{
    if (h->fd >= 0) {
        (void)close(h->fd);
        h->fd = -1;
    }
}

void httpd_stop_listening(struct httpd *h)
{
    close_unheard(h);
    if (h->bound == NULL) {
        return;
    }
    evhttp_del_accept_socket(h->http, h->bound);
    h->bound = NULL;
    h->stopping = true;
    list_each(it, &h->conns)
    {
        httpd_conn_leave(list_owner(it, struct httpd_conn, node));
    }
}

void httpd_destroy(struct httpd **hp)
{
    struct httpd *h = *hp;
    if (h == NULL) {
        return;
    }
    *hp = NULL;
    close_unheard(h);
    list_each(it, &h->conns)
    {
        httpd_conn_cut(list_owner(it, struct httpd_conn, node), false);
    }
    evhttp_free(h->http);
    free(h);
}

uint32_t httpd_requests_open(const struct httpd *h)
{
    return h->requests_open;
}

uint32_t httpd_connections(const struct httpd *h)
{
    return h->conn_count;
}

uint16_t httpd_port(const struct httpd *h)
{
    return h->port;
}
