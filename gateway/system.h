/*
 * system.h: a served system: its name, its words, and what an address of it settles before any
 * parameter is read. One file a system. Floor 4.
 */
#ifndef OTPQ_GATEWAY_SYSTEM_H
#define OTPQ_GATEWAY_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/meaning/record.h"
#include "gateway/answer.h"

/* What the address itself says; parameters may repeat it and must not contradict it. */
struct binding {
    bool bound;           /* false: everything comes as parameters */
    uint64_t aid;         /* affiliate */
    uint64_t mid;         /* network */
    struct slice partner; /* integration; borrowed from the records */
};

struct system {
    const char *name;        /* for logs */
    enum answer_shape shape; /* of its answers */
    /* False: there is no such address. name is what the path's "{}" took. */
    bool (*bind)(const struct records *records, struct slice name, struct binding *out);
};

extern const struct system system_af;       /* af.c: system 2, the affiliate OTP API */
extern const struct system system_endpoint; /* endpoint.c: system 1, generated endpoints */

#endif
