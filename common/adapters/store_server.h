/*
 * store_server.h: what a Redis server says of itself, out of its answers to INFO and CONFIG GET.
 * Pure. Inner part of the store. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_SERVER_H
#define OTPQ_ADAPTERS_STORE_SERVER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"

enum { STORE_ID_BYTES = 41 }; /* 40 hex digits and a NUL */

/* How much of what it acknowledged a server has after a power cut; a kill of it alone loses nothing
 * from DURABLE_NO on. */
enum store_durability {
    DURABLE_UNKNOWN, /* it does not say (CONFIG is forbidden) */
    DURABLE_OFF,     /* appendonly no: a restart loses everything since the last snapshot */
    DURABLE_NO,      /* appendfsync no: up to what the kernel held, about 30 s */
    DURABLE_SECOND,  /* appendfsync everysec: up to 2 s */
    DURABLE_ALWAYS   /* appendfsync always: nothing */
};

struct store_server {
    char run_id[STORE_ID_BYTES];      /* another one after each start of the process */
    char replid[STORE_ID_BYTES];      /* of the history of its data: another after a fail-over */
    bool is_primary;                  /* it takes writes */
    bool in_cluster;                  /* it is a node of a cluster */
    long version_major;               /* 7 of 7.0.15; 0: it does not say */
    char eviction[32];                /* maxmemory_policy; "" it does not say */
    enum store_durability durability; /* of what it acknowledges */
    int64_t min_replicas;             /* min-replicas-to-write; -1: it does not say */
};

/* The sections of INFO that store_server_read wants, as the arguments of the command. */
#define STORE_SERVER_INFO "INFO server replication persistence memory"
/* What it wants of the configuration. */
#define STORE_SERVER_CONFIG "CONFIG GET appendfsync min-replicas-to-write"

/* info: answer to STORE_SERVER_INFO; config: answer to STORE_SERVER_CONFIG, an error is taken. Any
 * bytes are taken; what is not there stays empty. */
void store_server_read_info(struct store_server *out, const redisReply *info);
void store_server_read_config(struct store_server *out, const redisReply *config);
/* Why it must not be used, or NULL: it is a replica (takes no write, and what it holds may be old),
 * may evict keys, or is too old. is_node: it is of a cluster, where a replica says MOVED by itself.
 * A static text. */
const char *store_server_unfit(const struct store_server *s, bool is_node);
/* "always", "everysec", "no", "off", "unknown". */
const char *store_durability_name(enum store_durability d);
/* True when what the one acknowledged is there in the other: the same process with the same
 * history. */
MUST_CHECK bool store_server_same(const struct store_server *a, const struct store_server *b);

#endif
