/*
 * session_reassert.h: claims that this process has won and whose ends are not written yet, as their
 * scripts kept them. A store that may have forgotten some (store.h, on_forgot) is told all of them
 * again, a bounded number at a time. Included by session_store.c alone. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_SESSION_REASSERT_H
#define OTPQ_ADAPTERS_SESSION_REASSERT_H

#include "common/adapters/session_store.h"

struct reassert;

/* Both borrowed; the store must outlive it. */
struct reassert *reassert_new(struct store *store, const char *prefix);
/* Takes NULL, nulls the pointer. Claims that are still kept are freed with it. */
void reassert_destroy(struct reassert **r);

/* Keeps a claim; everything is copied. record: what its script wrote. */
struct session_claimed *reassert_keep(struct reassert *r, const struct session_job *job,
                                      struct slice record, uint64_t keep_ms, int64_t lease_end_ms);
/* Its end is written, or nobody writes it. Takes NULL, nulls the pointer. */
void reassert_drop(struct session_claimed **c);

/* The store may have forgotten any of them. */
void reassert_all(struct reassert *r);

#endif
