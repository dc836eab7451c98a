/* OTPQ/1 and OTPQ-W/1: what is written is read, what breaks a rule is named, nothing crashes. */
#include "common/meaning/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/rng.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct slice small_body = TEXT("\x81\xa6msisdn\xa2"
                                            "66");

static struct wire_reader open_ok(struct slice message, const char *magic)
{
    struct wire_reader r;
    assert_true(wire_open(&r, message, magic));
    return r;
}

/* ---- there and back ------------------------------------------------------------------------- */

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static void test_submit(void **state)
{
    (void)state;
    struct buf b;
    struct wire_submit_read got;
    struct wire_submit s = {.id = SLICE("o-1"),
                            .route = SLICE("demo"),
                            .tenant = SLICE("t 1"),
                            .trace = SLICE(TRACE),
                            .op = WIRE_OP_VERIFY,
                            .ack = WIRE_ACK_QUEUED,
                            .pri = 0,
                            .ttl_ms = 1,
                            .delay_ms = 70000,
                            .again = true};
    buf_init(&b, WIRE_MESSAGE_BYTES_MAX);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
    wire_put_submit(&b, &s, small_body);
    wire_put_submit(&b,
                    &(struct wire_submit){
                        .id = SLICE("2"), .route = SLICE("r"), .pri = 5, .ttl_ms = WIRE_TTL_MAX_MS},
                    (struct slice){0});
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(r.verb, WIRE_SUBMIT);
    assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
    assert_false(got.invalid);
    assert_true(slice_eq(got.submit.id, s.id) && slice_eq(got.submit.route, s.route));
    assert_true(slice_eq(got.submit.tenant, s.tenant) && slice_eq(got.submit.trace, s.trace));
    assert_int_equal(got.submit.op, WIRE_OP_VERIFY);
    assert_int_equal(got.submit.ack, WIRE_ACK_QUEUED);
    assert_int_equal(got.submit.pri, 0);
    assert_int_equal(got.submit.ttl_ms, 1);
    assert_int_equal(got.submit.delay_ms, 70000);
    assert_true(got.submit.again);
    assert_true(slice_eq(got.body, small_body));
    assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
    assert_true(slice_is(got.body, "\x80"));
    assert_int_equal(got.submit.ttl_ms, WIRE_TTL_MAX_MS);
    assert_false(got.submit.again);
    assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_END);
    assert_int_equal(r.pairs, 2);
    buf_free(&b);
}

static void test_submit_defaults(void **state)
{
    (void)state;
    static const char *const ops[] = {"send",        "verify",   "flash.create",
                                      "flash.query", "callback", "report"};
    static const uint8_t pris[] = {5, 7, 5, 5, 3, 7};
    for (int i = 0; i < WIRE_OPS; i++) {
        struct buf b;
        struct wire_submit_read got;
        buf_init(&b, 4096);
        wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
        pack_put_map(&b, 3);
        pack_put_str(&b, SLICE("route"));
        pack_put_str(&b, SLICE("demo"));
        pack_put_str(&b, SLICE("op"));
        pack_put_str(&b, slice_of(ops[i]));
        pack_put_str(&b, SLICE("id"));
        pack_put_str(&b, SLICE("x"));
        pack_put_map(&b, 0);
        struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
        assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
        assert_false(got.invalid);
        assert_int_equal(got.submit.op, i);
        assert_int_equal(got.submit.pri, pris[i]);
        assert_int_equal(got.submit.ttl_ms, 30000);
        assert_int_equal(got.submit.delay_ms, 0);
        assert_int_equal(got.submit.ack, WIRE_ACK_RESULT);
        buf_free(&b);
    }
}

