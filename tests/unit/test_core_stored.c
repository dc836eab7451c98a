/* test_core_stored.c: stored jobs in the core: the shelf, adoption, loss, forgetting. */
#include "tests/unit/core_rig.h"

enum { SHELF = 3, OTHER = 4 };

/* ---- a rig with a shelf ---------------------------------------------------------------------- */

static int shelf_setup(void **state)
{
    (void)rig_setup(state);
    core_shelf(the_rig.core, SHELF);
    return 0;
}

#define SHELF_TEST(f) cmocka_unit_test_setup_teardown(f, shelf_setup, rig_teardown)

static struct wire_submit stored_job(const char *id)
{
    struct wire_submit s = rig_job(id);
    s.ack = WIRE_ACK_STORED;
    return s;
}

static const struct rig_shelved *latest(const struct rig *g)
{
    must(g->shelved_n > 0);
    return &g->shelved[g->shelved_n - 1];
}

/* The latest thing asked of the shelf. */
static const struct rig_shelved *expect_put(const struct rig *g, const char *id)
{
    const struct rig_shelved *e = latest(g);
    assert_true(e->put);
    assert_string_equal(e->id, id);
    return e;
}

static const struct rig_shelved *expect_removal(const struct rig *g, const char *id,
                                                enum result_code code, bool dead)
{
    const struct rig_shelved *e = latest(g);
    assert_false(e->put);
    assert_string_equal(e->id, id);
    assert_int_equal(e->code, code);
    assert_int_equal(e->dead, dead);
    assert_int_equal(e->ended, code != RESULT_NONE);
    return e;
}

static void expect_told(const struct rig *g, uint32_t at, uint64_t client, const char *id,
                        enum core_stored what)
{
    must(at < g->told_n);
    assert_int_equal(g->told[at].client, client);
    assert_string_equal(g->told[at].id, id);
    assert_int_equal(g->told[at].what, what);
}

/* Submits by client 7: its name on the way to the shelf. */
static uint32_t storing(struct rig *g, struct wire_submit s)
{
    assert_int_equal(rig_submit_as(g, &s, "body", 7), CORE_STORING);
    const struct rig_shelved *e = latest(g);
    assert_true(e->put && e->job != 0);
    core_check(g->core, g->now);
    return e->job;
}

static void shelved(struct rig *g, uint32_t job, bool kept)
{
    core_shelved(g->core, job, kept, g->now);
    core_check(g->core, g->now);
}

static void unshelved(struct rig *g)
{
    const struct rig_shelved *e = latest(g);
    assert_true(!e->put && e->job != 0);
    core_unshelved(g->core, e->job, g->now);
    core_check(g->core, g->now);
}

/* On the shelf, in the queue. */
static void store(struct rig *g, struct wire_submit s)
{
    shelved(g, storing(g, s), true);
}

static enum core_state cancel(struct rig *g, const char *id, uint64_t client)
{
    enum core_state s = core_cancel(g->core, slice_of(id), client, g->now);
    core_check(g->core, g->now);
    return s;
}

/* ---- the way to the shelf -------------------------------------------------------------------- */

static void a_stored_job_waits_for_its_shelf(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 10);
    struct wire_submit s = stored_job("a");
    s.tenant = SLICE("t");
    s.pri = 8;
    uint32_t job = storing(g, s);
    const struct rig_shelved *e = expect_put(g, "a");
    assert_int_equal(e->shelf, SHELF);
    assert_string_equal(e->route, "r");
    assert_string_equal(e->tenant, "t");
    assert_string_equal(e->body, "body");
    assert_int_equal(e->ttl_ms, 30000);
    assert_int_equal(e->pri, 8);
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 0);
    assert_int_equal(g->told_n, 0);
    assert_int_equal(rig_stats(g).storing, 1);
    assert_int_equal(rig_stats(g).stored, 0);
    assert_int_equal(rig_stats(g).accepted, 0);
    assert_int_equal(rig_route_stats(g, "r").storing, 1);
    shelved(g, job, true);
    expect_told(g, 0, 7, "a", CORE_STORED);
    assert_int_equal(rig_stats(g).storing, 0);
    assert_int_equal(rig_stats(g).stored, 1);
    assert_int_equal(rig_stats(g).accepted, 1);
    assert_int_equal(rig_route_stats(g, "r").on_shelf, 1);
    (void)rig_step(g);
    assert_string_equal(rig_last(g)->id, "a");
    assert_true(rig_done(g, "a"));
    rig_expect_end(g, "a", JOB_END_DONE, RESULT_OTP_SENT);
    assert_int_equal(expect_removal(g, "a", RESULT_OTP_SENT, false)->job, 0);
    assert_int_equal(rig_stats(g).stored, 0);
    assert_int_equal(g->told_n, 1);
}

static void what_the_shelf_does_not_keep_is_forgotten(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = stored_job("a");
    uint32_t job = storing(g, s);
    s.ack = WIRE_ACK_RESULT;
    assert_int_equal(rig_submit_as(g, &s, "body", 8), CORE_STORING);
    shelved(g, job, false);
    expect_told(g, 0, 7, "a", CORE_STORE_FAILED);
    expect_told(g, 1, 8, "a", CORE_STORE_FAILED);
    assert_int_equal(core_get(g->core, SLICE("a"), 7, g->now), CORE_STATE_NONE);
    assert_int_equal(rig_stats(g).accepted, 0);
    assert_int_equal(g->answer_n, 0);
    store(g, stored_job("a")); /* the id is free again */
}

static void without_a_shelf_nothing_is_taken(void **state)
{
    struct rig *g = *state;
    core_shelf(g->core, 0);
    struct wire_submit s = stored_job("a");
    assert_int_equal(rig_submit_as(g, &s, "body", 7), CORE_NO_SHELF);
    assert_int_equal(core_get(g->core, SLICE("a"), 7, g->now), CORE_STATE_NONE);
    rig_put(g, rig_job("a")); /* in memory: as ever */
    assert_int_equal(g->shelved_n, 0);
}

