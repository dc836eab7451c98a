/* flash.create as an op of the flow: what it reads, holds and tells, with a store of the test's
 * own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "tests/unit/records_fixture.h"
#include "workers/flow_inside.h"

#define PEPPER "0123456789abcdef0123456789abcdef"
#define TOKEN  "5a0e96b6a8bf8ed8c3de194cf14b342f"

static struct world {
    struct flows flows;
    struct flow flow;
    struct buf body;
    int claims, reserves, nonces, claimed;
    char reserved[16], lane[80];
    flash_reserve_callback *on_reserve;
    flash_nonce_callback *on_nonce;
    struct claim claim;
    int ready; /* flow_reserved */
    enum result_code ready_code;
} world;

/* ---- in place of the flow and the store ------------------------------------------------------ */

void flow_explain(struct flow *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f->detail, sizeof f->detail, fmt, args);
    va_end(args);
}

void flow_reserved(struct flow *f, enum result_code code)
{
    (void)f;
    world.ready++;
    world.ready_code = code;
}

void flow_party(struct flow *f, uint64_t aid, struct slice party)
{
    assert_int_equal(aid, 0);
    (void)snprintf(f->party, sizeof f->party, "%.*s", SLICE_ARG(party));
    f->claim.party = slice_of(f->party);
}

void flow_tag(struct flow *f, struct slice of)
{
    memcpy(f->claim.tag, msisdn_tag(of).text, sizeof f->claim.tag);
}

void session_claim_send(struct session_store *s, struct session_job *job,
                        const struct integration *route, const char *new_request_id,
                        claim_callback *done, void *context)
{
    char tag[3];
    (void)s, (void)route, (void)done, (void)context;
    world.claims++;
    assert_int_equal(strlen(new_request_id), 32);
    assert_true(code_request_tag(slice_of(new_request_id), tag));
    assert_string_equal(tag, job->tag);
}

void session_finish_send(struct session_store *s, const struct session_job *job,
                         const struct integration *route, const char *request_id,
                         const struct session_finish *f, finish_callback *done, void *context)
{
    (void)s, (void)job, (void)route, (void)request_id, (void)f, (void)done, (void)context;
}

void flash_reserve(struct flash_store *s, struct slice lane, struct slice code,
                   struct slice request_id, uint64_t valid_ms, flash_reserve_callback *done,
                   void *context)
{
    (void)s, (void)context;
    world.reserves++;
    assert_true(slice_is(request_id, TOKEN) && valid_ms > 0);
    (void)snprintf(world.lane, sizeof world.lane, "%.*s", SLICE_ARG(lane));
    (void)snprintf(world.reserved, sizeof world.reserved, "%.*s", SLICE_ARG(code));
    world.on_reserve = done;
}

void flash_nonce(struct flash_store *s, struct slice account, struct slice nonce,
                 struct slice job_id, flash_nonce_callback *done, void *context)
{
    (void)s, (void)context;
    world.nonces++;
    assert_true(slice_is(account, "demo") && slice_is(nonce, "n1") && slice_is(job_id, "j1"));
    world.on_nonce = done;
}

static void on_claim(void *context, const struct claim *c)
{
    (void)context;
    world.claimed++;
    world.claim = *c;
    world.claim.result_body = (struct slice){0};
}

/* ---- the tests' hands ------------------------------------------------------------------------ */

static int set_up(void **state)
{
    (void)state;
    static const char *const names[] = {"2", "made"};
    memset(&world, 0, sizeof world);
    world.flows.pepper = SLICE(PEPPER);
    world.flow.all = &world.flows;
    world.flow.records = fixture_records();
    world.flow.job = (struct wire_job){.id = SLICE("j1"), .route = SLICE("flash:2")};
    buf_init(&world.body, 4096);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct flash_template *t = xcalloc(1, sizeof *t);
        t->name = strdup(names[i]);
        t->title = strdup("");
        t->account = strdup("demo");
        t->content = strdup("{code}");
        t->callback_url = strdup("http://customer.example/");
        t->integration = strdup(i == 0 ? "" : "demo");
        t->valid_min = 5;
        t->code_digits = 4;
        fixture_put(world.flow.records->flash_templates, names[i], t);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_free(&world.body);
    records_unref(&world.flow.records);
    return 0;
}

