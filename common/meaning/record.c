#include "common/meaning/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/meaning/fields.h"
#include "common/meaning/record_rules.h"

/* ---- one member ------------------------------------------------------------------------------ */

static void *member_of(const void *record, const struct record_key *k)
{
    return (char *)(uintptr_t)record + k->offset;
}

static bool is_text_type(enum record_type type)
{
    return type <= RECORD_DIGITS;
}

static bool is_byte_allowed(enum record_type type, unsigned char c)
{
    switch (type) {
    case RECORD_DIGITS:
        return c >= '0' && c <= '9';
    case RECORD_TOKEN:
        return c > ' ' && c < 0x7f;
    case RECORD_LINES:
        return c >= ' ' || c == '\n';
    default:
        return c >= ' ';
    }
}

static bool set_text(void *record, const struct record_key *k, struct slice value, char why[256])
{
    static const char *const looks[] = {
        [RECORD_TEXT] = "a text of one line,",
        [RECORD_LINES] = "a text,",
        [RECORD_NAME] = "letters, digits, \"_\", \".\", \":\" and \"-\",",
        [RECORD_TOKEN] = "visible characters without spaces,",
        [RECORD_DIGITS] = "digits alone,",
    };
    bool ok = value.n >= k->min && value.n <= k->max;
    for (size_t i = 0; ok && i < value.n; i++) {
        ok = is_byte_allowed(k->type, (unsigned char)value.p[i]);
    }
    if (!ok || (k->type == RECORD_NAME && !fields_id_alphabet(value))) {
        (void)snprintf(why, 256, "%s must be %s %" PRIu64 " to %" PRIu64 " %s", k->name,
                       looks[k->type], k->min, k->max, k->unit);
        return false;
    }
    char **text = member_of(record, k);
    free(*text);
    *text = slice_dup(value);
    return true;
}

static bool set_number(void *record, const struct record_key *k, struct slice value, char why[256])
{
    uint64_t number = 0;
    if (!slice_to_u64(value, k->max, &number) || number < k->min) {
        (void)snprintf(why, 256, "%s must be a whole number from %" PRIu64 " to %" PRIu64 "%s%s",
                       k->name, k->min, k->max, k->unit[0] != '\0' ? " " : "", k->unit);
        return false;
    }
    if (k->type == RECORD_U32) {
        *(uint32_t *)member_of(record, k) = (uint32_t)number;
    } else {
        *(uint64_t *)member_of(record, k) = number;
    }
    return true;
}

/* Puts the word of choices with this number into *word; false when there are fewer. */
static bool choice_at(const char *choices, int number, struct slice *word)
{
    const char *at = choices;
    for (int i = 0; at != NULL; i++) {
        *word = slice_make(at, strcspn(at, "|"));
        if (i == number) {
            return true;
        }
        at = at[word->n] == '|' ? at + word->n + 1 : NULL;
    }
    return false;
}

static bool set_choice(void *record, const struct record_key *k, struct slice value, char why[256])
{
    struct slice word;
    for (int i = 0; choice_at(k->choices, i, &word); i++) {
        if (slice_eq(word, value)) {
            *(int *)member_of(record, k) = i; /* enums of C are ints here */
            return true;
        }
    }
    (void)snprintf(why, 256, "%s must be one of %s", k->name, k->choices);
    return false;
}

static bool set_bool(void *record, const struct record_key *k, struct slice value, char why[256])
{
    bool is_true = slice_is(value, "true");
    if (!is_true && !slice_is(value, "false")) {
        (void)snprintf(why, 256, "%s must be true or false", k->name);
        return false;
    }
    *(bool *)member_of(record, k) = is_true;
    return true;
}

static bool set_dialect(void *record, const struct record_key *k, struct slice value, char why[256])
{
    const struct dialect *found = dialect_find(value);
    if (found != NULL) {
        *(const struct dialect **)member_of(record, k) = found;
        return true;
    }
    struct buf known;
    buf_init(&known, 200);
    for (size_t i = 0; dialects[i] != NULL; i++) {
        buf_printf(&known, "%s%s", i > 0 ? ", " : "", dialects[i]->name);
    }
    (void)snprintf(why, 256, "%s must be one of %s", k->name, buf_text(&known));
    buf_free(&known);
    return false;
}

