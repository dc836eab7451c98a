/*
 * 100,000 random rounds: mutated templates, integrations and answers. Nothing may crash, leak or
 * break out of its place, and every answer has one clear judgement. The seed is fixed, so that a
 * failure comes again; OTPQ_SEED=n takes another.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/meaning/dialect.h"
#include "common/meaning/redact.h"

enum { TEMPLATES = 60000, INTEGRATIONS = 10000, ANSWERS = 30000, TEXT_MAX = 600 };

static struct rng rng;
static uint64_t seed = 20240611;

static void choose_seed(void)
{
    const char *given = getenv("OTPQ_SEED");
    if (given != NULL) {
        seed = strtoull(given, NULL, 10);
    }
    print_message("seed %llu\n", (unsigned long long)seed);
    rng_seed(&rng, seed);
}

static size_t below(size_t bound)
{
    return (size_t)rng_below(&rng, bound);
}

static const char *pick(const char *const *words, size_t n)
{
    return words[below(n)];
}

/* Deletes, doubles or changes a few bytes. NUL never appears. */
static void mutate(struct buf *b, size_t changes)
{
    static const char bytes[] = "{}|:.\"'\\%&=/#? \n\r\t-[],<>x0\x01\xc3\xa9\xff";
    for (size_t i = 0; i < changes && b->n > 0; i++) {
        size_t at = below(b->n);
        switch (below(3)) {
        case 0:
            b->p[at] = bytes[below(sizeof(bytes) - 1)];
            break;
        case 1:
            memmove(b->p + at, b->p + at + 1, b->n - at);
            b->n--;
            break;
        default:
            buf_putc(b, 'x');
            memmove(b->p + at + 1, b->p + at, b->n - 1 - at);
            b->p[at] = bytes[below(sizeof(bytes) - 1)];
        }
    }
}

/* ---- values that try to break out ------------------------------------------------------------ */

static const char *const evil[] = {
    "",         "66812340000", "a&b=c", "\"},{\"x\":\"", "..",   ".",
    "\r\nX: y", "<a b='c'>",   "é€😀",   "\xff",          "\\",   "%41%00",
    "a b+c",    "{msisdn}",    "}}",    "\x01\x7f",      "?x#y", "/../",
};

static struct slice param_of(void *context, struct slice name)
{
    (void)context;
    (void)name;
    return slice_of(pick(evil, ARRAY_LEN(evil)));
}

static bool secret_of(void *context, struct slice name, struct slice *value)
{
    (void)context;
    *value = SLICE("TOPSECRET\"&");
    return name.n > 0 && below(10) > 0;
}

static struct template_values evil_values(void)
{
    struct template_values v = {.country_code = "66", .param = param_of, .secret = secret_of};
    for (int i = 0; i < MACROS; i++) {
        v.macro[i] = slice_of(pick(evil, ARRAY_LEN(evil)));
    }
    return v;
}

/* ---- templates ------------------------------------------------------------------------------- */

static void put_random_template(struct buf *b)
{
    static const char *const parts[] = {
        "text",
        " ",
        "a=b&c",
        "{{",
        "}}",
        "\"q\"",
        "{msisdn}",
        "{otp|md5}",
        "{param.a}",
        "{secret.k}",
        "{secret.k|base64|upper}",
        "{ip|hmac_sha256:k}",
        "{msisdn|plus|national}",
        "{text|lower}",
        "{uuid|sha256}",
        "/",
        "é",
        "\\",
        "{user_agent}",
        "{param.b|base64}",
    };
    for (size_t n = below(8); n > 0; n--) {
        buf_puts(b, pick(parts, ARRAY_LEN(parts)));
    }
    mutate(b, below(3));
}

static bool is_json_text(struct slice text)
{
    struct buf quoted;
    buf_init(&quoted, text.n + 2);
    buf_putc(&quoted, '"');
    buf_put_slice(&quoted, text);
    buf_putc(&quoted, '"');
    json_t *doc = json_loadb(quoted.p, quoted.n, JSON_DECODE_ANY, NULL);
    bool good = json_is_string(doc);
    json_decref(doc);
    buf_free(&quoted);
    return good;
}

