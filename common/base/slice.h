/*
 * slice.h: a borrowed run of bytes. It owns nothing and need not end in NUL. Floor 0.
 */
#ifndef OTPQ_BASE_SLICE_H
#define OTPQ_BASE_SLICE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/base/check.h"

struct slice {
    const char *p; /* first byte; may be NULL only when n is 0 */
    size_t n;      /* bytes */
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
/* for printf("%.*s", SLICE_ARG(s)) */
#define SLICE_ARG(s) ((int)(s).n), ((s).p ? (s).p : "")

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline struct slice slice_make(const void *p, size_t n)
{
    return (struct slice){(const char *)p, n};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_eq(a, slice_of(text));
}

/* A NUL-terminated copy that the caller frees. */
static inline char *slice_dup(struct slice s)
{
    char *copy = (char *)xmalloc(s.n + 1);
    if (s.n > 0) {
        memcpy(copy, s.p, s.n);
    }
    copy[s.n] = '\0';
    return copy;
}

/* FNV-1a over the bytes: for hash tables that hold our own keys. */
static inline uint64_t slice_hash(struct slice s)
{
    uint64_t h = 1469598103934665603ULL;
    for (size_t i = 0; i < s.n; i++) {
        h = (h ^ (uint8_t)s.p[i]) * 1099511628211ULL;
    }
    return h ^ (h >> 32);
}

/* Decimal digits only, whole slice, no sign; false when empty, not a number, or over max. */
MUST_CHECK bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out);

#endif
