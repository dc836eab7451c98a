#include "common/adapters/brokers_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "broker/peers.h"
#include "common/adapters/brokers_watch.h"
#include "tests/unit/redis_fixture.h"

#define PREFIX "otpq:"
#define FIRST  "1111111111111111"
#define SECOND "2222222222222222"
#define THIRD  "3333333333333333"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    redisContext *c;
    bool up;
};

static void on_state(void *context, bool up)
{
    struct world *w = context;
    w->up = up;
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    const struct store_options o = {.address = w->redis.address,
                                    .timeout_ms = 1000,
                                    .pending_max = 1000,
                                    .on_state = on_state,
                                    .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    w->c = store_blocking(w->redis.address, NULL, 10000, error);
    assert_non_null(w->c);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    redisFree(w->c);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

static struct broker_line line_of(const char *token, const char *name)
{
    struct broker_line l = {.beat = 1};
    (void)snprintf(l.token, sizeof l.token, "%s", token);
    (void)snprintf(l.name, sizeof l.name, "%s", name);
    (void)snprintf(l.clients, sizeof l.clients, "tcp://%s:1", name);
    (void)snprintf(l.workers, sizeof l.workers, "tcp://%s:2", name);
    return l;
}

static long long number_of(struct world *w, const char *command)
{
    redisReply *r = redisCommand(w->c, command);
    assert_non_null(r);
    long long n = r->integer;
    freeReplyObject(r);
    return n;
}

/* ---- lines ----------------------------------------------------------------------------------- */

struct heard {
    bool done;
    bool answered;
    size_t count;
    int64_t store_ms;
    struct broker_line seen[BROKERS_MAX];
};

static void heard_take(struct heard *h, const struct broker_line *seen, size_t count)
{
    h->done = true;
    h->answered = seen != NULL;
    h->count = count;
    if (seen != NULL) {
        memcpy(h->seen, seen, count * sizeof *seen);
    }
}

static void on_beat(void *context, const struct broker_line *seen, size_t count, int64_t store_ms)
{
    struct heard *h = context;
    heard_take(h, seen, count);
    h->store_ms = store_ms;
}

static void on_look(void *context, const struct broker_line *seen, size_t count)
{
    heard_take(context, seen, count);
}

static const struct broker_line *find(const struct heard *h, const char *token)
{
    for (size_t i = 0; i < h->count; i++) {
        if (strcmp(h->seen[i].token, token) == 0) {
            return &h->seen[i];
        }
    }
    return NULL;
}

static void beat(struct world *w, const struct broker_line *own, const char *gone, struct heard *h)
{
    *h = (struct heard){.done = false};
    brokers_beat(w->store, PREFIX, own, &gone, gone != NULL ? 1 : 0, on_beat, h);
    assert_true(loop_until(w->base, &h->done, 5000));
}

static void look(struct world *w, struct heard *h)
{
    *h = (struct heard){.done = false};
    brokers_look(w->store, PREFIX, on_look, h);
    assert_true(loop_until(w->base, &h->done, 5000));
}

static void a_line_comes_back_as_it_was_written(void **state)
{
    struct world *w = *state;
    struct broker_line own = line_of(FIRST, "one");
    struct heard h;
    (void)snprintf(own.key, sizeof own.key, "%040d", 7);
    own.leaving = true;
    own.beat = 0xfedcba9876543210;
    beat(w, &own, NULL, &h);
    assert_int_equal(h.count, 1);
    assert_memory_equal(&h.seen[0], &own, sizeof own);
    assert_true(h.store_ms > clock_wall_ms() - 60000 && h.store_ms < clock_wall_ms() + 60000);
}

static void brokers_see_each_other_and_bury_the_dead(void **state)
{
    struct world *w = *state;
    const struct broker_line one = line_of(FIRST, "one"), two = line_of(SECOND, "two");
    struct heard h;
    beat(w, &one, NULL, &h);
    beat(w, &two, NULL, &h);
    assert_int_equal(h.count, 2);
    assert_string_equal(find(&h, FIRST)->clients, "tcp://one:1");
    beat(w, &two, FIRST, &h);
    assert_int_equal(h.count, 1);
    assert_non_null(find(&h, SECOND));
    beat(w, &two, SECOND, &h); /* nobody buries himself */
    assert_int_equal(h.count, 1);
    brokers_leave(w->store, PREFIX, SECOND);
    look(w, &h);
    assert_true(h.answered);
    assert_int_equal(h.count, 0);
}

static void lines_that_are_none_are_left_out(void **state)
{
    struct world *w = *state;
    const struct broker_line one = line_of(FIRST, "one");
    struct heard h;
    (void)number_of(w, "HSET otpq:brokers short x 4444444444444444 0000 5555555555555555 "
                       "0000000000000001garbage 6666666666666666 zzzzzzzzzzzzzzzz\x95");
    beat(w, &one, NULL, &h);
    assert_int_equal(h.count, 1);
    assert_non_null(find(&h, FIRST));
}

static void more_than_are_seen_at_a_time(void **state)
{
    struct world *w = *state;
    struct heard h;
    for (int i = 0; i < BROKERS_MAX + 20; i++) {
        char token[BROKER_TOKEN_BYTES + 1];
        (void)snprintf(token, sizeof token, "%016d", i);
        const struct broker_line l = line_of(token, "many");
        beat(w, &l, NULL, &h);
        assert_non_null(find(&h, token));
    }
    assert_int_equal(h.count, BROKERS_MAX);
}

static void nobody_answers_without_a_store(void **state)
{
    struct world *w = *state;
    const struct broker_line one = line_of(FIRST, "one");
    struct heard h = {.done = false};
    redis_fixture_stop(&w->redis);
    while (w->up) {
        (void)event_base_loop(w->base, EVLOOP_ONCE);
    }
    brokers_beat(w->store, PREFIX, &one, NULL, 0, on_beat, &h);
    assert_true(h.done && !h.answered);
    h.done = false;
    brokers_look(w->store, PREFIX, on_look, &h);
    assert_true(h.done && !h.answered);
}

/* ---- peers ----------------------------------------------------------------------------------- */

struct peer_world {
    struct peers *peers;
    size_t live;                       /* of the last look */
    size_t looks;                      /* so far */
    size_t died;                       /* told so far */
    bool left_seen;                    /* another one is leaving */
    bool goal;                         /* what a test waits for */
    size_t live_wanted;                /* goal: so many live */
    size_t died_wanted;                /* goal: so many have died */
    char last[BROKER_TOKEN_BYTES + 1]; /* who died last */
};

static void on_peers(void *context, const struct broker_line *live, size_t live_count,
                     const char (*died)[BROKER_TOKEN_BYTES + 1], size_t died_count)
{
    struct peer_world *p = context;
    p->live = live_count;
    p->looks++;
    for (size_t i = 0; i < died_count; i++) {
        memcpy(p->last, died[i], sizeof p->last);
    }
    p->died += died_count;
    p->left_seen = false;
    for (size_t i = 1; i < live_count; i++) {
        p->left_seen = p->left_seen || live[i].leaving;
    }
    p->goal = p->live == p->live_wanted && p->died == p->died_wanted;
}

static void peer_begin(struct world *w, struct peer_world *p, const char *token, const char *name)
{
    const struct broker_line own = line_of(token, name);
    const struct peers_options o = {.base = w->base,
                                    .store = w->store,
                                    .prefix = PREFIX,
                                    .own = &own,
                                    .on_look = on_peers,
                                    .context = p};
    p->peers = peers_new(&o);
    assert_int_equal(peers_count(p->peers), 1);
}

static void peer_waits(struct world *w, struct peer_world *p, size_t live, size_t died)
{
    p->live_wanted = live;
    p->died_wanted = died;
    p->goal = false;
    assert_true(loop_until(w->base, &p->goal, 10000));
}

static void who_beats_no_more_is_dead_and_told_once(void **state)
{
    struct world *w = *state;
    struct peer_world one = {0}, two = {0};
    int64_t store_ms = 0;
    peer_begin(w, &one, FIRST, "one");
    assert_false(peers_store_ms(one.peers, clock_mono_ms(), &store_ms));
    peer_begin(w, &two, SECOND, "two");
    peer_waits(w, &one, 2, 0);
    assert_true(peers_store_ms(one.peers, clock_mono_ms(), &store_ms));
    assert_true(store_ms > clock_wall_ms() - 60000 && store_ms < clock_wall_ms() + 60000);
    size_t looks = one.looks + 10; /* longer than the lease: who beats lives on */
    while (one.looks < looks) {
        (void)event_base_loop(w->base, EVLOOP_ONCE);
        assert_int_equal(one.died, 0);
    }
    int64_t began_ms = clock_mono_ms();
    peers_destroy(&two.peers);
    peer_waits(w, &one, 1, 1);
    assert_true(clock_mono_ms() - began_ms >= BROKER_LEASE_MS - BROKER_BEAT_MS - 50);
    assert_string_equal(one.last, SECOND);
    assert_int_equal(number_of(w, "HLEN otpq:brokers"), 2);
    peers_buried(one.peers, SECOND);
    peers_buried(one.peers, SECOND);
    looks = one.looks + 3;
    while (one.looks < looks) {
        (void)event_base_loop(w->base, EVLOOP_ONCE);
    }
    assert_int_equal(one.died, 1);
    assert_int_equal(number_of(w, "HLEN otpq:brokers"), 1);
    peers_destroy(&one.peers);
}

static void one_of_our_name_is_dead_at_the_first_look(void **state)
{
    struct world *w = *state;
    struct peer_world before = {0}, after = {0};
    peer_begin(w, &before, FIRST, "same");
    peer_waits(w, &before, 1, 0);
    peer_begin(w, &after, SECOND, "same");
    peer_waits(w, &after, 1, 1);
    assert_int_equal(after.looks, 1);
    assert_string_equal(after.last, FIRST);
    /* It lives, on a host of the same name: it is believed again, and does the same to nobody. */
    peer_waits(w, &after, 2, 1);
    peer_waits(w, &before, 2, 0);
    peers_destroy(&before.peers);
    peers_destroy(&after.peers);
}

static void a_store_that_stood_still_kills_nobody(void **state)
{
    struct world *w = *state;
    struct peer_world one = {0}, two = {0};
    peer_begin(w, &one, FIRST, "one");
    peer_begin(w, &two, SECOND, "two");
    peer_waits(w, &one, 2, 0);
    redis_fixture_freeze(&w->redis);
    int64_t until = clock_mono_ms() + 2 * BROKER_LEASE_MS;
    while (clock_mono_ms() < until) {
        (void)event_base_loop(w->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    }
    redis_fixture_thaw(&w->redis);
    size_t looks = one.looks + 8;
    while (one.looks < looks) {
        (void)event_base_loop(w->base, EVLOOP_ONCE);
        assert_int_equal(one.died + two.died, 0);
    }
    peers_destroy(&one.peers);
    peers_destroy(&two.peers);
}

static void who_leaves_is_seen_leaving(void **state)
{
    struct world *w = *state;
    struct peer_world one = {0}, two = {0};
    peer_begin(w, &one, FIRST, "one");
    peer_begin(w, &two, SECOND, "two");
    peer_waits(w, &one, 2, 0);
    peers_leave(two.peers);
    assert_true(loop_until(w->base, &one.left_seen, 5000));
    peers_destroy(&two.peers);
    brokers_leave(w->store, PREFIX, SECOND);
    peer_waits(w, &one, 1, 0); /* that is no death */
    peers_destroy(&one.peers);
}

/* ---- watching -------------------------------------------------------------------------------- */

struct watch_world {
    size_t count;
    size_t changes;
    bool leaving;
    bool goal;
    size_t wanted; /* goal: so many */
};

static void on_brokers(void *context, const struct broker_line *lines, size_t count)
{
    struct watch_world *v = context;
    v->count = count;
    v->changes++;
    v->leaving = count > 0 && lines[0].leaving;
    v->goal = count == v->wanted;
}

static void watchers_hear_of_changes_alone(void **state)
{
    struct world *w = *state;
    struct broker_line one = line_of(FIRST, "one");
    const struct broker_line two = line_of(SECOND, "two");
    struct watch_world v = {.wanted = 2};
    struct heard h;
    beat(w, &one, NULL, &h);
    beat(w, &two, NULL, &h);
    struct brokers_watch *watch = brokers_watch_new(w->base, w->store, PREFIX, on_brokers, &v);
    assert_true(loop_until(w->base, &v.goal, 5000));
    size_t changes = v.changes;
    one.beat++;
    beat(w, &one, NULL, &h);
    assert_int_equal(v.changes, changes);
    one.leaving = true;
    beat(w, &one, NULL, &h);
    assert_true(loop_until(w->base, &v.leaving, 5000));
    v.goal = false;
    v.wanted = 1;
    brokers_leave(w->store, PREFIX, FIRST);
    assert_true(loop_until(w->base, &v.goal, 5000));
    redis_fixture_stop(&w->redis);
    while (w->up) {
        (void)event_base_loop(w->base, EVLOOP_ONCE);
    }
    assert_int_equal(v.count, 1); /* nobody is forgotten because the store is away */
    brokers_watch_destroy(&watch);
    brokers_watch_destroy(&watch);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_comes_back_as_it_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(brokers_see_each_other_and_bury_the_dead, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_that_are_none_are_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_are_seen_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_answers_without_a_store, setup, teardown),
        cmocka_unit_test_setup_teardown(who_beats_no_more_is_dead_and_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(one_of_our_name_is_dead_at_the_first_look, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_stood_still_kills_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(who_leaves_is_seen_leaving, setup, teardown),
        cmocka_unit_test_setup_teardown(watchers_hear_of_changes_alone, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
