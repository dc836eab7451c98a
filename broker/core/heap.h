/*
 * heap.h: a four-way heap of (time, reference) pairs, earliest first. Times are the low 32 bits of
 * milliseconds and are compared modulo 2^32: all times in one heap lie within 24 days. Floor 2,
 * private to the core.
 *
 * A heap made with heap_init_placed also knows where each reference stands, so that its time can be
 * changed; the big heaps of jobs do without, which saves them four bytes and a cache miss a move.
 */
#ifndef OTPQ_BROKER_CORE_HEAP_H
#define OTPQ_BROKER_CORE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct heap_entry {
    uint32_t at;  /* ms, low 32 bits */
    uint32_t ref; /* the owner's */
};

struct heap {
    struct heap_entry *entries; /* entries[0] is the earliest; children of i at 4i+1 … 4i+4 */
    uint32_t count;             /* entries used */
    uint32_t cap;               /* entries allocated */
    uint32_t *place;            /* placed heaps: by reference, index + 1, 0: not in it; else NULL */
    uint32_t places;            /* length of place */
    bool placed;                /* keeps place */
};

static inline bool time_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

void heap_init(struct heap *h);
void heap_init_placed(struct heap *h);
void heap_free(struct heap *h);
/* Unplaced heaps. */
void heap_push(struct heap *h, uint32_t at, uint32_t ref);
/* Both kinds; must not be empty. */
struct heap_entry heap_pop(struct heap *h);
/* Keeps the entries for which keep() is true. Unplaced heaps. */
void heap_filter(struct heap *h, bool (*keep)(const void *context, uint32_t ref),
                 const void *context);
/* Placed heaps: puts the reference in or changes its time. */
void heap_set(struct heap *h, uint32_t at, uint32_t ref);
/* Placed heaps: takes it out if it is in. */
void heap_remove(struct heap *h, uint32_t ref);
bool heap_has(const struct heap *h, uint32_t ref);
/* Its time; it must be in. */
uint32_t heap_time(const struct heap *h, uint32_t ref);

#endif
