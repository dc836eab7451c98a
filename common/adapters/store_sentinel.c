#include "common/adapters/store_sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { ASK_MS = 1000, HURRY_MS = 200, PENDING_MAX = 8 };

/* One of them. */
struct sentinel {
    struct sentinels *all;
    struct store *store;       /* the connection to it */
    bool asking;               /* the answers to the last question are not both there */
    uint64_t epoch;            /* of the first of the two answers */
    bool epoch_good;           /* it was one */
    struct sentinel_word word; /* the last whole answer */
};

struct sentinels {
    char name[NETADDR_REDIS_NAME_BYTES]; /* what they call the primary */
    struct sentinel_word believed;       /* heard: false until one was named */
    struct event *ask;                   /* the next question to all */
    bool hurry;                          /* a store waits */
    bool closing;                        /* nothing is judged any more */
    bool unknown;                        /* one answered, and did not know the name */
    void (*on_primary)(void *context);
    void *context; /* of on_primary */
    size_t count;
    struct sentinel at[NETADDR_REDIS_HOSTS_MAX];
};

/* ---- judging --------------------------------------------------------------------------------- */

static bool is_same_address(const struct netaddr *a, const struct netaddr *b)
{
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

/* Sentinels may name one server in two ways (by name, by address): then the way of before stays. */
static bool is_said(const struct sentinel_word *word, const struct sentinel_word *words,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (words[i].heard && words[i].epoch == word->epoch &&
            is_same_address(&words[i].primary, &word->primary)) {
            return true;
        }
    }
    return false;
}

const struct sentinel_word *sentinels_judge(const struct sentinel_word *before,
                                            const struct sentinel_word *words, size_t count)
{
    const struct sentinel_word *newest = NULL;
    size_t heard = 0;
    for (size_t i = 0; i < count; i++) {
        if (words[i].heard) {
            heard++;
            newest = newest == NULL || words[i].epoch > newest->epoch ? &words[i] : newest;
        }
    }
    if (newest == NULL) {
        return before;
    }
    if (!before->heard || newest->epoch > before->epoch) {
        return newest;
    }
    if (newest->epoch == before->epoch) {
        return is_said(before, words, count) ? before : newest;
    }
    return heard > count / 2 ? newest : before;
}

static void judge(struct sentinels *s)
{
    struct sentinel_word words[NETADDR_REDIS_HOSTS_MAX];
    if (s->closing) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        words[i] = s->at[i].word;
    }
    const struct sentinel_word *now = sentinels_judge(&s->believed, words, s->count);
    bool is_other =
        now->heard && (!s->believed.heard || !is_same_address(&now->primary, &s->believed.primary));
    s->believed = *now;
    if (is_other) {
        s->on_primary(s->context);
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static const char *text_of(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING ? r->str : "";
}

/* SENTINEL MASTER: names and values, one behind the other. */
static void on_epoch(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct sentinel *one = context;
    one->epoch_good = false;
    if (outcome != STORE_OK || reply->type != REDIS_REPLY_ARRAY) {
        return;
    }
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        if (strcmp(text_of(reply->element[i]), "config-epoch") == 0) {
            one->epoch_good =
                slice_to_u64(slice_of(text_of(reply->element[i + 1])), UINT64_MAX, &one->epoch);
        }
    }
}

static bool read_address(const redisReply *reply, struct netaddr *out)
{
    char text[NETADDR_HOST_BYTES + 16];
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        return false;
    }
    const char *host = text_of(reply->element[0]);
    bool is_v6 = strchr(host, ':') != NULL;
    int n = snprintf(text, sizeof text, "%s%s%s:%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
                     text_of(reply->element[1]));
    return n > 0 && (size_t)n < sizeof text && netaddr_listen(text, out) && out->port > 0 &&
           host[0] != '*';
}

