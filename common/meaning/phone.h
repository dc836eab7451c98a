/*
 * phone.h: what a phone number is: real or not, mobile or not, of which country, and how it is
 * written. The numbering plans are libphonenumber's; phone.cc is the one file that knows it. The
 * first call reads its tables (some ten milliseconds), later ones cost some ten microseconds: no
 * other step of a send costs as much, and `make bench-phone` says how much. Floor 1.
 */
#ifndef OTPQ_MEANING_PHONE_H
#define OTPQ_MEANING_PHONE_H

#include <stdbool.h>

#include "common/base/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

enum phone_type {
    PHONE_UNKNOWN, /* not a valid number, or of no known kind */
    PHONE_MOBILE,
    PHONE_FIXED,
    PHONE_FIXED_OR_MOBILE, /* the plan does not tell (North America) */
    PHONE_OTHER            /* toll free, premium rate, pagers, internet telephony, … */
};

struct phone {
    bool possible;        /* its length can be a number's of its country */
    bool valid;           /* it is of a range that its country's plan has given out */
    enum phone_type type; /* of a valid number */
    char country[3];      /* "TH"; "" when none or several share the code and none has it */
};

/* Looks at an international number in digits, with or without "+". Anything else, and a number
 * whose country code nobody has, is neither possible nor valid. Threads may call it at once. */
void phone_look(struct slice e164_digits, struct phone *out);

/* How a number is written. One that phone_look calls impossible has itself in all three forms, cut
 * to their room. */
struct phone_forms {
    bool possible;          /* as phone_look says it */
    char national[24];      /* significant number, "812340000" */
    char dialled[32];       /* as dialled inside the country, digits: "0812340000" */
    char international[40]; /* as people read it: "+66 81 234 0000" */
};
/* Apart from the look, because most sends need none of them, and they cost as much again. */
void phone_write(struct slice e164_digits, struct phone_forms *out);

#ifdef __cplusplus
}
#endif

#endif
