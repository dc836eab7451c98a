#include "common/meaning/dialect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct slice param_of(void *context, struct slice name)
{
    (void)name;
    return slice_of(context);
}

static bool secret_of(void *context, struct slice name, struct slice *value)
{
    (void)context;
    *value = SLICE("s3cret");
    return slice_is(name, "token");
}

static void *settings_of(const char *yaml, struct yaml_error *error)
{
    struct yaml_node *root = yaml_parse("t.yaml", slice_of(yaml), error);
    if (root == NULL) {
        return NULL;
    }
    void *settings = dialect_template.configure("t.yaml", root, error);
    yaml_destroy(&root);
    return settings;
}

/* ---- what is refused when an integration is saved -------------------------------------------- */

static void mistakes_have_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *error;
    } rows[] = {
        {"verify: {url: 'http://h/'}", "t.yaml:1:1: send is missing: how an OTP is asked for"},
        {"send: x", "t.yaml:1:7: call must be a map of keys and values"},
        {"send: {method: GET}", "t.yaml:1:7: url is missing"},
        {"send:\n  urll: http://h/\n", "t.yaml:2:3: unknown key \"urll\"; did you mean \"url\"?"},
        {"send:\n  zzzzzz: 1\n", "t.yaml:2:3: unknown key \"zzzzzz\""},
        {"send:\n  url: ftp://h/\n",
         "t.yaml:2:8: url must begin with https:// or http://, literally"},
        {"send:\n  url: '{param.url}'\n",
         "t.yaml:2:8: url must begin with https:// or http://, literally"},
        {"send:\n  url: http://{param.h}/x\n",
         "t.yaml:2:15: the host is literal: a macro could send calls anywhere"},
        {"send:\n  url: http://h{param.h}/x\n",
         "t.yaml:2:15: the host is literal: a macro could send calls anywhere"},
        {"send:\n  url: http://h:{param.p}/x\n",
         "t.yaml:2:15: the host is literal: a macro could send calls anywhere"},
        {"send:\n  url: http://u:p@h/x\n",
         "t.yaml:2:15: credentials do not belong in the URL; use a header with "
         "{secret.NAME|base64}"},
        {"send:\n  url: http:///x\n", "t.yaml:2:15: url needs a host name and, at most, a port"},
        {"send:\n  url: http://h:70000/x\n",
         "t.yaml:2:15: url needs a host name and, at most, a port"},
        {"send:\n  url: http://h:/x\n", "t.yaml:2:15: url needs a host name and, at most, a port"},
        {"send:\n  url: http://[::1/x\n",
         "t.yaml:2:15: url needs a host name and, at most, a port"},
        {"send:\n  url: http://h/a b\n",
         "t.yaml:2:18: this character must be percent-encoded in a URL"},
        {"send:\n  url: http://h/a%2\n", "t.yaml:2:18: a percent sign in a URL is written %25"},
        {"send:\n  url: http://h/a#b\n", "t.yaml:2:18: a URL that is called has no #fragment"},
        {"send:\n  url: http://h/{{a}}\n", "t.yaml:2:17: a brace in a URL is written %7B or %7D"},
        {"send:\n  url: http://h/{msisdm}\n",
         "t.yaml:2:18: unknown macro {msisdm}; did you mean {msisdn}?"},
        {"send:\n  url: \"http://h/?a={msisdn|plsu}\"\n",
         "t.yaml:2:29: unknown filter \"plsu\"; did you mean \"plus\"?"},
        {"send:\n  url: http://h/a/../b\n",
         "t.yaml:2:3: the path would have a segment \".\" or \"..\""},
        {"send:\n  url: http://h/\n  method: FETCH\n",
         "t.yaml:3:11: method must be GET, POST, PUT, PATCH or DELETE"},
        {"send:\n  url: http://h/\n  method: GET\n  form: {a: b}\n",
         "t.yaml:3:11: a GET has no body; use query, or another method"},
        {"send:\n  url: http://h/\n  form: {a: b}\n  json: {a: b}\n",
         "t.yaml:4:9: form and json exclude each other"},
        {"send:\n  url: http://h/\n  body: x\n", "t.yaml:3:9: body needs content_type beside it"},
        {"send:\n  url: http://h/\n  content_type: text/plain\n",
         "t.yaml:3:17: content_type needs form, json or body beside it"},
        {"send:\n  url: http://h/\n  content_type: '{type}'\n  body: x\n",
         "t.yaml:3:17: content_type is literal, without macros"},
        {"send:\n  url: http://h/\n  body: '{{\"a\":{otp}}}'\n  content_type: application/json\n",
         "t.yaml:3:16: a macro in a JSON document stands inside quotes; a brace is written {{"},
        {"send:\n  url: http://h/\n  body: '{{\"a\":}}'\n  content_type: application/json\n",
         "t.yaml:2:3: the body is not JSON: unexpected token near '}' (line 1 of the body)"},
        {"send:\n  url: http://h/\n  json: text\n",
         "t.yaml:3:9: json must be a map or a list; a text goes under body"},
        {"send:\n  url: http://h/\n  json:\n    a: {msisdn}\n",
         "t.yaml:4:8: a text that begins with { is quoted: \"{msisdn}\""},
        {"send:\n  url: http://h/\n  json:\n    a:\n    - '{campaign}'\n",
         "t.yaml:5:9: unknown macro {campaign}; a parameter is {param.campaign}"},
        {"send:\n  url: http://h/\n  json:\n    a{campaign}: 1\n",
         "t.yaml:4:5: unknown macro {campaign}; a parameter is {param.campaign}"},
        {"send:\n  url: http://h/\n  query:\n    a: {msisdn}\n",
         "t.yaml:4:8: a must be a text; a text that begins with { is quoted: \"{msisdn}\""},
        {"send:\n  url: http://h/\n  query: [a]\n",
         "t.yaml:3:10: query must be a map of keys and values"},
        {"send:\n  url: http://h/\n  headers: {'A B': x}\n",
         "t.yaml:3:13: a header's name is literal and has no spaces: \"A B\""},
        {"send:\n  url: http://h/\n  headers: {'X{otp}': x}\n",
         "t.yaml:3:13: a header's name is literal and has no spaces: \"X{otp}\""},
        {"send:\n  url: http://h/\n  headers: {HOST: x}\n",
         "t.yaml:3:13: header \"HOST\" is set by otpq alone"},
        {"send:\n  url: http://h/\n  headers: {content-type: x}\n",
         "t.yaml:3:13: the key content_type sets this header"},
        {"send:\n  url: http://h/\n  headers: {X-A: \"a\\nb\"}\n",
         "t.yaml:3:18: the text has a line break or another control character, which a header "
         "cannot carry (byte 0 of the text)"},
        {"send:\n  url: http://h/\n  timeout_ms: 60001\n",
         "t.yaml:3:15: timeout_ms must be a whole number from 1 to 60000"},
        {"send:\n  url: http://h/\n  timeout_ms: 0\n",
         "t.yaml:3:15: timeout_ms must be a whole number from 1 to 60000"},
        {"send:\n  url: http://h/\n  connect_timeout_ms: 3s\n",
         "t.yaml:3:23: connect_timeout_ms must be a whole number from 1 to 60000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct yaml_error error = {""};
        void *settings = settings_of(rows[i].yaml, &error);
        if (settings != NULL) {
            fail_msg("taken: %s", rows[i].yaml);
        }
        assert_string_equal(error.text, rows[i].error);
    }
}

