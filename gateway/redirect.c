/*
 * The link of FOTP (system 4): what a user opens. A look at the request, as a page; nothing is
 * changed by it, so previews of the link in messengers do no harm.
 */
#include <stdio.h>

#include "common/meaning/flash_index.h"
#include "common/meaning/job_ops.h"
#include "gateway/flash_answer.h"
#include "gateway/intake.h"
#include "gateway/outcome.h"
#include "gateway/redirect_page.h"

enum { ACCEPT_BYTES_MAX = 256 };

struct kept {
    struct records *records; /* for the template's languages; a reference */
    enum redirect_device device;
    char accept[ACCEPT_BYTES_MAX]; /* Accept-Language, cut */
    char link[];                   /* address of this page */
};

static void keep(struct intake *p, const struct records *records, const struct intake_input *in,
                 struct slice token)
{
    struct buf link;
    buf_init(&link, 2048);
    buf_printf(&link, "%s/flash/opt/redirect/%.*s", in->public_url, SLICE_ARG(token));
    struct kept *k = xcalloc(1, sizeof(*k) + link.n + 1);
    k->records = records_ref((struct records *)(uintptr_t)records); /* counted, not changed */
    k->device = redirect_device_of(in->caller.user_agent);
    (void)snprintf(k->accept, sizeof(k->accept), "%.*s", SLICE_ARG(in->caller.accept_language));
    memcpy(k->link, buf_text(&link), link.n + 1);
    buf_free(&link);
    p->kept = k;
}

static void drop(void *kept)
{
    struct kept *k = kept;
    if (k != NULL) {
        records_unref(&k->records);
        free(k);
    }
}

static enum language language_of(const struct kept *k, struct slice ft_id)
{
    if (k == NULL) {
        return LANGUAGE_EN;
    }
    const struct flash_template *t = records_flash_template(k->records, ft_id);
    return language_pick(slice_of(k->accept), t != NULL ? &t->languages : NULL, LANGUAGE_EN);
}

static void begin(struct answer *a, int http, enum language language)
{
    char policy[ANSWER_HEADER_BYTES];
    redirect_page_policy(policy);
    answer_begin(a, http);
    answer_header(a, "Content-Security-Policy", policy);
    answer_header(a, "Referrer-Policy", "no-referrer");
    answer_header(a, "X-Content-Type-Options", "nosniff");
    answer_header(a, "Content-Language", language_rows[language].tag);
    answer_header(a, "Vary", "Accept-Language, User-Agent");
    a->type = "text/html; charset=utf-8";
}

static void put_notice(struct answer *a, const struct kept *k, struct slice ft_id,
                       enum redirect_notice notice, int http)
{
    enum language language = language_of(k, ft_id);
    begin(a, http, language);
    redirect_notice_write(&a->body, language, notice);
}

static void take(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in)
{
    struct slice token = m->names[0];
    const char *lane = flash_index_lane(records->flash, NULL);
    keep(p, records, in, token);
    if (!flash_token_ok(token) || lane == NULL) {
        intake_fail(p, RESULT_REQUEST_NOT_FOUND, 0, "");
        return;
    }
    const struct job_flash_query job = {.ft_token = token};
    intake_job(p, WIRE_OP_FLASH_QUERY, slice_of(lane), slice_of(""));
    job_flash_query_encode(&p->body, &job);
    (void)intake_job_fits(p);
}

static void put_page(struct answer *a, const struct kept *k, const struct job_result *r)
{
    struct redirect_page page = {.language = language_of(k, r->flash.ft_id),
                                 .device = k->device,
                                 .receiver = r->flash.receiver,
                                 .text = r->flash.text,
                                 .link = slice_of(k->link),
                                 .valid_s = r->expires_in_s};
    begin(a, 200, page.language);
    redirect_page_write(&a->body, &page);
}

static void tell(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    const struct kept *k = kept;
    struct outcome o;
    outcome_read(from, &o);
    const struct job_flash *f = &o.result.flash;
    bool expired = o.code == RESULT_OTP_EXPIRED || slice_is(f->status, "1");
    if (!o.ran) {
        put_notice(a, k, f->ft_id, NOTICE_LATER, 503);
        a->retry_after_s = answer_retry_after(503, o.retry_after_s);
    } else if (expired) {
        put_notice(a, k, f->ft_id, NOTICE_EXPIRED, 410);
    } else if (o.code == RESULT_ALREADY_VERIFIED || slice_is(f->status, "2")) {
        put_notice(a, k, f->ft_id, NOTICE_DONE, 410);
    } else if (slice_is(f->status, "0") && f->receiver.n > 0) {
        put_page(a, k, &o.result);
    } else if (o.code == RESULT_REQUEST_NOT_FOUND || f->status.n > 0) {
        put_notice(a, k, f->ft_id, NOTICE_UNKNOWN, 404);
    } else {
        put_notice(a, k, f->ft_id, NOTICE_LATER, 503);
        a->retry_after_s = answer_retry_after(503, 0);
    }
}

static void fail(struct answer *a, const void *kept, enum result_code code, int http,
                 const char *detail, uint32_t retry_after_s)
{
    bool unknown = code == RESULT_REQUEST_NOT_FOUND || code == RESULT_INVALID_REQUEST;
    (void)detail; /* the page's words are for users */
    put_notice(a, kept, SLICE(""), unknown ? NOTICE_UNKNOWN : NOTICE_LATER,
               http != 0 ? http
               : unknown ? 404
                         : 503);
    a->retry_after_s = answer_retry_after(a->http, retry_after_s);
}

const struct system system_flash_page = {
    .name = "flash.page", .take = take, .tell = tell, .fail = fail, .drop = drop};
