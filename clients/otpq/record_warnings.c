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
    const char *at = text->text;
    for (struct slice name; (name = next_secret(&at)).n > 0;) {
        struct slice value;
        if (!secrets_find(secrets, name, &value)) {
            warn(out, json_sprintf("integration %s: the secrets file has no \"%.*s\", so its calls "
                                   "will fail",
                                   text->name, SLICE_ARG(name)));
        }
    }
}

/* In a file of both it is an error; here the endpoint is the store's. */
static void check_access(const struct records *r, const char *name, json_t *out)
{
    const struct endpoint *e = records_endpoint(r, slice_of(name));
    const struct affiliate *a = records_affiliate(r, e->affiliate);
    if (!a->api_access) {
        warn(out, json_sprintf("endpoint %s: affiliate %" PRIu64
                               " has api_access: false, so nobody may use it",
                               name, e->affiliate));
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
        if (texts[i].kind == RECORD_ENDPOINT) {
            check_access(r, texts[i].name, out);
        } else if (texts[i].kind == RECORD_INTEGRATION && secrets != NULL) {
            check_secrets(&texts[i], secrets, out);
        }
    }
    records_unref(&r);
    return out;
}
