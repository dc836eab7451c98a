/*
 * record_warnings.h: what `otpq apply` takes and yet has doubts about. Pure. Floor 4.
 */
#ifndef OTPQ_CLIENTS_RECORD_WARNINGS_H
#define OTPQ_CLIENTS_RECORD_WARNINGS_H

#include <jansson.h>

#include "common/meaning/record.h"
#include "common/meaning/secrets.h"

/* Sentences about records as they would be after the apply, an array the caller gives up. secrets:
 * the values of {secret.NAME}, or NULL when they cannot be looked at from here. */
json_t *record_warnings(const struct record_text *texts, size_t count,
                        const struct secrets *secrets);

#endif
