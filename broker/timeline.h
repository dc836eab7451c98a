/*
 * timeline.h: the last step of a flow's time-line, "answered": the moment the broker hands the
 * result to the client. Fire and forget: a store that is away costs the step and nothing else.
 * Floor 4.
 */
#ifndef OTPQ_BROKER_TIMELINE_H
#define OTPQ_BROKER_TIMELINE_H

#include "common/adapters/store.h"
#include "common/base/slice.h"

/* Appends to the time-line of request id rid if there is one (its life is the session's). */
void timeline_answered(struct store *store, const char *prefix, struct slice job, struct slice rid,
                       int64_t wall_ms);

#endif