static void test_results(void **state)
{
    (void)state;
    for (int code = 1; code < RESULT_CODES; code++) {
        struct buf b;
        struct wire_result got;
        struct slice body;
        struct wire_result sent = {.id = SLICE("x"),
                                   .end = (enum job_end)(code % JOB_ENDS),
                                   .code = (enum result_code)code,
                                   .queued_ms = UINT32_MAX,
                                   .run_ms = 300,
                                   .attempts = 2,
                                   .trace_id = SLICE("r07abc")};
        buf_init(&b, 4096);
        wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_RESULT);
        wire_put_result(&b, &sent, small_body);
        struct wire_reader r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
        assert_int_equal(wire_next_result(&r, &got, &body), WIRE_NEXT_PAIR);
        assert_int_equal(got.end, sent.end);
        assert_int_equal(got.code, sent.code);
        assert_int_equal(got.queued_ms, UINT32_MAX);
        assert_int_equal(got.run_ms, 300);
        assert_int_equal(got.attempts, 2);
        assert_true(slice_is(got.trace_id, "r07abc"));
        assert_true(slice_eq(body, small_body));
        buf_free(&b);
    }
}

static void test_purge(void **state)
{
    (void)state;
    struct buf b;
    struct wire_purge got;
    struct wire_purged sum;
    struct slice id;
    const char *rule;
    const struct wire_purge p = {.id = SLICE("q-1"),
                                 .route = SLICE("demo"),
                                 .tenant = SLICE("1001"),
                                 .op = WIRE_OP_VERIFY,
                                 .older_ms = 300000,
                                 .wait_ms = 9000,
                                 .dry = true};
    buf_init(&b, 4096);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_OPERATE);
    wire_put_purge(&b, &p);
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_purge(&r, &got, &rule), WIRE_NEXT_PAIR);
    assert_null(rule);
    assert_true(slice_is(got.id, "q-1") && slice_is(got.route, "demo") &&
                slice_is(got.tenant, "1001") && got.op == WIRE_OP_VERIFY && got.dry &&
                got.older_ms == 300000 && got.wait_ms == 9000);
    buf_clear(&b);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_OPERATE);
    wire_put_purge(&b, &(struct wire_purge){.op = WIRE_OPS});
    r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_purge(&r, &got, &rule), WIRE_NEXT_PAIR);
    assert_true(rule == NULL && got.op == WIRE_OPS && got.route.n == 0 && !got.dry);
    buf_clear(&b);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_OPERATE);
    wire_put_purged(&b, SLICE("q-1"), &(struct wire_purged){.ended = 5000000000, .kept = 1});
    r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_purged(&r, &id, &sum), WIRE_NEXT_PAIR);
    assert_true(slice_is(id, "q-1") && sum.ended == 5000000000 && sum.kept == 1 &&
                sum.pending == 0);
    buf_free(&b);
}

/* An unknown action is refused with its rule, and its id comes back. */
static void test_purge_rules(void **state)
{
    (void)state;
    static const struct {
        struct slice envelope;
        const char *rule;
    } cases[] = {
        {TEXT("\x80"), "action: purge"},
        {TEXT("\x82\xa2id\xa1q\xa6"
              "action\xa4"
              "burn"),
         "action: purge"},
        {TEXT("\x82\xa6"
              "action\xa5purge\xa2op\xa1x"),
         "op: one of send, verify, flash.create, flash.query, callback, report"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b;
        struct wire_purge got;
        const char *rule;
        buf_init(&b, 4096);
        wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_OPERATE);
        buf_put_slice(&b, cases[i].envelope);
        buf_putc(&b, (char)0x80);
        struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
        assert_int_equal(wire_next_purge(&r, &got, &rule), WIRE_NEXT_PAIR);
        assert_non_null(rule);
        assert_string_equal(rule, cases[i].rule);
        assert_true(i != 1 || slice_is(got.id, "q"));
        buf_free(&b);
    }
}

