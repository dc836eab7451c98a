#include "broker/core/heap.h"

#include <string.h>

#include "common/base/check.h"

enum { FIRST_CAP = 4, SHRINK_ABOVE = 64 };

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_init_placed(struct heap *h)
{
    *h = (struct heap){.placed = true};
}

void heap_free(struct heap *h)
{
    free(h->entries);
    free(h->place);
    *h = (struct heap){.placed = h->placed};
}

static void put(struct heap *h, uint32_t i, struct heap_entry e)
{
    h->entries[i] = e;
    if (h->placed) {
        h->place[e.ref] = i + 1;
    }
}

static void sift_up(struct heap *h, uint32_t i, struct heap_entry e)
{
    while (i > 0) {
        uint32_t parent = (i - 1) / 4;
        if (!time_before(e.at, h->entries[parent].at)) {
            break;
        }
        put(h, i, h->entries[parent]);
        i = parent;
    }
    put(h, i, e);
}

static void sift_down(struct heap *h, uint32_t i, struct heap_entry e)
{
    for (;;) {
        uint32_t child = i * 4 + 1;
        if (child >= h->count) {
            break;
        }
        uint32_t end = child + 4 < h->count ? child + 4 : h->count;
        uint32_t least = child;
        for (uint32_t c = child + 1; c < end; c++) {
            if (time_before(h->entries[c].at, h->entries[least].at)) {
                least = c;
            }
        }
        if (!time_before(h->entries[least].at, e.at)) {
            break;
        }
        put(h, i, h->entries[least]);
        i = least;
    }
    put(h, i, e);
}

static void resize(struct heap *h, uint32_t cap)
{
    h->entries = xrealloc(h->entries, (size_t)cap * sizeof(*h->entries));
    h->cap = cap;
}

static void add(struct heap *h, struct heap_entry e)
{
    if (h->count == h->cap) {
        must(h->cap < (1U << 30));
        resize(h, h->cap == 0 ? FIRST_CAP : h->cap + h->cap / 2);
    }
    h->count++;
    sift_up(h, h->count - 1, e);
}

void heap_push(struct heap *h, uint32_t at, uint32_t ref)
{
    must(!h->placed);
    add(h, (struct heap_entry){at, ref});
}

/* Takes the entry at i out; the last one fills the gap. */
static void take(struct heap *h, uint32_t i)
{
    if (h->placed) {
        h->place[h->entries[i].ref] = 0;
    }
    h->count--;
    if (i < h->count) {
        struct heap_entry last = h->entries[h->count];
        if (i > 0 && time_before(last.at, h->entries[(i - 1) / 4].at)) {
            sift_up(h, i, last);
        } else {
            sift_down(h, i, last);
        }
    }
    if (h->cap > SHRINK_ABOVE && h->count < h->cap / 4) {
        resize(h, h->cap / 2);
    }
}

struct heap_entry heap_pop(struct heap *h)
{
    must(h->count > 0);
    struct heap_entry top = h->entries[0];
    take(h, 0);
    return top;
}

void heap_filter(struct heap *h, bool (*keep)(const void *context, uint32_t ref),
                 const void *context)
{
    must(!h->placed);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        if (keep(context, h->entries[i].ref)) {
            h->entries[kept++] = h->entries[i];
        }
    }
    h->count = kept;
    for (uint32_t i = kept / 4 + 1; i-- > 0 && kept > 0;) {
        if (i < kept) {
            sift_down(h, i, h->entries[i]);
        }
    }
}

void heap_set(struct heap *h, uint32_t at, uint32_t ref)
{
    must(h->placed);
    if (ref >= h->places) {
        uint32_t places = ref + ref / 2 + 16;
        h->place = xrealloc(h->place, (size_t)places * sizeof(*h->place));
        memset(h->place + h->places, 0, (size_t)(places - h->places) * sizeof(*h->place));
        h->places = places;
    }
    uint32_t i = h->place[ref];
    if (i == 0) {
        add(h, (struct heap_entry){at, ref});
        return;
    }
    uint32_t was = h->entries[i - 1].at;
    if (time_before(at, was)) {
        sift_up(h, i - 1, (struct heap_entry){at, ref});
    } else if (at != was) {
        sift_down(h, i - 1, (struct heap_entry){at, ref});
    }
}

void heap_remove(struct heap *h, uint32_t ref)
{
    if (heap_has(h, ref)) {
        take(h, h->place[ref] - 1);
    }
}

bool heap_has(const struct heap *h, uint32_t ref)
{
    return ref < h->places && h->place[ref] != 0;
}

uint32_t heap_time(const struct heap *h, uint32_t ref)
{
    must(heap_has(h, ref));
    return h->entries[h->place[ref] - 1].at;
}
