/* Workers: credit, death, jobs given back, results that come late or never. */
#include "tests/unit/core_rig.h"

static void join(struct rig *g, uint32_t worker, uint64_t credit)
{
    core_worker_joined(g->core, worker, g->now);
    core_worker_credit(g->core, worker, credit, g->now);
}

static void credit_is_never_exceeded(void **state)
{
    struct rig *g = *state;
    for (uint32_t i = 0; i < 10; i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "j%u", i);
        rig_put(g, rig_job(id));
    }
    rig_step(g);
    assert_int_equal(g->sent_n, 0);
    rig_credit(g, 4);
    rig_step(g);
    assert_int_equal(g->sent_n, 4);
    core_worker_credit(g->core, 1, 3, g->now); /* going down is not believed */
    assert_int_equal(rig_stats(g).credit_free, 0);
    assert_true(rig_done(g, g->sent[0].id)); /* an end gives no credit by itself */
    rig_step(g);
    assert_int_equal(g->sent_n, 4);
    rig_credit(g, 2);
    rig_step(g);
    assert_int_equal(g->sent_n, 6);
}

static void workers_take_turns(void **state)
{
    struct rig *g = *state;
    join(g, 2, 10);
    rig_credit(g, 2);
    for (uint32_t i = 0; i < 4; i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "j%u", i);
        rig_put(g, rig_job(id));
    }
    rig_step(g);
    assert_int_equal(g->sent[0].worker + g->sent[1].worker, 3);
    assert_int_equal(g->sent[2].worker + g->sent[3].worker, 3);
}

static void all_of_a_job_reaches_its_worker(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = rig_job("whole");
    s.tenant = SLICE("1001");
    s.trace = SLICE("00-abc-def-01");
    rig_put(g, s);
    rig_credit(g, 1);
    g->now += 40;
    rig_step(g);
    const struct rig_sent *sent = rig_last(g);
    assert_string_equal(sent->id, "whole");
    assert_string_equal(sent->route, "r");
    assert_string_equal(sent->tenant, "1001");
    assert_string_equal(sent->trace, "00-abc-def-01");
    assert_int_equal(sent->attempt, 1);
    assert_int_equal(sent->ttl_ms, 29960);
    assert_int_equal(sent->queued_ms, 40);
    assert_int_equal(sent->body_n, 4);
}

static void a_result_is_answered_with_times_and_attempts(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 1);
    g->now += 30;
    rig_step(g);
    assert_true(core_started(g->core, 1, SLICE("j"), 1, g->now));
    assert_int_equal(core_get(g->core, SLICE("j"), 7, g->now), CORE_STATE_STARTED);
    g->now += 120;
    assert_true(rig_done(g, "j"));
    rig_expect_end(g, "j", JOB_END_DONE, RESULT_OTP_SENT);
    assert_int_equal(g->answer_n, 1);
    assert_int_equal(g->answers[0].client, 7);
    assert_string_equal(g->answers[0].body, "answer");
    assert_int_equal(g->answers[0].result.queued_ms, 30);
    assert_int_equal(g->answers[0].result.run_ms, 120);
    assert_int_equal(g->answers[0].result.attempts, 1);
    assert_false(rig_done(g, "j"));
}

static void a_dead_workers_jobs_go_ahead_to_another(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("first"));
    rig_credit(g, 1);
    rig_step(g);
    struct wire_submit urgent = rig_job("urgent");
    urgent.ttl_ms = 1000;
    rig_put(g, urgent);
    core_worker_gone(g->core, 1, g->now);
    join(g, 2, 2);
    rig_step(g);
    assert_string_equal(g->sent[1].id, "first");
    assert_int_equal(g->sent[1].attempt, 2);
    assert_int_equal(g->sent[1].worker, 2);
    assert_string_equal(g->sent[2].id, "urgent");
    assert_int_equal(rig_stats(g).redispatched, 1);
}

