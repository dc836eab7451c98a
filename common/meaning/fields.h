/*
 * fields.h: msgpack maps with known keys, as tables. One row a key, read by the decoder, the
 * encoder and the texts of errors, so that a key and its rule stand in one place. Floor 1.
 *
 * Unknown keys are stepped over, of a key given twice the first counts.
 */
#ifndef OTPQ_MEANING_FIELDS_H
#define OTPQ_MEANING_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/meaning/pack.h"

/* What a member is. "absent" is the value that the encoder leaves out of the map. */
enum field_kind {
    FIELD_TEXT,   /* struct slice, min..max bytes, no NUL byte; absent: empty */
    FIELD_ID,     /* struct slice of [A-Za-z0-9_.:-], min..max bytes; absent: empty */
    FIELD_BYTES,  /* struct slice, anything of min..max bytes; absent: empty */
    FIELD_RAW,    /* struct slice, the msgpack bytes of one map; absent: empty */
    FIELD_U8,     /* uint8_t, min..max; never absent */
    FIELD_U32,    /* uint32_t, min..max; never absent */
    FIELD_U64,    /* uint64_t, min..max; never absent */
    FIELD_I64,    /* int64_t, 0..max; absent: negative */
    FIELD_DIGITS, /* uint64_t, min..max, taken as digits too; absent: 0 */
    FIELD_BOOL,   /* bool; never absent, unless FIELD_SKIP_ZERO */
    FIELD_WORD    /* an enum, on the wire as its word; absent: a word of NULL */
};

enum { FIELD_NEEDED = 1, FIELD_SKIP_ZERO = 2 /* 0 or false is absent */ };

struct field {
    const char *name; /* the key */
    uint8_t name_bytes;
    uint8_t kind; /* enum field_kind */
    uint8_t flags;
    uint16_t offset; /* of the member */
    uint64_t min, max;
    const char *rule; /* said when it is broken: "pri: a whole number from 0 to 9" */
    bool (*text_ok)(struct slice text); /* FIELD_TEXT: a further rule for a text, or NULL */
    int (*of_word)(struct slice word);  /* FIELD_WORD: -1 when there is no such word */
    const char *(*word_of)(int value);  /* FIELD_WORD */
};

/* The first columns of a row. */
#define FIELD(type, member, key, kind_, flags_)                                                    \
    .name = (key), .name_bytes = sizeof(key) - 1, .kind = (kind_), .flags = (flags_),              \
    .offset = offsetof(type, member)

enum { FIELDS_MAX = 31 }; /* rows in one table */

struct fields {
    const struct field *rows;
    uint32_t count;
};
#define FIELDS(rows_) ((struct fields){(rows_), ARRAY_LEN(rows_)})

enum fields_end {
    FIELDS_OK,
    FIELDS_BROKEN, /* well-formed, but a rule is broken: *rule says which; the map is consumed */
    FIELDS_BAD     /* not msgpack, or not a map: p->error and the offset say what and where */
};

/* Reads one map into *out, whose members keep what they are when their key is not there. `levels`
 * is how deep the values may nest (PACK_DEPTH_MAX - 1 for a map that stands alone). */
MUST_CHECK enum fields_end fields_read(struct pack *p, const struct fields *t, unsigned levels,
                                       void *out, const char **rule);
/* Writes one map with every member that is not absent. */
void fields_put(struct buf *b, const struct fields *t, const void *from);

/* True when every byte is one of [A-Za-z0-9_.:-]. */
MUST_CHECK bool fields_id_alphabet(struct slice s);

#endif
