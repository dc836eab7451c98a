#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/meaning/flash_index.h"
#include "common/meaning/record.h"

enum { CODE_OTPQ_VALID_S = 300, CODE_ADVERTISER_VALID_S = 600, SUGGESTED_OF_MAX = 1000 };

/* ---- a snapshot's life ----------------------------------------------------------------------- */

struct records *records_new(void)
{
    struct records *r = xcalloc(1, sizeof(*r));
    r->refs = 1;
    r->affiliates = map_new(RECORDS_MAX);
    r->integrations = map_new(RECORDS_MAX);
    r->endpoints = map_new(RECORDS_MAX);
    r->accounts = map_new(RECORDS_MAX);
    r->flash_templates = map_new(RECORDS_MAX);
    r->api_tokens = map_new(RECORDS_MAX);
    r->mo_sources = map_new(RECORDS_MAX);
    r->api_by_token = map_new(RECORDS_MAX);
    r->mo_by_token = map_new(RECORDS_MAX);
    r->curve_keys = map_new(RECORDS_MAX);
    r->curve_by_public = map_new(RECORDS_MAX);
    r->flash = flash_index_new();
    return r;
}

struct records *records_ref(struct records *r)
{
    must(r->refs > 0);
    r->refs++;
    return r;
}

static void destroy_affiliate(void *record)
{
    record_destroy(RECORD_AFFILIATE, record);
}

static void destroy_integration(void *record)
{
    record_destroy(RECORD_INTEGRATION, record);
}

static void destroy_endpoint(void *record)
{
    record_destroy(RECORD_ENDPOINT, record);
}

static void destroy_account(void *record)
{
    record_destroy(RECORD_ACCOUNT, record);
}

static void destroy_flash_template(void *record)
{
    record_destroy(RECORD_FLASH_TEMPLATE, record);
}

static void destroy_api_token(void *record)
{
    record_destroy(RECORD_API_TOKEN, record);
}

static void destroy_mo_source(void *record)
{
    record_destroy(RECORD_MO_SOURCE, record);
}

static void destroy_curve_key(void *record)
{
    record_destroy(RECORD_CURVE_KEY, record);
}

void records_unref(struct records **rp)
{
    struct records *r = *rp;
    if (r == NULL) {
        return;
    }
    *rp = NULL;
    must(r->refs > 0);
    if (--r->refs > 0) {
        return;
    }
    flash_index_destroy(&r->flash);
    map_destroy(&r->affiliates, destroy_affiliate);
    map_destroy(&r->integrations, destroy_integration);
    map_destroy(&r->endpoints, destroy_endpoint);
    map_destroy(&r->accounts, destroy_account);
    map_destroy(&r->flash_templates, destroy_flash_template);
    map_destroy(&r->api_by_token, NULL);
    map_destroy(&r->mo_by_token, NULL);
    map_destroy(&r->api_tokens, destroy_api_token);
    map_destroy(&r->mo_sources, destroy_mo_source);
    map_destroy(&r->curve_by_public, NULL);
    map_destroy(&r->curve_keys, destroy_curve_key);
    free(r);
}

const struct affiliate *records_affiliate(const struct records *r, uint64_t aid)
{
    char name[24];
    int n = snprintf(name, sizeof(name), "%" PRIu64, aid);
    return map_get(r->affiliates, slice_make(name, (size_t)n));
}

const struct integration *records_integration(const struct records *r, struct slice name)
{
    return map_get(r->integrations, name);
}

const struct endpoint *records_endpoint(const struct records *r, struct slice name)
{
    return map_get(r->endpoints, name);
}

const struct account *records_account(const struct records *r, struct slice username)
{
    return map_get(r->accounts, username);
}

