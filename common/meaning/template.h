/*
 * template.h: text with macros, compiled once when an integration is saved and expanded per call.
 *
 * {name}, {param.NAME}, {secret.NAME}, {name|filter|filter:ARG}; "{{" and "}}" are literal braces.
 * A value is encoded for the place it stands in, so that a macro can never inject a second
 * parameter, header or JSON field. An unknown macro or filter is an error with its position.
 * Macros and filters are tables here; docs read them. Expansion reads no clock and no randomness:
 * {timestamp} and {uuid} are values of the call, so they are the same everywhere in it. Floor 1.
 */
#ifndef OTPQ_MEANING_TEMPLATE_H
#define OTPQ_MEANING_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

/* Where the expanded text will stand; decides the encoder of every value. */
enum template_place {
    TEMPLATE_PATH,   /* URL path segment: RFC 3986 unreserved stay, all else %XX */
    TEMPLATE_QUERY,  /* query key or value: the same */
    TEMPLATE_FORM,   /* application/x-www-form-urlencoded: the same, space as + */
    TEMPLATE_JSON,   /* inside a JSON string: escaped, controls as \u00XX */
    TEMPLATE_XML,    /* XML text or attribute: & < > " ' as entities, controls fail */
    TEMPLATE_HEADER, /* header value: CR, LF, NUL and other controls make expansion fail */
    TEMPLATE_TEXT    /* plain: SMS text; only NUL fails */
};

enum template_macro {
    MACRO_MSISDN,
    MACRO_OTP,
    MACRO_TEXT,
    MACRO_USER_ID,
    MACRO_AID,
    MACRO_MID,
    MACRO_PARTNER,
    MACRO_REQUEST_ID,
    MACRO_ADVERTISER_REQUEST_ID,
    MACRO_CLICK_ID,
    MACRO_IP,
    MACRO_USER_AGENT,
    MACRO_COUNTRY,
    MACRO_TIMESTAMP,
    MACRO_TIMESTAMP_MS,
    MACRO_NONCE,
    MACRO_UUID,
    MACRO_TYPE,
    MACRO_LANG,
    MACRO_PAYOUT,
    MACRO_STATUS,
    MACRO_SUB1,
    MACRO_SUB2,
    MACRO_SUB3,
    MACRO_SUB4,
    MACRO_SUB5,
    MACRO_PARAM,  /* {param.NAME} */
    MACRO_SECRET, /* {secret.NAME} */
    MACROS
};

struct template_macro_row {
    const char *name;    /* "msisdn"; "param." and "secret." take a name behind the dot */
    const char *meaning; /* one sentence for docs and the wizard */
};
extern const struct template_macro_row template_macros[MACROS];

enum template_filter {
    FILTER_NATIONAL,
    FILTER_DIALLED,
    FILTER_INTERNATIONAL,
    FILTER_PLUS,
    FILTER_MD5,
    FILTER_SHA256,
    FILTER_HMAC_SHA256,
    FILTER_BASE64,
    FILTER_UPPER,
    FILTER_LOWER,
    FILTER_CODING,
    FILTERS
};

struct template_filter_row {
    const char *name;     /* "md5" */
    const char *argument; /* what stands behind the colon, or NULL when it takes nothing */
    const char *meaning;  /* one sentence for docs and the wizard */
};
extern const struct template_filter_row template_filters[FILTERS];

enum {
    TEMPLATE_SOURCE_BYTES_MAX = 32 * 1024, /* of one template */
    TEMPLATE_OPS_MAX = 1024,               /* macros and texts between them */
    TEMPLATE_CHAIN_MAX = 8,                /* filters on one macro */
    TEMPLATE_NAME_BYTES_MAX = 64,          /* NAME of param. and secret. */
    TEMPLATE_VALUE_BYTES_MAX = 64 * 1024,  /* of a value on its way through the filters */
    TEMPLATE_UUID_CHARS = 36
};

/* The values a call has. Empty slice: the macro expands to nothing. */
struct template_values {
    struct slice macro[MACROS]; /* by enum; PARAM and SECRET unused */
    const char *country_code;   /* for msisdn|national; digits or NULL */
    /* value of {param.NAME}; empty when there is none */
    struct slice (*param)(void *context, struct slice name);
    /* value of {secret.NAME}; false when the store has no such secret (expansion fails) */
    bool (*secret)(void *context, struct slice name, struct slice *value);
    void *context;
};

struct template; /* opaque, immutable after compile */

struct template_error {
    size_t offset;  /* byte offset in the source text */
    char text[256]; /* what is wrong, with a suggestion */
};

/* The text between the macros is plain text too: it is encoded for the place like the values. */
MUST_CHECK struct template *template_compile(struct slice source, enum template_place place,
                                             struct template_error *error);
/* The text between the macros is of the place's syntax already (a URL, a JSON document) and stays
 * as it is. In a JSON document a macro must stand inside a string. */
MUST_CHECK struct template *template_compile_raw(struct slice source, enum template_place place,
                                                 struct template_error *error);
void template_destroy(struct template **t);
/* True when the template uses this macro (for "{msisdn} is mandatory"). */
bool template_uses(const struct template *t, enum template_macro macro);
/* True when there is no macro at all: it always expands to the same text. */
bool template_is_literal(const struct template *t);
/* Appends. False: a value cannot stand in this place or a secret is missing; *error says which. */
MUST_CHECK bool template_expand(const struct template *t, const struct template_values *v,
                                struct buf *out, struct template_error *error);
/* For dry runs and logs: secrets as "***", the OTP as "******". */
MUST_CHECK bool template_expand_masked(const struct template *t, const struct template_values *v,
                                       struct buf *out, struct template_error *error);

/* A fresh random UUID (RFC 9562, version 4) for values.macro[MACRO_UUID]. */
void template_uuid(char out[TEMPLATE_UUID_CHARS + 1]);

#endif
