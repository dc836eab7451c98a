#include "common/meaning/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static struct slice param_of(void *context, struct slice name)
{
    (void)context;
    return slice_is(name, "sub1") ? SLICE("a&b=c d") : slice_of("");
}

static bool secret_of(void *context, struct slice name, struct slice *value)
{
    (void)context;
    *value = SLICE("Jefe");
    return slice_is(name, "key");
}

static struct template_values values(void)
{
    struct template_values v = {.country_code = "66", .param = param_of, .secret = secret_of};
    v.macro[MACRO_MSISDN] = SLICE("66812340000");
    v.macro[MACRO_OTP] = SLICE("042137");
    v.macro[MACRO_TEXT] = SLICE("Code 042137, repeat 042137");
    v.macro[MACRO_USER_ID] = SLICE("x\"y");
    v.macro[MACRO_TYPE] = SLICE("what do ya want for nothing?");
    return v;
}

/* The whole text, or NULL and the error in *error. The caller frees. */
static char *expanded(const char *source, enum template_place place, bool raw, bool masked,
                      const struct template_values *v, struct template_error *error)
{
    struct template *t = raw ? template_compile_raw(slice_of(source), place, error)
                             : template_compile(slice_of(source), place, error);
    if (t == NULL) {
        return NULL;
    }
    struct buf out;
    buf_init(&out, 200000);
    bool good =
        masked ? template_expand_masked(t, v, &out, error) : template_expand(t, v, &out, error);
    template_destroy(&t);
    char *text = buf_take(&out);
    if (!good) {
        free(text);
        return NULL;
    }
    return text;
}

static void gives(const char *source, enum template_place place, const char *wanted)
{
    struct template_values v = values();
    struct template_error error = {0};
    char *text = expanded(source, place, false, false, &v, &error);
    if (text == NULL) {
        fail_msg("%s: %s", source, error.text);
    }
    assert_string_equal(text, wanted);
    free(text);
}

