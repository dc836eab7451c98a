/* System 1, generated endpoints: the path settles affiliate, network and integration. */
#include "gateway/system.h"

static bool endpoint_bind(const struct records *records, struct slice name, struct binding *out)
{
    const struct endpoint *e = records_endpoint(records, name);
    if (e == NULL) {
        return false;
    }
    *out = (struct binding){.bound = true,
                            .aid = e->affiliate,
                            .mid = records->mid,
                            .partner = slice_of(e->integration)};
    return true;
}

const struct system system_endpoint = {
    .name = "endpoint", .shape = ANSWER_ENDPOINT, .bind = endpoint_bind};
