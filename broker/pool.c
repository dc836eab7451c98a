#include "broker/pool.h"

#include "common/adapters/zio.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"

enum {
    PAIR_ROOM = 2048,            /* more than any envelope of a job */
    OUT_KEEP_BYTES = 256 * 1024, /* a larger batch buffer is given back after its flush */
    LOOKS = 8,                   /* looks at the workers within one silence_ms */
    PROTOCOL = 1,                /* OTPQ-W version spoken; N-1 to N+1 are understood */
    STRANGER = UINT32_MAX /* worker handle of a result whose sender is not known (any more) */
};

struct worker {
    uint32_t handle;    /* index in pool.at */
    struct list dirty;  /* pool.dirty, alone when out is empty */
    struct buf out;     /* J message being gathered */
    uint32_t pairs;     /* in out */
    bool gone;          /* its connection is: removed at the end of the turn */
    int64_t heard_ms;   /* when it last said anything */
    char name[65];      /* for people */
    uint8_t peer_bytes; /* ZeroMQ's routing id */
    char peer[];
};

struct pool {
    struct pool_options o; /* as given */
    struct zio *zio;       /* the ROUTER */
    struct event *look;    /* periodic: who is silent? */
    struct map *by_peer;   /* routing id → struct worker */
    struct worker **at;    /* by handle, workers_max of them */
    struct list dirty;     /* workers with something in out, or gone */
    uint32_t taken;        /* results taken since the last step */
    int64_t looked_ms;     /* last look */
    struct pool_stats stats;
};

/* ---- who is there ---------------------------------------------------------------------------- */

static struct slice peer_of(const struct worker *w)
{
    return slice_make(w->peer, w->peer_bytes);
}

static void forget(struct pool *p, struct worker *w)
{
    must(map_remove(p->by_peer, peer_of(w)) == w);
    p->at[w->handle] = NULL;
    list_remove(&w->dirty);
    buf_free(&w->out);
    free(w);
}

static void worker_gone(struct pool *p, struct worker *w, const char *why, int64_t now_ms)
{
    log_info("worker gone", "worker", w->name, "why", why, NULL);
    core_worker_gone(p->o.core, w->handle, now_ms);
    forget(p, w);
}

static void worker_lost(struct pool *p, struct worker *w, const char *why, int64_t now_ms)
{
    p->stats.lost++;
    worker_gone(p, w, why, now_ms);
}

static struct worker *worker_new(struct pool *p, struct slice peer)
{
    uint32_t handle = 0;
    while (handle < p->o.workers_max && p->at[handle] != NULL) {
        handle++;
    }
    if (handle == p->o.workers_max) {
        return NULL;
    }
    struct worker *w = xcalloc(1, sizeof(*w) + peer.n);
    w->handle = handle;
    w->peer_bytes = (uint8_t)peer.n;
    memcpy(w->peer, peer.p, peer.n);
    buf_init(&w->out, WIRE_MESSAGE_BYTES_MAX);
    list_init(&w->dirty);
    void *old = NULL;
    must(map_set(p->by_peer, peer, w, &old) && old == NULL);
    p->at[handle] = w;
    return w;
}

/* ---- out ------------------------------------------------------------------------------------- */

/* A peer that cannot be written to is as good as dead: its credit is far below the socket's limit,
 * so a full pipe means that it has not read for a long time. */
static void send_to(struct pool *p, struct worker *w, struct slice message)
{
    enum zio_sent sent = zio_send_to(p->zio, peer_of(w), false, message);
    if (sent == ZIO_SENT) {
        return;
    }
    if (sent == ZIO_FULL) {
        log_warn("a worker does not read its jobs", "worker", w->name, NULL);
    }
    w->gone = true;
    list_remove(&w->dirty);
    list_push(&p->dirty, &w->dirty);
}

static void send_batch(struct pool *p, struct worker *w)
{
    must(buf_ok(&w->out));
    list_remove(&w->dirty);
    send_to(p, w, buf_slice(&w->out));
    w->pairs = 0;
    if (w->out.cap > OUT_KEEP_BYTES) {
        buf_free(&w->out);
    } else {
        buf_clear(&w->out);
    }
}

void pool_put_job(struct pool *p, uint32_t worker, const struct wire_job *job, struct slice body)
{
    struct worker *w = p->at[worker];
    must(w != NULL);
    if (w->pairs == WIRE_PAIRS_MAX || w->out.n + body.n + PAIR_ROOM > WIRE_MESSAGE_BYTES_MAX) {
        send_batch(p, w);
    }
    if (w->gone) {
        return; /* comes back with core_worker_gone */
    }
    if (w->out.n == 0) {
        wire_begin(&w->out, WIRE_WORKER_MAGIC, WIRE_W_JOB);
        list_push(&p->dirty, &w->dirty);
    }
    wire_put_job(&w->out, job, body);
    w->pairs++;
}

