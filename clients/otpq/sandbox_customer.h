/*
 * sandbox_customer.h: the sandbox as a customer: remembers the callbacks that came to
 * /customer/{name}, and fails the first ones of a message when the address says so. Bounded: the
 * newest 2,000 callbacks, the newest 8,192 messages that are failed. Time is an argument. Floor 4.
 */
#ifndef OTPQ_COMMAND_SANDBOX_CUSTOMER_H
#define OTPQ_COMMAND_SANDBOX_CUSTOMER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"

enum {
    CUSTOMER_CALLBACKS_MAX = 2000,
    CUSTOMER_MESSAGES_MAX = 8192,
    CUSTOMER_SHOWN_MAX = 1000, /* callbacks in one answer */
    CUSTOMER_NAME_BYTES_MAX = 64,
    CUSTOMER_BODY_BYTES_MAX = 16384, /* of a callback, remembered */
    CUSTOMER_FAIL_MAX = 1000
};

struct customer;

/* A callback as it came. */
struct customer_callback {
    struct slice name;       /* whose */
    struct slice method;     /* "GET" */
    json_t *query;           /* object, borrowed */
    struct slice body;       /* may be empty */
    json_t *headers;         /* object, borrowed */
    struct slice message_id; /* webhook-id, or whatever makes it the same message */
    uint32_t fail;           /* first attempts of a message that fail, 0: none */
    int64_t at_ms;           /* wall clock */
};

struct customer *customer_new(void);
void customer_destroy(struct customer **c);
/* [A-Za-z0-9_.:-]{1,64} */
MUST_CHECK bool customer_name_ok(struct slice name);
/* Remembers it and says which HTTP status to answer: 200, or 500 while it is to fail. */
int customer_take(struct customer *c, const struct customer_callback *callback);
/* JSON: array of {"name","method","query","body","headers","at_ms","answered"}, newest first; an
 * empty name: of everybody. */
void customer_print(const struct customer *c, struct slice name, struct buf *out);

#endif
