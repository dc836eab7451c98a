/*
 * record.h: what operators configure at run time: the network, affiliates, integrations, endpoints,
 * accounts, flash templates, API tokens, sources of MOs, CURVE keys.
 * They come from a YAML file (`otpq apply`), live in Redis as canonical YAML texts, one a record,
 * and are parsed by the same code in every process. Floor 1.
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
#include "common/meaning/sign.h"
#include "common/meaning/yaml.h"

enum record_kind {
    RECORD_NETWORK,
    RECORD_AFFILIATE,
    RECORD_INTEGRATION,
    RECORD_ENDPOINT,
    RECORD_ACCOUNT,
    RECORD_FLASH_TEMPLATE,
    RECORD_API_TOKEN,
    RECORD_MO_SOURCE,
    RECORD_CURVE_KEY,
    RECORD_KINDS
};

/* "network", "affiliates", "integrations", …: sections of the file, fields in Redis. */
extern const char *const record_sections[RECORD_KINDS];
/* Field in place of a name for the network, of which there is one. */
#define RECORD_NETWORK_NAME "network"

enum {
    RECORDS_MAX = 100000,         /* of each kind */
    RECORD_BYTES_MAX = 64 * 1024, /* canonical text of one */
    RECORD_NAME_BYTES_MAX = 64
};

/* What a key's value must look like. */
enum record_type {
    RECORD_TEXT,   /* char *: text without control characters, min to max bytes */
    RECORD_LINES,  /* char *: the same, line ends allowed */
    RECORD_NAME,   /* char *: [A-Za-z0-9_.:-], min to max bytes */
    RECORD_TOKEN,  /* char *: visible ASCII without spaces, min to max bytes */
    RECORD_DIGITS, /* char *: min to max digits */
    RECORD_U32,    /* uint32_t, min to max */
    RECORD_U64,    /* uint64_t, min to max */
    RECORD_BOOL,   /* bool: true or false */
    RECORD_LIST,   /* struct record_list: names (or digits), each min to max bytes */
    RECORD_CHOICE, /* an enum: the place of the word in choices */
    RECORD_DIALECT /* const struct dialect *: its name */
};

/* One key of a record. */
struct record_key {
    const char *name; /* "page_title" */
    enum record_type type;
    const char *fallback; /* default as text; NULL: the key must be there */
    const char *choices;  /* RECORD_CHOICE: "advertiser|otpq" */
    uint64_t min;         /* of the number, or bytes of the text */
    uint64_t max;
    const char *unit;    /* "s", "ms", "calls", … or "" */
    const char *meaning; /* one sentence for docs */
    size_t offset;       /* of the member in the record's struct */
};

struct record_schema {
    const char *section; /* "affiliates": in files and in Redis */
    const char *one;     /* "affiliate": in messages */
    const struct record_key *keys;
    size_t key_count;
    size_t size; /* of the record's struct */
};
extern const struct record_schema record_schemas[RECORD_KINDS];

enum { RECORD_LIST_MAX = 8 };

/* A list of words, owned. */
struct record_list {
    uint32_t count;
    char *at[RECORD_LIST_MAX];
};

enum accept_rule { ACCEPT_MEMORY, ACCEPT_STORED };
enum code_maker { CODE_BY_ADVERTISER, CODE_BY_OTPQ };
enum on_unknown { ON_UNKNOWN_FAIL, ON_UNKNOWN_RETRY, ON_UNKNOWN_QUERY };
enum numbers_rule { NUMBERS_VALID, NUMBERS_POSSIBLE };

/* The network that the affiliates belong to. */
struct network {
    uint64_t mid; /* its id; 0 in a snapshot without one */
};

struct affiliate {
    uint64_t id; /* aid */
    char *name;
    char *key; /* API key; compare with record_key_equal */
    bool api_access;
    uint32_t weight;       /* jobs a turn in a busy route, 1..100, 1 */
    char *postback_url;    /* template, called on each conversion; or "" */
    char *callback_secret; /* key of webhook-signature on postbacks; or "": not signed */
};

