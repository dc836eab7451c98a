/* zio: messages in order, REQ delimiters, extra frames, bounds of a turn, and no lost wake-ups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/adapters/zio.h"
#include "common/base/clock.h"

enum { PATIENCE_MS = 5000, KEEP = 16 };

struct seen {
    struct event_base *base; /* loop to leave when all is there */
    struct zio *zio;         /* the socket under test, for answering from a callback */
    int messages, turns;     /* callbacks so far */
    int turn_messages;       /* messages since the last on_turn */
    int turn_messages_max;   /* most of them in one turn */
    int wanted;              /* messages after which the loop ends */
    bool echo;               /* answer each */
    bool req[KEEP];          /* flags of the first messages */
    bool malformed[KEEP];
    char text[KEEP][32]; /* their payloads */
};

static void on_message(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed)
{
    struct seen *s = context;
    if (s->messages < KEEP) {
        s->req[s->messages] = req;
        s->malformed[s->messages] = malformed;
        (void)snprintf(s->text[s->messages], sizeof(s->text[0]), "%.*s", SLICE_ARG(payload));
    }
    s->messages++;
    s->turn_messages++;
    if (s->echo) {
        assert_int_equal(zio_send_to(s->zio, peer, req, payload), ZIO_SENT);
    }
    if (s->messages >= s->wanted) {
        (void)event_base_loopbreak(s->base);
    }
}

static void on_turn(void *context)
{
    struct seen *s = context;
    s->turns++;
    if (s->turn_messages > s->turn_messages_max) {
        s->turn_messages_max = s->turn_messages;
    }
    s->turn_messages = 0;
}

struct bench {
    void *ctx;  /* ZeroMQ context, shared with the peer */
    void *peer; /* raw socket at the other end */
    struct seen seen;
};

static struct bench bench_new(int peer_type)
{
    struct bench b = {.ctx = zmq_ctx_new(), .seen = {.base = event_base_new(), .wanted = 1}};
    b.peer = zmq_socket(b.ctx, peer_type);
    int none = 0;
    assert_int_equal(zmq_setsockopt(b.peer, ZMQ_LINGER, &none, sizeof(none)), 0);
    assert_int_equal(zmq_setsockopt(b.peer, ZMQ_RCVHWM, &none, sizeof(none)), 0);
    return b;
}

static void bench_open(struct bench *b, enum zio_kind kind, const char *address, bool bind,
                       int receive_max)
{
    struct zio_options o = {.kind = kind,
                            .address = address,
                            .bind = bind,
                            .message_bytes_max = 1000,
                            .receive_max = receive_max,
                            .on_message = on_message,
                            .on_turn = on_turn,
                            .context = &b->seen};
    const char *error = NULL;
    b->seen.zio = zio_new(b->seen.base, b->ctx, &o, &error);
    assert_non_null(b->seen.zio);
}

static void bench_free(struct bench *b)
{
    zio_destroy(&b->seen.zio);
    assert_null(b->seen.zio);
    zio_destroy(&b->seen.zio);
    (void)zmq_close(b->peer);
    event_base_free(b->seen.base);
    (void)zmq_ctx_term(b->ctx);
}

/* Runs the loop until the wanted number of messages came. */
static void run(struct bench *b, int wanted)
{
    b->seen.wanted = wanted;
    const struct timeval patience = {PATIENCE_MS / 1000, 0};
    (void)event_base_loopexit(b->seen.base, &patience);
    if (b->seen.messages < wanted) {
        (void)event_base_loop(b->seen.base, EVLOOP_NO_EXIT_ON_EMPTY);
    }
    assert_int_equal(b->seen.messages, wanted);
}

static void push(void *socket, const char *text, int flags)
{
    assert_int_equal(zmq_send(socket, text, strlen(text), flags), (int)strlen(text));
}

static void pull(void *socket, const char *expected)
{
    char text[32] = "";
    int patience = PATIENCE_MS;
    assert_int_equal(zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof(patience)), 0);
    int n = zmq_recv(socket, text, sizeof(text) - 1, 0);
    assert_int_equal(n, (int)strlen(expected));
    assert_string_equal(text, expected);
}

static void frames_and_delimiters(void **state)
{
    (void)state;
    struct bench b = bench_new(ZMQ_DEALER);
    bench_open(&b, ZIO_ROUTER, "inproc://a", true, 0);
    assert_int_equal(zmq_connect(b.peer, "inproc://a"), 0);
    b.seen.echo = true;
    push(b.peer, "plain", 0);
    push(b.peer, "", ZMQ_SNDMORE);
    push(b.peer, "asked", 0);
    push(b.peer, "two", ZMQ_SNDMORE);
    push(b.peer, "frames", 0);
    push(b.peer, "", ZMQ_SNDMORE);
    push(b.peer, "many", ZMQ_SNDMORE);
    push(b.peer, "of", ZMQ_SNDMORE);
    push(b.peer, "them", 0);
    push(b.peer, "", 0);
    run(&b, 5);
    const char *texts[] = {"plain", "asked", "two", "many", ""};
    const bool req[] = {false, true, false, true, false};
    const bool malformed[] = {false, false, true, true, false};
    for (int i = 0; i < 5; i++) {
        assert_string_equal(b.seen.text[i], texts[i]);
        assert_int_equal(b.seen.req[i], req[i]);
        assert_int_equal(b.seen.malformed[i], malformed[i]);
        if (req[i]) {
            pull(b.peer, "");
        }
        pull(b.peer, texts[i]);
    }
    bench_free(&b);
}

