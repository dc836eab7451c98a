/* docs/job-protocol.md names every op and every key of every body, docs/worker-protocol.md every
 * key of its envelopes: all are written out with every member set, and the keys looked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/meaning/job.h"
#include "common/meaning/job_ops.h"
#include "common/meaning/pack.h"
#include "common/meaning/wire.h"

static struct buf page;
static const char *page_name;

static void read_page(const char *name)
{
    FILE *file = fopen(name, "re");
    if (file == NULL) {
        fail_msg("%s is not here; run from the project's root", name);
        return;
    }
    page_name = name;
    buf_init(&page, 256 * 1024);
    char bytes[4096];
    for (size_t n = 0; (n = fread(bytes, 1, sizeof(bytes), file)) > 0;) {
        buf_put(&page, bytes, n);
    }
    (void)fclose(file);
}

/* The line of the page that begins so, or NULL: then the whole page is meant. */
static struct slice line_of(const char *start)
{
    const char *from = start == NULL ? buf_text(&page) : strstr(buf_text(&page), start);
    if (from == NULL) {
        fail_msg("%s has no line %s", page_name, start);
        return SLICE("");
    }
    return start == NULL ? slice_of(from) : slice_make(from, strcspn(from, "\n"));
}

/* The key as a word, between anything that is no letter. */
static bool names(struct slice text, struct slice key)
{
    for (size_t i = 0; i + key.n < text.n; i++) {
        const char *at = text.p + i;
        bool begins = i > 0 && strchr("` ,{", at[-1]) != NULL;
        if (begins && memcmp(at, key.p, key.n) == 0 && strchr("`,}? ", at[key.n]) != NULL) {
            return true;
        }
    }
    return false;
}

static void named_keys(struct slice map, const char *line, uint32_t least)
{
    struct pack p = pack_over(map);
    struct slice text = line_of(line);
    uint32_t pairs = 0;
    assert_true(pack_read_map(&p, &pairs));
    assert_true(pairs >= least); /* or a member was forgotten here */
    for (uint32_t i = 0; i < pairs; i++) {
        struct slice key, value;
        assert_true(pack_read_str(&p, &key) && pack_skip(&p, &value));
        if (!names(text, key)) {
            fail_msg("%s lacks the key %.*s of %s", page_name, SLICE_ARG(key),
                     line != NULL ? line : "results");
        }
    }
}

static const struct slice x = {"1", 1};
static const struct job_params some_params = {.count = 1, .at = {{{"a", 1}, {"b", 1}}}};

static struct job_body whole_body(void)
{
    return (struct job_body){.msisdn = x,
                             .otp = x,
                             .request_id = x,
                             .aid = 1,
                             .party = x,
                             .id_as = JOB_ID_TOKEN,
                             .eid = x,
                             .lane = x,
                             .ft_id = x,
                             .sender = x,
                             .send_time = x,
                             .user_id = x,
                             .type = x,
                             .ip = x,
                             .user_agent = x,
                             .lang = x,
                             .text = x,
                             .params = some_params};
}

static void bodies_of_ops(void **state)
{
    (void)state;
    struct buf b;
    struct job_body body = whole_body();
    buf_init(&b, 64 * 1024);
    job_body_encode(&b, &body, false);
    named_keys(buf_slice(&b), "| `send` | `msisdn`", 14);
    buf_clear(&b);
    job_body_encode(&b, &body, true);
    named_keys(buf_slice(&b), "| `verify` | `otp`", 13);
    buf_clear(&b);
    job_flash_create_encode(&b,
                            &(struct job_flash_create){
                                .ft_id = x, .code = x, .validity_s = 1, .account = x, .nonce = x});
    named_keys(buf_slice(&b), "| `flash.create` |", 5);
    buf_clear(&b);
    job_flash_query_encode(&b, &(struct job_flash_query){x, x, x});
    named_keys(buf_slice(&b), "| `flash.query` |", 3);
    buf_clear(&b);
    job_report_encode(&b, &(struct job_report){.code = RESULT_OTP_SENT,
                                               .request_id = x,
                                               .advertiser_request_id = x,
                                               .otp = x,
                                               .mobile = x,
                                               .sender = x,
                                               .send_time = x,
                                               .deliver_time = x});
    named_keys(buf_slice(&b), "| `report` |", 9);
    buf_clear(&b);
    job_callback_encode(&b, &(struct job_callback){x, x, x, some_params, x, x});
    named_keys(buf_slice(&b), "| `callback` |", 6);
    buf_free(&b);
}

