/*
 * sandbox_inbox.h: what the sandbox remembers: the OTPs that arrived at each number, and how many
 * requests it received. Bounded: the newest 100,000 OTPs and the newest 262,144 numbers; the totals
 * count everything. Time is an argument. Floor 4.
 */
#ifndef OTPQ_COMMAND_SANDBOX_INBOX_H
#define OTPQ_COMMAND_SANDBOX_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/rng.h"
#include "common/base/slice.h"

enum {
    SANDBOX_INBOX_MAX = 100000,
    SANDBOX_NUMBERS_MAX = 262144,
    SANDBOX_SHOWN_MAX = 1000, /* messages of one number in one answer */
    SANDBOX_CHECKS_MAX = 5,   /* wrong OTPs for one send */
    SANDBOX_OTP_BYTES_MAX = 10,
    SANDBOX_TEXT_BYTES_MAX = 1024,
    SANDBOX_DIGITS_MAX = 20
};

struct inbox;

/* For up to this many OTPs and numbers. */
struct inbox *inbox_new(uint32_t messages_max, uint32_t numbers_max);
void inbox_destroy(struct inbox **b);

/* Counts a request that was received whole. */
void inbox_count_send(struct inbox *b, struct slice digits);
void inbox_count_verify(struct inbox *b, struct slice digits);
/* A send: text holds the OTP (its first run of 4 to 10 digits), or is empty: an OTP of 6 digits is
 * made. Returns the number of the request. same_id: that of the number's send before, if there was
 * one. */
uint64_t inbox_send(struct inbox *b, struct slice digits, struct slice text, bool same_id,
                    int64_t now_ms);

enum inbox_verdict { INBOX_RIGHT, INBOX_WRONG, INBOX_NO_REQUEST, INBOX_TOO_MANY };
/* request 0: whichever was last. The right OTP is used up. */
enum inbox_verdict inbox_verify(struct inbox *b, struct slice digits, struct slice otp,
                                uint64_t request);

/* JSON: array of {"msisdn","otp","text","at_ms"}, newest first. */
void inbox_print(const struct inbox *b, struct slice digits, struct buf *out);
/* JSON: {"sends":n,"verifies":n}; no digits: the totals. */
void inbox_print_ledger(const struct inbox *b, struct slice digits, struct buf *out);

#endif
