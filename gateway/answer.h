/*
 * answer.h: the words of systems 1 and 2, and what every system's answers are made of. A result of
 * the vocabulary becomes an HTTP status and a JSON body in the system's own shape, keys in the
 * order in which the system publishes them. Values in, bytes out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_ANSWER_H
#define OTPQ_GATEWAY_ANSWER_H

#include <jansson.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/meaning/job.h"
#include "common/meaning/result.h"

enum answer_shape {
    ANSWER_ENDPOINT, /* system 1: otp_sent_successfully; failures pass on the advertiser's answer */
    ANSWER_AF        /* system 2: otp_sent with "data" */
};

enum { ANSWER_BYTES_MAX = 32 * 1024, ANSWER_HEADERS_MAX = 6, ANSWER_HEADER_BYTES = 320 };

struct answer_header {
    const char *name;                /* static */
    char value[ANSWER_HEADER_BYTES]; /* clean: no CR, no LF */
};

struct answer {
    int http;               /* status; the body's "status" is the same */
    uint32_t retry_after_s; /* for the Retry-After header; 0: none */
    struct buf body;        /* owned */
    const char *type;       /* media type, static; NULL: application/json */
    uint32_t header_count;  /* of headers */
    struct answer_header headers[ANSWER_HEADERS_MAX]; /* beside Retry-After and X-Request-Id */
};

/* Adds a header; a value that does not fit or is not clean is left out. */
void answer_header(struct answer *a, const char *name, const char *value);

/* Everything about a result but its code; the defaults of job_result_init mean "does not apply".
 * detail: the gateway's own words, or "" for the result's. */
void answer_result(struct answer *a, enum answer_shape shape, enum result_code code,
                   const char *detail, const struct job_result *result);
/* A failure that never became a job. http 0: the code's own status. detail may be "". */
void answer_failure(struct answer *a, enum result_code code, int http, const char *detail,
                    uint32_t retry_after_s);
void answer_free(struct answer *a);

/* ---- for systems with shapes of their own ---- */

/* Sets *a up; then the body is put together, and answer_json or answer_plain ends it. */
void answer_begin(struct answer *a, int http);
/* The body; takes root over. */
void answer_json(struct answer *a, json_t *root);
/* A body that is not JSON; type is static, of an empty body it does not matter. */
void answer_plain(struct answer *a, const char *type, struct slice body);
/* Puts value, which is taken over, behind the others. */
void answer_put(json_t *root, const char *key, json_t *value);
/* "word: what it means", in the detail's words where there are some. */
json_t *answer_sentence(enum result_code code, struct slice detail);
/* What Retry-After says: what is known (0 or less: nothing is); the busy statuses always say when
 * to come back. */
uint32_t answer_retry_after(int http, int64_t known_s);
/* attempts_left, retry_after and expires_in, each where it applies (-1: it does not); retry_after
 * goes into the header too, and busy statuses always have one. */
void answer_put_facts(struct answer *a, json_t *root, const struct job_result *result);

#endif