static void body_of_a_result(void **state)
{
    (void)state;
    struct buf b;
    struct job_result r = {.request_id = x,
                           .response = x,
                           .error = x,
                           .detail = x,
                           .data = x,
                           .url = x,
                           .advertiser_body = x,
                           .eid = x,
                           .flash = {x, x, x, x, x, x, x, x, x, x, x}};
    buf_init(&b, 64 * 1024);
    job_result_encode(&b, &r);
    named_keys(buf_slice(&b), NULL, 12);
    struct pack p = pack_over(buf_slice(&b));
    uint32_t pairs = 0;
    assert_true(pack_read_map(&p, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct slice key, value;
        assert_true(pack_read_str(&p, &key) && pack_skip(&p, &value));
        if (slice_is(key, "flash") || slice_is(key, "advertiser")) {
            named_keys(value, NULL, 3);
        }
    }
    buf_free(&b);
}

static void ops_and_priorities(void **state)
{
    (void)state;
    for (int op = 0; op < WIRE_OPS; op++) {
        assert_true(names(line_of("| `op` |"), slice_of(wire_ops[op].name)));
    }
    assert_non_null(strstr(buf_text(&page), "`verify` and `report` 7, `callback` 3, others 5"));
    for (int op = 0; op < WIRE_OPS; op++) {
        bool high = op == WIRE_OP_VERIFY || op == WIRE_OP_REPORT;
        assert_int_equal(wire_ops[op].pri, high ? 7 : op == WIRE_OP_CALLBACK ? 3 : 5);
    }
}

/* The envelope of the first pair. */
static struct slice envelope(const struct buf *b)
{
    struct pack p = pack_over(slice_make(b->p + 4, b->n - 4));
    struct slice map = {NULL, 0};
    assert_true(pack_skip(&p, &map));
    return map;
}

static void envelopes_of_workers(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 64 * 1024);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_JOB);
    wire_put_job(&b,
                 &(struct wire_job){.id = x,
                                    .route = x,
                                    .tenant = x,
                                    .trace = x,
                                    .via = x,
                                    .moved = RESULT_INTEGRATION_PAUSED},
                 SLICE("\x80"));
    named_keys(envelope(&b), "| `J` |", 10);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_BACK);
    wire_put_back(&b, &(struct wire_give_back){x, 1, 1, 1, RESULT_QUEUE_FULL, x});
    named_keys(envelope(&b), "| `B` |", 6);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_RESULT);
    wire_put_result(&b, &(struct wire_result){.id = x, .code = RESULT_OTP_SENT, .trace_id = x},
                    SLICE("\x80"));
    named_keys(envelope(&b), "| `R` |", 7);
    buf_clear(&b);
    wire_begin(&b, WIRE_WORKER_MAGIC, WIRE_W_HELLO);
    wire_put_hello(&b, &(struct wire_hello){x, 1, x, 1, 1});
    named_keys(envelope(&b), "| `H` |", 5);
    buf_free(&b);
}

static int jobs_page(void **state)
{
    (void)state;
    read_page("docs/job-protocol.md");
    return 0;
}

static int workers_page(void **state)
{
    (void)state;
    read_page("docs/worker-protocol.md");
    return 0;
}

static int close_page(void **state)
{
    (void)state;
    buf_free(&page);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_of_ops, jobs_page, close_page),
        cmocka_unit_test_setup_teardown(body_of_a_result, jobs_page, close_page),
        cmocka_unit_test_setup_teardown(ops_and_priorities, jobs_page, close_page),
        cmocka_unit_test_setup_teardown(envelopes_of_workers, workers_page, close_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