static void free_list(struct record_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        free(list->at[i]);
    }
    *list = (struct record_list){0};
}

static bool add_word(struct record_list *list, const struct record_key *k, struct slice word,
                     char why[256])
{
    if (list->count == RECORD_LIST_MAX || word.n < k->min || word.n > k->max ||
        !fields_id_alphabet(word)) {
        (void)snprintf(why, 256,
                       "%s must be a list of at most %d names, each of %" PRIu64 " to %" PRIu64
                       " %s",
                       k->name, RECORD_LIST_MAX, k->min, k->max, k->unit);
        return false;
    }
    list->at[list->count++] = slice_dup(word);
    return true;
}

/* As words with one space between them: "" is the empty list. */
static bool set_list(void *record, const struct record_key *k, struct slice value, char why[256])
{
    struct record_list *list = member_of(record, k);
    free_list(list);
    while (value.n > 0) {
        const char *space = memchr(value.p, ' ', value.n);
        size_t n = space != NULL ? (size_t)(space - value.p) : value.n;
        if (!add_word(list, k, slice_make(value.p, n), why)) {
            return false;
        }
        n += space != NULL ? 1 : 0;
        value = slice_make(value.p + n, value.n - n);
    }
    return true;
}

static bool set_member(void *record, const struct record_key *k, struct slice value, char why[256])
{
    switch (k->type) {
    case RECORD_U32:
    case RECORD_U64:
        return set_number(record, k, value, why);
    case RECORD_BOOL:
        return set_bool(record, k, value, why);
    case RECORD_CHOICE:
        return set_choice(record, k, value, why);
    case RECORD_DIALECT:
        return set_dialect(record, k, value, why);
    case RECORD_LIST:
        return set_list(record, k, value, why);
    default:
        return set_text(record, k, value, why);
    }
}

static void put_list(const struct record_list *list, struct buf *out)
{
    for (uint32_t i = 0; i < list->count; i++) {
        buf_printf(out, "%s%s", i > 0 ? " " : "", list->at[i]);
    }
}

static void put_member(const void *record, const struct record_key *k, struct buf *out)
{
    const void *member = member_of(record, k);
    struct slice word = SLICE("");
    switch (k->type) {
    case RECORD_U32:
        buf_printf(out, "%" PRIu32, *(const uint32_t *)member);
        break;
    case RECORD_U64:
        buf_printf(out, "%" PRIu64, *(const uint64_t *)member);
        break;
    case RECORD_BOOL:
        buf_puts(out, *(const bool *)member ? "true" : "false");
        break;
    case RECORD_CHOICE:
        must(choice_at(k->choices, *(const int *)member, &word));
        buf_put_slice(out, word);
        break;
    case RECORD_DIALECT:
        buf_puts(out, (*(const struct dialect *const *)member)->name);
        break;
    case RECORD_LIST:
        put_list(member, out);
        break;
    default:
        buf_puts(out, *(char *const *)member);
        break;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static void set_defaults(const struct record_schema *schema, void *record)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        const struct record_key *k = &schema->keys[i];
        char why[256];
        if (k->fallback != NULL) {
            must(set_member(record, k, slice_of(k->fallback), why));
        }
    }
}

static const struct record_key *find_key(const struct record_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        if (strcmp(schema->keys[i].name, name) == 0) {
            return &schema->keys[i];
        }
    }
    return NULL;
}

