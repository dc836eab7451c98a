/*
 * curve.h: makes CURVE pairs, and reads them from the files that options name. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_CURVE_H
#define OTPQ_ADAPTERS_CURVE_H

#include "common/meaning/curve_key.h"

void curve_pair_make(struct curve_pair *out);
/* The pair in the file, whose public half must be that of the secret one. path "": an empty pair.
 * False: why says what is wrong. Blocks. */
MUST_CHECK bool curve_pair_read(const char *path, struct curve_pair *out, char why[256]);

#endif
