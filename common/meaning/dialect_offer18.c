/* System 2 called: the affiliate OTP API of another network. Everything goes in the query string,
 * as its published samples have it. */
#include "common/meaning/dialect_made.h"

static const struct dialect_setting settings_table[] = {
    {"integration", "base_url", "where the API is, as https://network.example; literal"},
    {"integration", "key", "the API key that the network gave; best as {secret.NAME}"},
    {"integration", "aid", "the affiliate id that the network gave"},
    {"integration", "mid", "the network's MID"},
    {"integration", "partner", "the partner name at the network"},
    {"integration", "method", "POST or GET; POST"},
    {"integration", "params", "names of extra parameters that are passed on, a list"},
    {"integration", "timeout_ms", "time for the whole call, 1 to 60000; 10000"},
    {"integration", "connect_timeout_ms", "time to resolve, connect and greet, 1 to 60000; 3000"},
    {NULL, NULL, NULL},
};

static const char *const own_keys[] = {
    "base_url",           "key", "aid", "mid", "partner", "method", "params", "timeout_ms",
    "connect_timeout_ms", NULL};

static const struct made_pair gen_pairs[] = {
    {"key", NULL, "key"},         {"aid", NULL, "aid"},          {"mid", NULL, "mid"},
    {"type", "{type}", NULL},     {"userId", "{user_id}", NULL}, {"msisdn", "{msisdn}", NULL},
    {"partner", NULL, "partner"},
};

static const struct made_pair verify_pairs[] = {
    {"key", NULL, "key"},
    {"aid", NULL, "aid"},
    {"mid", NULL, "mid"},
    {"type", "{type}", NULL},
    {"userId", "{user_id}", NULL},
    {"msisdn", "{msisdn}", NULL},
    {"partner", NULL, "partner"},
    {"otp", "{otp}", NULL},
    {"request_id", "{advertiser_request_id}", NULL},
};

static bool read_method(const struct dialect_reader *r, const struct yaml_node *node,
                        const char **method)
{
    *method = "POST";
    if (node == NULL) {
        return true;
    }
    if (!read_is_text(r, node, "method")) {
        return false;
    }
    if (strcmp(node->text, "GET") == 0) {
        *method = "GET";
        return true;
    }
    return strcmp(node->text, "POST") == 0 || read_fail(r, node, "method must be POST or GET");
}

static bool read_all(const struct dialect_reader *r, const struct yaml_node *integration,
                     struct template_calls *calls)
{
    const char *method = NULL;
    if (!read_method(r, yaml_get(integration, "method"), &method)) {
        return false;
    }
    const struct yaml_node *params = yaml_get(integration, "params");
    const struct made_call gen = {method, "/api/af/otp_gen", gen_pairs, ARRAY_LEN(gen_pairs)};
    const struct made_call verify = {method, "/api/af/otp_verify", verify_pairs,
                                     ARRAY_LEN(verify_pairs)};
    calls->at[DIALECT_SEND] = made_call_read(r, integration, &gen, params);
    if (calls->at[DIALECT_SEND] == NULL) {
        return false;
    }
    calls->at[DIALECT_VERIFY] = made_call_read(r, integration, &verify, params);
    return calls->at[DIALECT_VERIFY] != NULL;
}

static void *configure(const char *file, const struct yaml_node *integration,
                       struct yaml_error *error)
{
    struct dialect_reader r = {file, settings_table, error};
    struct template_calls *calls = xcalloc(1, sizeof(*calls));
    if (!read_all(&r, integration, calls)) {
        template_calls_release(calls);
        return NULL;
    }
    return calls;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Both calls' words; system 1's endpoints say the same with a tail. */
static enum result_code success_of(const char *word)
{
    if (strcmp(word, "otp_sent_successfully") == 0) {
        return RESULT_OTP_SENT;
    }
    if (strcmp(word, "otp_verified_successfully") == 0) {
        return RESULT_OTP_VERIFIED;
    }
    return result_of(slice_of(word));
}

/* Of HTTP's status and the body's, which some networks always send with HTTP 200, the worse. */
static int status_of(const json_t *doc, int http)
{
    int64_t said = made_number(doc, "status");
    return said >= 100 && said <= 599 && http / 100 == 2 ? (int)said : http;
}

static void judge(const json_t *doc, enum dialect_call call, int status,
                  struct dialect_verdict *out)
{
    char word[64];
    enum result_code wanted = call == DIALECT_SEND ? RESULT_OTP_SENT : RESULT_OTP_VERIFIED;
    enum result_code code = result_of(slice_of(made_text(doc, "error", word, sizeof(word))));
    bool failed = word[0] != '\0';
    if (!failed) {
        code = success_of(made_text(doc, "response", word, sizeof(word)));
    }
    bool success = code == RESULT_OTP_SENT || code == RESULT_OTP_VERIFIED;
    if (!failed && code == wanted && status / 100 == 2) {
        made_hear(wanted, out);
    } else if (code != RESULT_NONE && !success) {
        made_hear(code, out);
    } else {
        made_hear_status(status, true, out);
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
    judge(doc, call, status_of(doc, a->http), out);
    char text[DIALECT_URL_BYTES];
    made_keep(out->advertiser_request_id, sizeof(out->advertiser_request_id),
              made_text(doc, call == DIALECT_SEND ? "data" : "", text, sizeof(text)));
    made_keep_url(out->url, sizeof(out->url), made_text(doc, "url", text, sizeof(text)));
    out->attempts_left = made_number(doc, "attempts_left");
    out->retry_after_s = made_number(doc, "retry_after");
    json_decref(doc);
}

const struct dialect dialect_offer18 = {
    .name = "offer18",
    .keys = own_keys,
    .settings = settings_table,
    .configure = configure,
    .release = template_calls_release,
    .has = template_calls_has,
    .uses = template_calls_uses,
    .timeout_ms = template_calls_timeout_ms,
    .build = template_calls_build,
    .parse = parse,
};
