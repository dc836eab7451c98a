/* Whose turn it is: bands, tenants, deadlines, delays, routes. */
#include "tests/unit/core_rig.h"

static struct wire_submit job_of(const char *id, const char *tenant, uint8_t pri)
{
    struct wire_submit s = rig_job(id);
    s.tenant = slice_of(tenant);
    s.pri = pri;
    return s;
}

static void fill(struct rig *g, const char *prefix, uint32_t n, const char *tenant, uint8_t pri)
{
    for (uint32_t i = 0; i < n; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "%s%u", prefix, i);
        rig_put(g, job_of(id, tenant, pri));
    }
}

static uint32_t count_sent(const struct rig *g, uint32_t first, const char *prefix)
{
    uint32_t n = 0;
    for (uint32_t i = first; i < g->sent_n; i++) {
        n += strncmp(g->sent[i].id, prefix, strlen(prefix)) == 0;
    }
    return n;
}

static void backlogged_bands_share_8_3_1(void **state)
{
    struct rig *g = *state;
    fill(g, "high", 100, "", 9);
    fill(g, "mid", 100, "", 5);
    fill(g, "low", 100, "", 0);
    rig_credit(g, 60);
    rig_step(g);
    assert_int_equal(count_sent(g, 0, "high"), 40);
    assert_int_equal(count_sent(g, 0, "mid"), 15);
    assert_int_equal(count_sent(g, 0, "low"), 5);
}

static void a_lower_band_takes_what_higher_ones_leave(void **state)
{
    struct rig *g = *state;
    fill(g, "low", 50, "", 1);
    rig_credit(g, 50);
    rig_step(g);
    assert_int_equal(g->sent_n, 50);
}

static void a_higher_band_goes_first(void **state)
{
    struct rig *g = *state;
    fill(g, "low", 4, "", 3);
    fill(g, "mid", 1, "", 6);
    fill(g, "high", 1, "", 7);
    rig_credit(g, 2);
    rig_step(g);
    assert_string_equal(g->sent[0].id, "high0");
    assert_string_equal(g->sent[1].id, "mid0");
}

static void tenants_take_turns(void **state)
{
    struct rig *g = *state;
    fill(g, "big", 1000, "big", 5);
    fill(g, "small", 10, "small", 5);
    rig_credit(g, 20);
    rig_step(g);
    assert_int_equal(count_sent(g, 0, "small"), 10);
    assert_int_equal(count_sent(g, 0, "big"), 10);
    assert_string_equal(g->sent[0].tenant, "big");
}

static void weigh(struct rig *g, const char *tenant, uint32_t weight)
{
    assert_true(core_tenant_weight(g->core, slice_of(tenant), weight, g->now));
}

/* Sends n more; how many of them have this prefix. */
static uint32_t sent_of_next(struct rig *g, uint32_t n, const char *prefix)
{
    uint32_t first = g->sent_n;
    rig_credit(g, n);
    rig_step(g);
    assert_int_equal(g->sent_n, first + n);
    return count_sent(g, first, prefix);
}

static void backlogged_tenants_share_by_weight(void **state)
{
    struct rig *g = *state;
    weigh(g, "heavy", 3); /* before it has a job */
    fill(g, "h", 300, "heavy", 5);
    fill(g, "l", 300, "light", 5);
    fill(g, "m", 300, "medium", 5);
    weigh(g, "medium", 2); /* when it has some */
    assert_int_equal(sent_of_next(g, 60, "h"), 30);
    assert_int_equal(count_sent(g, 0, "m"), 20);
    assert_int_equal(count_sent(g, 0, "l"), 10);
    for (uint32_t n = 0; n < 36; n++) { /* a job at a time: turns go on where they were */
        (void)sent_of_next(g, 1, "");
    }
    assert_int_equal(count_sent(g, 60, "h"), 18);
    assert_int_equal(count_sent(g, 60, "l"), 6);
}

