#include "broker/broker.h"

#include <event2/event.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <zmq.h>

#include "broker/budgets.h"
#include "broker/clients.h"
#include "broker/controls.h"
#include "broker/http.h"
#include "broker/operate.h"
#include "broker/outbox.h"
#include "broker/permits.h"
#include "broker/peers.h"
#include "broker/pool.h"
#include "broker/report.h"
#include "broker/routes.h"
#include "broker/self.h"
#include "broker/shelves.h"
#include "broker/timeline.h"
#include "common/adapters/curve.h"
#include "common/base/clock.h"
#include "common/adapters/store_access.h"
#include "common/base/log.h"
#include "common/base/rng.h"

enum {
    DISPATCH_MAX = 2000,    /* jobs a step may hand out before the sockets are polled again */
    HAND_OVER_MS = 1000,    /* after SIGTERM what could not go out by then goes to another broker */
    HAND_OVER_COST = 20000, /* of a part of it, about as long as a turn */
    TURN_JOBS = 512,        /* jobs or results after which a long turn is cut */
    STORE_PENDING_MAX = 10000,
    SIGNALS = 2
};

struct broker {
    const struct config *config; /* borrowed */
    struct event_base *base;     /* the loop */
    void *zmq;                   /* ZeroMQ context */
    struct core *core;           /* who is next */
    struct curve_pair pair;      /* of broker.curve_secret_file; wiped at the end */
    struct permits *permits;     /* who may what; NULL: there is no such file */
    struct clients *clients;
    struct pool *pool;
    struct store *store; /* Redis: records and time-lines; the broker works without it */
    struct routes *routes;
    struct controls_follower *controls; /* what operators say */
    struct operate *operate;            /* what they ask of this broker */
    struct outbox *outbox;              /* feeds callbacks that are due */
    struct broker_line self;            /* what others are told about us */
    uint32_t others;                    /* living, and not leaving */
    struct peers *peers;                /* the other brokers; NULL until records are here */
    struct shelves *shelves;            /* stored jobs; as peers */
    struct budgets *budgets;            /* our parts of what routes bear */
    struct http *http;
    struct event *turn;             /* the end of a turn */
    struct event *wake;             /* timer: the core asked for it */
    struct event *signals[SIGNALS]; /* SIGTERM, SIGINT */
    struct event *drain_over;       /* timer: in flight or not, leave */
    struct event *hand_over;        /* timer: what waits goes to others */
    uint32_t handed_to;             /* how far that is */
    struct event *open_late;        /* timer: records or not, let clients in */
    int64_t wake_ms;                /* what wake is set to, INT64_MAX: not set */
    int64_t started_ms;
    bool forgot;    /* the store that comes back may have lost what was written last */
    bool open;      /* clients are let in */
    bool draining;  /* SIGTERM came */
    bool held;      /* an operator lets it drain */
    bool cut_short; /* left with jobs in flight */
};

/* ---- a turn ---------------------------------------------------------------------------------- */

static void wake_at(struct broker *b, int64_t at_ms, int64_t now_ms)
{
    if (at_ms == b->wake_ms && at_ms > now_ms) {
        return;
    }
    b->wake_ms = at_ms;
    if (at_ms == INT64_MAX) {
        (void)event_del(b->wake);
        return;
    }
    int64_t ms = at_ms > now_ms ? at_ms - now_ms : 0;
    const struct timeval in = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    need(event_add(b->wake, &in) == 0);
}

/* Nothing moves any more: what is queued still needs a worker that has room for it. */
static bool drained(const struct broker *b, int64_t now_ms)
{
    struct core_stats s;
    core_stats(b->core, now_ms, &s);
    return s.in_flight == 0 && (s.queued == 0 || s.credit_free == 0) &&
           (b->shelves == NULL || shelves_drained(b->shelves));
}

static bool hears(void *context, uint64_t client, struct slice id)
{
    const struct broker *b = context;
    return clients_hear(b->clients, client, id);
}

