/* ledger.c: what is known of every job, and what must hold. */
#include <inttypes.h>
#include <stdarg.h>

#include "tests/sim/many/many.h"
#include "tests/sim/sim.h"

enum {
    STOOD_STILL_MS = 13 * 1000, /* the longest that anything is paused, or cut off */
    ASTRAY_MS = 25 * 1000,      /* no entry stands on a shelf for longer that no broker knows of */
    TAKEN_MS = 5 * 1000,        /* a shelf that was taken is read by then */
    KEPT_MS = 60 * 1000,        /* behind its time a job is asked about no more */
    GAVE_UP_MS = 3 * 1000       /* behind its time a client waits no longer */
};

struct model *many_model(struct many *w, uint64_t number)
{
    struct model *m = &w->models[number % JOBS];
    return m->number == number && number != 0 ? m : NULL;
}

struct model *many_named(struct many *w, struct slice id)
{
    uint64_t number = 0;
    must(id.n > 1 && slice_to_u64(slice_make(id.p + 1, id.n - 1), UINT64_MAX, &number));
    return many_model(w, number);
}

struct slice many_id(uint64_t number)
{
    static char text[32];
    int n = snprintf(text, sizeof text, "j%llu", (unsigned long long)number);
    return slice_make(text, (size_t)n);
}

struct slice many_route(uint32_t route)
{
    static char text[4];
    (void)snprintf(text, sizeof text, "r%u", route % 10);
    return slice_of(text);
}

void many_note(const struct many *w, uint64_t job, const char *fmt, ...)
{
    va_list args;
    if (job != w->watched || job == 0) {
        return;
    }
    va_start(args, fmt);
    printf("%10" PRId64 " j%" PRIu64 " ", w->now, job);
    (void)vprintf(fmt, args); /* NOLINT: clang-tidy loses va_start */
    (void)putchar('\n');
    va_end(args);
}

