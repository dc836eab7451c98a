/* workers.c: runs of jobs: ask for the claim, call, write the outcome, tell the broker; as
 * workers/flow*.c and common/adapters/session_store.c do. */
#include <inttypes.h>

#include "tests/sim/many/many.h"

enum {
    AGAIN_MS = 50, /* before a command without an answer is sent again */
    CLAIM_PATIENCE_MS = 1500,
    STORE_BACK_MS = 500,
    LINGER_MS = 60 * 1000, /* an outcome, and what opens a claim in doubt, are tried for so long */
    LOSES_ONE_IN = 500,    /* messages and answers */
    RESEND_MS = 50,        /* over a link that is cut */
    STUCK_ONE_IN = 400,
    STUCK_MS = 4000
};

enum run_state { RUN_CLAIMING, RUN_CALLING, RUN_FINISHING, RUN_RELEASING, RUN_DOUBT, RUN_PUT_BACK };

/* One dispatch at a worker. It moves from thing to thing: nobody else has it. */
struct run {
    enum run_state state;
    uint64_t job;
    uint64_t own; /* token */
    uint32_t fp;
    uint32_t attempt;
    uint32_t worker;
    uint32_t broker;
    uint32_t broker_life;
    uint32_t epoch;   /* of the link it came by */
    bool broker_knew; /* that the store forgot */
    int64_t sent_at;
    int64_t deadline;
    int64_t lease_end;
    int64_t until;
    uint64_t asked; /* number of its last command */
    bool in_doubt;  /* a claim may have been won */
    uint32_t lease_ms;
    bool settle;
    enum job_end end;
    enum result_code code;
    struct claim won; /* as the store had it */
};

/* A claim that was won, until the end of its run is written or nobody will. */
struct claimed {
    struct list node; /* of the worker */
    struct run run;
};

/* A command of a run at the store, or its answer. */
struct ask {
    struct run run;  /* as it was when it asked */
    uint64_t server; /* that it is for */
    enum claim_answer claim;
    enum finish_answer finish;
    enum job_end end;
    enum result_code code;
    uint32_t attempt_seen;
    bool released;
};

static void run_ask(struct many *w, struct run *r);
static void run_step(struct many *w, struct thing *t);

/* ---- to the broker --------------------------------------------------------------------------- */

enum word { WORD_STARTED, WORD_RESULT, WORD_BACK };

struct report {
    enum word word;
    struct run run;
    uint32_t delay_ms;
    uint32_t attempt_seen;
};

static void on_report(struct many *w, struct thing *t)
{
    const struct report *p = t->p;
    const struct run *r = &p->run;
    struct broker *b = &w->brokers[r->broker];
    struct link *l = &w->links[r->broker][r->worker];
    struct slice id = many_id(r->job);
    if (l->epoch != r->epoch) {
        return;
    }
    if (l->cut) { /* sent again until the connection is given up */
        many_plan(w, w->now + RESEND_MS, t);
        t->p = NULL;
        return;
    }
    b->turn = true;
    if (p->word != WORD_STARTED) {
        l->earned++;
        core_worker_credit(b->core, r->worker, l->earned, w->now);
    }
    many_note(w, r->job, "broker %u hears %d of worker %u attempt %u, end %d code %d%s", r->broker,
              p->word, r->worker, r->attempt, r->end, r->code, t->v != 0 ? ": lost" : "");
    struct model *m = many_model(w, r->job);
    if (t->v != 0) { /* it is lost, and the credit is not: the broker must find out by itself */
        if (m != NULL) {
            m->word_lost = true;
        }
        return;
    }
    switch (p->word) {
    case WORD_STARTED:
        (void)core_started(b->core, r->worker, id, r->attempt, w->now);
        break;
    case WORD_RESULT: {
        struct wire_result result = {.id = id, .end = r->end, .code = r->code};
        (void)core_result(b->core, r->worker, &result, slice_make(NULL, 0), w->now);
        break;
    }
    case WORD_BACK: {
        struct wire_give_back g = {.id = id,
                                   .attempt = r->attempt,
                                   .attempt_seen = p->attempt_seen,
                                   .delay_ms = p->delay_ms,
                                   .code = r->code};
        (void)core_given_back(b->core, r->worker, &g, w->now);
        break;
    }
    }
}

