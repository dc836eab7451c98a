/* Fallback: who moves a job to another route's lane, when, how often, and what stays as it was. */
#include "tests/unit/core_rig.h"

/* "a" falls back to "b", then to "c". */
static struct core_route_policy falling(void)
{
    return (struct core_route_policy){
        .known = true, .fallback_count = 2, .fallback = {SLICE("b"), SLICE("c")}};
}

static const struct core_route_policy open_route = {.known = true};
static const struct core_route_policy paused = {.known = true, .paused = true};
static const struct core_route_policy gone = {.known = false};
static const struct core_route_policy breaking = {.known = true,
                                                  .breaker_percent = 50,
                                                  .breaker_calls = 2,
                                                  .breaker_window_ms = 10000,
                                                  .breaker_open_ms = 5000};

static void put(struct rig *g, const char *id, const char *route, enum wire_op op)
{
    struct wire_submit s = rig_job(id);
    s.route = slice_of(route);
    s.op = op;
    s.pri = wire_ops[op].pri;
    rig_put(g, s);
}

static void send(struct rig *g, const char *id)
{
    put(g, id, "a", WIRE_OP_SEND);
}

static int setup(void **state)
{
    (void)rig_setup(state);
    struct rig *g = *state;
    assert_true(rig_policy(g, "a", falling()));
    assert_true(rig_policy(g, "b", open_route));
    assert_true(rig_policy(g, "c", open_route));
    rig_credit(g, 100);
    return 0;
}

static void pause_a(struct rig *g)
{
    struct core_route_policy p = falling();
    p.paused = true;
    assert_true(rig_policy(g, "a", p));
}

static void expect_sent(const struct rig *g, uint32_t n, const char *id, const char *via,
                        enum result_code moved)
{
    assert_int_equal(g->sent_n, n);
    const struct rig_sent *s = rig_last(g);
    assert_string_equal(s->id, id);
    assert_string_equal(s->via, via);
    assert_int_equal(s->moved, moved);
}

/* Two calls whose outcome is unknown open the breaker of that lane. */
static void break_lane(struct rig *g, const char *route)
{
    static int n;
    char id[2][16];
    for (int i = 0; i < 2; i++) {
        (void)snprintf(id[i], sizeof(id[i]), "break%d", n++);
        put(g, id[i], route, WIRE_OP_SEND);
    }
    rig_step(g);
    for (int i = 0; i < 2; i++) {
        assert_true(rig_result(g, 1, id[i], JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN));
    }
    assert_int_equal(rig_route_stats(g, route).breaker, 2);
}

/* ---- given back to go on elsewhere ----------------------------------------------------------- */

static void a_job_given_back_goes_on_in_the_other_lane(void **state)
{
    struct rig *g = *state;
    send(g, "j");
    rig_step(g);
    expect_sent(g, 1, "j", "", RESULT_NONE);
    assert_true(rig_back_via(g, "j", 1, RESULT_ADVERTISER_UNREACHABLE, "b"));
    assert_int_equal(rig_route_stats(g, "a").queued, 0);
    assert_int_equal(rig_route_stats(g, "b").queued, 1);
    rig_step(g);
    expect_sent(g, 2, "j", "b", RESULT_NONE);
    assert_string_equal(rig_last(g)->route, "a");
    assert_int_equal(rig_last(g)->attempt, 2);
    assert_true(rig_done(g, "j"));
    rig_expect_end(g, "j", JOB_END_DONE, RESULT_OTP_SENT);
    assert_int_equal(g->answers[0].result.attempts, 1); /* a move is none */
    struct core_route_stats a = rig_route_stats(g, "a");
    struct core_route_stats b = rig_route_stats(g, "b");
    assert_true(a.moved_out == 1 && a.moved_in == 0 && a.accepted == 1 && a.done == 0);
    assert_true(b.moved_out == 0 && b.moved_in == 1 && b.accepted == 0 && b.done == 1);
}

