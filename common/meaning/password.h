/*
 * password.h: passwords at rest (crypt(5)): "$6$" is sha512crypt, which `otpq hash-password` makes;
 * "$y$" is yescrypt, as Debian's own passwd makes it. Both take milliseconds by intention, so a
 * caller that many can reach limits how often it asks. Floor 1.
 */
#ifndef OTPQ_MEANING_PASSWORD_H
#define OTPQ_MEANING_PASSWORD_H

#include <stdbool.h>

#include "common/base/slice.h"

enum {
    PASSWORD_BYTES_MAX = 128,
    PASSWORD_HASH_BYTES = 128, /* room for what password_hash makes, with its NUL */
    PASSWORD_ROUNDS = 5000     /* of sha512crypt: its default, so it stays out of the text */
};

/* True when the hash is of this password. Constant time over the hash. hash "": no, after as much
 * work as a real one takes, so that an answer's time tells nobody which accounts there are. A
 * password over PASSWORD_BYTES_MAX or with a NUL in it matches nothing. */
MUST_CHECK bool password_matches(struct slice given, const char *hash);

/* A fresh hash with a random salt. False: the password is empty, too long or has a NUL in it. */
MUST_CHECK bool password_hash(struct slice password, char out[PASSWORD_HASH_BYTES]);

/* Whether a text can be a hash at all: a method that is known, all parts, a cost that ends. */
MUST_CHECK bool password_hash_is_whole(const char *text);

#endif
