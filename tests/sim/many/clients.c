/* clients.c: who submits, repeats elsewhere, asks, cancels and contradicts. */
#include "tests/sim/many/many.h"

enum { TICK_MS = 100, AGAIN_MS = 200, MSGPACK_TEXT = 0xa0 };

static const uint32_t ttls_ms[] = {300, 1000, 3000, 10000, 20000};

enum fp { FP_OWN = 1, FP_OTHER = 2 };

uint32_t client_fp(struct slice body)
{
    return body.p[2] == 'x' ? FP_OTHER : FP_OWN;
}

static uint64_t handle_of(const struct many *w, uint32_t client, uint32_t broker)
{
    uint64_t epoch = client < CLIENTS ? w->clients[client].epochs[broker] : 1;
    return (epoch * BROKERS + broker) * HANDLE_CLIENTS + client;
}

/* ---- what is said to brokers ----------------------------------------------------------------- */

enum question { ASK_SUBMIT, ASK_CANCEL, ASK_STATE };

struct message {
    enum question what;
    uint64_t handle;
    uint32_t ttl_ms;
    uint32_t delay_ms;
    bool again;
    uint32_t fp;
};

static void nack(struct many *w, uint64_t handle, uint64_t job, bool conflict);

static void submit(struct many *w, struct thing *t, struct model *m, const struct message *g)
{
    struct broker *b = &w->brokers[t->u];
    char id[32], body[40];
    uint32_t retry = 0;
    (void)snprintf(id, sizeof id, "%.*s", SLICE_ARG(many_id(m->number)));
    /* msgpack, {"o" or "x": id} */
    int n = snprintf(body, sizeof body, "\x81\xa1%c?%s", g->fp == FP_OTHER ? 'x' : 'o', id);
    body[3] = (char)(MSGPACK_TEXT + n - 4);
    struct wire_submit s = {.id = slice_of(id),
                            .route = many_route(m->route),
                            .tenant = SLICE("t0"),
                            .op = WIRE_OP_SEND,
                            .ack = m->stored && g->fp == FP_OWN ? WIRE_ACK_STORED : WIRE_ACK_RESULT,
                            .pri = (uint8_t)(m->number % 10),
                            .ttl_ms = g->ttl_ms,
                            .delay_ms = g->delay_ms,
                            .again = g->again && w->plant != PLANT_AGAIN};
    enum core_admit a = core_submit(b->core, &s, slice_of(body), g->handle, w->now, &retry);
    b->turn = true;
    many_note(w, m->number, "broker %u is asked for it: %d, ttl %u again %d fp %u", t->u, a,
              g->ttl_ms, s.again, g->fp);
    switch (a) {
    case CORE_QUEUED:
    case CORE_STORING:
        m->first_hand |= g->again ? 0 : 1U << t->u;
        m->deadline = w->now + g->ttl_ms > m->deadline ? w->now + g->ttl_ms : m->deadline;
        break;
    case CORE_DUPLICATE:
        break;
    default:
        nack(w, g->handle, m->number, a == CORE_CONFLICT);
        break;
    }
}

static void on_message(struct many *w, struct thing *t)
{
    const struct message *g = t->p;
    struct model *m = many_model(w, t->a);
    struct broker *b = &w->brokers[t->u];
    if (m == NULL) {
        return;
    }
    switch (g->what) {
    case ASK_SUBMIT:
        submit(w, t, m, g);
        break;
    case ASK_CANCEL:
        many_note(w, m->number, "broker %u is asked to cancel it: %d", t->u,
                  core_cancel(b->core, many_id(m->number), g->handle, w->now));
        break;
    case ASK_STATE:
        (void)core_get(b->core, many_id(m->number), g->handle, w->now);
        break;
    }
    b->turn = true;
}

