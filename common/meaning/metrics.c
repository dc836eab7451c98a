#include "common/meaning/metrics.h"

const char *const metric_type_names[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge"};

/* A row reads as a sentence: */
/* clang-format off */
const struct metric_row metric_rows[METRICS] = {
    [METRIC_BUILD_INFO] = {"otpq_build_info", METRIC_GAUGE, {"program", "version"},
                           "Always 1; the labels say what runs."},
    [METRIC_BROKER_JOBS] = {"otpq_broker_jobs", METRIC_GAUGE, {"state"},
                            "Live jobs by state: queued, delayed, in_flight, storing (not accepted "
                            "yet), unshelving (ended, once the store knows)."},
    [METRIC_BROKER_STORED] = {"otpq_broker_stored", METRIC_GAUGE, {NULL},
                              "Live jobs that stand in the store too, where others find them."},
    [METRIC_BROKER_OLDEST_SECONDS] = {"otpq_broker_oldest_seconds", METRIC_GAUGE, {NULL},
                                      "Age of the oldest queued job."},
    [METRIC_BROKER_BYTES] = {"otpq_broker_bytes", METRIC_GAUGE, {NULL}, "Memory of live jobs."},
    [METRIC_BROKER_RESULTS_KEPT] = {"otpq_broker_results_kept", METRIC_GAUGE, {NULL},
                                    "Ended jobs whose results can still be asked for."},
    [METRIC_BROKER_ACCEPTED] = {"otpq_broker_accepted_total", METRIC_COUNTER, {NULL},
                                "Jobs accepted."},
    [METRIC_BROKER_ADOPTED] = {"otpq_broker_adopted_total", METRIC_COUNTER, {NULL},
                              "Stored jobs taken over from other brokers."},
    [METRIC_BROKER_HANDED_OVER] = {"otpq_broker_handed_over_total", METRIC_COUNTER, {NULL},
                              "Jobs forgotten here, for another broker goes on with them."},
    [METRIC_BROKER_DUPLICATES] = {"otpq_broker_duplicates_total", METRIC_COUNTER, {NULL},
                                  "Submits of an id that was known, with the same content."},
    [METRIC_BROKER_CONFLICTS] = {"otpq_broker_conflicts_total", METRIC_COUNTER, {NULL},
                                 "Submits of an id that was known, with other content."},
    [METRIC_BROKER_REFUSED_FULL] = {"otpq_broker_refused_full_total", METRIC_COUNTER, {NULL},
                                    "Submits refused because a limit was reached."},
    [METRIC_BROKER_ENDED] = {"otpq_broker_ended_total", METRIC_COUNTER, {"state"},
                             "Jobs ended: done, refused, unknown, expired, cancelled."},
    [METRIC_BROKER_REDISPATCHED] = {"otpq_broker_redispatched_total", METRIC_COUNTER, {NULL},
                                    "Jobs taken back from workers that died or left."},
    [METRIC_BROKER_WORKERS] = {"otpq_broker_workers", METRIC_GAUGE, {NULL}, "Workers alive."},
    [METRIC_BROKER_WORKERS_LOST] = {"otpq_broker_workers_lost_total", METRIC_COUNTER, {NULL},
                                    "Workers that fell silent or vanished without a goodbye."},
    [METRIC_BROKER_CREDIT_FREE] = {"otpq_broker_credit_free", METRIC_GAUGE, {NULL},
                                   "Jobs that workers would take at once."},
    [METRIC_BROKER_CLIENTS] = {"otpq_broker_clients", METRIC_GAUGE, {NULL}, "Clients remembered."},
    [METRIC_BROKER_CLIENTS_DROPPED] = {"otpq_broker_clients_dropped_total", METRIC_COUNTER, {NULL},
                                       "Clients forgotten to make room for newer ones."},
    [METRIC_BROKER_ROUTES] = {"otpq_broker_routes", METRIC_GAUGE, {NULL}, "Routes known."},
    [METRIC_BROKER_MESSAGES] = {"otpq_broker_messages_total", METRIC_COUNTER, {"from"},
                                "Messages received: client, worker."},
    [METRIC_BROKER_MALFORMED] = {"otpq_broker_malformed_total", METRIC_COUNTER, {"from"},
                                 "Messages that could not be read to their end: client, worker."},
    [METRIC_BROKER_ANSWERS_DROPPED] = {"otpq_broker_answers_dropped_total", METRIC_COUNTER, {"why"},
                                       "Answer messages not delivered: gone, full. Results stay "
                                       "available under their ids."},
    [METRIC_BROKER_HANDSHAKES] = {"otpq_broker_handshakes_total", METRIC_COUNTER, {"verdict"},
                                  "Handshakes at sockets with keys, by how they ended: allowed, "
                                  "unknown, revoked, wrong_kind, malformed, no_key."},
    [METRIC_BROKER_CONNECTIONS_CUT] = {"otpq_broker_connections_cut_total", METRIC_COUNTER, {NULL},
                                       "Connections ended because their key may no longer be "
                                       "there."},
    [METRIC_BROKER_FORBIDDEN] = {"otpq_broker_forbidden_total", METRIC_COUNTER, {NULL},
                                 "Submits and questions answered forbidden: the key is not for "
                                 "that tenant or route."},
    [METRIC_ROUTE_JOBS] = {"otpq_route_jobs", METRIC_GAUGE, {"route", "state"},
                           "Live jobs of a route by state: queued, delayed, in_flight, storing, "
                            "unshelving."},
    [METRIC_ROUTE_OLDEST_SECONDS] = {"otpq_route_oldest_seconds", METRIC_GAUGE, {"route"},
                                     "Age of the route's oldest queued job."},
    [METRIC_ROUTE_ACCEPTED] = {"otpq_route_accepted_total", METRIC_COUNTER, {"route"},
                               "Jobs accepted for the route."},
    [METRIC_ROUTE_ENDED] = {"otpq_route_ended_total", METRIC_COUNTER, {"route", "state"},
                            "The route's jobs ended: done, refused, unknown, expired, cancelled."},
    [METRIC_ROUTE_REDISPATCHED] = {"otpq_route_redispatched_total", METRIC_COUNTER, {"route"},
                                   "The route's jobs taken back from workers."},
    [METRIC_ROUTE_MOVED] = {"otpq_route_moved_total", METRIC_COUNTER, {"route", "way"},
                            "Jobs moved by fallback: out to another route, in from another."},
    [METRIC_ROUTE_PAUSED] = {"otpq_route_paused", METRIC_GAUGE, {"route"},
                             "1 while the route is paused."},
    [METRIC_ROUTE_BREAKER] = {"otpq_route_breaker", METRIC_GAUGE, {"route"},
                              "Circuit breaker: 0 closed, 1 half open, 2 open."},
    [METRIC_CALLBACKS_OPEN] = {"otpq_callbacks_open", METRIC_GAUGE, {NULL},
                               "Callbacks that were not received yet, nor given up, of all "
                               "brokers."},
    [METRIC_CALLBACKS_OLDEST_SECONDS] = {"otpq_callbacks_oldest_seconds", METRIC_GAUGE, {NULL},
                                         "For how long the oldest of them has been due."},
    [METRIC_CALLBACKS_FED] = {"otpq_callbacks_fed_total", METRIC_COUNTER, {NULL},
                              "Attempts at callbacks that became jobs of this broker."},
    [METRIC_CALLBACKS_REFUSED] = {"otpq_callbacks_refused_total", METRIC_COUNTER, {NULL},
                                  "Attempts that the queue had no room for, or no lane; each is "
                                  "due again within a minute."},
    [METRIC_REAPED] = {"otpq_reaped_total", METRIC_COUNTER, {NULL},
                       "Jobs that this broker ended as unknown: their workers did not within "
                       "the lease."},
    [METRIC_BROKERS] = {"otpq_brokers", METRIC_GAUGE, {NULL},
                        "Brokers that live, this one included."},
    [METRIC_SHELVES] = {"otpq_shelves", METRIC_GAUGE, {NULL},
                        "Shelves of stored jobs that are this broker's, adopted ones included."},
    [METRIC_SHELVES_TO_ADOPT] = {"otpq_shelves_to_adopt", METRIC_GAUGE, {NULL},
                                 "Shelves of dead brokers that are being read."},
    [METRIC_SHELF_PENDING] = {"otpq_shelf_pending", METRIC_GAUGE, {NULL},
                              "Entries on their way onto a shelf or off it, dead letters "
                              "included."},
    [METRIC_SHELF_STORED] = {"otpq_shelf_stored_total", METRIC_COUNTER, {NULL},
                             "Jobs put on a shelf."},
    [METRIC_SHELF_REMOVED] = {"otpq_shelf_removed_total", METRIC_COUNTER, {NULL},
                              "Entries taken off a shelf."},
    [METRIC_SHELF_COMMITS] = {"otpq_shelf_commits_total", METRIC_COUNTER, {NULL},
                              "Round trips that put or removed entries; each carries all that "
                              "there is."},
    [METRIC_SHELF_ADOPTED] = {"otpq_shelf_adopted_total", METRIC_COUNTER, {NULL},
                              "Entries of other brokers' shelves that this one went on with."},
    [METRIC_SHELF_DEPOSED] = {"otpq_shelf_deposed_total", METRIC_COUNTER, {NULL},
                              "Shelves that another broker took because this one seemed dead."},
    [METRIC_SHELF_UNREADABLE] = {"otpq_shelf_unreadable_total", METRIC_COUNTER, {NULL},
                                 "Entries of shelves that are none; they stay where they are."},
    [METRIC_STORE_UP] = {"otpq_store_up", METRIC_GAUGE, {NULL}, "1 while Redis can be used."},
    [METRIC_STORE_DURABILITY] = {"otpq_store_durability", METRIC_GAUGE, {"level"},
                                 "1 for what a stored job is worth: always, everysec, no "
                                 "(appendfsync), off (appendonly no), unknown."},
};
/* clang-format on */

void metrics_head(struct buf *out, enum metric m)
{
    const struct metric_row *row = &metric_rows[m];
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
               metric_type_names[row->type]);
}

/* Inside quotes a backslash, a quote and a line feed are escaped. */
static void put_escaped(struct buf *out, struct slice value)
{
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\n') {
            buf_puts(out, "\\n");
            continue;
        }
        if (c == '\\' || c == '"') {
            buf_putc(out, '\\');
        }
        buf_putc(out, c);
    }
}

static size_t label_names(const struct metric_row *row)
{
    size_t n = 0;
    while (n < METRIC_LABELS_MAX && row->labels[n] != NULL) {
        n++;
    }
    return n;
}

void metrics_put(struct buf *out, enum metric m, double value, const struct slice *labels,
                 size_t label_count)
{
    const struct metric_row *row = &metric_rows[m];
    must(label_count == label_names(row));
    buf_puts(out, row->name);
    for (size_t i = 0; i < label_count; i++) {
        buf_printf(out, "%c%s=\"", i == 0 ? '{' : ',', row->labels[i]);
        put_escaped(out, labels[i]);
        buf_putc(out, '"');
    }
    buf_printf(out, "%s %.15g\n", label_count > 0 ? "}" : "", value);
}