static void weights_hold_inside_each_band(void **state)
{
    struct rig *g = *state;
    weigh(g, "a", 3);
    const char *const names[][2] = {{"ah", "bh"}, {"am", "bm"}, {"al", "bl"}};
    const uint8_t pris[] = {9, 5, 0};
    for (uint32_t band = 0; band < CORE_BANDS; band++) {
        fill(g, names[band][0], 400, "a", pris[band]);
        fill(g, names[band][1], 400, "b", pris[band]);
    }
    rig_credit(g, 480);
    rig_step(g);
    const uint32_t shares[] = {8, 3, 1};
    for (uint32_t band = 0; band < CORE_BANDS; band++) {
        assert_int_equal(count_sent(g, 0, names[band][0]), 480 * shares[band] / 12 * 3 / 4);
        assert_int_equal(count_sent(g, 0, names[band][1]), 480 * shares[band] / 12 / 4);
    }
}

static void a_new_weight_holds_at_once(void **state)
{
    struct rig *g = *state;
    fill(g, "a", 500, "a", 5);
    fill(g, "b", 500, "b", 5);
    weigh(g, "a", 100);
    assert_int_equal(sent_of_next(g, 50, "a"), 50);
    weigh(g, "a", 2); /* its turn has 50 left: now 2 */
    assert_int_equal(sent_of_next(g, 3, "a"), 2);
    assert_int_equal(sent_of_next(g, 30, "a"), 20);
    weigh(g, "a", 1);
    weigh(g, "b", 4);
    assert_int_equal(sent_of_next(g, 100, "b"), 80);
    weigh(g, "b", 1);
    assert_int_equal(sent_of_next(g, 100, "b"), 50);
}

static void an_idle_tenant_saves_nothing_up(void **state)
{
    struct rig *g = *state;
    weigh(g, "h", 10);
    fill(g, "h-first", 3, "h", 5); /* leaves 7 of its turn */
    fill(g, "b", 200, "b", 5);
    fill(g, "c", 200, "c", 5);
    assert_int_equal(sent_of_next(g, 103, "h"), 3);
    fill(g, "h-then", 100, "h", 5);
    assert_int_equal(sent_of_next(g, 12, "h-then"), 10);
    assert_int_equal(sent_of_next(g, 36, "h-then"), 30);
}

/* A lane that runs empty in the midst of its turn by other ways than sending. */
static void a_cancelled_turn_is_over(void **state)
{
    struct rig *g = *state;
    weigh(g, "a", 5);
    fill(g, "a", 2, "a", 5);
    fill(g, "b", 20, "b", 5);
    assert_int_equal(sent_of_next(g, 1, "a0"), 1);
    assert_int_equal(core_cancel(g->core, SLICE("a1"), 7, g->now), CORE_STATE_ENDED);
    fill(g, "again", 20, "a", 5);
    assert_int_equal(sent_of_next(g, 1, "b"), 1);
    assert_int_equal(sent_of_next(g, 6, "again"), 5);
}

