/*
 * utf8.h: how many bytes the first character takes, by RFC 3629: no overlong forms, no surrogates,
 * nothing over U+10FFFF. Floor 0.
 */
#ifndef OTPQ_BASE_UTF8_H
#define OTPQ_BASE_UTF8_H

#include "common/base/slice.h"

/* 1 to 4, or 0 when the slice is empty or does not begin with a whole valid character. */
static inline size_t utf8_first(struct slice s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    if (s.n == 0) {
        return 0;
    }
    if (p[0] < 0x80) {
        return 1;
    }
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n) {
        return 0;
    }
    uint8_t low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    uint8_t high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

#endif
