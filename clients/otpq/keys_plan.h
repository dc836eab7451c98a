/*
 * keys_plan.h: records of keys as `otpq keys` writes and shows them. Floor 4.
 */
#ifndef OTPQ_CLIENTS_KEYS_PLAN_H
#define OTPQ_CLIENTS_KEYS_PLAN_H

#include "common/base/buf.h"
#include "common/meaning/record.h"

/* What `otpq keys new` is asked for; words as they were typed. */
struct keys_wish {
    const char *name;
    const char *kind;    /* or NULL: not said */
    const char *tenants; /* "a,b", "all", or NULL */
    const char *routes;  /* … */
};

/* False: why says what is wrong with it. */
MUST_CHECK bool keys_wish_ok(const struct keys_wish *w, char why[256]);
/* The canonical text of the record. The wish is a good one. */
void keys_plan_text(const struct keys_wish *w, const char *public_key, const char *made,
                    struct buf *out);

/* True when wanted would let a revoked key in again: same name, same public half. */
MUST_CHECK bool keys_plan_revives(const struct record_text *stored,
                                  const struct record_text *wanted);
enum keys_revoked { KEYS_REVOKED, KEYS_WAS_REVOKED, KEYS_UNREADABLE };
/* The record revoked at this time, when it was not before. */
MUST_CHECK enum keys_revoked keys_plan_revoke(const struct record_text *stored, const char *at,
                                              struct buf *out, struct yaml_error *error);
/* One line on stdout. */
void keys_print(const struct curve_key *k, bool json);

#endif
