#include "workers/flow.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "workers/flow_inside.h"

/* What this worker can do; the others are refused. */
static const struct flow_op *const ops[WIRE_OPS] = {
    [WIRE_OP_SEND] = &flow_send,
    [WIRE_OP_VERIFY] = &flow_verify,
    [WIRE_OP_FLASH_CREATE] = &flow_flash,
};

static void on_timer(evutil_socket_t fd, short events, void *context);

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

void flow_add_step(struct flow *f, const char *step, int64_t at_ms, const char *detail)
{
    if (f->step_count < FLOW_STEPS_MAX) {
        struct session_step *s = &f->steps[f->step_count++];
        s->step = step;
        s->at_ms = at_ms;
        (void)snprintf(s->detail, sizeof s->detail, "%s", detail);
    }
}

/* What may follow a state. The last two end with the flow. */
static const unsigned next_states[] = {
    [FLOW_READY] = 1U << FLOW_CLAIMING,
    [FLOW_CLAIMING] =
        1U << FLOW_CLAIMING | 1U << FLOW_WAITING | 1U << FLOW_RESERVING | 1U << FLOW_FINISHING,
    [FLOW_WAITING] = 1U << FLOW_CLAIMING,
    [FLOW_RESERVING] = 1U << FLOW_CALLING | 1U << FLOW_FINISHING | 1U << FLOW_RELEASING,
    [FLOW_CALLING] = 1U << FLOW_FINISHING | 1U << FLOW_RELEASING,
    [FLOW_FINISHING] = 0,
    [FLOW_RELEASING] = 0,
};

void flow_set_state(struct flow *f, enum flow_state to)
{
    must((next_states[f->state] & 1U << to) != 0);
    f->state = to;
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
    flow_add_step(f, "accepted", wall_ms - job->queued_ms, trace);
    list_init(&f->turn);
    list_init(&f->link);
    list_push(&all->running, &f->link);
    all->count++;
    return f;
}

void flow_drop(struct flow *f)
{
    struct flows *all = f->all;
    (void)event_del(&f->timer);
    list_remove(&f->turn);
    list_remove(&f->link);
    session_job_over(&f->claim);
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

/* ---- waiting --------------------------------------------------------------------------------- */

void flow_sleep_ms(struct flow *f, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    need(event_add(&f->timer, &tv) == 0);
}

/* Asks again later. Unless another owner is at it, the deadline ends the wait: nothing was sent. */
void flow_wait(struct flow *f, uint32_t ms, bool elsewhere)
{
    int64_t left_ms = f->deadline_ms - clock_mono_ms();
    if (f->all->draining) {
        flow_give_back(f, RESULT_NONE, FLOW_BUSY_BACK_MS, f->job.attempt);
        return;
    }
    if (!elsewhere && left_ms <= 0) {
        flow_answer_unwritten(f, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
        return;
    }
    int64_t wait_ms = ms < FLOW_WAIT_MS_MIN   ? FLOW_WAIT_MS_MIN
                      : ms > FLOW_WAIT_MS_MAX ? FLOW_WAIT_MS_MAX
                                              : ms;
    flow_set_state(f, FLOW_WAITING);
    f->elsewhere = elsewhere;
    flow_sleep_ms(f, !elsewhere && left_ms < wait_ms ? left_ms : wait_ms);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    (void)fd;
    (void)events;
    struct flow *f = context;
    switch (f->state) {
    case FLOW_WAITING:
        flow_ask(f);
        break;
    case FLOW_FINISHING:
        flow_write_outcome(f);
        break;
    case FLOW_RELEASING:
        flow_open_claim(f);
        break;
    case FLOW_READY:
    case FLOW_CLAIMING:
    case FLOW_RESERVING:
    case FLOW_CALLING:
        must(false); /* these end by their own callbacks */
    }
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
    flow_answer_unwritten(f, settle ? JOB_END_UNKNOWN : JOB_END_REFUSED,
                          settle ? RESULT_OUTCOME_UNKNOWN : code);
}

static void route_missing(struct flow *f)
{
    if (f->job.ttl_ms > 0 && f->job.attempt < FLOW_ROUTE_ATTEMPTS) {
        flow_give_back(f, RESULT_INTEGRATION_NOT_FOUND, FLOW_ROUTE_BACK_MS, f->job.attempt);
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
        .query = f->route->on_unknown == ON_UNKNOWN_QUERY,
        .life_ms = (uint64_t)f->job.queued_ms + f->job.ttl_ms,
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
    flow_add_step(f, "dispatched", clock_wall_ms(), detail);
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
    flow_note_move(f);
    note_dispatch(f);
    describe_claim(f, body);
    if (waits_for_pause(f)) {
        flow_give_back(f, RESULT_NONE, FLOW_ROUTE_BACK_MS, f->job.attempt);
        return;
    }
    enum result_code fault = fault_of(f, body);
    if (fault != RESULT_NONE) {
        log_info("job refused", "op", wire_ops[f->job.op].name, "why", f->detail, NULL);
        refuse(f, fault);
        return;
    }
    list_push(&f->all->ready, &f->turn);
    flow_pump(f->all);
}

void flow_begin(struct flows *all, struct link *from, const struct wire_job *job, struct slice body,
                int64_t waited_ms)
{
    struct slice kept;
    struct flow *f = flow_new(all, from, job, body, &kept);
    f->deadline_ms -= waited_ms;
    if (all->draining || all->count > all->flows_max) {
        flow_give_back(f, RESULT_NONE, FLOW_BUSY_BACK_MS, job->attempt);
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
            flow_give_back(f, RESULT_NONE, FLOW_BUSY_BACK_MS, f->job.attempt);
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
        flow_drop(f);
    }
}