bool pool_flush(struct pool *p)
{
    bool lost = false;
    list_each(it, &p->dirty)
    {
        struct worker *w = list_owner(it, struct worker, dirty);
        if (w->out.n > 0 && !w->gone) {
            send_batch(p, w);
        }
        if (w->gone) {
            worker_lost(p, w, "connection gone", clock_mono_ms());
            lost = true;
        }
    }
    return lost;
}

/* ---- in -------------------------------------------------------------------------------------- */

static void send_bare(struct pool *p, struct slice peer, char verb)
{
    const char message[4] = {'O', 'W', '1', verb};
    /* a peer that has left meanwhile needs no answer */
    (void)!zio_send_to(p->zio, peer, false, slice_make(message, sizeof(message)));
}

static void take_hello(struct pool *p, struct slice peer, struct wire_reader *r, int64_t now_ms)
{
    struct wire_hello h;
    if (wire_next_hello(r, &h) != WIRE_NEXT_PAIR) {
        return;
    }
    if (h.protocol > PROTOCOL + 1) {
        log_error("a worker speaks a newer protocol: upgrade the broker first", "worker_version",
                  log_num(h.protocol), "broker_version", log_num(PROTOCOL), NULL);
        return;
    }
    struct worker *w = map_get(p->by_peer, peer);
    if (w != NULL) {
        worker_gone(p, w, "says hello again", now_ms); /* it counts credit from zero now */
    }
    w = worker_new(p, peer);
    if (w == NULL) {
        log_error("too many workers", "key", "broker.workers_max", NULL);
        return;
    }
    (void)snprintf(w->name, sizeof(w->name), "%.*s", SLICE_ARG(h.name));
    w->heard_ms = now_ms;
    core_worker_joined(p->o.core, w->handle, now_ms);
    log_info("worker joined", "worker", w->name, "pid", log_num((long long)h.pid), "capacity",
             log_num(h.capacity), NULL);
}

static void take_credit(struct pool *p, struct worker *w, struct wire_reader *r, int64_t now_ms)
{
    uint64_t total;
    while (wire_next_credit(r, &total) == WIRE_NEXT_PAIR) {
        core_worker_credit(p->o.core, w->handle, total, now_ms);
    }
}

static void take_started(struct pool *p, struct worker *w, struct wire_reader *r, int64_t now_ms)
{
    struct slice id;
    uint32_t attempt;
    while (wire_next_started(r, &id, &attempt) == WIRE_NEXT_PAIR) {
        (void)core_started(p->o.core, w->handle, id, attempt, now_ms);
    }
}

/* worker: STRANGER when its sender is not known any more: a result is a fact whoever brings it. */
static void take_results(struct pool *p, uint32_t worker, struct wire_reader *r, int64_t now_ms)
{
    struct wire_result result;
    struct slice body;
    while (wire_next_result(r, &result, &body) == WIRE_NEXT_PAIR) {
        if (body.n > WIRE_BODY_BYTES_MAX) {
            log_error("a result's body is too long and was left out", "bytes",
                      log_num((long long)body.n), NULL);
            body = (struct slice){NULL, 0};
        }
        p->taken++;
        if (core_result(p->o.core, worker, &result, body, now_ms) && result.trace_id.n > 0) {
            p->o.on_answered(p->o.context, result.id, result.trace_id);
        }
    }
}

static void take_back(struct pool *p, struct worker *w, struct wire_reader *r, int64_t now_ms)
{
    struct wire_give_back g;
    while (wire_next_back(r, &g) == WIRE_NEXT_PAIR) {
        (void)core_given_back(p->o.core, w->handle, &g, now_ms);
    }
}

static void take_from_worker(struct pool *p, struct worker *w, struct wire_reader *r,
                             int64_t now_ms)
{
    w->heard_ms = now_ms;
    switch (r->verb) {
    case WIRE_W_CREDIT:
        take_credit(p, w, r, now_ms);
        break;
    case WIRE_W_STARTED:
        take_started(p, w, r, now_ms);
        break;
    case WIRE_W_RESULT:
        take_results(p, w->handle, r, now_ms);
        break;
    case WIRE_W_BACK:
        take_back(p, w, r, now_ms);
        break;
    case WIRE_W_PING:
        send_bare(p, peer_of(w), WIRE_W_PONG);
        break;
    case WIRE_W_PONG:
        break;
    case WIRE_W_QUIT:
        worker_gone(p, w, "goodbye", now_ms);
        break;
    default:
        r->p.at = r->p.start + 3;
        r->p.error = "no verb of OTPQ-W/1 from a worker";
    }
}

