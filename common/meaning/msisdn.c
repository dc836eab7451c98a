#include "common/meaning/msisdn.h"

#include <stdio.h>
#include <string.h>

enum { TYPED_BYTES_MAX = 64 };

/* What was typed, with the ornaments gone. */
struct typed {
    char digits[TYPED_BYTES_MAX]; /* not NUL-terminated */
    size_t n;                     /* digits */
    bool plus;                    /* a "+" stood before the first digit */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool strip(struct slice s, struct typed *out, const char **why)
{
    *out = (struct typed){.n = 0};
    if (s.n > TYPED_BYTES_MAX) {
        *why = "is too long for a phone number";
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (is_digit(c)) {
            out->digits[out->n++] = c;
        } else if (c == '+' && out->n == 0 && !out->plus) {
            out->plus = true;
        } else if (c == '\0' || strchr(" .-()[]", c) == NULL) {
            *why = "has a character that is no part of a phone number";
            return false;
        }
    }
    return true;
}

/* Digits of the international number without prefix; prefix is what goes in front of them. */
static bool internationalise(const struct typed *t, const char *country_code, struct slice *prefix,
                             struct slice *rest, const char **why)
{
    *prefix = slice_of("");
    *rest = slice_make(t->digits, t->n);
    if (!t->plus && t->n >= 2 && memcmp(t->digits, "00", 2) == 0) {
        *rest = slice_make(t->digits + 2, t->n - 2);
    } else if (!t->plus && t->n >= 1 && t->digits[0] == '0') {
        if (country_code == NULL || country_code[0] == '\0') {
            *why = "is a national number; give it with its country code";
            return false;
        }
        *prefix = slice_of(country_code);
        *rest = slice_make(t->digits + 1, t->n - 1);
        return true;
    }
    if (rest->n > 0 && rest->p[0] == '0') {
        *why = "begins with 0 where a country code should stand";
        return false;
    }
    return true;
}

bool msisdn_parse(struct slice typed, const char *country_code, struct msisdn *out,
                  const char **why)
{
    struct typed t;
    struct slice prefix;
    struct slice rest;
    if (!strip(typed, &t, why) || !internationalise(&t, country_code, &prefix, &rest, why)) {
        return false;
    }
    size_t n = prefix.n + rest.n;
    if (n < MSISDN_DIGITS_MIN || n > MSISDN_DIGITS_MAX) {
        *why = "must have 7 to 15 digits with its country code";
        return false;
    }
    memcpy(out->digits, prefix.p, prefix.n);
    memcpy(out->digits + prefix.n, rest.p, rest.n);
    out->digits[n] = '\0';
    return true;
}

struct msisdn_masked msisdn_mask(struct slice digits)
{
    struct msisdn_masked m = {.text = ""};
    size_t n = digits.n < MSISDN_DIGITS_MAX ? digits.n : MSISDN_DIGITS_MAX;
    memset(m.text, '*', n);
    if (n >= MSISDN_DIGITS_MIN) {
        memcpy(m.text, digits.p, 3);
        memcpy(m.text + n - 3, digits.p + digits.n - 3, 3);
    }
    return m;
}

struct slice msisdn_national(struct slice digits, const char *country_code)
{
    struct slice prefix = slice_of(country_code);
    if (prefix.n < digits.n && slice_eq(slice_make(digits.p, prefix.n), prefix)) {
        return slice_make(digits.p + prefix.n, digits.n - prefix.n);
    }
    return digits;
}

struct msisdn_tag msisdn_tag(struct slice digits)
{
    struct msisdn_tag tag;
    (void)snprintf(tag.text, sizeof(tag.text), "%02x", (unsigned)(slice_hash(digits) & 0xff));
    return tag;
}