static void tell(struct many *w, uint32_t client, uint32_t broker, uint64_t job,
                 const struct message *g)
{
    static int64_t others;
    int64_t *last = client < CLIENTS ? &w->clients[client].to_broker[broker] : &others;
    others = w->now;
    if (!w->procs[broker].alive || (client < CLIENTS && w->clients[client].cut[broker])) {
        return;
    }
    struct thing t = many_at_proc(w, broker);
    struct message *copy = xmalloc(sizeof *copy);
    *copy = *g;
    copy->handle = handle_of(w, client, broker);
    t.act = on_message;
    t.u = broker;
    t.a = job;
    t.p = copy;
    many_plan(w, many_arrival(w, last), &t);
}

static void send_job(struct many *w, struct model *m, uint32_t broker)
{
    int64_t left = m->due - w->now;
    if (left <= 0) { /* it waits for what it hears */
        return;
    }
    m->sends++;
    if (m->told && m->end == JOB_END_EXPIRED) { /* it has time left: this is another wish */
        m->told = false;
        w->counts.revived++;
    }
    m->broker = broker;
    m->handle = handle_of(w, m->client, broker);
    tell(w, m->client, broker, m->number,
         &(struct message){.what = ASK_SUBMIT,
                           .ttl_ms = (uint32_t)left,
                           .delay_ms = m->sends == 1 ? m->delay_ms : 0,
                           .again = m->sends > 1,
                           .fp = FP_OWN});
}

/* ---- what brokers say ------------------------------------------------------------------------ */

enum heard { HEARD_RESULT, HEARD_STORED, HEARD_NOT_TAKEN, HEARD_MOVED, HEARD_CONFLICT };

static void on_again(struct many *w, struct thing *t)
{
    struct model *m = many_model(w, t->a);
    if (m == NULL || !m->waiting || m->cancel_asked) {
        return;
    }
    uint32_t broker = t->u != 0 ? many_below(w, w->brokers_n) : w->clients[m->client].broker;
    if (!w->procs[broker].alive) {
        many_plan(w, w->now + AGAIN_MS, t);
        return;
    }
    send_job(w, m, broker);
}

static void again_soon(struct many *w, const struct model *m, uint32_t in_ms, bool elsewhere)
{
    many_plan(w, w->now + in_ms, &(struct thing){.act = on_again, .a = m->number, .u = elsewhere});
}

static void not_taken(struct many *w, struct model *m)
{
    if (m->sends > 1 && !m->cancel_asked) {
        again_soon(w, m, AGAIN_MS, many_one_in(w, 2));
        return;
    }
    if (m->sends == 1 && !m->contradicted) { /* nothing of it was kept */
        m->never = true;
    }
    m->waiting = false;
    w->counts.not_taken++;
}

static void on_heard(struct many *w, struct thing *t)
{
    struct model *m = many_model(w, t->a);
    const struct wire_result *r = t->p;
    uint32_t client = (uint32_t)(t->b % HANDLE_CLIENTS);
    uint32_t broker = (uint32_t)(t->b / HANDLE_CLIENTS % BROKERS);
    if (m == NULL || handle_of(w, client, broker) != t->b || w->clients[client].cut[broker] ||
        m->client != client) {
        return;
    }
    many_note(w, m->number, "client %u hears %u", client, t->v);
    switch ((enum heard)t->v) {
    case HEARD_RESULT:
        ledger_told(w, m, broker, r->end, r->code);
        m->waiting = false;
        break;
    case HEARD_STORED:
        m->waiting = m->waiting && !m->forgets;
        break;
    case HEARD_NOT_TAKEN:
        if (m->waiting) {
            not_taken(w, m);
        }
        break;
    case HEARD_MOVED:
        if (m->cancel_asked) {
            m->waiting = false;
        } else if (m->waiting) {
            again_soon(w, m, 1, true);
        }
        break;
    case HEARD_CONFLICT:
        must(m->contradicted);
        m->waiting = false;
        break;
    }
    ledger_look(w, m);
}

