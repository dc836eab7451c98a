#include "broker/report.h"

#include "common/meaning/metrics.h"
#include "common/meaning/wire.h"

/* ---- I --------------------------------------------------------------------------------------- */

static struct wire_info_route info_route(const struct core_route_stats *s)
{
    return (struct wire_info_route){
        .name = s->name,
        .queued = s->queued,
        .delayed = s->delayed,
        .in_flight = s->in_flight,
        .storing = s->storing,
        .on_shelf = s->on_shelf,
        .oldest_ms = (uint64_t)s->oldest_ms,
        .accepted = s->accepted,
        .adopted = s->adopted,
        .done = s->done,
        .refused = s->refused,
        .unknown = s->unknown,
        .expired = s->expired,
        .cancelled = s->cancelled,
        .redispatched = s->redispatched,
        .moved_out = s->moved_out,
        .moved_in = s->moved_in,
        .paused = s->paused,
        .held = s->held,
        .draining = s->closed,
        .stored = s->stored,
        .breaker = (uint8_t)s->breaker,
    };
}

static uint64_t depth(const struct wire_info_route *r)
{
    return r->queued + r->delayed + r->in_flight;
}

/* Keeps the deepest ones, deepest first, in an array no longer than the message allows. */
static uint32_t insert_route(struct wire_info_route *routes, uint32_t count,
                             const struct wire_info_route *route)
{
    if (count == WIRE_INFO_ROUTES_MAX) {
        if (depth(&routes[count - 1]) >= depth(route)) {
            return count;
        }
        count--;
    }
    uint32_t at = count;
    while (at > 0 && depth(&routes[at - 1]) < depth(route)) {
        routes[at] = routes[at - 1];
        at--;
    }
    routes[at] = *route;
    return count + 1;
}

void report_info(const struct report *r, struct buf *out, struct slice id)
{
    struct core_stats s;
    core_stats(r->core, r->now_ms, &s);
    const struct wire_info info = {
        .version = SLICE(OTPQ_VERSION),
        .durability = slice_of(r->durability),
        .draining = r->draining,
        .uptime_ms = (uint64_t)(r->now_ms - r->started_ms),
        .queued = s.queued,
        .delayed = s.delayed,
        .in_flight = s.in_flight,
        .storing = s.storing,
        .on_shelf = s.stored,
        .oldest_ms = (uint64_t)s.oldest_ms,
        .workers = s.workers,
        .credit_free = s.credit_free,
        .clients = clients_stats(r->clients).known,
        .results_kept = s.results_kept,
        .bytes = s.bytes,
        .routes_total = s.routes,
        .accepted = s.accepted,
        .adopted = s.adopted,
        .duplicates = s.duplicates,
        .conflicts = s.conflicts,
        .refused_full = s.refused_full,
        .done = s.ended[JOB_END_DONE],
        .refused = s.ended[JOB_END_REFUSED],
        .unknown = s.ended[JOB_END_UNKNOWN],
        .expired = s.ended[JOB_END_EXPIRED],
        .cancelled = s.ended[JOB_END_CANCELLED],
        .redispatched = s.redispatched,
    };
    struct wire_info_route routes[WIRE_INFO_ROUTES_MAX];
    uint32_t count = 0;
    struct core_route_stats route;
    for (size_t at = 0; core_route_stats(r->core, &at, r->now_ms, &route);) {
        const struct wire_info_route row = info_route(&route);
        count = insert_route(routes, count, &row);
    }
    wire_put_info(out, id, &info, routes, count);
}

/* ---- /metrics -------------------------------------------------------------------------------- */

/* The whole family of a metric without labels. */
static void put_one(struct buf *out, enum metric m, double value)
{
    metrics_head(out, m);
    metrics_value(out, m, value);
}

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

