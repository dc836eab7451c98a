#include "clients/otpq/records_access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "common/adapters/store.h"
#include "common/meaning/secrets.h"

static bool read_password(const struct config *c, char **password, size_t *n,
                          struct yaml_error *error)
{
    *password = NULL;
    *n = 0;
    if (c->redis_password_file[0] == '\0') {
        return true;
    }
    *password = secret_file_read(c->redis_password_file, SECRET_BYTES_MAX, n, error);
    return *password != NULL;
}

int records_access_open(struct records_access *a, const char *command, const char *config_path)
{
    struct yaml_error error;
    char why[512];
    char *password;
    size_t n;
    a->redis = NULL;
    if (!config_load(&a->config, config_path, &error)) {
        (void)fprintf(stderr, "%s: %s\n", command, error.text);
        return OTPQ_EXIT_USAGE;
    }
    if (!read_password(&a->config, &password, &n, &error)) {
        (void)fprintf(stderr, "%s: %s\n", command, error.text);
        records_access_close(a);
        return OTPQ_EXIT_USAGE;
    }
    char *address = config_redis_address(&a->config);
    a->redis = store_blocking(address, password, (uint32_t)a->config.redis_timeout_ms, why);
    free(address);
    secret_wipe(&password, n);
    if (a->redis == NULL) {
        (void)fprintf(stderr, "%s: %s\n", command, why);
        records_access_close(a);
        return OTPQ_EXIT_REFUSED;
    }
    return OTPQ_EXIT_DONE;
}

void records_access_close(struct records_access *a)
{
    if (a->redis != NULL) {
        redisFree(a->redis);
        a->redis = NULL;
    }
    config_free(&a->config);
}