/* Route found and body read, as flow.c does. */
static enum result_code read_as(const char *route, const struct job_flash_create *body)
{
    struct flow *f = &world.flow;
    f->job.route = slice_of(route);
    f->route = flow_flash.route(f);
    if (f->route == NULL) {
        f->route = records_integration(f->records, f->job.route);
    }
    f->called = f->route;
    f->claim.link = f->called != NULL && f->called->dialect != NULL;
    if (f->route == NULL) {
        return RESULT_INTEGRATION_NOT_FOUND;
    }
    buf_clear(&world.body);
    job_flash_create_encode(&world.body, body);
    return flow_flash.read(f, buf_slice(&world.body));
}

static const struct job_flash_create plain = {.ft_id = {"2", 1}, .account = {"demo", 4}};

/* Up to the reserve. */
static void reserve_for(const struct job_flash_create *body)
{
    struct flow *f = &world.flow;
    assert_int_equal(read_as("flash:2", body), RESULT_NONE);
    (void)snprintf(f->request_id, sizeof f->request_id, TOKEN);
    assert_true(flow_flash.prepare(f));
    assert_true(flow_flash.reserve(f));
}

/* ---- reading --------------------------------------------------------------------------------- */

static void a_template_of_its_own_calls_nobody(void **state)
{
    (void)state;
    struct flow *f = &world.flow;
    assert_int_equal(read_as("flash:2", &plain), RESULT_NONE);
    assert_false(flow_flash.calls(f));
    assert_string_equal(f->party, "account:demo");
    assert_true(slice_is(f->claim.facts.lane, "flash:2") && slice_is(f->claim.facts.ft, "2"));
    assert_int_equal(f->route->code_valid_s, 300);
    struct job_flash_create shorter = plain;
    shorter.validity_s = 60;
    assert_int_equal(read_as("flash:2", &shorter), RESULT_NONE);
    assert_int_equal(f->route->code_valid_s, 60);
}

static void what_is_anothers_is_not_there(void **state)
{
    (void)state;
    struct job_flash_create body = plain;
    body.account = SLICE("other");
    assert_int_equal(read_as("flash:2", &body), RESULT_INTEGRATION_NOT_FOUND);
    body = plain;
    body.ft_id = SLICE("77");
    assert_int_equal(read_as("flash:2", &body), RESULT_INTEGRATION_NOT_FOUND);
    assert_int_equal(read_as("flash:77", &plain), RESULT_INTEGRATION_NOT_FOUND);
}

static void a_template_goes_its_own_way_alone(void **state)
{
    (void)state;
    struct job_flash_create body = plain;
    body.ft_id = SLICE("made");
    assert_int_equal(read_as("flash:2", &body), RESULT_INVALID_REQUEST);
    assert_int_equal(read_as("demo", &body), RESULT_INVALID_REQUEST); /* it makes no links */
    assert_int_equal(read_as("demo", &plain), RESULT_INVALID_REQUEST);
}

/* ---- the code -------------------------------------------------------------------------------- */

static void a_taken_code_is_made_anew(void **state)
{
    (void)state;
    char open[CODE_DIGITS_MAX + 1];
    reserve_for(&plain);
    assert_string_equal(world.lane, "flash:2");
    world.on_reserve(&world.flow, FLASH_TAKEN);
    world.on_reserve(&world.flow, FLASH_TAKEN);
    assert_int_equal(world.reserves, 3);
    assert_int_equal(strlen(world.reserved), 4);
    world.on_reserve(&world.flow, FLASH_RESERVED);
    assert_true(world.ready == 1 && world.ready_code == RESULT_NONE);
    assert_true(code_open(SLICE(PEPPER), SLICE(TOKEN), world.flow.claim.facts.sealed, open));
    assert_string_equal(open, world.reserved);
}

static void that_ends(void **state)
{
    (void)state;
    reserve_for(&plain);
    for (int i = 0; i < 100 && world.ready == 0; i++) {
        world.on_reserve(&world.flow, FLASH_TAKEN);
    }
    assert_true(world.ready == 1 && world.ready_code == RESULT_RATE_LIMITED);
    assert_int_equal(world.reserves, FLOW_RESERVE_TRIES);
}

