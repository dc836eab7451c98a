/*
 * node_brokers.h: where the brokers of one node listen (node.brokers). The first has the addresses
 * of the configuration; each further one the same with ports higher by NODE_BROKER_PORTS, and -2,
 * -3, … behind the path of an ipc socket. Floor 4.
 */
#ifndef OTPQ_COMMAND_NODE_BROKERS_H
#define OTPQ_COMMAND_NODE_BROKERS_H

#include <stdbool.h>

#include "common/base/buf.h"
#include "common/base/check.h"
#include "common/meaning/config.h"

enum { NODE_BROKER_PORTS = 10, NODE_BROKER_ADDRESS_BYTES = 320 };

struct node_broker {
    char clients[NODE_BROKER_ADDRESS_BYTES];      /* as broker.clients */
    char workers[NODE_BROKER_ADDRESS_BYTES];      /* as broker.workers */
    char metrics[NODE_BROKER_ADDRESS_BYTES];      /* as broker.metrics */
    char told_clients[NODE_BROKER_ADDRESS_BYTES]; /* as broker.advertise_clients, or "" */
    char told_workers[NODE_BROKER_ADDRESS_BYTES]; /* as broker.advertise_workers, or "" */
};

/* The nth, from 0. Only after node_brokers_apart. */
struct node_broker node_broker(const struct config *c, uint64_t nth);
/* False: a port is beyond 65535, or two of the addresses are the same; *error says which. */
MUST_CHECK bool node_brokers_apart(const struct config *c, char error[512]);
/* Comma-separated, each once: the list, and the addresses of the node's brokers (their `clients`,
 * or their `workers`). */
void node_brokers_list(const struct config *c, const struct config_list *list, bool clients,
                       struct buf *out);

#endif
