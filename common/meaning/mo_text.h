/*
 * mo_text.h: finding the code of a flash template in the text of an SMS that a user sent.
 *
 * The word around {code} in the template's content ("##FG5x-{code}##" of "Send this:
 * ##FG5x-{code}## please") is what must be in the SMS, with 4 to 6 digits in the code's place;
 * whatever stands around it does not matter. Bytes in, values out. Floor 1.
 */
#ifndef OTPQ_MEANING_MO_TEXT_H
#define OTPQ_MEANING_MO_TEXT_H

#include <stdbool.h>

#include "common/base/slice.h"

enum { MO_CODE_DIGITS_MIN = 4, MO_CODE_DIGITS_MAX = 6, MO_TEXT_BYTES_MAX = 1024 };

/* Borrows from the content. */
struct mo_word {
    struct slice before; /* "##FG5x-"; may be empty */
    struct slice after;  /* "##"; may be empty */
};

/* False: {code} is not in the content, or twice. */
MUST_CHECK bool mo_word_of(struct slice content, struct mo_word *out);
/* The same word: a text that holds one holds the other. */
MUST_CHECK bool mo_word_same(const struct mo_word *a, const struct mo_word *b);

/* A word found in a text. Borrows from the text. */
struct mo_found {
    struct slice code; /* ASCII digits */
    bool exact;        /* upper and lower case are the template's */
    size_t word_bytes; /* of the word without the code */
    size_t at;         /* where the word begins */
};

/* The first place, one in the template's own case before others. Of a text over MO_TEXT_BYTES_MAX
 * only so much is read. */
MUST_CHECK bool mo_text_find(const struct mo_word *word, struct slice text, struct mo_found *out);

/* Which of two words found in one text is meant: one in its own case, then the longer word, then
 * the earlier. 1: a, -1: b, 0: nobody can say. */
int mo_found_compare(const struct mo_found *a, const struct mo_found *b);

#endif
