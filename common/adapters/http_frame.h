/*
 * http_frame.h: where an HTTP/1 request ends and whether its framing may be trusted, before any
 * library parses it. Bytes in, verdict out; never touches a socket.
 *
 * evhttp accepts duplicate and signed Content-Length, bare LF and folded lines, each a way to make
 * two servers disagree about where a request ends (RFC 9112, section 11.2). Everything doubtful is
 * refused here with the status and the words to answer it. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_HTTP_FRAME_H
#define OTPQ_ADAPTERS_HTTP_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

enum { HTTP_FRAME_HEADERS_MAX = 100 };

struct http_frame_limits {
    size_t head_bytes_max; /* request line and headers; 431 above */
    size_t body_bytes_max; /* 413 above */
};

enum http_frame_state { HTTP_FRAME_MORE, HTTP_FRAME_WHOLE, HTTP_FRAME_BAD };

enum http_body_kind { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED };

struct http_frame {
    size_t searched;          /* bytes searched for the end of the head */
    size_t head_bytes;        /* head with its empty line; 0 until it is there */
    size_t method_bytes;      /* length of the method token at the start */
    size_t host_bytes;        /* length of "http://host" before the path; 0 in the usual form */
    enum http_body_kind kind; /* how the body is framed */
    size_t body_bytes;        /* announced, or counted so far when chunked */
    size_t chunk_at;          /* chunked: where the next chunk's line begins */
    bool expects_continue;    /* "Expect: 100-continue" came with the head */
    size_t whole_bytes;       /* WHOLE: length of the request */
    int status;               /* BAD: the HTTP status to answer with */
    const char *detail;       /* BAD: what is wrong, static text */
};

void http_frame_init(struct http_frame *f);
/* bytes: everything of this request that has arrived (it only grows between calls). */
MUST_CHECK enum http_frame_state http_frame_check(struct http_frame *f, struct slice bytes,
                                                  const struct http_frame_limits *limits);

#endif
