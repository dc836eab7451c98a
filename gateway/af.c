/* System 2, the affiliate OTP API: one address for all, everything comes as parameters. */
#include "gateway/otp_system.h"

static void take(struct intake *p, const struct records *records, const struct router_match *m,
                 const struct intake_input *in)
{
    static const struct binding nobody = {.bound = false};
    otp_take(p, records, &nobody, m->row->op == ROUTE_VERIFY, in);
}

static void tell(struct answer *a, const void *kept, const struct otpq_answer *from)
{
    (void)kept;
    otp_tell(a, ANSWER_AF, from);
}

const struct system system_af = {.name = "af", .take = take, .tell = tell, .fail = otp_fail};
