#include "common/adapters/fetch.h"

#include <curl/curl.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "common/adapters/address_rules.h"
#include "common/adapters/memory.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/map.h"

enum {
    /* An advertiser stays in its first multi handle until this many calls are in it, then moves
     * on to the next: few handles for the quiet (connections are reused), many for the busy (the
     * cost of a call grows with the connections in one handle). */
    SHARD_CALLS_GOOD = 96,
    SHARD_CONNECTIONS_SPARE = 16,
    ORIGINS_SPARE = 1024,
    READ_BUFFER_BYTES = 2048
};

/* One multi handle. */
struct shard {
    struct fetch *fetch;
    CURLM *multi;
    struct event timer; /* when libcurl wants to be called */
    uint32_t calls;     /* in flight in this handle */
};

/* A socket that libcurl wants watched. Lives from CURL_POLL_IN/OUT to CURL_POLL_REMOVE. */
struct watch {
    struct event event;
    struct shard *shard;
    int what;           /* CURL_POLL_* that is being watched for */
    struct watch *next; /* in the list of unused ones */
};

/* scheme://host:port of URLs, and where connections to it are idle. */
struct origin {
    /* as libcurl reads it out of the URL, owned (curl_free); NULL: unreadable URL */
    char *host;
    uint32_t calls;  /* in flight */
    uint32_t home;   /* first shard to look at */
    uint32_t idle[]; /* a shard: connections believed to be idle there. A guess: peers close them */
};

struct fetch_call {
    struct list link; /* in fetch.running or fetch.spare */
    struct fetch *fetch;
    CURL *easy;
    struct shard *shard;
    struct origin *origin;
    struct curl_slist *headers;
    struct buf body;       /* of the answer */
    size_t header_bytes;   /* of the answer, so far */
    unsigned prereqs;      /* how often libcurl was about to send the request */
    const char *forbidden; /* special range of an address that was refused, or NULL */
    bool connecting;       /* an address was allowed and a socket opened for it */
    bool refused_on_reuse; /* the kept connection's address is not allowed (any more) */
    bool too_large;
    bool late;           /* begin_by_ms was over when the request was about to be written */
    int64_t begin_by_ms; /* mono; of the limits */
    bool expected_idle;  /* the shard was chosen for a connection believed idle */
    fetch_callback *done;
    void *context;
    char error[CURL_ERROR_SIZE];
};

struct fetch {
    struct event_base *base;
    struct address_rules *rules;
    struct map *origins; /* "http://host:port" → struct origin */
    /* names and TLS sessions: never connections (measured: 6 x the cost) */
    CURLSH *share;
    struct list running;
    struct list spare;     /* calls with a ready easy handle */
    struct watch *watches; /* unused ones */
    char *proxy;
    char *user_agent;
    uint32_t calls_max;
    uint32_t body_bytes_max;
    uint32_t in_flight;
    uint32_t shard_count;
    struct shard shards[];
};

/* ---- what libcurl calls ---------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct fetch_call *c = context;
    size_t n = size * count;
    size_t room = c->body.max - c->body.n;
    buf_put(&c->body, bytes, n < room ? n : room);
    if (n > room) {
        c->too_large = true;
        return 0;
    }
    return n;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    struct fetch_call *c = context;
    c->header_bytes += size * count;
    if (c->header_bytes > c->fetch->body_bytes_max) {
        c->too_large = true;
        return 0;
    }
    return size * count;
}

static bool address_ok(struct fetch_call *c, uint16_t port, const struct sockaddr *address)
{
    const struct fetch *f = c->fetch;
    if (f->proxy[0] != '\0' ||
        address_rules_allow(f->rules, slice_of(c->origin->host), port, address)) {
        return true;
    }
    c->forbidden = address_special(address);
    return false;
}

static curl_socket_t on_open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct fetch_call *c = context;
    const struct sockaddr *address = &a->addr;
    struct sockaddr_in in = {0};
    /* The port stands at the same place for both families. */
    memcpy(&in, address, sizeof in < a->addrlen ? sizeof in : a->addrlen);
    if (purpose != CURLSOCKTYPE_IPCXN || !address_ok(c, ntohs(in.sin_port), address)) {
        return CURL_SOCKET_BAD;
    }
    c->connecting = true;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Runs when a connection is there and the request is about to be written: also on a kept one, and
 * again when libcurl silently repeats the request because a kept connection died without an answer.
 * The first run checks address and time, a second one is the repeat and ends the call. */
