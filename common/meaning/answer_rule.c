#include "common/meaning/answer_rule.h"

#include <jansson.h>

#include "common/base/utf8.h"
#include "common/meaning/locator.h"

enum { STATUS_MIN = 100, STATUS_MAX = 599, EQUALS_MAX = 64, WORDS_MAX = 1000 };

/* One row of `errors`. */
struct word_rule {
    char *word; /* the advertiser's, owned */
    enum result_code code;
    bool retry; /* stands in `retry` too */
};

struct answer_rule {
    bool success_http[STATUS_MAX + 1];   /* by status */
    uint8_t status_code[STATUS_MAX + 1]; /* `statuses`: enum result_code by status */
    struct locator success;
    size_t equals_count;
    char **equals; /* owned texts */
    struct locator request_id;
    struct locator error;
    size_t word_count;
    struct word_rule *words;
};

/* ---- reading --------------------------------------------------------------------------------- */

/* "200", or "2xx" for the whole hundred. */
static bool read_status(const struct dialect_reader *r, const struct yaml_node *node, bool *set)
{
    if (node->kind == YAML_SCALAR) {
        const char *text = node->text;
        uint64_t status = 0;
        if (strlen(text) == 3 && text[0] >= '1' && text[0] <= '5' && strcmp(text + 1, "xx") == 0) {
            memset(set + (text[0] - '0') * 100, true, 100);
            return true;
        }
        if (slice_to_u64(slice_of(text), STATUS_MAX, &status) && status >= STATUS_MIN) {
            set[status] = true;
            return true;
        }
    }
    return read_fail(r, node, "an HTTP status is 100 to 599, or 2xx for a whole hundred");
}

static bool read_success_http(const struct dialect_reader *r, const struct yaml_node *node,
                              struct answer_rule *rule)
{
    if (node == NULL) {
        memset(rule->success_http + 200, true, 100);
        return true;
    }
    if (node->kind == YAML_SCALAR) {
        return read_status(r, node, rule->success_http);
    }
    if (node->kind != YAML_LIST || node->count == 0) {
        return read_fail(r, node, "http must be a status or a list of them");
    }
    for (size_t i = 0; i < node->count; i++) {
        if (!read_status(r, node->items[i], rule->success_http)) {
            return false;
        }
    }
    return true;
}

static bool read_equals(const struct dialect_reader *r, struct yaml_node *node,
                        struct answer_rule *rule)
{
    if (rule->success.kind == LOCATOR_NONE) {
        return read_fail(r, node, "equals needs json or regex beside it");
    }
    bool list = node->kind == YAML_LIST;
    size_t count = list ? node->count : 1;
    if (count == 0 || count > EQUALS_MAX) {
        return read_fail(r, node, "equals must be a value or a list of 1 to %d", EQUALS_MAX);
    }
    rule->equals = xcalloc(count, sizeof(*rule->equals));
    for (size_t i = 0; i < count; i++) {
        const struct yaml_node *item = list ? node->items[i] : node;
        if (!read_is_text(r, item, "a value of equals")) {
            return false;
        }
        rule->equals[rule->equals_count++] = slice_dup(slice_of(item->text));
    }
    return true;
}

static bool read_success(const struct dialect_reader *r, const struct yaml_node *node,
                         struct answer_rule *rule)
{
    if (node == NULL) {
        return read_success_http(r, NULL, rule);
    }
    struct yaml_node *equals = NULL;
    return read_keys(r, node, "success") && read_success_http(r, yaml_get(node, "http"), rule) &&
           locator_read(r, node, false, &rule->success) &&
           ((equals = yaml_get(node, "equals")) == NULL || read_equals(r, equals, rule));
}

static bool read_locator(const struct dialect_reader *r, const struct yaml_node *node,
                         const char *what, struct locator *out)
{
    if (node == NULL) {
        return true;
    }
    if (!read_keys(r, node, "locator") || !locator_read(r, node, true, out)) {
        return false;
    }
    return out->kind != LOCATOR_NONE || read_fail(r, node, "%s needs json or regex", what);
}

