#include "gateway/reply.h"

#include <inttypes.h>
#include <stdio.h>

void reply_send(struct httpd_request *request, const struct answer *answer)
{
    char seconds[16];
    if (answer->retry_after_s > 0) {
        (void)snprintf(seconds, sizeof(seconds), "%" PRIu32, answer->retry_after_s);
        httpd_set_header(request, "Retry-After", seconds);
    }
    for (uint32_t i = 0; i < answer->header_count; i++) {
        httpd_set_header(request, answer->headers[i].name, answer->headers[i].value);
    }
    /* Answers carry request ids: no cache may keep them. */
    httpd_set_header(request, "Cache-Control", "no-store");
    httpd_answer(request, answer->http, answer->type != NULL ? answer->type : "application/json",
                 buf_slice(&answer->body));
}
