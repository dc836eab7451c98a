/*
 * gateway.h: a gateway process: the loop, the HTTP server, the records and the queue behind it.
 * Floor 4.
 */
#ifndef OTPQ_GATEWAY_GATEWAY_H
#define OTPQ_GATEWAY_GATEWAY_H

#include "common/meaning/config.h"

struct gateway;

/* NULL: *error says what to change. The configuration is borrowed for the gateway's life. */
MUST_CHECK struct gateway *gateway_new(const struct config *config, char error[512]);
void gateway_destroy(struct gateway **g);
/* Until SIGTERM or SIGINT and the end of the drain; the process's exit code. */
int gateway_run(struct gateway *g);

#endif
