#include "workers/courier.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/meaning/code.h"
#include "common/meaning/record.h"

enum {
    LEASE_SPARE_MS = 5000, /* a claim lives this much longer than the attempt may take */
    BUSY_MS = 1000,        /* no room for a call: again after */
    BACK_MS = 500,         /* a job that is given back comes again after */
    POLL_MS = 5000         /* between two questions for the same state */
};

struct courier {
    struct courier_options o;
    struct list runs;
    size_t count; /* of runs */
    bool draining;
};

/* One job. */
struct run {
    struct list node; /* in courier.runs */
    struct courier *c;
    struct link *from;                /* where the answer goes */
    char job[WIRE_ID_BYTES_MAX + 1];  /* its id */
    uint32_t number;                  /* of the job's dispatch */
    uint32_t queued_ms;               /* that it waited */
    int64_t arrived_ms;               /* mono */
    char id[OUTBOX_ID_BYTES + 1];     /* of the task */
    struct outbox_attempt attempt;    /* its id borrows from above */
    uint32_t tries;                   /* the task's attempts, with this one */
    enum callback_kind kind;          /* of the task */
    char kind_text[16];               /* the same, for logs */
    char lane[OUTBOX_LANE_BYTES + 1]; /* of the task */
    char *data;                       /* owned: what fields borrow from */
    struct callback_fields fields;    /* of the task */
    struct records *records;          /* the snapshot that was asked, referenced, or NULL */
    char code[CODE_DIGITS_MAX + 1];   /* opened, or "" */
    struct fetch_call *call;          /* while the request is out */
    struct outbox_finish finish;      /* how it ended */
    char arid[128];                   /* poll: the advertiser's request id, or "" */
    int64_t over_ms;                  /* poll: mono, end of the session's validity */
    struct dialect_verdict verdict;   /* poll: what was told */
    enum job_end end;                 /* the job's */
    enum result_code result;          /* the job's */
};

/* ---- life ------------------------------------------------------------------------------------ */

struct courier *courier_new(const struct courier_options *o)
{
    struct courier *c = xcalloc(1, sizeof *c);
    c->o = *o;
    list_init(&c->runs);
    return c;
}

static void run_free(struct run *r)
{
    struct courier *c = r->c;
    list_remove(&r->node);
    records_unref(&r->records);
    explicit_bzero(r->code, sizeof r->code);
    free(r->data);
    free(r);
    c->count--;
}

static void run_ended(struct run *r)
{
    struct courier *c = r->c;
    run_free(r);
    if (c->draining && c->count == 0) {
        c->o.on_idle(c->o.context);
    }
}

void courier_destroy(struct courier **cp)
{
    struct courier *c = *cp;
    if (c == NULL) {
        return;
    }
    *cp = NULL;
    list_each(node, &c->runs)
    {
        struct run *r = list_owner(node, struct run, node);
        if (r->call != NULL) {
            fetch_abandon(r->call);
        }
        run_free(r);
    }
    free(c);
}

size_t courier_count(const struct courier *c)
{
    return c->count;
}

void courier_drain(struct courier *c)
{
    c->draining = true;
    if (c->count == 0) {
        c->o.on_idle(c->o.context);
    }
}

/* ---- the two ends ---------------------------------------------------------------------------- */

/* detail: static, for people; or "". */
static void answer(struct run *r, enum job_end end, enum result_code code, const char *detail)
{
    struct job_result result;
    struct buf body;
    const struct wire_result w = {
        .id = slice_of(r->job),
        .end = end,
        .code = code,
        .queued_ms = r->queued_ms,
        .run_ms = (uint32_t)(clock_mono_ms() - r->arrived_ms),
        .attempts = r->number,
    };
    job_result_init(&result);
    buf_init(&body, WIRE_BODY_BYTES_MAX);
    *(end == JOB_END_DONE ? &result.response : &result.error) = slice_of(result_name(code));
    result.detail = slice_of(detail);
    job_result_encode(&body, &result);
    link_result(r->from, &w, buf_slice(&body));
    buf_free(&body);
    run_ended(r);
}

static void give_back(struct link *from, struct slice job, uint32_t attempt, enum result_code code)
{
    const struct wire_give_back g = {
        .id = job, .attempt = attempt, .attempt_seen = attempt, .delay_ms = BACK_MS, .code = code};
    link_back(from, &g);
}

/* ---- how an attempt ended -------------------------------------------------------------------- */

static void on_finished(void *context, bool written)
{
    struct run *r = context;
    if (!written) {
        log_warn("callback's outcome is not on record: it is tried again", "task", r->id, NULL);
    }
    answer(r, r->end, r->result, "");
}

