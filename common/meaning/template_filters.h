/*
 * template_filters.h: what stands behind the bar in {msisdn|national}. Inner part of template.h.
 * Floor 1.
 */
#ifndef OTPQ_MEANING_TEMPLATE_FILTERS_H
#define OTPQ_MEANING_TEMPLATE_FILTERS_H

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/meaning/template.h"

/* Appends the filtered value. key: the secret of hmac_sha256. country_code: may be NULL. */
void template_filter_apply(enum template_filter filter, struct slice value, struct slice key,
                           const char *country_code, struct buf *out);

#endif
