/*
 * store_ask.h: questions to Redis that wait for their answer, for those who have no event loop: the
 * commands of a person (apply, export, trace, callbacks, …) and the checks at start. A front of
 * store.h with a loop inside, so every form of redis.address is followed as the servers do.
 * Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_ASK_H
#define OTPQ_ADAPTERS_STORE_ASK_H

#include "common/adapters/store.h"

struct asker;

/* Returns when Redis is usable; NULL: error says why not, and which key of the configuration it is
 * about. Where one server is named, its first refusal is the answer; with sentinels or a cluster a
 * fail-over is waited for, 5 s at the most. password may be NULL; it is copied, and wiped. */
MUST_CHECK struct asker *asker_open(const char *address, const char *password, uint32_t timeout_ms,
                                    char error[512]);
void asker_close(struct asker **a);

/* The answer, owned by the caller (freeReplyObject), or NULL and error filled: an error of Redis'
 * own, no connection, or no answer in time (then it may have been done, and error says so).
 * Arguments as store_command and store_eval take them: a script's keys first. */
MUST_CHECK redisReply *store_ask(struct asker *a, int argc, const struct slice *argv,
                                 char error[512]);
MUST_CHECK redisReply *store_ask_script(struct asker *a, enum store_script script, int keys,
                                        int argc, const struct slice *argv, char error[512]);

#endif
