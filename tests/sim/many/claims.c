/* claims.c: who may call: what claim_send.lua, finish_send.lua, release.lua, reassert.lua and
 * reap.lua decide. */
#include "tests/sim/many/many.h"

static void ends(struct many *w, struct model *m, enum job_end end, enum result_code code)
{
    m->claim.state = CLAIM_ENDED;
    m->claim.end = end;
    m->claim.code = code;
    ledger_look(w, m);
}

/* The lease is over: nobody knows. */
static void ends_over(struct many *w, struct model *m)
{
    m->claim.lost = true;
    ends(w, m, JOB_END_UNKNOWN, RESULT_OUTCOME_UNKNOWN);
}

/* Who has given the job up, and opened its claim so that others can have it, wins it no more. */
static void check_not_given_up(const struct model *m, uint64_t own)
{
    for (uint32_t i = 0; i < GIVEN_UP_KEPT; i++) {
        must(m->given_up[i] != own);
    }
}

static void claim_begin(struct many *w, struct model *m, uint64_t own, uint32_t attempt,
                        uint32_t fp, uint32_t lease_ms)
{
    check_not_given_up(m, own);
    bool unsure =
        m->claim.state != CLAIM_NONE && (m->claim.unsure || m->claim.state == CLAIM_STARTED);
    m->claim = (struct claim){.state = CLAIM_STARTED,
                              .own = own,
                              .attempt = attempt,
                              .fp = fp,
                              .lease = w->now + lease_ms,
                              .unsure = unsure};
}

/* It may have been sent. */
static enum claim_answer claim_over(struct many *w, struct model *m, uint64_t own, uint32_t attempt,
                                    uint32_t fp, uint32_t lease_ms, bool settle)
{
    if (m->route != ROUTE_RETRIES || settle) {
        ends_over(w, m);
        return ANSWER_ENDED;
    }
    if (attempt <= m->claim.attempt && w->plant != PLANT_CLAIM_ATTEMPT) {
        return ANSWER_STALE;
    }
    claim_begin(w, m, own, attempt, fp, lease_ms);
    return ANSWER_WON;
}

enum claim_answer claim_ask(struct many *w, struct model *m, uint64_t own, uint32_t attempt,
                            uint32_t fp, uint32_t lease_ms, bool settle)
{
    struct claim *c = &m->claim;
    redis_remember_claim(w, m);
    if (c->state != CLAIM_NONE && c->fp != fp && w->plant != PLANT_CLAIM_FP) {
        w->counts.conflicts++;
        return ANSWER_CONFLICT;
    }
    if (c->state == CLAIM_ENDED) {
        return ANSWER_ENDED;
    }
    if (c->state == CLAIM_STARTED && c->own == own) {
        c->lease = w->now + lease_ms;
        return ANSWER_WON;
    }
    if (c->state == CLAIM_STARTED && w->plant != PLANT_CLAIM_TWICE) {
        if (w->now < c->lease && w->plant != PLANT_CLAIM_LEASE) {
            return ANSWER_ELSEWHERE;
        }
        return claim_over(w, m, own, attempt, fp, lease_ms, settle);
    }
    if (c->state == CLAIM_OPEN && attempt <= c->attempt && w->plant != PLANT_CLAIM_ATTEMPT) {
        return ANSWER_STALE;
    }
    if (c->state == CLAIM_OPEN && c->unsure) {
        return claim_over(w, m, own, attempt, fp, lease_ms, settle);
    }
    claim_begin(w, m, own, attempt, fp, lease_ms);
    return ANSWER_WON;
}

enum finish_answer claim_finish(struct many *w, struct model *m, uint64_t own, uint32_t attempt,
                                uint32_t fp, enum job_end end, enum result_code code)
{
    struct claim *c = &m->claim;
    bool unlooked = w->plant == PLANT_FINISH_OWNER && c->own != own && c->state != CLAIM_NONE;
    bool mine = c->own == own;
    redis_remember_claim(w, m);
    if (unlooked) {
        ends(w, m, end, code);
        return FINISHED;
    }
    if (c->state == CLAIM_ENDED && mine && c->lost && !c->corrected) { /* late, and better */
        w->counts.corrected++;
        c->corrected = true;
        if (end != JOB_END_UNKNOWN) {
            c->end = end;
            c->code = code;
        }
        return FINISH_LOST;
    }
    if (c->state == CLAIM_ENDED) {
        return c->own == own ? FINISHED : FINISH_LOST;
    }
    if (c->state != CLAIM_NONE && !(c->state == CLAIM_STARTED && mine)) {
        return FINISH_ELSEWHERE;
    }
    bool unsure = c->state == CLAIM_STARTED && c->unsure;
    if (unsure && (end == JOB_END_EXPIRED || code == RESULT_ADVERTISER_UNREACHABLE)) {
        end = JOB_END_UNKNOWN; /* not by this run; an earlier one may have */
        code = RESULT_OUTCOME_UNKNOWN;
    }
    if (c->state == CLAIM_NONE) {
        *c = (struct claim){.own = own, .attempt = attempt, .fp = fp};
    }
    ends(w, m, end, code);
    return FINISHED;
}

void claim_release(struct many *w, struct model *m, uint64_t own, uint32_t attempt, uint32_t fp,
                   bool unsure, uint32_t left_ms)
{
    struct claim *c = &m->claim;
    redis_remember_claim(w, m);
    if (c->state == CLAIM_ENDED ||
        (c->state == CLAIM_STARTED && c->own != own && w->plant != PLANT_RELEASE_OWNER)) {
        return;
    }
    unsure = c->state != CLAIM_NONE && (c->unsure || (c->state == CLAIM_STARTED && unsure));
    uint32_t highest = c->state != CLAIM_NONE && c->attempt > attempt ? c->attempt : attempt;
    uint32_t was = c->state == CLAIM_NONE ? fp : c->fp;
    m->given_up[m->given_up_n++ % GIVEN_UP_KEPT] = own;
    *c = (struct claim){.state = CLAIM_OPEN,
                        .attempt = highest,
                        .fp = was,
                        .unsure = unsure,
                        .lease = w->now + CALL_MS + LEASE_SPARE_MS + left_ms};
}

void claim_put_back(struct many *w, struct model *m, const struct claim *was, int64_t lease_end)
{
    struct claim *c = &m->claim;
    bool before = c->fp == was->fp && c->attempt < was->attempt &&
                  (c->state == CLAIM_OPEN || (c->state == CLAIM_STARTED && c->lease <= w->now));
    if (c->state == CLAIM_NONE || before) {
        redis_remember_claim(w, m);
        *c = *was;
        c->lease = lease_end > w->now ? lease_end : w->now;
        w->counts.put_back++;
    }
}

void claims_reap(struct many *w)
{
    for (uint64_t n = w->oldest; n < w->next_job; n++) {
        struct model *m = many_model(w, n);
        if (m == NULL) {
            continue;
        }
        const struct claim *c = &m->claim;
        bool meant = c->state == CLAIM_STARTED || (c->state == CLAIM_OPEN && c->unsure);
        if (meant && (w->now >= c->lease || w->plant == PLANT_REAP_LEASE)) {
            redis_remember_claim(w, m);
            ends_over(w, m);
        }
    }
}