static void test_worker_verbs(void **state)
{
    (void)state;
    struct buf b;
    struct slice body, id;
    struct wire_job job;
    struct wire_give_back back;
    struct wire_hello hello;
    uint64_t total;
    uint32_t attempt;
    buf_init(&b, 4096);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_JOB);
    wire_put_job(&b,
                 &(struct wire_job){.id = SLICE("j"),
                                    .route = SLICE("r"),
                                    .op = WIRE_OP_CALLBACK,
                                    .attempt = 3,
                                    .ttl_ms = 29,
                                    .queued_ms = 7},
                 small_body);
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_job(&r, &job, &body), WIRE_NEXT_PAIR);
    assert_true(job.attempt == 3 && job.ttl_ms == 29 && job.queued_ms == 7 &&
                job.op == WIRE_OP_CALLBACK && job.tenant.n == 0);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_BACK);
    wire_put_back(&b, &(struct wire_give_back){.id = SLICE("j"),
                                               .attempt = 3,
                                               .attempt_seen = 4,
                                               .delay_ms = 5,
                                               .code = RESULT_STORE_UNAVAILABLE});
    wire_put_back(&b, &(struct wire_give_back){.id = SLICE("k"), .attempt = 1});
    r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_back(&r, &back), WIRE_NEXT_PAIR);
    assert_true(back.attempt == 3 && back.attempt_seen == 4 && back.delay_ms == 5 &&
                back.code == RESULT_STORE_UNAVAILABLE);
    assert_int_equal(wire_next_back(&r, &back), WIRE_NEXT_PAIR);
    assert_true(back.code == RESULT_NONE && back.delay_ms == 0);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_HELLO);
    wire_put_hello(&b, &(struct wire_hello){.name = SLICE("w"),
                                            .pid = 1ULL << 40,
                                            .protocol = 1,
                                            .version = SLICE("0.1"),
                                            .capacity = 5000});
    r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_hello(&r, &hello), WIRE_NEXT_PAIR);
    assert_true(hello.pid == 1ULL << 40 && hello.protocol == 1 && hello.capacity == 5000);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_CREDIT);
    wire_put_credit(&b, UINT64_MAX);
    r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_credit(&r, &total), WIRE_NEXT_PAIR);
    assert_true(total == UINT64_MAX);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_STARTED);
    wire_put_started(&b, SLICE("j"), 9);
    r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_started(&r, &id, &attempt), WIRE_NEXT_PAIR);
    assert_true(slice_is(id, "j") && attempt == 9);
    buf_free(&b);
}

static void test_client_answers(void **state)
{
    (void)state;
    struct buf b;
    struct slice id, word;
    struct wire_nack nack;
    buf_init(&b, 4096);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_NACK);
    wire_put_nack(&b, &(struct wire_nack){.error = SLICE("malformed"), .detail = SLICE("at 4")});
    wire_put_nack(&b, &(struct wire_nack){
                          .id = SLICE("i"), .error = SLICE("queue_full"), .retry_after_ms = 50});
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_nack(&r, &nack), WIRE_NEXT_PAIR);
    assert_true(nack.id.n == 0 && slice_is(nack.detail, "at 4"));
    assert_int_equal(wire_next_nack(&r, &nack), WIRE_NEXT_PAIR);
    assert_true(slice_is(nack.error, "queue_full") && nack.retry_after_ms == 50);
    buf_clear(&b);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_ACCEPTED);
    wire_put_accepted(&b, SLICE("i"), "duplicate");
    r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_accepted(&r, &id, &word), WIRE_NEXT_PAIR);
    assert_true(slice_is(word, "duplicate"));
    buf_clear(&b);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_GET);
    wire_put_id(&b, SLICE("i"));
    wire_put_id(&b, SLICE("not an id"));
    r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_id(&r, &id), WIRE_NEXT_PAIR);
    assert_true(slice_is(id, "i"));
    assert_int_equal(wire_next_id(&r, &id), WIRE_NEXT_PAIR);
    assert_int_equal(id.n, 0);
    assert_int_equal(wire_next_id(&r, &id), WIRE_NEXT_END);
    buf_free(&b);
}

