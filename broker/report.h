/*
 * report.h: what the broker says about itself: the answer to I and the text of /metrics. Floor 4.
 */
#ifndef OTPQ_BROKER_REPORT_H
#define OTPQ_BROKER_REPORT_H

#include "broker/clients.h"
#include "broker/core/core.h"
#include "broker/outbox.h"
#include "broker/peers.h"
#include "broker/permits.h"
#include "broker/pool.h"
#include "broker/shelves.h"
#include "common/base/buf.h"

/* Where the numbers come from; borrowed. */
struct report {
    const struct core *core;
    const struct clients *clients;
    const struct pool *pool;
    const struct permits *permits; /* NULL: there are no keys */
    const struct outbox *outbox;
    const struct peers *peers;     /* NULL: not yet */
    const struct shelves *shelves; /* NULL: not yet */
    bool store_up;                 /* Redis can be used */
    const char *durability;        /* store_durability() of it */
    bool draining;                 /* takes nothing new */
    int64_t started_ms;            /* of the process, monotonic */
    int64_t now_ms;
};

enum { REPORT_METRICS_BYTES_MAX = 32 * 1024 * 1024 };

/* One pair: {id?}, {broker, routes}; the WIRE_INFO_ROUTES_MAX deepest routes. */
void report_info(const struct report *r, struct buf *out, struct slice id);
/* Prometheus text of everything. */
void report_metrics(const struct report *r, struct buf *out);

#endif