/* What an advertiser can mean. The other codes are said by otpq itself. */
static bool is_advertisers(enum result_code code)
{
    switch (code) {
    case RESULT_PENDING:
    case RESULT_WRONG_OTP:
    case RESULT_OTP_EXPIRED:
    case RESULT_TOO_MANY_ATTEMPTS:
    case RESULT_RESEND_TOO_SOON:
    case RESULT_TOO_MANY_SENDS:
    case RESULT_ALREADY_VERIFIED:
    case RESULT_REQUEST_NOT_FOUND:
    case RESULT_INVALID_REQUEST:
    case RESULT_INVALID_MSISDN:
    case RESULT_ACCOUNT_NOT_ACTIVATED:
    case RESULT_ALREADY_SUBSCRIBED:
    case RESULT_NOT_ELIGIBLE:
    case RESULT_INSUFFICIENT_BALANCE:
    case RESULT_MSISDN_BLOCKED:
    case RESULT_FRAUD_SUSPECTED:
    case RESULT_ADVERTISER_REFUSED:
    case RESULT_ADVERTISER_ERROR:
    case RESULT_OUTCOME_UNKNOWN:
    case RESULT_RATE_LIMITED:
        return true;
    default:
        return false;
    }
}

static bool read_code(const struct dialect_reader *r, const struct yaml_node *node,
                      enum result_code *out)
{
    if (!read_is_text(r, node, "an otpq code")) {
        return false;
    }
    *out = result_of(slice_of(node->text));
    if (is_advertisers(*out)) {
        return true;
    }
    if (*out == RESULT_OTP_SENT || *out == RESULT_OTP_VERIFIED) {
        return read_fail(r, node, "a success is described by success, not among the errors");
    }
    if (*out != RESULT_NONE) {
        return read_fail(r, node, "\"%s\" is said by otpq itself, not by an advertiser",
                         node->text);
    }
    const char *words[RESULT_CODES];
    size_t n = 0;
    for (int i = 0; i < RESULT_CODES; i++) {
        if (is_advertisers((enum result_code)i)) {
            words[n++] = result_rows[i].name;
        }
    }
    const char *near = yaml_suggest(node->text, words, n);
    return near != NULL
               ? read_fail(r, node, "unknown code \"%s\"; did you mean \"%s\"?", node->text, near)
               : read_fail(r, node, "unknown code \"%s\"; docs/templates.md lists them",
                           node->text);
}

static bool read_errors(const struct dialect_reader *r, const struct yaml_node *node,
                        struct answer_rule *rule)
{
    if (node == NULL) {
        return true;
    }
    if (rule->error.kind == LOCATOR_NONE) {
        return read_fail(r, node, "errors needs error beside it, to say where the word is");
    }
    if (!read_is_map(r, node, "errors")) {
        return false;
    }
    if (node->count > WORDS_MAX) {
        return read_fail(r, node, "more than %d errors", WORDS_MAX);
    }
    rule->words = xcalloc(node->count, sizeof(*rule->words));
    for (size_t i = 0; i < node->count; i++) {
        enum result_code code = RESULT_NONE;
        if (!read_code(r, node->pairs[i].value, &code)) {
            return false;
        }
        rule->words[rule->word_count++] =
            (struct word_rule){slice_dup(slice_of(node->pairs[i].key)), code, false};
    }
    return true;
}

static struct word_rule *find_word(const struct answer_rule *rule, struct slice word)
{
    for (size_t i = 0; i < rule->word_count; i++) {
        if (slice_is(word, rule->words[i].word)) {
            return &rule->words[i];
        }
    }
    return NULL;
}

static bool is_unknown(enum result_code code)
{
    return code == RESULT_OUTCOME_UNKNOWN || code == RESULT_PENDING;
}

