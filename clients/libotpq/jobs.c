#include "clients/libotpq/internal.h"

#include <stdlib.h>

void jobs_init(struct jobs *j, size_t jobs_max)
{
    *j = (struct jobs){.by_id = map_new(jobs_max), .max = jobs_max};
    list_init(&j->outbox);
    list_init(&j->held);
}

void jobs_free(struct jobs *j)
{
    for (size_t i = 0; i < j->count; i++) {
        free(j->heap[i]);
    }
    free(j->heap);
    map_destroy(&j->by_id, NULL);
    j->heap = NULL;
    j->count = 0;
}

/* ---- heap by deadline ----------------------------------------------------------------------- */

static void heap_place(struct jobs *j, size_t at, struct pending *p)
{
    j->heap[at] = p;
    p->heap_at = at;
}

static void heap_up(struct jobs *j, size_t at, struct pending *p)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (j->heap[parent]->deadline_ms <= p->deadline_ms) {
            break;
        }
        heap_place(j, at, j->heap[parent]);
        at = parent;
    }
    heap_place(j, at, p);
}

static void heap_down(struct jobs *j, size_t at, struct pending *p)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= j->count) {
            break;
        }
        if (child + 1 < j->count && j->heap[child + 1]->deadline_ms < j->heap[child]->deadline_ms) {
            child++;
        }
        if (j->heap[child]->deadline_ms >= p->deadline_ms) {
            break;
        }
        heap_place(j, at, j->heap[child]);
        at = child;
    }
    heap_place(j, at, p);
}

static void heap_add(struct jobs *j, struct pending *p)
{
    if (j->count == j->cap) {
        j->cap = j->cap == 0 ? 64 : j->cap * 2;
        j->heap = xrealloc(j->heap, j->cap * sizeof(struct pending *));
    }
    j->count++;
    heap_up(j, j->count - 1, p);
}

static void heap_remove(struct jobs *j, struct pending *p)
{
    size_t at = p->heap_at;
    struct pending *last = j->heap[--j->count];
    if (last == p) {
        return;
    }
    if (at > 0 && j->heap[(at - 1) / 2]->deadline_ms > last->deadline_ms) {
        heap_up(j, at, last);
    } else {
        heap_down(j, at, last);
    }
}

/* ---- table ---------------------------------------------------------------------------------- */

static struct slice keep(char **to, struct slice s)
{
    struct slice kept = {*to, s.n};
    if (s.n > 0) {
        memcpy(*to, s.p, s.n);
    }
    *to += s.n;
    return kept;
}

struct pending *jobs_add(struct jobs *j, const struct wire_submit *s, struct slice body,
                         int64_t now_ms, const char **error)
{
    if (j->count >= j->max) {
        *error = "full: too many unanswered jobs on this handle";
        return NULL;
    }
    if (map_get(j->by_id, s->id) != NULL) {
        *error = "id: this one is unanswered already";
        return NULL;
    }
    struct pending *p =
        xmalloc(sizeof(*p) + s->id.n + s->route.n + s->tenant.n + s->trace.n + body.n);
    char *to = p->bytes;
    p->submit = *s;
    p->submit.id = keep(&to, s->id);
    p->submit.route = keep(&to, s->route);
    p->submit.tenant = keep(&to, s->tenant);
    p->submit.trace = keep(&to, s->trace);
    p->body = keep(&to, body);
    p->deadline_ms = now_ms + s->ttl_ms;
    p->ready_ms = now_ms + s->delay_ms;
    p->link = NO_LINK;
    p->again = false;
    p->accepted = NULL;
    void *old;
    must(map_set(j->by_id, s->id, p, &old));
    list_init(&p->where);
    list_push(&j->outbox, &p->where);
    heap_add(j, p);
    return p;
}

struct pending *jobs_find(const struct jobs *j, struct slice id)
{
    return map_get(j->by_id, id);
}

void jobs_remove(struct jobs *j, struct pending *p)
{
    must(map_remove(j->by_id, p->submit.id) == p);
    list_remove(&p->where);
    heap_remove(j, p);
}

static void requeue(struct jobs *j, struct list *from, bool sent)
{
    /* From the back, each before the head's first: the old order stays. */
    while (!list_empty(from)) {
        struct list *node = from->prev;
        struct pending *p = list_owner(node, struct pending, where);
        p->link = NO_LINK;
        p->again |= sent;
        list_remove(node);
        list_push(j->outbox.next, node);
    }
}

void jobs_requeue(struct jobs *j, struct list *from)
{
    requeue(j, from, false);
}

void jobs_requeue_sent(struct jobs *j, struct list *sent)
{
    requeue(j, sent, true);
}

static void move(struct pending *p, struct list *to)
{
    p->link = NO_LINK;
    list_remove(&p->where);
    list_push(to, &p->where);
}

void jobs_send_elsewhere(struct jobs *j, struct pending *p)
{
    move(p, &j->outbox);
}

void jobs_hold(struct jobs *j, struct pending *p, int64_t now_ms, uint32_t for_ms)
{
    if (list_empty(&j->held)) { /* the others go with the first: brokers take batches */
        for_ms = for_ms == 0 ? HOLD_MS : for_ms < HOLD_MS_MIN ? HOLD_MS_MIN : for_ms;
        j->held_until_ms = now_ms + (for_ms < HOLD_MS_MAX ? for_ms : HOLD_MS_MAX);
    }
    move(p, &j->held);
}

void jobs_let_go(struct jobs *j, int64_t now_ms)
{
    if (now_ms >= j->held_until_ms) {
        jobs_requeue(j, &j->held);
    }
}
