#include "common/meaning/record_rules.h"

#include "common/meaning/mo_text.h"
#include "common/meaning/password.h"

#include <unicode/ucal.h>
#include <unicode/ustring.h>

enum { PARTY_NAME_BYTES_MAX = 48 };

/* A token stands in a path: nothing that would be encoded there. */
static bool is_path_token(const char *token)
{
    return token[strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "_.:-")] == '\0';
}

static bool is_http_url(const char *url)
{
    size_t n = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;
    return n > 0 && url[n] != '\0' && url[n] != '/' && strpbrk(url, " \t\"<>") == NULL;
}

static bool is_callback_url(const char *url)
{
    return url[0] == '\0' || (is_http_url(url) && strpbrk(url, "{}") == NULL);
}

static bool is_time_zone(const char *name)
{
    UChar zone[65];
    UChar canonical[128];
    UBool is_system = 0;
    UErrorCode rc = U_ZERO_ERROR;
    u_charsToUChars(name, zone, (int32_t)strlen(name) + 1);
    (void)ucal_getCanonicalTimeZoneID(zone, -1, canonical, 128, &is_system, &rc);
    return U_SUCCESS(rc) && is_system;
}

static const char *integration_rule(const struct integration *i, const char **key)
{
    static const char *const taken[] = {"account:", "affiliate:", "flash:", "token:"};
    for (size_t n = 0; n < ARRAY_LEN(taken); n++) {
        if (strncmp(i->name, taken[n], strlen(taken[n])) == 0) {
            *key = "";
            return "an integration's name cannot begin with account:, affiliate:, flash: or token:";
        }
    }
    *key = "callback_token";
    return is_path_token(i->callback_token)
               ? NULL
               : "callback_token stands in an address: letters, digits, \"_\", \".\", \":\", \"-\"";
}

static const char *account_rule(const struct account *a, const char **key)
{
    *key = "password_hash";
    if (a->password_hash[0] != '\0' && !password_hash_is_whole(a->password_hash)) {
        return "password_hash is not what `otpq hash-password` prints ($6$… or $y$…)";
    }
    *key = "callback_url";
    if (!is_callback_url(a->callback_url)) {
        return "callback_url is an http:// or https:// address without macros";
    }
    *key = "text";
    if (a->text[0] != '\0' && strstr(a->text, "{otp}") == NULL) {
        return "text must hold {otp}, else nobody learns the code";
    }
    *key = "time_zone";
    return is_time_zone(a->time_zone) ? NULL : "time_zone is no time zone, as Asia/Bangkok is";
}

static const char *flash_template_rule(const struct flash_template *t, const char **key)
{
    struct mo_word word;
    *key = "content";
    if (!mo_word_of(slice_of(t->content), &word) || word.before.n + word.after.n == 0) {
        return "content must hold {code} once, inside a word: \"##FG5x-{code}##\"";
    }
    *key = "receivers";
    for (uint32_t i = 0; i < t->receivers.count; i++) {
        if (strspn(t->receivers.at[i], "0123456789") != strlen(t->receivers.at[i])) {
            return "receivers must be digits alone";
        }
    }
    *key = "languages";
    for (uint32_t i = 0; i < t->languages.count; i++) {
        if (strcmp(t->languages.at[i], "zh") != 0 && strcmp(t->languages.at[i], "en") != 0) {
            return "languages are of zh and en";
        }
    }
    *key = "callback_url";
    return is_callback_url(t->callback_url)
               ? NULL
               : "callback_url is an http:// or https:// address without macros";
}

static const char *short_name(const char *name, const char **key)
{
    *key = "";
    return strlen(name) <= PARTY_NAME_BYTES_MAX ? NULL : "the name has at most 48 characters";
}

const char *record_broken_rule(enum record_kind kind, const void *record, const char **key)
{
    const char *why = NULL;
    switch (kind) {
    case RECORD_INTEGRATION:
        return integration_rule(record, key);
    case RECORD_ACCOUNT:
        why = short_name(((const struct account *)record)->name, key);
        return why != NULL ? why : account_rule(record, key);
    case RECORD_FLASH_TEMPLATE:
        why = short_name(((const struct flash_template *)record)->name, key);
        return why != NULL ? why : flash_template_rule(record, key);
    case RECORD_API_TOKEN:
        return short_name(((const struct api_token *)record)->name, key);
    case RECORD_MO_SOURCE:
        *key = "token";
        return is_path_token(((const struct mo_source *)record)->token)
                   ? NULL
                   : "token stands in an address: letters, digits, \"_\", \".\", \":\", \"-\"";
    default:
        return NULL;
    }
}
