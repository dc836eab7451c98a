/*
 * worker.h: a worker process: the loop, the store, the HTTP client and a link to every broker.
 * Floor 4.
 */
#ifndef OTPQ_WORKERS_WORKER_H
#define OTPQ_WORKERS_WORKER_H

#include "common/meaning/config.h"

struct worker;

/* Opens everything; blocks while the store is checked. config is borrowed for the worker's life.
 * NULL: *error says what to change. */
MUST_CHECK struct worker *worker_new(const struct config *config, char error[512]);
void worker_destroy(struct worker **w);

/*
 * Runs until SIGTERM or SIGINT: no more credit, unstarted jobs back, started ones finished (at most
 * worker.drain_ms), goodbye. A second signal ends it at once. on_ready runs once, when the first
 * records are loaded. Returns the exit code: 0, or 1 when calls had to be left behind.
 */
int worker_run(struct worker *w, void (*on_ready)(void));

#endif
