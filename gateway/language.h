/*
 * language.h: the languages that people are answered in, and which of them a browser asks for.
 * Values in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_LANGUAGE_H
#define OTPQ_GATEWAY_LANGUAGE_H

#include "common/base/slice.h"
#include "common/meaning/record.h"

enum language { LANGUAGE_ZH, LANGUAGE_EN, LANGUAGES };

struct language_row {
    const char *tag; /* of RFC 5646; "zh" is also "zh-CN" */
    const char *dir; /* which way it is written: "ltr", "rtl" */
};
extern const struct language_row language_rows[LANGUAGES];

/* The first of an Accept-Language header by its weights, among `allowed` (NULL or empty: all);
 * else the first allowed, else `fallback`. */
enum language language_pick(struct slice accept_language, const struct record_list *allowed,
                            enum language fallback);

#endif