static void filters_chain(void **state)
{
    (void)state;
    gives("{msisdn}", TEMPLATE_TEXT, "66812340000");
    gives("{msisdn|national}", TEMPLATE_TEXT, "812340000");
    gives("{msisdn|plus}", TEMPLATE_TEXT, "+66812340000");
    gives("{msisdn|plus|national}", TEMPLATE_TEXT, "812340000");
    gives("{msisdn|dialled}", TEMPLATE_TEXT, "0812340000");
    gives("{msisdn|plus|dialled}", TEMPLATE_TEXT, "0812340000");
    gives("{msisdn|international}", TEMPLATE_TEXT, "+66 81 234 0000");
    gives("{msisdn|international}", TEMPLATE_QUERY, "%2B66%2081%20234%200000");
    gives("{msisdn|plus}", TEMPLATE_QUERY, "%2B66812340000");
    gives("{lang|plus}", TEMPLATE_TEXT, "");
    gives("{lang|md5}", TEMPLATE_TEXT, "d41d8cd98f00b204e9800998ecf8427e");
    gives("{otp|md5}", TEMPLATE_TEXT, "4505b4199215ec756dcc8aad2e711351");
    gives("{otp|sha256|upper}", TEMPLATE_TEXT,
          "3C7C7DE6D5B7A01573616C308F8CC35144DB986CFEB9728A4AAB9D581E747B95");
    /* RFC 4231, test case 2 */
    gives("{type|hmac_sha256:key}", TEMPLATE_TEXT,
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    gives("{secret.key|base64}", TEMPLATE_HEADER, "SmVmZQ==");
    gives("{secret.key|base64|lower|upper}", TEMPLATE_QUERY, "SMVMZQ%3D%3D");
    gives("{lang|base64}", TEMPLATE_TEXT, "");
}

static void every_place_encodes_values_and_text(void **state)
{
    (void)state;
    gives("a b/{param.sub1}", TEMPLATE_PATH, "a%20b%2Fa%26b%3Dc%20d");
    gives("a b&{param.sub1}", TEMPLATE_QUERY, "a%20b%26a%26b%3Dc%20d");
    gives("a b+{param.sub1}", TEMPLATE_FORM, "a+b%2Ba%26b%3Dc+d");
    gives("\"\n{user_id}\\", TEMPLATE_JSON, "\\\"\\u000ax\\\"y\\\\");
    gives("<{user_id}>&'{param.sub1}", TEMPLATE_XML, "&lt;x&quot;y&gt;&amp;&#39;a&amp;b=c d");
    gives("Bearer {param.sub1}", TEMPLATE_HEADER, "Bearer a&b=c d");
    gives("{{{otp}}} {{x}}", TEMPLATE_TEXT, "{042137} {x}");
    gives("", TEMPLATE_TEXT, "");
    gives("{param.none}{aid}", TEMPLATE_QUERY, "");
}

/* Every macro in every place, with a value that tries to break out. */
static void no_value_breaks_out(void **state)
{
    (void)state;
    static const char evil[] = "a&b=c\"},\"x\":\"<y>'/../#?%41;\\\r\n\tX: 1";
    static const char *const safe[] = {
        [TEMPLATE_PATH] = "a%26b%3Dc%22%7D%2C%22x%22%3A%22%3Cy%3E%27%2F..%2F%23%3F%2541%3B%5C%0D%0A"
                          "%09X%3A%201",
        [TEMPLATE_QUERY] = "a%26b%3Dc%22%7D%2C%22x%22%3A%22%3Cy%3E%27%2F..%2F%23%3F%2541%3B%5C%0D%0"
                           "A%09X%3A%201",
        [TEMPLATE_FORM] = "a%26b%3Dc%22%7D%2C%22x%22%3A%22%3Cy%3E%27%2F..%2F%23%3F%2541%3B%5C%0D%0A"
                          "%09X%3A+1",
        [TEMPLATE_JSON] = "a&b=c\\\"},\\\"x\\\":\\\"<y>'/../#?%41;\\\\\\u000d\\u000a\\u0009X: 1",
        [TEMPLATE_XML] = NULL,
        [TEMPLATE_HEADER] = NULL,
        [TEMPLATE_TEXT] = evil,
    };
    for (int m = 0; m < MACRO_PARAM; m++) {
        for (int place = TEMPLATE_PATH; place <= TEMPLATE_TEXT; place++) {
            char source[64];
            (void)snprintf(source, sizeof(source), "{%s}", template_macros[m].name);
            struct template_values v = values();
            v.macro[m] = slice_of(evil);
            struct template_error error = {0};
            char *text = expanded(source, (enum template_place)place, false, false, &v, &error);
            if (safe[place] == NULL) {
                assert_null(text);
                assert_non_null(strstr(error.text, template_macros[m].name));
            } else {
                assert_string_equal(text, safe[place]);
            }
            free(text);
        }
    }
}

static void refuses_what_a_place_cannot_carry(void **state)
{
    (void)state;
    struct template_values v = values();
    struct template_error error;
    v.macro[MACRO_IP] = SLICE("a\xff");
    assert_null(expanded("{ip}", TEMPLATE_JSON, false, false, &v, &error));
    assert_string_equal(error.text, "{ip} is not UTF-8, which JSON must be");
    v.macro[MACRO_IP] = SLICE("a\0b");
    assert_null(expanded("..{ip}", TEMPLATE_TEXT, false, false, &v, &error));
    assert_int_equal(error.offset, 2);
    assert_null(expanded("{secret.none}", TEMPLATE_TEXT, false, false, &v, &error));
    assert_string_equal(error.text, "there is no secret \"none\"");
    assert_null(expanded("{otp|hmac_sha256:none}", TEMPLATE_TEXT, false, false, &v, &error));
    v.secret = NULL;
    assert_null(expanded("{secret.key}", TEMPLATE_TEXT, false, false, &v, &error));
}

static void bounds_hold(void **state)
{
    (void)state;
    char *big = xcalloc(1, TEMPLATE_VALUE_BYTES_MAX);
    memset(big, 'x', TEMPLATE_VALUE_BYTES_MAX - 1);
    struct template_values v = values();
    struct template_error error;
    v.macro[MACRO_IP] = slice_of(big);
    assert_null(expanded("{ip|base64}", TEMPLATE_TEXT, false, false, &v, &error));
    assert_string_equal(error.text, "{ip} is too long");
    assert_null(expanded("{ip}{ip}{ip}{ip}", TEMPLATE_TEXT, false, false, &v, &error));
    assert_non_null(strstr(error.text, "longer than"));
    assert_null(
        template_compile(slice_make(big, TEMPLATE_SOURCE_BYTES_MAX + 1), TEMPLATE_TEXT, &error));
    free(big);
    char many[(TEMPLATE_OPS_MAX + 1) * 5 + 1] = "";
    for (size_t i = 0; i <= TEMPLATE_OPS_MAX; i++) {
        memcpy(many + 5 * i, "{otp}", 6);
    }
    assert_null(template_compile(slice_of(many), TEMPLATE_TEXT, &error));
}

static void masks_secrets_and_codes(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        const char *wanted;
    } rows[] = {
        {"{secret.key}", "***"},
        {"{secret.key|md5}", "***"},
        {"{msisdn|hmac_sha256:key}", "***"},
        {"{otp}", "******"},
        {"{otp|base64}", "******"},
        {"{text}", "Code%20%2A%2A%2A%2A%2A%2A%2C%20repeat%20%2A%2A%2A%2A%2A%2A"},
        {"{msisdn}", "66812340000"},
    };
    struct template_values v = values();
    v.secret = NULL; /* a dry run needs no secret store */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct template_error error;
        char *text = expanded(rows[i].source, TEMPLATE_QUERY, false, true, &v, &error);
        assert_non_null(text);
        assert_string_equal(text, rows[i].wanted);
        free(text);
    }
}

