/*
 * record_rules.h: what a record must be beyond the shape of its keys. Inner part of record.h.
 * Floor 1.
 */
#ifndef OTPQ_MEANING_RECORD_RULES_H
#define OTPQ_MEANING_RECORD_RULES_H

#include "common/meaning/record.h"

/* What is wrong with a record by itself, a static text, and the key it is wrong at ("": the
 * record's name). NULL: nothing. */
const char *record_broken_rule(enum record_kind kind, const void *record, const char **key);

#endif
