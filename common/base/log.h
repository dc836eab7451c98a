/*
 * log.h: one line an event to stderr, key=value or JSON. Floor 0.
 *
 *     log_info("listening", "address", address, "port_key", "gateway.listen", NULL);
 *
 * Values are strings and are quoted and escaped as the format needs. Secrets, OTPs and whole phone
 * numbers are never handed to it: numbers go through msisdn_mask (common/meaning/msisdn.h) first.
 */
#ifndef OTPQ_BASE_LOG_H
#define OTPQ_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* program stands in every line; it is borrowed for the life of the process. */
void log_setup(const char *program, enum log_level least, bool json);
/* msg, then key, value pairs of const char *, then NULL. */
void log_line(enum log_level level, const char *msg, ...) __attribute__((sentinel));

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

/* "%lld" of a number, for a value in a log line: a ring of 8 static buffers. */
const char *log_num(long long value);

#endif
