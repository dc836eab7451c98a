#include "broker/shelf_commits.h"

#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/list.h"

enum {
    IN_FLIGHT_MAX = 4,
    AGAIN_MS = 50,                 /* before what went wrong is sent again */
    BATCH_BYTES_MAX = 1024 * 1024, /* then it is full, whatever came last */
    ENTRY_BYTES_MAX = WIRE_BODY_BYTES_MAX + 1024,
    GONE_BITS = 16384
};

/* One id that is put or removed; its bytes are in the batch's buffer. */
struct op {
    uint32_t job;     /* the core waits for it; 0: it does not */
    uint32_t at;      /* of id, then of the entry */
    uint32_t entry_n; /* puts: bytes */
    uint8_t id_n;     /* bytes */
};

struct batch {
    struct list node; /* in commits.queue; alone while it gathers */
    struct commits *c;
    struct buf bytes;
    uint32_t puts;    /* ops from the front */
    uint32_t removes; /* ops from the back */
    bool sent;        /* on its way */
    bool done;        /* it was answered well; ends when all before it have */
    int64_t sent_ms;  /* when, last */
    bool unsure;      /* was sent and had no answer: perhaps it was written */
    struct op ops[SHELF_BATCH_MAX];
    uint8_t gone[GONE_BITS / 8]; /* hashes of the ids removed */
};

struct commits {
    struct commits_options o;
    char shelf[SHELF_NAME_BYTES + 1];
    char owner[SHELF_NAME_BYTES + 1];
    struct batch *gather; /* not complete yet, or NULL */
    struct list queue;    /* batches in their order */
    uint32_t in_flight;
    size_t pending; /* ops of all batches */
    bool held;
    bool broken; /* one went wrong: those behind it are waited for, then all go again */
    struct event *again;
    int64_t proved_ms; /* when the latest was sent that was answered well */
    struct commits_stats counted;
};

static void on_again(evutil_socket_t fd, short what, void *context);
static void pump(struct commits *c);

/* ---- life ------------------------------------------------------------------------------------ */

struct commits *commits_new(const struct commits_options *o)
{
    struct commits *c = xcalloc(1, sizeof *c);
    c->o = *o;
    (void)snprintf(c->shelf, sizeof c->shelf, "%s", o->shelf);
    (void)snprintf(c->owner, sizeof c->owner, "%s", o->owner);
    list_init(&c->queue);
    c->held = true;
    c->again = event_new(o->base, -1, 0, on_again, c);
    must(c->again != NULL);
    return c;
}

static struct batch *batch_new(struct commits *c)
{
    struct batch *b = xmalloc(sizeof *b);
    memset(b, 0, offsetof(struct batch, ops));
    memset(b->gone, 0, sizeof b->gone);
    b->c = c;
    list_init(&b->node);
    buf_init(&b->bytes, BATCH_BYTES_MAX + 2 * ENTRY_BYTES_MAX);
    return b;
}

static void batch_free(struct batch *b)
{
    b->c->pending -= b->puts + b->removes;
    list_remove(&b->node);
    buf_free(&b->bytes);
    free(b);
}

void commits_destroy(struct commits **cp)
{
    struct commits *c = *cp;
    if (c == NULL) {
        return;
    }
    *cp = NULL;
    list_each(node, &c->queue)
    {
        struct batch *b = list_owner(node, struct batch, node);
        shelf_forget(c->o.store, b);
        batch_free(b);
    }
    if (c->gather != NULL) {
        batch_free(c->gather);
    }
    event_free(c->again);
    free(c);
}

/* ---- gathering ------------------------------------------------------------------------------- */

static struct op *batch_removed(struct batch *b, uint32_t i)
{
    return &b->ops[SHELF_BATCH_MAX - 1 - i];
}

static struct slice op_id(const struct batch *b, const struct op *op)
{
    return slice_make(b->bytes.p + op->at, op->id_n);
}

static struct slice op_entry(const struct batch *b, const struct op *op)
{
    return slice_make(b->bytes.p + op->at + op->id_n, op->entry_n);
}

