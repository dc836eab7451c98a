#include "workers/link.h"

#include <event2/event_struct.h>
#include <stdio.h>
#include <unistd.h>

#include "common/adapters/zio.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum {
    BATCH_PAIRS_MAX = 900,
    /* sent when over it: one more pair always fits */
    BATCH_BYTES_GOOD = WIRE_MESSAGE_BYTES_MAX / 2,
    RETRY_MS = 20, /* the socket was full */
    HELLO_PAUSE_MS = 500,
    PINGS_MAX = 32, /* more than fit into LINK_SILENCE_MS */
    FRESH_MS = 2 * LINK_PING_MS,
    CREDIT_STEPS = 16 /* credit is told in steps of this share of the window */
};

/* Pairs of one verb that leave in one message. */
struct batch {
    char verb;
    uint32_t pairs;
    struct buf bytes;
};

enum { BATCH_STARTED, BATCH_RESULTS, BATCH_BACKS, BATCHES };

/* When the pings that the broker has yet to answer were sent, oldest first. */
struct pings {
    int64_t sent_ms[PINGS_MAX];
    unsigned count;
};

struct link {
    struct link_options o;         /* address is that below */
    char key[CURVE_KEY_CHARS + 1]; /* of the broker; "": none */
    char *address;
    struct zio *zio;
    struct event ping;  /* every LINK_PING_MS */
    struct event flush; /* end of the turn */
    struct batch batches[BATCHES];
    int64_t heard_ms; /* last word of the broker */
    int64_t hello_ms; /* last hello */
    struct pings pings;
    int64_t fresh_ms;  /* when the last ping was sent that has been answered */
    uint64_t accepted; /* jobs taken since the last hello */
    uint64_t credit;   /* last total told since the last hello */
    uint32_t running;  /* jobs of this broker that are here */
    uint32_t window;   /* that may be on their way at once */
    bool up;
    bool frozen;
    bool astray; /* jobs were lost on the way: the broker believes that they are here */
};

static bool link_say(struct link *l, struct slice message)
{
    if (zio_send(l->zio, message) == ZIO_SENT) {
        return true;
    }
    log_warn("broker does not take messages", "broker", l->o.address, NULL);
    return false;
}

static void say_verb(struct link *l, char verb)
{
    struct buf b;
    buf_init(&b, 64);
    wire_begin(&b, WIRE_WORKER_MAGIC, verb);
    (void)link_say(l, buf_slice(&b)); /* lost ones are followed by others */
    buf_free(&b);
}

static void say_ping(struct link *l)
{
    if (l->pings.count < PINGS_MAX) {
        l->pings.sent_ms[l->pings.count++] = clock_mono_ms();
    }
    say_verb(l, WIRE_W_PING);
}

static void take_pong(struct link *l)
{
    struct pings *p = &l->pings;
    if (p->count > 0) {
        l->fresh_ms = p->sent_ms[0];
        p->count--;
        memmove(p->sent_ms, p->sent_ms + 1, p->count * sizeof p->sent_ms[0]);
    }
}

/* A time to live counts from when the broker sent it, and clocks need not agree. But what comes
 * behind a pong was sent after its ping: that bounds how old a job can be. */
static int64_t job_waited_ms(const struct link *l)
{
    int64_t age_max_ms = clock_mono_ms() - l->fresh_ms;
    return age_max_ms > FRESH_MS ? age_max_ms : 0;
}

/* ---- credit ---------------------------------------------------------------------------------- */

static void say_credit(struct link *l, uint64_t total)
{
    struct buf b;
    buf_init(&b, 64);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_CREDIT);
    wire_put_credit(&b, total);
    if (link_say(l, buf_slice(&b))) {
        l->credit = total;
    }
    buf_free(&b);
}

/* Tells the broker of free places, in steps: a message for each would cost more than the jobs. */
void link_renew(struct link *l)
{
    if (!l->up || l->frozen || l->window == 0) {
        return;
    }
    uint32_t room = l->o.room(l->o.context);
    uint64_t total = l->accepted + (room < l->window ? room : l->window);
    uint32_t step = l->window / CREDIT_STEPS;
    if (total > l->credit && (total - l->credit >= step || l->credit == l->accepted)) {
        say_credit(l, total);
    }
}

void link_window(struct link *l, uint32_t jobs)
{
    l->window = jobs;
    link_renew(l);
}

void link_freeze(struct link *l)
{
    l->frozen = true;
}

/* ---- batches --------------------------------------------------------------------------------- */

