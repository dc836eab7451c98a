#include "clients/otpq/record_warnings.h"

#include <inttypes.h>
#include <string.h>

enum { WARNINGS_MAX = 100 };

static void warn(json_t *out, json_t *sentence)
{
    must(sentence != NULL);
    if (json_array_size(out) < WARNINGS_MAX) {
        must(json_array_append_new(out, sentence) == 0);
    } else {
        json_decref(sentence);
    }
}

/* The name behind a "{secret." that opens a macro: braces in pairs are literal. */
static struct slice next_secret(const char **at)
{
    static const char opening[] = "{secret.";
    for (const char *found; (found = strstr(*at, opening)) != NULL;) {
        size_t braces = 1;
        while (found - braces >= *at && found[-(ptrdiff_t)braces] == '{') {
            braces++;
        }
        const char *name = found + sizeof(opening) - 1;
        *at = name;
        if (braces % 2 == 1) {
            return slice_make(name, strcspn(name, "|}"));
        }
    }
    return slice_make(NULL, 0);
}

static void check_secrets(const struct record_text *text, const struct secrets *secrets,
                          json_t *out)
{
    const char *what = text->kind == RECORD_AFFILIATE ? "postbacks" : "calls";
    const char *at = text->text;
    for (struct slice name; (name = next_secret(&at)).n > 0;) {
        struct slice value;
        if (!secrets_find(secrets, name, &value)) {
            warn(out,
                 json_sprintf("%s %s: the secrets file has no \"%.*s\", so its %s will fail",
                              record_schemas[text->kind].one, text->name, SLICE_ARG(name), what));
        }
    }
}

/* In a file of both it is an error; here the endpoint is the store's. */
static void check_access(const struct records *r, const char *name, json_t *out)
{
    const struct endpoint *e = records_endpoint(r, slice_of(name));
    const struct affiliate *a = records_affiliate(r, e->affiliate);
    if (a != NULL && !a->api_access) {
        warn(out, json_sprintf("endpoint %s: affiliate %" PRIu64
                               " has api_access: false, so nobody may use it",
                               name, e->affiliate));
    }
}

static bool can_sign(const struct account *a)
{
    return a->sign == SIGN_NONE || a->secret[0] != '\0';
}

static void check_account(const struct account *a, json_t *out)
{
    if (a->password_hash[0] == '\0' && !can_sign(a)) {
        warn(out, json_sprintf("account %s: it has neither a password_hash nor a secret, so nobody "
                               "gets in with it",
                               a->name));
    }
    if (a->password_hash[0] != '\0' && a->integration[0] == '\0') {
        warn(out, json_sprintf("account %s: it has a password_hash and no integration, so its "
                               "sends have nowhere to go",
                               a->name));
    }
    if (a->callback_url[0] != '\0' && a->callback_secret[0] == '\0') {
        warn(out, json_sprintf("account %s: it has a callback_url and no callback_secret, so its "
                               "callbacks are not signed",
                               a->name));
    }
    if (a->sign == SIGN_NONE) {
        warn(out, json_sprintf("account %s: sign: none lets in whoever calls from this machine, "
                               "also through a proxy that hides it",
                               a->name));
    }
}

static void check_message(const struct records *r, const char *one, const char *name,
                          const char *what, const char *integration, json_t *out)
{
    const struct integration *i = records_integration(r, slice_of(integration));
    if (i != NULL && i->maker == CODE_BY_ADVERTISER) {
        warn(out, json_sprintf("%s %s: the advertiser of integration %s makes the code, so none "
                               "can be put into %s",
                               one, name, integration, what));
    }
}

static void check_template(const struct records *r, const struct flash_template *t, json_t *out)
{
    const struct account *a = records_account(r, slice_of(t->account));
    const struct integration *i = records_integration(r, slice_of(t->integration));
    bool is_elsewhere = i != NULL && (dialect_traits(i->dialect, i->settings) & DIALECT_LINK) != 0;
    if (a != NULL && !can_sign(a)) {
        warn(out, json_sprintf("flash template %s: its account %s has no secret, so nobody can ask "
                               "for a link",
                               t->name, a->name));
    }
    if (!is_elsewhere && map_count(r->mo_sources) == 0) {
        warn(out, json_sprintf("flash template %s: there is no MO source, so no SMS can come in",
                               t->name));
    }
}

static void check_callbacks(const struct integration *i, json_t *out)
{
    if (i->callback_token[0] != '\0' && i->dialect->report == NULL) {
        warn(out, json_sprintf("integration %s: its dialect knows no callbacks, so callback_token "
                               "opens nothing",
                               i->name));
    }
}

static void check_record(const struct records *r, const struct record_text *text, json_t *out)
{
    const struct slice name = slice_of(text->name);
    const struct account *a = records_account(r, name);
    const struct api_token *t = map_get(r->api_tokens, name);
    switch (text->kind) {
    case RECORD_ENDPOINT:
        check_access(r, text->name, out);
        break;
    case RECORD_INTEGRATION:
        check_callbacks(records_integration(r, name), out);
        break;
    case RECORD_ACCOUNT:
        check_account(a, out);
        if (a->text[0] != '\0') {
            check_message(r, "account", a->name, "its text", a->integration, out);
        }
        break;
    case RECORD_FLASH_TEMPLATE:
        check_template(r, records_flash_template(r, name), out);
        break;
    case RECORD_API_TOKEN:
        check_message(r, "API token", t->name, "the caller's message", t->integration, out);
        break;
    default:
        break;
    }
}

json_t *record_warnings(const struct record_text *texts, size_t count,
                        const struct secrets *secrets)
{
    json_t *out = json_array();
    struct yaml_error error;
    struct records *r = records_build(texts, count, 0, &error);
    must(out != NULL);
    for (size_t i = 0; r != NULL && i < count; i++) {
        bool calls = texts[i].kind == RECORD_INTEGRATION || texts[i].kind == RECORD_AFFILIATE;
        check_record(r, &texts[i], out);
        if (calls && secrets != NULL) {
            check_secrets(&texts[i], secrets, out);
        }
    }
    records_unref(&r);
    return out;
}
