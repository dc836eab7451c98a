/*
 * code.h: the codes that otpq makes (http-api, "Codes that otpq makes"; NIST SP 800-63B 5.1.3).
 * Floor 1.
 */
#ifndef OTPQ_MEANING_CODE_H
#define OTPQ_MEANING_CODE_H

#include <stdbool.h>

#include "common/base/slice.h"

enum { CODE_DIGITS_MIN = 4, CODE_DIGITS_MAX = 10, CODE_PEPPER_BYTES_MIN = 16, CODE_MAC_HEX = 64 };

/* Uniform over 10^digits, leading zeros kept; out holds digits + 1 bytes. */
void code_make(char *out, int digits);
/* Lower-case hex of HMAC-SHA256(pepper, request_id || code): all that is kept of a code. */
void code_mac(struct slice pepper, struct slice request_id, struct slice code,
              char out[CODE_MAC_HEX + 1]);
/* A request id: 'r', the number's tag (two hex digits), 20 random characters. out: 24 bytes. */
void code_request_id(const char *tag, char out[24]);
/* The tag inside a request id, or false when it is not one of ours. */
MUST_CHECK bool code_request_tag(struct slice request_id, char tag[3]);

#endif