static void the_limits_are_those_of_the_other_route(void **state)
{
    struct rig *g = *state;
    struct core_route_policy one = {.known = true, .calls_at_once = 1};
    assert_true(rig_policy(g, "b", one));
    send(g, "i");
    send(g, "j");
    rig_step(g);
    assert_true(rig_back_via(g, "i", 1, RESULT_NOT_ELIGIBLE, "b"));
    assert_true(rig_back_via(g, "j", 1, RESULT_NOT_ELIGIBLE, "b"));
    rig_step(g);
    assert_int_equal(g->sent_n, 3);
    assert_true(rig_done(g, rig_last(g)->id));
    rig_step(g);
    assert_int_equal(g->sent_n, 4);
}

static void duplicates_go_by_the_route_asked_for(void **state)
{
    struct rig *g = *state;
    send(g, "j");
    rig_step(g);
    assert_true(rig_back_via(g, "j", 1, RESULT_NOT_ELIGIBLE, "b"));
    struct wire_submit s = rig_job("j");
    s.route = SLICE("a");
    assert_int_equal(rig_submit_as(g, &s, "body", 9), CORE_DUPLICATE);
    s.route = SLICE("b");
    assert_int_equal(rig_submit_as(g, &s, "body", 9), CORE_CONFLICT);
    assert_int_equal(core_get(g->core, SLICE("j"), 9, g->now), CORE_STATE_QUEUED);
}

static void a_lane_that_is_gone_is_skipped(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "b", gone));
    send(g, "j");
    rig_step(g);
    assert_true(rig_back_via(g, "j", 1, RESULT_NOT_ELIGIBLE, "b"));
    rig_step(g);
    expect_sent(g, 2, "j", "c", RESULT_NONE);
}

static void no_lane_left_ends_with_the_last_word(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "b", gone));
    assert_true(rig_policy(g, "c", gone));
    send(g, "j");
    rig_step(g);
    assert_true(rig_back_via(g, "j", 1, RESULT_NOT_ELIGIBLE, "b"));
    rig_expect_end(g, "j", JOB_END_REFUSED, RESULT_NOT_ELIGIBLE);
}

static void eight_moves_are_the_most(void **state)
{
    struct rig *g = *state;
    send(g, "j");
    for (uint32_t i = 1; i <= CORE_MOVES_MAX; i++) {
        rig_step(g);
        assert_int_equal(g->sent_n, i);
        assert_true(rig_back_via(g, "j", i, RESULT_NOT_ELIGIBLE, i % 2 == 1 ? "b" : "a"));
    }
    rig_step(g);
    expect_sent(g, CORE_MOVES_MAX + 1, "j", "", RESULT_NONE); /* home again */
    assert_true(rig_back_via(g, "j", CORE_MOVES_MAX + 1, RESULT_NOT_ELIGIBLE, "b"));
    rig_expect_end(g, "j", JOB_END_REFUSED, RESULT_NOT_ELIGIBLE);
}

static void what_was_started_is_unknown_when_nobody_takes_it(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "b", gone));
    assert_true(rig_policy(g, "c", gone));
    struct wire_submit s = rig_job("j");
    s.route = SLICE("a");
    s.again = true;
    rig_put(g, s);
    rig_step(g);
    assert_true(rig_back_via(g, "j", 1, RESULT_NOT_ELIGIBLE, "b"));
    rig_expect_end(g, "j", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
}

static void via_where_it_is_counts_as_an_attempt(void **state)
{
    struct rig *g = *state;
    send(g, "j");
    for (uint32_t i = 1; i <= g->limits.attempts_max; i++) {
        rig_step(g);
        assert_true(rig_back_via(g, "j", i, RESULT_NOT_ELIGIBLE, "a"));
    }
    rig_expect_end(g, "j", JOB_END_REFUSED, RESULT_NOT_ELIGIBLE);
}

static void a_callback_goes_nowhere_else(void **state)
{
    struct rig *g = *state;
    put(g, "cb", "a", WIRE_OP_CALLBACK);
    rig_step(g);
    assert_true(rig_back_via(g, "cb", 1, RESULT_ADVERTISER_UNREACHABLE, "b"));
    rig_step(g);
    expect_sent(g, 2, "cb", "", RESULT_NONE);
}

/* ---- moved by the core ----------------------------------------------------------------------- */