static void a_job_that_expires_in_its_turn_costs_no_turn(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    rig_put(g, rig_job("slow"));
    rig_step(g);
    g->now += 400; /* the route's usual run time from here on */
    assert_true(rig_done(g, "slow"));
    struct wire_submit late = job_of("a-late", "a", 5);
    late.ttl_ms = 1000; /* must go within 600 */
    rig_put(g, late);
    fill(g, "b", 10, "b", 5);
    g->now += 550;
    struct wire_submit s = job_of("a-short", "a", 5);
    s.ttl_ms = 400; /* must go within 200, and is first by deadline: it hides the other one */
    rig_put(g, s);
    fill(g, "a", 10, "a", 5);
    g->now += 100;
    assert_int_equal(sent_of_next(g, 3, "b"), 1);
    rig_expect_end(g, "a-late", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    assert_string_equal(g->sent[1].id, "a-short");
    assert_string_equal(g->sent[3].tenant, "a");
}

static void weights_outlive_their_tenants_jobs(void **state)
{
    (void)state;
    static struct rig rig;
    struct rig *g = &rig;
    struct core_limits limits = rig_limits();
    limits.tenants_max = 2;
    rig_start(g, limits);
    weigh(g, "a", 4);
    weigh(g, "b", 2);
    assert_false(core_tenant_weight(g->core, SLICE("c"), 2, g->now));
    assert_true(core_tenant_weight(g->core, SLICE("c"), 1, g->now));
    assert_int_equal(rig_stats(g).tenants, 0);
    fill(g, "x", 1, "x", 5); /* those with a weight take nobody's room */
    fill(g, "y", 1, "y", 5);
    struct wire_submit third = job_of("a-too-many", "a", 5);
    assert_int_equal(rig_submit_as(g, &third, "body", 7), CORE_FULL_TENANTS);
    assert_int_equal(sent_of_next(g, 2, ""), 2);
    assert_true(rig_done(g, "x0"));
    assert_true(rig_done(g, "y0"));
    fill(g, "a", 100, "a", 5); /* "x" and "y" are forgotten for them */
    fill(g, "b", 100, "b", 5);
    assert_int_equal(rig_stats(g).tenants, 2);
    assert_int_equal(sent_of_next(g, 60, "a"), 40);
    weigh(g, "a", 1);
    assert_true(core_tenant_weight(g->core, SLICE("c"), 9, g->now));
    assert_false(core_tenant_weight(g->core, SLICE("a"), 2, g->now));
    assert_int_equal(sent_of_next(g, 60, "a"), 20);
    rig_stop(g);
}

static void earliest_deadline_first_within_a_tenant(void **state)
{
    struct rig *g = *state;
    const uint32_t ttls[] = {30000, 5000, 20000, 10000, 15000};
    for (uint32_t i = 0; i < ARRAY_LEN(ttls); i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "j%u", i);
        struct wire_submit s = rig_job(id);
        s.ttl_ms = ttls[i];
        rig_put(g, s);
    }
    rig_credit(g, 5);
    rig_step(g);
    const char *const order[] = {"j1", "j3", "j4", "j2", "j0"};
    for (uint32_t i = 0; i < ARRAY_LEN(order); i++) {
        assert_string_equal(g->sent[i].id, order[i]);
    }
}

static void a_delayed_job_waits_for_its_time(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("later");
    s.delay_ms = 5000;
    rig_put(g, s);
    rig_credit(g, 1);
    assert_int_equal(core_get(g->core, s.id, 7, g->now), CORE_STATE_DELAYED);
    assert_int_equal(rig_step(g), g->now + 5000);
    assert_int_equal(g->sent_n, 0);
    assert_int_equal(rig_stats(g).delayed, 1);
    g->now += 5000;
    rig_step(g);
    assert_string_equal(rig_last(g)->id, "later");
    assert_int_equal(rig_last(g)->ttl_ms, 25000);
    assert_int_equal(rig_last(g)->queued_ms, 5000);
}

static void a_delayed_job_expires_at_its_deadline(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("never");
    s.delay_ms = 40000;
    rig_put(g, s);
    assert_int_equal(rig_step(g), g->now + 30000);
    g->now += 30000;
    rig_step(g);
    rig_expect_end(g, "never", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
}

static void a_queued_job_expires_at_its_deadline(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("late");
    s.ttl_ms = 700;
    rig_put(g, s);
    assert_int_equal(rig_step(g), g->now + 700);
    g->now += 699;
    rig_step(g);
    assert_int_equal(g->answer_n, 0);
    g->now += 1;
    rig_credit(g, 1);
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    rig_expect_end(g, "late", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    assert_int_equal(g->answers[0].result.queued_ms, 700);
    assert_int_equal(g->answers[0].result.attempts, 0);
}

static void a_job_that_cannot_be_in_time_expires_early(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 10);
    rig_put(g, rig_job("slow"));
    rig_step(g);
    g->now += 400; /* the route's usual run time from here on */
    assert_true(rig_done(g, "slow"));
    assert_int_equal(g->answers[0].result.run_ms, 400);
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .paused = true}));
    struct wire_submit s = rig_job("late");
    s.ttl_ms = 1000;
    rig_put(g, s);
    assert_int_equal(rig_step(g), g->now + 600);
    g->now += 600;
    rig_step(g);
    rig_expect_end(g, "late", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
}