/* What a limit holds back, or waits for its time, would wait here until this broker is gone; with
 * another one it goes on. A part of it; false: that was all. */
static bool hand_over(struct broker *b, int64_t now_ms)
{
    const struct core_leave leave = {.hears = hears, .context = b};
    return b->others > 0 && core_hand_over(b->core, &leave, &b->handed_to, HAND_OVER_COST, now_ms);
}

static void leave_now(struct broker *b, int64_t now_ms)
{
    while (hand_over(b, now_ms)) {
    }
    clients_flush(b->clients);
    (void)event_base_loopbreak(b->base);
}

static void let_in(struct broker *b);

static void open_soon(struct broker *b)
{
    if (!b->open && !b->draining && b->shelves != NULL && shelves_open(b->shelves)) {
        let_in(b);
    }
}

static void end_turn(struct broker *b)
{
    int64_t now_ms = clock_mono_ms();
    int64_t next_ms = core_step(b->core, now_ms, DISPATCH_MAX);
    if (b->shelves != NULL) {
        shelves_flush(b->shelves);
    }
    budgets_turn(b->budgets);
    open_soon(b);
    bool lost = pool_flush(b->pool);
    clients_flush(b->clients);
    wake_at(b, lost ? now_ms : next_ms, now_ms);
    if (b->draining && drained(b, now_ms)) {
        leave_now(b, now_ms);
    }
}

static void on_end_turn(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    end_turn(context);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct broker *b = context;
    b->wake_ms = INT64_MAX;
    event_active(b->turn, 0, 0);
}

/* Runs behind the callbacks that this poll woke: sockets that woke together share a turn. */
static void want_turn(void *context)
{
    struct broker *b = context;
    event_active(b->turn, 0, 0);
}

/* A long turn is cut into parts: while the broker goes on reading, its workers and clients already
 * have something to do. */
static void end_turn_early(void *context)
{
    end_turn(context);
}

/* ---- what the parts say to each other -------------------------------------------------------- */

static void on_dispatch(void *context, uint32_t worker, const struct wire_job *job,
                        struct slice body)
{
    struct broker *b = context;
    pool_put_job(b->pool, worker, job, body);
}

static void on_answer(void *context, uint64_t client, const struct wire_result *result,
                      struct slice body)
{
    struct broker *b = context;
    clients_put_result(b->clients, client, result, body);
}

static void on_shelve(void *context, uint32_t shelf, uint32_t job, const struct wire_submit *submit,
                      struct slice body)
{
    struct broker *b = context;
    shelves_put(b->shelves, shelf, job, submit, body);
}

static void on_unshelve(void *context, uint32_t shelf, uint32_t job,
                        const struct wire_submit *submit, struct slice body,
                        const struct wire_result *result, bool dead)
{
    struct broker *b = context;
    shelves_remove(b->shelves, shelf, job, submit, body, result, dead);
}

static void on_stored(void *context, uint64_t client, struct slice id, enum core_stored what)
{
    struct broker *b = context;
    clients_put_stored(b->clients, client, id, what);
}

static void on_answered(void *context, struct slice job, struct slice rid)
{
    struct broker *b = context;
    timeline_answered(b->store, b->config->redis_prefix, job, rid, clock_wall_ms());
}

static bool on_purge(void *context, uint64_t client, const struct wire_purge *p)
{
    struct broker *b = context;
    return operate_purge(b->operate, client, p, clock_mono_ms());
}

static void on_purged(void *context, uint64_t client, struct slice id, const struct wire_purged *p)
{
    struct broker *b = context;
    clients_put_purged(b->clients, client, id, p);
}

static struct report report_of(const struct broker *b)
{
    return (struct report){.core = b->core,
                           .clients = b->clients,
                           .pool = b->pool,
                           .permits = b->permits,
                           .outbox = b->outbox,
                           .peers = b->peers,
                           .shelves = b->shelves,
                           .store_up = store_up(b->store),
                           .durability = store_durability(b->store),
                           .draining = b->draining || b->held,
                           .started_ms = b->started_ms,
                           .now_ms = clock_mono_ms()};
}

