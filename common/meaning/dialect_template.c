#include "common/meaning/answer_rule.h"
#include "common/meaning/callback_rule.h"
#include "common/meaning/dialect.h"
#include "common/meaning/dialect_read.h"
#include "common/meaning/template_call.h"

static const struct dialect_setting settings_table[] = {
    {"call", "method", "GET, POST, PUT, PATCH or DELETE; POST when there is a body, else GET"},
    {"call", "url", "the address; macros may stand in its path and query, never in scheme or host"},
    {"call", "query", "keys and values that are added to the URL's query"},
    {"call", "form", "keys and values of a form body (application/x-www-form-urlencoded)"},
    {"call", "json", "a JSON body, as nested maps and lists"},
    {"call", "body", "a body written as it is; needs content_type"},
    {"call", "content_type", "the body's media type; JSON and form bodies have one already"},
    {"call", "headers", "names and values of request headers"},
    {"call", "timeout_ms", "time for the whole call, 1 to 60000; 10000"},
    {"call", "connect_timeout_ms", "time to resolve, connect and greet, 1 to 60000; 3000"},
    {"call", "answer", "what the advertiser's answer means"},
    {"answer", "success", "when the call has succeeded; without it any 2xx is a success"},
    {"answer", "request_id", "where the advertiser's request id is"},
    {"answer", "error", "where the advertiser's error word is"},
    {"answer", "errors", "the advertiser's error words and the otpq code of each"},
    {"answer", "retry", "words of errors after which the same call may be repeated"},
    {"answer", "statuses", "HTTP statuses and the otpq code of each, where no word says more"},
    {"success", "http", "HTTP statuses of a success, as 200 or 2xx; one or a list; 2xx"},
    {"success", "json", "path of a value in the JSON answer"},
    {"success", "regex", "regular expression over the answer, with one group or none"},
    {"success", "equals", "the values that mean success; one or a list"},
    {"locator", "json", "path of the value in the JSON answer"},
    {"locator", "regex", "regular expression over the answer; its one group is the value"},
    {"callback", "request_id", "name of the parameter that brings otpq's request id back"},
    {"callback", "status", "name of the parameter that says what happened"},
    {"callback", "delivered", "its values that mean: the SMS was delivered; one or a list"},
    {"callback", "failed", "its values that mean: it was not, and will not be; one or a list"},
    {"callback", "verified", "its values that mean: the OTP was right; one or a list"},
    {"callback", "wrong", "its values that mean: the OTP was wrong; one or a list"},
    {"callback", "pending", "its values that mean nothing yet, as all others do; one or a list"},
    {NULL, NULL, NULL},
};

static const char *const own_keys[] = {"send", "verify", "callback", NULL};

struct settings {
    struct template_calls calls;    /* those that the operator wrote */
    struct callback_rule *callback; /* NULL: it tells nothing by itself */
};

static void release(void *settings)
{
    struct settings *s = settings;
    if (s == NULL) {
        return;
    }
    template_calls_free(&s->calls);
    callback_rule_destroy(&s->callback);
    free(s);
}

static void *configure(const char *file, const struct yaml_node *integration,
                       struct yaml_error *error)
{
    struct dialect_reader r = {file, settings_table, error};
    struct settings *s = xcalloc(1, sizeof(*s));
    bool good = true;
    const struct yaml_node *callback = yaml_get(integration, "callback");
    for (int i = 0; good && i < DIALECT_CALLS; i++) {
        const struct yaml_node *map = yaml_get(integration, own_keys[i]);
        if (map != NULL) {
            s->calls.at[i] = template_call_read(&r, map);
            good = s->calls.at[i] != NULL;
        }
    }
    if (good && s->calls.at[DIALECT_SEND] == NULL) {
        good = read_fail(&r, integration, "send is missing: how an OTP is asked for");
    }
    if (good && callback != NULL) {
        s->callback = callback_rule_read(&r, callback);
        good = s->callback != NULL;
    }
    if (!good) {
        release(s);
        return NULL;
    }
    return s;
}

static void parse(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out)
{
    const struct template_call *c = ((const struct settings *)settings)->calls.at[call];
    must(c != NULL);
    answer_rule_apply(c->answer, call == DIALECT_SEND ? RESULT_OTP_SENT : RESULT_OTP_VERIFIED, a,
                      out);
}

static unsigned traits(const void *settings)
{
    const struct callback_rule *callback = ((const struct settings *)settings)->callback;
    return callback != NULL && callback_rule_tells_deliveries(callback) ? DIALECT_REPORTS : 0;
}

static bool report(const void *settings, const struct params *params, struct dialect_report *out,
                   const char **why)
{
    const struct callback_rule *callback = ((const struct settings *)settings)->callback;
    if (callback == NULL) {
        *why = "this integration has no callback map";
        return false;
    }
    return callback_rule_apply(callback, params, out, why);
}

const struct dialect dialect_template = {
    .name = "template",
    .keys = own_keys,
    .settings = settings_table,
    .configure = configure,
    .release = release,
    .has = template_calls_has,
    .uses = template_calls_uses,
    .timeout_ms = template_calls_timeout_ms,
    .build = template_calls_build,
    .parse = parse,
    .traits = traits,
    .report = report,
    .report_answer = "",
};
