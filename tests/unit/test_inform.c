/*
 * Reports and flash queries of a worker, with a store and a broker of the test's own: what is
 * asked, what is answered, and who hears nothing.
 */
#include "workers/inform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/meaning/code.h"
#include "tests/unit/records_fixture.h"

#define PEPPER "0123456789abcdef0123456789abcdef"
#define TOKEN  "5a0e96b6a8bf8ed8c3de194cf14b342f"

enum { BODY_MAX = 65536 };

static struct world {
    struct records *records;
    struct informs informs;
    /* what the store was asked for */
    int reports, nonces, looks;
    char lane[80], party[80], mobile[32], token[80], nonce[80];
    uint32_t valid_s;
    flash_report_callback *on_report;
    flash_nonce_callback *on_nonce;
    flash_look_callback *on_look;
    void *context;
    /* what the broker heard */
    int results, backs, idles;
    enum job_end end;
    enum result_code code;
    struct job_result result;
    char body[BODY_MAX]; /* that result borrows from */
    struct wire_give_back back;
} world;

/* ---- in place of what stands around it ------------------------------------------------------- */

struct records *records_watch_now(const struct records_watch *w)
{
    (void)w;
    return world.records;
}

#define COPY(to, s) (void)snprintf((to), sizeof(to), "%.*s", SLICE_ARG(s))

void flash_report(struct flash_store *s, const struct flash_report *what,
                  flash_report_callback *done, void *context)
{
    (void)s;
    world.reports++;
    COPY(world.lane, what->lane);
    COPY(world.party, what->party);
    COPY(world.mobile, what->report.mobile);
    world.valid_s = what->valid_s;
    world.on_report = done;
    world.context = context;
}

void flash_nonce(struct flash_store *s, struct slice account, struct slice nonce,
                 struct slice job_id, flash_nonce_callback *done, void *context)
{
    (void)s, (void)account, (void)job_id;
    world.nonces++;
    COPY(world.nonce, nonce);
    world.on_nonce = done;
    world.context = context;
}

void flash_look(struct flash_store *s, struct slice request_id, flash_look_callback *done,
                void *context)
{
    (void)s;
    world.looks++;
    COPY(world.token, request_id);
    world.on_look = done;
    world.context = context;
}

void link_result(struct link *l, const struct wire_result *r, struct slice body)
{
    (void)l;
    const char *error = NULL;
    assert_true(body.n <= sizeof world.body);
    memcpy(world.body, body.p, body.n);
    job_result_init(&world.result);
    assert_true(job_result_decode(slice_make(world.body, body.n), &world.result, &error));
    world.results++;
    world.end = r->end;
    world.code = r->code;
}

void link_back(struct link *l, const struct wire_give_back *g)
{
    (void)l;
    world.backs++;
    world.back = *g;
}

static void on_idle(void *context)
{
    (void)context;
    world.idles++;
}

/* ---- the tests' hands ------------------------------------------------------------------------ */

static void put_template(const char *name)
{
    struct flash_template *t = xcalloc(1, sizeof *t);
    t->name = strdup(name);
    t->title = strdup("");
    t->account = strdup("demo");
    t->receivers.count = 1;
    t->receivers.at[0] = strdup("1008611");
    t->content = strdup("Send {code}: ##FG5x-{code}##");
    t->callback_url = strdup("");
    t->integration = strdup("");
    t->valid_min = 5;
    fixture_put(world.records->flash_templates, name, t);
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.records = fixture_records();
    put_template("2");
    world.informs = (struct informs){.pepper = SLICE(PEPPER), .max = 3, .on_idle = on_idle};
    informs_init(&world.informs);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    informs_abandon(&world.informs);
    assert_int_equal(world.informs.count, 0);
    records_unref(&world.records);
    return 0;
}

static void begin(enum wire_op op, const char *route, struct buf *body, uint32_t attempt)
{
    const struct wire_job job = {
        .id = SLICE("j1"), .route = slice_of(route), .op = op, .attempt = attempt, .ttl_ms = 30000};
    assert_true(buf_ok(body));
    inform_begin(&world.informs, NULL, &job, buf_slice(body));
    buf_free(body);
}

static void begin_report(const char *route, const struct job_report *report, uint32_t attempt)
{
    struct buf body;
    buf_init(&body, BODY_MAX);
    job_report_encode(&body, report);
    begin(WIRE_OP_REPORT, route, &body, attempt);
}

