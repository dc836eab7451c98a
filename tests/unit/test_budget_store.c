/* Several brokers lease parts of one route's limits from a real Redis, in any order, with answers
 * that arrive late: together they never have more than there is, and nobody starves. */
#include "common/adapters/budget_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "tests/unit/redis_fixture.h"

enum { BROKERS = 3, ROUNDS = 4000 };

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    bool up;
    struct budget_part all; /* of the route */
    bool answered;
    bool good;
    struct budget_part answer;
};

/* One broker as the script sees it: it goes by `have` until it takes the answer. */
struct broker {
    char token[20];
    struct budget_part have;
    struct budget_part coming;
    bool asked;     /* coming is on its way */
    uint32_t calls; /* at the advertiser */
    uint32_t waiting;
    uint64_t began; /* calls that it could begin: nobody starves */
};

static void on_state(void *context, bool up)
{
    struct world *w = context;
    w->up = up;
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
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
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

static void on_part(void *context, const struct budget_part *part)
{
    struct world *w = context;
    w->answered = true;
    w->good = part != NULL;
    w->answer = part != NULL ? *part : (struct budget_part){0};
}

static struct budget_part ask(struct world *w, const char *route, const struct broker *b)
{
    const struct budget_question q = {.token = b->token,
                                      .route = slice_of(route),
                                      .all = w->all,
                                      .have = b->have,
                                      .calls = b->calls,
                                      .waiting = b->waiting};
    w->answered = false;
    budget_ask(w->store, "otpq:", &q, on_part, w);
    assert_true(loop_until(w->base, &w->answered, 5000));
    assert_true(w->good);
    return w->answer;
}

static void check_sum(const struct world *w, const struct broker *brokers)
{
    uint64_t calls = 0;
    uint64_t rate = 0;
    for (int i = 0; i < BROKERS; i++) {
        calls += brokers[i].calls;
        rate += brokers[i].have.milli_calls_per_s;
    }
    assert_true(calls <= w->all.calls_at_once);
    assert_true(rate <= w->all.milli_calls_per_s);
}

static void begin_calls(struct broker *b)
{
    while (b->waiting > 0 && b->calls < b->have.calls_at_once) {
        b->calls++;
        b->waiting--;
        b->began++;
    }
}

static void random_step(struct world *w, struct rng *rng, const char *route, struct broker *b)
{
    switch (rng_below(rng, 5)) {
    case 0:
        b->waiting += (uint32_t)rng_below(rng, 4);
        break;
    case 1:
        b->calls -= b->calls > 0 ? (uint32_t)rng_below(rng, b->calls + 1) : 0;
        break;
    case 2:
        b->waiting = rng_below(rng, 20) == 0 ? 0 : b->waiting; /* idle for a while */
        break;
    case 3:
        if (!b->asked) {
            b->coming = ask(w, route, b);
            b->asked = true;
        }
        break;
    default:
        if (b->asked) {
            b->have = b->coming;
            b->asked = false;
        }
    }
    begin_calls(b);
}

static void never_more_than_there_is(void **state)
{
    struct world *w = *state;
    static const uint32_t caps[] = {1, 2, 3, 7, 100};
    for (size_t c = 0; c < ARRAY_LEN(caps); c++) {
        uint64_t seed = 77 + c;
        struct rng rng;
        rng_seed(&rng, seed);
        print_message("seed %u cap %u\n", (unsigned)seed, caps[c]);
        w->all = (struct budget_part){caps[c], 10000 + caps[c]};
        char route[16];
        (void)snprintf(route, sizeof route, "r%u", caps[c]);
        struct broker brokers[BROKERS] = {0};
        for (int i = 0; i < BROKERS; i++) {
            (void)snprintf(brokers[i].token, sizeof brokers[i].token, "%016d", i);
        }
        for (int round = 0; round < ROUNDS; round++) {
            random_step(w, &rng, route, &brokers[rng_below(&rng, BROKERS)]);
            check_sum(w, brokers);
        }
        for (int i = 0; i < BROKERS; i++) {
            assert_true(caps[c] < BROKERS || brokers[i].began > 0); /* fewer go round by seconds */
        }
    }
}

static void who_is_alone_has_all_and_who_joins_gets_his_half(void **state)
{
    struct world *w = *state;
    w->all = (struct budget_part){10, 50000};
    struct broker a = {.token = "aaaaaaaaaaaaaaaa", .waiting = 100};
    struct broker b = {.token = "bbbbbbbbbbbbbbbb", .waiting = 100};
    a.have = ask(w, "two", &a);
    assert_int_equal(a.have.calls_at_once, 10);
    assert_int_equal(a.have.milli_calls_per_s, 50000);
    begin_calls(&a);
    b.have = ask(w, "two", &b);
    assert_int_equal(b.have.calls_at_once, 0);
    a.have = ask(w, "two", &a); /* it learns that it is to give some back, and calls on */
    assert_int_equal(a.have.calls_at_once, 5);
    assert_int_equal(a.have.milli_calls_per_s, 25000);
    b.have = ask(w, "two", &b);
    assert_int_equal(b.have.calls_at_once, 0); /* ten still run */
    a.calls = 5;
    a.have = ask(w, "two", &a);
    b.have = ask(w, "two", &b);
    assert_int_equal(b.have.calls_at_once, 5);
    assert_int_equal(b.have.milli_calls_per_s, 25000);
    a.calls = a.waiting = 0; /* idle: it gives all back */
    a.have = ask(w, "two", &a);
    assert_int_equal(a.have.calls_at_once, 0);
    a.have = ask(w, "two", &a);
    b.have = ask(w, "two", &b);
    assert_int_equal(b.have.calls_at_once, 10);
    assert_int_equal(b.have.milli_calls_per_s, 50000);
}

/* One call at a time for two brokers: the seconds decide whose it is. */
static void one_call_at_a_time_goes_round(void **state)
{
    struct world *w = *state;
    w->all = (struct budget_part){1, 1000};
    struct broker two[2] = {{.token = "aaaaaaaaaaaaaaaa"}, {.token = "bbbbbbbbbbbbbbbb"}};
    int64_t until = clock_mono_ms() + 20000;
    for (int turn = 0; two[0].began == 0 || two[1].began == 0; turn++) {
        struct broker *b = &two[turn % 2];
        assert_true(clock_mono_ms() < until);
        b->calls = 0;
        b->waiting = 5;
        b->have = ask(w, "one", b);
        begin_calls(b);
        assert_true(two[0].calls + two[1].calls <= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(never_more_than_there_is, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_alone_has_all_and_who_joins_gets_his_half, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_call_at_a_time_goes_round, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
