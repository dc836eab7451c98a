/*
 * brokers_store.h: which brokers there are: each writes a line about itself with every beat, and
 * reads those of the others in the same round trip. Floor 3.
 *
 * Key (prefix otpq:): brokers, a hash of lines by token, 16 hex digits, random for each process.
 * Who is dead is not decided here, nor by any clock: an observer that sees the same beat for
 * BROKER_LEASE_MS of time in which the store answered it calls that broker dead (broker/peers.h).
 */
#ifndef OTPQ_ADAPTERS_BROKERS_STORE_H
#define OTPQ_ADAPTERS_BROKERS_STORE_H

#include "common/adapters/store.h"
#include "common/meaning/config.h"

enum {
    BROKER_TOKEN_BYTES = 16,
    BROKERS_MAX = 64,      /* seen at a time */
    BROKER_BEAT_MS = 150,  /* between beats */
    BROKER_LEASE_MS = 700, /* the same beat for so long: dead */
    BROKER_NAME_BYTES = 128,
    BROKER_ADDRESS_BYTES = 256
};

struct broker_line {
    char token[BROKER_TOKEN_BYTES + 1];
    char name[BROKER_NAME_BYTES];       /* for people, and the same after a restart */
    char clients[BROKER_ADDRESS_BYTES]; /* where clients connect to */
    char workers[BROKER_ADDRESS_BYTES]; /* where workers connect to */
    char key[41];                       /* CURVE public key, Z85; "": none */
    bool leaving;                       /* it drains: nothing new goes there */
    uint64_t beat;                      /* goes up */
};

/* Writes own (with its beat), drops the lines of `gone` (tokens, may be none) and tells of all that
 * are there, own included, and of the store's clock. seen NULL: the store did not answer. The
 * callback may run before it returns. */
void brokers_beat(struct store *store, const char *prefix, const struct broker_line *own,
                  const char *const *gone, size_t gone_count,
                  void (*done)(void *context, const struct broker_line *seen, size_t count,
                               int64_t store_ms),
                  void *context);
/* Only reads. seen NULL: the store did not answer. The callback may run before it returns. */
void brokers_look(struct store *store, const char *prefix,
                  void (*done)(void *context, const struct broker_line *seen, size_t count),
                  void *context);
/* At an orderly end. Nobody hears whether it worked: a line that stays is buried by others. */
void brokers_leave(struct store *store, const char *prefix, const char *token);

/* Behind the prefix: a message whenever a broker came or went; who looks for brokers listens. */
#define BROKERS_CHANNEL "brokers"

#endif
