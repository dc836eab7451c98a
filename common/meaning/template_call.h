/*
 * template_call.h: one call of the template dialect: read from YAML once, built for every job.
 * Inner part of dialect_template.c. Floor 1.
 */
#ifndef OTPQ_MEANING_TEMPLATE_CALL_H
#define OTPQ_MEANING_TEMPLATE_CALL_H

#include "common/meaning/answer_rule.h"
#include "common/meaning/dialect.h"
#include "common/meaning/dialect_read.h"

enum { TEMPLATE_PAIRS_MAX = 64 };

/* A key and a value of a query, a form or the headers. */
struct template_pair {
    struct template *key;
    struct template *value;
};

struct template_pairs {
    size_t count;
    struct template_pair *at;
    bool dynamic;    /* some key has a macro: two keys may become the same */
    bool skip_empty; /* a pair whose value is empty is not sent */
};

enum body_kind { BODY_NONE, BODY_FORM, BODY_JSON, BODY_RAW };

/* One call, compiled. */
struct template_call {
    const char *method;         /* static */
    char *origin;               /* "https://host:port", literal */
    struct template *path;      /* begins with "/" */
    struct template *url_query; /* behind "?" in the URL; NULL: none */
    struct template_pairs query;
    struct template_pairs headers;
    enum body_kind body_kind;
    struct template_pairs form;
    struct template *body; /* JSON and raw */
    char *content_type;    /* of the body, or NULL */
    bool body_is_json;     /* the bytes must be JSON */
    bool json_dynamic;     /* some JSON key has a macro */
    uint32_t timeout_ms;
    uint32_t connect_ms;
    struct answer_rule *answer;
};

/* Reads a call's map and builds one request for a trial. NULL and the reader's error otherwise. */
MUST_CHECK struct template_call *template_call_read(const struct dialect_reader *r,
                                                    const struct yaml_node *map);
/* Takes NULL, nulls the pointer. */
void template_call_destroy(struct template_call **call);
bool template_call_uses(const struct template_call *c, enum template_macro macro);

/* probing: the values are not real, so keys may be equal by chance; a JSON body is checked. */
MUST_CHECK bool template_call_build(const struct template_call *c, const struct template_values *v,
                                    bool masked, bool probing, struct dialect_request *out,
                                    struct template_error *error);

/* The calls of a dialect: the first member of its settings, so that a pointer to those is one to
 * this. The following stand in its vtable where it has nothing of its own to add; those that take a
 * call need it to be there. */
struct template_calls {
    struct template_call *at[DIALECT_CALLS]; /* NULL: the advertiser has no such call */
};
void template_calls_free(struct template_calls *calls);
/* The settings themselves too, for a dialect that has nothing else in them. Takes NULL. */
void template_calls_release(void *settings);
bool template_calls_has(const void *settings, enum dialect_call call);
/* A call that is not there uses nothing. */
bool template_calls_uses(const void *settings, enum dialect_call call, enum template_macro macro);
uint32_t template_calls_timeout_ms(const void *settings, enum dialect_call call);
MUST_CHECK bool template_calls_build(const void *settings, enum dialect_call call,
                                     const struct template_values *v, bool masked,
                                     struct dialect_request *out, struct template_error *error);

/* What keeps an address from being called, or NULL. Macros may stand behind the host, which is not
 * checked here: they are judged where they are compiled. *path_at: where the host and port end;
 * *at: the byte that is wrong, 0 when it does not begin as a URL. */
const char *template_url_fault(const char *url, size_t *path_at, size_t *at);

/* Parts of template_call_read. */
MUST_CHECK bool template_read_url(const struct dialect_reader *r, const struct yaml_node *map,
                                  const struct yaml_node *node, struct template_call *c);
MUST_CHECK bool template_read_pairs(const struct dialect_reader *r, const struct yaml_node *map,
                                    const char *what, enum template_place place, size_t max,
                                    struct template_pairs *out);
MUST_CHECK struct template *template_read_key(const struct dialect_reader *r,
                                              const struct yaml_pair *pair,
                                              enum template_place place);
/* form, json or body, and content_type. */
MUST_CHECK bool template_read_body(const struct dialect_reader *r, const struct yaml_node *map,
                                   struct template_call *c);

#endif
