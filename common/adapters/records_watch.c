#include "common/adapters/records_watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/meaning/config.h"

enum {
    POLL_MS = 500,
    KEY_BYTES_MAX = CONFIG_REDIS_PREFIX_BYTES_MAX + 32, /* prefix, "{rec}:", a section's name */
    KEYS = 1 + RECORD_KINDS,
    ANSWER_ELEMENTS = KEYS
};

/* KEYS of the scripts: version, then the kinds in their order. */
struct record_names {
    char key[KEYS][KEY_BYTES_MAX];
    char channel[KEY_BYTES_MAX];
};

struct records_watch {
    struct store *store;      /* borrowed */
    struct store *subscriber; /* owned */
    struct event *poll;       /* every POLL_MS: pub/sub promises nothing */
    struct record_names names;
    struct records *now; /* last good snapshot */
    char seen[24];       /* version last heard of, also of a snapshot refused; "": none */
    void (*on_change)(void *context, struct records *now);
    void *context;
    bool asking; /* an answer is due */
    bool again;  /* a change was announced meanwhile */
    bool gone;   /* destroyed: freed when the answer comes */
};

static void name_put(char out[KEY_BYTES_MAX], const char *prefix, const char *name)
{
    int n = snprintf(out, KEY_BYTES_MAX, "%s{rec}:%s", prefix, name);
    must(n > 0 && n < KEY_BYTES_MAX); /* a name cut short would be another key */
}

static void names_fill(struct record_names *n, const char *prefix)
{
    must(strlen(prefix) <= CONFIG_REDIS_PREFIX_BYTES_MAX);
    name_put(n->key[0], prefix, "version");
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        name_put(n->key[1 + kind], prefix, record_sections[kind]);
    }
    name_put(n->channel, prefix, "changed");
}

/* ---- what the script answers ----------------------------------------------------------------- */

static bool is_text(const redisReply *r, size_t bytes_max)
{
    return r->type == REDIS_REPLY_STRING && r->len <= bytes_max;
}

static void texts_add(struct record_texts *t, enum record_kind kind, const char *name,
                      const redisReply *text)
{
    t->at[t->count++] = (struct record_text){
        .kind = kind,
        .name = slice_dup(slice_of(name)),
        .text = slice_dup(slice_make(text->str, text->len)),
    };
}

/* {version, network, {name, text, …} × 3}. False: not of that shape. */
static bool answer_texts(const redisReply *reply, struct record_texts *out, const char **why)
{
    size_t most = 1;
    *why = "odd answer of the script";
    if (reply->elements != ANSWER_ELEMENTS || !is_text(reply->element[1], RECORD_BYTES_MAX)) {
        return false;
    }
    for (size_t k = 2; k < ANSWER_ELEMENTS; k++) {
        if (reply->element[k]->type != REDIS_REPLY_ARRAY ||
            reply->element[k]->elements > 2 * (size_t)RECORDS_MAX) {
            *why = "more records than the limit";
            return false;
        }
        most += reply->element[k]->elements / 2;
    }
    *out = (struct record_texts){.at = xcalloc(most, sizeof *out->at)};
    if (reply->element[1]->len > 0) {
        texts_add(out, RECORD_NETWORK, RECORD_NETWORK_NAME, reply->element[1]);
    }
    for (size_t k = 2; k < ANSWER_ELEMENTS; k++) {
        const redisReply *pairs = reply->element[k];
        for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
            if (!is_text(pairs->element[i], RECORD_NAME_BYTES_MAX) ||
                !is_text(pairs->element[i + 1], RECORD_BYTES_MAX)) {
                *why = "a record over its limit";
                record_texts_free(out);
                return false;
            }
            texts_add(out, (enum record_kind)(k - 1), pairs->element[i]->str,
                      pairs->element[i + 1]);
        }
    }
    return true;
}

/* ---- watching -------------------------------------------------------------------------------- */

static void watch_ask(struct records_watch *w);

static void watch_free(struct records_watch *w)
{
    records_unref(&w->now);
    free(w);
}

static void watch_take(struct records_watch *w, const redisReply *reply, uint64_t version)
{
    struct record_texts texts = {0};
    struct yaml_error error = {""};
    struct records *fresh = NULL;
    const char *why = error.text;
    if (answer_texts(reply, &texts, &why)) {
        fresh = records_build(texts.at, texts.count, version, &error);
        why = error.text;
        record_texts_free(&texts);
    }
    if (fresh == NULL) {
        log_error("records refused; the last good ones stay", "version", w->seen, "why", why, NULL);
        return;
    }
    records_unref(&w->now);
    w->now = fresh;
    log_info("records loaded", "version", w->seen, "integrations",
             log_num((long long)map_count(fresh->integrations)), NULL);
    w->on_change(w->context, w->now);
}

static void watch_answer(struct records_watch *w, const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        log_warn("records not read", "why", reply->str, NULL);
    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 1) {
        uint64_t version = (uint64_t)reply->element[0]->integer;
        (void)snprintf(w->seen, sizeof w->seen, "%" PRIu64, version);
        watch_take(w, reply, version);
    }
}

static void on_answer(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct records_watch *w = context;
    w->asking = false;
    if (w->gone) {
        watch_free(w);
        return;
    }
    if (outcome == STORE_OK) {
        watch_answer(w, reply);
        if (w->again && !w->gone) {
            watch_ask(w);
        }
    }
}

