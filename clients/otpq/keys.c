/*
 * `otpq keys new|list|revoke`: who may use the brokers' sockets. The secret half of a pair goes
 * into a file of its owner alone and nowhere else; the public half becomes a record.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/keys_plan.h"
#include "clients/otpq/records_access.h"
#include "common/adapters/curve.h"
#include "common/adapters/records_watch.h"

static const char usage[] =
    "usage: otpq keys new NAME --kind KIND [--tenants A,B] [--routes X,Y] [--out FILE]\n"
    "       otpq keys list\n"
    "       otpq keys revoke NAME [--yes]\n"
    "\n"
    "Who may use the brokers' sockets, by its CURVE key. new makes a pair: the secret half goes\n"
    "into FILE, readable by its owner alone, the public half into the records, and on standard\n"
    "output. revoke shuts it out everywhere within a second, live connections too, for good: for\n"
    "the same program again make a key with another name.\n"
    "\n"
    "  --kind KIND    client, worker, gateway, broker or operator\n"
    "  --tenants A,B  tenants that its jobs may have, or all; \"acme:\": all that begin so\n"
    "  --routes X,Y   the same of routes; a client needs both\n"
    "  --out FILE     where the pair goes (NAME.key); a file that is there is not overwritten\n"
    "  --yes          revoke without asking\n"
    "  --json         print JSON, list one object a line\n"
    "  --config FILE  where Redis is\n"
    "\n"
    "Exit code 0: done, 1: there is none, Redis said no, or brokers refuse the records, 2: a "
    "mistake\n"
    "in the arguments.\n";

struct keys {
    struct voice voice;          /* --json is in it */
    const char *config;          /* path or NULL */
    struct keys_wish wish;       /* of new */
    const char *out;             /* of new, or NULL: NAME.key */
    bool yes;                    /* of revoke */
    struct record_texts stored;  /* of the store */
    uint64_t version;            /* of them */
    struct records_access redis; /* open while a command runs */
};

static void now_text(char out[32])
{
    time_t now = time(NULL);
    struct tm utc;
    must(gmtime_r(&now, &utc) != NULL);
    must(strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) > 0);
}

/* ---- the store ------------------------------------------------------------------------------- */

static int load(struct keys *k)
{
    char why[512];
    if (records_load(k->redis.redis, k->redis.config.redis_prefix, &k->stored, &k->version, why)) {
        return OTPQ_EXIT_DONE;
    }
    voice_error(&k->voice, "%s", why);
    return OTPQ_EXIT_REFUSED;
}

static const struct record_text *stored_key(const struct keys *k, const char *name)
{
    for (size_t i = 0; i < k->stored.count; i++) {
        const struct record_text *t = &k->stored.at[i];
        if (t->kind == RECORD_CURVE_KEY && strcmp(t->name, name) == 0) {
            return t;
        }
    }
    return NULL;
}

static int store(struct keys *k, char *name, char *text)
{
    char why[512];
    const struct record_text record = {.kind = RECORD_CURVE_KEY, .name = name, .text = text};
    if (records_store(k->redis.redis, k->redis.config.redis_prefix, &record, 1, k->version, why)) {
        return OTPQ_EXIT_DONE;
    }
    voice_error(&k->voice, "%s", why);
    return OTPQ_EXIT_REFUSED;
}

/* ---- new ------------------------------------------------------------------------------------- */

/* Never over a file that is there: it may be the only one of a key in use. */
static bool write_file(const struct keys *k, const char *path, const struct curve_pair *pair,
                       const char *made)
{
    char text[1024];
    must(curve_file_write(text, sizeof(text), pair, k->wish.name, k->wish.kind, made));
    size_t n = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok =
        fd >= 0 && fchmod(fd, 0600) == 0 && write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    int error = errno;
    explicit_bzero(text, sizeof(text));
    if (fd >= 0) {
        ok = close(fd) == 0 && ok;
    }
    if (!ok) {
        voice_error(&k->voice, "%s: %s", path,
                    error == EEXIST ? "is there, and is not overwritten: name another with --out"
                                    : strerror(error));
        if (fd >= 0) {
            (void)unlink(path);
        }
    }
    return ok;
}

