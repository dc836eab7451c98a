/*
 * voice.h: how a subcommand says what went wrong: to people on stderr, with --json to programs as
 * one object on stdout. Floor 4.
 */
#ifndef OTPQ_CLIENTS_VOICE_H
#define OTPQ_CLIENTS_VOICE_H

#include <stdbool.h>

#include "common/base/check.h"

struct voice {
    const char *command; /* "otpq apply" */
    bool json;           /* --json */
};

/* "otpq apply: …\n" on stderr, or {"error": "…"} on stdout. */
void voice_error(const struct voice *v, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