static struct job_report an_mo(const char *mobile)
{
    return (struct job_report){
        .event = DIALECT_MO, .otp = SLICE("3872"), .mobile = slice_of(mobile)};
}

static void begin_query(const char *account, const char *nonce)
{
    struct buf body;
    const struct job_flash_query query = {
        .ft_token = SLICE(TOKEN), .account = slice_of(account), .nonce = slice_of(nonce)};
    buf_init(&body, BODY_MAX);
    job_flash_query_encode(&body, &query);
    begin(WIRE_OP_FLASH_QUERY, "flash:2", &body, 1);
}

static char sealed[CODE_SEALED_HEX + 1];

static struct flash_look a_look(const char *state, int64_t left_ms)
{
    code_seal(SLICE(PEPPER), SLICE(TOKEN), SLICE("3872"), sealed);
    return (struct flash_look){.answered = true,
                               .found = true,
                               .state = slice_of(state),
                               .left_ms = left_ms,
                               .party = SLICE("account:demo"),
                               .route = SLICE("flash:2"),
                               .ft_id = SLICE("2"),
                               .sealed = slice_of(sealed),
                               .mobile = SLICE("6285273203675")};
}

static void query_sees(const char *account, const struct flash_look *look)
{
    begin_query(account, "");
    assert_int_equal(world.results, 0);
    world.on_look(world.context, look);
    assert_int_equal(world.results, 1);
    assert_int_equal(world.informs.count, 0);
}

static bool refused(enum result_code code)
{
    return world.results == 1 && world.end == JOB_END_REFUSED && world.code == code &&
           slice_is(world.result.error, result_name(code));
}

/* ---- reports --------------------------------------------------------------------------------- */

static void a_report_goes_to_its_lane(void **state)
{
    (void)state;
    const struct job_report r = an_mo("+62 852-7320-3675");
    begin_report("flash:2", &r, 1);
    assert_int_equal(world.reports, 1);
    assert_string_equal(world.lane, "flash:2");
    assert_string_equal(world.party, "account:demo");
    assert_string_equal(world.mobile, "6285273203675");
    assert_int_equal(world.valid_s, 300);
    assert_int_equal(world.results, 0);
    const struct flash_reported done = {.outcome = FLASH_REPORT_APPLIED, .request_id = TOKEN};
    world.on_report(world.context, &done);
    assert_true(world.end == JOB_END_DONE && world.code == RESULT_DELIVERED);
    assert_true(slice_is(world.result.request_id, TOKEN));
    assert_int_equal(world.informs.count, 0);
}

static void an_integrations_report_is_of_any_party(void **state)
{
    (void)state;
    const struct job_report r = an_mo("0812345678");
    begin_report("demo-local", &r, 1);
    assert_string_equal(world.lane, "demo-local");
    assert_string_equal(world.party, "");
    assert_string_equal(world.mobile, "66812345678"); /* its country code */
}

static void what_came_of_a_report_is_told(void **state)
{
    (void)state;
    static const struct {
        enum flash_report_outcome outcome;
        enum job_end end;
        enum result_code code;
    } rows[] = {
        {FLASH_REPORT_APPLIED, JOB_END_DONE, RESULT_DELIVERED},
        {FLASH_REPORT_IGNORED, JOB_END_DONE, RESULT_DELIVERED},
        {FLASH_REPORT_KEPT, JOB_END_DONE, RESULT_DELIVERED},
        {FLASH_REPORT_UNKNOWN, JOB_END_REFUSED, RESULT_REQUEST_NOT_FOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct flash_reported done = {.outcome = rows[i].outcome};
        const struct job_report r = an_mo("6285273203675");
        begin_report("flash:2", &r, 1);
        world.on_report(world.context, &done);
        assert_int_equal(world.end, rows[i].end);
        assert_int_equal(world.code, rows[i].code);
    }
    assert_int_equal(world.results, ARRAY_LEN(rows));
}

static void without_a_store_it_comes_again(void **state)
{
    (void)state;
    const struct flash_reported away = {.outcome = FLASH_REPORT_NO_STORE};
    const struct job_report r = an_mo("6285273203675");
    begin_report("flash:2", &r, 4);
    world.on_report(world.context, &away);
    assert_true(world.backs == 1 && world.results == 0);
    assert_true(world.back.code == RESULT_STORE_UNAVAILABLE && world.back.delay_ms > 0);
    assert_int_equal(world.back.attempt, 4);
}

static void a_lane_that_is_missing_may_still_come(void **state)
{
    (void)state;
    const struct job_report r = an_mo("6285273203675");
    begin_report("flash:77", &r, 1);
    begin_report("nobody", &r, 2);
    assert_true(world.backs == 2 && world.results == 0 && world.reports == 0);
    begin_report("flash:77", &r, 3);
    assert_true(refused(RESULT_INTEGRATION_NOT_FOUND));
}

static void a_body_that_is_none_is_refused(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body, 16);
    buf_putc(&body, '\x80');
    begin(WIRE_OP_REPORT, "flash:2", &body, 1);
    assert_true(refused(RESULT_INVALID_REQUEST));
    assert_true(world.result.detail.n > 0);
}

