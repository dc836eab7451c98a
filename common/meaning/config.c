#include "common/meaning/config.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/meaning/config_shape.h"

extern char **environ;

enum { VALUE_BYTES_MAX = 4096, JOINED_BYTES_MAX = 2 * VALUE_BYTES_MAX };

/* ---- one value ------------------------------------------------------------------------------- */

static char **text_of(struct config *c, const struct config_option *o)
{
    return (char **)((char *)c + o->offset);
}

static struct config_list *list_of(struct config *c, const struct config_option *o)
{
    return (struct config_list *)((char *)c + o->offset);
}

static void set_text(struct config *c, const struct config_option *o, struct slice value)
{
    char **text = text_of(c, o);
    free(*text);
    *text = slice_dup(value);
}

static bool set_shaped(struct config *c, const struct config_option *o, struct slice value,
                       char why[256])
{
    set_text(c, o, value);
    const char *wrong = config_shape_wrong(o->shape, *text_of(c, o));
    if (wrong != NULL) {
        (void)snprintf(why, 256, "%s %s", o->key, wrong);
    }
    return wrong == NULL;
}

static bool set_uint(struct config *c, const struct config_option *o, struct slice value,
                     char why[256])
{
    uint64_t number = 0;
    if (!slice_to_u64(value, o->max, &number) || number < o->min) {
        (void)snprintf(why, 256, "%s must be a whole number from %" PRIu64 " to %" PRIu64 "%s%s",
                       o->key, o->min, o->max, o->unit[0] != '\0' ? " " : "", o->unit);
        return false;
    }
    *(uint64_t *)(void *)((char *)c + o->offset) = number;
    return true;
}

/* Braces above all are not in it: they would move the keys to other slots of a cluster. */
static bool set_prefix(struct config *c, const struct config_option *o, struct slice value,
                       char why[256])
{
    bool good = value.n <= o->max;
    for (size_t i = 0; good && i < value.n; i++) {
        good = isalnum((unsigned char)value.p[i]) || strchr(":._-", value.p[i]) != NULL;
    }
    if (good) {
        set_text(c, o, value);
    } else {
        (void)snprintf(why, 256,
                       "%s must be at most %" PRIu64 " characters, letters, digits and : . _ -",
                       o->key, o->max);
    }
    return good;
}

/* The word at *rest up to the separator; false at the end. */
static bool next_word(struct slice *rest, char separator, struct slice *word)
{
    if (rest->p == NULL) {
        return false;
    }
    const char *end = rest->n > 0 ? memchr(rest->p, separator, rest->n) : NULL;
    *word = slice_make(rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n);
    *rest = end != NULL ? slice_make(end + 1, rest->n - word->n - 1) : slice_make(NULL, 0);
    return true;
}

static bool set_choice(struct config *c, const struct config_option *o, struct slice value,
                       char why[256])
{
    struct slice rest = slice_of(o->choices);
    struct slice choice;
    while (next_word(&rest, '|', &choice)) {
        if (slice_eq(choice, value)) {
            set_text(c, o, value);
            return true;
        }
    }
    (void)snprintf(why, 256, "%s must be one of %s", o->key, o->choices);
    return false;
}

static void list_clear(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->at[i]);
    }
    *list = (struct config_list){0};
}

