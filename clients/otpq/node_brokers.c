#include "clients/otpq/node_brokers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/meaning/netaddr.h"

enum { ADDRESSES = 3, PORT_MAX = 65535 };

static long port_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    return colon != NULL ? strtol(colon + 1, NULL, 10) : 0;
}

static bool is_ipc(const char *address)
{
    return strncmp(address, "ipc://", 6) == 0;
}

static void move_address(char out[NODE_BROKER_ADDRESS_BYTES], const char *first, uint64_t nth)
{
    if (nth == 0 || first[0] == '\0') {
        (void)snprintf(out, NODE_BROKER_ADDRESS_BYTES, "%s", first);
    } else if (is_ipc(first)) {
        (void)snprintf(out, NODE_BROKER_ADDRESS_BYTES, "%s-%llu", first,
                       (unsigned long long)nth + 1);
    } else {
        (void)snprintf(out, NODE_BROKER_ADDRESS_BYTES, "%.*s:%ld",
                       (int)(strrchr(first, ':') - first), first,
                       port_of(first) + (long)nth * NODE_BROKER_PORTS);
    }
}

struct node_broker node_broker(const struct config *c, uint64_t nth)
{
    struct node_broker b;
    move_address(b.clients, c->broker_clients, nth);
    move_address(b.workers, c->broker_workers, nth);
    move_address(b.metrics, c->broker_metrics, nth);
    move_address(b.told_clients, c->broker_advertise_clients, nth);
    move_address(b.told_workers, c->broker_advertise_workers, nth);
    return b;
}

static bool beyond(const char *key, const char *first, uint64_t count, char error[512])
{
    long last = port_of(first) + (long)(count - 1) * NODE_BROKER_PORTS;
    if (is_ipc(first) || last <= PORT_MAX) {
        return false;
    }
    (void)snprintf(error, 512, "node.brokers: with %llu brokers the last port of %s would be %ld",
                   (unsigned long long)count, key, last);
    return true;
}

static void parse(const struct node_broker *b, struct netaddr at[ADDRESSES])
{
    must(netaddr_endpoint(b->clients, &at[0]) && netaddr_endpoint(b->workers, &at[1]) &&
         netaddr_listen(b->metrics, &at[2]));
}

/* An address of the one that the other has too, or NULL. */
static const char *shared_address(const struct node_broker *one, const struct node_broker *other)
{
    struct netaddr mine[ADDRESSES];
    struct netaddr theirs[ADDRESSES];
    const char *const texts[ADDRESSES] = {one->clients, one->workers, one->metrics};
    parse(one, mine);
    parse(other, theirs);
    for (int i = 0; i < ADDRESSES; i++) {
        for (int k = 0; k < ADDRESSES; k++) {
            if (netaddr_collide(&mine[i], &theirs[k])) {
                return texts[i];
            }
        }
    }
    return NULL;
}

bool node_brokers_apart(const struct config *c, char error[512])
{
    uint64_t count = c->node_brokers;
    if (beyond("broker.clients", c->broker_clients, count, error) ||
        beyond("broker.workers", c->broker_workers, count, error) ||
        beyond("broker.metrics", c->broker_metrics, count, error)) {
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        struct node_broker one = node_broker(c, i);
        for (uint64_t k = i + 1; k < count; k++) {
            struct node_broker other = node_broker(c, k);
            const char *same = shared_address(&one, &other);
            if (same != NULL) {
                (void)snprintf(error, 512,
                               "node.brokers: two brokers would listen on %s; the ports of each "
                               "are %d higher than those of the one before",
                               same, (int)NODE_BROKER_PORTS);
                return false;
            }
        }
    }
    return true;
}

static bool listed(const struct config_list *list, const char *address)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->at[i], address) == 0) {
            return true;
        }
    }
    return false;
}

void node_brokers_list(const struct config *c, const struct config_list *list, bool clients,
                       struct buf *out)
{
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(out, "%s%s", i > 0 ? "," : "", list->at[i]);
    }
    size_t count = list->count;
    for (uint64_t i = 0; i < c->node_brokers && count < CONFIG_LIST_MAX; i++) {
        struct node_broker b = node_broker(c, i);
        const char *address = clients ? b.clients : b.workers;
        if (!listed(list, address)) {
            buf_printf(out, ",%s", address);
            count++;
        }
    }
}
