/*
 * httpd_conn.h: one accepted connection between the socket and evhttp: holds bytes back until a
 * request is whole, keeps its deadlines, notices a client that goes, says last words. Only httpd.c
 * includes this. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_HTTPD_CONN_H
#define OTPQ_ADAPTERS_HTTPD_CONN_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/http.h>

#include "common/adapters/http_frame.h"
#include "common/adapters/httpd.h"
#include "common/base/buf.h"
#include "common/base/list.h"

enum { HTTPD_PEER_BYTES = 64 };

enum httpd_conn_state {
    CONN_READING, /* a request is arriving, or none yet */
    CONN_RUNNING, /* the application has the request; nothing is read */
    CONN_WRITING, /* evhttp writes the answer */
    CONN_LAST     /* our own last words are being written; then it closes */
};

struct httpd_conn {
    struct list node;                /* of server->conns */
    struct httpd *server;            /* owner */
    struct bufferevent *bev;         /* owned by evhttp */
    struct evhttp_connection *evcon; /* owned by evhttp; NULL until the first turn */
    enum httpd_conn_state state;     /* see above */
    struct event timer;              /* the deadline of the state */
    struct event kick;               /* next turn: bind, or go on with held bytes */
    struct event watch;              /* RUNNING: the client closes or resets */
    struct http_frame frame;         /* READING: how far the request is */
    struct evbuffer *held;           /* bytes of the next request, pipelined; may be NULL */
    struct evbuffer *drip;           /* LAST: bytes sent one by one; else NULL */
    uint32_t drip_ms;                /* pause between them */
    bool continue_sent;              /* "100 Continue" went out for this request */
    bool as_post;                    /* GET with a body, shown to evhttp as POST */
    bool gone;                       /* the client closed or reset while we were running */
    struct httpd_request *request;   /* RUNNING: what the application has */
    char peer[HTTPD_PEER_BYTES];     /* "127.0.0.1" */
};

struct httpd {
    struct event_base *base;           /* borrowed */
    struct evhttp *http;               /* owned */
    int fd;                            /* bound, until it listens; then -1 */
    struct evhttp_bound_socket *bound; /* listens; NULL before and after */
    struct httpd_options options;      /* listen and listen_key are not kept */
    struct http_frame_limits limits;   /* of a request */
    struct list conns;                 /* of struct httpd_conn */
    uint32_t conn_count;               /* length of conns */
    uint32_t requests_open;            /* handed to the application, not answered */
    struct httpd_conn *ready;          /* whose request evhttp is being shown right now */
    bool stopping;                     /* answers close their connections */
    uint16_t port;                     /* bound */
};

/* evhttp's callback for a new connection (evhttp_set_bevcb); context is the struct httpd. */
struct bufferevent *httpd_conn_accept(struct event_base *base, void *context);
/* The request went to the application and was not answered at once. */
void httpd_conn_watch(struct httpd_conn *c);
/* The answer was handed to evhttp. */
void httpd_conn_writing(struct httpd_conn *c, struct evhttp_request *req);
/* Sends bytes outside of evhttp and closes. drip_ms: pause before each byte after the first. */
void httpd_conn_last(struct httpd_conn *c, struct slice bytes, uint32_t drip_ms);
/* Closes now; reset: so that the peer sees a reset. The connection is freed. */
void httpd_conn_cut(struct httpd_conn *c, bool reset);
/* The other way round: the connection went and left the application's request behind. */
void httpd_request_orphaned(struct httpd_request *r);
/* The server is leaving: closes an idle one, at once or after leave_ms. */
void httpd_conn_leave(struct httpd_conn *c);

/* The words for a status: "Bad Request". */
const char *httpd_reason(int status);

#endif
