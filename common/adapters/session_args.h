/*
 * session_args.h: the arguments of the session scripts, built once and sent as often as needed.
 * Included by session_store.c and flash_store.c alone. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_SESSION_ARGS_H
#define OTPQ_ADAPTERS_SESSION_ARGS_H

#include "common/adapters/session_store.h"
#include "common/base/buf.h"

enum { SESSION_ARGS_MAX = 64, SESSION_ARGS_BYTES_MAX = 64 * 1024 };

/* Owns its bytes. */
struct session_args {
    struct buf bytes;              /* all arguments, one behind the other */
    uint32_t count;                /* arguments */
    size_t ends[SESSION_ARGS_MAX]; /* offset one past each */
};

void session_args_init(struct session_args *a);
void session_args_free(struct session_args *a);
void session_args_put(struct session_args *a, struct slice s);
void session_args_num(struct session_args *a, uint64_t value);
/* The time-line's elements, one JSON object an argument. */
void session_args_steps(struct session_args *a, const struct session_job *job, const char *op,
                        const struct session_step *steps, size_t count);
/* A msgpack map of the facts that are there, by their names in the session. */
void session_args_facts(struct session_args *a, const struct session_facts *facts,
                        struct slice via);
/* out has room for SESSION_ARGS_MAX. Borrowed until the next put. */
int session_args_slices(const struct session_args *a, struct slice *out);

/* What every script gets: the KEYS and ARGV of shared.lua up to 19. */
struct session_ground {
    char *prefix;
    char *owner;
    char *key;           /* bytes of the pepper */
    struct slice pepper; /* of key */
    uint64_t keep_ms;
    uint64_t session_keep_ms;
    uint64_t events_keep_s;
};
/* Everything is copied. */
void session_ground_init(struct session_ground *g, const struct session_store_options *o);
/* Wipes the pepper. */
void session_ground_free(struct session_ground *g);
void session_args_ground(struct session_args *a, const struct session_ground *g,
                         const struct session_job *job, const struct integration *route,
                         const char *op);

#endif
