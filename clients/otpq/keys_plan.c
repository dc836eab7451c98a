#include "clients/otpq/keys_plan.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* "a,b" as a list of YAML; nothing of "all". */
static void put_words(struct buf *out, const char *key, const char *words)
{
    if (words == NULL || strcmp(words, "all") == 0) {
        return;
    }
    buf_printf(out, "%s: [\"", key);
    for (const char *at = words; *at != '\0'; at++) {
        if (*at == ',') {
            buf_puts(out, "\", \"");
        } else {
            buf_putc(out, *at);
        }
    }
    buf_puts(out, "\"]\n");
}

/* The record of a wish, read by the code that reads all of them. */
static struct curve_key *read_wish(const struct keys_wish *w, const char *public_key,
                                   const char *made, struct yaml_error *error)
{
    struct buf text;
    buf_init(&text, RECORD_BYTES_MAX);
    buf_printf(&text, "public_key: \"%s\"\nkind: %s\nmade: \"%s\"\n", public_key,
               w->kind != NULL ? w->kind : "\"\"", made);
    put_words(&text, "tenants", w->tenants);
    put_words(&text, "routes", w->routes);
    struct yaml_node *node = yaml_parse("key", buf_slice(&text), error);
    char *name = slice_dup(slice_of(w->name));
    const struct yaml_pair pair = {name, 1, 1, node};
    void *record = node == NULL ? NULL : record_read(RECORD_CURVE_KEY, "key", &pair, error);
    free(name);
    yaml_destroy(&node);
    buf_free(&text);
    return record;
}

/* What the YAML around it would take for something else. */
static bool words_ok(const char *words)
{
    return words == NULL ||
           words[strspn(words, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                               "_.:,-")] == '\0';
}

bool keys_wish_ok(const struct keys_wish *w, char why[256])
{
    /* any key will do to see whether the rest is one */
    static const char sample[] = "HelloWorldHelloWorldHelloWorldHelloWorld";
    struct yaml_error error;
    if (w->kind == NULL || strspn(w->kind, "abcdefghijklmnopqrstuvwxyz") != strlen(w->kind)) {
        (void)snprintf(why, 256, "--kind client, worker, gateway, broker or operator?");
        return false;
    }
    if (!words_ok(w->tenants) || !words_ok(w->routes)) {
        (void)snprintf(why, 256, "--tenants and --routes are names with commas between them");
        return false;
    }
    if (strcmp(w->kind, "client") == 0 && (w->tenants == NULL || w->routes == NULL)) {
        (void)snprintf(why, 256, "a client's key says its --tenants and --routes (or all)");
        return false;
    }
    struct curve_key *k = read_wish(w, sample, "", &error);
    bool ok = k != NULL;
    if (!ok) {
        (void)snprintf(why, 256, "%.250s", error.text);
    } else if (k->kind != KEY_CLIENT && k->kind != KEY_GATEWAY &&
               k->tenants.count + k->routes.count > 0) {
        (void)snprintf(why, 256, "--tenants and --routes are for kind client and gateway");
        ok = false;
    }
    record_destroy(RECORD_CURVE_KEY, k);
    return ok;
}

void keys_plan_text(const struct keys_wish *w, const char *public_key, const char *made,
                    struct buf *out)
{
    struct yaml_error error;
    struct curve_key *k = read_wish(w, public_key, made, &error);
    must(k != NULL);
    record_write(RECORD_CURVE_KEY, k, NULL, out);
    record_destroy(RECORD_CURVE_KEY, k);
}

static struct curve_key *read_text(const struct record_text *text, struct yaml_error *error)
{
    struct yaml_node *node = yaml_parse(text->name, slice_of(text->text), error);
    const struct yaml_pair pair = {text->name, 1, 1, node};
    void *key = node == NULL ? NULL : record_read(RECORD_CURVE_KEY, text->name, &pair, error);
    yaml_destroy(&node);
    return key;
}

bool keys_plan_revives(const struct record_text *stored, const struct record_text *wanted)
{
    struct yaml_error error;
    struct curve_key *before = read_text(stored, &error);
    struct curve_key *after = read_text(wanted, &error);
    bool revives = before != NULL && after != NULL && before->revoked && !after->revoked &&
                   strcmp(before->public_key, after->public_key) == 0;
    record_destroy(RECORD_CURVE_KEY, before);
    record_destroy(RECORD_CURVE_KEY, after);
    return revives;
}

enum keys_revoked keys_plan_revoke(const struct record_text *stored, const char *at,
                                   struct buf *out, struct yaml_error *error)
{
    enum keys_revoked how = KEYS_UNREADABLE;
    struct curve_key *k = read_text(stored, error);
    if (k != NULL) {
        how = k->revoked ? KEYS_WAS_REVOKED : KEYS_REVOKED;
        k->revoked = true;
        free(k->revoked_at);
        k->revoked_at = slice_dup(slice_of(at));
        record_write(RECORD_CURVE_KEY, k, NULL, out);
    }
    record_destroy(RECORD_CURVE_KEY, k);
    return how;
}

/* ---- showing --------------------------------------------------------------------------------- */

static json_t *list_json(const struct record_list *list)
{
    json_t *words = json_array();
    for (uint32_t i = 0; i < list->count; i++) {
        must(json_array_append_new(words, json_string(list->at[i])) == 0);
    }
    return words;
}

static void print_list(const char *what, const struct record_list *list)
{
    (void)printf("  %s ", what);
    for (uint32_t i = 0; i < list->count; i++) {
        (void)printf("%s%s", i > 0 ? "," : "", list->at[i]);
    }
    (void)fputs(list->count == 0 ? "all" : "", stdout);
}

void keys_print(const struct curve_key *k, bool json)
{
    if (!json) {
        (void)printf("%-20s %-8s %s", k->name, key_kind_names[k->kind], k->public_key);
        if (k->kind == KEY_CLIENT || k->kind == KEY_GATEWAY) {
            print_list("tenants", &k->tenants);
            print_list("routes", &k->routes);
        }
        (void)printf("%s%s%s\n", k->made[0] != '\0' ? "  made " : "", k->made,
                     k->revoked ? "  REVOKED" : "");
        return;
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:b}", "name", k->name, "kind",
                          key_kind_names[k->kind], "public_key", k->public_key, "tenants",
                          list_json(&k->tenants), "routes", list_json(&k->routes), "made", k->made,
                          "revoked", k->revoked);
    must(o != NULL);
    if (k->revoked) {
        must(json_object_set_new(o, "revoked_at", json_string(k->revoked_at)) == 0);
    }
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(o);
}
