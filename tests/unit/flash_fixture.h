/*
 * Records of FOTP for gateway_fixture.h. Accounts, all with the secret demo-secret: demo; bangkok
 * (HMAC, headers X-…, Asia/Bangkok); pair (static, no templates); local (unsigned); other;
 * inactive. Templates of demo: 2 and 3 (receiver 1008611; 3 also 2000), pin (an advertiser's code,
 * 3000), link (an advertiser's link, 4000), stopped, spared; bangkok's: bkk. MO source demo-mo.
 */
#ifndef OTPQ_TESTS_FLASH_FIXTURE_H
#define OTPQ_TESTS_FLASH_FIXTURE_H

#include "common/meaning/flash_index.h"
#include "tests/unit/records_fixture.h"

static inline unsigned fixture_is_link(const void *settings UNUSED)
{
    return DIALECT_LINK;
}

static const struct dialect fixture_link = {.name = "link", .traits = fixture_is_link};
static const struct dialect fixture_pin = {.name = "pin"};

static inline void fixture_replace(char **text, const char *with)
{
    free(*text);
    *text = strdup(with);
}

static inline struct account *fixture_signer(struct records *r, const char *name)
{
    struct account *a = map_get(r->accounts, slice_of(name));
    if (a == NULL) {
        a = xcalloc(1, sizeof(*a));
        a->name = strdup(name);
        a->active = true;
        a->password_hash = strdup("");
        a->integration = strdup("");
        a->text = strdup("");
        a->callback_url = strdup("");
        a->callback_secret = strdup("");
        a->secret = strdup("");
        a->header_account = strdup("account");
        a->header_nonce = strdup("nonce");
        a->header_sign = strdup("sign");
        a->time_zone = strdup("UTC");
        fixture_put(r->accounts, name, a);
    }
    fixture_replace(&a->secret, "demo-secret");
    return a;
}

static inline void fixture_carried(struct records *r, const char *name, const char *country,
                                   const struct dialect *dialect)
{
    struct integration *i = xcalloc(1, sizeof(*i));
    i->name = strdup(name);
    i->country_code = strdup(country);
    i->text = strdup("");
    i->callback_token = strdup("");
    i->payout = strdup("");
    i->dialect = dialect;
    fixture_put(r->integrations, name, i);
}

static inline void fixture_template(struct records *r, const char *name, const char *account,
                                    const char *receiver, const char *content,
                                    const char *integration)
{
    struct flash_template *t = xcalloc(1, sizeof(*t));
    t->name = strdup(name);
    t->title = strdup("");
    t->account = strdup(account);
    t->receivers.count = 1;
    t->receivers.at[0] = strdup(receiver);
    t->content = strdup(content);
    t->callback_url = strdup("");
    t->code_digits = 4;
    t->valid_min = 5;
    t->integration = strdup(integration);
    if (strcmp(name, "3") == 0) {
        t->receivers.count = 2;
        t->receivers.at[1] = strdup("2000");
    }
    fixture_put(r->flash_templates, name, t);
}

static inline void fixture_templates(struct records *r)
{
    fixture_template(r, "2", "demo", "1008611", "Send this to continue: ##FG5x-{code}##", "");
    fixture_template(r, "3", "demo", "1008611", "Reply FG7-{code}", "");
    fixture_template(r, "pin", "demo", "3000", "JOIN-{code}", "pin");
    fixture_template(r, "link", "demo", "4000", "GO-{code}", "link");
    fixture_template(r, "stopped", "demo", "5000", "GO-{code}", "paused");
    fixture_template(r, "spared", "demo", "6000", "GO-{code}", "link-spared");
    fixture_template(r, "bkk", "bangkok", "7000", "GO-{code}", "");
}

static inline void fixture_index(struct records *r)
{
    size_t at = 0;
    struct slice name;
    void *value;
    char why[256];
    while (map_next(r->accounts, &at, &name, &value)) {
        must(flash_index_account(r->flash, value, why));
    }
    at = 0;
    while (map_next(r->flash_templates, &at, &name, &value)) {
        must(flash_index_template(r->flash, r, value, why));
    }
    records_index_tokens(r);
}

static inline void fixture_flash(struct records *r)
{
    (void)fixture_signer(r, "demo");
    struct account *bangkok = fixture_signer(r, "bangkok");
    bangkok->sign = SIGN_HMAC_SHA256_SORTED;
    fixture_replace(&bangkok->header_account, "X-Account");
    fixture_replace(&bangkok->header_nonce, "X-Nonce");
    fixture_replace(&bangkok->header_sign, "X-Sign");
    fixture_replace(&bangkok->time_zone, "Asia/Bangkok");
    fixture_signer(r, "pair")->sign = SIGN_STATIC;
    fixture_signer(r, "local")->sign = SIGN_NONE;
    (void)fixture_signer(r, "other");
    fixture_signer(r, "inactive")->active = false;
    fixture_carried(r, "pin", "66", &fixture_pin);
    fixture_carried(r, "link", "", &fixture_link);
    fixture_carried(r, "link-spared", "", &fixture_link);
    struct integration *spared = map_get(r->integrations, SLICE("link-spared"));
    spared->paused = true;
    spared->fallback.count = 1;
    spared->fallback.at[0] = strdup("link");
    struct integration *paused = map_get(r->integrations, SLICE("paused"));
    paused->dialect = &fixture_pin;
    fixture_templates(r);
    struct mo_source *source = xcalloc(1, sizeof(*source));
    source->name = strdup("demo-smsc");
    source->token = strdup("demo-mo");
    fixture_put(r->mo_sources, "demo-smsc", source);
    fixture_index(r);
}

#endif