/* A route: how to reach one advertiser, and what it bears. */
struct integration {
    char *name; /* route and `partner`; [A-Za-z0-9_.:-]{1,64} */
    bool paused;
    enum accept_rule accept; /* stored: its jobs are stored whatever ack they ask for */
    char *country_code;      /* default country code, digits, or "" */
    enum code_maker maker;
    uint32_t code_digits;       /* 4..10, 6 */
    uint32_t code_valid_s;      /* otpq's codes 300 (max 600); advertiser's sessions 600 */
    uint32_t code_checks;       /* 5 */
    uint32_t resend_after_s;    /* cooldown 30 */
    uint32_t sends_max;         /* per window and number, 3 */
    uint32_t sends_window_s;    /* 600 */
    char *text;                 /* SMS text with {otp}; otpq's codes only */
    uint32_t calls_per_s;       /* token bucket, 0: no limit */
    uint32_t burst;             /* bucket size; 0: calls_per_s */
    uint32_t calls_at_once;     /* concurrency cap, 0: no limit */
    uint32_t breaker_percent;   /* failures in the window that open it, 0: off; 50 */
    uint32_t breaker_calls;     /* at least this many calls in the window, 20 */
    uint32_t breaker_window_ms; /* 10000 */
    uint32_t breaker_open_ms;   /* 5000, then probes */
    enum on_unknown on_unknown;
    struct record_list fallback; /* integrations to try, in order, when provably nothing was sent */
    enum numbers_rule numbers;   /* which numbers are taken: valid ones, or all possible ones */
    char *callback_token; /* in /cb/{dialect}/{name}/{token}; "": no callbacks are taken in */
    char *payout;         /* what a conversion pays, for the macro; or "" */
    const struct dialect *dialect;
    void *settings; /* the dialect's own, owned */
};

/* A generated pair of API addresses and a landing page: integration x affiliate. */
struct endpoint {
    char *name; /* /e/{name}/… */
    char *integration;
    uint64_t affiliate;
    char *page_title;
};

/* A customer of systems 3 and 4. */
struct account {
    char *name;              /* username; [A-Za-z0-9_.-]{1,48} */
    char *password_hash;     /* system 3, crypt(5): "$6$…", "$y$…"; "": no system 3 */
    bool active;             /* false: 412 */
    char *integration;       /* system 3: what carries the SMS; or "" */
    char *text;              /* system 3: SMS text with {otp}; "": the integration's */
    char *callback_url;      /* system 3: both callbacks; or "" */
    char *callback_secret;   /* key of webhook-signature; or "": not signed */
    enum sign_strategy sign; /* system 4 */
    char *secret;            /* system 4: of the signature, or static's value; or "" */
    char *header_account;    /* system 4: names of the headers; account, nonce, sign */
    char *header_nonce;
    char *header_sign;
    char *time_zone; /* system 4: of times in pushes and queries, "UTC", "Asia/Bangkok" */
};

/* A flash template of system 4: what the user is asked to send, and to where. */
struct flash_template {
    char *name;                   /* ftId */
    char *title;                  /* what people call it */
    char *account;                /* whose it is */
    struct record_list receivers; /* numbers that the MO may go to, digits; the first is shown */
    char *content;                /* with {code} */
    char *callback_url;           /* pushes; or "" */
    uint32_t code_digits;         /* 4..6, 4 */
    uint32_t valid_min;           /* 1..10, 5 */
    struct record_list languages; /* of the redirect page: "zh", "en"; empty: the browser's */
    char *integration; /* "": otpq makes the code and matches the MO; a link dialect's: its link is
                          handed on; another: the advertiser makes the code (docs/flash.md) */
};

/* A bearer of system 5. */
struct api_token {
    char *name;
    char *token;
    char *integration; /* what carries the SMS */
};

/* Who may hand in MOs: an SMSC connection's secret, /flash/opt/mo/{token}. */
struct mo_source {
    char *name;
    char *token;
};

enum key_kind { KEY_CLIENT, KEY_WORKER, KEY_GATEWAY, KEY_BROKER, KEY_OPERATOR, KEY_KINDS };
extern const char *const key_kind_names[KEY_KINDS]; /* "client", … */

/* Who may use the brokers' sockets, by its CURVE key; and the brokers themselves. */
struct curve_key {
    char *name;
    char *public_key; /* Z85 */
    enum key_kind kind;
    struct record_list tenants; /* of its jobs; "acme:" is all that begin so; empty: every tenant */
    struct record_list routes;  /* the same of routes */
    char *made;                 /* when, for people; or "" */
    bool revoked;               /* nobody has it any more */
    char *revoked_at;           /* when, for people; or "" */
};

struct flash_index; /* flash_index.h */

