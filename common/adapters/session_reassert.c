#include "common/adapters/session_reassert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/config.h"

enum { AT_ONCE = 256, AGAIN_MS = 50 };

struct reassert {
    struct store *store;
    const char *prefix;
    struct list kept;    /* claims that the store knows, as far as anybody can tell */
    struct list lost;    /* those that it is to be told of */
    uint32_t in_store;   /* on their way */
    struct event *again; /* the store did not take one: a pause */
    uint64_t put;        /* counter since the store forgot: it had lost them */
    uint64_t others;     /* … that another run has taken over */
};

/* One allocation: header, then id and record. */
struct session_claimed {
    struct list node;     /* in kept or lost */
    struct reassert *all; /* NULL: dropped while the store had it, and freed when that answers */
    bool in_store;        /* the store owes us a callback */
    bool forgotten;       /* … and has forgotten once more meanwhile */
    char tag[3];          /* of its keys */
    uint64_t keep_ms;     /* as its script had it */
    int64_t lease_end_ms; /* mono */
    size_t id_n;          /* bytes */
    size_t record_n;      /* bytes */
    char bytes[];         /* id, record */
};

static void pump(struct reassert *r);

static void on_pause_over(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    pump(context);
}

static void is_lost(struct reassert *r, struct session_claimed *c)
{
    list_remove(&c->node);
    list_push(&r->lost, &c->node);
}

/* Another run that calls meanwhile is what all this is to prevent: somebody should know. */
static void note(struct reassert *r, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING) {
        log_error("a claim cannot be put back", "why", reply->str != NULL ? reply->str : "?", NULL);
        return;
    }
    r->put += strcmp(reply->str, "put") == 0 ? 1 : 0;
    r->others += strcmp(reply->str, "lost") == 0 ? 1 : 0;
}

static void say_when_over(struct reassert *r)
{
    if (!list_empty(&r->lost) || r->in_store > 0 || r->put + r->others == 0) {
        return;
    }
    log_warn("the store had lost claims of calls that run", "put_back", log_num((long long)r->put),
             "taken_over", log_num((long long)r->others), NULL);
    r->put = r->others = 0;
}

static void on_told(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct session_claimed *c = context;
    struct reassert *r = c->all;
    c->in_store = false;
    if (r == NULL) {
        free(c);
        return;
    }
    r->in_store--;
    if (outcome != STORE_OK || store_reply_unavailable(reply)) {
        struct timeval pause = {0, AGAIN_MS * 1000L};
        is_lost(r, c);
        (void)event_add(r->again, &pause);
        return; /* perhaps from below pump() */
    }
    note(r, reply);
    if (c->forgotten) {
        c->forgotten = false;
        is_lost(r, c);
    }
    pump(r);
}

static void tell(struct reassert *r, struct session_claimed *c)
{
    char key[CONFIG_REDIS_PREFIX_BYTES_MAX + 160], left_ms[24], keep_ms[24];
    struct slice id = slice_make(c->bytes, c->id_n);
    int64_t left = c->lease_end_ms - clock_mono_ms();
    int n = snprintf(key, sizeof key, "%sj:{%s}:%.*s", r->prefix, c->tag, SLICE_ARG(id));
    must(n > 0 && (size_t)n < sizeof key);
    (void)snprintf(left_ms, sizeof left_ms, "%" PRId64, left > 0 ? left : 0);
    (void)snprintf(keep_ms, sizeof keep_ms, "%" PRIu64, c->keep_ms);
    const struct slice argv[] = {slice_make(key, (size_t)n),
                                 slice_of(r->prefix),
                                 slice_of(c->tag),
                                 id,
                                 slice_make(c->bytes + c->id_n, c->record_n),
                                 slice_of(left_ms),
                                 slice_of(keep_ms)};
    c->in_store = true;
    r->in_store++;
    store_eval(r->store, STORE_REASSERT, on_told, c, 1, ARRAY_LEN(argv), argv);
}

static void pump(struct reassert *r)
{
    struct list *node;
    while (r->in_store < AT_ONCE && !event_pending(r->again, EV_TIMEOUT, NULL) &&
           (node = list_first(&r->lost)) != NULL) {
        list_remove(node);
        list_push(&r->kept, node);
        tell(r, list_owner(node, struct session_claimed, node));
    }
    say_when_over(r);
}

struct session_claimed *reassert_keep(struct reassert *r, const struct session_job *job,
                                      struct slice record, uint64_t keep_ms, int64_t lease_end_ms)
{
    struct session_claimed *c = xmalloc(sizeof *c + job->job_id.n + record.n);
    *c = (struct session_claimed){.all = r,
                                  .keep_ms = keep_ms,
                                  .lease_end_ms = lease_end_ms,
                                  .id_n = job->job_id.n,
                                  .record_n = record.n};
    memcpy(c->tag, job->tag, sizeof c->tag);
    memcpy(c->bytes, job->job_id.p, job->job_id.n);
    memcpy(c->bytes + job->job_id.n, record.p, record.n);
    list_init(&c->node);
    list_push(&r->kept, &c->node);
    return c;
}

void reassert_drop(struct session_claimed **cp)
{
    struct session_claimed *c = *cp;
    if (c == NULL) {
        return;
    }
    *cp = NULL;
    list_remove(&c->node);
    if (c->in_store) {
        c->all->in_store--;
        c->all = NULL;
    } else {
        free(c);
    }
}

void reassert_all(struct reassert *r)
{
    list_each(node, &r->kept)
    {
        struct session_claimed *c = list_owner(node, struct session_claimed, node);
        if (c->in_store) {
            c->forgotten = true;
        } else {
            is_lost(r, c);
        }
    }
    (void)event_del(r->again);
    pump(r);
}

struct reassert *reassert_new(struct store *store, const char *prefix)
{
    struct reassert *r = xcalloc(1, sizeof *r);
    r->store = store;
    r->prefix = prefix;
    list_init(&r->kept);
    list_init(&r->lost);
    r->again = evtimer_new(store_base(store), on_pause_over, r);
    must(r->again != NULL);
    return r;
}

static void drop_each(struct list *claims)
{
    list_each(node, claims)
    {
        struct session_claimed *c = list_owner(node, struct session_claimed, node);
        reassert_drop(&c);
    }
}

void reassert_destroy(struct reassert **rp)
{
    struct reassert *r = *rp;
    if (r == NULL) {
        return;
    }
    *rp = NULL;
    drop_each(&r->kept);
    drop_each(&r->lost);
    event_free(r->again);
    free(r);
}
