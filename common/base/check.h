/*
 * check.h: programmer errors crash, peer errors reply.
 *
 * must() stays on in release builds. It judges our own logic only: bytes from outside are never
 * asserted on, they get an answer. Floor 0, libc only.
 */
#ifndef OTPQ_BASE_CHECK_H
#define OTPQ_BASE_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Every function that can fail carries MUST_CHECK: the compiler refuses to forget the answer. */
#define MUST_CHECK              __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define UNUSED                  __attribute__((unused))
#define ARRAY_LEN(a)            (sizeof(a) / sizeof((a)[0]))

#define must(cond) ((cond) ? (void)0 : must_failed(#cond, __FILE__, __LINE__))

__attribute__((noreturn)) static inline void must_failed(const char *cond, const char *file,
                                                         int line)
{
    (void)fprintf(stderr, "level=fatal msg=\"broken invariant\" cond=\"%s\" at=%s:%d\n", cond, file,
                  line);
    abort();
}

/* Allocation that never returns NULL: a process without memory ends (its supervisor restarts it,
 * and the claims in Redis keep that safe). What is allocated is always bounded by a limit. */
static inline void *xmalloc(size_t n)
{
    void *p = malloc(n == 0 ? 1 : n);
    must(p != NULL);
    return p;
}

static inline void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    must(p != NULL);
    return p;
}

static inline void *xrealloc(void *old, size_t n)
{
    void *p = realloc(old, n == 0 ? 1 : n);
    must(p != NULL);
    return p;
}

#endif
