/*
 * values.h: what the macros of a template stand for in one call. Floor 4.
 */
#ifndef OTPQ_WORKERS_VALUES_H
#define OTPQ_WORKERS_VALUES_H

#include "workers/flow_inside.h"

/* Texts that are made for the call. Must live as long as the values. */
struct values_room {
    char aid[24];
    char mid[24];
    char timestamp[24];
    char timestamp_ms[24];
    char nonce[24];
    char uuid[TEMPLATE_UUID_CHARS + 1];
};

/* now_ms: wall clock. The values borrow from the flow and the room. */
void values_of(struct flow *f, int64_t now_ms, struct values_room *room,
               struct template_values *out);

#endif