static bool read_retry_word(const struct dialect_reader *r, const struct yaml_node *node,
                            struct answer_rule *rule)
{
    if (!read_is_text(r, node, "a word of retry")) {
        return false;
    }
    struct word_rule *word = find_word(rule, slice_of(node->text));
    if (word == NULL) {
        return read_fail(r, node, "\"%s\" is not among the errors", node->text);
    }
    if (is_unknown(word->code)) {
        return read_fail(r, node, "\"%s\" means %s: what may have happened is not repeated",
                         node->text, result_name(word->code));
    }
    word->retry = true;
    return true;
}

static bool read_retry(const struct dialect_reader *r, const struct yaml_node *node,
                       struct answer_rule *rule)
{
    if (node == NULL) {
        return true;
    }
    if (node->kind != YAML_LIST) {
        return read_fail(r, node, "retry must be a list of words from errors");
    }
    for (size_t i = 0; i < node->count; i++) {
        if (!read_retry_word(r, node->items[i], rule)) {
            return false;
        }
    }
    return true;
}

static bool read_statuses(const struct dialect_reader *r, const struct yaml_node *node,
                          struct answer_rule *rule)
{
    if (node == NULL) {
        return true;
    }
    if (!read_is_map(r, node, "statuses")) {
        return false;
    }
    for (size_t i = 0; i < node->count; i++) {
        const struct yaml_pair *pair = &node->pairs[i];
        uint64_t status = 0;
        enum result_code code = RESULT_NONE;
        if (!slice_to_u64(slice_of(pair->key), STATUS_MAX, &status) || status < STATUS_MIN) {
            return read_fail_key(r, pair, "an HTTP status is 100 to 599");
        }
        if (rule->success_http[status] && rule->success.kind == LOCATOR_NONE) {
            return read_fail_key(r, pair, "status %s is a success already", pair->key);
        }
        if (!read_code(r, pair->value, &code)) {
            return false;
        }
        rule->status_code[status] = (uint8_t)code;
    }
    return true;
}

static bool read_all(const struct dialect_reader *r, const struct yaml_node *node,
                     struct answer_rule *rule)
{
    if (node == NULL) {
        return read_success(r, NULL, rule);
    }
    return read_keys(r, node, "answer") && read_success(r, yaml_get(node, "success"), rule) &&
           read_locator(r, yaml_get(node, "request_id"), "request_id", &rule->request_id) &&
           read_locator(r, yaml_get(node, "error"), "error", &rule->error) &&
           read_errors(r, yaml_get(node, "errors"), rule) &&
           read_retry(r, yaml_get(node, "retry"), rule) &&
           read_statuses(r, yaml_get(node, "statuses"), rule);
}

struct answer_rule *answer_rule_read(const struct dialect_reader *r, const struct yaml_node *node)
{
    struct answer_rule *rule = xcalloc(1, sizeof(*rule));
    if (!read_all(r, node, rule)) {
        answer_rule_destroy(&rule);
    }
    return rule;
}

void answer_rule_destroy(struct answer_rule **rule)
{
    struct answer_rule *old = *rule;
    *rule = NULL;
    if (old == NULL) {
        return;
    }
    locator_free(&old->success);
    locator_free(&old->request_id);
    locator_free(&old->error);
    for (size_t i = 0; i < old->equals_count; i++) {
        free(old->equals[i]);
    }
    free(old->equals);
    for (size_t i = 0; i < old->word_count; i++) {
        free(old->words[i].word);
    }
    free(old->words);
    free(old);
}

/* ---- applying -------------------------------------------------------------------------------- */

/* One answer under judgement. */
struct judgement {
    const struct answer_rule *rule;
    const struct dialect_answer *answer;
    json_t *doc;      /* the body as JSON, or NULL */
    struct buf value; /* scratch for locators */
    bool has_word;    /* the answer has an error word, mapped or not */
};

static json_t *body_json(const struct answer_rule *rule, struct slice body)
{
    bool wanted = rule->success.kind == LOCATOR_JSON || rule->error.kind == LOCATOR_JSON ||
                  rule->request_id.kind == LOCATOR_JSON;
    if (!wanted || body.n == 0) {
        return NULL;
    }
    json_error_t error;
    json_t *doc = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &error);
    if (doc == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        /* An integer over 64 bits is JSON too; as a double it is at least no reason to give up. */
        doc = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
    }
    return doc;
}