static void errors_have_a_place_and_a_suggestion(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        size_t offset;
        const char *text;
    } rows[] = {
        {"a={msisdm}", 3, "unknown macro {msisdm}; did you mean {msisdn}?"},
        {"{clickid}", 1, "unknown macro {clickid}; did you mean {click_id}?"},
        {"{campaign_number}", 1,
         "unknown macro {campaign_number}; a parameter is {param.campaign_number}"},
        {"{msisdn|nationl}", 8, "unknown filter \"nationl\"; did you mean \"national\"?"},
        {"{msisdn|rot13x}", 8, "unknown filter \"rot13x\""},
        {"{msisdn|}", 8, "a filter is a name of letters, digits and _"},
        {"{msisdn|md5|base46}", 12, "unknown filter \"base46\"; did you mean \"base64\"?"},
        {"{msisdn|md5:x}", 8, "filter \"md5\" takes no argument"},
        {"{x|md5}", 1, NULL},
        {"{otp|hmac_sha256}", 5,
         "filter \"hmac_sha256\" needs the name of a secret: hmac_sha256:NAME"},
        {"{otp|hmac_sha256:}", 5, NULL},
        {"{param.}", 7, "{param.NAME} needs a name of letters, digits, _ - ."},
        {"{secret.a b}", 8, NULL},
        {"{}", 1, "a macro is {name}; a brace itself is written {{ or }}"},
        {"{ otp }", 1, "a macro is {name}; a brace itself is written {{ or }}"},
        {"ab{otp", 2, "{ without }; a brace itself is written {{"},
        {"ab}", 2, "} without {; a brace itself is written }}"},
        {"{", 0, "{ without }; a brace itself is written {{"},
        {"{otp|md5|md5|md5|md5|md5|md5|md5|md5|md5}", 37, "more than 8 filters on one macro"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct template_error error = {0};
        assert_null(template_compile(slice_of(rows[i].source), TEMPLATE_TEXT, &error));
        assert_int_equal(error.offset, rows[i].offset);
        if (rows[i].text != NULL) {
            assert_string_equal(error.text, rows[i].text);
        }
    }
}

static void a_text_tells_its_coding(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *coding;
    } rows[] = {
        {"Your code is 123456. [~] {x} ^ | \\ 5 € @ Ø", "0"},
        {"Grüße, è ñ à Ω\nnext line", "0"},
        {"", "0"},
        {"a`b", "2"},
        {"您的验证码是 123456", "2"},
        {"code ç 1", "2"},
        {"รหัส 1", "2"},
        {"\xff", "2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct template_values v = {.macro = {[MACRO_TEXT] = slice_of(rows[i].text)}};
        struct template_error error;
        char *coding = expanded("{text|coding}", TEMPLATE_QUERY, false, false, &v, &error);
        assert_string_equal(coding, rows[i].coding);
        free(coding);
    }
}

static void raw_text_stays(void **state)
{
    (void)state;
    struct template_values v = values();
    struct template_error error;
    char *text = expanded("/a%20b/{param.sub1}/c", TEMPLATE_PATH, true, false, &v, &error);
    assert_string_equal(text, "/a%20b/a%26b%3Dc%20d/c");
    free(text);
    text = expanded("{{\"a\":\"\\\"{user_id}\"}}", TEMPLATE_JSON, true, false, &v, &error);
    assert_string_equal(text, "{\"a\":\"\\\"x\\\"y\"}");
    free(text);
    assert_null(template_compile_raw(SLICE("{{\"a\":{otp}}}"), TEMPLATE_JSON, &error));
    assert_null(template_compile_raw(SLICE("{{\"a\":\"\\{otp}\"}}"), TEMPLATE_JSON, &error));
    assert_string_equal(error.text, "a macro cannot follow a backslash");
}

static void knows_what_it_uses(void **state)
{
    (void)state;
    struct template_error error;
    struct template *t = template_compile(SLICE("a{msisdn|md5}"), TEMPLATE_TEXT, &error);
    assert_true(template_uses(t, MACRO_MSISDN));
    assert_false(template_uses(t, MACRO_OTP));
    assert_false(template_is_literal(t));
    template_destroy(&t);
    assert_null(t);
    template_destroy(&t);
    t = template_compile(SLICE("{{msisdn}}"), TEMPLATE_TEXT, &error);
    assert_true(template_is_literal(t));
    assert_false(template_uses(t, MACRO_MSISDN));
    template_destroy(&t);
}

static void uuids_are_version_4(void **state)
{
    (void)state;
    char a[TEMPLATE_UUID_CHARS + 1];
    char b[TEMPLATE_UUID_CHARS + 1];
    template_uuid(a);
    template_uuid(b);
    assert_int_equal(strlen(a), TEMPLATE_UUID_CHARS);
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
    assert_true(a[8] == '-' && a[13] == '-' && a[18] == '-' && a[23] == '-');
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_chain),
        cmocka_unit_test(every_place_encodes_values_and_text),
        cmocka_unit_test(no_value_breaks_out),
        cmocka_unit_test(refuses_what_a_place_cannot_carry),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(masks_secrets_and_codes),
        cmocka_unit_test(errors_have_a_place_and_a_suggestion),
        cmocka_unit_test(a_text_tells_its_coding),
        cmocka_unit_test(raw_text_stays),
        cmocka_unit_test(knows_what_it_uses),
        cmocka_unit_test(uuids_are_version_4),
    };
    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
