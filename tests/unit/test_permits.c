/* permits: keys of the records at real sockets: let in, bound, cut off when they are revoked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "broker/permits.h"
#include "common/adapters/curve.h"
#include "common/base/clock.h"

enum { PATIENCE_MS = 10000, LOOK_MS = 5, KEYS = 4 };

/* One peer with a pair of its own. */
struct knocker {
    struct curve_pair pair;
    void *dealer;
};

struct bench {
    struct event_base *base;
    void *ctx;
    struct curve_pair server;
    struct permits *permits;
    struct zio *router; /* clients' side */
    char address[64];   /* of it */
    int heard[KEYS];    /* messages by knocker */
    int refused;        /* messages of nobody */
    struct knocker k[KEYS];
};

static const char *const names[KEYS] = {"k0", "k1", "k2", "k3"};

static void on_message(void *context, struct slice peer, bool req, struct slice payload,
                       bool malformed)
{
    struct bench *b = context;
    (void)req, (void)payload, (void)malformed;
    const struct curve_key *who = permits_sender(b->permits, PERMITS_CLIENTS, b->router, peer);
    if (who == NULL) {
        b->refused++;
        return;
    }
    for (int i = 0; i < KEYS; i++) {
        b->heard[i] += strcmp(who->name, names[i]) == 0;
    }
}

static void open_router(struct bench *b)
{
    const char *error = NULL;
    for (int port = 21000; b->router == NULL && port < 60000; port++) {
        (void)snprintf(b->address, sizeof(b->address), "tcp://127.0.0.1:%d", port);
        const struct zio_options o = {.kind = ZIO_ROUTER,
                                      .address = b->address,
                                      .bind = true,
                                      .message_bytes_max = 1000,
                                      .curve = permits_curve(b->permits, PERMITS_CLIENTS),
                                      .on_message = on_message,
                                      .context = b};
        b->router = zio_new(b->base, b->ctx, &o, &error);
    }
    assert_non_null(b->router);
    assert_true(permits_watch(b->permits, b->router, &error));
}

static int setup(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    const char *error = NULL;
    b->base = event_base_new();
    b->ctx = zmq_ctx_new();
    curve_pair_make(&b->server);
    for (int i = 0; i < KEYS; i++) {
        curve_pair_make(&b->k[i].pair);
    }
    b->permits = permits_new(b->base, b->ctx, &b->server, &error);
    assert_non_null(b->permits);
    open_router(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    for (int i = 0; i < KEYS; i++) {
        if (b->k[i].dealer != NULL) {
            (void)zmq_close(b->k[i].dealer);
        }
    }
    zio_destroy(&b->router);
    permits_destroy(&b->permits);
    permits_destroy(&b->permits);
    event_base_free(b->base);
    (void)zmq_ctx_term(b->ctx);
    free(b);
    return 0;
}

/* Records with the key of each knocker: its lines behind the public key; NULL: no record. */
static void tell(struct bench *b, const char *const lines[KEYS])
{
    struct record_text texts[KEYS];
    char text[KEYS][256], name[KEYS][8];
    struct yaml_error error;
    size_t n = 0;
    for (int i = 0; i < KEYS; i++) {
        if (lines[i] != NULL) {
            (void)snprintf(text[n], sizeof(text[n]), "public_key: \"%s\"\n%s",
                           b->k[i].pair.public_key, lines[i]);
            (void)snprintf(name[n], sizeof(name[n]), "%s", names[i]);
            texts[n] =
                (struct record_text){.kind = RECORD_CURVE_KEY, .name = name[n], .text = text[n]};
            n++;
        }
    }
    struct records *r = records_build(texts, n, 1, &error);
    if (r == NULL) {
        fail_msg("%s", error.text);
    }
    permits_records(b->permits, r);
    records_unref(&r);
}

static void text(void *socket, int option, const char *value)
{
    assert_int_equal(zmq_setsockopt(socket, option, value, strlen(value)), 0);
}

static void knock(struct bench *b, int i, const char *routing_id)
{
    struct knocker *k = &b->k[i];
    int none = 0;
    k->dealer = zmq_socket(b->ctx, ZMQ_DEALER);
    assert_int_equal(zmq_setsockopt(k->dealer, ZMQ_LINGER, &none, sizeof(none)), 0);
    text(k->dealer, ZMQ_CURVE_PUBLICKEY, k->pair.public_key);
    text(k->dealer, ZMQ_CURVE_SECRETKEY, k->pair.secret_key);
    text(k->dealer, ZMQ_CURVE_SERVERKEY, b->server.public_key);
    if (routing_id != NULL) {
        text(k->dealer, ZMQ_ROUTING_ID, routing_id);
    }
    assert_int_equal(zmq_connect(k->dealer, b->address), 0);
    assert_int_equal(zmq_send(k->dealer, "hello", 5, 0), 5);
}

static uint64_t ended(const struct bench *b, enum zap_verdict verdict)
{
    return permits_stats(b->permits).handshakes[verdict];
}

static bool look(struct bench *b, int64_t end_ms)
{
    const struct timeval soon = {0, LOOK_MS * 1000};
    (void)event_base_loopexit(b->base, &soon);
    (void)event_base_loop(b->base, EVLOOP_NO_EXIT_ON_EMPTY);
    assert_true(clock_mono_ms() < end_ms);
    return true;
}

#define until(b, condition)                                                                        \
    for (int64_t end_ms = clock_mono_ms() + PATIENCE_MS; !(condition) && look((b), end_ms);) {     \
    }

static void kinds_open_their_socket_alone(void **state)
{
    struct bench *b = *state;
    tell(b,
         (const char *const[KEYS]){"kind: client\n", "kind: worker\n", "kind: operator\n", NULL});
    for (int i = 0; i < KEYS; i++) {
        knock(b, i, NULL);
    }
    until(b, b->heard[0] == 1 && b->heard[2] == 1 && ended(b, ZAP_WRONG_KIND) == 1 &&
                 ended(b, ZAP_UNKNOWN) == 1);
    assert_int_equal(b->heard[1] + b->heard[3] + b->refused, 0);
    assert_int_equal(ended(b, ZAP_ALLOWED), 2);
}

static void nobody_comes_in_before_the_records(void **state)
{
    struct bench *b = *state;
    knock(b, 0, NULL);
    (void)look(b, INT64_MAX);
    assert_int_equal(b->heard[0] + b->refused, 0);
    tell(b, (const char *const[KEYS]){"kind: gateway\n", NULL, NULL, NULL});
    until(b, b->heard[0] == 1);
}

/* The connection is cut, and does not come back; another's is not touched. */
static void a_revoked_key_is_cut_off(void **state)
{
    struct bench *b = *state;
    tell(b, (const char *const[KEYS]){"kind: client\n", "kind: client\n", NULL, NULL});
    knock(b, 0, NULL);
    knock(b, 1, NULL);
    until(b, b->heard[0] == 1 && b->heard[1] == 1);
    tell(b,
         (const char *const[KEYS]){"kind: client\nrevoked: true\n", "kind: client\n", NULL, NULL});
    assert_int_equal(permits_stats(b->permits).cut, 1);
    until(b, ended(b, ZAP_REVOKED) > 0); /* it tried again */
    assert_int_equal(zmq_send(b->k[1].dealer, "again", 5, 0), 5);
    until(b, b->heard[1] == 2);
    assert_int_equal(b->heard[0], 1);
    assert_int_equal(ended(b, ZAP_ALLOWED), 2);                 /* the other one never had to */
    tell(b, (const char *const[KEYS]){NULL, NULL, NULL, NULL}); /* a record that is gone, too */
    until(b, ended(b, ZAP_UNKNOWN) > 0);
    assert_int_equal(permits_stats(b->permits).cut, 2);
}

/* What a revoked one had sent before it was cut is not taken any more. */
static void words_on_their_way_are_refused(void **state)
{
    struct bench *b = *state;
    tell(b, (const char *const[KEYS]){"kind: client\n", NULL, NULL, NULL});
    knock(b, 0, NULL);
    until(b, b->heard[0] == 1);
    zio_pause(b->router, true);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(zmq_send(b->k[0].dealer, "late", 4, 0), 4);
    }
    tell(b, (const char *const[KEYS]){"kind: client\nrevoked: true\n", NULL, NULL, NULL});
    zio_pause(b->router, false);
    until(b, ended(b, ZAP_REVOKED) > 0);
    assert_int_equal(b->heard[0], 1);
}

