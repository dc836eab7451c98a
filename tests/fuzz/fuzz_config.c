/* Any text as a configuration file. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/meaning/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("config", 0);
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct config config;
    struct yaml_error error = {""};
    if (config_load(&config, path, &error)) {
        config_free(&config);
    } else {
        must(error.text[0] != '\0');
    }
    (void)close(fd);
    return 0;
}
