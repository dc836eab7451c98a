#include "common/adapters/unknown_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"

const char *const unknown_fates[4] = {
    [UNKNOWN_SENT] = "sent",
    [UNKNOWN_NOT_SENT] = "not_sent",
    [UNKNOWN_VERIFIED] = "verified",
    [UNKNOWN_NOT_VERIFIED] = "not_verified",
};

enum { KEY_BYTES = 320, WHO_BYTES = 80 };

struct unknown_store {
    struct store *store;
    char *prefix;
    struct list calls; /* all that still wait */
};

/* One script on its way. */
struct call {
    struct list node;        /* in unknown_store.calls */
    struct unknown_store *s; /* NULL: the store is gone, the answer is nobody's */
    void (*done)(void *context, struct slice job, enum unknown_reaped what);
    void *context;
    size_t job_bytes;
    char job[]; /* its id */
};

/* ---- life ------------------------------------------------------------------------------------ */

struct unknown_store *unknown_store_new(struct store *store, const char *prefix)
{
    struct unknown_store *s = xcalloc(1, sizeof *s);
    s->store = store;
    s->prefix = slice_dup(slice_of(prefix));
    list_init(&s->calls);
    return s;
}

void unknown_store_destroy(struct unknown_store **sp)
{
    struct unknown_store *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    list_each(node, &s->calls)
    {
        struct call *c = list_owner(node, struct call, node);
        c->s = NULL; /* freed by the answer that the store owes */
        list_remove(&c->node);
    }
    free(s->prefix);
    free(s);
}

static void put_key(char out[KEY_BYTES], const char *prefix, const char *kind, unsigned tag,
                    const char *mark, struct slice rest)
{
    int n =
        snprintf(out, KEY_BYTES, "%.100s%s:{%02x}%s%.*s", prefix, kind, tag, mark, SLICE_ARG(rest));
    must(n > 0 && n < KEY_BYTES);
}

/* ---- reaping --------------------------------------------------------------------------------- */

static enum unknown_reaped reaped_of(enum store_outcome outcome, const redisReply *reply)
{
    if (outcome != STORE_OK || store_reply_unavailable(reply)) {
        return UNKNOWN_NO_STORE;
    }
    if (reply->type != REDIS_REPLY_STRING) {
        log_error("the reaper's script failed", "why",
                  reply->type == REDIS_REPLY_ERROR ? reply->str : "odd answer", NULL);
        return UNKNOWN_NO_STORE;
    }
    return strcmp(reply->str, "unknown") == 0 ? UNKNOWN_REAPED
           : strcmp(reply->str, "done") == 0  ? UNKNOWN_KNOWN
                                              : UNKNOWN_LIVES;
}

static void on_reaped(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    if (c->s != NULL) {
        c->done(c->context, slice_make(c->job, c->job_bytes), reaped_of(outcome, reply));
        list_remove(&c->node);
    }
    free(c);
}

void unknown_reap(struct unknown_store *s, unsigned tag, struct slice job,
                  void (*done)(void *context, struct slice job, enum unknown_reaped what),
                  void *context)
{
    char key[KEY_BYTES], text[12];
    must(tag < UNKNOWN_TAGS);
    if (job.n == 0 || job.n > UNKNOWN_ID_BYTES) {
        done(context, job, UNKNOWN_LIVES);
        return;
    }
    struct call *c = xcalloc(1, sizeof *c + job.n);
    c->s = s;
    c->done = done;
    c->context = context;
    c->job_bytes = job.n;
    memcpy(c->job, job.p, job.n);
    list_init(&c->node);
    list_push(&s->calls, &c->node);
    put_key(key, s->prefix, "j", tag, ":", job);
    (void)snprintf(text, sizeof text, "%02x", tag);
    const struct slice argv[] = {slice_of(key), slice_of(s->prefix), slice_of(text), job};
    store_eval(s->store, STORE_REAP, on_reaped, c, 1, ARRAY_LEN(argv), argv);
}

/* ---- blocking -------------------------------------------------------------------------------- */

/* An answer of this type, or NULL and error filled. */
static redisReply *checked(redisReply *r, int type, char error[512])
{
    if (r != NULL && r->type != type) {
        (void)snprintf(error, 512, "Redis: odd answer");
        freeReplyObject(r);
        r = NULL;
    }
    return r;
}

static void text_at(const redisReply *reply, size_t i, char *out, size_t size)
{
    const redisReply *r = i < reply->elements ? reply->element[i] : NULL;
    bool text = r != NULL && r->type == REDIS_REPLY_STRING;
    (void)snprintf(out, size, "%.*s", text ? (int)r->len : 0, text ? r->str : "");
}

static void read_row(const redisReply *r, size_t at, struct unknown_row *row)
{
    char since[32];
    text_at(r, at, row->job, sizeof row->job);
    text_at(r, at + 1, row->op, sizeof row->op);
    text_at(r, at + 2, row->route, sizeof row->route);
    text_at(r, at + 3, row->party, sizeof row->party);
    text_at(r, at + 4, row->request_id, sizeof row->request_id);
    text_at(r, at + 5, row->number, sizeof row->number);
    text_at(r, at + 6, since, sizeof since);
    row->since_ms = strtoll(since, NULL, 10);
}

