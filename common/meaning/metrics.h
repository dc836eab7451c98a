/*
 * metrics.h: every number otpq shows, in one table, and the text that Prometheus reads (format
 * 0.0.4). Base units: seconds and bytes; counters end in _total. docs/metrics.md lists the same
 * rows and a test holds the two together. Floor 1.
 *
 *     metrics_head(&out, METRIC_BROKER_JOBS);
 *     metrics_value(&out, METRIC_BROKER_JOBS, 12, SLICE("queued"));
 */
#ifndef OTPQ_MEANING_METRICS_H
#define OTPQ_MEANING_METRICS_H

#include "common/base/buf.h"
#include "common/base/slice.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

enum { METRIC_LABELS_MAX = 2 };

enum metric {
    METRIC_BUILD_INFO,
    METRIC_BROKER_JOBS,
    METRIC_BROKER_STORED,
    METRIC_BROKER_OLDEST_SECONDS,
    METRIC_BROKER_BYTES,
    METRIC_BROKER_RESULTS_KEPT,
    METRIC_BROKER_ACCEPTED,
    METRIC_BROKER_ADOPTED,
    METRIC_BROKER_HANDED_OVER,
    METRIC_BROKER_DUPLICATES,
    METRIC_BROKER_CONFLICTS,
    METRIC_BROKER_REFUSED_FULL,
    METRIC_BROKER_ENDED,
    METRIC_BROKER_REDISPATCHED,
    METRIC_BROKER_WORKERS,
    METRIC_BROKER_WORKERS_LOST,
    METRIC_BROKER_CREDIT_FREE,
    METRIC_BROKER_CLIENTS,
    METRIC_BROKER_CLIENTS_DROPPED,
    METRIC_BROKER_ROUTES,
    METRIC_BROKER_MESSAGES,
    METRIC_BROKER_MALFORMED,
    METRIC_BROKER_ANSWERS_DROPPED,
    METRIC_BROKER_HANDSHAKES,
    METRIC_BROKER_CONNECTIONS_CUT,
    METRIC_BROKER_FORBIDDEN,
    METRIC_ROUTE_JOBS,
    METRIC_ROUTE_OLDEST_SECONDS,
    METRIC_ROUTE_ACCEPTED,
    METRIC_ROUTE_ENDED,
    METRIC_ROUTE_REDISPATCHED,
    METRIC_ROUTE_MOVED,
    METRIC_ROUTE_PAUSED,
    METRIC_ROUTE_BREAKER,
    METRIC_CALLBACKS_OPEN,
    METRIC_CALLBACKS_OLDEST_SECONDS,
    METRIC_CALLBACKS_FED,
    METRIC_CALLBACKS_REFUSED,
    METRIC_REAPED,
    METRIC_BROKERS,
    METRIC_SHELVES,
    METRIC_SHELVES_TO_ADOPT,
    METRIC_SHELF_PENDING,
    METRIC_SHELF_STORED,
    METRIC_SHELF_REMOVED,
    METRIC_SHELF_COMMITS,
    METRIC_SHELF_ADOPTED,
    METRIC_SHELF_DEPOSED,
    METRIC_SHELF_UNREADABLE,
    METRIC_STORE_UP,
    METRIC_STORE_DURABILITY,
    METRICS
};

struct metric_row {
    const char *name; /* as Prometheus sees it */
    enum metric_type type;
    const char *labels[METRIC_LABELS_MAX]; /* names, NULL behind the last */
    const char *help;                      /* one sentence */
};

/* Indexed by enum metric. */
extern const struct metric_row metric_rows[METRICS];
extern const char *const metric_type_names[]; /* "counter", "gauge" */

/* # HELP and # TYPE: once a metric, before its values. */
void metrics_head(struct buf *out, enum metric m);
/* One sample with as many label values as the row has names: metrics_value(o, m, v),
 * (o, m, v, a) or (o, m, v, a, b). Label values may be any bytes. */
void metrics_put(struct buf *out, enum metric m, double value, const struct slice *labels,
                 size_t label_count);
#define metrics_value(out, m, value, ...)                                                          \
    metrics_put((out), (m), (double)(value), (const struct slice[]){{NULL, 0}, ##__VA_ARGS__} + 1, \
                sizeof((const struct slice[]){{NULL, 0}, ##__VA_ARGS__}) / sizeof(struct slice) -  \
                    1)

#endif