static void an_sms_of_no_number_is_refused_but_a_delivery_is_not(void **state)
{
    (void)state;
    struct job_report r = an_mo("OTPQ");
    begin_report("flash:2", &r, 1);
    assert_true(refused(RESULT_INVALID_MSISDN));
    r.event = DIALECT_DELIVERY;
    begin_report("flash:2", &r, 1);
    assert_int_equal(world.reports, 1);
    assert_string_equal(world.mobile, "");
}

/* ---- queries --------------------------------------------------------------------------------- */

static void its_account_is_told_the_state(void **state)
{
    (void)state;
    struct flash_look look = a_look("verified", 0);
    look.sender = SLICE("1008611");
    look.send_time = SLICE("2025-04-29 17:47:00");
    look.deliver_time = SLICE("2025-04-29 17:48:23");
    query_sees("demo", &look);
    assert_string_equal(world.token, TOKEN);
    assert_true(world.end == JOB_END_DONE && world.code == RESULT_OTP_VERIFIED);
    const struct job_flash *f = &world.result.flash;
    assert_true(slice_is(f->status, "2") && slice_is(f->code, "3872"));
    assert_true(slice_is(f->mobile, "6285273203675") && slice_is(f->sender, "1008611"));
    assert_true(slice_is(f->send_time, "2025-04-29 17:47:00"));
    assert_true(slice_is(f->deliver_time, "2025-04-29 17:48:23"));
    assert_true(f->sealed.n == 0 && slice_is(world.result.request_id, TOKEN));
}

static void a_state_is_one_of_three(void **state)
{
    (void)state;
    static const struct {
        const char *state;
        int64_t left_ms;
        const char *status;
    } rows[] = {{"sent", 1, "0"},   {"unknown", 1, "0"},  {"sent", 0, "1"},
                {"failed", 1, "1"}, {"verified", 1, "2"}, {"verified", 0, "2"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct flash_look look = a_look(rows[i].state, rows[i].left_ms);
        world.results = 0;
        query_sees("demo", &look);
        assert_int_equal(world.end, JOB_END_DONE);
        assert_true(slice_is(world.result.flash.status, rows[i].status));
    }
}

static void others_are_told_of_nothing(void **state)
{
    (void)state;
    static const char *const others[] = {"dem", "demo2", "other"};
    struct flash_look look = a_look("verified", 1000);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        world.results = 0;
        query_sees(others[i], &look);
        assert_true(refused(RESULT_REQUEST_NOT_FOUND) && world.result.flash.status.n == 0);
    }
    world.results = 0;
    look.party = SLICE("1001"); /* an affiliate's: no flash request */
    look.ft_id = (struct slice){0};
    query_sees("demo", &look);
    assert_true(refused(RESULT_REQUEST_NOT_FOUND));
}

static void the_page_is_told_receiver_and_text(void **state)
{
    (void)state;
    struct flash_look look = a_look("sent", 61500);
    query_sees("", &look);
    assert_true(world.end == JOB_END_DONE && world.code == RESULT_OTP_SENT);
    assert_int_equal(world.result.expires_in_s, 62);
    assert_true(slice_is(world.result.flash.receiver, "1008611"));
    assert_true(slice_is(world.result.flash.text, "Send 3872: ##FG5x-3872##"));
    assert_true(world.result.flash.mobile.n == 0 && world.result.flash.code.n == 0);
}

