/*
 * callback_rule.h: the `callback` map of a template integration: what an advertiser or an SMS
 * provider tells by itself, as Kannel's delivery reports. Parameters in, report out;
 * docs/templates.md has the grammar. Inner part of the dialects. Floor 1.
 */
#ifndef OTPQ_MEANING_CALLBACK_RULE_H
#define OTPQ_MEANING_CALLBACK_RULE_H

#include "common/meaning/dialect.h"
#include "common/meaning/dialect_read.h"

struct callback_rule; /* opaque, immutable after reading */

/* NULL and the reader's error on a bad one. */
MUST_CHECK struct callback_rule *callback_rule_read(const struct dialect_reader *r,
                                                    const struct yaml_node *node);
void callback_rule_destroy(struct callback_rule **rule);
/* Some value means that an SMS was delivered or was not: DIALECT_REPORTS. */
bool callback_rule_tells_deliveries(const struct callback_rule *rule);
/* As a dialect's report. */
MUST_CHECK bool callback_rule_apply(const struct callback_rule *rule, const struct params *params,
                                    struct dialect_report *out, const char **why);

#endif