static void put_info(void *context, struct buf *out, struct slice id)
{
    const struct report r = report_of(context);
    report_info(&r, out, id);
}

static void put_metrics(void *context, struct buf *out)
{
    const struct report r = report_of(context);
    report_metrics(&r, out);
}

static bool routes_known(void *context)
{
    const struct broker *b = context;
    return routes_loaded(b->routes) || config_accepts_unknown_routes(b->config);
}

static const char *unready(void *context)
{
    const struct broker *b = context;
    if (b->draining || b->held) {
        return b->draining ? "draining" : "drained by an operator";
    }
    if (!routes_known(context)) {
        return "waiting for the first records from redis.address";
    }
    return NULL;
}

static void on_store_forgot(void *context)
{
    struct broker *b = context;
    log_warn("the store may have lost what was written last: workers tell it again", NULL);
    b->forgot = true;
    core_store_forgot(b->core, clock_mono_ms());
}

static void on_store_state(void *context, bool up)
{
    struct broker *b = context;
    if (b->shelves != NULL) {
        shelves_store(b->shelves, up, up && b->forgot);
    }
    if (!up || !b->forgot) {
        core_store_away(b->core, !up, clock_mono_ms());
    }
    b->forgot = b->forgot && !up;
    if (!up) { /* the rest stands in the log of the store */
        log_warn("store is away: routes keep their limits, workers give jobs back", NULL);
    }
}

static void on_peers(void *context, const struct broker_line *live, size_t live_count,
                     const char (*died)[BROKER_TOKEN_BYTES + 1], size_t died_count)
{
    struct broker *b = context;
    b->others = 0;
    for (size_t i = 0; i < live_count; i++) {
        b->others += !live[i].leaving && strcmp(live[i].token, b->self.token) != 0 ? 1 : 0;
    }
    shelves_look(b->shelves, live, live_count, died, died_count);
    if (!b->open) {
        want_turn(b);
    }
    budgets_look(b->budgets, live_count);
}

/* ---- letting clients in ---------------------------------------------------------------------- */

/* Both sockets are bound: whoever finds us can connect. */
static void meet_others(struct broker *b)
{
    const struct peers_options peers = {.base = b->base,
                                        .store = b->store,
                                        .prefix = b->config->redis_prefix,
                                        .own = &b->self,
                                        .on_look = on_peers,
                                        .context = b};
    b->peers = peers_new(&peers);
    const struct shelves_options shelves = {.base = b->base,
                                            .store = b->store,
                                            .prefix = b->config->redis_prefix,
                                            .token = b->self.token,
                                            .dead_keep_s = b->config->dead_keep_s,
                                            .core = b->core,
                                            .peers = b->peers,
                                            .ready = routes_known,
                                            .on_turn = want_turn,
                                            .context = b};
    b->shelves = shelves_new(&shelves);
}

/* Not before the first records, nor before there is a shelf: a broker that was just restarted would
 * call every route unknown, and refuse what is to be stored. Without a store clients get a clear no
 * instead of silence. */
static void let_in(struct broker *b)
{
    const struct config *c = b->config;
    if (b->open) {
        return;
    }
    b->open = true;
    need(event_del(b->open_late) == 0);
    clients_open(b->clients);
    log_info("ready", "clients", c->broker_clients, "workers", c->broker_workers, "metrics",
             c->broker_metrics, "durability", store_durability(b->store), NULL);
    (void)sd_notify(0, "READY=1");
}

static void on_routes(void *context)
{
    struct broker *b = context;
    if (b->permits != NULL) {
        permits_records(b->permits, routes_records(b->routes));
    }
    if (b->shelves == NULL) {
        meet_others(b);
    }
    want_turn(b);
}

