/*
 * buf.h: a growing byte buffer that is born with a ceiling.
 *
 * Going over the ceiling sets `overflow` and drops what does not fit: the writer goes on, the owner
 * asks once at the end (buf_ok). Floor 0.
 */
#ifndef OTPQ_BASE_BUF_H
#define OTPQ_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/check.h"
#include "common/base/slice.h"

struct buf {
    char *p;       /* owned bytes, always NUL-terminated once something was written */
    size_t n;      /* bytes used */
    size_t cap;    /* bytes allocated */
    size_t max;    /* ceiling for n */
    bool overflow; /* something did not fit; what is in the buffer is not to be used */
};

void buf_init(struct buf *b, size_t bytes_max);
/* Frees the bytes; the buffer may be used again with the same ceiling. */
void buf_free(struct buf *b);
/* Empties it and keeps the allocation. */
void buf_clear(struct buf *b);
void buf_put(struct buf *b, const void *bytes, size_t n);
void buf_putc(struct buf *b, char c);
void buf_puts(struct buf *b, const char *text);
void buf_put_slice(struct buf *b, struct slice s);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for n more bytes, to be written by the caller and counted with buf_added; NULL on overflow.
 */
MUST_CHECK char *buf_room(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
MUST_CHECK static inline bool buf_ok(const struct buf *b)
{
    return !b->overflow;
}
static inline struct slice buf_slice(const struct buf *b)
{
    return (struct slice){b->p, b->n};
}
/* NUL-terminated view, "" when empty. Valid until the next write. */
static inline const char *buf_text(const struct buf *b)
{
    return b->p ? b->p : "";
}
/* Gives the bytes away (NUL-terminated, caller frees); the buffer is empty afterwards. */
MUST_CHECK char *buf_take(struct buf *b);

#endif
