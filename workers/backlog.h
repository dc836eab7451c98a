/*
 * backlog.h: the few jobs that came while all of worker.capacity was in use, oldest first. Several
 * brokers may each send what this worker could take if the others sent nothing. Floor 4.
 */
#ifndef OTPQ_WORKERS_BACKLOG_H
#define OTPQ_WORKERS_BACKLOG_H

#include "common/base/list.h"
#include "workers/link.h"

struct backlog;

struct backlog_job {
    struct list node;    /* of the backlog */
    struct link *from;   /* gets its end */
    struct wire_job job; /* slices point into bytes */
    struct slice body;   /* into bytes */
    int64_t waited_ms;   /* on its way here, as link.h's on_job says */
    int64_t since_ms;    /* when it was put here */
    char bytes[];        /* id, route, tenant, trace, via, body */
};

struct backlog *backlog_new(uint32_t jobs_max);
/* Takes NULL, nulls the pointer; jobs in it are forgotten. */
void backlog_destroy(struct backlog **b);
/* Keeps a copy. False: it holds jobs_max. */
MUST_CHECK bool backlog_put(struct backlog *b, struct link *from, const struct wire_job *job,
                            struct slice body, int64_t waited_ms, int64_t now_ms);
/* The oldest, or NULL; it stays. */
const struct backlog_job *backlog_oldest(const struct backlog *b);
/* Takes the oldest out; the caller frees it. NULL: there is none. */
struct backlog_job *backlog_take(struct backlog *b);
uint32_t backlog_count(const struct backlog *b);

#endif
