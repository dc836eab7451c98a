/* What operators say, in a real Redis: written once, followed, kept, taken back. */
#include "common/adapters/controls_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "tests/unit/redis_fixture.h"

#define PREFIX "otpq:"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    struct controls_watch *watch;
    struct asker *ask; /* as the commands have it */
    redisContext *c;
    bool up;
    bool changed;
    int changes;
};

static void on_state(void *context, bool up)
{
    ((struct world *)context)->up = up;
}

static void on_change(void *context)
{
    struct world *w = context;
    w->changed = true;
    w->changes++;
}

static void connect_blocking(struct world *w)
{
    char error[512];
    w->c = store_blocking(w->redis.address, NULL, 5000, error);
    assert_non_null(w->c);
    w->ask = asker_open(w->redis.address, NULL, 5000, error);
    assert_non_null(w->ask);
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    const struct store_options o = {.address = w->redis.address,
                                    .timeout_ms = 1000,
                                    .pending_max = 100,
                                    .on_state = on_state,
                                    .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    connect_blocking(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    controls_watch_destroy(&w->watch);
    assert_null(w->watch);
    redisFree(w->c);
    asker_close(&w->ask);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

static enum control_word set(struct world *w, const char *name, enum control_word word)
{
    char error[512];
    enum control_word was;
    assert_true(controls_set(w->ask, PREFIX, name, word, "an operator@a host", &was, error));
    return was;
}

static void follow(struct world *w)
{
    w->watch = controls_watch_new(w->base, w->store, PREFIX, on_change, w);
    assert_null(controls_watch_now(w->watch));
    assert_true(loop_until(w->base, &w->changed, 5000));
    w->changed = false;
}

static void expect_change(struct world *w)
{
    assert_true(loop_until(w->base, &w->changed, 5000));
    w->changed = false;
}

static bool is(const struct world *w, const char *route, enum control_word word)
{
    return controls_route_is(controls_watch_now(w->watch), slice_of(route), word);
}

/* ---- reading and writing --------------------------------------------------------------------- */

static void a_control_is_kept_until_it_is_taken_back(void **state)
{
    struct world *w = *state;
    struct controls *all = xcalloc(1, sizeof *all);
    char error[512];
    assert_true(controls_load(w->ask, PREFIX, all, error) && all->count == 0);
    assert_int_equal(set(w, "demo", CONTROL_PAUSED), CONTROL_NONE);
    assert_int_equal(set(w, "demo", CONTROL_DRAINING), CONTROL_PAUSED);
    assert_int_equal(set(w, "*", CONTROL_PAUSED), CONTROL_NONE);
    assert_true(controls_load(w->ask, PREFIX, all, error));
    assert_int_equal(all->count, 2);
    assert_string_equal(all->at[0].name, "*");
    assert_string_equal(all->at[1].name, "demo");
    assert_int_equal(all->at[1].word, CONTROL_DRAINING);
    assert_string_equal(all->at[1].who, "an operator@a host");
    assert_true(all->at[1].at_ms > 1700000000000);
    assert_int_equal(set(w, "demo", CONTROL_NONE), CONTROL_DRAINING);
    assert_int_equal(set(w, "demo", CONTROL_NONE), CONTROL_NONE);
    assert_true(controls_load(w->ask, PREFIX, all, error) && all->count == 1);
    free(all);
}

static void a_route_has_its_own_word_and_that_of_everything(void **state)
{
    struct world *w = *state;
    set(w, "*", CONTROL_PAUSED);
    set(w, "demo", CONTROL_DRAINING);
    follow(w);
    assert_true(is(w, "demo", CONTROL_DRAINING) && is(w, "demo", CONTROL_PAUSED));
    assert_true(is(w, "other", CONTROL_PAUSED) && !is(w, "other", CONTROL_DRAINING));
    const struct controls *now = controls_watch_now(w->watch);
    assert_int_equal(controls_of(now, SLICE("dem")), CONTROL_NONE);
    assert_int_equal(controls_of(now, SLICE("demo2")), CONTROL_NONE);
    assert_int_equal(controls_of(now, SLICE("")), CONTROL_NONE);
    assert_int_equal(controls_of(NULL, SLICE("demo")), CONTROL_NONE);
}

static void what_nobody_can_read_is_left_out(void **state)
{
    struct world *w = *state;
    struct controls *all = xcalloc(1, sizeof *all);
    char error[512];
    set(w, "good", CONTROL_PAUSED);
    redisReply *r = redisCommand(w->c, "HSET " PREFIX "{rec}:controls a %s b %s c %s d %s",
                                 "frozen 1 me", "paused", "paused x me", "");
    assert_true(r != NULL && r->type == REDIS_REPLY_INTEGER);
    freeReplyObject(r);
    assert_true(controls_load(w->ask, PREFIX, all, error));
    assert_int_equal(all->count, 1);
    free(all);
}

static void there_is_a_most_of_them(void **state)
{
    struct world *w = *state;
    char name[24], error[512];
    enum control_word was;
    for (int i = 0; i < CONTROLS_MAX; i++) {
        (void)snprintf(name, sizeof name, "r%d", i);
        set(w, name, CONTROL_PAUSED);
    }
    assert_false(controls_set(w->ask, PREFIX, "more", CONTROL_PAUSED, "me", &was, error));
    assert_int_equal(set(w, "r7", CONTROL_DRAINING), CONTROL_PAUSED);
    assert_int_equal(set(w, "r8", CONTROL_NONE), CONTROL_PAUSED);
    assert_int_equal(set(w, "more", CONTROL_PAUSED), CONTROL_NONE);
}

/* ---- following ------------------------------------------------------------------------------- */

static void a_watch_follows(void **state)
{
    struct world *w = *state;
    follow(w);
    assert_int_equal(controls_watch_now(w->watch)->count, 0);
    set(w, "demo", CONTROL_PAUSED);
    expect_change(w);
    assert_true(is(w, "demo", CONTROL_PAUSED));
    set(w, "demo", CONTROL_NONE);
    expect_change(w);
    assert_false(is(w, "demo", CONTROL_PAUSED));
    assert_int_equal(w->changes, 3);
}

static void a_watch_sees_what_nobody_announced(void **state)
{
    struct world *w = *state;
    follow(w);
    redisReply *r =
        redisCommand(w->c, "HSET " PREFIX "{rec}:controls demo %s", "draining 1700000000000 me");
    assert_true(r != NULL && r->type == REDIS_REPLY_INTEGER);
    freeReplyObject(r);
    expect_change(w);
    assert_true(is(w, "demo", CONTROL_DRAINING));
}

static void without_a_store_everything_stays(void **state)
{
    struct world *w = *state;
    set(w, "demo", CONTROL_PAUSED);
    follow(w);
    redis_fixture_stop(&w->redis);
    bool down = false;
    for (int64_t until = clock_mono_ms() + 5000; !down && clock_mono_ms() < until;) {
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
        down = !w->up;
    }
    assert_true(down);
    assert_true(is(w, "demo", CONTROL_PAUSED));
    redis_fixture_start(&w->redis, NULL, NULL); /* an empty one: nothing is said any more */
    expect_change(w);
    assert_false(is(w, "demo", CONTROL_PAUSED));
    redisFree(w->c);
    asker_close(&w->ask);
    connect_blocking(w);
}

#define CONTROLS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTROLS_TEST(a_control_is_kept_until_it_is_taken_back),
        CONTROLS_TEST(a_route_has_its_own_word_and_that_of_everything),
        CONTROLS_TEST(what_nobody_can_read_is_left_out),
        CONTROLS_TEST(there_is_a_most_of_them),
        CONTROLS_TEST(a_watch_follows),
        CONTROLS_TEST(a_watch_sees_what_nobody_announced),
        CONTROLS_TEST(without_a_store_everything_stays),
    };
    log_setup("test", LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
