#include "gateway/intake.h"

#include <stdio.h>

#include "common/meaning/wire.h"

static void fail(struct intake *p, enum result_code code, int http, const char *detail)
{
    p->kind = INTAKE_ANSWER;
    answer_failure(&p->answer, code, http, detail, 0);
}

static void intake_job(struct intake *p, const struct records *records,
                       const struct binding *binding, const struct params *params,
                       const struct otp_caller *caller)
{
    struct otp_request r;
    struct otp_refusal why;
    if (!otp_request_make(&r, records, binding, p->verify, params, caller, &why)) {
        fail(p, why.code, 0, why.detail);
        return;
    }
    buf_init(&p->body, WIRE_BODY_BYTES_MAX);
    job_body_encode(&p->body, &r.body, p->verify);
    if (!buf_ok(&p->body)) {
        buf_free(&p->body);
        fail(p, RESULT_INVALID_REQUEST, 0, "the parameters are too large together");
        return;
    }
    p->kind = INTAKE_JOB;
    p->route = r.route;
    memcpy(p->tenant, r.tenant, sizeof(p->tenant));
}

static void intake_found(struct intake *p, const struct records *records,
                         const struct router_match *m, const struct intake_input *in)
{
    struct binding binding;
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    p->system = m->row->system;
    p->verify = m->row->op == ROUTE_VERIFY;
    if (!p->system->bind(records, m->name, &binding)) {
        fail(p, RESULT_INVALID_REQUEST, 404, "there is no endpoint of this name");
        return;
    }
    if (params_read(&params, in->query, in->content_type, in->body, error)) {
        intake_job(p, records, &binding, &params, &in->caller);
    } else {
        fail(p, RESULT_INVALID_REQUEST, 0, error);
    }
    params_free(&params);
}

void intake_make(struct intake *p, const struct records *records, const struct intake_input *in)
{
    memset(p, 0, sizeof(*p));
    struct router_match m = router_find(in->method, in->path);
    switch (m.outcome) {
    case ROUTE_UNKNOWN:
        fail(p, RESULT_INVALID_REQUEST, 404, "there is nothing at this path");
        break;
    case ROUTE_WRONG_METHOD:
        p->allow = m.row->methods;
        fail(p, RESULT_INVALID_REQUEST, 405, "this path takes other methods, see Allow");
        break;
    case ROUTE_FOUND:
        if (m.row->op == ROUTE_HEALTH) {
            p->kind = INTAKE_HEALTH;
        } else {
            intake_found(p, records, &m, in);
        }
        break;
    }
}

void intake_free(struct intake *p)
{
    buf_free(&p->body);
    answer_free(&p->answer);
}

/* The broker's own words for a refusal are mostly of the vocabulary. Three others mean that this
 * program sent something wrong; the rest, of a later broker too, that nothing was taken now. */
static enum result_code code_not_taken(struct slice word)
{
    static const char *const mistakes[] = {WIRE_ERROR_MALFORMED, WIRE_ERROR_INVALID,
                                           "not_supported"};
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        if (slice_is(word, mistakes[i])) {
            return RESULT_INTERNAL_ERROR;
        }
    }
    enum result_code code = result_of(word);
    return code == RESULT_NONE ? RESULT_QUEUE_FULL : code;
}

static void outcome_not_taken(struct answer *a, const struct otpq_answer *from)
{
    enum result_code code = code_not_taken(slice_of(from->code));
    uint32_t retry_after_s = (from->retry_after_ms + 999) / 1000;
    answer_failure(a, code, 0, code == RESULT_INTERNAL_ERROR ? "" : from->detail, retry_after_s);
}

static void outcome_result(struct answer *a, enum answer_shape shape,
                           const struct otpq_answer *from)
{
    struct job_result r;
    const char *error;
    enum result_code code = result_of(slice_of(from->code));
    if (!job_result_decode(slice_make(from->body, from->body_bytes), &r, &error)) {
        job_result_init(&r);
        code = RESULT_INTERNAL_ERROR;
    }
    answer_result(a, shape, code, "", &r);
}

void intake_outcome(struct answer *a, const struct system *system, const struct otpq_answer *from)
{
    switch (from->outcome) {
    case OTPQ_RESULT:
        outcome_result(a, system->shape, from);
        break;
    case OTPQ_NOT_TAKEN:
        outcome_not_taken(a, from);
        break;
    case OTPQ_TIMED_OUT:
        answer_failure(a, RESULT_OUTCOME_UNKNOWN, 0, "no broker told the result in time", 0);
        break;
    }
}
