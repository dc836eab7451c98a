#include "common/adapters/brokers_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/meaning/config.h"

/* A gap in the answers this long says nothing about others: they may not have got through either.
 */
enum { LOOK_MS = 1000, GAP_MS = 3 * LOOK_MS };

struct watched {
    struct broker_line line;
    int64_t since_ms; /* when this beat was first seen */
};

struct brokers_watch {
    struct store *store;      /* borrowed */
    struct store *subscriber; /* owned */
    struct event *look;       /* every LOOK_MS */
    char *prefix;
    void (*on_change)(void *context, const struct broker_line *lines, size_t count);
    void *context;
    struct watched seen[BROKERS_MAX]; /* all lines of the last look */
    size_t count;
    struct broker_line told[BROKERS_MAX]; /* as on_change had them last */
    size_t told_count;
    int64_t looked_ms; /* last look that succeeded; 0: none */
    bool ever;         /* on_change has run */
    bool asking;       /* an answer is due */
    bool again;        /* a change was announced meanwhile */
    bool gone;         /* destroyed: freed when the answer comes */
};

static void watch_free(struct brokers_watch *w)
{
    free(w->prefix);
    free(w);
}

static const struct watched *watched_find(const struct brokers_watch *w, const char *token)
{
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->seen[i].line.token, token) == 0) {
            return &w->seen[i];
        }
    }
    return NULL;
}

static void watch_see(struct brokers_watch *w, const struct broker_line *seen, size_t count,
                      int64_t now_ms)
{
    bool gap = now_ms - w->looked_ms > GAP_MS;
    struct watched *fresh = xcalloc(BROKERS_MAX, sizeof *fresh);
    for (size_t i = 0; i < count; i++) {
        const struct watched *was = watched_find(w, seen[i].token);
        bool still = was != NULL && was->line.beat == seen[i].beat && !gap;
        fresh[i] = (struct watched){.line = seen[i], .since_ms = still ? was->since_ms : now_ms};
    }
    memcpy(w->seen, fresh, sizeof w->seen);
    w->count = count;
    w->looked_ms = now_ms;
    free(fresh);
}

static bool said_the_same(const struct broker_line *a, const struct broker_line *b)
{
    return strcmp(a->token, b->token) == 0 && strcmp(a->name, b->name) == 0 &&
           strcmp(a->clients, b->clients) == 0 && strcmp(a->workers, b->workers) == 0 &&
           strcmp(a->key, b->key) == 0 && a->leaving == b->leaving;
}

static int by_token(const void *a, const void *b)
{
    const struct broker_line *left = a, *right = b;
    return strcmp(left->token, right->token);
}

/* Tells of those that live, when that is news. */
static void watch_tell(struct brokers_watch *w, int64_t now_ms)
{
    struct broker_line *live = xcalloc(BROKERS_MAX, sizeof *live);
    size_t count = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (now_ms - w->seen[i].since_ms < BROKERS_FORGET_MS) {
            live[count++] = w->seen[i].line;
        }
    }
    qsort(live, count, sizeof *live, by_token);
    bool news = !w->ever || count != w->told_count;
    for (size_t i = 0; !news && i < count; i++) {
        news = !said_the_same(&live[i], &w->told[i]);
    }
    if (news) {
        w->ever = true;
        w->told_count = count;
        memcpy(w->told, live, sizeof w->told);
        w->on_change(w->context, w->told, count);
    }
    free(live);
}

static void watch_ask(struct brokers_watch *w);

static void on_seen(void *context, const struct broker_line *seen, size_t count)
{
    struct brokers_watch *w = context;
    w->asking = false;
    if (w->gone) {
        watch_free(w);
        return;
    }
    if (seen != NULL) {
        int64_t now_ms = clock_mono_ms();
        watch_see(w, seen, count, now_ms);
        watch_tell(w, now_ms);
        if (w->again) {
            watch_ask(w);
        }
    }
}

static void watch_ask(struct brokers_watch *w)
{
    w->again = w->asking;
    if (w->asking || !store_up(w->store)) {
        return;
    }
    w->asking = true;
    brokers_look(w->store, w->prefix, on_seen, w);
}

static void on_announced(void *context, struct slice message UNUSED)
{
    watch_ask(context);
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct brokers_watch *w = context;
    if (!w->asking) {
        watch_ask(w);
    }
}

struct brokers_watch *
brokers_watch_new(struct event_base *base, struct store *store, const char *prefix,
                  void (*on_change)(void *context, const struct broker_line *lines, size_t count),
                  void *context)
{
    struct brokers_watch *w = xcalloc(1, sizeof *w);
    const struct timeval every = {LOOK_MS / 1000, LOOK_MS % 1000 * 1000};
    char channel[CONFIG_REDIS_PREFIX_BYTES_MAX + 16];
    int n = snprintf(channel, sizeof channel, "%s" BROKERS_CHANNEL, prefix);
    must(n > 0 && (size_t)n < sizeof channel);
    w->store = store;
    w->prefix = slice_dup(slice_of(prefix));
    w->on_change = on_change;
    w->context = context;
    w->subscriber = store_subscriber(store, channel, on_announced, w);
    w->look = event_new(base, -1, EV_PERSIST, on_look, w);
    need(w->look != NULL && event_add(w->look, &every) == 0);
    return w;
}

void brokers_watch_destroy(struct brokers_watch **wp)
{
    struct brokers_watch *w = *wp;
    if (w == NULL) {
        return;
    }
    *wp = NULL;
    store_destroy(&w->subscriber);
    event_free(w->look);
    w->gone = true;
    if (!w->asking) {
        watch_free(w);
    }
}
