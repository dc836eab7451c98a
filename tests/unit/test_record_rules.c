#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "tests/unit/record_files.h"

/* A record of the store, as an older otpq may have taken it. */
#define STORED(kind, name, text)                                                                   \
    {                                                                                              \
        kind, (char[]){name}, (char[]){text}, 0, 0                                                 \
    }

static void assert_builds(const struct record_text *texts, size_t count)
{
    struct yaml_error error = {""};
    struct records *r = records_build(texts, count, 1, &error);
    if (r == NULL) {
        fail_msg("%s", error.text);
    }
    records_unref(&r);
}

static void assert_outcome(const struct record_text *texts, size_t count, const char *expected)
{
    struct yaml_error error = {""};
    assert_false(records_check("r.yaml", texts, count, &error));
    assert_string_equal(error.text, expected);
}

#define ACCOUNT "accounts:\n  acme: {}\n"
#define FLASH(keys)                                                                                \
    "flash_templates:\n  t: {account: acme, receivers: ['123'], content: 'a-{code}'" keys "}\n"
#define ENDPOINT(integration, affiliate)                                                           \
    GOOD "affiliates:\n  7: {key: abcdefgh, api_access: true}\n"                                   \
         "endpoints:\n  e: {integration: " integration ", affiliate: " affiliate "}\n"

/* ---- references ------------------------------------------------------------------------------ */

static void dangling_references_name_what_is_near(void **state)
{
    (void)state;
    assert_taken(ENDPOINT("one", "7"));
    assert_refused(ENDPOINT("oen", "7"),
                   "r.yaml:12:3: endpoint e: there is no integration oen; did you mean one?");
    assert_refused(ENDPOINT("one", "8"), "r.yaml:12:3: endpoint e: there is no affiliate 8");
    assert_refused(GOOD "    fallback: [one2, onee]\n",
                   "r.yaml:2:3: integration one: there is no integration one2; did you mean one?");
    assert_refused(GOOD "    fallback: [one]\n",
                   "r.yaml:2:3: integration one: it cannot be its own fallback");
    assert_refused(GOOD "accounts:\n  acme: {integration: oen}\n",
                   "r.yaml:10:3: account acme: there is no integration oen; did you mean one?");
    assert_refused(GOOD ACCOUNT FLASH(", integration: oen"),
                   "r.yaml:12:3: flash template t: there is no integration oen; did you mean one?");
    assert_refused("accounts:\n  acem: {}\n" FLASH(""),
                   "r.yaml:4:3: flash template t: there is no account acme; did you mean acem?");
    assert_refused(GOOD "api_tokens:\n  t: {token: 12345678, integration: oen}\n",
                   "r.yaml:10:3: API token t: there is no integration oen; did you mean one?");
    assert_refused(GOOD "api_tokens:\n  t: {token: 12345678, integration: zzzzzz}\n",
                   "r.yaml:10:3: API token t: there is no integration zzzzzz");
}

static void an_endpoint_wants_api_access(void **state)
{
    (void)state;
    assert_refused(GOOD "affiliates:\n  7: {key: abcdefgh}\n"
                        "endpoints:\n  e: {integration: one, affiliate: 7}\n",
                   "r.yaml:12:3: endpoint e: affiliate 7 has no API access");
}

static void a_fallback_has_the_same_maker(void **state)
{
    (void)state;
    static const char own[] = "  own:\n    maker: otpq\n    text: '{otp}'\n    fallback: [one]\n"
                              "    send: {url: 'http://a.example/{msisdn}/{text}'}\n";
    char text[1024];
    (void)snprintf(text, sizeof(text), GOOD "%s", own);
    assert_refused(text, "r.yaml:9:3: integration own: a fallback with another maker");
}