static const char *end_name(enum outbox_end end)
{
    static const char *const names[] = {[OUTBOX_DONE] = "received",
                                        [OUTBOX_DEAD] = "dead letter",
                                        [OUTBOX_DROPPED] = "dropped",
                                        [OUTBOX_AGAIN] = "again",
                                        [OUTBOX_LATER] = "later"};
    return names[end];
}

static void finish(struct run *r)
{
    const struct outbox_finish *f = &r->finish;
    bool failed = f->end == OUTBOX_DEAD || f->end == OUTBOX_AGAIN;
    log_line(f->end == OUTBOX_DEAD ? LOG_LEVEL_WARN
             : failed              ? LOG_LEVEL_INFO
                                   : LOG_LEVEL_DEBUG,
             "callback", "task", r->id, "kind", r->kind_text, "lane", r->lane, "attempt",
             log_num(r->tries), "http", log_num(f->http), "why", f->word, "then", end_name(f->end),
             "next_ms", log_num(failed ? f->next_ms : 0), "ms", log_num(f->ms), NULL);
    outbox_finish(r->c->o.outbox, &r->attempt, f, on_finished, r);
}

static void drop(struct run *r, const char *word)
{
    r->finish = (struct outbox_finish){.end = OUTBOX_DROPPED, .word = word};
    r->end = JOB_END_REFUSED;
    r->result = RESULT_INVALID_REQUEST;
    finish(r);
}

/* By the schedule, while it has something left. */
static void fail(struct run *r, int64_t retry_after_s)
{
    uint64_t random = 0;
    rng_secure(&random, sizeof random);
    r->finish.next_ms = callback_next_ms(&r->c->o.schedule, r->tries, retry_after_s, random);
    r->finish.end = r->finish.next_ms > 0 ? OUTBOX_AGAIN : OUTBOX_DEAD;
    finish(r);
}

static void received(struct run *r)
{
    r->finish.end = OUTBOX_DONE;
    r->end = JOB_END_DONE;
    r->result = RESULT_DELIVERED;
    finish(r);
}

static void judge(struct run *r, const struct fetch_result *got)
{
    r->end = JOB_END_REFUSED;
    r->result = RESULT_ADVERTISER_ERROR;
    switch (callback_judge(r->kind, &r->fields, got->http, got->body)) {
    case CALLBACK_RECEIVED:
        received(r);
        break;
    case CALLBACK_GONE:
        r->finish.end = OUTBOX_DEAD;
        finish(r);
        break;
    case CALLBACK_FAILED:
        fail(r, got->retry_after_s);
        break;
    }
}

static void no_room(struct run *r)
{
    r->finish = (struct outbox_finish){.end = OUTBOX_LATER, .next_ms = BUSY_MS, .word = ""};
    r->end = JOB_END_REFUSED;
    r->result = RESULT_INTERNAL_ERROR;
    finish(r);
}

static void send_request(struct run *r, const struct dialect_request *request, fetch_callback *done)
{
    const struct fetch_limits limits = {.timeout_ms = CALLBACK_TIMEOUT_MS,
                                        .begin_by_ms = clock_mono_ms() + CALLBACK_TIMEOUT_MS};
    r->call = fetch_start(r->c->o.fetch, request, &limits, done, r);
    if (r->call == NULL) {
        no_room(r);
    }
}

/* ---- asking for a state ---------------------------------------------------------------------- */

/* Until the session's validity ends, and once after it. */
static void poll_again(struct run *r)
{
    bool over = clock_mono_ms() >= r->over_ms;
    r->finish.end = over ? OUTBOX_DONE : OUTBOX_LATER;
    r->finish.next_ms = POLL_MS;
    r->end = JOB_END_DONE;
    r->result = RESULT_PENDING;
    finish(r);
}

static void on_reported(void *context, const struct flash_reported *reported)
{
    struct run *r = context;
    if (reported->outcome == FLASH_REPORT_NO_STORE) {
        poll_again(r);
    } else {
        received(r);
    }
}

/* What the user sent, or that nothing will come. A question that was not understood says nothing
 * about the session. */
