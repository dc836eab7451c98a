/*
 * push_lines.h: JSON lines as jobs. Floor 4.
 */
#ifndef OTPQ_CLIENTS_PUSH_LINES_H
#define OTPQ_CLIENTS_PUSH_LINES_H

#include <otpq.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"

enum { PUSH_WINDOW = 1000 }; /* jobs unanswered at once */

struct push_options {
    uint32_t timeout_ms; /* the longest time without any answer */
    enum otpq_ack ack;   /* of lines that do not say */
    bool no_wait;        /* not for results of jobs that are stored */
    bool json;           /* print JSON */
};

/* Pushes every line of path ("-": standard input), prints one line an acceptance that was asked for
 * and one a result as they come, and gives the exit code: the worst that happened. */
int push_lines(otpq *q, const char *path, const struct push_options *o);
/* The word of --ack and of the key "ack"; false: it is none. */
MUST_CHECK bool push_ack(const char *word, enum otpq_ack *out);

#endif
