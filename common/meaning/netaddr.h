/*
 * netaddr.h: texts that say where to listen, where to connect, and which addresses calls may reach.
 * One parser for each, for the check of the configuration and for who opens the socket. Pure: no
 * name is resolved. Floor 1.
 */
#ifndef OTPQ_MEANING_NETADDR_H
#define OTPQ_MEANING_NETADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"

enum {
    NETADDR_HOST_BYTES = 256,    /* with the NUL; a name has at most 253 */
    NETADDR_PATH_BYTES_MAX = 107 /* sun_path of unix(7) */
};

struct netaddr {
    bool is_unix;                  /* host is the path of a socket */
    char host[NETADDR_HOST_BYTES]; /* without brackets; "*" is every address */
    int port;                      /* 0 to 65535 */
};

/* "host:port", "[v6]:port", "*:port". Port 0 is any. */
MUST_CHECK bool netaddr_listen(const char *text, struct netaddr *out);
/* "tcp://host:port", "ipc://path": ZeroMQ's. */
MUST_CHECK bool netaddr_endpoint(const char *text, struct netaddr *out);
/* "http://host:port" or https; the port may be left out, path and password are not taken. */
MUST_CHECK bool netaddr_proxy(const char *text, struct netaddr *out);

enum { NETADDR_REDIS_HOSTS_MAX = 16, NETADDR_REDIS_NAME_BYTES = 64 /* with the NUL */ };

enum netaddr_redis_kind {
    NETADDR_REDIS_UNIX,     /* unix:/path */
    NETADDR_REDIS_TCP,      /* tcp://host:port */
    NETADDR_REDIS_SENTINEL, /* sentinel://host:port,host:port/NAME: hosts are the sentinels */
    NETADDR_REDIS_CLUSTER   /* cluster://host:port,host:port: hosts are some of its nodes */
};

/* redis.address, taken apart. */
struct netaddr_redis {
    enum netaddr_redis_kind kind;
    size_t count;                                  /* of hosts; 1 for unix and tcp */
    struct netaddr hosts[NETADDR_REDIS_HOSTS_MAX]; /* in the order of the text, none twice */
    char name[NETADDR_REDIS_NAME_BYTES]; /* sentinel: what it calls the primary; else "" */
};

/* NULL: good, and out is filled. Else what is wrong with the text, as the end of a sentence ("must
 * be …"): a static text. */
MUST_CHECK const char *netaddr_redis(const char *text, struct netaddr_redis *out);

/* True when nobody on another host reaches it, whatever names resolve to. */
MUST_CHECK bool netaddr_stays_on_host(const struct netaddr *a);
/* True when it is every address of the host: to listen on, not to connect to. */
MUST_CHECK bool netaddr_is_any(const struct netaddr *a);
/* True when the two cannot both be listened on. */
MUST_CHECK bool netaddr_collide(const struct netaddr *a, const struct netaddr *b);

/* 16 bytes of address, and how many bits of them count. IPv4 stands in its first 4 bytes. */
struct netaddr_network {
    int family; /* AF_INET or AF_INET6 */
    uint8_t bytes[16];
    unsigned bits;
};

/* One entry of outgoing.allow. */
struct netaddr_rule {
    char host[NETADDR_HOST_BYTES];  /* without brackets; "": the network decides */
    struct netaddr_network network; /* used when host is "" */
    uint16_t port;                  /* 0: every port */
};

/* "10.0.0.0/8" or a bare address. */
MUST_CHECK bool netaddr_network(struct slice text, struct netaddr_network *out);
/* "host", "host:port", "192.0.2.7", "192.0.2.7:8090", "[::1]:8090", "10.0.0.0/8", "fd00::/8". */
MUST_CHECK bool netaddr_rule(const char *text, struct netaddr_rule *out);

#endif
