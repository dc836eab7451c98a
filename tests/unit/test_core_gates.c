/* What holds a route back: rate, concurrency, breaker, pause, being unknown. */
#include "tests/unit/core_rig.h"

static void put_many(struct rig *g, const char *route, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "%s-%u-%u", route, (uint32_t)g->now, i);
        struct wire_submit s = rig_job(id);
        s.route = slice_of(route);
        rig_put(g, s);
    }
}

static void the_rate_is_kept_to_the_millisecond(void **state)
{
    struct rig *g = *state;
    struct core_route_policy p = {.known = true, .calls_per_s = 100, .burst = 5};
    assert_true(rig_policy(g, "r", p));
    put_many(g, "r", 50);
    rig_credit(g, 100);
    int64_t wake = rig_step(g);
    assert_int_equal(g->sent_n, 5);
    assert_int_equal(wake, g->now + 10);
    g->now += 9;
    rig_step(g);
    assert_int_equal(g->sent_n, 5);
    g->now += 1;
    rig_step(g);
    assert_int_equal(g->sent_n, 6);
    g->now += 200;
    rig_step(g);
    assert_int_equal(g->sent_n, 11); /* no more than the burst has gathered */
}

static void a_rate_without_burst_gathers_one_second(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .calls_per_s = 20}));
    put_many(g, "r", 50);
    rig_credit(g, 100);
    rig_step(g);
    assert_int_equal(g->sent_n, 20);
}

static void no_more_calls_at_once_than_the_cap(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .calls_at_once = 3}));
    put_many(g, "r", 10);
    rig_credit(g, 100);
    rig_step(g);
    assert_int_equal(g->sent_n, 3);
    assert_int_equal(rig_route_stats(g, "r").in_flight, 3);
    assert_true(rig_done(g, g->sent[0].id));
    rig_step(g);
    assert_int_equal(g->sent_n, 4);
}

static void a_paused_route_waits_and_goes_on(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .paused = true}));
    put_many(g, "r", 2);
    rig_credit(g, 100);
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    assert_true(rig_route_stats(g, "r").paused);
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true}));
    rig_step(g);
    assert_int_equal(g->sent_n, 2);
}

static void a_blocked_route_costs_others_nothing(void **state)
{
    struct rig *g = *state;
    assert_true(
        rig_policy(g, "slow", (struct core_route_policy){.known = true, .calls_at_once = 1}));
    put_many(g, "slow", 100);
    put_many(g, "r", 20);
    rig_credit(g, 21);
    rig_step(g);
    assert_int_equal(g->sent_n, 21);
}

static const struct core_route_policy with_breaker = {
    .known = true,
    .breaker_percent = 50,
    .breaker_calls = 4,
    .breaker_window_ms = 10000,
    .breaker_open_ms = 5000,
};

/* Sends n jobs and ends them all with this. */
static void run(struct rig *g, uint32_t n, enum job_end end, enum result_code code)
{
    uint32_t first = g->sent_n;
    put_many(g, "r", n);
    rig_credit(g, n);
    rig_step(g);
    for (uint32_t i = first; i < g->sent_n; i++) {
        assert_true(rig_result(g, 1, g->sent[i].id, end, code));
    }
    g->now += 1;
}

