/*
 * controls_store.h: what operators said about routes, single brokers or the whole network, until
 * they take it back: durable in Redis, followed by every broker within a second. Floor 3.
 *
 * Key (prefix otpq:): {rec}:controls, a hash. Field: a route, "*" for all of them, or "@" and the
 * address where clients find a broker.
 * Value: "paused" or "draining", when (ms of the store's clock) and who, with blanks between.
 * {rec}:controlled is the channel that tells of changes.
 */
#ifndef OTPQ_ADAPTERS_CONTROLS_STORE_H
#define OTPQ_ADAPTERS_CONTROLS_STORE_H

#include <event2/event.h>

#include "common/adapters/store_ask.h"

enum {
    CONTROLS_MAX = 1000,      /* at a time */
    CONTROL_NAME_BYTES = 256, /* longest name, with its mark */
    CONTROL_WHO_BYTES = 96    /* longer is cut */
};

#define CONTROL_ALL    "*"
#define CONTROL_BROKER '@' /* first letter of a broker's address */

enum control_word {
    CONTROL_NONE,
    CONTROL_PAUSED,  /* its jobs wait */
    CONTROL_DRAINING /* nothing new is taken, what is queued goes out */
};
extern const char *const control_words[]; /* by enum: "", "paused", "draining" */

struct control {
    char name[CONTROL_NAME_BYTES + 1]; /* the field */
    enum control_word word;
    int64_t at_ms;                   /* store's clock */
    char who[CONTROL_WHO_BYTES + 1]; /* as he called himself; may be empty */
};

/* All of them at one moment. */
struct controls {
    size_t count;
    struct control at[CONTROLS_MAX]; /* by name */
};

/* What is said about this very name. */
enum control_word controls_of(const struct controls *c, struct slice name);
/* About a route: what is said of it or, if that is nothing, of everything. */
enum control_word controls_of_route(const struct controls *c, struct slice route);
/* Is it paused, is it draining: both may be, when one was said of it and one of everything. */
bool controls_route_is(const struct controls *c, struct slice route, enum control_word word);

/* ---- for the broker */

struct controls_watch;

/* on_change: the first ones (also when there are none), and whenever they differ; from the loop.
 * Without a store everything stays as it was. The store must outlive it. */
struct controls_watch *controls_watch_new(struct event_base *base, struct store *store,
                                          const char *prefix, void (*on_change)(void *context),
                                          void *context);
/* Takes NULL, nulls the pointer. */
void controls_watch_destroy(struct controls_watch **w);
/* NULL before they were read for the first time. */
const struct controls *controls_watch_now(const struct controls_watch *w);

/* ---- for people: blocking */

/* False: error filled. */
MUST_CHECK bool controls_load(struct asker *a, const char *prefix, struct controls *out,
                              char error[512]);
/* word CONTROL_NONE takes back what was said. *was: what was said before. False: error filled. */
MUST_CHECK bool controls_set(struct asker *a, const char *prefix, const char *name,
                             enum control_word word, const char *who, enum control_word *was,
                             char error[512]);

#endif
