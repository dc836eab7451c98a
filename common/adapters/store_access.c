#include "common/adapters/store_access.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/meaning/secrets.h"

bool store_access_begin(const struct config *c, struct store_access *out, char error[512])
{
    struct yaml_error why;
    *out = (struct store_access){.timeout_ms = (uint32_t)c->redis_timeout_ms};
    if (c->redis_password_file[0] != '\0') {
        out->password =
            secret_file_read(c->redis_password_file, SECRET_BYTES_MAX, &out->password_bytes, &why);
        if (out->password == NULL) {
            struct yaml_error placed;
            config_error(c, "redis.password_file", &placed, "redis.password_file: %.400s",
                         why.text);
            (void)snprintf(error, 512, "%s", placed.text);
            return false;
        }
    }
    out->address = config_redis_address(c);
    return true;
}

void store_access_end(struct store_access *a)
{
    secret_wipe(&a->password, a->password_bytes);
    free(a->address);
    a->address = NULL;
}
