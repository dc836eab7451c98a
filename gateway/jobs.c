#include "gateway/jobs.h"

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/wire.h"
#include "gateway/reply.h"

/* A broker that is restarted is away for less: requests wait for it rather than fail. */
enum { BROKER_PATIENCE_MS = 3000 };

struct jobs {
    otpq *queue;         /* owned */
    struct event *ready; /* the queue has something to do */
    struct event *timer; /* the queue wants to be called anyway */
    struct list waiting; /* of struct job */
    size_t count;        /* length of waiting */
    size_t inflight_max; /* 503 above */
    uint32_t ttl_ms;     /* of a job */
    int64_t up_ms;       /* when a broker was seen connected last; 0: never */
};

struct job {
    struct list node; /* of jobs->waiting */
    struct jobs *owner;
    struct httpd_request *request; /* to be answered */
    const struct system *system;   /* whose words */
    void *kept;                    /* the system's own of the request, owned */
    int64_t began_ms;              /* when it was queued */
};

/* ---- the queue in the loop ------------------------------------------------------------------ */

static void process(struct jobs *j)
{
    otpq_process(j->queue);
    if (otpq_brokers_up(j->queue) > 0) {
        j->up_ms = clock_mono_ms();
    }
    int64_t ms = otpq_next_ms(j->queue);
    if (ms < 0) {
        (void)event_del(j->timer);
        return;
    }
    struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    need(event_add(j->timer, &tv) == 0);
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    process(context);
}

/* ---- one job -------------------------------------------------------------------------------- */

static void job_end(struct job *job, const struct answer *answer)
{
    reply_send(job->request, answer);
    list_remove(&job->node);
    job->owner->count--;
    system_drop(job->system, job->kept);
    free(job);
}

static void on_done(void *context, const struct otpq_answer *from)
{
    struct job *job = context;
    struct answer answer;
    job->system->tell(&answer, job->kept, from);
    log_debug("answered", "id", from->id, "system", job->system->name, "code", from->code, "detail",
              from->detail, "http", log_num(answer.http), "ms",
              log_num(clock_mono_ms() - job->began_ms), "client_gone",
              httpd_client_gone(job->request) ? "true" : "false", NULL);
    job_end(job, &answer);
    answer_free(&answer);
}

static void refuse(struct httpd_request *request, const struct intake *in, enum result_code code,
                   const char *detail)
{
    struct answer answer;
    in->system->fail(&answer, in->kept, code, 0, detail, 0);
    reply_send(request, &answer);
    answer_free(&answer);
}

/* The caller's traceparent; one that is none is left out, as Trace Context wants it. */
static const char *trace_of(const struct httpd_request *request, char out[WIRE_TRACE_BYTES + 1])
{
    struct slice header = httpd_header(request, "traceparent");
    if (!wire_trace_ok(header)) {
        return NULL;
    }
    memcpy(out, header.p, header.n);
    out[header.n] = '\0';
    return out;
}

static bool submit(struct jobs *j, struct job *job, const char *id, const struct intake *in)
{
    char trace[WIRE_TRACE_BYTES + 1];
    const char *error = "";
    const struct otpq_job o = {.id = id,
                               .op = wire_ops[in->op].name,
                               .route = in->route,
                               .tenant = in->tenant,
                               .trace = trace_of(job->request, trace),
                               .body = in->body.p,
                               .body_bytes = in->body.n,
                               .ttl_ms = j->ttl_ms,
                               .pri = -1};
    if (otpq_submit(j->queue, &o, on_done, job, &error) != 0) {
        log_warn("job not queued", "id", id, "why", error, NULL);
        return false;
    }
    return true;
}

/* That the last one went is told by process; while one is there this moment counts. */
static bool brokers_away(struct jobs *j)
{
    int64_t now_ms = clock_mono_ms();
    if (otpq_brokers_up(j->queue) > 0) {
        j->up_ms = now_ms;
    }
    return !otpq_connected(j->queue) && now_ms - j->up_ms > BROKER_PATIENCE_MS;
}

void jobs_start(struct jobs *j, struct httpd_request *request, const char *id, struct intake *in)
{
    if (j->count >= j->inflight_max) {
        refuse(request, in, RESULT_QUEUE_FULL, "too many requests wait here for their answers");
        return;
    }
    if (brokers_away(j)) {
        refuse(request, in, RESULT_QUEUE_FULL, "no broker answers");
        return;
    }
    struct job *job = xcalloc(1, sizeof(*job));
    job->owner = j;
    job->request = request;
    job->system = in->system;
    job->began_ms = clock_mono_ms();
    list_init(&job->node);
    if (!submit(j, job, id, in)) {
        free(job);
        refuse(request, in, RESULT_QUEUE_FULL,
               in->id[0] != '\0' ? "the same request is being answered, or too many wait here"
                                 : "too many requests wait here for their answers");
        return;
    }
    job->kept = in->kept;
    in->kept = NULL;
    list_push(&j->waiting, &job->node);
    j->count++;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct jobs *jobs_new(const struct jobs_options *o, const char **error)
{
    const struct otpq_options options = {.brokers = o->brokers,
                                         .broker_count = o->broker_count,
                                         .jobs_max = o->inflight_max,
                                         .patience_ms = BROKER_PATIENCE_MS,
                                         .curve_secret_file = o->curve_secret_file};
    otpq *queue = otpq_new(&options, error);
    if (queue == NULL) {
        return NULL;
    }
    struct jobs *j = xcalloc(1, sizeof(*j));
    j->queue = queue;
    j->inflight_max = o->inflight_max;
    j->ttl_ms = o->ttl_ms;
    list_init(&j->waiting);
    j->ready = event_new(o->base, otpq_fd(queue), EV_READ | EV_PERSIST, on_ready, j);
    j->timer = event_new(o->base, -1, 0, on_ready, j);
    need(j->ready != NULL && j->timer != NULL && event_add(j->ready, NULL) == 0);
    process(j);
    return j;
}

void jobs_destroy(struct jobs **jp)
{
    struct jobs *j = *jp;
    if (j == NULL) {
        return;
    }
    *jp = NULL;
    list_each(it, &j->waiting)
    {
        struct job *job = list_owner(it, struct job, node);
        struct answer answer;
        job->system->fail(&answer, job->kept, RESULT_OUTCOME_UNKNOWN, 0, "this gateway was ended",
                          0);
        job_end(job, &answer);
        answer_free(&answer);
    }
    event_free(j->ready);
    event_free(j->timer);
    otpq_destroy(&j->queue);
    free(j);
}

void jobs_brokers(struct jobs *j, const char *const *brokers, size_t count)
{
    const char *error = NULL;
    if (otpq_set_brokers(j->queue, brokers, count, &error) != 0) {
        log_warn("not all brokers can be connected to", "error", error, NULL);
    }
}

size_t jobs_brokers_up(const struct jobs *j)
{
    return otpq_brokers_up(j->queue);
}
