#include "broker/clients.h"

#include "common/adapters/zio.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"

enum {
    PAIR_ROOM = 2048,           /* more than any envelope of an answer */
    OUT_KEEP_BYTES = 64 * 1024, /* a larger batch buffer is given back after its flush */
    RECORDS_RETRY_MS = 500,
    DRAIN_RETRY_MS = 1000,
    STORE_RETRY_MS = 500,
    RECEIVE_HWM = 10000, /* a client's unread messages; above: its TCP stream waits */
    INDEX_BITS = 24
};

struct client {
    uint64_t handle;     /* serial << INDEX_BITS | index; never used again */
    struct list age;     /* clients.by_age */
    struct list dirty;   /* clients.dirty, alone when out is empty */
    struct buf out;      /* the message being gathered */
    uint64_t results;    /* R pairs put so far */
    uint32_t pairs;      /* in out */
    char verb;           /* of out */
    bool req;            /* its last message came from a REQ socket */
    bool awaits;         /* req: the question is not answered yet */
    bool gone;           /* the socket does not know it any more */
    uint8_t asked_bytes; /* req: id of the question, 0: has none */
    char asked[WIRE_ID_BYTES_MAX];
    uint8_t peer_bytes; /* ZeroMQ's routing id */
    char peer[];
};

struct clients {
    struct clients_options o; /* as given */
    struct zio *zio;          /* the ROUTER */
    struct map *by_peer;      /* routing id → struct client */
    struct client **at;       /* by index */
    uint32_t *unused;         /* indices free for new clients, a stack */
    uint32_t unused_count;
    uint64_t serial;             /* of the next client */
    struct client *last;         /* who spoke last: mostly speaks again */
    const struct curve_key *who; /* whose message is being taken; else stale */
    struct list by_age;          /* longest silent first */
    struct list dirty;           /* clients with something in out */
    uint32_t taken;              /* jobs taken since the last step */
    bool draining;               /* submits are refused */
    struct clients_stats stats;
};

/* ---- who is there ---------------------------------------------------------------------------- */

static struct slice peer_of(const struct client *c)
{
    return slice_make(c->peer, c->peer_bytes);
}

static void client_remove(struct clients *cs, struct client *c)
{
    uint32_t index = (uint32_t)(c->handle & ((1u << INDEX_BITS) - 1));
    must(map_remove(cs->by_peer, peer_of(c)) == c);
    must(cs->at[index] == c);
    cs->at[index] = NULL;
    cs->unused[cs->unused_count++] = index;
    cs->last = cs->last == c ? NULL : cs->last;
    list_remove(&c->age);
    list_remove(&c->dirty);
    buf_free(&c->out);
    free(c);
}

static struct client *client_new(struct clients *cs, struct slice peer)
{
    if (cs->unused_count == 0) {
        cs->stats.dropped++;
        client_remove(cs, list_owner(list_first(&cs->by_age), struct client, age));
    }
    uint32_t index = cs->unused[--cs->unused_count];
    struct client *c = xcalloc(1, sizeof(*c) + peer.n);
    c->handle = ++cs->serial << INDEX_BITS | index;
    c->peer_bytes = (uint8_t)peer.n;
    memcpy(c->peer, peer.p, peer.n);
    buf_init(&c->out, WIRE_MESSAGE_BYTES_MAX);
    list_init(&c->age);
    list_init(&c->dirty);
    list_push(&cs->by_age, &c->age);
    cs->at[index] = c;
    void *old = NULL;
    must(map_set(cs->by_peer, peer, c, &old) && old == NULL);
    return c;
}

static struct client *client_of(struct clients *cs, struct slice peer)
{
    if (cs->last != NULL && slice_eq(peer_of(cs->last), peer)) {
        return cs->last;
    }
    struct client *c = map_get(cs->by_peer, peer);
    if (c == NULL) {
        c = client_new(cs, peer);
    } else {
        list_remove(&c->age);
        list_push(&cs->by_age, &c->age);
    }
    cs->last = c;
    return c;
}

