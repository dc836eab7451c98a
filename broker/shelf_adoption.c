#include "broker/shelf_adoption.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/stored_job.h"

enum {
    PARTS_MAX = 4, /* read ahead */
    PART_MIN = 16, /* entries asked for at a time */
    PART_MAX = 1000,
    PART_BYTES = 512 * 1024,   /* more in one part: smaller ones follow */
    SLICE_US = 4000,           /* of the loop's time, in one go */
    EXPECT = 8,                /* entries between what is taken and what is looked for ahead */
    CLOCK_EVERY = 32,          /* entries between looks at the clock */
    AGAIN_MS = 50,             /* the core was full, or the store did not answer */
    UNREADABLE_LOGGED_MAX = 10 /* of one shelf */
};

/* What one HSCAN brought: a copy. Its memory serves part after part. */
struct part {
    struct list node;
    size_t count;
    size_t at; /* the next one that the core is to be given */
    struct slice *ids;
    struct slice *entries;
    char *bytes;      /* of all of them */
    size_t count_max; /* room in ids and entries */
    size_t bytes_max; /* room in bytes */
};

struct adoption {
    struct adoption_options o;
    char shelf[SHELF_NAME_BYTES + 1];
    struct list parts; /* read and not taken yet */
    struct list spare; /* parts that were taken */
    uint32_t part_count;
    uint32_t most;       /* entries to ask for */
    uint64_t cursor;     /* of the next part */
    uint32_t place;      /* where the last part came from */
    bool reading;        /* a part is on its way */
    bool read;           /* all parts were */
    struct event *again; /* the next slice */
    int64_t began_ms;
    uint64_t total;        /* entries taken */
    uint64_t total_unread; /* entries that are none */
    struct adoption_stats counted;
};

static void on_again(evutil_socket_t fd, short what, void *context);

static void soon(struct adoption *a, int ms)
{
    const struct timeval in = {0, ms * 1000};
    if (event_pending(a->again, EV_TIMEOUT, NULL) == 0) {
        need(event_add(a->again, &in) == 0);
    }
}

struct adoption *adoption_new(const struct adoption_options *o)
{
    struct adoption *a = xcalloc(1, sizeof *a);
    a->o = *o;
    (void)snprintf(a->shelf, sizeof a->shelf, "%s", o->shelf);
    list_init(&a->parts);
    list_init(&a->spare);
    a->most = PART_MAX / 4;
    a->began_ms = clock_mono_ms();
    a->again = event_new(o->base, -1, 0, on_again, a);
    must(a->again != NULL);
    soon(a, 0);
    return a;
}

static struct part *part_new(struct adoption *a, size_t count, size_t bytes)
{
    struct list *node = list_first(&a->spare);
    struct part *p = node != NULL ? list_owner(node, struct part, node) : NULL;
    if (p == NULL) {
        p = xcalloc(1, sizeof *p);
        list_init(&p->node);
    }
    list_remove(&p->node);
    if (p->count_max < count) {
        p->count_max = count;
        p->ids = xrealloc(p->ids, 2 * count * sizeof *p->ids);
    }
    if (p->bytes_max < bytes) {
        p->bytes_max = bytes;
        p->bytes = xrealloc(p->bytes, bytes);
    }
    p->entries = p->ids + p->count_max;
    p->count = count;
    p->at = 0;
    list_push(&a->parts, &p->node);
    a->part_count++;
    return p;
}

static void part_taken(struct adoption *a, struct part *p)
{
    a->part_count--;
    list_remove(&p->node);
    list_push(&a->spare, &p->node);
}

static void parts_taken(struct adoption *a)
{
    list_each(node, &a->parts)
    {
        part_taken(a, list_owner(node, struct part, node));
    }
}

static void parts_free(struct adoption *a)
{
    parts_taken(a);
    list_each(node, &a->spare)
    {
        struct part *p = list_owner(node, struct part, node);
        list_remove(&p->node);
        free(p->bytes);
        free(p->ids);
        free(p);
    }
}

void adoption_destroy(struct adoption **ap)
{
    struct adoption *a = *ap;
    if (a == NULL) {
        return;
    }
    *ap = NULL;
    shelf_forget(a->o.store, a);
    parts_free(a);
    event_free(a->again);
    free(a);
}

void adoption_restart(struct adoption *a)
{
    shelf_forget(a->o.store, a);
    parts_taken(a);
    a->reading = false;
    a->read = false;
    a->cursor = 0;
    soon(a, 0);
}

bool adoption_over(const struct adoption *a)
{
    return a->read && a->part_count == 0;
}

struct adoption_stats adoption_counted(struct adoption *a)
{
    struct adoption_stats counted = a->counted;
    a->counted = (struct adoption_stats){.adopted = 0};
    return counted;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct slice part_copy(struct part *p, size_t *used, struct slice s)
{
    char *to = p->bytes + *used;
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    *used += s.n;
    return slice_make(to, s.n);
}

static size_t part_keep(struct adoption *a, size_t count, const struct slice *ids,
                        const struct slice *entries)
{
    size_t bytes = 0, used = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += ids[i].n + entries[i].n;
    }
    struct part *p = part_new(a, count, bytes);
    for (size_t i = 0; i < count; i++) {
        p->ids[i] = part_copy(p, &used, ids[i]);
        p->entries[i] = part_copy(p, &used, entries[i]);
    }
    return bytes;
}