/* Its credit and its jobs are not known here: everything but results waits for its hello. */
static void take_from_stranger(struct pool *p, struct slice peer, struct wire_reader *r,
                               int64_t now_ms)
{
    if (r->verb == WIRE_W_RESULT) {
        take_results(p, STRANGER, r, now_ms);
    }
    if (r->verb != WIRE_W_QUIT) {
        send_bare(p, peer, WIRE_W_WHO);
    }
}

static void on_message(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed_frames)
{
    struct pool *p = context;
    struct wire_reader r;
    int64_t now_ms = clock_mono_ms();
    (void)req;
    if (permits_sender(p->o.permits, PERMITS_WORKERS, p->zio, peer) == NULL) {
        return;
    }
    p->stats.messages++;
    bool open = wire_open(&r, payload, WIRE_WORKER_MAGIC);
    if (open && r.verb == WIRE_W_HELLO) {
        take_hello(p, peer, &r, now_ms);
    } else if (open) {
        struct worker *w = map_get(p->by_peer, peer);
        if (w != NULL) {
            take_from_worker(p, w, &r, now_ms);
        } else {
            take_from_stranger(p, peer, &r, now_ms);
        }
    }
    if (r.p.error != NULL || malformed_frames) {
        char trouble[128];
        wire_trouble(&r, trouble);
        p->stats.malformed++;
        log_warn("malformed message on the workers' socket", "what",
                 malformed_frames ? "more than one frame" : trouble, NULL);
    }
    if (p->taken >= p->o.many) {
        p->taken = 0;
        p->o.on_many(p->o.context);
    }
}

static void on_turn(void *context)
{
    struct pool *p = context;
    p->taken = 0;
    p->o.on_turn(p->o.context);
}

/* ---- silence --------------------------------------------------------------------------------- */

/* One that was silent for a while is asked, because the send tells at once when its connection is
 * gone: sooner than silence_ms does. */
static void look_at(struct pool *p, struct worker *w, int64_t now_ms)
{
    int64_t silent_ms = now_ms - w->heard_ms;
    if (silent_ms > p->o.silence_ms) {
        worker_lost(p, w, "silent", now_ms);
    } else if (silent_ms > p->o.silence_ms / 3) {
        send_to(p, w, SLICE(WIRE_WORKER_MAGIC "P"));
    }
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct pool *p = context;
    int64_t now_ms = clock_mono_ms();
    /* a broker that was stopped or starved itself did not listen: nobody is to blame for silence */
    bool was_away = now_ms - p->looked_ms > p->o.silence_ms / 2;
    p->looked_ms = now_ms;
    for (uint32_t i = 0; i < p->o.workers_max; i++) {
        if (p->at[i] == NULL) {
            continue;
        }
        if (was_away) {
            p->at[i]->heard_ms = now_ms;
        } else {
            look_at(p, p->at[i], now_ms);
        }
    }
    p->o.on_turn(p->o.context);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void start_looking(struct pool *p)
{
    long every_ms = (long)(p->o.silence_ms / LOOKS) + 1;
    const struct timeval every = {every_ms / 1000, every_ms % 1000 * 1000};
    p->looked_ms = clock_mono_ms();
    p->look = event_new(p->o.base, -1, EV_PERSIST, on_look, p);
    need(p->look != NULL && event_add(p->look, &every) == 0);
}

struct pool *pool_new(const struct pool_options *o, const char **error)
{
    struct pool *p = xcalloc(1, sizeof(*p));
    p->o = *o;
    struct zio_options z = {.kind = ZIO_ROUTER,
                            .address = o->address,
                            .bind = true,
                            .message_bytes_max = 2 * (int64_t)WIRE_MESSAGE_BYTES_MAX,
                            .receive_hwm = 0, /* credit bounds what a worker may say */
                            .curve = permits_curve(o->permits, PERMITS_WORKERS),
                            .on_message = on_message,
                            .on_turn = on_turn,
                            .context = p};
    p->zio = zio_new(o->base, o->zmq, &z, error);
    if (p->zio == NULL || !permits_watch(o->permits, p->zio, error)) {
        zio_destroy(&p->zio);
        free(p);
        return NULL;
    }
    p->o.address = NULL;
    list_init(&p->dirty);
    p->by_peer = map_new(o->workers_max);
    p->at = xcalloc(o->workers_max, sizeof(*p->at));
    start_looking(p);
    return p;
}

void pool_destroy(struct pool **pool)
{
    struct pool *p = *pool;
    if (p == NULL) {
        return;
    }
    *pool = NULL;
    for (uint32_t i = 0; i < p->o.workers_max; i++) {
        if (p->at[i] != NULL) {
            forget(p, p->at[i]);
        }
    }
    event_free(p->look);
    zio_destroy(&p->zio);
    map_destroy(&p->by_peer, NULL);
    free(p->at);
    free(p);
}

struct pool_stats pool_stats(const struct pool *p)
{
    return p->stats;
}
