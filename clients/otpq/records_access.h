/*
 * records_access.h: what `otpq apply` and `otpq export` begin with: configuration and Redis.
 * Floor 4.
 */
#ifndef OTPQ_CLIENTS_RECORDS_ACCESS_H
#define OTPQ_CLIENTS_RECORDS_ACCESS_H

#include <stdbool.h>

#include "clients/otpq/voice.h"
#include "common/adapters/store_ask.h"
#include "common/meaning/config.h"
#include "common/meaning/record.h"

struct records_access {
    struct config config; /* as loaded */
    struct asker *redis;  /* usable */
};

/* OTPQ_EXIT_DONE, or another exit code with the reason said (nothing to close then).
 * config_path may be NULL. */
MUST_CHECK int records_access_open(struct records_access *a, const struct voice *voice,
                                   const char *config_path);
void records_access_close(struct records_access *a);

#endif