static int on_prereq(void *context, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    (void)local_ip;
    (void)local_port;
    struct fetch_call *c = context;
    if (c->prereqs > 0) {
        c->prereqs++;
        return CURL_PREREQFUNC_ABORT;
    }
    struct sockaddr_storage address;
    if (!address_parse(peer_ip, &address) ||
        !address_ok(c, (uint16_t)peer_port, (const struct sockaddr *)&address)) {
        c->refused_on_reuse = true;
        return CURL_PREREQFUNC_ABORT;
    }
    if (clock_mono_ms() >= c->begin_by_ms) {
        c->late = true;
        return CURL_PREREQFUNC_ABORT;
    }
    c->prereqs = 1;
    return CURL_PREREQFUNC_OK;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void shard_drain(struct shard *s);

static void on_socket_ready(evutil_socket_t fd, short events, void *context)
{
    struct watch *w = context;
    struct shard *s = w->shard; /* the watch may be gone when libcurl returns */
    int what =
        ((events & EV_READ) ? CURL_CSELECT_IN : 0) | ((events & EV_WRITE) ? CURL_CSELECT_OUT : 0);
    int running;
    (void)curl_multi_socket_action(s->multi, fd, what, &running);
    shard_drain(s);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    struct shard *s = context;
    int running;
    (void)curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    shard_drain(s);
}

static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct shard *s = context;
    if (timeout_ms < 0) {
        (void)event_del(&s->timer);
        return 0;
    }
    struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = (timeout_ms % 1000) * 1000};
    need(event_add(&s->timer, &tv) == 0);
    return 0;
}

static struct watch *watch_take(struct shard *s)
{
    struct fetch *f = s->fetch;
    struct watch *w = f->watches;
    if (w == NULL) {
        w = xmalloc(sizeof *w);
    } else {
        f->watches = w->next;
    }
    *w = (struct watch){.shard = s};
    return w;
}

static void watch_put(struct watch *w)
{
    struct fetch *f = w->shard->fetch;
    (void)event_del(&w->event);
    w->next = f->watches;
    f->watches = w;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *of_socket)
{
    (void)easy;
    struct shard *s = context;
    struct watch *w = of_socket;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) {
            watch_put(w);
            (void)curl_multi_assign(s->multi, fd, NULL);
        }
        return 0;
    }
    if (w == NULL) {
        w = watch_take(s);
        (void)curl_multi_assign(s->multi, fd, w);
    } else if (w->what == what) {
        return 0;
    } else {
        (void)event_del(&w->event);
    }
    w->what = what;
    short events = (short)(((what & CURL_POLL_IN) ? EV_READ : 0) |
                           ((what & CURL_POLL_OUT) ? EV_WRITE : 0) | EV_PERSIST);
    must(event_assign(&w->event, s->fetch->base, fd, events, on_socket_ready, w) == 0);
    need(event_add(&w->event, NULL) == 0);
    return 0;
}

/* ---- which shard ----------------------------------------------------------------------------- */

/* The part of a URL that decides where a connection goes. A URL of any other look than
 * http[s]://authority is a key of its own: libcurl alone says what it is. */
static struct slice origin_key(const char *url)
{
    size_t scheme = strncasecmp(url, "http://", 7) == 0    ? 7
                    : strncasecmp(url, "https://", 8) == 0 ? 8
                                                           : 0;
    if (scheme == 0 || url[scheme] == '/') {
        return slice_of(url);
    }
    return slice_make(url, scheme + strcspn(url + scheme, "/?#"));
}

