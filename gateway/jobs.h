/*
 * jobs.h: requests that wait for the queue: an HTTP request becomes a job of the public library in
 * the gateway's loop, its result becomes the deferred answer. A client that hangs up changes
 * nothing: the job goes on. Floor 4.
 */
#ifndef OTPQ_GATEWAY_JOBS_H
#define OTPQ_GATEWAY_JOBS_H

#include <event2/event.h>
#include <stdint.h>

#include "common/adapters/httpd.h"
#include "gateway/intake.h"

struct jobs;

struct jobs_options {
    struct event_base *base;
    const char *const *brokers;    /* clients' addresses of brokers, as otpq.h wants them */
    const char *curve_secret_file; /* "": none */
    size_t broker_count;
    uint32_t inflight_max; /* requests that may wait at once; 503 above */
    uint32_t ttl_ms;       /* of a job */
};

/* NULL: *error is a static text. */
MUST_CHECK struct jobs *jobs_new(const struct jobs_options *o, const char **error);
/* Other brokers from now on; jobs at those left out are still waited for. */
void jobs_brokers(struct jobs *j, const char *const *brokers, size_t count);
/* Requests that still wait are answered with outcome_unknown. */
void jobs_destroy(struct jobs **j);

/* Takes the request over and answers it, at once when it cannot be queued. id is the job's and the
 * request's; in->kept moves here when it was queued. */
void jobs_start(struct jobs *j, struct httpd_request *request, const char *id, struct intake *in);
size_t jobs_brokers_up(const struct jobs *j);

#endif
