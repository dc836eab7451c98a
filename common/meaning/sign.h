/*
 * sign.h: how a request of FOTP (system 4) is signed. The served side checks what the dialect fotp
 * makes, so both call the same function. Pure: who compares nonces with the clock is the caller.
 * Floor 1.
 */
#ifndef OTPQ_MEANING_SIGN_H
#define OTPQ_MEANING_SIGN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

enum sign_strategy {
    SIGN_MD5_SORTED,         /* MD5(sorted pairs, secret) */
    SIGN_HMAC_SHA256_SORTED, /* HMAC-SHA256(secret, sorted pairs) */
    SIGN_STATIC,             /* the secret itself in the header: an account and its password */
    SIGN_NONE                /* nothing; for loopback alone */
};

/* Names under which the account and the nonce are signed, whatever their headers are called. */
#define SIGN_ACCOUNT "account"
#define SIGN_NONCE   "nonce"

enum {
    SIGN_PAIRS_MAX = 66,        /* signed at once: as many as a body has, account and nonce */
    SIGN_TEXT_BYTES = 64,       /* of a number in a JSON body, as text */
    SIGN_BYTES_MAX = 256 * 1024 /* of all that is signed */
};

/* One name and its value. An empty value is not signed. */
struct sign_pair {
    struct slice name;
    struct slice value;
};

/* Empties `out` and writes the signature into it: lower-case hex; static's secret; "" for none.
 * The sorted strategies concatenate name and value of every pair that has a value, in the order of
 * the names' bytes, with nothing between. Changes the order of the pairs. False: more than is
 * bounded. */
MUST_CHECK bool sign_make(enum sign_strategy strategy, struct slice secret, struct sign_pair *pairs,
                          size_t count, struct buf *out);

/* The pairs of a JSON body: every scalar at its top. Strings as they are, whole numbers in decimal,
 * true and false as words; null, objects, lists and fractions (nobody writes those alike) not at
 * all. The slices point into `object` and `numbers` (one text for each pair). Returns how many;
 * what goes over `max` is left out. */
size_t sign_pairs_of(const json_t *object, struct sign_pair *pairs, size_t max,
                     char numbers[][SIGN_TEXT_BYTES]);

#endif
