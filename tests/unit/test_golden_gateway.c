/*
 * Golden cases of the served systems: tests/golden/af, endpoint, otpservice, fotp, mo, camara,
 * report_in. A case is lines of "word: text"; "#" begins a comment. Records are those of
 * gateway_fixture.h, the caller is 192.0.2.7, the time 2022-05-20 10:35:49 UTC.
 *
 *     request: METHOD path?query       header: Name: value      body: …
 *     job: op route tenant {body}      what must be queued, tenant "-" when there is none, or
 *     answer: status {body}            what must be answered; "retry-after=N" may stand between
 *     has: Name: pattern               and with which header, as a pattern of the shell
 *     type: media/type                 and of which type, when it is not application/json
 *     result: state code {body}        what the queue says, or
 *     not_taken: code retry_ms text    or
 *     timed_out:                       and then the answer to it
 */
#include <dirent.h>
#include <fnmatch.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/meaning/fotp_words.h"
#include "common/meaning/job_ops.h"
#include "gateway/intake.h"
#include "gateway/otp_request.h"
#include "tests/unit/gateway_fixture.h"

enum { LINE_MAX_BYTES = 8192, CASES_WANTED = 25, HEADERS_MAX = 8 };

static const int64_t now_ms = 1653042949000;

struct run {
    const char *file;
    struct records *records;
    struct intake_input in;
    char method[16], target[4096], body[LINE_MAX_BYTES];
    char headers[HEADERS_MAX][512]; /* "Name: value" */
    int header_count;
    struct intake intake;
    struct answer late; /* to a result */
    bool has_late;
    int checked; /* job and answer lines seen */
};

static bool seen[RESULT_CODES]; /* in an answer */
static struct logins *logins;
static int64_t requests; /* made so far */

static struct slice header_of(void *context, const char *name)
{
    const struct run *r = context;
    size_t n = strlen(name);
    for (int i = 0; i < r->header_count; i++) {
        const char *h = r->headers[i];
        if (strncasecmp(h, name, n) == 0 && h[n] == ':') {
            return slice_of(h + n + 1 + strspn(h + n + 1, " "));
        }
    }
    return (struct slice){NULL, 0};
}

static void make(struct run *r)
{
    char *mark = strchr(r->target, '?');
    r->in.method = slice_of(r->method);
    r->in.path = slice_make(r->target, strcspn(r->target, "?"));
    r->in.query = slice_of(mark != NULL ? mark + 1 : "");
    r->in.content_type = header_of(r, "Content-Type");
    r->in.body = slice_of(r->body);
    r->in.caller = (struct otp_caller){SLICE("192.0.2.7"), header_of(r, "User-Agent"),
                                       header_of(r, "Accept-Language")};
    r->in.header = header_of;
    r->in.context = r;
    r->in.public_url = "https://otpq.example";
    r->in.wall_ms = now_ms;
    r->in.mono_ms = 1000 * ++requests; /* wrong passwords have a ceiling in each second */
    r->in.logins = logins;
    intake_make(&r->intake, r->records, &r->in);
}

/* The queued body as JSON, as it stands there: in the order of docs/job-protocol.md. */
static json_t *json_of(struct pack *p)
{
    struct slice s;
    uint64_t number;
    uint32_t pairs;
    bool flag;
    switch (pack_peek(p)) {
    case PACK_MAP: {
        json_t *j = json_object();
        assert_true(pack_read_map(p, &pairs));
        for (uint32_t i = 0; i < pairs; i++) {
            assert_true(pack_read_str(p, &s));
            char *name = slice_dup(s);
            json_object_set_new(j, name, json_of(p));
            free(name);
        }
        return j;
    }
    case PACK_UINT:
        assert_true(pack_read_uint(p, &number));
        return json_integer((json_int_t)number);
    case PACK_BOOL:
        assert_true(pack_read_bool(p, &flag));
        return json_boolean(flag);
    default:
        assert_true(pack_read_str(p, &s));
        return json_stringn(s.p, s.n);
    }
}