static void test_info_fits_a_body(void **state)
{
    (void)state;
    static struct wire_info_route routes[WIRE_INFO_ROUTES_MAX], got[WIRE_INFO_ROUTES_MAX];
    struct wire_info info, back;
    struct buf b;
    struct slice id, body;
    uint32_t count;
    const char *error = NULL;
    char name[WIRE_ROUTE_BYTES_MAX];
    memset(&info, 0xff, sizeof(info));
    info.version = SLICE("0.1.0");
    info.durability = SLICE("everysec");
    info.draining = true;
    memset(name, 'r', sizeof(name));
    for (uint32_t i = 0; i < WIRE_INFO_ROUTES_MAX; i++) {
        memset(&routes[i], 0xff, sizeof(routes[i]));
        routes[i].name = slice_make(name, sizeof(name));
        routes[i].paused = i % 2 == 0;
        routes[i].held = routes[i].draining = routes[i].stored = true;
        routes[i].breaker = 2;
    }
    buf_init(&b, WIRE_MESSAGE_BYTES_MAX);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_INFO);
    wire_put_info(&b, SLICE("q"), &info, routes, WIRE_INFO_ROUTES_MAX);
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_info(&r, &id, &body), WIRE_NEXT_PAIR);
    assert_true(slice_is(id, "q"));
    assert_true(body.n <= WIRE_INFO_BYTES_MAX);
    assert_true(wire_info_decode(body, &back, got, &count, &error));
    assert_int_equal(count, WIRE_INFO_ROUTES_MAX);
    assert_true(back.storing == UINT64_MAX && back.on_shelf == UINT64_MAX);
    assert_true(back.adopted == UINT64_MAX && got[7].adopted == UINT64_MAX);
    assert_true(got[7].storing == UINT64_MAX && got[7].on_shelf == UINT64_MAX);
    assert_true(back.redispatched == UINT64_MAX && slice_is(back.version, "0.1.0"));
    assert_true(got[0].paused && !got[1].paused && got[1].breaker == 2);
    assert_true(back.draining && got[1].held && got[1].draining && got[1].stored);
    assert_int_equal(wire_next_info(&r, &id, &body), WIRE_NEXT_END);
    buf_free(&b);
}

/* ---- rules broken, one pair at a time ------------------------------------------------------- */

struct rule_row {
    struct slice envelope; /* msgpack */
    const char *says;      /* beginning of the detail; NULL: fine */
    const char *id;        /* echoed */
};

#define IOR                                                                                        \
    "\xa2id\xa1"                                                                                   \
    "x"                                                                                            \
    "\xa2op\xa4send\xa5route\xa1r"
