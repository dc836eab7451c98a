/* otpq: the command. A table of subcommands; the help is the table. */
#include <stdio.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "common/adapters/memory.h"
#include "common/base/check.h"
#include "common/base/process.h"
#include "common/meaning/config.h"

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"up", "run a whole node: Redis, broker, workers, gateway", cmd_up},
    {"demo", "send and verify a first OTP through a running node with the demo records", cmd_demo},
    {"push", "push jobs: a number, or JSON lines", cmd_push},
    {"get", "the state or result of a job", cmd_get},
    {"cancel", "cancel a job that has not started", cmd_cancel},
    {"info", "the queue in numbers", cmd_info},
    {"top", "the queue, live", cmd_top},
    {"pause", "let a route's jobs wait, at all brokers", cmd_pause},
    {"drain", "take nothing new for a route, or at one broker", cmd_drain},
    {"resume", "end a pause or a drain", cmd_resume},
    {"purge", "end what waits in a route's queue", cmd_purge},
    {"dead", "stored jobs that ended without what was asked: list, show, retry, purge", cmd_dead},
    {"apply", "bring records (integrations, affiliates, endpoints) into Redis", cmd_apply},
    {"export", "print the records as a file that apply takes", cmd_export},
    {"sandbox", "play an advertiser to try things with", cmd_sandbox},
    {"trace", "the time-line of a request", cmd_trace},
    {"callbacks", "what others are to be told: list, show, replay", cmd_callbacks},
    {"unknown", "jobs whose outcome nobody knows: list, resolve", cmd_unknown},
    {"keys", "who may use the brokers' sockets: new, list, revoke", cmd_keys},
    {"hash-password", "the hash of a password, for an account", cmd_hash_password},
};

static void help(FILE *to)
{
    (void)fputs("usage: otpq COMMAND [ARGUMENTS]\n\n", to);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        (void)fprintf(to, "  %-14s %s\n", commands[i].name, commands[i].summary);
    }
    (void)fputs("\n`otpq COMMAND --help` tells the rest; `otpq --version` the version.\n"
                "`otpq --check-config [--config FILE]` checks the configuration, all sections.\n",
                to);
}

/* getopt puts argv[0] in front of what it has to say. */
static int run(const struct command *command, int argc, char **argv)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "otpq %s", command->name);
    argv[0] = name;
    return command->run(argc, argv);
}

/* Options before any command: only for a look at the configuration. */
static bool asks_for_check(int argc, char **argv)
{
    for (int i = 1; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--check-config") == 0) {
            return true;
        }
        i += strcmp(argv[i], "--config") == 0 ? 1 : 0;
    }
    return false;
}

static int check_config(int argc, char **argv)
{
    struct config c;
    int code = config_main(argc, argv, "otpq", "checks the configuration", &c);
    must(code != CONFIG_GO_ON);
    return code;
}

int main(int argc, char **argv)
{
    memory_ends_in_order();
    const char *name = argc > 1 ? argv[1] : "";
    process_no_core(); /* some commands hold a key */
    (void)setvbuf(stdout, NULL, _IOLBF,
                  0); /* who reads a pipe of ours sees each line as it is said */
    if (strcmp(name, "--version") == 0) {
        (void)printf("otpq %s\n", OTPQ_VERSION);
        return OTPQ_EXIT_DONE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        help(stdout);
        return OTPQ_EXIT_DONE;
    }
    if (asks_for_check(argc, argv)) {
        return check_config(argc, argv);
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return run(&commands[i], argc - 1, argv + 1);
        }
    }
    if (name[0] != '\0') {
        (void)fprintf(stderr, "otpq: there is no command \"%s\"\n\n", name);
    }
    help(stderr);
    return OTPQ_EXIT_USAGE;
}
