/*
 * record.h: what operators configure at run time: the network, affiliates, integrations, endpoints.
 * They come from a YAML file (`otpq apply`), live in Redis as canonical YAML texts, one a record, and
 * are parsed by the same code in every process. Floor 1.
 *
 * The schema is one table per kind; parser, suggestions, export and docs/records.md read it.
 */
#ifndef OTPQ_MEANING_RECORD_H
#define OTPQ_MEANING_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/map.h"
#include "common/base/slice.h"
#include "common/meaning/dialect.h"
#include "common/meaning/yaml.h"

enum record_kind { RECORD_NETWORK, RECORD_AFFILIATE, RECORD_INTEGRATION, RECORD_ENDPOINT,
                   RECORD_KINDS };

/* "network", "affiliates", "integrations", "endpoints": sections of the file, fields in Redis. */
extern const char *const record_sections[RECORD_KINDS];

enum { RECORDS_MAX = 100000 /* of each kind */, RECORD_BYTES_MAX = 64 * 1024 };

enum code_maker { CODE_BY_ADVERTISER, CODE_BY_OTPQ };
enum on_unknown { ON_UNKNOWN_FAIL, ON_UNKNOWN_RETRY };

struct affiliate {
    uint64_t id;       /* aid */
    char *name;
    char *key;         /* API key; compare with record_key_equal */
    bool api_access;
};

/* A route: how to reach one advertiser, and what it bears. */
struct integration {
    char *name;                /* route and `partner`; [A-Za-z0-9_.:-]{1,64} */
    bool paused;
    char *country_code;        /* default country code, digits, or "" */
    enum code_maker maker;
    uint32_t code_digits;      /* 4..10, 6 */
    uint32_t code_valid_s;     /* otpq's codes 300 (max 600); advertiser's sessions 600 */
    uint32_t code_checks;      /* 5 */
    uint32_t resend_after_s;   /* cooldown 30 */
    uint32_t sends_max;        /* per window and number, 3 */
    uint32_t sends_window_s;   /* 600 */
    char *text;                /* SMS text with {otp}; otpq's codes only */
    uint32_t calls_per_s;      /* token bucket, 0: no limit */
    uint32_t burst;            /* bucket size; 0: calls_per_s */
    uint32_t calls_at_once;    /* concurrency cap, 0: no limit */
    uint32_t breaker_percent;  /* failures in the window that open it, 0: off; 50 */
    uint32_t breaker_calls;    /* at least this many calls in the window, 20 */
    uint32_t breaker_window_ms; /* 10000 */
    uint32_t breaker_open_ms;  /* 5000, then probes */
    enum on_unknown on_unknown;
    const struct dialect *dialect;
    void *settings;            /* the dialect's own, owned */
};

/* A generated pair of API addresses and a landing page: integration x affiliate. */
struct endpoint {
    char *name;                /* /e/{name}/… */
    char *integration;
    uint64_t affiliate;
    char *page_title;
};

/* An immutable snapshot of all records. Shared by reference count, within one thread. */
struct records {
    unsigned refs;
    uint64_t version;          /* of the store; goes up with each apply */
    uint64_t mid;              /* the network's id */
    struct map *affiliates;    /* "1001" → struct affiliate */
    struct map *integrations;  /* name → struct integration */
    struct map *endpoints;     /* name → struct endpoint */
};

struct records *records_new(void);
struct records *records_ref(struct records *r);
/* Gives up one reference; takes NULL, nulls the pointer. */
void records_unref(struct records **r);
const struct affiliate *records_affiliate(const struct records *r, uint64_t aid);
const struct integration *records_integration(const struct records *r, struct slice name);
const struct endpoint *records_endpoint(const struct records *r, struct slice name);

/* One record of a kind, as text: what Redis holds and apply compares. */
struct record_text {
    enum record_kind kind;
    char *name;   /* key inside the kind; "network" for the network */
    char *text;   /* canonical YAML: schema order, defaults left out, no comments */
};
struct record_texts {
    size_t count;
    struct record_text *at;
    bool has[RECORD_KINDS]; /* the file has this section */
};
void record_texts_free(struct record_texts *t);

/* Reads a record file: checks every record fully (schema, templates, references between records in
 * the file), gives canonical texts. False: *error has file:line:column and a suggestion. */
MUST_CHECK bool record_file_parse(const char *file, const struct yaml_node *root,
                                  struct record_texts *out, struct yaml_error *error);
/* Builds a snapshot of canonical texts; dangling references are an error. NULL on failure. */
MUST_CHECK struct records *records_build(const struct record_text *texts, size_t count,
                                         uint64_t version, struct yaml_error *error);
/* The whole file again, canonical: export(apply(f)) == f for a canonical f. */
void record_file_write(const struct record_text *texts, size_t count, struct buf *out);

/* Constant time over the longer of the two. */
MUST_CHECK bool record_key_equal(struct slice given, const char *key);

#endif
