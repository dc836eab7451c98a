/*
 * view.h: the broker's information as a table, for `otpq info` and `otpq top`. Floor 4.
 */
#ifndef OTPQ_CLIENTS_VIEW_H
#define OTPQ_CLIENTS_VIEW_H

#include "clients/otpq/client.h"
#include "common/meaning/wire.h"

/* One look at a broker. */
struct view {
    struct wire_info info; /* slices point into the answer */
    struct wire_info_route routes[WIRE_INFO_ROUTES_MAX];
    uint32_t count;                                             /* of routes */
    int64_t at_ms;                                              /* when, monotonic */
    char names[WIRE_INFO_ROUTES_MAX][WIRE_ROUTE_BYTES_MAX + 1]; /* outlive the answer */
};

/* Asks the broker. 0, or the exit code when it did not answer, with *why for people. */
MUST_CHECK int view_read(otpq *q, uint32_t timeout_ms, struct view *v, struct otpq_answer *answer,
                         const char **why);
/* Totals and one line a route, at most lines_max lines (0: all). With an earlier look, rates. */
void view_put(struct buf *b, const struct view *v, const struct view *before, unsigned lines_max);
/* Depth over the last looks, as a row of bars. */
struct view_history {
    uint64_t depth[32];
    unsigned looks; /* taken so far */
};
/* One line without its end: depth, oldest age, rate, in flight, workers, and in what `columns`
 * leave free depth over time. */
void view_put_line(struct buf *b, const struct view *v, const struct view *before,
                   struct view_history *history, unsigned columns);
/* The same as one line of JSON: {"broker":{…},"routes":[{…},…]}, counters that are 0 left out. */
void view_put_json(struct buf *b, const struct otpq_answer *answer);

#endif
