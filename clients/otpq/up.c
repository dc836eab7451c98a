/*
 * `otpq up`: a whole node under one supervisor. What runs, with which arguments, in which order, is
 * decided here; how processes are kept running is supervisor.c.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"
#include "clients/otpq/node_brokers.h"
#include "clients/otpq/ports.h"
#include "clients/otpq/supervisor.h"
#include "common/adapters/listen_fd.h"
#include "common/base/asset.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/meaning/config.h"

ASSET(demo_records, "deploy/demo.yaml");

enum { PATH_BYTES = 4096, DEMO_RECORDS_BYTES_MAX = 1024 * 1024, PEPPER_BYTES = 32 };

/* Ended in this order: first who takes work in, last who remembers it. */
enum stop_rank {
    RANK_WATCHERS,
    RANK_GATEWAYS,
    RANK_BROKER,
    RANK_WORKERS,
    RANK_SANDBOX,
    RANK_REDIS
};

struct node {
    struct config config;
    const char *config_path; /* NULL: embedded defaults */
    bool demo;               /* demo records, sandbox, a first flow */
    bool json;               /* the addresses as one line for machines; no live line */
    bool check;              /* only look at the configuration */
    bool once;               /* end after the first flow */
    char bin[PATH_BYTES];    /* folder of the programs */
    char dir[PATH_BYTES];    /* absolute */
    char env_dir[PATH_BYTES + 32];
    int lock_fd;
    int64_t began_ms;
    struct event_base *base;
    struct supervisor *supervisor;
    int terminal;   /* descriptor of the one it was started from; -1: none */
    int gateway_fd; /* where gateways accept from: they come and go, it stays; -1: none */
    int signals;    /* SIGINT and SIGTERM seen */
    bool failed;
};

static const char usage[] =
    "usage: otpq up [--demo [--once]] [--dir DIR] [--config FILE] [--json]\n"
    "\n"
    "Runs a whole node in the foreground: its own redis-server on a unix socket inside DIR (when\n"
    "redis.address is empty), node.brokers brokers, node.workers workers, node.gateways gateways. "
    "A\n"
    "process that dies is started again. Ctrl-C, SIGTERM or a closed terminal drains and ends all\n"
    "in order, a second signal at once; SIGHUP restarts the processes one after the other, with\n"
    "the configuration as it is then, without failing a request.\n"
    "\n"
    "  --dir DIR      state of the node (default: dir of the configuration)\n"
    "  --config FILE  configuration (default: embedded defaults and OTPQ_… variables)\n"
    "  --demo         load the demo records, start the sandbox, send and verify a first OTP\n"
    "  --once         with --demo: end after the first flow; exit code 0 when it was verified\n"
    "  --json         say what there is as one line of JSON each, instead of a page for people\n"
    "  --check-config only check the configuration\n";

/* ---- the node's folder ----------------------------------------------------------------------- */

static bool make_folder(const char *path)
{
    char part[PATH_BYTES];
    (void)snprintf(part, sizeof(part), "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(part, 0755);
        *slash = '/';
    }
    if (mkdir(part, 0700) < 0 && errno != EEXIST) {
        (void)fprintf(stderr, "otpq: cannot make %s: %s; choose another with --dir\n", path,
                      strerror(errno));
        return false;
    }
    return true;
}

