/* A snapshot of records made by hand: affiliates 1001 (API access) and 1002 (none), integrations
 * demo, demo-local (country code 66), paused; endpoint demo1001. */
#ifndef OTPQ_TESTS_RECORDS_FIXTURE_H
#define OTPQ_TESTS_RECORDS_FIXTURE_H

#include "common/meaning/record.h"

static inline void fixture_put(struct map *map, const char *name, void *record)
{
    void *old = NULL;
    must(map_set(map, slice_of(name), record, &old) && old == NULL);
}

static inline void fixture_affiliate(struct records *r, uint64_t id, const char *id_text,
                                     const char *key, bool api_access)
{
    struct affiliate *a = xcalloc(1, sizeof(*a));
    a->id = id;
    a->name = strdup(id_text);
    a->key = strdup(key);
    a->api_access = api_access;
    a->postback_url = strdup("");
    a->callback_secret = strdup("");
    fixture_put(r->affiliates, id_text, a);
}

static inline void fixture_integration(struct records *r, const char *name, const char *country,
                                       bool paused)
{
    struct integration *i = xcalloc(1, sizeof(*i));
    i->name = strdup(name);
    i->country_code = strdup(country);
    i->text = strdup("");
    i->callback_token = strdup("");
    i->payout = strdup("");
    i->paused = paused;
    fixture_put(r->integrations, name, i);
}

static inline struct records *fixture_records(void)
{
    struct records *r = records_new();
    r->version = 1;
    r->mid = 1;
    fixture_affiliate(r, 1001, "1001", "demo-key-1001", true);
    fixture_affiliate(r, 1002, "1002", "demo-key-1002", false);
    fixture_integration(r, "demo", "", false);
    fixture_integration(r, "demo-local", "66", false);
    fixture_integration(r, "paused", "", true);
    struct endpoint *e = xcalloc(1, sizeof(*e));
    e->name = strdup("demo1001");
    e->integration = strdup("demo");
    e->affiliate = 1001;
    e->page_title = strdup("Demo offer");
    fixture_put(r->endpoints, "demo1001", e);
    return r;
}

#endif
