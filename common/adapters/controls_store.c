#include "common/adapters/controls_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/meaning/config.h"

enum { POLL_MS = 500, KEY_BYTES_MAX = CONFIG_REDIS_PREFIX_BYTES_MAX + 32 };

const char *const control_words[] = {
    [CONTROL_NONE] = "", [CONTROL_PAUSED] = "paused", [CONTROL_DRAINING] = "draining"};

static void key_put(char out[KEY_BYTES_MAX], const char *prefix, const char *name)
{
    int n = snprintf(out, KEY_BYTES_MAX, "%s{rec}:%s", prefix, name);
    must(n > 0 && n < KEY_BYTES_MAX); /* a name cut short would be another key */
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum control_word word_of(struct slice text)
{
    for (int word = CONTROL_PAUSED; word <= CONTROL_DRAINING; word++) {
        if (slice_is(text, control_words[word])) {
            return (enum control_word)word;
        }
    }
    return CONTROL_NONE;
}

/* Up to the next blank, which is taken away too. */
static struct slice next_word(struct slice *rest)
{
    const char *blank = rest->n > 0 ? memchr(rest->p, ' ', rest->n) : NULL;
    size_t n = blank != NULL ? (size_t)(blank - rest->p) : rest->n;
    struct slice word = slice_make(rest->p, n);
    size_t taken = blank != NULL ? n + 1 : n;
    *rest = slice_make(rest->p + taken, rest->n - taken);
    return word;
}

static bool control_read(struct slice name, struct slice value, struct control *out)
{
    uint64_t at_ms = 0;
    if (name.n == 0 || name.n > CONTROL_NAME_BYTES) {
        return false;
    }
    *out = (struct control){.word = word_of(next_word(&value))};
    if (out->word == CONTROL_NONE || !slice_to_u64(next_word(&value), INT64_MAX, &at_ms)) {
        return false;
    }
    out->at_ms = (int64_t)at_ms;
    (void)snprintf(out->name, sizeof out->name, "%.*s", SLICE_ARG(name));
    (void)snprintf(out->who, sizeof out->who, "%.*s", SLICE_ARG(value));
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct control *)a)->name, ((const struct control *)b)->name);
}

/* A hash as Redis gives it. Lines that nobody can read are left out: a later otpq may know them. */
static void controls_read(const redisReply *reply, struct controls *out)
{
    out->count = 0;
    for (size_t i = 0; i + 1 < reply->elements && out->count < CONTROLS_MAX; i += 2) {
        const redisReply *name = reply->element[i];
        const redisReply *value = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
            control_read(slice_make(name->str, name->len), slice_make(value->str, value->len),
                         &out->at[out->count])) {
            out->count++;
        } else {
            log_debug("a control that this version does not know", NULL);
        }
    }
    qsort(out->at, out->count, sizeof out->at[0], compare);
}

enum control_word controls_of(const struct controls *c, struct slice name)
{
    struct control key = {.word = CONTROL_NONE};
    if (c == NULL || name.n > CONTROL_NAME_BYTES) {
        return CONTROL_NONE;
    }
    (void)snprintf(key.name, sizeof key.name, "%.*s", SLICE_ARG(name));
    const struct control *found = bsearch(&key, c->at, c->count, sizeof c->at[0], compare);
    return found != NULL ? found->word : CONTROL_NONE;
}

enum control_word controls_of_route(const struct controls *c, struct slice route)
{
    enum control_word own = controls_of(c, route);
    return own != CONTROL_NONE ? own : controls_of(c, SLICE(CONTROL_ALL));
}

bool controls_route_is(const struct controls *c, struct slice route, enum control_word word)
{
    return controls_of(c, route) == word || controls_of(c, SLICE(CONTROL_ALL)) == word;
}

/* ---- watching -------------------------------------------------------------------------------- */

struct controls_watch {
    struct store *store;      /* borrowed */
    struct store *subscriber; /* owned */
    struct event *poll;       /* every POLL_MS: pub/sub promises nothing */
    struct controls *now;     /* last read, or NULL */
    char key[KEY_BYTES_MAX];
    void (*on_change)(void *context);
    void *context;
    bool asking; /* an answer is due */
    bool again;  /* a change was announced meanwhile */
    bool gone;   /* destroyed: freed when the answer comes */
};

static void watch_ask(struct controls_watch *w);

static void watch_free(struct controls_watch *w)
{
    free(w->now);
    free(w);
}

static bool same(const struct controls *a, const struct controls *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        equal = strcmp(a->at[i].name, b->at[i].name) == 0 && a->at[i].word == b->at[i].word &&
                a->at[i].at_ms == b->at[i].at_ms;
    }
    return equal;
}

