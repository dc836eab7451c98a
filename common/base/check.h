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

/* The exit code of a process that the system refused what nothing goes on without. */
enum { EXIT_SYSTEM = 71 };

/* Ends the process in order, here and now: one line, a code of its own, no core, nothing more of
 * what it held. stderr has no buffer: that needs no memory. Its supervisor starts it again, and
 * the claims and shelves in Redis make that as safe as any other death. */
__attribute__((noreturn)) static inline void end_without(const char *what)
{
    (void)fprintf(stderr, "level=fatal msg=\"%s\"\n", what);
    _Exit(EXIT_SYSTEM);
}

/* need() is must() for what the system gives: it may refuse, it cannot be gone on without, and that
 * is nobody's broken invariant. */
#define need(cond) ((cond) ? (void)0 : need_failed(#cond, __FILE__, __LINE__))

__attribute__((noreturn)) static inline void need_failed(const char *cond, const char *file,
                                                         int line)
{
    char what[400];
    (void)snprintf(what, sizeof(what), "the system refused what is needed: %.200s at %.80s:%d: %m",
                   cond, file, line);
    end_without(what);
}

__attribute__((noreturn)) static inline void out_of_memory(void)
{
    end_without("out of memory");
}

/* Allocation that never returns NULL. What is allocated is always bounded by a limit. */
static inline void *xmalloc(size_t n)
{
    void *p = malloc(n == 0 ? 1 : n);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

static inline void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

static inline void *xrealloc(void *old, size_t n)
{
    void *p = realloc(old, n == 0 ? 1 : n);
    if (p == NULL) {
        out_of_memory();
    }
    return p;
}

#endif