/* Its answers could reach whoever comes with the same one later. */
static void a_chosen_routing_id_is_refused(void **state)
{
    struct bench *b = *state;
    tell(b, (const char *const[KEYS]){"kind: client\n", NULL, NULL, NULL});
    knock(b, 0, "chosen");
    until(b, b->refused > 0 && permits_stats(b->permits).cut > 0);
    assert_int_equal(b->heard[0], 0);
}

static void assert_may(const struct curve_key *k, const char *route, const char *tenant, bool may)
{
    const char *detail = NULL;
    assert_int_equal(permits_job(k, slice_of(route), slice_of(tenant), &detail), may);
    assert_true((detail == NULL) == may);
}

static void a_key_is_for_its_tenants_and_routes(void **state)
{
    (void)state;
    struct curve_key k = {.kind = KEY_CLIENT,
                          .tenants = {.count = 2, .at = {(char[]){"a"}, (char[]){"acme:"}}},
                          .routes = {.count = 1, .at = {(char[]){"demo"}}}};
    assert_may(&k, "demo", "a", true);
    assert_may(&k, "demo", "acme:1", true);
    assert_may(&k, "demo", "acme:", true);
    assert_may(&k, "demo", "acme", false);
    assert_may(&k, "demo", "", false);
    assert_may(&k, "demo", "ab", false);
    assert_may(&k, "demo2", "a", false);
    assert_may(&k, "dem", "a", false);
    assert_true(permits_bound(&k));
    assert_false(permits_operator(&k));
    k.tenants.count = 0;
    assert_may(&k, "demo", "", true);
    assert_true(permits_bound(&k));
    k.routes.count = 0;
    assert_may(&k, "any", "any", true);
    assert_false(permits_bound(&k));
}

static void without_keys_everybody_may_everything(void **state)
{
    (void)state;
    const char *error = NULL;
    const struct curve_key *who = permits_sender(NULL, PERMITS_WORKERS, NULL, SLICE("chosen"));
    assert_non_null(who);
    assert_true(permits_operator(who));
    assert_false(permits_bound(who));
    assert_null(permits_curve(NULL, PERMITS_CLIENTS));
    assert_true(permits_watch(NULL, NULL, &error));
}

#define BENCH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH(kinds_open_their_socket_alone),
        BENCH(nobody_comes_in_before_the_records),
        BENCH(a_revoked_key_is_cut_off),
        BENCH(words_on_their_way_are_refused),
        BENCH(a_chosen_routing_id_is_refused),
        cmocka_unit_test(a_key_is_for_its_tenants_and_routes),
        cmocka_unit_test(without_keys_everybody_may_everything),
    };
    return cmocka_run_group_tests_name("permits", tests, NULL, NULL);
}
