#include "clients/otpq/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"

int confirm(const struct voice *v, bool yes, const char *what, const char *word)
{
    char line[256];
    if (yes) {
        return OTPQ_EXIT_DONE;
    }
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        voice_error(v, "%s: nobody is there to ask: say --yes", what);
        return OTPQ_EXIT_USAGE;
    }
    (void)fprintf(stderr, "%s.\nType \"%s\" to go on: ", what, word);
    if (fgets(line, sizeof line, stdin) == NULL) {
        line[0] = '\0';
    }
    line[strcspn(line, "\r\n")] = '\0';
    if (strcmp(line, word) != 0) {
        voice_error(v, "nothing was done");
        return OTPQ_EXIT_REFUSED;
    }
    return OTPQ_EXIT_DONE;
}

void progress_put(const char *what, unsigned long long done, unsigned long long total)
{
    if (!client_terminal(STDERR_FILENO)) {
        return;
    }
    if (total > 0) {
        (void)fprintf(stderr, "\r\033[K%s: %llu of %llu", what, done, total);
    } else {
        (void)fprintf(stderr, "\r\033[K%s: %llu", what, done);
    }
}

void progress_end(void)
{
    if (client_terminal(STDERR_FILENO)) {
        (void)fputs("\r\033[K", stderr);
    }
}
