/*
 * store_words.h: a command as Redis reads it ("*N" and its words), written where it is to stand:
 * one copy of what may be half a megabyte. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_WORDS_H
#define OTPQ_ADAPTERS_STORE_WORDS_H

#include "common/base/slice.h"

/* Bytes of "*count", at most. */
enum { WORDS_COUNT_BYTES_MAX = 24 };

/* Bytes of these words; exactly. */
size_t words_bytes(size_t count, const struct slice *words);
/* Both say where the next byte goes. */
char *words_put_count(char *at, size_t count);
char *words_put(char *at, size_t count, const struct slice *words);

#endif
