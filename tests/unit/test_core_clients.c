/* Clients: repetitions, conflicts, limits, get, cancel, kept results. */
#include "tests/unit/core_rig.h"

static void a_live_repetition_waits_too_and_all_are_told_once(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("j");
    rig_put(g, s);
    assert_int_equal(rig_submit_as(g, &s, "body", 8), CORE_DUPLICATE);
    assert_int_equal(rig_submit_as(g, &s, "body", 7), CORE_DUPLICATE);
    assert_int_equal(core_get(g->core, s.id, 9, g->now), CORE_STATE_QUEUED);
    rig_credit(g, 5);
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
    assert_true(rig_done(g, "j"));
    assert_int_equal(g->answer_n, 3);
    assert_int_equal(g->answers[0].client, 7);
    assert_int_equal(g->answers[1].client, 8);
    assert_int_equal(g->answers[2].client, 9);
}

static void too_many_waiters_drop_the_oldest(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("j");
    rig_put(g, s);
    for (uint64_t client = 8; client < 13; client++) {
        assert_int_equal(rig_submit_as(g, &s, "body", client), CORE_DUPLICATE);
    }
    rig_credit(g, 1);
    rig_step(g);
    assert_true(rig_done(g, "j"));
    assert_int_equal(g->answer_n, CORE_WAITERS_MAX);
    assert_int_equal(g->answers[0].client, 9);
    assert_int_equal(g->answers[3].client, 12);
}

static void an_ended_repetition_gets_the_first_result(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("j");
    rig_put(g, s);
    rig_credit(g, 5);
    rig_step(g);
    assert_true(rig_done(g, "j"));
    assert_int_equal(rig_submit_as(g, &s, "body", 8), CORE_DUPLICATE);
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
    assert_int_equal(g->answer_n, 2);
    assert_int_equal(g->answers[1].client, 8);
    assert_string_equal(g->answers[1].body, "answer");
    rig_expect_end(g, "j", JOB_END_DONE, RESULT_OTP_SENT);
    assert_int_equal(core_get(g->core, s.id, 9, g->now), CORE_STATE_ENDED);
    assert_int_equal(g->answers[2].client, 9);
    assert_int_equal(rig_stats(g).duplicates, 1);
}

/* The store knew the id with another body, this broker did not: the id stays the other job's. */
static void a_conflict_that_the_store_found_is_not_kept(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("known");
    rig_put(g, s);
    rig_credit(g, 2);
    rig_step(g);
    assert_true(rig_result(g, 1, "known", JOB_END_REFUSED, RESULT_CONFLICT));
    rig_expect_end(g, "known", JOB_END_REFUSED, RESULT_CONFLICT);
    assert_int_equal(core_get(g->core, SLICE("known"), 7, g->now), CORE_STATE_NONE);
    assert_int_equal(rig_submit_as(g, &s, "the first body", 8), CORE_QUEUED);
    rig_step(g);
    assert_true(rig_done(g, "known"));
    assert_int_equal(core_get(g->core, SLICE("known"), 7, g->now), CORE_STATE_ENDED);
}

static void another_body_op_or_route_is_a_conflict(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "q", (struct core_route_policy){.known = true}));
    struct wire_submit s = rig_job("j");
    rig_put(g, s);
    assert_int_equal(rig_submit_as(g, &s, "other body", 8), CORE_CONFLICT);
    struct wire_submit op = s;
    op.op = WIRE_OP_VERIFY;
    assert_int_equal(rig_submit_as(g, &op, "body", 8), CORE_CONFLICT);
    struct wire_submit route = s;
    route.route = SLICE("q");
    assert_int_equal(rig_submit_as(g, &route, "body", 8), CORE_CONFLICT);
    struct wire_submit ttl = s;
    ttl.ttl_ms = 99; /* what is relative to the submit is no part of the job's meaning */
    assert_int_equal(rig_submit_as(g, &ttl, "body", 8), CORE_DUPLICATE);
    rig_credit(g, 1);
    rig_step(g);
    assert_true(rig_done(g, "j"));
    assert_int_equal(rig_submit_as(g, &s, "other body", 8), CORE_CONFLICT);
    assert_int_equal(rig_stats(g).conflicts, 4);
}

