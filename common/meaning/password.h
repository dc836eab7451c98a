/*
 * password.h: passwords at rest (crypt(5)): "$6$" is sha512crypt, which `otpq hash-password` makes;
 * "$y$" is yescrypt, as Debian's own passwd makes it. Both take milliseconds by intention, so a
 * caller that many can reach limits how often it asks. What a hash costs stands in the hash, so a
 * cost has its bound: a check is to end in some 50 ms on an ordinary core. Floor 1.
 */
#ifndef OTPQ_MEANING_PASSWORD_H
#define OTPQ_MEANING_PASSWORD_H

#include <stdbool.h>

#include "common/base/slice.h"

enum {
    PASSWORD_BYTES_MAX = 128,
    PASSWORD_HASH_BYTES = 128, /* room for what password_hash makes, with its NUL */
    PASSWORD_ROUNDS = 5000,    /* of sha512crypt: its default, so it stays out of the text */
    PASSWORD_ROUNDS_MIN = 1000,
    PASSWORD_ROUNDS_MAX = 100000
};

/* True when the hash is of this password. Constant time over the hash. hash "": no, after as much
 * work as a real one takes, so that an answer's time tells nobody which accounts there are; the
 * same for one that password_hash_is_whole refuses. A password over PASSWORD_BYTES_MAX or with a
 * NUL in it matches nothing. */
MUST_CHECK bool password_matches(struct slice given, const char *hash);

/* A fresh hash with a random salt. False: the password is empty, too long or has a NUL in it. */
MUST_CHECK bool password_hash(struct slice password, char out[PASSWORD_HASH_BYTES]);

/* Whether a text can be a hash at all: a method that is known, all parts, and a cost in its bounds:
 * sha512crypt of 1000 to 100000 rounds, yescrypt of j7T, j8T or j9T (4, 8 or 16 MiB), which is what
 * passwd takes. */
MUST_CHECK bool password_hash_is_whole(const char *text);

#endif