static void watch_ask(struct records_watch *w)
{
    w->again = w->asking;
    if (w->asking || !store_up(w->store)) {
        return;
    }
    struct slice argv[KEYS + 1];
    for (int i = 0; i < KEYS; i++) {
        argv[i] = slice_of(w->names.key[i]);
    }
    argv[KEYS] = slice_of(w->seen);
    w->asking = true;
    store_eval(w->store, STORE_RECORDS, on_answer, w, KEYS, KEYS + 1, argv);
}

static void on_announced(void *context, struct slice message UNUSED)
{
    watch_ask(context);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct records_watch *w = arg;
    if (!w->asking) {
        watch_ask(w);
    }
}

struct records_watch *records_watch_new(struct event_base *base, struct store *store,
                                        const char *prefix,
                                        void (*on_change)(void *context, struct records *now),
                                        void *context)
{
    struct records_watch *w = xcalloc(1, sizeof *w);
    w->store = store;
    w->on_change = on_change;
    w->context = context;
    w->now = records_new();
    names_fill(&w->names, prefix);
    w->subscriber = store_subscriber(store, w->names.channel, on_announced, w);
    w->poll = event_new(base, -1, EV_PERSIST, on_poll, w);
    must(w->poll != NULL);
    struct timeval every = {0, POLL_MS * 1000};
    (void)event_add(w->poll, &every);
    watch_ask(w);
    return w;
}

void records_watch_destroy(struct records_watch **wp)
{
    struct records_watch *w = *wp;
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

struct records *records_watch_now(const struct records_watch *w)
{
    return w->now;
}

/* ---- blocking -------------------------------------------------------------------------------- */

/* A list that is not empty; NULL: error filled. */
static redisReply *ask_list(struct asker *a, enum store_script script, size_t argc,
                            const struct slice *argv, char error[512])
{
    redisReply *r = store_ask_script(a, script, KEYS, (int)argc, argv, error);
    if (r != NULL && (r->type != REDIS_REPLY_ARRAY || r->elements == 0)) {
        (void)snprintf(error, 512, "Redis: odd answer");
        freeReplyObject(r);
        r = NULL;
    }
    return r;
}

bool records_load(struct asker *a, const char *prefix, struct record_texts *out, uint64_t *version,
                  char error[512])
{
    struct record_names names;
    struct slice argv[KEYS + 1];
    names_fill(&names, prefix);
    for (int i = 0; i < KEYS; i++) {
        argv[i] = slice_of(names.key[i]);
    }
    argv[KEYS] = SLICE("");
    redisReply *r = ask_list(a, STORE_RECORDS, KEYS + 1, argv, error);
    if (r == NULL) {
        return false;
    }
    const char *why = NULL;
    bool ok = answer_texts(r, out, &why);
    if (ok) {
        *version = (uint64_t)r->element[0]->integer;
    } else {
        (void)snprintf(error, 512, "records in Redis: %s", why);
    }
    freeReplyObject(r);
    return ok;
}

/* The arguments behind the keys: three for each record. texts holds "+text" or "-". */
static void store_arguments(const struct record_text *texts, size_t count, struct slice *argv,
                            struct buf *bytes)
{
    static const char *const key_numbers[RECORD_KINDS] = {"2", "3", "4", "5", "6",
                                                          "7", "8", "9", "10"};
    for (size_t i = 0; i < count; i++) {
        buf_init(&bytes[i], RECORD_BYTES_MAX + 1);
        buf_putc(&bytes[i], texts[i].text != NULL ? '+' : '-');
        buf_puts(&bytes[i], texts[i].text != NULL ? texts[i].text : "");
        must(buf_ok(&bytes[i]));
        argv[3 * i] = slice_of(key_numbers[texts[i].kind]);
        argv[3 * i + 1] = slice_of(texts[i].name);
        argv[3 * i + 2] = buf_slice(&bytes[i]);
    }
}

static bool store_judge(const redisReply *r, uint64_t expected, char error[512])
{
    if (r->elements == 2 && r->element[0]->integer == 1) {
        return true;
    }
    (void)snprintf(error, 512,
                   "somebody else applied records meanwhile (version %lld, read as %" PRIu64
                   "): nothing was written; run it again",
                   r->elements == 2 ? r->element[1]->integer : -1LL, expected);
    return false;
}

bool records_store(struct asker *a, const char *prefix, const struct record_text *texts,
                   size_t count, uint64_t expected, char error[512])
{
    struct record_names names;
    char version[24];
    size_t argc = KEYS + 2 + 3 * count;
    struct slice *argv = xcalloc(argc, sizeof *argv);
    struct buf *bytes = xcalloc(count, sizeof *bytes);
    names_fill(&names, prefix);
    for (int i = 0; i < KEYS; i++) {
        argv[i] = slice_of(names.key[i]);
    }
    (void)snprintf(version, sizeof version, "%" PRIu64, expected);
    argv[KEYS] = slice_of(version);
    argv[KEYS + 1] = slice_of(names.channel);
    store_arguments(texts, count, argv + KEYS + 2, bytes);
    redisReply *r = ask_list(a, STORE_APPLY, argc, argv, error);
    bool ok = r != NULL && store_judge(r, expected, error);
    if (r != NULL) {
        freeReplyObject(r);
    }
    for (size_t i = 0; i < count; i++) {
        buf_free(&bytes[i]);
    }
    free(bytes);
    free(argv);
    return ok;
}
