/*
 * `otpq hash-password`: the hash of a password, for password_hash of an account. The password is
 * read from standard input, never from an argument: those are in everybody's process list.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/voice.h"
#include "common/meaning/password.h"

static const char usage[] =
    "usage: otpq hash-password [--json]\n"
    "\n"
    "Reads a password from standard input (on a terminal it asks, without echo) and prints its\n"
    "hash (sha512crypt with a random salt) for the key password_hash of an account. --json prints\n"
    "{\"hash\": \"…\"}.\n";

/* Room for the longest, its line end, and one byte that tells a longer one. */
enum { LINE_BYTES = PASSWORD_BYTES_MAX + 3 };

/* One line without its end. False: no line, or too long a one. */
static bool read_line(char line[LINE_BYTES])
{
    if (fgets(line, LINE_BYTES, stdin) == NULL) {
        return false;
    }
    size_t n = strcspn(line, "\r\n");
    bool ended = line[n] != '\0' || feof(stdin);
    line[n] = '\0';
    return ended && n <= PASSWORD_BYTES_MAX;
}

static bool ask(const char *prompt, char line[LINE_BYTES])
{
    struct termios old;
    bool is_terminal = tcgetattr(STDIN_FILENO, &old) == 0;
    if (!is_terminal) {
        return read_line(line);
    }
    struct termios quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* first: who sees the prompt may type */
    (void)fputs(prompt, stderr);
    (void)fflush(stderr);
    bool ok = read_line(line);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    (void)fputc('\n', stderr);
    return ok;
}

/* NULL when it was read, twice the same where a person types it blindly. */
static const char *read_password(char password[LINE_BYTES])
{
    char again[LINE_BYTES];
    const char *wrong = NULL;
    if (!ask("Password: ", password)) {
        return "a password of one line with at most 128 bytes is wanted on standard input";
    }
    if (isatty(STDIN_FILENO)) {
        bool same = ask("Again: ", again) && strcmp(password, again) == 0;
        wrong = same ? NULL : "the two are not the same";
        explicit_bzero(again, sizeof(again));
    }
    return wrong;
}

static int run(const struct voice *voice)
{
    char password[LINE_BYTES];
    char hash[PASSWORD_HASH_BYTES];
    const char *wrong = read_password(password);
    if (wrong == NULL && !password_hash(slice_of(password), hash)) {
        wrong = "the password is empty";
    }
    explicit_bzero(password, sizeof(password));
    if (wrong != NULL) {
        voice_error(voice, "%s", wrong);
        return OTPQ_EXIT_USAGE;
    }
    (void)printf(voice->json ? "{\"hash\":\"%s\"}\n" : "%s\n", hash);
    return fflush(stdout) == 0 ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

int cmd_hash_password(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct voice voice = {.command = argv[0]};
    for (int o = getopt_long(argc, argv, "", options, NULL); o != -1;
         o = getopt_long(argc, argv, "", options, NULL)) {
        if (o != 'j') {
            (void)fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? OTPQ_EXIT_DONE : OTPQ_EXIT_USAGE;
        }
        voice.json = true;
    }
    if (optind < argc) { /* it may be the password: not repeated */
        (void)fputs(usage, stderr);
        return OTPQ_EXIT_USAGE;
    }
    return run(&voice);
}