static void a_route_stores_whatever_the_ack(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = true, .stored = true}));
    store(g, rig_job("a")); /* ack result: is told nothing but the result */
    assert_int_equal(g->told_n, 0);
    struct wire_submit s = rig_job("b");
    s.ack = WIRE_ACK_QUEUED;
    store(g, s);
    expect_told(g, 0, 7, "b", CORE_STORED);
    s = rig_job("c");
    s.op = WIRE_OP_CALLBACK;
    assert_int_equal(rig_submit_as(g, &s, "body", 0), CORE_QUEUED); /* of the outbox */
    assert_int_equal(rig_stats(g).stored, 2);
}

static void each_waiter_is_told_as_it_asked(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = stored_job("a");
    uint32_t job = storing(g, s);
    static const enum wire_ack acks[] = {WIRE_ACK_RESULT, WIRE_ACK_QUEUED, WIRE_ACK_RESULT,
                                         WIRE_ACK_STORED};
    for (uint64_t i = 0; i < ARRAY_LEN(acks); i++) { /* the fifth makes the first be forgotten */
        s.ack = acks[i];
        assert_int_equal(rig_submit_as(g, &s, "body", 11 + i), CORE_STORING);
    }
    s.ack = WIRE_ACK_STORED; /* one that waits for the result wants to know this too */
    assert_int_equal(rig_submit_as(g, &s, "body", 13), CORE_STORING);
    assert_int_equal(rig_submit_as(g, &s, "other", 15), CORE_CONFLICT);
    assert_int_equal(g->told_n, 0);
    shelved(g, job, true);
    assert_int_equal(g->told_n, 3);
    expect_told(g, 0, 12, "a", CORE_STORED);
    expect_told(g, 1, 13, "a", CORE_STORED);
    expect_told(g, 2, 14, "a", CORE_STORED);
    assert_int_equal(rig_stats(g).duplicates, 5);
    assert_int_equal(rig_stats(g).conflicts, 1);
}

static void a_repetition_of_what_stands_is_told_at_once(void **state)
{
    struct rig *g = *state;
    store(g, stored_job("a"));
    struct wire_submit s = stored_job("a");
    assert_int_equal(rig_submit_as(g, &s, "body", 8), CORE_DUPLICATE);
    expect_told(g, 1, 8, "a", CORE_STORED);
    s.ack = WIRE_ACK_QUEUED; /* the shell says duplicate */
    assert_int_equal(rig_submit_as(g, &s, "body", 9), CORE_DUPLICATE);
    assert_int_equal(g->told_n, 2);
    rig_credit(g, 1);
    (void)rig_step(g);
    s.ack = WIRE_ACK_STORED;
    assert_int_equal(rig_submit_as(g, &s, "body", 10), CORE_DUPLICATE);
    expect_told(g, 2, 10, "a", CORE_STORED);
    assert_int_equal(g->shelved_n, 1);
    rig_put(g, rig_job("b")); /* in memory it stays there: its result is the answer */
    s.id = SLICE("b");
    assert_int_equal(rig_submit_as(g, &s, "body", 10), CORE_DUPLICATE);
    assert_int_equal(g->told_n, 3);
}

static void storing_jobs_count_for_every_limit(void **state)
{
    (void)state;
    static struct rig g;
    struct core_limits l = rig_limits();
    l.route_jobs_max = 3;
    l.tenant_jobs_max = 2;
    l.jobs_max = 4;
    rig_start(&g, l);
    core_shelf(g.core, SHELF);
    assert_true(rig_policy(&g, "q", (struct core_route_policy){.known = true}));
    (void)storing(&g, stored_job("a"));
    (void)storing(&g, stored_job("b"));
    struct wire_submit s = stored_job("c");
    assert_int_equal(rig_submit_as(&g, &s, "body", 7), CORE_FULL_TENANT);
    s.tenant = SLICE("t");
    (void)storing(&g, s);
    s.id = SLICE("d");
    assert_int_equal(rig_submit_as(&g, &s, "body", 7), CORE_FULL_ROUTE);
    s.route = SLICE("q");
    (void)storing(&g, s);
    s.id = SLICE("e");
    assert_int_equal(rig_submit_as(&g, &s, "body", 7), CORE_FULL_TOTAL);
    rig_stop(&g);
}

static void a_route_is_kept_for_what_is_under_way(void **state)
{
    struct rig *g = *state;
    uint32_t job = storing(g, stored_job("a"));
    assert_true(rig_policy(g, "r", (struct core_route_policy){.known = false}));
    core_check(g->core, g->now);
    assert_non_null(rig_route_stats(g, "r").name.p);
    shelved(g, job, true);
    (void)rig_step(g);
    assert_int_equal(g->answer_n, 0); /* an end that only this broker knows of */
    expect_removal(g, "a", RESULT_INTEGRATION_NOT_FOUND, true);
    assert_non_null(rig_route_stats(g, "r").name.p);
    unshelved(g);
    rig_expect_end(g, "a", JOB_END_REFUSED, RESULT_INTEGRATION_NOT_FOUND);
    assert_null(rig_route_stats(g, "r").name.p);
}

static void delays_begin_with_the_submit(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 10);
    struct wire_submit s = stored_job("a");
    s.delay_ms = 1000;
    uint32_t job = storing(g, s);
    assert_int_equal(latest(g)->delay_ms, 1000);
    g->now += 400;
    shelved(g, job, true);
    assert_int_equal(core_get(g->core, SLICE("a"), 7, g->now), CORE_STATE_DELAYED);
    assert_int_equal(rig_step(g), g->now + 600);
    s.id = SLICE("b");
    job = storing(g, s);
    g->now += 1000;
    shelved(g, job, true); /* its time came meanwhile */
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 2);
}

