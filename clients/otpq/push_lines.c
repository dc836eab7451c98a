#include "clients/otpq/push_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"
#include "common/base/clock.h"
#include "common/meaning/wire.h"

struct lines {
    otpq *q;
    const struct push_options *o; /* as given */
    unsigned line;                /* number of the line read last */
    size_t submitted;             /* jobs taken by the library so far */
    size_t answered;              /* results so far */
    int code;                     /* the worst so far */
};

static void worse(struct lines *l, int code)
{
    l->code = code > l->code ? code : l->code;
}

static void on_answer(void *context, const struct otpq_answer *answer)
{
    struct lines *l = context;
    l->answered++;
    worse(l, client_exit(answer, "done"));
    if (l->o->json) {
        client_print(answer, true);
    } else {
        (void)printf("%s %s %s %s\n", answer->id,
                     answer->state[0] != '\0' ? answer->state : "not_taken", answer->code,
                     answer->detail);
    }
}

static void on_accepted(void *context, const struct otpq_answer *answer)
{
    struct lines *l = context;
    if (l->o->json) {
        client_print(answer, true);
    } else {
        (void)printf("%s %s\n", answer->id, answer->state);
    }
}

bool push_ack(const char *word, enum otpq_ack *out)
{
    static const char *const words[] = {
        [OTPQ_ACK_RESULT] = "result", [OTPQ_ACK_QUEUED] = "queued", [OTPQ_ACK_STORED] = "stored"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (enum otpq_ack)i;
            return true;
        }
    }
    return false;
}

/* Runs the handle until fewer than `most` jobs are unanswered, or nothing came for too long. */
static void drain(struct lines *l, size_t most)
{
    int64_t heard_ms = clock_mono_ms();
    size_t answered = l->answered;
    while (otpq_wait(l->q, most == 0 ? 100 : 1) > most) {
        (void)fflush(stdout); /* what was accepted is of use before the results */
        if (l->answered != answered) {
            answered = l->answered;
            heard_ms = clock_mono_ms();
        } else if (clock_mono_ms() - heard_ms > (int64_t)l->o->timeout_ms) {
            (void)fprintf(stderr, "otpq: no broker answered for %u ms\n", l->o->timeout_ms);
            worse(l, OTPQ_EXIT_NO_BROKER);
            return;
        }
    }
}

static int wrong_line(struct lines *l, const char *why)
{
    (void)fprintf(stderr, "otpq: line %u: %s\n", l->line, why);
    return OTPQ_EXIT_USAGE;
}

static int submit(struct lines *l, struct otpq_job *job, const json_t *body)
{
    struct buf bytes;
    const char *error = "body: whole numbers, texts, true, false and maps only, at most 64 KiB";
    int code = OTPQ_EXIT_DONE;
    buf_init(&bytes, WIRE_BODY_BYTES_MAX);
    bool packed = client_pack_json(&bytes, body);
    job->body = bytes.p;
    job->body_bytes = bytes.n;
    job->accepted = l->o->no_wait && job->ack == OTPQ_ACK_STORED ? NULL : on_accepted;
    if (!packed || otpq_submit(l->q, job, on_answer, l, &error) != 0) {
        code = wrong_line(l, error);
    } else {
        l->submitted++;
    }
    buf_free(&bytes);
    return code;
}

/* jansson would name a key and "unpacked", which says nothing of what may stand there. */
static const char *wrong_key(const json_t *o, char why[128])
{
    static const char *const keys[] = {"id",     "op",       "route", "tenant", "trace",
                                       "ttl_ms", "delay_ms", "pri",   "ack",    "body"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        size_t i = 0;
        while (i < ARRAY_LEN(keys) && strcmp(key, keys[i]) != 0) {
            i++;
        }
        if (i == ARRAY_LEN(keys)) {
            (void)snprintf(why, 128, "unknown key \"%.64s\"", key);
            return why;
        }
    }
    if (!json_is_object(o)) {
        return "a JSON object is wanted";
    }
    return json_object_get(o, "route") == NULL  ? "the key \"route\" is missing"
           : json_object_get(o, "body") == NULL ? "the key \"body\" is missing"
                                                : NULL;
}

