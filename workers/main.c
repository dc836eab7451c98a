#include <systemd/sd-daemon.h>

#include "common/adapters/memory.h"
#include "common/base/log.h"
#include "common/base/process.h"
#include "workers/worker.h"

static void ready(void)
{
    log_info("ready", NULL);
    (void)sd_notify(0, "READY=1");
}

int main(int argc, char **argv)
{
    struct config config;
    char error[512];
    memory_ends_in_order();
    int code =
        config_main(argc, argv, "otpq-worker",
                    "runs jobs: claims them, calls advertisers, writes what came of it", &config);
    if (code != CONFIG_GO_ON) {
        return code;
    }
    struct worker *worker = worker_new(&config, error);
    if (worker == NULL) {
        log_error("cannot start", "why", error, NULL);
        config_free(&config);
        return 1;
    }
    code = worker_run(worker, ready);
    process_ends();
    worker_destroy(&worker);
    log_info("stopped", NULL);
    config_free(&config);
    return code;
}
