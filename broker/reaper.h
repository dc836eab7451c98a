/*
 * reaper.h: ends started jobs whose lease is over as `unknown`: their worker died with them, and
 * perhaps everybody who would ask for them again. The feeder's look at a tag (outbox.h) finds them;
 * this ends each by a script, and has a tag looked at again when its next lease is over, so that a
 * job is not unknown later than its lease says. Several brokers may reap: the script ends a job
 * once. Floor 4.
 */
#ifndef OTPQ_BROKER_REAPER_H
#define OTPQ_BROKER_REAPER_H

#include <event2/event.h>

#include "common/adapters/outbox_store.h"
#include "common/adapters/store.h"

struct reaper;

/* prefix is copied; the store outlives it. look asks for a tag, and reaper_found gets the answer.
 */
struct reaper *reaper_new(struct event_base *base, struct store *store, const char *prefix,
                          void (*look)(void *context, unsigned tag), void *context);
/* Scripts on their way end without a word. */
void reaper_destroy(struct reaper **r);
/* What a look at a tag has found. */
void reaper_found(struct reaper *r, unsigned tag, const struct outbox_found *found);
/* Jobs that it has ended as unknown. */
uint64_t reaper_ended(const struct reaper *r);

#endif