static void tell(struct many *w, const struct run *r, enum word word, uint32_t delay_ms,
                 uint32_t attempt_seen)
{
    struct link *l = &w->links[r->broker][r->worker];
    struct proc *p = &w->procs[r->broker];
    if (l->epoch != r->epoch || !p->alive || p->life != r->broker_life) {
        return;
    }
    struct report *report = xcalloc(1, sizeof *report);
    *report = (struct report){
        .word = word, .run = *r, .delay_ms = delay_ms, .attempt_seen = attempt_seen};
    struct thing t = many_at_proc(w, r->broker);
    t.act = on_report;
    t.v = many_one_in(w, LOSES_ONE_IN) && !w->closing;
    t.p = report;
    many_plan(w, many_arrival(w, &l->to_broker), &t);
}

static struct claimed *claimed_of(struct many *w, const struct run *r)
{
    list_each(node, &w->workers[r->worker].claimed)
    {
        struct claimed *c = list_owner(node, struct claimed, node);
        if (c->run.own == r->own) {
            return c;
        }
    }
    return NULL;
}

static void claimed_drop(struct many *w, const struct run *r)
{
    struct claimed *c = claimed_of(w, r);
    if (c != NULL) {
        list_remove(&c->node);
        free(c);
    }
}

static void give_back(struct many *w, struct run *r, enum result_code code, uint32_t delay_ms,
                      uint32_t attempt_seen)
{
    r->code = code;
    claimed_drop(w, r);
    tell(w, r, WORD_BACK, delay_ms, attempt_seen);
}

static void answer(struct many *w, struct run *r, enum job_end end, enum result_code code)
{
    r->end = end;
    r->code = code;
    claimed_drop(w, r);
    tell(w, r, WORD_RESULT, 0, 0);
}

/* ---- at the store ---------------------------------------------------------------------------- */

static void plan_run(struct many *w, const struct run *r, uint32_t in_ms)
{
    struct thing t = many_at_proc(w, BROKERS + r->worker);
    struct run *copy = xmalloc(sizeof *copy);
    *copy = *r;
    t.act = run_step;
    t.p = copy;
    many_plan(w, w->now + in_ms, &t);
}

static void on_answered(struct many *w, struct thing *t);

/* The job of a run that goes on is not ended by another one, and an outcome that stands there
 * stays: only one that is unknown is ever corrected. */
static enum finish_answer write_outcome(struct many *w, struct model *m, const struct run *r)
{
    const struct claim was = m->claim;
    enum finish_answer answer = claim_finish(w, m, r->own, r->attempt, r->fp, r->end, r->code);
    must(was.state != CLAIM_STARTED || was.own == r->own || m->claim.state == CLAIM_STARTED);
    must(was.state != CLAIM_ENDED || was.end == JOB_END_UNKNOWN ||
         (m->claim.end == was.end && m->claim.code == was.code));
    return answer;
}

static void at_store(struct many *w, struct ask *a)
{
    struct run *r = &a->run;
    struct model *m = many_model(w, r->job);
    if (m == NULL) { /* long ago */
        a->claim = ANSWER_CONFLICT;
        a->finish = FINISH_ELSEWHERE;
        return;
    }
    switch (r->state) {
    case RUN_CLAIMING:
        a->claim = claim_ask(w, m, r->own, r->attempt, r->fp, r->lease_ms, r->settle);
        r->won = m->claim;
        break;
    case RUN_FINISHING:
        a->finish = write_outcome(w, m, r);
        break;
    case RUN_RELEASING:
    case RUN_DOUBT:
    case RUN_CALLING:
        claim_release(w, m, r->own, r->attempt, r->fp, false, 0);
        break;
    case RUN_PUT_BACK:
        claim_put_back(w, m, &r->won, r->lease_end);
        break;
    }
    many_note(w, r->job,
              "store: worker %u run %" PRIu64 " attempt %u does %d: %d %d, claim %d own %" PRIu64
              " attempt %u",
              r->worker, r->own, r->attempt, r->state, a->claim, a->finish, m->claim.state,
              m->claim.own, m->claim.attempt);
    a->end = m->claim.end;
    a->code = m->claim.code;
    a->attempt_seen = m->claim.attempt;
}

