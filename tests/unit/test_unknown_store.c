#include "common/adapters/unknown_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/adapters/flash_store.h"
#include "common/adapters/outbox_store.h"
#include "common/adapters/session_store.h"
#include "common/base/log.h"
#include "common/meaning/code.h"
#include "common/meaning/msisdn.h"
#include "tests/unit/redis_fixture.h"

#define NUMBER "66812345678"
#define PEPPER "0123456789abcdef0123456789abcdef"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    struct session_store *sessions;
    struct flash_store *flash;
    struct outbox_store *outbox;
    struct unknown_store *unknown;
    redisContext *c;     /* to look and to tamper */
    struct asker *asker; /* a person's */
    bool up;
    struct integration theirs; /* the advertiser makes the code */
    struct integration ours;   /* otpq does */
    struct msisdn_tag tag;     /* of NUMBER */
};

static void on_state(void *context, bool up)
{
    ((struct world *)context)->up = up;
}

static int setup(void **state)
{
    static char theirs[] = "theirs", ours[] = "ours";
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    w->theirs = (struct integration){.name = theirs,
                                     .maker = CODE_BY_ADVERTISER,
                                     .code_valid_s = 300,
                                     .code_checks = 5,
                                     .sends_max = 3,
                                     .sends_window_s = 600};
    w->ours = w->theirs;
    w->ours.name = ours;
    w->ours.maker = CODE_BY_OTPQ;
    w->tag = msisdn_tag(SLICE(NUMBER));
    const struct store_options o = {.address = w->redis.address,
                                    .timeout_ms = 500,
                                    .pending_max = 1000,
                                    .on_state = on_state,
                                    .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    const struct session_store_options s = {.prefix = "otpq:",
                                            .owner = "w1",
                                            .pepper = SLICE(PEPPER),
                                            .session_keep_s = 3600,
                                            .events_keep_s = 7200,
                                            .result_keep_ms = 600000};
    w->sessions = session_store_new(w->store, &s);
    w->flash = flash_store_new(w->store, &s);
    w->outbox = outbox_store_new(w->store, "otpq:", 3600);
    w->unknown = unknown_store_new(w->store, "otpq:");
    w->c = store_blocking(w->redis.address, NULL, 5000, error);
    assert_non_null(w->c);
    w->asker = asker_open(w->redis.address, NULL, 5000, error);
    assert_non_null(w->asker);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    redisFree(w->c);
    asker_close(&w->asker);
    unknown_store_destroy(&w->unknown);
    outbox_store_destroy(&w->outbox);
    flash_store_destroy(&w->flash);
    session_store_destroy(&w->sessions);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

/* ---- calls and waits ------------------------------------------------------------------------- */

static long long ask(struct world *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    redisReply *r = redisvCommand(w->c, fmt, args);
    va_end(args);
    assert_non_null(r);
    assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
    long long value = r->type == REDIS_REPLY_INTEGER ? r->integer : -1;
    freeReplyObject(r);
    return value;
}

static bool field_is(struct world *w, const char *rid, const char *field, const char *value)
{
    redisReply *r = redisCommand(w->c, "HGET otpq:s:{%s}:%s %s", w->tag.text, rid, field);
    assert_non_null(r);
    bool same = value == NULL ? r->type == REDIS_REPLY_NIL
                              : r->type == REDIS_REPLY_STRING && strcmp(r->str, value) == 0;
    freeReplyObject(r);
    return same;
}

static long long counted(struct world *w, const char *word)
{
    static const char lua[] =
        "local n = 0 for _, k in ipairs(redis.call('KEYS', 'otpq:c:*')) do for _, f in "
        "ipairs(redis.call('HKEYS', k)) do if string.sub(f, -#ARGV[1]) == ARGV[1] then n = n + "
        "redis.call('HGET', k, f) end end end return n";
    return ask(w, "EVAL %s 0 %s", lua, word);
}

static long long started(struct world *w)
{
    return ask(w, "ZCARD otpq:st:{%s}", w->tag.text);
}

static long long unknowns(struct world *w)
{
    return ask(w, "ZCARD otpq:uk:{%s}", w->tag.text);
}

static struct session_job a_job(struct world *w, const char *id, const struct integration *route)
{
    struct session_job job = {.job_id = slice_of(id),
                              .attempt = 1,
                              .fingerprint = 7,
                              .route = slice_of(route->name),
                              .msisdn = SLICE(NUMBER),
                              .party = SLICE("1001"),
                              .lease_ms = 30};
    memcpy(job.tag, w->tag.text, sizeof job.tag);
    return job;
}

struct claimed {
    bool done;
    struct claim claim;
};

static void on_claim(void *context, const struct claim *c)
{
    struct claimed *k = context;
    k->claim = *c;
    k->claim.result_body = slice_make(NULL, 0);
    k->done = true;
}

static struct claim claim_send(struct world *w, struct session_job *job,
                               const struct integration *route, const char *rid)
{
    struct claimed c = {.done = false};
    session_claim_send(w->sessions, job, route, rid, on_claim, &c);
    assert_true(loop_until(w->base, &c.done, 8000));
    return c.claim;
}

static struct claim claim_verify(struct world *w, struct session_job *job,
                                 const struct integration *route, const char *rid)
{
    struct claimed c = {.done = false};
    session_claim_verify(w->sessions, job, route, slice_of(rid), SLICE("1"), on_claim, &c);
    assert_true(loop_until(w->base, &c.done, 8000));
    return c.claim;
}

struct finished {
    bool done;
    struct finish finish;
};

static void on_finish(void *context, const struct finish *f)
{
    struct finished *k = context;
    k->finish = *f;
    k->finish.result_body = slice_make(NULL, 0);
    k->done = true;
}

static struct finish finish(struct world *w, struct session_job *job,
                            const struct integration *route, const char *rid, bool verify,
                            enum job_end end, enum result_code code)
{
    struct finished k = {.done = false};
    struct job_result result;
    job_result_init(&result);
    const struct session_finish f = {
        .end = end, .code = code, .result = &result, .advertiser_request_id = SLICE("adv-1")};
    (verify ? session_finish_verify : session_finish_send)(w->sessions, job, route, rid, &f,
                                                           on_finish, &k);
    assert_true(loop_until(w->base, &k.done, 8000));
    return k.finish;
}

/* What the job's id is answered with from now on. */
static struct claim again(struct world *w, const char *id, const struct integration *route,
                          bool verify)
{
    struct session_job job = a_job(w, id, route);
    job.attempt = 9;
    return verify ? claim_verify(w, &job, route, "nonsense") : claim_send(w, &job, route, "r-z");
}

struct looked {
    bool done;
    uint32_t over;
    int64_t lease_ms;
    char job[64]; /* the first that is over */
};

static void on_look(void *context, unsigned tag, const struct outbox_found *found)
{
    struct looked *l = context;
    (void)tag;
    assert_non_null(found);
    l->done = true;
    l->over = found->over_count;
    l->lease_ms = found->lease_ms;
    if (found->over_count > 0) {
        (void)snprintf(l->job, sizeof l->job, "%.*s", SLICE_ARG(found->over[0]));
    }
}

static unsigned tag_number(const struct world *w)
{
    return (unsigned)strtoul(w->tag.text, NULL, 16);
}

static struct looked look(struct world *w)
{
    struct looked l = {.done = false};
    outbox_due(w->outbox, tag_number(w), 0, on_look, &l);
    assert_true(loop_until(w->base, &l.done, 8000));
    return l;
}

/* Until a lease of the tag is over. */
static struct looked look_until_over(struct world *w)
{
    int64_t until = clock_mono_ms() + 5000;
    struct looked l;
    do {
        assert_true(clock_mono_ms() < until);
        l = look(w);
    } while (l.over == 0);
    return l;
}

struct reaped {
    bool done;
    enum unknown_reaped what;
};

static void on_reaped(void *context, struct slice job, enum unknown_reaped what)
{
    struct reaped *r = context;
    (void)job;
    r->what = what;
    r->done = true;
}

static enum unknown_reaped reap(struct world *w, const char *job)
{
    struct reaped r = {.done = false};
    unknown_reap(w->unknown, tag_number(w), slice_of(job), on_reaped, &r);
    assert_true(loop_until(w->base, &r.done, 8000));
    return r.what;
}

struct told {
    bool done;
    enum flash_report_outcome outcome;
};

static void on_report(void *context, const struct flash_reported *r)
{
    struct told *t = context;
    t->outcome = r->outcome;
    t->done = true;
}

static void report(struct world *w, const char *job, const char *rid, enum dialect_event event,
                   enum result_code code)
{
    struct told t = {.done = false};
    const struct flash_report what = {
        .job_id = slice_of(job),
        .lane = SLICE("theirs"),
        .valid_s = 300,
        .report = {.event = event, .code = code, .request_id = slice_of(rid)}};
    flash_report(w->flash, &what, on_report, &t);
    assert_true(loop_until(w->base, &t.done, 8000));
    assert_int_equal(t.outcome, FLASH_REPORT_APPLIED);
}

static void make_rid(struct world *w, char rid[CODE_REQUEST_ID_MAX])
{
    code_request_id(w->tag.text, JOB_ID_TEXT, rid);
}

/* A send whose worker dies in the call. */
static void send_dies(struct world *w, struct session_job *job, const char *id,
                      const struct integration *route, const char *rid)
{
    *job = a_job(w, id, route);
    assert_int_equal(claim_send(w, job, route, rid).outcome, CLAIM_WON);
    assert_string_equal(look_until_over(w).job, id);
}

static void send_whole(struct world *w, const char *id, const char *rid)
{
    struct session_job job = a_job(w, id, &w->theirs);
    assert_int_equal(claim_send(w, &job, &w->theirs, rid).outcome, CLAIM_WON);
    assert_int_equal(finish(w, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT).outcome,
                     FINISH_WRITTEN);
}

static void verify_dies(struct world *w, struct session_job *job, const char *id, const char *rid)
{
    *job = a_job(w, id, &w->theirs);
    assert_int_equal(claim_verify(w, job, &w->theirs, rid).outcome, CLAIM_WON);
    assert_string_equal(look_until_over(w).job, id);
    assert_int_equal(reap(w, id), UNKNOWN_REAPED);
}

/* ---- the reaper ------------------------------------------------------------------------------ */

static void test_a_dead_send_is_unknown(void **state)
{
    struct world *w = *state;
    struct session_job job;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    send_dies(w, &job, "j1", &w->theirs, rid);
    assert_true(ask(w, "PTTL otpq:st:{%s}", w->tag.text) > 0);
    assert_int_equal(reap(w, "j1"), UNKNOWN_REAPED);
    assert_int_equal(reap(w, "j1"), UNKNOWN_LIVES);
    assert_int_equal(started(w), 0);
    assert_int_equal(unknowns(w), 1);
    assert_true(ask(w, "PTTL otpq:uk:{%s}", w->tag.text) > 0);
    assert_true(field_is(w, rid, "st", "unknown"));
    assert_true(field_is(w, rid, "msisdn", NUMBER));
    assert_true(field_is(w, rid, "aid", "1001"));
    assert_true(field_is(w, rid, "route", "theirs"));
    assert_int_equal(counted(w, ":outcome_unknown"), 1);
    assert_int_equal(ask(w, "LLEN otpq:t:{%s}:%s", w->tag.text, rid), 1);
    struct claim c = again(w, "j1", &w->theirs, false);
    assert_int_equal(c.outcome, CLAIM_ENDED);
    assert_int_equal(c.end, JOB_END_UNKNOWN);
    assert_string_equal(c.request_id, rid);
}

static void test_what_ends_is_not_reaped(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job(w, "j1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    job.lease_ms = 60000;
    (void)claim_send(w, &job, &w->theirs, rid);
    assert_int_equal(started(w), 1);
    struct looked l = look(w);
    assert_int_equal(l.over, 0);
    assert_true(l.lease_ms > 50000 && l.lease_ms <= 60000);
    assert_int_equal(reap(w, "j1"), UNKNOWN_LIVES);
    assert_int_equal(started(w), 1);
    (void)finish(w, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT);
    assert_int_equal(started(w), 0);
    assert_int_equal(look(w).lease_ms, -1);
    assert_int_equal(unknowns(w), 0);
}

static void on_release(void *context, bool written)
{
    *(bool *)context = written;
}

static void release(struct world *w, const struct session_job *job,
                    const struct session_doubt *doubt)
{
    bool done = false;
    session_release(w->sessions, job, NULL, doubt, NULL, on_release, &done);
    assert_true(loop_until(w->base, &done, 5000));
}

/* Released: nothing to reap. In doubt: a run may follow until the deadline; if none does, the job
 * is unknown behind it. */
static void test_released(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job(w, "j1", &w->ours);
    struct session_job other = a_job(w, "j2", &w->ours);
    const struct session_doubt doubt = {.user_id = SLICE("u1")};
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    (void)claim_send(w, &job, &w->ours, rid);
    release(w, &job, NULL);
    assert_int_equal(started(w), 0);
    (void)claim_send(w, &other, &w->ours, rid);
    other.left_ms = 60000;
    release(w, &other, &doubt);
    assert_int_equal(started(w), 1);
    assert_true(look(w).lease_ms > 50000);
    assert_int_equal(reap(w, "j2"), UNKNOWN_LIVES);
    (void)ask(w, "ZADD otpq:st:{%s} 1000 j2", w->tag.text);
    assert_int_equal(reap(w, "j2"), UNKNOWN_REAPED);
    assert_true(field_is(w, rid, "st", "unknown"));
    assert_int_equal(started(w), 0);
}

/* on_unknown: retry. Somebody who waits to send it again does; without one it is unknown. */
static void test_retry_is_left_to_who_asks(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job(w, "j1", &w->theirs), other = a_job(w, "j1", &w->theirs);
    struct session_job alone;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    w->theirs.on_unknown = ON_UNKNOWN_RETRY;
    job.lease_ms = 300;
    (void)claim_send(w, &job, &w->theirs, rid);
    other.attempt = 2;
    assert_int_equal(claim_send(w, &other, &w->theirs, "r-b").outcome, CLAIM_ELSEWHERE);
    assert_string_equal(look_until_over(w).job, "j1");
    assert_int_equal(reap(w, "j1"), UNKNOWN_LIVES);
    assert_int_equal(claim_send(w, &other, &w->theirs, "r-b").outcome, CLAIM_WON);
    (void)finish(w, &other, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT);
    send_dies(w, &alone, "j2", &w->theirs, rid);
    assert_int_equal(reap(w, "j2"), UNKNOWN_REAPED);
}

/* The session can be verified again at once. */
static void test_a_dead_verify_is_unknown(void **state)
{
    struct world *w = *state;
    struct session_job job, second = a_job(w, "v2", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    send_whole(w, "j1", rid);
    verify_dies(w, &job, "v1", rid);
    assert_true(field_is(w, rid, "lock", NULL));
    assert_true(field_is(w, rid, "vjob", "v1"));
    assert_int_equal(again(w, "v1", &w->theirs, true).end, JOB_END_UNKNOWN);
    assert_int_equal(claim_verify(w, &second, &w->theirs, rid).outcome, CLAIM_WON);
    /* its worker was only slow: its word is the result after all */
    struct finish f = finish(w, &job, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED);
    assert_int_equal(f.outcome, FINISH_LOST);
    assert_int_equal(f.code, RESULT_OTP_VERIFIED);
    assert_int_equal(again(w, "v1", &w->theirs, true).code, RESULT_OTP_VERIFIED);
    assert_int_equal(unknowns(w), 0);
    assert_int_equal(counted(w, ":conversion"), 1);
}

/* ---- what corrects --------------------------------------------------------------------------- */

static void test_a_report_corrects_a_verify(void **state)
{
    struct world *w = *state;
    struct session_job job;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    send_whole(w, "j1", rid);
    verify_dies(w, &job, "v1", rid);
    report(w, "p1", rid, DIALECT_VERIFICATION, RESULT_OTP_VERIFIED);
    struct claim c = again(w, "v1", &w->theirs, true);
    assert_int_equal(c.end, JOB_END_DONE);
    assert_int_equal(c.code, RESULT_OTP_VERIFIED);
    assert_int_equal(unknowns(w), 0);
    /* and nothing twice, when its worker comes after all */
    struct finish f = finish(w, &job, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED);
    assert_int_equal(f.outcome, FINISH_LOST);
    assert_int_equal(f.code, RESULT_OTP_VERIFIED);
    assert_int_equal(counted(w, ":conversion"), 1);
}

static void test_a_report_corrects_a_send(void **state)
{
    struct world *w = *state;
    static const enum result_code codes[2] = {RESULT_OTP_SENT, RESULT_MSISDN_BLOCKED};
    static const char *const ids[2] = {"j1", "j2"}, *const reports[2] = {"p1", "p2"};
    for (int i = 0; i < 2; i++) {
        struct session_job job;
        char rid[CODE_REQUEST_ID_MAX];
        make_rid(w, rid);
        send_dies(w, &job, ids[i], &w->theirs, rid);
        assert_int_equal(reap(w, ids[i]), UNKNOWN_REAPED);
        report(w, reports[i], rid, DIALECT_DELIVERY, codes[i]);
        assert_int_equal(again(w, ids[i], &w->theirs, false).code, codes[i]);
        assert_int_equal(unknowns(w), 0);
    }
    assert_int_equal(counted(w, ":click"), 1);
}

/* on_unknown: query. The advertiser is asked: the poll that runs for the link is hastened; without
 * one there is a new one. */
static void test_a_query_polls(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job(w, "v1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    send_whole(w, "j1", rid);
    job.query = true;
    (void)claim_verify(w, &job, &w->theirs, rid);
    (void)look_until_over(w);
    assert_int_equal(reap(w, "v1"), UNKNOWN_REAPED);
    assert_int_equal(ask(w, "ZCARD otpq:due:{%s}", w->tag.text), 1);
    struct session_job second = a_job(w, "v2", &w->theirs);
    second.query = true;
    (void)claim_verify(w, &second, &w->theirs, rid);
    (void)finish(w, &second, &w->theirs, rid, true, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(ask(w, "ZCARD otpq:due:{%s}", w->tag.text), 2);
    assert_true(field_is(w, rid, "vjob", "v2"));
}

/* ---- people ---------------------------------------------------------------------------------- */

struct rows {
    size_t count;
    struct unknown_row last;
};

static bool on_row(void *context, const struct unknown_row *row)
{
    struct rows *r = context;
    r->last = *row;
    r->count++;
    return true;
}

static struct rows rows(struct world *w)
{
    struct rows r = {.count = 0};
    char error[512];
    assert_true(unknown_list(w->asker, "otpq:", tag_number(w), on_row, &r, error));
    return r;
}

static enum unknown_resolved resolve(struct world *w, const char *job, enum unknown_fate fate,
                                     struct unknown_outcome *out)
{
    char error[512] = "";
    const struct unknown_word word = {
        .job = job, .fate = fate, .who = "somchai", .events_keep_s = 7200};
    enum unknown_resolved r = unknown_resolve(w->asker, "otpq:", &word, out, error);
    assert_string_equal(error, "");
    return r;
}

static void test_list(void **state)
{
    struct world *w = *state;
    struct session_job job;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    assert_int_equal(rows(w).count, 0);
    send_dies(w, &job, "j1", &w->theirs, rid);
    (void)reap(w, "j1");
    struct rows r = rows(w);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.last.job, "j1");
    assert_string_equal(r.last.op, "send");
    assert_string_equal(r.last.route, "theirs");
    assert_string_equal(r.last.party, "1001");
    assert_string_equal(r.last.request_id, rid);
    assert_string_equal(r.last.number, msisdn_mask(SLICE(NUMBER)).text);
    assert_true(r.last.since_ms > 0);
}

static void test_list_of_many(void **state)
{
    struct world *w = *state;
    enum { MANY = 250 };
    for (int i = 0; i < MANY; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        struct session_job job = a_job(w, id, &w->theirs);
        (void)claim_send(w, &job, &w->theirs, "r-a");
        (void)finish(w, &job, &w->theirs, "r-a", false, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    }
    assert_int_equal(rows(w).count, MANY);
}

/* The oldest give way; who asks for one of them still hears of it. */
static void test_the_list_is_bounded(void **state)
{
    struct world *w = *state;
    enum { MOST = 4096 };
    static const char fill[] = "for i = 1, 4096 do redis.call('ZADD', KEYS[1], ARGV[1] - 4096 + i, "
                               "'old' .. i) end";
    char key[32], now[32];
    (void)snprintf(key, sizeof key, "otpq:uk:{%s}", w->tag.text);
    (void)snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms());
    (void)ask(w, "EVAL %s 1 %s %s", fill, key, now);
    struct session_job job;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    send_dies(w, &job, "j1", &w->theirs, rid);
    (void)reap(w, "j1");
    assert_int_equal(unknowns(w), MOST);
    assert_true(ask(w, "ZRANK %s j1", key) >= 0);
    assert_int_equal(ask(w, "ZRANK %s old1", key), -1);
    assert_int_equal(rows(w).count, 1); /* the others are no jobs any more */
}

static void test_resolve_sends(void **state)
{
    struct world *w = *state;
    struct session_job job;
    struct unknown_outcome out;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    send_dies(w, &job, "j1", &w->theirs, rid);
    (void)reap(w, "j1");
    assert_int_equal(resolve(w, "none", UNKNOWN_SENT, &out), UNKNOWN_GONE);
    assert_int_equal(resolve(w, "j1", UNKNOWN_VERIFIED, &out), UNKNOWN_OTHER_OP);
    assert_int_equal(resolve(w, "j1", UNKNOWN_SENT, &out), UNKNOWN_RESOLVED);
    assert_int_equal(resolve(w, "j1", UNKNOWN_NOT_SENT, &out), UNKNOWN_RESOLVED_BEFORE);
    assert_string_equal(out.end, "done");
    assert_string_equal(out.code, "otp_sent");
    assert_int_equal(unknowns(w), 0);
    assert_true(field_is(w, rid, "st", "sent"));
    assert_int_equal(again(w, "j1", &w->theirs, false).code, RESULT_OTP_SENT);
    assert_int_equal(counted(w, ":click"), 1);
    make_rid(w, rid);
    send_dies(w, &job, "j2", &w->theirs, rid);
    (void)reap(w, "j2");
    assert_int_equal(resolve(w, "j2", UNKNOWN_NOT_SENT, &out), UNKNOWN_RESOLVED);
    assert_true(field_is(w, rid, "st", "failed"));
    assert_int_equal(again(w, "j2", &w->theirs, false).end, JOB_END_REFUSED);
    assert_int_equal(counted(w, ":click"), 1);
}

/* What was not sent does not count for cooldown and share. */
static void test_resolve_gives_the_share_back(void **state)
{
    struct world *w = *state;
    struct session_job job, next = a_job(w, "j2", &w->ours);
    struct unknown_outcome out;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    w->ours.sends_max = 1;
    send_dies(w, &job, "j1", &w->ours, rid);
    (void)reap(w, "j1");
    assert_int_equal(resolve(w, "j1", UNKNOWN_NOT_SENT, &out), UNKNOWN_RESOLVED);
    assert_int_equal(claim_send(w, &next, &w->ours, "r-b").outcome, CLAIM_WON);
}

static void test_resolve_verifies(void **state)
{
    struct world *w = *state;
    struct session_job job;
    struct unknown_outcome out;
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    send_whole(w, "j1", rid);
    verify_dies(w, &job, "v1", rid);
    assert_int_equal(resolve(w, "v1", UNKNOWN_NOT_VERIFIED, &out), UNKNOWN_RESOLVED);
    assert_true(field_is(w, rid, "st", "sent"));
    assert_int_equal(again(w, "v1", &w->theirs, true).end, JOB_END_REFUSED);
    verify_dies(w, &job, "v2", rid);
    assert_int_equal(resolve(w, "v2", UNKNOWN_VERIFIED, &out), UNKNOWN_RESOLVED);
    assert_int_equal(resolve(w, "v2", UNKNOWN_VERIFIED, &out), UNKNOWN_RESOLVED_BEFORE);
    assert_true(field_is(w, rid, "st", "verified"));
    assert_int_equal(again(w, "v2", &w->theirs, true).code, RESULT_OTP_VERIFIED);
    assert_int_equal(counted(w, ":conversion"), 1);
    assert_int_equal(unknowns(w), 0);
}

/* ---- a store that forgot --------------------------------------------------------------------- */

/* Marker, lock or session lost in a fail-over: the worker that made the call writes what came of it
 * all the same. */
static void test_finish_after_the_store_forgot(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job(w, "j1", &w->theirs), verify = a_job(w, "v1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    job.lease_ms = verify.lease_ms = 5000;
    (void)claim_send(w, &job, &w->theirs, rid);
    (void)ask(w, "FLUSHALL");
    assert_int_equal(finish(w, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT).outcome,
                     FINISH_WRITTEN);
    assert_true(field_is(w, rid, "st", "sent"));
    assert_int_equal(again(w, "j1", &w->theirs, false).code, RESULT_OTP_SENT);
    (void)claim_verify(w, &verify, &w->theirs, rid);
    (void)ask(w, "HDEL otpq:s:{%s}:%s lock lock_until", w->tag.text, rid);
    (void)ask(w, "DEL otpq:j:{%s}:v1", w->tag.text);
    assert_int_equal(
        finish(w, &verify, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED).outcome,
        FINISH_WRITTEN);
    assert_true(field_is(w, rid, "st", "verified"));
    struct session_job last = a_job(w, "v2", &w->theirs);
    make_rid(w, rid);
    send_whole(w, "j2", rid);
    last.lease_ms = 5000;
    (void)claim_verify(w, &last, &w->theirs, rid);
    (void)ask(w, "FLUSHALL");
    assert_int_equal(
        finish(w, &last, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED).outcome,
        FINISH_WRITTEN);
    assert_int_equal(again(w, "v2", &w->theirs, true).code, RESULT_OTP_VERIFIED);
    assert_int_equal(counted(w, ":conversion"), 1);
}

/* An unknown, too, and a release. */
static void test_unknown_after_the_store_forgot(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job(w, "j1", &w->theirs), verify = a_job(w, "v1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    (void)claim_send(w, &job, &w->theirs, rid);
    (void)ask(w, "FLUSHALL");
    (void)finish(w, &job, &w->theirs, rid, false, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(unknowns(w), 1);
    verify.lease_ms = 5000;
    (void)claim_verify(w, &verify, &w->theirs, rid);
    (void)ask(w, "FLUSHALL");
    struct finish f =
        finish(w, &verify, &w->theirs, rid, true, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(f.outcome, FINISH_WRITTEN);
    assert_int_equal(unknowns(w), 1);
    job = a_job(w, "j2", &w->theirs);
    (void)claim_send(w, &job, &w->theirs, rid);
    (void)ask(w, "FLUSHALL");
    release(w, &job, NULL);
    job.attempt = 2;
    assert_int_equal(claim_send(w, &job, &w->theirs, rid).outcome, CLAIM_WON);
}

/* The store is away for longer than the lease: the worker has told what it knows, and goes on
 * writing it. */
static void test_an_outcome_that_comes_late_by_the_store(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job(w, "j1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    make_rid(w, rid);
    job.lease_ms = 100;
    (void)claim_send(w, &job, &w->theirs, rid);
    redis_fixture_freeze(&w->redis);
    struct finish f = finish(w, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT);
    assert_int_equal(f.outcome, FINISH_NO_STORE);
    redis_fixture_thaw(&w->redis);
    int64_t until = clock_mono_ms() + 20000;
    while (!field_is(w, rid, "st", "sent")) {
        bool never = false;
        assert_true(clock_mono_ms() < until);
        (void)loop_until(w->base, &never, 5);
    }
    assert_int_equal(again(w, "j1", &w->theirs, false).code, RESULT_OTP_SENT);
    assert_int_equal(unknowns(w), 0);
}

/* ---- how long ids are known ------------------------------------------------------------------ */

static void test_a_long_life_is_remembered_longer(void **state)
{
    struct world *w = *state;
    const long long day_ms = 86400000;
    struct session_job job = a_job(w, "j1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX], id_key[64];
    make_rid(w, rid);
    job.life_ms = (uint64_t)day_ms;
    job.left_ms = (uint32_t)day_ms;
    job.lease_ms = 5000;
    (void)claim_send(w, &job, &w->theirs, rid);
    (void)finish(w, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT);
    /* as late as a client may come, and for as long a life once more */
    long long kept_ms = ask(w, "PTTL otpq:j:{%s}:j1", w->tag.text);
    assert_true(kept_ms > 2 * day_ms && kept_ms < 2 * day_ms + 700000);
    (void)snprintf(id_key, sizeof id_key, "otpq:d:{%02x}:j1",
                   (unsigned)(slice_hash(SLICE("j1")) & 0xff));
    assert_true(ask(w, "PTTL %s", id_key) > kept_ms);
    struct session_job brief = a_job(w, "j2", &w->theirs);
    brief.life_ms = 30000;
    (void)claim_send(w, &brief, &w->theirs, rid);
    kept_ms = ask(w, "PTTL otpq:j:{%s}:j2", w->tag.text);
    assert_true(kept_ms > 600000 && kept_ms < 700000);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    log_setup("test_unknown_store", LOG_LEVEL_ERROR, false);
#define WITH_REDIS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_REDIS(test_a_dead_send_is_unknown),
        WITH_REDIS(test_what_ends_is_not_reaped),
        WITH_REDIS(test_released),
        WITH_REDIS(test_retry_is_left_to_who_asks),
        WITH_REDIS(test_a_dead_verify_is_unknown),
        WITH_REDIS(test_a_report_corrects_a_verify),
        WITH_REDIS(test_a_report_corrects_a_send),
        WITH_REDIS(test_a_query_polls),
        WITH_REDIS(test_list),
        WITH_REDIS(test_list_of_many),
        WITH_REDIS(test_the_list_is_bounded),
        WITH_REDIS(test_resolve_sends),
        WITH_REDIS(test_resolve_gives_the_share_back),
        WITH_REDIS(test_resolve_verifies),
        WITH_REDIS(test_finish_after_the_store_forgot),
        WITH_REDIS(test_unknown_after_the_store_forgot),
        WITH_REDIS(test_an_outcome_that_comes_late_by_the_store),
        WITH_REDIS(test_a_long_life_is_remembered_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
