#include "broker/core/index.h"

enum { FIRST_CAP = 64, MOVE_AT_ONCE = 32 };

/* An entry of the old table that was moved or removed: probing goes on over it. */
#define GONE UINT32_MAX

void index_init(struct index *ix)
{
    *ix = (struct index){.cap = FIRST_CAP};
    ix->places = xcalloc(ix->cap, sizeof(*ix->places));
}

void index_free(struct index *ix)
{
    free(ix->places);
    free(ix->old);
    *ix = (struct index){0};
}

struct index_walk index_walk(const struct index *ix, uint32_t hash)
{
    return (struct index_walk){.ix = ix, .hash = hash, .at = hash & (ix->cap - 1)};
}

static uint32_t probe(const struct index_place *places, uint32_t cap, struct index_walk *w)
{
    uint32_t mask = cap - 1;
    while (places[w->at].ref != 0) {
        const struct index_place *p = &places[w->at];
        w->at = (w->at + 1) & mask;
        if (p->hash == w->hash && p->ref != GONE) {
            return p->ref;
        }
    }
    return 0;
}

uint32_t index_next(struct index_walk *w)
{
    if (!w->in_old) {
        uint32_t ref = probe(w->ix->places, w->ix->cap, w);
        if (ref != 0 || w->ix->old == NULL) {
            return ref;
        }
        w->in_old = true;
        w->at = w->hash & (w->ix->old_cap - 1);
    }
    return probe(w->ix->old, w->ix->old_cap, w);
}

static void put(struct index *ix, struct index_place p)
{
    uint32_t mask = ix->cap - 1;
    uint32_t at = p.hash & mask;
    while (ix->places[at].ref != 0) {
        at = (at + 1) & mask;
    }
    ix->places[at] = p;
}

static void move_some(struct index *ix, uint32_t limit)
{
    for (; ix->moved < ix->old_cap && limit > 0; ix->moved++, limit--) {
        struct index_place *p = &ix->old[ix->moved];
        if (p->ref != 0 && p->ref != GONE) {
            put(ix, *p);
            p->ref = GONE;
        }
    }
    if (ix->moved == ix->old_cap) {
        free(ix->old);
        ix->old = NULL;
    }
}

static void grow(struct index *ix)
{
    must(ix->cap < (1U << 31));
    if (ix->old != NULL) {
        move_some(ix, UINT32_MAX);
    }
    ix->old = ix->places;
    ix->old_cap = ix->cap;
    ix->moved = 0;
    ix->cap *= 2;
    ix->places = xcalloc(ix->cap, sizeof(*ix->places));
}

void index_add(struct index *ix, uint32_t hash, uint32_t ref)
{
    must(ref != 0 && ref != GONE);
    if ((uint64_t)(ix->count + 1) * 2 > ix->cap) { /* fuller, linear probing looks at ten places */
        grow(ix);
    }
    if (ix->old != NULL) {
        move_some(ix, MOVE_AT_ONCE);
    }
    put(ix, (struct index_place){hash, ref});
    ix->count++;
}

/* The place of exactly this entry, or NULL. */
static struct index_place *place_of(struct index_place *places, uint32_t cap, uint32_t hash,
                                    uint32_t ref)
{
    uint32_t mask = cap - 1;
    for (uint32_t at = hash & mask; places[at].ref != 0; at = (at + 1) & mask) {
        if (places[at].ref == ref) {
            return &places[at];
        }
    }
    return NULL;
}

/* Closes the gap, so that what probed over the place is still found. */
static void close_gap(struct index *ix, uint32_t gap)
{
    uint32_t mask = ix->cap - 1;
    for (uint32_t at = (gap + 1) & mask; ix->places[at].ref != 0; at = (at + 1) & mask) {
        uint32_t home = ix->places[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            ix->places[gap] = ix->places[at];
            gap = at;
        }
    }
    ix->places[gap].ref = 0;
}

void index_remove(struct index *ix, uint32_t hash, uint32_t ref)
{
    struct index_place *p = place_of(ix->places, ix->cap, hash, ref);
    if (p != NULL) {
        close_gap(ix, (uint32_t)(p - ix->places));
    } else {
        must(ix->old != NULL);
        p = place_of(ix->old, ix->old_cap, hash, ref);
        must(p != NULL);
        p->ref = GONE;
    }
    ix->count--;
}

void index_replace(struct index *ix, uint32_t hash, uint32_t ref, uint32_t new_ref)
{
    struct index_place *p = place_of(ix->places, ix->cap, hash, ref);
    if (p == NULL) {
        must(ix->old != NULL);
        p = place_of(ix->old, ix->old_cap, hash, ref);
        must(p != NULL);
    }
    p->ref = new_ref;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t index_hash(uint64_t seed, struct slice bytes)
{
    /* Digits of pi; the seed goes into both factors, so that no input zeroes a product by aim. */
    const uint64_t odd = seed ^ 0x243f6a8885a308d3ULL;
    uint64_t h = fold(seed ^ 0x13198a2e03707344ULL, bytes.n + 0xa4093822299f31d0ULL);
    uint64_t w[2];
    size_t n = bytes.n;
    const char *p = bytes.p;
    for (; n > sizeof(w); n -= sizeof(w), p += sizeof(w)) {
        memcpy(w, p, sizeof(w));
        h = fold(w[0] ^ odd, w[1] ^ h);
    }
    w[0] = w[1] = 0;
    if (n > 0) {
        memcpy(w, p, n);
    }
    h = fold(w[0] ^ odd, w[1] ^ h);
    return fold(h ^ 0x082efa98ec4e6c89ULL, odd | 1);
}