static void say_new(const struct keys *k, const char *path, const struct curve_pair *pair)
{
    if (k->voice.json) {
        json_t *said = json_pack("{s:s, s:s, s:s, s:s}", "name", k->wish.name, "kind", k->wish.kind,
                                 "public_key", pair->public_key, "file", path);
        (void)json_dumpf(said, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(said);
        return;
    }
    (void)printf("%s\n", pair->public_key);
    (void)fprintf(stderr, "otpq keys: %s (%s): the pair is in %s\n", k->wish.name, k->wish.kind,
                  path);
}

/* The file first: a record without its secret half would be a name that is gone. */
static int make(struct keys *k, const char *path)
{
    char made[32];
    struct curve_pair pair;
    struct buf text;
    now_text(made);
    curve_pair_make(&pair);
    buf_init(&text, RECORD_BYTES_MAX);
    keys_plan_text(&k->wish, pair.public_key, made, &text);
    int code = write_file(k, path, &pair, made) ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
    if (code == OTPQ_EXIT_DONE) {
        char *name = slice_dup(slice_of(k->wish.name));
        char *record = buf_take(&text);
        code = store(k, name, record);
        free(record);
        free(name);
        if (code == OTPQ_EXIT_DONE) {
            say_new(k, path, &pair);
        } else {
            (void)unlink(path);
        }
    }
    buf_free(&text);
    curve_pair_wipe(&pair);
    return code;
}

static int run_new(struct keys *k, const char *name)
{
    char path[512];
    int code = load(k);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    if (stored_key(k, name) != NULL) {
        voice_error(&k->voice, "there is a key of the name %s: `otpq keys list` shows it", name);
        return OTPQ_EXIT_REFUSED;
    }
    (void)snprintf(path, sizeof(path), "%s%s", k->out != NULL ? k->out : name,
                   k->out != NULL ? "" : ".key");
    return make(k, path);
}

/* ---- list ------------------------------------------------------------------------------------ */

/* As brokers read them; NULL: they refuse them all, and go on with those that they have. */
static struct records *read_as_brokers(struct keys *k, struct yaml_error *error)
{
    if (k->stored.count > 1) {
        qsort(k->stored.at, k->stored.count, sizeof(*k->stored.at), record_text_compare);
    }
    return records_build(k->stored.at, k->stored.count, k->version, error);
}

static int run_list(struct keys *k)
{
    int code = load(k);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    struct yaml_error error;
    struct records *r = read_as_brokers(k, &error);
    if (r == NULL) {
        voice_error(&k->voice, "%s", error.text);
        return OTPQ_EXIT_REFUSED;
    }
    for (size_t i = 0; i < k->stored.count; i++) {
        if (k->stored.at[i].kind == RECORD_CURVE_KEY) {
            keys_print(map_get(r->curve_keys, slice_of(k->stored.at[i].name)), k->voice.json);
        }
    }
    records_unref(&r);
    return fflush(stdout) == 0 ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

/* ---- revoke ---------------------------------------------------------------------------------- */

/* A person is asked; a program says --yes. */
static bool confirmed(const struct keys *k, const char *name)
{
    char line[16] = "";
    if (k->yes) {
        return true;
    }
    if (k->voice.json || !isatty(STDIN_FILENO)) {
        voice_error(&k->voice, "this cuts off whoever has %s, for good: say --yes", name);
        return false;
    }
    (void)fprintf(stderr, "Cut off whoever has the key %s, for good? [y/N] ", name);
    bool yes = fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
    if (!yes) {
        voice_error(&k->voice, "nothing was done");
    }
    return yes;
}

/* It stands in the records; but one among them that cannot be read keeps brokers from all. */
static int judge_reach(struct keys *k, const char *name)
{
    struct yaml_error error;
    struct records *r = read_as_brokers(k, &error);
    if (r != NULL) {
        records_unref(&r);
        return OTPQ_EXIT_DONE;
    }
    voice_error(&k->voice,
                "%s is revoked, but brokers refuse the records until they are mended, and still "
                "let it in: %s",
                name, error.text);
    return OTPQ_EXIT_REFUSED;
}

static int revoke_key(struct keys *k, const struct record_text *stored)
{
    char at[32];
    char *name = stored->name; /* which moves when the records are sorted */
    struct yaml_error error;
    struct buf text;
    now_text(at);
    buf_init(&text, RECORD_BYTES_MAX);
    enum keys_revoked how = keys_plan_revoke(stored, at, &text, &error);
    int code = OTPQ_EXIT_DONE;
    if (how == KEYS_UNREADABLE) {
        voice_error(&k->voice, "%s", error.text);
        code = OTPQ_EXIT_REFUSED;
    } else if (how == KEYS_REVOKED) {
        char *record = buf_take(&text);
        code = store(k, name, record);
        free(record);
    }
    buf_free(&text);
    if (code == OTPQ_EXIT_DONE) {
        code = judge_reach(k, name);
    }
    if (code == OTPQ_EXIT_DONE && k->voice.json) {
        (void)printf("{\"name\":\"%s\",\"revoked\":true,\"before\":%s}\n", name,
                     how == KEYS_REVOKED ? "false" : "true");
    } else if (code == OTPQ_EXIT_DONE) {
        (void)printf("%s %s\n", name, how == KEYS_REVOKED ? "is revoked" : "was revoked before");
    }
    return code;
}

static int run_revoke(struct keys *k, const char *name)
{
    int code = load(k);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    const struct record_text *stored = stored_key(k, name);
    if (stored == NULL) {
        voice_error(&k->voice, "there is no key of the name %s", name);
        return OTPQ_EXIT_REFUSED;
    }
    return confirmed(k, name) ? revoke_key(k, stored) : OTPQ_EXIT_USAGE;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int wrong(const char *what)
{
    (void)fprintf(stderr, "otpq keys: %s\n\n%s", what, usage);
    return OTPQ_EXIT_USAGE;
}

static int act(struct keys *k, const char *action, const char *name)
{
    int code = records_access_open(&k->redis, &k->voice, k->config);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    if (strcmp(action, "new") == 0) {
        code = run_new(k, name);
    } else {
        code = name == NULL ? run_list(k) : run_revoke(k, name);
    }
    record_texts_free(&k->stored);
    records_access_close(&k->redis);
    return code;
}

static int judge(struct keys *k, int argc, char **argv)
{
    char why[256];
    const char *action = argc > 0 ? argv[0] : "";
    bool lists = strcmp(action, "list") == 0;
    bool makes = strcmp(action, "new") == 0;
    if (!lists && !makes && strcmp(action, "revoke") != 0) {
        return wrong("new, list or revoke?");
    }
    if (argc != (lists ? 1 : 2)) {
        return wrong(lists ? "list takes no name" : "the name of one key is wanted");
    }
    k->wish.name = lists ? NULL : argv[1];
    if (makes && !keys_wish_ok(&k->wish, why)) {
        return wrong(why);
    }
    if (!makes && (k->wish.kind != NULL || k->wish.tenants != NULL || k->wish.routes != NULL ||
                   k->out != NULL)) {
        return wrong("--kind, --tenants, --routes and --out are of new");
    }
    return act(k, action, k->wish.name);
}

int cmd_keys(int argc, char **argv)
{
    static const struct option options[] = {{"kind", required_argument, NULL, 'k'},
                                            {"tenants", required_argument, NULL, 't'},
                                            {"routes", required_argument, NULL, 'r'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"yes", no_argument, NULL, 'y'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct keys k = {.voice = {.command = "otpq keys"}};
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h' || o == '?') {
            (void)fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? OTPQ_EXIT_DONE : OTPQ_EXIT_USAGE;
        }
        k.wish.kind = o == 'k' ? optarg : k.wish.kind;
        k.wish.tenants = o == 't' ? optarg : k.wish.tenants;
        k.wish.routes = o == 'r' ? optarg : k.wish.routes;
        k.out = o == 'o' ? optarg : k.out;
        k.config = o == 'c' ? optarg : k.config;
        k.yes = k.yes || o == 'y';
        k.voice.json = k.voice.json || o == 'j';
    }
    return judge(&k, argc - optind, argv + optind);
}