static void time_does_not_end_what_is_under_way(void **state)
{
    struct rig *g = *state;
    uint32_t job = storing(g, stored_job("a"));
    g->now += 40000;
    (void)rig_step(g);
    assert_int_equal(core_get(g->core, SLICE("a"), 0, g->now), CORE_STATE_STORING);
    shelved(g, job, true);
    expect_told(g, 0, 7, "a", CORE_STORED);
    rig_expect_end(g, "a", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    assert_int_equal(expect_removal(g, "a", RESULT_DEADLINE_PASSED, true)->ttl_ms, 30000);
    struct wire_submit s = stored_job("b"); /* one that may have started elsewhere is settled */
    s.again = true;
    job = storing(g, s);
    g->now += 40000;
    shelved(g, job, true);
    rig_credit(g, 1);
    (void)rig_step(g);
    assert_string_equal(rig_last(g)->id, "b");
    assert_int_equal(rig_last(g)->ttl_ms, 0);
}

/* Another broker may have adopted it, and have sent it before its deadline: "expired" would be a
 * guess until the entry is off the shelf. */
static void a_deadline_is_no_end_while_the_shelf_may_be_anothers(void **state)
{
    struct rig *g = *state;
    store(g, stored_job("a"));
    struct wire_submit s = stored_job("b");
    s.delay_ms = 20000;
    store(g, s);
    uint32_t job = storing(g, stored_job("c"));
    core_shelves_ours(g->core, g->now + 40000);
    g->now += 40000;
    (void)rig_step(g);
    core_check(g->core, g->now);
    shelved(g, job, true);
    assert_int_equal(g->answer_n, 0);
    assert_int_equal(rig_stats(g).unshelving, 3);
    unshelved(g);
    rig_expect_end(g, "c", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    core_shelf_lost(g->core, SHELF, g->now); /* it was another's indeed: that one tells */
    core_check(g->core, g->now);
    assert_int_equal(g->answer_n, 1);
    expect_told(g, g->told_n - 2, 7, "a", CORE_STORED_MOVED);
    expect_told(g, g->told_n - 1, 7, "b", CORE_STORED_MOVED);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void a_cancelled_job_leaves_its_shelf_first(void **state)
{
    struct rig *g = *state;
    store(g, stored_job("a"));
    store(g, stored_job("b"));
    assert_int_equal(cancel(g, "b", 8), CORE_STATE_ENDED);
    assert_int_equal(g->answer_n, 0);
    expect_removal(g, "b", RESULT_CANCELLED, false);
    uint32_t removals = g->shelved_n;
    assert_int_equal(cancel(g, "b", 9), CORE_STATE_ENDED); /* twice: waits as well */
    assert_int_equal(core_get(g->core, SLICE("b"), 10, g->now), CORE_STATE_ENDED);
    assert_int_equal(g->shelved_n, removals);
    assert_int_equal(rig_stats(g).unshelving, 1);
    assert_int_equal(rig_stats(g).queued, 1);
    g->now += 1000 * 1000; /* nor does time end it */
    (void)rig_step(g);
    expect_removal(g, "a", RESULT_DEADLINE_PASSED, true);
    uint32_t answers = g->answer_n;
    core_unshelved(g->core, g->shelved[removals - 1].job, g->now);
    assert_int_equal(g->answer_n, answers + 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(g->answers[answers + i].client, 7 + i);
        assert_int_equal(g->answers[answers + i].result.end, JOB_END_CANCELLED);
    }
    assert_int_equal(rig_stats(g).ended[JOB_END_CANCELLED], 1);
}

static void a_job_cancelled_on_its_way_is_put_and_taken_off(void **state)
{
    struct rig *g = *state;
    uint32_t job = storing(g, stored_job("a"));
    assert_int_equal(cancel(g, "a", 8), CORE_STATE_ENDED);
    assert_int_equal(g->shelved_n, 1);
    shelved(g, job, true);
    expect_told(g, 0, 7, "a", CORE_STORED);
    assert_int_equal(expect_removal(g, "a", RESULT_CANCELLED, false)->job, job);
    assert_int_equal(g->answer_n, 0);
    unshelved(g);
    assert_int_equal(g->answer_n, 2);
    rig_expect_end(g, "a", JOB_END_CANCELLED, RESULT_CANCELLED);
    job = storing(g, stored_job("b"));
    assert_int_equal(cancel(g, "b", 7), CORE_STATE_ENDED);
    uint32_t asked = g->shelved_n;
    shelved(g, job, false); /* nothing to take off */
    rig_expect_end(g, "b", JOB_END_CANCELLED, RESULT_CANCELLED);
    assert_int_equal(g->shelved_n, asked);
    struct wire_submit s = stored_job("c"); /* elsewhere it may have started */
    s.again = true;
    (void)storing(g, s);
    assert_int_equal(cancel(g, "c", 7), CORE_STATE_STORING);
}

static void a_result_on_the_way_to_the_shelf_is_kept(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = stored_job("a");
    s.again = true;
    uint32_t job = storing(g, s);
    assert_true(rig_done(g, "a")); /* of the worker that had it from another broker */
    assert_int_equal(g->answer_n, 0);
    shelved(g, job, true);
    expect_removal(g, "a", RESULT_OTP_SENT, false);
    unshelved(g);
    rig_expect_end(g, "a", JOB_END_DONE, RESULT_OTP_SENT);
    assert_string_equal(g->answers[0].body, "answer");
}

/* What the end is, whether it is answered at once, and whether it is for a person to see. */
static void how_each_end_leaves_the_shelf(void **state)
{
    struct rig *g = *state;
    static const struct {
        enum job_end end;
        enum result_code code;
        bool at_once, dead;
    } rows[] = {
        {JOB_END_DONE, RESULT_OTP_SENT, true, false},
        {JOB_END_REFUSED, RESULT_ADVERTISER_REFUSED, true, false},
        {JOB_END_REFUSED, RESULT_MSISDN_BLOCKED, true, false},
        {JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE, true, true},
        {JOB_END_REFUSED, RESULT_INTEGRATION_NOT_FOUND, false, true},
        {JOB_END_REFUSED, RESULT_INTEGRATION_PAUSED, false, true},
        {JOB_END_REFUSED, RESULT_QUEUE_FULL, false, true},
        {JOB_END_REFUSED, RESULT_RATE_LIMITED, false, true},
        {JOB_END_REFUSED, RESULT_STORE_UNAVAILABLE, false, true},
        {JOB_END_REFUSED, RESULT_INTERNAL_ERROR, false, true},
        {JOB_END_REFUSED, RESULT_INVALID_REQUEST, false, false},
        {JOB_END_EXPIRED, RESULT_DEADLINE_PASSED, true, true},
        {JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN, true, false},
        {JOB_END_REFUSED, RESULT_CONFLICT, true, false},
    };
    rig_credit(g, ARRAY_LEN(rows));
    for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "j%u", i);
        store(g, stored_job(id));
        (void)rig_step(g);
        uint32_t answers = g->answer_n;
        assert_true(rig_result(g, 1, id, rows[i].end, rows[i].code));
        const struct rig_shelved *e = expect_removal(g, id, rows[i].code, rows[i].dead);
        assert_int_equal(e->job == 0, rows[i].at_once);
        assert_int_equal(g->answer_n, answers + rows[i].at_once);
        if (!rows[i].at_once) {
            unshelved(g);
        }
        rig_expect_end(g, id, rows[i].end, rows[i].code);
        assert_string_equal(g->answers[answers].body, "answer");
    }
}

static void the_brokers_own_ends_leave_the_shelf_first(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 10);
    store(g, stored_job("a"));
    for (uint32_t attempt = 1; attempt <= 3; attempt++) { /* attempts_max */
        (void)rig_step(g);
        g->now += 100;
        assert_true(rig_back(g, "a", attempt, 0, 0, RESULT_ADVERTISER_UNREACHABLE));
    }
    assert_int_equal(g->answer_n, 0);
    expect_removal(g, "a", RESULT_ADVERTISER_UNREACHABLE, true);
    g->now += 5000;
    unshelved(g);
    rig_expect_end(g, "a", JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE);
    assert_int_equal(g->answers[0].result.attempts, 3);
    assert_int_equal(g->answers[0].result.run_ms, 100); /* as it ended, not as it was told */
    store(g, stored_job("b"));
    (void)rig_step(g);
    assert_true(core_started(g->core, 1, SLICE("b"), 1, g->now));
    core_worker_gone(g->core, 1, g->now);
    g->now += 120000;
    (void)rig_step(g); /* nobody settled it */
    assert_int_equal(expect_removal(g, "b", RESULT_OUTCOME_UNKNOWN, false)->ttl_ms, 30000);
    assert_int_equal(g->answer_n, 1);
    assert_true(rig_result(g, 2, "b", JOB_END_DONE, RESULT_OTP_SENT)); /* late, and the truth */
    assert_int_equal(g->answer_n, 1);
    unshelved(g);
    rig_expect_end(g, "b", JOB_END_DONE, RESULT_OTP_SENT);
}

