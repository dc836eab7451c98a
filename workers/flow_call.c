/* flow_call.c: the advertiser. What it is asked, what its answer means, and who is asked next. */
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/flow_inside.h"
#include "workers/values.h"

/* ---- falling back ---------------------------------------------------------------------------- */

/* Results that prove that nothing was sent or taken, and that another integration may do better. */
static bool moves_on(enum result_code code)
{
    return code == RESULT_ADVERTISER_UNREACHABLE || code == RESULT_NOT_ELIGIBLE ||
           code == RESULT_ALREADY_SUBSCRIBED || code == RESULT_INTEGRATION_PAUSED;
}

/* Whether the records let a name of the list be called. If not, the time-line says why: who reads
 * the list would look for it there. */
static bool passes_by(struct flow *f, const char *name)
{
    const struct integration *i = records_integration(f->records, slice_of(name));
    char detail[sizeof f->steps[0].detail];
    const char *why = i == NULL   ? result_name(RESULT_INTEGRATION_NOT_FOUND)
                      : i->paused ? result_name(RESULT_INTEGRATION_PAUSED)
                      : !i->dialect->has(i->settings, f->op->call) ? "has no such call"
                                                                   : NULL;
    if (why != NULL) {
        (void)snprintf(detail, sizeof detail, "%s skipped: %s", name, why);
        flow_add_step(f, "fallback", clock_wall_ms(), detail);
    }
    return why != NULL;
}

/* Its place in the list, or the list's end. */
static uint32_t place_of(const struct record_list *list, struct slice name)
{
    uint32_t i = 0;
    while (i < list->count && !slice_is(name, list->at[i])) {
        i++;
    }
    return i;
}

/* The one to try after the one that was called; NULL: that was the last. The list is the asked
 * route's alone. */
static const struct integration *next_of(struct flow *f)
{
    const struct record_list *list = &f->route->fallback;
    uint32_t i = f->called == f->route ? 0 : place_of(list, slice_of(f->called->name)) + 1;
    while (i < list->count && passes_by(f, list->at[i])) {
        i++;
    }
    return i < list->count ? records_integration(f->records, slice_of(list->at[i])) : NULL;
}

/* The broker took the job to another integration's lane before anybody ran it. It may have passed
 * by others for their breakers or for want of room, which is not known here. */
void flow_note_move(struct flow *f)
{
    const struct record_list *list = &f->route->fallback;
    uint32_t end = place_of(list, f->job.via);
    char detail[sizeof f->steps[0].detail];
    if (f->job.moved == RESULT_NONE || f->job.via.n == 0) {
        return;
    }
    for (uint32_t i = 0; end < list->count && i < end; i++) {
        (void)passes_by(f, list->at[i]);
    }
    (void)snprintf(detail, sizeof detail, "%s -> %.*s", result_name(f->job.moved),
                   SLICE_ARG(f->job.via));
    flow_add_step(f, "fallback", clock_wall_ms(), detail);
}

/* True: the job is on its way to the next integration. What an earlier run may have sent stays:
 * that this run was refused says nothing of it, and another advertiser would send a second code. */
static bool fall_back(struct flow *f, enum result_code code)
{
    bool may = f->op->sends && !f->unsure && moves_on(code) && clock_mono_ms() < f->deadline_ms;
    f->next = may ? next_of(f) : NULL;
    if (f->next == NULL) {
        return false;
    }
    f->last = (struct session_step){.step = "fallback"};
    (void)snprintf(f->last.detail, sizeof f->last.detail, "%s -> %s", result_name(code),
                   f->next->name);
    f->claim.step_count = f->step_count;
    flow_release(f, code, 0);
    return true;
}

/* ---- the call -------------------------------------------------------------------------------- */

static void end_unknown(struct flow *f, enum result_code code)
{
    if (f->op->repeatable && f->route->on_unknown == ON_UNKNOWN_RETRY) {
        f->maybe_sent = true;
        flow_repeat_later(f, JOB_END_UNKNOWN, code);
    } else {
        flow_finish(f, JOB_END_UNKNOWN, code);
    }
}

