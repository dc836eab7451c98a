#include <stdlib.h>

#include "workers/flow_inside.h"

static void claim(struct flow *f, claim_callback *done)
{
    char fresh[CODE_REQUEST_ID_MAX];
    code_request_id(f->claim.tag, f->body.id_as, fresh);
    session_claim_send(f->all->sessions, &f->claim, f->route, fresh, done, f);
}

static bool calls(const struct flow *f)
{
    (void)f;
    return true;
}

/* The text with the code in place of every {otp}; NULL when it has none or becomes too long. */
static char *text_with_code(struct slice text, const char *code)
{
    static const struct slice mark = {"{otp}", 5};
    struct buf out;
    bool found = false;
    buf_init(&out, FLOW_TEXT_BYTES_MAX);
    for (size_t i = 0; i < text.n;) {
        if (text.n - i >= mark.n && memcmp(text.p + i, mark.p, mark.n) == 0) {
            buf_puts(&out, code);
            i += mark.n;
            found = true;
        } else {
            buf_putc(&out, text.p[i++]);
        }
    }
    if (!found || !buf_ok(&out)) {
        buf_free(&out);
        return NULL;
    }
    return buf_take(&out);
}

/* FOTP takes codes of at most 6 digits. */
static int digits_of(const struct flow *f)
{
    uint32_t digits = f->route->code_digits;
    return (int)(f->claim.link && digits > FLOW_LINK_DIGITS_MAX ? FLOW_LINK_DIGITS_MAX : digits);
}

/* Of a code that was taken. */
static void forget_text(struct flow *f)
{
    if (f->text != NULL) {
        explicit_bzero(f->text, strlen(f->text));
        free(f->text);
        f->text = NULL;
    }
}

/* The advertiser of a link dialect is told a code as well: it comes back in what the user sends. */
static bool prepare(struct flow *f)
{
    forget_text(f);
    if (f->route->maker == CODE_BY_OTPQ || f->claim.link) {
        code_make(f->otp, digits_of(f));
    }
    if (f->route->maker != CODE_BY_OTPQ) {
        return true;
    }
    code_mac(f->all->pepper, slice_of(f->request_id), slice_of(f->otp), f->code_mac);
    struct slice text = f->body.text.n > 0 ? f->body.text : slice_of(f->route->text);
    f->text = text_with_code(text, f->otp);
    if (f->text == NULL) {
        flow_explain(f, "text: needs {otp}, and at most %d bytes with the OTP",
                     FLOW_TEXT_BYTES_MAX);
    }
    return f->text != NULL;
}

static bool reserve(struct flow *f);

/* A taken code is made anew: nobody asked for this one. */
static void on_reserved(void *context, enum flash_reserved outcome)
{
    struct flow *f = context;
    switch (outcome) {
    case FLASH_RESERVED:
        flow_reserved(f, RESULT_NONE);
        break;
    case FLASH_TAKEN:
        if (++f->reserve_tries >= FLOW_RESERVE_TRIES) {
            flow_explain(f, "all codes that were tried are in use: more digits are needed");
            flow_reserved(f, RESULT_INTERNAL_ERROR);
        } else if (!prepare(f)) {
            flow_reserved(f, RESULT_INVALID_REQUEST);
        } else {
            (void)reserve(f);
        }
        break;
    case FLASH_RESERVE_NO_STORE:
        flow_reserved(f, RESULT_STORE_UNAVAILABLE);
        break;
    }
}

/* What the user sends to a link dialect's number comes back with the code alone: while the request
 * lives no other of that integration may have it. */
static bool reserve(struct flow *f)
{
    if (f->claim.link) {
        uint64_t valid_ms = f->route->code_valid_s * UINT64_C(1000) + f->claim.lease_ms;
        flash_reserve(f->all->flash, slice_of(f->called->name), slice_of(f->otp),
                      slice_of(f->request_id), valid_ms, on_reserved, f);
    }
    return f->claim.link;
}

static void finish(struct flow *f, const struct session_finish *finish, finish_callback *done)
{
    session_finish_send(f->all->sessions, &f->claim, f->route, f->request_id, finish, done, f);
}

const struct flow_op flow_send = {
    .call = DIALECT_SEND,
    .repeatable = true,
    .sends = true,
    .read = flow_read_send,
    .calls = calls,
    .claim = claim,
    .prepare = prepare,
    .reserve = reserve,
    .finish = finish,
};
