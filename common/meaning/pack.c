#include "common/meaning/pack.h"

#include <endian.h>

/* First bytes 0xc0 to 0xdf; what is below and above carries its value in the byte itself. */
struct pack_form {
    uint8_t type;   /* enum pack_type */
    uint8_t number; /* bytes of the big-endian number behind the first byte: a value or a length */
    uint8_t fixed;  /* bytes that follow the number whatever it says */
};

static const struct pack_form forms[32] = {
    [0x00] = {PACK_NIL, 0, 0},  [0x01] = {PACK_BAD, 0, 0},   [0x02] = {PACK_BOOL, 0, 0},
    [0x03] = {PACK_BOOL, 0, 0}, [0x04] = {PACK_BIN, 1, 0},   [0x05] = {PACK_BIN, 2, 0},
    [0x06] = {PACK_BIN, 4, 0},  [0x07] = {PACK_EXT, 1, 1},   [0x08] = {PACK_EXT, 2, 1},
    [0x09] = {PACK_EXT, 4, 1},  [0x0a] = {PACK_FLOAT, 0, 4}, [0x0b] = {PACK_FLOAT, 0, 8},
    [0x0c] = {PACK_UINT, 1, 0}, [0x0d] = {PACK_UINT, 2, 0},  [0x0e] = {PACK_UINT, 4, 0},
    [0x0f] = {PACK_UINT, 8, 0}, [0x10] = {PACK_INT, 1, 0},   [0x11] = {PACK_INT, 2, 0},
    [0x12] = {PACK_INT, 4, 0},  [0x13] = {PACK_INT, 8, 0},   [0x14] = {PACK_EXT, 0, 2},
    [0x15] = {PACK_EXT, 0, 3},  [0x16] = {PACK_EXT, 0, 5},   [0x17] = {PACK_EXT, 0, 9},
    [0x18] = {PACK_EXT, 0, 17}, [0x19] = {PACK_STR, 1, 0},   [0x1a] = {PACK_STR, 2, 0},
    [0x1b] = {PACK_STR, 4, 0},  [0x1c] = {PACK_ARRAY, 2, 0}, [0x1d] = {PACK_ARRAY, 4, 0},
    [0x1e] = {PACK_MAP, 2, 0},  [0x1f] = {PACK_MAP, 4, 0},
};

/* One object's beginning: what it is and what follows. */
struct pack_head {
    enum pack_type type;
    uint64_t number;   /* value of an unsigned, raw bits of a signed, pairs, items, bytes */
    size_t head_bytes; /* first byte and number */
    size_t tail_bytes; /* bytes of the object behind the head, children not counted */
};

static bool fail(struct pack *p, const char *error)
{
    p->error = error;
    return false;
}

struct pack pack_over(struct slice bytes)
{
    const uint8_t *start = (const uint8_t *)bytes.p;
    const uint8_t *end = bytes.n > 0 ? start + bytes.n : start; /* NULL + 0 is not C */
    return (struct pack){.start = start, .at = start, .end = end};
}

enum pack_type pack_peek(const struct pack *p)
{
    if (p->at == p->end) {
        return PACK_END;
    }
    uint8_t c = *p->at;
    if (c < 0x80) {
        return PACK_UINT;
    }
    if (c < 0xc0) {
        return c < 0x90 ? PACK_MAP : c < 0xa0 ? PACK_ARRAY : PACK_STR;
    }
    return c < 0xe0 ? (enum pack_type)forms[c - 0xc0].type : PACK_INT;
}

static uint64_t big_endian(const uint8_t *at, size_t n)
{
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (n) {
    case 0:
        return 0;
    case 1:
        return at[0];
    case 2:
        memcpy(&two, at, 2);
        return be16toh(two);
    case 4:
        memcpy(&four, at, 4);
        return be32toh(four);
    default:
        memcpy(&eight, at, 8);
        return be64toh(eight);
    }
}

/* Sign-extends the number of a signed form of n bytes. */
static int64_t sign_extended(uint64_t number, size_t n)
{
    unsigned shift = 64 - 8 * (unsigned)n;
    return (int64_t)(number << shift) >> shift;
}

static void head_in_byte(uint8_t c, struct pack_head *h)
{
    h->head_bytes = 1;
    if (c < 0x80) {
        h->number = c;
    } else if (c < 0xa0) {
        h->number = c & 0x0f;
    } else if (c < 0xc0) {
        h->number = c & 0x1f;
        h->tail_bytes = h->number;
    } else {
        h->number = (uint64_t)sign_extended(c, 1);
    }
}