static void every_limit_says_its_name(void **state)
{
    (void)state;
    struct rig *g = &the_rig;
    struct core_limits limits = rig_limits();
    limits.jobs_max = 6;
    limits.route_jobs_max = 4;
    limits.tenant_jobs_max = 2;
    limits.tenants_max = 3;
    rig_start(g, limits);
    assert_true(rig_policy(g, "q", (struct core_route_policy){.known = true}));
    const struct {
        const char *id, *route, *tenant;
        enum core_admit expected;
    } rows[] = {
        {"a", "r", "t1", CORE_QUEUED},       {"b", "r", "t1", CORE_QUEUED},
        {"c", "r", "t1", CORE_FULL_TENANT},  {"d", "r", "t2", CORE_QUEUED},
        {"e", "r", "t3", CORE_QUEUED},       {"f", "r", "t3", CORE_FULL_ROUTE},
        {"g", "q", "t4", CORE_FULL_TENANTS}, {"h", "q", "t1", CORE_QUEUED},
        {"i", "q", "t1", CORE_QUEUED},       {"k", "q", "t2", CORE_FULL_TOTAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wire_submit s = rig_job(rows[i].id);
        s.route = slice_of(rows[i].route);
        s.tenant = slice_of(rows[i].tenant);
        assert_int_equal(rig_submit_as(g, &s, "body", 7), rows[i].expected);
        core_check(g->core, g->now);
    }
    assert_int_equal(rig_stats(g).refused_full, 4);
    rig_stop(g);
}

static void bytes_have_a_limit(void **state)
{
    (void)state;
    struct rig *g = &the_rig;
    struct core_limits limits = rig_limits();
    limits.bytes_max = 1000;
    rig_start(g, limits);
    static char body[500];
    memset(body, 'x', sizeof(body) - 1);
    struct wire_submit s = rig_job("a");
    assert_int_equal(rig_submit_as(g, &s, body, 7), CORE_QUEUED);
    s = rig_job("b");
    assert_int_equal(rig_submit_as(g, &s, body, 7), CORE_FULL_BYTES);
    assert_int_equal(core_cancel(g->core, SLICE("a"), 7, g->now), CORE_STATE_ENDED);
    assert_int_equal(rig_submit_as(g, &s, body, 7), CORE_QUEUED);
    rig_stop(g);
}

static void retry_after_follows_the_drain(void **state)
{
    (void)state;
    struct rig *g = &the_rig;
    struct core_limits limits = rig_limits();
    limits.route_jobs_max = 100;
    rig_start(g, limits);
    for (uint32_t i = 0; i < 200; i++) { /* a hundred a second for two seconds, queue kept full */
        char id[16];
        (void)snprintf(id, sizeof(id), "j%u", i);
        rig_put(g, rig_job(id));
        if (i >= 99) {
            rig_credit(g, 1);
            rig_step(g);
            assert_true(rig_done(g, rig_last(g)->id));
            g->now += 10;
        }
    }
    rig_put(g, rig_job("last"));
    struct wire_submit s = rig_job("more");
    uint32_t retry = 0;
    assert_int_equal(core_submit(g->core, &s, SLICE(""), 7, g->now, &retry), CORE_FULL_ROUTE);
    assert_in_range(retry, 90, 110); /* a tenth of a hundred jobs at a hundred a second */
    rig_stop(g);
}

static void cancel_ends_what_waits_and_leaves_what_runs(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("runs"));
    rig_credit(g, 1);
    rig_step(g);
    rig_put(g, rig_job("waits"));
    struct wire_submit later = rig_job("later");
    later.delay_ms = 100;
    rig_put(g, later);
    assert_int_equal(core_cancel(g->core, SLICE("nobody"), 8, g->now), CORE_STATE_NONE);
    assert_int_equal(core_cancel(g->core, SLICE("runs"), 8, g->now), CORE_STATE_DISPATCHED);
    assert_true(core_started(g->core, 1, SLICE("runs"), 1, g->now));
    assert_int_equal(core_cancel(g->core, SLICE("runs"), 8, g->now), CORE_STATE_STARTED);
    assert_int_equal(g->answer_n, 0);
    assert_int_equal(core_cancel(g->core, SLICE("waits"), 8, g->now), CORE_STATE_ENDED);
    assert_int_equal(g->answer_n, 2);
    assert_int_equal(g->answers[0].client, 7);
    assert_int_equal(g->answers[1].client, 8);
    rig_expect_end(g, "waits", JOB_END_CANCELLED, RESULT_CANCELLED);
    assert_int_equal(core_cancel(g->core, SLICE("later"), 7, g->now), CORE_STATE_ENDED);
    rig_expect_end(g, "later", JOB_END_CANCELLED, RESULT_CANCELLED);
    assert_int_equal(g->answer_n, 3);
    assert_int_equal(core_cancel(g->core, SLICE("waits"), 9, g->now), CORE_STATE_ENDED);
    assert_int_equal(g->answer_n, 4);
    assert_true(rig_done(g, "runs"));
}

