#include "common/meaning/secrets.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"

struct secrets {
    struct yaml_node *root;    /* owns names and values; wiped when destroyed */
    struct map *by_name;       /* name → struct slice in values */
    struct slice *values;      /* in file order */
    struct redactor *redactor; /* of values; NULL: there are none */
};

char *secret_file_read(const char *path, size_t bytes_max, size_t *n, struct yaml_error *error)
{
    char why[256];
    char *secret = secret_bytes_read(path, bytes_max, n, why);
    if (secret == NULL) {
        yaml_error_at(error, path, 0, 0, "%s", why);
    }
    return secret;
}

static bool is_name(const char *name)
{
    size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");
    return n >= 1 && n <= 64 && name[n] == '\0';
}

static bool add(struct secrets *s, const char *path, const struct yaml_pair *pair, size_t at,
                struct yaml_error *error)
{
    if (!is_name(pair->key)) {
        yaml_error_at(error, path, pair->line, pair->column,
                      "the name of a secret is 1 to 64 letters, digits, \"_\", \".\" or \"-\"");
        return false;
    }
    const struct yaml_node *value = pair->value;
    if (value->kind != YAML_SCALAR || value->text[0] == '\0' ||
        strlen(value->text) > SECRET_BYTES_MAX) {
        yaml_error_at(error, path, value->line, value->column,
                      "the value of secret %s must be a text of 1 to %d bytes", pair->key,
                      SECRET_BYTES_MAX);
        return false;
    }
    s->values[at] = slice_of(value->text);
    must(map_set(s->by_name, slice_of(pair->key), &s->values[at], NULL));
    return true;
}

static bool fill(struct secrets *s, const char *path, struct yaml_error *error)
{
    if (s->root->kind != YAML_MAP || s->root->count > SECRETS_MAX) {
        yaml_error_at(error, path, s->root->line, s->root->column,
                      "at most %d lines \"name: value\" are wanted", SECRETS_MAX);
        return false;
    }
    s->values = xcalloc(s->root->count, sizeof(*s->values));
    for (size_t i = 0; i < s->root->count; i++) {
        if (!add(s, path, &s->root->pairs[i], i, error)) {
            return false;
        }
    }
    return true;
}

struct secrets *secrets_load(const char *path, struct yaml_error *error)
{
    struct secrets *s = xcalloc(1, sizeof(*s));
    s->by_name = map_new(SECRETS_MAX);
    if (path[0] == '\0') {
        return s;
    }
    size_t n = 0;
    char *text = secret_file_read(path, SECRETS_FILE_BYTES_MAX, &n, error);
    if (text != NULL) {
        s->root = yaml_parse(path, slice_make(text, n), error);
        secret_wipe(&text, n);
    }
    if (s->root == NULL || !fill(s, path, error)) {
        secrets_destroy(&s);
        return NULL;
    }
    s->redactor = redactor_new(s->values, map_count(s->by_name));
    return s;
}

void secrets_destroy(struct secrets **sp)
{
    struct secrets *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    redactor_destroy(&s->redactor);
    map_destroy(&s->by_name, NULL);
    free(s->values);
    yaml_destroy(&s->root);
    free(s);
}

bool secrets_find(const struct secrets *s, struct slice name, struct slice *value)
{
    const struct slice *found = map_get(s->by_name, name);
    if (found != NULL) {
        *value = *found;
    }
    return found != NULL;
}

const struct redactor *secrets_redactor(const struct secrets *s)
{
    return s->redactor;
}
