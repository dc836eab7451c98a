/*
 * store_inside.h: what the files of the store share and nobody else includes. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_INSIDE_H
#define OTPQ_ADAPTERS_STORE_INSIDE_H

#include <stdbool.h>

#include "common/adapters/store.h"
#include "common/meaning/netaddr.h"

enum { STORE_SHA_HEX = 40 };
/* SHA1 of a script's source, lower-case hex: its name for EVALSHA. */
const char *store_script_sha(enum store_script script);

/* Nothing of it stands in the log: its owner tells what there is to tell. Before the loop turns. */
void store_quiet(struct store *s);
/* Why it is not up, of the last attempt; "" before there was one, and when it is up. */
const char *store_why(const struct store *s);

#endif
