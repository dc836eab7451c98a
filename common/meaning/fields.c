#include "common/meaning/fields.h"

/* 1 for the bytes that an id may be made of. */
static const uint8_t id_bytes[256] = {
    ['-'] = 1,         ['.'] = 1, ['0' ... '9'] = 1, [':'] = 1,
    ['A' ... 'Z'] = 1, ['_'] = 1, ['a' ... 'z'] = 1,
};

bool fields_id_alphabet(struct slice s)
{
    uint8_t ok = 1;
    for (size_t i = 0; i < s.n; i++) {
        ok &= id_bytes[(uint8_t)s.p[i]];
    }
    return ok != 0;
}

/* memcmp of a length unknown to the compiler is a call; keys are short and this runs for each. */
static bool same(const char *a, const char *b, size_t n)
{
    uint64_t x, y;
    if (n >= 8) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
        return x == y && (n == 8 || memcmp(a + 8, b + 8, n - 8) == 0);
    }
    if (n >= 4) {
        uint32_t head[2], tail[2];
        memcpy(&head[0], a, 4);
        memcpy(&head[1], b, 4);
        memcpy(&tail[0], a + n - 4, 4);
        memcpy(&tail[1], b + n - 4, 4);
        return head[0] == head[1] && tail[0] == tail[1];
    }
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i]) {
            return false;
        }
    }
    return true;
}

/* The row of a key. Writers keep the table's order, so the row after the last one is looked at
 * first and usually is the one. */
static const struct field *find_row(const struct fields *t, uint32_t *next, struct slice key)
{
    for (uint32_t i = 0, at = *next; i < t->count; i++, at++) {
        at = at >= t->count ? 0 : at;
        const struct field *f = &t->rows[at];
        if (f->name_bytes == key.n && same(f->name, key.p, key.n)) {
            *next = at + 1;
            return f;
        }
    }
    return NULL;
}

static bool read_text(struct pack *p, const struct field *f, void *member)
{
    struct slice s;
    if (!pack_read_str(p, &s) || s.n < f->min || s.n > f->max ||
        (f->kind == FIELD_ID && !fields_id_alphabet(s)) ||
        (f->kind == FIELD_TEXT && s.n > 0 && memchr(s.p, '\0', s.n) != NULL) ||
        (f->text_ok != NULL && s.n > 0 && !f->text_ok(s))) {
        return false;
    }
    *(struct slice *)member = s;
    return true;
}

static bool read_number(struct pack *p, const struct field *f, void *member)
{
    uint64_t value;
    struct slice digits;
    if (f->kind == FIELD_DIGITS && pack_peek(p) != PACK_UINT && pack_peek(p) != PACK_INT) {
        if (!pack_read_str(p, &digits) || !slice_to_u64(digits, f->max, &value)) {
            return false;
        }
    } else if (!pack_read_uint(p, &value)) {
        return false;
    }
    if (value < f->min || value > f->max) {
        return false;
    }
    switch (f->kind) {
    case FIELD_U8:
        *(uint8_t *)member = (uint8_t)value;
        break;
    case FIELD_U32:
        *(uint32_t *)member = (uint32_t)value;
        break;
    default: /* FIELD_I64: max is within int64_t */
        *(uint64_t *)member = value;
        break;
    }
    return true;
}

static bool read_word(struct pack *p, const struct field *f, void *member)
{
    struct slice word;
    if (!pack_read_str(p, &word)) {
        return false;
    }
    int value = f->of_word(word);
    if (value < 0) {
        return false;
    }
    memcpy(member, &value, sizeof(value));
    return true;
}

static bool read_member(struct pack *p, const struct field *f, unsigned levels, void *member)
{
    switch ((enum field_kind)f->kind) {
    case FIELD_TEXT:
    case FIELD_ID:
    case FIELD_BYTES:
        return read_text(p, f, member);
    case FIELD_RAW:
        return pack_peek(p) == PACK_MAP && pack_skip_levels(p, levels, member);
    case FIELD_BOOL:
        return pack_read_bool(p, member);
    case FIELD_WORD:
        return read_word(p, f, member);
    default:
        return read_number(p, f, member);
    }
}

/* One value. A read that fails may have moved or not: the value is stepped over as a whole, which
 * tells the broken rule (the walk goes on) from bytes that are no msgpack (it cannot). */
static enum fields_end read_value(struct pack *p, const struct field *f, unsigned levels, void *out)
{
    const uint8_t *begin = p->at;
    struct slice whole;
    if (f != NULL && read_member(p, f, levels, (char *)out + f->offset)) {
        return FIELDS_OK;
    }
    p->at = begin;
    p->error = NULL;
    if (!pack_skip_levels(p, levels, &whole)) {
        return FIELDS_BAD;
    }
    return f == NULL ? FIELDS_OK : FIELDS_BROKEN;
}

