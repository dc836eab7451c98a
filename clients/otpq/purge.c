/*
 * `otpq purge`: ends what waits in a queue, at every broker.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/confirm.h"
#include "clients/otpq/operator.h"
#include "common/meaning/wire.h"

static const char usage[] =
    "usage: otpq purge ROUTE|--all [--tenant T] [--op OP] [--older TIME] [options]\n\n"
    "Ends as cancelled what waits for its turn or its time and has certainly not started, at\n"
    "every living broker; what comes meanwhile stays. Whoever waits for such a job hears so.\n\n"
    "  --all              of every route\n"
    "  --tenant T         only jobs of this tenant\n"
    "  --op OP            only these: send, verify, flash.create, flash.query, callback, report\n"
    "  --older TIME       only jobs accepted so long ago or longer: 500ms, 30s, 5m, 2h\n"
    "  --broker NAME      only at this broker\n"
    "  --dry-run          only count them\n"
    "  --yes              do not ask; without a terminal it is needed\n"
    "  --brokers A,B      brokers to ask (those that live; client.brokers without Redis)\n"
    "  --config FILE      the configuration file\n"
    "  --timeout-ms N     how long to wait for each broker (10000)\n"
    "  --json             print JSON, one object a broker\n"
    "  --help             print this and end\n"
    "\nexit code: 0 done, 1 refused, not confirmed, or stored jobs still on their way, 2 wrong\n"
    "usage or nobody to ask, 3 a broker did not answer\n";

enum {
    OPTION_ALL = CLIENT_NEXT,
    OPTION_TENANT,
    OPTION_OP,
    OPTION_OLDER,
    OPTION_BROKER,
    OPTION_DRY,
    OPTION_YES
};

enum { ANSWER_ROOM_MS = 1000 /* of the time to wait: for the way there and back */ };

struct purge {
    struct client_args args;
    struct wire_purge what;                   /* as it is sent; dry as asked for */
    const char *broker;                       /* only this one, or NULL */
    bool all;                                 /* --all */
    bool yes;                                 /* --yes */
    size_t count;                             /* of brokers */
    struct broker_found brokers[BROKERS_MAX]; /* that are asked */
    struct curve_pair pair;                   /* shown to them */
};

/* ---- arguments ------------------------------------------------------------------------------- */

static bool time_of(const char *text, uint32_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    size_t digits = strspn(text, "0123456789");
    uint64_t number;
    if (!slice_to_u64(slice_make(text, digits), WIRE_TTL_MAX_MS, &number)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(text + digits, units[i].unit) == 0 && number * units[i].ms <= WIRE_TTL_MAX_MS) {
            *ms = (uint32_t)(number * units[i].ms);
            return true;
        }
    }
    return false;
}

static bool op_of(const char *text, enum wire_op *op)
{
    for (int i = 0; i < WIRE_OPS; i++) {
        if (strcmp(text, wire_ops[i].name) == 0) {
            *op = (enum wire_op)i;
            return true;
        }
    }
    return false;
}

/* -1: go on. */
static int take_option(struct purge *p, int option, const char *value)
{
    switch (option) {
    case OPTION_ALL:
        p->all = true;
        return -1;
    case OPTION_TENANT:
        p->what.tenant = slice_of(value);
        return value[0] != '\0' && p->what.tenant.n <= WIRE_TENANT_BYTES_MAX
                   ? -1
                   : client_usage(&p->args, "--tenant: 1 to 64 bytes");
    case OPTION_OP:
        return op_of(value, &p->what.op) ? -1 : client_usage(&p->args, "--op: there is no such op");
    case OPTION_OLDER:
        return time_of(value, &p->what.older_ms)
                   ? -1
                   : client_usage(&p->args, "--older: a time up to a day, such as 30s or 5m");
    case OPTION_BROKER:
        p->broker = value;
        return -1;
    case OPTION_DRY:
        p->what.dry = true;
        return -1;
    case OPTION_YES:
        p->yes = true;
        return -1;
    default:
        return client_option(&p->args, option, value);
    }
}