static void on_open_late(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct broker *b = context;
    if (!routes_known(b)) {
        log_warn("no records yet: submits are answered store_unavailable", "key", "redis.address",
                 NULL);
    }
    if (b->shelves == NULL) {
        meet_others(b);
    }
    let_in(b);
}

/* Until the operator takes it back it lives on, and others take what comes. Workers are not told:
 * they would give it no more credit, and what is queued is to go out. */
static void on_held(void *context, bool held)
{
    struct broker *b = context;
    b->held = held;
    if (b->clients != NULL) {
        clients_drain(b->clients, b->draining || held);
    }
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void on_drain_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct broker *b = context;
    log_warn("leaving with jobs in flight: their clients ask another broker", NULL);
    b->cut_short = true;
    leave_now(b, clock_mono_ms());
}

static void on_hand_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct broker *b = context;
    const struct timeval soon = {0, 0};
    if (hand_over(b, clock_mono_ms())) {
        need(event_add(b->hand_over, &soon) == 0);
    } else {
        b->handed_to = 0; /* once more at the end, for what has come back from workers */
    }
    want_turn(b);
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    (void)what;
    struct broker *b = context;
    if (b->draining) {
        log_warn("second signal: leaving at once", NULL);
        b->cut_short = true;
        (void)event_base_loopbreak(b->base);
        return;
    }
    const struct timeval bound = {BROKER_DRAIN_MS / 1000, BROKER_DRAIN_MS % 1000 * 1000};
    log_info("draining", "signal", log_num(number), NULL);
    (void)sd_notify(0, "STOPPING=1\nSTATUS=answering what is in flight");
    b->draining = true;
    clients_drain(b->clients, true);
    outbox_drain(b->outbox);
    if (b->peers != NULL) {
        peers_leave(b->peers);
        shelves_drain(b->shelves);
    }
    need(event_add(b->drain_over, &bound) == 0);
    const struct timeval first = {HAND_OVER_MS / 1000, HAND_OVER_MS % 1000 * 1000};
    need(event_add(b->hand_over, &first) == 0);
    want_turn(b);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void cannot_bind(const char *key, const char *address, const char *why, char error[512])
{
    char env[64];
    config_env_name(key, env);
    (void)snprintf(error, 512, "%s: cannot listen on %s: %s; set %s (or %s) to another address",
                   key, address, why, key, env);
}

static struct core *open_core(struct broker *b)
{
    const struct config *c = b->config;
    const struct core_effects effects = {.context = b,
                                         .dispatch = on_dispatch,
                                         .answer = on_answer,
                                         .shelve = on_shelve,
                                         .unshelve = on_unshelve,
                                         .stored = on_stored};
    struct core_limits limits = {
        .jobs_max = (uint32_t)c->broker_jobs_max,
        .bytes_max = c->broker_bytes_max,
        .route_jobs_max = (uint32_t)c->broker_route_jobs_max,
        .tenant_jobs_max = (uint32_t)c->broker_tenant_jobs_max,
        .routes_max = (uint32_t)c->broker_routes_max,
        .tenants_max = (uint32_t)c->broker_tenants_max,
        .workers_max = (uint32_t)c->broker_workers_max,
        .results_max = (uint32_t)c->broker_results_max,
        .results_bytes_max = c->broker_results_bytes_max,
        .result_ttl_ms = (uint32_t)c->broker_result_ttl_ms,
        .attempts_max = (uint32_t)c->broker_attempts_max,
        .unknown_routes_accepted = config_accepts_unknown_routes(c),
    };
    rng_secure(&limits.seed, sizeof(limits.seed));
    return core_new(&limits, &effects, b->started_ms);
}

