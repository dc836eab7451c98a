#include "common/adapters/shelf_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/config.h"

enum {
    KEY_BYTES_MAX = CONFIG_REDIS_PREFIX_BYTES_MAX + SHELF_NAME_BYTES + 16,
    GONE_MS = 24 * 3600 * 1000 + 3600 * 1000, /* longer than any job lives */
    HEAD = 5,                                 /* a commit's arguments before the first id */
    SHELVES_SEEN_MAX = 4096
};

struct shelf_store {
    struct store *store;
    char *prefix;
    uint64_t number;   /* of the last commit */
    struct list calls; /* all that still wait */
};

enum call_kind { CALL_PLAIN, CALL_LIST, CALL_READ };

typedef void list_callback(void *context, enum shelf_outcome outcome, const struct shelf_seen *seen,
                           size_t count);
typedef void read_callback(void *context, enum shelf_outcome outcome, uint64_t next, size_t count,
                           const struct slice *ids, const struct slice *entries);

/* One question on its way. */
struct call {
    struct list node;      /* in shelf_store.calls */
    struct shelf_store *s; /* NULL: the shelf_store is gone, the answer is nobody's */
    enum call_kind kind;
    bool listed;                      /* the list of shelves is written when the script is done */
    enum shelf_outcome outcome;       /* of the script, while the list is written */
    char shelf[SHELF_NAME_BYTES + 1]; /* the list is to say of this one… */
    char owner[SHELF_NAME_BYTES + 1]; /* …that this is its owner */
    bool drops;                       /* …or nothing any more */
    union {
        shelf_callback *plain;
        list_callback *list;
        read_callback *read;
    } done;
    void *context;
};

/* ---- life ------------------------------------------------------------------------------------ */

struct shelf_store *shelf_store_new(struct store *store, const char *prefix)
{
    struct shelf_store *s = xcalloc(1, sizeof *s);
    must(strlen(prefix) <= CONFIG_REDIS_PREFIX_BYTES_MAX);
    s->store = store;
    s->prefix = slice_dup(slice_of(prefix));
    list_init(&s->calls);
    return s;
}

void shelf_store_destroy(struct shelf_store **sp)
{
    struct shelf_store *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    list_each(node, &s->calls)
    {
        struct call *c = list_owner(node, struct call, node);
        c->s = NULL;
        list_remove(&c->node); /* freed by the answer that the store owes */
    }
    free(s->prefix);
    free(s);
}

void shelf_forget(struct shelf_store *s, const void *context)
{
    list_each(node, &s->calls)
    {
        struct call *c = list_owner(node, struct call, node);
        if (c->context == context) {
            c->s = NULL;
            list_remove(&c->node);
        }
    }
}

static struct call *call_new(struct shelf_store *s, enum call_kind kind, void *context)
{
    struct call *c = xcalloc(1, sizeof *c);
    c->s = s;
    c->kind = kind;
    c->context = context;
    list_init(&c->node);
    list_push(&s->calls, &c->node);
    return c;
}

/* A call whose script changes whose the shelf is. */
static struct call *call_listed(struct shelf_store *s, const char *shelf, const char *owner,
                                shelf_callback *done, void *context)
{
    struct call *c = call_new(s, CALL_PLAIN, context);
    must(strlen(shelf) == SHELF_NAME_BYTES && strlen(owner) <= SHELF_NAME_BYTES);
    c->listed = true;
    (void)snprintf(c->shelf, sizeof c->shelf, "%s", shelf);
    (void)snprintf(c->owner, sizeof c->owner, "%s", owner);
    c->done.plain = done;
    return c;
}

static void call_free(struct call *c)
{
    list_remove(&c->node);
    free(c);
}

