/*
 * map.h: a hash map from bytes to pointers. Keys are copied, values are the caller's. Floor 0.
 * Born with a ceiling; over it map_set says no.
 */
#ifndef OTPQ_BASE_MAP_H
#define OTPQ_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/slice.h"

struct map;

struct map *map_new(size_t entries_max);
/* free_value may be NULL. Takes NULL, nulls the pointer. */
void map_destroy(struct map **m, void (*free_value)(void *));
/* The value, or NULL. */
void *map_get(const struct map *m, struct slice key);
/* Puts or replaces; *old gets the value replaced (or NULL). False: the map is full. */
MUST_CHECK bool map_set(struct map *m, struct slice key, void *value, void **old);
/* Takes the entry out and returns its value, or NULL. */
void *map_remove(struct map *m, struct slice key);
size_t map_count(const struct map *m);
/* Walks every entry: start with *at = 0; false at the end. No changes during the walk. */
MUST_CHECK bool map_next(const struct map *m, size_t *at, struct slice *key, void **value);

#endif
