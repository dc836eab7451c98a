/* System 3 called: the OTP Service API. Everything is a GET with a query, HTTP status is 200
 * whatever comes, and CODE in the body says what came. What came late or differently is told by
 * callbacks. */
#include "common/meaning/dialect_made.h"

static const struct dialect_setting settings_table[] = {
    {"integration", "base_url", "where the API is, as https://provider.example; literal"},
    {"integration", "username", "the account's name at the provider"},
    {"integration", "password", "its password; best as {secret.NAME}"},
    {"integration", "timeout_ms", "time for the whole call, 1 to 60000; 10000"},
    {"integration", "connect_timeout_ms", "time to resolve, connect and greet, 1 to 60000; 3000"},
    {NULL, NULL, NULL},
};

static const char *const own_keys[] = {"base_url",   "username",           "password",
                                       "timeout_ms", "connect_timeout_ms", NULL};

static const struct made_pair send_pairs[] = {
    {"msisdn", "{msisdn}", NULL},
    {"username", NULL, "username"},
    {"password", NULL, "password"},
    {"eid", "{request_id}", NULL},
};

static const struct made_pair code_pairs[] = {
    {"sid", "{advertiser_request_id}", NULL},
    {"code", "{otp}", NULL},
    {"username", NULL, "username"},
    {"password", NULL, "password"},
};

static const struct made_call made[DIALECT_CALLS] = {
    [DIALECT_SEND] = {"GET", "/send", send_pairs, ARRAY_LEN(send_pairs)},
    [DIALECT_VERIFY] = {"GET", "/code", code_pairs, ARRAY_LEN(code_pairs)},
};

static void *configure(const char *file, const struct yaml_node *integration,
                       struct yaml_error *error)
{
    struct dialect_reader r = {file, settings_table, error};
    struct template_calls *calls = xcalloc(1, sizeof(*calls));
    for (int i = 0; i < DIALECT_CALLS; i++) {
        calls->at[i] = made_call_read(&r, integration, &made[i], NULL);
        if (calls->at[i] == NULL) {
            template_calls_release(calls);
            return NULL;
        }
    }
    return calls;
}