static void read_on(struct adoption *a);

static void on_part(void *context, enum shelf_outcome outcome, uint64_t next, size_t count,
                    const struct slice *ids, const struct slice *entries)
{
    struct adoption *a = context;
    a->reading = false;
    if (outcome != SHELF_OK) {
        soon(a, AGAIN_MS);
        return;
    }
    uint32_t place = shelf_place(a->o.store, a->shelf);
    if (a->cursor != 0 && place != a->place) { /* from the first entry on, where it is now */
        a->cursor = 0;
        soon(a, AGAIN_MS);
        return;
    }
    a->place = place;
    size_t bytes = part_keep(a, count, ids, entries);
    if (bytes > PART_BYTES && a->most > PART_MIN) {
        a->most /= 2;
    } else if (bytes < PART_BYTES / 2 && a->most < PART_MAX) {
        a->most = a->most * 2 > PART_MAX ? PART_MAX : a->most * 2;
    }
    a->cursor = next;
    a->read = next == 0;
    read_on(a);
    soon(a, 0);
}

static void read_on(struct adoption *a)
{
    if (!a->reading && !a->read && a->part_count < PARTS_MAX) {
        a->reading = true;
        shelf_read(a->o.store, a->shelf, a->cursor, a->most, on_part, a);
    }
}

/* ---- into the core --------------------------------------------------------------------------- */

static uint32_t span(int64_t ms, uint32_t most)
{
    return ms < 0 ? 0 : ms > (int64_t)most ? most : (uint32_t)ms;
}

static void unreadable(struct adoption *a, struct slice id, const char *why)
{
    char name[WIRE_ID_BYTES_MAX + 1] = "?";
    a->counted.unreadable++;
    if (a->total_unread++ >= UNREADABLE_LOGGED_MAX) {
        return;
    }
    if (wire_id_ok(id, WIRE_ID_BYTES_MAX)) {
        (void)snprintf(name, sizeof name, "%.*s", SLICE_ARG(id));
    }
    log_error("an entry of a shelf is none, it stays there", "shelf", a->shelf, "job", name, "why",
              why, NULL);
}

/* False: the core is full. */
static bool take(struct adoption *a, struct slice id, struct slice entry, int64_t store_ms,
                 int64_t now_ms)
{
    struct stored_job j;
    const char *why = NULL;
    if (!stored_job_read(entry, &j, &why)) {
        unreadable(a, id, why);
        return true;
    }
    if (!slice_eq(id, j.submit.id)) {
        unreadable(a, id, "it is another job's");
        return true;
    }
    j.submit.ack = WIRE_ACK_STORED;
    j.submit.ttl_ms =
        span(j.deadline_ms - peers_store_latest_ms(a->o.peers, now_ms), WIRE_TTL_MAX_MS);
    j.submit.delay_ms = span(j.ready_ms - store_ms, WIRE_TTL_MAX_MS);
    uint32_t age_ms = span(store_ms - j.accepted_ms, INT32_MAX);
    switch (core_adopt(a->o.core, a->o.slot, &j.submit, j.body, age_ms, now_ms)) {
    case CORE_FULL_TOTAL:
    case CORE_FULL_BYTES:
    case CORE_FULL_ROUTE:
    case CORE_FULL_TENANT:
    case CORE_FULL_ROUTES:
    case CORE_FULL_TENANTS:
        return false;
    default:
        a->counted.adopted++;
        a->total++;
        return true;
    }
}

/* False: the core is full. */
static bool take_parts(struct adoption *a, int64_t store_ms)
{
    int64_t until_us = clock_mono_us() + SLICE_US;
    struct list *node;
    while ((node = list_first(&a->parts)) != NULL) {
        struct part *p = list_owner(node, struct part, node);
        for (; p->at < p->count; p->at++) {
            int64_t now_us = p->at % CLOCK_EVERY == 0 ? clock_mono_us() : 0;
            if (now_us >= until_us) {
                return true;
            }
            if (p->at + EXPECT < p->count) {
                core_expect(a->o.core, p->ids[p->at + EXPECT]);
            }
            if (!take(a, p->ids[p->at], p->entries[p->at], store_ms, clock_mono_ms())) {
                return false;
            }
        }
        part_taken(a, p);
        read_on(a);
    }
    return true;
}

static void said(const struct adoption *a)
{
    log_info("a shelf was adopted", "shelf", a->shelf, "jobs", log_num((long long)a->total),
             "unreadable", log_num((long long)a->total_unread), "ms",
             log_num(clock_mono_ms() - a->began_ms), NULL);
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct adoption *a = context;
    int64_t store_ms = 0;
    bool room = peers_store_ms(a->o.peers, clock_mono_ms(), &store_ms) && take_parts(a, store_ms);
    read_on(a);
    if (adoption_over(a)) {
        said(a);
    } else if (a->part_count > 0 || !a->reading) {
        soon(a, room && a->part_count > 0 ? 0 : AGAIN_MS);
    }
    a->o.on_turn(a->o.context);
}
