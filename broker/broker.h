/*
 * broker.h: the broker as a whole: sockets around the dispatch core, one loop, one thread. Floor 4.
 *
 * A turn: the loop polls once; the workers' and the clients' sockets hand over what has come, each
 * a bounded number of messages; then the core takes one step, and every peer's answers or jobs
 * leave in one message. So the cost of a turn is shared by all jobs in it.
 */
#ifndef OTPQ_BROKER_BROKER_H
#define OTPQ_BROKER_BROKER_H

#include "common/meaning/config.h"

struct broker;

/* Opens everything. NULL: error says what to change. config is borrowed for the broker's life. */
MUST_CHECK struct broker *broker_new(const struct config *config, char error[512]);
/* Reports READY and lets clients in with the first records, after BROKER_OPEN_MS without them. Runs
 * until SIGTERM or SIGINT: refuses new jobs, answers what is in flight, for BROKER_DRAIN_MS at
 * most; a second signal ends at once. The process's exit code. */
MUST_CHECK int broker_run(struct broker *b);
/* Takes NULL, nulls the pointer. Waits up to the sockets' linger for the last answers to leave. */
void broker_destroy(struct broker **b);

enum { BROKER_DRAIN_MS = 10000, BROKER_OPEN_MS = 5000 };

#endif