/* What workers say to it. */
static bool decodes(const struct intake *in, const char **error)
{
    struct slice bytes = buf_slice(&in->body);
    struct job_body b;
    struct job_flash_create create;
    struct job_flash_query query;
    struct job_report report;
    switch (in->op) {
    case WIRE_OP_FLASH_CREATE:
        return job_flash_create_decode(bytes, &create, error);
    case WIRE_OP_FLASH_QUERY:
        return job_flash_query_decode(bytes, &query, error);
    case WIRE_OP_REPORT:
        return job_report_decode(bytes, &report, error);
    default:
        return job_body_decode(bytes, in->op == WIRE_OP_VERIFY, &b, error);
    }
}

static char *job_text(const struct run *r)
{
    struct pack p = pack_over(buf_slice(&r->intake.body));
    const char *error = "";
    if (!decodes(&r->intake, &error)) {
        fail_msg("%s: no worker takes the job: %s", r->file, error);
    }
    json_t *j = json_of(&p);
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

static void check_text(const struct run *r, const char *what, const char *got, const char *wanted)
{
    if (strcmp(got, wanted) != 0) {
        fail_msg("%s, %s:\n  got    %s\n  wanted %s", r->file, what, got, wanted);
    }
}

static void check_job(struct run *r, const char *wanted)
{
    char text[LINE_MAX_BYTES];
    make(r);
    if (r->intake.kind != INTAKE_JOB) {
        fail_msg("%s: answered instead of queued: %s", r->file, buf_text(&r->intake.answer.body));
    }
    char *body = job_text(r);
    (void)snprintf(text, sizeof(text), "%s %s %s %s", wire_ops[r->intake.op].name, r->intake.route,
                   r->intake.tenant[0] != '\0' ? r->intake.tenant : "-", body);
    free(body);
    check_text(r, "job", text, wanted);
}

static const struct answer *answer_of(const struct run *r)
{
    return r->has_late ? &r->late : &r->intake.answer;
}

static void check_header(const struct run *r, const char *wanted)
{
    const struct answer *a = answer_of(r);
    for (uint32_t i = 0; i < a->header_count; i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), "%s: %s", a->headers[i].name, a->headers[i].value);
        if (fnmatch(wanted, text, 0) == 0) {
            return;
        }
    }
    fail_msg("%s: the answer has no header like %s", r->file, wanted);
}

static void check_answer(struct run *r, const char *wanted)
{
    char text[LINE_MAX_BYTES];
    char retry[32] = "";
    if (!r->has_late) {
        make(r);
        if (r->intake.kind != INTAKE_ANSWER) {
            fail_msg("%s: queued instead of answered", r->file);
        }
    }
    const struct answer *a = answer_of(r);
    if (a->retry_after_s > 0) {
        (void)snprintf(retry, sizeof(retry), "retry-after=%u ", a->retry_after_s);
    }
    int n = snprintf(text, sizeof(text), "%d %s%s", a->http, retry, buf_text(&a->body));
    text[n > 0 && text[n - 1] == ' ' ? n - 1 : n] = '\0';
    check_text(r, "answer", text, wanted);
    for (int i = 1; i < RESULT_CODES; i++) {
        char quoted[64];
        (void)snprintf(quoted, sizeof(quoted), ":\"%s", result_rows[i].name);
        seen[i] = seen[i] || strstr(wanted, quoted) != NULL;
        (void)snprintf(quoted, sizeof(quoted), "\"code\":\"%s\",\"success\"", fotp_words[i].code);
        seen[i] = seen[i] || strstr(wanted, quoted) != NULL;
    }
}

static struct slice text_in(const json_t *j, const char *name)
{
    return slice_of(json_string_value(json_object_get(j, name)));
}

static int64_t number_in(const json_t *j, const char *name)
{
    const json_t *value = json_object_get(j, name);
    return value != NULL ? json_integer_value(value) : -1;
}

static void read_flash(const json_t *j, struct job_flash *out)
{
    out->message_id = text_in(j, "message_id");
    out->code = text_in(j, "code");
    out->status = text_in(j, "status");
    out->mobile = text_in(j, "mobile");
    out->sender = text_in(j, "sender");
    out->send_time = text_in(j, "send_time");
    out->deliver_time = text_in(j, "deliver_time");
    out->ft_id = text_in(j, "ft_id");
    out->receiver = text_in(j, "receiver");
    out->text = text_in(j, "text");
}

