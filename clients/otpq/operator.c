#include "clients/otpq/operator.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "clients/otpq/commands.h"
#include "common/adapters/curve.h"
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
        (void)snprintf(b->key, sizeof b->key, "%s", seen[i].key);
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

/* Where it stands in client.brokers; their count: nowhere. */
static size_t configured_at(const struct config *c, const char *address)
{
    size_t i = 0;
    while (i < c->client_brokers.count && strcmp(c->client_brokers.at[i], address) != 0) {
        i++;
    }
    return i;
}

/* What client.broker_keys says of a broker holds whatever Redis says: of those in client.brokers,
 * or of those in --brokers, in their order. One key alone is that of all whose key nobody told. */
static void put_keys(const struct config *c, bool in_order, struct broker_found *out, size_t count)
{
    const struct config_list *keys = &c->client_broker_keys;
    for (size_t i = 0; i < count && keys->count > 0; i++) {
        size_t at = in_order ? i : configured_at(c, out[i].clients);
        size_t places = in_order ? count : c->client_brokers.count;
        bool said = at < places && (keys->count == 1 || keys->count == places);
        if (said || (keys->count == 1 && out[i].key[0] == '\0')) {
            const char *key = config_broker_key(keys, said ? at : 0);
            (void)snprintf(out[i].key, sizeof out[i].key, "%s", key);
        }
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

static size_t find(const struct client_args *a, const struct config *c, struct broker_found *out)
{
    size_t count = a->brokers != NULL ? by_hand(a->brokers, out) : by_redis(c, out);
    bool in_order = a->brokers != NULL || count == 0;
    for (size_t i = 0; a->brokers == NULL && in_order && i < c->client_brokers.count; i++) {
        add(out, &count, c->client_brokers.at[i]);
    }
    put_keys(c, in_order, out, count);
    return count;
}

size_t operator_brokers(const struct client_args *a, struct broker_found *out,
                        struct curve_pair *pair, int *exit_code)
{
    struct config c;
    struct yaml_error error;
    char why[256];
    *exit_code = OTPQ_EXIT_USAGE;
    if (!config_load(&c, a->config, &error)) {
        (void)fprintf(stderr, "otpq: %s\n", error.text);
        return 0;
    }
    size_t count = 0;
    if (pair == NULL || curve_pair_read(c.client_curve_secret_file, pair, why)) {
        count = find(a, &c, out);
    } else {
        (void)fprintf(stderr, "otpq: client.curve_secret_file: %s: %s\n",
                      c.client_curve_secret_file, why);
    }
    config_free(&c);
    return count;
}

/* ---- asking one ------------------------------------------------------------------------------ */

static bool set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static bool set_text(void *socket, int option, const char *text)
{
    return zmq_setsockopt(socket, option, text, strlen(text)) == 0;
}

/* Under keys, if the broker has one. */
static bool dress(void *socket, const struct broker_found *b, const struct curve_pair *pair,
                  const char **why)
{
    if (b->key[0] == '\0') {
        return true;
    }
    *why = "it asks for a key: client.curve_secret_file";
    return pair->public_key[0] != '\0' && set_text(socket, ZMQ_CURVE_SERVERKEY, b->key) &&
           set_text(socket, ZMQ_CURVE_PUBLICKEY, pair->public_key) &&
           set_text(socket, ZMQ_CURVE_SECRETKEY, pair->secret_key);
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

bool operator_ask(const struct broker_found *broker, const struct curve_pair *pair,
                  struct slice message, uint32_t timeout_ms, struct buf *answer, const char **why)
{
    void *context = zmq_ctx_new();
    need(context != NULL);
    void *socket = zmq_socket(context, ZMQ_DEALER);
    need(socket != NULL);
    bool ok = dress(socket, broker, pair, why) &&
              exchange(socket, broker->clients, message, timeout_ms, answer, why);
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
