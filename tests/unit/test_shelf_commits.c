#include "broker/shelf_commits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "tests/unit/redis_fixture.h"

#define PREFIX "otpq:"
#define SHELF  "aaaaaaaaaaaaaaaa"
#define MINE   "1111111111111111"

enum { IDS = 24, TIMEOUT_MS = 60 };

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    struct shelf_store *shelves;
    struct commits *commits;
    struct core *core; /* where a test has one */
    redisContext *c;
    int failed;      /* jobs of which it was said that nothing was kept */
    int lost;        /* times that we were told so */
    bool there[IDS]; /* what is to be on the shelf in the end */
    bool up;
};

static void on_state(void *context, bool up)
{
    struct world *w = context;
    w->up = up;
    if (w->commits != NULL) {
        commits_hold(w->commits, !up);
    }
}

static void on_lost(void *context)
{
    struct world *w = context;
    w->lost++;
    commits_destroy(&w->commits);
}

static void on_turn(void *context)
{
    (void)context;
}

static void raw(struct world *w, const char *command)
{
    redisReply *r = redisCommand(w->c, command);
    assert_non_null(r);
    freeReplyObject(r);
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    const struct store_options o = {.address = w->redis.address,
                                    .timeout_ms = TIMEOUT_MS,
                                    .pending_max = 1000,
                                    .on_state = on_state,
                                    .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    w->shelves = shelf_store_new(w->store, PREFIX);
    w->c = store_blocking(w->redis.address, NULL, 10000, error);
    assert_non_null(w->c);
    raw(w, "HSET otpq:so:{" SHELF "} own " MINE);
    const struct commits_options c = {.base = w->base,
                                      .store = w->shelves,
                                      .shelf = SHELF,
                                      .owner = MINE,
                                      .on_lost = on_lost,
                                      .on_turn = on_turn,
                                      .context = w};
    w->commits = commits_new(&c);
    commits_hold(w->commits, false);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    redisFree(w->c);
    commits_destroy(&w->commits);
    core_destroy(&w->core);
    shelf_store_destroy(&w->shelves);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

static struct slice id_of(int i, char out[16])
{
    return slice_make(out, (size_t)snprintf(out, 16, "job-%d", i));
}

/* job 0: no core is told. */
static void change(struct world *w, int i, bool put)
{
    char id[16];
    w->there[i] = put;
    if (put) {
        commits_put(w->commits, 0, id_of(i, id), SLICE("entry"));
    } else {
        commits_remove(w->commits, 0, id_of(i, id));
    }
}

static void settle(struct world *w)
{
    int64_t until = clock_mono_ms() + 10000;
    while (commits_pending(w->commits) > 0) {
        commits_flush(w->commits);
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
        (void)usleep(200);
        assert_true(clock_mono_ms() < until);
    }
}

static void is_as_it_should_be(struct world *w)
{
    for (int i = 0; i < IDS; i++) {
        redisReply *r = redisCommand(w->c, "HEXISTS otpq:sj:{" SHELF "} job-%d", i);
        assert_non_null(r);
        assert_int_equal(r->integer, w->there[i]);
        freeReplyObject(r);
    }
}

static void one_turn_is_one_commit(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < IDS; i++) {
        change(w, i, true);
        change(w, i, i % 3 == 0);
    }
    assert_int_equal(commits_counted(w->commits).commits, 0); /* nothing leaves by itself */
    settle(w);
    is_as_it_should_be(w);
    const struct commits_stats counted = commits_counted(w->commits);
    assert_int_equal(counted.commits, 1);
    assert_int_equal(counted.removed, IDS - IDS / 3);
}

/* The script puts before it removes. */
static void what_comes_back_in_one_turn_stays(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < IDS; i++) {
        change(w, i, false);
        change(w, i, true);
        change(w, i, false);
        change(w, i, i % 2 == 0);
    }
    settle(w);
    is_as_it_should_be(w);
}

static void turn_for(struct world *w, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until) {
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    }
}

/* The put's answer comes too late and it is sent again; that of its removal comes in time. */
static void what_was_taken_off_is_not_put_back(void **state)
{
    struct world *w = *state;
    change(w, 1, true);
    settle(w); /* the server has the script */
    redis_fixture_freeze(&w->redis);
    change(w, 0, true);
    commits_flush(w->commits);
    turn_for(w, TIMEOUT_MS * 2 / 3);
    change(w, 0, false);
    commits_flush(w->commits);
    turn_for(w, TIMEOUT_MS * 2 / 3);
    redis_fixture_thaw(&w->redis);
    settle(w);
    is_as_it_should_be(w);
    assert_true(commits_counted(w->commits).commits > 3);
}

static void on_shelve(void *context, uint32_t shelf, uint32_t job, const struct wire_submit *s,
                      struct slice body)
{
    struct world *w = context;
    (void)shelf;
    (void)body;
    commits_put(w->commits, job, s->id, SLICE("entry"));
}

static void on_unshelve(void *context, uint32_t shelf, uint32_t job, const struct wire_submit *s,
                        struct slice body, const struct wire_result *result, bool dead)
{
    (void)context, (void)shelf, (void)job, (void)s, (void)body, (void)result, (void)dead;
}

static void on_stored(void *context, uint64_t client, struct slice id, enum core_stored what)
{
    struct world *w = context;
    (void)client;
    (void)id;
    w->failed += what == CORE_STORE_FAILED;
}

static void on_answer(void *context, uint64_t client, const struct wire_result *result,
                      struct slice body)
{
    (void)context, (void)client, (void)result, (void)body;
}

