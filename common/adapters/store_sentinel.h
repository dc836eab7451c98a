/*
 * store_sentinel.h: which server the sentinels name as the primary. Inner part of the store.
 *
 * All of them are asked, every second while the store is connected and more often while it is not.
 * A sentinel that was away itself still names the primary of then: so the word of the newest
 * configuration (config-epoch) counts and not the first one that comes, and no older one is gone
 * back to, unless most of the sentinels agree that there is no newer one (they were set up anew).
 * What they name is only asked for its role by the store: a fail-over may have begun since.
 * Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_SENTINEL_H
#define OTPQ_ADAPTERS_STORE_SENTINEL_H

#include "common/adapters/store_inside.h"

struct sentinels;

/* a: its kind is NETADDR_REDIS_SENTINEL. password: tried where a sentinel wants one; NULL: none.
 * on_primary runs from the loop, whenever another one is believed than before. */
struct sentinels *sentinels_new(struct event_base *base, const struct netaddr_redis *a,
                                const char *password, uint32_t timeout_ms,
                                void (*on_primary)(void *context), void *context);
/* Never from inside on_primary. */
void sentinels_destroy(struct sentinels **s);
/* The primary that is believed; NULL: none was named yet. Valid until the loop turns. */
const struct netaddr *sentinels_primary(const struct sentinels *s);
/* Why there is none: a sentence's end. */
const char *sentinels_why(const struct sentinels *s);
/* True: a store waits for a fail-over; they are asked more often. */
void sentinels_hurry(struct sentinels *s, bool hurry);

/* What one sentinel said last. */
struct sentinel_word {
    bool heard;             /* it answers, and knows the name; else the rest is empty */
    uint64_t epoch;         /* config-epoch: the fail-over that made this primary one */
    struct netaddr primary; /* where it is */
};
/* The word to believe, of `count` sentinels, where `before` (heard false: none) was believed until
 * now: points to one of words, or is `before` itself. Pure. */
const struct sentinel_word *sentinels_judge(const struct sentinel_word *before,
                                            const struct sentinel_word *words, size_t count);

#endif
