#include "broker/self.h"

#include <stdio.h>
#include <unistd.h>

#include "common/base/rng.h"

static void say_address(char out[BROKER_ADDRESS_BYTES], const char *told, const char *bound)
{
    (void)snprintf(out, BROKER_ADDRESS_BYTES, "%s", told[0] != '\0' ? told : bound);
}

void self_line(const struct config *c, struct broker_line *out)
{
    uint64_t token;
    char host[64] = "";
    *out = (struct broker_line){0};
    rng_secure(&token, sizeof(token));
    (void)snprintf(out->token, sizeof(out->token), "%016llx", (unsigned long long)token);
    (void)gethostname(host, sizeof(host) - 1);
    say_address(out->clients, c->broker_advertise_clients, c->broker_clients);
    say_address(out->workers, c->broker_advertise_workers, c->broker_workers);
    /* not what it bound: that may be every address, on two hosts of one name */
    (void)snprintf(out->name, sizeof(out->name), "%s %.60s", host, out->clients);
}
