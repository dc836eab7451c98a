#include "common/adapters/store_replies.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

enum {
    BLOCK_FIRST = 4 * 1024,
    BLOCK_MAX = 1024 * 1024,
    KEEP_MAX = 2 * BLOCK_MAX, /* bytes of one block that waits for the next reply */
    READER_KEEP = BLOCK_MAX   /* the reader's own buffer, likewise */
};

/* Memory, used from its beginning. */
struct block {
    struct block *older; /* of the same reply */
    size_t room;         /* bytes behind this head */
    size_t used;         /* of these */
    max_align_t bytes[];
};

/* What one answer is made of; it stands at the beginning of its first block. */
struct whole {
    struct replies *owner;
    struct block *last; /* where the next piece goes */
    redisReply reply;   /* what hiredis knows of it */
};

struct replies {
    struct block *kept; /* for the next reply, or NULL */
};

/* ---- memory ---------------------------------------------------------------------------------- */

static struct block *block_new(struct replies *r, size_t least, size_t wanted)
{
    struct block *b = r->kept;
    if (b != NULL && b->room >= least) {
        r->kept = NULL;
    } else {
        size_t room = least > wanted ? least : wanted;
        b = xmalloc(sizeof *b + room);
        b->room = room;
    }
    b->older = NULL;
    b->used = 0;
    return b;
}

static void block_end(struct replies *r, struct block *b)
{
    if (b->room <= KEEP_MAX && (r->kept == NULL || r->kept->room < b->room)) {
        free(r->kept);
        r->kept = b;
    } else {
        free(b);
    }
}

static void *block_take(struct block *b, size_t n)
{
    void *at = (char *)b->bytes + b->used;
    b->used += n;
    return at;
}

static size_t rounded(size_t n)
{
    return (n + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
}

static void *piece(struct whole *w, size_t n)
{
    n = rounded(n);
    if (w->last->room - w->last->used < n) {
        size_t wanted = w->last->room * 2 < BLOCK_MAX ? w->last->room * 2 : BLOCK_MAX;
        struct block *b = block_new(w->owner, n, wanted);
        b->older = w->last;
        w->last = b;
    }
    return block_take(w->last, n);
}

static struct whole *whole_new(struct replies *r)
{
    size_t n = rounded(sizeof(struct whole));
    struct block *b = block_new(r, n, BLOCK_FIRST);
    struct whole *w = block_take(b, n);
    w->owner = r;
    w->last = b;
    return w;
}

/* ---- what the reader calls ------------------------------------------------------------------- */

static struct whole *whole_of(const redisReply *top)
{
    return (struct whole *)((uintptr_t)top - offsetof(struct whole, reply));
}

/* The reply that is being read ends up under the first of these tasks. */
static struct whole *whole_at(const redisReadTask *task)
{
    while (task->parent != NULL) {
        task = task->parent;
    }
    return whole_of(task->obj);
}

static redisReply *reply_new(const redisReadTask *task, struct whole **out)
{
    struct whole *w = task->parent == NULL ? whole_new(task->privdata) : whole_at(task->parent);
    redisReply *r = task->parent == NULL ? &w->reply : piece(w, sizeof *r);
    *r = (redisReply){.type = task->type};
    if (task->parent != NULL) {
        redisReply *above = task->parent->obj;
        above->element[task->idx] = r;
    }
    *out = w;
    return r;
}

static void *create_string(const redisReadTask *task, char *bytes, size_t n)
{
    struct whole *w;
    redisReply *r = reply_new(task, &w);
    r->str = piece(w, n + 1);
    memcpy(r->str, bytes, n);
    r->str[n] = '\0';
    r->len = n;
    return r;
}

static void *create_array(const redisReadTask *task, int elements)
{
    struct whole *w;
    redisReply *r = reply_new(task, &w);
    if (elements > 0) {
        size_t n = (size_t)elements * sizeof *r->element;
        r->element = piece(w, n);
        memset(r->element, 0, n);
        r->elements = (size_t)elements;
    }
    return r;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    struct whole *w;
    redisReply *r = reply_new(task, &w);
    r->integer = value;
    return r;
}

static void *create_nil(const redisReadTask *task)
{
    struct whole *w;
    redisReply *r = reply_new(task, &w);
    r->type = REDIS_REPLY_NIL; /* the task's is what it would have been */
    return r;
}

static void end_all(void *top)
{
    if (top == NULL) {
        return;
    }
    struct whole *w = whole_of(top);
    struct replies *r = w->owner;
    for (struct block *b = w->last, *older; b != NULL; b = older) {
        older = b->older;
        block_end(r, b);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct replies *replies_new(void)
{
    return xcalloc(1, sizeof(struct replies));
}

void replies_destroy(struct replies **r)
{
    if (*r != NULL) {
        free((*r)->kept);
        free(*r);
        *r = NULL;
    }
}

void replies_of(struct replies *r, redisReader *reader)
{
    static redisReplyObjectFunctions functions = {.createString = create_string,
                                                  .createArray = create_array,
                                                  .createInteger = create_integer,
                                                  .createNil = create_nil,
                                                  .freeObject = end_all};
    reader->fn = &functions;
    reader->privdata = r;
    reader->maxbuf = READER_KEEP;
}