static void a_dead_workers_started_job_is_only_settled(void **state)
{
    struct rig *g = *state;
    struct core_route_policy paused = {.known = true, .paused = true};
    rig_put(g, rig_job("j"));
    rig_credit(g, 1);
    rig_step(g);
    assert_true(core_started(g->core, 1, SLICE("j"), 1, g->now));
    core_worker_gone(g->core, 1, g->now);
    assert_int_equal(core_get(g->core, SLICE("j"), 7, g->now), CORE_STATE_STARTED);
    assert_true(rig_policy(g, "r", paused)); /* a call would have to wait; a question need not */
    join(g, 2, 1);
    rig_step(g);
    assert_int_equal(g->sent[1].ttl_ms, 0);
    assert_int_equal(g->sent[1].attempt, 2);
    /* The store lost the claim: expired is not to be believed of what had started. */
    assert_true(rig_result(g, 2, "j", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED));
    rig_expect_end(g, "j", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
}

static void what_may_have_started_neither_expires_nor_is_cancelled(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 1);
    rig_step(g);
    core_worker_gone(g->core, 1, g->now);
    assert_int_equal(core_cancel(g->core, SLICE("j"), 8, g->now), CORE_STATE_STARTED);
    g->now += 30000;
    rig_step(g);
    assert_int_equal(g->answer_n, 0);
    join(g, 2, 1);
    rig_step(g);
    assert_int_equal(rig_last(g)->ttl_ms, 0);
    assert_true(rig_result(g, 2, "j", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED));
    rig_expect_end(g, "j", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
}

static void what_nobody_settles_ends_as_unknown(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 1);
    rig_step(g);
    assert_true(core_started(g->core, 1, SLICE("j"), 1, g->now));
    core_worker_gone(g->core, 1, g->now);
    assert_true(rig_step(g) <= g->now + 120000);
    g->now += 119999;
    rig_step(g);
    assert_int_equal(g->answer_n, 0);
    g->now += 1;
    rig_step(g);
    rig_expect_end(g, "j", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
}

/* Worker 1 dies with a job that it had started. */
static void start_and_die(struct rig *g, const char *id)
{
    rig_put(g, rig_job(id));
    core_worker_joined(g->core, 1, g->now);
    core_worker_credit(g->core, 1, 1, g->now);
    rig_step(g);
    assert_true(core_started(g->core, 1, slice_of(id), rig_last(g)->attempt, g->now));
    core_worker_gone(g->core, 1, g->now);
}

/* A second worker dies with the older one, which comes back behind the younger. */
static void each_unsettled_job_ends_at_its_own_time(void **state)
{
    struct rig *g = *state;
    core_worker_gone(g->core, 1, g->now);
    start_and_die(g, "old");
    join(g, 2, 1);
    rig_step(g);
    assert_string_equal(rig_last(g)->id, "old");
    g->now += 1000;
    start_and_die(g, "young");
    core_worker_gone(g->core, 2, g->now);
    assert_true(rig_step(g) <= g->now + 119000);
    g->now += 119000;
    rig_step(g);
    assert_int_equal(g->answer_n, 1);
    rig_expect_end(g, "old", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    g->now += 1000;
    rig_step(g);
    rig_expect_end(g, "young", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
}

/* The first attempt went out and its route wants it repeated; the second one says this. */
static enum job_end end_after_a_start(struct rig *g, const char *id, enum result_code code)
{
    rig_put(g, rig_job(id));
    rig_credit(g, 2);
    rig_step(g);
    assert_true(rig_back(g, id, 1, 1, 0, RESULT_OUTCOME_UNKNOWN));
    rig_step(g);
    assert_int_equal(rig_last(g)->attempt, 2);
    assert_true(rig_result(g, 1, id, JOB_END_REFUSED, code));
    assert_string_equal(g->answers[g->answer_n - 1].id, id);
    return g->answers[g->answer_n - 1].result.end;
}

static void not_sent_is_never_said_of_what_was_started(void **state)
{
    struct rig *g = *state;
    static const enum result_code own[] = {
        RESULT_ADVERTISER_UNREACHABLE, RESULT_INVALID_REQUEST,    RESULT_INTERNAL_ERROR,
        RESULT_INTEGRATION_NOT_FOUND,  RESULT_INTEGRATION_PAUSED, RESULT_STORE_UNAVAILABLE,
        RESULT_TOO_MANY_SENDS,         RESULT_RESEND_TOO_SOON,    RESULT_INVALID_MSISDN};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        assert_int_equal(end_after_a_start(g, result_name(own[i]), own[i]), JOB_END_UNKNOWN);
        rig_expect_end(g, result_name(own[i]), JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    }
    assert_int_equal(end_after_a_start(g, "blocked", RESULT_MSISDN_BLOCKED), JOB_END_REFUSED);
    assert_int_equal(end_after_a_start(g, "no", RESULT_ADVERTISER_REFUSED), JOB_END_REFUSED);
}

/* Worker 1 dies before it says more: the claim of the next one proves what the store knows, but
 * what is said without a claim proves nothing. */
static void what_may_have_started_is_refused_by_the_store_alone(void **state)
{
    struct rig *g = *state;
    join(g, 2, 2);
    rig_credit(g, 2);
    rig_put(g, rig_job("a"));
    rig_put(g, rig_job("b"));
    rig_step(g);
    core_worker_gone(g->core, 1, g->now);
    core_worker_gone(g->core, 2, g->now);
    join(g, 3, 2);
    rig_step(g);
    assert_true(rig_result(g, 3, "a", JOB_END_REFUSED, RESULT_INTEGRATION_NOT_FOUND));
    rig_expect_end(g, "a", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_true(rig_result(g, 3, "b", JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE));
    rig_expect_end(g, "b", JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE);
}

static void a_late_result_of_the_claims_owner_counts(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 1);
    rig_step(g);
    core_worker_gone(g->core, 1, g->now);
    assert_true(rig_done(g, "j")); /* it lived after all; the job is queued again by now */
    rig_expect_end(g, "j", JOB_END_DONE, RESULT_OTP_SENT);
    join(g, 2, 1);
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
}

static void reports_of_others_and_old_attempts_are_ignored(void **state)
{
    struct rig *g = *state;
    join(g, 2, 0);
    rig_put(g, rig_job("j"));
    rig_credit(g, 2);
    rig_step(g);
    assert_false(core_started(g->core, 2, SLICE("j"), 1, g->now));
    assert_false(core_started(g->core, 1, SLICE("j"), 2, g->now));
    assert_false(core_started(g->core, 1, SLICE("nobody"), 1, g->now));
    assert_false(rig_back(g, "j", 2, 1, 0, RESULT_NONE));
    assert_true(rig_back(g, "j", 1, 1, 0, RESULT_NONE));
    assert_false(rig_back(g, "j", 1, 1, 0, RESULT_NONE));
    rig_step(g);
    assert_true(core_started(g->core, 1, SLICE("j"), 2, g->now));
    assert_false(core_started(g->core, 1, SLICE("j"), 2, g->now));
}

static void given_back_goes_again_above_the_attempt_seen(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 2);
    rig_step(g);
    assert_true(rig_back(g, "j", 1, 6, 250, RESULT_ADVERTISER_UNREACHABLE));
    assert_int_equal(core_get(g->core, SLICE("j"), 7, g->now), CORE_STATE_DELAYED);
    assert_int_equal(rig_step(g), g->now + 250);
    g->now += 250;
    rig_step(g);
    assert_int_equal(rig_last(g)->attempt, 7);
}

static void attempts_end_with_their_last_reason(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 10);
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        rig_step(g);
        assert_int_equal(g->sent_n, attempt);
        assert_true(rig_back(g, "j", attempt, attempt, 0, RESULT_ADVERTISER_UNREACHABLE));
    }
    rig_expect_end(g, "j", JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE);
    assert_int_equal(g->answers[0].result.attempts, 3);
}