static bool read_list(const char *file, const struct record_key *k, void *record,
                      const struct yaml_node *value, struct yaml_error *error)
{
    struct record_list *list = member_of(record, k);
    char why[256];
    if (value->kind != YAML_LIST || value->count == 0) {
        yaml_error_at(error, file, value->line, value->column,
                      "%s is a list: [one, two]; leave the line out for none", k->name);
        return false;
    }
    free_list(list);
    for (size_t i = 0; i < value->count; i++) {
        const struct yaml_node *item = value->items[i];
        bool word = item->kind == YAML_SCALAR && add_word(list, k, slice_of(item->text), why);
        if (!word) {
            yaml_error_at(error, file, item->line, item->column, "%s",
                          item->kind == YAML_SCALAR ? why : "a word is wanted here");
            return false;
        }
    }
    return true;
}

static bool read_value(const char *file, const struct record_key *k, void *record,
                       const struct yaml_node *value, struct yaml_error *error)
{
    char why[256];
    if (k->type == RECORD_LIST) {
        return read_list(file, k, record, value, error);
    }
    if (value->kind != YAML_SCALAR) {
        yaml_error_at(error, file, value->line, value->column, "%s is one value, not a %s", k->name,
                      value->kind == YAML_MAP ? "map" : "list");
    } else if (value->text[0] == '\0' && !value->quoted) {
        yaml_error_at(error, file, value->line, value->column,
                      "%s has no value: leave the line out for the default", k->name);
    } else if (!set_member(record, k, slice_of(value->text), why)) {
        bool is_secret = k->type == RECORD_TOKEN;
        yaml_error_at(error, file, value->line, value->column, "%s%s%.64s%s", why,
                      is_secret ? "" : " (it is \"", is_secret ? "" : value->text,
                      is_secret ? "" : "\")");
    } else {
        return true;
    }
    return false;
}