static void hear(struct many *w, uint64_t handle, uint64_t job, enum heard what,
                 const struct wire_result *r)
{
    uint32_t client = (uint32_t)(handle % HANDLE_CLIENTS);
    uint32_t broker = (uint32_t)(handle / HANDLE_CLIENTS % BROKERS);
    if (client >= CLIENTS) {
        return;
    }
    struct thing t = {.act = on_heard, .v = what, .a = job, .b = handle};
    if (r != NULL) {
        struct wire_result *copy = xmalloc(sizeof *copy);
        *copy = *r;
        t.p = copy;
    }
    many_plan(w, many_arrival(w, &w->clients[client].to_client[broker]), &t);
}

static void nack(struct many *w, uint64_t handle, uint64_t job, bool conflict)
{
    hear(w, handle, job, conflict ? HEARD_CONFLICT : HEARD_NOT_TAKEN, NULL);
}

void client_result(struct many *w, uint64_t handle, const struct wire_result *r)
{
    struct model *m = many_named(w, r->id);
    uint32_t client = (uint32_t)(handle % HANDLE_CLIENTS);
    uint32_t broker = (uint32_t)(handle / HANDLE_CLIENTS % BROKERS);
    if (m == NULL) {
        return;
    }
    w->judged = m->number;
    /* What is known of one broker's copy alone is not everybody's: see docs/job-protocol.md. */
    if (m->sends == 1 && !m->contradicted && (client == SPY || r->end == JOB_END_CANCELLED)) {
        ledger_told(w, m, broker, r->end, r->code);
    }
    if (client == CONTRARY) {
        must(r->end != JOB_END_DONE || m->start_fp == FP_OTHER || m->claim_lost);
    } else if (r->code == RESULT_CONFLICT) {
        must(m->contradicted);
    }
    hear(w, handle, m->number, HEARD_RESULT, r);
}

void client_stored(struct many *w, uint64_t handle, struct slice id, enum core_stored what)
{
    struct model *m = many_named(w, id);
    if (m == NULL || handle % HANDLE_CLIENTS != m->client) {
        return;
    }
    switch (what) {
    case CORE_STORED:
        w->counts.stored += !m->acked;
        m->acked = true;
        hear(w, handle, m->number, HEARD_STORED, NULL);
        break;
    case CORE_STORE_FAILED:
        hear(w, handle, m->number, HEARD_NOT_TAKEN, NULL);
        break;
    case CORE_STORED_MOVED:
    case CORE_HANDED_OVER:
        hear(w, handle, m->number, HEARD_MOVED, NULL);
        break;
    }
}

/* ---- what they do ---------------------------------------------------------------------------- */

static struct model *new_job(struct many *w, uint32_t client)
{
    struct model *m = &w->models[w->next_job % JOBS];
    if (w->live >= LIVE_MAX || w->next_job - w->oldest >= JOBS - 1) {
        return NULL;
    }
    uint32_t ttl_ms = ttls_ms[many_below(w, ARRAY_LEN(ttls_ms))];
    *m = (struct model){.number = w->next_job++,
                        .route = many_below(w, ROUTES),
                        .client = client,
                        .stored = many_one_in(w, 2),
                        .ttl_ms = ttl_ms,
                        .delay_ms = many_one_in(w, 6) ? many_below(w, 3000) : 0,
                        .due = w->now + ttl_ms,
                        .waiting = true};
    m->stored = m->stored || m->route == 1;
    m->forgets = m->stored && many_one_in(w, 2);
    w->live++;
    w->counts.jobs++;
    return m;
}

/* A recent job that is not over, or NULL. */
static struct model *some_job(struct many *w)
{
    uint32_t back = 1 + many_below(w, many_one_in(w, 3) ? 2000 : 40);
    struct model *m = w->next_job <= back ? NULL : many_model(w, w->next_job - back);
    return m == NULL || m->over ? NULL : m;
}

static void cancel(struct many *w, struct model *m)
{
    if (m->waiting && !m->cancel_asked && m->sends > 0) {
        m->cancel_asked = true;
        tell(w, m->client, m->broker, m->number, &(struct message){.what = ASK_CANCEL});
    }
}

