/* brokers.c: broker processes: a core, peers and shelves put together as broker/broker.c does, and
 * what the core says. */
#include <inttypes.h>

#include "tests/sim/many/many.h"

enum { CAPACITY = 40 /* of a worker at one broker */ };

static struct many *const w_of = &the_many; /* effects come without it */

/* ---- what the core says ---------------------------------------------------------------------- */

static uint32_t number_of(const struct broker *b)
{
    return (uint32_t)(b - w_of->brokers);
}

static void on_dispatch(void *context, uint32_t worker, const struct wire_job *job,
                        struct slice body)
{
    struct broker *b = context;
    struct link *l = &w_of->links[number_of(b)][worker];
    must(l->joined && l->received < l->earned);
    l->received++;
    worker_send(w_of, number_of(b), worker, job, client_fp(body));
}

static void on_answer(void *context, uint64_t client, const struct wire_result *r,
                      struct slice body)
{
    (void)context;
    (void)body;
    client_result(w_of, client, r);
}

static void on_shelve(void *context, uint32_t shelf, uint32_t job, const struct wire_submit *s,
                      struct slice body)
{
    struct broker *b = context;
    const struct model *m = many_named(w_of, s->id);
    shelves_put(b->shelves, shelf, job, s, body);
    if (m != NULL) {
        many_note(w_of, m->number, "broker %u puts it on shelf %u, ttl %u", number_of(b), shelf,
                  s->ttl_ms);
    }
    b->turn = true;
    if (w_of->plant == PLANT_STORED_EARLY && job != 0 && m != NULL) {
        client_stored(w_of, m->handle, s->id, CORE_STORED);
    }
}

static void on_unshelve(void *context, uint32_t shelf, uint32_t job, const struct wire_submit *s,
                        struct slice body, const struct wire_result *result, bool dead)
{
    struct broker *b = context;
    struct model *m = many_named(w_of, s->id);
    shelves_remove(b->shelves, shelf, job, s, body, result, dead);
    b->turn = true;
    if (m == NULL || result == NULL) {
        return;
    }
    many_note(w_of, m->number, "broker %u takes it off shelf %u: %s", number_of(b), shelf,
              result_name(result->code));
    m->ended = true;
    m->remover = number_of(b);
    m->remover_life = w_of->procs[m->remover].life;
    if (w_of->plant == PLANT_CANCEL_EARLY && job != 0 && result->end == JOB_END_CANCELLED) {
        client_result(w_of, m->handle, result);
    }
}

static void on_stored(void *context, uint64_t client, struct slice id, enum core_stored what)
{
    (void)context;
    w_of->counts.moved += what == CORE_STORED_MOVED;
    client_stored(w_of, client, id, what);
}

/* An entry is adopted: with the planted bug as if nobody could have begun it. */
enum core_admit __real_core_adopt(struct core *core, uint32_t shelf, const struct wire_submit *s,
                                  struct slice body, uint32_t age_ms, int64_t now_ms);
enum core_admit __wrap_core_adopt(struct core *core, uint32_t shelf, const struct wire_submit *s,
                                  struct slice body, uint32_t age_ms, int64_t now_ms);