static void jobs_of_a_paused_route_move_at_once(void **state)
{
    struct rig *g = *state;
    send(g, "before");
    pause_a(g);
    send(g, "after");
    put(g, "create", "a", WIRE_OP_FLASH_CREATE);
    rig_step(g);
    assert_int_equal(g->sent_n, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_string_equal(g->sent[i].via, "b");
        assert_int_equal(g->sent[i].moved, RESULT_INTEGRATION_PAUSED);
    }
    assert_int_equal(rig_route_stats(g, "a").moved_out, 3);
}

static void an_open_breaker_moves_them_too(void **state)
{
    struct rig *g = *state;
    struct core_route_policy p = breaking;
    p.fallback_count = 1;
    p.fallback[0] = SLICE("b");
    assert_true(rig_policy(g, "a", p));
    break_lane(g, "a");
    send(g, "j");
    rig_step(g);
    expect_sent(g, 3, "j", "b", RESULT_ADVERTISER_UNREACHABLE);
    g->now += 5000;
    send(g, "i");
    send(g, "k");
    assert_int_equal(rig_step(g), g->now); /* there is more to do at once */
    assert_int_equal(g->sent_n, 4);
    assert_string_equal(rig_last(g)->via, ""); /* the probe */
    rig_step(g);
    assert_int_equal(g->sent_n, 5);
    assert_string_equal(rig_last(g)->via, "b"); /* does not wait for its word */
}

static void calls_that_begin_nothing_stay(void **state)
{
    struct rig *g = *state;
    pause_a(g);
    put(g, "callback", "a", WIRE_OP_CALLBACK);
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    assert_int_equal(rig_route_stats(g, "a").queued, 1);
}

static void what_may_have_gone_out_stays(void **state)
{
    struct rig *g = *state;
    send(g, "j");
    rig_step(g);
    assert_true(rig_back(g, "j", 1, 1, 0, RESULT_OUTCOME_UNKNOWN)); /* on_unknown: retry */
    pause_a(g);
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
    assert_int_equal(rig_route_stats(g, "a").queued, 1);
}

static void shut_lanes_are_passed_over(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "b", paused));
    pause_a(g);
    send(g, "j");
    rig_step(g);
    expect_sent(g, 1, "j", "c", RESULT_INTEGRATION_PAUSED);
}

static void with_all_shut_it_waits_for_the_first_to_open(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "b", paused));
    assert_true(rig_policy(g, "c", paused));
    pause_a(g);
    send(g, "j");
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    assert_int_equal(rig_route_stats(g, "a").queued, 1);
    assert_true(rig_policy(g, "c", open_route));
    rig_step(g);
    expect_sent(g, 1, "j", "c", RESULT_INTEGRATION_PAUSED);
}

static void time_alone_opens_the_other_lane(void **state)
{
    struct rig *g = *state;
    struct core_route_policy p = falling();
    p.fallback_count = 1;
    p.paused = true;
    assert_true(rig_policy(g, "b", breaking));
    break_lane(g, "b");
    assert_true(rig_policy(g, "a", p));
    send(g, "j");
    int64_t wake = rig_step(g);
    assert_int_equal(g->sent_n, 2);
    assert_true(wake <= g->now + 5000);
    g->now += 5000;
    rig_step(g);
    expect_sent(g, 3, "j", "b", RESULT_INTEGRATION_PAUSED);
}

static void it_moves_on_when_the_other_shuts_too(void **state)
{
    struct rig *g = *state;
    struct core_route_policy slow = {.known = true, .calls_at_once = 1};
    assert_true(rig_policy(g, "b", slow));
    pause_a(g);
    send(g, "i");
    send(g, "j");
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
    const char *waits = strcmp(rig_last(g)->id, "i") == 0 ? "j" : "i";
    assert_true(rig_policy(g, "b", paused));
    rig_step(g);
    expect_sent(g, 2, waits, "c", RESULT_INTEGRATION_PAUSED);
}

static void a_guest_of_a_removed_route_moves_on(void **state)
{
    struct rig *g = *state;
    struct core_route_policy slow = {.known = true, .calls_at_once = 1};
    assert_true(rig_policy(g, "b", slow));
    pause_a(g);
    send(g, "i");
    send(g, "j");
    rig_step(g);
    assert_true(rig_policy(g, "b", gone));
    rig_step(g);
    assert_int_equal(g->sent_n, 2);
    assert_string_equal(rig_last(g)->via, "c");
}