static struct client *client_by_handle(const struct clients *cs, uint64_t handle)
{
    uint32_t index = (uint32_t)(handle & ((1u << INDEX_BITS) - 1));
    struct client *c = index < cs->o.clients_max ? cs->at[index] : NULL;
    return c != NULL && c->handle == handle ? c : NULL;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void send_batch(struct clients *cs, struct client *c)
{
    must(buf_ok(&c->out));
    switch (zio_send_to(cs->zio, peer_of(c), c->req, buf_slice(&c->out))) {
    case ZIO_SENT:
        break;
    case ZIO_FULL:
        cs->stats.answers_full++;
        break;
    case ZIO_GONE:
        cs->stats.answers_gone++;
        c->gone = true;
        break;
    }
    c->pairs = 0;
    if (c->out.cap > OUT_KEEP_BYTES) {
        buf_free(&c->out);
    } else {
        buf_clear(&c->out);
    }
    list_remove(&c->dirty);
    if (c->gone) {
        list_push(&cs->dirty, &c->dirty); /* removed at the end of the turn: it may be in use now */
    }
}

/* A batch of this verb with room for a pair. False: a REQ that had its answer, or a peer gone. */
static bool open_batch(struct clients *cs, struct client *c, char verb, size_t bytes)
{
    if (c->gone || (c->req && !c->awaits)) {
        return false;
    }
    c->awaits = false;
    if (c->out.n > 0 && (c->verb != verb || c->pairs == WIRE_PAIRS_MAX ||
                         c->out.n + bytes + PAIR_ROOM > WIRE_MESSAGE_BYTES_MAX)) {
        send_batch(cs, c);
    }
    if (c->gone) {
        return false;
    }
    if (c->out.n == 0) {
        wire_begin(&c->out, WIRE_CLIENT_MAGIC, verb);
        c->verb = verb;
        list_push(&cs->dirty, &c->dirty);
    }
    c->pairs++;
    return true;
}

static void put_nack(struct clients *cs, struct client *c, const struct wire_nack *n)
{
    if (open_batch(cs, c, WIRE_NACK, n->detail.n)) {
        wire_put_nack(&c->out, n);
    }
}

static void put_error(struct clients *cs, struct client *c, struct slice id, const char *error,
                      const char *detail)
{
    put_nack(cs, c,
             &(struct wire_nack){.id = id, .error = slice_of(error), .detail = slice_of(detail)});
}

static void put_malformed(struct clients *cs, struct client *c, const struct wire_reader *r)
{
    char detail[128];
    wire_trouble(r, detail);
    cs->stats.malformed++;
    put_error(cs, c, (struct slice){NULL, 0}, WIRE_ERROR_MALFORMED, detail);
}

static void put_accepted(struct clients *cs, struct client *c, struct slice id, const char *state)
{
    if (open_batch(cs, c, WIRE_ACCEPTED, 0)) {
        wire_put_accepted(&c->out, id, state);
    }
}

void clients_put_result(struct clients *cs, uint64_t handle, const struct wire_result *result,
                        struct slice body)
{
    struct client *c = client_by_handle(cs, handle);
    if (c == NULL) {
        return;
    }
    c->results++;
    if (c->req && !slice_eq(slice_make(c->asked, c->asked_bytes), result->id)) {
        return; /* of an earlier question of this socket */
    }
    if (open_batch(cs, c, WIRE_RESULT, body.n)) {
        wire_put_result(&c->out, result, body);
    }
}

bool clients_hear(const struct clients *cs, uint64_t handle, struct slice id)
{
    const struct client *c = client_by_handle(cs, handle);
    return c != NULL && !c->gone &&
           (!c->req || (c->awaits && slice_eq(slice_make(c->asked, c->asked_bytes), id)));
}

void clients_put_stored(struct clients *cs, uint64_t handle, struct slice id, enum core_stored what)
{
    struct client *c = client_by_handle(cs, handle);
    if (c == NULL || (c->req && !slice_eq(slice_make(c->asked, c->asked_bytes), id))) {
        return;
    }
    struct wire_nack nack = {.id = id};
    switch (what) {
    case CORE_STORED:
        put_accepted(cs, c, id, "stored");
        break;
    case CORE_STORE_FAILED:
        nack.error = SLICE("store_unavailable");
        nack.detail = SLICE("the store did not take this job: nothing of it was kept");
        nack.retry_after_ms = STORE_RETRY_MS;
        put_nack(cs, c, &nack);
        break;
    case CORE_STORED_MOVED:
        nack.error = SLICE("moved");
        nack.detail = SLICE("another broker goes on with this job: submit it again, there");
        put_nack(cs, c, &nack);
        break;
    case CORE_HANDED_OVER:
        nack.error = SLICE("draining");
        nack.detail = SLICE("this broker leaves and has not begun it: submit it to another one");
        nack.retry_after_ms = DRAIN_RETRY_MS;
        put_nack(cs, c, &nack);
        break;
    }
}

void clients_put_purged(struct clients *cs, uint64_t handle, struct slice id,
                        const struct wire_purged *p)
{
    struct client *c = client_by_handle(cs, handle);
    if (c == NULL || (c->req && !slice_eq(slice_make(c->asked, c->asked_bytes), id))) {
        return; /* gone, or a REQ socket with another question by now */
    }
    if (open_batch(cs, c, WIRE_OPERATE, 0)) {
        wire_put_purged(&c->out, id, p);
    }
}

void clients_flush(struct clients *cs)
{
    list_each(it, &cs->dirty)
    {
        struct client *c = list_owner(it, struct client, dirty);
        if (c->out.n > 0) {
            send_batch(cs, c);
        }
        if (c->gone) {
            client_remove(cs, c);
        }
    }
}

/* ---- questions ------------------------------------------------------------------------------- */

struct refusal {
    const char *error;  /* word of N */
    const char *detail; /* what to do about it */
};

static const struct refusal refusals[] = {
    [CORE_CONFLICT] = {"conflict", "this id was used before with another op, route or body"},
    [CORE_FULL_TOTAL] = {"queue_full", "the broker holds broker.jobs_max jobs"},
    [CORE_FULL_BYTES] = {"queue_full", "the broker's jobs hold broker.bytes_max bytes"},
    [CORE_FULL_ROUTE] = {"queue_full", "the route holds broker.route_jobs_max queued jobs"},
    [CORE_FULL_TENANT] = {"queue_full", "the tenant holds broker.tenant_jobs_max jobs"},
    [CORE_FULL_ROUTES] = {"queue_full", "the broker knows broker.routes_max routes"},
    [CORE_FULL_TENANTS] = {"queue_full", "the broker knows broker.tenants_max tenants"},
    [CORE_UNKNOWN_ROUTE] = {"integration_not_found", "no integration has the name of this route"},
    [CORE_CLOSED] = {"route_draining", "an operator lets this route drain: nothing new is taken"},
    [CORE_NO_SHELF] = {"store_unavailable", "the store cannot take jobs now: again later"},
};

static void remember_question(struct client *c, struct slice id)
{
    if (c->req) {
        c->asked_bytes = (uint8_t)id.n;
        memcpy(c->asked, id.p, id.n);
    }
}

static void put_forbidden(struct clients *cs, struct client *c, struct slice id, const char *detail)
{
    cs->stats.forbidden++;
    put_error(cs, c, id, "forbidden", detail);
}

/* Whether the id is of a job that the sender may know of, or of none. */
static bool may_ask(struct clients *cs, struct client *c, struct slice id, int64_t now_ms)
{
    struct slice route, tenant;
    const char *detail;
    if (!permits_bound(cs->who) || !core_whose(cs->o.core, id, now_ms, &route, &tenant) ||
        permits_job(cs->who, route, tenant, &detail)) {
        return true;
    }
    put_forbidden(cs, c, id, "id: it is of a job that this key is not for");
    return false;
}

static bool may_submit(struct clients *cs, struct client *c, const struct wire_submit *job,
                       int64_t now_ms)
{
    const char *detail;
    if (!permits_job(cs->who, job->route, job->tenant, &detail)) {
        put_forbidden(cs, c, job->id, detail);
        return false;
    }
    return may_ask(cs, c, job->id, now_ms);
}

static void submit(struct clients *cs, struct client *c, const struct wire_submit_read *s,
                   int64_t now_ms)
{
    const struct wire_submit *job = &s->submit;
    struct wire_nack nack = {.id = job->id};
    if (cs->draining) {
        nack.error = SLICE("draining");
        nack.detail = SLICE("this broker takes nothing new: ask another, or again later");
        nack.retry_after_ms = DRAIN_RETRY_MS;
        put_nack(cs, c, &nack);
        return;
    }
    if (!may_submit(cs, c, job, now_ms)) {
        return;
    }
    remember_question(c, job->id);
    cs->taken++;
    uint64_t results = c->results;
    enum core_admit admit =
        core_submit(cs->o.core, job, s->body, c->handle, now_ms, &nack.retry_after_ms);
    if (admit == CORE_STORING) { /* answered when it is stored */
        return;
    }
    if (admit == CORE_QUEUED || admit == CORE_DUPLICATE) {
        if (job->ack == WIRE_ACK_QUEUED && c->results == results) {
            put_accepted(cs, c, job->id, admit == CORE_QUEUED ? "queued" : "duplicate");
        }
        return;
    }
    if (admit == CORE_UNKNOWN_ROUTE && !cs->o.routes_known(cs->o.context)) {
        nack.error = SLICE("store_unavailable");
        nack.detail = SLICE("no records yet: redis.address does not answer this broker");
        nack.retry_after_ms = RECORDS_RETRY_MS;
        put_nack(cs, c, &nack);
        return;
    }
    nack.retry_after_ms = admit == CORE_CLOSED ? DRAIN_RETRY_MS : nack.retry_after_ms;
    if (admit == CORE_NO_SHELF) {
        nack.retry_after_ms = STORE_RETRY_MS;
    }
    nack.error = slice_of(refusals[admit].error);
    nack.detail = slice_of(refusals[admit].detail);
    put_nack(cs, c, &nack);
}

/* Two jobs would have two answers, and a REQ socket can take one: nothing of such a message is
 * taken. Asked after its first pair. */
static bool too_much_for_req(const struct client *c, struct wire_reader *r)
{
    if (!c->req || r->p.at == r->p.end) {
        return false;
    }
    r->p.error = "a REQ socket sends one pair a message: use a DEALER for batches";
    return true;
}

/* Behind the last pair; a message without any would leave a REQ without an answer. */
static void end_walk(struct clients *cs, struct client *c, struct wire_reader *r,
                     enum wire_next next)
{
    if (next == WIRE_NEXT_END && r->pairs == 0) {
        r->p.error = "no pair in the message";
        next = WIRE_NEXT_BAD;
    }
    if (next == WIRE_NEXT_BAD) {
        put_malformed(cs, c, r);
    }
}

static void take_submits(struct clients *cs, struct client *c, struct wire_reader *r,
                         int64_t now_ms)
{
    struct wire_submit_read s;
    enum wire_next next;
    while ((next = wire_next_submit(r, &s)) == WIRE_NEXT_PAIR) {
        if (too_much_for_req(c, r)) {
            next = WIRE_NEXT_BAD;
            break;
        }
        if (s.invalid) {
            put_nack(cs, c, &s.nack);
        } else {
            submit(cs, c, &s, now_ms);
        }
    }
    end_walk(cs, c, r, next);
}

static const char *const state_names[] = {
    [CORE_STATE_NONE] = "none",
    [CORE_STATE_DELAYED] = "delayed",
    [CORE_STATE_STORING] = "storing",
    [CORE_STATE_QUEUED] = "queued",
    [CORE_STATE_DISPATCHED] = "dispatched",
    [CORE_STATE_STARTED] = "started",
    [CORE_STATE_ENDED] = "ended",
};

/* The results before a restart are in Redis, which a worker asks and the broker does not. */
static const char not_found[] = "this broker knows no job with this id; after its restart, "
                                "submitting the same job again returns a stored result";

/* An ended job has been answered by the core already, a cancelled one too. */
static void get(struct clients *cs, struct client *c, struct slice id, int64_t now_ms)
{
    enum core_state state = core_get(cs->o.core, id, c->handle, now_ms);
    if (state == CORE_STATE_NONE) {
        put_error(cs, c, id, "not_found", not_found);
    } else if (state != CORE_STATE_ENDED) {
        put_accepted(cs, c, id, state_names[state]);
    }
}

static void cancel(struct clients *cs, struct client *c, struct slice id, int64_t now_ms)
{
    enum core_state state = core_cancel(cs->o.core, id, c->handle, now_ms);
    if (state == CORE_STATE_NONE) {
        put_error(cs, c, id, "not_found",
                  "this broker knows no job with this id; a restart forgets them");
    } else if (state != CORE_STATE_ENDED) {
        put_error(cs, c, id, "too_late", state_names[state]);
    }
}

static void take_ids(struct clients *cs, struct client *c, struct wire_reader *r, int64_t now_ms)
{
    struct slice id;
    enum wire_next next;
    while ((next = wire_next_id(r, &id)) == WIRE_NEXT_PAIR) {
        if (too_much_for_req(c, r)) {
            next = WIRE_NEXT_BAD;
            break;
        }
        remember_question(c, id);
        if (id.n == 0) {
            put_error(cs, c, id, WIRE_ERROR_INVALID, "id: 1 to 64 bytes of A-Z a-z 0-9 _ . : -");
        } else if (!may_ask(cs, c, id, now_ms)) {
            continue;
        } else if (r->verb == WIRE_GET) {
            get(cs, c, id, now_ms);
        } else {
            cancel(cs, c, id, now_ms);
        }
    }
    end_walk(cs, c, r, next);
}

static void take_info(struct clients *cs, struct client *c, struct wire_reader *r)
{
    struct slice id = {NULL, 0}, body;
    if (wire_next_info(r, &id, &body) == WIRE_NEXT_BAD) {
        put_malformed(cs, c, r);
        return;
    }
    if (r->p.at != r->p.end) {
        r->p.error = "one pair is enough for I";
        put_malformed(cs, c, r);
        return;
    }
    if (permits_bound(cs->who)) {
        put_forbidden(cs, c, id,
                      "I tells of all routes: it is for keys without tenants and routes");
        return;
    }
    if (open_batch(cs, c, WIRE_INFO, WIRE_INFO_BYTES_MAX)) {
        cs->o.put_info(cs->o.context, &c->out, id);
        send_batch(cs, c);
    }
}

/* One question a message: each is a walk over all jobs. */
static void take_operate(struct clients *cs, struct client *c, struct wire_reader *r)
{
    struct wire_purge p;
    const char *rule;
    enum wire_next next = wire_next_purge(r, &p, &rule);
    if (next == WIRE_NEXT_PAIR && r->p.at != r->p.end) {
        r->p.error = "one pair is enough for M";
        next = WIRE_NEXT_BAD;
    }
    if (next != WIRE_NEXT_PAIR) {
        end_walk(cs, c, r, next);
        return;
    }
    remember_question(c, p.id);
    if (rule != NULL) {
        put_error(cs, c, p.id, WIRE_ERROR_INVALID, rule);
    } else if (!permits_operator(cs->who)) {
        put_forbidden(cs, c, p.id, "M is for keys of kind operator");
    } else if (!cs->o.purge(cs->o.context, c->handle, &p)) {
        put_nack(cs, c,
                 &(struct wire_nack){.id = p.id,
                                     .error = SLICE("busy"),
                                     .detail = SLICE("other purges are going on"),
                                     .retry_after_ms = DRAIN_RETRY_MS});
    }
}

static void take_ping(struct clients *cs, struct client *c, struct wire_reader *r)
{
    if (r->p.at != r->p.end) {
        r->p.error = "P carries nothing";
        put_malformed(cs, c, r);
    } else if (open_batch(cs, c, WIRE_PONG, 0)) {
        send_batch(cs, c);
    }
}

static void take_verb(struct clients *cs, struct client *c, struct wire_reader *r, int64_t now_ms)
{
    switch (r->verb) {
    case WIRE_SUBMIT:
        take_submits(cs, c, r, now_ms);
        break;
    case WIRE_GET:
    case WIRE_CANCEL:
        take_ids(cs, c, r, now_ms);
        break;
    case WIRE_INFO:
        take_info(cs, c, r);
        break;
    case WIRE_OPERATE:
        take_operate(cs, c, r);
        break;
    case WIRE_PING:
        take_ping(cs, c, r);
        break;
    default:
        r->p.at = r->p.start + 3;
        r->p.error = "no verb of OTPQ/1 from a client: S, G, X, I, M or P";
        put_malformed(cs, c, r);
    }
}

static void on_message(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed_frames)
{
    struct clients *cs = context;
    cs->who = permits_sender(cs->o.permits, PERMITS_CLIENTS, cs->zio, peer);
    if (cs->who == NULL) {
        return;
    }
    struct client *c = client_of(cs, peer);
    struct wire_reader r;
    cs->stats.messages++;
    c->req = req;
    c->awaits = req;
    c->asked_bytes = 0;
    if (malformed_frames) {
        r = (struct wire_reader){.p = pack_over(payload)};
        r.p.at = r.p.end;
        r.p.error = "a message is one frame, and more follow";
        put_malformed(cs, c, &r);
    } else if (!wire_open(&r, payload, WIRE_CLIENT_MAGIC)) {
        put_malformed(cs, c, &r);
    } else {
        take_verb(cs, c, &r, clock_mono_ms());
    }
    if (cs->taken >= cs->o.many) {
        cs->taken = 0;
        cs->o.on_many(cs->o.context);
    }
}

static void on_turn(void *context)
{
    struct clients *cs = context;
    cs->taken = 0;
    cs->o.on_turn(cs->o.context);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct clients *clients_new(const struct clients_options *o, const char **error)
{
    must(o->clients_max > 0 && o->clients_max < 1u << INDEX_BITS);
    struct clients *cs = xcalloc(1, sizeof(*cs));
    cs->o = *o;
    struct zio_options z = {.kind = ZIO_ROUTER,
                            .address = o->address,
                            .bind = true,
                            .message_bytes_max = 2 * (int64_t)WIRE_MESSAGE_BYTES_MAX,
                            .receive_hwm = RECEIVE_HWM,
                            .curve = permits_curve(o->permits, PERMITS_CLIENTS),
                            .on_message = on_message,
                            .on_turn = on_turn,
                            .context = cs};
    cs->zio = zio_new(o->base, o->zmq, &z, error);
    if (cs->zio == NULL || !permits_watch(o->permits, cs->zio, error)) {
        zio_destroy(&cs->zio);
        free(cs);
        return NULL;
    }
    zio_pause(cs->zio, true);
    cs->o.address = NULL;
    list_init(&cs->by_age);
    list_init(&cs->dirty);
    cs->by_peer = map_new(o->clients_max);
    cs->at = xcalloc(o->clients_max, sizeof(*cs->at));
    cs->unused = xcalloc(o->clients_max, sizeof(*cs->unused));
    for (uint32_t i = 0; i < o->clients_max; i++) {
        cs->unused[cs->unused_count++] = o->clients_max - 1 - i;
    }
    return cs;
}

void clients_open(struct clients *cs)
{
    zio_pause(cs->zio, false);
}

void clients_destroy(struct clients **c)
{
    struct clients *cs = *c;
    if (cs == NULL) {
        return;
    }
    *c = NULL;
    list_each(it, &cs->by_age)
    {
        client_remove(cs, list_owner(it, struct client, age));
    }
    zio_destroy(&cs->zio);
    map_destroy(&cs->by_peer, NULL);
    free(cs->at);
    free(cs->unused);
    free(cs);
}

void clients_drain(struct clients *c, bool drains)
{
    c->draining = drains;
}

struct clients_stats clients_stats(const struct clients *c)
{
    struct clients_stats s = c->stats;
    s.known = map_count(c->by_peer);
    return s;
}
