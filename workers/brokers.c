#include "workers/brokers.h"

#include <event2/event_struct.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/backlog.h"

/* A broker that this worker is linked to. */
struct known {
    struct link *link;
    bool configured; /* it stays */
    bool seen;       /* it is among those that live */
    bool leaving;    /* it drains: no new credit while there is another one */
};

struct brokers {
    struct brokers_options o;
    struct known all[BROKER_LINKS_MAX];
    size_t count;
    struct backlog *backlog;
    uint32_t here;     /* jobs of all brokers that have not ended here, those in the backlog too */
    bool able;         /* see brokers_able */
    bool frozen;       /* see brokers_freeze */
    struct event room; /* end of the turn: jobs have ended */
    struct event held; /* the oldest of the backlog has waited long enough */
};

/* ---- sharing the capacity -------------------------------------------------------------------- */

static bool usable(const struct known *k)
{
    return link_up(k->link) && !k->leaving;
}

static void share(struct brokers *b)
{
    uint32_t staying = 0;
    uint32_t up = 0;
    for (size_t i = 0; i < b->count; i++) {
        up += link_up(b->all[i].link) ? 1 : 0;
        staying += usable(&b->all[i]) ? 1 : 0;
    }
    /* one that leaves may go on when all do: its clients have nobody else to ask */
    uint32_t sharing = staying > 0 ? staying : up;
    uint64_t window = sharing == 0 ? 0 : (2 * (uint64_t)b->o.capacity + sharing - 1) / sharing;
    window = window < b->o.capacity ? window : b->o.capacity;
    for (size_t i = 0; i < b->count; i++) {
        struct known *k = &b->all[i];
        bool shares = staying > 0 ? usable(k) : link_up(k->link);
        link_window(k->link, b->able && shares ? (uint32_t)window : 0);
    }
}

static uint32_t on_room(void *context)
{
    const struct brokers *b = context;
    return b->o.capacity > b->here ? b->o.capacity - b->here : 0;
}

static void on_state(void *context, struct link *link, bool up)
{
    (void)link;
    (void)up;
    share(context);
}

void brokers_able(struct brokers *b, bool able)
{
    b->able = able;
    share(b);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void watch_held(struct brokers *b)
{
    const struct backlog_job *oldest = backlog_oldest(b->backlog);
    if (oldest == NULL) {
        (void)event_del(&b->held);
        return;
    }
    int64_t left_ms = oldest->since_ms + BACKLOG_HELD_MS - clock_mono_ms();
    left_ms = left_ms > 0 ? left_ms : 0;
    const struct timeval in = {left_ms / 1000, (suseconds_t)(left_ms % 1000) * 1000};
    need(event_add(&b->held, &in) == 0);
}

/* Without a code: nothing is wrong with it, and the broker counts it as no attempt. */
static void give_back(struct link *from, const struct wire_job *job)
{
    const struct wire_give_back g = {.id = job->id, .attempt = job->attempt, .code = RESULT_NONE};
    link_back(from, &g);
}

static void on_job(void *context, struct link *from, const struct wire_job *job, struct slice body,
                   int64_t waited_ms)
{
    struct brokers *b = context;
    uint32_t waiting = backlog_count(b->backlog);
    uint32_t begun = b->here++ - waiting;
    if (b->frozen || (waiting == 0 && begun < b->o.capacity)) {
        b->o.begin(b->o.context, from, job, body, waited_ms);
    } else if (!backlog_put(b->backlog, from, job, body, waited_ms, clock_mono_ms())) {
        give_back(from, job);
    } else if (waiting == 0) {
        watch_held(b);
    }
}

/* Each end makes room, but not in the middle of what ended it. */
static void on_left(void *context)
{
    struct brokers *b = context;
    must(b->here > 0);
    b->here--;
    event_active(&b->room, 0, 0);
}

static void begin_waiting(struct brokers *b)
{
    while (backlog_count(b->backlog) > 0 && b->here - backlog_count(b->backlog) < b->o.capacity) {
        struct backlog_job *j = backlog_take(b->backlog);
        int64_t held_ms = clock_mono_ms() - j->since_ms;
        j->job.queued_ms += (uint32_t)held_ms;
        b->o.begin(b->o.context, j->from, &j->job, j->body, j->waited_ms + held_ms);
        free(j);
    }
    watch_held(b);
}

/* With since_ms at or before this. */
static void give_back_waiting(struct brokers *b, int64_t since_ms)
{
    const struct backlog_job *oldest = backlog_oldest(b->backlog);
    while (oldest != NULL && oldest->since_ms <= since_ms) {
        struct backlog_job *j = backlog_take(b->backlog);
        give_back(j->from, &j->job);
        free(j);
        oldest = backlog_oldest(b->backlog);
    }
    watch_held(b);
}

static void on_held(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    give_back_waiting(context, clock_mono_ms() - BACKLOG_HELD_MS);
}

/* ---- who is there ---------------------------------------------------------------------------- */

static struct known *find(struct brokers *b, const char *address)
{
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(link_address(b->all[i].link), address) == 0) {
            return &b->all[i];
        }
    }
    return NULL;
}

