#include "clients/otpq/sandbox_numbers.h"

#include <jansson.h>

enum { FIRST_MISBEHAVING = 9000 };

/* clang-format off */
#define ERROR(last4, word) \
    {last4, SANDBOX_BOTH, word, 200, 0, SANDBOX_ANSWERS, SANDBOX_BODY_ORDINARY, false, false, 0, \
     "answers " word}
#define SEND(last4, http, delay_ms, way, body, arrives, meaning) \
    {last4, SANDBOX_SEND, NULL, http, delay_ms, SANDBOX_##way, SANDBOX_BODY_##body, arrives, \
     false, 0, meaning}
#define VERIFY(last4, word, http, delay_ms, way, body, meaning) \
    {last4, SANDBOX_VERIFY, word, http, delay_ms, SANDBOX_##way, SANDBOX_BODY_##body, true, false, \
     0, meaning}

const struct sandbox_number sandbox_numbers[] = {
    ERROR(9000, "wrong_number"),
    ERROR(9001, "already_subscribed"),
    ERROR(9002, "insufficient_balance"),
    ERROR(9003, "not_eligible"),
    ERROR(9004, "blocked"),
    ERROR(9005, "fraud"),
    SEND(9010, 200, 3000, ANSWERS, ORDINARY, true, "slow: answers ok after 3 s"),
    SEND(9011, 200, 0, HANGS, ORDINARY, true, "hangs: takes the request, never answers"),
    SEND(9012, 200, 0, RESETS, ORDINARY, true, "resets the connection before a byte of the answer"),
    SEND(9013, 200, 0, BREAKS, ORDINARY, true, "closes the connection after half of the answer"),
    SEND(9014, 500, 0, ANSWERS, HTML, false, "answers HTTP 500"),
    SEND(9015, 200, 0, ANSWERS, GARBAGE, true, "answers HTTP 200 with garbage"),
    {9016, SANDBOX_SEND, NULL, 200, 0, SANDBOX_ANSWERS, SANDBOX_BODY_ORDINARY, true, true, 0,
     "duplicate answer: each send has the request id of the first"},
    SEND(9017, 503, 0, ANSWERS, HTML, false, "answers HTTP 503"),
    SEND(9018, 200, 500, ANSWERS, ORDINARY, true, "slow: answers ok after 500 ms"),
    SEND(9019, 403, 0, ANSWERS, HTML, false, "refuses with HTTP 403 and an HTML page"),
    SEND(9020, 200, 0, ANSWERS, LARGE, true, "answers ok in a body of more than 64 KiB"),
    SEND(9021, 200, 0, DRIPS, ORDINARY, true, "drips the answer, a byte every 100 ms"),
    SEND(9022, 200, 0, ANSWERS, EMPTY, true, "answers HTTP 200 with an empty body"),
    {9023, SANDBOX_SEND, "busy", 429, 0, SANDBOX_ANSWERS, SANDBOX_BODY_ORDINARY, false, false, 2,
     "answers HTTP 429 with Retry-After: 2"},
    VERIFY(9100, "wrong_otp", 200, 0, ANSWERS, ORDINARY,
         "answers wrong_otp, even to the right OTP"),
    VERIFY(9101, "expired", 200, 0, ANSWERS, ORDINARY, "answers expired"),
    VERIFY(9102, NULL, 200, 0, HANGS, ORDINARY, "hangs: takes the request, never answers"),
    VERIFY(9103, NULL, 500, 0, ANSWERS, HTML, "answers HTTP 500"),
    VERIFY(9104, NULL, 200, 0, RESETS, ORDINARY,
         "resets the connection before a byte of the answer"),
    VERIFY(9105, NULL, 200, 0, ANSWERS, GARBAGE, "answers HTTP 200 with garbage"),
    VERIFY(9106, "no_request", 200, 0, ANSWERS, ORDINARY, "answers no_request"),
    VERIFY(9107, "too_many_attempts", 200, 0, ANSWERS, ORDINARY, "answers too_many_attempts"),
    VERIFY(9108, NULL, 200, 3000, ANSWERS, ORDINARY, "slow: answers after 3 s, as it should"),
};
/* clang-format on */
const unsigned sandbox_number_count = ARRAY_LEN(sandbox_numbers);

static const char *const sides[] = {
    [SANDBOX_SEND] = "send", [SANDBOX_VERIFY] = "verify", [SANDBOX_BOTH] = "both"};

const struct sandbox_number *sandbox_number_find(struct slice digits)
{
    uint64_t last4 = 0;
    if (digits.n < 4 || !slice_to_u64(slice_make(digits.p + digits.n - 4, 4), 9999, &last4) ||
        last4 < FIRST_MISBEHAVING) {
        return NULL;
    }
    for (unsigned i = 0; i < sandbox_number_count; i++) {
        if (sandbox_numbers[i].last4 == last4) {
            return &sandbox_numbers[i];
        }
    }
    return &sandbox_numbers[0];
}

void sandbox_numbers_print(struct buf *out)
{
    buf_puts(out, "Numbers by their last four digits (the rest is free):\n"
                  "  0000-8999  ordinary: the OTP arrives, the right OTP verifies\n");
    for (unsigned i = 0; i < sandbox_number_count; i++) {
        const struct sandbox_number *n = &sandbox_numbers[i];
        buf_printf(out, "  %04u       %-6s  %s\n", n->last4, sides[n->side], n->meaning);
    }
    buf_puts(out, "  other 9xxx  like 9000\n");
}

void sandbox_numbers_print_json(struct buf *out)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < sandbox_number_count; i++) {
        const struct sandbox_number *n = &sandbox_numbers[i];
        char last4[5] = {(char)('0' + n->last4 / 1000), (char)('0' + n->last4 / 100 % 10),
                         (char)('0' + n->last4 / 10 % 10), (char)('0' + n->last4 % 10), '\0'};
        must(json_array_append_new(all, json_pack("{ss ss ss}", "last4", last4, "side",
                                                  sides[n->side], "meaning", n->meaning)) == 0);
    }
    char *text = json_dumps(all, JSON_INDENT(1));
    must(text != NULL);
    buf_puts(out, text);
    buf_putc(out, '\n');
    free(text);
    json_decref(all);
}