/* The second of the two answers: the word is whole. */
static void on_address(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct sentinel *one = context;
    struct sentinel_word word = {.epoch = one->epoch};
    one->asking = false;
    word.heard = outcome == STORE_OK && one->epoch_good && read_address(reply, &word.primary);
    one->all->unknown = outcome == STORE_OK && !word.heard;
    one->word = word.heard ? word : (struct sentinel_word){0};
    judge(one->all);
}

/* The epoch first: if a fail-over comes between the two, the new address has the old epoch for a
 * second. The other way round the old address would be believed with the new one. (The address of
 * SENTINEL MASTER itself follows only when all replicas have, seconds later.) */
static void ask(struct sentinel *one)
{
    const struct slice name = slice_of(one->all->name);
    const struct slice epoch[3] = {SLICE("SENTINEL"), SLICE("MASTER"), name};
    const struct slice address[3] = {SLICE("SENTINEL"), SLICE("GET-MASTER-ADDR-BY-NAME"), name};
    if (one->asking || !store_up(one->store)) {
        return;
    }
    one->asking = true;
    store_command(one->store, on_epoch, one, 3, epoch);
    store_command(one->store, on_address, one, 3, address);
}

static void on_sentinel(void *context, bool up)
{
    struct sentinel *one = context;
    if (up) {
        ask(one);
    } else {
        one->word = (struct sentinel_word){0}; /* what it said may be old by now */
    }
}

static void ask_later(struct sentinels *s)
{
    const int ms = s->hurry ? HURRY_MS : ASK_MS;
    const struct timeval wait = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    need(event_add(s->ask, &wait) == 0);
}

static void on_ask(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sentinels *s = arg;
    ask_later(s);
    for (size_t i = 0; i < s->count; i++) {
        ask(&s->at[i]);
    }
}

void sentinels_hurry(struct sentinels *s, bool hurry)
{
    if (s->hurry != hurry) {
        s->hurry = hurry;
        ask_later(s);
    }
}

const struct netaddr *sentinels_primary(const struct sentinels *s)
{
    return s->believed.heard ? &s->believed.primary : NULL;
}

const char *sentinels_why(const struct sentinels *s)
{
    if (s->unknown) {
        return "the sentinels know no primary of this name";
    }
    for (size_t i = 0; i < s->count; i++) {
        if (!store_up(s->at[i].store) && store_why(s->at[i].store)[0] != '\0') {
            return store_why(s->at[i].store);
        }
    }
    return "no sentinel has answered yet";
}

/* ---- life ------------------------------------------------------------------------------------ */

struct sentinels *sentinels_new(struct event_base *base, const struct netaddr_redis *a,
                                const char *password, uint32_t timeout_ms,
                                void (*on_primary)(void *context), void *context)
{
    struct sentinels *s = xcalloc(1, sizeof *s);
    must(a->kind == NETADDR_REDIS_SENTINEL);
    memcpy(s->name, a->name, sizeof s->name);
    s->on_primary = on_primary;
    s->context = context;
    s->hurry = true;
    s->count = a->count;
    s->ask = evtimer_new(base, on_ask, s);
    must(s->ask != NULL);
    for (size_t i = 0; i < s->count; i++) {
        char address[STORE_NODE_ADDRESS_BYTES];
        store_node_address(a->hosts[i].host, a->hosts[i].port, address);
        struct store_options o = {.address = address,
                                  .password = password,
                                  .timeout_ms = timeout_ms,
                                  .pending_max = PENDING_MAX,
                                  .on_state = on_sentinel,
                                  .context = &s->at[i]};
        s->at[i].all = s;
        s->at[i].store = store_new(base, &o);
        store_plain(s->at[i].store);
        store_quiet(s->at[i].store);
    }
    ask_later(s);
    return s;
}

void sentinels_destroy(struct sentinels **sp)
{
    struct sentinels *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    s->closing = true;
    for (size_t i = 0; i < s->count; i++) {
        store_destroy(&s->at[i].store);
    }
    event_free(s->ask);
    free(s);
}
