/*
 * `otpq unknown list|resolve`: jobs whose outcome nobody knows, straight from Redis.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/confirm.h"
#include "clients/otpq/operator.h"
#include "clients/otpq/records_access.h"
#include "clients/otpq/unknown_view.h"
#include "common/base/clock.h"

static const char usage[] =
    "usage: otpq unknown list [--route ROUTE] [--since TIME] [--limit N]\n"
    "       otpq unknown resolve ID sent|not_sent|verified|not_verified [--yes]\n"
    "\n"
    "Jobs whose outcome nobody knows: list prints the newest first. resolve says what became of\n"
    "one: its result, its session, click or conversion and callbacks follow, as if the advertiser\n"
    "had said so, and the time-line keeps who it was. sent and not_sent are for a send, verified\n"
    "and not_verified for a verify.\n"
    "\n"
    "  --route ROUTE  only these\n"
    "  --since TIME   only those that became unknown in the last 30s, 10m, 2h or 7d\n"
    "  --limit N      at most N (50)\n"
    "  --yes          resolve does not ask again\n"
    "  --json         one object a line\n"
    "  --config FILE  where Redis is\n"
    "\n"
    "Exit code 0: done, 1: there is none, or it is known by now, 2: a mistake in the arguments.\n";

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 100000 };

struct unknown {
    struct voice voice; /* --json is in it */
    const char *config; /* path or NULL */
    const char *route;  /* "" any */
    int64_t from_ms;    /* wall clock; 0: any */
    bool yes;
    size_t limit;  /* rows at most */
    size_t count;  /* of rows */
    size_t of_tag; /* rows of the tag that is being read */
    size_t room;   /* of rows */
    struct unknown_row *rows;
};

/* ---- list ------------------------------------------------------------------------------------ */

/* The newest of a tag come first. */
static bool take_row(void *context, const struct unknown_row *row)
{
    struct unknown *u = context;
    if (row->since_ms < u->from_ms) {
        return false;
    }
    if (u->route[0] != '\0' && strcmp(u->route, row->route) != 0) {
        return true;
    }
    if (u->count == u->room) {
        u->room = u->room == 0 ? 64 : u->room * 2;
        u->rows = xrealloc(u->rows, u->room * sizeof *u->rows);
    }
    u->rows[u->count++] = *row;
    return ++u->of_tag < u->limit;
}

static int compare_rows(const void *a, const void *b)
{
    const struct unknown_row *x = a;
    const struct unknown_row *y = b;
    if (x->since_ms != y->since_ms) {
        return x->since_ms > y->since_ms ? -1 : 1;
    }
    return strcmp(x->job, y->job);
}

/* The newest of all tags so far; the others are let go. */
static void keep_newest(struct unknown *u)
{
    if (u->count > 0) {
        qsort(u->rows, u->count, sizeof *u->rows, compare_rows);
    }
    u->count = u->count < u->limit ? u->count : u->limit;
}

static int list(struct unknown *u, const struct records_access *access)
{
    char error[512];
    for (unsigned tag = 0; tag < UNKNOWN_TAGS; tag++) {
        u->of_tag = 0;
        if (!unknown_list(access->redis, access->config.redis_prefix, tag, take_row, u, error)) {
            voice_error(&u->voice, "%s", error);
            return OTPQ_EXIT_REFUSED;
        }
        keep_newest(u);
    }
    if (u->voice.json) {
        for (size_t i = 0; i < u->count; i++) {
            unknown_view_json(&u->rows[i]);
        }
    } else {
        unknown_view_table(u->rows, u->count, clock_wall_ms());
    }
    return OTPQ_EXIT_DONE;
}

/* ---- resolve --------------------------------------------------------------------------------- */

static int tell_resolved(const struct unknown *u, const struct unknown_word *word,
                         enum unknown_resolved what, const struct unknown_outcome *out,
                         const char *error)
{
    switch (what) {
    case UNKNOWN_RESOLVED:
        if (u->voice.json) {
            unknown_view_resolved(word, out);
        } else {
            (void)printf("%s: %s, %s\n", word->job, out->end, out->code);
        }
        return OTPQ_EXIT_DONE;
    case UNKNOWN_RESOLVED_BEFORE:
        voice_error(&u->voice, "%s is not unknown: %s%s%s", word->job, out->end,
                    out->code[0] != '\0' ? ", " : "", out->code);
        break;
    case UNKNOWN_OTHER_OP:
        voice_error(&u->voice, "%s is a %s: %s says nothing of it", word->job, out->end,
                    unknown_fates[word->fate]);
        break;
    case UNKNOWN_GONE:
        voice_error(&u->voice, "there is no job %s, or its result is no longer kept", word->job);
        break;
    case UNKNOWN_ERROR:
        voice_error(&u->voice, "%s", error);
        break;
    }
    return OTPQ_EXIT_REFUSED;
}

