/*
 * record_rules.h: what a record must be beyond the shape of its keys. Inner part of record.h.
 * Floor 1.
 *
 * There are two sets. The first holds for every record, also of the store: without it a process
 * would stop or could not tell two things apart. The second holds for files alone. A rule that is
 * new belongs there: a node that is started anew must not lose all its records over one that an
 * older otpq took.
 */
#ifndef OTPQ_MEANING_RECORD_RULES_H
#define OTPQ_MEANING_RECORD_RULES_H

#include "common/meaning/record.h"

/* A broken rule. */
struct record_fault {
    const char *key; /* where: this key; "": the record's name */
    bool inside;     /* the value of the key is wrong, at this byte; else the key as such */
    size_t at;
    char text[320]; /* what is wrong */
};

/* False: *fault says what is wrong with the record by itself. */
MUST_CHECK bool record_keeps_rules(enum record_kind kind, const void *record,
                                   struct record_fault *fault);
MUST_CHECK bool record_keeps_file_rules(enum record_kind kind, const void *record,
                                        struct record_fault *fault);

/* The fault with its place, as the record stands there. Always false, so that it can end a
 * condition. */
bool record_fault_tell(const struct record_fault *fault, const char *file,
                       const struct yaml_pair *record, struct yaml_error *error);

#endif