const struct flash_template *records_flash_template(const struct records *r, struct slice ft_id)
{
    return map_get(r->flash_templates, ft_id);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

enum { TOKEN_BYTES_MAX = 128 }; /* of a record; longer ones are nobody's */

struct digest {
    unsigned char bytes[SHA256_DIGEST_LENGTH];
};

static struct digest digest_of(struct slice token)
{
    struct digest d;
    unsigned int n = 0;
    must(EVP_Digest(token.n > 0 ? token.p : "", token.n, d.bytes, &n, EVP_sha256(), NULL) == 1);
    must(n == sizeof(d.bytes));
    return d;
}

static void index_token(struct map *by_token, const char *token, void *record)
{
    struct digest d = digest_of(slice_of(token));
    void *old = NULL;
    must(map_set(by_token, slice_make(d.bytes, sizeof(d.bytes)), record, &old));
}

static void index_curve_key(struct records *r, struct curve_key *k)
{
    const struct curve_key *known = records_curve_key(r, slice_of(k->public_key));
    if (known == NULL || k->revoked) {
        void *old = NULL;
        must(map_set(r->curve_by_public, slice_of(k->public_key), k, &old));
    }
}

void records_index_tokens(struct records *r)
{
    struct slice name;
    void *value;
    for (size_t at = 0; map_next(r->curve_keys, &at, &name, &value);) {
        index_curve_key(r, value);
    }
    for (size_t at = 0; map_next(r->api_tokens, &at, &name, &value);) {
        index_token(r->api_by_token, ((const struct api_token *)value)->token, value);
    }
    for (size_t at = 0; map_next(r->mo_sources, &at, &name, &value);) {
        index_token(r->mo_by_token, ((const struct mo_source *)value)->token, value);
    }
}

static const void *by_token(const struct map *tokens, struct slice token)
{
    if (token.n == 0 || token.n > TOKEN_BYTES_MAX) {
        return NULL;
    }
    struct digest d = digest_of(token);
    return map_get(tokens, slice_make(d.bytes, sizeof(d.bytes)));
}

const struct api_token *records_api_token(const struct records *r, struct slice token)
{
    return by_token(r->api_by_token, token);
}

const struct mo_source *records_mo_source(const struct records *r, struct slice token)
{
    return by_token(r->mo_by_token, token);
}

const struct curve_key *records_curve_key(const struct records *r, struct slice public_key)
{
    return map_get(r->curve_by_public, public_key);
}

/* ---- building -------------------------------------------------------------------------------- */

static struct map *map_of(const struct records *r, enum record_kind kind)
{
    struct map *const maps[RECORD_KINDS] = {
        [RECORD_AFFILIATE] = r->affiliates,
        [RECORD_INTEGRATION] = r->integrations,
        [RECORD_ENDPOINT] = r->endpoints,
        [RECORD_ACCOUNT] = r->accounts,
        [RECORD_FLASH_TEMPLATE] = r->flash_templates,
        [RECORD_API_TOKEN] = r->api_tokens,
        [RECORD_MO_SOURCE] = r->mo_sources,
        [RECORD_CURVE_KEY] = r->curve_keys,
    };
    must(maps[kind] != NULL);
    return maps[kind];
}

/* Takes the record over. */
static bool put_record(struct records *r, const struct record_text *text, void *record,
                       struct yaml_error *error)
{
    if (text->kind == RECORD_NETWORK) {
        r->mid = ((struct network *)record)->mid;
        record_destroy(text->kind, record);
        return true;
    }
    if (text->kind == RECORD_INTEGRATION) {
        struct integration *i = record;
        if (i->code_valid_s == 0) {
            i->code_valid_s =
                i->maker == CODE_BY_OTPQ ? CODE_OTPQ_VALID_S : CODE_ADVERTISER_VALID_S;
        }
    }
    void *old = NULL;
    if (!map_set(map_of(r, text->kind), slice_of(text->name), record, &old)) {
        record_destroy(text->kind, record);
        yaml_error_at(error, record_sections[text->kind], 0, 0, "more than %d records",
                      RECORDS_MAX);
        return false;
    }
    record_destroy(text->kind, old);
    return true;
}

static bool read_text(struct records *r, const struct record_text *text, struct yaml_error *error)
{
    char place[128];
    (void)snprintf(place, sizeof(place), "%s/%s", record_sections[text->kind], text->name);
    struct yaml_node *node = yaml_parse(place, slice_of(text->text), error);
    if (node == NULL) {
        return false;
    }
    struct yaml_pair pair = {text->name, 1, 1, node};
    void *record = record_read(text->kind, place, &pair, error);
    bool ok = record != NULL && put_record(r, text, record, error);
    yaml_destroy(&node);
    return ok;
}

/* ---- references ------------------------------------------------------------------------------ */

/* Where a record's error is said: in the file, or by its name in the store. */
static void place_error(struct yaml_error *error, const char *file, const struct record_text *text,
                        const char *what)
{
    if (text->line > 0) {
        yaml_error_at(error, file, text->line, text->column, "%s %s: %s",
                      record_schemas[text->kind].one, text->name, what);
    } else {
        yaml_error_at(error, record_sections[text->kind], 0, 0, "%s: %s", text->name, what);
    }
}

/* A name of the map that the word may have meant, copied into out; false when there is none. */
static bool nearest_name(const struct map *names, const char *word, char out[80])
{
    size_t at = 0;
    size_t looked = 0;
    struct slice name;
    void *value;
    out[0] = '\0';
    while (looked++ < SUGGESTED_OF_MAX && map_next(names, &at, &name, &value)) {
        char copy[80];
        (void)snprintf(copy, sizeof(copy), "%.*s", SLICE_ARG(name));
        const char *pair[] = {out, copy}; /* the best so far, and this one */
        const char *best = yaml_suggest(word, pair, 2);
        if (best == copy) {
            memcpy(out, copy, sizeof(copy));
        }
    }
    return out[0] != '\0';
}

static void dangling(struct yaml_error *error, const char *file, const struct record_text *text,
                     const char *one, const char *name, const struct map *names)
{
    char what[256];
    char near[80];
    bool has_near = nearest_name(names, name, near);
    (void)snprintf(what, sizeof(what), "there is no %s %.64s%s%s%s", one, name,
                   has_near ? "; did you mean " : "", has_near ? near : "", has_near ? "?" : "");
    place_error(error, file, text, what);
}

static bool check_endpoint(const struct records *r, const char *file,
                           const struct record_text *text, struct yaml_error *error)
{
    const struct endpoint *e = records_endpoint(r, slice_of(text->name));
    if (records_integration(r, slice_of(e->integration)) == NULL) {
        dangling(error, file, text, "integration", e->integration, r->integrations);
        return false;
    }
    const struct affiliate *a = records_affiliate(r, e->affiliate);
    char number[24];
    (void)snprintf(number, sizeof(number), "%" PRIu64, e->affiliate);
    if (a == NULL) {
        dangling(error, file, text, "affiliate", number, r->affiliates);
        return false;
    }
    if (text->line > 0 && !a->api_access) {
        char what[160];
        (void)snprintf(what, sizeof(what),
                       "affiliate %s has no API access, so no endpoint can be made for it: set "
                       "api_access: true there first",
                       number);
        place_error(error, file, text, what);
        return false;
    }
    return true;
}

static bool has_integration(const struct records *r, const char *file,
                            const struct record_text *text, const char *name,
                            struct yaml_error *error)
{
    if (name[0] == '\0' || records_integration(r, slice_of(name)) != NULL) {
        return true;
    }
    dangling(error, file, text, "integration", name, r->integrations);
    return false;
}

static bool check_fallback(const struct records *r, const char *file,
                           const struct record_text *text, struct yaml_error *error)
{
    const struct integration *i = records_integration(r, slice_of(text->name));
    for (uint32_t n = 0; n < i->fallback.count; n++) {
        if (strcmp(i->fallback.at[n], i->name) == 0) {
            place_error(error, file, text, "it cannot be its own fallback");
            return false;
        }
        if (!has_integration(r, file, text, i->fallback.at[n], error)) {
            return false;
        }
        if (records_integration(r, slice_of(i->fallback.at[n]))->maker != i->maker) {
            place_error(error, file, text,
                        "a fallback with another maker: the code would be checked by whoever did "
                        "not make it");
            return false;
        }
    }
    return true;
}

static bool check_flash(const struct records *r, const char *file, const struct record_text *text,
                        struct yaml_error *error)
{
    const struct flash_template *t = records_flash_template(r, slice_of(text->name));
    if (records_account(r, slice_of(t->account)) == NULL) {
        dangling(error, file, text, "account", t->account, r->accounts);
        return false;
    }
    return has_integration(r, file, text, t->integration, error);
}

static bool check_references(const struct records *r, const char *file,
                             const struct record_text *text, struct yaml_error *error)
{
    const struct slice name = slice_of(text->name);
    switch (text->kind) {
    case RECORD_ENDPOINT:
        return check_endpoint(r, file, text, error);
    case RECORD_INTEGRATION:
        return check_fallback(r, file, text, error);
    case RECORD_ACCOUNT:
        return has_integration(r, file, text, records_account(r, name)->integration, error);
    case RECORD_FLASH_TEMPLATE:
        return check_flash(r, file, text, error);
    case RECORD_API_TOKEN: {
        const struct api_token *t = map_get(r->api_tokens, name);
        return has_integration(r, file, text, t->integration, error);
    }
    default:
        return true;
    }
}

static bool index_flash(struct records *r, const char *file, const struct record_text *text,
                        struct yaml_error *error)
{
    const struct slice name = slice_of(text->name);
    char why[256];
    if (text->kind == RECORD_FLASH_TEMPLATE
            ? flash_index_template(r->flash, r, records_flash_template(r, name), why)
            : flash_index_account(r->flash, records_account(r, name), why)) {
        return true;
    }
    const char *one = record_schemas[text->kind].one;
    if (text->line > 0) {
        yaml_error_at(error, file, text->line, text->column, "%s %s: %s", one, text->name, why);
    } else {
        yaml_error_at(error, record_sections[text->kind], 0, 0, "%s: %s", text->name, why);
    }
    return false;
}

/* ---- tokens in a file ------------------------------------------------------------------------ */

/* What its bearer shows. */
static const char *token_of(const struct records *r, const struct record_text *text)
{
    const void *record = map_get(map_of(r, text->kind), slice_of(text->name));
    switch (text->kind) {
    case RECORD_API_TOKEN:
        return ((const struct api_token *)record)->token;
    case RECORD_MO_SOURCE:
        return ((const struct mo_source *)record)->token;
    default:
        must(text->kind == RECORD_CURVE_KEY);
        return ((const struct curve_key *)record)->public_key;
    }
}

/* Who shows a token is one record: two of a kind with the same are said at the one that stands
 * later in the file. Two of the store are left alone, or no file could be applied any more. */
static bool check_token(const struct records *r, const char *file, struct map *tokens,
                        const struct record_text *text, struct yaml_error *error)
{
    void *old = NULL;
    must(map_set(tokens, slice_of(token_of(r, text)), (void *)(uintptr_t)text, &old));
    const struct record_text *other = old;
    if (other == NULL || (other->line == 0 && text->line == 0)) {
        return true;
    }
    const struct record_text *later = other->line > text->line ? other : text;
    const struct record_text *first = later == text ? other : text;
    char what[160];
    (void)snprintf(what, sizeof(what), "its %s is that of %s %s, too: who is it that shows it?",
                   first->kind == RECORD_CURVE_KEY ? "public_key" : "token",
                   record_schemas[first->kind].one, first->name);
    place_error(error, file, later, what);
    return false;
}

static bool check_tokens(const struct records *r, const char *file, const struct record_text *texts,
                         size_t count, enum record_kind kind, struct yaml_error *error)
{
    struct map *tokens = map_new(RECORDS_MAX);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        ok = texts[i].kind != kind || check_token(r, file, tokens, &texts[i], error);
    }
    map_destroy(&tokens, NULL);
    return ok;
}

