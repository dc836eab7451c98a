#include "gateway/gateway.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "common/adapters/brokers_watch.h"
#include "common/adapters/httpd.h"
#include "common/adapters/listen_fd.h"
#include "common/adapters/records_watch.h"
#include "common/adapters/store.h"
#include "common/adapters/store_access.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "gateway/intake.h"
#include "gateway/jobs.h"
#include "gateway/reply.h"

enum {
    SIGNALS = 2,
    REQUEST_BODY_BYTES_MAX = 64 * 1024,
    REQUEST_HEADER_BYTES_MAX = 8 * 1024,
    STORE_PENDING_MAX = 1000,
    ID_RANDOM = 26,
    LOOK_MS = 20,              /* how often boot and drain look whether they are done */
    READY_AT_LATEST_MS = 5000, /* then it serves 503 rather than hold up the node */
    DRAIN_EXTRA_MS = 5000,     /* beyond a job's time to live */
    LEAVE_MS = 1000            /* the next request of a kept connection may be on its way so long */
};

struct gateway {
    const struct config *config;    /* borrowed */
    char *public_url;               /* without a "/" at its end */
    struct event_base *base;        /* the loop */
    struct store *store;            /* Redis: records */
    struct records_watch *watch;    /* the records */
    struct brokers_watch *brokers;  /* who lives */
    struct jobs *jobs;              /* the queue */
    struct logins *logins;          /* passwords that were right */
    struct httpd *httpd;            /* the server */
    struct event *signals[SIGNALS]; /* SIGTERM, SIGINT */
    struct event *look;             /* timer: boot, later drain */
    int64_t look_until_ms;          /* end of patience with either */
    char listen[64];                /* where, as it is bound */
    bool passed;                    /* the listening socket came from whoever started us */
    bool loaded;                    /* records were read once */
    bool draining;                  /* a signal came */
    bool cut_short;                 /* left with requests open */
};

/* ---- requests ------------------------------------------------------------------------------- */

/* What is missing for good health, as a JSON array's inside; "" when all is well. */
static const char *ailments(const struct gateway *g)
{
    bool broker = jobs_brokers_up(g->jobs) > 0;
    if (g->draining) {
        return "\"this gateway is being ended\"";
    }
    if (broker && g->loaded) {
        return "";
    }
    if (broker) {
        return "\"the records are not loaded: redis.address does not answer\"";
    }
    return g->loaded ? "\"no broker answers: gateway.brokers\""
                     : "\"no broker answers: gateway.brokers\","
                       "\"the records are not loaded: redis.address does not answer\"";
}

static void answer_health(const struct gateway *g, struct httpd_request *r)
{
    char text[256];
    const char *reasons = ailments(g);
    if (reasons[0] == '\0') {
        httpd_answer(r, 200, "application/json", SLICE("{\"status\":\"ok\"}"));
        return;
    }
    int n = snprintf(text, sizeof(text), "{\"status\":\"unavailable\",\"reasons\":[%s]}", reasons);
    must(n > 0 && (size_t)n < sizeof(text));
    httpd_set_header(r, "Retry-After", "1");
    httpd_answer(r, 503, "application/json", slice_make(text, (size_t)n));
}

/* Without records nobody can be known: not the caller's fault. */
static void answer_not_loaded(struct httpd_request *r, const struct intake *in)
{
    struct answer a;
    in->system->fail(&a, in->kept, RESULT_STORE_UNAVAILABLE, 0, "the records are not loaded yet",
                     0);
    reply_send(r, &a);
    answer_free(&a);
}

static struct slice header_of(void *context, const char *name)
{
    return httpd_header(context, name);
}

static void on_request(void *context, struct httpd_request *r)
{
    struct gateway *g = context;
    char id[2 + ID_RANDOM + 1] = "g-";
    struct intake intake;
    const struct intake_input in = {
        .method = httpd_method(r),
        .path = httpd_path(r),
        .query = httpd_query(r),
        .content_type = httpd_header(r, "Content-Type"),
        .body = httpd_body(r),
        .caller = {.ip = httpd_peer(r),
                   .user_agent = httpd_header(r, "User-Agent"),
                   .accept_language = httpd_header(r, "Accept-Language")},
        .header = header_of,
        .context = r,
        .public_url = g->public_url,
        .wall_ms = clock_wall_ms(),
        .mono_ms = clock_mono_ms(),
        .logins = g->logins};
    rng_secure_text(id + 2, ID_RANDOM);
    intake_make(&intake, records_watch_now(g->watch), &in);
    const char *known_as = intake.id[0] != '\0' ? intake.id : id;
    httpd_set_header(r, "X-Request-Id", known_as);
    if (intake.kind == INTAKE_HEALTH) {
        answer_health(g, r);
    } else if (intake.system != NULL && !g->loaded) {
        answer_not_loaded(r, &intake);
    } else if (intake.kind == INTAKE_ANSWER) {
        reply_send(r, &intake.answer);
    } else {
        jobs_start(g->jobs, r, known_as, &intake);
    }
    intake_free(&intake);
}