enum core_admit __wrap_core_adopt(struct core *core, uint32_t shelf, const struct wire_submit *s,
                                  struct slice body, uint32_t age_ms, int64_t now_ms)
{
    struct model *m = many_named(w_of, s->id);
    enum core_admit a = __real_core_adopt(core, shelf, s, body, age_ms, now_ms);
    w_of->counts.adopted += a == CORE_QUEUED;
    if (m != NULL) { /* it has the time that the entry says, by the clock as that broker knows it */
        w_of->judged = m->number;
        m->adopted = true;
        m->adopted_at = w_of->now;
        many_note(w_of, m->number, "adopted with shelf %u, answer %d, ttl %u", shelf, a, s->ttl_ms);
        must(s->ttl_ms == 0 || now_ms + s->ttl_ms <= m->deadline + DEADLINE_SLACK_MS);
    }
    if (w_of->plant == PLANT_ADOPTED_FRESH && a == CORE_QUEUED) {
        struct job *j = core_find(core, s->id, hash32(core, s->id)).job;
        if ((j->flags & JOB_SETTLE) == 0) {
            j->flags &= (uint16_t)~JOB_MAYBE_STARTED;
        }
    }
    return a;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void on_wake(struct many *w, struct thing *t)
{
    w->brokers[t->u].turn = true;
}

static void wake_at(struct many *w, uint32_t broker, int64_t at)
{
    struct broker *b = &w->brokers[broker];
    if (at == INT64_MAX || (b->wake_at > w->now && b->wake_at <= at)) {
        return;
    }
    struct thing t = many_at_proc(w, broker);
    t.act = on_wake;
    t.u = broker;
    b->wake_at = at;
    many_plan(w, at, &t);
}

void broker_turn(struct many *w, uint32_t broker)
{
    struct broker *b = &w->brokers[broker];
    if (!b->turn || w->procs[broker].paused) {
        return;
    }
    if (many_one_in(w, 8)) { /* more comes before the turn ends */
        wake_at(w, broker, w->now + 1);
        return;
    }
    b->turn = false;
    int64_t next = core_step(b->core, w->now, 1 + many_below(w, 64));
    shelves_flush(b->shelves);
    wake_at(w, broker, next <= w->now ? w->now : next);
}

static void want_turn(void *context)
{
    struct broker *b = context;
    b->turn = true;
}

static bool ready(void *context)
{
    (void)context;
    return true;
}

static void on_look(void *context, const struct broker_line *live, size_t live_count,
                    const char (*died)[BROKER_TOKEN_BYTES + 1], size_t died_count)
{
    struct broker *b = context;
    shelves_look(b->shelves, live, live_count, died, died_count);
    b->turn = true;
}

void broker_store_state(struct many *w, uint32_t broker, bool up, bool forgot)
{
    struct broker *b = &w->brokers[broker];
    if (forgot) {
        b->told_forgot = w->now;
        if (w->plant != PLANT_FORGOT_CLAIMS) {
            core_store_forgot(b->core, w->now);
        }
    }
    many_note(w, w->watched, "broker %u: the store is %s", broker, up ? "there" : "away");
    shelves_store(b->shelves, up, forgot && w->plant != PLANT_FORGOT_SHELVES);
    if (!up || !forgot || w->plant == PLANT_FORGOT_CLAIMS) {
        core_store_away(b->core, !up, w->now);
    }
    b->turn = true;
}

/* ---- lives ----------------------------------------------------------------------------------- */

static struct core *open_core(struct many *w, struct broker *b)
{
    struct core_limits limits = {
        .jobs_max = 800,
        .bytes_max = 400000,
        .route_jobs_max = 400,
        .tenant_jobs_max = 400,
        .routes_max = ROUTES,
        .tenants_max = 4,
        .workers_max = WORKERS,
        .results_max = 1000,
        .results_bytes_max = 60000,
        .result_ttl_ms = 60000,
        .attempts_max = 4,
        .seed = w->seed,
    };
    struct core_effects effects = {.context = b,
                                   .dispatch = on_dispatch,
                                   .answer = on_answer,
                                   .shelve = on_shelve,
                                   .unshelve = on_unshelve,
                                   .stored = on_stored};
    struct core *core = core_new(&limits, &effects, w->now);
    for (uint32_t route = 0; route < ROUTES; route++) {
        struct core_route_policy p = {.known = true, .stored = route == 1};
        must(core_route_policy(core, many_route(route), &p, w->now));
    }
    return core;
}

void broker_start(struct many *w, uint32_t broker)
{
    struct broker *b = &w->brokers[broker];
    struct event_base *base = (struct event_base *)(uintptr_t)(broker + 1);
    bool store_cut = b->store_cut;
    *b = (struct broker){.turn = true, .store_cut = store_cut};
    (void)snprintf(b->token, sizeof b->token, "%016" PRIx64, ++w->redis.tokens);
    struct broker_line own = {.beat = 0};
    memcpy(own.token, b->token, sizeof own.token);
    (void)snprintf(own.name, sizeof own.name, "broker%u", broker);
    b->core = open_core(w, b);
    store_begin(w, broker);
    const struct peers_options peers = {.base = base,
                                        .store = &b->store,
                                        .prefix = "",
                                        .own = &own,
                                        .on_look = on_look,
                                        .context = b};
    b->peers = peers_new(&peers);
    const struct shelves_options shelves = {.base = base,
                                            .store = &b->store,
                                            .prefix = "",
                                            .token = b->token,
                                            .dead_keep_s = 60,
                                            .core = b->core,
                                            .peers = b->peers,
                                            .ready = ready,
                                            .on_turn = want_turn,
                                            .context = b};
    b->shelves = shelves_new(&shelves);
    for (uint32_t k = 0; k < WORKERS; k++) {
        w->links[broker][k].joined = false;
        if (w->procs[BROKERS + k].alive && !w->links[broker][k].cut) {
            link_join(w, broker, k);
        }
    }
}

void broker_kill(struct many *w, uint32_t broker)
{
    struct broker *b = &w->brokers[broker];
    shelves_destroy(&b->shelves);
    peers_destroy(&b->peers);
    store_end(&b->store);
    core_destroy(&b->core);
    for (uint32_t k = 0; k < WORKERS; k++) {
        w->links[broker][k].epoch++;
        w->links[broker][k].lost = true;
    }
}

/* ---- workers come and go --------------------------------------------------------------------- */

static void on_hello(struct many *w, struct thing *t)
{
    struct broker *b = &w->brokers[t->u];
    struct link *l = &w->links[t->u][t->v];
    if (l->epoch != t->a) {
        return;
    }
    if (l->joined) {
        core_worker_gone(b->core, t->v, w->now);
    }
    l->joined = true;
    l->received = 0;
    l->earned = CAPACITY;
    core_worker_joined(b->core, t->v, w->now);
    core_worker_credit(b->core, t->v, l->earned, w->now);
    b->turn = true;
}

void link_join(struct many *w, uint32_t broker, uint32_t worker)
{
    struct link *l = &w->links[broker][worker];
    if (!w->procs[broker].alive || !w->procs[BROKERS + worker].alive) {
        l->lost = true;
        return;
    }
    l->epoch++;
    l->lost = false;
    struct thing t = many_at_proc(w, broker);
    t.act = on_hello;
    t.u = broker;
    t.v = worker;
    t.a = l->epoch;
    many_plan(w, many_arrival(w, &l->to_broker), &t);
}

static void on_gone(struct many *w, struct thing *t)
{
    struct broker *b = &w->brokers[t->u];
    struct link *l = &w->links[t->u][t->v];
    if (l->joined && l->epoch == t->a) {
        l->joined = false;
        core_worker_gone(b->core, t->v, w->now);
        b->turn = true;
    }
}

void link_lost(struct many *w, uint32_t broker, uint32_t worker)
{
    struct link *l = &w->links[broker][worker];
    l->epoch++;
    l->lost = true;
    w->procs[BROKERS + worker].harmed_at = w->now;
    if (w->procs[broker].alive) {
        struct thing t = many_at_proc(w, broker);
        t.act = on_gone;
        t.u = broker;
        t.v = worker;
        t.a = l->epoch;
        many_plan(w, many_arrival(w, &l->to_broker), &t);
    }
}

/* ---- looking inside -------------------------------------------------------------------------- */

static bool knows(const struct broker *b, const struct model *m)
{
    struct slice id = many_id(m->number);
    return b->core != NULL && core_find(b->core, id, hash32(b->core, id)).job != NULL;
}

uint32_t broker_with(struct many *w, const struct model *m)
{
    uint32_t b = 0;
    while (b < w->brokers_n && !knows(&w->brokers[b], m)) {
        b++;
    }
    return b < w->brokers_n ? b : PROCS;
}

void brokers_check(struct many *w)
{
    for (uint32_t b = 0; b < w->brokers_n; b++) {
        struct core *core = w->brokers[b].core;
        struct core_stats s;
        uint64_t ended = 0;
        if (core == NULL) {
            continue;
        }
        core_check(core, w->now);
        core_stats(core, w->now, &s);
        for (uint32_t end = 0; end < JOB_ENDS; end++) {
            ended += s.ended[end];
        }
        uint64_t live = s.queued + s.delayed + s.in_flight + s.storing + s.unshelving;
        must(s.accepted + s.adopted + s.storing == ended + live + s.handed_over);
    }
}
