/* What operators do to a queue: closing a route, purging it. */
#include "tests/unit/core_rig.h"

static const struct core_route_policy open_route = {.known = true};
static const struct core_route_policy closed = {.known = true, .closed = true};
static const struct core_route_policy held = {.known = true, .paused = true, .held = true};

static enum core_admit submit(struct rig *g, const char *id, const char *route, bool again)
{
    struct wire_submit s = rig_job(id);
    s.route = slice_of(route);
    s.again = again;
    return rig_submit_as(g, &s, "body", 7);
}

/* A walk in parts of this budget, and how many parts it took. */
static struct core_purged walk(struct rig *g, const struct core_purge *p, uint32_t budget,
                               uint32_t *parts)
{
    struct core_purged sum = {0};
    uint32_t at = 0;
    *parts = 1;
    while (core_purge(g->core, p, &at, budget, g->now, &sum)) {
        core_check(g->core, g->now);
        ++*parts;
    }
    core_check(g->core, g->now);
    return sum;
}

static struct core_purged purge(struct rig *g, const struct core_purge *p)
{
    uint32_t parts;
    return walk(g, p, UINT32_MAX, &parts);
}

static struct core_purge all_of(const struct rig *g, const char *route)
{
    return (struct core_purge){.route = slice_of(route), .before_ms = g->now};
}

/* ---- closed ---------------------------------------------------------------------------------- */

static void a_closed_route_takes_nothing_new_and_lets_out_what_it_has(void **state)
{
    struct rig *g = *state;
    assert_int_equal(submit(g, "before", "r", false), CORE_QUEUED);
    assert_true(rig_policy(g, "r", closed));
    assert_true(rig_route_stats(g, "r").closed);
    assert_int_equal(submit(g, "new", "r", false), CORE_CLOSED);
    assert_int_equal(submit(g, "before", "r", false), CORE_DUPLICATE);
    rig_credit(g, 10);
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
    assert_true(rig_done(g, "before"));
    assert_true(rig_policy(g, "r", open_route));
    assert_int_equal(submit(g, "new", "r", false), CORE_QUEUED);
}

static void a_closed_route_takes_what_is_not_new(void **state)
{
    struct rig *g = *state;
    struct wire_submit report = rig_job("report"), own = rig_job("own");
    report.op = WIRE_OP_REPORT;
    own.op = WIRE_OP_CALLBACK;
    assert_true(rig_policy(g, "r", closed));
    assert_int_equal(submit(g, "again", "r", true), CORE_QUEUED);
    assert_int_equal(rig_submit_as(g, &report, "", 7), CORE_QUEUED);
    assert_int_equal(rig_submit_as(g, &own, "", 0), CORE_QUEUED);
}

static void fallback_passes_a_closed_route_by(void **state)
{
    struct rig *g = *state;
    struct core_route_policy falls = {
        .known = true, .paused = true, .fallback_count = 2, .fallback = {SLICE("b"), SLICE("c")}};
    assert_true(rig_policy(g, "b", closed) && rig_policy(g, "c", open_route));
    assert_true(rig_policy(g, "r", falls));
    assert_int_equal(submit(g, "x", "r", false), CORE_QUEUED);
    rig_credit(g, 1);
    rig_step(g);
    assert_string_equal(rig_last(g)->via, "c");
}

static void a_held_route_is_paused(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", held));
    assert_int_equal(submit(g, "x", "r", false), CORE_QUEUED);
    rig_credit(g, 1);
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    assert_true(rig_route_stats(g, "r").held && rig_route_stats(g, "r").paused);
    assert_true(rig_policy(g, "r", open_route));
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
}

/* ---- purge ----------------------------------------------------------------------------------- */

static void a_purge_ends_what_waits_and_tells_who_waits_for_it(void **state)
{
    struct rig *g = *state;
    struct wire_submit later = rig_job("later");
    later.delay_ms = 1000;
    assert_int_equal(submit(g, "now", "r", false), CORE_QUEUED);
    rig_put(g, later);
    const struct core_purge p = all_of(g, "r");
    const struct core_purged sum = purge(g, &p);
    assert_int_equal(sum.ended, 2);
    assert_int_equal(sum.kept + sum.pending, 0);
    assert_int_equal(g->answer_n, 2);
    rig_expect_end(g, "later", JOB_END_CANCELLED, RESULT_CANCELLED);
    assert_int_equal(rig_route_stats(g, "r").cancelled, 2);
    rig_credit(g, 10);
    g->now += 2000;
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
}

static void a_purge_keeps_what_may_have_started(void **state)
{
    struct rig *g = *state;
    assert_int_equal(submit(g, "with-a-worker", "r", false), CORE_QUEUED);
    rig_credit(g, 1);
    rig_step(g);
    assert_int_equal(submit(g, "sent-before", "r", true), CORE_QUEUED);
    assert_int_equal(submit(g, "waits", "r", false), CORE_QUEUED);
    const struct core_purge p = all_of(g, "r");
    const struct core_purged sum = purge(g, &p);
    assert_int_equal(sum.ended, 1);
    assert_int_equal(sum.kept, 2);
    rig_expect_end(g, "waits", JOB_END_CANCELLED, RESULT_CANCELLED);
    core_worker_gone(g->core, 1, g->now); /* back in the queue, and maybe begun */
    assert_int_equal(purge(g, &p).ended, 0);
}

