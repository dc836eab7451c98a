/* flow_claim.c: the right to call. Asks the store for it, and goes by what it answers. */
#include <inttypes.h>

#include "common/base/clock.h"
#include "workers/flow_inside.h"

/* The answer may be old: this process may have stood still since the script ran, and the lease be
 * over or too short for the call. Then the store is asked again: the job is another's by now, or
 * still this run's, with a new lease. */
static void won(struct flow *f)
{
    int64_t now_ms = clock_mono_ms();
    bool late = now_ms >= f->deadline_ms;
    if (!late && now_ms + f->call_ms + FLOW_WRITE_SPARE_MS > f->lease_end_ms) {
        flow_ask(f);
        return;
    }
    char attempt[32];
    (void)snprintf(attempt, sizeof attempt, "attempt %" PRIu32, f->job.attempt);
    flow_add_step(f, "started", clock_wall_ms(), attempt);
    link_started(f->from, f->job.id, f->job.attempt);
    if (late) {
        flow_finish(f, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
    } else {
        flow_get_ready(f);
    }
}

static void keep_claim(struct flow *f, const struct claim *c)
{
    memcpy(f->request_id, c->request_id, sizeof f->request_id);
    memcpy(f->advertiser_request_id, c->advertiser_request_id, sizeof f->advertiser_request_id);
    if (f->msisdn.digits[0] == '\0') {
        memcpy(f->msisdn.digits, c->msisdn, sizeof f->msisdn.digits);
        f->claim.msisdn = slice_of(f->msisdn.digits);
    }
    f->attempts_left = c->attempts_left;
    f->retry_after_s = c->retry_after_s;
    f->expires_in_s = c->expires_in_s;
    f->unsure = c->unsure;
}

/* The advertiser that sent the code is called from its own lane, where its limits are; or later,
 * while that is paused. */
static void follow(struct flow *f, const char *via)
{
    if (strcmp(via, f->called->name) == 0) {
        flow_give_back(f, RESULT_INTEGRATION_PAUSED, FLOW_ROUTE_BACK_MS, f->job.attempt);
    } else {
        flow_give_on(f, RESULT_NONE, via);
    }
}

static void claimed(struct flow *f, const struct claim *c)
{
    keep_claim(f, c);
    switch (c->outcome) {
    case CLAIM_WON:
        won(f);
        break;
    case CLAIM_ENDED:
    case CLAIM_REFUSED:
        flow_answer(f, c->end, c->code, c->result_body);
        break;
    case CLAIM_ELSEWHERE:
        flow_wait(f, c->wait_ms, true);
        break;
    case CLAIM_BUSY:
        flow_wait(f, c->wait_ms, false);
        break;
    case CLAIM_MOVED:
        follow(f, c->via);
        break;
    case CLAIM_STALE:
        flow_give_back(f, RESULT_NONE, 0, c->attempt_seen);
        break;
    case CLAIM_CONFLICT:
        flow_explain(f, "this id was used before with another op, route or body");
        flow_answer_unwritten(f, JOB_END_REFUSED, RESULT_CONFLICT);
        break;
    case CLAIM_NO_STORE:
        /* Should the claim have been won after all, the session store opens it again. */
        flow_give_back(f, RESULT_STORE_UNAVAILABLE, FLOW_STORE_BACK_MS, f->job.attempt);
        break;
    }
}

/* Claims those whose turn it is. Claims may end before they return, when the store is away. */
void flow_pump(struct flows *all)
{
    struct list *node;
    if (all->pumping) {
        return;
    }
    all->pumping = true;
    while (all->claiming < FLOW_CLAIMS_MAX && (node = list_first(&all->ready)) != NULL) {
        list_remove(node);
        flow_ask(list_owner(node, struct flow, turn));
    }
    all->pumping = false;
}

static void on_claim(void *context, const struct claim *c)
{
    struct flow *f = context;
    struct flows *all = f->all;
    all->claiming--;
    claimed(f, c);
    flow_pump(all);
}

/* 0 when the store alone settles the job: codes of our own have no verify call. */
static uint32_t call_ms_max(const struct flow *f)
{
    const struct dialect *d = f->called->dialect;
    bool called = d != NULL && d->has(f->called->settings, f->op->call);
    return called ? d->timeout_ms(f->called->settings, f->op->call) : 0;
}

void flow_ask(struct flow *f)
{
    int64_t now_ms = clock_mono_ms();
    int64_t left_ms = f->deadline_ms > now_ms ? f->deadline_ms - now_ms : 0;
    uint32_t call_ms = call_ms_max(f);
    f->call_ms = left_ms < call_ms ? (uint32_t)left_ms : call_ms;
    f->claim.lease_ms = f->call_ms + FLOW_LEASE_SPARE_MS;
    f->claim.left_ms = (uint32_t)left_ms;
    f->claim.settle = left_ms == 0;
    f->claim.elsewhere = f->elsewhere;
    f->lease_end_ms = now_ms + f->claim.lease_ms;
    flow_set_state(f, FLOW_CLAIMING);
    f->all->claiming++;
    f->op->claim(f, on_claim);
}