static void many_cancelled_jobs_leave_no_trace(void **state)
{
    struct rig *g = *state;
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < 500; i++) {
            char id[32];
            (void)snprintf(id, sizeof(id), "%u-%u", round, i);
            rig_put(g, rig_job(id));
        }
        for (uint32_t i = 500; i-- > 1;) { /* from the end: every one leaves a hole in the heap */
            char id[32];
            (void)snprintf(id, sizeof(id), "%u-%u", round, i);
            assert_int_equal(core_cancel(g->core, slice_of(id), 7, g->now), CORE_STATE_ENDED);
        }
        core_check(g->core, g->now);
        g->answer_n = 0;
    }
    rig_credit(g, 100);
    rig_step(g);
    assert_int_equal(g->sent_n, 4);
}

static void get_of_nothing_is_nothing(void **state)
{
    struct rig *g = *state;
    assert_int_equal(core_get(g->core, SLICE("nobody"), 7, g->now), CORE_STATE_NONE);
}

/* Runs jobs named prefix0, prefix1, … to their end. */
static void finish(struct rig *g, const char *prefix, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "%s%u", prefix, i);
        rig_put(g, rig_job(id));
        rig_credit(g, 1);
        (void)core_step(g->core, g->now, 1);
        assert_true(rig_done(g, id));
    }
    g->answer_n = 0;
    g->sent_n = 0;
}

static void kept_results_have_a_number(void **state)
{
    struct rig *g = *state;
    finish(g, "j", 1200);
    core_check(g->core, g->now);
    assert_int_equal(rig_stats(g).results_kept, 1000);
    assert_int_equal(core_get(g->core, SLICE("j199"), 7, g->now), CORE_STATE_NONE);
    assert_int_equal(core_get(g->core, SLICE("j200"), 7, g->now), CORE_STATE_ENDED);
}

static void kept_results_have_bytes(void **state)
{
    (void)state;
    struct rig *g = &the_rig;
    struct core_limits limits = rig_limits();
    limits.results_bytes_max = 200 * 1024;
    rig_start(g, limits);
    static char body[60000];
    struct wire_result r = {.end = JOB_END_DONE, .code = RESULT_OTP_SENT};
    for (uint32_t i = 0; i < 100; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "big%u", i);
        struct wire_submit s = rig_job(id);
        assert_int_equal(rig_submit_as(g, &s, "", 0), CORE_QUEUED);
        rig_credit(g, 1);
        rig_step(g);
        r.id = slice_of(id);
        assert_true(core_result(g->core, 1, &r, slice_make(body, sizeof(body)), g->now));
        assert_true(rig_stats(g).results_bytes <= limits.results_bytes_max);
    }
    assert_int_equal(rig_stats(g).results_kept, 3);
    rig_stop(g);
}

static void kept_results_have_an_age(void **state)
{
    struct rig *g = *state;
    finish(g, "old", 1);
    g->now += 599999;
    finish(g, "new", 1);
    assert_int_equal(core_get(g->core, SLICE("old0"), 7, g->now), CORE_STATE_ENDED);
    g->now += 1;
    assert_int_equal(core_get(g->core, SLICE("old0"), 7, g->now), CORE_STATE_NONE);
    assert_int_equal(core_get(g->core, SLICE("new0"), 7, g->now), CORE_STATE_ENDED);
    g->now += 600000;
    assert_int_equal(rig_step(g), INT64_MAX);
    assert_int_equal(rig_stats(g).results_kept, 0);
}