/* ---- adoption -------------------------------------------------------------------------------- */

static enum core_admit adopt(struct rig *g, struct wire_submit s, const char *body, uint32_t age)
{
    enum core_admit a = core_adopt(g->core, OTHER, &s, slice_of(body), age, g->now);
    core_check(g->core, g->now);
    return a;
}

static void an_adopted_job_goes_on(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 2);
    struct wire_submit s = stored_job("a");
    s.tenant = SLICE("t");
    s.ttl_ms = 4000;
    assert_int_equal(adopt(g, s, "body", 26000), CORE_QUEUED);
    assert_int_equal(adopt(g, s, "body", 26000), CORE_DUPLICATE); /* read twice */
    assert_int_equal(g->shelved_n, 0);
    assert_int_equal(rig_stats(g).adopted, 1);
    assert_int_equal(rig_stats(g).accepted, 0);
    assert_int_equal(rig_route_stats(g, "r").adopted, 1);
    assert_int_equal(core_get(g->core, SLICE("a"), 9, g->now), CORE_STATE_STARTED);
    assert_int_equal(cancel(g, "a", 9), CORE_STATE_STARTED); /* it may have */
    struct wire_submit again = stored_job("a");
    assert_int_equal(rig_submit_as(g, &again, "body", 8), CORE_DUPLICATE);
    expect_told(g, 0, 8, "a", CORE_STORED);
    assert_int_equal(rig_submit_as(g, &again, "other", 8), CORE_CONFLICT);
    (void)rig_step(g);
    assert_int_equal(rig_last(g)->ttl_ms, 4000);
    assert_int_equal(rig_last(g)->queued_ms, 26000);
    assert_string_equal(rig_last(g)->tenant, "t");
    assert_true(rig_done(g, "a"));
    assert_int_equal(g->answer_n, 2);
    assert_int_equal(expect_removal(g, "a", RESULT_OTP_SENT, false)->shelf, OTHER);
    assert_int_equal(latest(g)->ttl_ms, 30000);
}

static void adopted_jobs_keep_their_times(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 5);
    struct wire_submit s = stored_job("a");
    s.delay_ms = 500;
    assert_int_equal(adopt(g, s, "body", 100), CORE_QUEUED);
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 0);
    g->now += 500;
    (void)rig_step(g);
    assert_string_equal(rig_last(g)->id, "a");
    s = stored_job("b");
    s.ttl_ms = 0; /* its deadline passed meanwhile */
    assert_int_equal(adopt(g, s, "body", 40000), CORE_QUEUED);
    (void)rig_step(g);
    assert_string_equal(rig_last(g)->id, "b");
    assert_int_equal(rig_last(g)->ttl_ms, 0);
    assert_true(rig_result(g, 1, "b", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED));
    assert_int_equal(expect_removal(g, "b", RESULT_DEADLINE_PASSED, true)->ttl_ms, 40000);
}