static void put_core(struct buf *out, const struct core_stats *s)
{
    metrics_head(out, METRIC_BROKER_JOBS);
    metrics_value(out, METRIC_BROKER_JOBS, s->queued, SLICE("queued"));
    metrics_value(out, METRIC_BROKER_JOBS, s->delayed, SLICE("delayed"));
    metrics_value(out, METRIC_BROKER_JOBS, s->in_flight, SLICE("in_flight"));
    metrics_value(out, METRIC_BROKER_JOBS, s->storing, SLICE("storing"));
    metrics_value(out, METRIC_BROKER_JOBS, s->unshelving, SLICE("unshelving"));
    put_one(out, METRIC_BROKER_STORED, (double)s->stored);
    put_one(out, METRIC_BROKER_OLDEST_SECONDS, seconds(s->oldest_ms));
    put_one(out, METRIC_BROKER_BYTES, (double)s->bytes);
    put_one(out, METRIC_BROKER_RESULTS_KEPT, (double)s->results_kept);
    put_one(out, METRIC_BROKER_ACCEPTED, (double)s->accepted);
    put_one(out, METRIC_BROKER_ADOPTED, (double)s->adopted);
    put_one(out, METRIC_BROKER_HANDED_OVER, (double)s->handed_over);
    put_one(out, METRIC_BROKER_DUPLICATES, (double)s->duplicates);
    put_one(out, METRIC_BROKER_CONFLICTS, (double)s->conflicts);
    put_one(out, METRIC_BROKER_REFUSED_FULL, (double)s->refused_full);
    metrics_head(out, METRIC_BROKER_ENDED);
    for (int end = 0; end < JOB_ENDS; end++) {
        metrics_value(out, METRIC_BROKER_ENDED, s->ended[end], slice_of(job_end_names[end]));
    }
    put_one(out, METRIC_BROKER_REDISPATCHED, (double)s->redispatched);
    put_one(out, METRIC_BROKER_WORKERS, s->workers);
    put_one(out, METRIC_BROKER_CREDIT_FREE, (double)s->credit_free);
    put_one(out, METRIC_BROKER_ROUTES, s->routes);
}

static void put_sockets(struct buf *out, const struct clients_stats *c, const struct pool_stats *p)
{
    put_one(out, METRIC_BROKER_WORKERS_LOST, (double)p->lost);
    put_one(out, METRIC_BROKER_CLIENTS, (double)c->known);
    put_one(out, METRIC_BROKER_CLIENTS_DROPPED, (double)c->dropped);
    metrics_head(out, METRIC_BROKER_MESSAGES);
    metrics_value(out, METRIC_BROKER_MESSAGES, c->messages, SLICE("client"));
    metrics_value(out, METRIC_BROKER_MESSAGES, p->messages, SLICE("worker"));
    metrics_head(out, METRIC_BROKER_MALFORMED);
    metrics_value(out, METRIC_BROKER_MALFORMED, c->malformed, SLICE("client"));
    metrics_value(out, METRIC_BROKER_MALFORMED, p->malformed, SLICE("worker"));
    metrics_head(out, METRIC_BROKER_ANSWERS_DROPPED);
    metrics_value(out, METRIC_BROKER_ANSWERS_DROPPED, c->answers_gone, SLICE("gone"));
    metrics_value(out, METRIC_BROKER_ANSWERS_DROPPED, c->answers_full, SLICE("full"));
}

static void put_route(struct buf *out, enum metric m, const struct core_route_stats *s)
{
    switch (m) {
    case METRIC_ROUTE_JOBS:
        metrics_value(out, m, s->queued, s->name, SLICE("queued"));
        metrics_value(out, m, s->delayed, s->name, SLICE("delayed"));
        metrics_value(out, m, s->in_flight, s->name, SLICE("in_flight"));
        metrics_value(out, m, s->storing, s->name, SLICE("storing"));
        metrics_value(out, m, s->unshelving, s->name, SLICE("unshelving"));
        break;
    case METRIC_ROUTE_OLDEST_SECONDS:
        metrics_value(out, m, seconds(s->oldest_ms), s->name);
        break;
    case METRIC_ROUTE_ACCEPTED:
        metrics_value(out, m, s->accepted, s->name);
        break;
    case METRIC_ROUTE_ENDED:
        metrics_value(out, m, s->done, s->name, SLICE("done"));
        metrics_value(out, m, s->refused, s->name, SLICE("refused"));
        metrics_value(out, m, s->unknown, s->name, SLICE("unknown"));
        metrics_value(out, m, s->expired, s->name, SLICE("expired"));
        metrics_value(out, m, s->cancelled, s->name, SLICE("cancelled"));
        break;
    case METRIC_ROUTE_REDISPATCHED:
        metrics_value(out, m, s->redispatched, s->name);
        break;
    case METRIC_ROUTE_MOVED:
        metrics_value(out, m, s->moved_out, s->name, SLICE("out"));
        metrics_value(out, m, s->moved_in, s->name, SLICE("in"));
        break;
    case METRIC_ROUTE_PAUSED:
        metrics_value(out, m, s->paused ? 1 : 0, s->name);
        break;
    default:
        must(m == METRIC_ROUTE_BREAKER);
        metrics_value(out, m, s->breaker, s->name);
    }
}