static uint32_t gone_bit(struct slice id)
{
    return (uint32_t)(slice_hash(id) % GONE_BITS);
}

/* The script puts first and removes then: an id that comes back has to wait for the next commit. */
static bool batch_removes(struct batch *b, struct slice id)
{
    uint32_t bit = gone_bit(id);
    if (b->removes == 0 || (b->gone[bit / 8] >> (bit % 8) & 1) == 0) {
        return false;
    }
    for (uint32_t i = 0; i < b->removes; i++) {
        if (slice_eq(op_id(b, batch_removed(b, i)), id)) {
            return true;
        }
    }
    return false;
}

static void gathered(struct commits *c)
{
    if (c->gather != NULL) {
        list_push(&c->queue, &c->gather->node);
        c->gather = NULL;
    }
}

/* The batch that takes one more. */
static struct batch *gathering(struct commits *c)
{
    struct batch *b = c->gather;
    if (b != NULL && (b->puts + b->removes == SHELF_BATCH_MAX || b->bytes.n >= BATCH_BYTES_MAX)) {
        gathered(c);
    }
    if (c->gather == NULL) {
        c->gather = batch_new(c);
    }
    return c->gather;
}

static void op_fill(struct batch *b, struct op *op, uint32_t job, struct slice id,
                    struct slice entry)
{
    must(id.n > 0 && id.n <= WIRE_ID_BYTES_MAX && entry.n <= ENTRY_BYTES_MAX);
    *op = (struct op){.job = job,
                      .at = (uint32_t)b->bytes.n,
                      .entry_n = (uint32_t)entry.n,
                      .id_n = (uint8_t)id.n};
    buf_put_slice(&b->bytes, id);
    buf_put_slice(&b->bytes, entry);
    must(buf_ok(&b->bytes));
    b->c->pending++;
}

void commits_put(struct commits *c, uint32_t job, struct slice id, struct slice entry)
{
    struct batch *b = gathering(c);
    if (batch_removes(b, id)) {
        gathered(c);
        b = gathering(c);
    }
    op_fill(b, &b->ops[b->puts], job, id, entry);
    b->puts++;
}

void commits_remove(struct commits *c, uint32_t job, struct slice id)
{
    struct batch *b = gathering(c);
    uint32_t bit = gone_bit(id);
    op_fill(b, batch_removed(b, b->removes), job, id, slice_make(NULL, 0));
    b->removes++;
    b->gone[bit / 8] = (uint8_t)(b->gone[bit / 8] | 1U << (bit % 8));
}

/* ---- how it went ----------------------------------------------------------------------------- */

/* It stands in the store; so does all that came before. */
static void batch_ends(struct batch *b)
{
    struct commits *c = b->c;
    int64_t now_ms = clock_mono_ms();
    list_remove(&b->node);
    for (uint32_t i = 0; i < b->puts; i++) {
        if (b->ops[i].job != 0) {
            c->counted.stored++;
            core_shelved(c->o.core, b->ops[i].job, true, now_ms);
        }
    }
    for (uint32_t i = 0; i < b->removes; i++) {
        uint32_t job = batch_removed(b, i)->job;
        if (job != 0) {
            core_unshelved(c->o.core, job, now_ms);
        }
    }
    c->counted.removed += b->removes;
    batch_free(b);
}

/* Puts that the core waits for are over; it is told so. The others are of jobs that go on. */
static void batch_refuse(struct batch *b)
{
    int64_t now_ms = clock_mono_ms();
    uint32_t kept = 0, count = b->puts;
    if (b->unsure) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct op op = b->ops[i];
        if (op.job == 0) {
            b->ops[kept++] = op;
        } else {
            core_shelved(b->c->o.core, op.job, false, now_ms);
        }
    }
    b->puts = kept;
    b->c->pending -= count - kept;
}