static void call_tell(struct call *c, enum shelf_outcome outcome)
{
    if (c->s != NULL) {
        list_remove(&c->node);
        c->done.plain(c->context, outcome);
    }
    call_free(c);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static struct slice key_put(char out[KEY_BYTES_MAX], const struct shelf_store *s, const char *kind,
                            const char *shelf)
{
    int n = snprintf(out, KEY_BYTES_MAX, "%s%s:{%s}", s->prefix, kind, shelf);
    must(n > 0 && n < KEY_BYTES_MAX); /* a name cut short would be another key */
    return slice_make(out, (size_t)n);
}

static struct slice key_list(char out[KEY_BYTES_MAX], const struct shelf_store *s)
{
    int n = snprintf(out, KEY_BYTES_MAX, "%sshelves", s->prefix);
    must(n > 0 && n < KEY_BYTES_MAX);
    return slice_make(out, (size_t)n);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* What came of a command that is none of the scripts' own words. */
static enum shelf_outcome outcome_of(enum store_outcome outcome, const redisReply *reply)
{
    if (outcome != STORE_OK) {
        return outcome == STORE_REFUSED ? SHELF_REFUSED : SHELF_UNKNOWN;
    }
    if (reply->type != REDIS_REPLY_ERROR) {
        return SHELF_OK;
    }
    if (store_reply_unavailable(reply)) {
        return SHELF_REFUSED;
    }
    log_error("a shelf's script failed", "why", reply->str, NULL);
    return SHELF_UNKNOWN;
}

/* The word that a script said: alone, or the first of two, with the owner now. */
static const char *word_of(const redisReply *reply)
{
    const redisReply *word = reply;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        word = reply->element[0];
    }
    return word->type == REDIS_REPLY_STRING ? word->str : "";
}

static enum shelf_outcome said(const redisReply *reply)
{
    const char *word = word_of(reply);
    if (strcmp(word, "ok") == 0) {
        return SHELF_OK;
    }
    return strcmp(word, "late") == 0 || word[0] == '\0' ? SHELF_UNKNOWN : SHELF_DEPOSED;
}

static void on_listed(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    enum shelf_outcome listed = outcome_of(outcome, reply);
    /* The script has run: it may not be called refused any more. */
    call_tell(c, listed == SHELF_OK ? c->outcome : SHELF_UNKNOWN);
}

static void list_write(struct call *c)
{
    char key[KEY_BYTES_MAX];
    const struct slice name = key_list(key, c->s);
    const struct slice set[4] = {SLICE("HSET"), name, slice_of(c->shelf), slice_of(c->owner)};
    const struct slice del[3] = {SLICE("HDEL"), name, slice_of(c->shelf)};
    store_command(c->s->store, on_listed, c, c->drops ? 3 : 4, c->drops ? del : set);
}

/* It was not his whom the list named: whose it is, or that it is not there, is to stand there. */
static bool list_mended(struct call *c, const redisReply *reply)
{
    const redisReply *owner =
        reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 ? reply->element[1] : NULL;
    if (owner == NULL || owner->type != REDIS_REPLY_STRING || owner->len > SHELF_NAME_BYTES) {
        return false;
    }
    memcpy(c->owner, owner->str, owner->len);
    c->owner[owner->len] = '\0';
    c->drops = strcmp(word_of(reply), "gone") == 0;
    return true;
}

static void on_script(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    enum shelf_outcome what = outcome_of(outcome, reply);
    if (what == SHELF_OK) {
        what = said(reply);
    }
    c->outcome = what;
    if (c->s != NULL && c->listed &&
        (what == SHELF_OK || (what == SHELF_DEPOSED && list_mended(c, reply)))) {
        list_write(c);
        return;
    }
    call_tell(c, what);
}

/* ---- scripts --------------------------------------------------------------------------------- */

void shelf_open(struct shelf_store *s, const char *shelf, const char *owner, shelf_callback *done,
                void *context)
{
    char so[KEY_BYTES_MAX], sj[KEY_BYTES_MAX];
    const struct slice argv[3] = {key_put(so, s, "so", shelf), key_put(sj, s, "sj", shelf),
                                  slice_of(owner)};
    struct call *c = call_listed(s, shelf, owner, done, context);
    store_eval(s->store, STORE_SHELF_OPEN, on_script, c, 2, 3, argv);
}

void shelf_take(struct shelf_store *s, const char *shelf, const char *from, const char *to,
                shelf_callback *done, void *context)
{
    char so[KEY_BYTES_MAX], sj[KEY_BYTES_MAX], number[24];
    (void)snprintf(number, sizeof number, "%" PRIu64, ++s->number);
    const struct slice argv[5] = {key_put(so, s, "so", shelf), key_put(sj, s, "sj", shelf),
                                  slice_of(from), slice_of(to), slice_of(number)};
    struct call *c = call_listed(s, shelf, to, done, context);
    store_eval(s->store, STORE_SHELF_TAKE, on_script, c, 2, 5, argv);
}

void shelf_drop(struct shelf_store *s, const char *shelf, const char *owner, shelf_callback *done,
                void *context)
{
    char so[KEY_BYTES_MAX], sj[KEY_BYTES_MAX], gone[16];
    (void)snprintf(gone, sizeof gone, "%d", GONE_MS);
    const struct slice argv[4] = {key_put(so, s, "so", shelf), key_put(sj, s, "sj", shelf),
                                  slice_of(owner), slice_of(gone)};
    struct call *c = call_listed(s, shelf, "", done, context);
    c->drops = true;
    store_eval(s->store, STORE_SHELF_DROP, on_script, c, 2, 4, argv);
}

void shelf_commit(struct shelf_store *s, const char *shelf, const char *owner, uint32_t puts,
                  const struct slice *ids, const struct slice *entries, uint32_t removes,
                  const struct slice *removed, shelf_callback *done, void *context)
{
    char so[KEY_BYTES_MAX], sj[KEY_BYTES_MAX], number[24], count[16];
    must(puts + removes <= SHELF_BATCH_MAX);
    struct slice *argv = xmalloc((HEAD + 2 * (size_t)puts + removes) * sizeof *argv);
    int argc = 0;
    (void)snprintf(number, sizeof number, "%" PRIu64, ++s->number);
    (void)snprintf(count, sizeof count, "%" PRIu32, puts);
    argv[argc++] = key_put(so, s, "so", shelf);
    argv[argc++] = key_put(sj, s, "sj", shelf);
    argv[argc++] = slice_of(owner);
    argv[argc++] = slice_of(number);
    argv[argc++] = slice_of(count);
    must(argc == HEAD);
    for (uint32_t i = 0; i < puts; i++) {
        argv[argc++] = ids[i];
        argv[argc++] = entries[i];
    }
    for (uint32_t i = 0; i < removes; i++) {
        argv[argc++] = removed[i];
    }
    struct call *c = call_new(s, CALL_PLAIN, context);
    c->done.plain = done;
    store_eval(s->store, STORE_SHELF_COMMIT, on_script, c, 2, argc, argv);
    free(argv);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool name_read(const redisReply *r, size_t least, char out[SHELF_NAME_BYTES + 1])
{
    if (r->type != REDIS_REPLY_STRING || r->len > SHELF_NAME_BYTES || r->len < least ||
        strlen(r->str) != r->len) {
        return false;
    }
    memcpy(out, r->str, r->len + 1);
    return true;
}

static void list_tell(struct call *c, enum shelf_outcome outcome, const redisReply *reply)
{
    struct shelf_seen *seen = NULL;
    size_t count = 0;
    if (outcome == SHELF_OK && reply->type == REDIS_REPLY_ARRAY) {
        seen = xcalloc(reply->elements / 2 + 1, sizeof *seen);
        for (size_t i = 0; i + 1 < reply->elements && count < SHELVES_SEEN_MAX; i += 2) {
            struct shelf_seen *at = &seen[count];
            count += name_read(reply->element[i], SHELF_NAME_BYTES, at->name) &&
                     name_read(reply->element[i + 1], 0, at->owner);
        }
    }
    c->done.list(c->context, outcome, seen, count);
    free(seen);
}

/* HSCAN's answer: {cursor, {field, value, …}}. */
static void read_tell(struct call *c, enum shelf_outcome outcome, const redisReply *reply)
{
    if (outcome != SHELF_OK || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        c->done.read(c->context, outcome == SHELF_OK ? SHELF_UNKNOWN : outcome, 0, 0, NULL, NULL);
        return;
    }
    const redisReply *pairs = reply->element[1];
    size_t most = pairs->elements / 2, count = 0;
    struct slice *ids = xcalloc(2 * most + 1, sizeof *ids);
    for (size_t i = 0; i < most; i++) {
        const redisReply *id = pairs->element[2 * i], *entry = pairs->element[2 * i + 1];
        if (id->type == REDIS_REPLY_STRING && entry->type == REDIS_REPLY_STRING) {
            ids[count] = slice_make(id->str, id->len);
            ids[most + count++] = slice_make(entry->str, entry->len);
        }
    }
    uint64_t next = strtoull(reply->element[0]->str, NULL, 10);
    c->done.read(c->context, SHELF_OK, next, count, ids, ids + most);
    free(ids);
}

static void on_read(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    if (c->s != NULL) {
        enum shelf_outcome what = outcome_of(outcome, reply);
        list_remove(&c->node);
        if (c->kind == CALL_LIST) {
            list_tell(c, what, reply);
        } else {
            read_tell(c, what, reply);
        }
    }
    call_free(c);
}

void shelf_list(struct shelf_store *s, list_callback *done, void *context)
{
    char key[KEY_BYTES_MAX];
    const struct slice argv[2] = {SLICE("HGETALL"), key_list(key, s)};
    struct call *c = call_new(s, CALL_LIST, context);
    c->done.list = done;
    store_command(s->store, on_read, c, 2, argv);
}

uint32_t shelf_place(const struct shelf_store *s, const char *shelf)
{
    char key[KEY_BYTES_MAX];
    return store_place(s->store, key_put(key, s, "sj", shelf));
}

void shelf_read(struct shelf_store *s, const char *shelf, uint64_t cursor, uint32_t most,
                read_callback *done, void *context)
{
    char key[KEY_BYTES_MAX], from[24], count[16];
    (void)snprintf(from, sizeof from, "%" PRIu64, cursor);
    (void)snprintf(count, sizeof count, "%" PRIu32, most);
    const struct slice argv[5] = {SLICE("HSCAN"), key_put(key, s, "sj", shelf), slice_of(from),
                                  SLICE("COUNT"), slice_of(count)};
    struct call *c = call_new(s, CALL_READ, context);
    c->done.read = done;
    store_command(s->store, on_read, c, 5, argv);
}
