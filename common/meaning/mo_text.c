#include "common/meaning/mo_text.h"

#include <strings.h>

#define CODE "{code}"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9'; /* full-width digits are other characters, as in any phone */
}

static bool is_digit_at(struct slice s, size_t at)
{
    return at < s.n && is_digit(s.p[at]);
}

/* Where {code} stands at or after `from`, or s.n. */
static size_t find_code(struct slice s, size_t from)
{
    static const size_t n = sizeof(CODE) - 1;
    for (size_t i = from; i + n <= s.n; i++) {
        if (memcmp(s.p + i, CODE, n) == 0) {
            return i;
        }
    }
    return s.n;
}

bool mo_word_of(struct slice content, struct mo_word *out)
{
    size_t at = find_code(content, 0);
    size_t rest = at + sizeof(CODE) - 1;
    if (at == content.n || find_code(content, rest) != content.n) {
        return false;
    }
    size_t begin = at;
    size_t end = rest;
    while (begin > 0 && content.p[begin - 1] != ' ') {
        begin--;
    }
    while (end < content.n && content.p[end] != ' ') {
        end++;
    }
    out->before = slice_make(content.p + begin, at - begin);
    out->after = slice_make(content.p + rest, end - rest);
    return true;
}

bool mo_word_same(const struct mo_word *a, const struct mo_word *b)
{
    return slice_eq(a->before, b->before) && slice_eq(a->after, b->after);
}

/* Phones write the first letter of a text large and people type what they like, so another case is
 * taken too; ASCII only. */
static bool is_at(struct slice text, size_t at, struct slice part, bool *exact)
{
    if (part.n > text.n - at) {
        return false;
    }
    bool same = part.n == 0 || memcmp(text.p + at, part.p, part.n) == 0;
    *exact = *exact && same;
    return same || strncasecmp(text.p + at, part.p, part.n) == 0;
}

/* A word that begins or ends in digits must not be the middle of a longer number. */
static bool is_apart(struct slice text, size_t begin, size_t end)
{
    bool before = begin > 0 && is_digit(text.p[begin - 1]) && is_digit(text.p[begin]);
    bool after = is_digit_at(text, end) && is_digit(text.p[end - 1]);
    return !before && !after;
}

static bool find_at(const struct mo_word *w, struct slice text, size_t at, struct mo_found *out)
{
    bool before_exact = true;
    if (!is_at(text, at, w->before, &before_exact)) {
        return false;
    }
    size_t begin = at + w->before.n;
    size_t digits = 0;
    while (digits < MO_CODE_DIGITS_MAX && is_digit_at(text, begin + digits)) {
        digits++;
    }
    /* The longest first: what follows the code may begin with digits itself. */
    for (; digits >= MO_CODE_DIGITS_MIN; digits--) {
        bool exact = before_exact;
        if (is_at(text, begin + digits, w->after, &exact) &&
            is_apart(text, at, begin + digits + w->after.n)) {
            *out = (struct mo_found){.code = slice_make(text.p + begin, digits),
                                     .exact = exact,
                                     .word_bytes = w->before.n + w->after.n,
                                     .at = at};
            return true;
        }
    }
    return false;
}

bool mo_text_find(const struct mo_word *word, struct slice text, struct mo_found *out)
{
    struct mo_found one;
    bool found = false;
    text.n = text.n > MO_TEXT_BYTES_MAX ? MO_TEXT_BYTES_MAX : text.n;
    for (size_t at = 0; at < text.n && !(found && out->exact); at++) {
        if (find_at(word, text, at, &one) && (!found || one.exact)) {
            *out = one;
            found = true;
        }
    }
    return found;
}

int mo_found_compare(const struct mo_found *a, const struct mo_found *b)
{
    if (a->exact != b->exact) {
        return a->exact ? 1 : -1;
    }
    if (a->word_bytes != b->word_bytes) {
        return a->word_bytes > b->word_bytes ? 1 : -1;
    }
    if (a->at != b->at) {
        return a->at < b->at ? 1 : -1;
    }
    return 0;
}
