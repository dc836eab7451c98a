/*
 * client.h: what the subcommands that talk to a broker share: options, a handle, answers printed.
 * Floor 4.
 */
#ifndef OTPQ_CLIENTS_CLIENT_H
#define OTPQ_CLIENTS_CLIENT_H

#include <getopt.h>
#include <jansson.h>
#include <otpq.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/check.h"
#include "common/base/slice.h"

/* The options that all of them take; their values stand above every character of a short option. */
enum { CLIENT_BROKERS = 256, CLIENT_CONFIG, CLIENT_TIMEOUT, CLIENT_JSON, CLIENT_HELP, CLIENT_NEXT };

#define CLIENT_OPTIONS                                                                             \
    {"brokers", required_argument, NULL, CLIENT_BROKERS},                                          \
        {"config", required_argument, NULL, CLIENT_CONFIG},                                        \
        {"timeout-ms", required_argument, NULL, CLIENT_TIMEOUT},                                   \
        {"json", no_argument, NULL, CLIENT_JSON}, {"help", no_argument, NULL, CLIENT_HELP},        \
    {                                                                                              \
        NULL, 0, NULL, 0                                                                           \
    }

enum { CLIENT_TIMEOUT_MS = 10000 }; /* unless --timeout-ms says otherwise */

#define CLIENT_USAGE                                                                               \
    "  --brokers A,B      brokers to talk to (client.brokers of the configuration)\n"              \
    "  --config FILE      the configuration file\n"                                                \
    "  --timeout-ms N     how long to wait for an answer (10000)\n"                                \
    "  --json             print JSON, one object a line\n"                                         \
    "  --help             print this and end\n"                                                    \
    "\nexit code: 0 done, 1 refused or not taken, 2 wrong usage, 3 no broker answered\n"

struct client_args {
    const char *usage;   /* printed by --help and after a mistake */
    const char *brokers; /* comma-separated; NULL: of the configuration */
    const char *config;  /* path or NULL */
    uint32_t timeout_ms;
    bool json;
};

/* Takes one option that getopt_long gave. -1: go on; else the exit code to leave with. An option
 * that nobody knows ('?') ends here too. */
MUST_CHECK int client_option(struct client_args *a, int option, const char *value);
/* Prints the usage after "otpq: why" and returns OTPQ_EXIT_USAGE. */
int client_usage(const struct client_args *a, const char *why);
/* A whole number within the bounds, or false after saying so. */
MUST_CHECK bool client_number(const char *name, const char *value, uint64_t min, uint64_t max,
                              uint64_t *out);
/* NULL: *exit_code says what to leave with, and why was printed. */
otpq *client_open(const struct client_args *a, uint32_t jobs_max, int *exit_code);

/* True when a person looks at this descriptor and its cursor can be moved: no pipe, no TERM=dumb.
 */
MUST_CHECK bool client_terminal(int fd);
/* A whole subcommand that asks a broker one thing about one id: arguments, question, answer. */
typedef enum otpq_outcome client_question(otpq *q, const char *id, uint32_t timeout_ms,
                                          struct otpq_answer *answer);
int client_ask(int argc, char **argv, const char *usage, client_question *ask, const char *good);

/* One answer for people or, with json, as one line. */
void client_print(const struct otpq_answer *answer, bool json);
/* Exit code of an answer: 0 when its state is `good` (NULL: any). */
int client_exit(const struct otpq_answer *answer, const char *good);

/* json.c: a msgpack map as JSON and the other way. NULL, or false: not whole, or not plain. */
json_t *client_json_of(struct slice msgpack);
MUST_CHECK bool client_pack_json(struct buf *b, const json_t *value);

#endif
