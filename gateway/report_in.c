/* Callbacks taken in: what advertisers tell by themselves, at an address that only they know:
 * /cb/DIALECT/INTEGRATION/TOKEN. What is sent there is read by the integration's dialect. */
#include "common/meaning/job_ops.h"
#include "gateway/intake.h"
#include "gateway/outcome.h"

struct kept {
    const char *answer; /* what the dialect's callbacks are answered with; static */
};

static void fail(struct answer *a, const void *kept, enum result_code code, int http,
                 const char *detail, uint32_t retry_after_s)
{
    (void)kept;
    answer_failure(a, code, http, detail, retry_after_s);
}

/* One answer and one amount of work for every reason. NULL: it is answered. */
static const struct integration *find(struct intake *p, const struct records *records,
                                      const struct router_match *m)
{
    const struct integration *i = records_integration(records, m->names[1]);
    const struct dialect *d = i != NULL ? i->dialect : NULL;
    unsigned wrong = record_key_equal(m->names[2], i != NULL ? i->callback_token : "") ? 0 : 1;
    wrong |= d == NULL || d->report == NULL || !slice_is(m->names[0], d->name) ? 1 : 0;
    if (wrong != 0) {
        intake_fail(p, RESULT_INVALID_REQUEST, 404, "there is nothing at this path");
        return NULL;
    }
    return i;
}

static bool names_a_request(const struct dialect_report *r)
{
    return r->request_id[0] != '\0' || r->advertiser_request_id[0] != '\0' || r->otp[0] != '\0';
}

static void queue(struct intake *p, const struct integration *i, const struct dialect_report *r)
{
    const struct job_report body = {.event = r->event,
                                    .code = r->code,
                                    .request_id = slice_of(r->request_id),
                                    .advertiser_request_id = slice_of(r->advertiser_request_id),
                                    .otp = slice_of(r->otp),
                                    .mobile = slice_of(r->mo.mobile),
                                    .sender = slice_of(r->mo.sender),
                                    .send_time = slice_of(r->mo.send_time),
                                    .deliver_time = slice_of(r->mo.deliver_time)};
    intake_job(p, WIRE_OP_REPORT, slice_of(i->name), slice_of(""));
    job_report_encode(&p->body, &body);
    (void)intake_job_fits(p);
}

static void read_report(struct intake *p, const struct integration *i, const struct params *params)
{
    struct dialect_report report = {.code = RESULT_NONE};
    const char *why = "";
    struct kept *kept = xcalloc(1, sizeof(*kept));
    kept->answer = i->dialect->report_answer != NULL ? i->dialect->report_answer : "";
    p->kept = kept;
    if (!i->dialect->report(i->settings, params, &report, &why)) {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, why);
    } else if (!names_a_request(&report)) {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, "the callback names no request");
    } else {
        queue(p, i, &report);
    }
}

static void take(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in)
{
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    const struct integration *i = find(p, records, m);
    if (i == NULL) {
        return;
    }
    if (params_read(&params, in->query, in->content_type, in->body, error)) {
        read_report(p, i, &params);
    } else {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, error);
    }
    params_free(&params);
}

/* Once somebody has looked at it there is nothing to send again, whatever came of it. */
static bool is_final(const struct outcome *o)
{
    switch (o->code) {
    case RESULT_QUEUE_FULL:
    case RESULT_RATE_LIMITED:
    case RESULT_STORE_UNAVAILABLE:
    case RESULT_DEADLINE_PASSED:
    case RESULT_OUTCOME_UNKNOWN:
    case RESULT_INTEGRATION_PAUSED:
    case RESULT_INTERNAL_ERROR:
    case RESULT_CANCELLED:
        return false;
    default:
        return o->ran;
    }
}

static void tell(struct answer *a, const void *context, const struct otpq_answer *from)
{
    const struct kept *kept = context;
    struct outcome o;
    outcome_read(from, &o);
    if (!is_final(&o)) {
        answer_failure(a, o.code, 503, o.ran ? "" : o.detail, o.retry_after_s);
        return;
    }
    answer_begin(a, 200);
    answer_plain(a, kept->answer[0] == '{' ? "application/json" : "text/plain; charset=utf-8",
                 slice_of(kept->answer));
}

const struct system system_report_in = {
    .name = "report_in", .take = take, .tell = tell, .fail = fail};