void many_say(void)
{
    const struct many *w = &the_many;
    const struct model *m = &w->models[w->judged % JOBS];
    printf("%10" PRId64 " j%" PRIu64 " route=%u client=%u stored=%d forgets=%d due=%" PRId64
           " waiting=%d acked=%d cancel_asked=%d sends=%u told=%d ended=%d over=%d starts=%u"
           " claim=%d entries=%u entry_lost=%d core=%u live=%" PRIu64 "\n",
           w->now, m->number, m->route, m->client, m->stored, m->forgets, m->due, m->waiting,
           m->acked, m->cancel_asked, m->sends, m->told, m->ended, m->over, m->starts,
           m->claim.state, m->entries, m->entry_lost, broker_with(&the_many, m), w->live);
    for (uint32_t b = 0; b < w->brokers_n; b++) {
        const struct broker *k = &w->brokers[b];
        struct core_stats s = {.queued = 0};
        struct shelves_stats h = {.shelves = 0};
        if (k->core != NULL) {
            core_stats(k->core, w->now, &s);
            h = shelves_stats(k->shelves);
        }
        printf("broker %u alive=%d paused=%d queued=%" PRIu64 " delayed=%" PRIu64
               " in_flight=%" PRIu64 " storing=%" PRIu64 " unshelving=%" PRIu64
               " workers=%u credit=%" PRIu64 " shelves=%" PRIu64 " pending=%" PRIu64
               " to_adopt=%" PRIu64 " unreadable=%" PRIu64 "\n",
               b, w->procs[b].alive, w->procs[b].paused, s.queued, s.delayed, s.in_flight,
               s.storing, s.unshelving, s.workers, s.credit_free, h.shelves, h.pending, h.to_adopt,
               h.unreadable);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static bool harmed(const struct many *w, uint32_t proc, uint32_t life, int64_t around)
{
    const struct proc *p = &w->procs[proc];
    return !p->alive || p->life != life || p->paused || p->harmed_at > around - STOOD_STILL_MS;
}

/* Who made the first call and who had sent it out died, stood still or were cut off about when the
 * store forgot it: nobody put the claim back, or had the job settled, in time. As well
 * when the worker died and the job is with another broker by now. */
static bool orphaned(const struct many *w, const struct model *m, const struct call *c)
{
    return harmed(w, m->caller, m->caller_life, m->claim_lost_at) &&
           (c->broker != m->call_broker ||
            harmed(w, m->call_broker, m->call_broker_life, m->claim_lost_at));
}

/* Its worker had written how the first call went, and keeps that no longer: only the broker that
 * heard of it can tell. */
static bool end_forgotten(const struct many *w, const struct model *m, const struct call *c)
{
    return m->end_lost &&
           (c->broker != m->call_broker || w->procs[c->broker].life != m->call_broker_life);
}

/* A second call. The store forgot the first one's claim, and who sent it out again could not know
 * of it: it had not heard that the store forgot, as it was new or had no connection; its run was at
 * a worker already; its client had given the job to another broker behind its back; or nobody was
 * left who did. */
static void second_start(struct many *w, const struct model *m, const struct call *c)
{
    bool copy = m->contradicted || (m->sends > 1 && m->first_hand >> c->broker & 1) != 0;
    must(m->claim_lost);
    must(c->began_before || !c->broker_knew || copy || m->take_lost || orphaned(w, m, c) ||
         end_forgotten(w, m, c));
    w->counts.excused_waits += c->began_before;
    w->counts.excused_starts += !c->began_before && !c->broker_knew;
    bool knew = !c->began_before && c->broker_knew;
    w->counts.excused_copies += knew && (copy || m->take_lost);
    bool ended = knew && !copy && !m->take_lost && end_forgotten(w, m, c);
    w->counts.excused_ends += ended;
    w->counts.excused_orphans += knew && !copy && !m->take_lost && !ended;
}

void ledger_start(struct many *w, struct model *m, const struct call *c)
{
    w->judged = m->number;
    many_note(w, m->number, "called by worker %u, time left %" PRId64, c->worker,
              m->deadline - w->now);
    bool back = m->removal_lost && harmed(w, m->remover, m->remover_life, w->redis.failed_at);
    must(!m->never || m->contradicted || back); /* under its id something else may be called */
    w->counts.excused_removals += m->never && !m->contradicted;
    must(w->now < m->deadline + DEADLINE_SLACK_MS);
    if (m->starts > 0 && m->route != ROUTE_RETRIES) {
        second_start(w, m, c);
    }
    m->starts++;
    m->start_fp = c->fp;
    m->caller = BROKERS + c->worker;
    m->caller_life = w->procs[m->caller].life;
    m->call_broker = c->broker;
    m->call_broker_life = w->procs[c->broker].life;
    m->call_since = c->sent_at;
    m->call_until = c->until;
    w->counts.starts++;
}

/* ---- what is said ---------------------------------------------------------------------------- */

/* The call is under way, and nothing happened to who makes it. */
static bool being_called(const struct many *w, const struct model *m)
{
    const struct proc *p = &w->procs[m->caller];
    return m->call_until > w->now && p->alive && !p->paused && p->life == m->caller_life &&
           p->harmed_at < m->call_since && !m->claim_lost;
}

/* What may have been forgotten lately is called unknown rather than sent again. */
static bool forgot_lately(const struct many *w)
{
    return w->now - w->redis.failed_at < FORGOT_MS + STOOD_STILL_MS;
}

static bool may_follow(const struct many *w, const struct model *m, enum job_end end,
                       enum result_code code)
{
    if (m->end == end && m->code == code) {
        return true;
    }
    return m->end == JOB_END_UNKNOWN || m->end_lost ||
           (end == JOB_END_UNKNOWN && (m->claim_lost || forgot_lately(w)));
}

/* Nobody was called, and it is unknown all the same: a worker that had won the claim died, stood
 * still or was cut off, or the store was away when it was to be opened again. */
static bool harmed_since_accepted(const struct many *w, const struct model *m)
{
    int64_t since = m->due - m->ttl_ms;
    bool harmed = m->claim_lost || m->word_lost || forgot_lately(w) || w->redis.away_at >= since;
    for (uint32_t k = 0; k < WORKERS; k++) {
        harmed = harmed || w->procs[BROKERS + k].harmed_at >= since;
    }
    return harmed;
}

void ledger_told(struct many *w, struct model *m, uint32_t broker, enum job_end end,
                 enum result_code code)
{
    bool nothing_sent = end == JOB_END_EXPIRED || end == JOB_END_CANCELLED ||
                        (end == JOB_END_REFUSED && code == RESULT_ADVERTISER_UNREACHABLE);
    w->judged = m->number;
    many_note(w, m->number, "told %s %s", job_end_names[end], result_name(code));
    bool copy = m->sends > 1 && (m->first_hand >> broker & 1) != 0;
    if (nothing_sent && m->starts > 0 && (copy || m->take_lost)) {
        w->counts.excused_words++;
        return;
    }
    must(!m->told || may_follow(w, m, end, code));
    must(!nothing_sent || m->starts == 0 || m->claim_lost || m->contradicted);
    must(end != JOB_END_DONE || m->starts > 0);
    must(!being_called(w, m) || m->contradicted || m->route == ROUTE_RETRIES);
    must(end != JOB_END_UNKNOWN || m->starts > 0 || m->sends > 1 || m->adopted ||
         harmed_since_accepted(w, m));
    if (end == JOB_END_CANCELLED && !m->contradicted) {
        m->never = true;
    }
    m->told = true;
    m->end = end;
    m->code = code;
}

static void count_end(struct many *w, const struct model *m)
{
    uint64_t *const counters[JOB_ENDS] = {
        [JOB_END_DONE] = &w->counts.done,           [JOB_END_REFUSED] = &w->counts.refused,
        [JOB_END_UNKNOWN] = &w->counts.unknown,     [JOB_END_EXPIRED] = &w->counts.expired,
        [JOB_END_CANCELLED] = &w->counts.cancelled,
    };
    if (m->told) {
        ++*counters[m->end];
    }
}

void ledger_look(struct many *w, struct model *m)
{
    bool owed = m->acked && !m->ended && m->claim.state != CLAIM_ENDED;
    if (m->over || m->waiting || owed || m->entries > 0) {
        return;
    }
    m->over = true;
    count_end(w, m);
    must(w->live > 0);
    w->live--;
}

/* ---- what is lost ---------------------------------------------------------------------------- */

void ledger_failover(struct many *w)
{
    for (uint64_t n = w->oldest; n < w->next_job; n++) {
        struct model *m = many_model(w, n);
        if (m != NULL && w->redis.takes_undone && m->adopted &&
            m->adopted_at > w->now - FORGETS_MS - TAKEN_MS) {
            m->take_lost = true;
        }
        if (m != NULL && m->entry_lost && m->entries == 0) {
            m->holder = broker_with(w, m);
            m->holder_life = m->holder < PROCS ? w->procs[m->holder].life : 0;
        }
    }
}

/* The store forgot its entry, and who would have put it again died, or stood still for so long that
 * others took its shelf. */
static bool lost_by_two_faults(const struct many *w, const struct model *m)
{
    const struct proc *p = &w->procs[m->holder % PROCS];
    if (!m->entry_lost) {
        return false;
    }
    return m->holder == PROCS || p->paused || p->bad_at > w->redis.failed_at - STOOD_STILL_MS;
}

static void sweep(struct many *w, struct model *m)
{
    if (m->over) {
        return;
    }
    w->judged = m->number;
    if (m->waiting && w->now > m->due + GAVE_UP_MS && (!m->acked || m->ended)) {
        m->waiting = false;
        w->counts.gave_up++;
    }
    bool owed = m->acked && !m->ended && m->claim.state != CLAIM_ENDED && m->entries == 0;
    if (owed && broker_with(w, m) == PROCS) {
        must(lost_by_two_faults(w, m));
        w->counts.excused_losses++;
        m->ended = true;
        m->waiting = false;
    }
    if (m->waiting && w->now > m->due + 150 * 1000) { /* its end stands in the store */
        must(m->claim.state == CLAIM_ENDED || m->cancel_asked);
        m->waiting = false;
        w->counts.gave_up++;
    }
    bool astray = m->ended && m->entries > 0 && broker_with(w, m) == PROCS;
    m->astray_since = !astray ? 0 : m->astray_since != 0 ? m->astray_since : w->now;
    must(!astray || w->now - m->astray_since < ASTRAY_MS);
    ledger_look(w, m);
}

void ledger_sweep(struct many *w)
{
    bool all_over = true;
    for (uint64_t n = w->oldest; n < w->next_job; n++) {
        struct model *m = many_model(w, n);
        if (m != NULL) {
            sweep(w, m);
            bool kept = !m->over || m->claim.state == CLAIM_STARTED ||
                        (m->claim.state == CLAIM_OPEN && m->claim.unsure) ||
                        w->now < m->due + KEPT_MS;
            all_over = all_over && !kept;
            w->oldest = all_over ? n + 1 : w->oldest;
        }
    }
}