static void poll_report(struct run *r)
{
    const struct dialect_verdict *v = &r->verdict;
    const struct integration *route = records_integration(r->records, slice_of(r->lane));
    bool sent = v->code == RESULT_OTP_VERIFIED;
    const struct flash_report report = {
        .job_id = slice_of(r->id),
        .lane = slice_of(r->lane),
        .valid_s = route->code_valid_s,
        .report = {.event = sent && v->mo.mobile[0] == '\0' ? DIALECT_VERIFICATION : DIALECT_MO,
                   .code = v->code,
                   .request_id = r->fields.rid,
                   .advertiser_request_id = slice_of(r->arid),
                   .mobile = slice_of(v->mo.mobile),
                   .sender = slice_of(v->mo.sender),
                   .send_time = slice_of(v->mo.send_time),
                   .deliver_time = slice_of(v->mo.deliver_time)},
    };
    flash_report(r->c->o.flash, &report, on_reported, r);
}

static void on_polled(void *context, const struct fetch_result *got)
{
    struct run *r = context;
    const struct integration *route = records_integration(r->records, slice_of(r->lane));
    const struct dialect_answer a = {.http = got->http, .body = got->body};
    r->call = NULL;
    r->finish = (struct outbox_finish){
        .http = got->http, .word = "", .ms = (uint32_t)(got->total_us / 1000)};
    r->verdict = (struct dialect_verdict){.code = RESULT_PENDING};
    if (got->end == FETCH_ANSWERED) {
        route->dialect->parse(route->settings, DIALECT_VERIFY, &a, &r->verdict);
    }
    if (r->verdict.code == RESULT_OTP_VERIFIED || r->verdict.code == RESULT_OTP_EXPIRED) {
        poll_report(r);
    } else {
        poll_again(r);
    }
}

static bool poll_secret(void *context, struct slice name, struct slice *value)
{
    const struct run *r = context;
    return secrets_find(r->c->o.secrets, name, value);
}

static bool poll_build(struct run *r, const struct integration *route,
                       struct dialect_request *request)
{
    struct template_error error;
    char timestamp[24], timestamp_ms[24], nonce[24], uuid[TEMPLATE_UUID_CHARS + 1];
    int64_t now_ms = clock_wall_ms();
    (void)snprintf(timestamp, sizeof timestamp, "%" PRId64, now_ms / 1000);
    (void)snprintf(timestamp_ms, sizeof timestamp_ms, "%" PRId64, now_ms);
    (void)snprintf(nonce, sizeof nonce, "%" PRId64, clock_nonce_ms());
    template_uuid(uuid);
    const struct template_values values = {
        .macro = {[MACRO_MSISDN] = r->fields.msisdn,
                  [MACRO_PARTNER] = slice_of(route->name),
                  [MACRO_REQUEST_ID] = r->fields.rid,
                  [MACRO_TIMESTAMP] = slice_of(timestamp),
                  [MACRO_TIMESTAMP_MS] = slice_of(timestamp_ms),
                  [MACRO_NONCE] = slice_of(nonce),
                  [MACRO_UUID] = slice_of(uuid),
                  [MACRO_ADVERTISER_REQUEST_ID] = slice_of(r->arid)},
        .country_code = route->country_code,
        .secret = poll_secret,
        .context = r,
    };
    bool good =
        route->dialect->build(route->settings, DIALECT_VERIFY, &values, false, request, &error);
    if (!good) {
        log_warn("state cannot be asked for", "lane", r->lane, "why", error.text, NULL);
    }
    return good;
}

static void poll(struct run *r)
{
    const struct integration *route = records_integration(r->records, slice_of(r->lane));
    struct dialect_request request;
    if (route == NULL || !route->dialect->has(route->settings, DIALECT_VERIFY)) {
        drop(r, "no address");
        return;
    }
    dialect_request_init(&request);
    if (!poll_build(r, route, &request)) {
        drop(r, "cannot be made");
    } else {
        send_request(r, &request, on_polled);
    }
    dialect_request_free(&request);
}

/* ---- a callback's answer --------------------------------------------------------------------- */

static void on_fetched(void *context, const struct fetch_result *got)
{
    struct run *r = context;
    r->call = NULL;
    r->finish = (struct outbox_finish){
        .http = got->http, .word = "", .ms = (uint32_t)(got->total_us / 1000)};
    r->end = JOB_END_REFUSED;
    r->result = RESULT_ADVERTISER_UNREACHABLE;
    switch (got->end) {
    case FETCH_ANSWERED:
    case FETCH_TOO_LARGE: /* the status and the beginning are enough */
        judge(r, got);
        break;
    case FETCH_NOT_SENT:
        r->finish.word = "not reached";
        fail(r, -1);
        break;
    case FETCH_FORBIDDEN:
        r->finish.word = "address not allowed";
        fail(r, -1);
        break;
    case FETCH_UNKNOWN:
        r->end = JOB_END_UNKNOWN;
        r->result = RESULT_OUTCOME_UNKNOWN;
        r->finish.word = "no whole answer";
        fail(r, -1);
        break;
    }
}