static bool is_dialect_key(const struct dialect *dialect, const char *name)
{
    for (size_t i = 0; dialect != NULL && dialect->keys[i] != NULL; i++) {
        if (strcmp(dialect->keys[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *article(const struct record_schema *schema)
{
    return strchr("aeioAM", schema->one[0]) != NULL ? "an" : "a"; /* an API token, an MO source */
}

static void unknown_key(const char *file, const struct record_schema *schema,
                        const struct dialect *dialect, const struct yaml_pair *pair,
                        struct yaml_error *error)
{
    const char *words[64] = {NULL};
    size_t n = 0;
    for (size_t i = 0; i < schema->key_count; i++) {
        words[n++] = schema->keys[i].name;
    }
    for (size_t i = 0; dialect != NULL && dialect->keys[i] != NULL && n < ARRAY_LEN(words); i++) {
        words[n++] = dialect->keys[i];
    }
    const char *near = yaml_suggest(pair->key, words, n);
    yaml_error_at(error, file, pair->line, pair->column, "unknown key \"%.64s\" of %s %s%s%s%s",
                  pair->key, article(schema), schema->one, near != NULL ? "; did you mean \"" : "",
                  near != NULL ? near : "", near != NULL ? "\"?" : "");
}

/* The dialect decides which further keys there are, so it is read before the others. */
static bool read_dialect(const char *file, const struct record_schema *schema, void *record,
                         const struct yaml_node *node, struct yaml_error *error)
{
    const struct record_key *k = find_key(schema, "dialect");
    const struct yaml_node *value = yaml_get(node, "dialect");
    return k == NULL || value == NULL || read_value(file, k, record, value, error);
}

static bool read_keys(enum record_kind kind, const char *file, void *record,
                      const struct yaml_node *node, struct yaml_error *error)
{
    const struct record_schema *schema = &record_schemas[kind];
    if (!read_dialect(file, schema, record, node, error)) {
        return false;
    }
    const struct dialect *dialect =
        kind == RECORD_INTEGRATION ? ((struct integration *)record)->dialect : NULL;
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_pair *pair = &node->pairs[i];
        const struct record_key *k = find_key(schema, pair->key);
        if (k == NULL && !is_dialect_key(dialect, pair->key)) {
            unknown_key(file, schema, dialect, pair, error);
            return false;
        }
        if (k != NULL && !read_value(file, k, record, pair->value, error)) {
            return false;
        }
    }
    return true;
}

static bool has_needed_keys(const struct record_schema *schema, const char *file,
                            const struct yaml_pair *record, struct yaml_error *error)
{
    for (size_t i = 0; i < schema->key_count; i++) {
        const struct record_key *k = &schema->keys[i];
        if (k->fallback == NULL && yaml_get(record->value, k->name) == NULL) {
            yaml_error_at(error, file, record->line, record->column, "%s %s has no \"%s\"",
                          schema->one, record->key, k->name);
            return false;
        }
    }
    return true;
}

/* ---- what an integration must be ------------------------------------------------------------- */

struct rule {
    const char *file;               /* for messages */
    const struct yaml_pair *record; /* the integration as it stands there */
    struct yaml_error *error;       /* where the first broken rule goes */
};

/* Says what is wrong at a key of the record, or at the record when the key is not there. */
static bool broken(const struct rule *r, const char *key, const char *what)
{
    int line = r->record->line;
    int column = r->record->column;
    for (size_t i = 0; i < r->record->value->count; i++) {
        if (strcmp(r->record->value->pairs[i].key, key) == 0) {
            line = r->record->value->pairs[i].line;
            column = r->record->value->pairs[i].column;
        }
    }
    yaml_error_at(r->error, r->file, line, column, "%s", what);
    return false;
}

/* A mistake at a byte of a scalar's text; columns count characters. */
static void text_error(const struct rule *r, const struct yaml_node *node,
                       const struct template_error *why)
{
    int column = node->column;
    if (strchr(node->text, '\n') == NULL) { /* else it is a block, and the node's place must do */
        column += node->quoted ? 1 : 0;
        for (size_t i = 0; i < why->offset && node->text[i] != '\0'; i++) {
            column += (node->text[i] & 0xc0) != 0x80;
        }
    }
    yaml_error_at(r->error, r->file, node->line, column, "text: %s", why->text);
}

static bool check_text(const struct rule *r, const struct integration *i)
{
    struct template_error why;
    struct template *t = template_compile(slice_of(i->text), TEMPLATE_TEXT, &why);
    if (t == NULL) {
        text_error(r, yaml_get(r->record->value, "text"), &why);
        return false;
    }
    bool has_otp = template_uses(t, MACRO_OTP);
    bool is_circular = template_uses(t, MACRO_TEXT);
    template_destroy(&t);
    if (is_circular) {
        return broken(r, "text", "text cannot hold {text}: it is the text");
    }
    return has_otp || broken(r, "text", "text must hold {otp}, else nobody learns the code");
}

static bool check_otpq_codes(const struct rule *r, const struct integration *i)
{
    bool sends_text = i->dialect->uses(i->settings, DIALECT_SEND, MACRO_TEXT);
    bool sends_otp = i->dialect->uses(i->settings, DIALECT_SEND, MACRO_OTP);
    if (i->dialect->has(i->settings, DIALECT_VERIFY)) {
        return broken(r, "verify",
                      "no verify call when otpq makes the code: otpq checks it itself");
    }
    if (!sends_text && !sends_otp) {
        return broken(r, "send", "send must carry {otp} or {text} when otpq makes the code");
    }
    if (sends_text && i->text[0] == '\0') {
        return broken(r, "send",
                      "send carries {text}, so the key \"text\" must be there, with {otp}");
    }
    if (i->code_valid_s > 600) {
        return broken(r, "code_valid_s", "code_valid_s is at most 600 s for codes that otpq makes");
    }
    return i->text[0] == '\0' || check_text(r, i);
}

static bool check_advertiser_codes(const struct rule *r, const struct integration *i)
{
    if (!i->dialect->has(i->settings, DIALECT_VERIFY)) {
        return broken(r, "verify",
                      "verify is missing: the advertiser makes the code and checks it "
                      "(or set maker: otpq)");
    }
    if (!i->dialect->uses(i->settings, DIALECT_VERIFY, MACRO_MSISDN)) {
        return broken(r, "verify", "verify must carry {msisdn}");
    }
    if (!i->dialect->uses(i->settings, DIALECT_VERIFY, MACRO_OTP)) {
        return broken(r, "verify", "verify must carry {otp}");
    }
    if (i->dialect->uses(i->settings, DIALECT_SEND, MACRO_OTP)) {
        return broken(r, "send",
                      "send cannot carry {otp}: the advertiser makes the code (or set "
                      "maker: otpq)");
    }
    return i->text[0] == '\0' ||
           broken(r, "text", "text is for codes that otpq makes (maker: otpq)");
}

/* The advertiser hands out a link and sees the number only when its SMS comes: no call carries one,
 * and verify asks for the state. */
static bool check_link(const struct rule *r, const struct integration *i)
{
    if (i->maker == CODE_BY_OTPQ) {
        return broken(r, "maker", "maker: otpq is for dialects that send a text, not a link");
    }
    return i->text[0] == '\0' ||
           broken(r, "text", "text is for codes that otpq makes (maker: otpq)");
}

static bool finish_integration(struct integration *i, const char *file,
                               const struct yaml_pair *record, struct yaml_error *error)
{
    struct rule r = {file, record, error};
    i->settings = i->dialect->configure(file, record->value, error);
    if (i->settings == NULL) {
        return false;
    }
    if ((dialect_traits(i->dialect, i->settings) & DIALECT_LINK) != 0) {
        return check_link(&r, i);
    }
    if (!i->dialect->uses(i->settings, DIALECT_SEND, MACRO_MSISDN)) {
        return broken(&r, "send", "send must carry {msisdn}");
    }
    return i->maker == CODE_BY_OTPQ ? check_otpq_codes(&r, i) : check_advertiser_codes(&r, i);
}

/* ---- one record ------------------------------------------------------------------------------ */

/* Where a record keeps what it is called by. */
static char **name_of(enum record_kind kind, void *record)
{
    switch (kind) {
    case RECORD_INTEGRATION:
        return &((struct integration *)record)->name;
    case RECORD_ENDPOINT:
        return &((struct endpoint *)record)->name;
    case RECORD_ACCOUNT:
        return &((struct account *)record)->name;
    case RECORD_FLASH_TEMPLATE:
        return &((struct flash_template *)record)->name;
    case RECORD_API_TOKEN:
        return &((struct api_token *)record)->name;
    case RECORD_MO_SOURCE:
        return &((struct mo_source *)record)->name;
    case RECORD_CURVE_KEY:
        return &((struct curve_key *)record)->name;
    case RECORD_NETWORK:
    case RECORD_AFFILIATE:
    case RECORD_KINDS:
        break;
    }
    must(false); /* these have no name of their own */
    return NULL;
}

static bool set_name(enum record_kind kind, void *record, const char *file,
                     const struct yaml_pair *pair, struct yaml_error *error)
{
    struct slice name = slice_of(pair->key);
    if (kind == RECORD_NETWORK) {
        return true;
    }
    if (kind == RECORD_AFFILIATE) {
        uint64_t id = 0;
        if (name.n == 0 || name.p[0] == '0' || !slice_to_u64(name, UINT32_MAX, &id)) {
            yaml_error_at(error, file, pair->line, pair->column,
                          "an affiliate's number is 1 to %u, not \"%.64s\"", UINT32_MAX, pair->key);
            return false;
        }
        ((struct affiliate *)record)->id = id;
        return true;
    }
    if (name.n == 0 || name.n > RECORD_NAME_BYTES_MAX || !fields_id_alphabet(name)) {
        yaml_error_at(error, file, pair->line, pair->column,
                      "the name of %s %s is 1 to %d letters, digits, \"_\", \".\", \":\" and \"-\"",
                      article(&record_schemas[kind]), record_schemas[kind].one,
                      RECORD_NAME_BYTES_MAX);
        return false;
    }
    *name_of(kind, record) = slice_dup(name);
    return true;
}

static bool keeps_rules(enum record_kind kind, const void *record, const char *file,
                        const struct yaml_pair *pair, struct yaml_error *error)
{
    struct record_fault fault;
    return record_keeps_rules(kind, record, &fault) || record_fault_tell(&fault, file, pair, error);
}

void *record_read(enum record_kind kind, const char *file, const struct yaml_pair *pair,
                  struct yaml_error *error)
{
    const struct record_schema *schema = &record_schemas[kind];
    if (pair->value->kind != YAML_MAP) {
        yaml_error_at(error, file, pair->line, pair->column,
                      "%s %s has keys of its own: they stand below it, indented", schema->one,
                      pair->key);
        return NULL;
    }
    void *record = xcalloc(1, schema->size);
    set_defaults(schema, record);
    bool ok = set_name(kind, record, file, pair, error) &&
              read_keys(kind, file, record, pair->value, error) &&
              has_needed_keys(schema, file, pair, error) &&
              keeps_rules(kind, record, file, pair, error) &&
              (kind != RECORD_INTEGRATION || finish_integration(record, file, pair, error));
    if (!ok) {
        record_destroy(kind, record);
        return NULL;
    }
    return record;
}

void record_destroy(enum record_kind kind, void *record)
{
    const struct record_schema *schema = &record_schemas[kind];
    if (record == NULL) {
        return;
    }
    for (size_t i = 0; i < schema->key_count; i++) {
        if (is_text_type(schema->keys[i].type)) {
            free(*(char **)member_of(record, &schema->keys[i]));
        } else if (schema->keys[i].type == RECORD_LIST) {
            free_list(member_of(record, &schema->keys[i]));
        }
    }
    if (kind == RECORD_INTEGRATION) {
        struct integration *i = record;
        free(i->name);
        if (i->settings != NULL) {
            i->dialect->release(i->settings);
        }
    } else if (kind != RECORD_NETWORK && kind != RECORD_AFFILIATE) {
        free(*name_of(kind, record));
    }
    free(record);
}

static void write_value(struct buf *out, const void *record, const struct record_key *k,
                        struct slice text)
{
    if (k->type != RECORD_LIST) {
        buf_putc(out, ' ');
        yaml_put_scalar(out, text, is_text_type(k->type));
        buf_putc(out, '\n');
        return;
    }
    const struct record_list *list = member_of(record, k);
    buf_putc(out, '\n');
    for (uint32_t i = 0; i < list->count; i++) {
        buf_puts(out, "  - ");
        yaml_put_scalar(out, slice_of(list->at[i]), true);
        buf_putc(out, '\n');
    }
}

void record_write(enum record_kind kind, const void *record, const struct yaml_node *node,
                  struct buf *out)
{
    const struct record_schema *schema = &record_schemas[kind];
    for (size_t i = 0; i < schema->key_count; i++) {
        const struct record_key *k = &schema->keys[i];
        struct buf value;
        buf_init(&value, RECORD_BYTES_MAX);
        put_member(record, k, &value);
        if (k->fallback == NULL || strcmp(buf_text(&value), k->fallback) != 0) {
            yaml_put_key(out, k->name, 0);
            write_value(out, record, k, buf_slice(&value));
        }
        buf_free(&value);
    }
    if (kind != RECORD_INTEGRATION) {
        return;
    }
    const struct dialect *dialect = ((const struct integration *)record)->dialect;
    for (size_t i = 0; dialect->keys[i] != NULL; i++) {
        const struct yaml_node *value = yaml_get(node, dialect->keys[i]);
        if (value != NULL) {
            yaml_put_key(out, dialect->keys[i], 0);
            yaml_write_node(out, value, 0);
        }
    }
}

bool record_key_equal(struct slice given, const char *key)
{
    size_t n = strlen(key);
    size_t longer = given.n > n ? given.n : n;
    volatile unsigned char differs = given.n != n;
    for (size_t i = 0; i < longer; i++) {
        unsigned char a = i < given.n ? (unsigned char)given.p[i] : 0;
        unsigned char b = i < n ? (unsigned char)key[i] : 0;
        differs = differs | (a ^ b);
    }
    return differs == 0;
}