/* ---- boot and drain ------------------------------------------------------------------------- */

static void look_again(struct gateway *g)
{
    static const struct timeval soon = {0, LOOK_MS * 1000};
    need(event_add(g->look, &soon) == 0);
}

/* One that boots must not take requests from healthy gateways on its port only to refuse them. */
static void look_after_boot(struct gateway *g)
{
    const char *reasons = ailments(g);
    bool late = clock_mono_ms() > g->look_until_ms;
    if (reasons[0] != '\0' && !late) {
        look_again(g);
        return;
    }
    if (late) {
        log_warn("not healthy yet, requests get 503", "reasons", reasons, NULL);
    }
    httpd_start_listening(g->httpd);
    log_info("ready", "listen", g->listen, "socket", g->passed ? "passed" : "own", NULL);
    (void)sd_notify(0, "READY=1");
}

static void look_after_drain(struct gateway *g)
{
    bool late = clock_mono_ms() > g->look_until_ms;
    if (httpd_connections(g->httpd) > 0 && !late) {
        look_again(g);
        return;
    }
    if (late && httpd_requests_open(g->httpd) > 0) {
        log_warn("leaving with requests open", "requests", log_num(httpd_requests_open(g->httpd)),
                 NULL);
        g->cut_short = true;
    }
    (void)event_base_loopbreak(g->base);
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct gateway *g = context;
    if (g->draining) {
        look_after_drain(g);
    } else {
        look_after_boot(g);
    }
}

static void on_signal(evutil_socket_t number, short what, void *context)
{
    (void)what;
    struct gateway *g = context;
    if (g->draining) {
        log_warn("second signal: leaving at once", NULL);
        g->cut_short = true;
        (void)event_base_loopbreak(g->base);
        return;
    }
    log_info("draining", "signal", log_num(number), "open", log_num(httpd_requests_open(g->httpd)),
             NULL);
    (void)sd_notify(0, "STOPPING=1\nSTATUS=finishing open requests");
    g->draining = true;
    g->look_until_ms = clock_mono_ms() + (int64_t)g->config->gateway_job_ttl_ms + DRAIN_EXTRA_MS;
    httpd_stop_listening(g->httpd);
    look_again(g);
}

static void on_records(void *context, struct records *now UNUSED)
{
    struct gateway *g = context;
    g->loaded = true;
}

/* Those that are configured, whoever they are, and those that are found. */
/* The texts of all brokers: those that are configured, then those that were found. */
struct broker_texts {
    size_t count;
    const char *at[CONFIG_LIST_MAX + BROKERS_MAX];
    char text[CONFIG_LIST_MAX + BROKERS_MAX][CONFIG_BROKER_BYTES];
};

static void add_broker(struct broker_texts *t, const char *address, const char *key)
{
    config_broker_text(t->text[t->count], address, key);
    t->at[t->count] = t->text[t->count];
    t->count++;
}

static void add_configured(struct broker_texts *t, const struct config *c)
{
    t->count = 0;
    for (size_t i = 0; i < c->gateway_brokers.count; i++) {
        add_broker(t, c->gateway_brokers.at[i], config_broker_key(&c->gateway_broker_keys, i));
    }
}

static bool is_configured(const struct config *c, const char *address)
{
    for (size_t i = 0; i < c->gateway_brokers.count; i++) {
        if (strcmp(c->gateway_brokers.at[i], address) == 0) {
            return true;
        }
    }
    return false;
}

/* What the configuration says of a broker's key holds, whatever its line says. */
static void on_brokers(void *context, const struct broker_line *lines, size_t count)
{
    struct gateway *g = context;
    bool has_keys = g->config->gateway_curve_secret_file[0] != '\0';
    struct broker_texts t;
    add_configured(&t, g->config);
    for (size_t i = 0; i < count && i < BROKERS_MAX; i++) {
        if (!is_configured(g->config, lines[i].clients)) {
            add_broker(&t, lines[i].clients, has_keys ? lines[i].key : NULL);
        }
    }
    jobs_brokers(g->jobs, t.at, t.count);
}

static void on_store_state(void *context, bool up)
{
    (void)context;
    if (!up) { /* the rest stands in the log of the store */
        log_warn("store is away: the last records stay in use", NULL);
    }
}

/* ---- opening -------------------------------------------------------------------------------- */

