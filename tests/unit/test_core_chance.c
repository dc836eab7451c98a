/*
 * test_core_chance.c: stored jobs under anything that may happen in any order: what stands on
 * the shelves is followed. Who is told "stored" is told so of an entry that stands, and when all
 * has ended the shelves are empty. The simulator has a world around the core; this has odd orders.
 */
#include "common/base/rng.h"
#include "tests/unit/core_rig.h"

enum {
    IDS = 24,
    SHELVES = 8,
    PENDING_MAX = 2048,
    STEPS = 60000,
    SEEDS = 6,
    WORKERS = 3 /* handles 1 … */
};

/* One thing on its way to a shelf, in order. */
struct way {
    struct rig_shelved what;
    bool gone; /* its shelf was lost meanwhile */
};

struct chance {
    struct rig *g;
    struct rng rng;
    bool on[SHELVES + 1][IDS];                 /* entries that stand */
    char body[SHELVES + 1][IDS][RIG_TEXT_MAX]; /* … their content */
    char route[SHELVES + 1][IDS][RIG_TEXT_MAX];
    bool lost[SHELVES + 1];          /* is another broker's, until it is adopted */
    bool adopting[SHELVES + 1];      /* ours, and something of it is still to be adopted */
    bool to_adopt[SHELVES + 1][IDS]; /* … what */
    struct way pending[PENDING_MAX];
    uint32_t first, next; /* of pending */
    uint32_t own;         /* shelf of new jobs */
    bool alive[WORKERS + 1];
    uint64_t credit[WORKERS + 1];
    struct rig_sent with[WORKERS + 1][IDS]; /* latest dispatch of an id to the worker */
    bool has[WORKERS + 1][IDS];
    uint32_t walk[SHELVES + 1];                  /* places of core_shelf_again */
    uint64_t ended, told, adopted, moved, again; /* counters: that something happens */
};

static uint32_t below(struct chance *c, uint32_t n)
{
    return (uint32_t)rng_below(&c->rng, n);
}

static uint32_t number_of(const char *id)
{
    return (uint32_t)(id[0] - 'a');
}

static struct slice id_of(uint32_t number)
{
    static char text[2];
    text[0] = (char)('a' + number);
    return slice_make(text, 1);
}

static bool stands_somewhere(const struct chance *c, uint32_t number)
{
    bool stands = false;
    for (uint32_t shelf = 1; shelf <= SHELVES; shelf++) {
        stands |= c->on[shelf][number];
    }
    return stands;
}

/* What the core did since: the shelves' part is queued, the rest noted. */
static void take_effects(struct chance *c)
{
    struct rig *g = c->g;
    for (uint32_t i = 0; i < g->shelved_n; i++) {
        must(c->next - c->first < PENDING_MAX);
        assert_false(c->lost[g->shelved[i].shelf]);
        c->pending[c->next++ % PENDING_MAX] = (struct way){.what = g->shelved[i]};
    }
    for (uint32_t i = 0; i < g->told_n; i++) {
        c->told++;
        c->moved += g->told[i].what == CORE_STORED_MOVED;
        if (g->told[i].what == CORE_STORED) {
            assert_true(stands_somewhere(c, number_of(g->told[i].id)));
        }
    }
    for (uint32_t i = 0; i < g->answer_n; i++) {
        c->ended++;
    }
    for (uint32_t i = 0; i < g->sent_n; i++) {
        uint32_t n = number_of(g->sent[i].id);
        assert_true(c->alive[g->sent[i].worker]);
        c->with[g->sent[i].worker][n] = g->sent[i];
        c->has[g->sent[i].worker][n] = true;
    }
    g->shelved_n = g->told_n = g->answer_n = g->sent_n = 0;
    core_check(g->core, g->now);
}

static void submit(struct chance *c)
{
    struct wire_submit s = rig_job("a");
    s.id = id_of(below(c, IDS));
    s.route = below(c, 3) == 0 ? SLICE("q") : SLICE("r");
    s.op = below(c, 5) == 0 ? WIRE_OP_VERIFY : WIRE_OP_SEND;
    s.ack = (enum wire_ack)below(c, WIRE_ACKS);
    s.again = below(c, 4) == 0;
    s.ttl_ms = 1 + below(c, 4000);
    s.delay_ms = below(c, 4) == 0 ? below(c, 2000) : 0;
    s.tenant = below(c, 2) == 0 ? SLICE("t") : SLICE("");
    (void)rig_submit_as(c->g, &s, below(c, 12) == 0 ? "other" : "body", 1 + below(c, 9));
}