static void on_asked(struct many *w, struct thing *t)
{
    struct ask *a = t->p;
    const struct caller *k = &w->workers[a->run.worker];
    if (!w->redis.up || k->store_cut || a->server != w->redis.server) {
        return;
    }
    at_store(w, a);
    if (many_one_in(w, LOSES_ONE_IN)) {
        w->counts.lost_answers++;
        return;
    }
    /* Its process may have died since it asked; the command was carried out all the same. */
    struct thing back = {.proc = BROKERS + a->run.worker + 1, .life = t->v, .act = on_answered};
    back.a = a->run.asked;
    back.p = a;
    t->p = NULL;
    many_plan(w, w->now + many_below(w, LATENCY_MS), &back);
}

/* The answer, and the end of waiting for it, are two things; the first of them goes on. Commands
 * are numbered: a place is used again after far more of them than can wait. */
static bool is_first(struct many *w, const struct run *r)
{
    uint64_t *seen = &w->asked[r->asked % ASKED_MAX];
    bool first = *seen < r->asked;
    *seen = first ? r->asked : *seen;
    return first;
}

static void no_answer(struct many *w, struct run *r);

static void on_no_answer(struct many *w, struct thing *t)
{
    struct run *r = t->p;
    if (is_first(w, r)) {
        r->in_doubt = true;
        no_answer(w, r);
    }
}

static void send_ask(struct many *w, struct run *r)
{
    struct ask *a = xcalloc(1, sizeof *a);
    struct run *copy = xmalloc(sizeof *copy);
    uint32_t proc = BROKERS + r->worker;
    r->asked = ++w->asks;
    a->run = *r;
    a->server = w->workers[r->worker].server;
    *copy = *r;
    uint32_t in_ms = many_below(w, LATENCY_MS);
    if (many_one_in(w, STUCK_ONE_IN) && !w->closing) {
        w->counts.late_commands++;
        in_ms = many_below(w, STUCK_MS);
    }
    many_plan(w, w->now + in_ms,
              &(struct thing){.act = on_asked, .v = w->procs[proc].life, .p = a});
    struct thing late = many_at_proc(w, proc);
    late.act = on_no_answer;
    late.p = copy;
    many_plan(w, w->now + TIMEOUT_MS, &late);
}

/* A claim that may have been won by nobody who knows: it is opened again. */
static void doubt(struct many *w, const struct run *r)
{
    struct run d = *r;
    d.state = RUN_DOUBT;
    d.until = w->now + CALL_MS + LEASE_SPARE_MS;
    plan_run(w, &d, 0);
}

static void no_answer(struct many *w, struct run *r)
{
    switch (r->state) {
    case RUN_CLAIMING:
        if (w->now < r->until) {
            plan_run(w, r, AGAIN_MS);
            return;
        }
        give_back(w, r, RESULT_STORE_UNAVAILABLE, STORE_BACK_MS, r->attempt);
        doubt(w, r);
        break;
    case RUN_FINISHING:
        if (w->now >= r->lease_end && r->until == 0) { /* it did happen, on record or not */
            answer(w, r, r->end, r->code);
            r->until = w->now + LINGER_MS;
        }
        if (r->until == 0 || w->now < r->until) {
            plan_run(w, r, AGAIN_MS);
        }
        break;
    case RUN_RELEASING:
        if (w->now < r->lease_end) {
            plan_run(w, r, AGAIN_MS);
            return;
        }
        give_back(w, r, r->code, 100, r->attempt);
        doubt(w, r);
        break;
    case RUN_DOUBT:
        if (w->now < r->until) {
            plan_run(w, r, AGAIN_MS);
        }
        break;
    case RUN_PUT_BACK:
        if (claimed_of(w, r) != NULL) {
            plan_run(w, r, AGAIN_MS);
        }
        break;
    case RUN_CALLING:
        must(false);
    }
}

/* ---- the run --------------------------------------------------------------------------------- */

static void run_ask(struct many *w, struct run *r)
{
    int64_t left = r->deadline > w->now ? r->deadline - w->now : 0;
    uint32_t call_ms = left < CALL_MS ? (uint32_t)left : CALL_MS;
    r->state = RUN_CLAIMING;
    r->lease_ms = call_ms + LEASE_SPARE_MS;
    r->lease_end = w->now + r->lease_ms;
    r->settle = left == 0;
    r->until = w->now + CLAIM_PATIENCE_MS;
    send_ask(w, r);
}

static void finish(struct many *w, struct run *r, enum job_end end, enum result_code code)
{
    r->state = RUN_FINISHING;
    r->until = 0;
    r->end = end;
    r->code = code;
    send_ask(w, r);
}

