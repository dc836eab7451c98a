#include <otpq.h>

#include "clients/libotpq/internal.h"

#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "common/base/rng.h"

/* ---- life ----------------------------------------------------------------------------------- */

static bool open_all(otpq *q, const struct otpq_options *o, const char **error)
{
    struct epoll_event event = {.events = EPOLLIN};
    q->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->epoll_fd < 0 || q->wake_fd < 0 ||
        epoll_ctl(q->epoll_fd, EPOLL_CTL_ADD, q->wake_fd, &event) != 0 || q->zmq_context == NULL) {
        *error = "out of file descriptors";
        return false;
    }
    for (size_t i = 0; i < o->broker_count; i++) {
        struct link *l = &q->links[i];
        l->index = (int)i;
        l->address = slice_dup(slice_of(o->brokers[i]));
        l->pair = &q->pair;
        list_init(&l->sent);
        q->link_count++;
        if (!link_open(l, q->zmq_context, q->epoll_fd)) {
            *error = zmq_strerror(zmq_errno());
            return false;
        }
    }
    return true;
}

static bool read_pair(otpq *q, const char *file, const char **error)
{
    static _Thread_local char text[512];
    char why[256];
    if (file == NULL || file[0] == '\0' || curve_file_read(file, &q->pair, why)) {
        return true;
    }
    (void)snprintf(text, sizeof(text), "curve_secret_file: %.200s: %s", file, why);
    *error = text;
    return false;
}

otpq *otpq_new(const struct otpq_options *o, const char **error)
{
    if (o->broker_count < 1 || o->broker_count > LINKS_MAX) {
        *error = "brokers: 1 to 64 are needed";
        return NULL;
    }
    otpq *q = xcalloc(1, sizeof(*q));
    q->own_context = o->zmq_context == NULL;
    q->zmq_context = q->own_context ? zmq_ctx_new() : o->zmq_context;
    q->silence_ms = o->silence_ms != 0 ? o->silence_ms : SILENCE_DEFAULT_MS;
    q->patience_ms = o->patience_ms;
    q->company_ms = clock_mono_ms();
    q->epoll_fd = -1;
    q->wake_fd = -1;
    jobs_init(&q->jobs, o->jobs_max != 0 ? o->jobs_max : JOBS_DEFAULT_MAX);
    buf_init(&q->message, WIRE_MESSAGE_BYTES_MAX);
    buf_init(&q->texts, WIRE_MESSAGE_BYTES_MAX + 4096);
    if (!read_pair(q, o->curve_secret_file, error) || !open_all(q, o, error)) {
        otpq_destroy(&q);
    }
    return q;
}

void otpq_destroy(otpq **handle)
{
    otpq *q = *handle;
    if (q == NULL) {
        return;
    }
    for (int i = 0; i < q->link_count; i++) {
        link_close(&q->links[i], q->epoll_fd);
        free(q->links[i].address);
    }
    if (q->own_context && q->zmq_context != NULL) {
        must(zmq_ctx_term(q->zmq_context) == 0);
    }
    if (q->wake_fd >= 0) {
        (void)close(q->wake_fd);
    }
    if (q->epoll_fd >= 0) {
        (void)close(q->epoll_fd);
    }
    curve_pair_wipe(&q->pair);
    jobs_free(&q->jobs);
    buf_free(&q->message);
    buf_free(&q->texts);
    free(q);
    *handle = NULL;
}

const char *otpq_version(void)
{
    return OTPQ_VERSION;
}

/* ---- submitting ----------------------------------------------------------------------------- */

static bool fill_op(struct wire_submit *s, const char *op)
{
    for (int i = 0; i < WIRE_OPS; i++) {
        if (op != NULL && strcmp(op, wire_ops[i].name) == 0) {
            s->op = (enum wire_op)i;
            return true;
        }
    }
    return false;
}