/* An immutable snapshot of all records. Shared by reference count, within one thread. */
struct records {
    unsigned refs;
    uint64_t version;            /* of the store; goes up with each apply, by any number */
    uint64_t mid;                /* the network's id, 0: none yet */
    struct map *affiliates;      /* "1001" → struct affiliate */
    struct map *integrations;    /* name → struct integration */
    struct map *endpoints;       /* name → struct endpoint */
    struct map *accounts;        /* username → struct account */
    struct map *flash_templates; /* ftId → struct flash_template */
    struct map *api_tokens;      /* name → struct api_token */
    struct map *mo_sources;      /* name → struct mo_source */
    struct map *api_by_token;    /* digest of the token → struct api_token, the other's */
    struct map *mo_by_token;     /* the same of mo_sources */
    struct map *curve_keys;      /* name → struct curve_key */
    struct map *curve_by_public; /* public key → struct curve_key, the other's */
    struct flash_index *flash;   /* templates by receiver, header names of accounts */
};

struct records *records_new(void);
struct records *records_ref(struct records *r);
/* Gives up one reference; takes NULL, nulls the pointer. */
void records_unref(struct records **r);
const struct affiliate *records_affiliate(const struct records *r, uint64_t aid);
const struct integration *records_integration(const struct records *r, struct slice name);
const struct endpoint *records_endpoint(const struct records *r, struct slice name);
const struct account *records_account(const struct records *r, struct slice username);
const struct flash_template *records_flash_template(const struct records *r, struct slice ft_id);
/* By the secret, which is looked up by its digest: neither the time it takes nor how many others
 * there are tells anything of them. NULL: nobody has it. */
const struct api_token *records_api_token(const struct records *r, struct slice token);
const struct mo_source *records_mo_source(const struct records *r, struct slice token);
/* By the public key, in Z85. A revoked one is found, too; it wins over others of the same key. */
const struct curve_key *records_curve_key(const struct records *r, struct slice public_key);
/* Once, when all records are in it: only then some are found by their tokens and keys. */
void records_index_tokens(struct records *r);

/* One record of a kind, as text: what Redis holds and apply compares. */
struct record_text {
    enum record_kind kind;
    char *name; /* key inside the kind; "network" for the network */
    char *text; /* canonical YAML: schema order, defaults left out, no comments */
    int line;   /* where it stands in its file; 0: it comes from the store */
    int column;
};
struct record_texts {
    size_t count;
    struct record_text *at;
    bool has[RECORD_KINDS]; /* the file has this section */
};
void record_texts_free(struct record_texts *t);

/* Reads a record file: checks every record by itself (schema, templates, addresses, what its maker
 * of codes asks for), gives canonical texts. References may point into the store, so records_check
 * judges them once the two are put together. False: *error has file:line:column and a suggestion.
 */
MUST_CHECK bool record_file_parse(const char *file, const struct yaml_node *root,
                                  struct record_texts *out, struct yaml_error *error);
/* Builds a snapshot of canonical texts. What the store has was judged when it was applied, perhaps
 * by an older otpq, and one record must not keep a node from all others: so only what no process
 * could work with is an error here (a text that is no record, a call that does not compile, a name
 * that is a lane's, two flash templates whose SMSs nobody could tell apart). References may dangle:
 * who looks one up may find nothing. NULL on failure. */
MUST_CHECK struct records *records_build(const struct record_text *texts, size_t count,
                                         uint64_t version, struct yaml_error *error);
/* What `otpq apply` asks of all records as they would be: they build a snapshot, no reference
 * dangles, no two API tokens or sources of MOs have one token, endpoints of the file are only for
 * affiliates with API access. Errors name the place in the file. */
MUST_CHECK bool records_check(const char *file, const struct record_text *texts, size_t count,
                              struct yaml_error *error);
/* The whole file again, canonical: sections in order, affiliates by number, the others by name;
 * export(apply(f)) == f for a canonical f. Sorts texts. */
void record_file_write(struct record_text *texts, size_t count, struct buf *out);
/* Order of records in a file, for qsort. */
int record_text_compare(const void *a, const void *b);

/* One record of a file: name, place and map of keys. Gives its struct, to be freed with
 * record_destroy. NULL: *error says where and why. */
MUST_CHECK void *record_read(enum record_kind kind, const char *file,
                             const struct yaml_pair *record, struct yaml_error *error);
/* Takes NULL. */
void record_destroy(enum record_kind kind, void *record);
/* Its canonical text; node as it was read from (for the dialect's own keys). */
void record_write(enum record_kind kind, const void *record, const struct yaml_node *node,
                  struct buf *out);

/* Constant time over the longer of the two. */
MUST_CHECK bool record_key_equal(struct slice given, const char *key);

#endif
