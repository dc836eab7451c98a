#include "common/adapters/outbox_store.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/msisdn.h"
#include "common/meaning/pack.h"

/* The outcome of an attempt is sent again after this long. */
enum { AGAIN_MS = 200, ARGS_MAX = 12, ARGS_BYTES_MAX = 64 * 1024 };

struct outbox_store {
    struct store *store;
    char *prefix;
    uint64_t keep_ms;
    struct list calls; /* all that still wait */
};

enum call_kind { CALL_DUE, CALL_CLAIM, CALL_FINISH, CALL_PUT };

/* One script on its way, with its arguments: it can be sent again as it is. */
struct call {
    struct list node;       /* in outbox_store.calls */
    struct outbox_store *s; /* NULL: the outbox is gone, the answer is nobody's */
    enum call_kind kind;
    enum store_script script;
    char tag[3];
    struct buf bytes; /* key and arguments, one behind the other */
    size_t ends[ARGS_MAX];
    int count;
    int64_t until_ms;    /* CALL_FINISH: monotonic; not sent again after it */
    struct event *again; /* CALL_FINISH: the pause before the next try; NULL until needed */
    union {
        void (*due)(void *context, unsigned tag, const struct outbox_found *found);
        void (*claim)(void *context, enum outbox_claimed outcome, const struct outbox_task *task);
        void (*finish)(void *context, bool written);
        void (*put)(void *context, enum outbox_claimed outcome);
    } done;
    void *context;
};

static void call_send(struct call *c);

/* ---- life ------------------------------------------------------------------------------------ */

struct outbox_store *outbox_store_new(struct store *store, const char *prefix, uint64_t keep_s)
{
    struct outbox_store *s = xcalloc(1, sizeof *s);
    s->store = store;
    s->prefix = slice_dup(slice_of(prefix));
    s->keep_ms = keep_s * 1000;
    list_init(&s->calls);
    return s;
}

static void call_free(struct call *c)
{
    list_remove(&c->node);
    if (c->again != NULL) {
        event_free(c->again);
    }
    buf_free(&c->bytes);
    free(c);
}

void outbox_store_destroy(struct outbox_store **sp)
{
    struct outbox_store *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    list_each(node, &s->calls)
    {
        struct call *c = list_owner(node, struct call, node);
        bool sleeping = c->again != NULL && event_pending(c->again, EV_TIMEOUT, NULL) != 0;
        c->s = NULL;
        list_remove(&c->node);
        if (sleeping) {
            call_free(c); /* the others are freed by the answers that the store owes */
        }
    }
    free(s->prefix);
    free(s);
}

void outbox_tag(unsigned tag, char out[3])
{
    must(tag < OUTBOX_TAGS);
    (void)snprintf(out, 3, "%02x", tag);
}

bool outbox_id_ok(struct slice id)
{
    for (size_t i = 0; i < id.n; i++) {
        if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'f'))) {
            return false;
        }
    }
    return id.n == OUTBOX_ID_BYTES;
}

void outbox_id_of_job(struct slice job, char out[OUTBOX_ID_BYTES + 1])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    must(EVP_Digest(job.p, job.n, sum, &n, EVP_sha256(), NULL) == 1);
    (void)snprintf(out, 3, "%s", msisdn_tag(job).text);
    for (size_t i = 1; 2 * i < OUTBOX_ID_BYTES; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", sum[i]);
    }
}

/* ---- arguments ------------------------------------------------------------------------------- */

static void arg(struct call *c, struct slice s)
{
    must(c->count < ARGS_MAX);
    buf_put_slice(&c->bytes, s);
    c->ends[c->count++] = c->bytes.n;
}

static void arg_num(struct call *c, uint64_t value)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, value);
    arg(c, slice_make(text, (size_t)n));
}

/* The key, and what outbox_shared.lua reads. */
static struct call *call_new(struct outbox_store *s, enum call_kind kind, enum store_script script,
                             const char *tag, struct slice id)
{
    struct call *c = xcalloc(1, sizeof *c);
    char key[128];
    c->s = s;
    c->kind = kind;
    c->script = script;
    memcpy(c->tag, tag, sizeof c->tag);
    buf_init(&c->bytes, ARGS_BYTES_MAX);
    int n = snprintf(key, sizeof key, "%.100sdue:{%s}", s->prefix, tag);
    arg(c, slice_make(key, (size_t)n));
    arg(c, slice_of(s->prefix));
    arg(c, slice_of(tag));
    arg(c, id);
    list_init(&c->node);
    list_push(&s->calls, &c->node);
    return c;
}