static const struct rule_row rule_rows[] = {
    {TEXT("\x83" IOR), NULL, "x"},
    {TEXT("\x83\xc4\x02id\xc4\x01x\xa2op\xc4\x04send\xa5route\xc4\x01r"), NULL, "x"},
    {TEXT("\x84" IOR "\xa3new\x93\x01\x02\x81\xa1k\xc0"), NULL, "x"},
    {TEXT("\x84" IOR "\xa2id\xa1y"), NULL, "x"},
    {TEXT("\x84" IOR "\xa3pri\xd3\0\0\0\0\0\0\0\x09"), NULL, "x"},
    {TEXT("\x84" IOR "\xa6ttl_ms\xcf\0\0\0\0\0\0\x75\x30"), NULL, "x"},
    {TEXT("\x82\xa2op\xa4send\xa5route\xa1r"), "id:", ""},
    {TEXT("\x82\xa2id\xa1x\xa5route\xa1r"), "op:", "x"},
    {TEXT("\x82\xa2id\xa1x\xa2op\xa4send"), "route:", "x"},
    {TEXT("\x83\xa2id\xa0\xa2op\xa4send\xa5route\xa1r"), "id:", ""},
    {TEXT("\x83\xa2id\xa3"
          "a b\xa2op\xa4send\xa5route\xa1r"),
     "id:", ""},
    {TEXT("\x83\xa2id\x07\xa2op\xa4send\xa5route\xa1r"), "id:", ""},
    {TEXT("\x83\xa2id\xa1x\xa2op\xa5steal\xa5route\xa1r"), "op:", "x"},
    {TEXT("\x83\xa2id\xa1x\xa2op\xc0\xa5route\xa1r"), "op:", "x"},
    {TEXT("\x83\xa2id\xa1x\xa2op\xa4send\xa5route\xa3"
          "a/b"),
     "route:", "x"},
    {TEXT("\x84" IOR "\xa3pri\x0a"), "pri:", "x"},
    {TEXT("\x84" IOR "\xa3pri\xff"), "pri:", "x"},
    {TEXT("\x84" IOR "\xa3pri\xa1"
          "5"),
     "pri:", "x"},
    {TEXT("\x84" IOR "\xa6ttl_ms\x00"), "ttl_ms:", "x"},
    {TEXT("\x84" IOR "\xa6ttl_ms\xce\x05\x26\x5c\x01"), "ttl_ms:", "x"},
    {TEXT("\x84" IOR "\xa6ttl_ms\xca\x41\x20\0\0"), "ttl_ms:", "x"},
    {TEXT("\x84" IOR "\xa8"
          "delay_ms\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
     "delay_ms:", "x"},
    {TEXT("\x84" IOR "\xa3"
          "ack\xa5maybe"),
     "ack:", "x"},
    {TEXT("\x84" IOR "\xa5trace\x80"), "trace:", "x"},
    {TEXT("\x84" IOR "\xa6tenant\xa3"
          "a\tb"),
     "tenant:", "x"},
    {TEXT("\x84" IOR "\xa6tenant\xa1\xff"), "tenant:", "x"},
    {TEXT("\x84" IOR "\xa5trace\xa3"
          "abc"),
     "trace:", "x"},
    {TEXT("\x84" IOR "\xa6tenant\xa3"
          "a\0b"),
     "tenant:", "x"},
    {TEXT("\x84" IOR "\x05\x06"), "keys:", "x"},
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rule_rows); i++) {
        const struct rule_row *row = &rule_rows[i];
        struct buf b;
        struct wire_submit_read got;
        buf_init(&b, 4096);
        wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
        buf_put_slice(&b, row->envelope);
        buf_put_slice(&b, small_body);
        wire_put_submit(
            &b, &(struct wire_submit){.id = SLICE("after"), .route = SLICE("r"), .ttl_ms = 1},
            small_body);
        struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
        assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
        if (got.invalid != (row->says != NULL)) {
            fail_msg("row %zu: %s", i, got.invalid ? got.nack.detail.p : "was taken");
        }
        if (got.invalid) {
            assert_memory_equal(got.nack.detail.p, row->says, strlen(row->says));
            assert_true(slice_is(got.nack.error, "invalid"));
            assert_true(slice_is(got.nack.id, row->id));
        } else {
            assert_true(slice_is(got.submit.id, row->id));
        }
        assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
        assert_true(!got.invalid && slice_is(got.submit.id, "after"));
        buf_free(&b);
    }
}

static void test_long_ones(void **state)
{
    (void)state;
    static char filler[WIRE_BODY_BYTES_MAX];
    struct buf b;
    struct wire_submit_read got;
    memset(filler, 'x', sizeof(filler));
    buf_init(&b, WIRE_MESSAGE_BYTES_MAX);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
    wire_put_submit(&b,
                    &(struct wire_submit){
                        .id = slice_make(filler, 64), .ttl_ms = 1, .route = slice_make(filler, 64)},
                    small_body);
    wire_put_submit(
        &b, &(struct wire_submit){.id = slice_make(filler, 65), .ttl_ms = 1, .route = SLICE("r")},
        small_body);
    wire_put_submit(&b, &(struct wire_submit){.id = SLICE("big"), .ttl_ms = 1, .route = SLICE("r")},
                    (struct slice){0});
    b.n--; /* its empty body makes room for one of 64 KiB and a little */
    pack_put_map(&b, 1);
    pack_put_str(&b, SLICE("k"));
    pack_put_str(&b, slice_make(filler, sizeof(filler)));
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
    assert_false(got.invalid);
    assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
    assert_true(got.invalid && got.nack.id.n == 0);
    assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
    assert_true(got.invalid && slice_is(got.nack.id, "big"));
    assert_memory_equal(got.nack.detail.p, "body:", 5);
    buf_free(&b);
}

/* ---- malformed frames of every kind --------------------------------------------------------- */

struct bad_row {
    struct slice tail; /* behind "OQ1S" and one good pair */
    size_t offset;     /* of the trouble, counted from the tail's first byte */
    const char *error;
};

