#include "clients/otpq/records_access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "common/adapters/store_access.h"

int records_access_open(struct records_access *a, const struct voice *voice,
                        const char *config_path)
{
    struct yaml_error error;
    char why[512];
    struct store_access redis;
    a->redis = NULL;
    if (!config_load(&a->config, config_path, &error)) {
        voice_error(voice, "%s", error.text);
        return OTPQ_EXIT_USAGE;
    }
    if (!store_access_begin(&a->config, &redis, why)) {
        voice_error(voice, "%s", why);
        records_access_close(a);
        return OTPQ_EXIT_USAGE;
    }
    a->redis = asker_open(redis.address, redis.password, redis.timeout_ms, why);
    store_access_end(&redis);
    if (a->redis == NULL) {
        voice_error(voice, "%s", why);
        records_access_close(a);
        return OTPQ_EXIT_REFUSED;
    }
    return OTPQ_EXIT_DONE;
}

void records_access_close(struct records_access *a)
{
    asker_close(&a->redis);
    config_free(&a->config);
}
