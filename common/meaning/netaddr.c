#include "common/meaning/netaddr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <strings.h>

static bool take_prefix(const char **text, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(*text, prefix, n) != 0) {
        return false;
    }
    *text += n;
    return true;
}

static bool copy(struct slice from, char out[NETADDR_HOST_BYTES])
{
    if (from.n == 0 || from.n >= NETADDR_HOST_BYTES) {
        return false;
    }
    memcpy(out, from.p, from.n);
    out[from.n] = '\0';
    return true;
}

static bool is_v4(const char *text)
{
    struct in_addr address;
    return inet_pton(AF_INET, text, &address) == 1;
}

static bool is_v6(const char *text)
{
    struct in6_addr address;
    char bare[NETADDR_HOST_BYTES];
    (void)snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(text, "%"), text); /* less the zone */
    return inet_pton(AF_INET6, bare, &address) == 1;
}

/* Numbers and dots alone are an address, and no name (RFC 3696): 1.2.3.400 is a slip. */
static bool is_host(const char *host)
{
    size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
    if (n == 0 || host[n] != '\0' || n > 253) {
        return false;
    }
    return strspn(host, "0123456789.") < n || is_v4(host);
}

/* "host:port" with brackets around IPv6. */
static bool split(const char *text, struct netaddr *out)
{
    *out = (struct netaddr){0};
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;
    if (colon == NULL || !slice_to_u64(slice_of(colon + 1), 65535, &port)) {
        return false;
    }
    out->port = (int)port;
    struct slice host = slice_make(text, (size_t)(colon - text));
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        return copy(slice_make(host.p + 1, host.n - 2), out->host) && is_v6(out->host);
    }
    return copy(host, out->host) && is_host(out->host);
}

static bool path(const char *text, struct netaddr *out)
{
    *out = (struct netaddr){.is_unix = true};
    return strlen(text) <= NETADDR_PATH_BYTES_MAX && copy(slice_of(text), out->host);
}

bool netaddr_listen(const char *text, struct netaddr *out)
{
    char any[NETADDR_HOST_BYTES];
    if (strncmp(text, "*:", 2) != 0) {
        return split(text, out);
    }
    (void)snprintf(any, sizeof(any), "0.0.0.0:%s", text + 2);
    bool ok = split(any, out);
    (void)snprintf(out->host, sizeof(out->host), "*");
    return ok;
}

bool netaddr_endpoint(const char *text, struct netaddr *out)
{
    if (take_prefix(&text, "ipc://")) {
        return path(text, out);
    }
    return take_prefix(&text, "tcp://") && netaddr_listen(text, out) && out->port > 0;
}

bool netaddr_proxy(const char *text, struct netaddr *out)
{
    char with_port[NETADDR_HOST_BYTES + 8];
    if (!take_prefix(&text, "http://") && !take_prefix(&text, "https://")) {
        return false;
    }
    size_t n = strlen(text);
    n -= n > 0 && text[n - 1] == '/' ? 1 : 0;
    (void)snprintf(with_port, sizeof(with_port), "%.*s", (int)(n < 260 ? n : 260), text);
    if (split(with_port, out)) {
        return out->port > 0;
    }
    /* curl would take port 1080 then */
    (void)snprintf(with_port, sizeof(with_port), "%.*s:1080", (int)(n < 256 ? n : 256), text);
    return split(with_port, out);
}

/* ---- redis.address --------------------------------------------------------------------------- */

/* One host more; NULL or what is wrong. */
static const char *redis_host(struct slice text, struct netaddr_redis *out)
{
    char one[NETADDR_HOST_BYTES + 8];
    if (out->count == NETADDR_REDIS_HOSTS_MAX) {
        return "has too many hosts: name at most 16";
    }
    struct netaddr *host = &out->hosts[out->count];
    if (text.n >= sizeof(one)) {
        return "has a host that is too long";
    }
    (void)snprintf(one, sizeof(one), "%.*s", SLICE_ARG(text));
    if (!split(one, host) || host->port == 0) {
        return out->kind == NETADDR_REDIS_TCP
                   ? "must be tcp://host:port, as tcp://127.0.0.1:6379 or tcp://[::1]:6379"
                   : "must have host:port between its commas, as 192.0.2.1:26379 or [::1]:26379";
    }
    for (size_t i = 0; i < out->count; i++) {
        if (netaddr_collide(&out->hosts[i], host)) {
            return "names the same host twice";
        }
    }
    out->count++;
    return NULL;
}

static const char *redis_hosts(struct slice text, struct netaddr_redis *out)
{
    const char *wrong = NULL;
    while (wrong == NULL) {
        const char *comma = text.n > 0 ? memchr(text.p, ',', text.n) : NULL;
        size_t n = comma != NULL ? (size_t)(comma - text.p) : text.n;
        wrong = redis_host(slice_make(text.p, n), out);
        if (comma == NULL) {
            break;
        }
        text = slice_make(comma + 1, text.n - n - 1);
    }
    return wrong;
}