static bool has_any(struct slice text, const char *bytes)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '\0' && strchr(bytes, text.p[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool has_control(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool stays_in(enum template_place place, struct slice text)
{
    switch (place) {
    case TEMPLATE_PATH:
    case TEMPLATE_QUERY:
    case TEMPLATE_FORM:
        return !has_any(text, "&=/?#\"'\\<> \r\n");
    case TEMPLATE_JSON:
        return is_json_text(text);
    case TEMPLATE_XML:
        return !has_any(text, "<>\"'");
    case TEMPLATE_HEADER:
        return !has_control(text);
    case TEMPLATE_TEXT:
        break;
    }
    return true;
}

static void expand_one(const struct template *t, enum template_place place)
{
    struct template_values v = evil_values();
    struct template_error error = {0};
    struct buf out;
    buf_init(&out, 100000);
    if (template_expand(t, &v, &out, &error)) {
        assert_true(stays_in(place, buf_slice(&out)));
    } else {
        assert_true(error.text[0] != '\0');
    }
    buf_clear(&out);
    if (template_expand_masked(t, &v, &out, &error)) {
        assert_null(strstr(buf_text(&out), "TOPSECRET"));
    }
    buf_free(&out);
}

static void templates_never_break_out(void **state)
{
    (void)state;
    choose_seed();
    size_t compiled = 0;
    struct buf source;
    buf_init(&source, TEXT_MAX);
    for (size_t i = 0; i < TEMPLATES; i++) {
        enum template_place place = (enum template_place)below(TEMPLATE_TEXT + 1);
        struct template_error error = {0};
        buf_clear(&source);
        put_random_template(&source);
        struct template *t = template_compile(buf_slice(&source), place, &error);
        if (t == NULL) {
            assert_true(error.text[0] != '\0' && error.offset <= source.n);
            continue;
        }
        compiled++;
        expand_one(t, place);
        template_destroy(&t);
    }
    buf_free(&source);
    assert_true(compiled > TEMPLATES / 4);
}

/* ---- integrations ---------------------------------------------------------------------------- */

static const char integration[] =
    "send:\n"
    "  url: https://h.example/a/{param.p}/b?x={msisdn}\n"
    "  query: {a: '{otp|md5}', '{param.k}': b}\n"
    "  headers: {X-A: '{user_agent}', Authorization: '{secret.k|base64}'}\n"
    "  json: {to: '{msisdn|plus}', n: 1, l: [1, '{text}', {d: '{lang}'}], '{param.j}': true}\n"
    "  timeout_ms: 5000\n"
    "  answer:\n"
    "    success: {http: [200, 2xx], json: 'data[0].s', equals: [ok, 1]}\n"
    "    request_id: {regex: 'id=([a-z0-9]+)'}\n"
    "    error: {json: e.code}\n"
    "    errors: {busy: rate_limited, wrong: wrong_otp, who: outcome_unknown}\n"
    "    retry: [busy]\n"
    "    statuses: {409: already_subscribed}\n";

static void *random_settings(size_t changes)
{
    struct buf text;
    buf_init(&text, 2 * sizeof(integration));
    buf_puts(&text, integration);
    mutate(&text, changes);
    struct yaml_error error = {""};
    struct yaml_node *root = yaml_parse("r", buf_slice(&text), &error);
    void *settings = NULL;
    if (root != NULL) {
        settings = dialect_template.configure("r", root, &error);
    }
    assert_true((settings == NULL) == (error.text[0] != '\0'));
    yaml_destroy(&root);
    buf_free(&text);
    return settings;
}

static void check_built(const struct dialect_request *r)
{
    assert_true(strncmp(buf_text(&r->url), "http", 4) == 0);
    assert_false(has_control(buf_slice(&r->url)));
    assert_false(has_any(buf_slice(&r->url), " \"<>\\{}"));
    const char *line = buf_text(&r->headers);
    for (size_t i = 0; i < r->header_count; i++) {
        assert_non_null(strchr(line, ':'));
        assert_false(has_control(slice_of(line)));
        line += strlen(line) + 1;
    }
    if (strstr(buf_text(&r->headers), "application/json") != NULL) {
        json_t *doc = json_loadb(buf_text(&r->body), r->body.n, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(doc);
        json_decref(doc);
    }
}

static void integrations_build_or_complain(void **state)
{
    (void)state;
    choose_seed();
    size_t built = 0;
    for (size_t i = 0; i < INTEGRATIONS; i++) {
        void *settings = random_settings(below(4));
        if (settings == NULL) {
            continue;
        }
        struct template_values v = evil_values();
        struct template_error error = {0};
        struct dialect_request request;
        dialect_request_init(&request);
        if (dialect_template.build(settings, DIALECT_SEND, &v, false, &request, &error)) {
            check_built(&request);
            built++;
        } else {
            assert_true(error.text[0] != '\0');
        }
        dialect_request_free(&request);
        dialect_template.release(settings);
    }
    assert_true(built > 50);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void check_verdict(const struct dialect_verdict *v)
{
    bool unknown = v->code == RESULT_OUTCOME_UNKNOWN || v->code == RESULT_PENDING;
    switch (v->end) {
    case JOB_END_DONE:
        assert_int_equal(v->code, RESULT_OTP_SENT);
        break;
    case JOB_END_UNKNOWN:
        assert_true(unknown && !v->retry);
        break;
    case JOB_END_REFUSED:
        assert_true(!unknown && v->code != RESULT_NONE && v->code != RESULT_OTP_SENT);
        break;
    default:
        fail_msg("an answer cannot end a job as %d", (int)v->end);
    }
    assert_false(has_control(slice_of(v->advertiser_request_id)));
}

static void answers_have_one_judgement(void **state)
{
    (void)state;
    choose_seed();
    static const char *const bodies[] = {
        "{\"data\":[{\"s\":\"ok\"}],\"i\":\"id=ab1\"}",
        "{\"e\":{\"code\":\"busy\"}}",
        "{\"e\":{\"code\":\"wrong\"},\"data\":[{\"s\":1}]}",
        "{\"e\":{\"code\":\"who\"}}",
        "",
        "<html>id=x</html>",
        "[[[[[[]]]]]]",
        "{\"data\":[1e400]}",
        "{\"data\":[{\"s\":123456789012345678901234567890}]}",
        "null",
        "\"ok\"",
    };
    static const int statuses[] = {0, 100, 200, 201, 301, 404, 409, 429, 500, 599, 999, -1};
    static const struct slice secrets[] = {{"ok", 2}, {"id=", 3}};
    void *settings = random_settings(0);
    assert_non_null(settings);
    struct buf body;
    struct buf redacted;
    buf_init(&body, TEXT_MAX);
    buf_init(&redacted, 60);
    for (size_t i = 0; i < ANSWERS; i++) {
        buf_clear(&body);
        buf_clear(&redacted);
        buf_puts(&body, pick(bodies, ARRAY_LEN(bodies)));
        mutate(&body, below(4));
        struct dialect_answer answer = {statuses[below(ARRAY_LEN(statuses))], buf_slice(&body)};
        struct dialect_verdict verdict;
        dialect_template.parse(settings, DIALECT_SEND, &answer, &verdict);
        check_verdict(&verdict);
        redact(NULL, answer.body, secrets, ARRAY_LEN(secrets), &redacted);
        assert_true(buf_ok(&redacted));
        assert_null(strstr(buf_text(&redacted), "id="));
    }
    buf_free(&body);
    buf_free(&redacted);
    dialect_template.release(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_never_break_out),
        cmocka_unit_test(integrations_build_or_complain),
        cmocka_unit_test(answers_have_one_judgement),
    };
    return cmocka_run_group_tests_name("dialect_random", tests, NULL, NULL);
}