/* Everything from the first that went wrong on, again and in order, after a while. */
static void rewind_queue(struct commits *c)
{
    const struct timeval in = {0, AGAIN_MS * 1000};
    list_each(node, &c->queue)
    {
        struct batch *b = list_owner(node, struct batch, node);
        b->unsure = b->unsure || b->done; /* it stands there, whatever becomes of the repetition */
        b->done = false;
        if (b->puts + b->removes == 0) {
            batch_free(b);
        }
    }
    need(event_add(c->again, &in) == 0);
}

static void settle(struct commits *c)
{
    struct list *node;
    while ((node = list_first(&c->queue)) != NULL && list_owner(node, struct batch, node)->done) {
        batch_ends(list_owner(node, struct batch, node));
    }
    if (c->broken && c->in_flight == 0) {
        rewind_queue(c);
    }
    pump(c);
    c->o.on_turn(c->o.context);
}

static void on_commit(void *context, enum shelf_outcome outcome)
{
    struct batch *b = context;
    struct commits *c = b->c;
    c->in_flight--;
    b->sent = false;
    switch (outcome) {
    case SHELF_OK:
        b->done = true;
        c->proved_ms = b->sent_ms > c->proved_ms ? b->sent_ms : c->proved_ms;
        break;
    case SHELF_REFUSED:
        c->broken = true;
        batch_refuse(b);
        break;
    case SHELF_UNKNOWN:
        c->broken = true;
        b->unsure = true;
        break;
    case SHELF_DEPOSED:
        c->o.on_lost(c->o.context);
        return;
    }
    settle(c);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void batch_send(struct batch *b)
{
    struct commits *c = b->c;
    struct slice *ids = xmalloc((2 * (size_t)b->puts + b->removes + 1) * sizeof *ids);
    struct slice *entries = ids + b->puts, *removed = entries + b->puts;
    for (uint32_t i = 0; i < b->puts; i++) {
        ids[i] = op_id(b, &b->ops[i]);
        entries[i] = op_entry(b, &b->ops[i]);
    }
    for (uint32_t i = 0; i < b->removes; i++) {
        removed[i] = op_id(b, batch_removed(b, i));
    }
    b->sent = true;
    b->sent_ms = clock_mono_ms();
    c->in_flight++;
    c->counted.commits++;
    shelf_commit(c->o.store, c->shelf, c->owner, b->puts, ids, entries, b->removes, removed,
                 on_commit, b); /* which may have ended it */
    free(ids);
}

static struct batch *first_unsent(struct commits *c)
{
    list_each(node, &c->queue)
    {
        struct batch *b = list_owner(node, struct batch, node);
        if (!b->sent && !b->done) {
            return b;
        }
    }
    return NULL;
}

/* A refusal comes at once, and ends the loop. */
static void pump(struct commits *c)
{
    while (!c->held && !c->broken && c->in_flight < IN_FLIGHT_MAX) {
        struct batch *b = first_unsent(c);
        if (b == NULL) {
            b = c->gather;
            gathered(c);
        }
        if (b == NULL) {
            return;
        }
        batch_send(b);
    }
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct commits *c = context;
    c->broken = false;
    pump(c);
}

void commits_flush(struct commits *c)
{
    pump(c);
}

void commits_hold(struct commits *c, bool hold)
{
    c->held = hold;
    pump(c);
}

void commits_refuse(struct commits *c)
{
    gathered(c);
    list_each(node, &c->queue)
    {
        struct batch *b = list_owner(node, struct batch, node);
        if (!b->sent && !b->done) {
            batch_refuse(b);
        }
    }
}

void commits_probe(struct commits *c)
{
    if (list_empty(&c->queue) && c->gather == NULL) {
        (void)gathering(c);
    }
    pump(c);
}

int64_t commits_proved_ms(const struct commits *c)
{
    return c->proved_ms;
}

size_t commits_pending(const struct commits *c)
{
    return c->pending;
}

struct commits_stats commits_counted(struct commits *c)
{
    struct commits_stats counted = c->counted;
    c->counted = (struct commits_stats){.stored = 0};
    return counted;
}
