#include "workers/inform.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/meaning/code.h"
#include "common/meaning/msisdn.h"
#include "workers/flow_inside.h"

struct inform {
    struct list link; /* in informs.running */
    struct informs *all;
    struct link *from; /* where the answer goes */
    char *bytes;       /* owned copy of everything that job and body borrow from */
    struct wire_job job;
    struct slice body;
    struct records *records; /* referenced */
    int64_t arrived_ms;      /* mono */
    struct job_report report;
    struct job_flash_query query;
};

/* ---- life ------------------------------------------------------------------------------------ */

static struct inform *inform_new(struct informs *all, struct link *from, const struct wire_job *job,
                                 struct slice body)
{
    struct inform *i = xcalloc(1, sizeof *i);
    i->all = all;
    i->from = from;
    i->arrived_ms = clock_mono_ms();
    i->bytes = xmalloc(job->id.n + job->route.n + body.n);
    memcpy(i->bytes, job->id.p, job->id.n);
    memcpy(i->bytes + job->id.n, job->route.p, job->route.n);
    if (body.n > 0) {
        memcpy(i->bytes + job->id.n + job->route.n, body.p, body.n);
    }
    i->job = *job;
    i->job.id = slice_make(i->bytes, job->id.n);
    i->job.route = slice_make(i->bytes + job->id.n, job->route.n);
    i->job.tenant = i->job.trace = i->job.via = (struct slice){0};
    i->body = slice_make(i->bytes + job->id.n + job->route.n, body.n);
    i->records = records_ref(records_watch_now(all->watch));
    list_init(&i->link);
    list_push(&all->running, &i->link);
    all->count++;
    return i;
}

static void inform_free(struct inform *i)
{
    struct informs *all = i->all;
    list_remove(&i->link);
    records_unref(&i->records);
    explicit_bzero(i->bytes, i->job.id.n + i->job.route.n + i->body.n); /* an MO's code */
    free(i->bytes);
    free(i);
    all->count--;
    if (all->draining && all->count == 0) {
        all->on_idle(all->context);
    }
}

static void answer(struct inform *i, enum job_end end, enum result_code code, struct job_result *r)
{
    struct buf body;
    struct wire_result result = {
        .id = i->job.id,
        .end = end,
        .code = code,
        .queued_ms = i->job.queued_ms,
        .run_ms = (uint32_t)(clock_mono_ms() - i->arrived_ms),
        .attempts = i->job.attempt,
    };
    if (end == JOB_END_DONE) {
        r->response = slice_of(result_name(code));
    } else {
        r->error = slice_of(result_name(code));
    }
    job_result_only_facts(r, code);
    buf_init(&body, WIRE_BODY_BYTES_MAX);
    job_result_encode(&body, r);
    log_debug("job ended", "op", wire_ops[i->job.op].name, "state", job_end_names[end], "code",
              result_name(code), "ms", log_num(result.run_ms), NULL);
    link_result(i->from, &result, buf_slice(&body));
    if (body.p != NULL) {
        explicit_bzero(body.p, body.n);
    }
    buf_free(&body);
    inform_free(i);
}

static void refuse(struct inform *i, enum result_code code, const char *detail)
{
    struct job_result r;
    job_result_init(&r);
    r.detail = slice_of(detail);
    answer(i, JOB_END_REFUSED, code, &r);
}

static void give_back(struct inform *i, enum result_code code, uint32_t delay_ms)
{
    struct wire_give_back g = {.id = i->job.id,
                               .attempt = i->job.attempt,
                               .code = code,
                               .delay_ms = delay_ms,
                               .attempt_seen = i->job.attempt};
    link_back(i->from, &g);
    inform_free(i);
}

/* ---- report ---------------------------------------------------------------------------------- */

static void log_unmatched(const struct inform *i)
{
    char route[WIRE_ROUTE_BYTES_MAX + 1];
    (void)snprintf(route, sizeof route, "%.*s", SLICE_ARG(i->job.route));
    log_info("report about no request of its lane", "route", route, NULL);
}

static void on_reported(void *context, const struct flash_reported *reported)
{
    struct inform *i = context;
    struct job_result r;
    job_result_init(&r);
    r.request_id = slice_of(reported->request_id);
    switch (reported->outcome) {
    case FLASH_REPORT_APPLIED:
    case FLASH_REPORT_IGNORED:
    case FLASH_REPORT_KEPT:
        answer(i, JOB_END_DONE, RESULT_DELIVERED, &r);
        break;
    case FLASH_REPORT_UNKNOWN:
        log_unmatched(i);
        refuse(i, RESULT_REQUEST_NOT_FOUND, "");
        break;
    case FLASH_REPORT_NO_STORE:
        give_back(i, RESULT_STORE_UNAVAILABLE, FLOW_STORE_BACK_MS);
        break;
    }
}

