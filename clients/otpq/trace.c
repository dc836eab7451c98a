/*
 * `otpq trace REQUEST_ID`: the time-line of one request as a picture, straight from Redis.
 */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/records_access.h"
#include "common/base/buf.h"
#include "common/meaning/code.h"
#include "common/meaning/msisdn.h"

static const char usage[] =
    "usage: otpq trace REQUEST_ID [--json] [--config FILE]\n"
    "\n"
    "Prints what happened to a request, step by step: the send and every verify, each with the\n"
    "milliseconds since its beginning and a bar for the time since the step before.\n"
    "\n"
    "  --json         one object instead of lines\n"
    "  --config FILE  where Redis is\n";

enum { STEPS_MAX = 256, BAR = 28, SESSION_FIELDS = 9, KEY_BYTES_MAX = 512 };

static const char *const session_fields[SESSION_FIELDS] = {
    "st", "route", "aid", "msisdn", "exp", "checks", "verified_at", "via", "country"};
enum {
    FIELD_STATE,
    FIELD_ROUTE,
    FIELD_AID,
    FIELD_MSISDN,
    FIELD_EXPIRES,
    FIELD_CHECKS,
    FIELD_VERIFIED_AT,
    FIELD_VIA,
    FIELD_COUNTRY
};

struct trace_step {
    int64_t at_ms;
    size_t order;     /* place in the list: breaks ties */
    size_t job_order; /* place of its job's first element: jobs stay together */
    const char *step; /* borrowed from the parsed element */
    const char *job;
    const char *op;
    const char *detail;
};

struct trace {
    const char *request_id;
    const char *prefix;
    char tag[3];
    struct voice voice;            /* --json is in it */
    int64_t now_ms;                /* Redis' clock, as in the scripts */
    char *session[SESSION_FIELDS]; /* NULL: no such field, or no session */
    size_t count;
    struct trace_step steps[STEPS_MAX];
    json_t *elements[STEPS_MAX]; /* what steps borrow from */
};

/* ---- reading --------------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* A job that goes on in other hands is told with all that was known when it came to them: that it
 * was accepted is so in each of them, and true once. */
static bool is_told(const struct trace *t, const struct trace_step *s)
{
    bool told = false;
    for (size_t i = 0; i < t->count && strcmp(s->step, "accepted") == 0; i++) {
        told |= strcmp(t->steps[i].step, s->step) == 0 && strcmp(t->steps[i].job, s->job) == 0;
    }
    return told;
}

static void take_step(struct trace *t, const redisReply *element)
{
    json_error_t error;
    json_t *e = element->str != NULL
                    ? json_loadb(element->str, element->len, JSON_REJECT_DUPLICATES, &error)
                    : NULL;
    if (e == NULL || !json_is_object(e) || t->count == STEPS_MAX) {
        json_decref(e);
        return;
    }
    struct trace_step *s = &t->steps[t->count];
    *s = (struct trace_step){.at_ms = json_integer_value(json_object_get(e, "at_ms")),
                             .order = t->count,
                             .job_order = t->count,
                             .step = text_of(e, "step"),
                             .job = text_of(e, "job"),
                             .op = text_of(e, "op"),
                             .detail = text_of(e, "detail")};
    if (is_told(t, s)) {
        json_decref(e);
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->steps[i].job, s->job) == 0) {
            s->job_order = t->steps[i].job_order;
            break;
        }
    }
    t->elements[t->count++] = e;
}