/* The advertiser's words, as far as they came, for whoever looks at the result; without secrets and
 * codes. */
static void keep_answer(struct flow *f, const struct fetch_result *r)
{
    const struct slice codes[] = {slice_of(f->otp), f->body.otp};
    bool whole = r->end == FETCH_ANSWERED;
    (whole ? redact : redact_cut)(secrets_redactor(f->all->secrets), r->body, codes,
                                  ARRAY_LEN(codes), &f->advertiser_body);
}

static void keep_verdict(struct flow *f, const struct dialect_verdict *v)
{
    struct session_facts *facts = &f->claim.facts;
    if (v->advertiser_request_id[0] != '\0') {
        memcpy(f->advertiser_request_id, v->advertiser_request_id, sizeof f->advertiser_request_id);
    }
    if (v->url[0] != '\0') {
        free(f->url);
        f->url = slice_dup(slice_of(v->url));
        facts->url = slice_of(f->url);
    }
    if (v->mo.mobile[0] != '\0') {
        f->mo = v->mo;
        facts->mobile = slice_of(f->mo.mobile);
        facts->sender = slice_of(f->mo.sender);
        facts->send_time = slice_of(f->mo.send_time);
        facts->deliver_time = slice_of(f->mo.deliver_time);
    }
    /* The advertiser counts too: the fewer checks and the longer wait are what is true. */
    bool fewer = f->attempts_left < 0 || v->attempts_left < f->attempts_left;
    if (v->attempts_left >= 0 && fewer) {
        f->attempts_left = v->attempts_left;
    }
    if (v->retry_after_s > f->retry_after_s) {
        f->retry_after_s = v->retry_after_s;
    }
}

/* A link proves who holds the phone that answered it: an SMS from another one is no answer, as it
 * is none when a push tells of it. */
static void doubt_number(struct flow *f, struct dialect_verdict *v)
{
    struct msisdn from;
    const char *why = "";
    if (v->code != RESULT_OTP_VERIFIED || v->mo.mobile[0] == '\0' || f->msisdn.digits[0] == '\0') {
        return;
    }
    if (!msisdn_parse(slice_of(v->mo.mobile), f->called->country_code, &from, &why) ||
        strcmp(from.digits, f->msisdn.digits) != 0) {
        flow_explain(f, "the SMS came from another number");
        v->end = JOB_END_UNKNOWN;
        v->code = RESULT_PENDING;
        v->mo.mobile[0] = '\0';
    }
}

static void judge_answer(struct flow *f, const struct fetch_result *r)
{
    struct dialect_verdict v;
    struct dialect_answer a = {.http = r->http, .body = r->body};
    keep_answer(f, r);
    f->called->dialect->parse(f->called->settings, f->op->call, &a, &v);
    doubt_number(f, &v);
    if (v.code == RESULT_RATE_LIMITED && v.retry_after_s < 0) {
        v.retry_after_s = r->retry_after_s;
    }
    keep_verdict(f, &v);
    if (v.end == JOB_END_REFUSED && fall_back(f, v.code)) {
        return;
    }
    if (v.end == JOB_END_UNKNOWN && v.code == RESULT_OUTCOME_UNKNOWN) {
        end_unknown(f, v.code);
    } else if (v.retry && v.end != JOB_END_UNKNOWN && f->op->repeatable) {
        flow_repeat_later(f, v.end, v.code);
    } else {
        flow_finish(f, v.end, v.code);
    }
}

static void note_call(struct flow *f, const struct fetch_result *r)
{
    char status[32];
    f->advertiser_http = r->http;
    f->advertiser_ms = r->total_us / 1000;
    if (r->reused || r->connect_us > 0) {
        flow_add_step(f, "connect", f->call_wall_ms + r->connect_us / 1000,
                      r->reused ? "kept connection" : "");
    }
    if (r->first_byte_us > 0) {
        flow_add_step(f, "first_byte", f->call_wall_ms + r->first_byte_us / 1000, "");
    }
    (void)snprintf(status, sizeof status, "http %d", r->http);
    bool whole = r->end == FETCH_ANSWERED;
    flow_add_step(f, whole ? "answer" : "no_answer", f->call_wall_ms + r->total_us / 1000,
                  whole ? status : r->detail);
}