/* Digits as the sessions have them, in `room`. What is no number stays out: an MO needs one. */
static bool number_of(struct slice *number, const char *country_code, struct msisdn *room)
{
    const char *why = "";
    if (number->n == 0) {
        return true;
    }
    bool ok = msisdn_parse(*number, country_code, room, &why);
    *number = ok ? slice_of(room->digits) : (struct slice){0};
    return ok;
}

static bool has_prefix(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n > n && memcmp(s.p, prefix, n) == 0;
}

/* Whose template it is, "flash:2"; NULL: it is another lane, or there is none. */
static const struct flash_template *template_of(const struct inform *i, struct slice lane)
{
    size_t n = strlen(FLASH_LANE);
    return has_prefix(lane, FLASH_LANE)
               ? records_flash_template(i->records, slice_make(lane.p + n, lane.n - n))
               : NULL;
}

/* As the flow does with a send: records may be on their way here. */
static void lane_missing(struct inform *i)
{
    if (i->job.attempt < FLOW_ROUTE_ATTEMPTS) {
        give_back(i, RESULT_INTEGRATION_NOT_FOUND, FLOW_ROUTE_BACK_MS);
    } else {
        refuse(i, RESULT_INTEGRATION_NOT_FOUND,
               "there is no integration and no flash template of this name");
    }
}

static void report_begin(struct inform *i)
{
    const char *why = "";
    char party[sizeof ACCOUNT_LANE + RECORD_NAME_BYTES_MAX] = "";
    struct msisdn mobile;
    if (!job_report_decode(i->body, &i->report, &why)) {
        refuse(i, RESULT_INVALID_REQUEST, why);
        return;
    }
    const struct flash_template *t = template_of(i, i->job.route);
    const struct integration *route = records_integration(i->records, i->job.route);
    if (t == NULL && route == NULL) {
        lane_missing(i);
        return;
    }
    struct job_report *r = &i->report;
    if (!number_of(&r->mobile, route != NULL ? route->country_code : "", &mobile) &&
        r->event == DIALECT_MO) {
        refuse(i, RESULT_INVALID_MSISDN, "mobile: an SMS comes from a phone number");
        return;
    }
    if (t != NULL) {
        (void)snprintf(party, sizeof party, ACCOUNT_LANE "%s", t->account);
    }
    const struct flash_report what = {
        .job_id = i->job.id,
        .lane = i->job.route,
        .valid_s = t != NULL ? t->valid_min * 60 : route->code_valid_s,
        .report = *r,
        .party = slice_of(party),
    };
    flash_report(i->all->flash, &what, on_reported, i);
}

/* ---- flash.query ----------------------------------------------------------------------------- */

/* The template's content with the code in every place for it; an advertiser's code, which only the
 * user knows, is left out. */
static void put_text(struct buf *out, struct slice content, const char *code)
{
    static const struct slice mark = {"{code}", 6};
    for (size_t at = 0; at < content.n;) {
        if (content.n - at >= mark.n && memcmp(content.p + at, mark.p, mark.n) == 0) {
            buf_puts(out, code);
            at += mark.n;
        } else {
            buf_putc(out, content.p[at++]);
        }
    }
}

/* False: it cannot be read under this pepper. */
static bool open_code(const struct inform *i, const struct flash_look *look,
                      char code[CODE_DIGITS_MAX + 1])
{
    code[0] = '\0';
    if (look->sealed.n == 0 || code_open(i->all->pepper, i->query.ft_token, look->sealed, code)) {
        return true;
    }
    log_error("a code cannot be opened: was the pepper changed?", NULL);
    return false;
}

static bool is_over(const struct flash_look *look)
{
    return look->left_ms == 0 || slice_is(look->state, "failed");
}

static enum result_code state_of(const struct flash_look *look)
{
    return slice_is(look->state, "verified") ? RESULT_OTP_VERIFIED
           : is_over(look)                   ? RESULT_OTP_EXPIRED
                                             : RESULT_PENDING;
}

static const char *status_of(enum result_code state)
{
    return state == RESULT_OTP_VERIFIED ? "2" : state == RESULT_OTP_EXPIRED ? "1" : "0";
}

static void result_of_look(const struct inform *i, const struct flash_look *look,
                           struct job_result *r)
{
    job_result_init(r);
    r->request_id = i->query.ft_token;
    r->data = i->query.ft_token;
    r->expires_in_s = (look->left_ms + 999) / 1000;
    r->flash.status = slice_of(status_of(state_of(look)));
    r->flash.ft_id = look->ft_id;
}