static int compare_steps(const void *a, const void *b)
{
    const struct trace_step *x = a;
    const struct trace_step *y = b;
    if (x->job_order != y->job_order) {
        return x->job_order < y->job_order ? -1 : 1;
    }
    if (x->at_ms != y->at_ms) {
        return x->at_ms < y->at_ms ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

/* The list that it answers, or NULL with its reason said. */
static redisReply *answered(const struct trace *t, struct asker *a, int argc,
                            const struct slice *argv)
{
    char error[512];
    redisReply *r = store_ask(a, argc, argv, error);
    if (r != NULL && r->type == REDIS_REPLY_ARRAY) {
        return r;
    }
    voice_error(&t->voice, "%s", r == NULL ? error : "Redis: odd answer");
    if (r != NULL) {
        freeReplyObject(r);
    }
    return NULL;
}

/* kind: "t" or "s". */
static char *key_of(const struct trace *t, const char *kind)
{
    struct buf b;
    buf_init(&b, KEY_BYTES_MAX);
    buf_printf(&b, "%s%s:{%s}:%s", t->prefix, kind, t->tag, t->request_id);
    return buf_take(&b);
}

static bool read_steps(struct trace *t, struct asker *a)
{
    char *key = key_of(t, "t");
    const struct slice range[] = {SLICE("LRANGE"), slice_of(key), SLICE("0"), SLICE("-1")};
    redisReply *r = answered(t, a, (int)ARRAY_LEN(range), range);
    free(key);
    if (r == NULL) {
        return false;
    }
    for (size_t i = 0; i < r->elements; i++) {
        take_step(t, r->element[i]);
    }
    freeReplyObject(r);
    qsort(t->steps, t->count, sizeof t->steps[0], compare_steps);
    return true;
}

static bool read_session(struct trace *t, struct asker *a)
{
    char *key = key_of(t, "s");
    struct slice get[2 + SESSION_FIELDS] = {SLICE("HMGET"), slice_of(key)};
    for (size_t i = 0; i < SESSION_FIELDS; i++) {
        get[2 + i] = slice_of(session_fields[i]);
    }
    redisReply *r = answered(t, a, (int)ARRAY_LEN(get), get);
    free(key);
    if (r == NULL) {
        return false;
    }
    for (size_t i = 0; i < r->elements && i < SESSION_FIELDS; i++) {
        if (r->element[i]->type == REDIS_REPLY_STRING) {
            t->session[i] = slice_dup(slice_make(r->element[i]->str, r->element[i]->len));
        }
    }
    freeReplyObject(r);
    return true;
}

static bool read_clock(struct trace *t, struct asker *a)
{
    const struct slice time[] = {SLICE("TIME")};
    redisReply *r = answered(t, a, 1, time);
    if (r == NULL) {
        return false;
    }
    if (r->elements == 2) {
        t->now_ms = strtoll(r->element[0]->str, NULL, 10) * 1000 +
                    strtoll(r->element[1]->str, NULL, 10) / 1000;
    }
    freeReplyObject(r);
    return true;
}

/* ---- showing --------------------------------------------------------------------------------- */

static int64_t number_of(const struct trace *t, int field)
{
    return t->session[field] != NULL ? strtoll(t->session[field], NULL, 10) : 0;
}

static const char *session_state(const struct trace *t)
{
    const char *state = t->session[FIELD_STATE];
    if (state == NULL) {
        return "none";
    }
    if (strcmp(state, "verified") != 0 && t->now_ms >= number_of(t, FIELD_EXPIRES)) {
        return "expired";
    }
    return state;
}

static bool has(const struct trace *t, int field)
{
    return t->session[field] != NULL && t->session[field][0] != '\0';
}

static bool is_affiliate(const char *party)
{
    return strspn(party, "0123456789") == strlen(party);
}

/* Whose it is: an affiliate's number alone says less than "account:demo". */
static void print_party(const struct trace *t)
{
    const char *party = has(t, FIELD_AID) ? t->session[FIELD_AID] : "nobody";
    (void)printf("   %s%s", is_affiliate(party) ? "affiliate " : "", party);
}

static void print_session(const struct trace *t)
{
    (void)printf("request %s   session %s", t->request_id, session_state(t));
    if (t->session[FIELD_STATE] == NULL) {
        (void)printf(" (nothing was sent, or its retention is over)\n");
        return;
    }
    (void)printf("\nroute %s", t->session[FIELD_ROUTE]);
    if (has(t, FIELD_VIA)) {
        (void)printf(" (carried by %s)", t->session[FIELD_VIA]);
    }
    print_party(t);
    if (has(t, FIELD_MSISDN)) {
        struct msisdn_masked masked = msisdn_mask(slice_of(t->session[FIELD_MSISDN]));
        (void)printf("   number %s %s", masked.text,
                     has(t, FIELD_COUNTRY) ? t->session[FIELD_COUNTRY] : "");
    }
    (void)printf("\n");
    int64_t left_ms = number_of(t, FIELD_EXPIRES) - t->now_ms;
    if (strcmp(t->session[FIELD_STATE], "verified") != 0 && left_ms > 0) {
        (void)printf("expires in %" PRId64 " s   wrong checks %" PRId64 "\n",
                     (left_ms + 999) / 1000, number_of(t, FIELD_CHECKS));
    }
}

/* Columns [from, to) of the bar that the time since the step before takes; at least one. */
static void put_bar(int64_t from_ms, int64_t to_ms, int64_t whole_ms, char out[BAR + 1])
{
    int64_t whole = whole_ms > 0 ? whole_ms : 1;
    int64_t from = from_ms * BAR / whole;
    int64_t to = to_ms * BAR / whole;
    from = from > BAR - 1 ? BAR - 1 : from;
    to = to > BAR ? BAR : to;
    to = to <= from ? from + 1 : to;
    memset(out, ' ', BAR);
    memset(out + from, to_ms > from_ms ? '#' : '|', (size_t)(to - from));
    out[BAR] = '\0';
}

/* What is too long for the rest of a terminal's line has a line of its own. */
static const char *detail_gap(const char *detail)
{
    enum { DETAIL_COLUMNS = 80 - 62 };
    return detail[0] == '\0' ? "" : strlen(detail) > DETAIL_COLUMNS ? "\n             " : " ";
}

static void print_job(const struct trace_step *s, size_t count)
{
    int64_t begin = s[0].at_ms;
    int64_t whole = s[count - 1].at_ms - begin;
    char bar[BAR + 1];
    (void)printf("\n%s   job %s   %" PRId64 " ms\n", s[0].op, s[0].job, whole);
    for (size_t i = 0; i < count; i++) {
        int64_t before = i > 0 ? s[i - 1].at_ms - begin : 0;
        put_bar(before, s[i].at_ms - begin, whole, bar);
        (void)printf("  %+6" PRId64 " ms  [%s]  %-16s%s%s\n", s[i].at_ms - begin, bar, s[i].step,
                     detail_gap(s[i].detail), s[i].detail);
    }
}

static void print_picture(const struct trace *t)
{
    print_session(t);
    for (size_t i = 0; i < t->count;) {
        size_t n = 1;
        while (i + n < t->count && t->steps[i + n].job_order == t->steps[i].job_order) {
            n++;
        }
        print_job(&t->steps[i], n);
        i += n;
    }
}

static void print_json(const struct trace *t)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < t->count; i++) {
        must(json_array_append(steps, t->elements[t->steps[i].order]) == 0);
    }
    json_t *out = json_pack("{s:s, s:s, s:o}", "request_id", t->request_id, "session",
                            session_state(t), "steps", steps);
    must(out != NULL);
    if (t->session[FIELD_STATE] != NULL) {
        json_t *more =
            json_pack("{s:s?, s:s?, s:s?, s:I, s:I, s:I}", "route", t->session[FIELD_ROUTE], "via",
                      has(t, FIELD_VIA) ? t->session[FIELD_VIA] : NULL, "party",
                      t->session[FIELD_AID], "aid", (json_int_t)number_of(t, FIELD_AID),
                      "expires_at_ms", (json_int_t)number_of(t, FIELD_EXPIRES), "wrong_checks",
                      (json_int_t)number_of(t, FIELD_CHECKS));
        must(more != NULL && json_object_update(out, more) == 0);
        json_decref(more);
    }
    char *text = json_dumps(out, JSON_COMPACT);
    must(text != NULL);
    (void)puts(text);
    free(text);
    json_decref(out);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int trace_show(struct trace *t, struct asker *a)
{
    if (!read_steps(t, a) || !read_session(t, a) || !read_clock(t, a)) {
        return OTPQ_EXIT_REFUSED;
    }
    if (t->count == 0 && t->session[FIELD_STATE] == NULL) {
        voice_error(&t->voice, "nothing is known of %s (session_keep_s is over?)", t->request_id);
        return OTPQ_EXIT_REFUSED;
    }
    if (t->voice.json) {
        print_json(t);
    } else {
        print_picture(t);
    }
    return OTPQ_EXIT_DONE;
}

static int trace_run(struct trace *t, const char *config_path)
{
    struct records_access access;
    int code = records_access_open(&access, &t->voice, config_path);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    t->prefix = access.config.redis_prefix;
    code = trace_show(t, access.redis);
    for (size_t i = 0; i < t->count; i++) {
        json_decref(t->elements[i]);
    }
    for (size_t i = 0; i < SESSION_FIELDS; i++) {
        free(t->session[i]);
    }
    records_access_close(&access);
    return code;
}

int cmd_trace(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static struct trace t = {.voice = {.command = "otpq trace"}};
    const char *config_path = NULL;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            (void)fputs(usage, stdout);
            return OTPQ_EXIT_DONE;
        }
        if (o == '?') {
            (void)fputs(usage, stderr);
            return OTPQ_EXIT_USAGE;
        }
        t.voice.json = t.voice.json || o == 'j';
        config_path = o == 'c' ? optarg : config_path;
    }
    if (argc - optind != 1) {
        (void)fprintf(stderr, "otpq trace: one request id is needed\n%s", usage);
        return OTPQ_EXIT_USAGE;
    }
    t.request_id = argv[optind];
    if (!code_request_tag(slice_of(t.request_id), t.tag)) {
        voice_error(&t.voice,
                    "\"%s\" is no request id of otpq (\"r\" and 22 more characters, a number, or "
                    "32 hex digits, from a result)",
                    t.request_id);
        return OTPQ_EXIT_USAGE;
    }
    return trace_run(&t, config_path);
}