/* Before the sockets: ZeroMQ lets everybody in while nobody judges keys. */
static bool open_permits(struct broker *b, char error[512])
{
    char wrong[256];
    const char *why = wrong;
    const char *file = b->config->broker_curve_secret_file;
    bool ok = curve_pair_read(file, &b->pair, wrong);
    if (ok && file[0] != '\0') {
        (void)snprintf(b->self.key, sizeof(b->self.key), "%s", b->pair.public_key);
        b->permits = permits_new(b->base, b->zmq, &b->pair, &why);
        ok = b->permits != NULL;
    }
    if (!ok) {
        (void)snprintf(error, 512, "broker.curve_secret_file: %.200s: %.250s", file, why);
    }
    return ok;
}

static bool open_pool(struct broker *b, char error[512])
{
    const char *address = b->config->broker_workers;
    const char *why = NULL;
    const struct pool_options o = {.base = b->base,
                                   .zmq = b->zmq,
                                   .address = address,
                                   .workers_max = (uint32_t)b->config->broker_workers_max,
                                   .silence_ms = (uint32_t)b->config->broker_worker_silence_ms,
                                   .core = b->core,
                                   .permits = b->permits,
                                   .on_answered = on_answered,
                                   .on_turn = want_turn,
                                   .on_many = end_turn_early,
                                   .many = TURN_JOBS,
                                   .context = b};
    b->pool = pool_new(&o, &why);
    if (b->pool == NULL) {
        cannot_bind("broker.workers", address, why, error);
    }
    return b->pool != NULL;
}

static void open_operate(struct broker *b)
{
    const struct operate_options o = {.base = b->base,
                                      .core = b->core,
                                      .on_purged = on_purged,
                                      .on_turn = want_turn,
                                      .context = b};
    b->operate = operate_new(&o);
}

static bool open_clients(struct broker *b, char error[512])
{
    const char *address = b->config->broker_clients;
    const char *why = NULL;
    const struct clients_options o = {.base = b->base,
                                      .zmq = b->zmq,
                                      .address = address,
                                      .clients_max = (uint32_t)b->config->broker_clients_max,
                                      .core = b->core,
                                      .permits = b->permits,
                                      .put_info = put_info,
                                      .routes_known = routes_known,
                                      .purge = on_purge,
                                      .on_turn = want_turn,
                                      .on_many = end_turn_early,
                                      .many = TURN_JOBS,
                                      .context = b};
    b->clients = clients_new(&o, &why);
    if (b->clients == NULL) {
        cannot_bind("broker.clients", address, why, error);
    }
    return b->clients != NULL;
}

static bool open_http(struct broker *b, char error[512])
{
    const struct http_options o = {.base = b->base,
                                   .listen = b->config->broker_metrics,
                                   .put_metrics = put_metrics,
                                   .unready = unready,
                                   .context = b};
    char why[256];
    b->http = http_new(&o, why);
    if (b->http == NULL) {
        (void)snprintf(error, 512, "%s", why);
    }
    return b->http != NULL;
}

static bool lanes_known(void *context)
{
    const struct broker *b = context;
    return routes_loaded(b->routes) && !b->held;
}

static void open_controls(struct broker *b)
{
    const struct config *c = b->config;
    bool told = c->broker_advertise_clients[0] != '\0';
    const struct controls_follower_options o = {.base = b->base,
                                                .store = b->store,
                                                .prefix = c->redis_prefix,
                                                .address = told ? c->broker_advertise_clients
                                                                : c->broker_clients,
                                                .routes = b->routes,
                                                .on_drain = on_held,
                                                .context = b};
    b->controls = controls_follower_new(&o);
}

static bool open_store(struct broker *b, char error[512])
{
    struct store_access redis;
    if (!store_access_begin(b->config, &redis, error)) {
        return false;
    }
    const struct store_options o = {.address = redis.address,
                                    .password = redis.password,
                                    .timeout_ms = redis.timeout_ms,
                                    .pending_max = STORE_PENDING_MAX,
                                    .on_state = on_store_state,
                                    .on_forgot = on_store_forgot,
                                    .context = b};
    b->store = store_new(b->base, &o);
    store_access_end(&redis);
    b->routes = routes_new(b->base, b->store, b->config->redis_prefix, b->core, on_routes, b);
    open_controls(b);
    const struct outbox_options due = {.base = b->base,
                                       .store = b->store,
                                       .prefix = b->config->redis_prefix,
                                       .core = b->core,
                                       .ready = lanes_known,
                                       .on_turn = want_turn,
                                       .context = b};
    b->outbox = outbox_new(&due);
    const struct budgets_options parts = {.base = b->base,
                                          .store = b->store,
                                          .prefix = b->config->redis_prefix,
                                          .token = b->self.token,
                                          .core = b->core,
                                          .on_turn = want_turn,
                                          .context = b};
    b->budgets = budgets_new(&parts);
    return true;
}

