/*
 * index.h: a hash table from 32-bit hashes to 32-bit references, which the owner compares. Eight
 * bytes a place, linear probing; it grows a few places with every addition, so no single submit
 * pays for moving a million. Floor 2, private to the core.
 */
#ifndef OTPQ_BROKER_CORE_INDEX_H
#define OTPQ_BROKER_CORE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

struct index_place {
    uint32_t hash; /* of the key */
    uint32_t ref;  /* the owner's, 0: free */
};

struct index {
    struct index_place *places; /* where additions go */
    struct index_place *old;    /* table being moved, or NULL */
    uint32_t cap;               /* of places, a power of two */
    uint32_t old_cap;           /* of old */
    uint32_t moved;             /* places of old that are empty or moved already */
    uint32_t count;             /* entries in both */
};

/* A search: every reference whose hash is the same, one after the other. */
struct index_walk {
    const struct index *ix; /* no changes during the walk */
    uint32_t hash;          /* sought */
    uint32_t at;            /* next place to look at */
    bool in_old;            /* the new table is done */
};

void index_init(struct index *ix);
void index_free(struct index *ix);
struct index_walk index_walk(const struct index *ix, uint32_t hash);
/* A large table is not in the processor's cache: fetches the place of a hash that is needed soon.
 */
static inline void index_expect(const struct index *ix, uint32_t hash)
{
    __builtin_prefetch(&ix->places[hash & (ix->cap - 1)]);
}
/* The next candidate, or 0. */
uint32_t index_next(struct index_walk *w);
/* ref: neither 0 nor UINT32_MAX, and not in the table. */
void index_add(struct index *ix, uint32_t hash, uint32_t ref);
/* The entry must be there. */
void index_remove(struct index *ix, uint32_t hash, uint32_t ref);
void index_replace(struct index *ix, uint32_t hash, uint32_t ref, uint32_t new_ref);

/* Fast keyed hash of bytes: for tables and for telling two bodies of one id apart. Not a MAC. */
uint64_t index_hash(uint64_t seed, struct slice bytes);

#endif
