/*
 * fetch.h: outgoing HTTP on libcurl multi, sharded over many multi handles in one loop.
 *
 * Never repeats a request: the second PREREQ of a transfer (libcurl's silent repeat on a reused
 * connection) aborts it. Addresses are checked at connect and at reuse. Bodies are capped while
 * they arrive. Redirects and proxies are off. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_FETCH_H
#define OTPQ_ADAPTERS_FETCH_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"
#include "common/meaning/dialect.h"

struct fetch;
struct fetch_call;

struct fetch_options {
    uint32_t multi_handles;   /* 64 */
    uint32_t calls_max;       /* in flight */
    uint32_t body_bytes_max;  /* of an answer; and, apart from it, of its headers */
    const char *const *allow; /* hosts, host:port, CIDR that may be special addresses */
    size_t allow_count;
    /* "" none; with one, addresses are the proxy's business, not checked */
    const char *proxy;
    const char *user_agent;
};
/* NULL: *error (256 bytes) names the bad allow entry. The process must ignore SIGPIPE: libcurl's
 * TLS writes to connections that may have gone. */
MUST_CHECK struct fetch *fetch_new(struct event_base *base, const struct fetch_options *o,
                                   char error[256]);
void fetch_destroy(struct fetch **f);
uint32_t fetch_in_flight(const struct fetch *f);

enum fetch_end {
    FETCH_ANSWERED, /* status and body are there */
    /* provably nothing left for the peer: resolve, connect, TLS failed, or begin_by was over */
    FETCH_NOT_SENT,
    FETCH_FORBIDDEN, /* address refused by the operator's rules; nothing left */
    /* bytes may have gone out; no whole answer (time-out, reset, silent repeat stopped) */
    FETCH_UNKNOWN,
    FETCH_TOO_LARGE /* answer over body_bytes_max: status is known, the body is cut */
};

struct fetch_result {
    enum fetch_end end;
    int http;              /* status or 0 */
    struct slice body;     /* valid during the callback */
    const char *detail;    /* libcurl's words, no URL, no secrets */
    int64_t connect_us;    /* from start to connected (TLS done), 0: reused or never */
    int64_t first_byte_us; /* from start to first answer byte, 0: none */
    int64_t total_us;
    bool reused;           /* connection was kept alive */
    int64_t retry_after_s; /* as the answer's Retry-After asks, seconds or date; -1: it does not */
};
typedef void fetch_callback(void *context, const struct fetch_result *r);

/* When a call has to be over, and when it must not begin any more. */
struct fetch_limits {
    uint32_t timeout_ms; /* at least 1; caps request->timeout_ms */
    /* clock_mono_ms() from which no byte may leave: looked at when the connection is there and the
     * request about to be written, however long the process was held up before */
    int64_t begin_by_ms;
};
/* Starts a call. The request is copied: nothing of it is needed after the return. The callback runs
 * exactly once, from the loop, never before this returns. NULL: calls_max reached (nothing
 * happened). */
MUST_CHECK struct fetch_call *fetch_start(struct fetch *f, const struct dialect_request *request,
                                          const struct fetch_limits *limits, fetch_callback *done,
                                          void *context);
/* Drops the call; no callback. Only at shutdown. */
void fetch_abandon(struct fetch_call *c);

#endif
