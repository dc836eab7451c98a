#include "workers/flow_inside.h"

/* For codes that otpq made the claim script checks the code itself, and the job has ended with
 * it. */
static void claim(struct flow *f, claim_callback *done)
{
    session_claim_verify(f->all->sessions, &f->claim, f->route, f->body.request_id, f->body.otp,
                         done, f);
}

static bool calls(const struct flow *f)
{
    return f->route->maker == CODE_BY_ADVERTISER;
}

/* A code that came in an SMS is told again once it was right: the push has to carry it, and only
 * the advertiser knew it before. */
static bool prepare(struct flow *f)
{
    if (f->body.sender.n > 0 && code_ok(f->body.otp)) {
        code_seal(f->all->pepper, slice_of(f->request_id), f->body.otp, f->sealed);
        f->claim.facts.sealed = slice_of(f->sealed);
    }
    return true;
}

static void finish(struct flow *f, const struct session_finish *finish, finish_callback *done)
{
    session_finish_verify(f->all->sessions, &f->claim, f->route, f->request_id, finish, done, f);
}

/* A verify may charge the user: whatever the route says of refusals, only a request that provably
 * never left is made again. */
const struct flow_op flow_verify = {
    .call = DIALECT_VERIFY,
    .repeatable = false,
    .sends = false,
    .read = flow_read_verify,
    .calls = calls,
    .claim = claim,
    .prepare = prepare,
    .finish = finish,
};
