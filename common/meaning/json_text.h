/*
 * json_text.h: bytes of others as JSON text. Floor 1.
 */
#ifndef OTPQ_MEANING_JSON_TEXT_H
#define OTPQ_MEANING_JSON_TEXT_H

#include <jansson.h>

#include "common/base/slice.h"

/* A string in which each byte that is not UTF-8 is a "?". Never NULL; the caller's reference. */
json_t *json_text(struct slice s);

#endif