static bool open_store(struct gateway *g, char error[512])
{
    struct store_access redis;
    if (!store_access_begin(g->config, &redis, error)) {
        return false;
    }
    const struct store_options o = {.address = redis.address,
                                    .password = redis.password,
                                    .timeout_ms = redis.timeout_ms,
                                    .pending_max = STORE_PENDING_MAX,
                                    .on_state = on_store_state,
                                    .context = g};
    g->store = store_new(g->base, &o);
    store_access_end(&redis);
    g->watch = records_watch_new(g->base, g->store, g->config->redis_prefix, on_records, g);
    return true;
}

static bool open_jobs(struct gateway *g, char error[512])
{
    const char *why = NULL;
    struct broker_texts t;
    add_configured(&t, g->config);
    const struct jobs_options o = {.base = g->base,
                                   .brokers = t.at,
                                   .broker_count = t.count,
                                   .curve_secret_file = g->config->gateway_curve_secret_file,
                                   .inflight_max = (uint32_t)g->config->gateway_inflight_max,
                                   .ttl_ms = (uint32_t)g->config->gateway_job_ttl_ms};
    g->jobs = jobs_new(&o, &why);
    if (g->jobs == NULL) {
        (void)snprintf(error, 512, "gateway.brokers: %s", why);
        return false;
    }
    g->brokers = brokers_watch_new(g->base, g->store, g->config->redis_prefix, on_brokers, g);
    return true;
}

static bool open_httpd(struct gateway *g, char error[512])
{
    char why[256];
    int passed = -1;
    if (!listen_fd_passed(&passed, why)) {
        (void)snprintf(error, 512, "%s", why);
        return false;
    }
    g->passed = passed > 0;
    (void)snprintf(g->listen, sizeof(g->listen), "%.60s", g->config->gateway_listen);
    if (g->passed) {
        listen_fd_name(passed, g->listen);
    }
    const struct httpd_options o = {.listen = g->config->gateway_listen,
                                    .listen_key = "gateway.listen",
                                    .passed_fd = passed,
                                    .reuse_port = true,
                                    .listen_later = true,
                                    .body_bytes_max = REQUEST_BODY_BYTES_MAX,
                                    .header_bytes_max = REQUEST_HEADER_BYTES_MAX,
                                    .arrive_ms = (uint32_t)g->config->gateway_request_ms,
                                    .connections_max = (uint32_t)g->config->gateway_connections_max,
                                    .leave_ms = LEAVE_MS,
                                    .on_request = on_request,
                                    .context = g};
    g->httpd = httpd_new(g->base, &o, why);
    if (g->httpd == NULL) {
        (void)snprintf(error, 512, "%s", why);
    }
    return g->httpd != NULL;
}

/* Where others reach this gateway, as far as it can know by itself. */
static char *public_url(const struct config *c)
{
    struct buf b;
    if (c->gateway_public_url[0] != '\0') {
        return slice_dup(slice_of(c->gateway_public_url));
    }
    buf_init(&b, 512);
    buf_printf(&b, "http://%s", c->gateway_listen);
    return buf_take(&b);
}

static void open_loop(struct gateway *g)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT};
    g->base = event_base_new();
    need(g->base != NULL);
    g->look = event_new(g->base, -1, 0, on_look, g);
    must(g->look != NULL);
    for (int i = 0; i < SIGNALS; i++) {
        g->signals[i] = evsignal_new(g->base, numbers[i], on_signal, g);
        need(g->signals[i] != NULL && event_add(g->signals[i], NULL) == 0);
    }
}

struct gateway *gateway_new(const struct config *config, char error[512])
{
    struct gateway *g = xcalloc(1, sizeof(*g));
    g->config = config;
    g->public_url = public_url(config);
    g->logins = logins_new();
    open_loop(g);
    if (open_store(g, error) && open_jobs(g, error) && open_httpd(g, error)) {
        return g;
    }
    gateway_destroy(&g);
    return NULL;
}

int gateway_run(struct gateway *g)
{
    g->look_until_ms = clock_mono_ms() + READY_AT_LATEST_MS;
    look_again(g);
    need(event_base_loop(g->base, EVLOOP_NO_EXIT_ON_EMPTY) >= 0);
    return g->cut_short ? 1 : 0;
}

void gateway_destroy(struct gateway **gp)
{
    struct gateway *g = *gp;
    if (g == NULL) {
        return;
    }
    *gp = NULL;
    brokers_watch_destroy(&g->brokers);
    jobs_destroy(&g->jobs);
    logins_destroy(&g->logins);
    httpd_destroy(&g->httpd);
    records_watch_destroy(&g->watch);
    store_destroy(&g->store);
    event_free(g->look);
    for (int i = 0; i < SIGNALS; i++) {
        event_free(g->signals[i]);
    }
    event_base_free(g->base);
    free(g->public_url);
    free(g);
}