static void watch_take(struct controls_watch *w, const redisReply *reply)
{
    struct controls *fresh = xcalloc(1, sizeof *fresh);
    controls_read(reply, fresh);
    if (w->now != NULL && same(w->now, fresh)) {
        free(fresh);
        return;
    }
    free(w->now);
    w->now = fresh;
    log_info("controls", "count", log_num((long long)fresh->count), NULL);
    w->on_change(w->context);
}

static void on_answer(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct controls_watch *w = context;
    w->asking = false;
    if (w->gone) {
        watch_free(w);
        return;
    }
    if (outcome == STORE_OK && reply->type == REDIS_REPLY_ARRAY) {
        watch_take(w, reply);
    }
    if (outcome == STORE_OK && w->again) {
        watch_ask(w);
    }
}

static void watch_ask(struct controls_watch *w)
{
    w->again = w->asking;
    if (w->asking || !store_up(w->store)) {
        return;
    }
    const struct slice argv[] = {SLICE("HGETALL"), slice_of(w->key)};
    w->asking = true;
    store_command(w->store, on_answer, w, ARRAY_LEN(argv), argv);
}

static void on_announced(void *context, struct slice message UNUSED)
{
    watch_ask(context);
}

static void on_poll(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct controls_watch *w = context;
    if (!w->asking) {
        watch_ask(w);
    }
}

struct controls_watch *controls_watch_new(struct event_base *base, struct store *store,
                                          const char *prefix, void (*on_change)(void *context),
                                          void *context)
{
    struct controls_watch *w = xcalloc(1, sizeof *w);
    char channel[KEY_BYTES_MAX];
    const struct timeval every = {0, POLL_MS * 1000};
    w->store = store;
    w->on_change = on_change;
    w->context = context;
    key_put(w->key, prefix, "controls");
    key_put(channel, prefix, "controlled");
    w->subscriber = store_subscriber(store, channel, on_announced, w);
    w->poll = event_new(base, -1, EV_PERSIST, on_poll, w);
    need(w->poll != NULL && event_add(w->poll, &every) == 0);
    watch_ask(w);
    return w;
}

void controls_watch_destroy(struct controls_watch **wp)
{
    struct controls_watch *w = *wp;
    if (w == NULL) {
        return;
    }
    *wp = NULL;
    store_destroy(&w->subscriber);
    event_free(w->poll);
    w->gone = true;
    if (!w->asking) {
        watch_free(w);
    }
}

const struct controls *controls_watch_now(const struct controls_watch *w)
{
    return w->now;
}

/* ---- blocking -------------------------------------------------------------------------------- */

/* What it is of this type, or NULL and error filled. */
static redisReply *checked(redisReply *r, int type, char error[512])
{
    if (r == NULL || r->type == type) {
        return r;
    }
    (void)snprintf(error, 512, "Redis: odd answer");
    freeReplyObject(r);
    return NULL;
}

bool controls_load(struct asker *a, const char *prefix, struct controls *out, char error[512])
{
    char key[KEY_BYTES_MAX];
    key_put(key, prefix, "controls");
    const struct slice argv[] = {SLICE("HGETALL"), slice_of(key)};
    redisReply *r =
        checked(store_ask(a, (int)ARRAY_LEN(argv), argv, error), REDIS_REPLY_ARRAY, error);
    if (r == NULL) {
        return false;
    }
    controls_read(r, out);
    freeReplyObject(r);
    return true;
}

bool controls_set(struct asker *a, const char *prefix, const char *name, enum control_word word,
                  const char *who, enum control_word *was, char error[512])
{
    char key[KEY_BYTES_MAX], channel[KEY_BYTES_MAX], most[16];
    size_t who_n = strlen(who) < CONTROL_WHO_BYTES ? strlen(who) : CONTROL_WHO_BYTES;
    must(strlen(name) <= CONTROL_NAME_BYTES);
    key_put(key, prefix, "controls");
    key_put(channel, prefix, "controlled");
    (void)snprintf(most, sizeof most, "%d", CONTROLS_MAX);
    const struct slice argv[] = {slice_of(key),          slice_of(channel),
                                 slice_of(name),         slice_of(control_words[word]),
                                 slice_make(who, who_n), slice_of(most)};
    redisReply *r =
        checked(store_ask_script(a, STORE_CONTROL, 1, (int)ARRAY_LEN(argv), argv, error),
                REDIS_REPLY_STRING, error);
    if (r == NULL) {
        return false;
    }
    struct slice before = slice_make(r->str, r->len);
    bool full = slice_is(before, "full");
    *was = word_of(next_word(&before));
    freeReplyObject(r);
    if (full) {
        (void)snprintf(error, 512, "%d names are paused or draining already", CONTROLS_MAX);
    }
    return !full;
}