static void an_entry_whose_result_is_known_goes(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    rig_put(g, rig_job("a"));
    (void)rig_step(g);
    assert_true(rig_done(g, "a"));
    assert_int_equal(adopt(g, stored_job("a"), "body", 0), CORE_DUPLICATE);
    const struct rig_shelved *e = expect_removal(g, "a", RESULT_OTP_SENT, false);
    assert_int_equal(e->job, 0);
    assert_int_equal(e->shelf, OTHER);
    assert_int_equal(adopt(g, stored_job("a"), "other", 0), CORE_CONFLICT);
    expect_removal(g, "a", RESULT_CONFLICT, true);
    assert_int_equal(rig_stats(g).adopted, 0);
}

static void an_entry_of_a_job_in_memory_is_its_own(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    rig_put(g, rig_job("a")); /* sent again without saying so */
    assert_int_equal(adopt(g, stored_job("a"), "other", 0), CORE_CONFLICT);
    assert_int_equal(adopt(g, stored_job("a"), "body", 0), CORE_DUPLICATE);
    assert_int_equal(g->shelved_n, 1);
    assert_int_equal(rig_stats(g).stored, 1);
    assert_int_equal(cancel(g, "a", 7), CORE_STATE_STARTED);
    (void)rig_step(g);
    assert_true(rig_done(g, "a"));
    assert_int_equal(expect_removal(g, "a", RESULT_OTP_SENT, false)->shelf, OTHER);
}

static void of_two_entries_one_goes(void **state)
{
    struct rig *g = *state;
    struct wire_submit s = stored_job("a");
    uint32_t job = storing(g, s);
    assert_int_equal(adopt(g, s, "body", 0), CORE_FULL_TOTAL); /* which one, is not known yet */
    assert_int_equal(adopt(g, s, "other", 0), CORE_FULL_TOTAL);
    shelved(g, job, true);
    assert_int_equal(adopt(g, s, "body", 0), CORE_DUPLICATE);
    assert_int_equal(expect_removal(g, "a", RESULT_NONE, false)->shelf, OTHER);
    assert_int_equal(cancel(g, "a", 7), CORE_STATE_STARTED);
    store(g, stored_job("b"));
    assert_int_equal(cancel(g, "b", 7), CORE_STATE_ENDED);
    assert_int_equal(adopt(g, stored_job("b"), "body", 0), CORE_FULL_TOTAL);
    const struct rig_shelved *e = expect_removal(g, "b", RESULT_CANCELLED, false);
    assert_int_equal(e->shelf, SHELF);
    unshelved(g);
    assert_int_equal(adopt(g, stored_job("b"), "body", 0), CORE_DUPLICATE);
    expect_removal(g, "b", RESULT_CANCELLED, false);
}

static void adopted_jobs_of_a_route_unknown_by_now_are_settled(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    struct wire_submit s = stored_job("a");
    s.route = SLICE("gone");
    assert_int_equal(adopt(g, s, "body", 0), CORE_QUEUED);
    (void)rig_step(g);
    assert_string_equal(rig_last(g)->route, "gone");
    assert_int_equal(rig_last(g)->ttl_ms, 0);
    assert_true(rig_result(g, 1, "a", JOB_END_REFUSED, RESULT_INTEGRATION_NOT_FOUND));
    expect_removal(g, "a", RESULT_OUTCOME_UNKNOWN, false);
    unshelved(g);
    assert_null(rig_route_stats(g, "gone").name.p);
}

static void adoption_waits_for_room(void **state)
{
    (void)state;
    static struct rig g;
    struct core_limits l = rig_limits();
    l.jobs_max = 3;
    l.route_jobs_max = 1;
    l.tenant_jobs_max = 1;
    l.routes_max = 2;
    l.tenants_max = 2;
    rig_start(&g, l);
    core_shelf(g.core, SHELF);
    rig_put(&g, rig_job("a"));
    assert_int_equal(adopt(&g, stored_job("b"), "body", 0), CORE_QUEUED); /* accepted elsewhere */
    struct wire_submit s = stored_job("c");
    s.route = SLICE("q");
    assert_true(rig_policy(&g, "p", (struct core_route_policy){.known = true}));
    assert_int_equal(adopt(&g, s, "body", 0), CORE_FULL_ROUTES);
    s.route = SLICE("r");
    s.tenant = SLICE("t");
    assert_int_equal(adopt(&g, s, "body", 0), CORE_QUEUED);
    s.id = SLICE("d");
    assert_int_equal(adopt(&g, s, "body", 0), CORE_FULL_TOTAL);
    assert_int_equal(core_get(g.core, SLICE("d"), 0, g.now), CORE_STATE_NONE);
    assert_int_equal(g.shelved_n, 0);
    rig_stop(&g);
}

static void adoption_waits_for_room_for_bytes_and_tenants(void **state)
{
    (void)state;
    static struct rig g;
    struct core_limits l = rig_limits();
    l.bytes_max = 1000;
    l.tenants_max = 1;
    rig_start(&g, l);
    struct wire_submit s = stored_job("a");
    assert_int_equal(adopt(&g, s, "body", 0), CORE_QUEUED);
    s.id = SLICE("b");
    s.tenant = SLICE("t");
    assert_int_equal(adopt(&g, s, "body", 0), CORE_FULL_TENANTS);
    s.route = SLICE("gone"); /* and leaves no route behind */
    assert_int_equal(adopt(&g, s, "body", 0), CORE_FULL_TENANTS);
    assert_null(rig_route_stats(&g, "gone").name.p);
    s = stored_job("c");
    char body[2000];
    memset(body, 'x', sizeof(body));
    assert_int_equal(core_adopt(g.core, OTHER, &s, slice_make(body, sizeof(body)), 0, g.now),
                     CORE_FULL_BYTES);
    rig_stop(&g);
}

