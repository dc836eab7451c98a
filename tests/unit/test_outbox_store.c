#include "common/adapters/outbox_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/meaning/code.h"
#include "common/meaning/pack.h"
#include "tests/unit/redis_fixture.h"

#define PREFIX "otpq:"
#define RID    "ra7bcdefghijklmnopqrstu"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    struct outbox_store *outbox;
    redisContext *c;
    struct asker *ask; /* as the commands have it */
    bool up;
};

static void on_state(void *context, bool up)
{
    struct world *w = context;
    w->up = up;
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    const struct store_options o = {.address = w->redis.address,
                                    .timeout_ms = 1000,
                                    .pending_max = 1000,
                                    .on_state = on_state,
                                    .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    w->outbox = outbox_store_new(w->store, PREFIX, 3600);
    w->c = store_blocking(w->redis.address, NULL, 10000, error);
    assert_non_null(w->c);
    w->ask = asker_open(w->redis.address, NULL, 10000, error);
    assert_non_null(w->ask);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    asker_close(&w->ask);
    redisFree(w->c);
    outbox_store_destroy(&w->outbox);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

/* ---- what the tests ask ---------------------------------------------------------------------- */

/* Runs lines of Lua as a session script of a job would run them. */
static void as_job(struct world *w, const char *job, const char *lua)
{
    struct slice whole = store_script_source(STORE_REPORT);
    const char *own = strstr(whole.p, "-- Something came in");
    assert_non_null(own);
    struct buf source;
    buf_init(&source, 100000);
    buf_put(&source, whole.p, (size_t)(own - whole.p));
    buf_puts(&source, lua);
    buf_puts(&source, "\nreturn 'ok'");
    redisReply *r = redisCommand(
        w->c,
        "EVAL %b 1 otpq:j:{a7}:%s otpq: a7 %s token 1 fp 1000 1000 1001 demo 66812345678 668* h "
        "20260101 86400 300000 3600000 send 0 " RID,
        source.p, source.n, job, job);
    assert_non_null(r);
    assert_string_equal(r->str, "ok");
    freeReplyObject(r);
    buf_free(&source);
}

static void emit_now(struct world *w, const char *job)
{
    as_job(w, job, "emit('status', 'account:demo', NOW, {rid = RID, code = 'otp_sent', err = ''})");
}

struct due {
    bool done;
    struct outbox_found found;
    char id[OUTBOX_ID_BYTES + 1];
    char lane[OUTBOX_LANE_BYTES + 1];
};

static void on_due(void *context, unsigned tag, const struct outbox_found *found)
{
    struct due *d = context;
    assert_int_equal(tag, 0xa7);
    assert_non_null(found);
    d->done = true;
    d->found = *found;
    if (found->count > 0) {
        (void)snprintf(d->id, sizeof d->id, "%.*s", SLICE_ARG(found->at[0].id));
        (void)snprintf(d->lane, sizeof d->lane, "%.*s", SLICE_ARG(found->at[0].lane));
    }
}

static struct due due(struct world *w)
{
    struct due d = {0};
    outbox_due(w->outbox, 0xa7, OUTBOX_DUE_MAX, on_due, &d);
    assert_true(loop_until(w->base, &d.done, 5000));
    return d;
}

struct won {
    bool done;
    enum outbox_claimed outcome;
    uint32_t attempt;
    char kind[16];
    char rid[65];
    bool has_err;
};

static void on_claim(void *context, enum outbox_claimed outcome, const struct outbox_task *t)
{
    struct won *w = context;
    w->done = true;
    w->outcome = outcome;
    if (t != NULL) {
        w->attempt = t->attempt;
        (void)snprintf(w->kind, sizeof w->kind, "%.*s", SLICE_ARG(t->kind));
        (void)snprintf(w->rid, sizeof w->rid, "%.*s", SLICE_ARG(t->rid));
        struct pack p = pack_over(t->data);
        uint32_t pairs = 0;
        assert_true(pack_read_map(&p, &pairs));
        w->has_err = pairs != 2;
    }
}

static struct won claim(struct world *w, const char *id, uint64_t token, uint32_t lease_ms)
{
    struct won won = {0};
    const struct outbox_attempt a = {
        .id = slice_of(id), .token = token, .lease_ms = lease_ms, .attempts_max = 3};
    outbox_claim(w->outbox, &a, on_claim, &won);
    assert_true(loop_until(w->base, &won.done, 5000));
    return won;
}

struct written {
    bool done;
    bool written;
};

static void on_written(void *context, bool written)
{
    struct written *w = context;
    w->done = true;
    w->written = written;
}

static bool finish(struct world *w, const char *id, uint64_t token, enum outbox_end end,
                   uint32_t next_ms)
{
    struct written done = {0};
    const struct outbox_attempt a = {
        .id = slice_of(id), .token = token, .lease_ms = 1000, .attempts_max = 3};
    const struct outbox_finish f = {
        .end = end, .next_ms = next_ms, .http = 500, .word = "", .ms = 7};
    outbox_finish(w->outbox, &a, &f, on_written, &done);
    assert_true(loop_until(w->base, &done.done, 5000));
    return done.written;
}

static struct outbox_row show(struct world *w, const char *id)
{
    struct outbox_row row;
    char error[512];
    assert_int_equal(outbox_show(w->ask, PREFIX, id, &row, error), 1);
    return row;
}

static long long ask(struct world *w, const char *command)
{
    redisReply *r = redisCommand(w->c, command);
    assert_non_null(r);
    long long n = r->integer;
    freeReplyObject(r);
    return n;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_emitted_once_fed_once(void **state)
{
    struct world *w = *state;
    assert_int_equal(due(w).found.count, 0);
    emit_now(w, "job-1");
    emit_now(w, "job-1");
    struct due d = due(w);
    assert_int_equal(d.found.count, 1);
    assert_int_equal(d.found.open, 1);
    assert_int_equal(d.found.at[0].fed, 1);
    assert_string_equal(d.lane, "account:demo");
    assert_memory_equal(d.id, "a7", 2);
    assert_true(outbox_id_ok(slice_of(d.id)));
    assert_int_equal(due(w).found.count, 0); /* hidden from the next feeder */
    emit_now(w, "job-2");
    assert_int_equal(due(w).found.count, 1);
}

static void test_an_attempt_and_the_next(void **state)
{
    struct world *w = *state;
    emit_now(w, "job-1");
    struct due d = due(w);
    struct won won = claim(w, d.id, 1, 5000);
    assert_int_equal(won.outcome, OUTBOX_WON);
    assert_int_equal(won.attempt, 1);
    assert_string_equal(won.kind, "status");
    assert_string_equal(won.rid, RID);
    assert_false(won.has_err);                            /* empty fields are absent */
    assert_int_equal(claim(w, d.id, 1, 5000).attempt, 1); /* its answer was lost: the same again */
    assert_int_equal(claim(w, d.id, 2, 5000).outcome, OUTBOX_ELSEWHERE);
    assert_true(finish(w, d.id, 1, OUTBOX_AGAIN, 0));
    assert_true(finish(w, d.id, 1, OUTBOX_AGAIN, 0)); /* sent again: once in the log */
    assert_false(finish(w, d.id, 2, OUTBOX_DONE, 0));
    assert_int_equal(show(w, d.id).try_count, 1);
    assert_int_equal(due(w).found.at[0].fed, 2);
    assert_int_equal(claim(w, d.id, 3, 5000).attempt, 2);
    assert_true(finish(w, d.id, 3, OUTBOX_DONE, 0));
    struct outbox_row row = show(w, d.id);
    assert_string_equal(row.state, "done");
    assert_int_equal(row.try_count, 2);
    assert_int_equal(row.tries[1].http, 500);
    assert_int_equal(row.tries[1].ms, 7);
    assert_int_equal(claim(w, d.id, 4, 5000).outcome, OUTBOX_ENDED);
    assert_int_equal(due(w).found.open, 0);
    assert_int_equal(ask(w, "LLEN otpq:t:{a7}:" RID), 2);
}

static void test_not_before_its_time(void **state)
{
    struct world *w = *state;
    emit_now(w, "job-1");
    struct due d = due(w);
    assert_int_equal(claim(w, d.id, 1, 5000).outcome, OUTBOX_WON);
    assert_true(finish(w, d.id, 1, OUTBOX_AGAIN, 60000));
    assert_int_equal(claim(w, d.id, 2, 5000).outcome, OUTBOX_ELSEWHERE); /* fed twice */
    assert_int_equal(due(w).found.count, 0);
}

static void assert_hidden(struct world *w, const char *id, int64_t ms)
{
    redisReply *r = redisCommand(w->c, "ZSCORE otpq:due:{a7} %s", id);
    assert_int_equal(r->type, REDIS_REPLY_STRING);
    int64_t in_ms = strtoll(r->str, NULL, 10) - clock_wall_ms();
    assert_in_range(in_ms, ms - 10000, ms);
    freeReplyObject(r);
    freeReplyObject(redisCommand(w->c, "ZADD otpq:due:{a7} 0 %s", id));
}

/* Its lane may be gone, or full. */
static void test_what_nobody_takes_up_is_fed_less_often(void **state)
{
    struct world *w = *state;
    struct due d;
    emit_now(w, "job-1");
    for (int i = 1; i <= 12; i++) {
        d = due(w);
        assert_int_equal(d.found.count, 1);
        assert_hidden(w, d.id, (int64_t)OUTBOX_FED_MS * (i < 10 ? i : 10));
    }
    assert_int_equal(claim(w, d.id, 1, 5000).outcome, OUTBOX_WON);
    assert_true(finish(w, d.id, 1, OUTBOX_AGAIN, 0));
    d = due(w);
    assert_hidden(w, d.id, OUTBOX_FED_MS);
}

/* Its worker died, and nobody fed it since. */
static void test_a_lost_attempt_can_be_replayed(void **state)
{
    struct world *w = *state;
    char error[512];
    emit_now(w, "job-1");
    struct due d = due(w);
    assert_int_equal(claim(w, d.id, 1, 1).outcome, OUTBOX_WON);
    int64_t until = clock_mono_ms() + 5000;
    while (outbox_replay(w->ask, PREFIX, d.id, error) < 0) {
        assert_true(clock_mono_ms() < until);
    }
    assert_string_equal(show(w, d.id).state, "due");
    assert_int_equal(claim(w, d.id, 2, 5000).attempt, 1);
}

static void test_a_lost_attempt_comes_again(void **state)
{
    struct world *w = *state;
    emit_now(w, "job-1");
    struct due d = due(w);
    assert_int_equal(claim(w, d.id, 1, 1).outcome, OUTBOX_WON);
    struct due again = {0};
    for (int i = 0; i < 1000 && again.found.count == 0; i++) {
        again = due(w);
    }
    assert_string_equal(again.id, d.id);
    assert_int_equal(claim(w, d.id, 2, 1).attempt, 2);
    assert_string_equal(show(w, d.id).tries[0].word, "lost");
    assert_false(finish(w, d.id, 1, OUTBOX_DONE, 0)); /* the first comes to life: too late */
    while (claim(w, d.id, 3, 1).outcome != OUTBOX_WON) {
    }
    while (claim(w, d.id, 4, 1).outcome == OUTBOX_ELSEWHERE) {
    }
    assert_string_equal(show(w, d.id).state, "dead"); /* three were all it had */
}

static void test_later_is_no_attempt(void **state)
{
    struct world *w = *state;
    emit_now(w, "job-1");
    struct due d = due(w);
    assert_int_equal(claim(w, d.id, 1, 5000).attempt, 1);
    assert_true(finish(w, d.id, 1, OUTBOX_LATER, 0));
    assert_int_equal(show(w, d.id).try_count, 0);
    assert_int_equal(claim(w, d.id, 2, 5000).attempt, 1);
}

static void test_hastened(void **state)
{
    struct world *w = *state;
    as_job(w, "job-1", "emit('status', 'account:demo', NOW + 60000, {rid = RID, code = 'x'})");
    assert_int_equal(due(w).found.count, 0);
    as_job(w, "job-2",
           "assert(not hasten('status', 'job-2', RID, {}))\n"
           "assert(hasten('status', 'job-1', RID, {code = 'msisdn_blocked', err = ''}))");
    struct due d = due(w);
    assert_int_equal(d.found.count, 1);
    assert_int_equal(claim(w, d.id, 1, 5000).outcome, OUTBOX_WON);
    as_job(w, "job-3", "assert(not hasten('status', 'job-1', RID, {code = 'otp_sent'}))");
}

static void test_expiry_of_what_was_verified(void **state)
{
    struct world *w = *state;
    as_job(w, "job-1", "emit('expiry', 'flash:2', NOW, {rid = RID, ft = '2'})");
    (void)ask(w, "HSET otpq:s:{a7}:" RID " st verified");
    struct due d = due(w);
    assert_int_equal(claim(w, d.id, 1, 5000).outcome, OUTBOX_ENDED);
    assert_string_equal(show(w, d.id).state, "dropped");
}

static bool count_row(void *context, const struct outbox_row *row UNUSED)
{
    ++*(int *)context;
    return true;
}

static int listed(struct world *w, const char *state, const char *lane)
{
    int n = 0;
    char error[512];
    assert_true(outbox_list(w->ask, PREFIX, 0xa7, state, lane, count_row, &n, error));
    return n;
}

static void test_list_show_replay(void **state)
{
    struct world *w = *state;
    char error[512];
    struct outbox_row row;
    for (int i = 0; i < 150; i++) {
        char job[16];
        (void)snprintf(job, sizeof job, "job-%d", i);
        emit_now(w, job);
    }
    struct due d = due(w);
    assert_true(d.found.more);
    assert_int_equal(d.found.count, OUTBOX_DUE_MAX);
    assert_int_equal(outbox_replay(w->ask, PREFIX, d.id, error), -1); /* never tried */
    assert_string_equal(error, "it was not tried yet, and comes at its time");
    assert_int_equal(claim(w, d.id, 1, 5000).outcome, OUTBOX_WON);
    assert_int_equal(outbox_replay(w->ask, PREFIX, d.id, error), -1); /* running */
    assert_true(finish(w, d.id, 1, OUTBOX_DEAD, 0));
    assert_int_equal(listed(w, "", ""), 150);
    assert_int_equal(listed(w, "dead", ""), 1);
    assert_int_equal(listed(w, "due", "account:demo"), 149);
    assert_int_equal(listed(w, "", "account:other"), 0);
    assert_int_equal(outbox_replay(w->ask, PREFIX, d.id, error), 1);
    assert_int_equal(listed(w, "dead", ""), 0);
    assert_int_equal(claim(w, d.id, 2, 5000).attempt, 1); /* the whole schedule again */
    assert_int_equal(outbox_replay(w->ask, PREFIX, "a70000000000000000000f", error), 0);
    assert_int_equal(outbox_show(w->ask, PREFIX, "a70000000000000000000f", &row, error), 0);
}

static void on_put(void *context, enum outbox_claimed outcome)
{
    struct won *w = context;
    w->done = true;
    w->outcome = outcome;
}

static void test_put_by_a_job(void **state)
{
    struct world *w = *state;
    char id[OUTBOX_ID_BYTES + 1];
    outbox_id_of_job(slice_of("my-job"), id);
    assert_true(outbox_id_ok(slice_of(id)));
    for (int i = 0; i < 2; i++) {
        struct won put = {0};
        const struct outbox_new task = {slice_of(id), SLICE("http"), SLICE("demo"), SLICE("1001"),
                                        SLICE("\x80")};
        outbox_put(w->outbox, &task, on_put, &put);
        assert_true(loop_until(w->base, &put.done, 5000));
        assert_int_equal(put.outcome, OUTBOX_WON);
    }
    struct outbox_row row = show(w, id);
    assert_string_equal(row.kind, "http");
    assert_string_equal(row.party, "1001");
}

static void test_everything_ends(void **state)
{
    struct world *w = *state;
    emit_now(w, "job-1");
    struct due d = due(w);
    assert_int_equal(claim(w, d.id, 1, 5000).outcome, OUTBOX_WON);
    assert_true(finish(w, d.id, 1, OUTBOX_DONE, 0));
    emit_now(w, "job-2");
    redisReply *keys = redisCommand(w->c, "KEYS *");
    assert_true(keys->elements >= 6);
    for (size_t i = 0; i < keys->elements; i++) {
        redisReply *ttl = redisCommand(w->c, "PTTL %s", keys->element[i]->str);
        assert_true(ttl->integer > 0);
        freeReplyObject(ttl);
    }
    freeReplyObject(keys);
}

static void test_full(void **state)
{
    struct world *w = *state;
    as_job(w, "job-1",
           "for i = 1, 32768 do redis.call('ZADD', 'otpq:ol:{a7}', NOW + 60000, i) end\n"
           "emit('status', 'account:demo', NOW + 60000, {rid = RID})");
    assert_int_equal(ask(w, "ZCARD otpq:ol:{a7}"), 32768);
    assert_int_equal(ask(w, "HEXISTS otpq:c:{a7}:20260101 demo:1001:callback_lost"), 1);
}

static void test_without_a_store(void **state)
{
    struct world *w = *state;
    emit_now(w, "job-1");
    struct due d = due(w);
    redis_fixture_stop(&w->redis);
    assert_int_equal(claim(w, d.id, 1, 5000).outcome, OUTBOX_NO_STORE);
    struct written done = {0};
    const struct outbox_attempt a = {
        .id = slice_of(d.id), .token = 1, .lease_ms = 10000, .attempts_max = 3};
    const struct outbox_finish f = {.end = OUTBOX_DONE, .word = ""};
    outbox_finish(w->outbox, &a, &f, on_written, &done); /* still trying when all is destroyed */
    assert_false(loop_until(w->base, &done.done, 50));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_emitted_once_fed_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_attempt_and_the_next, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_before_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_nobody_takes_up_is_fed_less_often, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_attempt_can_be_replayed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_attempt_comes_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_is_no_attempt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hastened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry_of_what_was_verified, setup, teardown),
        cmocka_unit_test_setup_teardown(test_list_show_replay, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_by_a_job, setup, teardown),
        cmocka_unit_test_setup_teardown(test_everything_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_store, setup, teardown),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
