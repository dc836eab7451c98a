#include "common/adapters/session_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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
    struct session_store *sessions; /* of worker w1 */
    struct session_store *others;   /* of worker w2 */
    redisContext *c;                /* to look and to tamper */
    bool up;
    struct integration ours;   /* otpq makes the code */
    struct integration theirs; /* the advertiser does */
};

/* A claim's answer, kept. */
struct claimed {
    bool done;
    int calls;
    struct claim claim;
    struct job_result result;
    const char *body; /* that result points into; one of the last BODIES */
};

struct finished {
    bool done;
    struct finish finish;
    struct job_result result;
    const char *body; /* that result points into; one of the last BODIES */
};

static void on_state(void *context, bool up)
{
    ((struct world *)context)->up = up;
}

static struct session_store *worker(struct world *w, const char *name)
{
    struct session_store_options o = {.prefix = "otpq:",
                                      .owner = name,
                                      .pepper = SLICE(PEPPER),
                                      .session_keep_s = 3600,
                                      .events_keep_s = 7200,
                                      .result_keep_ms = 600000};
    return session_store_new(w->store, &o);
}

static void integration_fill(struct integration *i, char *name, enum code_maker maker)
{
    *i = (struct integration){.name = name,
                              .maker = maker,
                              .code_digits = 6,
                              .code_valid_s = 300,
                              .code_checks = 5,
                              .resend_after_s = 30,
                              .sends_max = 3,
                              .sends_window_s = 600};
}