static struct slice trimmed(struct slice s)
{
    while (s.n > 0 && s.p[0] == ' ') {
        s = slice_make(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && s.p[s.n - 1] == ' ') {
        s.n--;
    }
    return s;
}

static bool list_add(struct config_list *list, const struct config_option *o, struct slice value,
                     char why[256])
{
    if (list->count == CONFIG_LIST_MAX || value.n == 0) {
        (void)snprintf(why, 256, "%s takes at most %d values, none of them empty", o->key,
                       CONFIG_LIST_MAX);
        return false;
    }
    list->at[list->count++] = slice_dup(value);
    const char *wrong = config_shape_wrong(o->shape, list->at[list->count - 1]);
    if (wrong != NULL) {
        (void)snprintf(why, 256, "%s: \"%.64s\" %s", o->key, list->at[list->count - 1], wrong);
    }
    return wrong == NULL;
}

static bool list_long_enough(const struct config_list *list, const struct config_option *o,
                             char why[256])
{
    if (list->count < o->min) {
        (void)snprintf(why, 256, "%s wants at least %" PRIu64 " value", o->key, o->min);
    }
    return list->count >= o->min;
}

static bool set_list(struct config *c, const struct config_option *o, struct slice value,
                     char why[256])
{
    struct config_list *list = list_of(c, o);
    list_clear(list);
    struct slice rest = trimmed(value);
    struct slice word;
    while (value.n > 0 && next_word(&rest, ',', &word)) {
        if (!list_add(list, o, trimmed(word), why)) {
            return false;
        }
    }
    return list_long_enough(list, o, why);
}

static bool set_value(struct config *c, const struct config_option *o, struct slice value,
                      char why[256])
{
    if (value.n > VALUE_BYTES_MAX) {
        (void)snprintf(why, 256, "%s is longer than %d bytes", o->key, VALUE_BYTES_MAX);
        return false;
    }
    switch (o->type) {
    case CONFIG_TEXT:
        return set_shaped(c, o, value, why);
    case CONFIG_UINT:
        return set_uint(c, o, value, why);
    case CONFIG_CHOICE:
        return set_choice(c, o, value, why);
    case CONFIG_PREFIX:
        return set_prefix(c, o, value, why);
    case CONFIG_LIST:
        return set_list(c, o, value, why);
    }
    return false;
}

/* ---- the file -------------------------------------------------------------------------------- */

static struct config_place *place_of(struct config *c, const struct config_option *o)
{
    return &c->places[o - config_options];
}

static bool read_items(struct config *c, const char *file, const struct config_option *o,
                       const struct yaml_node *list, struct yaml_error *error)
{
    char why[256];
    list_clear(list_of(c, o));
    for (size_t i = 0; i < list->count; i++) {
        const struct yaml_node *item = list->items[i];
        if (item->kind != YAML_SCALAR) {
            yaml_error_at(error, file, item->line, item->column, "%s is a list of texts", o->key);
            return false;
        }
        if (!list_add(list_of(c, o), o, slice_of(item->text), why)) {
            yaml_error_at(error, file, item->line, item->column, "%s", why);
            return false;
        }
    }
    if (!list_long_enough(list_of(c, o), o, why)) {
        yaml_error_at(error, file, list->line, list->column, "%s", why);
        return false;
    }
    return true;
}

static bool read_value(struct config *c, const char *file, const struct config_option *o,
                       const struct yaml_node *value, struct yaml_error *error)
{
    *place_of(c, o) = (struct config_place){.line = value->line, .column = value->column};
    if (o->type == CONFIG_LIST && value->kind == YAML_LIST) {
        return read_items(c, file, o, value, error);
    }
    static const char *const wanted[] = {[CONFIG_TEXT] = "a text",
                                         [CONFIG_UINT] = "a whole number",
                                         [CONFIG_CHOICE] = "a word",
                                         [CONFIG_LIST] = "a list of texts",
                                         [CONFIG_PREFIX] = "a text"};
    if (value->kind != YAML_SCALAR) {
        yaml_error_at(error, file, value->line, value->column, "%s must be %s, not a %s", o->key,
                      wanted[o->type], value->kind == YAML_MAP ? "section" : "list");
        return false;
    }
    if (value->text[0] == '\0' && !value->quoted) {
        yaml_error_at(error, file, value->line, value->column,
                      "%s has no value: leave the line out for the default, or write \"\"", o->key);
        return false;
    }
    char why[256];
    if (!set_value(c, o, slice_of(value->text), why)) {
        yaml_error_at(error, file, value->line, value->column, "%s (it is \"%.64s\")", why,
                      value->text);
        return false;
    }
    return true;
}

static const struct config_option *find_option(const char *key)
{
    for (size_t i = 0; i < config_option_count; i++) {
        if (strcmp(config_options[i].key, key) == 0) {
            return &config_options[i];
        }
    }
    return NULL;
}

/* Bytes of "gateway" in "gateway.listen"; 0 for an option outside sections. */
static size_t section_length(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot != NULL ? (size_t)(dot - key) : 0;
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const char *key = config_options[i].key;
        if (section_length(key) == strlen(name) && strncmp(key, name, strlen(name)) == 0) {
            return true;
        }
    }
    return false;
}

/* The words that could stand where `section` ("" = top) has an unknown key. */
static size_t words_of(const char *section, char words[CONFIG_OPTIONS_MAX][64])
{
    size_t n = 0;
    for (size_t i = 0; i < config_option_count; i++) {
        const char *key = config_options[i].key;
        size_t length = section_length(key);
        if (section[0] == '\0') {
            (void)snprintf(words[n++], 64, "%.*s", length > 0 ? (int)length : 63, key);
        } else if (length == strlen(section) && strncmp(key, section, length) == 0) {
            (void)snprintf(words[n++], 64, "%s", key + length + 1);
        }
    }
    return n;
}

