#include "gateway/language.h"

#include <strings.h>

const struct language_row language_rows[LANGUAGES] = {
    [LANGUAGE_ZH] = {"zh", "ltr"},
    [LANGUAGE_EN] = {"en", "ltr"},
};

enum { WEIGHT_FULL = 1000, TAGS_MAX = 32 };

/* LANGUAGES when it is none of the rows. */
static enum language language_of(struct slice tag)
{
    for (int i = 0; i < LANGUAGES; i++) {
        size_t n = strlen(language_rows[i].tag);
        if (tag.n >= n && strncasecmp(tag.p, language_rows[i].tag, n) == 0 &&
            (tag.n == n || tag.p[n] == '-')) {
            return (enum language)i;
        }
    }
    return LANGUAGES;
}

static bool is_allowed(enum language l, const struct record_list *allowed)
{
    bool any = allowed == NULL || allowed->count == 0;
    for (uint32_t i = 0; !any && i < allowed->count; i++) {
        any = language_of(slice_of(allowed->at[i])) == l;
    }
    return any;
}

static struct slice trim(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s = slice_make(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }
    return s;
}

/* "q=0.8" as 800 (RFC 9110, 12.4.2); what is not a weight counts as none given. */
static int weight_of(struct slice s)
{
    s = trim(s);
    if (s.n < 3 || (s.p[0] != 'q' && s.p[0] != 'Q') || s.p[1] != '=') {
        return WEIGHT_FULL;
    }
    int weight = s.p[2] == '1' ? WEIGHT_FULL : 0;
    int unit = 100;
    for (size_t i = 4; i < s.n && unit > 0 && weight < WEIGHT_FULL; i++, unit /= 10) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            break;
        }
        weight += (s.p[i] - '0') * unit;
    }
    return weight;
}

/* Up to the mark, which is taken off; all of it when there is none. */
static struct slice cut(struct slice *rest, char mark)
{
    const char *end = memchr(rest->p, mark, rest->n);
    struct slice part = slice_make(rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n);
    size_t step = part.n + (end != NULL ? 1 : 0);
    *rest = slice_make(rest->p + step, rest->n - step);
    return part;
}

enum language language_pick(struct slice header, const struct record_list *allowed,
                            enum language fallback)
{
    enum language best = LANGUAGES;
    int best_weight = 0;
    for (int i = 0; i < TAGS_MAX && header.n > 0; i++) {
        struct slice item = cut(&header, ',');
        enum language l = item.n > 0 ? language_of(trim(cut(&item, ';'))) : LANGUAGES;
        int weight = item.n > 0 ? weight_of(item) : WEIGHT_FULL;
        if (l != LANGUAGES && weight > best_weight && is_allowed(l, allowed)) {
            best = l;
            best_weight = weight;
        }
    }
    for (uint32_t i = 0; best == LANGUAGES && allowed != NULL && i < allowed->count; i++) {
        best = language_of(slice_of(allowed->at[i]));
    }
    return best != LANGUAGES ? best : fallback;
}
