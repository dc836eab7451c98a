#include "broker/peers.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

/* Answers further apart than this say nothing about others: perhaps nobody got through, perhaps it
 * was this process that stood still. */
enum { GAP_MS = 3 * BROKER_BEAT_MS };

struct peer {
    char token[BROKER_TOKEN_BYTES + 1];
    uint64_t beat;    /* as seen last */
    int64_t since_ms; /* when this beat was first seen, later after a gap */
    bool dead;        /* told; until its beat goes on */
};

struct peers {
    struct peers_options o;
    struct broker_line own;
    char *prefix;
    struct event *look;                               /* the next beat */
    struct peer seen[BROKERS_MAX];                    /* the others, of the last look */
    size_t count;                                     /* used of seen */
    size_t live;                                      /* that live, ourselves included */
    char buried[BROKERS_MAX][BROKER_TOKEN_BYTES + 1]; /* lines to be dropped */
    size_t buried_count;
    size_t buried_asked; /* the first of them: the beat on its way drops them */
    int64_t answered_ms; /* last answer; 0: none yet */
    int64_t asked_ms;    /* when the last beat was sent */
    int64_t lease_ms;    /* until then nobody can take us for dead */
    int64_t store_ms;    /* the store's clock in it */
    bool asking;         /* an answer is due */
    bool gone;           /* destroyed: freed when the answer comes */
};

static void peers_free(struct peers *p)
{
    free(p->prefix);
    free(p);
}

static const struct peer *peer_find(const struct peers *p, const char *token)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->seen[i].token, token) == 0) {
            return &p->seen[i];
        }
    }
    return NULL;
}

/* ---- who died -------------------------------------------------------------------------------- */

/* What is known of one line now. A line of our name that was there before us is of a process that
 * listens no more: the address is ours. Later ones are of another host of that name, perhaps. */
static struct peer judge(const struct peers *p, const struct broker_line *line, bool gap,
                         int64_t now_ms)
{
    const struct peer *was = peer_find(p, line->token);
    struct peer is = {.beat = line->beat, .since_ms = now_ms};
    memcpy(is.token, line->token, sizeof is.token);
    if (was != NULL && was->beat == line->beat) {
        is.since_ms = gap ? now_ms : was->since_ms;
        is.dead = was->dead || now_ms - is.since_ms >= BROKER_LEASE_MS;
    } else if (was == NULL && p->answered_ms == 0) {
        is.dead = strcmp(line->name, p->own.name) == 0;
    }
    return is;
}

static void said(const struct peer *was, const struct peer *is, const struct broker_line *line)
{
    if (is->dead && (was == NULL || !was->dead)) {
        log_warn("a broker is dead", "broker", line->name, "token", line->token, NULL);
    } else if (was != NULL && was->dead && !is->dead) {
        log_warn("a broker that seemed dead is back", "broker", line->name, "token", line->token,
                 NULL);
    } else if (was == NULL) {
        log_info("a broker is there", "broker", line->name, "token", line->token, NULL);
    }
}

/* Replaces what was seen before. live gets the lines of the living, ours first. */
static void peers_see(struct peers *p, const struct broker_line *seen, size_t count, int64_t now_ms,
                      struct broker_line *live, char (*died)[BROKER_TOKEN_BYTES + 1],
                      size_t *died_count)
{
    bool gap = now_ms - p->answered_ms > GAP_MS;
    struct peer *fresh = xcalloc(BROKERS_MAX, sizeof *fresh);
    size_t others = 0;
    live[0] = p->own;
    p->live = 1;
    for (size_t i = 0; i < count && others < BROKERS_MAX - 1; i++) {
        if (strcmp(seen[i].token, p->own.token) == 0) {
            continue;
        }
        const struct peer *was = peer_find(p, seen[i].token);
        const struct peer is = judge(p, &seen[i], gap, now_ms);
        said(was, &is, &seen[i]);
        if (!is.dead) {
            live[p->live++] = seen[i];
        } else if (was == NULL || !was->dead) {
            memcpy(died[(*died_count)++], is.token, sizeof is.token);
        }
        fresh[others++] = is;
    }
    memcpy(p->seen, fresh, sizeof p->seen);
    p->count = others;
    free(fresh);
}

/* ---- beats ----------------------------------------------------------------------------------- */

