/*
 * push_lines.h: JSON lines as jobs. Floor 4.
 */
#ifndef OTPQ_CLIENTS_PUSH_LINES_H
#define OTPQ_CLIENTS_PUSH_LINES_H

#include <otpq.h>
#include <stdbool.h>
#include <stdint.h>

enum { PUSH_WINDOW = 1000 }; /* jobs unanswered at once */

/* Pushes every line of path ("-": standard input), prints one line a result as it comes and gives
 * the exit code: the worst that happened. timeout_ms is the longest time without any answer. */
int push_lines(otpq *q, const char *path, uint32_t timeout_ms, bool json);

#endif
