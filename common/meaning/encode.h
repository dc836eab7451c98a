/*
 * encode.h: one value made safe for the place where it will stand. The encoders behind template.h.
 * Floor 1.
 */
#ifndef OTPQ_MEANING_ENCODE_H
#define OTPQ_MEANING_ENCODE_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/meaning/template.h"

/* Appends the value, encoded. False: it cannot stand there at all; *why is a static text that goes
 * on after the value's name ("has a control character, …"). */
MUST_CHECK bool encode_put(enum template_place place, struct slice value, struct buf *out,
                           const char **why);

#endif
