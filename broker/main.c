#include "broker/broker.h"
#include "common/adapters/memory.h"
#include "common/base/log.h"
#include "common/base/process.h"

int main(int argc, char **argv)
{
    struct config config;
    char error[512];
    memory_ends_in_order();
    int code = config_main(argc, argv, "otpq-broker",
                           "takes jobs from clients and deals them out to workers", &config);
    if (code != CONFIG_GO_ON) {
        return code;
    }
    struct broker *broker = broker_new(&config, error);
    if (broker == NULL) {
        log_error("cannot start", "why", error, NULL);
        config_free(&config);
        return 1;
    }
    code = broker_run(broker);
    process_ends();
    broker_destroy(&broker);
    log_info("stopped", NULL);
    config_free(&config);
    return code;
}
