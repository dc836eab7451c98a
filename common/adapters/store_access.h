/*
 * store_access.h: where Redis is and how to get in, as the configuration says: for every program
 * that opens a store. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_ACCESS_H
#define OTPQ_ADAPTERS_STORE_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/meaning/config.h"

struct store_access {
    char *address;         /* unix:/path or tcp://host:port, owned */
    char *password;        /* NULL: none; owned, wiped by store_access_end */
    size_t password_bytes; /* of it */
    uint32_t timeout_ms;   /* of a command */
};

/* False: error says what is wrong with redis.password_file; nothing is to be ended then. */
MUST_CHECK bool store_access_begin(const struct config *c, struct store_access *out,
                                   char error[512]);
/* As soon as the store is open: forgets the password. */
void store_access_end(struct store_access *a);

#endif