static void a_removed_route_lives_while_its_jobs_are_away(void **state)
{
    struct rig *g = *state;
    pause_a(g);
    send(g, "j");
    rig_step(g);
    assert_true(rig_policy(g, "a", gone));
    rig_step(g);
    assert_non_null(rig_route_stats(g, "a").name.p);
    assert_true(rig_done(g, "j"));
    rig_step(g);
    assert_null(rig_route_stats(g, "a").name.p);
}

static void the_middle_of_a_queue_moves(void **state)
{
    struct rig *g = *state;
    struct core_route_policy two = {.known = true, .calls_at_once = 1};
    assert_true(rig_policy(g, "b", two));
    for (uint32_t i = 0; i < 300; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "j%u", i);
        struct wire_submit s = rig_job(id);
        s.route = SLICE("a");
        s.ttl_ms = 1000 + (i * 37) % 20000;
        s.op = i % 3 == 0 ? WIRE_OP_CALLBACK : WIRE_OP_SEND;
        rig_put(g, s);
    }
    pause_a(g);
    rig_step(g);
    assert_int_equal(rig_route_stats(g, "a").queued, 100);
    assert_int_equal(rig_route_stats(g, "b").queued, 199);
    g->now += 22000;
    rig_step(g);
    assert_int_equal(rig_stats(g).queued, 0);
    assert_int_equal(rig_stats(g).ended[JOB_END_EXPIRED], 299);
}

static void a_tenant_at_its_limit_moves_all_the_same(void **state)
{
    struct rig *g = *state;
    pause_a(g);
    assert_true(rig_policy(g, "b", (struct core_route_policy){.known = true, .calls_at_once = 1}));
    for (uint32_t i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "j%u", i);
        send(g, id);
    }
    rig_step(g);
    assert_int_equal(rig_route_stats(g, "b").queued, 19);
    assert_int_equal(core_cancel(g->core, SLICE("j19"), 7, g->now), CORE_STATE_ENDED);
    rig_step(g);
}

/* ---- verifies -------------------------------------------------------------------------------- */

static void a_verify_of_a_shut_route_is_looked_up(void **state)
{
    struct rig *g = *state;
    put(g, "before", "a", WIRE_OP_VERIFY);
    pause_a(g);
    rig_step(g);
    expect_sent(g, 1, "before", "", RESULT_INTEGRATION_PAUSED);
    assert_true(rig_back_via(g, "before", 1, RESULT_NONE, "c"));
    rig_step(g);
    expect_sent(g, 2, "before", "c", RESULT_NONE);
    assert_true(rig_result(g, 1, "before", JOB_END_REFUSED, RESULT_WRONG_OTP));
    rig_expect_end(g, "before", JOB_END_REFUSED, RESULT_WRONG_OTP);
}

/* Thousands may wait for it: each look is a claim at the store. */
static void one_that_belongs_there_is_looked_up_once(void **state)
{
    struct rig *g = *state;
    pause_a(g);
    put(g, "v", "a", WIRE_OP_VERIFY);
    rig_step(g);
    expect_sent(g, 1, "v", "", RESULT_INTEGRATION_PAUSED);
    assert_true(rig_back(g, "v", 1, 0, 500, RESULT_INTEGRATION_PAUSED));
    for (int i = 0; i < 10; i++) {
        rig_step(g);
        g->now += 1000;
    }
    assert_int_equal(g->sent_n, 1);
    assert_true(rig_policy(g, "a", falling()));
    rig_step(g);
    expect_sent(g, 2, "v", "", RESULT_NONE); /* at once */
    assert_int_equal(rig_route_stats(g, "a").in_flight, 1);
    assert_true(rig_back_via(g, "v", 2, RESULT_NONE, "c")); /* its session moved meanwhile */
    rig_step(g);
    expect_sent(g, 3, "v", "c", RESULT_NONE);
}

