#include "workers/worker.h"

#include <event2/event_struct.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#include "common/adapters/brokers_watch.h"
#include "common/adapters/curve.h"
#include "common/adapters/store_access.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/meaning/code.h"
#include "workers/brokers.h"
#include "workers/courier.h"
#include "workers/flow.h"
#include "workers/inform.h"

enum {
    OWNER_CHARS = 16,
    PEPPER_BYTES_MAX = 4096,
    /* Claims and results outlive every job that may still be submitted again under its id. */
    RESULT_KEEP_MS = WIRE_TTL_MAX_MS + 600 * 1000,
    STORE_PENDING_SPARE = 1000
};

struct worker {
    const struct config *config;
    struct event_base *base;
    void *zmq_context;
    char name[128];
    char owner[OWNER_CHARS + 1]; /* random: this process as the owner of claims */
    struct curve_pair pair;      /* of worker.curve_secret_file; empty without */
    char *pepper;
    size_t pepper_bytes;
    struct secrets *secrets;
    struct store *store;
    struct session_store *sessions;
    struct flash_store *flash;
    struct records_watch *watch;
    struct fetch *fetch;
    struct brokers *brokers;
    struct brokers_watch *found; /* brokers that live */
    struct flows flows;
    struct informs informs;
    struct outbox_store *outbox;
    struct courier *courier; /* callbacks */
    struct event on_term;
    struct event on_int;
    struct event drain_over;
    void (*on_ready)(void);
    bool store_up;
    bool loaded; /* the first records are here */
    bool draining;
    bool cut_short; /* calls were left behind */
};

/* ---- what jobs need -------------------------------------------------------------------------- */

/* Nobody gets credit while jobs could not begin. */
static void judge_able(struct worker *w)
{
    brokers_able(w->brokers, w->store_up && w->loaded && !w->draining);
}

static void on_brokers(void *context, const struct broker_line *lines, size_t count)
{
    struct worker *w = context;
    brokers_found(w->brokers, lines, count);
}

static void on_store_state(void *context, bool up)
{
    struct worker *w = context;
    if (!up) { /* the rest stands in the log of the store */
        log_warn("store is away: no jobs are taken until it is back", NULL);
    }
    w->store_up = up;
    judge_able(w);
}

static void on_store_forgot(void *context)
{
    const struct worker *w = context;
    session_store_forgot(w->sessions);
}

static void on_records(void *context, struct records *now UNUSED)
{
    struct worker *w = context;
    if (!w->loaded) {
        w->loaded = true;
        w->on_ready();
    }
    judge_able(w);
}

