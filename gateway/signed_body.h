/*
 * signed_body.h: the body of a request that is signed over its parameters: a JSON object, whose
 * top-level strings, numbers and booleans are taken as they are written ("5", 5.0 and true are "5",
 * "5.0" and "true"). What is nested or null takes no part. Bytes in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_SIGNED_BODY_H
#define OTPQ_GATEWAY_SIGNED_BODY_H

#include "common/meaning/params.h"

/* The limits are those of params.h. False: error says what is wrong, without values. params_free in
 * either case. */
MUST_CHECK bool signed_body_read(struct params *p, struct slice body,
                                 char error[PARAMS_ERROR_BYTES]);

#endif