static void say_result(struct run *r, char *text)
{
    char *rest = text;
    const char *state = strsep(&rest, " ");
    const char *code = strsep(&rest, " ");
    json_t *j = json_loads(rest, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(j);
    const json_t *advertiser = json_object_get(j, "advertiser");
    struct job_result result;
    struct buf body;
    job_result_init(&result);
    result.request_id = text_in(j, "request_id");
    result.url = text_in(j, "url");
    result.data = text_in(j, "data");
    result.detail = text_in(j, "detail");
    result.eid = text_in(j, "eid");
    read_flash(json_object_get(j, "flash"), &result.flash);
    result.attempts_left = number_in(j, "attempts_left");
    result.retry_after_s = number_in(j, "retry_after");
    result.expires_in_s = number_in(j, "expires_in");
    if (advertiser != NULL) {
        result.advertiser_http = number_in(advertiser, "http");
        result.advertiser_body = text_in(advertiser, "body");
        result.advertiser_ms = number_in(advertiser, "ms");
    }
    buf_init(&body, 65536);
    job_result_encode(&body, &result);
    const struct otpq_answer from = {.outcome = OTPQ_RESULT,
                                     .id = "g-1",
                                     .state = state,
                                     .code = code,
                                     .detail = "",
                                     .body = body.p,
                                     .body_bytes = body.n};
    r->intake.system->tell(&r->late, r->intake.kept, &from);
    r->has_late = true;
    buf_free(&body);
    json_decref(j);
}

static void say_not_taken(struct run *r, char *text)
{
    char *rest = text;
    const char *code = strsep(&rest, " ");
    const char *retry = strsep(&rest, " ");
    uint64_t ms = 0;
    assert_true(slice_to_u64(slice_of(retry), UINT32_MAX, &ms));
    const struct otpq_answer from = {.outcome = OTPQ_NOT_TAKEN,
                                     .id = "g-1",
                                     .state = "",
                                     .code = code,
                                     .detail = rest != NULL ? rest : "",
                                     .retry_after_ms = (uint32_t)ms};
    r->intake.system->tell(&r->late, r->intake.kept, &from);
    r->has_late = true;
}

static void say_timed_out(struct run *r)
{
    const struct otpq_answer from = {
        .outcome = OTPQ_TIMED_OUT, .id = "g-1", .state = "", .code = "", .detail = ""};
    r->intake.system->tell(&r->late, r->intake.kept, &from);
    r->has_late = true;
}

static void take_line(struct run *r, char *line)
{
    char *rest = strstr(line, ":");
    assert_non_null(rest);
    *rest++ = '\0';
    rest += strspn(rest, " ");
    if (strcmp(line, "request") == 0) {
        assert_int_equal(sscanf(rest, "%15s %4095s", r->method, r->target), 2);
    } else if (strcmp(line, "header") == 0) {
        assert_true(r->header_count < HEADERS_MAX);
        (void)snprintf(r->headers[r->header_count++], sizeof(r->headers[0]), "%s", rest);
    } else if (strcmp(line, "has") == 0) {
        check_header(r, rest);
    } else if (strcmp(line, "type") == 0) {
        assert_non_null(answer_of(r)->type);
        check_text(r, "type", answer_of(r)->type, rest);
    } else if (strcmp(line, "body") == 0) {
        (void)snprintf(r->body, sizeof(r->body), "%s", rest);
    } else if (strcmp(line, "job") == 0) {
        check_job(r, rest);
        r->checked++;
    } else if (strcmp(line, "answer") == 0) {
        check_answer(r, rest);
        r->checked++;
    } else if (strcmp(line, "result") == 0) {
        say_result(r, rest);
    } else if (strcmp(line, "not_taken") == 0) {
        say_not_taken(r, rest);
    } else if (strcmp(line, "timed_out") == 0) {
        say_timed_out(r);
    } else {
        fail_msg("%s: what is \"%s\"?", r->file, line);
    }
}

static void run_case(const char *path)
{
    static char line[LINE_MAX_BYTES];
    struct run r = {.file = path, .records = gateway_records()};
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0' && line[0] != '#') {
            take_line(&r, line);
        }
    }
    (void)fclose(f);
    if (r.checked == 0) {
        fail_msg("%s checks nothing", path);
    }
    intake_free(&r.intake);
    if (r.has_late) {
        answer_free(&r.late);
    }
    records_unref(&r.records);
}