static bool fill_ack(struct wire_submit *s, enum otpq_ack ack)
{
    switch (ack) {
    case OTPQ_ACK_RESULT:
        s->ack = WIRE_ACK_RESULT;
        return true;
    case OTPQ_ACK_QUEUED:
        s->ack = WIRE_ACK_QUEUED;
        return true;
    case OTPQ_ACK_STORED:
        s->ack = WIRE_ACK_STORED;
        return true;
    default:
        return false;
    }
}

/* What the broker would refuse is refused here, where the caller still stands. */
static const char *fill_submit(struct wire_submit *s, const struct otpq_job *job)
{
    *s = (struct wire_submit){.id = slice_of(job->id),
                              .route = slice_of(job->route),
                              .tenant = slice_of(job->tenant),
                              .trace = slice_of(job->trace),
                              .ttl_ms = job->ttl_ms != 0 ? job->ttl_ms : WIRE_TTL_DEFAULT_MS,
                              .delay_ms = job->delay_ms};
    if (!wire_id_ok(s->id, WIRE_ID_BYTES_MAX)) {
        return "id: 1 to 64 bytes of A-Z a-z 0-9 _ . : -";
    }
    if (!wire_id_ok(s->route, WIRE_ROUTE_BYTES_MAX)) {
        return "route: 1 to 64 bytes of A-Z a-z 0-9 _ . : -";
    }
    if (!fill_op(s, job->op)) {
        return "op: one of send, verify, flash.create, flash.query, callback, report";
    }
    if (s->tenant.n > WIRE_TENANT_BYTES_MAX) {
        return "tenant: at most 64 bytes";
    }
    if (s->trace.n > 0 && !wire_trace_ok(s->trace)) {
        return "trace: a W3C traceparent, 00-TRACE-PARENT-FLAGS in small hex digits";
    }
    if (s->ttl_ms > WIRE_TTL_MAX_MS || s->delay_ms > WIRE_TTL_MAX_MS) {
        return "ttl_ms, delay_ms: at most 86400000";
    }
    if (job->pri > WIRE_PRI_MAX) {
        return "pri: 0 to 9, or -1 for the op's own";
    }
    if (!fill_ack(s, job->ack)) {
        return "ack: one of OTPQ_ACK_RESULT, OTPQ_ACK_QUEUED, OTPQ_ACK_STORED";
    }
    s->pri = job->pri >= 0 ? (uint8_t)job->pri : wire_ops[s->op].pri;
    return NULL;
}

static const char *check_body(struct slice body)
{
    struct pack p = pack_over(body);
    struct slice whole;
    if (body.n > WIRE_BODY_BYTES_MAX) {
        return "body: at most 65536 bytes";
    }
    if (pack_peek(&p) != PACK_MAP || !pack_skip(&p, &whole) || whole.n != body.n) {
        return "body: must be one msgpack map";
    }
    return NULL;
}

int otpq_submit(otpq *q, const struct otpq_job *job, otpq_callback *done, void *context,
                const char **error)
{
    char made[32] = "c-";
    struct otpq_job named = *job;
    struct slice body = slice_make(job->body, job->body_bytes);
    struct wire_submit s;
    if (named.id == NULL) {
        rng_secure_text(made + 2, 26);
        named.id = made;
    }
    const char *wrong = fill_submit(&s, &named);
    wrong = wrong != NULL ? wrong : check_body(body);
    struct pending *p = NULL;
    if (wrong == NULL) {
        p = jobs_add(&q->jobs, &s, body, clock_mono_ms(), &wrong);
    }
    if (p == NULL) {
        *error = wrong;
        return -1;
    }
    p->done = done;
    p->accepted = job->accepted;
    p->ends_stored = job->ack == OTPQ_ACK_STORED && job->accepted == NULL;
    p->context = context;
    otpq_wake(q);
    return 0;
}

void otpq_end(otpq *q, struct pending *p, struct otpq_answer *answer)
{
    jobs_remove(&q->jobs, p);
    p->done(p->context, answer);
    free(p);
}