static void unknown_key(const char *file, const struct yaml_pair *pair, const char *section,
                        struct yaml_error *error)
{
    char words[CONFIG_OPTIONS_MAX][64];
    const char *pointers[CONFIG_OPTIONS_MAX];
    size_t n = words_of(section, words);
    for (size_t i = 0; i < n; i++) {
        pointers[i] = words[i];
    }
    const char *near = yaml_suggest(pair->key, pointers, n);
    yaml_error_at(error, file, pair->line, pair->column, "unknown %s \"%.64s\"%s%s%s%s%s",
                  section[0] == '\0' ? "section" : "key", pair->key,
                  section[0] == '\0' ? "" : " in section ", section,
                  near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                  near != NULL ? "\"?" : "; --help lists all options");
}

static bool read_section(struct config *c, const char *file, const struct yaml_pair *section,
                         struct yaml_error *error)
{
    const struct yaml_node *keys = section->value;
    if (keys->kind == YAML_SCALAR && keys->text[0] == '\0') {
        return true; /* a section whose lines are all commented out */
    }
    if (keys->kind != YAML_MAP) {
        yaml_error_at(error, file, keys->line, keys->column,
                      "%s is a section: its keys stand below it, indented", section->key);
        return false;
    }
    for (size_t i = 0; i < keys->count; i++) {
        char key[YAML_KEY_BYTES_MAX * 2 + 2];
        (void)snprintf(key, sizeof(key), "%s.%s", section->key, keys->pairs[i].key);
        const struct config_option *o = find_option(key);
        if (o == NULL) {
            unknown_key(file, &keys->pairs[i], section->key, error);
            return false;
        }
        if (!read_value(c, file, o, keys->pairs[i].value, error)) {
            return false;
        }
    }
    return true;
}

static bool read_file(struct config *c, const char *path, struct yaml_error *error)
{
    struct yaml_node *root = yaml_load(path, error);
    if (root == NULL) {
        return false;
    }
    bool ok = root->kind == YAML_MAP;
    if (!ok) {
        yaml_error_at(error, path, root->line, root->column,
                      "sections are wanted, as \"gateway:\"");
    }
    for (size_t i = 0; ok && i < root->count; i++) {
        const struct yaml_pair *pair = &root->pairs[i];
        const struct config_option *o =
            strchr(pair->key, '.') == NULL ? find_option(pair->key) : NULL;
        if (o != NULL) {
            ok = read_value(c, path, o, pair->value, error);
        } else if (is_section(pair->key)) {
            ok = read_section(c, path, pair, error);
        } else {
            unknown_key(path, pair, "", error);
            ok = false;
        }
    }
    yaml_destroy(&root);
    return ok;
}

/* ---- the environment ------------------------------------------------------------------------- */

void config_env_name(const char *key, char out[64])
{
    (void)snprintf(out, 64, "OTPQ_%s", key);
    for (char *at = out; *at != '\0'; at++) {
        *at = *at == '.' ? '_' : (char)toupper((unsigned char)*at);
    }
}

static bool read_environment(struct config *c, struct yaml_error *error)
{
    for (size_t i = 0; i < config_option_count; i++) {
        char name[64];
        char why[256];
        config_env_name(config_options[i].key, name);
        const char *value = getenv(name);
        if (value != NULL) {
            *place_of(c, &config_options[i]) = (struct config_place){.environment = true};
        }
        if (value != NULL && !set_value(c, &config_options[i], slice_of(value), why)) {
            yaml_error_at(error, "environment", 0, 0, "%s: %s (it is \"%.64s\")", name, why, value);
            return false;
        }
    }
    return true;
}

/* A slip in a variable's name would otherwise pass in silence. Names that resemble no option are
 * somebody else's. */
static bool check_variable(const char *variable, struct yaml_error *error)
{
    char names[CONFIG_OPTIONS_MAX][64];
    const char *words[CONFIG_OPTIONS_MAX];
    char given[64];
    (void)snprintf(given, sizeof(given), "%.*s", (int)strcspn(variable, "="), variable);
    for (size_t i = 0; i < config_option_count; i++) {
        config_env_name(config_options[i].key, names[i]);
        words[i] = names[i] + strlen("OTPQ_");
        if (strcmp(names[i], given) == 0) {
            return true;
        }
    }
    const char *near = yaml_suggest(given + strlen("OTPQ_"), words, config_option_count);
    if (near != NULL) {
        yaml_error_at(error, "environment", 0, 0, "%s is no option; did you mean OTPQ_%s?", given,
                      near);
    }
    return near == NULL;
}

