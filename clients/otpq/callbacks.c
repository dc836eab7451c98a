/*
 * `otpq callbacks list|show|replay`: what otpq has to tell others, straight from Redis.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/callbacks_view.h"
#include "clients/otpq/commands.h"
#include "clients/otpq/records_access.h"
#include "common/base/clock.h"

static const char usage[] =
    "usage: otpq callbacks list [--state STATE] [--lane LANE] [--limit N]\n"
    "       otpq callbacks show ID\n"
    "       otpq callbacks replay ID\n"
    "\n"
    "What otpq has to tell customers and affiliates: list prints the newest first, show one with\n"
    "its last attempts, replay makes one due again that was tried, received, given up or\n"
    "dropped: with the whole schedule before it and the same webhook-id.\n"
    "\n"
    "  --state STATE  only these: due, running, done, dead, dropped\n"
    "  --lane LANE    only these: account:NAME, affiliate:AID, flash:ID, an integration\n"
    "  --limit N      at most N (50)\n"
    "  --json         one object a line\n"
    "  --config FILE  where Redis is\n"
    "\n"
    "Exit code 0: done, 1: there is none or Redis said no, 2: a mistake in the arguments.\n";

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 10000 };

struct callbacks {
    struct voice voice; /* --json is in it */
    const char *config; /* path or NULL */
    const char *state;  /* "" any */
    const char *lane;   /* "" any */
    size_t limit;       /* rows at most */
    size_t count;       /* of rows */
    size_t of_tag;      /* rows of the tag that is being read */
    size_t room;        /* of rows */
    struct outbox_row *rows;
};

/* ---- list ------------------------------------------------------------------------------------ */

static bool take_row(void *context, const struct outbox_row *row)
{
    struct callbacks *c = context;
    if (c->count == c->room) {
        c->room = c->room == 0 ? 64 : c->room * 2;
        c->rows = xrealloc(c->rows, c->room * sizeof *c->rows);
    }
    c->rows[c->count++] = *row;
    return ++c->of_tag < c->limit;
}

static int compare_rows(const void *a, const void *b)
{
    const struct outbox_row *x = a;
    const struct outbox_row *y = b;
    if (x->made_ms != y->made_ms) {
        return x->made_ms > y->made_ms ? -1 : 1;
    }
    return strcmp(x->id, y->id);
}

/* The newest of all tags so far; the others are let go. */
static void keep_newest(struct callbacks *c)
{
    if (c->count > 0) {
        qsort(c->rows, c->count, sizeof *c->rows, compare_rows);
    }
    c->count = c->count < c->limit ? c->count : c->limit;
}

static int list(struct callbacks *c, const struct records_access *access)
{
    char error[512];
    for (unsigned tag = 0; tag < OUTBOX_TAGS; tag++) {
        c->of_tag = 0;
        if (!outbox_list(access->redis, access->config.redis_prefix, tag, c->state, c->lane,
                         take_row, c, error)) {
            voice_error(&c->voice, "%s", error);
            return OTPQ_EXIT_REFUSED;
        }
        keep_newest(c);
    }
    if (c->voice.json) {
        for (size_t i = 0; i < c->count; i++) {
            callbacks_view_json(&c->rows[i]);
        }
    } else {
        callbacks_view_table(c->rows, c->count, clock_wall_ms());
    }
    return OTPQ_EXIT_DONE;
}

/* ---- one ------------------------------------------------------------------------------------- */

static int show(struct callbacks *c, const struct records_access *access, const char *id)
{
    char error[512];
    struct outbox_row row;
    int found = outbox_show(access->redis, access->config.redis_prefix, id, &row, error);
    if (found <= 0) {
        voice_error(&c->voice, "%s", found < 0 ? error : "there is no callback of this id");
        return OTPQ_EXIT_REFUSED;
    }
    if (c->voice.json) {
        callbacks_view_json(&row);
    } else {
        callbacks_view_one(&row, clock_wall_ms());
    }
    return OTPQ_EXIT_DONE;
}

static int replay(struct callbacks *c, const struct records_access *access, const char *id)
{
    char error[512];
    int done = outbox_replay(access->redis, access->config.redis_prefix, id, error);
    if (done <= 0) {
        voice_error(&c->voice, "%s", done < 0 ? error : "there is no callback of this id");
        return OTPQ_EXIT_REFUSED;
    }
    (void)printf(c->voice.json ? "{\"id\":\"%s\",\"state\":\"due\"}\n" : "%s is due again\n", id);
    return OTPQ_EXIT_DONE;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int wrong(const char *what)
{
    (void)fprintf(stderr, "otpq callbacks: %s\n%s", what, usage);
    return OTPQ_EXIT_USAGE;
}

static int act(struct callbacks *c, const char *action, const char *id)
{
    struct records_access access;
    int code = records_access_open(&access, &c->voice, c->config);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    if (id == NULL) {
        code = list(c, &access);
    } else {
        code = strcmp(action, "show") == 0 ? show(c, &access, id) : replay(c, &access, id);
    }
    records_access_close(&access);
    free(c->rows);
    return code;
}

static int judge(struct callbacks *c, int argc, char **argv)
{
    const char *action = argc > 0 ? argv[0] : "";
    bool lists = strcmp(action, "list") == 0;
    bool known = lists || strcmp(action, "show") == 0 || strcmp(action, "replay") == 0;
    if (!known || argc != (lists ? 1 : 2)) {
        return wrong(known ? "wrong number of arguments" : "list, show or replay?");
    }
    /* With or without the mark of its webhook-id. */
    const char *id = lists ? NULL : strncmp(argv[1], "msg_", 4) == 0 ? argv[1] + 4 : argv[1];
    if (!lists && !outbox_id_ok(slice_of(id))) {
        return wrong("an id has 22 hex digits, as list prints them");
    }
    return act(c, action, id);
}

static bool state_ok(const char *state)
{
    static const char *const states[] = {"due", "running", "done", "dead", "dropped"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(state, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

int cmd_callbacks(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"state", required_argument, NULL, 's'},
                                            {"lane", required_argument, NULL, 'l'},
                                            {"limit", required_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct callbacks c = {
        .voice = {.command = "otpq callbacks"}, .state = "", .lane = "", .limit = LIMIT_DEFAULT};
    uint64_t limit = LIMIT_DEFAULT;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            (void)fputs(usage, stdout);
            return OTPQ_EXIT_DONE;
        }
        if (o == '?' || (o == 's' && !state_ok(optarg)) ||
            (o == 'n' && (!slice_to_u64(slice_of(optarg), LIMIT_MAX, &limit) || limit == 0))) {
            return wrong(o == '?' ? "unknown option" : o == 's' ? "--state" : "--limit");
        }
        c.voice.json = c.voice.json || o == 'j';
        c.config = o == 'c' ? optarg : c.config;
        c.state = o == 's' ? optarg : c.state;
        c.lane = o == 'l' ? optarg : c.lane;
    }
    c.limit = limit;
    return judge(&c, argc - optind, argv + optind);
}
