/* System 2, the affiliate OTP API: one address for all, everything comes as parameters. */
#include "gateway/system.h"

static bool af_bind(const struct records *records, struct slice name, struct binding *out)
{
    (void)records;
    (void)name;
    *out = (struct binding){.bound = false};
    return true;
}

const struct system system_af = {.name = "af", .shape = ANSWER_AF, .bind = af_bind};
