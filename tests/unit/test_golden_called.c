/*
 * Runs the cases of the dialects that are called, tests/golden/{template,offer18,…}/ *.case, from
 * the project's root. A case is one file for people to read:
 *
 *     what it shows
 *     --- integration    YAML: the dialect's keys of an integration
 *     --- values         YAML: call, country_code, macros, param.NAME, secret.NAME
 *     --- request        the exact request, or
 *     --- error          why there is none: of the integration or, with values, of the request
 *     --- preview        the request as a dry run shows it (may be left out)
 *     --- answer         "HTTP 200", then the advertiser's body; any number of times, each with
 *     --- verdict        end, code, "retry", "id=…", "left=…", "after=…", "url=…", "mo=…"
 *     --- callback       what the advertiser sends by itself: a query, or a JSON body; any number
 *     --- report         of times, each with what it says, or "refused: " and why
 *
 * Values and request may be left out where there are callbacks.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/meaning/dialect.h"

enum { CASES_MIN = 25, CASES_MAX = 400, SECTIONS_MAX = 40, CASE_BYTES_MAX = 65536 };

/* A directory of cases and whose they are. */
struct called {
    const char *directory;
    const struct dialect *dialect;
};

static const struct called *now; /* whose cases are run */

struct section {
    char name[24];
    char *text; /* whole lines, owned */
};

struct golden {
    const char *file;
    size_t count;
    struct section at[SECTIONS_MAX];
    struct yaml_node *values;
    enum dialect_call call;
    void *settings;
};

/* ---- reading a case -------------------------------------------------------------------------- */

static void add_line(struct golden *g, struct buf *section, const char *line)
{
    if (strncmp(line, "--- ", 4) != 0) {
        buf_puts(section, line);
        return;
    }
    if (g->count > 0) {
        g->at[g->count - 1].text = buf_take(section);
    }
    buf_clear(section);
    assert_true(g->count < SECTIONS_MAX);
    (void)snprintf(g->at[g->count++].name, sizeof(g->at[0].name), "%.*s",
                   (int)strcspn(line + 4, "\n"), line + 4);
}

static void read_case(struct golden *g, const char *file)
{
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/%s", now->directory, file);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    *g = (struct golden){.file = file};
    struct buf section;
    buf_init(&section, CASE_BYTES_MAX);
    char line[4096];
    while (fgets(line, sizeof(line), f) != NULL) {
        add_line(g, &section, line);
    }
    (void)fclose(f);
    assert_true(g->count > 0);
    g->at[g->count - 1].text = buf_take(&section);
}

static const char *section_of(const struct golden *g, const char *name)
{
    for (size_t i = 0; i < g->count; i++) {
        if (strcmp(g->at[i].name, name) == 0) {
            return g->at[i].text;
        }
    }
    return NULL;
}

static void free_case(struct golden *g)
{
    for (size_t i = 0; i < g->count; i++) {
        free(g->at[i].text);
    }
    yaml_destroy(&g->values);
    now->dialect->release(g->settings);
}

/* ---- its values ------------------------------------------------------------------------------ */

static const char *value_of(const struct yaml_node *values, const char *prefix, struct slice name)
{
    char key[128];
    (void)snprintf(key, sizeof(key), "%s%.*s", prefix, SLICE_ARG(name));
    const struct yaml_node *node = yaml_get(values, key);
    return node != NULL ? node->text : NULL;
}

static struct slice param_of(void *context, struct slice name)
{
    return slice_of(value_of(context, "param.", name));
}

static bool secret_of(void *context, struct slice name, struct slice *value)
{
    *value = slice_of(value_of(context, "secret.", name));
    return value->p != NULL;
}

static struct template_values values_of(struct golden *g)
{
    struct template_values v = {.param = param_of, .secret = secret_of, .context = g->values};
    v.country_code = value_of(g->values, "country_code", slice_of(""));
    for (int i = 0; i < MACRO_PARAM; i++) {
        v.macro[i] = slice_of(value_of(g->values, template_macros[i].name, slice_of("")));
    }
    return v;
}

/* ---- its checks ------------------------------------------------------------------------------ */

static unsigned failures; /* all cases are run, so that one run shows everything that is wrong */

static void same(const struct golden *g, const char *what, const char *got, const char *wanted)
{
    if (strcmp(got, wanted) != 0) {
        print_error("%s/%s: %s\n--- got\n%s\n--- wanted\n%s\n", now->directory, g->file, what, got,
                    wanted);
        failures++;
    }
}

static bool configure(struct golden *g)
{
    struct yaml_error error = {""};
    struct yaml_node *node = yaml_parse("case", slice_of(section_of(g, "integration")), &error);
    if (node != NULL) {
        g->settings = now->dialect->configure("case", node, &error);
        yaml_destroy(&node);
    }
    if (g->settings == NULL) {
        const char *wanted = section_of(g, "error");
        char got[sizeof(error.text) + 1];
        (void)snprintf(got, sizeof(got), "%s\n", error.text);
        same(g, "integration", got, wanted != NULL ? wanted : "(no error)\n");
    }
    return g->settings != NULL;
}

static void check_request(struct golden *g)
{
    struct yaml_error bad = {""};
    g->values = yaml_parse("values", slice_of(section_of(g, "values")), &bad);
    same(g, "values", bad.text, "");
    const char *call = value_of(g->values, "call", slice_of(""));
    g->call = call != NULL && strcmp(call, "verify") == 0 ? DIALECT_VERIFY : DIALECT_SEND;
    struct template_values v = values_of(g);
    struct template_error error = {0};
    struct dialect_request request;
    dialect_request_init(&request);
    struct buf got;
    buf_init(&got, CASE_BYTES_MAX);
    if (now->dialect->build(g->settings, g->call, &v, false, &request, &error)) {
        dialect_request_write(&request, &got);
    } else {
        buf_printf(&got, "%s\n", error.text);
    }
    const char *wanted = section_of(g, error.text[0] == '\0' ? "request" : "error");
    same(g, "request", buf_text(&got), wanted != NULL ? wanted : "(nothing)\n");
    const char *preview = section_of(g, "preview");
    if (preview != NULL) {
        buf_clear(&got);
        assert_true(dialect_preview(now->dialect, g->settings, g->call, &v, &got, &error));
        same(g, "preview", buf_text(&got), preview);
    }
    buf_free(&got);
    dialect_request_free(&request);
}

