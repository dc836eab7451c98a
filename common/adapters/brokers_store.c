#include "common/adapters/brokers_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/meaning/pack.h"

/* In front of a line stands its beat, in hexadecimal: the script compares what is behind it. */
enum {
    BEAT_BYTES = 16,
    LINE_MEMBERS = 5,
    LINE_BYTES_MAX = BEAT_BYTES + BROKER_NAME_BYTES + 2 * BROKER_ADDRESS_BYTES + 128,
    KEY_BYTES_MAX = CONFIG_REDIS_PREFIX_BYTES_MAX + 16
};

/* A question on its way. */
struct ask {
    char own[BROKER_TOKEN_BYTES + 1]; /* told in any case; "": nobody is */
    void (*beat)(void *context, const struct broker_line *seen, size_t count, int64_t store_ms);
    void (*look)(void *context, const struct broker_line *seen, size_t count);
    void *context; /* of either */
};

static struct slice name_key(char out[KEY_BYTES_MAX], const char *prefix)
{
    int n = snprintf(out, KEY_BYTES_MAX, "%sbrokers", prefix);
    must(n > 0 && n < KEY_BYTES_MAX); /* a name cut short would be another key */
    return slice_make(out, (size_t)n);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void line_write(struct buf *out, const struct broker_line *l)
{
    buf_printf(out, "%0*" PRIx64, BEAT_BYTES, l->beat);
    pack_put_array(out, LINE_MEMBERS);
    pack_put_str(out, slice_of(l->name));
    pack_put_str(out, slice_of(l->clients));
    pack_put_str(out, slice_of(l->workers));
    pack_put_str(out, slice_of(l->key));
    pack_put_bool(out, l->leaving);
    must(buf_ok(out));
}

static bool text_read(struct pack *p, char *out, size_t room)
{
    struct slice s;
    if (!pack_read_str(p, &s) || s.n >= room || memchr(s.p, '\0', s.n) != NULL) {
        return false;
    }
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

static bool beat_read(const char *text, uint64_t *out)
{
    char hex[BEAT_BYTES + 1];
    memcpy(hex, text, BEAT_BYTES);
    hex[BEAT_BYTES] = '\0';
    *out = strtoull(hex, NULL, 16);
    return strspn(hex, "0123456789abcdef") == BEAT_BYTES;
}

/* False: no line of this version of otpq. Later ones may put more members behind these. */
static bool line_read(const redisReply *token, const redisReply *line, struct broker_line *out)
{
    uint32_t members = 0;
    if (token->type != REDIS_REPLY_STRING || token->len != BROKER_TOKEN_BYTES ||
        line->type != REDIS_REPLY_STRING || line->len < BEAT_BYTES) {
        return false;
    }
    *out = (struct broker_line){.leaving = false};
    memcpy(out->token, token->str, BROKER_TOKEN_BYTES);
    struct pack p = pack_over(slice_make(line->str + BEAT_BYTES, line->len - BEAT_BYTES));
    return beat_read(line->str, &out->beat) && pack_read_array(&p, &members) &&
           members >= LINE_MEMBERS && text_read(&p, out->name, sizeof(out->name)) &&
           text_read(&p, out->clients, sizeof(out->clients)) &&
           text_read(&p, out->workers, sizeof(out->workers)) &&
           text_read(&p, out->key, sizeof(out->key)) && pack_read_bool(&p, &out->leaving);
}

/* HGETALL's pairs, at most BROKERS_MAX of them, `own` among them if it is there. */
static size_t lines_read(const redisReply *pairs, const char *own, struct broker_line *out)
{
    size_t count = 0;
    for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
        struct broker_line line;
        if (!line_read(pairs->element[i], pairs->element[i + 1], &line)) {
            continue;
        }
        if (count < BROKERS_MAX) {
            out[count++] = line;
        } else if (strcmp(line.token, own) == 0) {
            out[BROKERS_MAX - 1] = line;
        }
    }
    return count;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void on_beat(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct ask *a = context;
    struct broker_line *seen = NULL;
    size_t count = 0;
    int64_t store_ms = 0;
    if (outcome == STORE_OK && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_INTEGER &&
        reply->element[1]->type == REDIS_REPLY_ARRAY) {
        seen = xcalloc(BROKERS_MAX, sizeof *seen);
        store_ms = reply->element[0]->integer;
        count = lines_read(reply->element[1], a->own, seen);
    }
    a->beat(a->context, seen, count, store_ms);
    free(seen);
    free(a);
}

void brokers_beat(struct store *store, const char *prefix, const struct broker_line *own,
                  const char *const *gone, size_t gone_count,
                  void (*done)(void *context, const struct broker_line *seen, size_t count,
                               int64_t store_ms),
                  void *context)
{
    char key[KEY_BYTES_MAX];
    struct buf line;
    struct slice argv[4 + BROKERS_MAX];
    must(gone_count <= BROKERS_MAX && strlen(own->token) == BROKER_TOKEN_BYTES);
    buf_init(&line, LINE_BYTES_MAX);
    line_write(&line, own);
    argv[0] = name_key(key, prefix);
    argv[1] = argv[0]; /* the channel has the same name */
    argv[2] = slice_of(own->token);
    argv[3] = buf_slice(&line);
    for (size_t i = 0; i < gone_count; i++) {
        argv[4 + i] = slice_of(gone[i]);
    }
    struct ask *a = xcalloc(1, sizeof *a);
    memcpy(a->own, own->token, sizeof a->own);
    a->beat = done;
    a->context = context;
    store_eval(store, STORE_BROKERS_BEAT, on_beat, a, 1, (int)(4 + gone_count), argv);
    buf_free(&line);
}

static void on_look(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct ask *a = context;
    struct broker_line *seen = NULL;
    size_t count = 0;
    if (outcome == STORE_OK && reply->type == REDIS_REPLY_ARRAY) {
        seen = xcalloc(BROKERS_MAX, sizeof *seen);
        count = lines_read(reply, "", seen);
    }
    a->look(a->context, seen, count);
    free(seen);
    free(a);
}

void brokers_look(struct store *store, const char *prefix,
                  void (*done)(void *context, const struct broker_line *seen, size_t count),
                  void *context)
{
    char key[KEY_BYTES_MAX];
    const struct slice argv[2] = {SLICE("HGETALL"), name_key(key, prefix)};
    struct ask *a = xcalloc(1, sizeof *a);
    a->look = done;
    a->context = context;
    store_command(store, on_look, a, 2, argv);
}

static void on_left(void *context UNUSED, enum store_outcome outcome UNUSED,
                    const redisReply *reply UNUSED)
{
}

void brokers_leave(struct store *store, const char *prefix, const char *token)
{
    char key[KEY_BYTES_MAX];
    const struct slice name = name_key(key, prefix);
    const struct slice del[3] = {SLICE("HDEL"), name, slice_of(token)};
    const struct slice news[3] = {SLICE("PUBLISH"), name, SLICE("")};
    store_command(store, on_left, NULL, 3,
                  del); /* no script: the server might have to be sent it */
    store_command(store, on_left, NULL, 3, news);
}