static void call(struct many *w, struct run *r, struct model *m)
{
    int64_t begin_by = r->lease_end - WRITE_SPARE_MS;
    begin_by = begin_by < r->deadline || w->plant == PLANT_CLAIM_DEADLINE ? begin_by : r->deadline;
    if (w->now >= begin_by) {
        finish(w, r, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
        return;
    }
    if (many_one_in(w, 15)) { /* provably nothing was sent */
        r->state = RUN_RELEASING;
        r->code = RESULT_ADVERTISER_UNREACHABLE;
        send_ask(w, r);
        return;
    }
    int64_t left = r->deadline > w->now ? r->deadline - w->now : 1;
    uint32_t most = left < CALL_MS ? (uint32_t)left : CALL_MS;
    uint32_t in_ms = many_one_in(w, 5) ? most : many_below(w, most / 6 + 1);
    const struct call c = {.fp = r->fp,
                           .worker = r->worker,
                           .broker = r->broker,
                           .broker_knew = r->broker_knew,
                           .began_before = r->sent_at <= w->redis.failed_at,
                           .sent_at = r->sent_at,
                           .until = w->now + in_ms};
    ledger_start(w, m, &c);
    plan_run(w, r, in_ms);
}

static void won(struct many *w, struct run *r)
{
    bool late = w->now >= r->deadline && w->plant != PLANT_CLAIM_DEADLINE;
    int64_t call_ms = r->lease_ms - LEASE_SPARE_MS;
    if (!late && w->now + call_ms + WRITE_SPARE_MS > r->lease_end) {
        run_ask(w, r);
        return;
    }
    tell(w, r, WORD_STARTED, 0, 0);
    if (late) {
        finish(w, r, JOB_END_EXPIRED, RESULT_DEADLINE_PASSED);
        return;
    }
    r->state = RUN_CALLING;
    r->end = JOB_ENDS; /* not begun */
    plan_run(w, r, many_below(w, 3));
}

static void claimed_keep(struct many *w, const struct run *r)
{
    struct claimed *c = xcalloc(1, sizeof *c);
    c->run = *r;
    list_init(&c->node);
    list_push(&w->workers[r->worker].claimed, &c->node);
}

static void claimed(struct many *w, struct run *r, const struct ask *a)
{
    switch (a->claim) {
    case ANSWER_WON:
        claimed_drop(w, r);
        claimed_keep(w, r);
        won(w, r);
        break;
    case ANSWER_ENDED:
        answer(w, r, a->end, a->code);
        break;
    case ANSWER_ELSEWHERE:
        r->until = 0;
        plan_run(w, r, 50 + many_below(w, 150));
        break;
    case ANSWER_STALE:
        give_back(w, r, RESULT_NONE, 0, a->attempt_seen);
        break;
    case ANSWER_CONFLICT:
        answer(w, r, JOB_END_REFUSED, RESULT_CONFLICT);
        break;
    }
}

static void on_answered(struct many *w, struct thing *t)
{
    const struct ask *a = t->p;
    struct run r = a->run;
    if (!is_first(w, &r)) {
        return;
    }
    switch (r.state) {
    case RUN_CLAIMING:
        claimed(w, &r, a);
        break;
    case RUN_FINISHING:
        if (r.until != 0) {
            break; /* it was answered already */
        }
        if (a->finish == FINISH_ELSEWHERE) {
            give_back(w, &r, RESULT_OUTCOME_UNKNOWN, 100, r.attempt);
        } else {
            answer(w, &r, a->end, a->code);
        }
        break;
    case RUN_RELEASING:
        give_back(w, &r, r.code, many_below(w, 300), r.attempt);
        break;
    case RUN_DOUBT:
    case RUN_PUT_BACK:
    case RUN_CALLING:
        break;
    }
}

static void call_over(struct many *w, struct run *r, struct model *m)
{
    m->call_until = m->caller == BROKERS + r->worker ? 0 : m->call_until;
    switch (many_below(w, 10)) {
    case 0:
        finish(w, r, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
        break;
    case 1:
        finish(w, r, JOB_END_REFUSED, RESULT_ADVERTISER_REFUSED);
        break;
    default:
        finish(w, r, JOB_END_DONE, RESULT_OTP_SENT);
        break;
    }
}

static void run_step(struct many *w, struct thing *t)
{
    struct run r = *(struct run *)t->p;
    struct model *m = many_model(w, r.job);
    const struct caller *k = &w->workers[r.worker];
    if (m == NULL) {
        claimed_drop(w, &r);
        return;
    }
    if (r.state == RUN_PUT_BACK && claimed_of(w, &r) == NULL) {
        return;
    }
    bool others = r.state == RUN_CLAIMING || r.state == RUN_DOUBT; /* it may be another one's */
    if (others && w->now < k->hold_until) {
        if (r.state == RUN_CLAIMING && r.until != 0) {
            r.until = k->hold_until + CLAIM_PATIENCE_MS;
        }
        plan_run(w, &r, (uint32_t)(k->hold_until - w->now));
        return;
    }
    if (r.state == RUN_CALLING && r.end == JOB_ENDS) {
        r.end = JOB_END_DONE;
        call(w, &r, m);
    } else if (r.state == RUN_CALLING) {
        call_over(w, &r, m);
    } else if (r.state == RUN_CLAIMING && w->now >= r.until) {
        run_ask(w, &r); /* the wait for another one's claim is over */
    } else {
        send_ask(w, &r);
    }
}

/* ---- a store that forgot --------------------------------------------------------------------- */

static void put_all_back(struct many *w, uint32_t worker)
{
    list_each(node, &w->workers[worker].claimed)
    {
        struct run r = list_owner(node, struct claimed, node)->run;
        r.state = RUN_PUT_BACK;
        send_ask(w, &r);
    }
}

static void reconnect_soon(struct many *w, uint32_t worker);

static void on_reconnect(struct many *w, struct thing *t)
{
    struct caller *k = &w->workers[t->u];
    if (k->server == w->redis.server) {
        return;
    }
    if (!w->redis.up || k->store_cut) {
        reconnect_soon(w, t->u);
        return;
    }
    k->server = w->redis.server;
    k->hold_until = w->now + WIRE_REASSERT_MS;
    if (w->plant != PLANT_PUT_BACK) {
        put_all_back(w, t->u);
    }
}

static void reconnect_soon(struct many *w, uint32_t worker)
{
    struct thing t = many_at_proc(w, BROKERS + worker);
    t.act = on_reconnect;
    t.u = worker;
    many_plan(w, w->now + AGAIN_MS + many_below(w, 4 * AGAIN_MS), &t);
}

void workers_reconnect(struct many *w)
{
    for (uint32_t k = 0; k < WORKERS; k++) {
        if (w->procs[BROKERS + k].alive) {
            reconnect_soon(w, k);
        }
    }
}

void worker_start(struct many *w, uint32_t worker)
{
    struct caller *k = &w->workers[worker];
    *k = (struct caller){.store_cut = k->store_cut, .server = w->redis.server};
    list_init(&k->claimed);
}

void worker_kill(struct many *w, uint32_t worker)
{
    struct list *node;
    while ((node = list_first(&w->workers[worker].claimed)) != NULL) {
        list_remove(node);
        free(list_owner(node, struct claimed, node));
    }
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void on_job(struct many *w, struct thing *t)
{
    struct run *r = t->p;
    const struct link *l = &w->links[r->broker][r->worker];
    if (l->epoch != r->epoch) {
        return; /* the connection was lost before it came */
    }
    if (l->cut) {
        many_plan(w, w->now + RESEND_MS, t);
        t->p = NULL;
        return;
    }
    run_ask(w, r);
}

void worker_send(struct many *w, uint32_t broker, uint32_t worker, const struct wire_job *job,
                 uint32_t fp)
{
    struct link *l = &w->links[broker][worker];
    struct model *m = many_named(w, job->id);
    const struct broker *b = &w->brokers[broker];
    if (m == NULL) {
        return;
    }
    many_note(w, m->number, "broker %u sends it to worker %u, attempt %u ttl %u", broker, worker,
              job->attempt, job->ttl_ms);
    struct run *r = xcalloc(1, sizeof *r);
    *r = (struct run){.job = m->number,
                      .own = ++w->redis.tokens,
                      .fp = fp,
                      .attempt = job->attempt,
                      .worker = worker,
                      .broker = broker,
                      .broker_life = w->procs[broker].life,
                      .epoch = l->epoch,
                      .broker_knew = b->told_forgot >= w->redis.failed_at && b->told_forgot != 0,
                      .sent_at = w->now,
                      .deadline = w->now + job->ttl_ms};
    struct thing t = many_at_proc(w, BROKERS + worker);
    t.act = on_job;
    t.p = r;
    many_plan(w, many_arrival(w, &l->to_worker), &t);
}
