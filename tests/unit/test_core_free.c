/* Jobs that call nobody: no gate of the route holds them back, and they say nothing about it. And
 * jobs whose answer nobody waits for. */
#include "tests/unit/core_rig.h"

static void put(struct rig *g, const char *id, enum wire_op op)
{
    struct wire_submit s = rig_job(id);
    s.op = op;
    s.pri = wire_ops[op].pri;
    rig_put(g, s);
}

static void ops_that_call_nobody(void **state)
{
    (void)state;
    assert_true(op_calls(WIRE_OP_SEND));
    assert_true(op_calls(WIRE_OP_VERIFY));
    assert_true(op_calls(WIRE_OP_FLASH_CREATE));
    assert_true(op_calls(WIRE_OP_CALLBACK));
    assert_false(op_calls(WIRE_OP_FLASH_QUERY));
    assert_false(op_calls(WIRE_OP_REPORT));
}

static void a_report_passes_a_paused_route(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .paused = true}));
    put(g, "send", WIRE_OP_SEND);
    put(g, "report", WIRE_OP_REPORT);
    put(g, "query", WIRE_OP_FLASH_QUERY);
    rig_credit(g, 10);
    rig_step(g);
    assert_int_equal(g->sent_n, 2);
    assert_int_equal(rig_route_stats(g, "r").queued, 1);
}

static void a_report_takes_no_token_and_no_place(void **state)
{
    struct rig *g = *state;
    struct core_route_policy p = {.known = true, .calls_per_s = 1, .burst = 1, .calls_at_once = 1};
    assert_true(rig_policy(g, "r", p));
    rig_credit(g, 10);
    for (int i = 0; i < 3; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "r%d", i);
        put(g, id, WIRE_OP_REPORT);
    }
    rig_step(g);
    assert_int_equal(g->sent_n, 3);
    put(g, "send", WIRE_OP_SEND);
    rig_step(g);
    assert_int_equal(g->sent_n, 4); /* the token and the place were there */
    put(g, "later", WIRE_OP_SEND);
    put(g, "r3", WIRE_OP_REPORT);
    rig_step(g);
    assert_int_equal(g->sent_n, 5);
    assert_string_equal(rig_last(g)->id, "r3");
    assert_int_equal(rig_route_stats(g, "r").in_flight, 5);
    assert_true(rig_result(g, 1, "r3", JOB_END_REFUSED, RESULT_REQUEST_NOT_FOUND));
    rig_expect_end(g, "r3", JOB_END_REFUSED, RESULT_REQUEST_NOT_FOUND);
}

static const struct core_route_policy breaking = {.known = true,
                                                  .breaker_percent = 50,
                                                  .breaker_calls = 2,
                                                  .breaker_window_ms = 10000,
                                                  .breaker_open_ms = 5000};

static void a_report_passes_an_open_breaker(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", breaking));
    rig_credit(g, 20);
    put(g, "a", WIRE_OP_SEND);
    put(g, "b", WIRE_OP_SEND);
    rig_step(g);
    assert_true(rig_result(g, 1, "a", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN));
    assert_true(rig_result(g, 1, "b", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN));
    assert_int_equal(rig_route_stats(g, "r").breaker, 2);
    put(g, "report", WIRE_OP_REPORT);
    put(g, "send", WIRE_OP_SEND);
    rig_step(g);
    assert_string_equal(rig_last(g)->id, "report");
    assert_int_equal(g->sent_n, 3);
    g->now += 5000;
    put(g, "report2", WIRE_OP_REPORT);
    rig_step(g);
    assert_int_equal(g->sent_n, 5); /* the probe is the send */
    assert_true(rig_result(g, 1, "report2", JOB_END_DONE, RESULT_OTP_VERIFIED));
    assert_int_equal(rig_route_stats(g, "r").breaker, 1);
    put(g, "send2", WIRE_OP_SEND);
    rig_step(g);
    assert_int_equal(g->sent_n, 5); /* one probe at a time */
}