/* The store answers the oldest. */
static void confirm(struct chance *c, bool never_fails)
{
    if (c->first == c->next) {
        return;
    }
    const struct way w = c->pending[c->first++ % PENDING_MAX];
    const struct rig_shelved *e = &w.what;
    uint32_t n = number_of(e->id);
    if (w.gone) {
        return;
    }
    bool kept = !e->put || e->job == 0 || never_fails || below(c, 8) != 0;
    if (kept) {
        c->on[e->shelf][n] = e->put;
        if (e->put) {
            (void)snprintf(c->body[e->shelf][n], RIG_TEXT_MAX, "%s", e->body);
            (void)snprintf(c->route[e->shelf][n], RIG_TEXT_MAX, "%s", e->route);
        }
    }
    if (e->job != 0 && e->put) {
        core_shelved(c->g->core, e->job, kept, c->g->now);
    } else if (e->job != 0) {
        core_unshelved(c->g->core, e->job, c->g->now);
    }
}

static void work(struct chance *c)
{
    uint32_t worker = 1 + below(c, WORKERS);
    uint32_t n = below(c, IDS);
    if (!c->alive[worker] || !c->has[worker][n]) {
        return;
    }
    const struct rig_sent *s = &c->with[worker][n];
    static const enum result_code codes[] = {RESULT_OTP_SENT, RESULT_ADVERTISER_REFUSED,
                                             RESULT_INTERNAL_ERROR, RESULT_ADVERTISER_UNREACHABLE,
                                             RESULT_CONFLICT};
    enum result_code code = codes[below(c, ARRAY_LEN(codes))];
    struct wire_give_back b = {.id = id_of(n),
                               .attempt = s->attempt,
                               .delay_ms = below(c, 3) == 0 ? below(c, 300) : 0,
                               .code = below(c, 2) == 0 ? RESULT_NONE : RESULT_RATE_LIMITED,
                               .via = below(c, 4) == 0 ? SLICE("q") : (struct slice){NULL, 0}};
    switch (below(c, 3)) {
    case 0:
        (void)core_started(c->g->core, worker, id_of(n), s->attempt, c->g->now);
        return;
    case 1:
        (void)core_given_back(c->g->core, worker, &b, c->g->now);
        break;
    default:
        (void)rig_result(c->g, worker, s->id,
                         code == RESULT_OTP_SENT ? JOB_END_DONE : JOB_END_REFUSED, code);
    }
    c->has[worker][n] = false;
}

static void worker_life(struct chance *c, bool come)
{
    uint32_t worker = 1 + below(c, WORKERS);
    if (c->alive[worker] && !come && below(c, 3) == 0) {
        core_worker_gone(c->g->core, worker, c->g->now);
        c->alive[worker] = false;
        memset(c->has[worker], 0, sizeof(c->has[worker]));
    } else if (!c->alive[worker]) {
        core_worker_joined(c->g->core, worker, c->g->now);
        c->alive[worker] = true;
        c->credit[worker] = 0;
    }
    if (c->alive[worker]) {
        c->credit[worker] += 1 + below(c, 5);
        core_worker_credit(c->g->core, worker, c->credit[worker], c->g->now);
    }
}

static void route_changes(struct chance *c, bool open)
{
    struct core_route_policy p = {.known = open || below(c, 6) != 0,
                                  .paused = !open && below(c, 3) == 0,
                                  .stored = below(c, 3) == 0};
    struct core_route_policy q = {.known = open || below(c, 6) != 0};
    if (below(c, 2) == 0) {
        p.fallback_count = 1;
        p.fallback[0] = SLICE("q");
    }
    assert_true(rig_policy(c->g, "r", p));
    assert_true(rig_policy(c->g, "q", q));
}

/* Another broker takes a shelf, what was under way to it with it; new jobs go elsewhere. */
static void lose(struct chance *c)
{
    uint32_t shelf = 1 + below(c, SHELVES);
    if (c->lost[shelf]) {
        return;
    }
    for (uint32_t i = c->first; i != c->next; i++) {
        struct way *w = &c->pending[i % PENDING_MAX];
        w->gone |= w->what.shelf == shelf;
    }
    core_shelf_lost(c->g->core, shelf, c->g->now);
    take_effects(c);
    c->lost[shelf] = true;
    c->walk[shelf] = 0;
    memcpy(c->to_adopt[shelf], c->on[shelf], sizeof(c->on[shelf]));
    if (shelf == c->own) {
        c->own = 0;
    }
}

/* It dies in turn, and its shelf is ours: what stands there is adopted as far as that goes now. */
static void adopt(struct chance *c, uint32_t shelf)
{
    if (!c->lost[shelf] && !c->adopting[shelf]) {
        return;
    }
    c->lost[shelf] = false;
    c->adopting[shelf] = false;
    for (uint32_t n = 0; n < IDS; n++) {
        if (!c->to_adopt[shelf][n]) {
            continue;
        }
        struct wire_submit s = rig_job("a");
        s.id = id_of(n);
        s.route = slice_of(c->route[shelf][n]);
        s.ttl_ms = below(c, 3) == 0 ? 0 : 1 + below(c, 3000);
        s.delay_ms = below(c, 4) == 0 ? below(c, 1000) : 0;
        enum core_admit a = core_adopt(c->g->core, shelf, &s, slice_of(c->body[shelf][n]),
                                       below(c, 5000), c->g->now);
        bool later = a >= CORE_FULL_TOTAL && a <= CORE_FULL_TENANTS;
        c->adopting[shelf] |= later;
        c->to_adopt[shelf][n] = later;
        c->adopted += !later;
        take_effects(c);
    }
}

