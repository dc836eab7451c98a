/* A broker that leaves hands on what it has not begun */
#include "core_rig.h"

enum { ME = 7, OTHER_CLIENT = 8, GONE = 9 };

static bool hears(void *context, uint64_t client, struct slice id)
{
    (void)context;
    (void)id;
    return client != GONE;
}

static void leave(struct rig *g)
{
    const struct core_leave l = {.hears = hears, .context = NULL};
    uint32_t at = 0;
    uint32_t parts = 0;
    while (core_hand_over(g->core, &l, &at, 3, g->now)) {
        parts++;
    }
    assert_true(parts > 0); /* a budget ends a part */
    core_check(g->core, g->now);
}

static void expect_told(const struct rig *g, uint32_t at, uint64_t client, const char *id)
{
    assert_true(at < g->told_n);
    assert_int_equal(g->told[at].client, client);
    assert_string_equal(g->told[at].id, id);
    assert_int_equal(g->told[at].what, CORE_HANDED_OVER);
}

static void what_waits_goes_to_another_broker(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("late");
    s.delay_ms = 9000;
    rig_credit(g, 2);
    rig_put(g, rig_job("with-worker"));
    rig_put(g, rig_job("started"));
    (void)rig_step(g);
    assert_true(core_started(g->core, 1, SLICE("started"), 1, g->now));
    rig_put(g, s);
    rig_put(g, rig_job("shared"));
    s = rig_job("shared");
    assert_int_equal(rig_submit_as(g, &s, "body", OTHER_CLIENT), CORE_DUPLICATE);
    leave(g);
    assert_int_equal(g->told_n, 3);
    expect_told(g, 0, ME, "late");
    expect_told(g, 1, ME, "shared");
    expect_told(g, 2, OTHER_CLIENT, "shared");
    assert_int_equal(g->answer_n, 0);
    assert_int_equal(rig_stats(g).handed_over, 2);
    assert_int_equal(rig_stats(g).in_flight, 2);
    assert_int_equal(rig_stats(g).queued + rig_stats(g).delayed, 0);
    assert_true(rig_done(g, "started"));
}

static void what_nobody_would_submit_again_stays(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("unheard");
    assert_int_equal(rig_submit_as(g, &s, "body", GONE), CORE_QUEUED);
    s = rig_job("half");
    assert_int_equal(rig_submit_as(g, &s, "body", ME), CORE_QUEUED);
    assert_int_equal(rig_submit_as(g, &s, "body", GONE), CORE_DUPLICATE);
    s = rig_job("nobody");
    assert_int_equal(rig_submit_as(g, &s, "body", 0), CORE_QUEUED);
    leave(g);
    assert_int_equal(g->told_n, 0);
    assert_int_equal(rig_stats(g).queued, 3);
}

static void what_may_have_begun_stays(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("again");
    s.again = true;
    rig_put(g, s);
    rig_put(g, rig_job("fresh"));
    leave(g);
    assert_int_equal(g->told_n, 1);
    expect_told(g, 0, ME, "fresh");
    assert_int_equal(rig_stats(g).queued, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_waits_goes_to_another_broker, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(what_nobody_would_submit_again_stays, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(what_may_have_begun_stays, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