static void origin_free(void *value)
{
    struct origin *o = value;
    curl_free(o->host);
    free(o);
}

/* Forgets every origin that has no call in flight: only their guesses about idle connections. */
static void origins_sweep(struct fetch *f)
{
    struct slice *keys = xmalloc(map_count(f->origins) * sizeof *keys);
    size_t count = 0;
    size_t at = 0;
    struct slice key;
    void *value;
    while (map_next(f->origins, &at, &key, &value)) {
        if (((struct origin *)value)->calls == 0) {
            keys[count++] = key;
        }
    }
    for (size_t i = 0; i < count; i++) {
        origin_free(map_remove(f->origins, keys[i]));
    }
    free(keys);
}

static struct origin *origin_make(struct fetch *f, struct slice key, const char *url)
{
    struct origin *o = xcalloc(1, sizeof *o + f->shard_count * sizeof o->idle[0]);
    o->home = (uint32_t)(slice_hash(key) % f->shard_count);
    CURLU *u = curl_url();
    must(u != NULL);
    if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK) {
        (void)curl_url_get(u, CURLUPART_HOST, &o->host, 0);
    }
    curl_url_cleanup(u);
    void *old;
    if (!map_set(f->origins, key, o, &old)) {
        origins_sweep(f); /* the ceiling is over calls_max: there is room afterwards */
        must(map_set(f->origins, key, o, &old));
    }
    return o;
}

static struct origin *origin_of(struct fetch *f, const char *url)
{
    struct slice key = origin_key(url);
    struct origin *o = map_get(f->origins, key);
    return o != NULL ? o : origin_make(f, key, url);
}

/* A shard with an idle connection of this origin; else the first from its home on that is not busy;
 * else the least busy. */
static struct shard *shard_choose(struct fetch *f, struct origin *o, bool *expected_idle)
{
    struct shard *good = NULL;
    struct shard *least = &f->shards[o->home];
    *expected_idle = false;
    for (uint32_t i = 0; i < f->shard_count; i++) {
        uint32_t at = o->home + i < f->shard_count ? o->home + i : o->home + i - f->shard_count;
        struct shard *s = &f->shards[at];
        if (o->idle[at] > 0) {
            o->idle[at]--;
            *expected_idle = true;
            return s;
        }
        if (good == NULL && s->calls < SHARD_CALLS_GOOD) {
            good = s;
        }
        least = s->calls < least->calls ? s : least;
    }
    return good != NULL ? good : least;
}

/* ---- a call ---------------------------------------------------------------------------------- */

#define SET(easy, option, value) must(curl_easy_setopt((easy), (option), (value)) == CURLE_OK)

