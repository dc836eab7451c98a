#include "workers/backlog.h"

struct backlog {
    struct list jobs; /* of backlog_job, oldest first */
    uint32_t count;   /* length of jobs */
    uint32_t max;     /* ceiling for count */
};

struct backlog *backlog_new(uint32_t jobs_max)
{
    struct backlog *b = xcalloc(1, sizeof(*b));
    list_init(&b->jobs);
    b->max = jobs_max;
    return b;
}

void backlog_destroy(struct backlog **backlog)
{
    struct backlog *b = *backlog;
    if (b == NULL) {
        return;
    }
    *backlog = NULL;
    for (struct backlog_job *j = backlog_take(b); j != NULL; j = backlog_take(b)) {
        free(j);
    }
    free(b);
}

static void keep(struct slice *s, char **to)
{
    if (s->n > 0) {
        memcpy(*to, s->p, s->n);
    }
    s->p = *to;
    *to += s->n;
}

bool backlog_put(struct backlog *b, struct link *from, const struct wire_job *job,
                 struct slice body, int64_t waited_ms, int64_t now_ms)
{
    if (b->count >= b->max) {
        return false;
    }
    size_t n = job->id.n + job->route.n + job->tenant.n + job->trace.n + job->via.n + body.n;
    struct backlog_job *j = xmalloc(sizeof(*j) + n);
    *j = (struct backlog_job){
        .from = from, .job = *job, .body = body, .waited_ms = waited_ms, .since_ms = now_ms};
    char *to = j->bytes;
    keep(&j->job.id, &to);
    keep(&j->job.route, &to);
    keep(&j->job.tenant, &to);
    keep(&j->job.trace, &to);
    keep(&j->job.via, &to);
    keep(&j->body, &to);
    list_init(&j->node);
    list_push(&b->jobs, &j->node);
    b->count++;
    return true;
}

const struct backlog_job *backlog_oldest(const struct backlog *b)
{
    return b->count > 0 ? list_owner(b->jobs.next, struct backlog_job, node) : NULL;
}

struct backlog_job *backlog_take(struct backlog *b)
{
    if (b->count == 0) {
        return NULL;
    }
    struct backlog_job *j = list_owner(list_first(&b->jobs), struct backlog_job, node);
    list_remove(&j->node);
    b->count--;
    return j;
}

uint32_t backlog_count(const struct backlog *b)
{
    return b->count;
}
