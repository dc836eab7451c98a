/*
 * table.h: things by small numbers from 1, free numbers used again. Floor 2, private to the core.
 */
#ifndef OTPQ_BROKER_CORE_TABLE_H
#define OTPQ_BROKER_CORE_TABLE_H

#include <stdint.h>
#include <string.h>

#include "common/base/check.h"

struct table {
    void **things;       /* by number; NULL: free. things[0] stays NULL */
    uint32_t *free;      /* stack of free numbers, cap long */
    uint32_t free_count; /* of them */
    uint32_t used;       /* numbers ever used: 1 .. used */
    uint32_t cap;        /* allocated */
};

static inline uint32_t table_count(const struct table *t)
{
    return t->used - t->free_count;
}

static inline void *table_at(const struct table *t, uint32_t number)
{
    return t->things[number];
}

static inline uint32_t table_add(struct table *t, void *thing)
{
    if (t->free_count == 0 && t->used + 1 >= t->cap) {
        t->cap = t->cap == 0 ? 16 : t->cap * 2;
        t->things = xrealloc(t->things, t->cap * sizeof(*t->things));
        t->free = xrealloc(t->free, t->cap * sizeof(*t->free));
        t->things[0] = NULL;
    }
    uint32_t number = t->free_count > 0 ? t->free[--t->free_count] : ++t->used;
    t->things[number] = thing;
    return number;
}

static inline void table_remove(struct table *t, uint32_t number)
{
    must(t->things[number] != NULL);
    t->things[number] = NULL;
    t->free[t->free_count++] = number;
}

static inline void table_free(struct table *t)
{
    free(t->things);
    free(t->free);
    memset(t, 0, sizeof(*t));
}

#endif