static void open_loop(struct broker *b)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT};
    b->base = event_base_new();
    need(b->base != NULL);
    b->turn = event_new(b->base, -1, 0, on_end_turn, b);
    b->wake = event_new(b->base, -1, 0, on_wake, b);
    b->drain_over = event_new(b->base, -1, 0, on_drain_over, b);
    b->hand_over = event_new(b->base, -1, 0, on_hand_over, b);
    b->open_late = event_new(b->base, -1, 0, on_open_late, b);
    need(b->turn != NULL && b->wake != NULL && b->drain_over != NULL && b->open_late != NULL);
    for (int i = 0; i < SIGNALS; i++) {
        b->signals[i] = evsignal_new(b->base, numbers[i], on_signal, b);
        need(b->signals[i] != NULL && event_add(b->signals[i], NULL) == 0);
    }
}

struct broker *broker_new(const struct config *config, char error[512])
{
    struct broker *b = xcalloc(1, sizeof(*b));
    b->config = config;
    b->started_ms = clock_mono_ms();
    b->wake_ms = INT64_MAX;
    self_line(config, &b->self);
    (void)signal(SIGPIPE, SIG_IGN);
    open_loop(b);
    b->zmq = zmq_ctx_new();
    need(b->zmq != NULL);
    b->core = open_core(b);
    open_operate(b);
    if (open_permits(b, error) && open_store(b, error) && open_pool(b, error) &&
        open_clients(b, error) && open_http(b, error)) {
        return b;
    }
    broker_destroy(&b);
    return NULL;
}

int broker_run(struct broker *b)
{
    const struct timeval at_once = {0, 0}, patience = {BROKER_OPEN_MS / 1000, 0};
    need(event_add(b->open_late, routes_known(b) ? &at_once : &patience) == 0);
    need(event_base_loop(b->base, EVLOOP_NO_EXIT_ON_EMPTY) >= 0);
    if (b->peers != NULL) {
        budgets_leave(b->budgets);
        peers_end(b->peers);
        need(event_base_loop(b->base, EVLOOP_NONBLOCK) >= 0); /* an answer is not awaited */
    }
    return b->cut_short ? 1 : 0;
}

static void free_event(struct event *e)
{
    if (e != NULL) {
        event_free(e);
    }
}

void broker_destroy(struct broker **broker)
{
    struct broker *b = *broker;
    if (b == NULL) {
        return;
    }
    *broker = NULL;
    http_destroy(&b->http);
    operate_destroy(&b->operate);
    clients_destroy(&b->clients);
    pool_destroy(&b->pool);
    permits_destroy(&b->permits);
    curve_pair_wipe(&b->pair);
    outbox_destroy(&b->outbox);
    controls_follower_destroy(&b->controls);
    shelves_destroy(&b->shelves);
    peers_destroy(&b->peers);
    budgets_destroy(&b->budgets);
    routes_destroy(&b->routes);
    store_destroy(&b->store);
    core_destroy(&b->core);
    (void)zmq_ctx_term(b->zmq);
    free_event(b->open_late);
    free_event(b->turn);
    free_event(b->wake);
    free_event(b->drain_over);
    free_event(b->hand_over);
    for (int i = 0; i < SIGNALS; i++) {
        free_event(b->signals[i]);
    }
    event_base_free(b->base);
    free(b);
}