static int resolve(const struct unknown *u, const struct records_access *access, const char *job,
                   enum unknown_fate fate)
{
    char error[512] = "", who[128], question[256];
    struct unknown_outcome out;
    operator_name(who, sizeof who);
    (void)snprintf(question, sizeof question,
                   "%.64s becomes %s for good, with all callbacks that follow", job,
                   unknown_fates[fate]);
    int code = confirm(&u->voice, u->yes, question, unknown_fates[fate]);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    const struct unknown_word word = {
        .job = job, .fate = fate, .who = who, .events_keep_s = access->config.events_keep_s};
    enum unknown_resolved what =
        unknown_resolve(access->redis, access->config.redis_prefix, &word, &out, error);
    return tell_resolved(u, &word, what, &out, error);
}

/* ---- the command ----------------------------------------------------------------------------- */

static int wrong(const char *what)
{
    (void)fprintf(stderr, "otpq unknown: %s\n%s", what, usage);
    return OTPQ_EXIT_USAGE;
}

static bool fate_of(const char *text, enum unknown_fate *fate)
{
    for (size_t i = 0; i < ARRAY_LEN(unknown_fates); i++) {
        if (strcmp(text, unknown_fates[i]) == 0) {
            *fate = (enum unknown_fate)i;
            return true;
        }
    }
    return false;
}

/* "30s", "10m", "2h", "7d" ago. */
static bool read_since(const char *text, int64_t *from_ms)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t n = strlen(text);
    uint64_t count = 0;
    for (size_t i = 0; n > 1 && i < ARRAY_LEN(units); i++) {
        if (text[n - 1] == units[i].unit && slice_to_u64(slice_make(text, n - 1), 100000, &count)) {
            *from_ms = clock_wall_ms() - (int64_t)count * units[i].ms;
            return true;
        }
    }
    return false;
}

static int judge(struct unknown *u, int argc, char **argv)
{
    const char *action = argc > 0 ? argv[0] : "";
    bool lists = strcmp(action, "list") == 0;
    enum unknown_fate fate = UNKNOWN_SENT;
    if (!lists && strcmp(action, "resolve") != 0) {
        return wrong("list or resolve?");
    }
    if (argc != (lists ? 1 : 3)) {
        return wrong("wrong number of arguments");
    }
    if (!lists && !fate_of(argv[2], &fate)) {
        return wrong("sent, not_sent, verified or not_verified?");
    }
    if (!lists && (argv[1][0] == '\0' || strlen(argv[1]) > UNKNOWN_ID_BYTES)) {
        return wrong("an id has 1 to 64 characters, as list prints them");
    }
    struct records_access access;
    int code = records_access_open(&access, &u->voice, u->config);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    code = lists ? list(u, &access) : resolve(u, &access, argv[1], fate);
    records_access_close(&access);
    free(u->rows);
    return code;
}

int cmd_unknown(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},         {"yes", no_argument, NULL, 'y'},
        {"config", required_argument, NULL, 'c'}, {"route", required_argument, NULL, 'r'},
        {"since", required_argument, NULL, 's'},  {"limit", required_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct unknown u = {.voice = {.command = "otpq unknown"}, .route = ""};
    uint64_t limit = LIMIT_DEFAULT;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            (void)fputs(usage, stdout);
            return OTPQ_EXIT_DONE;
        }
        if (o == '?' || (o == 's' && !read_since(optarg, &u.from_ms)) ||
            (o == 'n' && (!slice_to_u64(slice_of(optarg), LIMIT_MAX, &limit) || limit == 0))) {
            return wrong(o == '?' ? "unknown option" : o == 's' ? "--since" : "--limit");
        }
        u.voice.json = u.voice.json || o == 'j';
        u.yes = u.yes || o == 'y';
        u.config = o == 'c' ? optarg : u.config;
        u.route = o == 'r' ? optarg : u.route;
    }
    u.limit = limit;
    return judge(&u, argc - optind, argv + optind);
}
