/*
 * redis_slot.h: in which hash slot of a Redis Cluster a key lies (Redis Cluster Specification, "Key
 * distribution model" and "Hash tags"). Pure. Floor 1.
 */
#ifndef OTPQ_MEANING_REDIS_SLOT_H
#define OTPQ_MEANING_REDIS_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/meaning/netaddr.h"

enum { REDIS_SLOTS = 16384 };

/* CRC16/XMODEM: polynomial 0x1021, begins with 0, nothing reflected. */
uint16_t redis_crc16(struct slice bytes);
/* What of a key decides: the bytes between its first "{" and the first "}" after that, when there
 * are any; else the whole key. A part of key. */
struct slice redis_hash_tag(struct slice key);
/* 0 to REDIS_SLOTS - 1. */
uint16_t redis_slot(struct slice key);

/* What a node says instead of carrying a command out. */
struct redis_redirect {
    bool ask;          /* this once, behind ASKING; else the slot has moved for good */
    uint16_t slot;     /* which */
    struct netaddr to; /* host "": that of the node which said it */
};
/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 ::1:6381". False: it is no such error. */
MUST_CHECK bool redis_redirect_read(struct slice error, struct redis_redirect *out);

#endif