static void answer_mistakes_have_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *answer; /* stands at 4:5 */
        const char *error;
    } rows[] = {
        {"succes: {}", "t.yaml:4:5: unknown key \"succes\"; did you mean \"success\"?"},
        {"success: {htpp: 200}", "t.yaml:4:15: unknown key \"htpp\"; did you mean \"http\"?"},
        {"success: {http: []}", "t.yaml:4:21: http must be a status or a list of them"},
        {"success: {http: 600}", "t.yaml:4:21: an HTTP status is 100 to 599, or 2xx for a whole "
                                 "hundred"},
        {"success: {http: [200, 2x]}",
         "t.yaml:4:27: an HTTP status is 100 to 599, or 2xx for a whole hundred"},
        {"success: {equals: ok}", "t.yaml:4:23: equals needs json or regex beside it"},
        {"success: {json: a, equals: []}",
         "t.yaml:4:32: equals must be a value or a list of 1 to 64"},
        {"success: {json: a, regex: b}", "t.yaml:4:31: json and regex exclude each other"},
        {"success: {json: a..b}", "t.yaml:4:23: a path is keys and indexes: data.items[0].id"},
        {"success: {json: 'a[x]'}", "t.yaml:4:23: an index is written [0] to [9999]"},
        {"success: {json: 'a[1'}", "t.yaml:4:23: an index is written [0] to [9999]"},
        {"success: {json: 'a]b'}", "t.yaml:4:23: a path is keys and indexes: data.items[0].id"},
        {"success: {json: ''}", "t.yaml:4:22: a path is keys and indexes: data.items[0].id"},
        {"success: {json: a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q}",
         "t.yaml:4:53: the path has too many steps"},
        {"success: {regex: 'a(b'}", "t.yaml:4:26: missing closing parenthesis"},
        {"success: {regex: '(a)(b)'}",
         "t.yaml:4:22: regex must have one group (…) around the value; it has 2"},
        {"request_id: {regex: abc}",
         "t.yaml:4:25: regex must have one group (…) around the value; it has 0"},
        {"request_id: {}", "t.yaml:4:17: request_id needs json or regex"},
        {"errors: {a: wrong_otp}",
         "t.yaml:4:13: errors needs error beside it, to say where the word is"},
        {"{error: {json: e}, errors: {a: wrong_opt}}",
         "t.yaml:4:36: unknown code \"wrong_opt\"; did you mean \"wrong_otp\"?"},
        {"{error: {json: e}, errors: {a: xyzzy}}",
         "t.yaml:4:36: unknown code \"xyzzy\"; docs/templates.md lists them"},
        {"{error: {json: e}, errors: {a: queue_full}}",
         "t.yaml:4:36: \"queue_full\" is said by otpq itself, not by an advertiser"},
        {"{error: {json: e}, errors: {a: otp_sent}}",
         "t.yaml:4:36: a success is described by success, not among the errors"},
        {"{error: {json: e}, errors: {a: wrong_otp}, retry: [b]}",
         "t.yaml:4:56: \"b\" is not among the errors"},
        {"{error: {json: e}, errors: {a: outcome_unknown}, retry: [a]}",
         "t.yaml:4:62: \"a\" means outcome_unknown: what may have happened is not repeated"},
        {"{statuses: {2000: wrong_otp}}", "t.yaml:4:17: an HTTP status is 100 to 599"},
        {"{statuses: {200: wrong_otp}}", "t.yaml:4:17: status 200 is a success already"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char yaml[300];
        (void)snprintf(yaml, sizeof(yaml), "send:\n  url: http://h/\n  answer:\n    %s\n",
                       rows[i].answer);
        struct yaml_error error = {""};
        if (settings_of(yaml, &error) != NULL) {
            fail_msg("taken: %s", rows[i].answer);
        }
        assert_string_equal(error.text, rows[i].error);
    }
}

