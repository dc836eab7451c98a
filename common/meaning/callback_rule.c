#include "common/meaning/callback_rule.h"

enum { VALUES_MAX = 64 };

enum meaning {
    MEANS_DELIVERED,
    MEANS_FAILED,
    MEANS_VERIFIED,
    MEANS_WRONG,
    MEANS_PENDING,
    MEANINGS
};

/* What the values under each key say. */
static const struct {
    const char *key;
    enum dialect_event event;
    enum result_code code;
} meanings[MEANINGS] = {
    [MEANS_DELIVERED] = {"delivered", DIALECT_DELIVERY, RESULT_OTP_SENT},
    [MEANS_FAILED] = {"failed", DIALECT_DELIVERY, RESULT_ADVERTISER_REFUSED},
    [MEANS_VERIFIED] = {"verified", DIALECT_VERIFICATION, RESULT_OTP_VERIFIED},
    [MEANS_WRONG] = {"wrong", DIALECT_VERIFICATION, RESULT_WRONG_OTP},
    [MEANS_PENDING] = {"pending", DIALECT_DELIVERY, RESULT_PENDING},
};

/* One value of the status parameter. */
struct value {
    char *text; /* owned */
    enum meaning meaning;
};

struct callback_rule {
    char *request_id; /* names of parameters, owned */
    char *status;
    size_t count;
    struct value values[VALUES_MAX];
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_name(const struct dialect_reader *r, const struct yaml_node *map, const char *key,
                      char **out)
{
    const struct yaml_node *node = yaml_get(map, key);
    if (node == NULL) {
        return true;
    }
    if (!read_is_text(r, node, key)) {
        return false;
    }
    size_t n = strlen(node->text);
    if (n == 0 || n > PARAM_NAME_BYTES_MAX || strpbrk(node->text, "{}") != NULL) {
        return read_fail(r, node, "%s is the name of a parameter, 1 to %d bytes", key,
                         PARAM_NAME_BYTES_MAX);
    }
    *out = slice_dup(slice_of(node->text));
    return true;
}

static bool read_value(const struct dialect_reader *r, const struct yaml_node *node,
                       enum meaning meaning, struct callback_rule *rule)
{
    if (!read_is_text(r, node, "a value")) {
        return false;
    }
    if (rule->count == VALUES_MAX) {
        return read_fail(r, node, "more than %d values", VALUES_MAX);
    }
    for (size_t i = 0; i < rule->count; i++) {
        if (strcmp(rule->values[i].text, node->text) == 0) {
            return read_fail(r, node, "\"%s\" stands under %s already", node->text,
                             meanings[rule->values[i].meaning].key);
        }
    }
    rule->values[rule->count++] = (struct value){slice_dup(slice_of(node->text)), meaning};
    return true;
}

static bool read_values(const struct dialect_reader *r, const struct yaml_node *map,
                        enum meaning meaning, struct callback_rule *rule)
{
    const struct yaml_node *node = yaml_get(map, meanings[meaning].key);
    if (node == NULL) {
        return true;
    }
    if (node->kind != YAML_LIST) {
        return read_value(r, node, meaning, rule);
    }
    for (size_t i = 0; i < node->count; i++) {
        if (!read_value(r, node->items[i], meaning, rule)) {
            return false;
        }
    }
    return true;
}

static bool has_meaning(const struct callback_rule *rule, enum meaning a, enum meaning b)
{
    for (size_t i = 0; i < rule->count; i++) {
        if (rule->values[i].meaning == a || rule->values[i].meaning == b) {
            return true;
        }
    }
    return false;
}

static bool read_all(const struct dialect_reader *r, const struct yaml_node *node,
                     struct callback_rule *rule)
{
    if (!read_keys(r, node, "callback") || !read_name(r, node, "request_id", &rule->request_id) ||
        !read_name(r, node, "status", &rule->status)) {
        return false;
    }
    for (int i = 0; i < MEANINGS; i++) {
        if (!read_values(r, node, (enum meaning)i, rule)) {
            return false;
        }
    }
    if (rule->request_id == NULL) {
        return read_fail(r, node, "callback needs request_id: the parameter that says whose it is");
    }
    if (rule->status == NULL) {
        return read_fail(r, node, "callback needs status: the parameter that says what happened");
    }
    return has_meaning(rule, MEANS_DELIVERED, MEANS_FAILED) ||
           has_meaning(rule, MEANS_VERIFIED, MEANS_WRONG) ||
           read_fail(r, node, "callback needs values under delivered, failed, verified or wrong");
}

struct callback_rule *callback_rule_read(const struct dialect_reader *r,
                                         const struct yaml_node *node)
{
    struct callback_rule *rule = xcalloc(1, sizeof(*rule));
    if (!read_all(r, node, rule)) {
        callback_rule_destroy(&rule);
    }
    return rule;
}

void callback_rule_destroy(struct callback_rule **rule)
{
    struct callback_rule *old = *rule;
    *rule = NULL;
    if (old == NULL) {
        return;
    }
    free(old->request_id);
    free(old->status);
    for (size_t i = 0; i < old->count; i++) {
        free(old->values[i].text);
    }
    free(old);
}

bool callback_rule_tells_deliveries(const struct callback_rule *rule)
{
    return has_meaning(rule, MEANS_DELIVERED, MEANS_FAILED);
}

/* ---- applying -------------------------------------------------------------------------------- */

/* What is not mapped is news on the way: a provider may tell more than anybody wants to know. */
static enum meaning meaning_of(const struct callback_rule *rule, struct slice status)
{
    for (size_t i = 0; i < rule->count; i++) {
        if (slice_is(status, rule->values[i].text)) {
            return rule->values[i].meaning;
        }
    }
    return MEANS_PENDING;
}

bool callback_rule_apply(const struct callback_rule *rule, const struct params *params,
                         struct dialect_report *out, const char **why)
{
    struct slice status = params_get(params, rule->status);
    enum meaning meaning = meaning_of(rule, status);
    *out =
        (struct dialect_report){.event = meanings[meaning].event, .code = meanings[meaning].code};
    if (status.p == NULL) {
        *why = "the parameter with the status is missing";
        return false;
    }
    struct slice id = params_get(params, rule->request_id);
    if (id.n == 0) {
        *why = "the parameter with the request id is missing";
        return false;
    }
    if (id.n >= sizeof(out->request_id)) {
        *why = "the request id is too long";
        return false;
    }
    memcpy(out->request_id, id.p, id.n); /* the rest of it is 0 */
    return true;
}
