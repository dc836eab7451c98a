#include "workers/flow.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/flow_inside.h"
#include "workers/values.h"

/* What this worker can do; the others are refused. */
static const struct flow_op *const ops[WIRE_OPS] = {
    [WIRE_OP_SEND] = &flow_send,
    [WIRE_OP_VERIFY] = &flow_verify,
    [WIRE_OP_FLASH_CREATE] = &flow_flash,
};

static void on_timer(evutil_socket_t fd, short events, void *context);
static void ask(struct flow *f);
static void write_outcome(struct flow *f);
static void open_claim(struct flow *f);

/* ---- life of a flow -------------------------------------------------------------------------- */

static struct slice keep(char **at, struct slice s)
{
    char *begin = *at;
    if (s.n > 0) {
        memcpy(begin, s.p, s.n);
    }
    *at += s.n;
    return slice_make(begin, s.n);
}

/* Copies what the job borrows from the message; gives the copy of the body. */
static struct slice keep_job(struct flow *f, const struct wire_job *job, struct slice body)
{
    f->bytes = xmalloc(job->id.n + job->route.n + 1 + job->via.n + body.n);
    char *at = f->bytes;
    f->job = *job;
    f->job.id = keep(&at, job->id);
    f->job.route = keep(&at, job->route);
    *at++ = '\0'; /* for what takes it for a name */
    f->job.via = keep(&at, job->via);
    f->job.tenant = f->job.trace = (struct slice){0};
    return keep(&at, body);
}

static void add_step(struct flow *f, const char *step, int64_t at_ms, const char *detail)
{
    if (f->step_count < FLOW_STEPS_MAX) {
        struct session_step *s = &f->steps[f->step_count++];
        s->step = step;
        s->at_ms = at_ms;
        (void)snprintf(s->detail, sizeof s->detail, "%s", detail);
    }
}

void flow_explain(struct flow *f, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f->detail, sizeof f->detail, fmt, args);
    va_end(args);
}

static struct flow *flow_new(struct flows *all, struct link *from, const struct wire_job *job,
                             struct slice body, struct slice *kept)
{
    struct flow *f = xcalloc(1, sizeof *f);
    int64_t wall_ms = clock_wall_ms();
    char trace[sizeof f->steps[0].detail] = "";
    if (wire_trace_ok(job->trace)) {
        (void)snprintf(trace, sizeof trace, "trace %.*s", SLICE_ARG(job->trace));
    }
    f->all = all;
    f->from = from;
    f->arrived_ms = clock_mono_ms();
    f->deadline_ms = f->arrived_ms + job->ttl_ms;
    f->attempts_left = f->retry_after_s = f->expires_in_s = -1;
    f->advertiser_http = -1;
    buf_init(&f->advertiser_body, JOB_ADVERTISER_BODY_BYTES_MAX);
    buf_init(&f->ctx, FLOW_CTX_BYTES_MAX);
    *kept = keep_job(f, job, body);
    f->records = records_ref(records_watch_now(all->watch));
    must(evtimer_assign(&f->timer, all->base, on_timer, f) == 0);
    add_step(f, "accepted", wall_ms - job->queued_ms, trace);
    list_init(&f->turn);
    list_init(&f->link);
    list_push(&all->running, &f->link);
    all->count++;
    return f;
}

static void flow_free(struct flow *f)
{
    struct flows *all = f->all;
    (void)event_del(&f->timer);
    list_remove(&f->turn);
    list_remove(&f->link);
    records_unref(&f->records);
    buf_free(&f->advertiser_body);
    buf_free(&f->ctx);
    free(f->url);
    explicit_bzero(f->otp, sizeof f->otp);
    if (f->text != NULL) {
        explicit_bzero(f->text, strlen(f->text));
        free(f->text);
    }
    free(f->bytes);
    free(f);
    all->count--;
    if (all->draining && all->count == 0) {
        all->on_idle(all->context);
    }
}

/* ---- the two ends ---------------------------------------------------------------------------- */

