/*
 * Calls in flight, by libcurl alone and by common/adapters/fetch, in the same shape: many multi
 * handles, one libevent loop, kept connections, pooled easy handles.
 *
 *     bench_fetch bare|fetch URL IN_FLIGHT CALLS HANDLES
 *
 * Prints one line: calls/s, p50 and p99 in ms, CPU µs a call, KiB a call (growth of the resident
 * set over the calls in flight). The first IN_FLIGHT calls open the connections and do not count.
 */
#include <curl/curl.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/adapters/fetch.h"
#include "common/base/clock.h"

struct run {
    struct event_base *base;
    long in_flight; /* to be kept up */
    long calls;     /* to be counted */
    long started;
    long ended;
    long failed;
    int64_t *took_us;  /* of every counted call */
    int64_t began_us;  /* when counting began */
    int64_t cpu_us;    /* then */
    long rss_kib;      /* before the first call */
    long rss_full_kib; /* with all in flight */
    const char *url;
};

static int64_t cpu_us(void)
{
    struct rusage u;
    must(getrusage(RUSAGE_SELF, &u) == 0);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

static long rss_kib(void)
{
    long pages = 0;
    long resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    must(f != NULL && fscanf(f, "%ld %ld", &pages, &resident) == 2);
    (void)fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* True when another call is to be started. */
static bool run_ended(struct run *r, int64_t took_us, bool ok)
{
    r->ended++;
    r->failed += ok ? 0 : 1;
    if (r->ended == r->in_flight) {
        r->began_us = clock_mono_us();
        r->cpu_us = cpu_us();
        r->rss_full_kib = rss_kib();
    } else if (r->ended > r->in_flight && r->ended <= r->in_flight + r->calls) {
        r->took_us[r->ended - r->in_flight - 1] = took_us;
    }
    if (r->ended == r->in_flight + r->calls) {
        event_base_loopbreak(r->base);
        return false;
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void run_report(struct run *r, const char *name)
{
    double seconds = (double)(clock_mono_us() - r->began_us) / 1e6;
    double cpu = (double)(cpu_us() - r->cpu_us);
    qsort(r->took_us, (size_t)r->calls, sizeof r->took_us[0], by_value);
    (void)printf("%-6s calls/s %.0f  p50 %.1f ms  p99 %.1f ms  cpu %.1f us/call  memory %.1f "
                 "KiB/call  failed %ld\n",
                 name, (double)r->calls / seconds, (double)r->took_us[r->calls / 2] / 1000,
                 (double)r->took_us[r->calls * 99 / 100] / 1000, cpu / (double)r->calls,
                 (double)(r->rss_full_kib - r->rss_kib) / (double)r->in_flight, r->failed);
}

/* ---- bare ------------------------------------------------------------------------------------ */

struct shard {
    struct run *run;
    CURLM *multi;
    struct event *timer;
};

struct bare_call {
    struct shard *shard;
    CURL *easy;
    int64_t began_us;
};

static void drain(struct shard *s);

static void on_socket(evutil_socket_t fd, short what, void *context)
{
    int running;
    (void)curl_multi_socket_action(((struct shard *)context)->multi, fd,
                                   (what & EV_READ ? CURL_CSELECT_IN : 0) |
                                       (what & EV_WRITE ? CURL_CSELECT_OUT : 0),
                                   &running);
    drain(context);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    int running;
    (void)curl_multi_socket_action(((struct shard *)context)->multi, CURL_SOCKET_TIMEOUT, 0,
                                   &running);
    drain(context);
}

static int set_timer(CURLM *multi, long ms, void *context)
{
    (void)multi;
    struct shard *s = context;
    struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
    return ms < 0 ? event_del(s->timer) : event_add(s->timer, &tv);
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *of_socket)
{
    (void)easy;
    struct shard *s = context;
    struct event *e = of_socket;
    if (e != NULL) {
        event_free(e);
    }
    e = NULL;
    if (what != CURL_POLL_REMOVE) {
        e = event_new(s->run->base, fd,
                      (short)((what & CURL_POLL_IN ? EV_READ : 0) |
                              (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST),
                      on_socket, s);
        must(event_add(e, NULL) == 0);
    }
    (void)curl_multi_assign(s->multi, fd, e);
    return 0;
}

static size_t swallow(char *bytes, size_t size, size_t n, void *context)
{
    (void)bytes;
    (void)context;
    return size * n;
}

static void bare_start(struct bare_call *c)
{
    c->began_us = clock_mono_us();
    c->shard->run->started++;
    must(curl_multi_add_handle(c->shard->multi, c->easy) == CURLM_OK);
}

static void drain(struct shard *s)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(s->multi, &left)) != NULL) {
        struct bare_call *c = NULL;
        bool ok = m->data.result == CURLE_OK;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        (void)curl_multi_remove_handle(s->multi, c->easy);
        if (run_ended(s->run, clock_mono_us() - c->began_us, ok)) {
            bare_start(c);
        }
    }
}

static void run_bare(struct run *r, int handles)
{
    struct shard *shards = xcalloc((size_t)handles, sizeof *shards);
    for (int i = 0; i < handles; i++) {
        shards[i] = (struct shard){.run = r, .multi = curl_multi_init()};
        shards[i].timer = evtimer_new(r->base, on_timer, &shards[i]);
        (void)curl_multi_setopt(shards[i].multi, CURLMOPT_SOCKETFUNCTION, set_socket);
        (void)curl_multi_setopt(shards[i].multi, CURLMOPT_SOCKETDATA, &shards[i]);
        (void)curl_multi_setopt(shards[i].multi, CURLMOPT_TIMERFUNCTION, set_timer);
        (void)curl_multi_setopt(shards[i].multi, CURLMOPT_TIMERDATA, &shards[i]);
        (void)curl_multi_setopt(shards[i].multi, CURLMOPT_MAXCONNECTS, r->in_flight);
    }
    for (long i = 0; i < r->in_flight; i++) {
        struct bare_call *c = xcalloc(1, sizeof *c);
        *c = (struct bare_call){.shard = &shards[i % handles], .easy = curl_easy_init()};
        (void)curl_easy_setopt(c->easy, CURLOPT_URL, r->url);
        (void)curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
        (void)curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, swallow);
        (void)curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
        (void)curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, 30000L);
        bare_start(c);
    }
    must(event_base_dispatch(r->base) >= 0);
}

