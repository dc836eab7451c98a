/*
 * `otpq dead list|show|retry|purge`: stored jobs that ended without what was asked.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/confirm.h"
#include "clients/otpq/dead_view.h"
#include "clients/otpq/operator.h"
#include "clients/otpq/records_access.h"
#include "common/base/clock.h"

static const char usage[] =
    "usage: otpq dead list [--route R] [--since TIME] [--limit N]\n"
    "       otpq dead show ID\n"
    "       otpq dead retry ID|--route R [--ttl TIME] [--yes]\n"
    "       otpq dead purge ID|--route R|--before TIME [--yes]\n\n"
    "Dead letters are stored jobs that ended without what was asked: no attempt was left, their\n"
    "time was over, their route was gone. retry submits one again, stored, under the id ID.r1\n"
    "(then ID.r2 ...) with a time to live of its own, and takes the letter away. A verify is "
    "never\n"
    "retried, and neither is what may have been sent (state unknown). TIME: 30s, 5m, 2h, 3d.\n\n"
    "  --route R       only these\n"
    "  --since TIME    only what ended in this time\n"
    "  --before TIME   only what ended longer ago than this\n"
    "  --limit N       list: at most N (50); retry, purge: at most N at once (10000)\n"
    "  --ttl TIME      of the new job (30s)\n"
    "  --yes           do not ask; without a terminal it is needed for more than one\n"
    "  --brokers A,B   brokers to submit to (those that live; client.brokers)\n"
    "  --config FILE   where Redis is\n"
    "  --json          one object a line\n"
    "\nexit code: 0 done, 1 there is none, one could not be done, or it was not confirmed, 2 a\n"
    "mistake in the arguments, 3 no broker answered\n";

enum { LIST_DEFAULT = 50, LIMIT_MAX = 10000, ASK_MS = 10000, TTL_DEFAULT_MS = 30000 };

struct dead {
    struct voice voice;      /* --json is in it */
    struct client_args args; /* where brokers are */
    const char *route;       /* or NULL */
    int64_t since_ms;        /* wall clock; 0: ever */
    int64_t before_ms;       /* wall clock; INT64_MAX: no bound */
    uint64_t limit;          /* 0: as the action has it */
    uint64_t ttl_ms;         /* of a retry */
    bool yes;                /* --yes */
    struct records_access access;
    size_t count, room;      /* of lines */
    struct dead_line *lines; /* found */
    struct buf entry;        /* of the one that is looked at */
    struct dead_line line;   /* … */
    bool readable;           /* … */
    size_t broker_count;     /* of brokers; 0: not asked yet */
    struct broker_found brokers[BROKERS_MAX];
    struct curve_pair pair; /* shown to them */
};

/* ---- finding --------------------------------------------------------------------------------- */

static bool take_line(void *context, const struct dead_row *row)
{
    struct dead *d = context;
    struct stored_job job;
    struct dead_line line;
    if (!dead_line_read(row, &line, &job) || line.at_ms > d->before_ms ||
        (d->route != NULL && strcmp(d->route, line.route) != 0)) {
        return true;
    }
    if (d->count == d->room) {
        d->room = d->room == 0 ? 64 : d->room * 2;
        d->lines = xrealloc(d->lines, d->room * sizeof *d->lines);
    }
    d->lines[d->count++] = line;
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct dead_line *x = a;
    const struct dead_line *y = b;
    if (x->at_ms != y->at_ms) {
        return x->at_ms > y->at_ms ? -1 : 1;
    }
    return strcmp(x->id, y->id);
}

/* The newest that are meant, at most `limit`, of all tags. */
static int find(struct dead *d, size_t limit)
{
    char error[512];
    for (unsigned tag = 0; tag < DEAD_TAGS; tag++) {
        progress_put("looking", tag, DEAD_TAGS);
        if (!dead_list(d->access.redis, d->access.config.redis_prefix, tag, d->since_ms, take_line,
                       d, error)) {
            progress_end();
            voice_error(&d->voice, "%s", error);
            return OTPQ_EXIT_REFUSED;
        }
        if (d->count > 1) {
            qsort(d->lines, d->count, sizeof *d->lines, compare);
        }
        d->count = d->count < limit ? d->count : limit;
    }
    progress_end();
    return OTPQ_EXIT_DONE;
}

static void put_json(json_t *o)
{
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(o);
}

