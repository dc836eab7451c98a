/*
 * intake.h: the whole way of a request without its sockets: what to answer at once, or which job to
 * queue and, later, what its result says over HTTP. Values in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_INTAKE_H
#define OTPQ_GATEWAY_INTAKE_H

#include <otpq.h>
#include <stdbool.h>

#include "gateway/answer.h"
#include "gateway/otp_request.h"
#include "gateway/router.h"

struct intake_input {
    struct slice method;
    struct slice path;         /* as sent */
    struct slice query;        /* as sent */
    struct slice content_type; /* the header's value or empty */
    struct slice body;
    struct otp_caller caller;
};

enum intake_kind { INTAKE_ANSWER, INTAKE_JOB, INTAKE_HEALTH };

struct intake {
    enum intake_kind kind;
    struct answer answer;        /* ANSWER: to be sent now */
    const char *allow;           /* ANSWER with 405: for the Allow header; else NULL */
    const struct system *system; /* JOB: whose words the result is told in */
    bool verify;                 /* JOB: op "verify", else "send" */
    const char *route;           /* JOB: borrowed from the records */
    char tenant[24];             /* JOB */
    struct buf body;             /* JOB: msgpack map, owned */
};

void intake_make(struct intake *p, const struct records *records, const struct intake_input *in);
void intake_free(struct intake *p);

/* What the queue said, in the system's words. */
void intake_outcome(struct answer *a, const struct system *system, const struct otpq_answer *from);

#endif
