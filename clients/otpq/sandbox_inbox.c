#include "clients/otpq/sandbox_inbox.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "common/base/map.h"

enum { OTP_DIGITS_MIN = 4 };

struct message {
    uint64_t seq;    /* 1, 2, …; 0: this place was never used */
    uint64_t before; /* seq of the same number's message before; 0: none */
    int64_t at_ms;   /* wall clock */
    char *text;      /* owned */
    char otp[SANDBOX_OTP_BYTES_MAX + 1];
};

struct number {
    char digits[SANDBOX_DIGITS_MAX + 1]; /* key in the map */
    uint32_t sends;                      /* requests received */
    uint32_t verifies;                   /* requests received */
    uint64_t newest;                     /* seq of its newest message; 0: none */
    uint64_t request;                    /* id of its last send; 0: none yet */
    uint32_t wrong;                      /* wrong OTPs since then */
    bool live;                           /* an OTP can be verified */
};

struct inbox {
    struct message *messages; /* ring, place of seq is seq % messages_max */
    uint32_t messages_max;
    uint64_t seq;           /* of the newest message */
    struct number *numbers; /* ring of those seen, the oldest is overwritten */
    uint32_t numbers_max;
    uint64_t seen;         /* numbers ever put */
    struct map *by_digits; /* digits → struct number */
    uint64_t requests;     /* ids given out */
    uint64_t sends;        /* totals */
    uint64_t verifies;
    struct rng rng; /* of the OTPs */
};

struct inbox *inbox_new(uint32_t messages_max, uint32_t numbers_max)
{
    struct inbox *b = xcalloc(1, sizeof(*b));
    uint64_t seed;
    b->messages_max = messages_max;
    b->messages = xcalloc(messages_max, sizeof(*b->messages));
    b->numbers_max = numbers_max;
    b->numbers = xcalloc(numbers_max, sizeof(*b->numbers));
    b->by_digits = map_new(numbers_max);
    rng_secure(&seed, sizeof(seed));
    rng_seed(&b->rng, seed);
    return b;
}

void inbox_destroy(struct inbox **bp)
{
    struct inbox *b = *bp;
    if (b == NULL) {
        return;
    }
    *bp = NULL;
    for (uint32_t i = 0; i < b->messages_max; i++) {
        free(b->messages[i].text);
    }
    map_destroy(&b->by_digits, NULL);
    free(b->numbers);
    free(b->messages);
    free(b);
}

static struct number *number_of(struct inbox *b, struct slice digits)
{
    must(digits.n <= SANDBOX_DIGITS_MAX);
    struct number *n = map_get(b->by_digits, digits);
    if (n != NULL) {
        return n;
    }
    n = &b->numbers[b->seen++ % b->numbers_max];
    if (n->digits[0] != '\0') {
        must(map_remove(b->by_digits, slice_of(n->digits)) == n);
    }
    memset(n, 0, sizeof(*n));
    memcpy(n->digits, digits.p, digits.n);
    void *old = NULL;
    must(map_set(b->by_digits, digits, n, &old) && old == NULL);
    return n;
}

void inbox_count_send(struct inbox *b, struct slice digits)
{
    b->sends++;
    number_of(b, digits)->sends++;
}

void inbox_count_verify(struct inbox *b, struct slice digits)
{
    b->verifies++;
    number_of(b, digits)->verifies++;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The first run of 4 to 10 digits; empty when there is none. */
static struct slice otp_in(struct slice text)
{
    size_t n = 0;
    for (size_t i = 0; i <= text.n; i++) {
        if (i < text.n && is_digit(text.p[i])) {
            n++;
            continue;
        }
        if (n >= OTP_DIGITS_MIN && n <= SANDBOX_OTP_BYTES_MAX) {
            return slice_make(text.p + i - n, n);
        }
        n = 0;
    }
    return (struct slice){NULL, 0};
}

static void fill(struct inbox *b, struct message *m, struct slice text)
{
    char made[64];
    if (text.n == 0) {
        int n = snprintf(made, sizeof(made), "Your code is %06u",
                         (unsigned)rng_below(&b->rng, 1000000));
        text = slice_make(made, (size_t)n);
    }
    if (text.n > SANDBOX_TEXT_BYTES_MAX) {
        text.n = SANDBOX_TEXT_BYTES_MAX;
    }
    struct slice otp = otp_in(text);
    free(m->text);
    m->text = slice_dup(text);
    if (otp.n > 0) {
        memcpy(m->otp, otp.p, otp.n);
    }
    m->otp[otp.n] = '\0';
}

uint64_t inbox_send(struct inbox *b, struct slice digits, struct slice text, bool same_id,
                    int64_t now_ms)
{
    struct number *n = number_of(b, digits);
    struct message *m = &b->messages[++b->seq % b->messages_max];
    fill(b, m, text);
    m->seq = b->seq;
    m->before = n->newest;
    m->at_ms = now_ms;
    n->newest = m->seq;
    n->wrong = 0;
    n->live = true;
    if (!same_id || n->request == 0) {
        n->request = ++b->requests;
    }
    return n->request;
}

/* NULL when it was overwritten, or there is none. */
static const struct message *message_of(const struct inbox *b, uint64_t seq)
{
    const struct message *m = &b->messages[seq % b->messages_max];
    return seq != 0 && m->seq == seq ? m : NULL;
}

enum inbox_verdict inbox_verify(struct inbox *b, struct slice digits, struct slice otp,
                                uint64_t request)
{
    struct number *n = number_of(b, digits);
    const struct message *m = message_of(b, n->newest);
    if (!n->live || m == NULL || (request != 0 && request != n->request)) {
        return INBOX_NO_REQUEST;
    }
    if (n->wrong >= SANDBOX_CHECKS_MAX) {
        return INBOX_TOO_MANY;
    }
    if (!slice_is(otp, m->otp)) {
        n->wrong++;
        return INBOX_WRONG;
    }
    n->live = false;
    return INBOX_RIGHT;
}

void inbox_print(const struct inbox *b, struct slice digits, struct buf *out)
{
    const struct number *n = map_get(b->by_digits, digits);
    json_t *all = json_array();
    const struct message *m = n != NULL ? message_of(b, n->newest) : NULL;
    for (; m != NULL && json_array_size(all) < SANDBOX_SHOWN_MAX; m = message_of(b, m->before)) {
        json_t *text = json_string(m->text);
        must(json_array_append_new(all,
                                   json_pack("{ss ss so sI}", "msisdn", n->digits, "otp", m->otp,
                                             "text", text != NULL ? text : json_string(""), "at_ms",
                                             (json_int_t)m->at_ms)) == 0);
    }
    char *text = json_dumps(all, JSON_COMPACT);
    must(text != NULL);
    buf_puts(out, text);
    free(text);
    json_decref(all);
}

void inbox_print_ledger(const struct inbox *b, struct slice digits, struct buf *out)
{
    uint64_t sends = b->sends;
    uint64_t verifies = b->verifies;
    if (digits.n > 0) {
        const struct number *n = map_get(b->by_digits, digits);
        sends = n != NULL ? n->sends : 0;
        verifies = n != NULL ? n->verifies : 0;
    }
    buf_printf(out, "{\"sends\":%" PRIu64 ",\"verifies\":%" PRIu64 "}", sends, verifies);
}
