/*
 * answer_rule.h: the `answer` map of a call: what an advertiser's answer means. Bytes in, verdict
 * out; docs/templates.md has the grammar. Inner part of the dialects. Floor 1.
 */
#ifndef OTPQ_MEANING_ANSWER_RULE_H
#define OTPQ_MEANING_ANSWER_RULE_H

#include "common/meaning/dialect.h"
#include "common/meaning/dialect_read.h"

struct answer_rule; /* opaque, immutable after reading */

/* node may be NULL: any 2xx is success. NULL and the reader's error on a bad one. */
MUST_CHECK struct answer_rule *answer_rule_read(const struct dialect_reader *r,
                                                const struct yaml_node *node);
void answer_rule_destroy(struct answer_rule **rule);
/* success: the code of a success, RESULT_OTP_SENT or RESULT_OTP_VERIFIED. */
void answer_rule_apply(const struct answer_rule *rule, enum result_code success,
                       const struct dialect_answer *answer, struct dialect_verdict *out);

#endif