static int list(struct dead *d)
{
    int code = find(d, d->limit > 0 ? d->limit : LIST_DEFAULT);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    if (!d->voice.json && d->count > 0) {
        dead_view_head();
    }
    for (size_t i = 0; i < d->count; i++) {
        if (d->voice.json) {
            put_json(dead_view_json(&d->lines[i], NULL));
        } else {
            dead_view_line(&d->lines[i], clock_wall_ms());
        }
    }
    if (!d->voice.json) {
        (void)printf(d->count == 0 ? "no dead letters\n" : "%zu shown\n", d->count);
    }
    return OTPQ_EXIT_DONE;
}

/* ---- one ------------------------------------------------------------------------------------- */

static bool keep_entry(void *context, const struct dead_row *row)
{
    struct dead *d = context;
    struct stored_job job;
    buf_clear(&d->entry);
    buf_put_slice(&d->entry, row->entry);
    d->readable = buf_ok(&d->entry) && dead_line_read(row, &d->line, &job);
    return false;
}

/* Into d->line and *job, which borrows from d->entry. */
static bool look_at(struct dead *d, const char *id, struct stored_job *job, const char **why)
{
    static char error[512];
    const char *odd;
    int found = dead_show(d->access.redis, d->access.config.redis_prefix, slice_of(id), keep_entry,
                          d, error);
    *why = found < 0 ? error : found == 0 ? "there is no dead letter of this id" : "";
    if (found > 0 && (!d->readable || !stored_job_read(buf_slice(&d->entry), job, &odd))) {
        *why = "its entry cannot be read";
    }
    return (*why)[0] == '\0';
}

static int show(struct dead *d, const char *id)
{
    struct stored_job job;
    const char *why;
    if (!look_at(d, id, &job, &why)) {
        voice_error(&d->voice, "%s", why);
        return OTPQ_EXIT_REFUSED;
    }
    if (d->voice.json) {
        put_json(dead_view_json(&d->line, &job));
    } else {
        dead_view_one(&d->line, &job);
    }
    return OTPQ_EXIT_DONE;
}

/* ---- again ----------------------------------------------------------------------------------- */

/* The same for the same letter: a retry that is cut off and repeated is a repetition for the
 * broker, and not a second job. ID.r1 after ID, ID.r2 after ID.r1; a long ID is cut, and told
 * from others by a hash. */
static void next_id(const char *id, char out[WIRE_ID_BYTES_MAX + 1])
{
    const char *mark = strrchr(id, '.');
    uint64_t number = 0;
    size_t n = strlen(id);
    char suffix[24];
    if (mark != NULL && mark[1] == 'r' && mark[2] != '0' &&
        slice_to_u64(slice_of(mark + 2), 999999, &number)) {
        n = (size_t)(mark - id);
    }
    (void)snprintf(suffix, sizeof suffix, ".r%" PRIu64, number + 1);
    if (n + strlen(suffix) <= WIRE_ID_BYTES_MAX) {
        (void)snprintf(out, WIRE_ID_BYTES_MAX + 1, "%.*s%s", (int)n, id, suffix);
        return;
    }
    uint64_t hash = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (unsigned char)id[i]) * 1099511628211ULL;
    }
    (void)snprintf(out, WIRE_ID_BYTES_MAX + 1, "%.32s.%016" PRIx64 "%.12s", id, hash, suffix);
}

/* A, or a result: the job is kept. N: not; *why says what. */
static bool taken(struct slice message, char why[512])
{
    struct wire_reader r;
    struct wire_nack n;
    (void)snprintf(why, 512, "an answer that is no OTPQ/1");
    if (!wire_open(&r, message, WIRE_CLIENT_MAGIC)) {
        return false;
    }
    if (r.verb == WIRE_NACK && wire_next_nack(&r, &n) == WIRE_NEXT_PAIR) {
        (void)snprintf(why, 512, "%.*s: %.*s", SLICE_ARG(n.error), SLICE_ARG(n.detail));
        return false;
    }
    return r.verb == WIRE_ACCEPTED || r.verb == WIRE_RESULT;
}