/* ---- a shelf that another broker took -------------------------------------------------------- */

static void a_lost_shelf_takes_its_jobs_along(void **state)
{
    struct rig *g = *state;
    rig_put(g, rig_job("memory"));
    store(g, stored_job("queued"));
    struct wire_submit s = stored_job("delayed");
    s.delay_ms = 9000;
    store(g, s);
    store(g, stored_job("leaving"));
    assert_int_equal(cancel(g, "leaving", 8), CORE_STATE_ENDED);
    (void)storing(g, stored_job("coming"));
    s = stored_job("settling");
    s.ttl_ms = 0;
    assert_int_equal(adopt(g, s, "body", 0), CORE_QUEUED); /* on the other shelf */
    uint32_t told = g->told_n;
    core_shelf_lost(g->core, SHELF, g->now);
    core_check(g->core, g->now);
    assert_int_equal(g->told_n, told + 5);
    expect_told(g, told, 7, "queued", CORE_STORED_MOVED);
    expect_told(g, told + 1, 7, "delayed", CORE_STORED_MOVED);
    expect_told(g, told + 2, 7, "leaving", CORE_STORED_MOVED);
    expect_told(g, told + 3, 8, "leaving", CORE_STORED_MOVED);
    expect_told(g, told + 4, 7, "coming", CORE_STORED_MOVED);
    assert_int_equal(g->answer_n, 0);
    assert_int_equal(rig_stats(g).handed_over, 3);
    assert_int_equal(rig_stats(g).queued, 2); /* memory, settling */
    assert_int_equal(rig_stats(g).stored, 1);
    s = stored_job("new"); /* there is no shelf until the shell says one */
    assert_int_equal(rig_submit_as(g, &s, "body", 7), CORE_NO_SHELF);
    core_shelf_lost(g->core, OTHER, g->now);
    assert_int_equal(rig_stats(g).queued, 1);
    core_shelf(g->core, OTHER + 1);
    store(g, stored_job("queued")); /* ids are free */
}

static void what_is_with_a_worker_goes_on_in_memory(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 3);
    store(g, stored_job("sent"));
    store(g, stored_job("started"));
    store(g, stored_job("back"));
    (void)rig_step(g);
    assert_true(core_started(g->core, 1, SLICE("started"), 1, g->now));
    uint32_t told = g->told_n;
    uint32_t asked = g->shelved_n;
    core_shelf_lost(g->core, SHELF, g->now);
    core_check(g->core, g->now);
    assert_int_equal(g->told_n, told);
    assert_int_equal(rig_stats(g).stored, 0);
    assert_true(rig_done(g, "started"));
    rig_expect_end(g, "started", JOB_END_DONE, RESULT_OTP_SENT);
    assert_true(rig_back(g, "back", 1, 0, 0, RESULT_NONE));
    assert_int_equal(cancel(g, "back", 7), CORE_STATE_STARTED); /* another broker may send it */
    g->now += 60000;
    (void)rig_step(g);
    assert_int_equal(core_get(g->core, SLICE("back"), 7, g->now), CORE_STATE_STARTED);
    assert_int_equal(g->shelved_n, asked);
}

/* ---- a store that forgets -------------------------------------------------------------------- */

static void live_jobs_are_put_again(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    store(g, stored_job("sent"));
    (void)rig_step(g);
    store(g, stored_job("queued"));
    struct wire_submit s = stored_job("delayed");
    s.delay_ms = 9000;
    store(g, s);
    store(g, stored_job("leaving"));
    (void)cancel(g, "leaving", 7);
    (void)storing(g, stored_job("coming"));
    rig_put(g, rig_job("memory"));
    assert_int_equal(adopt(g, stored_job("adopted"), "body", 0), CORE_QUEUED);
    g->now += 1000;
    (void)rig_step(g);
    uint32_t n = g->shelved_n;
    uint32_t at = 0;
    assert_true(core_shelf_again(g->core, SHELF, &at, 2));
    assert_int_equal(g->shelved_n, n + 2);
    assert_false(core_shelf_again(g->core, SHELF, &at, 2));
    assert_int_equal(g->shelved_n, n + 3);
    static const char *const ids[] = {"sent", "queued", "delayed"};
    for (uint32_t i = 0; i < ARRAY_LEN(ids); i++) {
        const struct rig_shelved *e = &g->shelved[n + i];
        assert_true(e->put);
        assert_int_equal(e->job, 0);
        assert_int_equal(e->shelf, SHELF);
        assert_int_equal(e->ttl_ms, 29000);
        assert_int_equal(e->delay_ms, i == 2 ? 8000 : 0);
        assert_string_equal(e->id, ids[i]);
        assert_string_equal(e->body, "body");
    }
    at = 0;
    assert_false(core_shelf_again(g->core, OTHER, &at, 100));
    expect_put(g, "adopted");
}

