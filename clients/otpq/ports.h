/*
 * ports.h: are the addresses of a node free? Asked before anything is started, because gateways
 * share their port: a second node would take half of the requests of the first, silently. Floor 4.
 */
#ifndef OTPQ_COMMAND_PORTS_H
#define OTPQ_COMMAND_PORTS_H

#include <stdbool.h>

#include "common/base/check.h"
#include "common/meaning/config.h"

/* False: each address that is taken was printed on stderr, with the options that change it. */
MUST_CHECK bool ports_free(const struct config *c, bool sandbox);

#endif