static int push_line(struct lines *l, const char *text)
{
    struct otpq_job job = {.op = "send", .pri = -1, .ack = l->o->ack};
    const char *ack = NULL;
    json_error_t error;
    json_t *body = NULL;
    json_int_t ttl_ms = 0;
    json_int_t delay_ms = 0;
    int code;
    char why[128];
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    const char *wrong = o != NULL ? wrong_key(o, why) : error.text;
    if (wrong != NULL) {
        code = wrong_line(l, wrong);
    } else if (json_unpack_ex(o, &error, 0, "{s?s,s?s,s:s,s?s,s?s,s?I,s?I,s?i,s?s,s:o!}", "id",
                              &job.id, "op", &job.op, "route", &job.route, "tenant", &job.tenant,
                              "trace", &job.trace, "ttl_ms", &ttl_ms, "delay_ms", &delay_ms, "pri",
                              &job.pri, "ack", &ack, "body", &body) != 0) {
        code = wrong_line(l, error.text);
    } else if (ack != NULL && !push_ack(ack, &job.ack)) {
        code = wrong_line(l, "ack: one of result, queued, stored");
    } else if (ttl_ms < 0 || ttl_ms > WIRE_TTL_MAX_MS || delay_ms < 0 ||
               delay_ms > WIRE_TTL_MAX_MS) {
        code = wrong_line(l, "ttl_ms, delay_ms: from 0 to 86400000");
    } else {
        job.ttl_ms = (uint32_t)ttl_ms;
        job.delay_ms = (uint32_t)delay_ms;
        code = submit(l, &job, body);
    }
    json_decref(o);
    return code;
}

/* ---- where lines come from ------------------------------------------------------------------- */

enum { CHUNK_BYTES = 64 * 1024, LINE_BYTES_MAX = 1024 * 1024, LOOK_MS = 1000 };

struct source {
    int fd;
    size_t at; /* of chunk, read so far */
    size_t n;  /* used of chunk */
    struct buf line;
    char chunk[CHUNK_BYTES];
};

/* Until there is something to read; meanwhile the queue goes on, and what it says is printed. */
static void wait_for_more(struct lines *l, int fd)
{
    struct pollfd on[2] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};
    do {
        int64_t ms = otpq_next_ms(l->q);
        on[1].fd = otpq_fd(l->q);
        (void)poll(on, ARRAY_LEN(on), ms < 0 || ms > LOOK_MS ? LOOK_MS : (int)ms);
        otpq_process(l->q);
    } while (on[0].revents == 0);
}

/* False at the end. */
static bool source_fill(struct lines *l, struct source *s)
{
    ssize_t n;
    wait_for_more(l, s->fd);
    do {
        n = read(s->fd, s->chunk, sizeof s->chunk);
    } while (n < 0 && errno == EINTR);
    s->at = 0;
    s->n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* The next line without its end, until the next call; NULL: there is none. */
static const char *source_line(struct lines *l, struct source *s)
{
    buf_clear(&s->line);
    while (s->at < s->n || source_fill(l, s)) {
        const char *from = s->chunk + s->at;
        const char *end = memchr(from, '\n', s->n - s->at);
        buf_put(&s->line, from, end != NULL ? (size_t)(end - from) : s->n - s->at);
        s->at = end != NULL ? (size_t)(end - s->chunk) + 1 : s->n;
        if (end != NULL) {
            return buf_text(&s->line);
        }
    }
    return s->line.n > 0 ? buf_text(&s->line) : NULL;
}

static void push_all(struct lines *l, struct source *s)
{
    const char *text;
    while (l->code < OTPQ_EXIT_USAGE && (text = source_line(l, s)) != NULL) {
        l->line++;
        if (!buf_ok(&s->line)) {
            worse(l, wrong_line(l, "longer than 1 MiB"));
        } else if (text[strspn(text, " \t\r")] != '\0') {
            if (l->submitted - l->answered == PUSH_WINDOW) {
                drain(l, PUSH_WINDOW / 2); /* half a window at a time leaves as one batch */
            }
            worse(l, l->code < OTPQ_EXIT_USAGE ? push_line(l, text) : 0);
        }
    }
}

int push_lines(otpq *q, const char *path, const struct push_options *o)
{
    struct lines l = {.q = q, .o = o};
    struct source *s = xcalloc(1, sizeof *s);
    s->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) {
        (void)fprintf(stderr, "otpq: cannot open %s\n", path);
        free(s);
        return OTPQ_EXIT_USAGE;
    }
    buf_init(&s->line, LINE_BYTES_MAX);
    push_all(&l, s);
    if (l.code != OTPQ_EXIT_NO_BROKER) {
        drain(&l, 0);
    }
    if (s->fd != STDIN_FILENO) {
        (void)close(s->fd);
    }
    buf_free(&s->line);
    free(s);
    return l.code;
}
