#include "common/base/process.h"

#include <sys/resource.h>

void process_no_core(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
}