/* Without keys all of it is 0. */
static void put_permits(struct buf *out, const struct permits *p, const struct clients_stats *c)
{
    const struct permits_stats s = p != NULL ? permits_stats(p) : (struct permits_stats){.cut = 0};
    metrics_head(out, METRIC_BROKER_HANDSHAKES);
    for (int v = 0; v < ZAP_VERDICTS; v++) {
        metrics_value(out, METRIC_BROKER_HANDSHAKES, s.handshakes[v],
                      slice_of(zap_verdict_names[v]));
    }
    put_one(out, METRIC_BROKER_CONNECTIONS_CUT, (double)s.cut);
    put_one(out, METRIC_BROKER_FORBIDDEN, (double)c->forbidden);
}

/* The format wants all samples of a metric together, so the routes are walked once for each. */
static void put_routes(const struct report *r, struct buf *out)
{
    for (int m = METRIC_ROUTE_JOBS; m <= METRIC_ROUTE_BREAKER; m++) {
        metrics_head(out, (enum metric)m);
        struct core_route_stats route;
        for (size_t at = 0; core_route_stats(r->core, &at, r->now_ms, &route);) {
            put_route(out, (enum metric)m, &route);
        }
    }
}

static void put_outbox(struct buf *out, const struct outbox *o)
{
    const struct outbox_stats s = outbox_stats(o);
    put_one(out, METRIC_CALLBACKS_OPEN, (double)s.open);
    put_one(out, METRIC_CALLBACKS_OLDEST_SECONDS, seconds((int64_t)s.late_ms));
    put_one(out, METRIC_CALLBACKS_FED, (double)s.fed);
    put_one(out, METRIC_CALLBACKS_REFUSED, (double)s.refused);
    put_one(out, METRIC_REAPED, (double)s.reaped);
}

static void put_shelves(struct buf *out, const struct peers *peers, const struct shelves *shelves)
{
    const struct shelves_stats none = {.shelves = 0};
    const struct shelves_stats s = shelves != NULL ? shelves_stats(shelves) : none;
    put_one(out, METRIC_BROKERS, peers != NULL ? (double)peers_count(peers) : 1);
    put_one(out, METRIC_SHELVES, (double)s.shelves);
    put_one(out, METRIC_SHELVES_TO_ADOPT, (double)s.to_adopt);
    put_one(out, METRIC_SHELF_PENDING, (double)s.pending);
    put_one(out, METRIC_SHELF_STORED, (double)s.stored);
    put_one(out, METRIC_SHELF_REMOVED, (double)s.removed);
    put_one(out, METRIC_SHELF_COMMITS, (double)s.commits);
    put_one(out, METRIC_SHELF_ADOPTED, (double)s.adopted);
    put_one(out, METRIC_SHELF_DEPOSED, (double)s.deposed);
    put_one(out, METRIC_SHELF_UNREADABLE, (double)s.unreadable);
}

void report_metrics(const struct report *r, struct buf *out)
{
    struct core_stats s;
    const struct clients_stats c = clients_stats(r->clients);
    const struct pool_stats p = pool_stats(r->pool);
    core_stats(r->core, r->now_ms, &s);
    metrics_head(out, METRIC_BUILD_INFO);
    metrics_value(out, METRIC_BUILD_INFO, 1, SLICE("otpq-broker"), SLICE(OTPQ_VERSION));
    put_core(out, &s);
    put_sockets(out, &c, &p);
    put_permits(out, r->permits, &c);
    put_routes(r, out);
    put_outbox(out, r->outbox);
    put_shelves(out, r->peers, r->shelves);
    put_one(out, METRIC_STORE_UP, r->store_up ? 1 : 0);
    metrics_head(out, METRIC_STORE_DURABILITY);
    metrics_value(out, METRIC_STORE_DURABILITY, 1, slice_of(r->durability));
}
