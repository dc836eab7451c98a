/*
 * confirm.h: before a subcommand does what nobody can take back. Floor 4.
 */
#ifndef OTPQ_CLIENTS_CONFIRM_H
#define OTPQ_CLIENTS_CONFIRM_H

#include "clients/otpq/voice.h"

/* Says `what` on stderr and lets a person at a terminal type `word`. OTPQ_EXIT_DONE: go on (at once
 * with yes); OTPQ_EXIT_REFUSED: something else was typed; OTPQ_EXIT_USAGE: nobody can be asked. */
MUST_CHECK int confirm(const struct voice *v, bool yes, const char *what, const char *word);

/* "123 of 4567" over and over on stderr, when a person looks at it; total 0: not known. */
void progress_put(const char *what, unsigned long long done, unsigned long long total);
/* Takes the line away. */
void progress_end(void);

#endif
