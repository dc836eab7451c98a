/* store.c: store.h over the modelled Redis. A connection keeps the order of what goes over it; it
 * may be slow, and break before a command, behind it, or not be heard of any more. What was on its
 * way on one that was given up may still arrive. */
#include "common/adapters/store.h"

#include "tests/sim/many/many.h"

enum {
    SILENT_TIMEOUTS_MAX = 2,
    BACKOFF_MS = 50,
    STUCK_ONE_IN = 300,  /* commands */
    STUCK_MS = 5000,     /* at most, and a fifth of it at least */
    BREAKS_ONE_IN = 1500 /* commands */
};

/* A command without an answer. */
struct op {
    struct list node;
    uint64_t number;
    store_callback *done;
    void *context;
    int64_t deadline;
};

/* On its way to Redis: a copy. */
struct request {
    int script; /* or -1 */
    int argc;
    uint32_t broker;
    uint64_t op;
    struct slice argv[];
};

static void connect_soon(struct store *s);

static void op_settle(struct op *op, enum store_outcome outcome, const redisReply *reply)
{
    list_remove(&op->node);
    op->done(op->context, outcome, reply);
    free(op);
}

static void settle_all(struct store *s)
{
    struct list *node;
    while ((node = list_first(&s->waiting)) != NULL) {
        op_settle(list_owner(node, struct op, node), STORE_UNKNOWN, NULL);
    }
}