/* The letters that Sentinel itself allows in a name. */
static const char *redis_sentinels(const char *text, struct netaddr_redis *out)
{
    const char *slash = strrchr(text, '/');
    const char *name = slash != NULL ? slash + 1 : "";
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof(out->name) ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != n) {
        return "must end with /NAME, as the sentinels call the primary (`sentinel monitor NAME`)";
    }
    (void)snprintf(out->name, sizeof(out->name), "%s", name);
    return redis_hosts(slice_make(text, (size_t)(slash - text)), out);
}

const char *netaddr_redis(const char *text, struct netaddr_redis *out)
{
    *out = (struct netaddr_redis){0};
    if (take_prefix(&text, "unix:")) {
        out->kind = NETADDR_REDIS_UNIX;
        out->count = 1;
        return path(text, &out->hosts[0]) ? NULL : "must be unix:/path, of at most 107 bytes";
    }
    if (take_prefix(&text, "tcp://")) {
        out->kind = NETADDR_REDIS_TCP;
        return redis_host(slice_of(text), out);
    }
    if (take_prefix(&text, "sentinel://")) {
        out->kind = NETADDR_REDIS_SENTINEL;
        return redis_sentinels(text, out);
    }
    if (take_prefix(&text, "cluster://")) {
        out->kind = NETADDR_REDIS_CLUSTER;
        return redis_hosts(slice_of(text), out);
    }
    return "must begin with unix:/path, tcp://host:port, sentinel://host:port,host:port/NAME or "
           "cluster://host:port,host:port";
}

/* ---- where it is ----------------------------------------------------------------------------- */

/* A name may resolve to anything, but localhost may not (RFC 6761). */
bool netaddr_stays_on_host(const struct netaddr *a)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (a->is_unix || strcasecmp(a->host, "localhost") == 0) {
        return true;
    }
    if (inet_pton(AF_INET, a->host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    return inet_pton(AF_INET6, a->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static const char *plain_host(const struct netaddr *a)
{
    return strcasecmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
}

bool netaddr_is_any(const struct netaddr *a)
{
    return !a->is_unix && (strcmp(a->host, "*") == 0 || strcmp(a->host, "0.0.0.0") == 0 ||
                           strcmp(a->host, "::") == 0);
}

bool netaddr_collide(const struct netaddr *a, const struct netaddr *b)
{
    if (a->is_unix || b->is_unix) {
        return a->is_unix && b->is_unix && strcmp(a->host, b->host) == 0;
    }
    return a->port == b->port && a->port != 0 &&
           (netaddr_is_any(a) || netaddr_is_any(b) ||
            strcasecmp(plain_host(a), plain_host(b)) == 0);
}

/* ---- who may be called ----------------------------------------------------------------------- */

bool netaddr_network(struct slice text, struct netaddr_network *out)
{
    char address[NETADDR_HOST_BYTES];
    uint64_t bits = 0;
    const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - text.p) : text.n;
    *out = (struct netaddr_network){0};
    if (!copy(slice_make(text.p, n), address)) {
        return false;
    }
    if (inet_pton(AF_INET, address, out->bytes) == 1) {
        out->family = AF_INET;
        out->bits = 32;
    } else if (inet_pton(AF_INET6, address, out->bytes) == 1) {
        out->family = AF_INET6;
        out->bits = 128;
    } else {
        return false;
    }
    if (slash == NULL) {
        return true;
    }
    bool ok = slice_to_u64(slice_make(slash + 1, text.n - n - 1), out->bits, &bits);
    out->bits = (unsigned)bits;
    return ok;
}

/* Cuts ":port" off; an IPv6 address has its port only behind brackets. */
static bool take_port(struct slice *text, uint16_t *port)
{
    const char *colon = text->n > 0 ? memrchr(text->p, ':', text->n) : NULL;
    if (colon == NULL || colon == text->p) {
        return true;
    }
    bool bracketed = text->p[0] == '[';
    if ((!bracketed && memchr(text->p, ':', text->n) != colon) || (bracketed && colon[-1] != ']')) {
        return true;
    }
    size_t n = (size_t)(colon - text->p);
    uint64_t value;
    if (!slice_to_u64(slice_make(colon + 1, text->n - n - 1), 65535, &value) || value == 0) {
        return false;
    }
    text->n = n;
    *port = (uint16_t)value;
    return true;
}

bool netaddr_rule(const char *text, struct netaddr_rule *out)
{
    struct slice host = slice_of(text);
    *out = (struct netaddr_rule){0};
    if (netaddr_network(host, &out->network)) {
        return true;
    }
    if (!take_port(&host, &out->port)) {
        return false;
    }
    bool bracketed = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (bracketed) {
        host = slice_make(host.p + 1, host.n - 2);
    }
    if (memchr(host.p, '/', host.n) == NULL && netaddr_network(host, &out->network)) {
        return true;
    }
    return !bracketed && copy(host, out->host) && is_host(out->host);
}
