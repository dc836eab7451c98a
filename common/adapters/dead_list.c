#include "common/adapters/dead_list.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/meaning/config.h"

enum { KEY_BYTES_MAX = CONFIG_REDIS_PREFIX_BYTES_MAX + 16 };

/* The keys of one tag. */
struct keys {
    char list[KEY_BYTES_MAX];    /* sorted set */
    char letters[KEY_BYTES_MAX]; /* what stands before an id */
};

static void keys_of(struct keys *k, const char *prefix, const char *tag)
{
    must(snprintf(k->list, sizeof k->list, "%sdead:{%s}", prefix, tag) < KEY_BYTES_MAX);
    must(snprintf(k->letters, sizeof k->letters, "%sdl:{%s}:", prefix, tag) < KEY_BYTES_MAX);
}

static redisReply *checked(redisReply *r, int type, char error[512])
{
    if (r == NULL || r->type == type) {
        return r;
    }
    (void)snprintf(error, 512, "Redis: odd answer");
    freeReplyObject(r);
    return NULL;
}

static struct slice text_at(const redisReply *r, size_t i)
{
    const redisReply *e = i < r->elements ? r->element[i] : NULL;
    return e != NULL && e->type == REDIS_REPLY_STRING ? slice_make(e->str, e->len)
                                                      : (struct slice){NULL, 0};
}

/* entry, state, code, at: from `at` on. */
static struct dead_row row_at(const redisReply *r, size_t at, struct slice id)
{
    uint64_t at_ms = 0;
    bool known = slice_to_u64(text_at(r, at + 3), INT64_MAX, &at_ms);
    return (struct dead_row){.id = id,
                             .entry = text_at(r, at),
                             .state = text_at(r, at + 1),
                             .code = text_at(r, at + 2),
                             .at_ms = known ? (int64_t)at_ms : 0};
}

bool dead_list(struct asker *a, const char *prefix, unsigned tag, int64_t since_ms,
               dead_row_taker *row, void *context, char error[512])
{
    char text[3], since[24], from[24];
    struct keys k;
    int64_t seen = 0;
    bool more = true;
    (void)snprintf(text, sizeof text, "%02x", tag & 0xff);
    (void)snprintf(since, sizeof since, "%" PRId64, since_ms);
    keys_of(&k, prefix, text);
    do {
        (void)snprintf(from, sizeof from, "%" PRId64, seen);
        const struct slice argv[] = {slice_of(k.list), slice_of(k.letters), slice_of(from),
                                     slice_of(since)};
        redisReply *r =
            checked(store_ask_script(a, STORE_DEAD_LIST, 1, (int)ARRAY_LEN(argv), argv, error),
                    REDIS_REPLY_ARRAY, error);
        if (r == NULL) {
            return false;
        }
        for (size_t i = 1; i + 4 < r->elements && more; i += 5) {
            const struct dead_row one = row_at(r, i + 1, text_at(r, i));
            more = row(context, &one);
        }
        seen = r->elements > 0 ? r->element[0]->integer : 0;
        freeReplyObject(r);
    } while (seen > 0 && more);
    return true;
}

int dead_show(struct asker *a, const char *prefix, struct slice id, dead_row_taker *row,
              void *context, char error[512])
{
    char tag[3], key[KEY_BYTES_MAX + DEAD_ID_BYTES_MAX];
    struct keys k;
    dead_tag(id, tag);
    keys_of(&k, prefix, tag);
    (void)snprintf(key, sizeof key, "%s%.*s", k.letters, SLICE_ARG(id));
    const struct slice argv[] = {SLICE("HMGET"), slice_of(key), SLICE("entry"),
                                 SLICE("state"), SLICE("code"), SLICE("at")};
    redisReply *r =
        checked(store_ask(a, (int)ARRAY_LEN(argv), argv, error), REDIS_REPLY_ARRAY, error);
    if (r == NULL) {
        return -1;
    }
    const struct dead_row one = row_at(r, 0, id);
    bool there = one.entry.n > 0;
    if (there) {
        (void)row(context, &one);
    }
    freeReplyObject(r);
    return there ? 1 : 0;
}

int dead_take(struct asker *a, const char *prefix, struct slice id, char error[512])
{
    char tag[3];
    struct keys k;
    dead_tag(id, tag);
    keys_of(&k, prefix, tag);
    const struct slice argv[] = {slice_of(k.list), slice_of(k.letters), id};
    redisReply *r =
        checked(store_ask_script(a, STORE_DEAD_TAKE, 1, (int)ARRAY_LEN(argv), argv, error),
                REDIS_REPLY_INTEGER, error);
    if (r == NULL) {
        return -1;
    }
    int there = r->integer > 0 ? 1 : 0;
    freeReplyObject(r);
    return there;
}