/* ---- a snapshot ------------------------------------------------------------------------------ */

static struct records *build(const char *file, const struct record_text *texts, size_t count,
                             uint64_t version, struct yaml_error *error)
{
    struct records *r = records_new();
    bool ok = true;
    r->version = version;
    for (size_t i = 0; ok && i < count; i++) {
        ok = read_text(r, &texts[i], error);
    }
    records_index_tokens(r);
    for (size_t i = 0; ok && i < count; i++) {
        bool flash = texts[i].kind == RECORD_FLASH_TEMPLATE || texts[i].kind == RECORD_ACCOUNT;
        ok = !flash || index_flash(r, file, &texts[i], error);
    }
    if (!ok) {
        records_unref(&r);
    }
    return r;
}

struct records *records_build(const struct record_text *texts, size_t count, uint64_t version,
                              struct yaml_error *error)
{
    return build("records", texts, count, version, error);
}

bool records_check(const char *file, const struct record_text *texts, size_t count,
                   struct yaml_error *error)
{
    struct records *r = build(file, texts, count, 0, error);
    bool ok = r != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ok = check_references(r, file, &texts[i], error);
    }
    ok = ok && check_tokens(r, file, texts, count, RECORD_API_TOKEN, error) &&
         check_tokens(r, file, texts, count, RECORD_MO_SOURCE, error) &&
         check_tokens(r, file, texts, count, RECORD_CURVE_KEY, error);
    records_unref(&r);
    return ok;
}
