#include "broker/shelf_dead.h"

#include <stdlib.h>

#include "common/base/list.h"
#include "common/base/map.h"

enum { IN_FLIGHT_MAX = 64, AGAIN_MS = 100, IDS_MAX = 100 * 1000 * 1000 };

/* One letter; its texts stand behind it. */
struct waiting {
    struct list node;       /* in dead_letters.waiting, or .sent */
    struct dead_letters *d; /* NULL: nobody wants to hear of it */
    uint32_t slot;          /* 0: its entry is not ours to take away */
    uint32_t job;           /* the core waits for it; 0: it does not */
    bool revived;           /* its entry is a new job's by now */
    struct dead_letter letter;
    char bytes[];
};

struct dead_letters {
    struct dead_options o;
    char *prefix;
    struct list waiting; /* in their order */
    struct list sent;
    struct map *ids; /* of both lists: the newest of each id */
    uint32_t in_flight;
    size_t pending;
    bool held;           /* nothing is sent */
    struct event *again; /* after one that was not written */
};

static void on_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    dead_letters_flush(context);
}

struct dead_letters *dead_letters_new(const struct dead_options *o)
{
    struct dead_letters *d = xcalloc(1, sizeof *d);
    d->o = *o;
    d->prefix = slice_dup(slice_of(o->prefix));
    list_init(&d->waiting);
    list_init(&d->sent);
    d->ids = map_new(IDS_MAX);
    d->again = event_new(o->base, -1, 0, on_again, d);
    must(d->again != NULL);
    return d;
}

void dead_letters_destroy(struct dead_letters **dp)
{
    struct dead_letters *d = *dp;
    if (d == NULL) {
        return;
    }
    *dp = NULL;
    list_each(node, &d->waiting)
    {
        list_remove(node);
        free(list_owner(node, struct waiting, node));
    }
    list_each(node, &d->sent)
    {
        list_remove(node); /* freed by the answer that the store owes */
        list_owner(node, struct waiting, node)->d = NULL;
    }
    map_destroy(&d->ids, NULL);
    event_free(d->again);
    free(d->prefix);
    free(d);
}

void dead_letters_put(struct dead_letters *d, uint32_t slot, uint32_t job,
                      const struct dead_letter *letter)
{
    struct waiting *w = xmalloc(sizeof *w + letter->id.n + letter->entry.n);
    memcpy(w->bytes, letter->id.p, letter->id.n);
    memcpy(w->bytes + letter->id.n, letter->entry.p, letter->entry.n);
    w->d = d;
    w->slot = slot;
    w->job = job;
    w->revived = false;
    w->letter = *letter;
    w->letter.id.p = w->bytes;
    w->letter.entry.p = w->bytes + letter->id.n;
    list_init(&w->node);
    list_push(&d->waiting, &w->node);
    d->pending++;
    void *old = NULL;
    must(map_set(d->ids, w->letter.id, w, &old));
}

/* It is over: written, or another's to write. */
static void waiting_end(struct waiting *w)
{
    struct dead_letters *d = w->d;
    list_remove(&w->node);
    if (map_get(d->ids, w->letter.id) == w) {
        (void)map_remove(d->ids, w->letter.id);
    }
    d->pending--;
    free(w);
}

static void on_put(void *context, bool written)
{
    struct waiting *w = context;
    struct dead_letters *d = w->d;
    const struct timeval in = {0, AGAIN_MS * 1000};
    list_remove(&w->node);
    if (d == NULL) {
        free(w);
        return;
    }
    d->in_flight--;
    if (!written && w->slot != 0) {
        list_push(&d->waiting, &w->node);
        need(event_add(d->again, &in) == 0);
        return;
    }
    if (w->slot != 0 && !w->revived) {
        d->o.on_written(d->o.context, w->slot, w->job, w->letter.id);
    }
    waiting_end(w);
    if (written) {
        dead_letters_flush(d);
    }
}

void dead_letters_flush(struct dead_letters *d)
{
    struct list *node;
    if (d->held || event_pending(d->again, EV_TIMEOUT, NULL) != 0) {
        return;
    }
    while (d->in_flight < IN_FLIGHT_MAX && (node = list_first(&d->waiting)) != NULL &&
           event_pending(d->again, EV_TIMEOUT, NULL) == 0) {
        struct waiting *w = list_owner(node, struct waiting, node);
        list_remove(node);
        list_push(&d->sent, node);
        d->in_flight++;
        dead_put(d->o.store, d->prefix, &w->letter, d->o.keep_s, on_put, w);
    }
}

void dead_letters_hold(struct dead_letters *d, bool hold)
{
    d->held = hold;
}

void dead_letters_lost(struct dead_letters *d, uint32_t slot)
{
    list_each(node, &d->waiting)
    {
        struct waiting *w = list_owner(node, struct waiting, node);
        if (w->slot == slot) {
            waiting_end(w);
        }
    }
    list_each(sent, &d->sent)
    {
        struct waiting *w = list_owner(sent, struct waiting, node);
        w->slot = w->slot == slot ? 0 : w->slot;
    }
}

void dead_letters_revived(struct dead_letters *d, uint32_t slot, struct slice id)
{
    struct waiting *w = d->pending > 0 ? map_get(d->ids, id) : NULL;
    if (w != NULL && w->slot == slot && w->job == 0) {
        w->revived = true;
    }
}

size_t dead_letters_pending(const struct dead_letters *d)
{
    return d->pending;
}

static bool any(const struct list *list, uint32_t slot)
{
    for (const struct list *node = list->next; node != list; node = node->next) {
        const struct waiting *w = list_owner(node, const struct waiting, node);
        if (w->slot == slot) {
            return true;
        }
    }
    return false;
}

bool dead_letters_any(const struct dead_letters *d, uint32_t slot)
{
    return any(&d->waiting, slot) || any(&d->sent, slot);
}
