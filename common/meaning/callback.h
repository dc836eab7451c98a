/*
 * callback.h: what otpq tells others, as requests: one renderer a kind. A task of the outbox in,
 * with what the records say now; a request out; and what its answer means. Does no I/O.
 * docs/callbacks.md is the prose of it. Floor 1.
 */
#ifndef OTPQ_MEANING_CALLBACK_H
#define OTPQ_MEANING_CALLBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/meaning/dialect.h"
#include "common/meaning/job_ops.h"
#include "common/meaning/secrets.h"

enum callback_kind {
    CALLBACK_STATUS,   /* system 3: the SMS was sent, or was not */
    CALLBACK_RESULT,   /* system 3: how a verify ended */
    CALLBACK_PUSH,     /* system 4: the MO came */
    CALLBACK_EXPIRY,   /* system 4: it did not come in time */
    CALLBACK_POSTBACK, /* an affiliate's conversion */
    CALLBACK_POLL,     /* asks a link dialect for the state: built by the dialect, not here */
    CALLBACK_HTTP,     /* a client's own */
    CALLBACK_KINDS
};
/* CALLBACK_KINDS when it is none of them. */
enum callback_kind callback_kind_of(struct slice word);

enum {
    CALLBACK_TIMEOUT_MS = 15000,
    CALLBACK_CONNECT_MS = 5000,
    CALLBACK_BODY_BYTES_MAX = 16384,
    CALLBACK_RETRIES_MAX = 32, /* as many as a list of the configuration has */
    CALLBACK_RETRY_AFTER_S_MAX = 24 * 3600,
    CALLBACK_DATA_BYTES_MAX = 40 * 1024 /* of a task's fields, packed */
};

/* The fields of a task. All may be empty; slices borrow from its data. */
struct callback_fields {
    struct slice rid;          /* request id */
    struct slice eid;          /* the customer's own reference */
    struct slice code;         /* word of the vocabulary: how it ended */
    struct slice msisdn;       /* the number it was sent to */
    struct slice mobile;       /* the number that the MO came from */
    struct slice sender;       /* the number that the MO was sent to */
    struct slice send_time;    /* YYYY-MM-DD HH:MM:SS, UTC */
    struct slice deliver_time; /* the same */
    struct slice sealed;       /* code_seal of the code */
    struct slice err;          /* why there was no MO */
    struct slice ctx;          /* packed map: what the send came with */
    struct slice route;        /* integration */
    struct slice party;        /* whose */
    struct slice country;      /* of the number, two letters */
    struct slice at_ms;        /* when it happened, wall clock */
    struct slice ft;           /* flash template */
    struct slice method;       /* this and the following: http */
    struct slice url;
    struct slice headers; /* lines "Name: value" */
    struct slice body;
    struct slice expect;
};
/* False: not a packed map of texts. Names that nobody knows are passed over. */
MUST_CHECK bool callback_fields_read(struct slice data, struct callback_fields *out);
/* Data of a task of kind http. False: *why says which header cannot be sent. */
MUST_CHECK bool callback_http_data(const struct job_callback *body, struct buf *out,
                                   const char **why);

/* What the records say about it at the time of the attempt. */
struct callback_where {
    const char *url;               /* of the account, template or affiliate */
    const char *secret;            /* key of the signature, "" or NULL: not signed */
    const char *time_zone;         /* push, expiry */
    const char *content;           /* push, expiry: of the template, with {code} */
    const char *receiver;          /* expiry: where the MO would have gone */
    struct slice otp;              /* push, expiry: the code, opened */
    const char *payout;            /* postback */
    uint64_t mid;                  /* postback */
    const struct secrets *secrets; /* postback: of {secret.NAME}; may be NULL */
};

/* The request of one attempt, signed. id: of the task. False: why says what cannot be sent. */
MUST_CHECK bool callback_build(enum callback_kind kind, struct slice id,
                               const struct callback_fields *f, const struct callback_where *w,
                               int64_t now_ms, struct dialect_request *out, char why[160]);

enum callback_verdict {
    CALLBACK_RECEIVED,
    CALLBACK_GONE,  /* 410: never again */
    CALLBACK_FAILED /* again, by the schedule */
};
enum callback_verdict callback_judge(enum callback_kind kind, const struct callback_fields *f,
                                     int http, struct slice body);

/* When to try again. */
struct callback_schedule {
    uint32_t count;
    uint32_t
        after_s[CALLBACK_RETRIES_MAX]; /* the n-th attempt that failed is followed after this */
};
/* 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 3 h, 6 h, 12 h, 24 h. */
extern const struct callback_schedule callback_schedule;
/* Milliseconds to the next attempt after `attempt` (1 for the first) failed, or 0: that was the
 * last. random: any 64 bits, for a fifth more or less. retry_after_s: as the receiver asked, -1
 * when it did not; longer than the schedule, it is honoured, up to a day. */
uint32_t callback_next_ms(const struct callback_schedule *s, uint32_t attempt,
                          int64_t retry_after_s, uint64_t random);

#endif