static void open_breaker(struct rig *g)
{
    assert_true(rig_policy(g, "r", with_breaker));
    run(g, 4, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(rig_route_stats(g, "r").breaker, 2);
}

static void failures_open_the_breaker(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", with_breaker));
    run(g, 3, JOB_END_DONE, RESULT_OTP_SENT);
    run(g, 2, JOB_END_REFUSED, RESULT_ADVERTISER_ERROR);
    assert_int_equal(rig_route_stats(g, "r").breaker, 0);
    run(g, 1, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(rig_route_stats(g, "r").breaker, 2);
    uint32_t before = g->sent_n;
    put_many(g, "r", 3);
    rig_credit(g, 10);
    assert_true(rig_step(g) <= g->now + 5000);
    assert_int_equal(g->sent_n, before);
}

static void refusals_and_wrong_codes_are_no_failures(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", with_breaker));
    run(g, 20, JOB_END_REFUSED, RESULT_WRONG_OTP);
    run(g, 20, JOB_END_REFUSED, RESULT_ADVERTISER_REFUSED);
    assert_int_equal(rig_route_stats(g, "r").breaker, 0);
}

static void old_failures_are_forgotten(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", with_breaker));
    run(g, 3, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    g->now += 11000;
    run(g, 1, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(rig_route_stats(g, "r").breaker, 0);
}

static void unreachable_give_backs_open_the_breaker(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", with_breaker));
    put_many(g, "r", 4);
    rig_credit(g, 4);
    rig_step(g);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(rig_back(g, g->sent[i].id, 1, 1, 0, RESULT_ADVERTISER_UNREACHABLE));
    }
    assert_int_equal(rig_route_stats(g, "r").breaker, 2);
}

static void a_half_open_breaker_sends_one_probe_at_a_time_and_closes(void **state)
{
    struct rig *g = *state;
    open_breaker(g);
    put_many(g, "r", 10);
    rig_credit(g, 100);
    g->now += 5000;
    for (uint32_t probe = 0; probe < 3; probe++) {
        uint32_t before = g->sent_n;
        rig_step(g);
        rig_step(g);
        assert_int_equal(g->sent_n, before + 1);
        assert_int_equal(rig_route_stats(g, "r").breaker, 1);
        assert_true(rig_done(g, rig_last(g)->id));
    }
    assert_int_equal(rig_route_stats(g, "r").breaker, 0);
    uint32_t before = g->sent_n;
    rig_step(g);
    assert_int_equal(g->sent_n, before + 7);
}

/* They ask the outbox, or call somebody else. */
static void callbacks_say_nothing_about_the_advertiser(void **state)
{
    struct rig *g = *state;
    open_breaker(g);
    rig_credit(g, 100);
    g->now += 5000;
    for (uint32_t i = 0; i < 10; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "cb-%u", i);
        struct wire_submit s = rig_job(id);
        s.op = WIRE_OP_CALLBACK;
        rig_put(g, s);
        rig_step(g);
        assert_string_equal(rig_last(g)->id, id);
        assert_true(rig_result(g, 1, id, JOB_END_DONE, RESULT_PENDING));
    }
    assert_int_equal(rig_route_stats(g, "r").breaker, 1);
    run(g, 1, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(rig_route_stats(g, "r").breaker, 2);
}

static void a_bad_probe_opens_the_breaker_again(void **state)
{
    struct rig *g = *state;
    open_breaker(g);
    put_many(g, "r", 10);
    rig_credit(g, 100);
    g->now += 5000;
    rig_step(g);
    assert_true(rig_result(g, 1, rig_last(g)->id, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN));
    assert_int_equal(rig_route_stats(g, "r").breaker, 2);
    uint32_t before = g->sent_n;
    g->now += 4999;
    rig_step(g);
    assert_int_equal(g->sent_n, before);
    g->now += 1;
    rig_step(g);
    assert_int_equal(g->sent_n, before + 1);
}

/* Longer than the 24 days that times of 32 bits can be told apart in. */
static void an_open_breaker_lets_a_probe_out_after_weeks_of_silence(void **state)
{
    struct rig *g = *state;
    open_breaker(g);
    for (int day = 0; day < 26; day++) {
        g->now += 24 * 3600 * 1000;
        rig_step(g);
    }
    uint32_t before = g->sent_n;
    put_many(g, "r", 2);
    rig_credit(g, 2);
    rig_step(g);
    assert_int_equal(g->sent_n, before + 1);
    assert_int_equal(rig_route_stats(g, "r").breaker, 1);
}

static void a_probe_that_says_nothing_makes_way_for_another(void **state)
{
    struct rig *g = *state;
    open_breaker(g);
    put_many(g, "r", 3);
    rig_credit(g, 100);
    g->now += 5000;
    rig_step(g);
    uint32_t before = g->sent_n;
    assert_true(rig_back(g, rig_last(g)->id, 1, 1, 60, RESULT_STORE_UNAVAILABLE));
    rig_step(g);
    assert_int_equal(g->sent_n, before + 1);
    core_worker_gone(g->core, 1, g->now);
    core_worker_joined(g->core, 1, g->now);
    core_worker_credit(g->core, 1, 100, g->now);
    rig_step(g);
    assert_int_equal(g->sent_n, before + 2);
    assert_int_equal(rig_route_stats(g, "r").breaker, 1);
}

static void calls_from_before_do_not_judge_a_half_open_breaker(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", with_breaker));
    put_many(g, "r", 8);
    rig_credit(g, 100);
    rig_step(g);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(rig_result(g, 1, g->sent[i].id, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN));
    }
    g->now += 5000;
    put_many(g, "r", 2);
    rig_step(g);
    for (uint32_t i = 4; i < 8; i++) {
        assert_true(rig_done(g, g->sent[i].id));
        assert_int_equal(rig_route_stats(g, "r").breaker, 1);
    }
}

static void an_unknown_route_is_refused(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("x");
    s.route = SLICE("nowhere");
    assert_int_equal(rig_submit_as(g, &s, "", 7), CORE_UNKNOWN_ROUTE);
    assert_int_equal(rig_stats(g).accepted, 0);
}

static void a_route_that_goes_away_refuses_its_queue_and_is_forgotten(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    put_many(g, "r", 3);
    rig_step(g);
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = false}));
    rig_step(g);
    assert_int_equal(g->answer_n, 2);
    rig_expect_end(g, g->answers[1].id, JOB_END_REFUSED, RESULT_INTEGRATION_NOT_FOUND);
    assert_int_equal(rig_stats(g).routes, 1);
    assert_true(rig_done(g, g->sent[0].id));
    assert_int_equal(rig_stats(g).routes, 0);
    assert_int_equal(rig_stats(g).tenants, 0);
}