/* What the core puts again is what the shelf has. */
static void put_again(struct chance *c)
{
    uint32_t shelf = 1 + below(c, SHELVES);
    if (c->lost[shelf]) {
        return;
    }
    if (!core_shelf_again(c->g->core, shelf, &c->walk[shelf], 1 + below(c, 3))) {
        c->walk[shelf] = 0;
    }
    for (uint32_t i = 0; i < c->g->shelved_n; i++) {
        const struct rig_shelved *e = &c->g->shelved[i];
        uint32_t n = number_of(e->id);
        assert_true(e->put && e->job == 0);
        assert_true(c->on[shelf][n]);
        assert_string_equal(c->body[shelf][n], e->body);
        c->again++;
    }
}

/* A shelf for new jobs is one of its own: nothing stands on it or is on its way. */
static bool is_new(const struct chance *c, uint32_t shelf)
{
    bool used = c->lost[shelf] || c->adopting[shelf];
    for (uint32_t i = c->first; i != c->next; i++) {
        used |= c->pending[i % PENDING_MAX].what.shelf == shelf;
    }
    for (uint32_t n = 0; n < IDS; n++) {
        used |= c->on[shelf][n];
    }
    return !used;
}

static void one_step(struct chance *c)
{
    struct rig *g = c->g;
    uint32_t what = below(c, 100);
    g->now += below(c, 4) == 0 ? below(c, 120) : 0;
    if (c->own == 0) {
        uint32_t shelf = 1 + below(c, SHELVES);
        c->own = is_new(c, shelf) ? shelf : 0;
        core_shelf(g->core, c->own);
    }
    if (what < 25) {
        submit(c);
    } else if (what < 50) {
        confirm(c, false);
    } else if (what < 70) {
        work(c);
    } else if (what < 78) {
        worker_life(c, false);
    } else if (what < 82) {
        (void)core_cancel(g->core, id_of(below(c, IDS)), 1 + below(c, 9), g->now);
    } else if (what < 85) {
        (void)core_get(g->core, id_of(below(c, IDS)), 1 + below(c, 9), g->now);
    } else if (what < 87) {
        route_changes(c, false);
    } else if (what < 90) {
        lose(c);
    } else if (what < 93) {
        adopt(c, 1 + below(c, SHELVES));
    } else if (what < 97) {
        put_again(c);
    } else if (below(c, 10) == 0) {
        core_store_forgot(g->core, g->now);
    }
    take_effects(c);
    (void)core_step(g->core, g->now, 1 + below(c, 5));
    take_effects(c);
}

/* Nobody submits, all gates are open, the store answers, workers end what they have. */
static void end_all(struct chance *c)
{
    struct rig *g = c->g;
    for (uint32_t shelf = 1; shelf <= SHELVES; shelf++) {
        adopt(c, shelf);
    }
    for (uint32_t turn = 0; turn < 4000; turn++) {
        route_changes(c, true);
        worker_life(c, true);
        for (uint32_t i = 0; i < 30; i++) {
            work(c);
            take_effects(c);
            confirm(c, true);
            take_effects(c);
        }
        for (uint32_t shelf = 1; shelf <= SHELVES; shelf++) {
            adopt(c, shelf);
        }
        g->now += 200;
        (void)core_step(g->core, g->now, 100);
        take_effects(c);
    }
    struct core_stats s = rig_stats(g);
    assert_int_equal(s.queued + s.delayed + s.in_flight + s.storing + s.unshelving, 0);
    for (uint32_t shelf = 1; shelf <= SHELVES; shelf++) {
        for (uint32_t n = 0; n < IDS; n++) {
            assert_false(c->on[shelf][n]);
        }
    }
}

static void shelves_are_empty_when_all_has_ended(void **state)
{
    (void)state;
    static struct rig g;
    static struct chance c;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct core_limits l = rig_limits();
        l.jobs_max = 15;
        l.result_ttl_ms = 3000;
        c = (struct chance){.g = &g};
        rng_seed(&c.rng, seed);
        rig_start(&g, l);
        c.alive[1] = true;
        route_changes(&c, true);
        for (uint32_t i = 0; i < STEPS; i++) {
            one_step(&c);
        }
        end_all(&c);
        assert_true(c.told > 500 && c.ended > 500 && c.moved > 50);
        assert_true(c.adopted > 100 && c.again > 100);
        rig_stop(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shelves_are_empty_when_all_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