/* The next beat; earlier when somebody's lease ends before. */
static void look_soon(struct peers *p, int64_t now_ms)
{
    int64_t ms = BROKER_BEAT_MS;
    for (size_t i = 0; i < p->count; i++) {
        int64_t left = p->seen[i].since_ms + BROKER_LEASE_MS - now_ms;
        if (!p->seen[i].dead && left > 0 && left < ms) {
            ms = left;
        }
    }
    const struct timeval in = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    need(event_add(p->look, &in) == 0);
}

static void peers_take(struct peers *p, const struct broker_line *seen, size_t count,
                       int64_t store_ms)
{
    char died[BROKERS_MAX][BROKER_TOKEN_BYTES + 1];
    size_t died_count = 0;
    int64_t now_ms = clock_mono_ms();
    struct broker_line *live = xcalloc(BROKERS_MAX, sizeof *live);
    peers_see(p, seen, count, now_ms, live, died, &died_count);
    p->answered_ms = now_ms;
    p->store_ms = store_ms;
    p->o.on_look(p->o.context, live, p->live, (const char(*)[BROKER_TOKEN_BYTES + 1]) died,
                 died_count);
    free(live);
}

/* No answer: nobody is judged; what is known stays. */
static void on_seen(void *context, const struct broker_line *seen, size_t count, int64_t store_ms)
{
    struct peers *p = context;
    p->asking = false;
    if (p->gone) {
        peers_free(p);
        return;
    }
    if (seen != NULL) {
        p->buried_count -= p->buried_asked;
        memmove(p->buried, p->buried[p->buried_asked], p->buried_count * sizeof p->buried[0]);
        p->buried_asked = 0;
        p->lease_ms = p->asked_ms + BROKER_LEASE_MS;
        peers_take(p, seen, count, store_ms);
    }
}

static void beat(struct peers *p)
{
    const char *gone[BROKERS_MAX];
    if (p->asking || !store_up(p->o.store)) {
        return;
    }
    for (size_t i = 0; i < p->buried_count; i++) {
        gone[i] = p->buried[i];
    }
    p->buried_asked = p->buried_count;
    p->own.beat++;
    p->asking = true;
    p->asked_ms = clock_mono_ms();
    brokers_beat(p->o.store, p->prefix, &p->own, gone, p->buried_count, on_seen, p);
}

static void on_look_due(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct peers *p = context;
    beat(p);
    look_soon(p, clock_mono_ms());
}

struct peers *peers_new(const struct peers_options *options)
{
    struct peers *p = xcalloc(1, sizeof *p);
    const struct timeval at_once = {0, 0};
    p->o = *options;
    p->own = *options->own;
    p->prefix = slice_dup(slice_of(options->prefix));
    p->live = 1;
    p->o.own = NULL;
    p->o.prefix = NULL;
    p->look = event_new(options->base, -1, 0, on_look_due, p);
    need(p->look != NULL && event_add(p->look, &at_once) == 0);
    return p;
}

void peers_destroy(struct peers **pp)
{
    struct peers *p = *pp;
    if (p == NULL) {
        return;
    }
    *pp = NULL;
    event_free(p->look);
    p->gone = true;
    if (!p->asking) {
        peers_free(p);
    }
}

void peers_leave(struct peers *p)
{
    const struct timeval at_once = {0, 0};
    p->own.leaving = true;
    need(event_add(p->look, &at_once) == 0);
}

void peers_end(struct peers *p)
{
    need(event_del(p->look) == 0);
    brokers_leave(p->o.store, p->prefix, p->own.token);
}

size_t peers_count(const struct peers *p)
{
    return p->live;
}

int64_t peers_lease_ms(const struct peers *p)
{
    return p->lease_ms;
}

bool peers_store_ms(const struct peers *p, int64_t now_ms, int64_t *store_ms)
{
    *store_ms = p->store_ms + (now_ms - p->answered_ms);
    return p->answered_ms != 0;
}

int64_t peers_store_latest_ms(const struct peers *p, int64_t now_ms)
{
    int64_t asked_ms = p->lease_ms - BROKER_LEASE_MS; /* of the question that was answered */
    return p->store_ms + (now_ms - asked_ms);
}

void peers_buried(struct peers *p, const char *token)
{
    for (size_t i = 0; i < p->buried_count; i++) {
        if (strcmp(p->buried[i], token) == 0) {
            return;
        }
    }
    if (p->buried_count < BROKERS_MAX) {
        memcpy(p->buried[p->buried_count++], token, BROKER_TOKEN_BYTES + 1);
    }
}