static int take_route(struct purge *p, int argc, char **argv)
{
    if (argc != (p->all ? 0 : 1)) {
        return client_usage(&p->args, "one route is needed, or --all");
    }
    if (!p->all && !wire_id_ok(slice_of(argv[0]), WIRE_ROUTE_BYTES_MAX)) {
        return client_usage(&p->args, "a route is 1 to 64 of A-Z a-z 0-9 _ . : -");
    }
    p->what.route = p->all ? (struct slice){NULL, 0} : slice_of(argv[0]);
    return -1;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* What a broker said; *why (static, or in `answer`) when it did not do it. */
static int read_answer(struct slice message, struct wire_purged *out, char why[512])
{
    struct wire_reader r;
    struct wire_nack n;
    struct slice id;
    (void)snprintf(why, 512, "an answer that is no OTPQ/1");
    if (!wire_open(&r, message, WIRE_CLIENT_MAGIC)) {
        return OTPQ_EXIT_REFUSED;
    }
    if (r.verb == WIRE_NACK && wire_next_nack(&r, &n) == WIRE_NEXT_PAIR) {
        (void)snprintf(why, 512, "%.*s: %.*s", SLICE_ARG(n.error), SLICE_ARG(n.detail));
        return OTPQ_EXIT_REFUSED;
    }
    bool ok = r.verb == WIRE_OPERATE && wire_next_purged(&r, &id, out) == WIRE_NEXT_PAIR;
    return ok ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

static int ask(const struct purge *p, const struct broker_found *b, bool dry,
               struct wire_purged *out, char why[512])
{
    struct wire_purge what = p->what;
    struct buf message, answer;
    const char *failed;
    what.dry = dry;
    what.wait_ms = p->args.timeout_ms > 2 * ANSWER_ROOM_MS ? p->args.timeout_ms - ANSWER_ROOM_MS
                                                           : p->args.timeout_ms / 2;
    *out = (struct wire_purged){0};
    buf_init(&message, 4096);
    buf_init(&answer, WIRE_MESSAGE_BYTES_MAX);
    wire_begin(&message, WIRE_CLIENT_MAGIC, WIRE_OPERATE);
    wire_put_purge(&message, &what);
    must(buf_ok(&message));
    int code = OTPQ_EXIT_NO_BROKER;
    if (operator_ask(b, &p->pair, buf_slice(&message), p->args.timeout_ms, &answer, &failed)) {
        code = read_answer(buf_slice(&answer), out, why);
    } else {
        (void)snprintf(why, 512, "%s", failed);
    }
    buf_free(&answer);
    buf_free(&message);
    return code;
}

/* ---- telling --------------------------------------------------------------------------------- */

static void put_json(const struct purge *p, const struct broker_found *b,
                     const struct wire_purged *sum, int code, const char *why)
{
    json_t *o = json_pack("{s:s, s:s, s:b}", "broker", b->name, "address", b->clients, "dry_run",
                          (int)p->what.dry);
    must(o != NULL);
    if (code == OTPQ_EXIT_DONE) {
        (void)json_object_set_new(o, "purged", json_integer((json_int_t)sum->ended));
        (void)json_object_set_new(o, "pending", json_integer((json_int_t)sum->pending));
        (void)json_object_set_new(o, "kept", json_integer((json_int_t)sum->kept));
    } else {
        (void)json_object_set_new(o, "error", json_string(why));
    }
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(o);
}

static void put_text(const struct purge *p, const struct broker_found *b,
                     const struct wire_purged *sum, int code, const char *why)
{
    if (code != OTPQ_EXIT_DONE) {
        (void)printf("%-40s %s\n", b->name, why);
        return;
    }
    (void)printf("%-40s %s %" PRIu64, b->name, p->what.dry ? "would purge" : "purged", sum->ended);
    if (sum->kept > 0) {
        (void)printf(", kept %" PRIu64 " that may have started", sum->kept);
    }
    if (sum->pending > 0 && !p->what.dry) {
        (void)printf(", %" PRIu64 " stored ones are not off the shelf yet", sum->pending);
    }
    (void)putchar('\n');
}

static int run(struct purge *p)
{
    uint64_t total = 0;
    int worst = OTPQ_EXIT_DONE;
    for (size_t i = 0; i < p->count; i++) {
        struct wire_purged sum;
        char why[512];
        int code = ask(p, &p->brokers[i], p->what.dry, &sum, why);
        (p->args.json ? put_json : put_text)(p, &p->brokers[i], &sum, code, why);
        bool waits = code == OTPQ_EXIT_DONE && sum.pending > 0 && !p->what.dry;
        code = waits ? OTPQ_EXIT_REFUSED : code;
        worst = code > worst ? code : worst;
        total += sum.ended;
    }
    if (!p->args.json && p->count > 1) {
        (void)printf("%s %" PRIu64 " at %zu brokers\n", p->what.dry ? "would purge" : "purged",
                     total, p->count);
    }
    return worst;
}

/* A person is told how many it would be; a script with --yes goes without that. */
static int sure(const struct purge *p)
{
    char what[256];
    uint64_t total = 0;
    const struct voice v = {.command = "otpq purge", .json = p->args.json};
    const char *word = p->all ? "all" : p->what.route.p;
    if (p->what.dry || p->yes) {
        return OTPQ_EXIT_DONE;
    }
    bool counted = client_terminal(STDIN_FILENO);
    if (counted) {
        for (size_t i = 0; i < p->count; i++) {
            struct wire_purged sum;
            char why[512];
            total += ask(p, &p->brokers[i], true, &sum, why) == OTPQ_EXIT_DONE ? sum.ended : 0;
        }
    }
    int n = counted ? snprintf(what, sizeof what, "This ends %" PRIu64 " jobs", total)
                    : snprintf(what, sizeof what, "This ends the jobs");
    (void)snprintf(what + n, sizeof what - (size_t)n, " of %s at %zu broker%s",
                   p->all ? "all routes" : p->what.route.p, p->count, p->count == 1 ? "" : "s");
    return confirm(&v, false, what, word);
}

/* Only the one that --broker names. */
static int choose(struct purge *p)
{
    for (size_t i = 0; p->broker != NULL && i < p->count; i++) {
        if (strcmp(p->broker, p->brokers[i].name) == 0 ||
            strcmp(p->broker, p->brokers[i].clients) == 0) {
            p->brokers[0] = p->brokers[i];
            p->count = 1;
            return OTPQ_EXIT_DONE;
        }
    }
    if (p->broker != NULL) {
        voice_error(&(struct voice){"otpq purge", p->args.json}, "there is no broker \"%s\"",
                    p->broker);
        return OTPQ_EXIT_REFUSED;
    }
    return OTPQ_EXIT_DONE;
}

int cmd_purge(int argc, char **argv)
{
    static const struct option options[] = {
        {"all", no_argument, NULL, OPTION_ALL},
        {"tenant", required_argument, NULL, OPTION_TENANT},
        {"op", required_argument, NULL, OPTION_OP},
        {"older", required_argument, NULL, OPTION_OLDER},
        {"broker", required_argument, NULL, OPTION_BROKER},
        {"dry-run", no_argument, NULL, OPTION_DRY},
        {"yes", no_argument, NULL, OPTION_YES},
        CLIENT_OPTIONS,
    };
    struct purge *p = xcalloc(1, sizeof *p);
    int code = -1;
    p->args = (struct client_args){.usage = usage, .timeout_ms = CLIENT_TIMEOUT_MS};
    p->what.op = WIRE_OPS;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        code = take_option(p, o, optarg);
    }
    code = code < 0 ? take_route(p, argc - optind, argv + optind) : code;
    if (code < 0 && (p->count = operator_brokers(&p->args, p->brokers, &p->pair, &code)) > 0) {
        code = choose(p);
        code = code == OTPQ_EXIT_DONE ? sure(p) : code;
        code = code == OTPQ_EXIT_DONE ? run(p) : code;
    }
    curve_pair_wipe(&p->pair);
    free(p);
    return code;
}
