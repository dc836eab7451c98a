/*
 * fotp_words.h: the vocabulary of results in the words of FOTP (system 4): a code of six digits and
 * a message in Chinese or English. The gateway answers with them, the dialect fotp reads them.
 * docs/flash.md shows the table; a test compares. Floor 1.
 */
#ifndef OTPQ_MEANING_FOTP_WORDS_H
#define OTPQ_MEANING_FOTP_WORDS_H

#include "common/base/slice.h"
#include "common/meaning/result.h"

#define FOTP_SUCCESS "000000"

struct fotp_word {
    const char *code; /* six digits */
    int http;         /* status of the answer */
    const char *zh;   /* message, UTF-8 */
    const char *en;
};

/* Indexed by enum result_code; RESULT_NONE has internal_error's. */
extern const struct fotp_word fotp_words[RESULT_CODES];

/* The word of a failure's code; RESULT_NONE when it is none of these (or the success). */
enum result_code fotp_word_of(struct slice code);

#endif
