/* System 1, generated endpoints: the path settles affiliate, network and integration. */
#include "gateway/otp_system.h"

static void take(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in)
{
    const struct endpoint *e = records_endpoint(records, m->names[0]);
    if (e == NULL) {
        intake_fail(p, RESULT_INVALID_REQUEST, 404, "there is no endpoint of this name");
        return;
    }
    const struct binding b = {.bound = true,
                              .aid = e->affiliate,
                              .mid = records->mid,
                              .partner = slice_of(e->integration)};
    otp_take(p, records, &b, m->row->op == ROUTE_VERIFY, in);
}

static void tell(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    (void)kept;
    otp_tell(a, ANSWER_ENDPOINT, from);
}

const struct system system_endpoint = {
    .name = "endpoint", .take = take, .tell = tell, .fail = otp_fail};