static void unknown_routes_are_made_when_that_is_allowed(void **state)
{
    (void)state;
    struct rig *g = &the_rig;
    struct core_limits limits = rig_limits();
    limits.unknown_routes_accepted = true;
    limits.routes_max = 2;
    rig_start(g, limits);
    struct wire_submit s = rig_job("x");
    s.route = SLICE("new");
    assert_int_equal(rig_submit_as(g, &s, "", 7), CORE_QUEUED);
    s = rig_job("y");
    s.route = SLICE("one-too-many");
    assert_int_equal(rig_submit_as(g, &s, "", 7), CORE_FULL_ROUTES);
    assert_false(rig_policy(g, "one-too-many", (struct core_route_policy){.known = true}));
    rig_stop(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(the_rate_is_kept_to_the_millisecond),
        RIG_TEST(a_rate_without_burst_gathers_one_second),
        RIG_TEST(no_more_calls_at_once_than_the_cap),
        RIG_TEST(a_paused_route_waits_and_goes_on),
        RIG_TEST(a_blocked_route_costs_others_nothing),
        RIG_TEST(failures_open_the_breaker),
        RIG_TEST(refusals_and_wrong_codes_are_no_failures),
        RIG_TEST(old_failures_are_forgotten),
        RIG_TEST(unreachable_give_backs_open_the_breaker),
        RIG_TEST(a_half_open_breaker_sends_one_probe_at_a_time_and_closes),
        RIG_TEST(callbacks_say_nothing_about_the_advertiser),
        RIG_TEST(a_bad_probe_opens_the_breaker_again),
        RIG_TEST(an_open_breaker_lets_a_probe_out_after_weeks_of_silence),
        RIG_TEST(a_probe_that_says_nothing_makes_way_for_another),
        RIG_TEST(calls_from_before_do_not_judge_a_half_open_breaker),
        RIG_TEST(an_unknown_route_is_refused),
        RIG_TEST(a_route_that_goes_away_refuses_its_queue_and_is_forgotten),
        cmocka_unit_test(unknown_routes_are_made_when_that_is_allowed),
    };
    return cmocka_run_group_tests_name("core_gates", tests, NULL, NULL);
}
