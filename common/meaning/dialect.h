/*
 * dialect.h: what it takes to speak to an advertiser. A dialect never does I/O: values in, a
 * request in bytes out; an answer in bytes in, values out. Floor 1.
 */
#ifndef OTPQ_MEANING_DIALECT_H
#define OTPQ_MEANING_DIALECT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/meaning/params.h"
#include "common/meaning/result.h"
#include "common/meaning/template.h"
#include "common/meaning/yaml.h"

enum dialect_call { DIALECT_SEND, DIALECT_VERIFY, DIALECT_CALLS };

enum { DIALECT_HEADERS_MAX = 24, DIALECT_REQUEST_BYTES_MAX = 128 * 1024, DIALECT_URL_BYTES = 1024 };

/* A request, ready for the HTTP client. */
struct dialect_request {
    const char *method; /* "GET", "POST", …: static */
    struct buf url;     /* absolute, encoded */
    struct buf body;    /* empty: none */
    struct buf headers; /* "Name: value" lines, each NUL-terminated */
    size_t header_count;
    uint32_t timeout_ms; /* whole call */
    uint32_t connect_ms; /* resolve, connect, TLS */
};
void dialect_request_init(struct dialect_request *r);
void dialect_request_free(struct dialect_request *r);

/* The advertiser's answer as it came. */
struct dialect_answer {
    int http;          /* status */
    struct slice body; /* capped */
};

/* The SMS that a user sent (FOTP). All may be "". */
struct dialect_message {
    char mobile[24];       /* digits of the user's number */
    char sender[24];       /* the number it was sent to, as FOTP calls it */
    char send_time[24];    /* YYYY-MM-DD HH:MM:SS */
    char deliver_time[24]; /* the same */
};

/* What the answer means. */
struct dialect_verdict {
    enum job_end end; /* JOB_END_DONE, JOB_END_REFUSED or JOB_END_UNKNOWN */
    enum result_code code;
    bool retry; /* the mapping says: refused, and repeating it is safe and useful */
    char advertiser_request_id[128]; /* "" when there is none */
    char url[DIALECT_URL_BYTES];     /* the link that the user opens, of a link dialect; or "" */
    struct dialect_message mo;       /* what the user sent, where the answer tells it */
    int64_t attempts_left;           /* as the answer tells; -1: it does not */
    int64_t retry_after_s;           /* the same */
};
/* Nobody knows: what a verdict is before anything was read. */
void dialect_verdict_init(struct dialect_verdict *v);

enum dialect_event { DIALECT_DELIVERY, DIALECT_VERIFICATION, DIALECT_MO };

/* Something that the advertiser tells by itself: a callback taken in. */
struct dialect_report {
    enum dialect_event event;
    enum result_code code;           /* what it says: otp_sent, otp_verified, wrong_otp, … */
    char request_id[65];             /* ours, where it is told; or "" */
    char advertiser_request_id[128]; /* theirs; or "" */
    char otp[16];                    /* MO: the code in it; or "" */
    struct dialect_message mo;
};

/* What a link dialect is: send answers with a link, the user answers it by an SMS, and verify asks
 * for the state, as often as one likes. It sends a code of ours that no other live request of the
 * integration has. */
enum dialect_trait { DIALECT_LINK = 1, DIALECT_REPORTS = 2 /* tells deliveries by callbacks */ };

/* One key of a dialect's settings, for its reader, its documentation and the wizard. */
struct dialect_setting {
    const char *group;   /* the map it stands in: "call", "answer", …; or
                            "integration": a key of the integration itself */
    const char *key;     /* as written */
    const char *meaning; /* one sentence */
};

struct dialect {
    const char *name;        /* "template" */
    const char *const *keys; /* the dialect's own keys of an integration, NULL-terminated */
    const struct dialect_setting *settings; /* all keys inside those, ended by a NULL group */
    /* Reads the dialect's own keys of an integration; NULL and *error on a bad one. */
    void *(*configure)(const char *file, const struct yaml_node *integration,
                       struct yaml_error *error);
    void (*release)(void *settings);
    /* True when the dialect's settings have this call at all (no verify URL: otpq checks). */
    bool (*has)(const void *settings, enum dialect_call call);
    /* True when the call sends this value anywhere: "{msisdn} is mandatory" is judged by it. */
    bool (*uses)(const void *settings, enum dialect_call call, enum template_macro macro);
    /* How long the whole call may take: the claim's lease is made of it, before the request is. */
    uint32_t (*timeout_ms)(const void *settings, enum dialect_call call);
    /* Builds the request. False: *error says which value cannot be sent. */
    bool (*build)(const void *settings, enum dialect_call call, const struct template_values *v,
                  bool masked, struct dialect_request *out, struct template_error *error);
    void (*parse)(const void *settings, enum dialect_call call, const struct dialect_answer *a,
                  struct dialect_verdict *out);
    /* enum dialect_trait, ORed. NULL: none. */
    unsigned (*traits)(const void *settings);
    /* A callback taken in, its parameters merged. False: *why says what is missing. NULL: the
     * advertiser has no callbacks. */
    bool (*report)(const void *settings, const struct params *params, struct dialect_report *out,
                   const char **why);
    const char *report_answer; /* what a callback is answered with, 200; "" for an empty body */
};

unsigned dialect_traits(const struct dialect *d, const void *settings);

extern const struct dialect dialect_template;
extern const struct dialect dialect_offer18;    /* system 2 */
extern const struct dialect dialect_otpservice; /* system 3 */
extern const struct dialect dialect_fotp;       /* system 4 */
/* All dialects, NULL-terminated. */
extern const struct dialect *const dialects[];
const struct dialect *dialect_find(struct slice name);

/* Appends the request as a person reads it: method and URL, headers, an empty line, the body. */
void dialect_request_write(const struct dialect_request *r, struct buf *out);
/* A dry run: the exact request, with secrets as "***" and the OTP as "******". False as build. */
MUST_CHECK bool dialect_preview(const struct dialect *d, const void *settings,
                                enum dialect_call call, const struct template_values *v,
                                struct buf *out, struct template_error *error);

#endif
