#include "common/meaning/config_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/meaning/curve_key.h"
#include "common/meaning/netaddr.h"

static const char *listen_wrong(const char *text)
{
    struct netaddr a;
    return netaddr_listen(text, &a) ? NULL : "must be host:port, as 127.0.0.1:8080 or [::1]:8080";
}

static const char *endpoint_wrong(const char *text)
{
    struct netaddr a;
    return netaddr_endpoint(text, &a)
               ? NULL
               : "must be an address like tcp://127.0.0.1:5560 or ipc:///PATH";
}

static const char *curve_key_wrong(const char *text)
{
    return curve_key_ok(slice_of(text))
               ? NULL
               : "must be a CURVE public key, 40 characters as `otpq keys new` prints them";
}

static const char *redis_wrong(const char *text)
{
    struct netaddr_redis a;
    return netaddr_redis(text, &a);
}

static const char *allow_wrong(const char *text)
{
    struct netaddr_rule rule;
    return netaddr_rule(text, &rule)
               ? NULL
               : "is neither a host, host:port, an address nor a network (10.0.0.0/8)";
}

static const char *proxy_wrong(const char *text)
{
    struct netaddr a;
    return netaddr_proxy(text, &a) ? NULL : "must be http://host:port, without path or password";
}

/* Paths are put behind it, so it ends without a slash. */
static const char *url_wrong(const char *text)
{
    size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : 7;
    size_t n = strlen(text);
    bool ok = (scheme == 8 || strncmp(text, "http://", 7) == 0) && n > scheme && n <= 256 &&
              text[scheme] != '/' && text[n - 1] != '/';
    for (size_t i = 0; ok && i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        ok = c > ' ' && c < 0x7f && strchr("\"'<>?#@\\", c) == NULL;
    }
    return ok ? NULL
              : "must be http:// or https://, a host and perhaps a path, without / at its end";
}

static const char *seconds_wrong(const char *text)
{
    uint64_t s = 0;
    bool ok = slice_to_u64(slice_of(text), 86400, &s) && s > 0;
    return ok ? NULL : "must be a whole number of seconds, 1 to 86400";
}

const struct config_shape_row config_shapes[CONFIG_SHAPES] = {
    [CONFIG_ANY] = {"", true, NULL},
    [CONFIG_LISTEN] = {"host:port", false, listen_wrong},
    [CONFIG_ENDPOINT] = {"tcp://host:port or ipc:///path", false, endpoint_wrong},
    [CONFIG_REDIS] = {"unix:/path, tcp://…, sentinel://… or cluster://…", true, redis_wrong},
    [CONFIG_ALLOW] = {"host, host:port, address or network", false, allow_wrong},
    [CONFIG_PROXY] = {"http://host:port", true, proxy_wrong},
    [CONFIG_URL] = {"http:// or https:// URL", true, url_wrong},
    [CONFIG_CURVE_KEY] = {"CURVE public keys", false, curve_key_wrong},
    [CONFIG_SECONDS] = {"seconds, 1 to 86400", false, seconds_wrong},
    [CONFIG_TOLD] = {"tcp://host:port or ipc:///path", true, endpoint_wrong},
};