/* What apply would leave behind is judged; what a node finds is taken. */
static void dangling_records_of_the_store_are_borne(void **state)
{
    (void)state;
    const struct {
        struct record_text text;
        const char *error;
    } rows[] = {
        {STORED(RECORD_ENDPOINT, "e", "integration: one\naffiliate: 7\n"),
         "endpoints: e: there is no integration one"},
        {STORED(RECORD_ACCOUNT, "a", "integration: one\n"),
         "accounts: a: there is no integration one"},
        {STORED(RECORD_FLASH_TEMPLATE, "t",
                "account: a\nreceivers:\n  - \"123\"\ncontent: a-{code}\n"),
         "flash_templates: t: there is no account a"},
        {STORED(RECORD_API_TOKEN, "t", "token: t0123456\nintegration: one\n"),
         "api_tokens: t: there is no integration one"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_builds(&rows[i].text, 1);
        assert_outcome(&rows[i].text, 1, rows[i].error);
    }
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void a_token_is_of_one_record(void **state)
{
    (void)state;
    assert_taken("mo_sources:\n  a: {token: one-token}\n  b: {token: two-token}\n");
    assert_refused("mo_sources:\n  b: {token: one-token}\n  a: {token: one-token}\n",
                   "r.yaml:3:3: MO source a: its token is that of MO source b, too");
    assert_refused(GOOD "api_tokens:\n  a: {token: one-token, integration: one}\n"
                        "  b: {token: one-token, integration: one}\n",
                   "r.yaml:11:3: API token b: its token is that of API token a, too");
    /* they are shown at different addresses, and so are those of integrations, by their names */
    assert_taken(GOOD "    callback_token: one-token-of-all\n"
                      "  two:\n    callback_token: one-token-of-all\n" SEND VERIFY
                      "api_tokens:\n  a: {token: one-token-of-all, integration: one}\n"
                      "mo_sources:\n  a: {token: one-token-of-all}\n");
}

static void tokens_of_the_store_are_borne(void **state)
{
    (void)state;
    struct record_text texts[] = {STORED(RECORD_MO_SOURCE, "a", "token: one-token\n"),
                                  STORED(RECORD_MO_SOURCE, "b", "token: one-token\n")};
    struct yaml_error error;
    assert_builds(texts, 2);
    assert_true(records_check("r.yaml", texts, 2, &error));
    texts[0].line = 9;
    texts[0].column = 3;
    assert_outcome(texts, 2,
                   "r.yaml:9:3: MO source a: its token is that of MO source b, too: who is it that "
                   "shows it?");
}

static void tokens_in_addresses_are_long_and_plain(void **state)
{
    (void)state;
    assert_taken(GOOD "    callback_token: 0123456789abcdef\n");
    assert_refused(GOOD "    callback_token: 0123456789abcde\n",
                   "r.yaml:9:5: callback_token has at least 16 characters: it is all that keeps");
    assert_refused(GOOD "    callback_token: 0123456789abcdef/\n",
                   "r.yaml:9:5: callback_token stands in an address: letters");
    assert_refused("mo_sources:\n  a: {token: abc/def}\n", "r.yaml:2:7: token stands in");
    const struct record_text old[] = {
        STORED(RECORD_INTEGRATION, "one",
               "callback_token: short\nsend:\n  url: http://a/{msisdn}\n"
               "verify:\n  url: http://a/{msisdn}/{otp}\n"),
        STORED(RECORD_MO_SOURCE, "a", "token: abc/def\n")};
    assert_builds(old, 2);
}

/* ---- keys ------------------------------------------------------------------------------------ */

#define KEY_A     "HelloWorldHelloWorldHelloWorldHelloWorld"
#define KEY_A_BAD "#####WorldHelloWorldHelloWorldHelloWorld"

static void a_key_is_one_and_bound_where_that_is_kept(void **state)
{
    (void)state;
    assert_taken("keys:\n  a: {public_key: " KEY_A ", kind: client, tenants: [x], routes: [y]}\n");
    assert_refused("keys:\n  a: {public_key: " KEY_A ", kind: client}\n"
                   "  b: {public_key: " KEY_A ", kind: worker}\n",
                   "r.yaml:3:3: key b: its public_key is that of key a, too");
    assert_refused("keys:\n  a: {kind: client, public_key: \"" KEY_A_BAD "\"}\n",
                   "r.yaml:2:21: public_key is no CURVE key");
    assert_refused("keys:\n  a: {kind: worker, public_key: " KEY_A ", routes: [x]}\n",
                   "r.yaml:2:75: tenants and routes are for kind client");
    assert_refused("keys:\n  a: {kind: boss, public_key: " KEY_A "}\n",
                   "r.yaml:2:13: kind must be one of client|worker");
}

/* A second record must not open what the first one shut. */
static void a_revoked_key_stays_shut(void **state)
{
    (void)state;
    struct yaml_error error;
    const struct record_text texts[] = {
        STORED(RECORD_CURVE_KEY, "a", "public_key: " KEY_A "\nkind: client\n"),
        STORED(RECORD_CURVE_KEY, "b", "public_key: " KEY_A "\nkind: client\nrevoked: true\n"),
        STORED(RECORD_CURVE_KEY, "c", "public_key: " KEY_A "\nkind: client\n")};
    struct records *r = records_build(texts, 3, 1, &error);
    assert_non_null(r);
    const struct curve_key *k = records_curve_key(r, SLICE(KEY_A));
    assert_non_null(k);
    assert_true(k->revoked);
    assert_null(records_curve_key(r, SLICE("HelloWorldHelloWorldHelloWorldHelloWorl0")));
    records_unref(&r);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void assert_url_refused(const char *section, const char *key, const char *url, int column,
                               const char *why)
{
    char text[512];
    char expected[512];
    (void)snprintf(text, sizeof(text), "%s\n    %s: \"%s\"\n", section, key, url);
    int line = 1;
    for (const char *c = section; *c != '\0'; c++) {
        line += *c == '\n';
    }
    (void)snprintf(expected, sizeof(expected), "r.yaml:%d:%d: %s", line + 1,
                   column + 7 + (int)strlen(key), why);
    assert_refused(text, expected);
}

static void callbacks_go_to_an_address(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int column; /* in the address, from 1 */
        const char *why;
    } rows[] = {
        {"ftp://a/b", 1, "callback_url: must begin with https:// or http://"},
        {"a.example/b", 1, "callback_url: must begin with"},
        {"http://", 8, "callback_url: url needs a host name and, at most, a port"},
        {"https:///x", 9, "callback_url: url needs a host name"},
        {"http://a:0/x", 8, "callback_url: url needs a host name"},
        {"http://a:70000/x", 8, "callback_url: url needs a host name"},
        {"http://me:word@a/x", 8, "callback_url: credentials do not belong in the URL"},
        {"http://a/x y", 11, "callback_url: this character must be percent-encoded"},
        {"http://a/x%2", 11, "callback_url: a percent sign"},
        {"http://a/x#y", 11, "callback_url: a URL that is called has no #fragment"},
        {"http://a/x?y={msisdn}", 14, "callback_url: it has no macros"},
        {"http://{param.h}/x", 8, "callback_url: the host is literal"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_url_refused("accounts:\n  a:", "callback_url", rows[i].url, rows[i].column,
                           rows[i].why);
    }
    assert_url_refused(ACCOUNT "flash_templates:\n  t:\n    account: acme\n"
                               "    receivers: ['123']\n    content: a-{code}",
                       "callback_url", "x", 1, "callback_url: must begin with");
    assert_taken("accounts:\n  a: {callback_url: 'https://a.example:8443/x/?y=%20&z=1'}\n");
    assert_taken("accounts:\n  a: {callback_url: 'http://[::1]:80'}\n");
}

static void a_postback_is_a_template(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int column;
        const char *why;
    } rows[] = {
        {"{param.u}", 1, "postback_url: must begin with https:// or http://"},
        {"{param.s}://a/", 1, "postback_url: must begin with"},
        {"http://a{sub1}.example/", 8, "postback_url: the host is literal"},
        {"http://a:{sub1}/", 8, "postback_url: the host is literal"},
        {"http://a/?p={payuot}", 14,
         "postback_url: unknown macro {payuot}; did you mean {payout}?"},
        {"http://a/?\xc3\xa4", 11, "postback_url: this character must be percent-encoded"},
        {"http://a/{{sub1}}", 10, "postback_url: a brace in a URL is written %7B"},
        {"http://a/{sub1|md6}", 16, "postback_url: unknown filter"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_url_refused("affiliates:\n  1:\n    key: abcdefgh", "postback_url", rows[i].url,
                           rows[i].column, rows[i].why);
    }
    static const char *const unknown[] = {"otp", "text", "advertiser_request_id"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        char text[256];
        char why[128];
        (void)snprintf(text, sizeof(text),
                       "affiliates:\n  1:\n    key: abcdefgh\n    postback_url: http://a/?x={%s}\n",
                       unknown[i]);
        (void)snprintf(why, sizeof(why), "r.yaml:4:5: postback_url cannot carry {%s}", unknown[i]);
        assert_refused(text, why);
    }
    assert_taken(
        "affiliates:\n  1:\n    key: abcdefgh\n    postback_url: https://a.example/p/"
        "{sub1}?p={payout}&s={status}&5={sub5}&x={param.x|upper}&k={secret.k}&r={request_id}"
        "&c={click_id}&m={msisdn|sha256}\n");
    const struct record_text old =
        STORED(RECORD_AFFILIATE, "1", "key: abcdefgh\npostback_url: a/{b}\n");
    assert_builds(&old, 1);
}

/* ---- texts and the like ---------------------------------------------------------------------- */

#define LOCAL(text)                                                                                \
    "integrations:\n  one:\n    maker: otpq\n    text: " text                                      \
    "\n    send:\n" CALL("m: \"{msisdn}\", t: \"{text}\"")

static void a_text_knows_the_otp_alone(void **state)
{
    (void)state;
    assert_taken("accounts:\n  a: {text: 'Code: {otp}, once more: {otp}.'}\n");
    assert_taken(LOCAL("\"{otp} is it\""));
    assert_refused("accounts:\n  a: {text: hello}\n", "r.yaml:2:7: text must hold {otp}");
    assert_refused("accounts:\n  a: {text: '{opt}'}\n",
                   "r.yaml:2:15: text: unknown macro {opt}; did you mean {otp}?");
    assert_refused("accounts:\n  a: {text: '\xc3\xa4 {otp} {partner}'}\n",
                   "r.yaml:2:22: text: a text knows no macro but {otp}, as it is");
    assert_refused("accounts:\n  a: {text: '{otp|upper}'}\n",
                   "r.yaml:2:14: text: a text knows no macro but {otp}, as it is");
    assert_refused("accounts:\n  a: {text: '{otp} {{x}}'}\n",
                   "r.yaml:2:20: text: a text knows no macro but {otp}");
    assert_refused(LOCAL("\"{otp} of {partner}\""),
                   "r.yaml:4:21: text: a text knows no macro but {otp}, as it is");
    const struct record_text old = STORED(RECORD_ACCOUNT, "a", "text: hello\n");
    assert_builds(&old, 1);
}

static void accounts_have_rules(void **state)
{
    (void)state;
    assert_taken("accounts:\n  a: {time_zone: Asia/Bangkok}\n");
    assert_refused("accounts:\n  a: {time_zone: Asia/Bangkock}\n", "r.yaml:2:7: time_zone is no");
    assert_refused("accounts:\n  a: {time_zone: \"\xc3\xa4\"}\n", "r.yaml:2:7: time_zone is no");
    assert_refused("accounts:\n  a: {password_hash: demo}\n", "r.yaml:2:7: password_hash is not");
    assert_refused("accounts:\n  a: {sign: md5}\n", "r.yaml:2:13: sign must be one of md5-sorted|");
    const struct record_text old =
        STORED(RECORD_ACCOUNT, "a", "password_hash: x\ncallback_url: x\ntime_zone: x\n");
    assert_builds(&old, 1);
}

static void flash_templates_have_rules(void **state)
{
    (void)state;
#define CONTENT(receivers, content)                                                                \
    ACCOUNT "flash_templates:\n  t: {account: acme, receivers: " receivers ", content: '" content  \
            "'}\n"
    assert_taken(CONTENT("['123', '66812340000']", "x ##a-{code}## y"));
    assert_refused(CONTENT("['123']", "no code"), "r.yaml:4:42: content must hold {code} once");
    assert_refused(CONTENT("['123']", "a {code} b"), "r.yaml:4:42: content must hold {code} once");
    assert_refused(CONTENT("['123']", "a-{code} b-{code}"), "r.yaml:4:42: content must hold");
    assert_refused(CONTENT("[12a]", "a-{code}"), "r.yaml:4:22: receivers must be digits alone");
    assert_refused(CONTENT("[+66812340000]", "a-{code}"), "r.yaml:4:34: receivers must be a list");
    assert_refused(CONTENT("[12]", "a-{code}"), "r.yaml:4:34: receivers must be a list");
    assert_refused(CONTENT("[]", "a-{code}"), "r.yaml:4:33: receivers is a list");
    assert_refused(CONTENT("[123, 234, 345, 456, 567, 678, 789, 890, 901]", "a-{code}"),
                   "r.yaml:4:74: receivers must be a list of at most 8");
    assert_taken(ACCOUNT FLASH(", languages: [zh, en]"));
    assert_refused(ACCOUNT FLASH(", languages: [zh, fr]"),
                   "r.yaml:4:63: languages are of zh and en");
    const struct record_text old[] = {
        STORED(RECORD_FLASH_TEMPLATE, "t",
               "account: a\nreceivers:\n  - \"123\"\ncontent: \"{code}\"\nlanguages:\n  - fr\n"
               "callback_url: x\n")};
    assert_builds(old, 1);
}

/* ---- rules of the store, too ----------------------------------------------------------------- */

#define NAME_48 "123456789012345678901234567890123456789012345678"

static void names_fit_into_lanes(void **state)
{
    (void)state;
    static const char *const lanes[] = {"account:", "affiliate:", "flash:", "token:"};
    for (size_t i = 0; i < ARRAY_LEN(lanes); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text), "integrations:\n  %sx:\n" SEND VERIFY, lanes[i]);
        assert_refused(text, "r.yaml:2:3: an integration's name cannot begin with account:");
    }
    assert_taken("accounts:\n  " NAME_48 ": {}\n");
    assert_refused("accounts:\n  " NAME_48 "9: {}\n", "r.yaml:2:3: the name has at most 48");
    assert_taken(ACCOUNT "flash_templates:\n  " NAME_48
                         ": {account: acme, receivers: ['123'], content: 'a-{code}'}\n");
    assert_refused("flash_templates:\n  " NAME_48
                   "9: {account: acme, receivers: ['123'], content: 'a-{code}'}\n",
                   "r.yaml:2:3: the name has at most 48");
    assert_taken(GOOD "api_tokens:\n  " NAME_48 ": {token: 12345678, integration: one}\n");
    assert_refused("api_tokens:\n  " NAME_48 "9: {token: 12345678, integration: one}\n",
                   "r.yaml:2:3: the name has at most 48");
    assert_refused("mo_sources:\n  'a b': {token: 123456}\n",
                   "r.yaml:2:3: the name of an MO source is 1 to 64 letters");
    const struct record_text old = STORED(RECORD_ACCOUNT, NAME_48 "9", "{}\n");
    struct yaml_error error = {""};
    assert_null(records_build(&old, 1, 1, &error));
    assert_non_null(strstr(error.text, "the name has at most 48"));
}

static void a_text_that_is_no_record_is_not_borne(void **state)
{
    (void)state;
    struct yaml_error error = {""};
    const struct record_text old = STORED(RECORD_ENDPOINT, "e", "integration: one\naffiliate: x\n");
    assert_null(records_build(&old, 1, 1, &error));
    assert_memory_equal(error.text, "endpoints/e:2:12: affiliate must be", 35);
}

static void a_query_wants_who_answers(void **state)
{
    (void)state;
    assert_refused("integrations:\n  one:\n    on_unknown: query\n" SEND VERIFY,
                   "r.yaml:3:17: on_unknown: query needs an advertiser that can be asked");
    assert_taken("integrations:\n  one:\n    dialect: fotp\n    on_unknown: query\n"
                 "    base_url: https://p.example\n    ft_id: a\n    account: b\n"
                 "    secret: c\n");
}

static void a_burst_wants_a_rate(void **state)
{
    (void)state;
    assert_refused("integrations:\n  one:\n    burst: 5\n" SEND VERIFY,
                   "r.yaml:3:12: burst limits nothing without calls_per_s");
    assert_taken("integrations:\n  one:\n    calls_per_s: 5\n    burst: 5\n" SEND VERIFY);
}

/* ---- links ----------------------------------------------------------------------------------- */

#define LINK(keys)                                                                                 \
    "integrations:\n  link:\n    dialect: fotp\n    base_url: http://a.example\n    ft_id: 2\n"    \
    "    account: acme\n    secret: sesame\n" keys

static void a_link_dialect_makes_no_text(void **state)
{
    (void)state;
    assert_taken(LINK(""));
    assert_taken(LINK("    callback_token: 0123456789abcdef\n    fallback: [one]\n"
                      "  one:\n" SEND VERIFY));
    assert_refused(LINK("    maker: otpq\n"), "r.yaml:8:5: maker: otpq is for dialects that send");
    assert_refused(LINK("    text: '{otp}'\n"), "r.yaml:8:5: text is for codes that otpq makes");
    assert_refused(LINK("    send: {}\n"), "r.yaml:8:5: unknown key \"send\" of an integration");
    /* its SMSs go to somebody else: two templates may have one word and one number */
    assert_taken(
        LINK("") ACCOUNT
        "flash_templates:\n"
        "  a: {account: acme, receivers: ['123'], content: 'a-{code}', integration: link}\n"
        "  b: {account: acme, receivers: ['123'], content: 'a-{code}'}\n");
    assert_refused(ACCOUNT "flash_templates:\n"
                           "  a: {account: acme, receivers: ['123'], content: 'a-{code}'}\n"
                           "  b: {account: acme, receivers: ['123'], content: 'a-{code}'}\n",
                   "r.yaml:5:3: flash template b: flash template a has the same word");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dangling_references_name_what_is_near),
        cmocka_unit_test(an_endpoint_wants_api_access),
        cmocka_unit_test(dangling_records_of_the_store_are_borne),
        cmocka_unit_test(a_token_is_of_one_record),
        cmocka_unit_test(tokens_of_the_store_are_borne),
        cmocka_unit_test(tokens_in_addresses_are_long_and_plain),
        cmocka_unit_test(a_key_is_one_and_bound_where_that_is_kept),
        cmocka_unit_test(a_revoked_key_stays_shut),
        cmocka_unit_test(callbacks_go_to_an_address),
        cmocka_unit_test(a_postback_is_a_template),
        cmocka_unit_test(a_text_knows_the_otp_alone),
        cmocka_unit_test(accounts_have_rules),
        cmocka_unit_test(flash_templates_have_rules),
        cmocka_unit_test(names_fit_into_lanes),
        cmocka_unit_test(a_text_that_is_no_record_is_not_borne),
        cmocka_unit_test(a_query_wants_who_answers),
        cmocka_unit_test(a_burst_wants_a_rate),
        cmocka_unit_test(a_fallback_has_the_same_maker),
        cmocka_unit_test(a_link_dialect_makes_no_text),
    };
    return cmocka_run_group_tests_name("record_rules", tests, NULL, NULL);
}
