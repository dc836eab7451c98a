/*
 * Golden cases of systems 1 and 2: tests/golden/af and tests/golden/endpoint. A case is lines of
 * "word: text"; "#" begins a comment. Records are those of records_fixture.h, the caller is
 * 192.0.2.7.
 *
 *     request: METHOD path?query       header: Content-Type: …      body: …
 *     job: op route tenant {body}      what must be queued, or
 *     answer: status {body}            what must be answered; "retry-after=N" may stand between
 *     result: state code {body}        what the queue says, or
 *     not_taken: code retry_ms text    or
 *     timed_out:                       and then the answer to it
 */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "gateway/intake.h"
#include "gateway/otp_request.h"
#include "tests/unit/records_fixture.h"

enum { LINE_MAX_BYTES = 8192, CASES_WANTED = 25 };

struct run {
    const char *file;
    struct records *records;
    struct intake_input in;
    char method[16], target[4096], type[256], agent[512], language[256], body[LINE_MAX_BYTES];
    struct intake intake;
    struct answer late; /* to a result */
    bool has_late;
    int checked; /* job and answer lines seen */
};

static bool seen[RESULT_CODES]; /* in an answer */

static void make(struct run *r)
{
    char *mark = strchr(r->target, '?');
    r->in.method = slice_of(r->method);
    r->in.path = slice_make(r->target, strcspn(r->target, "?"));
    r->in.query = slice_of(mark != NULL ? mark + 1 : "");
    r->in.content_type = slice_of(r->type);
    r->in.body = slice_of(r->body);
    r->in.caller =
        (struct otp_caller){SLICE("192.0.2.7"), slice_of(r->agent), slice_of(r->language)};
    intake_make(&r->intake, r->records, &r->in);
}

static void put_text(json_t *to, const char *name, struct slice s)
{
    if (s.n > 0) {
        json_object_set_new(to, name, json_stringn(s.p, s.n));
    }
}

/* The queued body as JSON, keys in the order of docs/job-protocol.md. */
static char *job_text(const struct intake *in)
{
    struct job_body b;
    const char *error;
    assert_true(job_body_decode(buf_slice(&in->body), in->op == WIRE_OP_VERIFY, &b, &error));
    json_t *j = json_object();
    put_text(j, "msisdn", b.msisdn);
    put_text(j, "otp", b.otp);
    put_text(j, "request_id", b.request_id);
    json_object_set_new(j, "aid", json_integer((json_int_t)b.aid));
    put_text(j, "user_id", b.user_id);
    put_text(j, "type", b.type);
    put_text(j, "ip", b.ip);
    put_text(j, "user_agent", b.user_agent);
    put_text(j, "lang", b.lang);
    for (uint32_t i = 0; i < b.params.count; i++) {
        json_t *params = json_object_get(j, "params");
        if (params == NULL) {
            params = json_object();
            json_object_set_new(j, "params", params);
        }
        char *name = slice_dup(b.params.at[i].name);
        put_text(params, name, b.params.at[i].value);
        free(name);
    }
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
    char *body = job_text(&r->intake);
    (void)snprintf(text, sizeof(text), "%s %s %s %s", wire_ops[r->intake.op].name, r->intake.route,
                   r->intake.tenant, body);
    free(body);
    check_text(r, "job", text, wanted);
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
    const struct answer *a = r->has_late ? &r->late : &r->intake.answer;
    if (a->retry_after_s > 0) {
        (void)snprintf(retry, sizeof(retry), "retry-after=%u ", a->retry_after_s);
    }
    (void)snprintf(text, sizeof(text), "%d %s%s", a->http, retry, buf_text(&a->body));
    check_text(r, "answer", text, wanted);
    for (int i = 1; i < RESULT_CODES; i++) {
        char quoted[64];
        (void)snprintf(quoted, sizeof(quoted), ":\"%s", result_rows[i].name);
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
    } else if (strcmp(line, "header") == 0 && strncmp(rest, "Content-Type: ", 14) == 0) {
        (void)snprintf(r->type, sizeof(r->type), "%s", rest + 14);
    } else if (strcmp(line, "header") == 0 && strncmp(rest, "User-Agent: ", 12) == 0) {
        (void)snprintf(r->agent, sizeof(r->agent), "%s", rest + 12);
    } else if (strcmp(line, "header") == 0 && strncmp(rest, "Accept-Language: ", 17) == 0) {
        (void)snprintf(r->language, sizeof(r->language), "%s", rest + 17);
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
    struct run r = {.file = path, .records = fixture_records()};
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

static void run_folder(const char *folder)
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
    for (int i = 1; i < RESULT_CODES; i++) {
        if (!seen[i] && i != RESULT_DELIVERED) { /* a callback's, which is no answer */
            fail_msg("%s: no case answers %s", folder, result_rows[i].name);
        }
    }
}

static void system_1(void **state)
{
    (void)state;
    run_folder("tests/golden/endpoint");
}

static void system_2(void **state)
{
    (void)state;
    run_folder("tests/golden/af");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(system_1), cmocka_unit_test(system_2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