static redisReply *list_part(struct asker *a, const char *prefix, unsigned tag, long long seen,
                             char error[512])
{
    char key[KEY_BYTES], text[12], from[24];
    put_key(key, prefix, "uk", tag, "", slice_of(""));
    (void)snprintf(text, sizeof text, "%02x", tag);
    (void)snprintf(from, sizeof from, "%lld", seen);
    const struct slice argv[] = {slice_of(key), slice_of(prefix), slice_of(text), slice_of(""),
                                 slice_of(from)};
    return checked(store_ask_script(a, STORE_UNKNOWN_LIST, 1, ARRAY_LEN(argv), argv, error),
                   REDIS_REPLY_ARRAY, error);
}

bool unknown_list(struct asker *a, const char *prefix, unsigned tag,
                  bool (*row)(void *context, const struct unknown_row *row), void *context,
                  char error[512])
{
    long long seen = 0;
    bool more = true;
    must(tag < UNKNOWN_TAGS);
    do {
        redisReply *r = list_part(a, prefix, tag, seen, error);
        if (r == NULL) {
            return false;
        }
        for (size_t i = 1; i + 6 < r->elements && more; i += 7) {
            struct unknown_row one;
            read_row(r, i, &one);
            more = row(context, &one);
        }
        seen = r->elements > 0 ? r->element[0]->integer : 0;
        freeReplyObject(r);
    } while (seen > 0 && more);
    return true;
}

/* A claim's key has the tag of a number, which nobody has at hand: asks for all of them.
 * UNKNOWN_TAGS: there is none; -1: error filled. */
static int tag_of_job(struct asker *a, const char *prefix, const char *job, char error[512])
{
    for (unsigned tag = 0; tag < UNKNOWN_TAGS; tag++) {
        char key[KEY_BYTES];
        put_key(key, prefix, "j", tag, ":", slice_of(job));
        const struct slice argv[] = {SLICE("EXISTS"), slice_of(key)};
        redisReply *r =
            checked(store_ask(a, ARRAY_LEN(argv), argv, error), REDIS_REPLY_INTEGER, error);
        if (r == NULL) {
            return -1;
        }
        bool there = r->integer == 1;
        freeReplyObject(r);
        if (there) {
            return (int)tag;
        }
    }
    return UNKNOWN_TAGS;
}

static void put_day(char out[16])
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm t;
    must(gmtime_r(&now, &t) != NULL);
    must(strftime(out, 16, "%Y%m%d", &t) == 8);
}

/* It stands in the JSON of a time-line. */
static void put_who(char out[WHO_BYTES], const char *who)
{
    size_t n = 0;
    for (; who[n] != '\0' && n + 1 < WHO_BYTES; n++) {
        char c = who[n];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("._@-", c) != NULL;
        out[n] = c;
        if (!plain) {
            out[n] = '_';
        }
    }
    out[n] = '\0';
}

/* As shared.lua numbers its arguments, the key before them; those that nobody reads are empty. */
static redisReply *ask_resolve(struct asker *a, const char *prefix, unsigned tag,
                               const struct unknown_word *w, char error[512])
{
    enum { P = 1, T, JOB, DAY = 14, EVENTS_KEEP = 15, SESSION_KEEP = 17, FATE = 21, WHO };
    char key[KEY_BYTES], text[12], day[16], keep[24], who[WHO_BYTES];
    struct slice argv[1 + WHO];
    put_key(key, prefix, "j", tag, ":", slice_of(w->job));
    (void)snprintf(text, sizeof text, "%02x", tag);
    (void)snprintf(keep, sizeof keep, "%" PRIu64, w->events_keep_s);
    put_day(day);
    put_who(who, w->who);
    for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = slice_of("");
    }
    argv[0] = slice_of(key);
    argv[P] = slice_of(prefix);
    argv[T] = slice_of(text);
    argv[JOB] = slice_of(w->job);
    argv[DAY] = slice_of(day);
    argv[EVENTS_KEEP] = slice_of(keep);
    argv[SESSION_KEEP] = slice_of("0");
    argv[FATE] = slice_of(unknown_fates[w->fate]);
    argv[WHO] = slice_of(who);
    return checked(store_ask_script(a, STORE_UNKNOWN_RESOLVE, 1, ARRAY_LEN(argv), argv, error),
                   REDIS_REPLY_ARRAY, error);
}

static enum unknown_resolved resolved_of(struct slice word)
{
    return slice_is(word, "resolved") ? UNKNOWN_RESOLVED
           : slice_is(word, "known")  ? UNKNOWN_RESOLVED_BEFORE
           : slice_is(word, "other")  ? UNKNOWN_OTHER_OP
                                      : UNKNOWN_GONE;
}

enum unknown_resolved unknown_resolve(struct asker *a, const char *prefix,
                                      const struct unknown_word *word, struct unknown_outcome *out,
                                      char error[512])
{
    char what[16];
    int tag = tag_of_job(a, prefix, word->job, error);
    *out = (struct unknown_outcome){.end = ""};
    if (tag < 0 || tag == UNKNOWN_TAGS) {
        return tag < 0 ? UNKNOWN_ERROR : UNKNOWN_GONE;
    }
    redisReply *r = ask_resolve(a, prefix, (unsigned)tag, word, error);
    if (r == NULL) {
        return UNKNOWN_ERROR;
    }
    text_at(r, 0, what, sizeof what);
    text_at(r, 1, out->end, sizeof out->end);
    text_at(r, 2, out->code, sizeof out->code);
    freeReplyObject(r);
    return resolved_of(slice_of(what));
}