/* One node a folder: two would share a Redis socket and a queue. */
static bool lock_folder(struct node *n)
{
    char path[PATH_BYTES + 8];
    (void)snprintf(path, sizeof(path), "%s/lock", n->dir);
    n->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (n->lock_fd >= 0 && flock(n->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return true;
    }
    if (n->lock_fd >= 0 && errno == EWOULDBLOCK) {
        (void)fprintf(stderr,
                      "otpq: a node runs in %s already: end that one, or choose another folder\n"
                      "      with --dir or OTPQ_DIR\n",
                      n->dir);
    } else {
        (void)fprintf(stderr, "otpq: cannot lock %s: %s\n", path, strerror(errno));
    }
    return false;
}

/* Whole or not at all: under another name first, on disk before it gets its own. */
static bool write_file(const char *path, struct slice text)
{
    char half[PATH_BYTES + 32];
    (void)snprintf(half, sizeof(half), "%s.new", path);
    int fd = open(half, O_WRONLY | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);
    bool written = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n && fsync(fd) == 0 &&
                   rename(half, path) == 0;
    if (!written) {
        (void)fprintf(stderr, "otpq: cannot write %s: %s\n", path, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return written;
}

/* The key under which codes are kept (as MACs): made once, on the first start. */
static bool make_pepper(const struct node *n)
{
    uint8_t bytes[PEPPER_BYTES];
    char hex[PEPPER_BYTES * 2 + 2];
    char path[PATH_BYTES + 16];
    (void)snprintf(path, sizeof(path), "%s/pepper", n->dir);
    if (n->config.secrets_pepper_file[0] != '\0' || access(path, F_OK) == 0) {
        return true;
    }
    rng_secure(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(hex + i * 2, 3, "%02x", bytes[i]);
    }
    (void)strcat(hex, "\n");
    bool made = write_file(path, slice_of(hex));
    explicit_bzero(hex, sizeof(hex));
    explicit_bzero(bytes, sizeof(bytes));
    return made;
}

/* No compression: it is processor time taken from scripts each time the log is rewritten. */
static bool write_redis_config(const struct node *n)
{
    char path[PATH_BYTES + 16];
    struct buf text;
    buf_init(&text, 64 * 1024);
    buf_printf(&text,
               "# written by `otpq up` at every start\n"
               "port 0\nunixsocket \"%s/redis.sock\"\nunixsocketperm 700\n"
               "dir \"%s/redis\"\nappendonly yes\nappendfsync everysec\nsave \"\"\n"
               "rdbcompression no\nmaxmemory-policy noeviction\nsupervised systemd\ndaemonize "
               "no\nlogfile \"\"\n",
               n->dir, n->dir);
    (void)snprintf(path, sizeof(path), "%s/redis", n->dir);
    bool written = make_folder(path);
    (void)snprintf(path, sizeof(path), "%s/redis.conf", n->dir);
    written = written && write_file(path, buf_slice(&text));
    buf_free(&text);
    return written;
}

/* The demo records name the sandbox's default address; a node with another one gets that. */
static bool write_demo_records(const struct node *n)
{
    static const char usual[] = "127.0.0.1:8090";
    char path[PATH_BYTES + 16];
    struct buf text;
    buf_init(&text, DEMO_RECORDS_BYTES_MAX);
    struct slice rest = demo_records();
    while (rest.n > 0) {
        const char *hit = memmem(rest.p, rest.n, usual, sizeof(usual) - 1);
        size_t before = hit != NULL ? (size_t)(hit - rest.p) : rest.n;
        buf_put(&text, rest.p, before);
        rest = slice_make(rest.p + before, rest.n - before);
        if (hit != NULL) {
            buf_puts(&text, n->config.sandbox_listen);
            rest = slice_make(rest.p + sizeof(usual) - 1, rest.n - (sizeof(usual) - 1));
        }
    }
    (void)snprintf(path, sizeof(path), "%s/demo.yaml", n->dir);
    bool written = buf_ok(&text) && write_file(path, buf_slice(&text));
    buf_free(&text);
    return written;
}

static bool prepare_folder(struct node *n, const char *dir)
{
    if (!make_folder(dir)) {
        return false;
    }
    if (realpath(dir, n->dir) == NULL) {
        (void)fprintf(stderr, "otpq: %s: %s\n", dir, strerror(errno));
        return false;
    }
    (void)snprintf(n->env_dir, sizeof(n->env_dir), "OTPQ_DIR=%s", n->dir);
    return lock_folder(n) && make_pepper(n) &&
           (n->config.redis_address[0] != '\0' || write_redis_config(n)) &&
           (!n->demo || write_demo_records(n));
}

/* ---- what runs ------------------------------------------------------------------------------- */

/* How long a process may take to end in order before it is killed: its own bound and a little. */
static int drain_ms_of(const struct node *n, enum stop_rank rank)
{
    switch (rank) {
    case RANK_GATEWAYS:
        return (int)n->config.gateway_job_ttl_ms + 7000;
    case RANK_WORKERS:
        return (int)n->config.worker_drain_ms + 2000;
    case RANK_BROKER:
        return 12000;
    case RANK_REDIS:
        return 10000;
    case RANK_WATCHERS:
    case RANK_SANDBOX:
        break;
    }
    return 2000;
}

/* argv[0] points into path until supervisor_add has copied it. */
static struct child_spec spec_of(const struct node *n, const char *name, const char *program,
                                 enum stop_rank rank, char path[PATH_BYTES + 32])
{
    bool own = strncmp(program, "otpq", 4) == 0;
    (void)snprintf(path, PATH_BYTES + 32, "%s%s%s", own ? n->bin : "", own ? "/" : "", program);
    struct child_spec spec = {.name = name,
                              .argv = {path},
                              .env = {n->env_dir},
                              .stop_rank = (int)rank,
                              .lasting = rank == RANK_REDIS || rank == RANK_SANDBOX,
                              .drain_ms = drain_ms_of(n, rank)};
    return spec;
}

static void add_argument(struct child_spec *spec, const char *argument)
{
    size_t i = 0;
    while (spec->argv[i] != NULL) {
        i++;
    }
    must(i + 1 < CHILD_ARGS_MAX);
    spec->argv[i] = argument;
}

static void add_config(const struct node *n, struct child_spec *spec)
{
    if (n->config_path != NULL) {
        add_argument(spec, "--config");
        add_argument(spec, n->config_path);
    }
}

static void add_environment(struct child_spec *spec, const char *setting)
{
    size_t i = 0;
    while (spec->env[i] != NULL) {
        i++;
    }
    must(i + 1 < CHILD_ENV_MAX);
    spec->env[i] = setting;
}

static void add_sandbox(struct node *n)
{
    char path[PATH_BYTES + 32];
    struct child_spec spec = spec_of(n, "sandbox", "otpq", RANK_SANDBOX, path);
    add_argument(&spec, "sandbox");
    add_config(n, &spec);
    supervisor_add(n->supervisor, &spec);
}

/* The first one follows the configuration as it is at each start; the others stay where they are.
 */
static void add_brokers(struct node *n)
{
    for (uint64_t i = 0; i < n->config.node_brokers; i++) {
        char path[PATH_BYTES + 32];
        char name[64] = "broker";
        char env[5][NODE_BROKER_ADDRESS_BYTES + 32];
        struct node_broker b = node_broker(&n->config, i);
        if (n->config.node_brokers > 1) {
            (void)snprintf(name, sizeof(name), "broker-%llu", (unsigned long long)i + 1);
        }
        struct child_spec spec = spec_of(n, name, "otpq-broker", RANK_BROKER, path);
        (void)snprintf(env[0], sizeof(env[0]), "OTPQ_BROKER_CLIENTS=%s", b.clients);
        (void)snprintf(env[1], sizeof(env[1]), "OTPQ_BROKER_WORKERS=%s", b.workers);
        (void)snprintf(env[2], sizeof(env[2]), "OTPQ_BROKER_METRICS=%s", b.metrics);
        (void)snprintf(env[3], sizeof(env[3]), "OTPQ_BROKER_ADVERTISE_CLIENTS=%s", b.told_clients);
        (void)snprintf(env[4], sizeof(env[4]), "OTPQ_BROKER_ADVERTISE_WORKERS=%s", b.told_workers);
        for (size_t k = 0; i > 0 && k < ARRAY_LEN(env); k++) {
            add_environment(&spec, env[k]);
        }
        add_config(n, &spec);
        supervisor_add(n->supervisor, &spec);
    }
}

/* "OTPQ_WORKER_BROKERS=…" for a node of several brokers, or "": nobody has to find what is known.
 */
static char *known_brokers(const struct node *n, const char *variable,
                           const struct config_list *list, bool clients)
{
    struct buf b;
    buf_init(&b, 64 * 1024);
    if (n->config.node_brokers > 1) {
        buf_printf(&b, "%s=", variable);
        node_brokers_list(&n->config, list, clients, &b);
    }
    return buf_take(&b);
}

static void add_workers(struct node *n)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t count = n->config.node_workers > 0 ? n->config.node_workers : (uint64_t)cores;
    char *brokers = known_brokers(n, "OTPQ_WORKER_BROKERS", &n->config.worker_brokers, false);
    char allow[512] = "";
    if (n->demo && n->config.outgoing_allow.count == 0) {
        (void)snprintf(allow, sizeof(allow), "OTPQ_OUTGOING_ALLOW=%s", n->config.sandbox_listen);
    }
    for (uint64_t i = 1; i <= count; i++) {
        char path[PATH_BYTES + 32];
        char name[64];
        (void)snprintf(name, sizeof(name), "worker-%llu", (unsigned long long)i);
        struct child_spec spec = spec_of(n, name, "otpq-worker", RANK_WORKERS, path);
        if (allow[0] != '\0') {
            add_environment(&spec, allow);
        }
        if (brokers[0] != '\0') {
            add_environment(&spec, brokers);
        }
        add_config(n, &spec);
        supervisor_add(n->supervisor, &spec);
    }
    free(brokers);
}

static void add_gateways(struct node *n)
{
    char *brokers = known_brokers(n, "OTPQ_GATEWAY_BROKERS", &n->config.gateway_brokers, true);
    for (uint64_t i = 1; i <= n->config.node_gateways; i++) {
        char path[PATH_BYTES + 32];
        char name[64];
        (void)snprintf(name, sizeof(name), "gateway-%llu", (unsigned long long)i);
        struct child_spec spec = spec_of(n, name, "otpq-gateway", RANK_GATEWAYS, path);
        if (brokers[0] != '\0') {
            add_environment(&spec, brokers);
        }
        spec.listen_fd = &n->gateway_fd;
        add_config(n, &spec);
        supervisor_add(n->supervisor, &spec);
    }
    free(brokers);
}

static void add_redis(struct node *n)
{
    char path[PATH_BYTES + 32];
    char config[PATH_BYTES + 16];
    (void)snprintf(config, sizeof(config), "%s/redis.conf", n->dir);
    struct child_spec spec = spec_of(n, "redis", "redis-server", RANK_REDIS, path);
    add_argument(&spec, config);
    supervisor_add(n->supervisor, &spec);
}

static void add_records(struct node *n)
{
    char path[PATH_BYTES + 32];
    char records[PATH_BYTES + 16];
    (void)snprintf(records, sizeof(records), "%s/demo.yaml", n->dir);
    struct child_spec spec = spec_of(n, "demo-records", "otpq", RANK_WATCHERS, path);
    add_argument(&spec, "apply");
    add_argument(&spec, "-f");
    add_argument(&spec, records);
    add_config(n, &spec);
    spec.oneshot = true;
    supervisor_add(n->supervisor, &spec);
}

static void add_flow(struct node *n)
{
    char path[PATH_BYTES + 32];
    struct child_spec spec = spec_of(n, "first-flow", "otpq", RANK_WATCHERS, path);
    add_argument(&spec, "demo");
    add_config(n, &spec);
    if (n->json) {
        add_argument(&spec, "--json");
    }
    spec.oneshot = true;
    spec.shown = true;
    supervisor_add(n->supervisor, &spec);
}

/* The live line on a terminal: `otpq top --line`. */
static void run_live_line(struct node *n)
{
    char path[PATH_BYTES + 32];
    struct child_spec spec = spec_of(n, "live-line", "otpq", RANK_WATCHERS, path);
    add_argument(&spec, "top");
    add_argument(&spec, "--line");
    add_config(n, &spec);
    spec.shown = true;
    supervisor_run(n->supervisor, &spec);
}

static void add_processes(struct node *n)
{
    if (n->config.redis_address[0] == '\0') {
        add_redis(n);
    }
    if (n->demo) {
        add_records(n);
        add_sandbox(n);
    }
    add_brokers(n);
    add_workers(n);
    add_gateways(n);
    if (n->demo) {
        add_flow(n);
    }
}

/* ---- what the person sees -------------------------------------------------------------------- */

static void print_address(const char *name, const char *scheme, const char *address,
                          const char *hint)
{
    char url[512];
    (void)snprintf(url, sizeof(url), "%s%s", scheme, address);
    (void)printf("  %-9s %-28s  %s\n", name, url, hint);
}

static void print_addresses(const struct node *n)
{
    const struct config *c = &n->config;
    char *redis = config_redis_address(c);
    (void)printf("\nThe node is up (%lld ms). Addresses:\n",
                 (long long)(clock_mono_ms() - n->began_ms));
    print_address("gateway", "http://", c->gateway_listen, "/api/af/otp_gen, /healthz");
    for (uint64_t i = 0; i < c->node_brokers; i++) {
        struct node_broker b = node_broker(c, i);
        print_address("broker", "", b.clients, "clients push jobs here (OTPQ/1)");
        print_address("", "", b.workers, "workers");
        print_address("metrics", "http://", b.metrics, "/metrics, /livez, /readyz");
    }
    if (n->demo) {
        print_address("sandbox", "http://", c->sandbox_listen, "the advertiser: /inbox, /ledger");
    }
    (void)printf("  %-9s %s\n  %-9s %s/log/\n", "redis", redis, "logs", n->dir);
    if (n->demo) {
        (void)printf("\nTry:  curl 'http://%s/api/af/otp_gen?key=demo-key-1001&aid=1001&mid=1"
                     "&partner=demo&msisdn=66812340000&userId=u1'\n",
                     c->gateway_listen);
    }
    (void)printf("Ctrl-C drains and ends it.\n\n");
    (void)fflush(stdout);
    free(redis);
}

static void print_json(const struct node *n)
{
    const struct config *c = &n->config;
    char *redis = config_redis_address(c);
    json_t *up = json_pack(
        "{s:I,s:s,s:s,s:s,s:s,s:s,s:s}", "up_ms", (json_int_t)(clock_mono_ms() - n->began_ms),
        "gateway", c->gateway_listen, "clients", c->broker_clients, "workers", c->broker_workers,
        "metrics", c->broker_metrics, "redis", redis, "dir", n->dir);
    must(up != NULL);
    if (n->demo) {
        must(json_object_set_new(up, "sandbox", json_string(c->sandbox_listen)) == 0);
    }
    (void)json_dumpf(up, stdout, JSON_COMPACT);
    (void)printf("\n");
    (void)fflush(stdout);
    json_decref(up);
    free(redis);
}

static void on_up(void *context)
{
    struct node *n = context;
    if (n->once) {
        supervisor_stop(n->supervisor);
        return;
    }
    if (n->json) {
        print_json(n);
        return;
    }
    print_addresses(n);
    if (client_terminal(STDOUT_FILENO)) {
        run_live_line(n);
    }
}

static void on_ended(void *context, bool failed)
{
    struct node *n = context;
    n->failed = failed;
    if (n->signals > 0) {
        (void)fprintf(stderr, "otpq: ended%s\n", failed ? ", not in order: see the logs" : "");
    }
    (void)event_base_loopbreak(n->base);
}

static void on_stop_signal(evutil_socket_t signal_number UNUSED, short what UNUSED, void *context)
{
    struct node *n = context;
    (void)fprintf(stderr, n->signals++ == 0 ? "\notpq: draining; once more ends it at once\n"
                                            : "\notpq: ending at once\n");
    supervisor_stop(n->supervisor);
}

/* What runs, and where, was decided at the start: a change of that needs another one. */
static void tell_what_stays(const struct node *n, const struct config *fresh)
{
    const struct config *c = &n->config;
    const struct {
        const char *key;
        bool changed;
    } fixed[] = {
        {"dir", strcmp(c->dir, fresh->dir) != 0},
        {"redis.address", strcmp(c->redis_address, fresh->redis_address) != 0},
        {"node.brokers", c->node_brokers != fresh->node_brokers},
        {"node.workers", c->node_workers != fresh->node_workers},
        {"node.gateways", c->node_gateways != fresh->node_gateways},
        {"sandbox.listen", n->demo && strcmp(c->sandbox_listen, fresh->sandbox_listen) != 0},
        {"outgoing.allow",
         n->demo && c->outgoing_allow.count == 0 && fresh->outgoing_allow.count > 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (fixed[i].changed) {
            (void)fprintf(stderr, "otpq: %s changed: that takes effect with the next start\n",
                          fixed[i].key);
        }
    }
}

/* Another address for the gateways: they get its socket as they are started again. */
static void move_gateways(struct node *n, const struct config *fresh)
{
    char error[256];
    if (n->gateway_fd < 0 || strcmp(n->config.gateway_listen, fresh->gateway_listen) == 0) {
        return;
    }
    const struct listen_fd_options o = {.address = fresh->gateway_listen, .key = "gateway.listen"};
    int fd = listen_fd_open(&o, error);
    if (fd < 0) {
        (void)fprintf(stderr, "otpq: gateways stay at %s: %s\n", n->config.gateway_listen, error);
        return;
    }
    (void)close(n->gateway_fd);
    n->gateway_fd = fd;
    free(n->config.gateway_listen);
    n->config.gateway_listen = slice_dup(slice_of(fresh->gateway_listen));
}

static void on_reload_signal(evutil_socket_t signal_number UNUSED, short what UNUSED, void *context)
{
    struct node *n = context;
    if (n->terminal >= 0 && !isatty(n->terminal)) { /* its window was closed */
        n->signals++;
        supervisor_stop(n->supervisor);
        return;
    }
    struct config fresh;
    struct yaml_error error;
    if (!config_load(&fresh, n->config_path, &error)) {
        (void)fprintf(stderr, "otpq: not reloaded: %s\n", error.text);
        return;
    }
    tell_what_stays(n, &fresh);
    move_gateways(n, &fresh);
    config_free(&fresh);
    supervisor_restart(n->supervisor);
}

static int run(struct node *n)
{
    n->base = event_base_new();
    need(n->base != NULL);
    struct supervisor_options o = {
        .dir = n->dir, .on_up = on_up, .on_ended = on_ended, .context = n};
    n->supervisor = supervisor_new(n->base, &o);
    if (n->supervisor == NULL) {
        event_base_free(n->base);
        return 1;
    }
    struct event *signals[] = {
        evsignal_new(n->base, SIGINT, on_stop_signal, n),
        evsignal_new(n->base, SIGTERM, on_stop_signal, n),
        evsignal_new(n->base, SIGHUP, on_reload_signal, n),
    };
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        (void)event_add(signals[i], NULL);
    }
    add_processes(n);
    supervisor_start(n->supervisor);
    (void)event_base_dispatch(n->base);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        event_free(signals[i]);
    }
    supervisor_destroy(&n->supervisor);
    event_base_free(n->base);
    return n->failed ? 1 : 0;
}

/* Opened once for all gateways there will be: what waits in it outlives each of them. */
static bool open_gateway_socket(struct node *n)
{
    char error[256];
    const struct listen_fd_options o = {.address = n->config.gateway_listen,
                                        .key = "gateway.listen"};
    if (n->config.node_gateways == 0) {
        return true;
    }
    n->gateway_fd = listen_fd_open(&o, error);
    if (n->gateway_fd < 0) {
        (void)fprintf(stderr, "otpq: %s\n", error);
    }
    return n->gateway_fd >= 0;
}

static int find_terminal(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (isatty(fd)) {
            return fd;
        }
    }
    return -1;
}