static void what_becomes_of_a_report_opens_no_breaker(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", breaking));
    rig_credit(g, 20);
    for (int i = 0; i < 5; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "r%d", i);
        put(g, id, WIRE_OP_REPORT);
        rig_step(g);
        assert_true(rig_result(g, 1, id, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN));
    }
    assert_int_equal(rig_route_stats(g, "r").breaker, 0);
}

/* Neither holds the other up. */
static void reports_and_calls_take_turns(void **state)
{
    struct rig *g = *state;
    for (int i = 0; i < 4; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "r%d", i);
        put(g, id, WIRE_OP_REPORT);
        id[0] = 's';
        put(g, id, WIRE_OP_SEND);
    }
    for (uint32_t i = 0; i < 8; i++) {
        rig_credit(g, 1);
        rig_step(g);
        assert_int_equal(rig_last(g)->id[0], i % 2 == 0 ? 'r' : 's');
    }
}

static void reports_of_a_removed_route_end(void **state)
{
    struct rig *g = *state;
    put(g, "report", WIRE_OP_REPORT);
    put(g, "send", WIRE_OP_SEND);
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = false}));
    rig_step(g);
    assert_int_equal(g->answer_n, 2);
    rig_expect_end(g, g->answers[1].id, JOB_END_REFUSED, RESULT_INTEGRATION_NOT_FOUND);
}

/* The outbox feeds some thousands a second where links are asked for: they push nobody's result
 * out. */
static void a_callback_of_nobody_leaves_no_result(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 100);
    for (int i = 0; i < 10; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "cb-%d", i);
        struct wire_submit s = rig_job(id);
        s.op = WIRE_OP_CALLBACK;
        assert_int_equal(rig_submit_as(g, &s, "body", i == 0 ? 7 : 0), CORE_QUEUED);
        (void)rig_step(g);
        assert_true(rig_result(g, 1, id, JOB_END_DONE, RESULT_DELIVERED));
        assert_int_equal(rig_stats(g).results_kept, 1); /* the client's own */
    }
    assert_int_equal(rig_stats(g).ended[JOB_END_DONE], 10);
    (void)rig_step(g);
}

static void nobody_hears_an_answer(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("nobodys");
    assert_int_equal(rig_submit_as(g, &s, "body", 0), CORE_QUEUED);
    assert_int_equal(rig_submit_as(g, &s, "body", 0), CORE_DUPLICATE);
    rig_credit(g, 10);
    rig_step(g);
    assert_true(rig_done(g, "nobodys"));
    assert_int_equal(g->answer_n, 0);
    assert_int_equal(rig_submit_as(g, &s, "body", 0), CORE_DUPLICATE); /* it has ended */
    assert_int_equal(g->answer_n, 0);
}

static void who_asks_later_hears(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("cb.1");
    assert_int_equal(rig_submit_as(g, &s, "body", 0), CORE_QUEUED);
    assert_int_equal(rig_submit_as(g, &s, "body", 9), CORE_DUPLICATE);
    assert_int_equal(rig_submit_as(g, &s, "body", 0), CORE_DUPLICATE);
    rig_credit(g, 10);
    rig_step(g);
    assert_true(rig_done(g, "cb.1"));
    assert_int_equal(g->answer_n, 1);
    assert_int_equal(g->answers[0].client, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_that_call_nobody),
        RIG_TEST(a_report_passes_a_paused_route),
        RIG_TEST(a_report_takes_no_token_and_no_place),
        RIG_TEST(a_report_passes_an_open_breaker),
        RIG_TEST(what_becomes_of_a_report_opens_no_breaker),
        RIG_TEST(reports_and_calls_take_turns),
        RIG_TEST(reports_of_a_removed_route_end),
        RIG_TEST(a_callback_of_nobody_leaves_no_result),
        RIG_TEST(nobody_hears_an_answer),
        RIG_TEST(who_asks_later_hears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