/* ---- fetch ----------------------------------------------------------------------------------- */

struct fetch_run {
    struct run *run;
    struct fetch *fetch;
    struct dialect_request request;
};

static void on_fetched(void *context, const struct fetch_result *result);

static void fetch_one(struct fetch_run *x)
{
    x->run->started++;
    const struct fetch_limits limits = {.timeout_ms = 30000, .begin_by_ms = INT64_MAX};
    must(fetch_start(x->fetch, &x->request, &limits, on_fetched, x) != NULL);
}

static void on_fetched(void *context, const struct fetch_result *result)
{
    struct fetch_run *x = context;
    bool ok = result->end == FETCH_ANSWERED && result->http == 200;
    if (run_ended(x->run, result->total_us, ok)) {
        fetch_one(x);
    }
}

static void run_fetch(struct run *r, int handles)
{
    static const char *const allow[] = {"127.0.0.0/8"};
    char error[256];
    struct fetch_options o = {.multi_handles = (uint32_t)handles,
                              .calls_max = (uint32_t)r->in_flight,
                              .body_bytes_max = 65536,
                              .allow = allow,
                              .allow_count = 1,
                              .proxy = "",
                              .user_agent = "bench"};
    struct fetch_run x = {.run = r, .fetch = fetch_new(r->base, &o, error)};
    must(x.fetch != NULL);
    x.request = (struct dialect_request){.method = "GET", .timeout_ms = 30000, .connect_ms = 30000};
    buf_init(&x.request.url, 4096);
    buf_puts(&x.request.url, r->url);
    for (long i = 0; i < r->in_flight; i++) {
        fetch_one(&x);
    }
    must(event_base_dispatch(r->base) >= 0);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        (void)fprintf(stderr, "usage: bench_fetch bare|fetch URL IN_FLIGHT CALLS HANDLES\n");
        return 2;
    }
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    (void)signal(SIGPIPE, SIG_IGN);
    struct run r = {.base = event_base_new(),
                    .url = argv[2],
                    .in_flight = atol(argv[3]),
                    .calls = atol(argv[4])};
    r.took_us = xcalloc((size_t)r.calls, sizeof r.took_us[0]);
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    r.rss_kib = rss_kib();
    if (argv[1][0] == 'b') {
        run_bare(&r, atoi(argv[5]));
    } else {
        run_fetch(&r, atoi(argv[5]));
    }
    run_report(&r, argv[1]);
    return 0; /* the process's end is the clean-up: not measured */
}
