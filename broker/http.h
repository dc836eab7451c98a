/*
 * http.h: the broker's address for machines: /metrics, /livez, /readyz. Floor 4.
 */
#ifndef OTPQ_BROKER_HTTP_H
#define OTPQ_BROKER_HTTP_H

#include <event2/event.h>

#include "common/base/buf.h"

struct http;

struct http_options {
    struct event_base *base;
    const char *listen; /* host:port; its key in the configuration is broker.metrics */
    void (*put_metrics)(void *context, struct buf *out);
    /* NULL: ready; else a static text that says what is missing */
    const char *(*unready)(void *context);
    void *context;
};

/* NULL: error says why and names the key. */
MUST_CHECK struct http *http_new(const struct http_options *o, char error[256]);
/* Takes NULL, nulls the pointer. */
void http_destroy(struct http **h);

#endif
