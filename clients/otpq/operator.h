/*
 * operator.h: questions that an operator puts to one broker, and which brokers there are. A socket
 * of its own and not libotpq's: who asks means this broker and no other. Floor 4.
 */
#ifndef OTPQ_CLIENTS_OPERATOR_H
#define OTPQ_CLIENTS_OPERATOR_H

#include "clients/otpq/client.h"
#include "common/adapters/brokers_store.h"
#include "common/meaning/curve_key.h"

struct broker_found {
    char name[BROKER_NAME_BYTES];       /* or its address, when only that is known */
    char clients[BROKER_ADDRESS_BYTES]; /* where to ask */
    char key[CURVE_KEY_CHARS + 1];      /* its public key; "": it is spoken to in the clear */
    bool leaving;                       /* it takes nothing new */
};

/* Those of --brokers; else those that live, by Redis; else client.brokers. How many, at most
 * BROKERS_MAX; 0: *exit_code, and why was printed. pair: the one of client.curve_secret_file, empty
 * when there is none; the caller wipes it (curve_pair_wipe). NULL: nobody will be asked. */
MUST_CHECK size_t operator_brokers(const struct client_args *a, struct broker_found *out,
                                   struct curve_pair *pair, int *exit_code);

/* One message of OTPQ/1 and its answer, which is appended. False: *why (static) tells. */
MUST_CHECK bool operator_ask(const struct broker_found *broker, const struct curve_pair *pair,
                             struct slice message, uint32_t timeout_ms, struct buf *answer,
                             const char **why);

/* "root@host": who does this, for others to read. */
void operator_name(char *out, size_t size);

#endif