/* ---- what a request does not allow ----------------------------------------------------------- */

/* Builds the send with {param.x} = evil; the error's text, or "" and the request in *request. */
static void build_with(const char *yaml, const char *evil, struct dialect_request *request,
                       struct template_error *error)
{
    struct yaml_error bad = {""};
    void *settings = settings_of(yaml, &bad);
    if (settings == NULL) {
        fail_msg("%s", bad.text);
    }
    char context[256];
    (void)snprintf(context, sizeof(context), "%s", evil);
    struct template_values v = {.param = param_of, .secret = secret_of, .context = context};
    *error = (struct template_error){0};
    dialect_request_init(request);
    bool good = dialect_template.build(settings, DIALECT_SEND, &v, false, request, error);
    assert_int_equal(good, error->text[0] == '\0');
    dialect_template.release(settings);
}

static void no_value_moves_the_request(void **state)
{
    (void)state;
    static const struct {
        const char *yaml;
        const char *evil;
        const char *error;
    } rows[] = {
        {"send: {url: 'http://h/a/{param.x}/b'}", "..",
         "the path would have a segment \".\" or \"..\""},
        {"send: {url: 'http://h/a/.{param.x}/b'}", ".",
         "the path would have a segment \".\" or \"..\""},
        {"send: {url: 'http://h/a/%2E{param.x}'}", ".",
         "the path would have a segment \".\" or \"..\""},
        {"send: {url: 'http://h/', query: {a: b, '{param.x}': c}}", "a",
         "two parameters would have the same name"},
        {"send: {url: 'http://h/?a=b', query: {'{param.x}': c}}", "a",
         "two parameters would have the same name"},
        {"send: {url: 'http://h/', form: {a: b, '{param.x}': c}}", "a",
         "two parameters would have the same name"},
        {"send: {url: 'http://h/', json: {a: b, '{param.x}': c}}", "a",
         "two JSON fields would have the same name"},
        {"send: {url: 'http://h/', headers: {X-A: '{param.x}'}}", "a\r\nX-B: c",
         "{param.x} has a line break or another control character, which a header cannot carry"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dialect_request request;
        struct template_error error;
        build_with(rows[i].yaml, rows[i].evil, &request, &error);
        assert_string_equal(error.text, rows[i].error);
        dialect_request_free(&request);
    }
}

static void a_request_is_reused_and_bounded(void **state)
{
    (void)state;
    struct yaml_error bad = {""};
    void *settings = settings_of("send: {url: 'http://h/{msisdn}', query: {a: '{ip}', b: '{ip}'},"
                                 " timeout_ms: 1234, headers: {X-E: '{lang}', X-T: t}}",
                                 &bad);
    assert_non_null(settings);
    assert_int_equal(dialect_template.timeout_ms(settings, DIALECT_SEND), 1234);
    assert_true(dialect_template.has(settings, DIALECT_SEND));
    assert_false(dialect_template.has(settings, DIALECT_VERIFY));
    assert_true(dialect_template.uses(settings, DIALECT_SEND, MACRO_MSISDN));
    assert_true(dialect_template.uses(settings, DIALECT_SEND, MACRO_LANG));
    assert_false(dialect_template.uses(settings, DIALECT_SEND, MACRO_OTP));
    assert_false(dialect_template.uses(settings, DIALECT_VERIFY, MACRO_MSISDN));
    struct template_values v = {.country_code = NULL};
    struct dialect_request request;
    struct template_error error;
    dialect_request_init(&request);
    v.macro[MACRO_MSISDN] = SLICE("1");
    for (int i = 0; i < 2; i++) {
        assert_true(dialect_template.build(settings, DIALECT_SEND, &v, false, &request, &error));
        assert_string_equal(buf_text(&request.url), "http://h/1?a=&b=");
        assert_int_equal(request.header_count, 1);
        assert_string_equal(buf_text(&request.headers), "X-T: t");
        assert_int_equal(request.timeout_ms, 1234);
        assert_int_equal(request.connect_ms, 3000);
    }
    static char big[40000];
    memset(big, '%', sizeof(big));
    v.macro[MACRO_IP] = slice_make(big, sizeof(big));
    assert_false(dialect_template.build(settings, DIALECT_SEND, &v, false, &request, &error));
    dialect_request_free(&request);
    dialect_template.release(settings);
}

static void a_preview_shows_no_secret(void **state)
{
    (void)state;
    struct yaml_error bad = {""};
    void *settings = settings_of(
        "send: {url: 'http://h/p?k={secret.token}', json: {to: '{msisdn}', code: '{otp}'},\n"
        "  headers: {Authorization: 'Bearer {secret.token}', X-Sign: '{otp|hmac_sha256:token}'}}",
        &bad);
    assert_non_null(settings);
    struct template_values v = {.secret = secret_of};
    v.macro[MACRO_MSISDN] = SLICE("66812340000");
    v.macro[MACRO_OTP] = SLICE("123456");
    struct buf out;
    struct template_error error;
    buf_init(&out, 4096);
    assert_true(dialect_preview(&dialect_template, settings, DIALECT_SEND, &v, &out, &error));
    assert_string_equal(buf_text(&out), "POST http://h/p?k=***\n"
                                        "Content-Type: application/json\n"
                                        "Authorization: Bearer ***\n"
                                        "X-Sign: ******\n"
                                        "\n"
                                        "{\"to\":\"66812340000\",\"code\":\"******\"}\n");
    buf_free(&out);
    dialect_template.release(settings);
}

static void dialects_are_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(dialect_find(SLICE("template")), &dialect_template);
    assert_null(dialect_find(SLICE("templates")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_have_their_place),
        cmocka_unit_test(answer_mistakes_have_their_place),
        cmocka_unit_test(no_value_moves_the_request),
        cmocka_unit_test(a_request_is_reused_and_bounded),
        cmocka_unit_test(a_preview_shows_no_secret),
        cmocka_unit_test(dialects_are_found_by_name),
    };
    return cmocka_run_group_tests_name("dialect_template", tests, NULL, NULL);
}