static void a_chosen_code_is_that_or_none(void **state)
{
    (void)state;
    struct job_flash_create body = plain;
    body.code = SLICE("012345");
    reserve_for(&body);
    assert_string_equal(world.reserved, "012345");
    world.on_reserve(&world.flow, FLASH_TAKEN);
    assert_true(world.ready == 1 && world.ready_code == RESULT_CONFLICT && world.reserves == 1);
    assert_null(strstr(world.flow.detail, "012345"));
}

static void without_a_store_no_code_is_held(void **state)
{
    (void)state;
    reserve_for(&plain);
    world.on_reserve(&world.flow, FLASH_RESERVE_NO_STORE);
    assert_true(world.ready == 1 && world.ready_code == RESULT_STORE_UNAVAILABLE);
}

/* ---- nonces ---------------------------------------------------------------------------------- */

static void a_nonce_comes_before_the_claim(void **state)
{
    (void)state;
    struct job_flash_create body = plain;
    body.nonce = SLICE("n1");
    assert_int_equal(read_as("flash:2", &body), RESULT_NONE);
    flow_flash.claim(&world.flow, on_claim);
    assert_true(world.nonces == 1 && world.claims == 0);
    world.on_nonce(&world.flow, FLASH_NONCE_SEEN);
    assert_true(world.claimed == 1 && world.claim.outcome == CLAIM_REFUSED);
    assert_int_equal(world.claim.code, RESULT_INVALID_USER_CREDENTIALS);
    world.on_nonce(&world.flow, FLASH_NONCE_NO_STORE);
    assert_true(world.claimed == 2 && world.claim.outcome == CLAIM_NO_STORE);
    world.on_nonce(&world.flow, FLASH_NONCE_FRESH);
    assert_int_equal(world.claims, 1);
}

static void without_a_nonce_it_is_claimed_at_once(void **state)
{
    (void)state;
    assert_int_equal(read_as("flash:2", &plain), RESULT_NONE);
    flow_flash.claim(&world.flow, on_claim);
    assert_true(world.nonces == 0 && world.claims == 1);
}

/* ---- results --------------------------------------------------------------------------------- */

static void the_stored_result_is_sealed_and_the_told_one_open(void **state)
{
    (void)state;
    struct job_result r, told;
    struct buf stored, out;
    const char *error = NULL;
    reserve_for(&plain);
    job_result_init(&r);
    r.request_id = slice_of(world.flow.request_id);
    flow_flash.fill(&world.flow, &r);
    assert_true(r.flash.code.n == 0 && r.flash.sealed.n > 0);
    assert_true(slice_is(r.flash.status, "0") && slice_is(r.flash.ft_id, "2"));
    assert_true(slice_is(r.flash.message_id, "4890374063627383855"));
    buf_init(&stored, 4096);
    buf_init(&out, 4096);
    job_result_encode(&stored, &r);
    assert_true(flow_flash.tell(&world.flow, buf_slice(&stored), &out));
    assert_true(job_result_decode(buf_slice(&out), &told, &error));
    assert_true(slice_is(told.flash.code, world.reserved) && told.flash.sealed.n == 0);
    assert_true(slice_eq(told.flash.message_id, r.flash.message_id));
    buf_clear(&stored);
    job_result_init(&r);
    r.error = SLICE("conflict");
    job_result_encode(&stored, &r);
    assert_false(flow_flash.tell(&world.flow, buf_slice(&stored), &out));
    buf_free(&stored);
    buf_free(&out);
}

int main(void)
{
    log_setup("test", LOG_LEVEL_ERROR, false);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_template_of_its_own_calls_nobody),
        TEST(what_is_anothers_is_not_there),
        TEST(a_template_goes_its_own_way_alone),
        TEST(a_taken_code_is_made_anew),
        TEST(that_ends),
        TEST(a_chosen_code_is_that_or_none),
        TEST(without_a_store_no_code_is_held),
        TEST(a_nonce_comes_before_the_claim),
        TEST(without_a_nonce_it_is_claimed_at_once),
        TEST(the_stored_result_is_sealed_and_the_told_one_open),
    };
    return cmocka_run_group_tests_name("flow_flash", tests, NULL, NULL);
}
