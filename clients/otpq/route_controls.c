/*
 * `otpq pause`, `otpq resume`, `otpq drain`: what all brokers are to do with a route, with all
 * routes, or one broker with everything; kept in Redis until it is taken back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/operator.h"
#include "clients/otpq/records_access.h"
#include "common/adapters/controls_store.h"
#include "common/adapters/records_watch.h"
#include "common/meaning/job_ops.h"
#include "common/meaning/wire.h"

#define OPTIONS_TEXT                                                                               \
    "  --config FILE      where Redis is\n"                                                        \
    "  --json             print JSON, one object a line\n"                                         \
    "  --help             print this and end\n"                                                    \
    "\nexit code: 0 done, 1 no such route or broker, or Redis said no, 2 wrong usage\n"

static const char pause_usage[] =
    "usage: otpq pause ROUTE|--all [options]\n"
    "       otpq pause --list [options]\n\n"
    "Lets the jobs of a route wait, at all brokers, until `otpq resume`: new ones are still\n"
    "taken and wait too, each until its deadline. Jobs with a fallback go on there.\n\n"
    "  --all              every route, those of callbacks too\n"
    "  --list             what is paused or draining now, since when, by whom\n" OPTIONS_TEXT;

static const char resume_usage[] =
    "usage: otpq resume ROUTE|--all|--broker NAME [options]\n\n"
    "Ends a pause or a drain. A route that --all was said of too stays as that says.\n\n"
    "  --all              takes back what was said with --all\n"
    "  --broker NAME      takes back what was said of this broker\n" OPTIONS_TEXT;

static const char drain_usage[] =
    "usage: otpq drain ROUTE|--all|--broker NAME [options]\n\n"
    "Takes nothing new for a route, at all brokers, until `otpq resume`; what is queued goes\n"
    "out. Clients are told route_draining, and when to come back.\n\n"
    "  --all              every route\n"
    "  --broker NAME      this broker takes nothing new for any route, and lives on\n" OPTIONS_TEXT;

struct command {
    struct voice voice;     /* --json is in it */
    const char *usage;      /* of this command */
    const char *config;     /* path or NULL */
    const char *broker;     /* --broker, or NULL */
    bool all;               /* --all */
    bool list;              /* --list */
    enum control_word word; /* that is to be said */
};

static int wrong(const struct command *c, const char *what)
{
    (void)fprintf(stderr, "%s: %s\n\n%s", c->voice.command, what, c->usage);
    return OTPQ_EXIT_USAGE;
}

/* ---- whether there is such a thing ----------------------------------------------------------- */

/* A route of the records, or the lane of one who is called back. */
static bool route_there(const struct records *r, const char *route)
{
    const struct {
        const char *prefix;
        const struct map *records;
    } lanes[] = {{ACCOUNT_LANE, r->accounts},
                 {AFFILIATE_LANE, r->affiliates},
                 {FLASH_LANE, r->flash_templates}};
    for (size_t i = 0; i < ARRAY_LEN(lanes); i++) {
        size_t n = strlen(lanes[i].prefix);
        if (strncmp(route, lanes[i].prefix, n) == 0) {
            return map_get(lanes[i].records, slice_of(route + n)) != NULL;
        }
    }
    return records_integration(r, slice_of(route)) != NULL;
}