static const struct bad_row bad_rows[] = {
    {TEXT("\x01\x80"), 0, "a map is needed here"},
    {TEXT("\x90\x80"), 0, "a map is needed here"},
    {TEXT("\xc1"), 0, "byte 0xc1 is not msgpack"},
    {TEXT("\x81"), 0, "more elements are claimed than bytes are left"},
    {TEXT("\xdf\xff\xff\xff\xff\x01"), 0, "more elements are claimed than bytes are left"},
    {TEXT("\xde\x00"), 0, "an object is cut short"},
    {TEXT("\x81\xa2id\xa9short"), 4, "an object is cut short"},
    {TEXT("\x82\xa2id\xa1x\xd9"), 6, "an object is cut short"},
    {TEXT("\x83" IOR), 22, "the body is missing"},
    {TEXT("\x83" IOR "\x01"), 22, "a body must be a map"},
    {TEXT("\x83" IOR "\x90"), 22, "a body must be a map"},
    {TEXT("\x83" IOR "\xc1"), 22, "a body must be a map"},
    {TEXT("\x83" IOR "\x81\xa1k"), 25, "an object is missing"},
    {TEXT("\x83" IOR "\x81\xa1k\xc1"), 25, "byte 0xc1 is not msgpack"},
    {TEXT("\x83" IOR "\x81\xa1k\xdd\x10\x00\x00\x00"), 30, "an object is missing"},
    {TEXT("\x83" IOR "\x81\x01\x91\x91\x91\x91\x91\x91\x91\x91\xc0"), 31, "nested deeper than 8"},
    {TEXT("\x84" IOR "\xa1?\x91\x91\x91\x91\x91\x91\x91\x91\xc0"), 31, "nested deeper than 8"},
};

static void test_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad_rows); i++) {
        const struct bad_row *row = &bad_rows[i];
        struct buf b;
        struct wire_submit_read got;
        char trouble[128];
        buf_init(&b, 4096);
        wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
        wire_put_submit(
            &b, &(struct wire_submit){.id = SLICE("good"), .route = SLICE("r"), .ttl_ms = 1},
            small_body);
        size_t before = b.n;
        buf_put_slice(&b, row->tail);
        struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
        assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_PAIR);
        assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_BAD);
        wire_trouble(&r, trouble);
        if (strcmp(r.p.error, row->error) != 0 || pack_offset(&r.p) != before + row->offset) {
            fail_msg("row %zu: %s, of the tail %zu", i, trouble, pack_offset(&r.p) - before);
        }
        assert_int_equal(wire_next_submit(&r, &got), WIRE_NEXT_BAD); /* and stays bad */
        buf_free(&b);
    }
}

static void test_openings(void **state)
{
    (void)state;
    static char long_one[WIRE_MESSAGE_BYTES_MAX + 1] = "OQ1S";
    static const struct slice bad[] = {TEXT(""),
                                       TEXT("OQ1"),
                                       TEXT("OW1S"),
                                       TEXT("oq1S"),
                                       TEXT("OQ2S"),
                                       TEXT("GET / HTTP/1.1"),
                                       {long_one, sizeof(long_one)}};
    struct wire_reader r;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(wire_open(&r, bad[i], WIRE_CLIENT_MAGIC));
        assert_non_null(r.p.error);
    }
    assert_true(wire_open(&r, slice_make(long_one, WIRE_MESSAGE_BYTES_MAX), WIRE_CLIENT_MAGIC));
    r = open_ok(SLICE("OQ1P"), WIRE_CLIENT_MAGIC);
    struct slice id;
    assert_int_equal(wire_next_id(&r, &id), WIRE_NEXT_END);
}

static void test_thousand_pairs(void **state)
{
    (void)state;
    struct buf b;
    struct slice id;
    buf_init(&b, WIRE_MESSAGE_BYTES_MAX);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_GET);
    for (int i = 0; i <= WIRE_PAIRS_MAX; i++) {
        wire_put_id(&b, SLICE("i"));
    }
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_CLIENT_MAGIC);
    for (int i = 0; i < WIRE_PAIRS_MAX; i++) {
        assert_int_equal(wire_next_id(&r, &id), WIRE_NEXT_PAIR);
    }
    assert_int_equal(wire_next_id(&r, &id), WIRE_NEXT_BAD);
    assert_string_equal(r.p.error, "more than 1000 pairs in one message");
    buf_free(&b);
}

