/*
 * redact.h: "****" over secrets in what an advertiser answered, in every form in which it may echo
 * them: as they are, percent- or JSON-encoded, in hex, and in base64, alone or anywhere inside a
 * longer text that was encoded ("user:secret"). Floor 1.
 */
#ifndef OTPQ_MEANING_REDACT_H
#define OTPQ_MEANING_REDACT_H

#include "common/base/buf.h"
#include "common/base/slice.h"

/* The forms of a set of secrets, made once: there may be a thousand. Immutable. */
struct redactor;

/* Copies what it needs; the copies are wiped at the end. */
struct redactor *redactor_new(const struct slice *secrets, size_t count);
void redactor_destroy(struct redactor **r);

/*
 * Appends the body without the secrets of `known` (NULL: none) and without the `count` ones of
 * `more` (the OTP is a secret too). Writes what fits below out's ceiling, without overflow, and
 * always valid UTF-8 without NUL.
 */
void redact(const struct redactor *known, struct slice body, const struct slice *more, size_t count,
            struct buf *out);
/* The same for a body whose end did not come: its last bytes go too when they are the beginning of
 * a secret. */
void redact_cut(const struct redactor *known, struct slice body, const struct slice *more,
                size_t count, struct buf *out);

#endif
