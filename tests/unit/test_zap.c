/* zap: who is let in at a CURVE socket, who is not, and as whom his messages come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "common/adapters/curve.h"
#include "common/adapters/zap.h"
#include "common/base/clock.h"

enum { PATIENCE_MS = 10000, LOOK_MS = 5 };

struct bench {
    struct event_base *base;
    void *ctx;
    struct zap *zap;
    struct zio *router;               /* under test */
    struct curve_pair server;         /* its own */
    struct curve_pair client;         /* of who knocks */
    enum zap_verdict verdict;         /* what the judge says */
    char domain[32];                  /* what it was asked with last */
    char judged[CURVE_KEY_CHARS + 1]; /* … */
    int messages;                     /* that came */
    char user[64];                    /* of the last message */
    char host[64];                    /* … */
    int fd;                           /* … */
    char address[64];                 /* of the router */
};

static enum zap_verdict judge(void *context, struct slice domain, const char *public_key)
{
    struct bench *b = context;
    (void)snprintf(b->domain, sizeof(b->domain), "%.*s", SLICE_ARG(domain));
    (void)snprintf(b->judged, sizeof(b->judged), "%s", public_key);
    return b->verdict;
}

static void on_message(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed)
{
    struct bench *b = context;
    (void)peer, (void)req, (void)payload, (void)malformed;
    struct zio_sender s = zio_sender(b->router);
    b->messages++;
    (void)snprintf(b->user, sizeof(b->user), "%s", s.user != NULL ? s.user : "");
    (void)snprintf(b->host, sizeof(b->host), "%s", s.host != NULL ? s.host : "");
    b->fd = s.fd;
}

static void open_router(struct bench *b)
{
    const char *error = NULL;
    const struct zio_curve curve = {.public_key = b->server.public_key,
                                    .secret_key = b->server.secret_key,
                                    .domain = "otpq.test"};
    for (int port = 20000; b->router == NULL && port < 60000; port++) {
        (void)snprintf(b->address, sizeof(b->address), "tcp://127.0.0.1:%d", port);
        const struct zio_options o = {.kind = ZIO_ROUTER,
                                      .address = b->address,
                                      .bind = true,
                                      .message_bytes_max = 1000,
                                      .curve = &curve,
                                      .on_message = on_message,
                                      .context = b};
        b->router = zio_new(b->base, b->ctx, &o, &error);
    }
    assert_non_null(b->router);
    assert_true(zap_watch(b->zap, b->router, &error));
}