static const char *missing(const struct fields *t, uint32_t seen)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if ((t->rows[i].flags & FIELD_NEEDED) != 0 && (seen & 1U << i) == 0) {
            return t->rows[i].rule;
        }
    }
    return NULL;
}

/* One pair. The first rule broken is the one that is told. */
static enum fields_end read_pair(struct pack *p, const struct fields *t, unsigned levels, void *out,
                                 uint32_t *next, uint32_t *seen, const char **rule)
{
    struct slice key;
    const struct field *f = NULL;
    if (pack_read_str(p, &key)) {
        f = find_row(t, next, key);
    } else {
        p->error = NULL;
        if (!pack_skip_levels(p, levels, &key)) {
            return FIELDS_BAD;
        }
        *rule = *rule == NULL ? "keys: must be strings" : *rule;
    }
    if (f != NULL) {
        uint32_t bit = 1U << (f - t->rows);
        f = (*seen & bit) != 0 ? NULL : f;
        *seen |= bit;
    }
    enum fields_end end = read_value(p, f, levels, out);
    if (end == FIELDS_BROKEN && *rule == NULL) {
        *rule = f->rule;
    }
    return end;
}

enum fields_end fields_read(struct pack *p, const struct fields *t, unsigned levels, void *out,
                            const char **rule)
{
    uint32_t pairs;
    uint32_t next = 0;
    uint32_t seen = 0;
    must(t->count <= FIELDS_MAX);
    *rule = NULL;
    if (!pack_read_map(p, &pairs)) {
        return FIELDS_BAD;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        if (read_pair(p, t, levels, out, &next, &seen, rule) == FIELDS_BAD) {
            return FIELDS_BAD;
        }
    }
    if (*rule == NULL) {
        *rule = missing(t, seen);
    }
    return *rule == NULL ? FIELDS_OK : FIELDS_BROKEN;
}

static bool is_slice(const struct field *f)
{
    return f->kind <= FIELD_RAW;
}

/* The member as what goes on the wire: a slice or a number. False: absent. */
static bool member_value(const struct field *f, const void *from, struct slice *s, uint64_t *n)
{
    const void *member = (const char *)from + f->offset;
    int word;
    switch ((enum field_kind)f->kind) {
    case FIELD_TEXT:
    case FIELD_ID:
    case FIELD_BYTES:
    case FIELD_RAW:
        *s = *(const struct slice *)member;
        return s->n > 0;
    case FIELD_WORD:
        memcpy(&word, member, sizeof(word));
        *s = slice_of(f->word_of(word));
        return s->p != NULL;
    case FIELD_U8:
        *n = *(const uint8_t *)member;
        break;
    case FIELD_U32:
        *n = *(const uint32_t *)member;
        break;
    case FIELD_BOOL:
        *n = *(const bool *)member;
        break;
    case FIELD_I64:
        *n = *(const uint64_t *)member;
        return (int64_t)*n >= 0;
    default:
        *n = *(const uint64_t *)member;
        break;
    }
    return *n > 0 || ((f->flags & FIELD_SKIP_ZERO) == 0 && f->kind != FIELD_DIGITS);
}

static uint8_t *store_field(uint8_t *to, const struct field *f, struct slice s, uint64_t n)
{
    to = pack_store_str_head(to, f->name_bytes);
    memcpy(to, f->name, f->name_bytes);
    to += f->name_bytes;
    if (f->kind == FIELD_BOOL) {
        *to = n != 0 ? 0xc3 : 0xc2;
        return to + 1;
    }
    if (!is_slice(f) && f->kind != FIELD_WORD) {
        return pack_store_uint(to, n);
    }
    if (f->kind != FIELD_RAW) {
        to = pack_store_str_head(to, s.n);
    }
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    return to + s.n;
}

void fields_put(struct buf *b, const struct fields *t, const void *from)
{
    enum { NAME_AND_NUMBER_BYTES = 48 };
    size_t bound = 3 + (size_t)t->count * NAME_AND_NUMBER_BYTES;
    for (uint32_t i = 0; i < t->count; i++) {
        if (is_slice(&t->rows[i])) {
            bound += ((const struct slice *)((const char *)from + t->rows[i].offset))->n;
        }
    }
    char *room = buf_room(b, bound);
    if (room == NULL) {
        return;
    }
    bool wide = t->count > 15; /* map 16 */
    uint8_t *to = (uint8_t *)room + (wide ? 3 : 1);
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        struct slice s = {0};
        uint64_t n = 0;
        if (member_value(&t->rows[i], from, &s, &n)) {
            to = store_field(to, &t->rows[i], s, n);
            pairs++;
        }
    }
    room[0] = (char)(wide ? 0xde : 0x80 | pairs);
    if (wide) {
        room[1] = 0;
        room[2] = (char)pairs;
    }
    buf_added(b, (size_t)((char *)to - room));
}