static struct call *call_of_task(struct outbox_store *s, enum call_kind kind,
                                 enum store_script script, struct slice id)
{
    must(outbox_id_ok(id));
    const char tag[3] = {id.p[0], id.p[1], '\0'};
    return call_new(s, kind, script, tag, id);
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct slice text_at(const redisReply *reply, size_t i)
{
    const redisReply *r = i < reply->elements ? reply->element[i] : NULL;
    return r != NULL && r->type == REDIS_REPLY_STRING ? slice_make(r->str, r->len)
                                                      : slice_make(NULL, 0);
}

static int64_t number_at(const redisReply *reply, size_t i)
{
    const redisReply *r = i < reply->elements ? reply->element[i] : NULL;
    return r != NULL && r->type == REDIS_REPLY_INTEGER ? r->integer : 0;
}

static void read_over(const redisReply *jobs, struct outbox_found *found)
{
    bool there = jobs != NULL && jobs->type == REDIS_REPLY_ARRAY;
    for (size_t i = 0; there && i < jobs->elements && found->over_count < OUTBOX_OVER_MAX; i++) {
        found->over[found->over_count++] = text_at(jobs, i);
    }
}

static void tell_due(struct call *c, const redisReply *reply)
{
    unsigned tag = (unsigned)strtoul(c->tag, NULL, 16);
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        c->done.due(c->context, tag, NULL);
        return;
    }
    struct outbox_found found = {.open = (uint64_t)number_at(reply, 0),
                                 .late_ms = (uint64_t)number_at(reply, 1),
                                 .more = number_at(reply, 2) == 1,
                                 .lease_ms = number_at(reply, 4)};
    read_over(reply->elements > 3 ? reply->element[3] : NULL, &found);
    for (size_t i = 5; i + 2 < reply->elements && found.count < OUTBOX_DUE_MAX; i += 3) {
        found.at[found.count++] = (struct outbox_due){.id = text_at(reply, i),
                                                      .lane = text_at(reply, i + 1),
                                                      .fed = (uint64_t)number_at(reply, i + 2)};
    }
    c->done.due(c->context, tag, &found);
}

static void tell_claim(struct call *c, const redisReply *reply)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        c->done.claim(c->context, OUTBOX_NO_STORE, NULL);
        return;
    }
    struct slice outcome = text_at(reply, 0);
    const struct outbox_task task = {
        .kind = text_at(reply, 1),
        .lane = text_at(reply, 2),
        .rid = text_at(reply, 3),
        .party = text_at(reply, 4),
        .data = text_at(reply, 5),
        .attempt = (uint32_t)number_at(reply, 6),
        .made_ms = number_at(reply, 7),
        .left_ms = number_at(reply, 8),
        .arid = text_at(reply, 9),
    };
    enum outbox_claimed what = slice_is(outcome, "won")         ? OUTBOX_WON
                               : slice_is(outcome, "elsewhere") ? OUTBOX_ELSEWHERE
                                                                : OUTBOX_ENDED;
    c->done.claim(c->context, what, what == OUTBOX_WON ? &task : NULL);
}

static bool reply_is(const redisReply *reply, const char *word)
{
    return reply != NULL && reply->type == REDIS_REPLY_STRING && strcmp(reply->str, word) == 0;
}

static void tell(struct call *c, const redisReply *reply)
{
    switch (c->kind) {
    case CALL_DUE:
        tell_due(c, reply);
        break;
    case CALL_CLAIM:
        tell_claim(c, reply);
        break;
    case CALL_FINISH:
        c->done.finish(c->context, reply_is(reply, "written"));
        break;
    case CALL_PUT:
        c->done.put(c->context, reply_is(reply, "written") ? OUTBOX_WON
                                : reply_is(reply, "full")  ? OUTBOX_ENDED
                                                           : OUTBOX_NO_STORE);
        break;
    }
}

/* ---- on the way ------------------------------------------------------------------------------ */

static void on_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    call_send(context);
}

static void pause_call(struct call *c)
{
    const struct timeval tv = {0, AGAIN_MS * 1000};
    if (c->again == NULL) {
        c->again = event_new(store_base(c->s->store), -1, 0, on_again, c);
        must(c->again != NULL);
    }
    need(event_add(c->again, &tv) == 0);
}