static struct known *add(struct brokers *b, const char *address, const char *key,
                         const char **error)
{
    const struct link_options o = {.base = b->o.base,
                                   .zmq_context = b->o.zmq_context,
                                   .address = address,
                                   .key = key,
                                   .pair = b->o.pair,
                                   .name = b->o.name,
                                   .capacity = b->o.capacity,
                                   .on_job = on_job,
                                   .on_left = on_left,
                                   .room = on_room,
                                   .on_state = on_state,
                                   .context = b};
    if (b->count == BROKER_LINKS_MAX) {
        *error = "64 brokers are the most";
        return NULL;
    }
    struct link *link = link_new(&o, error);
    if (link == NULL) {
        return NULL;
    }
    b->all[b->count] = (struct known){.link = link};
    return &b->all[b->count++];
}

bool brokers_connect(struct brokers *b, const char *address, const char *key, const char **error)
{
    struct known *k = find(b, address);
    k = k != NULL ? k : add(b, address, key, error);
    if (k != NULL) {
        k->configured = true;
    }
    return k != NULL;
}

/* Not from a callback of a link. */
static void let_go(struct brokers *b)
{
    for (size_t i = b->count; i-- > 0;) {
        struct known *k = &b->all[i];
        if (k->configured || k->seen || link_running(k->link) > 0) {
            continue;
        }
        log_info("broker let go", "broker", link_address(k->link), NULL);
        link_quit(k->link);
        link_destroy(&k->link);
        *k = b->all[--b->count];
    }
}

/* Where a process was followed by another, two lines have one address: who lives stays. */
static void see(struct brokers *b, const struct broker_line *line)
{
    const char *error = NULL;
    struct known *k = find(b, line->workers);
    if (k == NULL && !line->leaving) {
        k = add(b, line->workers, line->key, &error);
        if (k == NULL) {
            log_warn("a broker was found that cannot be linked to", "broker", line->workers,
                     "error", error, NULL);
        }
    }
    if (k != NULL) {
        if (!k->configured) {
            link_key(k->link, line->key); /* another process may be there now */
        }
        k->leaving = line->leaving && (!k->seen || k->leaving);
        k->seen = true;
    }
}

void brokers_found(struct brokers *b, const struct broker_line *lines, size_t count)
{
    for (size_t i = 0; i < b->count; i++) {
        b->all[i].seen = false;
        b->all[i].leaving = false;
    }
    for (size_t i = 0; i < count && !b->frozen; i++) {
        see(b, &lines[i]);
    }
    if (!b->frozen) {
        let_go(b);
    }
    share(b);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_room_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct brokers *b = context;
    begin_waiting(b);
    for (size_t i = 0; i < b->count; i++) {
        link_renew(b->all[i].link);
    }
    if (!b->frozen) {
        let_go(b);
    }
}

struct brokers *brokers_new(const struct brokers_options *o)
{
    struct brokers *b = xcalloc(1, sizeof(*b));
    b->o = *o;
    b->backlog = backlog_new(o->capacity);
    must(event_assign(&b->room, o->base, -1, 0, on_room_again, b) == 0);
    must(evtimer_assign(&b->held, o->base, on_held, b) == 0);
    return b;
}

void brokers_freeze(struct brokers *b)
{
    b->frozen = true;
    for (size_t i = 0; i < b->count; i++) {
        link_freeze(b->all[i].link);
    }
    give_back_waiting(b, INT64_MAX);
}

uint32_t brokers_jobs(const struct brokers *b)
{
    return b->here;
}

void brokers_quit(struct brokers *b)
{
    for (size_t i = 0; i < b->count; i++) {
        link_quit(b->all[i].link);
    }
}

void brokers_destroy(struct brokers **brokers)
{
    struct brokers *b = *brokers;
    if (b == NULL) {
        return;
    }
    *brokers = NULL;
    for (size_t i = 0; i < b->count; i++) {
        link_destroy(&b->all[i].link);
    }
    (void)event_del(&b->room);
    (void)event_del(&b->held);
    backlog_destroy(&b->backlog);
    free(b);
}