static void contradict(struct many *w, struct model *m, uint32_t broker)
{
    m->contradicted = true;
    tell(w, CONTRARY, broker, m->number,
         &(struct message){
             .what = ASK_SUBMIT, .ttl_ms = 1000, .again = many_one_in(w, 2), .fp = FP_OTHER});
}

static void on_client(struct many *w, struct thing *t)
{
    bool flood = (w->now / 7000) % 3 == 0;
    if (w->closing) {
        return;
    }
    many_plan(w, w->now + many_below(w, flood ? 30 : 300), t);
    struct model *fresh = new_job(w, t->u);
    if (fresh != NULL) {
        send_job(w, fresh, w->clients[t->u].broker);
    }
    struct model *m = some_job(w);
    uint32_t broker = many_below(w, w->brokers_n);
    if (m == NULL) {
        return;
    }
    switch (many_below(w, 20)) {
    case 0:
    case 1:
        cancel(w, m);
        break;
    case 2:
    case 3:
        tell(w, SPY, many_one_in(w, 2) ? broker : m->broker, m->number,
             &(struct message){.what = ASK_STATE});
        break;
    case 4:
        if (many_one_in(w, 3) && m->route != 1) {
            contradict(w, m, broker);
        }
        break;
    case 5:
        if (many_one_in(w, 20)) {
            w->clients[t->u].cut[w->clients[t->u].broker] = true;
        }
        break;
    default:
        break;
    }
}

/* The connection is given up: all that waits goes elsewhere. */
static void fail_over(struct many *w, uint32_t client, uint32_t broker)
{
    struct client *c = &w->clients[client];
    c->epochs[broker]++;
    c->cut[broker] = false;
    c->silent_since[broker] = 0;
    c->to_broker[broker] = c->to_client[broker] = w->now;
    for (uint32_t tries = 0; tries < 8 && (c->broker == broker || !w->procs[c->broker].alive);
         tries++) {
        c->broker = many_below(w, w->brokers_n);
    }
    for (uint64_t n = w->oldest; n < w->next_job; n++) {
        struct model *m = many_model(w, n);
        if (m == NULL || !m->waiting || m->client != client || m->broker != broker) {
            continue;
        }
        if (m->cancel_asked) { /* it would be asked for anew */
            m->waiting = false;
            ledger_look(w, m);
        } else {
            again_soon(w, m, many_below(w, 20), false);
        }
    }
}

static void look_at(struct many *w, uint32_t client, uint32_t broker)
{
    struct client *c = &w->clients[client];
    const struct proc *p = &w->procs[broker];
    uint32_t life = p->alive ? p->life : 0;
    bool hears = p->alive && !p->paused && !c->cut[broker];
    c->silent_since[broker] = hears                          ? 0
                              : c->silent_since[broker] != 0 ? c->silent_since[broker]
                                                             : w->now;
    bool silent = !hears && w->now - c->silent_since[broker] >= SILENCE_MS;
    bool died = c->lives[broker] != 0 && c->lives[broker] != life;
    c->lives[broker] = life;
    if (died || (silent && life != 0)) {
        fail_over(w, client, broker);
    }
}

static void on_tick(struct many *w, struct thing *t)
{
    for (uint32_t b = 0; b < w->brokers_n; b++) {
        look_at(w, t->u, b);
    }
    many_plan(w, w->now + TICK_MS + many_below(w, TICK_MS), t);
}

void clients_begin(struct many *w)
{
    for (uint32_t c = 0; c < CLIENTS; c++) {
        w->clients[c].broker = many_below(w, w->brokers_n);
        many_plan(w, w->now + many_below(w, 1000), &(struct thing){.act = on_client, .u = c});
        many_plan(w, w->now + many_below(w, 200), &(struct thing){.act = on_tick, .u = c});
    }
}