/* A job that changes its place behind the walk's back is put at once. */
static void no_job_escapes_the_walk(void **state)
{
    struct rig *g = *state;
    assert_true(rig_policy(
        g, "r",
        (struct core_route_policy){.known = true, .fallback_count = 1, .fallback = {SLICE("q")}}));
    assert_true(rig_policy(g, "q", (struct core_route_policy){.known = true}));
    rig_credit(g, 1);
    rig_put(g, rig_job("first")); /* its place will be free */
    (void)rig_step(g);
    store(g, stored_job("a"));
    struct wire_submit s = stored_job("top");
    s.ttl_ms = 5000; /* before `a` in the heap */
    store(g, s);
    uint32_t at = 0;
    assert_true(core_shelf_again(g->core, SHELF, &at, 0)); /* behind the place of the first */
    assert_int_equal(at, 1);
    assert_true(rig_done(g, "first"));
    uint32_t n = g->shelved_n;
    assert_true(rig_policy(
        g, "r",
        (struct core_route_policy){
            .known = true, .paused = true, .fallback_count = 1, .fallback = {SLICE("q")}}));
    (void)rig_step(g); /* both move to q; `a` leaves a hole in a heap, for the first one's place */
    assert_int_equal(rig_route_stats(g, "q").queued, 2);
    assert_int_equal(rig_route_stats(g, "q").on_shelf, 2);
    assert_false(core_shelf_again(g->core, SHELF, &at, 100));
    bool put = false;
    for (uint32_t i = n; i < g->shelved_n; i++) {
        put |= g->shelved[i].put && strcmp(g->shelved[i].id, "a") == 0;
        assert_string_equal(g->shelved[i].route, "r"); /* the one asked for */
    }
    assert_true(put);
}

static void what_may_have_started_is_settled_after_a_loss(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 4);
    rig_put(g, rig_job("died"));
    rig_put(g, rig_job("back"));
    rig_put(g, rig_job("done"));
    (void)rig_step(g);
    rig_put(g, rig_job("queued"));
    core_store_forgot(g->core, g->now);
    core_check(g->core, g->now);
    assert_true(rig_done(g, "done")); /* who says how it ended is believed */
    rig_expect_end(g, "done", JOB_END_DONE, RESULT_OTP_SENT);
    assert_true(rig_back(g, "back", 1, 0, 0, RESULT_NONE)); /* provably not sent by anybody */
    core_worker_gone(g->core, 1, g->now);
    core_worker_joined(g->core, 2, g->now);
    core_worker_credit(g->core, 2, 3, g->now);
    uint32_t n = g->sent_n;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, n + 2);
    g->now += CORE_REASSERT_MS; /* it may only seem dead, and tell the store */
    (void)rig_step(g);
    assert_int_equal(g->sent_n, n + 3);
    for (; n < g->sent_n; n++) {
        bool settled = strcmp(g->sent[n].id, "died") == 0;
        assert_int_equal(g->sent[n].ttl_ms == 0, settled);
    }
    assert_true(rig_result(g, 2, "died", JOB_END_EXPIRED, RESULT_DEADLINE_PASSED));
    rig_expect_end(g, "died", JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
}

static void what_was_with_a_dead_worker_is_settled_after_a_loss(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    rig_put(g, rig_job("a"));
    (void)rig_step(g);
    core_worker_gone(g->core, 1, g->now);
    rig_put(g, rig_job("b"));
    g->now += 20;
    core_store_forgot(g->core, g->now);
    core_check(g->core, g->now);
    core_worker_joined(g->core, 1, g->now);
    core_worker_credit(g->core, 1, 2, g->now);
    (void)rig_step(g);
    g->now += CORE_REASSERT_MS;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 3);
    assert_int_equal(g->sent[1].ttl_ms, 29980);
    assert_string_equal(g->sent[2].id, "a");
    assert_int_equal(g->sent[2].ttl_ms, 0);
    /* given back by one worker, but an earlier one may have begun it */
    assert_true(rig_back(g, "a", 2, 0, 0, RESULT_NONE));
    core_worker_credit(g->core, 1, 3, g->now);
    (void)rig_step(g);
    assert_int_equal(rig_last(g)->ttl_ms, 0);
}

static void an_earlier_attempt_counts_when_given_back_after_a_loss(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    rig_put(g, rig_job("a"));
    (void)rig_step(g);
    core_worker_gone(g->core, 1, g->now);
    core_worker_joined(g->core, 2, g->now);
    core_worker_credit(g->core, 2, 2, g->now);
    (void)rig_step(g); /* the second attempt, to call */
    assert_int_equal(rig_last(g)->ttl_ms, 30000);
    core_store_forgot(g->core, g->now);
    struct wire_give_back b = {.id = SLICE("a"), .attempt = 2};
    assert_true(core_given_back(g->core, 2, &b, g->now));
    g->now += CORE_REASSERT_MS;
    (void)rig_step(g);
    assert_int_equal(rig_last(g)->ttl_ms, 0);
}

/* Put, adopted and sent again, before a loss, at it and after it. */
static uint32_t put_what_is_elsewhere(struct rig *g)
{
    struct wire_submit s = rig_job("before");
    s.again = true;
    rig_put(g, s);
    assert_int_equal(adopt(g, stored_job("adopted"), "body", 0), CORE_QUEUED);
    rig_put(g, rig_job("again")); /* new here; and then somebody says that it was elsewhere */
    s = stored_job("coming");
    s.again = true;
    return storing(g, s);
}

static void what_is_elsewhere_waits_for_its_worker_after_a_loss(void **state)
{
    struct rig *g = *state;
    uint32_t coming = put_what_is_elsewhere(g);
    core_store_forgot(g->core, g->now);
    core_check(g->core, g->now);
    shelved(g, coming, true);
    struct wire_submit s = rig_job("again");
    s.again = true;
    assert_int_equal(rig_submit_as(g, &s, "body", 8), CORE_DUPLICATE);
    s = rig_job("after");
    s.again = true;
    rig_put(g, s);
    s = stored_job("stored");
    s.again = true;
    store(g, s);
    assert_int_equal(adopt(g, stored_job("late"), "body", 0), CORE_QUEUED);
    rig_put(g, rig_job("new"));
    rig_credit(g, 100);
    assert_in_range(rig_step(g), g->now + 1, g->now + CORE_REASSERT_MS);
    assert_int_equal(g->sent_n, 1);
    assert_string_equal(g->sent[0].id, "new"); /* what nobody can have started goes at once */
    assert_int_equal(core_get(g->core, SLICE("adopted"), 7, g->now), CORE_STATE_STARTED);
    g->now += CORE_REASSERT_MS - 1;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 1);
    g->now++;
    (void)rig_step(g);
    core_check(g->core, g->now);
    assert_int_equal(g->sent_n, 8);
    for (uint32_t i = 1; i < g->sent_n; i++) { /* to call: the claim decides */
        assert_int_equal(g->sent[i].ttl_ms, 30000 - CORE_REASSERT_MS);
    }
    assert_true(rig_back(g, "adopted", 1, 0, 0, RESULT_NONE));
    rig_credit(g, 101);
    (void)rig_step(g);
    assert_int_equal(rig_last(g)->ttl_ms, 30000 - CORE_REASSERT_MS);
}

