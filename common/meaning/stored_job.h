/*
 * stored_job.h: an accepted job as it stands on a shelf in the store: everything that another
 * broker needs to go on with it. One msgpack array, then the body as it came. Floor 1.
 *
 * Moments are milliseconds of the store's clock: it is the one that all brokers share.
 */
#ifndef OTPQ_MEANING_STORED_JOB_H
#define OTPQ_MEANING_STORED_JOB_H

#include "common/base/buf.h"
#include "common/meaning/wire.h"

enum {
    STORED_JOB_VERSION = 1,
    /* what an entry is longer than id, route, tenant, trace and body */
    STORED_JOB_ROOM = 64
};

struct stored_job {
    struct wire_submit submit; /* ack, ttl_ms, delay_ms and again are not kept: 0 when read */
    int64_t accepted_ms;
    int64_t deadline_ms;
    int64_t ready_ms;  /* not before; accepted_ms when it was not delayed */
    struct slice body; /* raw msgpack */
};

void stored_job_write(struct buf *out, const struct stored_job *j);
/* Slices borrow from the entry. False: *error (static) says what is wrong with it: bytes of the
 * store are from outside too. */
MUST_CHECK bool stored_job_read(struct slice entry, struct stored_job *j, const char **error);

#endif