/* What is the same for every call that this handle will ever make. */
static void easy_setup(struct fetch_call *c)
{
    const struct fetch *f = c->fetch;
    CURL *e = c->easy;
    SET(e, CURLOPT_PRIVATE, c);
    SET(e, CURLOPT_NOSIGNAL, 1L);
    SET(e, CURLOPT_SHARE, f->share);
    SET(e, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(e, CURLOPT_FOLLOWLOCATION, 0L);
    /* Both are set even to nothing: else the environment's http_proxy and no_proxy decide. */
    SET(e, CURLOPT_PROXY, f->proxy);
    SET(e, CURLOPT_NOPROXY, "");
    SET(e, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(e, CURLOPT_SSL_VERIFYHOST, 2L);
    SET(e, CURLOPT_USERAGENT, f->user_agent);
    SET(e, CURLOPT_BUFFERSIZE, (long)READ_BUFFER_BYTES);
    SET(e, CURLOPT_QUICK_EXIT, 1L);
    SET(e, CURLOPT_ERRORBUFFER, c->error);
    SET(e, CURLOPT_WRITEFUNCTION, on_body);
    SET(e, CURLOPT_WRITEDATA, c);
    SET(e, CURLOPT_HEADERFUNCTION, on_header);
    SET(e, CURLOPT_HEADERDATA, c);
    SET(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    SET(e, CURLOPT_OPENSOCKETDATA, c);
    SET(e, CURLOPT_PREREQFUNCTION, on_prereq);
    SET(e, CURLOPT_PREREQDATA, c);
}

static struct fetch_call *call_take(struct fetch *f)
{
    struct list *node = list_first(&f->spare);
    if (node != NULL) {
        list_remove(node);
        return list_owner(node, struct fetch_call, link);
    }
    struct fetch_call *c = xcalloc(1, sizeof *c);
    c->fetch = f;
    c->easy = curl_easy_init();
    must(c->easy != NULL);
    list_init(&c->link);
    easy_setup(c);
    return c;
}

static void call_free(struct fetch_call *c)
{
    list_remove(&c->link);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    buf_free(&c->body);
    free(c);
}

/* Back to the spare ones, with nothing left of the request. */
static void call_put(struct fetch_call *c)
{
    SET(c->easy, CURLOPT_HTTPHEADER, NULL);
    SET(c->easy, CURLOPT_POSTFIELDS, NULL);
    SET(c->easy, CURLOPT_URL, NULL);
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    buf_free(&c->body);
    list_remove(&c->link);
    list_push(&c->fetch->spare, &c->link);
}

static void set_method(CURL *e, const struct dialect_request *r)
{
    bool has_body = r->body.n > 0;
    const char *implied = has_body ? "POST" : "GET";
    bool head = strcmp(r->method, "HEAD") == 0 && !has_body;
    if (strcmp(r->method, "POST") == 0) {
        has_body = true; /* an empty one: Content-Length: 0 */
        implied = "POST";
    }
    SET(e, CURLOPT_NOBODY, head ? 1L : 0L);
    if (has_body) {
        SET(e, CURLOPT_POSTFIELDSIZE, (long)r->body.n);
        SET(e, CURLOPT_COPYPOSTFIELDS, buf_text(&r->body));
    } else if (!head) {
        SET(e, CURLOPT_HTTPGET, 1L);
    }
    SET(e, CURLOPT_CUSTOMREQUEST, head || strcmp(r->method, implied) == 0 ? NULL : r->method);
}

static void set_headers(struct fetch_call *c, const struct dialect_request *r)
{
    const char *line = buf_text(&r->headers);
    for (size_t i = 0; i < r->header_count; i++) {
        struct curl_slist *longer = curl_slist_append(c->headers, line);
        must(longer != NULL);
        c->headers = longer;
        line += strlen(line) + 1;
    }
    SET(c->easy, CURLOPT_HTTPHEADER, c->headers);
}

static void call_prepare(struct fetch_call *c, const struct dialect_request *r,
                         const struct fetch_limits *limits)
{
    uint32_t most = limits->timeout_ms;
    must(most > 0);
    uint32_t whole = r->timeout_ms > 0 && r->timeout_ms < most ? r->timeout_ms : most;
    uint32_t connect = r->connect_ms > 0 && r->connect_ms < whole ? r->connect_ms : whole;
    buf_init(&c->body, c->fetch->body_bytes_max);
    c->error[0] = '\0';
    c->header_bytes = 0;
    c->prereqs = 0;
    c->forbidden = NULL;
    c->connecting = false;
    c->refused_on_reuse = false;
    c->too_large = false;
    c->late = false;
    c->begin_by_ms = limits->begin_by_ms;
    SET(c->easy, CURLOPT_URL, buf_text(&r->url));
    SET(c->easy, CURLOPT_TIMEOUT_MS, (long)whole);
    SET(c->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
    set_method(c->easy, r);
    set_headers(c, r);
}

struct fetch_call *fetch_start(struct fetch *f, const struct dialect_request *request,
                               const struct fetch_limits *limits, fetch_callback *done,
                               void *context)
{
    if (f->in_flight >= f->calls_max) {
        return NULL;
    }
    struct fetch_call *c = call_take(f);
    call_prepare(c, request, limits);
    c->done = done;
    c->context = context;
    c->origin = origin_of(f, buf_text(&request->url));
    c->shard = shard_choose(f, c->origin, &c->expected_idle);
    c->origin->calls++;
    c->shard->calls++;
    f->in_flight++;
    list_push(&f->running, &c->link);
    need(curl_multi_add_handle(c->shard->multi, c->easy) == CURLM_OK);
    return c;
}

/* The call is out of libcurl's hands and no longer counts. */
static void call_leave(struct fetch_call *c)
{
    must(curl_multi_remove_handle(c->shard->multi, c->easy) == CURLM_OK);
    c->origin->calls--;
    c->shard->calls--;
    c->fetch->in_flight--;
    list_remove(&c->link);
}

static enum fetch_end classify(const struct fetch_call *c, CURLcode rc)
{
    if (rc == CURLE_OK) {
        return FETCH_ANSWERED;
    }
    if (c->refused_on_reuse || (c->forbidden != NULL && !c->connecting)) {
        return FETCH_FORBIDDEN;
    }
    if (c->prereqs == 0) {
        return FETCH_NOT_SENT;
    }
    return c->too_large ? FETCH_TOO_LARGE : FETCH_UNKNOWN;
}

static const char *detail_of(struct fetch_call *c, CURLcode rc, enum fetch_end end)
{
    if (end == FETCH_FORBIDDEN) {
        (void)snprintf(c->error, sizeof c->error, "the address is %s and not in outgoing.allow",
                       c->forbidden != NULL ? c->forbidden : "unreadable");
    } else if (end == FETCH_TOO_LARGE) {
        (void)snprintf(c->error, sizeof c->error, "the answer is over %u bytes",
                       c->fetch->body_bytes_max);
    } else if (end == FETCH_UNKNOWN && c->prereqs > 1) {
        return "the kept connection died before an answer; not repeated";
    } else if (c->late) {
        return "too late to begin";
    } else if (end == FETCH_ANSWERED) {
        return "";
    }
    return c->error[0] != '\0' ? c->error : curl_easy_strerror(rc);
}

static int64_t info_us(CURL *e, CURLINFO which)
{
    curl_off_t us = 0;
    (void)curl_easy_getinfo(e, which, &us);
    return (int64_t)us;
}

static int64_t retry_after_s(CURL *e)
{
    curl_off_t s = 0;
    bool asked = curl_easy_getinfo(e, CURLINFO_RETRY_AFTER, &s) == CURLE_OK && s > 0;
    return asked ? (int64_t)s : -1;
}

static void describe(struct fetch_call *c, CURLcode rc, struct fetch_result *out)
{
    long status = 0;
    long new_connections = 0;
    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    (void)curl_easy_getinfo(c->easy, CURLINFO_NUM_CONNECTS, &new_connections);
    enum fetch_end end = classify(c, rc);
    *out = (struct fetch_result){
        .end = end,
        .http = (int)status,
        .body = buf_slice(&c->body),
        .detail = detail_of(c, rc, end),
        .first_byte_us = info_us(c->easy, CURLINFO_STARTTRANSFER_TIME_T),
        .total_us = info_us(c->easy, CURLINFO_TOTAL_TIME_T),
        .reused = new_connections == 0 && c->prereqs > 0,
        .retry_after_s = retry_after_s(c->easy),
    };
    if (c->prereqs > 0 && !out->reused) {
        int64_t tls_us = info_us(c->easy, CURLINFO_APPCONNECT_TIME_T);
        out->connect_us = tls_us > 0 ? tls_us : info_us(c->easy, CURLINFO_CONNECT_TIME_T);
    }
}

/* Corrects the guess when it was wrong: no idle connection was there. */
static void remember_idle(struct fetch_call *c, const struct fetch_result *r)
{
    uint32_t *idle = &c->origin->idle[c->shard - c->fetch->shards];
    if (c->expected_idle && !r->reused) {
        *idle = 0;
    }
    if (r->end == FETCH_ANSWERED) {
        (*idle)++;
    }
}

static void call_end(struct fetch_call *c, CURLcode rc)
{
    struct fetch_result result;
    describe(c, rc, &result);
    remember_idle(c, &result);
    call_leave(c);
    c->done(c->context, &result);
    call_put(c);
}

static void shard_drain(struct shard *s)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(s->multi, &left)) != NULL) {
        must(m->msg == CURLMSG_DONE);
        struct fetch_call *c = NULL;
        must(curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c) == CURLE_OK);
        call_end(c, m->data.result);
    }
}