const char *config_shape_wrong(enum config_shape shape, const char *text)
{
    const struct config_shape_row *row = &config_shapes[shape];
    if (row->wrong == NULL || (row->may_be_empty && text[0] == '\0')) {
        return NULL;
    }
    return row->wrong(text);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* The sockets of one broker. */
struct opened {
    const char *key;
    struct netaddr at;
};

static bool apart(const struct config *c, const struct opened *a, const struct opened *b,
                  struct yaml_error *error)
{
    if (!netaddr_collide(&a->at, &b->at)) {
        return true;
    }
    const struct opened *said = config_is_default(c, b->key) ? a : b;
    config_error(c, said->key, error, "%s and %s are the same address: give each its own", a->key,
                 b->key);
    return false;
}

/* Longer than a socket's path can be, the directory fits no Redis. */
static bool redis_reachable(const struct config *c, struct yaml_error *error)
{
    struct netaddr_redis a;
    char *address = config_redis_address(c);
    bool ok = netaddr_redis(address, &a) == NULL;
    free(address);
    if (!ok) {
        config_error(c, "dir", error,
                     "dir is too long for the socket of Redis in it: at most %d bytes, or set "
                     "redis.address",
                     NETADDR_PATH_BYTES_MAX - (int)sizeof("/redis.sock") + 1);
    }
    return ok;
}

/* Without keys nobody is authenticated on these sockets, so only this host may reach them. */
static bool reached_by_keys(const struct config *c, const char *key, const char *address,
                            struct yaml_error *error)
{
    struct netaddr at;
    if (c->broker_curve_secret_file[0] != '\0' || address[0] == '\0') {
        return true;
    }
    must(netaddr_endpoint(address, &at));
    if (netaddr_stays_on_host(&at)) {
        return true;
    }
    config_error(c, key, error,
                 "%s is reachable from other hosts, and without keys anybody there may send: set "
                 "broker.curve_secret_file to a FILE (that set, `otpq keys new NAME --kind broker "
                 "--out FILE` makes it), or use tcp://127.0.0.1:PORT or ipc:///PATH",
                 key);
    return false;
}

/* Workers and gateways are told where brokers are: an address on which one listens everywhere would
 * lead each of them to itself. */
static bool found_somewhere(const struct config *c, const char *key, const char *bound,
                            const char *advertised, struct yaml_error *error)
{
    struct netaddr at;
    const char *address = advertised[0] != '\0' ? advertised : bound;
    must(netaddr_endpoint(address, &at));
    if (!netaddr_is_any(&at)) {
        return true;
    }
    char told[64];
    (void)snprintf(told, sizeof(told), "broker.advertise_%s", key + sizeof("broker"));
    config_error(c, advertised[0] != '\0' ? told : key, error,
                 "nobody can connect to %s: say in %s where others find this broker", address,
                 told);
    return false;
}

/* The broker's addresses, where it listens and where it says that it does. */
static bool broker_guarded(const struct config *c, struct yaml_error *error)
{
    return reached_by_keys(c, "broker.clients", c->broker_clients, error) &&
           reached_by_keys(c, "broker.workers", c->broker_workers, error) &&
           reached_by_keys(c, "broker.advertise_clients", c->broker_advertise_clients, error) &&
           reached_by_keys(c, "broker.advertise_workers", c->broker_advertise_workers, error) &&
           found_somewhere(c, "broker.clients", c->broker_clients, c->broker_advertise_clients,
                           error) &&
           found_somewhere(c, "broker.workers", c->broker_workers, c->broker_advertise_workers,
                           error);
}

/* Both or none: a pair of its own and the keys of whom it talks to. */
static bool keys_match(const struct config *c, const char *section, const char *secret_file,
                       const struct config_list *keys, const struct config_list *brokers,
                       struct yaml_error *error)
{
    char files[64], lists[64];
    (void)snprintf(files, sizeof(files), "%s.curve_secret_file", section);
    (void)snprintf(lists, sizeof(lists), "%s.broker_keys", section);
    if (secret_file[0] == '\0' && keys->count > 0) {
        config_error(c, lists, error, "%s without %s: brokers with keys let only keys in", lists,
                     files);
    } else if (secret_file[0] != '\0' && keys->count == 0) {
        config_error(
            c, files, error,
            "%s without %s: it must know the public keys of its brokers (`otpq keys list`)", files,
            lists);
    } else if (keys->count > 1 && keys->count != brokers->count) {
        config_error(c, lists, error,
                     "%s has %zu keys for %zu brokers: one for each, or one for all", lists,
                     keys->count, brokers->count);
    } else {
        return true;
    }
    return false;
}

static bool all_keys_match(const struct config *c, struct yaml_error *error)
{
    return keys_match(c, "worker", c->worker_curve_secret_file, &c->worker_broker_keys,
                      &c->worker_brokers, error) &&
           keys_match(c, "gateway", c->gateway_curve_secret_file, &c->gateway_broker_keys,
                      &c->gateway_brokers, error) &&
           keys_match(c, "client", c->client_curve_secret_file, &c->client_broker_keys,
                      &c->client_brokers, error);
}

bool config_judge_whole(const struct config *c, struct yaml_error *error)
{
    struct opened clients = {.key = "broker.clients"};
    struct opened workers = {.key = "broker.workers"};
    struct opened metrics = {.key = "broker.metrics"};
    must(netaddr_endpoint(c->broker_clients, &clients.at) &&
         netaddr_endpoint(c->broker_workers, &workers.at) &&
         netaddr_listen(c->broker_metrics, &metrics.at));
    return apart(c, &clients, &workers, error) && apart(c, &clients, &metrics, error) &&
           apart(c, &workers, &metrics, error) && broker_guarded(c, error) &&
           all_keys_match(c, error) && redis_reachable(c, error);
}
