#include "common/base/buf.h"

#include <string.h>

void buf_init(struct buf *b, size_t bytes_max)
{
    *b = (struct buf){.max = bytes_max};
}

void buf_free(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->overflow = false;
    if (b->p != NULL) {
        b->p[0] = '\0';
    }
}

char *buf_room(struct buf *b, size_t n)
{
    if (b->overflow || n > b->max || b->n > b->max - n) {
        b->overflow = true;
        return NULL;
    }
    if (b->n + n + 1 > b->cap) {
        size_t cap = b->cap == 0 ? 64 : b->cap;
        while (cap < b->n + n + 1) {
            cap *= 2;
        }
        b->p = xrealloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->n;
}

void buf_added(struct buf *b, size_t n)
{
    must(b->n + n < b->cap);
    b->n += n;
    b->p[b->n] = '\0';
}

void buf_put(struct buf *b, const void *bytes, size_t n)
{
    char *to = buf_room(b, n);
    if (to == NULL) {
        return;
    }
    if (n > 0) {
        memcpy(to, bytes, n);
    }
    buf_added(b, n);
}

void buf_putc(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_puts(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_put_slice(struct buf *b, struct slice s)
{
    buf_put(b, s.p, s.n);
}

/* Formats into the room there is; what does not fit is formatted again into the room it needs. */
void buf_printf(struct buf *b, const char *fmt, ...)
{
    size_t room = b->overflow ? 0 : b->cap - b->n;
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(room > 0 ? b->p + b->n : NULL, room, fmt, args);
    va_end(args);
    must(n >= 0);
    char *to = buf_room(b, (size_t)n);
    if (to != NULL) {
        if ((size_t)n >= room) {
            (void)vsnprintf(to, (size_t)n + 1, fmt, again);
        }
        buf_added(b, (size_t)n);
    } else if (room > 0) {
        b->p[b->n] = '\0';
    }
    va_end(again);
}

char *buf_take(struct buf *b)
{
    char *bytes = b->p != NULL ? b->p : xcalloc(1, 1);
    b->p = NULL;
    buf_init(b, b->max);
    return bytes;
}