void otpq_accepted(otpq *q, struct pending *p, struct slice state)
{
    bool stored = slice_is(state, "stored");
    char *id = slice_dup(p->submit.id);
    struct otpq_answer answer = {.outcome = stored ? OTPQ_STORED : OTPQ_QUEUED,
                                 .id = id,
                                 .state = stored                      ? "stored"
                                          : slice_is(state, "queued") ? "queued"
                                                                      : "duplicate",
                                 .code = "",
                                 .detail = ""};
    otpq_callback *tell = p->accepted;
    p->accepted = NULL; /* the next broker that gets it says so again */
    if (stored && p->ends_stored) {
        otpq_end(q, p, &answer);
    } else if (tell != NULL) {
        tell(p->context, &answer);
    }
    free(id);
}

/* ---- sending -------------------------------------------------------------------------------- */

void otpq_wake(otpq *q)
{
    uint64_t one = 1;
    if (!q->woken) {
        must(write(q->wake_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
        q->woken = true;
    }
}

static void unwake(otpq *q)
{
    uint64_t count;
    if (q->woken) {
        must(read(q->wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count));
        q->woken = false;
    }
}

/* Those that said they leave and are still there are asked again: an operator may have let them
 * drain, and take jobs again. */
static void look_who_stays(otpq *q, int64_t now_ms)
{
    for (int i = 0; i < q->link_count; i++) {
        struct link *l = &q->links[i];
        l->leaving = l->leaving && now_ms < l->stays_ms;
    }
}

/* When a link may be asked again that jobs wait for; INT64_MAX: nothing waits so. */
static int64_t stays_next(const otpq *q)
{
    int64_t next = INT64_MAX;
    for (int i = 0; i < q->link_count && !list_empty(&q->jobs.outbox); i++) {
        const struct link *l = &q->links[i];
        if (l->up && l->leaving && !l->retired && l->stays_ms < next) {
            next = l->stays_ms;
        }
    }
    return next;
}

struct link *otpq_usable(otpq *q)
{
    for (int i = 0; i < q->link_count; i++) {
        int at = (q->current + i) % q->link_count;
        if (q->links[at].up && !q->links[at].leaving && !q->links[at].retired) {
            q->current = at;
            return &q->links[at];
        }
    }
    return NULL;
}

bool otpq_owes(const otpq *q, const struct link *l)
{
    return !list_empty(&l->sent) || (q->ask.verb != 0 && q->ask.link == l->index);
}

static bool send_now(otpq *q, struct link *l, int64_t now_ms)
{
    if (!otpq_owes(q, l)) {
        l->heard_ms = now_ms; /* nothing was owed: its silence begins to count here */
        l->pinged_ms = 0;
    }
    q->asked = true;
    return link_send(l, &q->message);
}

static uint32_t left_ms(int64_t until_ms, int64_t now_ms, uint32_t least_ms)
{
    return until_ms - now_ms > (int64_t)least_ms ? (uint32_t)(until_ms - now_ms) : least_ms;
}

/* A job whose time is over goes out with a last millisecond: the broker may know its result. */
static void put_job(struct buf *message, const struct pending *p, int64_t now_ms)
{
    struct wire_submit s = p->submit;
    s.ttl_ms = left_ms(p->deadline_ms, now_ms, 1);
    s.delay_ms = left_ms(p->ready_ms, now_ms, 0);
    s.again = p->again && s.delay_ms == 0; /* no broker starts one before its time */
    wire_put_submit(message, &s, p->body);
}

static bool send_batch(otpq *q, struct link *l, int64_t now_ms)
{
    enum { ENVELOPE_BYTES_MAX = 1024 };
    struct list batch;
    list_init(&batch);
    buf_clear(&q->message);
    wire_begin(&q->message, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
    for (uint32_t n = 0; n < WIRE_PAIRS_MAX && !list_empty(&q->jobs.outbox); n++) {
        struct list *node = list_first(&q->jobs.outbox);
        struct pending *p = list_owner(node, struct pending, where);
        if (q->message.n + p->body.n + ENVELOPE_BYTES_MAX > WIRE_MESSAGE_BYTES_MAX) {
            break;
        }
        put_job(&q->message, p, now_ms);
        p->link = l->index;
        list_remove(node);
        list_push(&batch, node);
    }
    must(buf_ok(&q->message));
    if (!send_now(q, l, now_ms)) {
        jobs_requeue(&q->jobs, &batch);
        return false;
    }
    while (!list_empty(&batch)) {
        struct list *node = list_first(&batch);
        list_remove(node);
        list_push(&l->sent, node);
    }
    return true;
}

/* The blocking question goes to the first connected broker, from the one in use on, that was not
 * asked before. */
static void send_ask(otpq *q, int64_t now_ms)
{
    for (int i = 0; i < q->link_count && q->ask.verb != 0 && q->ask.link == NO_LINK; i++) {
        struct link *l = &q->links[(q->current + i) % q->link_count];
        if (!l->up || (q->ask.tried & (uint64_t)1 << l->index) != 0) {
            continue;
        }
        buf_clear(&q->message);
        wire_begin(&q->message, WIRE_CLIENT_MAGIC, q->ask.verb);
        if (q->ask.verb == WIRE_INFO) {
            pack_put_map(&q->message, 0);
            pack_put_map(&q->message, 0);
        } else {
            wire_put_id(&q->message, slice_of(q->ask.id));
        }
        if (send_now(q, l, now_ms)) {
            q->ask.link = l->index;
        }
        if (link_readable(l)) {
            otpq_wake(q);
        }
    }
}

void otpq_flush(otpq *q)
{
    int64_t now_ms = clock_mono_ms();
    struct link *l = otpq_usable(q);
    send_ask(q, now_ms);
    if (l == NULL) {
        return;
    }
    while (!list_empty(&q->jobs.outbox) && send_batch(q, l, now_ms)) {
    }
    if (link_readable(l)) {
        otpq_wake(q);
    }
}

/* ---- brokers that are gone ------------------------------------------------------------------ */

/* What the broker owes goes out again, here or elsewhere. */
static void take_back(otpq *q, struct link *l)
{
    jobs_requeue_sent(&q->jobs, &l->sent);
    if (q->ask.link == l->index) {
        q->ask.link = NO_LINK;
    }
}

/* Silent although asked: the connection is given up too, for what stands in its pipe must not
 * arrive later. */
static void leave(otpq *q, struct link *l)
{
    take_back(q, l);
    link_close(l, q->epoll_fd);
    need(link_open(l, q->zmq_context, q->epoll_fd));
    if (q->current == l->index) {
        q->current = (l->index + 1) % q->link_count;
    }
}

/* When a broker that owes answers is pinged next, or given up. */
static int64_t patience_ends(const otpq *q, const struct link *l)
{
    return l->pinged_ms != 0 ? l->pinged_ms + (int64_t)q->silence_ms * 2 / 3
                             : l->heard_ms + (int64_t)q->silence_ms / 3;
}

static void check_silence(otpq *q, struct link *l, int64_t now_ms)
{
    if (!l->up || !otpq_owes(q, l) || now_ms < patience_ends(q, l)) {
        return;
    }
    if (l->pinged_ms != 0) {
        leave(q, l);
        return;
    }
    buf_clear(&q->message);
    wire_begin(&q->message, WIRE_CLIENT_MAGIC, WIRE_PING);
    l->pinged_ms = now_ms;
    if (!link_send(l, &q->message) || link_readable(l)) {
        otpq_wake(q); /* not sent: the monitor is about to say why */
    }
}

/* Its key, or ours, may be another by then. */
static void try_again(otpq *q, struct link *l, int64_t now_ms)
{
    if (l->refused) {
        l->refused = false;
        l->again_ms = now_ms + REFUSED_PAUSE_MS;
    }
    if (l->again_ms != 0 && l->again_ms <= now_ms) {
        link_close(l, q->epoll_fd);
        must(link_open(l, q->zmq_context, q->epoll_fd));
    }
}

static void expire(otpq *q, int64_t now_ms)
{
    while (q->jobs.count > 0 && q->jobs.heap[0]->deadline_ms + GRACE_MS <= now_ms) {
        struct pending *p = q->jobs.heap[0];
        char *id = slice_dup(p->submit.id);
        struct otpq_answer answer = {.outcome = OTPQ_TIMED_OUT,
                                     .id = id,
                                     .state = "",
                                     .code = "",
                                     .detail = "no broker answered within the job's time"};
        otpq_end(q, p, &answer);
        free(id);
    }
}

static int64_t alone_until(const otpq *q)
{
    bool waits = q->patience_ms != 0 && !list_empty(&q->jobs.outbox) && otpq_brokers_up(q) == 0;
    return waits ? q->company_ms + q->patience_ms : INT64_MAX;
}

/* Nobody to give them to: who asked for them can still do something else. What a broker has had
 * waits, it may have started. */
static void give_up_alone(otpq *q, int64_t now_ms)
{
    if (now_ms < alone_until(q)) {
        return;
    }
    const struct list *last = q->jobs.outbox.prev; /* callbacks may submit more behind it */
    bool done = false;
    list_each(node, &q->jobs.outbox)
    {
        struct pending *p = list_owner(node, struct pending, where);
        if (done) {
            break;
        }
        done = node == last;
        if (!p->again) {
            char *id = slice_dup(p->submit.id);
            struct otpq_answer answer = {.outcome = OTPQ_NOT_TAKEN,
                                         .id = id,
                                         .state = "",
                                         .code = "queue_full",
                                         .detail = "no broker answers",
                                         .retry_after_ms = HOLD_MS_MAX};
            otpq_end(q, p, &answer);
            free(id);
        }
    }
}

static void see_company(otpq *q, int64_t now_ms)
{
    if (otpq_brokers_up(q) > 0) {
        q->company_ms = now_ms;
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

void otpq_process(otpq *q)
{
    int64_t now_ms = clock_mono_ms();
    unwake(q);
    see_company(q, now_ms); /* as it was until now */
    for (int i = 0; i < q->link_count; i++) {
        struct link *l = &q->links[i];
        if (l->address == NULL) {
            continue;
        }
        int64_t heard_ms = l->heard_ms;
        otpq_receive(q, l, now_ms);
        link_look(l);
        if (l->heard_ms != heard_ms) {
            l->pinged_ms = 0;
        }
        if (l->lost) {
            l->lost = false;
            take_back(q, l);
        }
        check_silence(q, l, now_ms);
        try_again(q, l, now_ms);
    }
    otpq_sweep(q);
    see_company(q, now_ms);
    expire(q, now_ms);
    give_up_alone(q, now_ms);
    jobs_let_go(&q->jobs, now_ms);
    look_who_stays(q, now_ms);
    otpq_flush(q);
}

int otpq_fd(otpq *q)
{
    return q->epoll_fd;
}

int64_t otpq_next_ms(otpq *q)
{
    int64_t next = stays_next(q);
    if (q->woken) {
        return 0;
    }
    if (q->jobs.count > 0 && q->jobs.heap[0]->deadline_ms + GRACE_MS < next) {
        next = q->jobs.heap[0]->deadline_ms + GRACE_MS;
    }
    if (alone_until(q) < next) {
        next = alone_until(q);
    }
    if (!list_empty(&q->jobs.held) && q->jobs.held_until_ms < next) {
        next = q->jobs.held_until_ms;
    }
    for (int i = 0; i < q->link_count; i++) {
        struct link *l = &q->links[i];
        if (l->up && otpq_owes(q, l) && patience_ends(q, l) < next) {
            next = patience_ends(q, l);
        }
        if (l->again_ms != 0 && l->again_ms < next) {
            next = l->again_ms;
        }
    }
    if (next == INT64_MAX) {
        return -1;
    }
    int64_t now_ms = clock_mono_ms();
    return next > now_ms ? next - now_ms : 0;
}

size_t otpq_brokers_up(const otpq *q)
{
    size_t up = 0;
    for (int i = 0; i < q->link_count; i++) {
        up += q->links[i].up && !q->links[i].retired ? 1 : 0;
    }
    return up;
}

bool otpq_connected(const otpq *q)
{
    return otpq_brokers_up(q) > 0 || !q->asked;
}
