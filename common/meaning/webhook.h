/*
 * webhook.h: the signature of Standard Webhooks (https://www.standardwebhooks.com), version v1:
 * whoever receives a callback can tell that it is ours, whole, and not a replay. Floor 1.
 */
#ifndef OTPQ_MEANING_WEBHOOK_H
#define OTPQ_MEANING_WEBHOOK_H

#include <stdint.h>

#include "common/base/slice.h"

enum { WEBHOOK_SIGNATURE_BYTES = 3 + 44, WEBHOOK_KEY_BYTES_MAX = 512 };

/* "v1," and base64 of HMAC-SHA256(key, id "." timestamp "." body). secret: "whsec_" and the key in
 * base64, as the standard writes it; anything else is the key itself. */
void webhook_sign(struct slice secret, struct slice id, int64_t timestamp_s, struct slice body,
                  char out[WEBHOOK_SIGNATURE_BYTES + 1]);

#endif
