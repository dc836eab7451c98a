#include "common/base/map.h"

struct entry {
    char *key;      /* owned copy; NULL when the place is free */
    size_t key_len; /* bytes */
    uint64_t hash;  /* of the key */
    void *value;    /* the caller's */
};

struct map {
    struct entry *places; /* open addressing, linear probing, power of two */
    size_t cap;           /* places */
    size_t count;         /* places in use */
    size_t max;           /* ceiling for count */
};

struct map *map_new(size_t entries_max)
{
    struct map *m = xcalloc(1, sizeof(*m));
    m->cap = 16;
    m->places = xcalloc(m->cap, sizeof(*m->places));
    m->max = entries_max;
    return m;
}

void map_destroy(struct map **mp, void (*free_value)(void *))
{
    struct map *m = *mp;
    if (m == NULL) {
        return;
    }
    *mp = NULL;
    for (size_t i = 0; i < m->cap; i++) {
        if (m->places[i].key != NULL) {
            free(m->places[i].key);
            if (free_value != NULL) {
                free_value(m->places[i].value);
            }
        }
    }
    free(m->places);
    free(m);
}

static size_t find(const struct map *m, struct slice key, uint64_t hash)
{
    size_t at = hash & (m->cap - 1);
    while (m->places[at].key != NULL) {
        const struct entry *e = &m->places[at];
        if (e->hash == hash && e->key_len == key.n && memcmp(e->key, key.p, key.n) == 0) {
            return at;
        }
        at = (at + 1) & (m->cap - 1);
    }
    return at;
}

void *map_get(const struct map *m, struct slice key)
{
    size_t at = find(m, key, slice_hash(key));
    return m->places[at].key != NULL ? m->places[at].value : NULL;
}

static void grow(struct map *m)
{
    struct map bigger = {.cap = m->cap * 2, .max = m->max, .count = m->count};
    bigger.places = xcalloc(bigger.cap, sizeof(*bigger.places));
    for (size_t i = 0; i < m->cap; i++) {
        struct entry *e = &m->places[i];
        if (e->key != NULL) {
            bigger.places[find(&bigger, slice_make(e->key, e->key_len), e->hash)] = *e;
        }
    }
    free(m->places);
    *m = bigger;
}

bool map_set(struct map *m, struct slice key, void *value, void **old)
{
    uint64_t hash = slice_hash(key);
    size_t at = find(m, key, hash);
    if (m->places[at].key != NULL) {
        if (old != NULL) {
            *old = m->places[at].value;
        }
        m->places[at].value = value;
        return true;
    }
    if (old != NULL) {
        *old = NULL;
    }
    if (m->count >= m->max) {
        return false;
    }
    if ((m->count + 1) * 4 > m->cap * 3) {
        grow(m);
        at = find(m, key, hash);
    }
    m->places[at] = (struct entry){slice_dup(key), key.n, hash, value};
    m->count++;
    return true;
}

void *map_remove(struct map *m, struct slice key)
{
    size_t at = find(m, key, slice_hash(key));
    if (m->places[at].key == NULL) {
        return NULL;
    }
    void *value = m->places[at].value;
    free(m->places[at].key);
    m->places[at].key = NULL;
    m->count--;
    /* close the gap: what probed over this place must still be found */
    for (size_t i = (at + 1) & (m->cap - 1); m->places[i].key != NULL; i = (i + 1) & (m->cap - 1)) {
        struct entry moved = m->places[i];
        m->places[i].key = NULL;
        m->places[find(m, slice_make(moved.key, moved.key_len), moved.hash)] = moved;
    }
    return value;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

bool map_next(const struct map *m, size_t *at, struct slice *key, void **value)
{
    while (*at < m->cap) {
        const struct entry *e = &m->places[(*at)++];
        if (e->key != NULL) {
            *key = slice_make(e->key, e->key_len);
            *value = e->value;
            return true;
        }
    }
    return false;
}