static bool batch_send(struct link *l, struct batch *b)
{
    if (b->pairs == 0) {
        return true;
    }
    if (!link_say(l, buf_slice(&b->bytes))) {
        return false;
    }
    b->pairs = 0;
    buf_clear(&b->bytes);
    return true;
}

static void flush_in(struct link *l, int ms)
{
    struct timeval tv = {.tv_usec = ms * 1000};
    need(event_add(&l->flush, &tv) == 0);
}

static void on_flush(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    struct link *l = context;
    bool all = true;
    for (int i = 0; i < BATCHES; i++) {
        all = batch_send(l, &l->batches[i]) && all;
    }
    link_renew(l);
    if (!all) {
        flush_in(l, RETRY_MS);
    }
}

/* The batch to write one pair into. */
static struct buf *batch_begin(struct link *l, int which)
{
    struct batch *b = &l->batches[which];
    bool full = b->pairs >= BATCH_PAIRS_MAX || b->bytes.n >= BATCH_BYTES_GOOD;
    if (full && !batch_send(l, b)) {
        /* Nothing is lost for good: the broker will ask another worker, which finds the results in
         * the store. */
        log_error("batch dropped", "broker", l->o.address, "pairs", log_num(b->pairs), NULL);
        b->pairs = 0;
        buf_clear(&b->bytes);
    }
    if (b->pairs == 0) {
        wire_begin(&b->bytes, WIRE_WORKER_MAGIC, b->verb);
        if (!evtimer_pending(&l->flush, NULL)) {
            flush_in(l, 0);
        }
    }
    b->pairs++;
    return &b->bytes;
}

static void job_left(struct link *l)
{
    must(l->running > 0);
    l->running--;
    l->o.on_left(l->o.context);
}

void link_started(struct link *l, struct slice id, uint32_t attempt)
{
    wire_put_started(batch_begin(l, BATCH_STARTED), id, attempt);
}

void link_result(struct link *l, const struct wire_result *r, struct slice body)
{
    wire_put_result(batch_begin(l, BATCH_RESULTS), r, body);
    job_left(l);
}

void link_back(struct link *l, const struct wire_give_back *g)
{
    wire_put_back(batch_begin(l, BATCH_BACKS), g);
    job_left(l);
}

void link_quit(struct link *l)
{
    on_flush(-1, 0, l);
    say_verb(l, WIRE_W_QUIT);
}

/* ---- what the broker says -------------------------------------------------------------------- */

static void say_hello(struct link *l)
{
    struct buf b;
    buf_init(&b, 4096);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_HELLO);
    struct wire_hello hello = {.name = slice_of(l->o.name),
                               .pid = (uint64_t)getpid(),
                               .version = slice_of(OTPQ_VERSION),
                               .protocol = 1,
                               .capacity = l->o.capacity};
    wire_put_hello(&b, &hello);
    (void)link_say(l, buf_slice(&b)); /* a broker that missed it asks who we are */
    buf_free(&b);
    l->hello_ms = clock_mono_ms();
    l->fresh_ms = l->hello_ms; /* no job comes before it */
    l->pings.count = 0;        /* those before it were answered with W, or to another socket */
    l->accepted = 0;
    l->credit = 0;
    l->astray = false;
}

/* The broker does not know us (any more). It says so to every message that reaches it before our
 * hello does; each hello would make it take back what it sent after the one before. */
static void introduce_again(struct link *l)
{
    bool just_said = clock_mono_ms() - l->hello_ms < HELLO_PAUSE_MS;
    if (!l->frozen && !just_said) { /* frozen: leaving; nothing is wanted from a new broker */
        say_hello(l);
    }
}

static void set_up(struct link *l, bool up)
{
    if (l->up != up) {
        l->up = up;
        log_info(up ? "broker found" : "broker lost", "broker", l->o.address, NULL);
        l->o.on_state(l->o.context, l, up);
    }
}

static void take_jobs(struct link *l, struct wire_reader *r)
{
    struct wire_job job;
    struct slice body;
    enum wire_next next;
    while ((next = wire_next_job(r, &job, &body)) == WIRE_NEXT_PAIR) {
        l->accepted++;
        l->running++;
        l->o.on_job(l->o.context, l, &job, body, job_waited_ms(l));
    }
    if (next == WIRE_NEXT_BAD) {
        log_error("malformed job", "broker", l->o.address, "error", r->p.error, NULL);
        l->astray = true;
    }
}

