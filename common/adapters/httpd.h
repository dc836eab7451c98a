/*
 * httpd.h: HTTP serving on evhttp, with what evhttp lacks: a wall-clock limit for a request to
 * arrive, 400 for duplicate or signed Content-Length, knowing that a client has gone, and deferred
 * answers. Used by the gateway, the broker's metrics and the sandbox. Floor 3.
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
    const char *listen;         /* host:port */
    const char *listen_key;     /* "gateway.listen": named in the error when the port is taken */
    bool reuse_port;            /* several processes on one port */
    uint32_t body_bytes_max;    /* 413 above */
    uint32_t header_bytes_max;  /* 431/400 above */
    uint32_t arrive_ms;         /* whole request, wall clock; 408/close above */
    uint32_t connections_max;   /* 503 above */
    void (*on_request)(void *context, struct httpd_request *r);
    void *context;
};

MUST_CHECK struct httpd *httpd_new(struct event_base *base, const struct httpd_options *o,
                                   char error[256]);
/* Closes the listener; running requests go on. */
void httpd_stop_listening(struct httpd *h);
void httpd_destroy(struct httpd **h);
uint32_t httpd_requests_open(const struct httpd *h);

/* All slices live until httpd_answer. */
struct slice httpd_method(const struct httpd_request *r);  /* "GET" */
struct slice httpd_path(const struct httpd_request *r);    /* decoded? no: raw path, no query */
struct slice httpd_query(const struct httpd_request *r);   /* raw, without '?'; may be empty */
struct slice httpd_body(const struct httpd_request *r);
struct slice httpd_header(const struct httpd_request *r, const char *name); /* empty when absent */
struct slice httpd_peer(const struct httpd_request *r);    /* "127.0.0.1" */
bool httpd_client_gone(const struct httpd_request *r);
/* Adds a header to the answer; name and value without CR/LF (checked: must). */
void httpd_set_header(struct httpd_request *r, const char *name, const char *value);
/* Answers and ends the request; safe when the client has gone (nothing is sent). */
void httpd_answer(struct httpd_request *r, int status, const char *content_type, struct slice body);
/* For the sandbox: cuts the connection without an answer. */
void httpd_cut(struct httpd_request *r);

#endif