static bool find_programs(struct node *n)
{
    ssize_t length = readlink("/proc/self/exe", n->bin, sizeof(n->bin) - 1);
    if (length <= 0) {
        return false;
    }
    n->bin[length] = '\0';
    *strrchr(n->bin, '/') = '\0';
    return true;
}

/* -1: go on; else the exit code to leave with. */
static int read_arguments(struct node *n, int argc, char **argv)
{
    static const struct option options[] = {
        {"demo", no_argument, NULL, 'd'},         {"once", no_argument, NULL, 'o'},
        {"dir", required_argument, NULL, 'D'},    {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, 'C'}, {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    for (int o = getopt_long(argc, argv, "", options, NULL); o != -1;
         o = getopt_long(argc, argv, "", options, NULL)) {
        switch (o) {
        case 'd':
            n->demo = true;
            break;
        case 'o':
            n->once = true;
            break;
        case 'D':
            (void)setenv("OTPQ_DIR", optarg, 1);
            break;
        case 'c':
            n->config_path = optarg;
            break;
        case 'C':
            n->check = true;
            break;
        case 'j':
            n->json = true;
            break;
        default:
            (void)fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? OTPQ_EXIT_DONE : OTPQ_EXIT_USAGE;
        }
    }
    if (optind < argc || (n->once && !n->demo)) {
        (void)fputs(usage, stderr);
        return OTPQ_EXIT_USAGE;
    }
    return -1;
}

int cmd_up(int argc, char **argv)
{
    struct node n = {
        .lock_fd = -1, .gateway_fd = -1, .terminal = find_terminal(), .began_ms = clock_mono_ms()};
    struct yaml_error error;
    int code = read_arguments(&n, argc, argv);
    if (code >= 0) {
        return code;
    }
    char apart[512];
    if (!config_load(&n.config, n.config_path, &error) ||
        !config_check_files(&n.config, "otpq", &error)) {
        (void)fprintf(stderr, "otpq up: %s\n", error.text);
        config_free(&n.config);
        return OTPQ_EXIT_USAGE;
    }
    if (!node_brokers_apart(&n.config, apart)) {
        (void)fprintf(stderr, "otpq up: %s\n", apart);
        config_free(&n.config);
        return OTPQ_EXIT_USAGE;
    }
    if (n.check) {
        (void)printf("otpq up: configuration is sound\n");
        config_free(&n.config);
        return OTPQ_EXIT_DONE;
    }
    bool ready = find_programs(&n) && prepare_folder(&n, n.config.dir) &&
                 ports_free(&n.config, n.demo) && open_gateway_socket(&n);
    code = ready ? run(&n) : OTPQ_EXIT_REFUSED;
    if (n.gateway_fd >= 0) {
        (void)close(n.gateway_fd);
    }
    if (n.lock_fd >= 0) {
        (void)close(n.lock_fd);
    }
    config_free(&n.config);
    return code;
}
