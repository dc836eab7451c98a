/*
 * store.h: Redis, asynchronously: one connection, pipelined, own deadlines, reconnect with backoff.
 *
 * A command that timed out is *unknown*, not failed: every script is therefore safe to send again.
 * Lua lives in common/adapters/lua/, is embedded at build time and called by SHA. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_H
#define OTPQ_ADAPTERS_STORE_H

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

struct store;

struct store_options {
    const char *address;  /* as netaddr_redis reads it, checked by the caller */
    const char *password; /* NULL or "": none; wiped by the caller after store_new */
    uint32_t timeout_ms;  /* per command */
    uint32_t pending_max; /* commands in flight; beyond: refused at once */
    void (*on_state)(void *context, bool up); /* connection became usable / was lost */
    void (*on_forgot)(void *context);         /* may be NULL: see below */
    void *context;                            /* of both */
};

/* on_forgot: the server of this connection may not have what the server of the last one
 * acknowledged: writes of the last moments may be gone, and nobody says which.
 * It runs when a connection has become usable (commands are taken), just before on_state(up), if
 * run_id (another process: a restart, a fail-over) or master_replid (another history of data: a
 * fail-over, also one back to the same process) is not that of the last connection that was up.
 * Not for the first connection of a store, and not when the same process with the same history was
 * only away. A restart with appendfsync always loses nothing and is told nevertheless. */

/* Connects by itself and reconnects for ever (50 ms to 1 s, jittered). A host name is looked up at
 * each connection, outside of the loop (resolve.h). on_state runs from the loop. */
struct store *store_new(struct event_base *base, const struct store_options *o);
/* Commands in flight get their callback (STORE_UNKNOWN) first. Never from inside a callback of it.
 */
void store_destroy(struct store **s);
bool store_up(const struct store *s);
/* What a write is worth that was acknowledged: "always", "everysec", "no" (appendfsync), "off"
 * (appendonly no), or "unknown": it forbids CONFIG, or was never connected. Of the last connection.
 */
const char *store_durability(const struct store *s);
struct event_base *store_base(const struct store *s);

/* A second connection with the same address and password that listens on one pub/sub channel;
 * takes no commands. on_message runs for every message, and once after every (re)connect with an
 * empty one, because messages may have been missed meanwhile. */
struct store *store_subscriber(const struct store *like, const char *channel,
                               void (*on_message)(void *context, struct slice message),
                               void *context);

enum store_outcome {
    STORE_OK,      /* reply is set (may be an error reply of the script: REDIS_REPLY_ERROR) */
    STORE_REFUSED, /* not sent: down or over pending_max. Nothing happened */
    STORE_UNKNOWN  /* sent, no answer: time-out or lost connection. May have happened */
};
typedef void store_callback(void *context, enum store_outcome outcome, const redisReply *reply);

/* True for an error reply that means "not now" (LOADING, READONLY, MISCONF, OOM, …): nothing was
 * written, and callers treat it as a store that is away. */
MUST_CHECK bool store_reply_unavailable(const redisReply *reply);

enum { STORE_ARGS_MAX = 1 << 20 }; /* of a command, its name included: Redis' own ceiling */
/* argv as bytes, copied; the callback runs exactly once, later or (STORE_REFUSED) before it
 * returns. */
void store_command(struct store *s, store_callback *done, void *context, int argc,
                   const struct slice *argv);

/* A number that is another one as soon as the key is known to be on another server: what one server
 * gave, as cursors of HSCAN, means nothing to the next. Only a cluster moves keys while it is up;
 * of all else on_forgot tells. */
uint32_t store_place(const struct store *s, struct slice key);

enum store_script {
    STORE_CLAIM_SEND,
    STORE_FINISH_SEND,
    STORE_CLAIM_VERIFY,
    STORE_FINISH_VERIFY,
    STORE_RELEASE,
    STORE_REASSERT,
    STORE_REAP,
    STORE_UNKNOWN_LIST,
    STORE_UNKNOWN_RESOLVE,
    STORE_REPORT,
    STORE_FLASH_RESERVE,
    STORE_FLASH_LOOK,
    STORE_OUTBOX_DUE,
    STORE_OUTBOX_CLAIM,
    STORE_OUTBOX_FINISH,
    STORE_OUTBOX_PUT,
    STORE_OUTBOX_LIST,
    STORE_OUTBOX_REPLAY,
    STORE_CONTROL,
    STORE_APPLY,
    STORE_RECORDS,
    STORE_BROKERS_BEAT,
    STORE_SHELF_OPEN,
    STORE_SHELF_COMMIT,
    STORE_SHELF_TAKE,
    STORE_SHELF_DROP,
    STORE_DEAD_PUT,
    STORE_DEAD_LIST,
    STORE_DEAD_TAKE,
    STORE_BUDGET,
    STORE_SCRIPTS
};
/* EVALSHA, falling back to EVAL when the server does not have it (restart, fail-over). */
void store_eval(struct store *s, enum store_script script, store_callback *done, void *context,
                int keys, int argc, const struct slice *argv);
/* The whole source: shared part and script. Lives as long as the process. */
struct slice store_script_source(enum store_script script);

/* Checks at start what the store must be: reachable, 7.0 or newer, maxmemory-policy noeviction.
 * Blocking, for main(); false: *error (512 bytes) says what to change. Warnings in the log: what it
 * acknowledges is not on its disk (appendonly, appendfsync), or on no other server
 * (min-replicas-to-write, where a fail-over is wanted). */
MUST_CHECK bool store_check(const char *address, const char *password, uint32_t timeout_ms,
                            char error[512]);

#endif