static int setup(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    const char *error = NULL;
    b->base = event_base_new();
    b->ctx = zmq_ctx_new();
    b->zap = zap_new(b->base, b->ctx, judge, b, &error);
    assert_non_null(b->zap);
    assert_null(zap_new(b->base, b->ctx, judge, b, &error)); /* one for a context */
    curve_pair_make(&b->server);
    curve_pair_make(&b->client);
    open_router(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    zio_destroy(&b->router);
    zap_destroy(&b->zap);
    assert_null(b->zap);
    zap_destroy(&b->zap);
    event_base_free(b->base);
    (void)zmq_ctx_term(b->ctx);
    free(b);
    return 0;
}

static void text(void *socket, int option, const char *value)
{
    assert_int_equal(zmq_setsockopt(socket, option, value, strlen(value)), 0);
}

/* A DEALER with the client's pair, or a plain one, that says something. */
static void *knock(struct bench *b, const char *server_key)
{
    void *dealer = zmq_socket(b->ctx, ZMQ_DEALER);
    int none = 0;
    assert_int_equal(zmq_setsockopt(dealer, ZMQ_LINGER, &none, sizeof(none)), 0);
    if (server_key != NULL) {
        text(dealer, ZMQ_CURVE_PUBLICKEY, b->client.public_key);
        text(dealer, ZMQ_CURVE_SECRETKEY, b->client.secret_key);
        text(dealer, ZMQ_CURVE_SERVERKEY, server_key);
    }
    assert_int_equal(zmq_connect(dealer, b->address), 0);
    assert_int_equal(zmq_send(dealer, "hello", 5, 0), 5);
    return dealer;
}

/* Runs the loop until a handshake has ended so, and with `messages` until they came. */
static void run_until(struct bench *b, enum zap_verdict verdict, int messages)
{
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while ((zap_count(b->zap, verdict) == 0 || b->messages < messages) &&
           clock_mono_ms() < end_ms) {
        const struct timeval look = {0, LOOK_MS * 1000};
        (void)event_base_loopexit(b->base, &look);
        (void)event_base_loop(b->base, EVLOOP_NO_EXIT_ON_EMPTY);
    }
    assert_true(zap_count(b->zap, verdict) > 0);
    assert_int_equal(b->messages, messages);
}

static void who_is_known_comes_in_under_his_key(void **state)
{
    struct bench *b = *state;
    void *dealer = knock(b, b->server.public_key);
    run_until(b, ZAP_ALLOWED, 1);
    assert_string_equal(b->domain, "otpq.test");
    assert_string_equal(b->judged, b->client.public_key);
    assert_string_equal(b->user, b->client.public_key);
    assert_string_equal(b->host, "127.0.0.1");
    struct sockaddr_storage peer;
    socklen_t n = sizeof(peer);
    assert_int_equal(getpeername(b->fd, (struct sockaddr *)&peer, &n), 0);
    assert_int_equal(shutdown(b->fd, SHUT_RDWR), 0); /* it is the connection, not a copy of it */
    assert_int_equal(zmq_send(dealer, "again", 5, 0), 5);
    while (zap_count(b->zap, ZAP_ALLOWED) < 2 && b->messages < 10) {
        (void)event_base_loop(b->base, EVLOOP_ONCE);
    }
    assert_int_equal(zap_count(b->zap, ZAP_ALLOWED), 2); /* so it came anew */
    (void)zmq_close(dealer);
}

static void assert_shut_out(struct bench *b, const char *server_key, enum zap_verdict verdict,
                            enum zap_verdict counted)
{
    b->verdict = verdict;
    void *dealer = knock(b, server_key);
    run_until(b, counted, 0);
    assert_int_equal(zap_count(b->zap, ZAP_ALLOWED), 0);
    (void)zmq_close(dealer);
}

static void a_stranger_does_not(void **state)
{
    struct bench *b = *state;
    assert_shut_out(b, b->server.public_key, ZAP_UNKNOWN, ZAP_UNKNOWN);
}

static void a_revoked_key_does_not(void **state)
{
    struct bench *b = *state;
    assert_shut_out(b, b->server.public_key, ZAP_REVOKED, ZAP_REVOKED);
}

static void a_plain_peer_comes_to_no_key(void **state)
{
    assert_shut_out(*state, NULL, ZAP_ALLOWED, ZAP_NO_KEY);
}

static void who_takes_us_for_another_comes_to_no_key(void **state)
{
    struct bench *b = *state;
    assert_shut_out(b, b->client.public_key, ZAP_ALLOWED, ZAP_NO_KEY);
}

/* Before anybody is known handshakes wait. */
static void who_comes_too_early_waits(void **state)
{
    struct bench *b = *state;
    b->verdict = ZAP_UNKNOWN;
    zap_pause(b->zap, true);
    void *dealer = knock(b, b->server.public_key);
    (void)event_base_loop(b->base, EVLOOP_NONBLOCK);
    b->verdict = ZAP_ALLOWED;
    zap_pause(b->zap, false);
    run_until(b, ZAP_ALLOWED, 1);
    assert_int_equal(zap_count(b->zap, ZAP_UNKNOWN), 0);
    (void)zmq_close(dealer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_known_comes_in_under_his_key, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stranger_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_revoked_key_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_plain_peer_comes_to_no_key, setup, teardown),
        cmocka_unit_test_setup_teardown(who_takes_us_for_another_comes_to_no_key, setup, teardown),
        cmocka_unit_test_setup_teardown(who_comes_too_early_waits, setup, teardown),
    };
    return cmocka_run_group_tests_name("zap", tests, NULL, NULL);
}