/* A slip of the pen would pause nothing, and nobody would know. */
static int look_for_route(const struct command *c, const struct records_access *access,
                          const char *route)
{
    char error[512];
    struct record_texts texts = {0};
    struct yaml_error why = {""};
    uint64_t version;
    if (!records_load(access->redis, access->config.redis_prefix, &texts, &version, error)) {
        voice_error(&c->voice, "%s", error);
        return OTPQ_EXIT_REFUSED;
    }
    struct records *r = records_build(texts.at, texts.count, version, &why);
    bool there =
        r == NULL || route_there(r, route); /* records that nobody can read are no reason */
    records_unref(&r);
    record_texts_free(&texts);
    if (!there) {
        voice_error(&c->voice, "no record has a route of the name \"%s\"", route);
    }
    return there ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

/* A broker is known by its address; people may say its name. */
static int look_for_broker(const struct command *c, char *out, size_t size)
{
    struct broker_found *all = xcalloc(BROKERS_MAX, sizeof *all);
    const struct client_args args = {.config = c->config};
    int code = OTPQ_EXIT_REFUSED;
    size_t count = operator_brokers(&args, all, NULL, &code);
    code = OTPQ_EXIT_REFUSED;
    for (size_t i = 0; i < count && code != OTPQ_EXIT_DONE; i++) {
        if (strcmp(c->broker, all[i].name) == 0 || strcmp(c->broker, all[i].clients) == 0) {
            (void)snprintf(out, size, "%c%s", CONTROL_BROKER, all[i].clients);
            code = OTPQ_EXIT_DONE;
        }
    }
    if (code != OTPQ_EXIT_DONE && c->word == CONTROL_NONE) {
        (void)snprintf(out, size, "%c%s", CONTROL_BROKER, c->broker); /* it may have gone since */
        code = OTPQ_EXIT_DONE;
    }
    if (code != OTPQ_EXIT_DONE) {
        voice_error(&c->voice, "no broker of the name \"%s\" lives; these do:", c->broker);
        for (size_t i = 0; i < count && !c->voice.json; i++) {
            (void)fprintf(stderr, "  %s  %s\n", all[i].clients, all[i].name);
        }
    }
    free(all);
    return code;
}

/* ---- saying it ------------------------------------------------------------------------------- */

/* For people: a route, "everything", "broker NAME". */
static void put_name(const char *name, char *out, size_t size)
{
    if (strcmp(name, CONTROL_ALL) == 0) {
        (void)snprintf(out, size, "everything");
    } else if (name[0] == CONTROL_BROKER) {
        (void)snprintf(out, size, "broker %s", name + 1);
    } else {
        (void)snprintf(out, size, "%s", name);
    }
}

/* {"route": …} or {"broker": …}, with what is said of it. */
static json_t *json_of(const char *name, enum control_word word)
{
    bool broker = name[0] == CONTROL_BROKER;
    json_t *o = json_pack("{s:s, s:s}", broker ? "broker" : "route", broker ? name + 1 : name,
                          "state", word == CONTROL_NONE ? "open" : control_words[word]);
    must(o != NULL);
    return o;
}

static void put_json(json_t *o)
{
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(o);
}

static void tell(const struct command *c, const char *name, enum control_word was)
{
    static const char *const now[] = {[CONTROL_NONE] = "goes on",
                                      [CONTROL_PAUSED] = "is paused: its jobs wait",
                                      [CONTROL_DRAINING] = "drains: nothing new is taken"};
    char text[CONTROL_NAME_BYTES + 16];
    if (c->voice.json) {
        json_t *o = json_of(name, c->word);
        (void)json_object_set_new(o, "before",
                                  json_string(was == CONTROL_NONE ? "open" : control_words[was]));
        put_json(o);
        return;
    }
    put_name(name, text, sizeof text);
    if (c->word == was) {
        (void)printf("%s %s, as before\n", text, now[c->word]);
    } else {
        (void)printf("%s %s%s%s\n", text, now[c->word], was != CONTROL_NONE ? "; it was " : "",
                     control_words[was]);
    }
}

static int list(const struct command *c, const struct records_access *access)
{
    char error[512];
    struct controls *all = xcalloc(1, sizeof *all);
    bool ok = controls_load(access->redis, access->config.redis_prefix, all, error);
    if (!ok) {
        voice_error(&c->voice, "%s", error);
    } else if (all->count == 0 && !c->voice.json) {
        (void)printf("nothing is paused or draining\n");
    }
    for (size_t i = 0; ok && i < all->count; i++) {
        const struct control *one = &all->at[i];
        char name[CONTROL_NAME_BYTES + 16], since[32] = "";
        time_t at = (time_t)(one->at_ms / 1000);
        struct tm utc;
        put_name(one->name, name, sizeof name);
        (void)strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &utc));
        if (c->voice.json) {
            json_t *o = json_of(one->name, one->word);
            (void)json_object_set_new(o, "at_ms", json_integer((json_int_t)one->at_ms));
            (void)json_object_set_new(o, "by", json_string(one->who));
            put_json(o);
        } else {
            (void)printf("%-32s  %-8s  since %s by %s\n", name, control_words[one->word], since,
                         one->who[0] != '\0' ? one->who : "-");
        }
    }
    free(all);
    return ok ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