/* To the first broker that takes it. */
static int submit(struct dead *d, const struct wire_submit *s, struct slice body, char why[512])
{
    struct buf message, answer;
    const char *failed;
    int code = OTPQ_EXIT_NO_BROKER;
    if (d->broker_count == 0) {
        d->broker_count = operator_brokers(&d->args, d->brokers, &d->pair, &code);
    }
    (void)snprintf(why, 512, "no broker is known");
    buf_init(&message, WIRE_MESSAGE_BYTES_MAX);
    buf_init(&answer, WIRE_MESSAGE_BYTES_MAX);
    wire_begin(&message, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
    wire_put_submit(&message, s, body);
    must(buf_ok(&message));
    code = OTPQ_EXIT_NO_BROKER;
    for (size_t i = 0; i < d->broker_count && code != OTPQ_EXIT_DONE; i++) {
        buf_clear(&answer);
        if (!operator_ask(&d->brokers[i], &d->pair, buf_slice(&message), ASK_MS, &answer,
                          &failed)) {
            (void)snprintf(why, 512, "%s: %s", d->brokers[i].clients, failed);
            continue;
        }
        code = taken(buf_slice(&answer), why) ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
    }
    buf_free(&answer);
    buf_free(&message);
    return code;
}

static const char *may_not_retry(const struct dead *d)
{
    if (d->line.op == WIRE_OP_VERIFY) {
        return "a verify is never retried: its user waits no more";
    }
    if (strcmp(d->line.state, job_end_names[JOB_END_UNKNOWN]) == 0) {
        return "it may have been sent: it is never sent again";
    }
    return NULL;
}

static int retry_one(struct dead *d, const char *id, char fresh[WIRE_ID_BYTES_MAX + 1],
                     char why[512])
{
    struct stored_job job;
    const char *no = NULL;
    char error[512];
    fresh[0] = '\0';
    if (!look_at(d, id, &job, &no) || (no = may_not_retry(d)) != NULL) {
        (void)snprintf(why, 512, "%s", no);
        return OTPQ_EXIT_REFUSED;
    }
    next_id(id, fresh);
    struct wire_submit s = job.submit;
    s.id = slice_of(fresh);
    s.ack = WIRE_ACK_STORED;
    s.ttl_ms = (uint32_t)d->ttl_ms;
    s.delay_ms = 0;
    s.again = false;
    int code = submit(d, &s, job.body, why);
    if (code == OTPQ_EXIT_DONE &&
        dead_take(d->access.redis, d->access.config.redis_prefix, slice_of(id), error) < 0) {
        (void)snprintf(why, 512, "submitted as %s, but the letter is still there: %.300s", fresh,
                       error);
        return OTPQ_EXIT_REFUSED;
    }
    return code;
}

static int purge_one(struct dead *d, const char *id, char fresh[WIRE_ID_BYTES_MAX + 1],
                     char why[512])
{
    fresh[0] = '\0';
    int there = dead_take(d->access.redis, d->access.config.redis_prefix, slice_of(id), why);
    if (there == 0) {
        (void)snprintf(why, 512, "there is no dead letter of this id");
    }
    return there > 0 ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

/* ---- one or many ----------------------------------------------------------------------------- */

typedef int deed(struct dead *d, const char *id, char fresh[WIRE_ID_BYTES_MAX + 1], char why[512]);

static int do_one(struct dead *d, deed *what, const char *id)
{
    char fresh[WIRE_ID_BYTES_MAX + 1], why[512] = "";
    int code = what(d, id, fresh, why);
    if (!d->voice.json && code != OTPQ_EXIT_DONE) {
        voice_error(&d->voice, "%s: %s", id, why);
    } else if (!d->voice.json) {
        (void)printf(fresh[0] != '\0' ? "%s goes on as %s\n" : "%s is gone\n", id, fresh);
    } else {
        json_t *o = json_pack("{s:s}", "id", id);
        must(o != NULL);
        if (fresh[0] != '\0' && code == OTPQ_EXIT_DONE) {
            (void)json_object_set_new(o, "as", json_string(fresh));
        }
        if (code != OTPQ_EXIT_DONE) {
            (void)json_object_set_new(o, "error", json_string(why));
        }
        put_json(o);
    }
    return code;
}

static int do_many(struct dead *d, deed *what, const char *verb)
{
    char sentence[256];
    int worst = find(d, d->limit > 0 ? d->limit : LIMIT_MAX);
    if (worst != OTPQ_EXIT_DONE) {
        return worst;
    }
    (void)snprintf(sentence, sizeof sentence, "This %s %zu dead letters%s%s", verb, d->count,
                   d->route != NULL ? " of " : "", d->route != NULL ? d->route : "");
    worst = confirm(&d->voice, d->yes, sentence, d->route != NULL ? d->route : "all");
    if (worst != OTPQ_EXIT_DONE) {
        return worst;
    }
    for (size_t i = 0; i < d->count && worst != OTPQ_EXIT_NO_BROKER; i++) {
        int code = do_one(d, what, d->lines[i].id);
        worst = code > worst ? code : worst;
        progress_put(verb, i + 1, d->count);
    }
    progress_end();
    return worst;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int wrong(const char *what)
{
    (void)fprintf(stderr, "otpq dead: %s\n%s", what, usage);
    return OTPQ_EXIT_USAGE;
}

static int act(struct dead *d, const char *action, const char *id)
{
    int code = records_access_open(&d->access, &d->voice, d->args.config);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    buf_init(&d->entry, WIRE_MESSAGE_BYTES_MAX);
    bool again = strcmp(action, "retry") == 0;
    deed *what = again ? retry_one : purge_one;
    if (strcmp(action, "list") == 0) {
        code = list(d);
    } else if (strcmp(action, "show") == 0) {
        code = show(d, id);
    } else if (id != NULL) {
        code = do_one(d, what, id);
    } else {
        code = do_many(d, what, again ? "retries" : "purges");
    }
    buf_free(&d->entry);
    free(d->lines);
    records_access_close(&d->access);
    return code;
}

static int judge(struct dead *d, int argc, char **argv)
{
    const char *action = argc > 0 ? argv[0] : "";
    const char *id = argc > 1 ? argv[1] : NULL;
    bool lists = strcmp(action, "list") == 0, shows = strcmp(action, "show") == 0;
    bool retries = strcmp(action, "retry") == 0, purges = strcmp(action, "purge") == 0;
    bool bound = d->route != NULL || (purges && d->before_ms != INT64_MAX);
    if (!lists && !shows && !retries && !purges) {
        return wrong("list, show, retry or purge?");
    }
    if (argc > 2 || (lists && id != NULL) || (shows && id == NULL) ||
        ((retries || purges) && (id != NULL) == bound)) {
        return wrong("wrong number of arguments");
    }
    if (id != NULL && !wire_id_ok(slice_of(id), WIRE_ID_BYTES_MAX)) {
        return wrong("an id is 1 to 64 of A-Z a-z 0-9 _ . : -");
    }
    return act(d, action, id);
}

static bool time_of(const char *text, uint64_t max_ms, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (!slice_to_u64(slice_make(text, digits), 1000000000, &number)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(text + digits, units[i].unit) == 0) {
            *ms = number * units[i].ms;
            return *ms > 0 && *ms <= max_ms;
        }
    }
    return false;
}

/* False: its value is wrong. */
static bool take_option(struct dead *d, int option, const char *value)
{
    uint64_t ms;
    switch (option) {
    case 'r':
        d->route = value;
        return wire_id_ok(slice_of(value), WIRE_ROUTE_BYTES_MAX);
    case 's':
    case 'o':
        if (!time_of(value, 3650ULL * 86400 * 1000, &ms)) {
            return false;
        }
        *(option == 's' ? &d->since_ms : &d->before_ms) = clock_wall_ms() - (int64_t)ms;
        return true;
    case 't':
        return time_of(value, WIRE_TTL_MAX_MS, &d->ttl_ms);
    case 'n':
        return slice_to_u64(slice_of(value), LIMIT_MAX, &d->limit) && d->limit > 0;
    case 'b':
        d->args.brokers = value;
        return true;
    case 'c':
        d->args.config = value;
        return true;
    case 'j':
        d->voice.json = true;
        return true;
    default:
        d->yes = d->yes || option == 'y';
        return option == 'y';
    }
}

int cmd_dead(int argc, char **argv)
{
    static const struct option options[] = {
        {"route", required_argument, NULL, 'r'},
        {"since", required_argument, NULL, 's'},
        {"before", required_argument, NULL, 'o'},
        {"ttl", required_argument, NULL, 't'},
        {"limit", required_argument, NULL, 'n'},
        {"brokers", required_argument, NULL, 'b'},
        {"config", required_argument, NULL, 'c'},
        {"yes", no_argument, NULL, 'y'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct dead *d = xcalloc(1, sizeof *d);
    int code = -1;
    d->voice.command = "otpq dead";
    d->ttl_ms = TTL_DEFAULT_MS;
    d->before_ms = INT64_MAX;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            (void)fputs(usage, stdout);
            code = OTPQ_EXIT_DONE;
        } else if (!take_option(d, o, optarg)) {
            code = wrong(o == '?' ? "unknown option" : "an option's value is wrong");
        }
    }
    code = code < 0 ? judge(d, argc - optind, argv + optind) : code;
    curve_pair_wipe(&d->pair);
    free(d);
    return code;
}
