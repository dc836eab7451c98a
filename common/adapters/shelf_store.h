/*
 * shelf_store.h: shelves of stored jobs in Redis as typed calls. A shelf belongs to one broker
 * process, its owner; every write names the owner and is refused once the shelf is another's: that
 * is the fence. Every script may be sent again. Floor 3.
 *
 * Keys (prefix otpq:, SHELF 16 hex digits): so:{SHELF} hash of owner's token and number of the last
 * commit, sj:{SHELF} hash of entries (stored_job.h) by job id; and shelves, a hash of owner by
 * shelf, which is a list to begin from and not the truth: so: is. A shelf that was dropped keeps
 * its so: for a day, with the owner "-": whoever stood still since it had that shelf is not to find
 * it free.
 */
#ifndef OTPQ_ADAPTERS_SHELF_STORE_H
#define OTPQ_ADAPTERS_SHELF_STORE_H

#include "common/adapters/store.h"

enum { SHELF_NAME_BYTES = 16, SHELF_BATCH_MAX = 1000 };

struct shelf_store;

enum shelf_outcome {
    SHELF_OK,
    SHELF_DEPOSED, /* the shelf is another's: nothing was written */
    SHELF_REFUSED, /* the store is away, nothing was written */
    SHELF_UNKNOWN  /* no answer: may have been written; send it again */
};

/* Commits carry numbers, in the order in which they are asked for: one that reaches the store
 * behind a later one, because its connection was given up, does nothing (SHELF_UNKNOWN, should
 * somebody still hear of it). So after SHELF_UNKNOWN everything that was asked for from that commit
 * on is to be asked for again, in that order, and then it holds. */

/* Everything is copied. The store must outlive it. */
struct shelf_store *shelf_store_new(struct store *store, const char *prefix);
/* Calls that still wait end without a callback. */
void shelf_store_destroy(struct shelf_store **s);

/* Calls with this context end without a callback. */
void shelf_forget(struct shelf_store *s, const void *context);

typedef void shelf_callback(void *context, enum shelf_outcome outcome);
/* A new shelf, or the same again for the same owner; and on the list it is, should it have got lost
 * there. */
void shelf_open(struct shelf_store *s, const char *shelf, const char *owner, shelf_callback *done,
                void *context);
/* One round trip: entries put on it (ids[i], entries[i]) and ids taken off; together at most
 * SHELF_BATCH_MAX. The callback may run before it returns (SHELF_REFUSED). */
void shelf_commit(struct shelf_store *s, const char *shelf, const char *owner, uint32_t puts,
                  const struct slice *ids, const struct slice *entries, uint32_t removes,
                  const struct slice *removed, shelf_callback *done, void *context);
/* From one owner to another; "" is nobody, on either side. SHELF_DEPOSED: it was not his. */
void shelf_take(struct shelf_store *s, const char *shelf, const char *from, const char *to,
                shelf_callback *done, void *context);
/* Empty and ours: gone. SHELF_DEPOSED: not ours, or not empty. */
void shelf_drop(struct shelf_store *s, const char *shelf, const char *owner, shelf_callback *done,
                void *context);

/* All shelves: count names and owners. outcome not OK: none. */
struct shelf_seen {
    char name[SHELF_NAME_BYTES + 1];
    char owner[SHELF_NAME_BYTES + 1];
};
void shelf_list(struct shelf_store *s,
                void (*done)(void *context, enum shelf_outcome outcome,
                             const struct shelf_seen *seen, size_t count),
                void *context);
/* Another number as soon as the shelf is known to be on another server (store_place): a cursor from
 * before means nothing there, and entries would be passed over. */
uint32_t shelf_place(const struct shelf_store *s, const char *shelf);
/* Part of the entries, about `most`, from cursor on (0: the first); next 0: that was all. Entries
 * that were there all the time are seen at least once, perhaps twice. */
void shelf_read(struct shelf_store *s, const char *shelf, uint64_t cursor, uint32_t most,
                void (*done)(void *context, enum shelf_outcome outcome, uint64_t next, size_t count,
                             const struct slice *ids, const struct slice *entries),
                void *context);

#endif