static int say(const struct command *c, const struct records_access *access, const char *name)
{
    char who[CONTROL_WHO_BYTES + 1], error[512];
    enum control_word was;
    operator_name(who, sizeof who);
    if (!controls_set(access->redis, access->config.redis_prefix, name, c->word, who, &was,
                      error)) {
        voice_error(&c->voice, "%s", error);
        return OTPQ_EXIT_REFUSED;
    }
    tell(c, name, was);
    return OTPQ_EXIT_DONE;
}

static int act(const struct command *c, const char *route)
{
    struct records_access access;
    char name[CONTROL_NAME_BYTES + 1];
    int code = records_access_open(&access, &c->voice, c->config);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    (void)snprintf(name, sizeof name, "%s", c->all ? CONTROL_ALL : route != NULL ? route : "");
    if (c->list) {
        code = list(c, &access);
    } else if (c->broker != NULL) {
        code = look_for_broker(c, name, sizeof name);
    } else if (!c->all && c->word != CONTROL_NONE) {
        code = look_for_route(c, &access, route);
    }
    if (code == OTPQ_EXIT_DONE && !c->list) {
        code = say(c, &access, name);
    }
    records_access_close(&access);
    return code;
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* Exactly one of a route, --all, --broker and --list. */
static int judge(const struct command *c, int argc, char **argv)
{
    int said = (argc > 0) + c->all + (c->broker != NULL) + c->list;
    if (said != 1 || argc > 1) {
        return wrong(c, c->word == CONTROL_PAUSED ? "one route, or --all, or --list"
                                                  : "one route, or --all, or --broker");
    }
    if (argc == 1 && !wire_id_ok(slice_of(argv[0]), WIRE_ROUTE_BYTES_MAX)) {
        return wrong(c, "a route is 1 to 64 of A-Z a-z 0-9 _ . : -");
    }
    if (c->broker != NULL && (c->broker[0] == '\0' || strlen(c->broker) >= CONTROL_NAME_BYTES)) {
        return wrong(c, "--broker: a name as `otpq drain` lists them");
    }
    return act(c, argc == 1 ? argv[0] : NULL);
}

static int command(int argc, char **argv, struct command *c)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, 'a'},
        {"broker", required_argument, NULL, 'b'},
        {"list", no_argument, NULL, 'l'},
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            (void)fputs(c->usage, stdout);
            return OTPQ_EXIT_DONE;
        }
        if (o == '?' || (o == 'l' && c->word != CONTROL_PAUSED) ||
            (o == 'b' && c->word == CONTROL_PAUSED)) {
            return wrong(c, "unknown option");
        }
        c->all = c->all || o == 'a';
        c->list = c->list || o == 'l';
        c->voice.json = c->voice.json || o == 'j';
        c->broker = o == 'b' ? optarg : c->broker;
        c->config = o == 'c' ? optarg : c->config;
    }
    return judge(c, argc - optind, argv + optind);
}

int cmd_pause(int argc, char **argv)
{
    return command(argc, argv,
                   &(struct command){.voice = {.command = "otpq pause"},
                                     .usage = pause_usage,
                                     .word = CONTROL_PAUSED});
}

int cmd_resume(int argc, char **argv)
{
    return command(argc, argv,
                   &(struct command){.voice = {.command = "otpq resume"},
                                     .usage = resume_usage,
                                     .word = CONTROL_NONE});
}

int cmd_drain(int argc, char **argv)
{
    return command(argc, argv,
                   &(struct command){.voice = {.command = "otpq drain"},
                                     .usage = drain_usage,
                                     .word = CONTROL_DRAINING});
}
