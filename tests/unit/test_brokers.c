/* How the brokers of a worker share its capacity: brokers are ROUTER sockets in this thread */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <zmq.h>

#include "common/base/clock.h"
#include "workers/brokers.h"

enum { CAPACITY = 4, BEGUN_MAX = 64, WAIT_MS = 5000 };

struct fake {
    void *socket;
    char address[64];
    uint8_t peer[16];
    size_t peer_bytes; /* 0: no worker has said hello */
    uint64_t credit;   /* last total told */
    unsigned back;     /* jobs given back without a code */
    unsigned results;
    unsigned goodbyes;
};

struct begun {
    struct link *from;
    char id[16];
    uint32_t queued_ms;
};

struct fixture {
    struct event_base *base;
    void *zmq;
    struct brokers *brokers;
    struct fake a, b;
    struct begun begun[BEGUN_MAX];
    unsigned count; /* of begun */
    unsigned ended; /* of them, from the first on */
};

static void on_begin(void *context, struct link *from, const struct wire_job *job,
                     struct slice body, int64_t waited_ms)
{
    struct fixture *f = context;
    assert_true(waited_ms >= 0 && body.n == 1 && slice_is(job->route, "demo"));
    assert_true(f->count < BEGUN_MAX);
    struct begun *b = &f->begun[f->count++];
    *b = (struct begun){.from = from, .queued_ms = job->queued_ms};
    (void)snprintf(b->id, sizeof(b->id), "%.*s", SLICE_ARG(job->id));
}

static void fake_open(struct fixture *f, struct fake *k)
{
    size_t n = sizeof(k->address);
    int zero = 0;
    k->socket = zmq_socket(f->zmq, ZMQ_ROUTER);
    assert_non_null(k->socket);
    assert_int_equal(zmq_setsockopt(k->socket, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    assert_int_equal(zmq_bind(k->socket, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(k->socket, ZMQ_LAST_ENDPOINT, k->address, &n), 0);
}

static void fake_say(struct fake *k, struct buf *b)
{
    assert_true(buf_ok(b));
    assert_true(zmq_send(k->socket, k->peer, k->peer_bytes, ZMQ_SNDMORE) >= 0);
    assert_true(zmq_send(k->socket, b->p, b->n, 0) >= 0);
    buf_free(b);
}

static void fake_pong(struct fake *k)
{
    struct buf b;
    buf_init(&b, 64);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_PONG);
    fake_say(k, &b);
}

static void fake_take(struct fake *k, struct slice message)
{
    struct wire_reader r;
    struct wire_give_back g;
    struct wire_result result;
    struct slice body;
    assert_true(wire_open(&r, message, WIRE_WORKER_MAGIC));
    switch (r.verb) {
    case WIRE_W_CREDIT:
        assert_int_equal(wire_next_credit(&r, &k->credit), WIRE_NEXT_PAIR);
        break;
    case WIRE_W_BACK:
        while (wire_next_back(&r, &g) == WIRE_NEXT_PAIR) {
            assert_int_equal(g.code, RESULT_NONE);
            k->back++;
        }
        break;
    case WIRE_W_RESULT:
        while (wire_next_result(&r, &result, &body) == WIRE_NEXT_PAIR) {
            k->results++;
        }
        break;
    case WIRE_W_PING:
        fake_pong(k);
        break;
    case WIRE_W_QUIT:
        k->goodbyes++;
        break;
    default:
        break;
    }
}

static void fake_turn(struct fake *k)
{
    zmq_msg_t m;
    int n;
    while ((n = zmq_recv(k->socket, k->peer, sizeof(k->peer), ZMQ_DONTWAIT)) >= 0) {
        k->peer_bytes = (size_t)n;
        assert_int_equal(zmq_msg_init(&m), 0);
        assert_true(zmq_msg_recv(&m, k->socket, 0) >= 0);
        fake_take(k, slice_make(zmq_msg_data(&m), zmq_msg_size(&m)));
        assert_int_equal(zmq_msg_close(&m), 0);
    }
}

static void turn(struct fixture *f)
{
    (void)event_base_loop(f->base, EVLOOP_NONBLOCK);
    fake_turn(&f->a);
    fake_turn(&f->b);
}

#define UNTIL(f, condition)                                                                        \
    for (int64_t until = clock_mono_ms() + WAIT_MS; !(condition);) {                               \
        assert_true(clock_mono_ms() < until);                                                      \
        turn(f);                                                                                   \
        assert_true(poll(NULL, 0, 1) == 0);                                                        \
    }

static void send_jobs(struct fake *k, const char *name, unsigned count)
{
    struct buf b;
    buf_init(&b, 65536);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_JOB);
    for (unsigned i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof(id), "%s%u", name, i);
        const struct wire_job job = {.id = slice_of(id),
                                     .route = SLICE("demo"),
                                     .op = WIRE_OP_SEND,
                                     .attempt = 1,
                                     .ttl_ms = 30000};
        wire_put_job(&b, &job, SLICE("\x80"));
    }
    fake_say(k, &b);
}

