/*
 * sandbox_numbers.h: how the sandbox advertiser treats a number, by its last four digits: one row a
 * number, read by the server, by `otpq sandbox --numbers`, and checked against docs/sandbox.md.
 * Floor 4.
 */
#ifndef OTPQ_COMMAND_SANDBOX_NUMBERS_H
#define OTPQ_COMMAND_SANDBOX_NUMBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

/* How the answer travels. */
enum sandbox_way {
    SANDBOX_ANSWERS, /* as it should */
    SANDBOX_HANGS,   /* never; the connection stays open */
    SANDBOX_RESETS,  /* not at all: the connection is reset */
    SANDBOX_BREAKS,  /* half of it, then the connection closes */
    SANDBOX_DRIPS    /* a byte every 100 ms */
};

/* What stands in it. */
enum sandbox_body {
    SANDBOX_BODY_ORDINARY, /* JSON: ok, or the error word */
    SANDBOX_BODY_GARBAGE,  /* bytes that are no JSON */
    SANDBOX_BODY_EMPTY,
    SANDBOX_BODY_HTML,
    SANDBOX_BODY_LARGE /* JSON of more than 64 KiB */
};

/* Which call misbehaves; the other one is ordinary. */
enum sandbox_side { SANDBOX_SEND, SANDBOX_VERIFY, SANDBOX_BOTH };

struct sandbox_number {
    uint16_t last4;         /* last four digits of the number */
    enum sandbox_side side; /* of what follows */
    const char *error;      /* word of an error answer, or NULL: ok */
    int http;               /* status */
    uint32_t delay_ms;      /* before the answer */
    enum sandbox_way way;   /* see above */
    enum sandbox_body body; /* see above */
    bool arrives;           /* send: the OTP reaches the phone all the same */
    bool same_id;           /* send: the request id of the send before, again */
    uint32_t retry_after_s; /* header Retry-After; 0: none */
    const char *meaning;    /* one sentence */
};

extern const struct sandbox_number sandbox_numbers[];
extern const unsigned sandbox_number_count;

/* The row for a number's digits; NULL: ordinary. Unlisted numbers from 9000 up are like 9000. */
const struct sandbox_number *sandbox_number_find(struct slice digits);
/* The table for people, and as a JSON array. */
void sandbox_numbers_print(struct buf *out);
void sandbox_numbers_print_json(struct buf *out);

#endif