static void the_usual_run_time_never_expires_a_fresh_job(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 10);
    rig_put(g, rig_job("slow"));
    rig_step(g);
    g->now += 20000;
    assert_true(rig_done(g, "slow"));
    struct wire_submit s = rig_job("short");
    s.ttl_ms = 1;
    rig_put(g, s);
    rig_step(g);
    assert_string_equal(rig_last(g)->id, "short");
}

static void routes_take_turns(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "q", (struct core_route_policy){.known = true}));
    fill(g, "r", 100, "", 9);
    struct wire_submit s = job_of("q0", "", 0);
    s.route = SLICE("q");
    rig_put(g, s);
    rig_credit(g, 2);
    rig_step(g);
    assert_int_equal(count_sent(g, 0, "q"), 1);
}

static void a_step_dispatches_no_more_than_it_may(void **state)
{
    struct rig *g = *state;
    fill(g, "j", 10, "", 5);
    rig_credit(g, 10);
    assert_int_equal(core_step(g->core, g->now, 4), g->now);
    assert_int_equal(g->sent_n, 4);
    assert_true(core_step(g->core, g->now, 100) > g->now);
    assert_int_equal(g->sent_n, 10);
}

static void time_may_wrap_at_32_bits(void **state)
{
    struct rig *g = *state;
    g->now = (1LL << 32) - 500;
    struct wire_submit s = rig_job("wrap");
    s.ttl_ms = 1000;
    rig_put(g, s);
    assert_int_equal(rig_step(g), g->now + 1000);
    g->now += 999;
    rig_step(g);
    assert_int_equal(g->answer_n, 0);
    g->now += 1;
    rig_step(g);
    rig_expect_end(g, "wrap", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
}

static void the_oldest_age_is_the_longest_wait(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("a"));
    g->now += 300;
    rig_put(g, rig_job("b"));
    g->now += 100;
    assert_int_equal(rig_stats(g).oldest_ms, 400);
    rig_credit(g, 1);
    rig_step(g);
    assert_int_equal(rig_route_stats(g, "r").oldest_ms, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(backlogged_bands_share_8_3_1),
        RIG_TEST(a_lower_band_takes_what_higher_ones_leave),
        RIG_TEST(a_higher_band_goes_first),
        RIG_TEST(tenants_take_turns),
        RIG_TEST(backlogged_tenants_share_by_weight),
        RIG_TEST(weights_hold_inside_each_band),
        RIG_TEST(a_new_weight_holds_at_once),
        RIG_TEST(an_idle_tenant_saves_nothing_up),
        RIG_TEST(a_cancelled_turn_is_over),
        RIG_TEST(a_job_that_expires_in_its_turn_costs_no_turn),
        cmocka_unit_test(weights_outlive_their_tenants_jobs),
        RIG_TEST(earliest_deadline_first_within_a_tenant),
        RIG_TEST(a_delayed_job_waits_for_its_time),
        RIG_TEST(a_delayed_job_expires_at_its_deadline),
        RIG_TEST(a_queued_job_expires_at_its_deadline),
        RIG_TEST(a_job_that_cannot_be_in_time_expires_early),
        RIG_TEST(the_usual_run_time_never_expires_a_fresh_job),
        RIG_TEST(routes_take_turns),
        RIG_TEST(a_step_dispatches_no_more_than_it_may),
        RIG_TEST(time_may_wrap_at_32_bits),
        RIG_TEST(the_oldest_age_is_the_longest_wait),
    };
    return cmocka_run_group_tests_name("core_order", tests, NULL, NULL);
}
