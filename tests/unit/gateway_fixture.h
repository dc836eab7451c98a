/*
 * The records of records_fixture.h and what the other served systems need beside: accounts demo,
 * quiet (no callbacks), inactive, bare (no integration), stopped (its integration is paused),
 * keyless (no password); API tokens; integrations spared (paused, but demo stands in), and carrier,
 * whose dialect takes callbacks, provider, which speaks system 3; and FOTP's, which flash_fixture.h
 * tells.
 */
#ifndef OTPQ_TESTS_GATEWAY_FIXTURE_H
#define OTPQ_TESTS_GATEWAY_FIXTURE_H

#include <stdio.h>

#include "tests/unit/flash_fixture.h"
#include "tests/unit/records_fixture.h"

/* crypt(5) of "demo-pass", as cheap as it gets. */
#define FIXTURE_PASSWORD_HASH                                                                      \
    "$6$rounds=1000$otpqtests$kTk88rYFGBpcq7/vYhVqzKx5M9KpDr5aCSN0p66cM1b8GiqVNMpDD9wMmVxXt."      \
    "XyXLTuJM/CqF2fp5r2ALp8S."

static inline void fixture_copy(char *to, size_t room, const struct params *params,
                                const char *name)
{
    struct slice s = params_get(params, name);
    (void)snprintf(to, room, "%.*s", SLICE_ARG(s));
}

/* A dialect that takes callbacks as they are: event, code, id, theirs, otp, from, to. */
static inline bool fixture_report(const void *settings UNUSED, const struct params *params,
                                  struct dialect_report *out, const char **why)
{
    struct slice event = params_get(params, "event");
    if (event.n == 0) {
        *why = "event is missing";
        return false;
    }
    out->event = slice_is(event, "mo")         ? DIALECT_MO
                 : slice_is(event, "verified") ? DIALECT_VERIFICATION
                                               : DIALECT_DELIVERY;
    out->code = result_of(params_get(params, "code"));
    fixture_copy(out->request_id, sizeof(out->request_id), params, "id");
    fixture_copy(out->advertiser_request_id, sizeof(out->advertiser_request_id), params, "theirs");
    fixture_copy(out->otp, sizeof(out->otp), params, "otp");
    fixture_copy(out->mo.mobile, sizeof(out->mo.mobile), params, "from");
    fixture_copy(out->mo.sender, sizeof(out->mo.sender), params, "to");
    fixture_copy(out->mo.send_time, sizeof(out->mo.send_time), params, "sent");
    fixture_copy(out->mo.deliver_time, sizeof(out->mo.deliver_time), params, "came");
    return true;
}

static const struct dialect fixture_carrier = {
    .name = "carrier", .report = fixture_report, .report_answer = "{\"code\":\"0\"}"};
static const struct dialect fixture_terse = {
    .name = "terse", .report = fixture_report, .report_answer = ""};
static const struct dialect fixture_mute = {.name = "mute"};

static inline void fixture_called_back(struct records *r, const char *name,
                                       const struct dialect *dialect, const char *token)
{
    fixture_integration(r, name, "", false);
    struct integration *i = map_get(r->integrations, slice_of(name));
    free(i->callback_token);
    i->callback_token = strdup(token);
    i->dialect = dialect;
}

static inline struct account *fixture_account(struct records *r, const char *name,
                                              const char *integration)
{
    struct account *a = xcalloc(1, sizeof(*a));
    a->name = strdup(name);
    a->password_hash = strdup(FIXTURE_PASSWORD_HASH);
    a->active = true;
    a->integration = strdup(integration);
    a->text = strdup("");
    a->callback_url = strdup("");
    a->callback_secret = strdup("");
    a->secret = strdup("");
    a->header_account = strdup("account");
    a->header_nonce = strdup("nonce");
    a->header_sign = strdup("sign");
    a->time_zone = strdup("UTC");
    fixture_put(r->accounts, name, a);
    return a;
}

static inline void fixture_accounts(struct records *r)
{
    struct account *demo = fixture_account(r, "demo", "demo-local");
    free(demo->callback_url);
    demo->callback_url = strdup("http://127.0.0.1:8090/customer/otpservice");
    free(demo->text);
    demo->text = strdup("{otp} is your code.");
    (void)fixture_account(r, "quiet", "demo");
    fixture_account(r, "inactive", "demo")->active = false;
    (void)fixture_account(r, "bare", "");
    (void)fixture_account(r, "stopped", "paused");
    struct account *keyless = fixture_account(r, "keyless", "demo");
    keyless->password_hash[0] = '\0';
}

static inline void fixture_token(struct records *r, const char *name, const char *token,
                                 const char *integration)
{
    struct api_token *t = xcalloc(1, sizeof(*t));
    t->name = strdup(name);
    t->token = strdup(token);
    t->integration = strdup(integration);
    fixture_put(r->api_tokens, name, t);
}

static inline struct records *gateway_records(void)
{
    struct records *r = fixture_records();
    fixture_integration(r, "spared", "", true);
    struct integration *spared = map_get(r->integrations, SLICE("spared"));
    spared->fallback.count = 1;
    spared->fallback.at[0] = strdup("demo");
    fixture_called_back(r, "carrier", &fixture_carrier, "cb-token-1");
    fixture_called_back(r, "terse", &fixture_terse, "cb-token-2");
    fixture_called_back(r, "mute", &fixture_mute, "cb-token-3");
    fixture_called_back(r, "provider", &dialect_otpservice, "cb-token-4");
    fixture_called_back(r, "closed", &fixture_carrier, "");
    fixture_accounts(r);
    fixture_token(r, "demo", "demo-token", "demo-local");
    fixture_token(r, "stopped", "stopped-token", "paused");
    fixture_token(r, "spared", "spared-token", "spared");
    fixture_flash(r);
    return r;
}

#endif
