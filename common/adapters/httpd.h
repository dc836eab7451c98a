/*
 * httpd.h: HTTP serving on evhttp, with what evhttp lacks: a wall-clock limit for a request to
 * arrive, refusal of doubtful framing (http_frame.h), knowing that a client has gone, and deferred
 * answers. Used by the gateway, the broker's metrics and the sandbox. Floor 3.
 *
 * evhttp is shown a request only when all of it is there and its framing was checked. What is
 * refused before that is answered here, as {"status":"400","error":"invalid_request","detail":…}
 * with an X-Request-Id, and the connection is closed.
 */
#ifndef OTPQ_ADAPTERS_HTTPD_H
#define OTPQ_ADAPTERS_HTTPD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

struct httpd;
struct httpd_request; /* lives until httpd_answer */

struct httpd_options {
    const char *listen;        /* host:port */
    const char *listen_key;    /* "gateway.listen": named in the error when the port is taken */
    int passed_fd;             /* listening socket to use instead, then ours; 0 or less: none */
    bool reuse_port;           /* several processes on one port */
    bool listen_later;         /* take the port, but nobody in before httpd_start_listening */
    uint32_t body_bytes_max;   /* 413 above */
    uint32_t header_bytes_max; /* 431 above */
    uint32_t arrive_ms;        /* whole request, wall clock; 408 above */
    uint32_t connections_max;  /* 503 above */
    uint32_t leave_ms;         /* after httpd_stop_listening idle connections are heard so long */
    void (*on_request)(void *context, struct httpd_request *r); /* may answer at once or later */
    void *context;                                              /* handed to on_request */
};

/* NULL: *error says what is wrong with the address, naming it and listen_key. */
MUST_CHECK struct httpd *httpd_new(struct event_base *base, const struct httpd_options *o,
                                   char error[256]);
/* Only with listen_later, once. */
void httpd_start_listening(struct httpd *h);
/* Closes the listener. Running requests go on, and those that still arrive within leave_ms on
 * connections that were accepted are served: a kept connection's next request may be on its way.
 * Every answer from now on says Connection: close; what stayed idle is closed after leave_ms. */
void httpd_stop_listening(struct httpd *h);
/* Cuts all connections. Requests still unanswered stay valid until httpd_answer, unheard. */
void httpd_destroy(struct httpd **h);
uint32_t httpd_requests_open(const struct httpd *h);
/* Open connections: after httpd_stop_listening, 0 means that every answer has left. */
uint32_t httpd_connections(const struct httpd *h);
/* The port that was bound: listen may ask for port 0, "any free one". */
uint16_t httpd_port(const struct httpd *h);

/* All slices live until httpd_answer. */
struct slice httpd_method(const struct httpd_request *r); /* "GET" */
struct slice httpd_path(const struct httpd_request *r);   /* as sent, not decoded, without query */
struct slice httpd_query(const struct httpd_request *r);  /* raw, without '?'; may be empty */
struct slice httpd_body(const struct httpd_request *r);
struct slice httpd_header(const struct httpd_request *r, const char *name); /* empty when absent */
/* Every header of the request, in order, by its name as sent. */
void httpd_each_header(const struct httpd_request *r,
                       void (*each)(void *context, const char *name, const char *value),
                       void *context);
struct slice httpd_peer(const struct httpd_request *r); /* "127.0.0.1" */
/* True when the client closed or reset; a half-closed one is counted too, and is still answered. */
bool httpd_client_gone(const struct httpd_request *r);
/* Adds a header to the answer; name and value without CR/LF (checked: must). */
void httpd_set_header(struct httpd_request *r, const char *name, const char *value);
/* Answers and ends the request; safe when the client has gone (nothing is sent). */
void httpd_answer(struct httpd_request *r, int status, const char *content_type, struct slice body);
/* For the sandbox: ends the request without an answer. httpd_cut resets the connection;
 * httpd_answer_raw sends these bytes as they are, wait_ms before each of them after the first when
 * it is not 0, and then closes. */
void httpd_cut(struct httpd_request *r);
void httpd_answer_raw(struct httpd_request *r, struct slice bytes, uint32_t wait_ms);

#endif
