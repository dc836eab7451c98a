/*
 * msisdn.h: phone numbers as people type them, made E.164 digits, masked and tagged. Floor 1.
 */
#ifndef OTPQ_MEANING_MSISDN_H
#define OTPQ_MEANING_MSISDN_H

#include <stdbool.h>

#include "common/base/slice.h"

enum { MSISDN_DIGITS_MIN = 7, MSISDN_DIGITS_MAX = 15 };

struct msisdn {
    char digits[MSISDN_DIGITS_MAX + 1]; /* international, without "+", NUL-terminated */
};

/*
 * Spaces, dots, dashes and brackets are dropped, a leading "+" or "00" means international. A
 * number with a single leading 0 becomes country_code + rest when the integration sets country_code
 * (digits, may be NULL or ""). 7 to 15 digits after that (E.164). False: *why is a static text.
 */
MUST_CHECK bool msisdn_parse(struct slice typed, const char *country_code, struct msisdn *out,
                             const char **why);

/* "668*****678": the first three and the last three digits. For logs and events. */
struct msisdn_masked {
    char text[MSISDN_DIGITS_MAX + 1];
};
struct msisdn_masked msisdn_mask(struct slice digits);

/* National form: the digits without country_code, or all of them when it does not begin with it. */
struct slice msisdn_national(struct slice digits, const char *country_code);

/* Redis hash tag of everything that belongs to this number: two hex digits (256 tags), so that no
 * script touches two cluster slots. */
struct msisdn_tag {
    char text[3];
};
struct msisdn_tag msisdn_tag(struct slice digits);

#endif
