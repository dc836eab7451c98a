#include "common/adapters/memory.h"
#include "common/base/log.h"
#include "common/base/process.h"
#include "gateway/gateway.h"

int main(int argc, char **argv)
{
    struct config config;
    char error[512];
    memory_ends_in_order();
    int code = config_main(argc, argv, "otpq-gateway",
                           "serves the HTTP APIs and turns requests into jobs", &config);
    if (code != CONFIG_GO_ON) {
        return code;
    }
    struct gateway *gateway = gateway_new(&config, error);
    if (gateway == NULL) {
        log_error("cannot start", "why", error, NULL);
        config_free(&config);
        return 1;
    }
    code = gateway_run(gateway);
    process_ends();
    gateway_destroy(&gateway);
    log_info("stopped", NULL);
    config_free(&config);
    return code;
}