static void on_fetched(void *context, const struct fetch_result *r)
{
    struct flow *f = context;
    f->call = NULL;
    note_call(f, r);
    switch (r->end) {
    case FETCH_ANSWERED:
    case FETCH_TOO_LARGE: /* the mapping may be content with the status and the beginning */
        judge_answer(f, r);
        break;
    case FETCH_NOT_SENT:
        if (!fall_back(f, RESULT_ADVERTISER_UNREACHABLE)) {
            flow_repeat_later(f, JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE);
        }
        break;
    case FETCH_FORBIDDEN:
        log_warn("call not allowed", "route", f->called->name, "why", r->detail, NULL);
        if (!fall_back(f, RESULT_ADVERTISER_UNREACHABLE)) {
            flow_finish(f, JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE);
        }
        break;
    case FETCH_UNKNOWN:
        keep_answer(f, r);
        end_unknown(f, RESULT_OUTCOME_UNKNOWN);
        break;
    }
}

static bool build(struct flow *f, struct dialect_request *request)
{
    struct values_room room;
    struct template_values values;
    struct template_error error;
    values_of(f, clock_wall_ms(), &room, &values);
    if (f->called->dialect->build(f->called->settings, f->op->call, &values, false, request,
                                  &error)) {
        return true;
    }
    flow_explain(f, "the advertiser's request: %s", error.text);
    log_warn("request cannot be made", "route", f->called->name, "why", error.text, NULL);
    return false;
}

/* From when on not even the first byte may leave: the deadline is over, or the lease is, and the
 * job another's. */
static int64_t begin_by_ms(const struct flow *f)
{
    int64_t held_ms = f->lease_end_ms - FLOW_WRITE_SPARE_MS;
    return held_ms < f->deadline_ms ? held_ms : f->deadline_ms;
}

static void call(struct flow *f)
{
    struct dialect_request request;
    dialect_request_init(&request);
    bool built = build(f, &request);
    int64_t left_ms = f->deadline_ms - clock_mono_ms();
    if (built && left_ms > 0) {
        flow_set_state(f, FLOW_CALLING);
        f->call_wall_ms = clock_wall_ms();
        const struct fetch_limits limits = {.timeout_ms = (uint32_t)left_ms,
                                            .begin_by_ms = begin_by_ms(f)};
        f->call = fetch_start(f->all->fetch, &request, &limits, on_fetched, f);
    }
    dialect_request_free(&request);
    if (!built) {
        flow_finish(f, JOB_END_REFUSED, RESULT_INVALID_REQUEST);
    } else if (left_ms <= 0) {
        flow_finish(f, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    } else if (f->call == NULL) {
        flow_repeat_later(f, JOB_END_REFUSED, RESULT_INTERNAL_ERROR); /* every place was taken */
    }
}

/* An op that the store alone settles has done all with its claim and reserve. */
static void call_or_end(struct flow *f)
{
    if (f->op->calls(f)) {
        call(f);
    } else {
        flow_finish(f, JOB_END_DONE, RESULT_OTP_SENT);
    }
}

void flow_reserved(struct flow *f, enum result_code code)
{
    must(f->state == FLOW_RESERVING);
    if (code == RESULT_NONE) {
        call_or_end(f);
    } else if (code == RESULT_STORE_UNAVAILABLE) {
        flow_repeat_later(f, JOB_END_REFUSED, code);
    } else {
        flow_finish(f, JOB_END_REFUSED, code);
    }
}

void flow_get_ready(struct flow *f)
{
    if (!f->op->prepare(f)) {
        log_warn("request cannot be made", "route", f->route->name, "why", f->detail, NULL);
        flow_finish(f, JOB_END_REFUSED, RESULT_INVALID_REQUEST);
        return;
    }
    flow_set_state(f, FLOW_RESERVING);
    if (f->op->reserve == NULL || !f->op->reserve(f)) {
        call_or_end(f);
    }
}