/* The oldest job that has begun ends. */
static void end_one(struct fixture *f)
{
    assert_true(f->ended < f->count);
    const struct begun *b = &f->begun[f->ended++];
    const struct wire_result r = {
        .id = slice_of(b->id), .end = JOB_END_DONE, .code = RESULT_OTP_SENT, .attempts = 1};
    link_result(b->from, &r, SLICE("\x80"));
}

static void be_found(struct fixture *f, bool a, bool b, bool b_leaves)
{
    struct broker_line lines[2] = {0};
    size_t n = 0;
    if (a) {
        (void)snprintf(lines[n++].workers, BROKER_ADDRESS_BYTES, "%s", f->a.address);
    }
    if (b) {
        lines[n].leaving = b_leaves;
        (void)snprintf(lines[n++].workers, BROKER_ADDRESS_BYTES, "%s", f->b.address);
    }
    brokers_found(f->brokers, lines, n);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const char *error = NULL;
    f->base = event_base_new();
    f->zmq = zmq_ctx_new();
    fake_open(f, &f->a);
    fake_open(f, &f->b);
    const struct brokers_options o = {.base = f->base,
                                      .zmq_context = f->zmq,
                                      .name = "w",
                                      .capacity = CAPACITY,
                                      .begin = on_begin,
                                      .context = f};
    f->brokers = brokers_new(&o);
    assert_true(brokers_connect(f->brokers, f->a.address, NULL, &error));
    brokers_able(f->brokers, true);
    UNTIL(f, f->a.credit == CAPACITY);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    brokers_destroy(&f->brokers);
    assert_int_equal(zmq_close(f->a.socket), 0);
    assert_int_equal(zmq_close(f->b.socket), 0);
    assert_int_equal(zmq_ctx_term(f->zmq), 0);
    event_base_free(f->base);
    free(f);
    return 0;
}

static void one_broker_gets_credit_as_jobs_end(void **state)
{
    struct fixture *f = *state;
    send_jobs(&f->a, "a", CAPACITY);
    UNTIL(f, f->count == CAPACITY);
    assert_int_equal(f->a.credit, CAPACITY);
    end_one(f);
    UNTIL(f, f->a.credit == CAPACITY + 1);
    assert_int_equal(f->a.back, 0);
}

