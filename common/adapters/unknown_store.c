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

enum { KEY_BYTES = 320, PIPELINE = 64 };

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
static redisReply *checked(redisContext *c, redisReply *r, int type, char error[512])
{
    if (r != NULL && r->type == type) {
        return r;
    }
    (void)snprintf(error, 512, "Redis: %s",
                   r == NULL                      ? c->errstr
                   : r->type == REDIS_REPLY_ERROR ? r->str
                                                  : "odd answer");
    if (r != NULL) {
        freeReplyObject(r);
    }
    return NULL;
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

bool unknown_list(redisContext *c, const char *prefix, unsigned tag,
                  bool (*row)(void *context, const struct unknown_row *row), void *context,
                  char error[512])
{
    struct slice lua = store_script_source(STORE_UNKNOWN_LIST);
    char key[KEY_BYTES];
    long long seen = 0;
    bool more = true;
    put_key(key, prefix, "uk", tag, "", slice_of(""));
    do {
        redisReply *r = checked(c,
                                redisCommand(c, "EVAL %b 1 %s %s %02x %s %lld", lua.p, lua.n, key,
                                             prefix, tag, "", seen),
                                REDIS_REPLY_ARRAY, error);
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
static int tag_of_job(redisContext *c, const char *prefix, const char *job, char error[512])
{
    int found = UNKNOWN_TAGS;
    for (unsigned from = 0; from < UNKNOWN_TAGS; from += PIPELINE) {
        char key[KEY_BYTES];
        for (unsigned tag = from; tag < from + PIPELINE; tag++) {
            put_key(key, prefix, "j", tag, ":", slice_of(job));
            (void)redisAppendCommand(c, "EXISTS %s", key);
        }
        for (unsigned tag = from; tag < from + PIPELINE; tag++) {
            void *reply = NULL;
            redisReply *r = redisGetReply(c, &reply) == REDIS_OK ? reply : NULL;
            r = checked(c, r, REDIS_REPLY_INTEGER, error);
            if (r == NULL) {
                return -1;
            }
            found = r->integer == 1 ? (int)tag : found;
            freeReplyObject(r);
        }
    }
    return found;
}

static void put_day(char out[16])
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm t;
    must(gmtime_r(&now, &t) != NULL);
    must(strftime(out, 16, "%Y%m%d", &t) == 8);
}

/* As shared.lua numbers its arguments; those that stand in no text are empty. */
static redisReply *eval_resolve(redisContext *c, const char *prefix, unsigned tag,
                                const struct unknown_word *w)
{
    enum { EVAL = 3, P = 1, T, JOB, DAY = 14, EVENTS_KEEP = 15, SESSION_KEEP = 17, FATE = 21, WHO };
    char key[KEY_BYTES], text[12], day[16], keep[24];
    struct slice lua = store_script_source(STORE_UNKNOWN_RESOLVE);
    const char *argv[EVAL + 1 + WHO];
    size_t bytes[ARRAY_LEN(argv)];
    put_key(key, prefix, "j", tag, ":", slice_of(w->job));
    (void)snprintf(text, sizeof text, "%02x", tag);
    (void)snprintf(keep, sizeof keep, "%" PRIu64, w->events_keep_s);
    put_day(day);
    for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
        argv[i] = "";
    }
    argv[0] = "EVAL";
    argv[1] = lua.p;
    argv[2] = "1";
    argv[EVAL] = key;
    argv[EVAL + P] = prefix;
    argv[EVAL + T] = text;
    argv[EVAL + JOB] = w->job;
    argv[EVAL + DAY] = day;
    argv[EVAL + EVENTS_KEEP] = keep;
    argv[EVAL + SESSION_KEEP] = "0";
    argv[EVAL + FATE] = unknown_fates[w->fate];
    argv[EVAL + WHO] = w->who;
    for (size_t i = 0; i < ARRAY_LEN(argv); i++) {
        bytes[i] = i == 1 ? lua.n : strlen(argv[i]);
    }
    return redisCommandArgv(c, (int)ARRAY_LEN(argv), argv, bytes);
}

static enum unknown_resolved resolved_of(struct slice word)
{
    return slice_is(word, "resolved") ? UNKNOWN_RESOLVED
           : slice_is(word, "known")  ? UNKNOWN_RESOLVED_BEFORE
           : slice_is(word, "other")  ? UNKNOWN_OTHER_OP
                                      : UNKNOWN_GONE;
}

enum unknown_resolved unknown_resolve(redisContext *c, const char *prefix,
                                      const struct unknown_word *word, struct unknown_outcome *out,
                                      char error[512])
{
    char what[16];
    int tag = tag_of_job(c, prefix, word->job, error);
    *out = (struct unknown_outcome){.end = ""};
    if (tag < 0 || tag == UNKNOWN_TAGS) {
        return tag < 0 ? UNKNOWN_ERROR : UNKNOWN_GONE;
    }
    redisReply *r =
        checked(c, eval_resolve(c, prefix, (unsigned)tag, word), REDIS_REPLY_ARRAY, error);
    if (r == NULL) {
        return UNKNOWN_ERROR;
    }
    text_at(r, 0, what, sizeof what);
    text_at(r, 1, out->end, sizeof out->end);
    text_at(r, 2, out->code, sizeof out->code);
    freeReplyObject(r);
    return resolved_of(slice_of(what));
}
