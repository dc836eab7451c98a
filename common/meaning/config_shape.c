#include "common/meaning/config_shape.h"

#include <stdlib.h>
#include <string.h>

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

/* Nobody is authenticated on these sockets, so only this host may reach them. */
static const char *local_wrong(const char *text)
{
    struct netaddr a;
    if (!netaddr_endpoint(text, &a)) {
        return endpoint_wrong(text);
    }
    return netaddr_stays_on_host(&a)
               ? NULL
               : "is reachable from other hosts, and this socket knows no passwords: use "
                 "tcp://127.0.0.1:PORT or ipc:///PATH, and an encrypted tunnel between hosts";
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
    [CONFIG_LOCAL] = {"tcp://host:port of this host, or ipc:///path", false, local_wrong},
    [CONFIG_REDIS] = {"unix:/path, tcp://…, sentinel://… or cluster://…", true, redis_wrong},
    [CONFIG_ALLOW] = {"host, host:port, address or network", false, allow_wrong},
    [CONFIG_PROXY] = {"http://host:port", true, proxy_wrong},
    [CONFIG_URL] = {"http:// or https:// URL", true, url_wrong},
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

bool config_judge_whole(const struct config *c, struct yaml_error *error)
{
    struct opened clients = {.key = "broker.clients"};
    struct opened workers = {.key = "broker.workers"};
    struct opened metrics = {.key = "broker.metrics"};
    must(netaddr_endpoint(c->broker_clients, &clients.at) &&
         netaddr_endpoint(c->broker_workers, &workers.at) &&
         netaddr_listen(c->broker_metrics, &metrics.at));
    return apart(c, &clients, &workers, error) && apart(c, &clients, &metrics, error) &&
           apart(c, &workers, &metrics, error) && redis_reachable(c, error);
}