static void answer(struct flow *f, enum job_end end, enum result_code code, struct slice body)
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
    flow_free(f);
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
static void answer_unwritten(struct flow *f, enum job_end end, enum result_code code)
{
    struct buf body;
    buf_init(&body, WIRE_BODY_BYTES_MAX);
    fill_result(f, end, code);
    job_result_encode(&body, &f->result);
    answer(f, end, code, buf_slice(&body));
    buf_free(&body);
}

static void give_back(struct flow *f, enum result_code code, uint32_t delay_ms,
                      uint32_t attempt_seen)
{
    struct wire_give_back g = {.id = f->job.id,
                               .attempt = f->job.attempt,
                               .code = code,
                               .delay_ms = delay_ms,
                               .attempt_seen = attempt_seen};
    link_back(f->from, &g);
    flow_free(f);
}

/* The job goes on in another lane, at once. */
static void give_on(struct flow *f, enum result_code code, const char *via)
{
    struct wire_give_back g = {.id = f->job.id,
                               .attempt = f->job.attempt,
                               .code = code,
                               .attempt_seen = f->job.attempt,
                               .via = slice_of(via)};
    link_back(f->from, &g);
    flow_free(f);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void sleep_ms(struct flow *f, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    must(event_add(&f->timer, &tv) == 0);
}

/* Asks again later. Unless another owner is at it, the deadline ends the wait: nothing was sent. */
static void wait_and_ask(struct flow *f, uint32_t ms, bool elsewhere)
{
    int64_t left_ms = f->deadline_ms - clock_mono_ms();
    if (f->all->draining) {
        give_back(f, RESULT_NONE, FLOW_BUSY_BACK_MS, f->job.attempt);
        return;
    }
    if (!elsewhere && left_ms <= 0) {
        answer_unwritten(f, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
        return;
    }
    int64_t wait_ms = ms < FLOW_WAIT_MS_MIN   ? FLOW_WAIT_MS_MIN
                      : ms > FLOW_WAIT_MS_MAX ? FLOW_WAIT_MS_MAX
                                              : ms;
    f->state = FLOW_WAITING;
    f->elsewhere = elsewhere;
    sleep_ms(f, !elsewhere && left_ms < wait_ms ? left_ms : wait_ms);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    struct flow *f = context;
    switch (f->state) {
    case FLOW_WAITING:
        ask(f);
        break;
    case FLOW_FINISHING:
        write_outcome(f);
        break;
    case FLOW_RELEASING:
        open_claim(f);
        break;
    case FLOW_READY:
    case FLOW_CLAIMING:
    case FLOW_RESERVING:
    case FLOW_CALLING:
        must(false); /* these end by their own callbacks */
    }
}

/* ---- the outcome ----------------------------------------------------------------------------- */

static void on_finished(void *context, const struct finish *done)
{
    struct flow *f = context;
    switch (done->outcome) {
    case FINISH_WRITTEN:
    case FINISH_LOST:
        answer(f, done->end, done->code, done->result_body);
        break;
    case FINISH_ELSEWHERE:
        /* The result is the other owner's to tell. A broker for which the job is still here asks
         * for it with another attempt, and hears that it may have been sent. */
        give_back(f, RESULT_OUTCOME_UNKNOWN, FLOW_BUSY_BACK_MS, f->job.attempt);
        break;
    case FINISH_NO_STORE:
        if (clock_mono_ms() < f->lease_end_ms) {
            sleep_ms(f, FLOW_STORE_RETRY_MS);
        } else {
            answer_unwritten(f, f->end, f->code); /* it did happen, on record or not */
        }
        break;
    }
}

static void write_outcome(struct flow *f)
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

static void finish(struct flow *f, enum job_end end, enum result_code code)
{
    f->state = FLOW_FINISHING;
    f->end = end;
    f->code = code;
    write_outcome(f);
}

static void on_claim_open(void *context, bool written)
{
    struct flow *f = context;
    if (!written && clock_mono_ms() < f->lease_end_ms) {
        sleep_ms(f, FLOW_STORE_RETRY_MS);
        return;
    }
    /* Not written even now: the next attempt finds the claim taken and ends as unknown. Safe. */
    if (f->next != NULL) {
        give_on(f, f->code, f->next->name);
    } else {
        give_back(f, f->code, f->back_ms, f->job.attempt);
    }
}

static void open_claim(struct flow *f)
{
    const struct session_doubt doubt = {.code_mac = slice_of(f->code_mac),
                                        .user_id = f->body.user_id};
    session_release(f->all->sessions, &f->claim, f->route, f->maybe_sent ? &doubt : NULL,
                    f->next != NULL ? &f->last : NULL, on_claim_open, f);
}

static void release_claim(struct flow *f, enum result_code code, uint32_t back_ms)
{
    f->state = FLOW_RELEASING;
    f->code = code;
    f->back_ms = back_ms;
    open_claim(f);
}

/* Back to the queue for another attempt, if there is time for one. */
static void repeat_later(struct flow *f, enum job_end else_end, enum result_code code)
{
    uint32_t back_ms = FLOW_UNREACHABLE_BACK_MS * f->job.attempt;
    if (back_ms > FLOW_UNREACHABLE_BACK_MS_MAX) {
        back_ms = FLOW_UNREACHABLE_BACK_MS_MAX;
    }
    if (clock_mono_ms() + back_ms >= f->deadline_ms) {
        finish(f, else_end, code);
    } else {
        release_claim(f, code, back_ms);
    }
}

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
        add_step(f, "fallback", clock_wall_ms(), detail);
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
static void note_move(struct flow *f)
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
    add_step(f, "fallback", clock_wall_ms(), detail);
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
    release_claim(f, code, 0);
    return true;
}

/* ---- the call -------------------------------------------------------------------------------- */

static void end_unknown(struct flow *f, enum result_code code)
{
    if (f->op->repeatable && f->route->on_unknown == ON_UNKNOWN_RETRY) {
        f->maybe_sent = true;
        repeat_later(f, JOB_END_UNKNOWN, code);
    } else {
        finish(f, JOB_END_UNKNOWN, code);
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
        repeat_later(f, v.end, v.code);
    } else {
        finish(f, v.end, v.code);
    }
}

static void note_call(struct flow *f, const struct fetch_result *r)
{
    char status[32];
    f->advertiser_http = r->http;
    f->advertiser_ms = r->total_us / 1000;
    if (r->reused || r->connect_us > 0) {
        add_step(f, "connect", f->call_wall_ms + r->connect_us / 1000,
                 r->reused ? "kept connection" : "");
    }
    if (r->first_byte_us > 0) {
        add_step(f, "first_byte", f->call_wall_ms + r->first_byte_us / 1000, "");
    }
    (void)snprintf(status, sizeof status, "http %d", r->http);
    bool whole = r->end == FETCH_ANSWERED;
    add_step(f, whole ? "answer" : "no_answer", f->call_wall_ms + r->total_us / 1000,
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
            repeat_later(f, JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE);
        }
        break;
    case FETCH_FORBIDDEN:
        log_warn("call not allowed", "route", f->called->name, "why", r->detail, NULL);
        if (!fall_back(f, RESULT_ADVERTISER_UNREACHABLE)) {
            finish(f, JOB_END_REFUSED, RESULT_ADVERTISER_UNREACHABLE);
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
        f->state = FLOW_CALLING;
        f->call_wall_ms = clock_wall_ms();
        const struct fetch_limits limits = {.timeout_ms = (uint32_t)left_ms,
                                            .begin_by_ms = begin_by_ms(f)};
        f->call = fetch_start(f->all->fetch, &request, &limits, on_fetched, f);
    }
    dialect_request_free(&request);
    if (!built) {
        finish(f, JOB_END_REFUSED, RESULT_INVALID_REQUEST);
    } else if (left_ms <= 0) {
        finish(f, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    } else if (f->call == NULL) {
        repeat_later(f, JOB_END_REFUSED, RESULT_INTERNAL_ERROR); /* every place was taken */
    }
}

/* An op that the store alone settles has done all with its claim and reserve. */
static void call_or_end(struct flow *f)
{
    if (f->op->calls(f)) {
        call(f);
    } else {
        finish(f, JOB_END_DONE, RESULT_OTP_SENT);
    }
}

void flow_reserved(struct flow *f, enum result_code code)
{
    must(f->state == FLOW_RESERVING);
    if (code == RESULT_NONE) {
        call_or_end(f);
    } else if (code == RESULT_STORE_UNAVAILABLE) {
        repeat_later(f, JOB_END_REFUSED, code);
    } else {
        finish(f, JOB_END_REFUSED, code);
    }
}

static void get_ready(struct flow *f)
{
    if (!f->op->prepare(f)) {
        log_warn("request cannot be made", "route", f->route->name, "why", f->detail, NULL);
        finish(f, JOB_END_REFUSED, RESULT_INVALID_REQUEST);
        return;
    }
    f->state = FLOW_RESERVING;
    if (f->op->reserve == NULL || !f->op->reserve(f)) {
        call_or_end(f);
    }
}

/* ---- the claim ------------------------------------------------------------------------------- */

/* The answer may be old: this process may have stood still since the script ran, and the lease be
 * over or too short for the call. Then the store is asked again: the job is another's by now, or
 * still this run's, with a new lease. */
static void won(struct flow *f)
{
    int64_t now_ms = clock_mono_ms();
    bool late = now_ms >= f->deadline_ms;
    if (!late && now_ms + f->call_ms + FLOW_WRITE_SPARE_MS > f->lease_end_ms) {
        ask(f);
        return;
    }
    char attempt[32];
    (void)snprintf(attempt, sizeof attempt, "attempt %" PRIu32, f->job.attempt);
    add_step(f, "started", clock_wall_ms(), attempt);
    link_started(f->from, f->job.id, f->job.attempt);
    if (late) {
        finish(f, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    } else {
        get_ready(f);
    }
}

static void keep_claim(struct flow *f, const struct claim *c)
{
    memcpy(f->request_id, c->request_id, sizeof f->request_id);
    memcpy(f->advertiser_request_id, c->advertiser_request_id, sizeof f->advertiser_request_id);
    if (f->msisdn.digits[0] == '\0') {
        memcpy(f->msisdn.digits, c->msisdn, sizeof f->msisdn.digits);
        f->claim.msisdn = slice_of(f->msisdn.digits);
    }
    f->attempts_left = c->attempts_left;
    f->retry_after_s = c->retry_after_s;
    f->expires_in_s = c->expires_in_s;
    f->unsure = c->unsure;
}

/* The advertiser that sent the code is called from its own lane, where its limits are; or later,
 * while that is paused. */
static void follow(struct flow *f, const char *via)
{
    if (strcmp(via, f->called->name) == 0) {
        give_back(f, RESULT_INTEGRATION_PAUSED, FLOW_ROUTE_BACK_MS, f->job.attempt);
    } else {
        give_on(f, RESULT_NONE, via);
    }
}

static void claimed(struct flow *f, const struct claim *c)
{
    keep_claim(f, c);
    switch (c->outcome) {
    case CLAIM_WON:
        won(f);
        break;
    case CLAIM_ENDED:
    case CLAIM_REFUSED:
        answer(f, c->end, c->code, c->result_body);
        break;
    case CLAIM_ELSEWHERE:
        wait_and_ask(f, c->wait_ms, true);
        break;
    case CLAIM_BUSY:
        wait_and_ask(f, c->wait_ms, false);
        break;
    case CLAIM_MOVED:
        follow(f, c->via);
        break;
    case CLAIM_STALE:
        give_back(f, RESULT_NONE, 0, c->attempt_seen);
        break;
    case CLAIM_CONFLICT:
        flow_explain(f, "this id was used before with another op, route or body");
        answer_unwritten(f, JOB_END_REFUSED, RESULT_CONFLICT);
        break;
    case CLAIM_NO_STORE:
        /* Should the claim have been won after all, the session store opens it again. */
        give_back(f, RESULT_STORE_UNAVAILABLE, FLOW_STORE_BACK_MS, f->job.attempt);
        break;
    }
}

/* Claims those whose turn it is. Claims may end before they return, when the store is away. */
static void pump(struct flows *all)
{
    struct list *node;
    if (all->pumping) {
        return;
    }
    all->pumping = true;
    while (all->claiming < FLOW_CLAIMS_MAX && (node = list_first(&all->ready)) != NULL) {
        list_remove(node);
        ask(list_owner(node, struct flow, turn));
    }
    all->pumping = false;
}

static void on_claim(void *context, const struct claim *c)
{
    struct flow *f = context;
    struct flows *all = f->all;
    all->claiming--;
    claimed(f, c);
    pump(all);
}

/* 0 when the store alone settles the job: codes of our own have no verify call. */
static uint32_t call_ms_max(const struct flow *f)
{
    const struct dialect *d = f->called->dialect;
    bool called = d != NULL && d->has(f->called->settings, f->op->call);
    return called ? d->timeout_ms(f->called->settings, f->op->call) : 0;
}

static void ask(struct flow *f)
{
    int64_t now_ms = clock_mono_ms();
    int64_t left_ms = f->deadline_ms > now_ms ? f->deadline_ms - now_ms : 0;
    uint32_t call_ms = call_ms_max(f);
    f->call_ms = left_ms < call_ms ? (uint32_t)left_ms : call_ms;
    f->claim.lease_ms = f->call_ms + FLOW_LEASE_SPARE_MS;
    f->claim.settle = left_ms == 0;
    f->lease_end_ms = now_ms + f->claim.lease_ms;
    f->state = FLOW_CLAIMING;
    f->all->claiming++;
    f->op->claim(f, on_claim);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* The same for every attempt and every client that sends this id: what makes two jobs the same. */
static uint64_t fingerprint(const struct wire_job *job, struct slice body)
{
    const uint64_t parts[] = {(uint64_t)job->op, slice_hash(job->route), slice_hash(body)};
    return slice_hash(slice_make(parts, sizeof parts));
}

/* It cannot run by what the records say now. Without time left it may have run by what they said
 * before, and nobody can say any more. */
static void refuse(struct flow *f, enum result_code code)
{
    bool settle = f->job.ttl_ms == 0;
    if (settle) {
        f->detail[0] = '\0'; /* what is wrong with it is not why it is unknown */
    }
    answer_unwritten(f, settle ? JOB_END_UNKNOWN : JOB_END_REFUSED,
                     settle ? RESULT_OUTCOME_UNKNOWN : code);
}

static void route_missing(struct flow *f)
{
    if (f->job.ttl_ms > 0 && f->job.attempt < FLOW_ROUTE_ATTEMPTS) {
        give_back(f, RESULT_INTEGRATION_NOT_FOUND, FLOW_ROUTE_BACK_MS, f->job.attempt);
    } else {
        flow_explain(f, "there is no integration of this name");
        refuse(f, RESULT_INTEGRATION_NOT_FOUND);
    }
}

/* Why the job cannot even be claimed, or RESULT_NONE. */
static enum result_code fault_of(struct flow *f, struct slice body)
{
    enum result_code fault = f->op->read(f, body);
    if (fault != RESULT_NONE) {
        return fault;
    }
    /* Without time left nothing is called any more: the store only says what became of it. */
    bool called = f->op->calls(f) && f->job.ttl_ms > 0;
    if (called && !f->called->dialect->has(f->called->settings, f->op->call)) {
        flow_explain(f, "the integration has no %s call", wire_ops[f->job.op].name);
        return RESULT_INVALID_REQUEST;
    }
    return RESULT_NONE;
}

/* What the claim is about, but for what the op reads from the body. */
static void describe_claim(struct flow *f, struct slice body)
{
    unsigned traits =
        f->called->dialect == NULL ? 0 : dialect_traits(f->called->dialect, f->called->settings);
    f->claim = (struct session_job){
        .job_id = f->job.id,
        .attempt = f->job.attempt,
        .fingerprint = fingerprint(&f->job, body),
        .route = f->job.route,
        .via = f->called == f->route ? (struct slice){0} : slice_of(f->called->name),
        .link = (traits & DIALECT_LINK) != 0,
        .reports = (traits & DIALECT_REPORTS) != 0,
        .step_count = f->step_count,
        .steps = f->steps,
    };
}

/* Which hand-over this is, when it is not the first or not to the route itself. */
static void note_dispatch(struct flow *f)
{
    char detail[sizeof f->steps[0].detail] = "";
    bool first = f->job.attempt <= 1;
    int n = first ? 0 : snprintf(detail, sizeof detail, "attempt %" PRIu32, f->job.attempt);
    if (f->called != f->route) {
        (void)snprintf(detail + n, sizeof detail - (size_t)n, "%svia %s", first ? "" : ", ",
                       f->called->name);
    }
    add_step(f, "dispatched", clock_wall_ms(), detail);
}

/* Whose rules hold and who is called. False: one of the two is not there. */
static bool find_route(struct flow *f)
{
    f->route = f->op->route != NULL ? f->op->route(f) : NULL;
    if (f->route == NULL) {
        f->route = records_integration(f->records, f->job.route);
    }
    f->called = f->job.via.n > 0 ? records_integration(f->records, f->job.via) : f->route;
    return f->route != NULL && f->called != NULL;
}

/* Must it wait, because its integration takes no calls? A verify may have to go on to another one,
 * which only its session knows: the claim says so, and is not won here. */
static bool waits_for_pause(struct flow *f)
{
    bool paused = f->called->paused && f->job.ttl_ms > 0;
    if (f->op->sends || f->route->fallback.count == 0) {
        return paused;
    }
    f->claim.nowhere = paused || f->job.moved != RESULT_NONE;
    return false;
}

static void line_up(struct flow *f, struct slice body)
{
    note_move(f);
    note_dispatch(f);
    describe_claim(f, body);
    if (waits_for_pause(f)) {
        give_back(f, RESULT_NONE, FLOW_ROUTE_BACK_MS, f->job.attempt);
        return;
    }
    enum result_code fault = fault_of(f, body);
    if (fault != RESULT_NONE) {
        log_info("job refused", "op", wire_ops[f->job.op].name, "why", f->detail, NULL);
        refuse(f, fault);
        return;
    }
    f->state = FLOW_READY;
    list_push(&f->all->ready, &f->turn);
    pump(f->all);
}

void flow_begin(struct flows *all, struct link *from, const struct wire_job *job, struct slice body,
                int64_t waited_ms)
{
    struct slice kept;
    struct flow *f = flow_new(all, from, job, body, &kept);
    f->deadline_ms -= waited_ms;
    if (all->draining || all->count > all->flows_max) {
        give_back(f, RESULT_NONE, FLOW_BUSY_BACK_MS, job->attempt);
        return;
    }
    f->op = ops[job->op];
    if (f->op == NULL) {
        flow_explain(f, "op %s is not built yet", wire_ops[job->op].name);
        refuse(f, RESULT_INVALID_REQUEST);
    } else if (!find_route(f)) {
        route_missing(f);
    } else {
        line_up(f, kept);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

void flows_init(struct flows *all)
{
    list_init(&all->running);
    list_init(&all->ready);
    all->count = 0;
    all->claiming = 0;
    all->pumping = false;
    all->draining = false;
}

void flows_drain(struct flows *all)
{
    bool idle = all->count == 0;
    all->draining = true;
    list_each(node, &all->running)
    {
        struct flow *f = list_owner(node, struct flow, link);
        if (f->state == FLOW_WAITING || f->state == FLOW_READY) {
            give_back(f, RESULT_NONE, FLOW_BUSY_BACK_MS, f->job.attempt);
        }
    }
    if (idle) {
        all->on_idle(all->context);
    }
}

void flows_abandon(struct flows *all)
{
    all->draining = false; /* nobody waits for the last one */
    list_each(node, &all->running)
    {
        struct flow *f = list_owner(node, struct flow, link);
        if (f->call != NULL) {
            fetch_abandon(f->call);
        }
        flow_free(f);
    }
}