/* ---- the attempt ----------------------------------------------------------------------------- */

static struct slice behind(const char *lane, const char *mark)
{
    size_t n = strlen(mark);
    return strncmp(lane, mark, n) == 0 ? slice_of(lane + n) : (struct slice){0};
}

static bool find_account(const struct run *r, struct callback_where *w)
{
    const struct account *a = records_account(r->records, behind(r->lane, ACCOUNT_LANE));
    w->url = a != NULL ? a->callback_url : "";
    w->secret = a != NULL ? a->callback_secret : "";
    return w->url[0] != '\0';
}

static bool find_template(struct run *r, struct callback_where *w)
{
    struct slice ft = r->fields.ft.n > 0 ? r->fields.ft : behind(r->lane, FLASH_LANE);
    const struct flash_template *t = records_flash_template(r->records, ft);
    const struct account *a = t != NULL ? records_account(r->records, slice_of(t->account)) : NULL;
    if (a == NULL || t->callback_url[0] == '\0') {
        return false;
    }
    bool opened = r->fields.sealed.n > 0 &&
                  code_open(r->c->o.pepper, r->fields.rid, r->fields.sealed, r->code);
    if (!opened && r->fields.sealed.n > 0) {
        log_warn("a sealed code cannot be opened: has the pepper changed?", "task", r->id, NULL);
    }
    w->url = t->callback_url;
    w->secret = a->callback_secret;
    w->time_zone = a->time_zone;
    w->content = t->content;
    w->receiver = t->receivers.count > 0 ? t->receivers.at[0] : "";
    w->otp = slice_of(r->code);
    return true;
}

static bool find_affiliate(const struct run *r, struct callback_where *w)
{
    uint64_t aid = 0;
    const struct affiliate *a = NULL;
    if (slice_to_u64(behind(r->lane, AFFILIATE_LANE), UINT64_MAX, &aid)) {
        a = records_affiliate(r->records, aid);
    }
    const struct integration *i = records_integration(r->records, r->fields.route);
    w->url = a != NULL ? a->postback_url : "";
    w->secret = a != NULL ? a->callback_secret : "";
    w->payout = i != NULL ? i->payout : "";
    w->mid = r->records->mid;
    w->secrets = r->c->o.secrets;
    return w->url[0] != '\0';
}

/* Where it goes by what the records say now. False: there is nobody to tell any more. */
static bool find(struct run *r, struct callback_where *w)
{
    *w = (struct callback_where){.url = "", .secret = ""};
    switch (r->kind) {
    case CALLBACK_STATUS:
    case CALLBACK_RESULT:
        return find_account(r, w);
    case CALLBACK_PUSH:
    case CALLBACK_EXPIRY:
        return find_template(r, w);
    case CALLBACK_POSTBACK:
        return find_affiliate(r, w);
    case CALLBACK_HTTP:
        return r->fields.url.n > 0;
    case CALLBACK_POLL:
    case CALLBACK_KINDS:
        break;
    }
    return false;
}

static void attempt(struct run *r)
{
    struct callback_where where;
    struct dialect_request request;
    char why[160];
    if (!find(r, &where)) {
        drop(r, "no address");
        return;
    }
    dialect_request_init(&request);
    if (callback_build(r->kind, slice_of(r->id), &r->fields, &where, clock_wall_ms(), &request,
                       why)) {
        send_request(r, &request, on_fetched);
    } else { /* a record may be mended until the next attempt */
        log_warn("callback cannot be made", "task", r->id, "lane", r->lane, "why", why, NULL);
        r->finish = (struct outbox_finish){.word = "cannot be made"};
        r->end = JOB_END_REFUSED;
        r->result = RESULT_INVALID_REQUEST;
        fail(r, -1);
    }
    dialect_request_free(&request);
}

/* Copies what the task borrows from the answer. False: it is none that this version understands. */
static bool keep_task(struct run *r, const struct outbox_task *t)
{
    r->tries = t->attempt;
    r->kind = callback_kind_of(t->kind);
    (void)snprintf(r->kind_text, sizeof r->kind_text, "%.*s", SLICE_ARG(t->kind));
    (void)snprintf(r->lane, sizeof r->lane, "%.*s", SLICE_ARG(t->lane));
    r->data = slice_dup(t->data);
    (void)snprintf(r->arid, sizeof r->arid, "%.*s", SLICE_ARG(t->arid));
    r->over_ms = clock_mono_ms() + t->left_ms;
    r->records = records_ref(records_watch_now(r->c->o.watch));
    return r->kind != CALLBACK_KINDS &&
           callback_fields_read(slice_make(r->data, t->data.n), &r->fields);
}

