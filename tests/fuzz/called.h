/*
 * called.h: one integration of each dialect that is called, configured once.
 */
#ifndef OTPQ_FUZZ_CALLED_H
#define OTPQ_FUZZ_CALLED_H

#include "common/meaning/dialect.h"

enum { CALLED = 6 };

struct called {
    const struct dialect *dialect;
    const char *yaml;
    void *settings; /* made at the first use; lives as long as the process */
};

/* Two templates: one reads JSON, one plain text. */
static inline const struct called *called_at(unsigned which)
{
    static struct called all[CALLED] = {
        {&dialect_template,
         "send: {url: 'http://h/', answer: {success: {http: [2xx, 400], json: 'a.b[0]', equals: "
         "[ok, 1]}, request_id: {json: id}, error: {json: e}, errors: {w: wrong_otp, p: pending}, "
         "retry: [w], statuses: {409: already_verified}}}\n"
         "callback: {request_id: rid, status: type, delivered: 1, failed: [2, 16], verified: ok}\n",
         NULL},
        {&dialect_template,
         "send: {url: 'http://h/', answer: {success: {regex: '^OK'}, request_id: {regex: "
         "'id=([^&]*)'}, error: {regex: '(?:ERR|FAIL):? *(\\w+)'}, errors: {w: wrong_otp}}}\n",
         NULL},
        {&dialect_offer18, "{base_url: 'http://h', key: k, aid: 1, mid: 2, partner: p}", NULL},
        {&dialect_otpservice, "{base_url: 'http://h', username: u, password: p}", NULL},
        {&dialect_fotp, "{base_url: 'http://h', ft_id: 2, account: a, secret: s}", NULL},
        {&dialect_fotp,
         "{base_url: 'http://h', ft_id: 2, account: a, secret: s, time_zone: Asia/Kolkata}", NULL},
    };
    struct called *c = &all[which];
    if (c->settings == NULL) {
        struct yaml_error error;
        struct yaml_node *node = yaml_parse("called", slice_of(c->yaml), &error);
        must(node != NULL);
        c->settings = c->dialect->configure("called", node, &error);
        must(c->settings != NULL);
        yaml_destroy(&node);
    }
    return c;
}

#endif
