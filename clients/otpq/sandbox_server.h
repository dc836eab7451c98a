/*
 * sandbox_server.h: the HTTP side of the sandbox advertiser: takes sends and verifies, remembers
 * them, and answers or misbehaves as the number's row says. Floor 4.
 */
#ifndef OTPQ_COMMAND_SANDBOX_SERVER_H
#define OTPQ_COMMAND_SANDBOX_SERVER_H

#include <event2/event.h>
#include <stdint.h>

#include "common/base/check.h"

struct sandbox_server;

struct sandbox_options {
    const char *listen; /* host:port */
    uint32_t delay_ms;  /* before every answer of the advertiser; 0: none */
};

/* NULL: *error says why it cannot listen. */
MUST_CHECK struct sandbox_server *
sandbox_server_new(struct event_base *base, const struct sandbox_options *o, char error[256]);
void sandbox_server_destroy(struct sandbox_server **s);
uint16_t sandbox_server_port(const struct sandbox_server *s);

#endif