void fetch_abandon(struct fetch_call *c)
{
    call_leave(c);
    call_put(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void shard_init(struct shard *s, struct fetch *f)
{
    s->fetch = f;
    s->multi = curl_multi_init();
    need(s->multi != NULL);
    must(evtimer_assign(&s->timer, f->base, on_timer, s) == 0);
    uint32_t share = f->calls_max / f->shard_count;
    uint32_t calls = share > SHARD_CALLS_GOOD ? share : SHARD_CALLS_GOOD;
    /* Over the working set: below it libcurl closes and opens all the time, at twice the cost. */
    long connections = (long)calls + calls / 2 + SHARD_CONNECTIONS_SPARE;
    must(curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, connections) == CURLM_OK);
    must(curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, set_socket) == CURLM_OK);
    must(curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s) == CURLM_OK);
    must(curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK);
    must(curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s) == CURLM_OK);
}

struct fetch *fetch_new(struct event_base *base, const struct fetch_options *o, char error[256])
{
    must(o->multi_handles > 0 && o->calls_max > 0);
    struct address_rules *rules = address_rules_new(o->allow, o->allow_count, error);
    if (rules == NULL) {
        return NULL;
    }
    memory_init_curl();
    struct fetch *f = xcalloc(1, sizeof *f + o->multi_handles * sizeof f->shards[0]);
    f->base = base;
    f->rules = rules;
    f->origins = map_new((size_t)o->calls_max + ORIGINS_SPARE);
    f->proxy = slice_dup(slice_of(o->proxy));
    f->user_agent = slice_dup(slice_of(o->user_agent));
    f->calls_max = o->calls_max;
    f->body_bytes_max = o->body_bytes_max;
    f->shard_count = o->multi_handles;
    list_init(&f->running);
    list_init(&f->spare);
    f->share = curl_share_init();
    must(f->share != NULL);
    must(curl_share_setopt(f->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS) == CURLSHE_OK);
    must(curl_share_setopt(f->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) == CURLSHE_OK);
    for (uint32_t i = 0; i < f->shard_count; i++) {
        shard_init(&f->shards[i], f);
    }
    return f;
}

static void watches_free(struct watch *w)
{
    while (w != NULL) {
        struct watch *next = w->next;
        free(w);
        w = next;
    }
}

void fetch_destroy(struct fetch **fetch)
{
    struct fetch *f = *fetch;
    if (f == NULL) {
        return;
    }
    list_each(node, &f->running)
    {
        fetch_abandon(list_owner(node, struct fetch_call, link));
    }
    list_each(node, &f->spare)
    {
        call_free(list_owner(node, struct fetch_call, link));
    }
    for (uint32_t i = 0; i < f->shard_count; i++) {
        must(curl_multi_cleanup(f->shards[i].multi) == CURLM_OK);
        (void)event_del(&f->shards[i].timer);
    }
    must(curl_share_cleanup(f->share) == CURLSHE_OK);
    watches_free(f->watches);
    map_destroy(&f->origins, origin_free);
    address_rules_destroy(&f->rules);
    free(f->proxy);
    free(f->user_agent);
    free(f);
    curl_global_cleanup();
    *fetch = NULL;
}

uint32_t fetch_in_flight(const struct fetch *f)
{
    return f->in_flight;
}