static bool check_environment(struct yaml_error *error)
{
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, "OTPQ_", 5) == 0 && !check_variable(*at, error)) {
            return false;
        }
    }
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void set_defaults(struct config *c)
{
    *c = (struct config){0};
    for (size_t i = 0; i < config_option_count; i++) {
        char why[256];
        must(set_value(c, &config_options[i], slice_of(config_options[i].fallback), why));
    }
}

static void resolve_dir(struct config *c)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    struct buf b;
    buf_init(&b, VALUE_BYTES_MAX);
    if (c->dir[0] != '\0') {
        return;
    }
    if (geteuid() == 0) {
        buf_puts(&b, "/var/lib/otpq");
    } else if (state != NULL && state[0] == '/') {
        buf_printf(&b, "%s/otpq", state);
    } else {
        buf_printf(&b, "%s/.local/state/otpq", home != NULL && home[0] == '/' ? home : "/tmp");
    }
    free(c->dir);
    c->dir = buf_take(&b);
}

bool config_load(struct config *c, const char *path, struct yaml_error *error)
{
    set_defaults(c);
    c->file = path != NULL ? slice_dup(slice_of(path)) : NULL;
    if ((path != NULL && !read_file(c, path, error)) || !read_environment(c, error) ||
        !check_environment(error)) {
        config_free(c);
        return false;
    }
    resolve_dir(c);
    if (!config_judge_whole(c, error)) {
        config_free(c);
        return false;
    }
    return true;
}

/* ---- where values come from ------------------------------------------------------------------ */

static struct config_place place_by_key(const struct config *c, const char *key)
{
    const struct config_option *o = find_option(key);
    must(o != NULL);
    return c->places[o - config_options];
}

bool config_is_default(const struct config *c, const char *key)
{
    struct config_place at = place_by_key(c, key);
    return !at.environment && at.line == 0;
}

void config_error(const struct config *c, const char *key, struct yaml_error *error,
                  const char *fmt, ...)
{
    struct config_place at = place_by_key(c, key);
    char text[sizeof(error->text)];
    char name[64];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    config_env_name(key, name);
    if (at.environment) {
        yaml_error_at(error, "environment", 0, 0, "%s: %s", name, text);
    } else if (at.line > 0) {
        yaml_error_at(error, c->file, at.line, at.column, "%s", text);
    } else {
        yaml_error_at(error, "defaults", 0, 0, "%s (set %s, or %s)", text, key, name);
    }
}

void config_free(struct config *c)
{
    for (size_t i = 0; i < config_option_count; i++) {
        if (config_options[i].type == CONFIG_LIST) {
            list_clear(list_of(c, &config_options[i]));
        } else if (config_options[i].type != CONFIG_UINT) {
            free(*text_of(c, &config_options[i]));
        }
    }
    free(c->file);
    *c = (struct config){0};
}

char *config_path(const struct config *c, const char *value, const char *name)
{
    struct buf b;
    buf_init(&b, JOINED_BYTES_MAX);
    if (value[0] != '\0') {
        buf_puts(&b, value);
    } else {
        buf_printf(&b, "%s/%s", c->dir, name);
    }
    return buf_take(&b);
}

const char *config_broker_key(const struct config_list *keys, size_t at)
{
    if (keys->count == 0) {
        return NULL;
    }
    return keys->at[keys->count == 1 ? 0 : at];
}

void config_broker_text(char out[CONFIG_BROKER_BYTES], const char *address, const char *key)
{
    bool has = key != NULL && key[0] != '\0';
    (void)snprintf(out, CONFIG_BROKER_BYTES, "%.270s%s%s", address, has ? " " : "", has ? key : "");
}

char *config_redis_address(const struct config *c)
{
    struct buf b;
    buf_init(&b, JOINED_BYTES_MAX);
    if (c->redis_address[0] != '\0') {
        buf_puts(&b, c->redis_address);
    } else {
        buf_printf(&b, "unix:%s/redis.sock", c->dir);
    }
    return buf_take(&b);
}

bool config_accepts_unknown_routes(const struct config *c)
{
    return strcmp(c->broker_unknown_routes, "accept") == 0;
}