static void the_page_of_an_advertisers_code_leaves_it_out(void **state)
{
    (void)state;
    struct flash_look look = a_look("sent", 1000);
    look.sealed = (struct slice){0};
    query_sees("", &look);
    assert_true(slice_is(world.result.flash.text, "Send : ##FG5x-##"));
}

static void the_page_of_what_is_over_says_so(void **state)
{
    (void)state;
    struct flash_look look = a_look("verified", 1000);
    query_sees("", &look);
    assert_true(refused(RESULT_ALREADY_VERIFIED) && slice_is(world.result.flash.ft_id, "2"));
    assert_true(world.result.flash.mobile.n == 0);
    world.results = 0;
    look = a_look("sent", 0);
    query_sees("", &look);
    assert_true(refused(RESULT_OTP_EXPIRED));
    world.results = 0;
    look = (struct flash_look){.answered = true};
    query_sees("", &look);
    assert_true(refused(RESULT_REQUEST_NOT_FOUND));
}

static void a_code_of_another_pepper_is_not_shown(void **state)
{
    (void)state;
    struct flash_look look = a_look("sent", 1000);
    world.informs.pepper = SLICE("another pepper of enough bytes..");
    query_sees("", &look);
    assert_true(refused(RESULT_INTERNAL_ERROR));
    world.results = 0;
    query_sees("demo", &look);
    assert_true(slice_is(world.result.flash.status, "0") && world.result.flash.code.n == 0);
}

static void a_nonce_comes_before_the_look(void **state)
{
    (void)state;
    begin_query("demo", "n1");
    assert_true(world.nonces == 1 && world.looks == 0);
    assert_string_equal(world.nonce, "n1");
    world.on_nonce(world.context, FLASH_NONCE_FRESH);
    assert_int_equal(world.looks, 1);
    const struct flash_look look = {.answered = false};
    world.on_look(world.context, &look);
    assert_int_equal(world.backs, 1);
    begin_query("demo", "n1");
    world.on_nonce(world.context, FLASH_NONCE_SEEN);
    assert_true(refused(RESULT_INVALID_USER_CREDENTIALS));
    begin_query("demo", "n1");
    world.on_nonce(world.context, FLASH_NONCE_NO_STORE);
    assert_int_equal(world.backs, 2);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void more_than_there_is_room_for_go_back(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        begin_query("demo", "");
    }
    assert_int_equal(world.looks, 3);
    assert_int_equal(world.backs, 2);
    assert_int_equal(world.informs.count, 3);
}

static void a_drain_ends_with_the_last_one(void **state)
{
    (void)state;
    begin_query("demo", "");
    informs_drain(&world.informs);
    assert_int_equal(world.idles, 0);
    void *first = world.context;
    flash_look_callback *on_look = world.on_look;
    begin_query("demo", "");
    assert_int_equal(world.backs, 1);
    assert_int_equal(world.idles, 0);
    const struct flash_look look = {.answered = true};
    on_look(first, &look);
    assert_true(world.results == 1 && world.idles == 1);
}

static void an_empty_drain_ends_at_once(void **state)
{
    (void)state;
    informs_drain(&world.informs);
    assert_int_equal(world.idles, 1);
}

int main(void)
{
    log_setup("test", LOG_LEVEL_ERROR + 1, false);
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_report_goes_to_its_lane),
        TEST(an_integrations_report_is_of_any_party),
        TEST(what_came_of_a_report_is_told),
        TEST(without_a_store_it_comes_again),
        TEST(a_lane_that_is_missing_may_still_come),
        TEST(a_body_that_is_none_is_refused),
        TEST(an_sms_of_no_number_is_refused_but_a_delivery_is_not),
        TEST(its_account_is_told_the_state),
        TEST(a_state_is_one_of_three),
        TEST(others_are_told_of_nothing),
        TEST(the_page_is_told_receiver_and_text),
        TEST(the_page_of_an_advertisers_code_leaves_it_out),
        TEST(the_page_of_what_is_over_says_so),
        TEST(a_code_of_another_pepper_is_not_shown),
        TEST(a_nonce_comes_before_the_look),
        TEST(more_than_there_is_room_for_go_back),
        TEST(a_drain_ends_with_the_last_one),
        TEST(an_empty_drain_ends_at_once),
    };
    return cmocka_run_group_tests_name("inform", tests, NULL, NULL);
}
