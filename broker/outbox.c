#include "broker/outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/reaper.h"
#include "common/adapters/outbox_store.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/meaning/job_ops.h"

enum {
    LOOK_MS = 1000, /* between looks at every tag */
    /* A job that was not begun by then is gone when its task is fed again. */
    JOB_TTL_MS = OUTBOX_FED_MS - 1000
};

/* What is known of one tag. One question at a time is on its way: that bounds the pipeline. */
struct tag {
    bool asking;
    bool wanted; /* something became due since the question was asked */
    uint64_t open;
    uint64_t late_ms;
};

struct outbox {
    struct outbox_options o;
    struct outbox_store *outbox;
    struct reaper *reaper;    /* gets what a look finds of jobs whose lease is over */
    struct store *subscriber; /* NULL once it drains */
    struct event *look;
    struct tag tags[OUTBOX_TAGS];
    struct outbox_stats stats; /* counters; gauges are summed when asked for */
};

static void ask(struct outbox *o, unsigned tag);

/* A job whose id is this feeding's own: an earlier one's result may still be kept. */
static bool feed(struct outbox *o, const struct outbox_due *due)
{
    char id[WIRE_ID_BYTES_MAX + 1];
    uint32_t retry_after_ms = 0;
    struct buf body;
    buf_init(&body, 1024); /* what the encoder may ask for, not what it writes */
    const struct job_callback task = {.task = due->id};
    job_callback_encode(&body, &task);
    must(buf_ok(&body));
    (void)snprintf(id, sizeof id, "cb.%.*s.%" PRIu64, SLICE_ARG(due->id), due->fed);
    const struct wire_submit s = {.id = slice_of(id),
                                  .route = due->lane,
                                  .op = WIRE_OP_CALLBACK,
                                  .pri = wire_ops[WIRE_OP_CALLBACK].pri,
                                  .ttl_ms = JOB_TTL_MS};
    enum core_admit admit =
        core_submit(o->o.core, &s, buf_slice(&body), 0, clock_mono_ms(), &retry_after_ms);
    buf_free(&body);
    if (admit != CORE_QUEUED && admit != CORE_DUPLICATE) {
        o->stats.refused++;
        log_debug("callback not fed", "task", id, "why",
                  admit == CORE_UNKNOWN_ROUTE ? "its lane is not known" : "the queue is full",
                  NULL);
        return false;
    }
    o->stats.fed++;
    return true;
}

static void on_due(void *context, unsigned tag, const struct outbox_found *found)
{
    struct outbox *o = context;
    struct tag *t = &o->tags[tag];
    t->asking = false;
    if (found == NULL) {
        return; /* the next look asks again */
    }
    bool taken = true;
    t->open = found->open;
    t->late_ms = found->late_ms;
    for (uint32_t i = 0; i < found->count; i++) {
        taken = feed(o, &found->at[i]) && taken;
    }
    if (found->count > 0) {
        o->o.on_turn(o->o.context);
    }
    reaper_found(o->reaper, tag, found);
    if (t->wanted || (found->more && taken)) {
        ask(o, tag);
    }
}

static void ask(struct outbox *o, unsigned tag)
{
    struct tag *t = &o->tags[tag];
    if (t->asking) {
        t->wanted = true;
        return;
    }
    if (!store_up(o->o.store) || o->subscriber == NULL) {
        return;
    }
    uint32_t most = o->o.ready(o->o.context) ? OUTBOX_DUE_MAX : 0;
    t->asking = true;
    t->wanted = false;
    outbox_due(o->outbox, tag, most, on_due, o);
}

static void ask_all(struct outbox *o)
{
    for (unsigned tag = 0; tag < OUTBOX_TAGS; tag++) {
        ask(o, tag);
    }
}

static void look_at(void *context, unsigned tag)
{
    ask(context, tag);
}

static void on_look(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    ask_all(context);
}

/* A tag, or nothing when messages may have been missed. */
static void on_message(void *context, struct slice message)
{
    char text[3] = "";
    char *end = text;
    if (message.n == 2) {
        memcpy(text, message.p, 2);
    }
    unsigned long tag = strtoul(text, &end, 16);
    if (message.n == 2 && *end == '\0' && tag < OUTBOX_TAGS) {
        ask(context, (unsigned)tag);
    } else {
        ask_all(context);
    }
}

struct outbox *outbox_new(const struct outbox_options *options)
{
    struct outbox *o = xcalloc(1, sizeof *o);
    const struct timeval every = {LOOK_MS / 1000, LOOK_MS % 1000 * 1000};
    char channel[128];
    o->o = *options;
    o->o.prefix = NULL;
    o->outbox = outbox_store_new(options->store, options->prefix, 0);
    o->reaper = reaper_new(options->base, options->store, options->prefix, look_at, o);
    (void)snprintf(channel, sizeof channel, "%.100s" OUTBOX_CHANNEL, options->prefix);
    o->subscriber = store_subscriber(options->store, channel, on_message, o);
    o->look = event_new(options->base, -1, EV_PERSIST, on_look, o);
    need(o->look != NULL && event_add(o->look, &every) == 0);
    return o;
}

void outbox_drain(struct outbox *o)
{
    store_destroy(&o->subscriber);
    need(event_del(o->look) == 0);
}

void outbox_destroy(struct outbox **op)
{
    struct outbox *o = *op;
    if (o == NULL) {
        return;
    }
    *op = NULL;
    store_destroy(&o->subscriber);
    outbox_store_destroy(&o->outbox);
    reaper_destroy(&o->reaper);
    event_free(o->look);
    free(o);
}

struct outbox_stats outbox_stats(const struct outbox *o)
{
    struct outbox_stats s = o->stats;
    s.reaped = reaper_ended(o->reaper);
    for (unsigned tag = 0; tag < OUTBOX_TAGS; tag++) {
        s.open += o->tags[tag].open;
        s.late_ms = o->tags[tag].late_ms > s.late_ms ? o->tags[tag].late_ms : s.late_ms;
    }
    return s;
}
