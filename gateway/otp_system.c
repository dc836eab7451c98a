#include "gateway/otp_system.h"

#include "gateway/outcome.h"

void otp_fail(struct answer *a, const void *kept, enum result_code code, int http,
              const char *detail, uint32_t retry_after_s)
{
    (void)kept;
    answer_failure(a, code, http, detail, retry_after_s);
}

static void make_job(struct intake *p, const struct records *records, const struct binding *binding,
                     bool verify, const struct params *params, const struct otp_caller *caller)
{
    struct otp_request r;
    struct otp_refusal why;
    if (!otp_request_make(&r, records, binding, verify, params, caller, &why)) {
        intake_fail(p, why.code, 0, why.detail);
        return;
    }
    intake_job(p, verify ? WIRE_OP_VERIFY : WIRE_OP_SEND, slice_of(r.route), slice_of(r.tenant));
    job_body_encode(&p->body, &r.body, verify);
    (void)intake_job_fits(p);
}

void otp_take(struct intake *p, const struct records *records, const struct binding *binding,
              bool verify, const struct intake_input *in)
{
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    if (params_read(&params, in->query, in->content_type, in->body, error)) {
        make_job(p, records, binding, verify, &params, &in->caller);
    } else {
        intake_fail(p, RESULT_INVALID_REQUEST, 0, error);
    }
    params_free(&params);
}

void otp_tell(struct answer *a, enum answer_shape shape, const struct otpq_answer *from)
{
    struct outcome o;
    outcome_read(from, &o);
    if (o.ran) {
        answer_result(a, shape, o.code, "", &o.result);
    } else {
        answer_failure(a, o.code, 0, o.detail, o.retry_after_s);
    }
}
