/*
 * records_watch.h: the current snapshot of all records, renewed within a second of a change:
 * pub/sub on otpq:{rec}:changed, and a version check every 500 ms for what pub/sub may drop.
 * Redis: hashes otpq:{rec}:affiliates|integrations|endpoints (name → canonical YAML), string
 * otpq:{rec}:network, string otpq:{rec}:version: when they were applied, in microseconds, and
 * always another one, also after the store was wiped. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_RECORDS_WATCH_H
#define OTPQ_ADAPTERS_RECORDS_WATCH_H

#include <event2/event.h>

#include "common/adapters/store_ask.h"
#include "common/meaning/record.h"

struct records_watch;

/* on_change(context, records): a new snapshot (also the first). A snapshot that cannot be parsed is
 * logged and the old one stays. */
struct records_watch *records_watch_new(struct event_base *base, struct store *store,
                                        const char *prefix,
                                        void (*on_change)(void *context, struct records *now),
                                        void *context);
void records_watch_destroy(struct records_watch **w);
/* Borrowed; never NULL (empty records, version 0, before the first load). */
struct records *records_watch_now(const struct records_watch *w);

/* Blocking, for `otpq apply` and `otpq export`. */
MUST_CHECK bool records_load(struct asker *a, const char *prefix, struct record_texts *out,
                             uint64_t *version, char error[512]);
/* All or nothing, only if the version is still `expected`. texts with text == NULL are deletions.
 */
MUST_CHECK bool records_store(struct asker *a, const char *prefix, const struct record_text *texts,
                              size_t count, uint64_t expected, char error[512]);

#endif
