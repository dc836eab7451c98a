/*
 * outcome.h: what the queue said about a job, read once for every served system. Floor 4.
 */
#ifndef OTPQ_GATEWAY_OUTCOME_H
#define OTPQ_GATEWAY_OUTCOME_H

#include <otpq.h>
#include <stdbool.h>

#include "common/meaning/job.h"
#include "common/meaning/result.h"

struct outcome {
    bool ran; /* the job has a result; else it was not taken, or nobody told it in time */
    enum result_code code;    /* of the vocabulary, never RESULT_NONE */
    const char *detail;       /* for people when !ran, or ""; else the result's own is in result */
    uint32_t retry_after_s;   /* !ran: when to come back, 0: not said */
    struct job_result result; /* ran: borrows from the answer; else as job_result_init leaves it */
};

void outcome_read(const struct otpq_answer *from, struct outcome *out);

#endif