static void world_connect(struct world *w, uint32_t timeout_ms)
{
    struct store_options o = {.address = w->redis.address,
                              .timeout_ms = timeout_ms,
                              .pending_max = 100000,
                              .on_state = on_state,
                              .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    w->sessions = worker(w, "w1");
    w->others = worker(w, "w2");
}

static int setup(void **state)
{
    static char ours[] = "ours";
    static char theirs[] = "theirs";
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    integration_fill(&w->ours, ours, CODE_BY_OTPQ);
    integration_fill(&w->theirs, theirs, CODE_BY_ADVERTISER);
    world_connect(w, 2000);
    w->c = store_blocking(w->redis.address, NULL, 5000, error);
    assert_non_null(w->c);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    redisFree(w->c);
    session_store_destroy(&w->sessions);
    session_store_destroy(&w->others);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

/* ---- calls and waits ------------------------------------------------------------------------- */

static void tag_put(struct session_job *job)
{
    memcpy(job->tag, msisdn_tag(job->msisdn).text, sizeof job->tag);
}

static struct session_job a_job(const char *id, const struct integration *route)
{
    struct session_job job = {.job_id = slice_of(id),
                              .attempt = 1,
                              .fingerprint = 7,
                              .route = slice_of(route->name),
                              .msisdn = SLICE(NUMBER),
                              .party = SLICE("1001"),
                              .lease_ms = 5000};
    tag_put(&job);
    return job;
}

enum { BODIES = 16, BODY_BYTES_MAX = 4096 };

static const char *body_keep(struct slice from, struct job_result *result)
{
    static char bodies[BODIES][BODY_BYTES_MAX];
    static unsigned next;
    const char *error = NULL;
    char *to = bodies[next++ % BODIES];
    job_result_init(result);
    if (from.n > 0) {
        assert_true(from.n <= BODY_BYTES_MAX);
        memcpy(to, from.p, from.n);
        assert_true(job_result_decode(slice_make(to, from.n), result, &error));
    }
    return to;
}

static void on_claim(void *context, const struct claim *c)
{
    struct claimed *k = context;
    k->done = true;
    k->calls++;
    k->claim = *c;
    k->body = body_keep(c->result_body, &k->result);
}

static void on_finish(void *context, const struct finish *f)
{
    struct finished *k = context;
    k->done = true;
    k->finish = *f;
    k->body = body_keep(f->result_body, &k->result);
}

static void on_release(void *context, bool written)
{
    *(int *)context = written ? 1 : 0;
}

static void claim_send_by(struct world *w, struct session_store *by, struct session_job *job,
                          const struct integration *route, const char *rid, struct claimed *out)
{
    memset(out, 0, sizeof *out);
    session_claim_send(by, job, route, rid, on_claim, out);
    assert_true(loop_until(w->base, &out->done, 8000));
}

static void claim_verify_by(struct world *w, struct session_store *by, struct session_job *job,
                            const struct integration *route, const char *rid, const char *code,
                            struct claimed *out)
{
    memset(out, 0, sizeof *out);
    session_claim_verify(by, job, route, slice_of(rid), slice_of(code), on_claim, out);
    assert_true(loop_until(w->base, &out->done, 8000));
}

static const struct session_step some_steps[2] = {{"accepted", 1000, ""},
                                                  {"answer", 1010, "http \"200\""}};

static struct session_finish an_end(enum job_end end, enum result_code code,
                                    const struct job_result *result)
{
    return (struct session_finish){.end = end,
                                   .code = code,
                                   .result = result,
                                   .step_count = 2,
                                   .steps = some_steps,
                                   .user_id = SLICE("u1"),
                                   .advertiser_request_id = SLICE("adv-1")};
}

static void finish_by(struct world *w, struct session_store *by, const struct session_job *job,
                      const struct integration *route, const char *rid, bool verify,
                      enum job_end end, enum result_code code, const char *otp,
                      struct finished *out)
{
    struct job_result result;
    char mac[CODE_MAC_HEX + 1];
    job_result_init(&result);
    struct session_finish f = an_end(end, code, &result);
    if (otp != NULL) {
        code_mac(SLICE(PEPPER), slice_of(rid), slice_of(otp), mac);
        f.code_mac = slice_of(mac);
    }
    memset(out, 0, sizeof *out);
    if (verify) {
        session_finish_verify(by, job, route, rid, &f, on_finish, out);
    } else {
        session_finish_send(by, job, route, rid, &f, on_finish, out);
    }
    assert_true(loop_until(w->base, &out->done, 8000));
}

static bool release_as(struct world *w, struct session_store *by, const struct session_job *job,
                       const struct session_doubt *doubt)
{
    int said = -1;
    session_release(by, job, NULL, doubt, NULL, on_release, &said);
    int64_t until = clock_mono_ms() + 5000;
    while (said < 0 && clock_mono_ms() < until) {
        bool never = false;
        (void)loop_until(w->base, &never, 2);
    }
    assert_true(said >= 0);
    return said == 1;
}

static bool release_by(struct world *w, struct session_store *by, const struct session_job *job)
{
    return release_as(w, by, job, NULL);
}

/* A send from claim to end; gives the request id. */
static void send_whole(struct world *w, const char *id, const struct integration *route,
                       const char *otp, char rid[64])
{
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    char fresh[CODE_REQUEST_ID_MAX];
    struct claimed c;
    struct finished f;
    struct session_job job = a_job(id, route);
    code_request_id(tag.text, JOB_ID_TEXT, fresh);
    claim_send_by(w, w->sessions, &job, route, fresh, &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    (void)snprintf(rid, 64, "%s", c.claim.request_id);
    finish_by(w, w->sessions, &job, route, rid, false, JOB_END_DONE, RESULT_OTP_SENT, otp, &f);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
    assert_true(slice_is(f.result.response, "otp_sent"));
    assert_true(slice_is(f.result.request_id, rid));
    assert_int_equal(f.result.expires_in_s, route->code_valid_s);
}

static struct claimed verify_ours(struct world *w, const char *id, const char *rid, const char *otp)
{
    struct claimed c;
    struct session_job job = a_job(id, &w->ours);
    claim_verify_by(w, w->sessions, &job, &w->ours, rid, otp, &c);
    return c;
}

static struct claimed verify_theirs(struct world *w, const char *id, const char *rid,
                                    struct session_job *job)
{
    struct claimed c;
    *job = a_job(id, &w->theirs);
    claim_verify_by(w, w->sessions, job, &w->theirs, rid, "1234", &c);
    return c;
}

#define ask_redis(w, ...) ask_redis_of((w)->c, redisCommand((w)->c, __VA_ARGS__))
static long long ask_redis_of(redisContext *c, redisReply *r)
{
    (void)c;
    assert_non_null(r);
    assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
    long long number = r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10) : r->integer;
    freeReplyObject(r);
    return number;
}

/* How many events of a kind stand in the number's stream. */
static int events(struct world *w, const char *kind)
{
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    redisReply *r = redisCommand(w->c, "XRANGE otpq:ev:{%s} - +", tag.text);
    int n = 0;
    for (size_t i = 0; i < r->elements; i++) {
        const redisReply *fields = r->element[i]->element[1];
        n += strcmp(fields->element[1]->str, kind) == 0 ? 1 : 0;
    }
    freeReplyObject(r);
    return n;
}

static void session_set(struct world *w, const char *rid, const char *field, const char *value)
{
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    (void)ask_redis(w, "HSET otpq:s:{%s}:%s %s %s", tag.text, rid, field, value);
}

static void forget_velocity(struct world *w)
{
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    (void)ask_redis(w, "HDEL otpq:v:{%s}:ours:" NUMBER " sends", tag.text);
}

/* ---- sends ----------------------------------------------------------------------------------- */

static void test_send_and_its_repetitions(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct claimed c, again;
    struct finished f, once_more;
    struct session_job job = a_job("j1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    code_request_id(tag.text, JOB_ID_TEXT, rid);
    claim_send_by(w, w->sessions, &job, &w->theirs, rid, &c);
    claim_send_by(w, w->sessions, &job, &w->theirs, rid, &again);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_int_equal(again.claim.outcome, CLAIM_WON);
    assert_string_equal(c.claim.request_id, rid);
    assert_string_equal(again.claim.request_id, rid);
    finish_by(w, w->sessions, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT, NULL,
              &f);
    finish_by(w, w->sessions, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT, NULL,
              &once_more);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
    assert_int_equal(once_more.finish.outcome, FINISH_WRITTEN);
    assert_int_equal(f.finish.result_body.n, once_more.finish.result_body.n);
    assert_memory_equal(f.body, once_more.body, f.finish.result_body.n);
    assert_int_equal(events(w, "click"), 1);
    assert_int_equal(ask_redis(w, "LLEN otpq:t:{%s}:%s", tag.text, rid), 3);
    struct session_job copy = a_job("j1", &w->theirs);
    copy.attempt = 2;
    claim_send_by(w, w->others, &copy, &w->theirs, "r0", &c);
    assert_int_equal(c.claim.outcome, CLAIM_ENDED);
    assert_int_equal(c.claim.end, JOB_END_DONE);
    assert_int_equal(c.claim.code, RESULT_OTP_SENT);
    assert_true(slice_is(c.result.request_id, rid));
}

/* Of the key that says what an id stands for. */
static const char *identity_key(const char *id)
{
    static char key[96];
    (void)snprintf(key, sizeof key, "otpq:d:{%02x}:%s", (unsigned)(slice_hash(slice_of(id)) & 0xff),
                   id);
    return key;
}

/* The other body has another number, so its claim would have another key. */
static void test_one_id_one_body(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct session_job job = a_job("j1", &w->theirs);
    struct session_job moved = a_job("j1", &w->theirs);
    moved.msisdn = SLICE("66899999999");
    tag_put(&moved);
    moved.fingerprint = 8;
    claim_send_by(w, w->sessions, &job, &w->theirs, "r-a", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_true(ask_redis(w, "PTTL %s", identity_key("j1")) > 600000);
    long long keys = ask_redis(w, "DBSIZE");
    claim_send_by(w, w->others, &moved, &w->theirs, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_CONFLICT);
    claim_verify_by(w, w->others, &moved, &w->theirs, "", "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_CONFLICT);
    claim_verify_by(w, w->others, &moved, &w->ours, "r-b", "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_CONFLICT);
    assert_int_equal(ask_redis(w, "DBSIZE"), keys);
    claim_send_by(w, w->sessions, &job, &w->theirs, "r-a", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
}

static void test_one_winner(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("j1", &w->theirs);
    struct session_job copy = a_job("j1", &w->theirs);
    struct session_job other = a_job("j1", &w->theirs);
    struct session_job forged = a_job("j1", &w->theirs);
    claim_send_by(w, w->sessions, &job, &w->theirs, "r-a", &c);
    claim_send_by(w, w->sessions, &copy, &w->theirs, "r-b", &c); /* two brokers, one worker */
    assert_int_equal(c.claim.outcome, CLAIM_ELSEWHERE);
    assert_true(c.claim.wait_ms > 0 && c.claim.wait_ms <= 200);
    other.attempt = 2;
    claim_send_by(w, w->others, &other, &w->theirs, "r-c", &c);
    assert_int_equal(c.claim.outcome, CLAIM_ELSEWHERE);
    forged.fingerprint = 8;
    claim_send_by(w, w->others, &forged, &w->theirs, "r-d", &c);
    assert_int_equal(c.claim.outcome, CLAIM_CONFLICT);
    finish_by(w, w->others, &other, &w->theirs, "r-c", false, JOB_END_DONE, RESULT_OTP_SENT, NULL,
              &f);
    assert_int_equal(f.finish.outcome, FINISH_ELSEWHERE);
    assert_false(release_by(w, w->others, &other));
    assert_int_equal(events(w, "click"), 0);
}

static void test_release(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct session_job job = a_job("j1", &w->ours);
    struct session_job same_attempt = a_job("j1", &w->ours);
    struct session_job next = a_job("j1", &w->ours);
    claim_send_by(w, w->sessions, &job, &w->ours, "r-a", &c);
    assert_true(release_by(w, w->sessions, &job));
    assert_true(release_by(w, w->sessions, &job));
    claim_send_by(w, w->others, &same_attempt, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_STALE);
    assert_int_equal(c.claim.attempt_seen, 1);
    next.attempt = 2;
    claim_send_by(w, w->others, &next, &w->ours, "r-c", &c); /* no cooldown of its own making */
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_string_equal(c.claim.request_id, "r-a");
}

/* A release that overtakes its own claim leaves it nothing to win. */
static void test_release_before_claim(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct session_job job = a_job("j1", &w->theirs);
    job.token = 99;
    assert_true(release_by(w, w->sessions, &job));
    claim_send_by(w, w->sessions, &job, &w->theirs, "r-a", &c);
    assert_int_equal(c.claim.outcome, CLAIM_STALE);
    job.attempt = 2;
    claim_send_by(w, w->sessions, &job, &w->theirs, "r-a", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
}

static void nap(struct world *w, int64_t ms)
{
    bool never = false;
    (void)loop_until(w->base, &never, ms);
}

static void test_lease_over_is_unknown(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("j1", &w->theirs);
    struct session_job other = a_job("j1", &w->theirs);
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    char rid[CODE_REQUEST_ID_MAX];
    code_request_id(tag.text, JOB_ID_TEXT, rid);
    job.lease_ms = 50;
    claim_send_by(w, w->sessions, &job, &w->theirs, rid, &c);
    nap(w, 60);
    other.attempt = 2;
    claim_send_by(w, w->others, &other, &w->theirs, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_ENDED);
    assert_int_equal(c.claim.end, JOB_END_UNKNOWN);
    assert_int_equal(c.claim.code, RESULT_OUTCOME_UNKNOWN);
    assert_true(slice_is(c.result.request_id, rid));
    /* the owner was only slow: job and session learn the truth, once */
    for (int i = 0; i < 2; i++) {
        finish_by(w, w->sessions, &job, &w->theirs, rid, false, JOB_END_DONE, RESULT_OTP_SENT, NULL,
                  &f);
        assert_int_equal(f.finish.outcome, FINISH_LOST);
        assert_int_equal(f.finish.end, JOB_END_DONE);
        assert_int_equal(f.finish.code, RESULT_OTP_SENT);
    }
    assert_int_equal(events(w, "click"), 1);
    assert_int_equal(ask_redis(w, "LLEN otpq:t:{%s}:%s", tag.text, rid), 4);
}

/* One send's outcome comes after its lease, another one's before it. */
static void two_sends(struct world *w, const struct integration *route, char rids[2][64])
{
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("j1", route);
    struct session_job settle = a_job("j1", route);
    code_request_id(tag.text, JOB_ID_TEXT, rids[0]);
    job.lease_ms = 50;
    claim_send_by(w, w->sessions, &job, route, rids[0], &c);
    nap(w, 60);
    settle.attempt = 2;
    claim_send_by(w, w->others, &settle, route, "r-b", &c);
    assert_int_equal(c.claim.end, JOB_END_UNKNOWN);
    send_whole(w, "j2", route, "222222", rids[1]);
    finish_by(w, w->sessions, &job, route, rids[0], false, JOB_END_DONE, RESULT_OTP_SENT, "111111",
              &f);
    assert_int_equal(f.finish.outcome, FINISH_LOST);
}

static void test_the_newest_code_counts_whatever_comes_late(void **state)
{
    struct world *w = *state;
    char rids[2][64];
    w->ours.resend_after_s = 0;
    two_sends(w, &w->ours, rids);
    assert_string_equal(rids[0], rids[1]);
    assert_int_equal(verify_ours(w, "v1", rids[0], "111111").claim.code, RESULT_WRONG_OTP);
    assert_int_equal(verify_ours(w, "v2", rids[0], "222222").claim.code, RESULT_OTP_VERIFIED);
    assert_int_equal(events(w, "click"), 1);
}

static void test_the_newest_session_is_meant_whatever_comes_late(void **state)
{
    struct world *w = *state;
    char rids[2][64];
    struct session_job verify;
    two_sends(w, &w->theirs, rids);
    assert_string_not_equal(rids[0], rids[1]);
    assert_string_equal(verify_theirs(w, "v1", "", &verify).claim.request_id, rids[1]);
    assert_int_equal(events(w, "click"), 2);
}

static void test_lease_over_retried_by_policy(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("j1", &w->ours);
    struct session_job other = a_job("j1", &w->ours);
    w->ours.on_unknown = ON_UNKNOWN_RETRY;
    job.lease_ms = 50;
    claim_send_by(w, w->sessions, &job, &w->ours, "r-a", &c);
    assert_false(c.claim.unsure);
    nap(w, 60);
    claim_send_by(w, w->others, &other, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_STALE);
    other.attempt = 2;
    claim_send_by(w, w->others, &other, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_true(c.claim.unsure);
    assert_string_equal(c.claim.request_id, "r-a");
    finish_by(w, w->sessions, &job, &w->ours, "r-a", false, JOB_END_DONE, RESULT_OTP_SENT, "1", &f);
    assert_int_equal(f.finish.outcome, FINISH_ELSEWHERE); /* and no word of how it ended */
    assert_int_equal(f.finish.result_body.n, 0);
    finish_by(w, w->others, &other, &w->ours, "r-a", false, JOB_END_DONE, RESULT_OTP_SENT, "2", &f);
    finish_by(w, w->sessions, &job, &w->ours, "r-a", false, JOB_END_DONE, RESULT_OTP_SENT, "1", &f);
    assert_int_equal(f.finish.outcome, FINISH_LOST);
    assert_int_equal(f.finish.code, RESULT_OTP_SENT);
}

/* No time is left when the first one's lease is over: it is not sent again, and what may have come
 * of it is a session. */
static void test_a_settle_never_starts(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct claimed c;
    struct session_job verify;
    struct session_job job = a_job("j1", &w->theirs);
    struct session_job other = a_job("j1", &w->theirs);
    char rid[CODE_REQUEST_ID_MAX];
    code_request_id(tag.text, JOB_ID_TEXT, rid);
    w->theirs.on_unknown = ON_UNKNOWN_RETRY;
    job.lease_ms = 50;
    claim_send_by(w, w->sessions, &job, &w->theirs, rid, &c);
    nap(w, 60);
    other.attempt = 2;
    other.settle = true;
    claim_send_by(w, w->others, &other, &w->theirs, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_ENDED);
    assert_int_equal(c.claim.end, JOB_END_UNKNOWN);
    assert_true(slice_is(c.result.request_id, rid));
    assert_int_equal(verify_theirs(w, "v1", rid, &verify).claim.outcome, CLAIM_WON);
}

/* Released by the route's policy after a call of which nobody knows the outcome. */
static void claim_and_doubt(struct world *w, struct session_job *job, const char *rid)
{
    struct claimed c;
    char mac[CODE_MAC_HEX + 1];
    w->ours.on_unknown = ON_UNKNOWN_RETRY;
    claim_send_by(w, w->sessions, job, &w->ours, rid, &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    code_mac(SLICE(PEPPER), slice_of(rid), SLICE("123456"), mac);
    const struct session_doubt doubt = {.code_mac = slice_of(mac), .user_id = SLICE("u1")};
    assert_true(release_as(w, w->sessions, job, &doubt));
    assert_true(release_as(w, w->sessions, job, &doubt));
}

static void test_a_doubt_is_settled_as_unknown(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct claimed c;
    struct session_job job = a_job("j1", &w->ours);
    char rid[CODE_REQUEST_ID_MAX];
    code_request_id(tag.text, JOB_ID_TEXT, rid);
    claim_and_doubt(w, &job, rid);
    struct session_job settle = a_job("j1", &w->ours);
    settle.attempt = 2;
    settle.settle = true;
    claim_send_by(w, w->others, &settle, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_ENDED);
    assert_int_equal(c.claim.end, JOB_END_UNKNOWN);
    assert_int_equal(verify_ours(w, "v1", rid, "123456").claim.code, RESULT_OTP_VERIFIED);
}

/* The doubt is settled after a newer send: that one's code is still the newest. */
static void test_a_doubt_is_as_old_as_its_send(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct claimed c;
    struct session_job job = a_job("j1", &w->ours);
    char rid[64], second[64];
    code_request_id(tag.text, JOB_ID_TEXT, rid);
    w->ours.resend_after_s = 0;
    claim_and_doubt(w, &job, rid);
    nap(w, 5);
    send_whole(w, "j2", &w->ours, "222222", second);
    job.attempt = 2;
    job.token = 0;
    job.settle = true;
    claim_send_by(w, w->others, &job, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.end, JOB_END_UNKNOWN);
    assert_int_equal(verify_ours(w, "v1", "", "222222").claim.code, RESULT_OTP_VERIFIED);
}

/* The next run sends nothing: that says nothing of the one before. */
static void test_a_doubt_outlives_what_is_not_sent(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("j1", &w->ours);
    char rid[CODE_REQUEST_ID_MAX];
    code_request_id(tag.text, JOB_ID_TEXT, rid);
    claim_and_doubt(w, &job, rid);
    job.token = 0;
    job.attempt = 2;
    claim_send_by(w, w->others, &job, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON); /* no cooldown of its own making */
    assert_string_equal(c.claim.request_id, rid);
    assert_true(release_by(w, w->others, &job));
    job.token = 0;
    job.attempt = 3;
    claim_send_by(w, w->others, &job, &w->ours, "r-c", &c);
    assert_string_equal(c.claim.request_id, rid);
    finish_by(w, w->others, &job, &w->ours, rid, false, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED,
              NULL, &f);
    assert_int_equal(f.finish.end, JOB_END_UNKNOWN);
    assert_int_equal(f.finish.code, RESULT_OUTCOME_UNKNOWN);
    assert_int_equal(verify_ours(w, "v1", rid, "123456").claim.code, RESULT_OTP_VERIFIED);
    struct session_job soon = a_job("j2", &w->ours);
    claim_send_by(w, w->sessions, &soon, &w->ours, "r-d", &c);
    assert_int_equal(c.claim.code, RESULT_RESEND_TOO_SOON); /* it counts for the limits, once */
}

/* Whatever it was that kept the next run from sending. */
static void test_a_doubt_outlives_refusals_of_ours(void **state)
{
    struct world *w = *state;
    static const enum result_code codes[] = {RESULT_INVALID_REQUEST, RESULT_STORE_UNAVAILABLE,
                                             RESULT_RATE_LIMITED, RESULT_CONFLICT};
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    w->ours.resend_after_s = 0;
    w->ours.sends_max = 100;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        char id[16], rid[CODE_REQUEST_ID_MAX];
        struct claimed c;
        struct finished f;
        (void)snprintf(id, sizeof id, "j%zu", i);
        struct session_job job = a_job(id, &w->ours);
        code_request_id(tag.text, JOB_ID_TEXT, rid);
        (void)ask_redis(w, "DEL otpq:n:{%s}:1001:ours:" NUMBER, tag.text);
        claim_and_doubt(w, &job, rid);
        job.token = 0;
        job.attempt = 2;
        claim_send_by(w, w->others, &job, &w->ours, "r-b", &c);
        finish_by(w, w->others, &job, &w->ours, rid, false, JOB_END_REFUSED, codes[i], NULL, &f);
        assert_int_equal(f.finish.end, JOB_END_UNKNOWN);
        assert_int_equal(f.finish.code, RESULT_OUTCOME_UNKNOWN);
    }
}

/* The owner comes after its lease, but nobody asked meanwhile: what it says counts. */
static void test_finish_after_the_lease(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("j1", &w->theirs);
    job.lease_ms = 20;
    claim_send_by(w, w->sessions, &job, &w->theirs, "r-a", &c);
    nap(w, 30);
    finish_by(w, w->sessions, &job, &w->theirs, "r-a", false, JOB_END_DONE, RESULT_OTP_SENT, NULL,
              &f);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
}

static void test_cooldown_and_share(void **state)
{
    struct world *w = *state;
    char rid[64], second[64];
    struct claimed c;
    w->ours.resend_after_s = 30;
    send_whole(w, "j1", &w->ours, "111111", rid);
    struct session_job soon = a_job("j2", &w->ours);
    for (int i = 0; i < 2; i++) {
        claim_send_by(w, w->sessions, &soon, &w->ours, "r-b", &c);
        assert_int_equal(c.claim.outcome, CLAIM_REFUSED);
        assert_int_equal(c.claim.code, RESULT_RESEND_TOO_SOON);
        assert_true(c.result.retry_after_s >= 29 && c.result.retry_after_s <= 30);
        assert_true(slice_is(c.result.error, "resend_too_soon"));
        assert_true(slice_is(c.result.request_id, rid));
    }
    w->ours.resend_after_s = 0;
    send_whole(w, "j3", &w->ours, "222222", second);
    assert_string_equal(second, rid); /* a resend is the same session */
    assert_int_equal(verify_ours(w, "v1", rid, "111111").claim.code, RESULT_WRONG_OTP);
    send_whole(w, "j4", &w->ours, "333333", second);
    struct session_job fourth = a_job("j5", &w->ours);
    claim_send_by(w, w->sessions, &fourth, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.code, RESULT_TOO_MANY_SENDS);
    assert_true(c.result.retry_after_s >= 595 && c.result.retry_after_s <= 600);
    assert_int_equal(verify_ours(w, "v2", rid, "333333").claim.code, RESULT_OTP_VERIFIED);
    assert_int_equal(events(w, "click"), 1);
}

static void test_what_was_not_sent_does_not_count(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct finished f;
    const enum job_end ends[2] = {JOB_END_REFUSED, JOB_END_EXPIRED};
    const char *const ids[2] = {"j1", "j2"};
    for (int i = 0; i < 2; i++) {
        struct session_job job = a_job(ids[i], &w->ours);
        claim_send_by(w, w->sessions, &job, &w->ours, "r-a", &c);
        assert_int_equal(c.claim.outcome, CLAIM_WON);
        finish_by(w, w->sessions, &job, &w->ours, "r-a", false, ends[i], RESULT_MSISDN_BLOCKED, "1",
                  &f);
        assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
        assert_true(slice_is(f.result.error, "msisdn_blocked"));
        assert_int_equal(f.result.expires_in_s, -1);
    }
    struct session_job third = a_job("j3", &w->ours);
    claim_send_by(w, w->sessions, &third, &w->ours, "r-c", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_int_equal(events(w, "click"), 0);
}

/* ---- verifies of otpq's codes ---------------------------------------------------------------- */

static void test_verify_ours(void **state)
{
    struct world *w = *state;
    char rid[64];
    send_whole(w, "j1", &w->ours, "123456", rid);
    struct claimed c = verify_ours(w, "v1", rid, "654321");
    assert_int_equal(c.claim.outcome, CLAIM_ENDED);
    assert_int_equal(c.claim.end, JOB_END_REFUSED);
    assert_int_equal(c.claim.code, RESULT_WRONG_OTP);
    assert_int_equal(c.result.attempts_left, 4);
    assert_true(c.result.expires_in_s >= 299 && c.result.expires_in_s <= 300);
    c = verify_ours(w, "v1", rid, "654321"); /* another run of the same job: not counted twice */
    assert_int_equal(c.result.attempts_left, 4);
    c = verify_ours(w, "v2", "", "123456"); /* the newest session */
    assert_int_equal(c.claim.end, JOB_END_DONE);
    assert_true(slice_is(c.result.response, "otp_verified"));
    assert_true(slice_is(c.result.request_id, rid));
    c = verify_ours(w, "v2", "", "123456");
    assert_int_equal(c.claim.code, RESULT_OTP_VERIFIED);
    c = verify_ours(w, "v3", rid, "123456");
    assert_int_equal(c.claim.outcome, CLAIM_REFUSED);
    assert_int_equal(c.claim.code, RESULT_ALREADY_VERIFIED);
    assert_int_equal(events(w, "conversion"), 1);
    assert_int_equal(events(w, "click"), 1);
}

static void test_codes_of_odd_length(void **state)
{
    struct world *w = *state;
    char rid[64];
    send_whole(w, "j1", &w->ours, "123456", rid);
    assert_int_equal(verify_ours(w, "v1", rid, "").claim.code, RESULT_WRONG_OTP);
    assert_int_equal(verify_ours(w, "v2", rid, "12345").claim.code, RESULT_WRONG_OTP);
    assert_int_equal(verify_ours(w, "v3", rid, "1234567").claim.code, RESULT_WRONG_OTP);
}

static void test_not_found(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct claimed c;
    send_whole(w, "j1", &w->ours, "123456", rid);
    const char *const strange[4] = {"nonsense", "r00aaaaaaaaaaaaaaaaaaaa", "*", "s:*"};
    const char *const ids[4] = {"x1", "x2", "x3", "x4"};
    for (int i = 0; i < 4; i++) {
        c = verify_ours(w, ids[i], strange[i], "123456");
        assert_int_equal(c.claim.outcome, CLAIM_REFUSED);
        assert_int_equal(c.claim.code, RESULT_REQUEST_NOT_FOUND);
    }
    struct session_job of_other_affiliate = a_job("v1", &w->ours);
    of_other_affiliate.party = SLICE("1002");
    claim_verify_by(w, w->sessions, &of_other_affiliate, &w->ours, rid, "123456", &c);
    assert_int_equal(c.claim.code, RESULT_REQUEST_NOT_FOUND);
    struct session_job of_other_route = a_job("v2", &w->theirs);
    claim_verify_by(w, w->sessions, &of_other_route, &w->theirs, rid, "123456", &c);
    assert_int_equal(c.claim.code, RESULT_REQUEST_NOT_FOUND);
    struct session_job of_other_number = a_job("v3", &w->ours);
    of_other_number.msisdn = SLICE("66812345679");
    tag_put(&of_other_number);
    claim_verify_by(w, w->sessions, &of_other_number, &w->ours, rid, "123456", &c);
    assert_int_equal(c.claim.code, RESULT_REQUEST_NOT_FOUND);
    of_other_number.job_id = SLICE("v4");
    claim_verify_by(w, w->sessions, &of_other_number, &w->ours, "", "123456", &c);
    assert_int_equal(c.claim.code, RESULT_REQUEST_NOT_FOUND);
    assert_int_equal(events(w, "conversion"), 0);
}

static void test_expired(void **state)
{
    struct world *w = *state;
    char rid[64], other[64];
    send_whole(w, "j1", &w->ours, "123456", rid);
    session_set(w, rid, "exp", "1000");
    assert_int_equal(verify_ours(w, "v1", rid, "123456").claim.code, RESULT_OTP_EXPIRED);
    assert_int_equal(verify_ours(w, "v2", "", "123456").claim.code, RESULT_OTP_EXPIRED);
    forget_velocity(w);
    send_whole(w, "j2", &w->ours, "222222", other);
    assert_string_not_equal(rid, other); /* an expired session is not sent again */
    assert_int_equal(events(w, "click"), 2);
}

static void test_checks_run_out(void **state)
{
    struct world *w = *state;
    char rid[64], other[64];
    const char *const ids[5] = {"v1", "v2", "v3", "v4", "v5"};
    send_whole(w, "j1", &w->ours, "123456", rid);
    for (int i = 0; i < 5; i++) {
        struct claimed c = verify_ours(w, ids[i], rid, "000000");
        assert_int_equal(c.claim.code, RESULT_WRONG_OTP);
        assert_int_equal(c.result.attempts_left, 4 - i);
    }
    struct claimed c = verify_ours(w, "v6", rid, "123456");
    assert_int_equal(c.claim.code, RESULT_TOO_MANY_ATTEMPTS);
    assert_int_equal(c.result.attempts_left, 0);
    /* a new session does not give new guesses */
    forget_velocity(w);
    send_whole(w, "j2", &w->ours, "222222", other);
    assert_string_not_equal(rid, other);
    c = verify_ours(w, "v7", other, "222222");
    assert_int_equal(c.claim.code, RESULT_TOO_MANY_ATTEMPTS);
    assert_true(c.result.retry_after_s > 590 && c.result.retry_after_s <= 600);
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    (void)ask_redis(w, "HSET otpq:v:{%s}:ours:" NUMBER " failed_until 1000", tag.text);
    assert_int_equal(verify_ours(w, "v8", other, "222222").claim.code, RESULT_OTP_VERIFIED);
}

enum { MANY = 1000 };

static void test_a_thousand_at_once(void **state)
{
    struct world *w = *state;
    static struct claimed c[MANY];
    static struct session_job jobs[MANY];
    static char ids[MANY][16];
    char rid[64];
    memset(c, 0, sizeof c);
    send_whole(w, "j1", &w->ours, "123456", rid);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "v%d", i);
        jobs[i] = a_job(ids[i], &w->ours);
        session_claim_verify(i % 2 == 0 ? w->sessions : w->others, &jobs[i], &w->ours,
                             i % 3 == 0 ? SLICE("") : slice_of(rid), SLICE("123456"), on_claim,
                             &c[i]);
    }
    int verified = 0;
    for (int i = 0; i < MANY; i++) {
        assert_true(loop_until(w->base, &c[i].done, 10000));
        assert_int_equal(c[i].calls, 1);
        verified += c[i].claim.code == RESULT_OTP_VERIFIED ? 1 : 0;
        assert_true(c[i].claim.code == RESULT_OTP_VERIFIED ||
                    c[i].claim.code == RESULT_ALREADY_VERIFIED);
    }
    assert_int_equal(verified, 1);
    assert_int_equal(events(w, "conversion"), 1);
}

/* ---- verifies at the advertiser -------------------------------------------------------------- */

static void test_verify_theirs(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job, second;
    struct finished f;
    send_whole(w, "j1", &w->theirs, NULL, rid);
    struct claimed c = verify_theirs(w, "v1", rid, &job);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_string_equal(c.claim.request_id, rid);
    assert_string_equal(c.claim.advertiser_request_id, "adv-1");
    assert_int_equal(c.claim.attempts_left, 5);
    c = verify_theirs(w, "v2", "", &second);
    assert_int_equal(c.claim.outcome, CLAIM_BUSY);
    assert_true(c.claim.wait_ms > 0);
    for (int i = 0; i < 2; i++) {
        finish_by(w, w->sessions, &job, &w->theirs, rid, true, JOB_END_REFUSED, RESULT_WRONG_OTP,
                  NULL, &f);
        assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
        assert_int_equal(f.result.attempts_left, 4);
        assert_true(f.result.expires_in_s >= 299);
    }
    claim_verify_by(w, w->sessions, &second, &w->theirs, "", "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_int_equal(c.claim.attempts_left, 4);
    for (int i = 0; i < 2; i++) {
        finish_by(w, w->sessions, &second, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED,
                  NULL, &f);
        assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
        assert_true(slice_is(f.result.response, "otp_verified"));
    }
    assert_int_equal(verify_theirs(w, "v3", rid, &job).claim.code, RESULT_ALREADY_VERIFIED);
    assert_int_equal(events(w, "conversion"), 1);
}

static void test_theirs_checks_run_out(void **state)
{
    struct world *w = *state;
    char rid[64];
    const char *const ids[5] = {"v1", "v2", "v3", "v4", "v5"};
    struct session_job job;
    struct finished f;
    send_whole(w, "j1", &w->theirs, NULL, rid);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(verify_theirs(w, ids[i], rid, &job).claim.outcome, CLAIM_WON);
        finish_by(w, w->sessions, &job, &w->theirs, rid, true, JOB_END_REFUSED, RESULT_WRONG_OTP,
                  NULL, &f);
    }
    assert_int_equal(verify_theirs(w, "v6", rid, &job).claim.code, RESULT_TOO_MANY_ATTEMPTS);
}

static void test_verify_released(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job, second;
    send_whole(w, "j1", &w->theirs, NULL, rid);
    assert_int_equal(verify_theirs(w, "v1", rid, &job).claim.outcome, CLAIM_WON);
    assert_true(release_by(w, w->sessions, &job));
    assert_int_equal(verify_theirs(w, "v2", rid, &second).claim.outcome, CLAIM_WON);
}

/* The verifying worker dies: its job is unknown, never repeated; the session can be tried again. A
 * late answer makes it verified, with one conversion, whatever else was tried. */
static void test_verify_lease_over(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("v1", &w->theirs);
    struct session_job copy = a_job("v1", &w->theirs);
    struct session_job second;
    w->theirs.on_unknown = ON_UNKNOWN_RETRY; /* means sends only */
    send_whole(w, "j1", &w->theirs, NULL, rid);
    job.lease_ms = 50;
    claim_verify_by(w, w->sessions, &job, &w->theirs, rid, "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    nap(w, 60);
    copy.attempt = 2;
    claim_verify_by(w, w->others, &copy, &w->theirs, rid, "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_ENDED);
    assert_int_equal(c.claim.end, JOB_END_UNKNOWN);
    assert_int_equal(verify_theirs(w, "v2", rid, &second).claim.outcome, CLAIM_WON);
    for (int i = 0; i < 2; i++) {
        finish_by(w, w->sessions, &job, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED,
                  NULL, &f);
        assert_int_equal(f.finish.outcome, FINISH_LOST);
    }
    finish_by(w, w->sessions, &second, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED,
              NULL, &f);
    assert_int_equal(f.finish.code, RESULT_ALREADY_VERIFIED);
    assert_true(slice_is(f.result.error, "already_verified"));
    assert_int_equal(events(w, "conversion"), 1);
}

/* A claim asked again after its lease, when another verify of the session was faster: one call at a
 * time, and none once it is verified. */
static void test_verify_asked_again_too_late(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("v1", &w->theirs);
    struct session_job second;
    send_whole(w, "j1", &w->theirs, NULL, rid);
    job.lease_ms = 50;
    claim_verify_by(w, w->sessions, &job, &w->theirs, rid, "1", &c);
    nap(w, 60);
    claim_verify_by(w, w->sessions, &job, &w->theirs, rid, "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON); /* nobody came between */
    nap(w, 60);
    assert_int_equal(verify_theirs(w, "v2", rid, &second).claim.outcome, CLAIM_WON);
    claim_verify_by(w, w->sessions, &job, &w->theirs, rid, "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_BUSY);
    finish_by(w, w->sessions, &second, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED,
              NULL, &f);
    claim_verify_by(w, w->sessions, &job, &w->theirs, rid, "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_REFUSED);
    assert_int_equal(c.claim.code, RESULT_ALREADY_VERIFIED);
}

/* A send whose outcome is unknown can be verified: the code may have arrived. */
static void test_verify_after_unknown_send(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct claimed c;
    struct finished f;
    struct session_job job = a_job("j1", &w->ours);
    char rid[CODE_REQUEST_ID_MAX];
    code_request_id(tag.text, JOB_ID_TEXT, rid);
    claim_send_by(w, w->sessions, &job, &w->ours, rid, &c);
    finish_by(w, w->sessions, &job, &w->ours, rid, false, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN,
              "123456", &f);
    assert_int_equal(events(w, "click"), 0);
    assert_int_equal(verify_ours(w, "v1", rid, "123456").claim.code, RESULT_OTP_VERIFIED);
    assert_int_equal(events(w, "click"), 1); /* it had been sent */
    assert_int_equal(events(w, "conversion"), 1);
}

/* ---- the store's own troubles ---------------------------------------------------------------- */

static void test_store_down(void **state)
{
    struct world *w = *state;
    struct claimed c;
    redis_fixture_stop(&w->redis);
    nap(w, 50);
    struct session_job job = a_job("j1", &w->theirs);
    memset(&c, 0, sizeof c);
    session_claim_send(w->sessions, &job, &w->theirs, "r-a", on_claim, &c);
    assert_false(c.done); /* never from below */
    assert_true(loop_until(w->base, &c.done, 1000));
    assert_int_equal(c.claim.outcome, CLAIM_NO_STORE);
    claim_verify_by(w, w->sessions, &job, &w->theirs, "", "1", &c);
    assert_int_equal(c.claim.outcome, CLAIM_NO_STORE);
    redis_fixture_start(&w->redis, NULL, NULL);
    assert_true(loop_until(w->base, &w->up, 5000));
    claim_send_by(w, w->sessions, &job, &w->theirs, "r-a", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
}

/* The claim goes out, the server freezes: the claim is given up as NO_STORE although it may have
 * been won. When the server thaws, it is released, and the next attempt wins before any lease. */
static void test_claim_in_doubt_is_released(void **state)
{
    struct world *w = *state;
    struct claimed c;
    session_store_destroy(&w->sessions);
    session_store_destroy(&w->others);
    store_destroy(&w->store);
    w->up = false;
    world_connect(w, 100);
    struct session_job job = a_job("j1", &w->ours);
    job.lease_ms = 60000;
    memset(&c, 0, sizeof c);
    session_claim_send(w->sessions, &job, &w->ours, "r-a", on_claim, &c);
    (void)event_base_loop(w->base, EVLOOP_ONCE);
    while (ask_redis(w, "EXISTS %s", identity_key("j1")) == 0) {
        (void)usleep(1000); /* the answer waits in our socket */
    }
    redis_fixture_freeze(&w->redis);
    assert_true(loop_until(w->base, &c.done, 8000));
    assert_int_equal(c.claim.outcome, CLAIM_NO_STORE);
    redis_fixture_thaw(&w->redis);
    assert_true(loop_until(w->base, &w->up, 5000));
    struct session_job next = a_job("j1", &w->ours);
    next.attempt = 2;
    int64_t until = clock_mono_ms() + 5000;
    do {
        claim_send_by(w, w->others, &next, &w->ours, "r-b", &c);
    } while (c.claim.outcome == CLAIM_ELSEWHERE && clock_mono_ms() < until);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    assert_int_equal(c.calls, 1);
}

/* A short freeze: the claim and the finish are asked again and get through; nothing twice. */
static void test_short_freeze(void **state)
{
    struct world *w = *state;
    struct claimed c = {0};
    struct finished f = {0};
    struct job_result result;
    session_store_destroy(&w->sessions);
    session_store_destroy(&w->others);
    store_destroy(&w->store);
    w->up = false;
    world_connect(w, 60);
    struct session_job job = a_job("j1", &w->ours);
    redis_fixture_freeze(&w->redis);
    session_claim_send(w->sessions, &job, &w->ours, "r-a", on_claim, &c);
    nap(w, 150);
    redis_fixture_thaw(&w->redis);
    assert_true(loop_until(w->base, &c.done, 5000));
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    job_result_init(&result);
    struct session_finish end = an_end(JOB_END_DONE, RESULT_OTP_SENT, &result);
    redis_fixture_freeze(&w->redis);
    session_finish_send(w->sessions, &job, &w->ours, "r-a", &end, on_finish, &f);
    nap(w, 150);
    redis_fixture_thaw(&w->redis);
    assert_true(loop_until(w->base, &f.done, 5000));
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
    assert_int_equal(events(w, "click"), 1);
}

static void test_destroyed_with_calls_out(void **state)
{
    struct world *w = *state;
    struct claimed c[2] = {{0}};
    struct session_job jobs[2] = {a_job("j1", &w->theirs), a_job("v1", &w->theirs)};
    session_claim_send(w->sessions, &jobs[0], &w->theirs, "r-a", on_claim, &c[0]);
    session_claim_verify(w->sessions, &jobs[1], &w->theirs, SLICE(""), SLICE("1"), on_claim, &c[1]);
    session_store_destroy(&w->sessions);
    nap(w, 50);
    assert_false(c[0].done || c[1].done);
}

/* ---- what lies in Redis ---------------------------------------------------------------------- */

static bool has_text(const redisReply *r, const char *text)
{
    if (r->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < r->elements; i++) {
            if (has_text(r->element[i], text)) {
                return true;
            }
        }
        return false;
    }
    return r->str != NULL && memmem(r->str, r->len, text, strlen(text)) != NULL;
}

/* DUMP would be compressed: every type is read by its own command. */
static redisReply *read_key(redisContext *c, const char *key)
{
    redisReply *type = redisCommand(c, "TYPE %s", key);
    const char *fmt = strcmp(type->str, "hash") == 0     ? "HGETALL %s"
                      : strcmp(type->str, "list") == 0   ? "LRANGE %s 0 -1"
                      : strcmp(type->str, "stream") == 0 ? "XRANGE %s - +"
                                                         : "GET %s";
    redisReply *r = redisCommand(c, fmt, key);
    freeReplyObject(type);
    return r;
}

static void test_nothing_plain_and_everything_ends(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job;
    struct finished f;
    send_whole(w, "j1", &w->ours, "731852", rid);
    (void)verify_ours(w, "v1", rid, "960174");
    (void)verify_ours(w, "v2", rid, "731852");
    send_whole(w, "j2", &w->theirs, NULL, rid);
    (void)verify_theirs(w, "v3", rid, &job);
    finish_by(w, w->sessions, &job, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED, NULL,
              &f);
    (void)verify_ours(w, "v4", "nonsense", "731852");
    redisReply *keys = redisCommand(w->c, "KEYS *");
    assert_true(keys->elements >= 12);
    for (size_t i = 0; i < keys->elements; i++) {
        const char *key = keys->element[i]->str;
        assert_true(ask_redis(w, "PTTL %s", key) > 0);
        redisReply *value = read_key(w->c, key);
        assert_false(has_text(value, "731852"));
        assert_false(has_text(value, "960174"));
        if (strncmp(key, "otpq:ev:", 8) == 0 || strncmp(key, "otpq:t:", 7) == 0) {
            assert_false(has_text(value, NUMBER));
        }
        freeReplyObject(value);
    }
    freeReplyObject(keys);
}

static void test_time_line_is_json_and_bounded(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    char rid[64];
    send_whole(w, "j1", &w->ours, "123456", rid);
    redisReply *r = redisCommand(w->c, "LINDEX otpq:t:{%s}:%s 1", tag.text, rid);
    assert_string_equal(r->str,
                        "{\"at_ms\":1010,\"step\":\"answer\",\"job\":\"j1\",\"op\":\"send\","
                        "\"detail\":\"http \\\"200\\\"\"}");
    freeReplyObject(r);
    for (int i = 0; i < 120; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "v%d", i);
        (void)verify_ours(w, id, rid, "0");
    }
    assert_int_equal(ask_redis(w, "LLEN otpq:t:{%s}:%s", tag.text, rid), 100);
}

/* ---- whose it is, and who is told -------------------------------------------------------------
 */

/* A job of an account that is told what becomes of its requests. */
static struct session_job account_job(const char *id, const struct integration *route)
{
    struct session_job job = a_job(id, route);
    job.party = SLICE("account:demo");
    job.facts.eid = SLICE("order-7");
    job.facts.lane = SLICE("account:demo");
    job.facts.country = SLICE("TH");
    return job;
}

static void send_job(struct world *w, struct session_job *job, const struct integration *route,
                     enum job_id_form form, const char *otp, char rid[64])
{
    char fresh[CODE_REQUEST_ID_MAX];
    struct claimed c;
    struct finished f;
    code_request_id(job->tag, form, fresh);
    claim_send_by(w, w->sessions, job, route, fresh, &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    (void)snprintf(rid, 64, "%s", c.claim.request_id);
    finish_by(w, w->sessions, job, route, rid, false, JOB_END_DONE, RESULT_OTP_SENT, otp, &f);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
    finish_by(w, w->sessions, job, route, rid, false, JOB_END_DONE, RESULT_OTP_SENT, otp, &f);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
}

static struct claimed verify_job(struct world *w, struct session_job *job,
                                 const struct integration *route, const char *rid, const char *otp)
{
    struct claimed c;
    claim_verify_by(w, w->sessions, job, route, rid, otp, &c);
    return c;
}

/* How many tasks of a kind the outbox has under the number's tag; the lane and due time of the last
 * one. */
static int tasks(struct world *w, const char *tag, const char *kind, char lane[65], long long *due)
{
    redisReply *ids = redisCommand(w->c, "ZRANGE otpq:due:{%s} 0 -1", tag);
    int n = 0;
    for (size_t i = 0; i < ids->elements; i++) {
        redisReply *o =
            redisCommand(w->c, "HMGET otpq:o:{%s}:%s kind lane next", tag, ids->element[i]->str);
        if (strcmp(o->element[0]->str, kind) == 0) {
            n++;
            (void)snprintf(lane, 65, "%s", o->element[1]->str);
            *due = strtoll(o->element[2]->str, NULL, 10);
        }
        freeReplyObject(o);
    }
    freeReplyObject(ids);
    return n;
}

static void assert_task(struct world *w, const char *tag, const char *kind, const char *lane,
                        int64_t in_ms)
{
    char in_lane[65] = "";
    long long due = 0;
    assert_int_equal(tasks(w, tag, kind, in_lane, &due), 1);
    assert_string_equal(in_lane, lane);
    int64_t off_ms = due - clock_wall_ms() - in_ms;
    assert_in_range(off_ms + 60000, 0, 61000);
}

static void assert_no_task(struct world *w, const char *tag, const char *kind)
{
    char lane[65];
    long long due;
    assert_int_equal(tasks(w, tag, kind, lane, &due), 0);
}

static void session_is(struct world *w, const char *rid, const char *field, const char *value)
{
    char tag[3];
    assert_true(code_request_tag(slice_of(rid), tag));
    redisReply *r = redisCommand(w->c, "HGET otpq:s:{%s}:%s %s", tag, rid, field);
    assert_int_equal(r->type, value == NULL ? REDIS_REPLY_NIL : REDIS_REPLY_STRING);
    if (value != NULL) {
        assert_string_equal(r->str, value);
    }
    freeReplyObject(r);
}

/* System 3 names the request alone, and the request knows whose number it was. */
static void test_verify_by_request_id_alone(void **state)
{
    struct world *w = *state;
    static const enum job_id_form forms[] = {JOB_ID_NUMBER, JOB_ID_TOKEN, JOB_ID_TEXT};
    w->ours.resend_after_s = 0;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        char id[2][16], rid[64];
        (void)snprintf(id[0], sizeof id[0], "s%zu", i);
        (void)snprintf(id[1], sizeof id[1], "v%zu", i);
        struct session_job send = account_job(id[0], &w->ours);
        send_job(w, &send, &w->ours, forms[i], "123456", rid);
        struct session_job verify = account_job(id[1], &w->ours);
        verify.msisdn = SLICE("");
        verify.facts = (struct session_facts){0};
        struct session_job strangers = verify;
        strangers.job_id = SLICE("x");
        strangers.party = SLICE("account:other");
        assert_int_equal(verify_job(w, &strangers, &w->ours, rid, "123456").claim.code,
                         RESULT_REQUEST_NOT_FOUND);
        (void)ask_redis(w, "DEL otpq:j:{%s}:x %s", verify.tag, identity_key("x"));
        struct claimed c = verify_job(w, &verify, &w->ours, rid, "123456");
        assert_int_equal(c.claim.code, RESULT_OTP_VERIFIED);
        assert_string_equal(c.claim.msisdn, NUMBER);
        assert_true(slice_is(c.result.eid, "order-7"));
        assert_true(slice_is(c.result.request_id, rid));
    }
    assert_int_equal(events(w, "conversion"), 3);
}

static void test_a_session_keeps_its_facts(void **state)
{
    struct world *w = *state;
    char rid[64], again[64];
    struct session_job job = account_job("s1", &w->ours);
    job.via = SLICE("other");
    job.facts.url = SLICE("https://x/1");
    job.facts.ft = SLICE("2");
    send_job(w, &job, &w->ours, JOB_ID_TEXT, "123456", rid);
    session_is(w, rid, "aid", "account:demo");
    session_is(w, rid, "eid", "order-7");
    session_is(w, rid, "lane", "account:demo");
    session_is(w, rid, "country", "TH");
    session_is(w, rid, "via", "other");
    session_is(w, rid, "url", "https://x/1");
    session_is(w, rid, "ft", "2");
    session_is(w, rid, "job", "s1");
    session_is(w, rid, "masked", "668*****678");
    session_is(w, rid, "sealed", NULL);
    w->ours.resend_after_s = 0;
    struct session_job resend = account_job("s2", &w->ours);
    resend.facts.eid = SLICE("");
    send_job(w, &resend, &w->ours, JOB_ID_TEXT, "222222", again);
    assert_string_equal(again, rid);
    session_is(w, rid, "eid", NULL); /* the newest send's, and that one had none */
    session_is(w, rid, "via", NULL);
    session_is(w, rid, "job", "s2");
}

static void test_events_name_the_country(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job = account_job("s1", &w->ours);
    send_job(w, &job, &w->ours, JOB_ID_TEXT, "123456", rid);
    redisReply *r = redisCommand(w->c, "XRANGE otpq:ev:{%s} - +", job.tag);
    assert_int_equal(r->elements, 1);
    const redisReply *fields = r->element[0]->element[1];
    assert_string_equal(fields->element[fields->elements - 2]->str, "country");
    assert_string_equal(fields->element[fields->elements - 1]->str, "TH");
    freeReplyObject(r);
}

static void test_an_account_is_told(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job = account_job("s1", &w->ours);
    send_job(w, &job, &w->ours, JOB_ID_NUMBER, "123456", rid);
    assert_task(w, job.tag, "status", "account:demo", 0);
    struct session_job verify = account_job("v1", &w->ours);
    (void)verify_job(w, &verify, &w->ours, rid, "000000");
    (void)verify_job(w, &verify, &w->ours, rid, "000000"); /* asked again: told once */
    assert_task(w, job.tag, "result", "account:demo", 0);
    verify = account_job("v2", &w->ours);
    assert_int_equal(verify_job(w, &verify, &w->ours, rid, "123456").claim.code,
                     RESULT_OTP_VERIFIED);
    char lane[65];
    long long due;
    assert_int_equal(tasks(w, job.tag, "result", lane, &due), 2);
    assert_no_task(w, job.tag, "postback");
    assert_no_task(w, job.tag, "push");
}

/* Where delivery reports come, one of them tells; the task waits for it until the validity ends. */
static void test_a_status_waits_for_its_report(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job = account_job("s1", &w->ours);
    job.reports = true;
    send_job(w, &job, &w->ours, JOB_ID_NUMBER, "123456", rid);
    assert_task(w, job.tag, "status", "account:demo", 300000);
}

static void test_an_account_is_told_of_a_refusal(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct finished f;
    char rid[CODE_REQUEST_ID_MAX];
    struct session_job job = account_job("s1", &w->ours);
    job.reports = true;
    code_request_id(job.tag, JOB_ID_NUMBER, rid);
    claim_send_by(w, w->sessions, &job, &w->ours, rid, &c);
    finish_by(w, w->sessions, &job, &w->ours, rid, false, JOB_END_REFUSED, RESULT_MSISDN_BLOCKED,
              NULL, &f);
    assert_task(w, job.tag, "status", "account:demo", 0);
}

/* Only a lease's end tells of a run that died; then only once. */
static void test_an_account_is_told_of_an_unknown_end(void **state)
{
    struct world *w = *state;
    struct claimed c;
    char rid[CODE_REQUEST_ID_MAX];
    struct session_job job = account_job("s1", &w->ours);
    struct session_job other = account_job("s1", &w->ours);
    job.lease_ms = 30;
    code_request_id(job.tag, JOB_ID_NUMBER, rid);
    claim_send_by(w, w->sessions, &job, &w->ours, rid, &c);
    nap(w, 40);
    other.attempt = 2;
    claim_send_by(w, w->others, &other, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.end, JOB_END_UNKNOWN);
    struct finished f;
    finish_by(w, w->sessions, &job, &w->ours, rid, false, JOB_END_DONE, RESULT_OTP_SENT, "123456",
              &f);
    assert_int_equal(f.finish.outcome, FINISH_LOST);
    assert_task(w, job.tag, "status", "account:demo", 0);
}

/* Once of the unknown end, and again when it turns out to have been right after all. */
static void test_an_account_is_told_of_an_unknown_verify(void **state)
{
    struct world *w = *state;
    char rid[64], lane[65];
    long long due;
    struct finished f;
    struct session_job job = account_job("s1", &w->theirs);
    struct session_job verify = account_job("v1", &w->theirs);
    struct session_job other = account_job("v1", &w->theirs);
    send_job(w, &job, &w->theirs, JOB_ID_NUMBER, NULL, rid);
    verify.lease_ms = 30;
    assert_int_equal(verify_job(w, &verify, &w->theirs, rid, "1").claim.outcome, CLAIM_WON);
    nap(w, 40);
    other.attempt = 2;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(verify_job(w, &other, &w->theirs, rid, "1").claim.end, JOB_END_UNKNOWN);
        assert_task(w, job.tag, "result", "account:demo", 0);
    }
    /* As if that had been told by now. */
    redisReply *ids = redisCommand(w->c, "ZRANGE otpq:due:{%s} 0 -1", job.tag);
    for (size_t i = 0; i < ids->elements; i++) {
        (void)ask_redis(w, "HSET otpq:o:{%s}:%s n 1", job.tag, ids->element[i]->str);
    }
    freeReplyObject(ids);
    for (int i = 0; i < 2; i++) {
        finish_by(w, w->sessions, &verify, &w->theirs, rid, true, JOB_END_DONE, RESULT_OTP_VERIFIED,
                  NULL, &f);
        assert_int_equal(f.finish.outcome, FINISH_LOST);
        assert_int_equal(tasks(w, job.tag, "result", lane, &due), 2);
    }
}

/* What is told of a resend that was refused is its own. */
static void test_a_status_is_of_its_own_send(void **state)
{
    struct world *w = *state;
    struct claimed c;
    struct finished f;
    char rid[64];
    struct session_job job = account_job("s1", &w->ours);
    struct session_job resend = account_job("s2", &w->ours);
    w->ours.resend_after_s = 0;
    send_job(w, &job, &w->ours, JOB_ID_NUMBER, "123456", rid);
    resend.facts.eid = SLICE("order-8");
    claim_send_by(w, w->sessions, &resend, &w->ours, "r-b", &c);
    assert_string_equal(c.claim.request_id, rid);
    finish_by(w, w->sessions, &resend, &w->ours, rid, false, JOB_END_REFUSED, RESULT_MSISDN_BLOCKED,
              NULL, &f);
    int found = 0;
    redisReply *ids = redisCommand(w->c, "ZRANGE otpq:due:{%s} 0 -1", job.tag);
    assert_int_equal(ids->elements, 2);
    for (size_t i = 0; i < ids->elements; i++) {
        redisReply *data =
            redisCommand(w->c, "HGET otpq:o:{%s}:%s data", job.tag, ids->element[i]->str);
        bool refused = memmem(data->str, data->len, "msisdn_blocked", 14) != NULL;
        bool eighth = memmem(data->str, data->len, "order-8", 7) != NULL;
        assert_int_equal(refused, eighth);
        found += refused ? 1 : 0;
        freeReplyObject(data);
    }
    freeReplyObject(ids);
    assert_int_equal(found, 1);
}

static void test_an_affiliate_is_told_of_its_conversion_once(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job = a_job("s1", &w->ours);
    job.facts.ctx = SLICE("\x81\xa4type\xa1x");
    send_job(w, &job, &w->ours, JOB_ID_TEXT, "123456", rid);
    assert_no_task(w, job.tag, "status");
    struct session_job verify = a_job("v1", &w->ours);
    verify.postback = true;
    (void)verify_job(w, &verify, &w->ours, rid, "000000");
    assert_no_task(w, job.tag, "postback");
    verify = a_job("v2", &w->ours);
    verify.postback = true;
    (void)verify_job(w, &verify, &w->ours, rid, "123456");
    (void)verify_job(w, &verify, &w->ours, rid, "123456");
    verify = a_job("v3", &w->ours);
    verify.postback = true;
    (void)verify_job(w, &verify, &w->ours, rid, "123456");
    assert_task(w, job.tag, "postback", "affiliate:1001", 0);
    assert_no_task(w, job.tag, "result");
}

/* ---- links and flash --------------------------------------------------------------------------
 */

static struct session_job link_job(const char *id, const struct world *w)
{
    struct session_job job = a_job(id, &w->theirs);
    job.link = true;
    return job;
}

static enum result_code finish_link(struct world *w, struct session_job *job, const char *rid,
                                    enum job_end end, enum result_code code)
{
    struct finished f;
    finish_by(w, w->sessions, job, &w->theirs, rid, true, end, code, NULL, &f);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
    return f.finish.code;
}

static void test_a_link_is_asked_for_its_state(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job send = link_job("s1", w);
    send_job(w, &send, &w->theirs, JOB_ID_TEXT, NULL, rid);
    assert_task(w, send.tag, "poll", "theirs", 2000);
    for (int i = 0; i < 20; i++) { /* many times more than checks */
        char id[16];
        (void)snprintf(id, sizeof id, "p%d", i);
        struct session_job asks = link_job(id, w);
        assert_int_equal(verify_job(w, &asks, &w->theirs, rid, "0").claim.outcome, CLAIM_WON);
        assert_int_equal(finish_link(w, &asks, rid, JOB_END_REFUSED, RESULT_WRONG_OTP),
                         RESULT_WRONG_OTP);
    }
    struct session_job asks = link_job("v1", w);
    struct session_job meanwhile = link_job("v2", w);
    asks.facts.mobile = SLICE("66812345678");
    asks.facts.sender = SLICE("1008611");
    assert_int_equal(verify_job(w, &asks, &w->theirs, rid, "0").claim.outcome, CLAIM_WON);
    assert_int_equal(finish_link(w, &asks, rid, JOB_END_DONE, RESULT_OTP_VERIFIED),
                     RESULT_OTP_VERIFIED);
    struct claimed c = verify_job(w, &meanwhile, &w->theirs, rid, "0");
    assert_int_equal(c.claim.end, JOB_END_DONE);
    assert_int_equal(c.claim.code, RESULT_OTP_VERIFIED);
    session_is(w, rid, "sender", "1008611");
    assert_int_equal(events(w, "conversion"), 1);
}

static void test_a_link_expires(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job send = link_job("s1", w);
    send_job(w, &send, &w->theirs, JOB_ID_TEXT, NULL, rid);
    session_set(w, rid, "st", "failed");
    struct session_job asks = link_job("v1", w);
    assert_int_equal(verify_job(w, &asks, &w->theirs, rid, "0").claim.code, RESULT_OTP_EXPIRED);
    session_set(w, rid, "st", "sent");
    session_set(w, rid, "exp", "1");
    asks = link_job("v2", w);
    assert_int_equal(verify_job(w, &asks, &w->theirs, rid, "0").claim.code, RESULT_OTP_EXPIRED);
}

/* A flash request has no number until the user has sent something. */
static void test_a_request_without_a_number(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job = account_job("f1", &w->ours);
    job.msisdn = SLICE("");
    job.facts.lane = SLICE("flash:2");
    job.facts.ft = SLICE("2");
    job.facts.sealed = SLICE("00ff");
    for (int i = 0; i < 5; i++) { /* no cooldown without a number */
        char id[16];
        (void)snprintf(id, sizeof id, "f%d", i);
        job.job_id = slice_of(id);
        job.token = 0;
        send_job(w, &job, &w->ours, JOB_ID_TOKEN, NULL, rid);
    }
    session_is(w, rid, "sealed", "00ff");
    char lane[65];
    long long due;
    assert_int_equal(tasks(w, job.tag, "expiry", lane, &due), 5);
    assert_string_equal(lane, "flash:2");
    assert_int_equal(ask_redis(w, "EXISTS otpq:v:{%s}:ours:", job.tag), 0);
    assert_int_equal(ask_redis(w, "EXISTS otpq:n:{%s}:account:demo:ours:", job.tag), 0);
}

/* An advertiser's word of the SMS may come a minute late, and then it is the right one. */
static void test_a_link_of_others_expires_a_minute_later(void **state)
{
    struct world *w = *state;
    char rid[64], lane[65];
    long long due = 0;
    struct session_job job = link_job("f1", w);
    job.facts.lane = SLICE("flash:2");
    send_job(w, &job, &w->theirs, JOB_ID_TOKEN, NULL, rid);
    assert_int_equal(tasks(w, job.tag, "expiry", lane, &due), 1);
    assert_in_range(due - clock_wall_ms(), 340000, 361000);
}

/* The code was sent by SMS, and came back in one: the customer of the flash template hears of it.
 */
static void test_a_message_of_the_user_is_pushed(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job job = account_job("s1", &w->ours);
    job.facts.lane = SLICE("flash:2");
    send_job(w, &job, &w->ours, JOB_ID_TOKEN, "123456", rid);
    struct session_job mo = a_job("v1", &w->ours);
    mo.party = SLICE("account:demo");
    mo.facts.mobile = SLICE(NUMBER);
    mo.facts.sender = SLICE("1008611");
    mo.facts.send_time = SLICE("2025-04-29 17:47:00");
    assert_int_equal(verify_job(w, &mo, &w->ours, "", "123456").claim.code, RESULT_OTP_VERIFIED);
    (void)verify_job(w, &mo, &w->ours, "", "123456");
    assert_task(w, job.tag, "push", "flash:2", 0);
    assert_no_task(w, job.tag, "result");
    session_is(w, rid, "mobile", NUMBER);
    session_is(w, rid, "send_time", "2025-04-29 17:47:00");
}

/* ---- fallback ---------------------------------------------------------------------------------
 */

static void test_a_verify_follows_its_send(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job send = a_job("s1", &w->theirs);
    send.via = SLICE("second");
    send_job(w, &send, &w->theirs, JOB_ID_TEXT, NULL, rid);
    struct session_job verify = a_job("v1", &w->theirs);
    struct claimed c = verify_job(w, &verify, &w->theirs, rid, "1234");
    assert_int_equal(c.claim.outcome, CLAIM_MOVED);
    assert_string_equal(c.claim.via, "second");
    verify.via = SLICE("second");
    assert_int_equal(verify_job(w, &verify, &w->theirs, rid, "1234").claim.outcome, CLAIM_WON);
    assert_true(release_by(w, w->sessions, &verify));
    verify.attempt = 2;
    verify.token = 0;
    verify.nowhere = true;
    c = verify_job(w, &verify, &w->theirs, rid, "1234");
    assert_int_equal(c.claim.outcome, CLAIM_MOVED);
    assert_string_equal(c.claim.via, "second");
    verify = a_job("v2", &w->theirs);
    verify.via = SLICE("third");
    send = a_job("s2", &w->theirs);
    send_job(w, &send, &w->theirs, JOB_ID_TEXT, NULL, rid);
    c = verify_job(w, &verify, &w->theirs, rid, "1234");
    assert_string_equal(c.claim.via, "theirs");
}

/* Codes of ours are checked here, whoever carried them. */
static void test_a_verify_of_ours_never_moves(void **state)
{
    struct world *w = *state;
    char rid[64];
    struct session_job send = a_job("s1", &w->ours);
    send.via = SLICE("second");
    send_job(w, &send, &w->ours, JOB_ID_TEXT, "123456", rid);
    struct session_job verify = a_job("v1", &w->ours);
    verify.nowhere = true;
    assert_int_equal(verify_job(w, &verify, &w->ours, rid, "123456").claim.code,
                     RESULT_OTP_VERIFIED);
}

static void test_a_move_stands_in_the_time_line_once(void **state)
{
    struct world *w = *state;
    struct claimed c;
    char rid[CODE_REQUEST_ID_MAX];
    const struct session_step last = {.step = "fallback",
                                      .detail = "advertiser_unreachable -> second"};
    struct session_job job = a_job("s1", &w->ours);
    job.step_count = 2;
    job.steps = some_steps;
    code_request_id(job.tag, JOB_ID_TEXT, rid);
    claim_send_by(w, w->sessions, &job, &w->ours, rid, &c);
    for (int i = 0; i < 2; i++) {
        int said = -1;
        session_release(w->sessions, &job, &w->ours, NULL, &last, on_release, &said);
        for (int n = 0; n < 2500 && said < 0; n++) {
            nap(w, 2);
        }
        assert_int_equal(said, 1);
    }
    assert_int_equal(ask_redis(w, "LLEN otpq:t:{%s}:%s", job.tag, rid), 3);
    redisReply *r = redisCommand(w->c, "LINDEX otpq:t:{%s}:%s -1", job.tag, rid);
    assert_non_null(strstr(r->str, "\"step\":\"fallback\",\"job\":\"s1\",\"op\":\"send\","
                                   "\"detail\":\"advertiser_unreachable -> second\"}"));
    freeReplyObject(r);
    assert_true(ask_redis(w, "PTTL otpq:t:{%s}:%s", job.tag, rid) > 3600000);
    job.attempt = 2;
    job.token = 0;
    claim_send_by(w, w->others, &job, &w->ours, "r0", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON); /* nothing was sent: it counts for no cooldown */
    assert_string_equal(c.claim.request_id, rid);
}

#define WITH_REDIS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- a store that forgot --------------------------------------------------------------------- */

static enum claim_outcome send_asked_by(struct world *w, struct session_store *by,
                                        struct session_job *job)
{
    struct claimed c;
    claim_send_by(w, by, job, &w->theirs, "r-x", &c);
    return c.claim.outcome;
}

static void test_a_running_claim_is_put_back(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct session_job job = a_job("j1", &w->theirs), other = a_job("j1", &w->theirs);
    struct finished f;
    assert_int_equal(send_asked_by(w, w->sessions, &job), CLAIM_WON);
    for (int times = 0; times < 2; times++) { /* and again, as often as it forgets */
        (void)ask_redis(w, "FLUSHALL");
        session_store_forgot(w->sessions);
        other.elsewhere = false;
        assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_ELSEWHERE);
    }
    session_store_forgot(w->sessions); /* a record that is there stays */
    assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_ELSEWHERE);
    assert_int_equal(ask_redis(w, "ZCARD otpq:st:{%s}", tag.text), 1);
    assert_true(ask_redis(w, "PTTL otpq:j:{%s}:j1", tag.text) > 0);
    finish_by(w, w->sessions, &job, &w->theirs, "r-x", false, JOB_END_DONE, RESULT_OTP_SENT, NULL,
              &f);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
    assert_int_equal(ask_redis(w, "ZCARD otpq:st:{%s}", tag.text), 0);
    session_store_forgot(w->sessions); /* its end stays as well */
    assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_ENDED);
    session_job_over(&job);
    assert_null(job.claimed);
    (void)ask_redis(w, "FLUSHALL");
    session_store_forgot(w->sessions);
    assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_WON);
}

/* What the claim's script kept of it is what comes back. */
static void test_a_claim_is_put_back_whole(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct session_job job = a_job("j1", &w->ours), next = a_job("j2", &w->ours);
    struct claimed c;
    claim_send_by(w, w->sessions, &job, &w->ours, "r-a", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
    (void)ask_redis(w, "DEL otpq:j:{%s}:j1 otpq:st:{%s}", tag.text, tag.text);
    session_store_forgot(w->sessions);
    assert_true(release_by(w, w->sessions, &job)); /* its place in the share, too, is given back */
    claim_send_by(w, w->others, &next, &w->ours, "r-b", &c);
    assert_int_equal(c.claim.outcome, CLAIM_WON);
}

static void test_a_verify_gets_its_lock_back(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct session_job job, second;
    char rid[64];
    send_whole(w, "j1", &w->theirs, NULL, rid);
    assert_int_equal(verify_theirs(w, "v1", rid, &job).claim.outcome, CLAIM_WON);
    (void)ask_redis(w, "DEL otpq:j:{%s}:v1 otpq:st:{%s}", tag.text, tag.text);
    (void)ask_redis(w, "HDEL otpq:s:{%s}:%s lock lock_until", tag.text, rid);
    session_store_forgot(w->sessions);
    assert_int_equal(verify_theirs(w, "v2", rid, &second).claim.outcome, CLAIM_BUSY);
    (void)ask_redis(w, "DEL otpq:j:{%s}:v1 otpq:s:{%s}:%s", tag.text, tag.text, rid);
    session_store_forgot(w->sessions); /* without its session there is nothing to lock */
    assert_int_equal(verify_theirs(w, "v3", rid, &second).claim.outcome, CLAIM_REFUSED);
    assert_int_equal(ask_redis(w, "EXISTS otpq:s:{%s}:%s", tag.text, rid), 0);
    assert_int_equal(ask_redis(w, "EXISTS otpq:j:{%s}:v1", tag.text), 1);
}

static void test_another_runs_claim_is_not_overwritten(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct session_job job = a_job("j1", &w->theirs), other = a_job("j1", &w->theirs);
    struct finished f;
    job.attempt = 2;
    assert_int_equal(send_asked_by(w, w->sessions, &job), CLAIM_WON);
    (void)ask_redis(w, "DEL otpq:j:{%s}:j1", tag.text);
    assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_WON);
    session_store_forgot(w->sessions);
    finish_by(w, w->others, &other, &w->theirs, "r-x", false, JOB_END_DONE, RESULT_OTP_SENT, NULL,
              &f);
    assert_int_equal(f.finish.outcome, FINISH_WRITTEN);
    session_store_forgot(w->sessions);
    assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_ENDED);
}

/* The store has what was there before the claim. */
static void test_what_an_earlier_run_left_is_overwritten(void **state)
{
    struct world *w = *state;
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    struct session_job job = a_job("j1", &w->theirs), other = a_job("j1", &w->theirs);
    assert_int_equal(send_asked_by(w, w->sessions, &job), CLAIM_WON);
    assert_true(release_by(w, w->sessions, &job));
    (void)ask_redis(w, "COPY otpq:j:{%s}:j1 otpq:j:{%s}:before", tag.text, tag.text);
    job.attempt = 2;
    assert_int_equal(send_asked_by(w, w->sessions, &job), CLAIM_WON);
    (void)ask_redis(w, "COPY otpq:j:{%s}:before otpq:j:{%s}:j1 REPLACE", tag.text, tag.text);
    session_store_forgot(w->sessions);
    other.attempt = 3;
    assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_ELSEWHERE);
}

/* Another process may hear of it first: what it saw elsewhere it does not ask for at once. */
static void test_who_waits_for_another_run_lets_it_speak(void **state)
{
    struct world *w = *state;
    struct session_job job = a_job("j1", &w->theirs), other = a_job("j1", &w->theirs);
    struct claimed c = {0};
    assert_int_equal(send_asked_by(w, w->sessions, &job), CLAIM_WON);
    assert_int_equal(send_asked_by(w, w->others, &other), CLAIM_ELSEWHERE);
    (void)ask_redis(w, "FLUSHALL");
    session_store_forgot(w->others);
    other.elsewhere = true;
    session_claim_send(w->others, &other, &w->theirs, "r-b", on_claim, &c);
    session_store_forgot(w->sessions);
    assert_true(loop_until(w->base, &c.done, 8000));
    assert_int_equal(c.claim.outcome, CLAIM_ELSEWHERE);
}

/* More than are told at once, and some of them over meanwhile. */
static void test_many_claims_are_put_back(void **state)
{
    struct world *w = *state;
    enum { CLAIMS = 700 };
    static struct session_job jobs[CLAIMS];
    static char ids[CLAIMS][16];
    struct msisdn_tag tag = msisdn_tag(SLICE(NUMBER));
    for (int i = 0; i < CLAIMS; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "m%d", i);
        jobs[i] = a_job(ids[i], &w->theirs);
        assert_int_equal(send_asked_by(w, w->sessions, &jobs[i]), CLAIM_WON);
    }
    (void)ask_redis(w, "FLUSHALL");
    session_store_forgot(w->sessions);
    session_store_forgot(w->sessions); /* while the first ones are on their way */
    session_job_over(&jobs[0]);        /* this one is on its way, too */
    session_job_over(&jobs[CLAIMS - 1]);
    int64_t until = clock_mono_ms() + 8000;
    while (ask_redis(w, "ZCARD otpq:st:{%s}", tag.text) < CLAIMS - 1 && clock_mono_ms() < until) {
        bool never = false;
        (void)loop_until(w->base, &never, 2);
    }
    assert_int_equal(ask_redis(w, "ZCARD otpq:st:{%s}", tag.text), CLAIMS - 1);
    assert_int_equal(ask_redis(w, "EXISTS otpq:j:{%s}:m1", tag.text), 1);
    assert_int_equal(ask_redis(w, "EXISTS otpq:j:{%s}:m%d", tag.text, CLAIMS - 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REDIS(test_send_and_its_repetitions),
        WITH_REDIS(test_one_id_one_body),
        WITH_REDIS(test_one_winner),
        WITH_REDIS(test_release),
        WITH_REDIS(test_release_before_claim),
        WITH_REDIS(test_lease_over_is_unknown),
        WITH_REDIS(test_the_newest_code_counts_whatever_comes_late),
        WITH_REDIS(test_the_newest_session_is_meant_whatever_comes_late),
        WITH_REDIS(test_lease_over_retried_by_policy),
        WITH_REDIS(test_a_settle_never_starts),
        WITH_REDIS(test_a_doubt_is_settled_as_unknown),
        WITH_REDIS(test_a_doubt_is_as_old_as_its_send),
        WITH_REDIS(test_a_doubt_outlives_what_is_not_sent),
        WITH_REDIS(test_a_doubt_outlives_refusals_of_ours),
        WITH_REDIS(test_finish_after_the_lease),
        WITH_REDIS(test_cooldown_and_share),
        WITH_REDIS(test_what_was_not_sent_does_not_count),
        WITH_REDIS(test_verify_ours),
        WITH_REDIS(test_codes_of_odd_length),
        WITH_REDIS(test_not_found),
        WITH_REDIS(test_expired),
        WITH_REDIS(test_checks_run_out),
        WITH_REDIS(test_a_thousand_at_once),
        WITH_REDIS(test_verify_theirs),
        WITH_REDIS(test_theirs_checks_run_out),
        WITH_REDIS(test_verify_released),
        WITH_REDIS(test_verify_lease_over),
        WITH_REDIS(test_verify_asked_again_too_late),
        WITH_REDIS(test_verify_after_unknown_send),
        WITH_REDIS(test_store_down),
        WITH_REDIS(test_claim_in_doubt_is_released),
        WITH_REDIS(test_short_freeze),
        WITH_REDIS(test_destroyed_with_calls_out),
        WITH_REDIS(test_nothing_plain_and_everything_ends),
        WITH_REDIS(test_time_line_is_json_and_bounded),
        WITH_REDIS(test_verify_by_request_id_alone),
        WITH_REDIS(test_a_session_keeps_its_facts),
        WITH_REDIS(test_events_name_the_country),
        WITH_REDIS(test_an_account_is_told),
        WITH_REDIS(test_a_status_waits_for_its_report),
        WITH_REDIS(test_an_account_is_told_of_a_refusal),
        WITH_REDIS(test_an_account_is_told_of_an_unknown_end),
        WITH_REDIS(test_an_account_is_told_of_an_unknown_verify),
        WITH_REDIS(test_a_status_is_of_its_own_send),
        WITH_REDIS(test_an_affiliate_is_told_of_its_conversion_once),
        WITH_REDIS(test_a_link_is_asked_for_its_state),
        WITH_REDIS(test_a_link_expires),
        WITH_REDIS(test_a_request_without_a_number),
        WITH_REDIS(test_a_link_of_others_expires_a_minute_later),
        WITH_REDIS(test_a_message_of_the_user_is_pushed),
        WITH_REDIS(test_a_verify_follows_its_send),
        WITH_REDIS(test_a_verify_of_ours_never_moves),
        WITH_REDIS(test_a_move_stands_in_the_time_line_once),
        WITH_REDIS(test_a_running_claim_is_put_back),
        WITH_REDIS(test_a_claim_is_put_back_whole),
        WITH_REDIS(test_a_verify_gets_its_lock_back),
        WITH_REDIS(test_another_runs_claim_is_not_overwritten),
        WITH_REDIS(test_what_an_earlier_run_left_is_overwritten),
        WITH_REDIS(test_who_waits_for_another_run_lets_it_speak),
        WITH_REDIS(test_many_claims_are_put_back),
    };
    log_setup("test_session_store", LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
