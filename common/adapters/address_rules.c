#include "common/adapters/address_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>

#include "common/meaning/netaddr.h"

struct address_rules {
    size_t count;
    struct netaddr_rule at[];
};

struct special {
    const char *network; /* bytes of the first address, as in inet_pton */
    unsigned bits;
    const char *name;
};

/* RFC 6890 and the IANA special-purpose registries; more specific rows first where names differ. */
static const struct special special_v4[] = {
    {"255.255.255.255", 32, "broadcast"}, {"0.0.0.0", 8, "unspecified"},
    {"10.0.0.0", 8, "private"},           {"100.64.0.0", 10, "shared (CGNAT)"},
    {"127.0.0.0", 8, "loopback"},         {"169.254.0.0", 16, "link-local"},
    {"172.16.0.0", 12, "private"},        {"192.0.0.0", 24, "protocol assignments"},
    {"192.0.2.0", 24, "documentation"},   {"192.31.196.0", 24, "AS112"},
    {"192.52.193.0", 24, "AMT"},          {"192.88.99.0", 24, "6to4 relay"},
    {"192.168.0.0", 16, "private"},       {"192.175.48.0", 24, "AS112"},
    {"198.18.0.0", 15, "benchmarking"},   {"198.51.100.0", 24, "documentation"},
    {"203.0.113.0", 24, "documentation"}, {"224.0.0.0", 4, "multicast"},
    {"240.0.0.0", 4, "reserved"},
};

static const struct special special_v6[] = {
    {"::1", 128, "loopback"},
    {"::", 128, "unspecified"},
    {"::ffff:0:0", 96, "IPv4-mapped"},
    {"::", 96, "IPv4-compatible"},
    {"64:ff9b::", 96, "NAT64"},
    {"64:ff9b:1::", 48, "local NAT64"},
    {"100::", 64, "discard"},
    {"2001::", 32, "Teredo"},
    {"2001::", 23, "protocol assignments"},
    {"2001:db8::", 32, "documentation"},
    {"2002::", 16, "6to4"},
    {"2620:4f:8000::", 48, "AS112"},
    {"3fff::", 20, "documentation"},
    {"fc00::", 7, "unique local"},
    {"fe80::", 10, "link-local"},
    {"fec0::", 10, "site-local"},
    {"ff00::", 8, "multicast"},
};

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(a, b, whole) != 0) {
        return false;
    }
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool network_has(const struct netaddr_network *n, const struct netaddr_network *address)
{
    return n->family == address->family && bits_equal(n->bytes, address->bytes, n->bits);
}

/* False for families that no HTTP call should ever meet. */
static bool network_of_sockaddr(const struct sockaddr *a, struct netaddr_network *out)
{
    *out = (struct netaddr_network){.family = a->sa_family};
    if (a->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, a, sizeof in);
        memcpy(out->bytes, &in.sin_addr, 4);
        out->bits = 32;
        return true;
    }
    if (a->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, a, sizeof in);
        memcpy(out->bytes, &in.sin6_addr, 16);
        out->bits = 128;
        return true;
    }
    return false;
}

static const char *special_in(const struct special *table, size_t count,
                              const struct netaddr_network *n)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[16] = {0};
        must(inet_pton(n->family, table[i].network, bytes) == 1);
        if (bits_equal(bytes, n->bytes, table[i].bits)) {
            return table[i].name;
        }
    }
    return NULL;
}

const char *address_special(const struct sockaddr *address)
{
    struct netaddr_network n;
    if (!network_of_sockaddr(address, &n)) {
        return "not an internet address";
    }
    if (n.family == AF_INET) {
        return special_in(special_v4, ARRAY_LEN(special_v4), &n);
    }
    const char *name = special_in(special_v6, ARRAY_LEN(special_v6), &n);
    /* Global unicast is 2000::/3 (RFC 4291); what lies outside was never given to anybody. */
    bool global = (n.bytes[0] & 0xe0) == 0x20;
    return name != NULL || global ? name : "reserved";
}

bool address_parse(const char *text, struct sockaddr_storage *out)
{
    *out = (struct sockaddr_storage){0};
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(out, &in, sizeof in);
        return true;
    }
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
        memcpy(out, &in6, sizeof in6);
        return true;
    }
    return false;
}

/* Host names compare without case and without the root's dot (RFC 4343). */
static bool host_is(struct slice host, const char *name)
{
    if (host.n > 1 && host.p[host.n - 1] == '.') {
        host.n--;
    }
    return host.n == strlen(name) && strncasecmp(host.p, name, host.n) == 0;
}

static struct slice without_brackets(struct slice host)
{
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        return slice_make(host.p + 1, host.n - 2);
    }
    return host;
}

struct address_rules *address_rules_new(const char *const *allow, size_t count, char error[256])
{
    struct address_rules *r = xcalloc(1, sizeof *r + count * sizeof r->at[0]);
    for (size_t i = 0; i < count; i++) {
        if (!netaddr_rule(allow[i], &r->at[i])) {
            (void)snprintf(error, 256,
                           "\"%.100s\" is neither a host, host:port, an address nor a network "
                           "(10.0.0.0/8)",
                           allow[i]);
            address_rules_destroy(&r);
            return NULL;
        }
        r->count++;
    }
    return r;
}

void address_rules_destroy(struct address_rules **r)
{
    free(*r);
    *r = NULL;
}

bool address_rules_allow(const struct address_rules *r, struct slice host, uint16_t port,
                         const struct sockaddr *address)
{
    if (address_special(address) == NULL) {
        return true;
    }
    struct netaddr_network n;
    if (!network_of_sockaddr(address, &n)) {
        return false;
    }
    host = without_brackets(host);
    for (size_t i = 0; i < r->count; i++) {
        const struct netaddr_rule *rule = &r->at[i];
        bool match =
            rule->host[0] != '\0' ? host_is(host, rule->host) : network_has(&rule->network, &n);
        if (match && (rule->port == 0 || rule->port == port)) {
            return true;
        }
    }
    return false;
}
