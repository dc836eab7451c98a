/*
 * self.h: what this broker says about itself to those that look for brokers. Floor 4.
 */
#ifndef OTPQ_BROKER_SELF_H
#define OTPQ_BROKER_SELF_H

#include "common/adapters/brokers_store.h"

/* A new token; the name is the host's and where clients find it, the same after a restart. */
void self_line(const struct config *c, struct broker_line *out);

#endif