/* Words of the vocabulary that this version does not know end a message of a peer of ours. */
static void test_strict_envelopes(void **state)
{
    (void)state;
    struct wire_result result;
    struct slice body;
    struct wire_reader r = open_ok(SLICE("OW1R\x83\xa2id\xa1x\xa5state\xa4"
                                         "done\xa4"
                                         "code\xa3new\x80"),
                                   WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_result(&r, &result, &body), WIRE_NEXT_BAD);
    assert_memory_equal(r.p.error, "code:", 5);
}

/* ---- mutations ------------------------------------------------------------------------------- */

static void read_all(struct slice message)
{
    struct wire_reader start, r;
    struct wire_submit_read submit;
    struct wire_job job;
    struct wire_result result;
    struct wire_nack nack;
    struct wire_hello hello;
    struct wire_give_back back;
    struct slice a, b;
    uint64_t total;
    uint32_t attempt;
    if (!wire_open(&start, message, WIRE_CLIENT_MAGIC)) {
        return;
    }
#define WALK(call)                                                                                 \
    r = start;                                                                                     \
    while ((call) == WIRE_NEXT_PAIR) {                                                             \
    }                                                                                              \
    assert_true(pack_offset(&r.p) <= message.n)
    WALK(wire_next_submit(&r, &submit));
    WALK(wire_next_id(&r, &a));
    WALK(wire_next_info(&r, &a, &b));
    WALK(wire_next_job(&r, &job, &a));
    WALK(wire_next_result(&r, &result, &a));
    WALK(wire_next_nack(&r, &nack));
    WALK(wire_next_accepted(&r, &a, &b));
    WALK(wire_next_hello(&r, &hello));
    WALK(wire_next_credit(&r, &total));
    WALK(wire_next_started(&r, &a, &attempt));
    WALK(wire_next_back(&r, &back));
#undef WALK
}

static size_t mutate(struct rng *rng, char *bytes, size_t n)
{
    for (uint64_t i = rng_below(rng, 4) + 1; i > 0; i--) {
        size_t at = 4 + (size_t)rng_below(rng, n - 4);
        switch (rng_below(rng, 4)) {
        case 0:
            bytes[at] = (char)rng_next(rng);
            break;
        case 1:
            bytes[at] = (char)(bytes[at] ^ (1 << rng_below(rng, 8)));
            break;
        case 2:
            bytes[at] = (char)(0xc0 + rng_below(rng, 32)); /* a form with a length */
            break;
        default:
            n = at > 5 ? at : n;
            break;
        }
    }
    return n;
}