static void say(struct dialect_verdict *out, enum result_code code, bool retry)
{
    out->end = is_unknown(code) ? JOB_END_UNKNOWN : JOB_END_REFUSED;
    out->code = code;
    out->retry = retry;
}

static bool say_mapped(struct judgement *j, struct dialect_verdict *out)
{
    j->has_word =
        locator_find(&j->rule->error, j->doc, j->answer->body, &j->value) && j->value.n > 0;
    const struct word_rule *word = j->has_word ? find_word(j->rule, buf_slice(&j->value)) : NULL;
    int http = j->answer->http;
    if (word != NULL) {
        say(out, word->code, word->retry);
        return true;
    }
    if (http >= STATUS_MIN && http <= STATUS_MAX && j->rule->status_code[http] != RESULT_NONE) {
        say(out, (enum result_code)j->rule->status_code[http], false);
        return true;
    }
    return false;
}

static bool is_success(struct judgement *j)
{
    const struct answer_rule *rule = j->rule;
    int http = j->answer->http;
    if (http < STATUS_MIN || http > STATUS_MAX || !rule->success_http[http]) {
        return false;
    }
    if (rule->success.kind == LOCATOR_NONE) {
        return true;
    }
    if (!locator_find(&rule->success, j->doc, j->answer->body, &j->value)) {
        return false;
    }
    struct slice value = buf_slice(&j->value);
    for (size_t i = 0; i < rule->equals_count; i++) {
        if (slice_is(value, rule->equals[i])) {
            return true;
        }
    }
    bool truthy = rule->success.kind == LOCATOR_REGEX || (value.n > 0 && !slice_is(value, "false"));
    return rule->equals_count == 0 && truthy;
}

/* Could the answer be understood at all? If not, nobody knows whether the call had its effect. */
static bool is_readable(const struct judgement *j)
{
    switch (j->rule->success.kind) {
    case LOCATOR_JSON:
        return j->doc != NULL || j->has_word;
    case LOCATOR_REGEX:
        return j->has_word || (j->rule->error.kind == LOCATOR_NONE && j->answer->body.n > 0);
    case LOCATOR_NONE:
        break;
    }
    return true;
}

static bool is_plain(struct slice text)
{
    while (text.n > 0) {
        size_t n = utf8_first(text);
        if (n == 0 || (unsigned char)text.p[0] < 0x20 || text.p[0] == 0x7f) {
            return false;
        }
        text = slice_make(text.p + n, text.n - n);
    }
    return true;
}

static void keep_request_id(struct judgement *j, struct dialect_verdict *out)
{
    if (!locator_find(&j->rule->request_id, j->doc, j->answer->body, &j->value)) {
        return;
    }
    struct slice id = buf_slice(&j->value);
    if (id.n > 0 && id.n < sizeof(out->advertiser_request_id) && is_plain(id)) {
        memcpy(out->advertiser_request_id, id.p, id.n);
        out->advertiser_request_id[id.n] = '\0';
    }
}

static void say_unmapped(struct judgement *j, enum result_code success, struct dialect_verdict *out)
{
    int hundred = j->answer->http / 100;
    if (is_success(j)) {
        out->end = JOB_END_DONE;
        out->code = success;
    } else if (hundred == 4 || (hundred == 2 && is_readable(j))) {
        say(out, RESULT_ADVERTISER_REFUSED, false);
    }
}

void answer_rule_apply(const struct answer_rule *rule, enum result_code success,
                       const struct dialect_answer *answer, struct dialect_verdict *out)
{
    dialect_verdict_init(out);
    struct judgement j = {.rule = rule, .answer = answer, .doc = body_json(rule, answer->body)};
    buf_init(&j.value, LOCATOR_VALUE_BYTES_MAX);
    if (!say_mapped(&j, out)) {
        say_unmapped(&j, success, out);
    }
    keep_request_id(&j, out);
    json_decref(j.doc);
    buf_free(&j.value);
}
