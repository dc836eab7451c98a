/*
 * job_read.h: what job.c and job_ops.c share. Floor 1.
 */
#ifndef OTPQ_MEANING_JOB_READ_H
#define OTPQ_MEANING_JOB_READ_H

#include "common/meaning/fields.h"
#include "common/meaning/job.h"

/* A whole body: one map and nothing behind it. */
MUST_CHECK bool job_read_whole(struct slice bytes, const struct fields *t, void *out,
                               const char **error);
/* A map of texts; raw may be empty. */
MUST_CHECK bool job_read_params(struct slice raw, struct job_params *out, const char **error);
/* Nothing when there are none. */
void job_put_params(struct buf *b, const struct job_params *params);

#endif
