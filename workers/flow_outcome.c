/* flow_outcome.c: how a flow ends. Result, answer, and what the store is told of both. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/flow_inside.h"

/* ---- the two ends ---------------------------------------------------------------------------- */

void flow_answer(struct flow *f, enum job_end end, enum result_code code, struct slice body)
{
    struct wire_result r = {
        .id = f->job.id,
        .end = end,
        .code = code,
        .queued_ms = f->job.queued_ms,
        .run_ms = (uint32_t)(clock_mono_ms() - f->arrived_ms),
        .attempts = f->job.attempt,
        .trace_id = slice_of(f->request_id),
    };
    log_debug("job ended", "request_id", f->request_id, "route",
              f->route != NULL ? f->route->name : "", "msisdn",
              msisdn_mask(slice_of(f->msisdn.digits)).text, "state", job_end_names[end], "code",
              result_name(code), "ms", log_num(r.run_ms), NULL);
    struct buf own;
    buf_init(&own, WIRE_BODY_BYTES_MAX);
    bool told = f->op != NULL && f->op->tell != NULL && f->op->tell(f, body, &own) && buf_ok(&own);
    link_result(f->from, &r, told ? buf_slice(&own) : body);
    buf_free(&own);
    flow_drop(f);
}

static void fill_result(struct flow *f, enum job_end end, enum result_code code)
{
    struct job_result *r = &f->result;
    job_result_init(r);
    r->request_id = slice_of(f->request_id);
    if (end == JOB_END_DONE) {
        r->response = slice_of(result_name(code));
        r->data = f->op->sends ? r->request_id : (struct slice){0};
        r->url = slice_of(f->url);
    } else {
        r->error = slice_of(result_name(code));
        r->detail = slice_of(f->detail);
    }
    r->attempts_left = f->attempts_left;
    r->retry_after_s = f->retry_after_s;
    r->expires_in_s = f->expires_in_s;
    job_result_only_facts(r, code);
    r->advertiser_http = f->advertiser_http;
    r->advertiser_body = buf_slice(&f->advertiser_body);
    r->advertiser_ms = f->advertiser_ms;
    if (f->op != NULL && f->op->fill != NULL) {
        f->op->fill(f, r);
    }
}

/* An answer that the store knows nothing of. */
void flow_answer_unwritten(struct flow *f, enum job_end end, enum result_code code)
{
    struct buf body;
    buf_init(&body, WIRE_BODY_BYTES_MAX);
    fill_result(f, end, code);
    job_result_encode(&body, &f->result);
    flow_answer(f, end, code, buf_slice(&body));
    buf_free(&body);
}

void flow_give_back(struct flow *f, enum result_code code, uint32_t delay_ms, uint32_t attempt_seen)
{
    struct wire_give_back g = {.id = f->job.id,
                               .attempt = f->job.attempt,
                               .code = code,
                               .delay_ms = delay_ms,
                               .attempt_seen = attempt_seen};
    link_back(f->from, &g);
    flow_drop(f);
}

/* The job goes on in another lane, at once. */
void flow_give_on(struct flow *f, enum result_code code, const char *via)
{
    struct wire_give_back g = {.id = f->job.id,
                               .attempt = f->job.attempt,
                               .code = code,
                               .attempt_seen = f->job.attempt,
                               .via = slice_of(via)};
    link_back(f->from, &g);
    flow_drop(f);
}

/* ---- the outcome ----------------------------------------------------------------------------- */

static void on_finished(void *context, const struct finish *done)
{
    struct flow *f = context;
    switch (done->outcome) {
    case FINISH_WRITTEN:
    case FINISH_LOST:
        flow_answer(f, done->end, done->code, done->result_body);
        break;
    case FINISH_ELSEWHERE:
        /* The result is the other owner's to tell. A broker for which the job is still here asks
         * for it with another attempt, and hears that it may have been sent. */
        flow_give_back(f, RESULT_OUTCOME_UNKNOWN, FLOW_BUSY_BACK_MS, f->job.attempt);
        break;
    case FINISH_NO_STORE:
        if (clock_mono_ms() < f->lease_end_ms) {
            flow_sleep_ms(f, FLOW_STORE_RETRY_MS);
        } else {
            flow_answer_unwritten(f, f->end, f->code); /* it did happen, on record or not */
        }
        break;
    }
}

void flow_write_outcome(struct flow *f)
{
    fill_result(f, f->end, f->code);
    f->finish = (struct session_finish){
        .end = f->end,
        .code = f->code,
        .advertiser_request_id = slice_of(f->advertiser_request_id),
        .user_id = f->body.user_id,
        .code_mac = slice_of(f->code_mac),
        .result = &f->result,
        .step_count = f->step_count,
        .steps = f->steps,
    };
    f->op->finish(f, &f->finish, on_finished);
}

void flow_finish(struct flow *f, enum job_end end, enum result_code code)
{
    flow_set_state(f, FLOW_FINISHING);
    f->end = end;
    f->code = code;
    flow_write_outcome(f);
}

static void on_claim_open(void *context, bool written)
{
    struct flow *f = context;
    if (!written && clock_mono_ms() < f->lease_end_ms) {
        flow_sleep_ms(f, FLOW_STORE_RETRY_MS);
        return;
    }
    /* Not written even now: the next attempt finds the claim taken and ends as unknown. Safe. */
    if (f->next != NULL) {
        flow_give_on(f, f->code, f->next->name);
    } else {
        flow_give_back(f, f->code, f->back_ms, f->job.attempt);
    }
}

void flow_open_claim(struct flow *f)
{
    const struct session_doubt doubt = {.code_mac = slice_of(f->code_mac),
                                        .user_id = f->body.user_id};
    int64_t left_ms = f->deadline_ms - clock_mono_ms();
    f->claim.left_ms = left_ms > 0 ? (uint32_t)left_ms : 0;
    session_release(f->all->sessions, &f->claim, f->route, f->maybe_sent ? &doubt : NULL,
                    f->next != NULL ? &f->last : NULL, on_claim_open, f);
}

void flow_release(struct flow *f, enum result_code code, uint32_t back_ms)
{
    flow_set_state(f, FLOW_RELEASING);
    f->code = code;
    f->back_ms = back_ms;
    flow_open_claim(f);
}

/* Back to the queue for another attempt, if there is time for one. */
void flow_repeat_later(struct flow *f, enum job_end else_end, enum result_code code)
{
    uint32_t back_ms = FLOW_UNREACHABLE_BACK_MS * f->job.attempt;
    if (back_ms > FLOW_UNREACHABLE_BACK_MS_MAX) {
        back_ms = FLOW_UNREACHABLE_BACK_MS_MAX;
    }
    if (clock_mono_ms() + back_ms >= f->deadline_ms) {
        flow_finish(f, else_end, code);
    } else {
        flow_release(f, code, back_ms);
    }
}
