/* libotpq against brokers that are ROUTER sockets in this thread: the test says when they answer */
#include <otpq.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "common/meaning/wire.h"

enum { WAIT_MS = 5000, SEEN_MAX = 4096 };

struct fake {
    void *socket;
    char address[64];
    unsigned messages; /* submits received, as messages */
    unsigned jobs;     /* and as jobs */
    uint32_t last_ttl_ms;
    char last_id[65];
    uint8_t peer[16]; /* who sent last */
    size_t peer_bytes;
    bool deaf;              /* reads nothing */
    bool quiet;             /* reads and says nothing */
    bool drains;            /* takes nothing new */
    bool full;              /* … for want of room */
    unsigned again;         /* jobs that came marked as sent before */
    const char *accepts;    /* says this, and no result */
    enum wire_ack last_ack; /* of the latest job */
};

struct seen {
    unsigned calls;
    unsigned accepted; /* calls of on_accepted */
    enum otpq_outcome accepted_as;
    char accepted_state[16];
    struct otpq_answer last;
    char code[64];
    char id[65];
};

static void *ctx;

static void fake_open(struct fake *f, const char *address)
{
    char bound[64];
    size_t n = sizeof(bound);
    int zero = 0;
    *f = (struct fake){.socket = zmq_socket(ctx, ZMQ_ROUTER)};
    assert_non_null(f->socket);
    assert_int_equal(zmq_setsockopt(f->socket, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (zmq_bind(f->socket, address) != 0) {
        assert_true(clock_mono_ms() < until);
        assert_int_equal(poll(NULL, 0, 10), 0);
    }
    assert_int_equal(zmq_getsockopt(f->socket, ZMQ_LAST_ENDPOINT, bound, &n), 0);
    (void)snprintf(f->address, sizeof(f->address), "%s", bound);
}

static void fake_close(struct fake *f)
{
    assert_int_equal(zmq_close(f->socket), 0);
    f->socket = NULL;
}

static void fake_send(struct fake *f, struct buf *b)
{
    assert_true(buf_ok(b));
    assert_true(zmq_send(f->socket, f->peer, f->peer_bytes, ZMQ_SNDMORE) >= 0);
    assert_true(zmq_send(f->socket, b->p, b->n, 0) >= 0);
}

static void answer_submits(struct fake *f, struct wire_reader *r, struct buf *out)
{
    struct wire_submit_read s;
    bool refuses = f->drains || f->full;
    bool accepts = f->accepts != NULL && !refuses;
    wire_begin(out, WIRE_CLIENT_MAGIC, refuses ? WIRE_NACK : accepts ? WIRE_ACCEPTED : WIRE_RESULT);
    f->messages++;
    while (wire_next_submit(r, &s) == WIRE_NEXT_PAIR) {
        assert_false(s.invalid);
        f->jobs++;
        f->last_ttl_ms = s.submit.ttl_ms;
        (void)snprintf(f->last_id, sizeof(f->last_id), "%.*s", SLICE_ARG(s.submit.id));
        struct wire_result result = {
            .id = s.submit.id, .end = JOB_END_DONE, .code = RESULT_OTP_SENT, .attempts = 1};
        f->again += s.submit.again;
        f->last_ack = s.submit.ack;
        if (accepts) {
            wire_put_accepted(out, s.submit.id, f->accepts);
            continue;
        }
        if (f->full || f->drains) {
            struct slice word = f->full ? SLICE("queue_full") : SLICE("draining");
            wire_put_nack(out, &(struct wire_nack){.id = s.submit.id, .error = word});
            continue;
        }
        wire_put_result(out, &result, s.body);
    }
    assert_null(r->p.error);
}

static void answer_question(struct wire_reader *r, struct buf *out)
{
    struct slice id;
    assert_int_equal(wire_next_id(r, &id), WIRE_NEXT_PAIR);
    if (slice_is(id, "live")) {
        wire_begin(out, WIRE_CLIENT_MAGIC, WIRE_ACCEPTED);
        wire_put_accepted(out, id, "started");
    } else {
        wire_begin(out, WIRE_CLIENT_MAGIC, WIRE_NACK);
        wire_put_nack(out, &(struct wire_nack){.id = id,
                                               .error = SLICE("not_found"),
                                               .detail = SLICE("never seen")});
    }
}

static void fake_answer(struct fake *f, struct slice message)
{
    struct wire_reader r;
    struct buf out;
    buf_init(&out, WIRE_MESSAGE_BYTES_MAX);
    assert_true(wire_open(&r, message, WIRE_CLIENT_MAGIC));
    if (r.verb == WIRE_SUBMIT) {
        answer_submits(f, &r, &out);
    } else if (r.verb == WIRE_PING) {
        wire_begin(&out, WIRE_CLIENT_MAGIC, WIRE_PONG);
    } else if (r.verb == WIRE_INFO) {
        struct wire_info_route route = {.name = SLICE("demo"), .queued = 7};
        wire_begin(&out, WIRE_CLIENT_MAGIC, WIRE_INFO);
        wire_put_info(&out, (struct slice){0}, &(struct wire_info){.queued = 7}, &route, 1);
    } else {
        answer_question(&r, &out);
    }
    if (!f->quiet) {
        fake_send(f, &out);
    }
    buf_free(&out);
}

static void fake_turn(struct fake *f)
{
    zmq_msg_t m;
    if (f->socket == NULL || f->deaf) {
        return;
    }
    int n;
    while ((n = zmq_recv(f->socket, f->peer, sizeof(f->peer), ZMQ_DONTWAIT)) >= 0) {
        f->peer_bytes = (size_t)n;
        assert_int_equal(zmq_msg_init(&m), 0);
        assert_true(zmq_msg_recv(&m, f->socket, 0) >= 0);
        fake_answer(f, slice_make(zmq_msg_data(&m), zmq_msg_size(&m)));
        assert_int_equal(zmq_msg_close(&m), 0);
    }
}

static void on_done(void *context, const struct otpq_answer *answer)
{
    struct seen *s = context;
    s->calls++;
    s->last = *answer;
    (void)snprintf(s->code, sizeof(s->code), "%s", answer->code);
    (void)snprintf(s->id, sizeof(s->id), "%s", answer->id);
}

static void on_accepted(void *context, const struct otpq_answer *answer)
{
    struct seen *s = context;
    s->accepted++;
    assert_int_equal(s->calls, 0); /* before the end */
    s->accepted_as = answer->outcome;
    (void)snprintf(s->accepted_state, sizeof(s->accepted_state), "%s", answer->state);
}

/* One more word of the broker about a job. */
static void fake_result(struct fake *f, const char *id)
{
    struct buf out;
    struct wire_result r = {.id = slice_of(id), .end = JOB_END_DONE, .code = RESULT_OTP_SENT};
    buf_init(&out, 4096);
    wire_begin(&out, WIRE_CLIENT_MAGIC, WIRE_RESULT);
    wire_put_result(&out, &r, (struct slice){0});
    fake_send(f, &out);
    buf_free(&out);
}

static void fake_nack(struct fake *f, const char *id, const char *error)
{
    struct buf out;
    buf_init(&out, 4096);
    wire_begin(&out, WIRE_CLIENT_MAGIC, WIRE_NACK);
    wire_put_nack(&out, &(struct wire_nack){.id = slice_of(id), .error = slice_of(error)});
    fake_send(f, &out);
    buf_free(&out);
}

static const uint8_t body_bytes[] = {0x81, 0xa6, 'm', 's', 'i', 's', 'd', 'n', 0xa2, '6', '6'};

static struct otpq_job job_of(const char *id)
{
    return (struct otpq_job){.id = id,
                             .op = "send",
                             .route = "demo",
                             .body = body_bytes,
                             .body_bytes = sizeof(body_bytes),
                             .pri = -1};
}

static otpq *open_to(struct fake *fakes, size_t n, uint32_t silence_ms)
{
    const char *brokers[2];
    const char *error = NULL;
    for (size_t i = 0; i < n; i++) {
        brokers[i] = fakes[i].address;
    }
    struct otpq_options o = {.brokers = brokers, .broker_count = n, .silence_ms = silence_ms};
    otpq *q = otpq_new(&o, &error);
    if (q == NULL) {
        fail_msg("otpq_new: %s", error);
    }
    return q;
}

static void submit(otpq *q, const char *id, struct seen *seen)
{
    const char *error = NULL;
    struct otpq_job job = job_of(id);
    assert_int_equal(otpq_submit(q, &job, on_done, seen, &error), 0);
}

static void submit_acked(otpq *q, const char *id, enum otpq_ack ack, otpq_callback *accepted,
                         struct seen *seen)
{
    const char *error = NULL;
    struct otpq_job job = job_of(id);
    job.ack = ack;
    job.accepted = accepted;
    assert_int_equal(otpq_submit(q, &job, on_done, seen, &error), 0);
}

/* Library and brokers take turns, only when the descriptor or the clock asks for it. */
static void run_until(otpq *q, struct fake *fakes, size_t n, const unsigned *counter, unsigned want)
{
    int64_t until = clock_mono_ms() + WAIT_MS;
    while (*counter < want) {
        assert_true(clock_mono_ms() < until);
        struct pollfd fd = {.fd = otpq_fd(q), .events = POLLIN};
        if (poll(&fd, 1, 2) > 0 || otpq_next_ms(q) == 0) {
            otpq_process(q);
        }
        for (size_t i = 0; i < n; i++) {
            fake_turn(&fakes[i]);
        }
    }
}

static void test_batch(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    otpq *q = open_to(&f, 1, 0);
    for (int i = 0; i < 1500; i++) {
        char id[32];
        (void)snprintf(id, sizeof(id), "job-%d", i);
        submit(q, id, &seen);
    }
    run_until(q, &f, 1, &seen.calls, 1500);
    assert_int_equal(f.jobs, 1500);
    assert_int_equal(f.messages, 2); /* 1,000 pairs a message */
    assert_int_equal(otpq_wait(q, 20), 0);
    assert_int_equal(seen.calls, 1500);
    assert_string_equal(seen.code, "otp_sent");
    assert_true(otpq_connected(q));
    otpq_destroy(&q);
    assert_null(q);
    fake_close(&f);
}

static void test_failover_after_silence(void **state)
{
    (void)state;
    struct fake f[2];
    struct seen seen = {0};
    fake_open(&f[0], "tcp://127.0.0.1:*");
    otpq *q = NULL;
    fake_open(&f[1], "tcp://127.0.0.1:*");
    q = open_to(f, 2, 150);
    submit(q, "warm", &seen);
    run_until(q, f, 2, &seen.calls, 1);
    struct fake *used = f[0].jobs > 0 ? &f[0] : &f[1];
    struct fake *other = used == &f[0] ? &f[1] : &f[0];
    used->quiet = true;
    submit(q, "moved", &seen);
    run_until(q, f, 2, &seen.calls, 2);
    assert_string_equal(other->last_id, "moved");
    assert_int_equal(used->jobs, 2); /* both had it, under one id */
    assert_true(other->last_ttl_ms < WIRE_TTL_DEFAULT_MS);
    assert_true(other->last_ttl_ms > WIRE_TTL_DEFAULT_MS - WAIT_MS);
    otpq_destroy(&q);
    fake_close(&f[0]);
    fake_close(&f[1]);
}

/* A first submit may be refused; one that a broker had may not, for it may have started there. */
static void test_refused_after_a_broker_died(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    otpq *q = open_to(&f, 1, 2000);
    f.full = true;
    submit(q, "fresh", &seen);
    run_until(q, &f, 1, &seen.calls, 1);
    assert_int_equal(seen.last.outcome, OTPQ_NOT_TAKEN);
    f.full = false;
    f.quiet = true;
    submit(q, "lost", &seen);
    run_until(q, &f, 1, &f.jobs, 2);
    assert_int_equal(f.again, 0);
    char address[64];
    (void)snprintf(address, sizeof(address), "%s", f.address);
    fake_close(&f);
    fake_open(&f, address);
    f.full = true;
    int64_t begin = clock_mono_ms();
    run_until(q, &f, 1, &f.jobs, 3);
    assert_true(clock_mono_ms() - begin >= 2 * 50); /* it is not asked without a pause */
    assert_int_equal(f.again, 3);
    assert_int_equal(seen.calls, 1);
    f.full = false;
    run_until(q, &f, 1, &seen.calls, 2);
    assert_string_equal(seen.id, "lost");
    assert_string_equal(seen.code, "otp_sent");
    otpq_destroy(&q);
    fake_close(&f);
}

static void test_draining_broker(void **state)
{
    (void)state;
    struct fake f[2];
    struct seen seen = {0};
    fake_open(&f[0], "tcp://127.0.0.1:*");
    fake_open(&f[1], "tcp://127.0.0.1:*");
    otpq *q = open_to(f, 2, 0);
    submit(q, "warm", &seen);
    run_until(q, f, 2, &seen.calls, 1);
    struct fake *used = f[0].jobs > 0 ? &f[0] : &f[1];
    struct fake *other = used == &f[0] ? &f[1] : &f[0];
    used->drains = true;
    submit(q, "elsewhere", &seen);
    run_until(q, f, 2, &seen.calls, 2);
    assert_string_equal(other->last_id, "elsewhere");
    assert_string_equal(seen.code, "otp_sent");
    other->drains = true; /* nobody is left: the job waits for a successor */
    submit(q, "later", &seen);
    run_until(q, f, 2, &other->jobs, other->jobs + 1);
    assert_int_equal(otpq_wait(q, 50), 1);
    char address[64];
    (void)snprintf(address, sizeof(address), "%s", other->address);
    fake_close(other);
    fake_open(other, address);
    run_until(q, f, 2, &seen.calls, 3);
    assert_string_equal(other->last_id, "later");
    assert_string_equal(seen.code, "otp_sent");
    otpq_destroy(&q);
    fake_close(&f[0]);
    fake_close(&f[1]);
}

/* An operator let it drain, and lets it take jobs again: nobody has to connect anew. */
static void test_drained_broker_comes_back(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    otpq *q = open_to(&f, 1, 0);
    f.drains = true;
    submit(q, "waits", &seen);
    run_until(q, &f, 1, &f.jobs, 2); /* asked again */
    assert_int_equal(seen.calls, 0);
    f.drains = false;
    run_until(q, &f, 1, &seen.calls, 1);
    assert_string_equal(seen.id, "waits");
    assert_string_equal(seen.code, "otp_sent");
    otpq_destroy(&q);
    fake_close(&f);
}

/* A broker found later takes over from one that is left out, which still may answer what it has. */
static void test_brokers_change(void **state)
{
    (void)state;
    struct fake f[2];
    struct seen seen = {0};
    const char *error = NULL;
    fake_open(&f[0], "tcp://127.0.0.1:*");
    fake_open(&f[1], "tcp://127.0.0.1:*");
    otpq *q = open_to(f, 1, 60000);
    submit(q, "warm", &seen);
    run_until(q, f, 2, &seen.calls, 1);
    f[0].deaf = true;
    submit(q, "kept", &seen);
    otpq_flush(q);
    const char *second[] = {f[1].address};
    assert_int_equal(otpq_set_brokers(q, second, 1, &error), 0);
    assert_int_equal(otpq_brokers_up(q), 0);
    submit(q, "new", &seen);
    run_until(q, f, 2, &seen.calls, 2);
    assert_string_equal(seen.id, "new");
    assert_string_equal(f[1].last_id, "new");
    f[0].deaf = false;
    run_until(q, f, 2, &seen.calls, 3);
    assert_string_equal(seen.id, "kept");
    assert_string_equal(f[0].last_id, "kept");
    const char *both[] = {f[1].address, f[0].address, f[1].address};
    assert_int_equal(otpq_set_brokers(q, both, 3, &error), 0);
    for (int64_t until = clock_mono_ms() + WAIT_MS; otpq_brokers_up(q) < 2;) {
        assert_true(clock_mono_ms() < until);
        assert_int_equal(otpq_wait(q, 5), 0);
        assert_true(poll(NULL, 0, 2) == 0);
    }
    assert_int_equal(otpq_brokers_up(q), 2); /* the one listed twice is one */
    assert_int_equal(otpq_set_brokers(q, both, 0, &error), -1);
    assert_int_equal(otpq_brokers_up(q), 2);
    const char *bad[] = {f[0].address, "no address"};
    assert_int_equal(otpq_set_brokers(q, bad, 2, &error), -1);
    assert_non_null(error);
    submit(q, "last", &seen);
    run_until(q, f, 2, &seen.calls, 4);
    assert_string_equal(f[0].last_id, "last");
    otpq_destroy(&q);
    fake_close(&f[0]);
    fake_close(&f[1]);
}

static void test_restart_of_the_only_broker(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    otpq *q = open_to(&f, 1, 2000);
    f.quiet = true;
    submit(q, "again", &seen);
    run_until(q, &f, 1, &f.jobs, 1);
    char address[64];
    (void)snprintf(address, sizeof(address), "%s", f.address);
    fake_close(&f);
    fake_open(&f, address);
    run_until(q, &f, 1, &seen.calls, 1);
    assert_int_equal(f.jobs, 1);
    assert_string_equal(seen.id, "again");
    otpq_destroy(&q);
    fake_close(&f);
}

static void test_second_result_finds_nobody(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    struct buf twice;
    fake_open(&f, "tcp://127.0.0.1:*");
    otpq *q = open_to(&f, 1, 0);
    submit(q, "once", &seen);
    run_until(q, &f, 1, &seen.calls, 1);
    buf_init(&twice, 4096);
    wire_begin(&twice, WIRE_CLIENT_MAGIC, WIRE_RESULT);
    struct wire_result r = {.id = SLICE("once"), .end = JOB_END_DONE, .code = RESULT_OTP_SENT};
    wire_put_result(&twice, &r, (struct slice){0});
    wire_put_result(&twice, &r, (struct slice){0});
    fake_send(&f, &twice);
    submit(q, "next", &seen);
    run_until(q, &f, 1, &seen.calls, 2);
    assert_int_equal(otpq_wait(q, 20), 0);
    assert_int_equal(seen.calls, 2);
    buf_free(&twice);
    otpq_destroy(&q);
    fake_close(&f);
}

static void test_refused_before_it_leaves(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    otpq *q = open_to(&f, 1, 0);
    static const struct {
        const char *id, *op, *route, *body, *says;
        size_t body_bytes;
    } rows[] = {
        {"bad id", "send", "demo", "\x80", "id:", 1},
        {"a", "steal", "demo", "\x80", "op:", 1},
        {"a", "send", "", "\x80", "route:", 1},
        {"a", "send", "demo", "\x90", "body:", 1},
        {"a", "send", "demo", "\x81\xa1", "body:", 2},
        {"a", "send", "demo", "\x80\x80", "body:", 2},
        {"a", "send", "demo", "", "body:", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *error = "";
        struct otpq_job job = {.id = rows[i].id,
                               .op = rows[i].op,
                               .route = rows[i].route,
                               .body = rows[i].body,
                               .body_bytes = rows[i].body_bytes,
                               .pri = -1};
        assert_int_equal(otpq_submit(q, &job, on_done, &seen, &error), -1);
        assert_memory_equal(error, rows[i].says, strlen(rows[i].says));
    }
    submit(q, "twin", &seen);
    const char *error = "";
    struct otpq_job strange = job_of("strange");
    strange.ack = (enum otpq_ack)(OTPQ_ACK_STORED + 1);
    assert_int_equal(otpq_submit(q, &strange, on_done, &seen, &error), -1);
    assert_memory_equal(error, "ack:", 4);
    struct otpq_job twin = job_of("twin");
    assert_int_equal(otpq_submit(q, &twin, on_done, &seen, &error), -1);
    otpq_destroy(&q);
    assert_int_equal(seen.calls, 0);
    fake_close(&f);
}

/* Who asks for no more has his answer when the job is stored; what comes later finds nobody. */
static void test_stored_is_enough(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    f.accepts = "stored";
    otpq *q = open_to(&f, 1, 0);
    submit_acked(q, "one", OTPQ_ACK_STORED, NULL, &seen);
    run_until(q, &f, 1, &seen.calls, 1);
    assert_int_equal(f.last_ack, WIRE_ACK_STORED);
    assert_int_equal(seen.last.outcome, OTPQ_STORED);
    assert_string_equal(seen.id, "one");
    assert_string_equal(seen.code, "");
    fake_result(&f, "one");
    submit_acked(q, "two", OTPQ_ACK_STORED, NULL, &seen);
    run_until(q, &f, 1, &seen.calls, 2);
    assert_int_equal(otpq_wait(q, 20), 0);
    assert_int_equal(seen.calls, 2);
    f.accepts = NULL; /* its result is known already: that says more */
    submit_acked(q, "three", OTPQ_ACK_STORED, NULL, &seen);
    run_until(q, &f, 1, &seen.calls, 3);
    assert_int_equal(seen.last.outcome, OTPQ_RESULT);
    f.full = true;
    submit_acked(q, "four", OTPQ_ACK_STORED, NULL, &seen);
    run_until(q, &f, 1, &seen.calls, 4);
    assert_int_equal(seen.last.outcome, OTPQ_NOT_TAKEN);
    otpq_destroy(&q);
    fake_close(&f);
}

static void test_accepted_and_then_the_result(void **state)
{
    (void)state;
    static const struct {
        enum otpq_ack ack;
        enum wire_ack wire;
        const char *word;
        enum otpq_outcome outcome;
    } rows[] = {{OTPQ_ACK_STORED, WIRE_ACK_STORED, "stored", OTPQ_STORED},
                {OTPQ_ACK_QUEUED, WIRE_ACK_QUEUED, "queued", OTPQ_QUEUED},
                {OTPQ_ACK_QUEUED, WIRE_ACK_QUEUED, "duplicate", OTPQ_QUEUED},
                {OTPQ_ACK_QUEUED, WIRE_ACK_QUEUED, "stored", OTPQ_STORED}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fake f;
        struct seen seen = {0};
        fake_open(&f, "tcp://127.0.0.1:*");
        f.accepts = rows[i].word;
        otpq *q = open_to(&f, 1, 0);
        submit_acked(q, "job", rows[i].ack, on_accepted, &seen);
        run_until(q, &f, 1, &seen.accepted, 1);
        assert_int_equal(f.last_ack, rows[i].wire);
        assert_int_equal(seen.accepted_as, rows[i].outcome);
        assert_string_equal(seen.accepted_state, rows[i].word);
        assert_int_equal(otpq_wait(q, 20), 1);
        assert_int_equal(seen.calls, 0);
        fake_result(&f, "job");
        run_until(q, &f, 1, &seen.calls, 1);
        assert_string_equal(seen.code, "otp_sent");
        assert_int_equal(seen.accepted, 1);
        otpq_destroy(&q);
        fake_close(&f);
    }
}

/* A stored job whose broker dies is told as stored once, and its result is had from another. */
static void test_a_stored_job_outlives_its_broker(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    f.accepts = "stored";
    otpq *q = open_to(&f, 1, 2000);
    submit_acked(q, "job", OTPQ_ACK_STORED, on_accepted, &seen);
    run_until(q, &f, 1, &seen.accepted, 1);
    char address[64];
    (void)snprintf(address, sizeof(address), "%s", f.address);
    fake_close(&f);
    fake_open(&f, address);
    f.accepts = "stored";
    run_until(q, &f, 1, &f.again, 1);
    assert_int_equal(f.last_ack, WIRE_ACK_STORED);
    fake_result(&f, "job");
    run_until(q, &f, 1, &seen.calls, 1);
    assert_int_equal(seen.accepted, 1);
    otpq_destroy(&q);
    fake_close(&f);
}

/* Two brokers are connected, and one of them has said that it stored "job". */
static otpq *stored_at_one_of_two(struct fake f[2], struct seen *seen)
{
    fake_open(&f[0], "tcp://127.0.0.1:*");
    fake_open(&f[1], "tcp://127.0.0.1:*");
    f[0].accepts = f[1].accepts = "stored";
    otpq *q = open_to(f, 2, 0);
    submit_acked(q, "job", OTPQ_ACK_STORED, on_accepted, seen);
    run_until(q, f, 2, &seen->accepted, 1);
    for (int64_t until = clock_mono_ms() + WAIT_MS; otpq_brokers_up(q) < 2;) {
        assert_true(clock_mono_ms() < until);
        (void)otpq_wait(q, 5);
    }
    return q;
}

/* Another broker goes on with it: there it is submitted again, as one that may have started. */
static void test_moved(void **state)
{
    (void)state;
    struct fake f[2];
    struct seen seen = {0};
    otpq *q = stored_at_one_of_two(f, &seen);
    struct fake *used = f[0].jobs > 0 ? &f[0] : &f[1];
    struct fake *other = used == &f[0] ? &f[1] : &f[0];
    fake_nack(used, "job", "moved");
    other->accepts = NULL;
    run_until(q, f, 2, &seen.calls, 1);
    assert_int_equal(other->again, 1);
    assert_int_equal(used->jobs, 1);
    assert_string_equal(seen.code, "otp_sent");
    submit(q, "next", &seen); /* that one is in use now */
    run_until(q, f, 2, &seen.calls, 2);
    assert_string_equal(other->last_id, "next");
    otpq_destroy(&q);
    fake_close(&f[0]);
    fake_close(&f[1]);
}

static void test_moved_from_the_only_broker(void **state)
{
    (void)state;
    struct fake f;
    struct seen seen = {0};
    fake_open(&f, "tcp://127.0.0.1:*");
    f.accepts = "stored";
    otpq *q = open_to(&f, 1, 0);
    submit_acked(q, "job", OTPQ_ACK_STORED, on_accepted, &seen);
    run_until(q, &f, 1, &seen.accepted, 1);
    f.accepts = NULL;
    fake_nack(&f, "job", "moved");
    run_until(q, &f, 1, &seen.calls, 1);
    assert_int_equal(f.again, 1);
    assert_int_equal(seen.last.outcome, OTPQ_RESULT);
    otpq_destroy(&q);
    fake_close(&f);
}

/* A broker that has lost its store is passed by; once all have, the caller hears it. */
static void test_without_a_store(void **state)
{
    (void)state;
    struct fake f[2];
    struct seen seen = {0};
    otpq *q = stored_at_one_of_two(f, &seen);
    struct fake *used = f[0].jobs > 0 ? &f[0] : &f[1];
    struct fake *other = used == &f[0] ? &f[1] : &f[0];
    fake_nack(used, "job", "store_unavailable");
    run_until(q, f, 2, &other->jobs, 1);
    assert_int_equal(other->again, 0); /* nothing of it was kept */
    fake_nack(other, "job", "store_unavailable");
    run_until(q, f, 2, &seen.calls, 1);
    assert_int_equal(seen.last.outcome, OTPQ_NOT_TAKEN);
    assert_string_equal(seen.code, "store_unavailable");
    otpq_destroy(&q);
    fake_close(&f[0]);
    fake_close(&f[1]);
}

static void test_nobody_there(void **state)
{
    (void)state;
    const char *brokers[] = {"tcp://127.0.0.1:1"};
    const char *error = NULL;
    struct otpq_options o = {.brokers = brokers, .broker_count = 1, .jobs_max = 2};
    struct otpq_answer answer;
    struct seen seen = {0};
    otpq *q = otpq_new(&o, &error);
    assert_non_null(q);
    struct otpq_job job = job_of(NULL);
    int64_t begin = clock_mono_ms();
    assert_int_equal(otpq_call(q, &job, 60, &answer), OTPQ_TIMED_OUT);
    assert_true(clock_mono_ms() - begin >= 60);
    assert_int_equal(strlen(answer.id), 28);
    submit(q, "a", &seen); /* what timed out keeps no place */
    submit(q, "b", &seen);
    assert_int_equal(otpq_submit(q, &job, on_done, &seen, &error), -1);
    assert_memory_equal(error, "full", 4);
    assert_int_equal(otpq_wait(q, 10), 2);
    otpq_destroy(&q);
    o.broker_count = 0;
    assert_null(otpq_new(&o, &error));
    o.broker_count = 1;
    brokers[0] = "nonsense";
    assert_null(otpq_new(&o, &error));
}

/* A broker in a thread, for the calls that block. */
static void serve_thread(void *arg)
{
    struct fake *f = arg;
    while (!__atomic_load_n(&f->deaf, __ATOMIC_ACQUIRE)) {
        zmq_pollitem_t item = {.socket = f->socket, .events = ZMQ_POLLIN};
        (void)zmq_poll(&item, 1, 5);
        fake_turn(f);
    }
}

static void test_blocking(void **state)
{
    (void)state;
    struct fake f;
    struct otpq_answer answer;
    struct wire_info info;
    struct wire_info_route routes[WIRE_INFO_ROUTES_MAX];
    uint32_t count;
    const char *error;
    fake_open(&f, "tcp://127.0.0.1:*");
    void *thread = zmq_threadstart(serve_thread, &f);
    otpq *q = open_to(&f, 1, 0);
    struct otpq_job job = job_of("blocking");
    assert_int_equal(otpq_call(q, &job, WAIT_MS, &answer), OTPQ_RESULT);
    assert_string_equal(answer.id, "blocking");
    assert_string_equal(answer.state, "done");
    assert_int_equal(answer.body_bytes, sizeof(body_bytes));
    assert_memory_equal(answer.body, body_bytes, sizeof(body_bytes));
    assert_int_equal(otpq_get(q, answer.id, WAIT_MS, &answer), OTPQ_NOT_TAKEN);
    assert_string_equal(answer.code, "not_found");
    assert_string_equal(answer.detail, "never seen");
    assert_int_equal(otpq_get(q, "live", WAIT_MS, &answer), OTPQ_RESULT);
    assert_string_equal(answer.state, "started");
    assert_int_equal(otpq_cancel(q, "gone", WAIT_MS, &answer), OTPQ_NOT_TAKEN);
    assert_int_equal(otpq_cancel(q, "no good", WAIT_MS, &answer), OTPQ_NOT_TAKEN);
    assert_string_equal(answer.code, "invalid");
    assert_int_equal(otpq_info(q, WAIT_MS, &answer), OTPQ_RESULT);
    assert_true(wire_info_decode(slice_make(answer.body, answer.body_bytes), &info, routes, &count,
                                 &error));
    assert_int_equal(count, 1);
    assert_int_equal(routes[0].queued, 7);
    otpq_destroy(&q);
    __atomic_store_n(&f.deaf, true, __ATOMIC_RELEASE);
    zmq_threadclose(thread);
    fake_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_failover_after_silence),
        cmocka_unit_test(test_refused_after_a_broker_died),
        cmocka_unit_test(test_draining_broker),
        cmocka_unit_test(test_drained_broker_comes_back),
        cmocka_unit_test(test_brokers_change),
        cmocka_unit_test(test_restart_of_the_only_broker),
        cmocka_unit_test(test_second_result_finds_nobody),
        cmocka_unit_test(test_refused_before_it_leaves),
        cmocka_unit_test(test_stored_is_enough),
        cmocka_unit_test(test_accepted_and_then_the_result),
        cmocka_unit_test(test_a_stored_job_outlives_its_broker),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_moved_from_the_only_broker),
        cmocka_unit_test(test_without_a_store),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_blocking),
    };
    ctx = zmq_ctx_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zmq_ctx_term(ctx);
    return failed;
}
