#include "workers/values.h"

#include <inttypes.h>

#include "common/base/clock.h"

#include "common/meaning/phone.h"

static struct slice param_of(void *context, struct slice name)
{
    const struct flow *f = context;
    for (uint32_t i = 0; i < f->body.params.count; i++) {
        if (slice_eq(f->body.params.at[i].name, name)) {
            return f->body.params.at[i].value;
        }
    }
    return (struct slice){0};
}

static bool secret_of(void *context, struct slice name, struct slice *value)
{
    const struct flow *f = context;
    return secrets_find(f->all->secrets, name, value);
}

static struct slice number(char room[24], uint64_t value)
{
    int n = snprintf(room, 24, "%" PRIu64, value);
    return slice_make(room, (size_t)n);
}

/* Where the number is from; a send knows it already. Others look only for calls that say it. */
static struct slice country_of(struct flow *f)
{
    const struct integration *i = f->called;
    if (f->country[0] == '\0' && f->msisdn.digits[0] != '\0' &&
        i->dialect->uses(i->settings, f->op->call, MACRO_COUNTRY)) {
        struct phone phone;
        phone_look(slice_of(f->msisdn.digits), &phone);
        memcpy(f->country, phone.country, sizeof f->country);
    }
    return f->country[0] != '\0' ? slice_of(f->country) : param_of(f, SLICE("country"));
}

/* Only for calls that carry one: each takes a millisecond away from the others. */
static struct slice nonce_of(const struct flow *f, char room[24])
{
    const struct integration *i = f->called;
    bool used = i->dialect->uses(i->settings, f->op->call, MACRO_NONCE);
    return used ? number(room, (uint64_t)clock_nonce_ms()) : (struct slice){0};
}

void values_of(struct flow *f, int64_t now_ms, struct values_room *room,
               struct template_values *out)
{
    template_uuid(room->uuid);
    *out = (struct template_values){
        .macro =
            {
                [MACRO_MSISDN] = slice_of(f->msisdn.digits),
                [MACRO_OTP] = f->otp[0] != '\0' ? slice_of(f->otp) : f->body.otp,
                [MACRO_TEXT] = f->text != NULL ? slice_of(f->text) : f->body.text,
                [MACRO_USER_ID] = f->body.user_id,
                [MACRO_AID] = f->body.aid != 0 ? number(room->aid, f->body.aid) : (struct slice){0},
                [MACRO_MID] = number(room->mid, f->records->mid),
                [MACRO_PARTNER] = slice_of(f->called->name),
                [MACRO_REQUEST_ID] = slice_of(f->request_id),
                [MACRO_ADVERTISER_REQUEST_ID] = slice_of(f->advertiser_request_id),
                /* The send is the click, and one request is one click. */
                [MACRO_CLICK_ID] = slice_of(f->request_id),
                [MACRO_IP] = f->body.ip,
                [MACRO_USER_AGENT] = f->body.user_agent,
                [MACRO_COUNTRY] = country_of(f),
                [MACRO_TIMESTAMP] = number(room->timestamp, (uint64_t)now_ms / 1000),
                [MACRO_TIMESTAMP_MS] = number(room->timestamp_ms, (uint64_t)now_ms),
                [MACRO_NONCE] = nonce_of(f, room->nonce),
                [MACRO_UUID] = slice_of(room->uuid),
                [MACRO_TYPE] = f->body.type,
                [MACRO_LANG] = f->body.lang,
                [MACRO_PAYOUT] = slice_of(f->route->payout),
                [MACRO_SUB1] = param_of(f, SLICE("sub1")),
                [MACRO_SUB2] = param_of(f, SLICE("sub2")),
                [MACRO_SUB3] = param_of(f, SLICE("sub3")),
                [MACRO_SUB4] = param_of(f, SLICE("sub4")),
                [MACRO_SUB5] = param_of(f, SLICE("sub5")),
            },
        .country_code = f->route->country_code,
        .param = param_of,
        .secret = secret_of,
        .context = f,
    };
}