static void begin(void *context, struct link *from, const struct wire_job *job, struct slice body,
                  int64_t waited_ms)
{
    struct worker *w = context;
    switch (job->op) {
    case WIRE_OP_SEND:
    case WIRE_OP_VERIFY:
    case WIRE_OP_FLASH_CREATE:
    case WIRE_OPS:
        flow_begin(&w->flows, from, job, body, waited_ms);
        break;
    case WIRE_OP_CALLBACK:
        courier_begin(w->courier, from, job, body);
        break;
    case WIRE_OP_FLASH_QUERY:
    case WIRE_OP_REPORT:
        inform_begin(&w->informs, from, job, body);
        break;
    }
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void leave(struct worker *w)
{
    (void)event_base_loopexit(w->base, NULL); /* after this turn: its results go out first */
}

/* Jobs that are here, in all that runs jobs. */
static size_t jobs_here(const struct worker *w)
{
    return w->flows.count + w->informs.count + courier_count(w->courier);
}

/* Each that runs jobs says so whenever its last one ends while it drains. */
static void on_idle(void *context)
{
    struct worker *w = context;
    if (jobs_here(w) == 0) {
        leave(w);
    }
}

static void drain_jobs(struct worker *w)
{
    flows_drain(&w->flows);
    informs_drain(&w->informs);
    courier_drain(w->courier);
}

static void on_drain_over(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    struct worker *w = context;
    log_warn("leaving calls behind: they end as unknown", "calls", log_num((long long)jobs_here(w)),
             NULL);
    w->cut_short = true;
    leave(w);
}

static void on_signal(evutil_socket_t number, short events, void *context)
{
    (void)events;
    struct worker *w = context;
    if (w->draining) {
        on_drain_over(-1, 0, w);
        return;
    }
    log_info("draining", "signal", log_num(number), "jobs", log_num(brokers_jobs(w->brokers)),
             NULL);
    w->draining = true;
    const long drain_ms = (long)w->config->worker_drain_ms;
    const struct timeval bound = {.tv_sec = drain_ms / 1000, .tv_usec = (drain_ms % 1000) * 1000};
    need(event_add(&w->drain_over, &bound) == 0);
    brokers_freeze(w->brokers);
    drain_jobs(w);
}

int worker_run(struct worker *w, void (*on_ready)(void))
{
    w->on_ready = on_ready;
    need(event_base_dispatch(w->base) >= 0);
    brokers_quit(w->brokers);
    return w->cut_short ? 1 : 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

static bool read_pair(struct worker *w, char error[512])
{
    char why[256];
    const char *file = w->config->worker_curve_secret_file;
    bool ok = curve_pair_read(file, &w->pair, why);
    if (!ok) {
        (void)snprintf(error, 512, "worker.curve_secret_file: %.200s: %s", file, why);
    }
    return ok;
}

static bool read_secrets(struct worker *w, char error[512])
{
    struct yaml_error why;
    char *path = config_path(w->config, w->config->secrets_pepper_file, "pepper");
    w->pepper = secret_file_read(path, PEPPER_BYTES_MAX, &w->pepper_bytes, &why);
    free(path);
    if (w->pepper == NULL) {
        (void)snprintf(error, 512, "secrets.pepper_file: %.400s", why.text);
        return false;
    }
    if (w->pepper_bytes < CODE_PEPPER_BYTES_MIN) {
        (void)snprintf(error, 512, "secrets.pepper_file: shorter than %d bytes",
                       (int)CODE_PEPPER_BYTES_MIN);
        return false;
    }
    w->secrets = secrets_load(w->config->secrets_file, &why);
    if (w->secrets == NULL) {
        (void)snprintf(error, 512, "secrets.file: %.400s", why.text);
    }
    return w->secrets != NULL;
}

static void make_store(struct worker *w, const struct store_access *redis)
{
    const struct config *c = w->config;
    const struct store_options store = {
        .address = redis->address,
        .password = redis->password,
        .timeout_ms = redis->timeout_ms,
        .pending_max = (uint32_t)(2 * c->worker_capacity + STORE_PENDING_SPARE),
        .on_state = on_store_state,
        .on_forgot = on_store_forgot,
        .context = w,
    };
    const struct session_store_options sessions = {
        .prefix = c->redis_prefix,
        .owner = w->owner,
        .pepper = slice_make(w->pepper, w->pepper_bytes),
        .session_keep_s = c->session_keep_s,
        .events_keep_s = c->events_keep_s,
        .result_keep_ms = RESULT_KEEP_MS,
    };
    w->store = store_new(w->base, &store);
    w->sessions = session_store_new(w->store, &sessions);
    w->flash = flash_store_new(w->store, &sessions);
    w->outbox = outbox_store_new(w->store, c->redis_prefix, c->events_keep_s);
    w->watch = records_watch_new(w->base, w->store, c->redis_prefix, on_records, w);
}

static bool open_store(struct worker *w, char error[512])
{
    struct store_access redis;
    if (!store_access_begin(w->config, &redis, error)) {
        return false;
    }
    bool ok = store_check(redis.address, redis.password, redis.timeout_ms, error);
    if (ok) {
        make_store(w, &redis);
    }
    store_access_end(&redis);
    return ok;
}

static bool open_fetch(struct worker *w, char error[512])
{
    const struct config *c = w->config;
    char why[256];
    const struct fetch_options o = {
        .multi_handles = (uint32_t)c->worker_multi_handles,
        .calls_max = (uint32_t)c->worker_capacity + CONFIG_LIST_MAX,
        .body_bytes_max = (uint32_t)c->worker_body_bytes_max,
        .allow = (const char *const *)c->outgoing_allow.at,
        .allow_count = c->outgoing_allow.count,
        .proxy = c->outgoing_proxy,
        .user_agent = "otpq/" OTPQ_VERSION,
    };
    w->fetch = fetch_new(w->base, &o, why);
    if (w->fetch == NULL) {
        (void)snprintf(error, 512, "outgoing.allow: %s", why);
    }
    return w->fetch != NULL;
}

static void open_flows(struct worker *w)
{
    w->flows = (struct flows){
        .base = w->base,
        .fetch = w->fetch,
        .sessions = w->sessions,
        .flash = w->flash,
        .watch = w->watch,
        .secrets = w->secrets,
        .pepper = slice_make(w->pepper, w->pepper_bytes),
        .flows_max = (uint32_t)w->config->worker_capacity + CONFIG_LIST_MAX,
        .on_idle = on_idle,
        .context = w,
    };
    flows_init(&w->flows);
    w->informs = (struct informs){
        .flash = w->flash,
        .watch = w->watch,
        .pepper = slice_make(w->pepper, w->pepper_bytes),
        .max = w->flows.flows_max,
        .on_idle = on_idle,
        .context = w,
    };
    informs_init(&w->informs);
}

static void open_courier(struct worker *w)
{
    const struct config_list *after_s = &w->config->worker_callback_retry_s;
    struct courier_options o = {
        .fetch = w->fetch,
        .outbox = w->outbox,
        .flash = w->flash,
        .watch = w->watch,
        .secrets = w->secrets,
        .pepper = slice_make(w->pepper, w->pepper_bytes),
        .runs_max = w->flows.flows_max,
        .on_idle = on_idle,
        .context = w,
    };
    for (size_t i = 0; i < after_s->count && i < CALLBACK_RETRIES_MAX; i++) {
        o.schedule.after_s[o.schedule.count++] = (uint32_t)strtoul(after_s->at[i], NULL, 10);
    }
    w->courier = courier_new(&o);
}

static bool open_brokers(struct worker *w, char error[512])
{
    const struct config_list *known = &w->config->worker_brokers;
    for (size_t i = 0; i < known->count; i++) {
        const char *why = NULL;
        const char *key = config_broker_key(&w->config->worker_broker_keys, i);
        if (!brokers_connect(w->brokers, known->at[i], key, &why)) {
            (void)snprintf(error, 512, "worker.brokers: %s: %s", known->at[i], why);
            return false;
        }
    }
    w->found = brokers_watch_new(w->base, w->store, w->config->redis_prefix, on_brokers, w);
    return true;
}

static void open_signals(struct worker *w)
{
    (void)signal(SIGPIPE, SIG_IGN); /* libcurl and sockets report by error */
    must(evsignal_assign(&w->on_term, w->base, SIGTERM, on_signal, w) == 0);
    must(evsignal_assign(&w->on_int, w->base, SIGINT, on_signal, w) == 0);
    must(evtimer_assign(&w->drain_over, w->base, on_drain_over, w) == 0);
    need(event_add(&w->on_term, NULL) == 0 && event_add(&w->on_int, NULL) == 0);
}

/* A call is a descriptor: as many as the system lets us have. */
static void raise_descriptor_limit(const struct config *c)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < c->worker_capacity + 100) {
        log_warn("fewer descriptors than worker.capacity: calls will fail", "limit",
                 log_num((long long)limit.rlim_cur), "key", "worker.capacity", NULL);
    }
}