static void on_claimed(void *context, enum outbox_claimed outcome, const struct outbox_task *task)
{
    struct run *r = context;
    switch (outcome) {
    case OUTBOX_WON:
        link_started(r->from, slice_of(r->job), r->number);
        if (keep_task(r, task)) {
            (r->kind == CALLBACK_POLL ? poll : attempt)(r);
        } else {
            drop(r, "not understood");
        }
        break;
    case OUTBOX_ENDED:
    case OUTBOX_ELSEWHERE:
        answer(r, JOB_END_DONE, RESULT_PENDING, "");
        break;
    case OUTBOX_NO_STORE:
        give_back(r->from, slice_of(r->job), r->number, RESULT_STORE_UNAVAILABLE);
        run_ended(r);
        break;
    }
}

/* ---- a client's own -------------------------------------------------------------------------- */

static void on_put(void *context, enum outbox_claimed outcome)
{
    struct run *r = context;
    if (outcome == OUTBOX_WON) {
        answer(r, JOB_END_DONE, RESULT_PENDING, "");
    } else if (outcome == OUTBOX_ENDED) {
        answer(r, JOB_END_REFUSED, RESULT_QUEUE_FULL, "the outbox is full");
    } else {
        give_back(r->from, slice_of(r->job), r->number, RESULT_STORE_UNAVAILABLE);
        run_ended(r);
    }
}

static bool url_ok(struct slice url)
{
    return (url.n > 7 && memcmp(url.p, "http://", 7) == 0) ||
           (url.n > 8 && memcmp(url.p, "https://", 8) == 0);
}

static void put(struct run *r, const struct wire_job *job, const struct job_callback *body)
{
    const char *why = "url: http:// or https:// and a host";
    struct buf data;
    buf_init(&data, CALLBACK_DATA_BYTES_MAX);
    if (!url_ok(body->url) || !callback_http_data(body, &data, &why)) {
        answer(r, JOB_END_REFUSED, RESULT_INVALID_REQUEST, why);
    } else {
        outbox_id_of_job(job->id, r->id);
        const struct outbox_new task = {.id = slice_of(r->id),
                                        .kind = SLICE("http"),
                                        .lane = job->route,
                                        .party = job->tenant,
                                        .data = buf_slice(&data)};
        outbox_put(r->c->o.outbox, &task, on_put, r);
    }
    buf_free(&data);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static struct run *run_new(struct courier *c, struct link *from, const struct wire_job *job)
{
    struct run *r = xcalloc(1, sizeof *r);
    r->c = c;
    r->from = from;
    r->number = job->attempt;
    r->queued_ms = job->queued_ms;
    r->arrived_ms = clock_mono_ms();
    (void)snprintf(r->job, sizeof r->job, "%.*s", SLICE_ARG(job->id));
    list_init(&r->node);
    list_push(&c->runs, &r->node);
    c->count++;
    return r;
}

static void claim(struct run *r, struct slice task)
{
    (void)snprintf(r->id, sizeof r->id, "%.*s", SLICE_ARG(task));
    r->attempt = (struct outbox_attempt){.id = slice_of(r->id),
                                         .lease_ms = CALLBACK_TIMEOUT_MS + LEASE_SPARE_MS,
                                         .attempts_max = r->c->o.schedule.count + 1};
    rng_secure(&r->attempt.token, sizeof r->attempt.token);
    outbox_claim(r->c->o.outbox, &r->attempt, on_claimed, r);
}

void courier_begin(struct courier *c, struct link *from, const struct wire_job *job,
                   struct slice body)
{
    struct job_callback what;
    const char *why = "";
    if (c->draining || c->count >= c->o.runs_max) {
        give_back(from, job->id, job->attempt, RESULT_NONE);
        return;
    }
    struct run *r = run_new(c, from, job);
    if (!job_callback_decode(body, &what, &why)) {
        answer(r, JOB_END_REFUSED, RESULT_INVALID_REQUEST, why);
    } else if (what.task.n == 0) {
        put(r, job, &what);
    } else if (!outbox_id_ok(what.task)) {
        answer(r, JOB_END_REFUSED, RESULT_INVALID_REQUEST, "task: no id of the outbox");
    } else if (job->ttl_ms == 0) { /* its worker died: the lease's end makes the task due again */
        answer(r, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN, "");
    } else {
        claim(r, what.task);
    }
}
