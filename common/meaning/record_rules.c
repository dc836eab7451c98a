#include "common/meaning/record_rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/meaning/curve_key.h"
#include "common/meaning/mo_text.h"
#include "common/meaning/password.h"
#include "common/meaning/template_call.h"
#include "common/meaning/zone.h"

enum { PARTY_NAME_BYTES_MAX = 48, CALLBACK_TOKEN_CHARS_MIN = 16 };

/* ---- how a fault is said --------------------------------------------------------------------- */

/* Always false, so that it can end a condition. */
static bool PRINTF_LIKE(3, 4)
    fault_at(struct record_fault *fault, const char *key, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    *fault = (struct record_fault){.key = key};
    (void)vsnprintf(fault->text, sizeof(fault->text), fmt, args);
    va_end(args);
    return false;
}

static bool fault_inside(struct record_fault *fault, const char *key, size_t at, const char *why)
{
    (void)fault_at(fault, key, "%s: %s", key, why);
    fault->inside = true;
    fault->at = at;
    return false;
}

/* The column of a byte of a scalar; columns count characters. Of a block the first must do. */
static int column_of(const struct yaml_node *node, size_t at)
{
    int column = node->column;
    if (node->kind == YAML_SCALAR && strchr(node->text, '\n') == NULL) {
        column += node->quoted ? 1 : 0;
        for (size_t i = 0; i < at && node->text[i] != '\0'; i++) {
            column += (node->text[i] & 0xc0) != 0x80;
        }
    }
    return column;
}

bool record_fault_tell(const struct record_fault *fault, const char *file,
                       const struct yaml_pair *record, struct yaml_error *error)
{
    int line = record->line;
    int column = record->column;
    for (size_t i = 0; i < record->value->count; i++) {
        const struct yaml_pair *pair = &record->value->pairs[i];
        if (strcmp(pair->key, fault->key) == 0) {
            line = fault->inside ? pair->value->line : pair->line;
            column = fault->inside ? column_of(pair->value, fault->at) : pair->column;
        }
    }
    yaml_error_at(error, file, line, column, "%s", fault->text);
    return false;
}

/* ---- what values must be --------------------------------------------------------------------- */

/* A token stands in a path: nothing that would be encoded there. */
static bool keeps_path_token(const char *key, const char *token, struct record_fault *fault)
{
    size_t good = strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_.:-");
    return token[good] == '\0' ||
           fault_at(fault, key,
                    "%s stands in an address: letters, digits, \"_\", \".\", \":\", \"-\"", key);
}

/* An address that is called, up to where its macros are judged. */
static bool keeps_url(const char *key, const char *url, struct record_fault *fault)
{
    size_t path_at = 0;
    size_t at = 0;
    const char *why = template_url_fault(url, &path_at, &at);
    if (why != NULL && at > 0 && url[at + strcspn(url + at, "@/?#{")] == '@') {
        why = "credentials do not belong in the URL"; /* and it has no headers of its own */
    }
    return why == NULL || fault_inside(fault, key, at, why);
}

static bool keeps_callback_url(const char *url, struct record_fault *fault)
{
    size_t brace = strcspn(url, "{}");
    return url[0] == '\0' ||
           (keeps_url("callback_url", url, fault) &&
            (url[brace] == '\0' || fault_inside(fault, "callback_url", brace,
                                                "it has no macros: it is called as it is")));
}

/* As callback.c compiles it, and with nothing that a postback has no value for. */
static bool keeps_postback_url(const char *url, struct record_fault *fault)
{
    static const enum template_macro unknown[] = {MACRO_OTP, MACRO_TEXT,
                                                  MACRO_ADVERTISER_REQUEST_ID};
    struct template_error error;
    if (url[0] == '\0') {
        return true;
    }
    if (!keeps_url("postback_url", url, fault)) {
        return false;
    }
    struct template *t = template_compile_raw(slice_of(url), TEMPLATE_QUERY, &error);
    if (t == NULL) {
        return fault_inside(fault, "postback_url", error.offset, error.text);
    }
    bool ok = true;
    for (size_t i = 0; ok && i < ARRAY_LEN(unknown); i++) {
        ok = !template_uses(t, unknown[i]) ||
             fault_at(fault, "postback_url", "postback_url cannot carry {%s}: a postback has none",
                      template_macros[unknown[i]].name);
    }
    template_destroy(&t);
    return ok;
}

/* Text of an SMS. The code takes the place of each {otp}, and nothing else is replaced in it. */
static bool keeps_text(const char *text, struct record_fault *fault)
{
    static const char otp[] = "{otp}";
    struct template_error error;
    size_t codes = 0;
    struct template *t = template_compile(slice_of(text), TEMPLATE_TEXT, &error);
    if (t == NULL) {
        return fault_inside(fault, "text", error.offset, error.text);
    }
    template_destroy(&t);
    for (size_t i = strcspn(text, "{}"); text[i] != '\0'; i += strcspn(text + i, "{}")) {
        if (strncmp(text + i, otp, sizeof(otp) - 1) != 0) {
            return fault_inside(fault, "text", i, "a text knows no macro but {otp}, as it is");
        }
        codes++;
        i += sizeof(otp) - 1;
    }
    return codes > 0 ||
           fault_at(fault, "text", "text must hold {otp}, else nobody learns the code");
}

static bool keeps_short_name(const char *name, struct record_fault *fault)
{
    return strlen(name) <= PARTY_NAME_BYTES_MAX ||
           fault_at(fault, "", "the name has at most %d characters", PARTY_NAME_BYTES_MAX);
}