/* It was with a worker at the loss, which lives and gives it back. */
static void what_is_given_back_after_a_loss_waits_when_it_was_elsewhere(void **state)
{
    struct rig *g = *state;
    assert_int_equal(adopt(g, stored_job("a"), "body", 0), CORE_QUEUED);
    rig_credit(g, 2);
    (void)rig_step(g);
    core_store_forgot(g->core, g->now);
    assert_true(rig_back(g, "a", 1, 0, 0, RESULT_NONE));
    (void)rig_step(g);
    core_check(g->core, g->now);
    assert_int_equal(g->sent_n, 1);
    g->now += CORE_REASSERT_MS;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 2);
    assert_int_equal(rig_last(g)->ttl_ms, 30000 - CORE_REASSERT_MS);
}

static void what_is_elsewhere_waits_for_a_store_that_is_away(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 3);
    core_store_away(g->core, true, g->now);
    struct wire_submit s = rig_job("a");
    s.again = true;
    rig_put(g, s);
    rig_put(g, rig_job("new"));
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 1);
    g->now += 2 * CORE_REASSERT_MS;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 1);
    core_store_forgot(g->core, g->now);
    core_store_away(g->core, true, g->now);
    core_store_away(g->core, false, g->now); /* was only away; what it forgot before still is */
    g->now += CORE_REASSERT_MS - 1;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 1);
    g->now += CORE_REASSERT_MS;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 2);
    core_store_away(g->core, true, g->now);
    s = rig_job("b");
    s.again = true;
    s.ttl_ms = 60000;
    rig_put(g, s);
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 2);
    for (uint32_t i = 0; i < 16; i++) { /* workers may have a store: not for ever */
        g->now += CORE_REASSERT_MS;
        (void)rig_step(g);
    }
    assert_int_equal(g->sent_n, 3);
}

static void its_deadline_ends_the_wait_for_a_worker(void **state)
{
    struct rig *g = *state;
    rig_credit(g, 1);
    struct wire_submit s = rig_job("a");
    s.again = true;
    s.ttl_ms = 1000;
    rig_put(g, s);
    core_store_forgot(g->core, g->now);
    g->now += 1000;
    (void)rig_step(g);
    core_check(g->core, g->now);
    assert_int_equal(g->sent_n, 0);
    g->now += 1000;
    (void)rig_step(g);
    assert_int_equal(g->sent_n, 1); /* to be settled: by then the store knows again */
    assert_int_equal(rig_last(g)->ttl_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHELF_TEST(a_stored_job_waits_for_its_shelf),
        SHELF_TEST(what_the_shelf_does_not_keep_is_forgotten),
        SHELF_TEST(without_a_shelf_nothing_is_taken),
        SHELF_TEST(a_route_stores_whatever_the_ack),
        SHELF_TEST(each_waiter_is_told_as_it_asked),
        SHELF_TEST(a_repetition_of_what_stands_is_told_at_once),
        SHELF_TEST(storing_jobs_count_for_every_limit),
        SHELF_TEST(a_route_is_kept_for_what_is_under_way),
        SHELF_TEST(delays_begin_with_the_submit),
        SHELF_TEST(time_does_not_end_what_is_under_way),
        SHELF_TEST(a_deadline_is_no_end_while_the_shelf_may_be_anothers),
        SHELF_TEST(a_cancelled_job_leaves_its_shelf_first),
        SHELF_TEST(a_job_cancelled_on_its_way_is_put_and_taken_off),
        SHELF_TEST(a_result_on_the_way_to_the_shelf_is_kept),
        SHELF_TEST(how_each_end_leaves_the_shelf),
        SHELF_TEST(the_brokers_own_ends_leave_the_shelf_first),
        SHELF_TEST(an_adopted_job_goes_on),
        SHELF_TEST(adopted_jobs_keep_their_times),
        SHELF_TEST(an_entry_whose_result_is_known_goes),
        SHELF_TEST(an_entry_of_a_job_in_memory_is_its_own),
        SHELF_TEST(of_two_entries_one_goes),
        SHELF_TEST(adopted_jobs_of_a_route_unknown_by_now_are_settled),
        SHELF_TEST(adoption_waits_for_room),
        SHELF_TEST(adoption_waits_for_room_for_bytes_and_tenants),
        SHELF_TEST(a_lost_shelf_takes_its_jobs_along),
        SHELF_TEST(what_is_with_a_worker_goes_on_in_memory),
        SHELF_TEST(live_jobs_are_put_again),
        SHELF_TEST(no_job_escapes_the_walk),
        SHELF_TEST(what_may_have_started_is_settled_after_a_loss),
        SHELF_TEST(what_was_with_a_dead_worker_is_settled_after_a_loss),
        SHELF_TEST(an_earlier_attempt_counts_when_given_back_after_a_loss),
        SHELF_TEST(what_is_elsewhere_waits_for_its_worker_after_a_loss),
        SHELF_TEST(what_is_given_back_after_a_loss_waits_when_it_was_elsewhere),
        SHELF_TEST(what_is_elsewhere_waits_for_a_store_that_is_away),
        SHELF_TEST(its_deadline_ends_the_wait_for_a_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
