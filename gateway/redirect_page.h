/*
 * redirect_page.h: the page behind an FOTP link: it opens the SMS application with receiver and
 * text filled in, or shows a QR code of itself where there is none. Values in, HTML out: one
 * document with everything in it, at most REDIRECT_PAGE_BYTES_MAX. Floor 4.
 */
#ifndef OTPQ_GATEWAY_REDIRECT_PAGE_H
#define OTPQ_GATEWAY_REDIRECT_PAGE_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "gateway/answer.h"
#include "gateway/language.h"

enum { REDIRECT_PAGE_BYTES_MAX = 16 * 1024 };

/* Who reads the page. Apple's phones want another form of sms: addresses than all others. */
enum redirect_device { DEVICE_PHONE, DEVICE_IOS, DEVICE_DESKTOP, DEVICE_MAC };

enum redirect_device redirect_device_of(struct slice user_agent);

struct redirect_page {
    enum language language;
    enum redirect_device device;
    struct slice receiver; /* digits */
    struct slice text;     /* with the code in it, UTF-8 */
    struct slice link;     /* address of this page, for the QR code */
    int64_t valid_s;       /* how long it still lives; -1: not said */
};
void redirect_page_write(struct buf *out, const struct redirect_page *page);

/* A page that only says why there is nothing to send. */
enum redirect_notice {
    NOTICE_UNKNOWN,
    NOTICE_EXPIRED,
    NOTICE_DONE,
    NOTICE_LATER,
    REDIRECT_NOTICES
};
void redirect_notice_write(struct buf *out, enum language language, enum redirect_notice notice);

/* "sms:1008611?body=…", as the device wants it; not yet escaped for HTML. */
void redirect_sms_address(struct buf *out, enum redirect_device device, struct slice receiver,
                          struct slice text);
/* Content-Security-Policy of both pages: what is in them, and nothing else. */
void redirect_page_policy(char out[ANSWER_HEADER_BYTES]);

#endif