/* ---- every record ---------------------------------------------------------------------------- */

/* Lanes of the queue that are no integrations begin so. */
static bool keeps_lane_name(const char *name, struct record_fault *fault)
{
    static const char *const taken[] = {"account:", "affiliate:", "flash:", "token:"};
    for (size_t n = 0; n < ARRAY_LEN(taken); n++) {
        if (strncmp(name, taken[n], strlen(taken[n])) == 0) {
            return fault_at(fault, "",
                            "an integration's name cannot begin with account:, affiliate:, flash: "
                            "or token:");
        }
    }
    return true;
}

bool record_keeps_rules(enum record_kind kind, const void *record, struct record_fault *fault)
{
    switch (kind) {
    case RECORD_INTEGRATION:
        return keeps_lane_name(((const struct integration *)record)->name, fault);
    case RECORD_ACCOUNT:
        return keeps_short_name(((const struct account *)record)->name, fault);
    case RECORD_FLASH_TEMPLATE:
        return keeps_short_name(((const struct flash_template *)record)->name, fault);
    case RECORD_API_TOKEN:
        return keeps_short_name(((const struct api_token *)record)->name, fault);
    default:
        return true;
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool integration_in_file(const struct integration *i, struct record_fault *fault)
{
    size_t token = strlen(i->callback_token);
    if (i->burst > 0 && i->calls_per_s == 0) {
        (void)fault_at(fault, "burst",
                       "burst limits nothing without calls_per_s: add that, or leave burst out");
        fault->inside = true;
        return false;
    }
    if (token > 0 && token < CALLBACK_TOKEN_CHARS_MIN) {
        return fault_at(fault, "callback_token",
                        "callback_token has at least %d characters: it is all that keeps strangers "
                        "from telling otpq what was delivered and verified",
                        CALLBACK_TOKEN_CHARS_MIN);
    }
    if (i->on_unknown == ON_UNKNOWN_QUERY &&
        (dialect_traits(i->dialect, i->settings) & DIALECT_LINK) == 0) {
        (void)fault_at(fault, "on_unknown",
                       "on_unknown: query needs an advertiser that can be asked for the state of a "
                       "request, as dialect fotp can: fail leaves it unknown, and callbacks and "
                       "`otpq unknown resolve` correct it");
        fault->inside = true;
        return false;
    }
    return keeps_path_token("callback_token", i->callback_token, fault) &&
           (i->text[0] == '\0' || keeps_text(i->text, fault));
}

static bool account_in_file(const struct account *a, struct record_fault *fault)
{
    if (a->password_hash[0] != '\0' && !password_hash_is_whole(a->password_hash)) {
        return fault_at(
            fault, "password_hash",
            "password_hash is not what `otpq hash-password` prints ($6$…), nor yescrypt "
            "as passwd makes it ($y$j9T$…), or a check of it would take too long");
    }
    if (!zone_known(slice_of(a->time_zone))) {
        return fault_at(fault, "time_zone", "time_zone is no time zone, as Asia/Bangkok is");
    }
    return keeps_callback_url(a->callback_url, fault) &&
           (a->text[0] == '\0' || keeps_text(a->text, fault));
}

static bool flash_template_in_file(const struct flash_template *t, struct record_fault *fault)
{
    struct mo_word word;
    if (!mo_word_of(slice_of(t->content), &word) || word.before.n + word.after.n == 0) {
        return fault_at(fault, "content",
                        "content must hold {code} once, inside a word: \"##FG5x-{code}##\"");
    }
    for (uint32_t i = 0; i < t->receivers.count; i++) {
        const char *receiver = t->receivers.at[i];
        if (receiver[strspn(receiver, "0123456789")] != '\0') {
            return fault_at(fault, "receivers", "receivers must be digits alone");
        }
    }
    for (uint32_t i = 0; i < t->languages.count; i++) {
        if (strcmp(t->languages.at[i], "zh") != 0 && strcmp(t->languages.at[i], "en") != 0) {
            return fault_at(fault, "languages", "languages are of zh and en");
        }
    }
    return keeps_callback_url(t->callback_url, fault);
}

/* Workers and operators may everything on their sockets: lists would promise what nobody keeps. */
static bool curve_key_in_file(const struct curve_key *k, struct record_fault *fault)
{
    bool is_listed = k->kind == KEY_CLIENT || k->kind == KEY_GATEWAY;
    if (!curve_key_ok(slice_of(k->public_key))) {
        return fault_at(fault, "public_key",
                        "public_key is no CURVE key, as `otpq keys new` "
                        "prints it");
    }
    if (!is_listed && k->tenants.count + k->routes.count > 0) {
        return fault_at(fault, k->tenants.count > 0 ? "tenants" : "routes",
                        "tenants and routes are for kind client and gateway: a %s is not bound by "
                        "them",
                        key_kind_names[k->kind]);
    }
    return true;
}

bool record_keeps_file_rules(enum record_kind kind, const void *record, struct record_fault *fault)
{
    switch (kind) {
    case RECORD_AFFILIATE:
        return keeps_postback_url(((const struct affiliate *)record)->postback_url, fault);
    case RECORD_INTEGRATION:
        return integration_in_file(record, fault);
    case RECORD_ACCOUNT:
        return account_in_file(record, fault);
    case RECORD_FLASH_TEMPLATE:
        return flash_template_in_file(record, fault);
    case RECORD_CURVE_KEY:
        return curve_key_in_file(record, fault);
    case RECORD_MO_SOURCE:
        return keeps_path_token("token", ((const struct mo_source *)record)->token, fault);
    default:
        return true;
    }
}
