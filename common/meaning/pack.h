/*
 * pack.h: a msgpack cursor. Reads and writes the few shapes OTPQ speaks, without building trees
 * (a tree of claimed lengths is how five bytes reserve 8 GiB). Floor 1.
 *
 * Reading: every pack_read_* moves the cursor over one object and returns true, or leaves it where
 * the trouble is, sets error and returns false. Strings are borrowed from the input.
 */
#ifndef OTPQ_MEANING_PACK_H
#define OTPQ_MEANING_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

enum { PACK_DEPTH_MAX = 8 }; /* nested maps and arrays (job-protocol, limits) */

enum pack_type {
    PACK_NIL,
    PACK_BOOL,
    PACK_UINT,
    PACK_INT,
    PACK_FLOAT,
    PACK_STR,
    PACK_BIN,
    PACK_MAP,
    PACK_ARRAY,
    PACK_EXT,
    PACK_END /* no more bytes */,
    PACK_BAD
};

struct pack {
    const uint8_t *start; /* first byte of the input: offsets in errors count from here */
    const uint8_t *at;    /* next byte to read */
    const uint8_t *end;   /* one past the last */
    const char *error;    /* static text of what was wrong, or NULL */
};

struct pack pack_over(struct slice bytes);
static inline size_t pack_offset(const struct pack *p)
{
    return (size_t)(p->at - p->start);
}
/* By its first byte alone: the rest of the object may still be missing. Signed widths are PACK_INT
 * even when the value is positive. */
enum pack_type pack_peek(const struct pack *p);
MUST_CHECK bool pack_read_map(struct pack *p, uint32_t *pairs);
MUST_CHECK bool pack_read_array(struct pack *p, uint32_t *items);
MUST_CHECK bool pack_read_str_any(struct pack *p, struct slice *out);
MUST_CHECK bool pack_read_uint_any(struct pack *p, uint64_t *out);
MUST_CHECK bool pack_read_int(struct pack *p, int64_t *out);
MUST_CHECK bool pack_read_bool(struct pack *p, bool *out);
/* Steps over one whole object, nesting at most PACK_DEPTH_MAX, and gives its bytes. */
MUST_CHECK bool pack_skip(struct pack *p, struct slice *bytes);
/* The same for an object that already stands inside others: `levels` more may nest. */
MUST_CHECK bool pack_skip_levels(struct pack *p, unsigned levels, struct slice *bytes);

/* str or bin. The short form is read here: keys and ids are nothing else, half a million times a
 * second. */
MUST_CHECK static inline bool pack_read_str(struct pack *p, struct slice *out)
{
    if (p->at < p->end && (*p->at & 0xe0) == 0xa0) {
        size_t n = *p->at & 0x1f;
        if ((size_t)(p->end - p->at) > n) {
            *out = slice_make(p->at + 1, n);
            p->at += n + 1;
            return true;
        }
    }
    return pack_read_str_any(p, out);
}

/* A non-negative integer of any width. */
MUST_CHECK static inline bool pack_read_uint(struct pack *p, uint64_t *out)
{
    if (p->at < p->end && *p->at < 0x80) {
        *out = *p->at++;
        return true;
    }
    return pack_read_uint_any(p, out);
}

/* Writing, in the shortest msgpack form. */
void pack_put_map(struct buf *b, uint32_t pairs);
void pack_put_array(struct buf *b, uint32_t items);
void pack_put_str(struct buf *b, struct slice s);
void pack_put_uint(struct buf *b, uint64_t value);
void pack_put_int(struct buf *b, int64_t value);
void pack_put_bool(struct buf *b, bool value);
void pack_put_nil(struct buf *b);

/* The heads of a string and of an unsigned integer, written where the caller has room (5 and 9
 * bytes at most); they return the next free place. */
uint8_t *pack_store_str_head(uint8_t *to, size_t n);
uint8_t *pack_store_uint(uint8_t *to, uint64_t value);

#endif
