/*
 * dialect_made.h: what the dialects of published APIs share. Their operator gives a base URL and a
 * few values; the calls themselves are made here, out of the same parts as a template's. Inner part
 * of the dialects. Floor 1.
 */
#ifndef OTPQ_MEANING_DIALECT_MADE_H
#define OTPQ_MEANING_DIALECT_MADE_H

#include <jansson.h>

#include "common/meaning/dialect_read.h"
#include "common/meaning/template_call.h"

/* One parameter of a call. */
struct made_pair {
    const char *name;  /* as the API has it */
    const char *value; /* a template; or NULL: the integration's value of `key` */
    const char *key;   /* a key of the integration that must be there; or NULL */
};

/* A call with everything in the query. */
struct made_call {
    const char *method; /* static */
    const char *path;   /* behind the base URL */
    const struct made_pair *pairs;
    size_t count;
};

/* NULL and the reader's error on a bad one. Takes base_url, timeout_ms and connect_timeout_ms of
 * the integration; `params`, a list of names or NULL, are extra parameters that go out under their
 * own name. A parameter without a value is not sent. */
MUST_CHECK struct template_call *made_call_read(const struct dialect_reader *r,
                                                const struct yaml_node *integration,
                                                const struct made_call *what,
                                                const struct yaml_node *params);
/* The integration's value of the key as a template of its own; it must be there. */
MUST_CHECK struct template *made_text_read(const struct dialect_reader *r,
                                           const struct yaml_node *integration, const char *key,
                                           enum template_place place);

/* ---- answers ---- */

/* The body as JSON, or NULL; a name that is there twice makes it no JSON. */
json_t *made_json(struct slice body);
/* A member as text, whether it is a string, a whole number or a boolean; "" when it is not there,
 * or longer than `bytes` with its NUL. */
const char *made_text(const json_t *object, const char *key, char *out, size_t bytes);
/* The same as a number; -1 when it is none. */
int64_t made_number(const json_t *object, const char *key);
/* A text without control characters, as ids are kept: "" for others. */
void made_keep(char *out, size_t bytes, const char *text);
/* The same for a link that users are sent to: "" for what is no page, as javascript:…, too. */
void made_keep_url(char *out, size_t bytes, const char *text);

/* A word of the vocabulary that another otpq, or one that speaks like it, answers with. What such
 * a system says of itself becomes what is said of an advertiser. */
void made_hear(enum result_code word, struct dialect_verdict *out);
/* Neither a success nor a word that is known: what is left is the status. `readable`: the body is
 * of the API's shape. */
void made_hear_status(int http, bool readable, struct dialect_verdict *out);
/* The word of the vocabulary before a colon ("wrong_otp: …"), as otpq's own answers begin their
 * messages; RESULT_NONE for every other text. */
enum result_code made_word_before_colon(const char *message);

#endif
