/*
 * bench_stream --socket PATH --jobs N [--window W] [--batch B] [--body BYTES] [--life 1]: what
 * Redis Streams do by themselves: XADD of N entries, W of them unanswered, B in one write.
 *
 * Prints "jobs SECONDS JOBS_PER_S P50_US P99_US" of the answers. --life 1: a process beside it
 * reads them for a group, acknowledges and deletes them (XREADGROUP, XACK, XDEL); the seconds end
 * when nothing is left.
 */
#include <hiredis/hiredis.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

enum { READ_MAX = 500, ARGS_MAX = READ_MAX + 3, ID_BYTES_MAX = 48 };

struct push {
    redisContext *redis;
    uint64_t jobs, window, batch;
    uint64_t sent, done;
    char *body;
    size_t body_bytes;
    int64_t *sent_us;  /* by job: when it was sent */
    uint32_t *took_us; /* by job: how long its answer took */
};

static redisContext *connect_to(const char *path)
{
    redisContext *c = redisConnectUnix(path);
    must(c != NULL && c->err == 0);
    return c;
}

static redisReply *reply_of(redisContext *c)
{
    void *reply = NULL;
    if (redisGetReply(c, &reply) != REDIS_OK || ((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
        (void)fprintf(stderr, "bench_stream: %s\n",
                      reply != NULL ? ((redisReply *)reply)->str : c->errstr);
        exit(1);
    }
    return reply;
}

static void run_plain(redisContext *c, const char *command)
{
    must(redisAppendCommand(c, command) == REDIS_OK);
    freeReplyObject(reply_of(c));
}

/* ---- pushing --------------------------------------------------------------------------------- */

static void push_batch(struct push *p)
{
    const char *argv[7] = {"XADD", "bench:{s}", "*", "id", NULL, "b", p->body};
    size_t lens[7] = {4, 9, 1, 2, 0, 1, p->body_bytes};
    int64_t now_us = clock_mono_us();
    for (uint64_t i = 0; i < p->batch; i++) {
        char id[ID_BYTES_MAX];
        int n = snprintf(id, sizeof id, "bench-%012llu", (unsigned long long)p->sent);
        argv[4] = id;
        lens[4] = (size_t)n;
        must(redisAppendCommandArgv(p->redis, 7, argv, lens) == REDIS_OK);
        p->sent_us[p->sent++] = now_us;
    }
    int done = 0;
    while (done == 0) {
        must(redisBufferWrite(p->redis, &done) == REDIS_OK);
    }
}

static void push_all(struct push *p)
{
    while (p->done < p->jobs) {
        while (p->sent < p->jobs && p->sent + p->batch - p->done <= p->window) {
            push_batch(p);
        }
        for (uint64_t i = 0; i < p->batch; i++) {
            freeReplyObject(reply_of(p->redis));
            p->took_us[p->done] = (uint32_t)(clock_mono_us() - p->sent_us[p->done]);
            p->done++;
        }
    }
}

/* ---- the rest of a life ---------------------------------------------------------------------- */

static void append_ids(redisContext *c, const char *verb, const char *group,
                       const redisReply *entries)
{
    const char *argv[ARGS_MAX] = {verb, "bench:{s}", group};
    size_t lens[ARGS_MAX] = {strlen(verb), 9, group != NULL ? strlen(group) : 0};
    int argc = group != NULL ? 3 : 2;
    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *id = entries->element[i]->element[0];
        argv[argc] = id->str;
        lens[argc++] = id->len;
    }
    must(redisAppendCommandArgv(c, argc, argv, lens) == REDIS_OK);
}

/* Acknowledges what has come while more is being read. */
static void consume(const char *path, uint64_t jobs)
{
    redisContext *c = connect_to(path);
    const char *read = "XREADGROUP GROUP g c COUNT 500 BLOCK 2000 STREAMS bench:{s} >";
    uint64_t done = 0;
    must(redisAppendCommand(c, read) == REDIS_OK);
    while (done < jobs) {
        redisReply *r = reply_of(c);
        bool any = r->type == REDIS_REPLY_ARRAY;
        if (any) {
            const redisReply *entries = r->element[0]->element[1];
            append_ids(c, "XACK", "g", entries);
            append_ids(c, "XDEL", NULL, entries);
            done += entries->elements;
        }
        if (done < jobs) {
            must(redisAppendCommand(c, read) == REDIS_OK);
        }
        for (int i = 0; any && i < 2; i++) {
            freeReplyObject(reply_of(c));
        }
        freeReplyObject(r);
    }
    redisFree(c);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    const char *path = bench_text(argc, argv, "socket", "redis.sock");
    struct push p = {.jobs = bench_number(argc, argv, "jobs", 100000),
                     .window = bench_number(argc, argv, "window", 1000),
                     .batch = bench_number(argc, argv, "batch", 1),
                     .body_bytes = bench_number(argc, argv, "body", 250)};
    bool life = bench_number(argc, argv, "life", 0) != 0;
    pid_t consumer = 0;
    p.jobs = (p.jobs + p.batch - 1) / p.batch * p.batch;
    p.body = xcalloc(1, p.body_bytes);
    memset(p.body, 'x', p.body_bytes);
    p.sent_us = xcalloc(p.jobs, sizeof *p.sent_us);
    p.took_us = xcalloc(p.jobs, sizeof *p.took_us);
    p.redis = connect_to(path);
    run_plain(p.redis, "DEL bench:{s}");
    if (life) {
        run_plain(p.redis, "XGROUP CREATE bench:{s} g 0 MKSTREAM");
        consumer = fork();
        must(consumer >= 0);
        if (consumer == 0) {
            consume(path, p.jobs);
            _exit(0);
        }
    }
    int64_t began_us = clock_mono_us();
    push_all(&p);
    if (life) {
        int status = 0;
        must(waitpid(consumer, &status, 0) == consumer && status == 0);
    }
    double seconds = (double)(clock_mono_us() - began_us) / 1e6;
    qsort(p.took_us, p.done, sizeof *p.took_us, by_size);
    (void)printf("jobs %.3f %.0f %u %u\n", seconds, (double)p.jobs / seconds, p.took_us[p.done / 2],
                 p.took_us[p.done * 99 / 100]);
    redisFree(p.redis);
    return 0;
}
