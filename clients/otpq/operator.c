#include "clients/otpq/operator.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "clients/otpq/commands.h"
#include "common/adapters/store_access.h"
#include "common/base/clock.h"
#include "common/meaning/netaddr.h"
#include "common/meaning/wire.h"

enum { LOOK_MS = 3000 /* for Redis to say which brokers there are */ };

/* ---- which brokers there are ----------------------------------------------------------------- */

struct look {
    struct store *store;
    struct broker_found *out; /* filled in */
    size_t count;             /* of out */
    bool over;                /* there was an answer */
};

static void on_look(void *context, const struct broker_line *seen, size_t count)
{
    struct look *l = context;
    l->over = seen != NULL;
    for (size_t i = 0; seen != NULL && i < count && l->count < BROKERS_MAX; i++) {
        struct broker_found *b = &l->out[l->count++];
        (void)snprintf(b->name, sizeof b->name, "%s", seen[i].name);
        (void)snprintf(b->clients, sizeof b->clients, "%s", seen[i].clients);
        b->leaving = seen[i].leaving;
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct broker_found *)a)->clients,
                  ((const struct broker_found *)b)->clients);
}

/* What Redis knows; none when it does not answer. */
static size_t by_redis(const struct config *c, struct broker_found *out)
{
    struct store_access redis;
    struct look l = {.out = out};
    char error[512];
    if (!store_access_begin(c, &redis, error)) {
        return 0;
    }
    struct event_base *base = event_base_new();
    need(base != NULL);
    const struct store_options o = {.address = redis.address,
                                    .password = redis.password,
                                    .timeout_ms = redis.timeout_ms,
                                    .pending_max = 10};
    l.store = store_new(base, &o);
    store_access_end(&redis);
    int64_t until_ms = clock_mono_ms() + LOOK_MS;
    bool asked = false;
    while (!l.over && clock_mono_ms() < until_ms) {
        const struct timeval tick = {0, 10000};
        (void)event_base_loopexit(base, &tick);
        (void)event_base_dispatch(base);
        if (!asked && store_up(l.store)) {
            asked = true;
            brokers_look(l.store, c->redis_prefix, on_look, &l);
        }
    }
    store_destroy(&l.store);
    event_base_free(base);
    qsort(out, l.count, sizeof *out, compare);
    return l.count;
}

static void add(struct broker_found *out, size_t *count, const char *address)
{
    if (*count < BROKERS_MAX) {
        struct broker_found *b = &out[(*count)++];
        *b = (struct broker_found){.leaving = false};
        (void)snprintf(b->name, sizeof b->name, "%s", address);
        (void)snprintf(b->clients, sizeof b->clients, "%s", address);
    }
}

/* "a,b" as --brokers has it. */
static size_t by_hand(const char *brokers, struct broker_found *out)
{
    char *text = slice_dup(slice_of(brokers));
    char *rest = NULL;
    size_t count = 0;
    struct netaddr a;
    for (char *at = strtok_r(text, ", ", &rest); at != NULL; at = strtok_r(NULL, ", ", &rest)) {
        if (!netaddr_endpoint(at, &a)) {
            (void)fprintf(stderr, "otpq: --brokers: %s: not an address like tcp://127.0.0.1:5560\n",
                          at);
            count = 0;
            break;
        }
        add(out, &count, at);
    }
    free(text);
    return count;
}

size_t operator_brokers(const struct client_args *a, struct broker_found *out, int *exit_code)
{
    struct config c;
    struct yaml_error error;
    *exit_code = OTPQ_EXIT_USAGE;
    if (a->brokers != NULL) {
        return by_hand(a->brokers, out);
    }
    if (!config_load(&c, a->config, &error)) {
        (void)fprintf(stderr, "otpq: %s\n", error.text);
        return 0;
    }
    size_t count = by_redis(&c, out);
    if (count == 0) {
        for (size_t i = 0; i < c.client_brokers.count; i++) {
            add(out, &count, c.client_brokers.at[i]);
        }
    }
    config_free(&c);
    return count;
}

/* ---- asking one ------------------------------------------------------------------------------ */

static bool set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static bool exchange(void *socket, const char *address, struct slice message, uint32_t timeout_ms,
                     struct buf *answer, const char **why)
{
    zmq_msg_t got;
    *why = "not an address that can be connected to";
    if (!set(socket, ZMQ_LINGER, 0) || !set(socket, ZMQ_RCVTIMEO, (int)timeout_ms) ||
        !set(socket, ZMQ_SNDTIMEO, (int)timeout_ms) || zmq_connect(socket, address) != 0) {
        return false;
    }
    *why = "it did not answer in time";
    if (zmq_send(socket, message.p, message.n, 0) < 0) {
        return false;
    }
    must(zmq_msg_init(&got) == 0);
    bool ok = zmq_msg_recv(&got, socket, 0) >= 0;
    if (ok) {
        buf_put_slice(answer, slice_make(zmq_msg_data(&got), zmq_msg_size(&got)));
        ok = buf_ok(answer);
        *why = "its answer is too long";
    }
    must(zmq_msg_close(&got) == 0);
    return ok;
}

bool operator_ask(const char *address, struct slice message, uint32_t timeout_ms,
                  struct buf *answer, const char **why)
{
    void *context = zmq_ctx_new();
    must(context != NULL);
    void *socket = zmq_socket(context, ZMQ_DEALER);
    need(socket != NULL);
    bool ok = exchange(socket, address, message, timeout_ms, answer, why);
    must(zmq_close(socket) == 0);
    must(zmq_ctx_term(context) == 0);
    return ok;
}

void operator_name(char *out, size_t size)
{
    char host[65] = "";
    const struct passwd *user = getpwuid(geteuid());
    (void)gethostname(host, sizeof host - 1);
    if (user != NULL) {
        (void)snprintf(out, size, "%s@%s", user->pw_name, host);
    } else {
        (void)snprintf(out, size, "%u@%s", (unsigned)geteuid(), host);
    }
}
