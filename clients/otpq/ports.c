#include "clients/otpq/ports.h"

#include <stdio.h>
#include <string.h>

#include "clients/otpq/node_brokers.h"
#include "common/adapters/listen_fd.h"

/* An endpoint that is no TCP port (ipc) is looked at by who opens it. */
static bool port_free(const char *key, const char *address, const char *too)
{
    static const char tcp[] = "tcp://";
    char error[256];
    char variable[64];
    if (strncmp(address, tcp, sizeof(tcp) - 1) == 0) {
        address += sizeof(tcp) - 1;
    }
    if (listen_fd_free(address, key, error)) {
        return true;
    }
    config_env_name(key, variable);
    (void)fprintf(stderr, "otpq: %s%s\n      (a line of the configuration, or %s=…)\n", error, too,
                  variable);
    return false;
}

bool ports_free(const struct config *c, bool sandbox)
{
    bool all = c->node_gateways == 0 || port_free("gateway.listen", c->gateway_listen, "");
    for (uint64_t i = 0; i < c->node_brokers; i++) {
        struct node_broker b = node_broker(c, i);
        all &= port_free("broker.clients", b.clients,
                         ", and the same with gateway.brokers and client.brokers");
        all &= port_free("broker.workers", b.workers, ", and the same with worker.brokers");
        all &= port_free("broker.metrics", b.metrics, "");
    }
    all &= !sandbox || port_free("sandbox.listen", c->sandbox_listen, "");
    return all;
}
