/*
 * logins.h: who of the accounts says to be calling (system 3 sends name and password with every
 * request). A password hash is slow on purpose and the gateway has one thread: a password that was
 * right once is remembered, wrong ones have a ceiling. Floor 4.
 */
#ifndef OTPQ_GATEWAY_LOGINS_H
#define OTPQ_GATEWAY_LOGINS_H

#include <stdint.h>

#include "common/meaning/record.h"

enum {
    LOGINS_KEPT_MAX = 4096,  /* passwords remembered */
    LOGINS_WRONG_MAX_S = 20, /* wrong passwords that are looked at in a second, of all names */
    LOGINS_WRONG_NAME_S = 5, /* the same, of names that share a counter; mostly of one */
    LOGINS_NAME_COUNTERS = 256
};

enum login { LOGIN_GOOD, LOGIN_WRONG, LOGIN_TOO_MANY /* not looked at: nobody knows */ };

struct logins;

struct logins *logins_new(void);
void logins_destroy(struct logins **l);
/*
 * LOGIN_GOOD: *out is the account, which may be inactive. A name that nobody has, and one without a
 * password, take as long and count as wrong passwords do. now_ms never goes backwards.
 */
MUST_CHECK enum login logins_check(struct logins *l, const struct records *records,
                                   struct slice username, struct slice password, int64_t now_ms,
                                   const struct account **out);

#endif