static void on_message(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed_frames)
{
    (void)peer;
    (void)req;
    struct link *l = context;
    struct wire_reader r;
    if (malformed_frames || !wire_open(&r, payload, WIRE_WORKER_MAGIC)) {
        log_error("malformed message", "broker", l->o.address, NULL);
        return;
    }
    l->heard_ms = clock_mono_ms();
    switch (r.verb) {
    case WIRE_W_JOB:
        take_jobs(l, &r);
        break;
    case WIRE_W_WHO:
        introduce_again(l);
        break;
    case WIRE_W_PING:
        say_verb(l, WIRE_W_PONG);
        break;
    case WIRE_W_PONG:
        take_pong(l);
        break;
    default: /* what later versions may say */
        break;
    }
    set_up(l, true);
    link_renew(l);
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct zio *open_socket(struct link *l, const char **error)
{
    const struct curve_pair *own = l->o.pair;
    if (l->key[0] != '\0' && (own == NULL || own->public_key[0] == '\0')) {
        *error = "it has a key, and this worker has none: worker.curve_secret_file";
        return NULL;
    }
    const struct zio_curve curve = {.public_key = own != NULL ? own->public_key : "",
                                    .secret_key = own != NULL ? own->secret_key : "",
                                    .server_key = l->key};
    struct zio_options o = {.kind = ZIO_DEALER,
                            .address = l->o.address,
                            .bind = false,
                            .message_bytes_max = WIRE_MESSAGE_BYTES_MAX,
                            .curve = l->key[0] != '\0' ? &curve : NULL,
                            .on_message = on_message,
                            .context = l};
    return zio_new(l->o.base, l->o.zmq_context, &o, error);
}

/* ZeroMQ reconnects by itself when TCP ends; this is for connections that look alive and
 * are not. */
static void reopen(struct link *l)
{
    const char *error = NULL;
    struct zio *fresh = open_socket(l, &error);
    if (fresh == NULL) {
        log_error("broker socket", "broker", l->o.address, "error", error, NULL);
        return;
    }
    zio_destroy(&l->zio);
    l->zio = fresh;
    if (!l->frozen) {
        say_hello(l);
    }
}

static void on_ping(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    struct link *l = context;
    if (clock_mono_ms() - l->heard_ms >= LINK_SILENCE_MS) {
        set_up(l, false);
        reopen(l);
        l->heard_ms = clock_mono_ms();
    }
    if (l->astray && !l->frozen) {
        /* Nobody knows how many were behind the bad one, so neither jobs nor credit can be counted
         * any more: the hello makes the broker take back what it sent, and begins from zero. */
        say_hello(l);
    }
    say_ping(l);
}

void link_key(struct link *l, const char *key)
{
    (void)snprintf(l->key, sizeof(l->key), "%s", key);
}

struct link *link_new(const struct link_options *o, const char **error)
{
    struct link *l = xcalloc(1, sizeof *l);
    static const char verbs[BATCHES] = {WIRE_W_STARTED, WIRE_W_RESULT, WIRE_W_BACK};
    l->o = *o;
    l->address = slice_dup(slice_of(o->address));
    l->o.address = l->address;
    link_key(l, o->key != NULL ? o->key : "");
    l->zio = open_socket(l, error);
    if (l->zio == NULL) {
        free(l->address);
        free(l);
        return NULL;
    }
    for (int i = 0; i < BATCHES; i++) {
        l->batches[i].verb = verbs[i];
        buf_init(&l->batches[i].bytes, WIRE_MESSAGE_BYTES_MAX);
    }
    l->heard_ms = clock_mono_ms();
    must(evtimer_assign(&l->flush, o->base, on_flush, l) == 0);
    must(event_assign(&l->ping, o->base, -1, EV_PERSIST, on_ping, l) == 0);
    const struct timeval every = {.tv_usec = LINK_PING_MS * 1000};
    need(event_add(&l->ping, &every) == 0);
    say_hello(l);
    say_ping(l); /* its answer says that the broker is there */
    return l;
}

void link_destroy(struct link **link)
{
    struct link *l = *link;
    if (l == NULL) {
        return;
    }
    (void)event_del(&l->ping);
    (void)event_del(&l->flush);
    zio_destroy(&l->zio);
    for (int i = 0; i < BATCHES; i++) {
        buf_free(&l->batches[i].bytes);
    }
    free(l->address);
    free(l);
    *link = NULL;
}

const char *link_address(const struct link *l)
{
    return l->o.address;
}

uint32_t link_running(const struct link *l)
{
    return l->running;
}

bool link_up(const struct link *l)
{
    return l->up;
}