/* Reads the head of the next object and checks that its own bytes, children aside, are there. */
static bool read_head(struct pack *p, struct pack_head *h)
{
    *h = (struct pack_head){.type = pack_peek(p)};
    if (h->type == PACK_END) {
        return fail(p, "an object is missing");
    }
    if (h->type == PACK_BAD) {
        return fail(p, "byte 0xc1 is not msgpack");
    }
    size_t there = (size_t)(p->end - p->at);
    uint8_t c = *p->at;
    if (c < 0xc0 || c >= 0xe0) {
        head_in_byte(c, h);
    } else {
        const struct pack_form *form = &forms[c - 0xc0];
        h->head_bytes = 1 + (size_t)form->number;
        if (there < h->head_bytes) {
            return fail(p, "an object is cut short");
        }
        h->number = big_endian(p->at + 1, form->number);
        h->tail_bytes = form->fixed;
        if (h->type == PACK_STR || h->type == PACK_BIN || h->type == PACK_EXT) {
            h->tail_bytes += h->number;
        } else if (h->type == PACK_INT) {
            h->number = (uint64_t)sign_extended(h->number, form->number);
        }
    }
    if (there - h->head_bytes < h->tail_bytes) {
        return fail(p, "an object is cut short");
    }
    return true;
}

/* Maps and arrays: each child needs a byte, so a claim of more children than bytes is a lie. */
static bool read_children(struct pack *p, enum pack_type type, uint32_t *count, const char *wrong)
{
    struct pack_head h;
    if (!read_head(p, &h)) {
        return false;
    }
    if (h.type != type) {
        return fail(p, wrong);
    }
    uint64_t children = type == PACK_MAP ? h.number * 2 : h.number;
    if (children > (uint64_t)(p->end - p->at) - h.head_bytes) {
        return fail(p, "more elements are claimed than bytes are left");
    }
    *count = (uint32_t)h.number;
    p->at += h.head_bytes;
    return true;
}

bool pack_read_map(struct pack *p, uint32_t *pairs)
{
    return read_children(p, PACK_MAP, pairs, "a map is needed here");
}

bool pack_read_array(struct pack *p, uint32_t *items)
{
    return read_children(p, PACK_ARRAY, items, "an array is needed here");
}

bool pack_read_str_any(struct pack *p, struct slice *out)
{
    struct pack_head h;
    if (!read_head(p, &h)) {
        return false;
    }
    if (h.type != PACK_STR && h.type != PACK_BIN) {
        return fail(p, "a string is needed here");
    }
    *out = slice_make(p->at + h.head_bytes, h.tail_bytes);
    p->at += h.head_bytes + h.tail_bytes;
    return true;
}

bool pack_read_uint_any(struct pack *p, uint64_t *out)
{
    struct pack_head h;
    if (!read_head(p, &h)) {
        return false;
    }
    if (h.type != PACK_UINT && (h.type != PACK_INT || (int64_t)h.number < 0)) {
        return fail(p, "a non-negative integer is needed here");
    }
    *out = h.number;
    p->at += h.head_bytes;
    return true;
}

bool pack_read_int(struct pack *p, int64_t *out)
{
    struct pack_head h;
    if (!read_head(p, &h)) {
        return false;
    }
    if (h.type != PACK_INT && (h.type != PACK_UINT || h.number > INT64_MAX)) {
        return fail(p, "an integer is needed here");
    }
    *out = (int64_t)h.number;
    p->at += h.head_bytes;
    return true;
}

bool pack_read_bool(struct pack *p, bool *out)
{
    if (pack_peek(p) != PACK_BOOL) {
        return fail(p, "true or false is needed here");
    }
    *out = *p->at++ == 0xc3;
    return true;
}

/* Steps over the one-byte integers and short strings that bodies are made of, at most *left of
 * them; stops in front of anything else and in front of what is cut short. */
static void skip_short(struct pack *p, uint64_t *left)
{
    const uint8_t *at = p->at;
    uint64_t n = *left;
    for (; n > 0 && at < p->end; n--) {
        uint8_t c = *at;
        size_t bytes = 1;
        if (c >= 0x80 && c < 0xe0) {
            bytes += c & 0x1f;
            if ((c & 0xe0) != 0xa0 || (size_t)(p->end - at) < bytes) {
                break;
            }
        }
        at += bytes;
    }
    p->at = at;
    *left = n;
}