static void a_dry_purge_only_counts(void **state)
{
    struct rig *g = *state;
    struct core_purge p = all_of(g, "r");
    p.dry = true;
    assert_int_equal(submit(g, "x", "r", false), CORE_QUEUED);
    assert_int_equal(purge(g, &p).ended, 1);
    assert_int_equal(g->answer_n, 0);
    assert_int_equal(rig_stats(g).queued, 1);
}

static void a_purge_is_of_what_was_asked_for(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("of-1001"), verify = rig_job("verify");
    assert_true(rig_policy(g, "other", open_route));
    s.tenant = SLICE("1001");
    rig_put(g, s);
    assert_int_equal(submit(g, "other-route", "other", false), CORE_QUEUED);
    g->now += 5000;
    verify.op = WIRE_OP_VERIFY;
    rig_put(g, verify);
    struct core_purge p = all_of(g, "r");
    p.of_op = true;
    p.op = WIRE_OP_FLASH_CREATE;
    assert_int_equal(purge(g, &p).ended, 0);
    p.op = WIRE_OP_VERIFY;
    p.before_ms = g->now - 1;
    assert_int_equal(purge(g, &p).ended, 0);
    p.before_ms = g->now;
    assert_int_equal(purge(g, &p).ended, 1);
    rig_expect_end(g, "verify", JOB_END_CANCELLED, RESULT_CANCELLED);
    p = all_of(g, "r");
    p.of_tenant = true;
    assert_int_equal(purge(g, &p).ended, 0); /* the tenant without a name has none */
    p.tenant = SLICE("1001");
    assert_int_equal(purge(g, &p).ended, 1);
    rig_expect_end(g, "of-1001", JOB_END_CANCELLED, RESULT_CANCELLED);
    assert_int_equal(rig_stats(g).queued, 1);
    p = all_of(g, "");
    assert_int_equal(purge(g, &p).ended, 1);
    rig_expect_end(g, "other-route", JOB_END_CANCELLED, RESULT_CANCELLED);
}

static void a_purge_goes_in_parts_and_leaves_what_comes_meanwhile(void **state)
{
    struct rig *g = *state;
    struct core_purged sum = {0};
    char id[24];
    uint32_t at = 0, parts = 0;
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(id, sizeof id, "j-%d", i);
        assert_int_equal(submit(g, id, "r", false), CORE_QUEUED);
    }
    const struct core_purge p = all_of(g, "r");
    for (; core_purge(g->core, &p, &at, 160, g->now, &sum); parts++) {
        assert_int_equal(g->answer_n, 10 * (parts + 1));
        g->now++;
        (void)snprintf(id, sizeof id, "new-%u", parts);
        assert_int_equal(submit(g, id, "r", false), CORE_QUEUED); /* takes a free place */
        rig_step(g);
    }
    assert_int_equal(parts, 100);
    assert_int_equal(sum.ended, 1000);
    assert_int_equal(rig_stats(g).queued, 100);
}

/* Who waits for a stored one is told when no other broker can bring it back. */
static void a_stored_job_leaves_its_shelf_first(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("stored");
    core_shelf(g->core, 3);
    s.ack = WIRE_ACK_STORED;
    assert_int_equal(rig_submit_as(g, &s, "body", 7), CORE_STORING);
    const struct core_purge p = all_of(g, "r");
    struct core_purged sum = purge(g, &p);
    assert_true(sum.ended == 0 && sum.pending == 1); /* on its way to the shelf */
    core_shelved(g->core, g->shelved[0].job, true, g->now);
    sum = purge(g, &p);
    assert_true(sum.ended == 1 && sum.pending == 1);
    assert_int_equal(g->answer_n, 0);
    assert_int_equal(g->shelved_n, 2);
    assert_false(g->shelved[1].put);
    sum = purge(g, &p);
    assert_true(sum.ended == 0 && sum.pending == 1); /* on its way off it */
    core_unshelved(g->core, g->shelved[1].job, g->now);
    rig_expect_end(g, "stored", JOB_END_CANCELLED, RESULT_CANCELLED);
    sum = purge(g, &p);
    assert_int_equal(sum.ended + sum.pending + sum.kept, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_closed_route_takes_nothing_new_and_lets_out_what_it_has),
        RIG_TEST(a_closed_route_takes_what_is_not_new),
        RIG_TEST(fallback_passes_a_closed_route_by),
        RIG_TEST(a_held_route_is_paused),
        RIG_TEST(a_purge_ends_what_waits_and_tells_who_waits_for_it),
        RIG_TEST(a_purge_keeps_what_may_have_started),
        RIG_TEST(a_dry_purge_only_counts),
        RIG_TEST(a_purge_is_of_what_was_asked_for),
        RIG_TEST(a_stored_job_leaves_its_shelf_first),
        RIG_TEST(a_purge_goes_in_parts_and_leaves_what_comes_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