/* The account that made it asks. */
static void tell_state(struct inform *i, const struct flash_look *look)
{
    struct job_result r;
    char code[CODE_DIGITS_MAX + 1];
    (void)open_code(i, look, code);
    result_of_look(i, look, &r);
    r.flash.code = slice_of(code);
    r.flash.mobile = look->mobile;
    r.flash.sender = look->sender;
    r.flash.send_time = look->send_time;
    r.flash.deliver_time = look->deliver_time;
    answer(i, JOB_END_DONE, state_of(look), &r);
}

/* The page that opens the SMS asks: anybody who has the link. Nothing of the user. */
static void tell_link(struct inform *i, const struct flash_look *look)
{
    struct job_result r;
    struct buf text;
    char code[CODE_DIGITS_MAX + 1];
    const struct flash_template *t = records_flash_template(i->records, look->ft_id);
    enum result_code state = state_of(look);
    if (t == NULL || t->receivers.count == 0) {
        refuse(i, RESULT_REQUEST_NOT_FOUND, "its flash template is no more");
        return;
    }
    result_of_look(i, look, &r);
    if (state != RESULT_PENDING) {
        r.data = (struct slice){0};
        answer(i, JOB_END_REFUSED, state == RESULT_OTP_VERIFIED ? RESULT_ALREADY_VERIFIED : state,
               &r);
        return;
    }
    if (!open_code(i, look, code)) {
        refuse(i, RESULT_INTERNAL_ERROR, "its code cannot be read");
        return;
    }
    buf_init(&text, FLOW_TEXT_BYTES_MAX);
    put_text(&text, slice_of(t->content), code);
    r.url = look->url;
    r.flash.receiver = slice_of(t->receivers.at[0]);
    r.flash.text = buf_slice(&text);
    answer(i, JOB_END_DONE, RESULT_OTP_SENT, &r);
    explicit_bzero(text.p, text.n);
    buf_free(&text);
    explicit_bzero(code, sizeof code);
}

static bool is_of_account(const struct flash_look *look, struct slice account)
{
    const size_t n = strlen(ACCOUNT_LANE);
    return has_prefix(look->party, ACCOUNT_LANE) &&
           slice_eq(slice_make(look->party.p + n, look->party.n - n), account);
}

static void on_look(void *context, const struct flash_look *look)
{
    struct inform *i = context;
    bool by_account = i->query.account.n > 0;
    if (!look->answered) {
        give_back(i, RESULT_STORE_UNAVAILABLE, FLOW_STORE_BACK_MS);
    } else if (!look->found || look->ft_id.n == 0 ||
               (by_account && !is_of_account(look, i->query.account))) {
        refuse(i, RESULT_REQUEST_NOT_FOUND, "");
    } else if (by_account) {
        tell_state(i, look);
    } else {
        tell_link(i, look);
    }
}

static void on_nonce(void *context, enum flash_nonce_outcome outcome)
{
    struct inform *i = context;
    switch (outcome) {
    case FLASH_NONCE_FRESH:
        flash_look(i->all->flash, i->query.ft_token, on_look, i);
        break;
    case FLASH_NONCE_SEEN:
        refuse(i, RESULT_INVALID_USER_CREDENTIALS, "the nonce was used before");
        break;
    case FLASH_NONCE_NO_STORE:
        give_back(i, RESULT_STORE_UNAVAILABLE, FLOW_STORE_BACK_MS);
        break;
    }
}

static void query_begin(struct inform *i)
{
    const char *why = "";
    if (!job_flash_query_decode(i->body, &i->query, &why)) {
        refuse(i, RESULT_INVALID_REQUEST, why);
    } else if (i->query.account.n > 0 && i->query.nonce.n > 0) {
        flash_nonce(i->all->flash, i->query.account, i->query.nonce, i->job.id, on_nonce, i);
    } else {
        flash_look(i->all->flash, i->query.ft_token, on_look, i);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

void informs_init(struct informs *all)
{
    list_init(&all->running);
    all->count = 0;
    all->draining = false;
}

void inform_begin(struct informs *all, struct link *from, const struct wire_job *job,
                  struct slice body)
{
    must(job->op == WIRE_OP_REPORT || job->op == WIRE_OP_FLASH_QUERY);
    struct inform *i = inform_new(all, from, job, body);
    if (all->draining || all->count > all->max) {
        give_back(i, RESULT_NONE, FLOW_BUSY_BACK_MS);
    } else if (job->op == WIRE_OP_REPORT) {
        report_begin(i);
    } else {
        query_begin(i);
    }
}

void informs_drain(struct informs *all)
{
    all->draining = true;
    if (all->count == 0) {
        all->on_idle(all->context);
    }
}

void informs_abandon(struct informs *all)
{
    all->draining = false; /* nobody waits for the last one */
    list_each(node, &all->running)
    {
        inform_free(list_owner(node, struct inform, link));
    }
}