static void an_id_may_be_used_again_once_forgotten(void **state)
{
    struct rig *g = *state;
    finish(g, "j", 1);
    g->now += 600000;
    struct wire_submit s = rig_job("j0");
    assert_int_equal(rig_submit_as(g, &s, "another body", 7), CORE_QUEUED);
}

static struct wire_submit again(const char *id)
{
    struct wire_submit s = rig_job(id);
    s.ttl_ms = 1000;
    s.again = true;
    return s;
}

/* Another broker died with it: only the store knows, and a worker asks it when the time is over. */
static void what_another_broker_had_is_settled_and_not_cancelled(void **state)
{
    struct rig *g = *state;
    rig_put(g, again("j"));
    assert_int_equal(core_get(g->core, SLICE("j"), 7, g->now), CORE_STATE_STARTED);
    assert_int_equal(core_cancel(g->core, SLICE("j"), 7, g->now), CORE_STATE_STARTED);
    g->now += 1000;
    rig_step(g);
    assert_int_equal(g->answer_n, 0);
    rig_credit(g, 1);
    rig_step(g);
    assert_int_equal(rig_last(g)->ttl_ms, 0);
    assert_true(rig_done(g, "j"));
    rig_expect_end(g, "j", JOB_END_DONE, RESULT_OTP_SENT);
}

/* In time it goes out as any other: the claim decides. */
static void what_another_broker_had_is_sent_in_time(void **state)
{
    struct rig *g = *state;
    rig_put(g, again("j"));
    rig_credit(g, 1);
    rig_step(g);
    assert_int_equal(rig_last(g)->ttl_ms, 1000);
    assert_true(rig_result(g, 1, "j", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED));
    rig_expect_end(g, "j", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
}

static void a_live_job_may_be_said_to_have_been_elsewhere(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    struct wire_submit s = again("j");
    assert_int_equal(rig_submit_as(g, &s, "body", 7), CORE_DUPLICATE);
    assert_int_equal(core_cancel(g->core, SLICE("j"), 7, g->now), CORE_STATE_STARTED);
}

/* By the route that was asked for, live or ended. */
static void an_id_tells_whose_it_is(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("j");
    struct slice route, tenant;
    s.tenant = SLICE("acme");
    rig_put(g, s);
    assert_true(core_whose(g->core, s.id, g->now, &route, &tenant));
    assert_true(slice_eq(route, s.route) && slice_is(tenant, "acme"));
    rig_credit(g, 1);
    rig_step(g);
    assert_true(rig_done(g, "j"));
    assert_int_equal(core_get(g->core, s.id, 9, g->now), CORE_STATE_ENDED);
    assert_true(core_whose(g->core, s.id, g->now, &route, &tenant));
    assert_true(slice_eq(route, s.route) && slice_is(tenant, "acme"));
    assert_false(core_whose(g->core, SLICE("k"), g->now, &route, &tenant));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_live_repetition_waits_too_and_all_are_told_once),
        RIG_TEST(too_many_waiters_drop_the_oldest),
        RIG_TEST(an_ended_repetition_gets_the_first_result),
        RIG_TEST(a_conflict_that_the_store_found_is_not_kept),
        RIG_TEST(another_body_op_or_route_is_a_conflict),
        cmocka_unit_test(every_limit_says_its_name),
        cmocka_unit_test(bytes_have_a_limit),
        cmocka_unit_test(retry_after_follows_the_drain),
        RIG_TEST(cancel_ends_what_waits_and_leaves_what_runs),
        RIG_TEST(many_cancelled_jobs_leave_no_trace),
        RIG_TEST(get_of_nothing_is_nothing),
        RIG_TEST(what_another_broker_had_is_settled_and_not_cancelled),
        RIG_TEST(what_another_broker_had_is_sent_in_time),
        RIG_TEST(a_live_job_may_be_said_to_have_been_elsewhere),
        RIG_TEST(an_id_tells_whose_it_is),
        RIG_TEST(kept_results_have_a_number),
        cmocka_unit_test(kept_results_have_bytes),
        RIG_TEST(kept_results_have_an_age),
        RIG_TEST(an_id_may_be_used_again_once_forgotten),
    };
    return cmocka_run_group_tests_name("core_clients", tests, NULL, NULL);
}