/* MSGID stands for the number on verify: it is one number's. */
static bool uses(const void *settings, enum dialect_call call, enum template_macro macro)
{
    if (call == DIALECT_VERIFY && macro == MACRO_MSISDN) {
        return true;
    }
    return template_calls_uses(settings, call, macro);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* What a CODE other than 200 says; RESULT_NONE: it is none that is published. */
static enum result_code failure_of(int64_t code)
{
    switch (code) {
    case 400:
        return RESULT_INVALID_REQUEST;
    case 401:
        return RESULT_INVALID_USER_CREDENTIALS;
    case 412:
        return RESULT_ACCOUNT_NOT_ACTIVATED;
    case 500:
        return RESULT_ADVERTISER_ERROR;
    default:
        return RESULT_NONE;
    }
}

/* MSG may say more than CODE, and never something else. */
static bool is_finer(enum result_code word, enum result_code coarse)
{
    switch (word) {
    case RESULT_NONE:
    case RESULT_OTP_SENT:
    case RESULT_OTP_VERIFIED:
    case RESULT_DELIVERED:
        return false;
    case RESULT_PENDING:
        return coarse == RESULT_OTP_SENT || coarse == RESULT_WRONG_OTP;
    case RESULT_OTP_EXPIRED:
    case RESULT_TOO_MANY_ATTEMPTS:
    case RESULT_ALREADY_VERIFIED:
        return coarse != RESULT_OTP_SENT;
    default:
        return coarse != RESULT_OTP_SENT && coarse != RESULT_WRONG_OTP;
    }
}

/* CODE is coarse. A peer that is otpq too begins MSG with the word of the vocabulary. */
static enum result_code finer(const json_t *doc, enum result_code coarse)
{
    char message[512];
    enum result_code word = made_word_before_colon(made_text(doc, "MSG", message, sizeof(message)));
    return is_finer(word, coarse) ? word : coarse;
}

static void judge_success(const json_t *doc, enum dialect_call call, struct dialect_verdict *out)
{
    char result[16];
    if (call == DIALECT_SEND) {
        made_hear(finer(doc, RESULT_OTP_SENT), out);
        return;
    }
    (void)made_text(doc, "RESULT", result, sizeof(result));
    if (strcmp(result, "PASS") == 0) {
        made_hear(RESULT_OTP_VERIFIED, out);
    } else if (strcmp(result, "FAILED") == 0) {
        made_hear(finer(doc, RESULT_WRONG_OTP), out);
    } /* else: the code was looked at, and nobody says with what result */
}

static void judge(const json_t *doc, enum dialect_call call, int http, struct dialect_verdict *out)
{
    char status[16];
    int64_t code = made_number(doc, "CODE");
    enum result_code failure = failure_of(code);
    bool error = strcmp(made_text(doc, "STATUS", status, sizeof(status)), "ERROR") == 0;
    if (failure != RESULT_NONE) {
        made_hear(finer(doc, failure), out);
    } else if (code == 200 && !error && http / 100 == 2) {
        judge_success(doc, call, out);
    } else {
        made_hear_status(http, error, out);
    }
}

static void parse(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out)
{
    (void)settings;
    dialect_verdict_init(out);
    json_t *doc = made_json(a->body);
    if (doc == NULL) {
        made_hear_status(a->http, false, out);
        return;
    }
    char text[DIALECT_URL_BYTES];
    judge(doc, call, a->http, out);
    if (call == DIALECT_SEND) {
        made_keep(out->advertiser_request_id, sizeof(out->advertiser_request_id),
                  made_text(doc, "MSGID", text, sizeof(text)));
        made_keep_url(out->url, sizeof(out->url), made_text(doc, "url", text, sizeof(text)));
    }
    out->attempts_left = made_number(doc, "attempts_left");
    out->retry_after_s = made_number(doc, "retry_after");
    json_decref(doc);
}

/* ---- callbacks in ---------------------------------------------------------------------------- */

static unsigned traits(const void *settings)
{
    (void)settings;
    return DIALECT_REPORTS;
}

static enum result_code send_status(bool success, struct slice code)
{
    if (success) {
        return RESULT_OTP_SENT;
    }
    return slice_is(code, "400") ? RESULT_INVALID_MSISDN : RESULT_ADVERTISER_ERROR;
}

/* A peer that is otpq too has the word alone in MSG, or as in its answers. */
static enum result_code finer_report(const struct params *params, enum result_code coarse)
{
    char message[PARAM_VALUE_BYTES_MAX + 1];
    struct slice given = params_get(params, "MSG");
    if (given.n >= sizeof(message)) {
        return coarse;
    }
    memcpy(message, given.n > 0 ? given.p : "", given.n);
    message[given.n] = '\0';
    struct dialect_verdict heard;
    enum result_code word = strchr(message, ':') == NULL ? result_of(slice_of(message))
                                                         : made_word_before_colon(message);
    made_hear(word, &heard);
    return word == RESULT_NONE || heard.end == JOB_END_DONE ? coarse : heard.code;
}

static bool read_ids(const struct params *params, struct dialect_report *out, const char **why)
{
    struct slice extid = params_get(params, "EXTID");
    struct slice msgid = params_get(params, "MSGID");
    if (extid.n == 0 && msgid.n == 0) {
        *why = "MSGID and EXTID are missing";
        return false;
    }
    if (extid.n >= sizeof(out->request_id) || msgid.n >= sizeof(out->advertiser_request_id)) {
        *why = "MSGID or EXTID is too long";
        return false;
    }
    memcpy(out->request_id, extid.n > 0 ? extid.p : "", extid.n);
    memcpy(out->advertiser_request_id, msgid.n > 0 ? msgid.p : "", msgid.n);
    return true;
}

static bool report(const void *settings, const struct params *params, struct dialect_report *out,
                   const char **why)
{
    (void)settings;
    *out = (struct dialect_report){.event = DIALECT_DELIVERY};
    struct slice type = params_get(params, "TYPE");
    struct slice status = params_get(params, "STATUS");
    bool success = slice_is(status, "SUCCESS");
    if (!slice_is(type, "0") && !slice_is(type, "1")) {
        *why = "TYPE must be 0 or 1";
        return false;
    }
    if (!success && !slice_is(status, "ERROR")) {
        *why = "STATUS must be SUCCESS or ERROR";
        return false;
    }
    struct slice code = params_get(params, "CODE");
    success = success && (code.n == 0 || slice_is(code, "200"));
    if (slice_is(type, "0")) {
        out->code = send_status(success, code);
    } else {
        out->event = DIALECT_VERIFICATION;
        out->code = success ? RESULT_OTP_VERIFIED : RESULT_WRONG_OTP;
    }
    if (!success) {
        out->code = finer_report(params, out->code);
    }
    return read_ids(params, out, why);
}

const struct dialect dialect_otpservice = {
    .name = "otpservice",
    .keys = own_keys,
    .settings = settings_table,
    .configure = configure,
    .release = template_calls_release,
    .has = template_calls_has,
    .uses = uses,
    .timeout_ms = template_calls_timeout_ms,
    .build = template_calls_build,
    .parse = parse,
    .traits = traits,
    .report = report,
    .report_answer = "",
};