static void put_word(struct buf *out, const char *name, const char *text)
{
    if (text[0] != '\0') {
        buf_printf(out, " %s=%s", name, text);
    }
}

static void put_number(struct buf *out, const char *name, int64_t number)
{
    if (number >= 0) {
        buf_printf(out, " %s=%lld", name, (long long)number);
    }
}

static void put_message(struct buf *out, const struct dialect_message *mo)
{
    if (mo->mobile[0] != '\0') {
        buf_printf(out, " mo=%s,%s,%s,%s", mo->mobile, mo->sender, mo->send_time, mo->deliver_time);
    }
}

/* The last line feed of a section is the case file's. */
static struct slice body_of(const char *text)
{
    size_t n = strlen(text);
    return slice_make(text, n > 0 ? n - 1 : 0);
}

static void check_answer(const struct golden *g, const char *text, const char *wanted)
{
    struct dialect_answer answer = {.http = 0};
    assert_int_equal(sscanf(text, "HTTP %d", &answer.http), 1);
    answer.body = body_of(text + strcspn(text, "\n") + 1);
    struct dialect_verdict verdict;
    now->dialect->parse(g->settings, g->call, &answer, &verdict);
    struct buf got;
    buf_init(&got, CASE_BYTES_MAX);
    buf_printf(&got, "%s %s%s", job_end_names[verdict.end], result_name(verdict.code),
               verdict.retry ? " retry" : "");
    put_word(&got, "id", verdict.advertiser_request_id);
    put_number(&got, "left", verdict.attempts_left);
    put_number(&got, "after", verdict.retry_after_s);
    put_word(&got, "url", verdict.url);
    put_message(&got, &verdict.mo);
    buf_putc(&got, '\n');
    same(g, text, buf_text(&got), wanted);
    buf_free(&got);
}

static void put_report(struct buf *out, const struct dialect_report *r)
{
    static const char *const events[] = {"delivery", "verification", "mo"};
    buf_printf(out, "%s %s", events[r->event], result_name(r->code));
    put_word(out, "rid", r->request_id);
    put_word(out, "id", r->advertiser_request_id);
    put_word(out, "otp", r->otp);
    put_message(out, &r->mo);
}

static void check_callback(const struct golden *g, const char *text, const char *wanted)
{
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    struct slice given = body_of(text);
    bool json = text[0] == '{';
    struct buf got;
    buf_init(&got, CASE_BYTES_MAX);
    assert_true(params_read(&params, json ? SLICE("") : given,
                            json ? SLICE("application/json") : SLICE(""), json ? given : SLICE(""),
                            error));
    struct dialect_report report;
    const char *why = NULL;
    assert_non_null(now->dialect->report);
    if (now->dialect->report(g->settings, &params, &report, &why)) {
        put_report(&got, &report);
    } else {
        buf_printf(&got, "refused: %s", why);
    }
    buf_putc(&got, '\n');
    same(g, text, buf_text(&got), wanted);
    params_free(&params);
    buf_free(&got);
}

static void check_pairs(const struct golden *g)
{
    for (size_t i = 0; i + 1 < g->count; i++) {
        if (strcmp(g->at[i].name, "answer") == 0) {
            assert_string_equal(g->at[i + 1].name, "verdict");
            check_answer(g, g->at[i].text, g->at[i + 1].text);
        } else if (strcmp(g->at[i].name, "callback") == 0) {
            assert_string_equal(g->at[i + 1].name, "report");
            check_callback(g, g->at[i].text, g->at[i + 1].text);
        }
    }
}

static void check_case(const char *file)
{
    struct golden g;
    read_case(&g, file);
    assert_non_null(section_of(&g, "integration"));
    if (configure(&g)) {
        if (section_of(&g, "values") != NULL) {
            check_request(&g);
        } else {
            assert_non_null(section_of(&g, "callback"));
        }
        check_pairs(&g);
    }
    free_case(&g);
}

static void every_case_holds(void **state)
{
    now = *state;
    failures = 0;
    DIR *dir = opendir(now->directory);
    if (dir == NULL) {
        fail_msg("%s is not here; run from the project's root", now->directory);
    }
    size_t count = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        size_t n = strlen(entry->d_name);
        if (n > 5 && strcmp(entry->d_name + n - 5, ".case") == 0) {
            check_case(entry->d_name);
            count++;
        }
    }
    (void)closedir(dir);
    assert_int_equal(failures, 0);
    assert_in_range(count, CASES_MIN, CASES_MAX);
}

static struct called template = {"tests/golden/template", &dialect_template};
static struct called offer18 = {"tests/golden/offer18", &dialect_offer18};
static struct called otpservice = {"tests/golden/otpservice-called", &dialect_otpservice};
static struct called fotp = {"tests/golden/fotp-called", &dialect_fotp};

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"template", every_case_holds, NULL, NULL, &template},
        {"offer18", every_case_holds, NULL, NULL, &offer18},
        {"otpservice", every_case_holds, NULL, NULL, &otpservice},
        {"fotp", every_case_holds, NULL, NULL, &fotp},
    };
    return cmocka_run_group_tests_name("golden_called", tests, NULL, NULL);
}
