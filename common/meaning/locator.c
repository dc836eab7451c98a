#include "common/meaning/locator.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <math.h>
#include <pcre2.h>

/* Enough for every sane expression on 64 KiB; a wicked one ends here instead of holding the loop.
 */
enum { MATCH_STEPS_MAX = 200000, MATCH_DEPTH_MAX = 2000, MATCH_HEAP_KIB_MAX = 1024 };

static const double whole_max = 9007199254740992.0; /* 2^53: above it doubles skip numbers */

/* ---- reading --------------------------------------------------------------------------------- */

static bool add_step(const struct dialect_reader *r, const struct yaml_node *node, size_t offset,
                     struct locator *out, struct locator_step step)
{
    if (out->step_count == LOCATOR_STEPS_MAX) {
        free(step.key);
        return read_fail_inside(r, node, offset, "the path has too many steps");
    }
    out->steps[out->step_count++] = step;
    return true;
}

/* "[12]" at the offset; moves it behind the bracket. */
static bool read_index(const struct dialect_reader *r, const struct yaml_node *node, size_t *offset,
                       struct locator *out)
{
    const char *open = node->text + *offset;
    size_t digits = strcspn(open + 1, "]");
    uint64_t index = 0;
    if (open[1 + digits] == '\0' ||
        !slice_to_u64(slice_make(open + 1, digits), LOCATOR_INDEX_MAX, &index)) {
        return read_fail_inside(r, node, *offset, "an index is written [0] to [9999]");
    }
    if (!add_step(r, node, *offset, out, (struct locator_step){NULL, (size_t)index})) {
        return false;
    }
    *offset += digits + 2;
    return true;
}

static bool read_member(const struct dialect_reader *r, const struct yaml_node *node,
                        size_t *offset, struct locator *out)
{
    const char *key = node->text + *offset;
    size_t n = strcspn(key, ".[]");
    if (n == 0) {
        return read_fail_inside(r, node, *offset, "a path is keys and indexes: data.items[0].id");
    }
    char *copy = slice_dup(slice_make(key, n));
    if (!add_step(r, node, *offset, out, (struct locator_step){copy, 0})) {
        return false;
    }
    *offset += n;
    return true;
}

static bool read_path(const struct dialect_reader *r, const struct yaml_node *node,
                      struct locator *out)
{
    out->kind = LOCATOR_JSON;
    size_t offset = 0;
    bool member = node->text[0] != '[';
    do {
        if (!(member ? read_member(r, node, &offset, out) : read_index(r, node, &offset, out))) {
            return false;
        }
        member = node->text[offset] == '.';
        offset += member;
    } while (member || node->text[offset] == '[');
    return node->text[offset] == '\0' ||
           read_fail_inside(r, node, offset, "a path is keys and indexes: data.items[0].id");
}

static bool read_regex(const struct dialect_reader *r, const struct yaml_node *node,
                       bool need_group, struct locator *out)
{
    out->kind = LOCATOR_REGEX;
    if (strlen(node->text) > LOCATOR_REGEX_BYTES_MAX) {
        return read_fail(r, node, "regex is longer than %d bytes", LOCATOR_REGEX_BYTES_MAX);
    }
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *regex = pcre2_compile((PCRE2_SPTR)node->text, PCRE2_ZERO_TERMINATED,
                                      PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL);
    if (regex == NULL) {
        PCRE2_UCHAR why[160] = "bad regex";
        (void)pcre2_get_error_message(code, why, sizeof(why));
        return read_fail_inside(r, node, offset, (const char *)why);
    }
    out->regex = regex;
    uint32_t groups = 0;
    (void)pcre2_pattern_info(regex, PCRE2_INFO_CAPTURECOUNT, &groups);
    out->has_group = groups == 1;
    if (groups > 1 || (need_group && groups != 1)) {
        return read_fail(r, node, "regex must have one group (…) around the value; it has %u",
                         groups);
    }
    return true;
}

bool locator_read(const struct dialect_reader *r, const struct yaml_node *map, bool need_group,
                  struct locator *out)
{
    const struct yaml_node *json = yaml_get(map, "json");
    const struct yaml_node *regex = yaml_get(map, "regex");
    if (json != NULL && regex != NULL) {
        return read_fail(r, regex, "json and regex exclude each other");
    }
    if (json != NULL) {
        return read_is_text(r, json, "json") && read_path(r, json, out);
    }
    return regex == NULL ||
           (read_is_text(r, regex, "regex") && read_regex(r, regex, need_group, out));
}

void locator_free(struct locator *l)
{
    for (size_t i = 0; i < l->step_count; i++) {
        free(l->steps[i].key);
    }
    pcre2_code_free(l->regex);
    *l = (struct locator){.kind = LOCATOR_NONE};
}

/* ---- finding --------------------------------------------------------------------------------- */

static bool put_real(double value, struct buf *out)
{
    if (fabs(value) >= whole_max) {
        return false; /* digits were lost: whatever it named, it is not this */
    }
    buf_printf(out, value == floor(value) ? "%.0f" : "%.15g", value);
    return true;
}

static bool put_scalar(const json_t *value, struct buf *out)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        buf_put(out, json_string_value(value), json_string_length(value));
        return true;
    case JSON_INTEGER:
        buf_printf(out, "%lld", (long long)json_integer_value(value));
        return true;
    case JSON_REAL:
        return put_real(json_real_value(value), out);
    case JSON_TRUE:
        buf_puts(out, "true");
        return true;
    case JSON_FALSE:
        buf_puts(out, "false");
        return true;
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY:
        break;
    }
    return false;
}

static bool find_json(const struct locator *l, const json_t *doc, struct buf *out)
{
    for (size_t i = 0; doc != NULL && i < l->step_count; i++) {
        const struct locator_step *step = &l->steps[i];
        doc =
            step->key != NULL ? json_object_get(doc, step->key) : json_array_get(doc, step->index);
    }
    return doc != NULL && put_scalar(doc, out);
}

static bool find_regex(const struct locator *l, struct slice body, struct buf *out)
{
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(l->regex, NULL);
    must(limits != NULL && match != NULL);
    (void)pcre2_set_match_limit(limits, MATCH_STEPS_MAX);
    (void)pcre2_set_depth_limit(limits, MATCH_DEPTH_MAX);
    (void)pcre2_set_heap_limit(limits, MATCH_HEAP_KIB_MAX);
    const char *subject = body.p != NULL ? body.p : "";
    int found = pcre2_match(l->regex, (PCRE2_SPTR)subject, body.n, 0, 0, match, limits);
    size_t group = l->has_group ? 1 : 0;
    bool set = found > (int)group;
    if (set) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(match) + 2 * group;
        if (at[1] > at[0]) {
            buf_put(out, subject + at[0], at[1] - at[0]);
        }
    }
    pcre2_match_data_free(match);
    pcre2_match_context_free(limits);
    return set;
}

bool locator_find(const struct locator *l, const json_t *doc, struct slice body, struct buf *out)
{
    buf_clear(out);
    switch (l->kind) {
    case LOCATOR_JSON:
        return find_json(l, doc, out) && buf_ok(out);
    case LOCATOR_REGEX:
        return find_regex(l, body, out) && buf_ok(out);
    case LOCATOR_NONE:
        break;
    }
    return false;
}