static void turns_are_bounded(void **state)
{
    (void)state;
    struct bench b = bench_new(ZMQ_DEALER);
    bench_open(&b, ZIO_ROUTER, "inproc://b", true, 10);
    assert_int_equal(zmq_connect(b.peer, "inproc://b"), 0);
    for (int i = 0; i < 995; i++) {
        push(b.peer, "x", 0);
    }
    run(&b, 995);
    assert_int_equal(b.seen.turn_messages_max, 10);
    assert_true(b.seen.turns >= 99);
    bench_free(&b);
}

static void send_for_a_while(struct seen *s)
{
    int64_t end = clock_mono_ms() + 10;
    do { /* libzmq looks for commands once in a millisecond or so of sending */
        assert_int_equal(zio_send(s->zio, SLICE("out")), ZIO_SENT);
    } while (clock_mono_ms() < end);
}

/* Over inproc the peer's message has arrived when its send returns, and the sends of another
 * callback (any but the socket's own) swallow the signal on ZMQ_FD before the loop has seen it. */
static void a_send_elsewhere_loses_no_wakeup(void **state)
{
    (void)state;
    struct bench b = bench_new(ZMQ_DEALER);
    assert_int_equal(zmq_bind(b.peer, "inproc://c"), 0);
    bench_open(&b, ZIO_DEALER, "inproc://c", false, 0);
    assert_int_equal(event_base_loop(b.seen.base, EVLOOP_NONBLOCK), 0);
    for (int i = 1; i <= 5; i++) {
        push(b.peer, "in", 0);
        send_for_a_while(&b.seen);
        run(&b, i);
    }
    bench_free(&b);
}

static void a_paused_socket_reads_nothing(void **state)
{
    (void)state;
    struct bench b = bench_new(ZMQ_DEALER);
    bench_open(&b, ZIO_ROUTER, "inproc://d", true, 0);
    assert_int_equal(zmq_connect(b.peer, "inproc://d"), 0);
    zio_pause(b.seen.zio, true);
    zio_pause(b.seen.zio, true);
    push(b.peer, "x", 0);
    assert_int_equal(event_base_loop(b.seen.base, EVLOOP_NONBLOCK), 1);
    assert_int_equal(b.seen.messages, 0);
    zio_pause(b.seen.zio, false);
    run(&b, 1);
    bench_free(&b);
}

static void strangers_are_gone(void **state)
{
    (void)state;
    struct bench b = bench_new(ZMQ_DEALER);
    bench_open(&b, ZIO_ROUTER, "inproc://e", true, 0);
    assert_int_equal(zio_send_to(b.seen.zio, SLICE("12345"), false, SLICE("x")), ZIO_GONE);
    assert_int_equal(zio_send_to(b.seen.zio, SLICE("12345"), true, SLICE("x")), ZIO_GONE);
    bench_free(&b);
}

static void a_full_peer_is_an_alarm(void **state)
{
    (void)state;
    struct bench b = bench_new(ZMQ_PAIR);
    bench_open(&b, ZIO_DEALER, "inproc://nobody-binds-it", false, 0);
    enum zio_sent sent = ZIO_SENT;
    int taken = 0;
    while (sent == ZIO_SENT && taken < 10 * ZIO_SEND_HWM) {
        sent = zio_send(b.seen.zio, SLICE("x"));
        taken++;
    }
    assert_int_equal(sent, ZIO_FULL);
    bench_free(&b);
}

static void errors_have_words(void **state)
{
    (void)state;
    void *ctx = zmq_ctx_new();
    struct event_base *base = event_base_new();
    struct zio_options o = {.kind = ZIO_ROUTER,
                            .address = "tcp://127.0.0.1:*",
                            .bind = true,
                            .message_bytes_max = 1000,
                            .on_message = on_message};
    void *other = zmq_socket(ctx, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(other, "tcp://127.0.0.1:*"), 0);
    char taken[64];
    size_t size = sizeof(taken);
    assert_int_equal(zmq_getsockopt(other, ZMQ_LAST_ENDPOINT, taken, &size), 0);
    const char *error = NULL;
    o.address = taken;
    assert_null(zio_new(base, ctx, &o, &error));
    assert_string_equal(error, "address already in use");
    o.address = "localhost:1";
    assert_null(zio_new(base, ctx, &o, &error));
    assert_non_null(strstr(error, "not an address"));
    o.address = "tcp://203.0.113.1:5560";
    assert_null(zio_new(base, ctx, &o, &error));
    assert_string_equal(error, "no such address on this machine");
    (void)zmq_close(other);
    event_base_free(base);
    (void)zmq_ctx_term(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_and_delimiters),
        cmocka_unit_test(turns_are_bounded),
        cmocka_unit_test(a_send_elsewhere_loses_no_wakeup),
        cmocka_unit_test(a_paused_socket_reads_nothing),
        cmocka_unit_test(strangers_are_gone),
        cmocka_unit_test(a_full_peer_is_an_alarm),
        cmocka_unit_test(errors_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