/* What says nothing of where it belongs. */
static void a_look_without_a_store_is_repeated(void **state)
{
    struct rig *g = *state;
    pause_a(g);
    put(g, "v", "a", WIRE_OP_VERIFY);
    for (uint32_t attempt = 1; attempt <= 6; attempt++) { /* more than attempts_max */
        rig_step(g);
        expect_sent(g, attempt, "v", "", RESULT_INTEGRATION_PAUSED);
        assert_true(rig_back(g, "v", attempt, 0, 0, RESULT_STORE_UNAVAILABLE));
        g->now += 500;
    }
}

static void a_look_waiting_when_the_route_opens_is_a_call(void **state)
{
    struct rig *g = *state;
    struct core_route_policy one = falling();
    one.calls_at_once = 1;
    core_worker_gone(g->core, 1, g->now); /* no credit */
    core_worker_joined(g->core, 1, g->now);
    g->credit = 0;
    pause_a(g);
    put(g, "v", "a", WIRE_OP_VERIFY);
    put(g, "w", "a", WIRE_OP_VERIFY);
    rig_step(g);
    assert_true(rig_policy(g, "a", one));
    rig_credit(g, 10);
    rig_step(g);
    rig_step(g);
    assert_int_equal(g->sent_n, 1); /* the cap holds */
    assert_int_equal(rig_last(g)->moved, RESULT_NONE);
}

static void a_look_is_none_when_its_route_has_no_fallback_any_more(void **state)
{
    struct rig *g = *state;
    pause_a(g);
    core_worker_gone(g->core, 1, g->now); /* no credit */
    core_worker_joined(g->core, 1, g->now);
    g->credit = 0;
    put(g, "v", "a", WIRE_OP_VERIFY);
    rig_step(g);
    assert_true(rig_policy(g, "a", paused));
    rig_credit(g, 10);
    rig_step(g);
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    assert_true(rig_policy(g, "a", open_route));
    rig_step(g);
    expect_sent(g, 1, "v", "", RESULT_NONE);
}

static void a_verify_without_fallback_waits(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "b", paused));
    put(g, "v", "b", WIRE_OP_VERIFY);
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
}

static void a_look_of_a_dead_worker_is_sent_again(void **state)
{
    struct rig *g = *state;
    pause_a(g);
    put(g, "v", "a", WIRE_OP_VERIFY);
    rig_step(g);
    core_worker_joined(g->core, 2, g->now);
    core_worker_credit(g->core, 2, 5, g->now);
    core_worker_gone(g->core, 1, g->now);
    rig_step(g);
    expect_sent(g, 2, "v", "", RESULT_INTEGRATION_PAUSED);
    assert_int_equal(rig_last(g)->worker, 2);
    core_worker_joined(g->core, 1, g->now);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_given_back_goes_on_in_the_other_lane),
        TEST(the_limits_are_those_of_the_other_route),
        TEST(duplicates_go_by_the_route_asked_for),
        TEST(a_lane_that_is_gone_is_skipped),
        TEST(no_lane_left_ends_with_the_last_word),
        TEST(eight_moves_are_the_most),
        TEST(what_was_started_is_unknown_when_nobody_takes_it),
        TEST(via_where_it_is_counts_as_an_attempt),
        TEST(a_callback_goes_nowhere_else),
        TEST(jobs_of_a_paused_route_move_at_once),
        TEST(an_open_breaker_moves_them_too),
        TEST(calls_that_begin_nothing_stay),
        TEST(what_may_have_gone_out_stays),
        TEST(shut_lanes_are_passed_over),
        TEST(with_all_shut_it_waits_for_the_first_to_open),
        TEST(time_alone_opens_the_other_lane),
        TEST(it_moves_on_when_the_other_shuts_too),
        TEST(a_guest_of_a_removed_route_moves_on),
        TEST(a_removed_route_lives_while_its_jobs_are_away),
        TEST(the_middle_of_a_queue_moves),
        TEST(a_tenant_at_its_limit_moves_all_the_same),
        TEST(a_verify_of_a_shut_route_is_looked_up),
        TEST(one_that_belongs_there_is_looked_up_once),
        TEST(a_look_without_a_store_is_repeated),
        TEST(a_look_waiting_when_the_route_opens_is_a_call),
        TEST(a_look_is_none_when_its_route_has_no_fallback_any_more),
        TEST(a_verify_without_fallback_waits),
        TEST(a_look_of_a_dead_worker_is_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