static void name_worker(struct worker *w)
{
    char host[64] = "";
    rng_secure_text(w->owner, OWNER_CHARS);
    (void)gethostname(host, sizeof host - 1);
    if (w->config->worker_name[0] != '\0') {
        (void)snprintf(w->name, sizeof w->name, "%.120s", w->config->worker_name);
    } else {
        (void)snprintf(w->name, sizeof w->name, "%s-%ld", host, (long)getpid());
    }
}

struct worker *worker_new(const struct config *config, char error[512])
{
    struct worker *w = xcalloc(1, sizeof *w);
    w->config = config;
    name_worker(w);
    raise_descriptor_limit(config);
    w->base = event_base_new();
    w->zmq_context = zmq_ctx_new();
    need(w->base != NULL && w->zmq_context != NULL);
    open_signals(w);
    const struct brokers_options brokers = {.base = w->base,
                                            .zmq_context = w->zmq_context,
                                            .name = w->name,
                                            .capacity = (uint32_t)config->worker_capacity,
                                            .pair = &w->pair,
                                            .begin = begin,
                                            .context = w};
    w->brokers = brokers_new(&brokers);
    if (!read_pair(w, error) || !read_secrets(w, error) || !open_store(w, error) ||
        !open_fetch(w, error)) {
        worker_destroy(&w);
        return NULL;
    }
    open_flows(w);
    open_courier(w);
    if (!open_brokers(w, error)) {
        worker_destroy(&w);
    }
    return w;
}

void worker_destroy(struct worker **worker)
{
    struct worker *w = *worker;
    if (w == NULL) {
        return;
    }
    /* The store first: what it still owes the flows is told them while they are there. */
    records_watch_destroy(&w->watch);
    brokers_watch_destroy(&w->found);
    store_destroy(&w->store);
    if (w->flows.base != NULL) {
        flows_abandon(&w->flows);
        informs_abandon(&w->informs);
    }
    courier_destroy(&w->courier);
    outbox_store_destroy(&w->outbox);
    session_store_destroy(&w->sessions);
    flash_store_destroy(&w->flash);
    fetch_destroy(&w->fetch);
    brokers_destroy(&w->brokers);
    (void)zmq_ctx_term(w->zmq_context);
    (void)event_del(&w->on_term);
    (void)event_del(&w->on_int);
    (void)event_del(&w->drain_over);
    event_base_free(w->base);
    secrets_destroy(&w->secrets);
    curve_pair_wipe(&w->pair);
    secret_wipe(&w->pepper, w->pepper_bytes);
    free(w);
    *worker = NULL;
}
