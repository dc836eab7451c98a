#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/meaning/pack.h"
#include "common/meaning/phone.h"
#include "workers/flow_inside.h"

void flow_party(struct flow *f, uint64_t aid, struct slice party)
{
    if (aid == 0 && party.n > 0) {
        (void)snprintf(f->party, sizeof f->party, "%.*s", SLICE_ARG(party));
    } else {
        (void)snprintf(f->party, sizeof f->party, "%" PRIu64, aid);
    }
    f->claim.party = slice_of(f->party);
}

void flow_tag(struct flow *f, struct slice of)
{
    memcpy(f->claim.tag, msisdn_tag(of).text, sizeof f->claim.tag);
}

/* What a postback's macros may ask of the send, long after it. */
static void keep_ctx(struct flow *f)
{
    const struct job_body *b = &f->body;
    const struct job_param fixed[] = {
        {SLICE("user_id"), b->user_id},       {SLICE("type"), b->type}, {SLICE("ip"), b->ip},
        {SLICE("user_agent"), b->user_agent}, {SLICE("lang"), b->lang},
    };
    uint32_t count = b->params.count;
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        count += fixed[i].value.n > 0 ? 1 : 0;
    }
    pack_put_map(&f->ctx, count);
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (fixed[i].value.n > 0) {
            pack_put_str(&f->ctx, fixed[i].name);
            pack_put_str(&f->ctx, fixed[i].value);
        }
    }
    for (uint32_t i = 0; i < b->params.count; i++) {
        char name[80];
        int n = snprintf(name, sizeof name, "param.%.*s", SLICE_ARG(b->params.at[i].name));
        pack_put_str(&f->ctx, slice_make(name, (size_t)n));
        pack_put_str(&f->ctx, b->params.at[i].value);
    }
    if (buf_ok(&f->ctx)) {
        f->claim.facts.ctx = buf_slice(&f->ctx);
    }
}

/* Whoever checks the conversion tells the affiliate; the send keeps what that will need. */
static void look_at_affiliate(struct flow *f, bool sends)
{
    const struct affiliate *a =
        f->body.aid != 0 ? records_affiliate(f->records, f->body.aid) : NULL;
    f->claim.postback = a != NULL && a->postback_url[0] != '\0';
    if (f->claim.postback && sends) {
        keep_ctx(f);
    }
}

static void now_text(char out[24])
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm t;
    must(gmtime_r(&now, &t) != NULL && strftime(out, 24, "%Y-%m-%d %H:%M:%S", &t) > 0);
}

/* A number is what the keys are found by; a verify may name its request instead. */
static enum result_code read_number(struct flow *f)
{
    const char *why = "";
    if (f->body.msisdn.n == 0) {
        if (!code_request_tag(f->body.request_id, f->claim.tag)) {
            flow_tag(f, f->job.id); /* no session is found; the claim says so, on record */
        }
        return RESULT_NONE;
    }
    if (!msisdn_parse(f->body.msisdn, f->route->country_code, &f->msisdn, &why)) {
        flow_explain(f, "msisdn %s", why);
        return RESULT_INVALID_MSISDN;
    }
    f->claim.msisdn = slice_of(f->msisdn.digits);
    flow_tag(f, f->claim.msisdn);
    return RESULT_NONE;
}

/* Nobody pays for an SMS that cannot arrive. */
static enum result_code judge_number(struct flow *f)
{
    struct phone phone;
    phone_look(f->claim.msisdn, &phone);
    memcpy(f->country, phone.country, sizeof f->country);
    f->claim.facts.country = slice_of(f->country);
    if (!phone.possible || (!phone.valid && f->route->numbers == NUMBERS_VALID)) {
        flow_explain(f, "msisdn: nobody has such a number");
        return RESULT_INVALID_MSISDN;
    }
    if (phone.type == PHONE_FIXED) {
        flow_explain(f, "a landline cannot receive SMS");
        return RESULT_MSISDN_BLOCKED;
    }
    return RESULT_NONE;
}

static enum result_code read_body(struct flow *f, struct slice body, bool verify)
{
    const char *why = "";
    if (!job_body_decode(body, verify, &f->body, &why)) {
        flow_explain(f, "%s", why);
        return RESULT_INVALID_REQUEST;
    }
    enum result_code fault = read_number(f);
    if (fault == RESULT_NONE) {
        flow_party(f, f->body.aid, f->body.party);
        look_at_affiliate(f, !verify);
    }
    return fault;
}

enum result_code flow_read_send(struct flow *f, struct slice body)
{
    enum result_code fault = read_body(f, body, false);
    struct session_facts *facts = &f->claim.facts;
    facts->eid = f->body.eid;
    facts->lane = f->body.lane;
    facts->ft = f->body.ft_id;
    return fault == RESULT_NONE ? judge_number(f) : fault;
}

enum result_code flow_read_verify(struct flow *f, struct slice body)
{
    enum result_code fault = read_body(f, body, true);
    struct session_facts *facts = &f->claim.facts;
    if (fault == RESULT_NONE && f->body.sender.n > 0) { /* the code came in an SMS */
        now_text(f->now);
        facts->mobile = f->claim.msisdn;
        facts->sender = f->body.sender;
        facts->send_time = f->body.send_time;
        facts->deliver_time = slice_of(f->now);
    }
    return fault;
}