static void test_mutations(void **state)
{
    (void)state;
    static const uint64_t seed = 20260101;
    struct rng rng;
    struct buf b;
    rng_seed(&rng, seed);
    buf_init(&b, 4096);
    wire_begin(&b, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
    wire_put_submit(&b,
                    &(struct wire_submit){.id = SLICE("o-1"),
                                          .route = SLICE("demo"),
                                          .ttl_ms = 30000,
                                          .tenant = SLICE("t"),
                                          .delay_ms = 5},
                    small_body);
    wire_put_result(&b, &(struct wire_result){.id = SLICE("x"), .code = RESULT_OTP_SENT},
                    small_body);
    wire_put_job(&b,
                 &(struct wire_job){.id = SLICE("j"),
                                    .route = SLICE("r"),
                                    .attempt = 1,
                                    .via = SLICE("v"),
                                    .moved = RESULT_INTEGRATION_PAUSED},
                 small_body);
    wire_put_back(&b, &(struct wire_give_back){
                          .id = SLICE("j"), .code = RESULT_QUEUE_FULL, .via = SLICE("v")});
    for (int i = 0; i < 200000; i++) {
        char *copy = xmalloc(b.n); /* exact sizes: a sanitizer sees one byte too many */
        memcpy(copy, b.p, b.n);
        size_t n = mutate(&rng, copy, b.n);
        char *exact = xmalloc(n);
        memcpy(exact, copy, n);
        read_all(slice_make(exact, n));
        free(exact);
        free(copy);
    }
    buf_free(&b);
}

static struct wire_job job_again(struct buf *b, struct wire_job job)
{
    struct wire_job out = {0};
    struct slice body;
    buf_clear(b);
    wire_begin(b, WIRE_WORKER_MAGIC, WIRE_W_JOB);
    wire_put_job(b, &job, small_body);
    struct wire_reader r = open_ok(buf_slice(b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_job(&r, &out, &body), WIRE_NEXT_PAIR);
    return out;
}

static void test_a_moved_job(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    struct wire_job j = {.id = SLICE("j"), .route = SLICE("asked"), .attempt = 1};
    struct wire_job out = job_again(&b, j);
    assert_true(out.via.n == 0 && out.moved == RESULT_NONE);
    size_t plain = b.n;
    j.via = SLICE("other");
    j.moved = RESULT_INTEGRATION_PAUSED;
    out = job_again(&b, j);
    assert_true(slice_is(out.route, "asked") && slice_is(out.via, "other"));
    assert_int_equal(out.moved, RESULT_INTEGRATION_PAUSED);
    assert_true(b.n > plain); /* one that has not moved carries neither key */
    j.moved = RESULT_NONE;
    assert_int_equal(job_again(&b, j).moved, RESULT_NONE);
    buf_free(&b);
}

static void test_a_job_given_back_to_go_on_elsewhere(void **state)
{
    (void)state;
    struct buf b;
    struct wire_give_back back;
    char longest[WIRE_ROUTE_BYTES_MAX + 1];
    memset(longest, 'x', sizeof(longest));
    buf_init(&b, 4096);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_BACK);
    wire_put_back(&b, &(struct wire_give_back){.id = SLICE("j"),
                                               .attempt = 1,
                                               .code = RESULT_NOT_ELIGIBLE,
                                               .via = SLICE("other")});
    wire_put_back(&b, &(struct wire_give_back){.id = SLICE("k"),
                                               .attempt = 1,
                                               .via = slice_make(longest, sizeof(longest) - 1)});
    wire_put_back(&b, &(struct wire_give_back){.id = SLICE("l"), .attempt = 1});
    struct wire_reader r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_back(&r, &back), WIRE_NEXT_PAIR);
    assert_true(slice_is(back.via, "other") && back.code == RESULT_NOT_ELIGIBLE);
    assert_int_equal(wire_next_back(&r, &back), WIRE_NEXT_PAIR);
    assert_int_equal(back.via.n, WIRE_ROUTE_BYTES_MAX);
    assert_int_equal(wire_next_back(&r, &back), WIRE_NEXT_PAIR);
    assert_int_equal(back.via.n, 0);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_BACK);
    wire_put_back(&b, &(struct wire_give_back){.id = SLICE("j"),
                                               .attempt = 1,
                                               .via = slice_make(longest, sizeof(longest))});
    r = open_ok(buf_slice(&b), WIRE_WORKER_MAGIC);
    assert_int_equal(wire_next_back(&r, &back), WIRE_NEXT_BAD);
    buf_free(&b);
}

static void test_traces(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        TRACE "-",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736000f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
    };
    assert_true(wire_trace_ok(SLICE(TRACE)));
    assert_true(wire_trace_ok(SLICE("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(wire_trace_ok(slice_of(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_moved_job),
        cmocka_unit_test(test_a_job_given_back_to_go_on_elsewhere),
        cmocka_unit_test(test_traces),
        cmocka_unit_test(test_submit),
        cmocka_unit_test(test_submit_defaults),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_purge),
        cmocka_unit_test(test_purge_rules),
        cmocka_unit_test(test_worker_verbs),
        cmocka_unit_test(test_client_answers),
        cmocka_unit_test(test_info_fits_a_body),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_long_ones),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_openings),
        cmocka_unit_test(test_thousand_pairs),
        cmocka_unit_test(test_strict_envelopes),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
