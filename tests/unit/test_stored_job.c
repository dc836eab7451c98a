#include "common/meaning/stored_job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/meaning/pack.h"

#define TRACE "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

static const struct stored_job whole = {
    .submit = {.id = {"job-1", 5},
               .route = {"demo", 4},
               .tenant = {"1001", 4},
               .trace = {TRACE, sizeof(TRACE) - 1},
               .op = WIRE_OP_VERIFY,
               .ack = WIRE_ACK_STORED,
               .pri = 7,
               .ttl_ms = 5,
               .delay_ms = 6,
               .again = true},
    .accepted_ms = 1795000000000,
    .deadline_ms = 1795000030000,
    .ready_ms = 1795000000500,
    .body = {"\x81\xa3otp\xa4"
             "1234",
             10},
};

static void write(struct buf *out, const struct stored_job *j)
{
    buf_init(out, 128 * 1024);
    stored_job_write(out, j);
    assert_true(buf_ok(out));
}

static void an_entry_comes_back_as_it_was_written(void **state)
{
    (void)state;
    struct buf entry;
    struct stored_job back;
    const char *error = NULL;
    write(&entry, &whole);
    assert_true(stored_job_read(buf_slice(&entry), &back, &error));
    assert_true(slice_is(back.submit.id, "job-1"));
    assert_true(slice_is(back.submit.route, "demo"));
    assert_true(slice_is(back.submit.tenant, "1001"));
    assert_true(slice_is(back.submit.trace, TRACE));
    assert_int_equal(back.submit.op, WIRE_OP_VERIFY);
    assert_int_equal(back.submit.pri, 7);
    assert_int_equal(back.submit.ack, WIRE_ACK_RESULT);
    assert_int_equal(back.submit.ttl_ms, 0);
    assert_int_equal(back.submit.delay_ms, 0);
    assert_false(back.submit.again);
    assert_int_equal(back.accepted_ms, whole.accepted_ms);
    assert_int_equal(back.deadline_ms, whole.deadline_ms);
    assert_int_equal(back.ready_ms, whole.ready_ms);
    assert_true(slice_eq(back.body, whole.body));
    buf_free(&entry);
}

static void it_is_no_longer_than_it_says(void **state)
{
    (void)state;
    char id[WIRE_ID_BYTES_MAX], tenant[WIRE_TENANT_BYTES_MAX];
    struct stored_job j = whole;
    struct buf entry;
    memset(id, 'i', sizeof id);
    memset(tenant, 't', sizeof tenant);
    j.submit.op = WIRE_OP_FLASH_CREATE; /* the longest name */
    j.submit.id = j.submit.route = slice_make(id, sizeof id);
    j.submit.tenant = slice_make(tenant, sizeof tenant);
    j.accepted_ms = j.deadline_ms = j.ready_ms = (1LL << 52) - 1;
    write(&entry, &j);
    assert_true(entry.n <=
                STORED_JOB_ROOM + sizeof id * 2 + sizeof tenant + j.submit.trace.n + j.body.n);
    struct stored_job back;
    const char *error = NULL;
    assert_true(stored_job_read(buf_slice(&entry), &back, &error));
    buf_free(&entry);
}

static void an_empty_body_is_a_map(void **state)
{
    (void)state;
    struct stored_job j = whole, back;
    struct buf entry;
    const char *error = NULL;
    j.body = slice_make(NULL, 0);
    write(&entry, &j);
    assert_true(stored_job_read(buf_slice(&entry), &back, &error));
    assert_int_equal(back.body.n, 1);
    buf_free(&entry);
}

static void every_part_of_one_is_none(void **state)
{
    (void)state;
    struct buf entry;
    struct stored_job back;
    write(&entry, &whole);
    for (size_t n = 0; n < entry.n; n++) {
        const char *error = NULL;
        char *part = xmalloc(n); /* of exactly that length: a byte too far is seen */
        memcpy(part, entry.p, n);
        assert_false(stored_job_read(slice_make(part, n), &back, &error));
        assert_non_null(error);
        free(part);
    }
    buf_putc(&entry, '\xc0');
    const char *error = NULL;
    assert_false(stored_job_read(buf_slice(&entry), &back, &error));
    assert_string_equal(error, "no body");
    buf_free(&entry);
}

/* What is wrong with the job that `change` made of a whole one. */
static const char *wrong_with(void (*change)(struct stored_job *))
{
    struct stored_job j = whole, back;
    struct buf entry;
    const char *error = NULL;
    change(&j);
    write(&entry, &j);
    assert_false(stored_job_read(buf_slice(&entry), &back, &error));
    buf_free(&entry);
    return error;
}

static void bad_id(struct stored_job *j)
{
    j->submit.id = SLICE("a b");
}

static void no_route(struct stored_job *j)
{
    j->submit.route = SLICE("");
}

static void long_tenant(struct stored_job *j)
{
    static char many[WIRE_TENANT_BYTES_MAX + 1];
    j->submit.tenant = slice_make(many, sizeof many);
}

static void odd_tenant(struct stored_job *j)
{
    j->submit.tenant = SLICE("a\xff");
}

static void odd_trace(struct stored_job *j)
{
    j->submit.trace = SLICE("00-");
}

static void high_pri(struct stored_job *j)
{
    j->submit.pri = WIRE_PRI_MAX + 1;
}

static void far_moment(struct stored_job *j)
{
    j->deadline_ms = INT64_MAX;
}

static void no_map(struct stored_job *j)
{
    j->body = SLICE("\x01");
}

static void what_breaks_a_rule_is_none(void **state)
{
    (void)state;
    assert_string_equal(wrong_with(bad_id), "no id");
    assert_string_equal(wrong_with(no_route), "no route");
    assert_string_equal(wrong_with(long_tenant), "no tenant");
    assert_string_equal(wrong_with(odd_tenant), "no tenant");
    assert_string_equal(wrong_with(odd_trace), "no trace");
    assert_string_equal(wrong_with(high_pri), "no priority");
    assert_string_equal(wrong_with(far_moment), "no moments");
    assert_string_equal(wrong_with(no_map), "no body");
}

static void another_version_is_left_alone(void **state)
{
    (void)state;
    struct stored_job back;
    struct buf entry;
    const char *error = NULL;
    write(&entry, &whole);
    entry.p[1] = STORED_JOB_VERSION + 1;
    assert_false(stored_job_read(buf_slice(&entry), &back, &error));
    assert_string_equal(error, "not an entry of this version");
    buf_free(&entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_comes_back_as_it_was_written),
        cmocka_unit_test(it_is_no_longer_than_it_says),
        cmocka_unit_test(an_empty_body_is_a_map),
        cmocka_unit_test(every_part_of_one_is_none),
        cmocka_unit_test(what_breaks_a_rule_is_none),
        cmocka_unit_test(another_version_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
