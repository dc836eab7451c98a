/*
 * code.h: the codes that otpq makes (http-api, "Codes that otpq makes"; NIST SP 800-63B 5.1.3).
 * Floor 1.
 */
#ifndef OTPQ_MEANING_CODE_H
#define OTPQ_MEANING_CODE_H

#include <stdbool.h>

#include "common/base/slice.h"
#include "common/meaning/job.h"

enum {
    CODE_DIGITS_MIN = 4,
    CODE_DIGITS_MAX = 10,
    CODE_PEPPER_BYTES_MIN = 16,
    CODE_MAC_HEX = 64,
    CODE_LANE_MAC_HEX = 32,
    CODE_REQUEST_ID_MAX = 40, /* room for a request id of any form */
    CODE_MESSAGE_ID_BYTES = 24,
    CODE_SEALED_HEX = 2 * (12 + CODE_DIGITS_MAX + 16)
};

/* True for what could be one of ours: CODE_DIGITS_MIN to CODE_DIGITS_MAX digits. */
MUST_CHECK bool code_ok(struct slice code);
/* Uniform over 10^digits, leading zeros kept; out holds digits + 1 bytes. */
void code_make(char *out, int digits);
/* Lower-case hex of HMAC-SHA256(pepper, request_id || code): all that is kept of a code. */
void code_mac(struct slice pepper, struct slice request_id, struct slice code,
              char out[CODE_MAC_HEX + 1]);
/* Lower-case hex of HMAC-SHA256(pepper, lane || "|" || code), its first half: under it a lane knows
 * which of its live codes an MO holds, and no two live requests of a lane share one. */
void code_lane_mac(struct slice pepper, struct slice lane, struct slice code,
                   char out[CODE_LANE_MAC_HEX + 1]);
/* A code that must be told again (system 4), for the store: AES-256-GCM under a key made from the
 * pepper, bound to its request id, in hex. At most CODE_DIGITS_MAX bytes. */
void code_seal(struct slice pepper, struct slice request_id, struct slice code,
               char out[CODE_SEALED_HEX + 1]);
/* False: it was not sealed so, under this pepper and for this request id; then out is "". */
MUST_CHECK bool code_open(struct slice pepper, struct slice request_id, struct slice sealed,
                          char out[CODE_DIGITS_MAX + 1]);
/* A new request id. In all its forms it holds the tag (two hex digits) that all keys of the request
 * have in common, and beside it at least 45 random bits:
 *   JOB_ID_TEXT    "r", the tag, 20 characters of a-z 2-7 (100 bits)
 *   JOB_ID_NUMBER  a decimal number below 2^53, the tag its lowest byte
 *   JOB_ID_TOKEN   32 hex digits, the tag the first two (120 bits) */
void code_request_id(const char *tag, enum job_id_form form, char out[CODE_REQUEST_ID_MAX]);
/* The tag inside a request id of any form, or false when it is not one of ours. */
MUST_CHECK bool code_request_tag(struct slice request_id, char tag[3]);
/* The messageId of FOTP: a number of 63 bits in decimal, out of the token's random end, so that
 * everybody tells the same. "0" when it is no token. */
void code_message_id(struct slice token, char out[CODE_MESSAGE_ID_BYTES]);

#endif