bool pack_skip_levels(struct pack *p, unsigned levels, struct slice *bytes)
{
    const uint8_t *begin = p->at;
    uint64_t left[PACK_DEPTH_MAX + 1] = {1}; /* objects still to come, level by level */
    unsigned level = 0;
    must(levels <= PACK_DEPTH_MAX);
    for (;;) {
        skip_short(p, &left[level]);
        while (left[level] == 0) {
            if (level == 0) {
                *bytes = slice_make(begin, (size_t)(p->at - begin));
                return true;
            }
            level--;
            skip_short(p, &left[level]);
        }
        left[level]--;
        struct pack_head h;
        if (!read_head(p, &h)) {
            return false;
        }
        if (h.type == PACK_MAP || h.type == PACK_ARRAY) {
            if (level == levels) {
                return fail(p, "nested deeper than 8");
            }
            left[++level] = h.type == PACK_MAP ? h.number * 2 : h.number;
        }
        p->at += h.head_bytes + h.tail_bytes;
    }
}

bool pack_skip(struct pack *p, struct slice *bytes)
{
    return pack_skip_levels(p, PACK_DEPTH_MAX, bytes);
}

/* The first byte and then `n` bytes of value, big-endian. */
static uint8_t *store(uint8_t *to, unsigned first, uint64_t value, unsigned n)
{
    *to++ = (uint8_t)first;
    while (n-- > 0) {
        *to++ = (uint8_t)(value >> (8 * n));
    }
    return to;
}

uint8_t *pack_store_str_head(uint8_t *to, size_t n)
{
    if (n < 32) {
        *to = (uint8_t)(0xa0 | n);
        return to + 1;
    }
    must(n <= UINT32_MAX);
    if (n < 256) {
        return store(to, 0xd9, n, 1);
    }
    return n < 65536 ? store(to, 0xda, n, 2) : store(to, 0xdb, n, 4);
}

uint8_t *pack_store_uint(uint8_t *to, uint64_t value)
{
    if (value < 128) {
        *to = (uint8_t)value;
        return to + 1;
    }
    if (value < 65536) {
        return value < 256 ? store(to, 0xcc, value, 1) : store(to, 0xcd, value, 2);
    }
    return value <= UINT32_MAX ? store(to, 0xce, value, 4) : store(to, 0xcf, value, 8);
}

static uint8_t *store_int(uint8_t *to, int64_t value)
{
    if (value >= 0) {
        return pack_store_uint(to, (uint64_t)value);
    }
    if (value >= -32) {
        *to = (uint8_t)value;
        return to + 1;
    }
    uint64_t bits = (uint64_t)value;
    if (value >= INT16_MIN) {
        return value >= INT8_MIN ? store(to, 0xd0, bits, 1) : store(to, 0xd1, bits, 2);
    }
    return value >= INT32_MIN ? store(to, 0xd2, bits, 4) : store(to, 0xd3, bits, 8);
}

static void put_bytes(struct buf *b, const uint8_t *from, const uint8_t *to)
{
    buf_put(b, from, (size_t)(to - from));
}

void pack_put_map(struct buf *b, uint32_t pairs)
{
    uint8_t at[5];
    uint8_t *to = pairs < 16      ? store(at, 0x80 | pairs, 0, 0)
                  : pairs < 65536 ? store(at, 0xde, pairs, 2)
                                  : store(at, 0xdf, pairs, 4);
    put_bytes(b, at, to);
}

void pack_put_array(struct buf *b, uint32_t items)
{
    uint8_t at[5];
    uint8_t *to = items < 16      ? store(at, 0x90 | items, 0, 0)
                  : items < 65536 ? store(at, 0xdc, items, 2)
                                  : store(at, 0xdd, items, 4);
    put_bytes(b, at, to);
}

void pack_put_str(struct buf *b, struct slice s)
{
    uint8_t at[5];
    put_bytes(b, at, pack_store_str_head(at, s.n));
    buf_put_slice(b, s);
}

void pack_put_uint(struct buf *b, uint64_t value)
{
    uint8_t at[9];
    put_bytes(b, at, pack_store_uint(at, value));
}

void pack_put_int(struct buf *b, int64_t value)
{
    uint8_t at[9];
    put_bytes(b, at, store_int(at, value));
}

void pack_put_bool(struct buf *b, bool value)
{
    buf_putc(b, (char)(value ? 0xc3 : 0xc2));
}

void pack_put_nil(struct buf *b)
{
    buf_putc(b, (char)0xc0);
}