static void on_reply(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    bool answered = outcome == STORE_OK && !store_reply_unavailable(reply);
    if (c->s == NULL) {
        call_free(c);
        return;
    }
    if (answered && reply->type == REDIS_REPLY_ERROR) {
        log_error("a script of the outbox failed", "why", reply->str, NULL);
    }
    if (!answered && c->kind == CALL_FINISH && clock_mono_ms() < c->until_ms) {
        pause_call(c);
        return;
    }
    tell(c, answered && reply->type != REDIS_REPLY_ERROR ? reply : NULL);
    call_free(c);
}

static void call_send(struct call *c)
{
    struct slice argv[ARGS_MAX];
    must(buf_ok(&c->bytes));
    size_t begin = 0;
    for (int i = 0; i < c->count; i++) {
        argv[i] = slice_make(c->bytes.p + begin, c->ends[i] - begin);
        begin = c->ends[i];
    }
    store_eval(c->s->store, c->script, on_reply, c, 1, c->count, argv);
}

void outbox_due(struct outbox_store *s, unsigned tag, uint32_t most,
                void (*done)(void *context, unsigned tag, const struct outbox_found *found),
                void *context)
{
    char text[3];
    outbox_tag(tag, text);
    must(most <= OUTBOX_DUE_MAX);
    struct call *c = call_new(s, CALL_DUE, STORE_OUTBOX_DUE, text, SLICE(""));
    c->done.due = done;
    c->context = context;
    arg_num(c, most);
    arg_num(c, OUTBOX_FED_MS);
    call_send(c);
}

void outbox_claim(struct outbox_store *s, const struct outbox_attempt *a,
                  void (*done)(void *context, enum outbox_claimed outcome,
                               const struct outbox_task *task),
                  void *context)
{
    struct call *c = call_of_task(s, CALL_CLAIM, STORE_OUTBOX_CLAIM, a->id);
    c->done.claim = done;
    c->context = context;
    arg_num(c, a->token);
    arg_num(c, a->lease_ms);
    arg_num(c, a->attempts_max);
    arg_num(c, s->keep_ms);
    call_send(c);
}

void outbox_finish(struct outbox_store *s, const struct outbox_attempt *a,
                   const struct outbox_finish *f, void (*done)(void *context, bool written),
                   void *context)
{
    static const char *const words[] = {[OUTBOX_DONE] = "done",
                                        [OUTBOX_DEAD] = "dead",
                                        [OUTBOX_DROPPED] = "dropped",
                                        [OUTBOX_AGAIN] = "again",
                                        [OUTBOX_LATER] = "later"};
    struct call *c = call_of_task(s, CALL_FINISH, STORE_OUTBOX_FINISH, a->id);
    c->done.finish = done;
    c->context = context;
    c->until_ms = clock_mono_ms() + a->lease_ms;
    arg_num(c, a->token);
    arg(c, slice_of(words[f->end]));
    arg_num(c, f->next_ms);
    arg_num(c, s->keep_ms);
    arg_num(c, (uint64_t)(f->http > 0 ? f->http : 0));
    arg(c, slice_of(f->word));
    arg_num(c, f->ms);
    call_send(c);
}