static void on_dispatch(void *context, uint32_t worker, const struct wire_job *job,
                        struct slice body)
{
    (void)context, (void)worker, (void)job, (void)body;
}

/* Its commits tell a core, from now on. */
static void with_core(struct world *w)
{
    const struct core_limits limits = {.jobs_max = 100,
                                       .bytes_max = 1 << 20,
                                       .route_jobs_max = 100,
                                       .tenant_jobs_max = 100,
                                       .routes_max = 10,
                                       .tenants_max = 10,
                                       .workers_max = 2,
                                       .results_max = 10,
                                       .results_bytes_max = 1 << 20,
                                       .result_ttl_ms = 1000,
                                       .attempts_max = 3,
                                       .unknown_routes_accepted = true};
    const struct core_effects effects = {.context = w,
                                         .dispatch = on_dispatch,
                                         .answer = on_answer,
                                         .shelve = on_shelve,
                                         .unshelve = on_unshelve,
                                         .stored = on_stored};
    w->core = core_new(&limits, &effects, clock_mono_ms());
    const struct commits_options o = {.base = w->base,
                                      .store = w->shelves,
                                      .core = w->core,
                                      .shelf = SHELF,
                                      .owner = MINE,
                                      .on_lost = on_lost,
                                      .on_turn = on_turn,
                                      .context = w};
    commits_destroy(&w->commits);
    w->commits = commits_new(&o);
    commits_hold(w->commits, false);
    core_shelf(w->core, 1);
}

static void submit(struct world *w, int i)
{
    char id[16];
    uint32_t retry_after_ms;
    const struct wire_submit s = {
        .id = id_of(i, id), .route = SLICE("r"), .ack = WIRE_ACK_STORED, .ttl_ms = 60000};
    assert_int_equal(
        core_submit(w->core, &s, (struct slice){NULL, 0}, 7, clock_mono_ms(), &retry_after_ms),
        CORE_STORING);
    commits_flush(w->commits);
}

/* Of two commits the first had no answer, the second had, and both are to be sent again: when the
 * store goes away before that, both stand there, or may. */
static void what_was_written_is_not_called_refused(void **state)
{
    struct world *w = *state;
    with_core(w);
    change(w, 2, true);
    settle(w); /* the server has the script */
    redis_fixture_freeze(&w->redis);
    submit(w, 0);
    turn_for(w, TIMEOUT_MS * 2 / 3);
    submit(w, 1);
    turn_for(w, TIMEOUT_MS * 2 / 3);
    commits_hold(w->commits, true);
    redis_fixture_thaw(&w->redis);
    turn_for(w, 4 * (int64_t)TIMEOUT_MS);
    commits_refuse(w->commits);
    w->there[0] = w->there[1] = true;
    is_as_it_should_be(w);
    assert_int_equal(w->failed, 0);
    commits_hold(w->commits, false);
    settle(w);
}

/* Whatever goes wrong, and however often: what was said last holds. */
static void order_survives_everything(void **state)
{
    struct world *w = *state;
    struct rng rng;
    bool frozen = false;
    uint64_t seed = 0;
    rng_secure(&seed, sizeof seed);
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
    for (int step = 0; step < 3000; step++) {
        for (uint64_t n = rng_below(&rng, 6); n > 0; n--) {
            change(w, (int)rng_below(&rng, IDS), rng_below(&rng, 2) == 0);
        }
        uint64_t what = rng_below(&rng, 200);
        if (frozen) {
            if (what < 6) {
                redis_fixture_thaw(&w->redis);
                frozen = false;
            }
        } else if (what < 8) {
            raw(w, "SCRIPT FLUSH");
        } else if (what == 8) {
            raw(w, "CLIENT KILL TYPE normal SKIPME yes");
        } else if (what == 9) {
            redis_fixture_freeze(&w->redis);
            frozen = true;
        } else if (what == 10) {
            settle(w);
            is_as_it_should_be(w);
        }
        commits_flush(w->commits);
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
        if (frozen) {
            (void)usleep(2000);
        }
    }
    if (frozen) {
        redis_fixture_thaw(&w->redis);
    }
    settle(w);
    is_as_it_should_be(w);
    assert_int_equal(w->lost, 0);
}

static void who_lost_the_shelf_is_told_once_and_writes_nothing(void **state)
{
    struct world *w = *state;
    int64_t until = clock_mono_ms() + 5000;
    raw(w, "HSET otpq:so:{" SHELF "} own 2222222222222222");
    for (int i = 0; i < IDS; i++) { /* several on their way at once */
        change(w, i, true);
        commits_flush(w->commits);
    }
    while (w->lost == 0 && clock_mono_ms() < until) {
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    }
    raw(w, "PING");
    (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    assert_int_equal(w->lost, 1);
    memset(w->there, 0, sizeof w->there);
    is_as_it_should_be(w);
}

static void who_asks_is_told_that_it_is_lost(void **state)
{
    struct world *w = *state;
    int64_t until = clock_mono_ms() + 5000;
    raw(w, "HSET otpq:so:{" SHELF "} own 2222222222222222");
    commits_probe(w->commits);
    while (w->lost == 0 && clock_mono_ms() < until) {
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(w->lost, 1);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_turn_is_one_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_back_in_one_turn_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_taken_off_is_not_put_back, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_written_is_not_called_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(order_survives_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(who_lost_the_shelf_is_told_once_and_writes_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_asks_is_told_that_it_is_lost, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
