/*
 * intake.h: the whole way of a request without its sockets: what to answer at once, or which job to
 * queue and, later, what its result says over HTTP. Values in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_INTAKE_H
#define OTPQ_GATEWAY_INTAKE_H

#include <stdbool.h>

#include "common/meaning/wire.h"
#include "gateway/answer.h"
#include "gateway/logins.h"
#include "gateway/router.h"
#include "gateway/system.h"

/* What the connection tells, for where the parameters do not tell of the user. X-Forwarded-For is
 * not among it: anybody can write one. */
struct otp_caller {
    struct slice ip;              /* of the peer: "192.0.2.7" */
    struct slice user_agent;      /* the header's value, may be empty */
    struct slice accept_language; /* the header's value, may be empty */
};

struct intake_input {
    struct slice method;
    struct slice path;         /* as sent */
    struct slice query;        /* as sent */
    struct slice content_type; /* the header's value or empty */
    struct slice body;
    struct otp_caller caller;
    /* any other header's value; empty when it is not there */
    struct slice (*header)(void *context, const char *name);
    void *context;
    const char *public_url; /* where users reach this gateway, without a "/" at its end */
    int64_t wall_ms;        /* now */
    int64_t mono_ms;        /* now, of the clock that never goes backwards */
    struct logins *logins;  /* passwords of accounts: lives as long as the gateway */
};

enum intake_kind { INTAKE_ANSWER, INTAKE_JOB, INTAKE_HEALTH };

enum {
    INTAKE_TENANT_BYTES = WIRE_TENANT_BYTES_MAX + 1,
    INTAKE_ROUTE_BYTES = WIRE_ROUTE_BYTES_MAX + 1,
    INTAKE_ID_BYTES = WIRE_ID_BYTES_MAX + 1
};

struct intake {
    enum intake_kind kind;
    struct answer answer;        /* ANSWER: to be sent now */
    const struct system *system; /* whose words; NULL: none was found */
    void *kept;                  /* the system's own, owned; or NULL */
    enum wire_op op;             /* JOB */
    char id[INTAKE_ID_BYTES]; /* JOB: where the request settles it, so that it is one job; or "" */
    char route[INTAKE_ROUTE_BYTES];   /* JOB */
    char tenant[INTAKE_TENANT_BYTES]; /* JOB */
    struct buf body;                  /* JOB: msgpack map, owned */
};

void intake_make(struct intake *p, const struct records *records, const struct intake_input *in);
void intake_free(struct intake *p);

/* For systems: the failure is the answer, in the words of p->system. */
void intake_fail(struct intake *p, enum result_code code, int http, const char *detail);
/* For systems: p becomes this job; its body is written into p->body, which is ready for it, by the
 * caller afterwards. Texts are copied and must fit. */
void intake_job(struct intake *p, enum wire_op op, struct slice route, struct slice tenant);
/* For systems: after the body was written. False: it was too large, and that is the answer now. */
bool intake_job_fits(struct intake *p);

#endif