void outbox_put(struct outbox_store *s, const struct outbox_new *task,
                void (*done)(void *context, enum outbox_claimed outcome), void *context)
{
    struct call *c = call_of_task(s, CALL_PUT, STORE_OUTBOX_PUT, task->id);
    c->done.put = done;
    c->context = context;
    arg(c, task->kind);
    arg(c, task->lane);
    arg(c, task->party);
    arg(c, task->data);
    call_send(c);
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

/* A script on one tag: the key, the shared arguments, then more. */
static redisReply *ask_tag(struct asker *a, enum store_script script, const char *prefix,
                           const char *tag, const char *id, size_t count, const char *const *more,
                           int type, char error[512])
{
    struct slice argv[ARGS_MAX];
    char key[128];
    int argc = 0;
    must(count + 4 <= ARGS_MAX);
    (void)snprintf(key, sizeof key, "%sdue:{%s}", prefix, tag);
    argv[argc++] = slice_of(key);
    argv[argc++] = slice_of(prefix);
    argv[argc++] = slice_of(tag);
    argv[argc++] = slice_of(id);
    for (size_t i = 0; i < count; i++) {
        argv[argc++] = slice_of(more[i]);
    }
    return checked(store_ask_script(a, script, 1, argc, argv, error), type, error);
}

static void put_text(char *out, size_t size, struct slice s)
{
    (void)snprintf(out, size, "%.*s", SLICE_ARG(s));
}

static int64_t text_number(struct slice s)
{
    uint64_t value = 0;
    return slice_to_u64(s, INT64_MAX, &value) ? (int64_t)value : 0;
}

static bool read_try(struct pack *p, struct outbox_try *t)
{
    uint32_t n = 0;
    struct slice word;
    if (!pack_read_array(p, &n) || n != 4 || !pack_read_int(p, &t->at_ms) ||
        !pack_read_int(p, &t->http) || !pack_read_str(p, &word) || !pack_read_int(p, &t->ms)) {
        return false;
    }
    put_text(t->word, sizeof t->word, word);
    return true;
}

static void read_tries(struct slice log, struct outbox_row *row)
{
    struct pack p = pack_over(log);
    uint32_t n = 0;
    if (log.n == 0 || !pack_read_array(&p, &n)) {
        return;
    }
    for (uint32_t i = 0; i < n && i < OUTBOX_TRIES_MAX; i++) {
        if (!read_try(&p, &row->tries[i])) {
            return;
        }
        row->try_count++;
    }
}

/* id, kind, lane, state, attempts, made at, next, log: from `at` on. */
static void read_row(const redisReply *r, size_t at, struct slice id, struct outbox_row *row)
{
    *row = (struct outbox_row){0};
    put_text(row->id, sizeof row->id, id);
    put_text(row->kind, sizeof row->kind, text_at(r, at));
    put_text(row->lane, sizeof row->lane, text_at(r, at + 1));
    put_text(row->state, sizeof row->state, text_at(r, at + 2));
    row->attempts = (uint32_t)text_number(text_at(r, at + 3));
    row->made_ms = text_number(text_at(r, at + 4));
    row->next_ms = text_number(text_at(r, at + 5));
    read_tries(text_at(r, at + 6), row);
}

bool outbox_list(struct asker *a, const char *prefix, unsigned tag, const char *state,
                 const char *lane, bool (*row)(void *context, const struct outbox_row *row),
                 void *context, char error[512])
{
    static const char *const lists[] = {"ol", "oe"};
    char text[3];
    outbox_tag(tag, text);
    bool more = true;
    for (size_t l = 0; l < ARRAY_LEN(lists) && more; l++) {
        int64_t seen = 0;
        do {
            char from[24];
            (void)snprintf(from, sizeof from, "%" PRId64, seen);
            const char *const more_of_it[] = {lists[l], from, state, lane};
            redisReply *r = ask_tag(a, STORE_OUTBOX_LIST, prefix, text, "", 4, more_of_it,
                                    REDIS_REPLY_ARRAY, error);
            if (r == NULL) {
                return false;
            }
            for (size_t i = 1; i + 7 < r->elements && more; i += 8) {
                struct outbox_row one;
                read_row(r, i + 1, text_at(r, i), &one);
                more = row(context, &one);
            }
            seen = number_at(r, 0);
            freeReplyObject(r);
        } while (seen > 0 && more);
    }
    return true;
}

int outbox_show(struct asker *a, const char *prefix, const char *id, struct outbox_row *row,
                char error[512])
{
    char key[128];
    (void)snprintf(key, sizeof key, "%so:{%.2s}:%s", prefix, id, id);
    const struct slice get[] = {SLICE("HMGET"), slice_of(key), SLICE("kind"), SLICE("lane"),
                                SLICE("st"),    SLICE("n"),    SLICE("at"),   SLICE("next"),
                                SLICE("log"),   SLICE("rid"),  SLICE("party")};
    redisReply *r =
        checked(store_ask(a, (int)ARRAY_LEN(get), get, error), REDIS_REPLY_ARRAY, error);
    if (r == NULL) {
        return -1;
    }
    read_row(r, 0, slice_of(id), row);
    put_text(row->rid, sizeof row->rid, text_at(r, 7));
    put_text(row->party, sizeof row->party, text_at(r, 8));
    freeReplyObject(r);
    return row->state[0] != '\0' ? 1 : 0;
}

int outbox_replay(struct asker *a, const char *prefix, const char *id, char error[512])
{
    const char tag[3] = {id[0], id[1], '\0'};
    redisReply *r =
        ask_tag(a, STORE_OUTBOX_REPLAY, prefix, tag, id, 0, NULL, REDIS_REPLY_STRING, error);
    if (r == NULL) {
        return -1;
    }
    int outcome = reply_is(r, "written") ? 1 : reply_is(r, "gone") ? 0 : -1;
    if (outcome < 0) {
        (void)snprintf(error, 512, "%s",
                       reply_is(r, "due") ? "it was not tried yet, and comes at its time"
                                          : "an attempt is running: try again when it is over");
    }
    freeReplyObject(r);
    return outcome;
}