static int is_case(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 5 && strcmp(e->d_name + n - 5, ".case") == 0;
}

/* without: words that the system has no answer for, ended by RESULT_NONE. */
static void run_folder(const char *folder, const enum result_code *without)
{
    struct dirent **found = NULL;
    char path[512];
    int n = scandir(folder, &found, is_case, alphasort);
    assert_true(n >= CASES_WANTED);
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < n; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, found[i]->d_name);
        run_case(path);
        free(found[i]);
    }
    free(found);
    for (; *without != RESULT_NONE; without++) {
        seen[*without] = true;
    }
    for (int i = 1; i < RESULT_CODES; i++) {
        if (!seen[i]) {
            fail_msg("%s: no case answers %s", folder, result_rows[i].name);
        }
    }
}

/* A callback's word, which is no answer to an OTP request. */
static const enum result_code callbacks_word[] = {RESULT_DELIVERED, RESULT_NONE};

static void system_1(void **state)
{
    (void)state;
    run_folder("tests/golden/endpoint", callbacks_word);
}

static void system_2(void **state)
{
    (void)state;
    run_folder("tests/golden/af", callbacks_word);
}

static void system_3(void **state)
{
    (void)state;
    /* Success is said by CODE and RESULT alone. */
    static const enum result_code without[] = {RESULT_DELIVERED, RESULT_OTP_SENT,
                                               RESULT_OTP_VERIFIED, RESULT_NONE};
    run_folder("tests/golden/otpservice", without);
}

static void system_4(void **state)
{
    (void)state;
    static const enum result_code without[] = {RESULT_NONE};
    run_folder("tests/golden/fotp", without);
}

/* Who hands in an SMS learns nothing of what became of it. */
static void messages_in(void **state)
{
    (void)state;
    enum result_code all[RESULT_CODES];
    for (int i = 1; i < RESULT_CODES; i++) {
        all[i - 1] = (enum result_code)i;
    }
    all[RESULT_CODES - 1] = RESULT_NONE;
    run_folder("tests/golden/mo", all);
}

static void system_5(void **state)
{
    (void)state;
    static const enum result_code without[] = {RESULT_DELIVERED, RESULT_OTP_SENT,
                                               RESULT_OTP_VERIFIED, RESULT_NONE};
    run_folder("tests/golden/camara", without);
}

/* What became of a report is told to nobody: final is final. Only what is to be sent again shows.
 */
static void callbacks_in(void **state)
{
    (void)state;
    enum result_code without[RESULT_CODES];
    size_t n = 0;
    for (int i = 1; i < RESULT_CODES; i++) {
        static const enum result_code told[] = {
            RESULT_INVALID_REQUEST,    RESULT_QUEUE_FULL,      RESULT_RATE_LIMITED,
            RESULT_STORE_UNAVAILABLE,  RESULT_DEADLINE_PASSED, RESULT_OUTCOME_UNKNOWN,
            RESULT_INTEGRATION_PAUSED, RESULT_INTERNAL_ERROR,  RESULT_CANCELLED};
        bool is_told = false;
        for (size_t k = 0; k < ARRAY_LEN(told); k++) {
            is_told = is_told || told[k] == (enum result_code)i;
        }
        if (!is_told) {
            without[n++] = (enum result_code)i;
        }
    }
    without[n] = RESULT_NONE;
    run_folder("tests/golden/report_in", without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(system_1),     cmocka_unit_test(system_2),    cmocka_unit_test(system_3),
        cmocka_unit_test(system_4),     cmocka_unit_test(messages_in), cmocka_unit_test(system_5),
        cmocka_unit_test(callbacks_in),
    };
    logins = logins_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    logins_destroy(&logins);
    return failed;
}