static void a_busy_broker_has_all_and_the_other_one_is_next(void **state)
{
    struct fixture *f = *state;
    be_found(f, true, true, false);
    UNTIL(f, f->b.credit == CAPACITY); /* although a has as much */
    send_jobs(&f->a, "a", CAPACITY);
    UNTIL(f, f->count == CAPACITY);
    send_jobs(&f->b, "b", 2);
    UNTIL(f, brokers_jobs(f->brokers) == CAPACITY + 2);
    assert_int_equal(f->count, CAPACITY);
    end_one(f);
    end_one(f);
    UNTIL(f, f->count == CAPACITY + 2);
    assert_string_equal(f->begun[CAPACITY].id, "b0");
    assert_string_equal(f->begun[CAPACITY + 1].id, "b1");
    UNTIL(f, f->a.results == 2);
    assert_int_equal(f->a.credit, CAPACITY); /* b's were next: no room for more of a's */
    end_one(f);
    UNTIL(f, f->a.credit == CAPACITY + 1); /* room again */
    assert_int_equal(f->a.back + f->b.back, 0);
}

static void what_waits_too_long_goes_back(void **state)
{
    struct fixture *f = *state;
    be_found(f, true, true, false);
    UNTIL(f, f->b.credit == CAPACITY);
    send_jobs(&f->a, "a", CAPACITY);
    UNTIL(f, f->count == CAPACITY);
    send_jobs(&f->b, "b", CAPACITY);
    UNTIL(f, f->b.back == CAPACITY);
    assert_int_equal(f->count, CAPACITY);
    assert_int_equal(f->b.credit, CAPACITY);
    end_one(f);
    UNTIL(f, f->b.credit == CAPACITY + 1);
}

static void no_more_than_the_capacity_waits(void **state)
{
    struct fixture *f = *state;
    be_found(f, true, true, false);
    UNTIL(f, f->b.credit == CAPACITY);
    send_jobs(&f->a, "a", CAPACITY + 3);  /* more than it may */
    send_jobs(&f->b, "b", CAPACITY);      /* what it may */
    UNTIL(f, f->a.back + f->b.back == 3); /* at once: nothing has ended, nothing waited */
    assert_int_equal(f->count, CAPACITY);
    brokers_freeze(f->brokers); /* what waits goes back, what began goes on */
    UNTIL(f, f->a.back + f->b.back == CAPACITY + 3);
    while (f->ended < f->count) {
        end_one(f);
    }
    brokers_quit(f->brokers);
    UNTIL(f, f->a.results + f->b.results == CAPACITY && f->a.goodbyes == 1 && f->b.goodbyes == 1);
}

static void a_leaving_broker_gets_no_new_credit(void **state)
{
    struct fixture *f = *state;
    be_found(f, true, true, false);
    UNTIL(f, f->b.credit == CAPACITY);
    be_found(f, true, true, true);
    send_jobs(&f->b, "b", 2);
    UNTIL(f, f->count == 2);
    end_one(f);
    end_one(f);
    UNTIL(f, f->b.results == 2);
    send_jobs(&f->a, "a", CAPACITY);
    UNTIL(f, f->count == 2 + CAPACITY);
    end_one(f);
    UNTIL(f, f->a.credit > CAPACITY);
    assert_int_equal(f->b.credit, CAPACITY);
}

static void one_that_is_gone_is_let_go_when_its_last_job_has_ended(void **state)
{
    struct fixture *f = *state;
    be_found(f, true, true, false);
    UNTIL(f, f->b.credit == CAPACITY);
    send_jobs(&f->b, "b", 1);
    UNTIL(f, f->count == 1);
    be_found(f, false, false, false);
    turn(f);
    assert_int_equal(f->b.goodbyes, 0);
    end_one(f);
    UNTIL(f, f->b.goodbyes == 1 && f->b.results == 1);
    assert_int_equal(f->a.goodbyes, 0); /* it is configured */
    be_found(f, false, true, false);
    f->b.credit = 0;
    UNTIL(f, f->b.credit == CAPACITY);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_broker_gets_credit_as_jobs_end),
        T(a_busy_broker_has_all_and_the_other_one_is_next),
        T(what_waits_too_long_goes_back),
        T(no_more_than_the_capacity_waits),
        T(a_leaving_broker_gets_no_new_credit),
        T(one_that_is_gone_is_let_go_when_its_last_job_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
