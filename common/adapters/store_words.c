#include "common/adapters/store_words.h"

#include <string.h>

enum { DIGITS_MAX = 20 };

static size_t digits_of(size_t n)
{
    size_t digits = 1;
    for (; n >= 10; n /= 10) {
        digits++;
    }
    return digits;
}

/* "$5" and "*5" with their ends of line. */
static char *put_head(char *at, char kind, size_t n)
{
    char digits[DIGITS_MAX];
    size_t i = sizeof digits;
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    *at++ = kind;
    memcpy(at, digits + i, sizeof digits - i);
    at += sizeof digits - i;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

size_t words_bytes(size_t count, const struct slice *words)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += 1 + digits_of(words[i].n) + 2 + words[i].n + 2;
    }
    return bytes;
}

char *words_put_count(char *at, size_t count)
{
    return put_head(at, '*', count);
}

char *words_put(char *at, size_t count, const struct slice *words)
{
    for (size_t i = 0; i < count; i++) {
        at = put_head(at, '$', words[i].n);
        if (words[i].n > 0) {
            memcpy(at, words[i].p, words[i].n);
        }
        at += words[i].n;
        *at++ = '\r';
        *at++ = '\n';
    }
    return at;
}