static void drop(struct store *s)
{
    if (!s->up) {
        return;
    }
    s->up = false;
    s->epoch++;
    settle_all(s);
    broker_store_state(s->w, s->broker, false, false);
    connect_soon(s);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void on_connect(struct many *w, struct thing *t)
{
    struct store *s = &w->brokers[t->u].store;
    if (s->up || s->epoch != t->a) {
        return;
    }
    if (!w->redis.up || w->brokers[t->u].store_cut) {
        connect_soon(s);
        return;
    }
    bool forgot = s->known && s->server != w->redis.server;
    s->known = true;
    s->server = w->redis.server;
    s->up = true;
    s->request_last = s->answer_last = s->heard_ms = w->now;
    broker_store_state(w, t->u, true, forgot);
}

static void connect_soon(struct store *s)
{
    struct many *w = s->w;
    struct thing t = many_at_proc(w, s->broker);
    t.act = on_connect;
    t.u = s->broker;
    t.a = s->epoch;
    many_plan(w, w->now + BACKOFF_MS + many_below(w, 4 * BACKOFF_MS), &t);
}

static void on_timeouts(struct many *w, struct thing *t)
{
    struct store *s = &w->brokers[t->u].store;
    struct list *node;
    bool late = false;
    while ((node = list_first(&s->waiting)) != NULL &&
           list_owner(node, struct op, node)->deadline <= w->now) {
        late = true;
        op_settle(list_owner(node, struct op, node), STORE_UNKNOWN, NULL);
    }
    if (late && w->now - s->heard_ms > SILENT_TIMEOUTS_MAX * TIMEOUT_MS) {
        drop(s);
    }
    many_plan(w, w->now + TIMEOUT_MS / 10, t);
}

void store_begin(struct many *w, uint32_t broker)
{
    struct store *s = &w->brokers[broker].store;
    struct thing t = many_at_proc(w, broker);
    *s = (struct store){.w = w, .broker = broker};
    list_init(&s->waiting);
    t.act = on_timeouts;
    t.u = broker;
    many_plan(w, w->now + TIMEOUT_MS / 10, &t);
    connect_soon(s);
}

void store_end(struct store *s)
{
    s->up = false;
    s->epoch++;
    settle_all(s);
}

static void on_reset(struct many *w, struct thing *t)
{
    struct store *s = &w->brokers[t->u].store;
    if (s->epoch == t->a) {
        drop(s);
    }
}

void store_lost(struct many *w, uint32_t broker)
{
    struct thing t = many_at_proc(w, broker);
    t.act = on_reset;
    t.u = broker;
    t.a = w->brokers[broker].store.epoch;
    many_plan(w, w->now, &t);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void on_answer(struct many *w, struct thing *t)
{
    struct store *s = &w->brokers[t->u].store;
    struct redisReply *reply = t->p;
    t->p = NULL;
    if (s->up && s->epoch == t->v) {
        s->heard_ms = w->now;
        list_each(node, &s->waiting)
        {
            struct op *op = list_owner(node, struct op, node);
            if (op->number == t->a) {
                op_settle(op, STORE_OK, reply);
                break;
            }
        }
    }
    reply_free(reply);
}

/* At Redis. t->v: epoch of the connection, t->a: its process' life. */
static void on_request(struct many *w, struct thing *t)
{
    struct request *r = t->p;
    struct broker *b = &w->brokers[r->broker];
    bool same =
        w->procs[r->broker].alive && w->procs[r->broker].life == t->a && b->store.epoch == t->v;
    if (!w->redis.up || b->store_cut || (!same && many_one_in(w, 2))) {
        return;
    }
    w->counts.late_commands += !same;
    struct redisReply *reply = redis_run(w, r->script, r->argc, r->argv);
    struct thing answer = many_at_proc(w, r->broker);
    if (!same || many_one_in(w, BREAKS_ONE_IN)) {
        w->counts.lost_answers++;
        w->procs[r->broker].bad_at = w->now;
        reply_free(reply);
        if (same) {
            store_lost(w, r->broker);
        }
        return;
    }
    answer.act = on_answer;
    answer.u = r->broker;
    answer.v = t->v;
    answer.a = r->op;
    answer.p = reply;
    many_plan(w, many_arrival(w, &b->store.answer_last), &answer);
}

static struct request *request_new(int script, int argc, const struct slice *argv)
{
    size_t bytes = 0;
    for (int i = 0; i < argc; i++) {
        bytes += argv[i].n;
    }
    struct request *r = xmalloc(sizeof *r + (size_t)argc * sizeof r->argv[0] + bytes);
    char *to = (char *)(r->argv + argc);
    r->script = script;
    r->argc = argc;
    for (int i = 0; i < argc; i++) {
        if (argv[i].n > 0) {
            memcpy(to, argv[i].p, argv[i].n);
        }
        r->argv[i] = slice_make(to, argv[i].n);
        to += argv[i].n;
    }
    return r;
}

static void send_it(struct store *s, int script, store_callback *done, void *context, int argc,
                    const struct slice *argv)
{
    struct many *w = s->w;
    if (!s->up) {
        done(context, STORE_REFUSED, NULL);
        return;
    }
    struct op *op = xcalloc(1, sizeof *op);
    op->number = ++s->ops;
    op->done = done;
    op->context = context;
    op->deadline = w->now + TIMEOUT_MS;
    list_init(&op->node);
    list_push(&s->waiting, &op->node);
    if (many_one_in(w, STUCK_ONE_IN) && !w->closing) {
        s->request_last = w->now + STUCK_MS / 5 + many_below(w, STUCK_MS);
        w->procs[s->broker].bad_at = s->request_last;
    }
    struct request *r = request_new(script, argc, argv);
    r->broker = s->broker;
    r->op = op->number;
    struct thing t = {.act = on_request, .v = s->epoch, .a = w->procs[s->broker].life, .p = r};
    many_plan(w, many_arrival(w, &s->request_last), &t);
}

void store_command(struct store *s, store_callback *done, void *context, int argc,
                   const struct slice *argv)
{
    send_it(s, -1, done, context, argc, argv);
}

void store_eval(struct store *s, enum store_script script, store_callback *done, void *context,
                int keys, int argc, const struct slice *argv)
{
    (void)keys;
    send_it(s, (int)script, done, context, argc, argv);
}

bool store_up(const struct store *s)
{
    return s->up;
}

bool store_reply_unavailable(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR;
}

/* One Redis has them all. */
uint32_t store_place(const struct store *s, struct slice key)
{
    (void)s;
    (void)key;
    return 0;
}
