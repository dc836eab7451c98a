/*
 * zone.h: times of customers and advertisers, "YYYY-MM-DD HH:MM:SS" in a time zone of their own,
 * from and to the UTC that otpq keeps. Zones are ICU's (the IANA data), so that summer times and
 * their changes are right. Pure. Floor 1.
 */
#ifndef OTPQ_MEANING_ZONE_H
#define OTPQ_MEANING_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

enum { ZONE_TIME_BYTES = 20, ZONE_NAME_BYTES_MAX = 64 };

/* A zone of the IANA data ("Asia/Bangkok", "UTC") or a fixed one ("GMT+7"). */
MUST_CHECK bool zone_known(struct slice zone);

/* False, and out is "": the zone is not known, or the text is not a time of that form. An hour that
 * a change to summer time leaves out is taken as the one after it; of an hour that is there twice,
 * the later is meant. */
MUST_CHECK bool zone_to_utc(struct slice zone, struct slice time, char out[ZONE_TIME_BYTES]);
MUST_CHECK bool zone_from_utc(struct slice zone, struct slice time, char out[ZONE_TIME_BYTES]);

/* Milliseconds since 1970 (UTC, years 1970 to 9999) as that text, and back. */
void zone_utc_text(uint64_t ms, char out[ZONE_TIME_BYTES]);
MUST_CHECK bool zone_utc_ms(struct slice time, uint64_t *ms);

#endif