static void a_store_that_is_away_uses_up_no_attempts(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 100);
    for (uint32_t attempt = 1; attempt <= 20; attempt++) {
        rig_step(g);
        assert_int_equal(g->sent_n, attempt);
        assert_true(rig_back(g, "j", attempt, 0, 0, RESULT_STORE_UNAVAILABLE));
        rig_step(g);
        assert_int_equal(g->sent_n, attempt); /* and does not spin */
        g->now += 50;
    }
    g->now += 30000;
    rig_step(g);
    rig_expect_end(g, "j", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
}

static void a_job_that_kills_workers_ends_as_unknown(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("poison"));
    for (uint32_t worker = 2; worker < 5; worker++) {
        join(g, worker, 1);
        rig_step(g);
        assert_int_equal(rig_last(g)->worker, worker);
        core_worker_gone(g->core, worker, g->now);
    }
    rig_expect_end(g, "poison", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
}

static void a_result_lost_on_the_way_is_asked_for(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 2);
    rig_step(g);
    g->now += 39999;
    rig_step(g);
    assert_int_equal(g->sent_n, 1);
    g->now += 1001;
    rig_step(g);
    rig_step(g);
    assert_int_equal(g->sent_n, 2);
    assert_int_equal(rig_last(g)->ttl_ms, 0);
    assert_true(rig_result(g, 1, "j", JOB_END_DONE, RESULT_OTP_SENT));
    rig_expect_end(g, "j", JOB_END_DONE, RESULT_OTP_SENT);
}

static void a_workers_handle_may_be_used_again(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("j"));
    rig_credit(g, 1);
    rig_step(g);
    core_worker_gone(g->core, 1, g->now);
    join(g, 1, 1);
    rig_step(g);
    assert_int_equal(g->sent_n, 2);
    assert_false(core_started(g->core, 1, SLICE("j"), 1, g->now)); /* from its former life */
    assert_true(core_started(g->core, 1, SLICE("j"), 2, g->now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(credit_is_never_exceeded),
        RIG_TEST(workers_take_turns),
        RIG_TEST(all_of_a_job_reaches_its_worker),
        RIG_TEST(a_result_is_answered_with_times_and_attempts),
        RIG_TEST(a_dead_workers_jobs_go_ahead_to_another),
        RIG_TEST(a_dead_workers_started_job_is_only_settled),
        RIG_TEST(what_may_have_started_neither_expires_nor_is_cancelled),
        RIG_TEST(what_nobody_settles_ends_as_unknown),
        RIG_TEST(each_unsettled_job_ends_at_its_own_time),
        RIG_TEST(not_sent_is_never_said_of_what_was_started),
        RIG_TEST(what_may_have_started_is_refused_by_the_store_alone),
        RIG_TEST(a_late_result_of_the_claims_owner_counts),
        RIG_TEST(reports_of_others_and_old_attempts_are_ignored),
        RIG_TEST(given_back_goes_again_above_the_attempt_seen),
        RIG_TEST(attempts_end_with_their_last_reason),
        RIG_TEST(a_store_that_is_away_uses_up_no_attempts),
        RIG_TEST(a_job_that_kills_workers_ends_as_unknown),
        RIG_TEST(a_result_lost_on_the_way_is_asked_for),
        RIG_TEST(a_workers_handle_may_be_used_again),
    };
    return cmocka_run_group_tests_name("core_workers", tests, NULL, NULL);
}
