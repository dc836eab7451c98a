/*
 * router.h: which handler a method and a path lead to: a table of patterns, one row each.
 *
 * A pattern is matched segment by segment; "{}" takes one whole segment of [A-Za-z0-9_.:-].
 * Values in, values out. Floor 4.
 */
#ifndef OTPQ_GATEWAY_ROUTER_H
#define OTPQ_GATEWAY_ROUTER_H

#include "common/base/slice.h"
#include "gateway/system.h"

/* What is asked, where a system has several addresses. */
enum route_op {
    ROUTE_GEN,          /* send an OTP */
    ROUTE_VERIFY,       /* check one */
    ROUTE_HEALTH,       /* is this gateway fit? */
    ROUTE_REPORT,       /* an advertiser tells something by itself */
    ROUTE_FLASH_CREATE, /* system 4: make a link */
    ROUTE_FLASH_QUERY,  /* system 4: how a link stands */
    ROUTE_FLASH_PAGE,   /* system 4: the page behind a link */
    ROUTE_MO            /* system 4: an SMS that a user sent */
};

enum { ROUTER_NAMES_MAX = 3 };

struct router_row {
    const char *pattern;         /* "/e/{}/otp_gen" */
    const char *methods;         /* "GET, POST": as the Allow header says it */
    enum route_op op;            /* what is asked */
    const struct system *system; /* whose words; NULL for ROUTE_HEALTH */
};
extern const struct router_row router_rows[];
extern const unsigned router_count;

enum route_outcome { ROUTE_FOUND, ROUTE_UNKNOWN /* 404 */, ROUTE_WRONG_METHOD /* 405 */ };

struct router_match {
    enum route_outcome outcome;
    const struct router_row *row;         /* FOUND and WRONG_METHOD */
    struct slice names[ROUTER_NAMES_MAX]; /* what each "{}" took; else empty */
};

struct router_match router_find(struct slice method, struct slice path);

#endif
