/* Limits that hold over several brokers: what one core does with its part of them. */
#include "tests/unit/core_rig.h"

static void put_many(struct rig *g, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "j-%u-%u", (uint32_t)g->now, i);
        rig_put(g, rig_job(id));
    }
}

static void share(struct rig *g, uint32_t at_once, uint64_t milli_per_s, int64_t hold_ms)
{
    const struct core_route_share s = {at_once, milli_per_s, g->now + hold_ms};
    core_route_share(g->core, SLICE("r"), &s, g->now);
}

static bool hungry(struct rig *g)
{
    struct core_route_demand d;
    bool is = core_hungry_next(g->core, &d);
    assert_true(!is || slice_is(d.name, "r"));
    return is;
}

static void a_part_stands_in_the_place_of_the_cap(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .calls_at_once = 10}));
    core_sharing(g->core, true, g->now);
    rig_credit(g, 100);
    put_many(g, 20);
    rig_step(g);
    assert_int_equal(g->sent_n, 0); /* no part, no call */
    assert_true(hungry(g));
    assert_false(hungry(g)); /* told once */
    share(g, 3, 0, 1000);
    rig_step(g);
    assert_int_equal(g->sent_n, 3);
    assert_true(hungry(g));
    share(g, 1, 0, 1000); /* less than run: they run on, none begins */
    assert_true(rig_done(g, g->sent[0].id));
    rig_step(g);
    assert_int_equal(g->sent_n, 3);
    share(g, 50, 0, 1000); /* never more than the route bears */
    rig_step(g);
    assert_int_equal(g->sent_n, 11);
    core_sharing(g->core, false, g->now);
    assert_true(rig_done(g, g->sent[1].id));
    rig_step(g);
    assert_int_equal(g->sent_n, 12);
    assert_false(hungry(g));
}

static void a_part_that_was_not_renewed_lets_nothing_go(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .calls_at_once = 4}));
    core_sharing(g->core, true, g->now);
    rig_credit(g, 100);
    share(g, 4, 0, 1000);
    put_many(g, 4);
    g->now += 1000; /* the process stood still with the route ready to go */
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    assert_true(hungry(g));
    share(g, 4, 0, 1000);
    rig_step(g);
    assert_int_equal(g->sent_n, 4);
}

static void a_part_of_the_rate_has_its_part_of_the_burst(void **state)
{
    struct rig *g = *state;
    const struct core_route_policy p = {.known = true, .calls_per_s = 100, .burst = 20};
    assert_true(rig_policy(g, "r", p));
    core_sharing(g->core, true, g->now);
    rig_credit(g, 1000);
    put_many(g, 100);
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    share(g, 0, 25000, 10000); /* a quarter: 25 a second */
    int64_t wake = rig_step(g);
    assert_int_equal(g->sent_n, 0); /* what the bucket held went with the part */
    assert_int_equal(wake, g->now + 40);
    g->now += 40;
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
    g->now += 5000; /* five are a quarter of the burst */
    rig_step(g);
    assert_int_equal(g->sent_n, 6);
}

static void a_rate_below_one_a_second_goes_on(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .calls_per_s = 1}));
    core_sharing(g->core, true, g->now);
    rig_credit(g, 10);
    put_many(g, 3);
    share(g, 0, 333, 60000);
    for (int64_t began = g->now; g->sent_n < 2; g->now += 10) {
        assert_true(g->now - began < 7000);
        rig_step(g);
    }
}

static void routes_without_a_limit_need_no_part(void **state)
{
    struct rig *g = *state;
    size_t at = 0;
    struct core_route_demand d;
    core_sharing(g->core, true, g->now);
    rig_credit(g, 10);
    put_many(g, 5);
    rig_step(g);
    assert_int_equal(g->sent_n, 5);
    assert_false(core_demand_next(g->core, &at, &d));
    assert_false(hungry(g));
}

static void demand_tells_what_a_limited_route_would_use(void **state)
{
    struct rig *g = *state;
    size_t at = 0;
    struct core_route_demand d;
    const struct core_route_policy p = {.known = true, .calls_at_once = 2, .calls_per_s = 50};
    assert_true(rig_policy(g, "r", p));
    rig_credit(g, 10);
    put_many(g, 5);
    rig_step(g);
    assert_true(core_demand_next(g->core, &at, &d));
    assert_true(slice_is(d.name, "r"));
    assert_int_equal(d.calls_at_once, 2);
    assert_int_equal(d.calls_per_s, 50);
    assert_int_equal(d.calls, 2);
    assert_int_equal(d.waiting, 3);
    assert_false(core_demand_next(g->core, &at, &d));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_part_stands_in_the_place_of_the_cap),
        RIG_TEST(a_part_that_was_not_renewed_lets_nothing_go),
        RIG_TEST(a_part_of_the_rate_has_its_part_of_the_burst),
        RIG_TEST(a_rate_below_one_a_second_goes_on),
        RIG_TEST(routes_without_a_limit_need_no_part),
        RIG_TEST(demand_tells_what_a_limited_route_would_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
