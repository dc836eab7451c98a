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

enum pack_type { PACK_NIL, PACK_BOOL, PACK_UINT, PACK_INT, PACK_FLOAT, PACK_STR, PACK_BIN, PACK_MAP,
                 PACK_ARRAY, PACK_EXT, PACK_END /* no more bytes */, PACK_BAD };

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
enum pack_type pack_peek(const struct pack *p);
MUST_CHECK bool pack_read_map(struct pack *p, uint32_t *pairs);
MUST_CHECK bool pack_read_array(struct pack *p, uint32_t *items);
MUST_CHECK bool pack_read_str(struct pack *p, struct slice *out); /* str or bin */
MUST_CHECK bool pack_read_uint(struct pack *p, uint64_t *out);    /* non-negative int of any width */
MUST_CHECK bool pack_read_int(struct pack *p, int64_t *out);
MUST_CHECK bool pack_read_bool(struct pack *p, bool *out);
/* Steps over one whole object, nesting at most PACK_DEPTH_MAX, and gives its bytes. */
MUST_CHECK bool pack_skip(struct pack *p, struct slice *bytes);

/* Writing, in the shortest msgpack form. */
void pack_put_map(struct buf *b, uint32_t pairs);
void pack_put_array(struct buf *b, uint32_t items);
void pack_put_str(struct buf *b, struct slice s);
void pack_put_uint(struct buf *b, uint64_t value);
void pack_put_int(struct buf *b, int64_t value);
void pack_put_bool(struct buf *b, bool value);
void pack_put_nil(struct buf *b);

#endif
