/*
 * curve_key.h: CURVE keys as texts, and the file that a secret one stands in. Pure: who makes pairs
 * and reads files is elsewhere. Floor 1, without more than floor 0: libotpq has it too.
 *
 * A key is 32 bytes as 40 characters of Z85 (ZeroMQ RFC 32), which need quotes in YAML but have
 * none inside. The file is a YAML map, read line by line:
 *
 *     # otpq: …
 *     public_key: "…"
 *     secret_key: "…"
 */
#ifndef OTPQ_MEANING_CURVE_KEY_H
#define OTPQ_MEANING_CURVE_KEY_H

#include <stdbool.h>

#include "common/base/check.h"
#include "common/base/slice.h"

enum { CURVE_KEY_CHARS = 40, CURVE_FILE_BYTES_MAX = 4096 };

struct curve_pair {
    char public_key[CURVE_KEY_CHARS + 1]; /* Z85; "": there is no pair */
    char secret_key[CURVE_KEY_CHARS + 1]; /* Z85; wipe it with curve_pair_wipe */
};

/* 40 characters that are the Z85 of 32 bytes. */
MUST_CHECK bool curve_key_ok(struct slice text);
void curve_pair_wipe(struct curve_pair *pair);

/* What the file of a pair holds; false: it does not fit. name, kind and made (a time) are for
 * people: they stand in a comment. */
MUST_CHECK bool curve_file_write(char *out, size_t room, const struct curve_pair *pair,
                                 const char *name, const char *kind, const char *made);
/* False: why says what is wrong, and where, never what stands there. */
MUST_CHECK bool curve_file_parse(struct slice text, struct curve_pair *out, char why[256]);
/* The file's bytes by secret_bytes_read, parsed. Blocks. */
MUST_CHECK bool curve_file_read(const char *path, struct curve_pair *out, char why[256]);

#endif
