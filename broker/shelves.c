#include "broker/shelves.h"

#include <inttypes.h>
#include <stdlib.h>

#include "broker/shelf_adoption.h"
#include "broker/shelf_commits.h"
#include "broker/shelf_dead.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/meaning/stored_job.h"

enum {
    LOOK_MS = 1000,              /* between looks at the list of shelves, when nothing happens */
    GAP_MS = 3 * BROKER_BEAT_MS, /* between looks at the brokers: we may have stood still */
    PENDING_MAX = 200 * 1000,    /* then nothing new is stored, until it is half of that */
    AGAIN_PENDING_MAX = 4000,    /* of a shelf that is put on it again: the rest waits */
    AGAIN_STEP = 1000,           /* jobs that are put again in one turn */
    ORPHANS_MAX = 64,            /* shelves of nobody we know, watched at a time */
    ENTRY_BYTES_MAX = WIRE_BODY_BYTES_MAX + 1024
};

enum slot_state {
    SLOT_FREE,
    SLOT_OPENING, /* ours once the store has said so; after it forgot, too */
    SLOT_TAKING,  /* another's, once the store has said so ours */
    SLOT_OPEN,    /* ours */
    SLOT_LEAVING, /* being dropped, or given away */
};

/* One of the core's shelves. */
struct slot {
    struct shelves *s;
    enum slot_state state;
    bool own;   /* new jobs go here; else it was adopted */
    bool asked; /* SLOT_OPENING: an answer is due */
    bool again; /* its jobs are to be put on it again, from again_at on */
    uint32_t again_at;
    int64_t since_ms; /* when it was made */
    char name[SHELF_NAME_BYTES + 1];
    char from[SHELF_NAME_BYTES + 1]; /* whose it was */
    struct commits *commits;
    struct adoption *adoption; /* while it is read */
};

/* A shelf whose owner has no line: perhaps he has only just come. */
struct orphan {
    char name[SHELF_NAME_BYTES + 1];
    int64_t since_ms;
    bool seen; /* in the list that is being read */
};

struct shelves {
    struct shelves_options o;
    char token[BROKER_TOKEN_BYTES + 1];
    struct shelf_store *store;
    struct dead_letters *dead;
    struct buf entry;                        /* the one being written */
    struct slot slots[CORE_SHELVES_MAX + 1]; /* by the core's numbers */
    uint32_t top;                            /* no slot behind this one is in use */
    uint32_t told;                           /* the shelf that the core was told to use */
    uint32_t tokens;                         /* names tried for a shelf of our own */
    char live[BROKERS_MAX][BROKER_TOKEN_BYTES + 1];
    size_t live_count;
    char died[BROKERS_MAX][BROKER_TOKEN_BYTES + 1]; /* not buried yet */
    size_t died_count;
    struct orphan orphans[ORPHANS_MAX];
    size_t orphan_count;
    bool up;
    bool full; /* more is under way than is good */
    bool draining;
    bool listing;      /* the list of shelves is on its way */
    int64_t listed_ms; /* last list */
    int64_t looked_ms; /* last look at the brokers */
    int64_t lease_ms;  /* until then nobody takes us for dead */
    int64_t proof_ms;  /* after a gap in that: a commit sent from here on shows whose a shelf is */
    struct shelves_stats stats;
};

static void slot_open(struct slot *t);
static void slot_lost(void *context);

/* ---- slots ----------------------------------------------------------------------------------- */

static uint32_t slot_number(const struct slot *t)
{
    return (uint32_t)(t - t->s->slots);
}

static void want_turn(void *context)
{
    struct slot *t = context;
    t->s->o.on_turn(t->s->o.context);
}

static void slot_count(struct slot *t)
{
    struct shelves_stats *stats = &t->s->stats;
    if (t->commits != NULL) {
        const struct commits_stats c = commits_counted(t->commits);
        stats->stored += c.stored;
        stats->removed += c.removed;
        stats->commits += c.commits;
    }
    if (t->adoption != NULL) {
        const struct adoption_stats a = adoption_counted(t->adoption);
        stats->adopted += a.adopted;
        stats->unreadable += a.unreadable;
    }
}

static void slot_free(struct slot *t)
{
    struct shelves *s = t->s;
    slot_count(t);
    adoption_destroy(&t->adoption);
    commits_destroy(&t->commits);
    if (s->store != NULL) {
        shelf_forget(s->store, t);
    }
    *t = (struct slot){.s = s};
}

/* NULL: all are in use. */
static struct slot *slot_new(struct shelves *s, const char *name, enum slot_state state)
{
    for (uint32_t i = 1; i <= CORE_SHELVES_MAX; i++) {
        struct slot *t = &s->slots[i];
        if (t->state == SLOT_FREE) {
            s->top = i > s->top ? i : s->top;
            t->state = state;
            t->since_ms = clock_mono_ms();
            (void)snprintf(t->name, sizeof t->name, "%s", name);
            const struct commits_options o = {.base = s->o.base,
                                              .store = s->store,
                                              .core = s->o.core,
                                              .shelf = name,
                                              .owner = s->token,
                                              .on_lost = slot_lost,
                                              .on_turn = want_turn,
                                              .context = t};
            t->commits = commits_new(&o);
            return t;
        }
    }
    return NULL;
}

static struct slot *slot_named(struct shelves *s, const char *name)
{
    for (uint32_t i = 1; i <= s->top; i++) {
        if (s->slots[i].state != SLOT_FREE && strcmp(s->slots[i].name, name) == 0) {
            return &s->slots[i];
        }
    }
    return NULL;
}

static struct slot *slot_own(struct shelves *s)
{
    for (uint32_t i = 1; i <= s->top; i++) {
        if (s->slots[i].own) {
            return &s->slots[i];
        }
    }
    return NULL;
}

/* ---- whether they are ours ------------------------------------------------------------------- */

static bool slot_proved(const struct slot *t)
{
    return t->since_ms >= t->s->proof_ms || commits_proved_ms(t->commits) >= t->s->proof_ms;
}

/* Our beats had a gap, and perhaps we were taken for dead. Who did so is through with our shelves,
 * or has seen that we live, before one lease more is over. */
static void lease_seen(struct shelves *s)
{
    int64_t lease_ms = peers_lease_ms(s->o.peers);
    if (s->lease_ms != 0 && lease_ms - BROKER_LEASE_MS >= s->lease_ms) {
        s->proof_ms = lease_ms;
    }
    s->lease_ms = lease_ms;
}

/* Asks for what lease_seen wants. */
static void prove_slot(struct slot *t)
{
    if (t->state == SLOT_OPEN && clock_mono_ms() >= t->s->proof_ms && !slot_proved(t)) {
        commits_probe(t->commits);
    }
}

/* Before that moment nobody else can have begun what stands there. */
static int64_t ours_until_ms(const struct shelves *s)
{
    for (uint32_t i = 1; i <= s->top; i++) {
        if (s->slots[i].state != SLOT_FREE && !slot_proved(&s->slots[i])) {
            return 0;
        }
    }
    return s->lease_ms;
}

/* ---- what the core may use ------------------------------------------------------------------- */

static size_t pending(const struct shelves *s)
{
    size_t sum = dead_letters_pending(s->dead);
    for (uint32_t i = 1; i <= s->top; i++) {
        sum += s->slots[i].commits != NULL ? commits_pending(s->slots[i].commits) : 0;
    }
    return sum;
}

static void tell_core(struct shelves *s)
{
    int64_t known_ms = 0;
    const struct slot *own = slot_own(s);
    size_t under_way = pending(s);
    s->full = under_way > PENDING_MAX || (s->full && under_way > PENDING_MAX / 2);
    bool usable = own != NULL && own->state == SLOT_OPEN && s->up && !s->full && !s->draining &&
                  peers_store_ms(s->o.peers, clock_mono_ms(), &known_ms);
    uint32_t now = usable ? slot_number(own) : 0;
    if (now != s->told) {
        s->told = now;
        core_shelf(s->o.core, now);
    }
    core_shelves_ours(s->o.core, ours_until_ms(s));
}

bool shelves_open(const struct shelves *s)
{
    return s->told != 0;
}

/* All that stands on it goes to the core, or has ended there and is taken off. */
static void slot_read(struct slot *t)
{
    struct shelves *s = t->s;
    const struct adoption_options o = {.base = s->o.base,
                                       .store = s->store,
                                       .core = s->o.core,
                                       .peers = s->o.peers,
                                       .shelf = t->name,
                                       .slot = slot_number(t),
                                       .on_turn = want_turn,
                                       .context = t};
    t->adoption = adoption_new(&o);
}

/* ---- our own --------------------------------------------------------------------------------- */

/* The first one is named like us; after it was lost, it is another's for ever. */
static void own_begin(struct shelves *s)
{
    char name[SHELF_NAME_BYTES + 1];
    uint64_t random = 0;
    int64_t known_ms = 0;
    if (s->draining || slot_own(s) != NULL ||
        !peers_store_ms(s->o.peers, clock_mono_ms(), &known_ms)) {
        return;
    }
    rng_secure(&random, sizeof random);
    (void)snprintf(name, sizeof name, "%016" PRIx64, random);
    struct slot *t = slot_new(s, s->tokens++ == 0 ? s->token : name, SLOT_OPENING);
    if (t != NULL) { /* else when one is free: the next look tries again */
        t->own = true;
        slot_open(t);
    }
}

static void slot_opened(struct slot *t)
{
    t->state = SLOT_OPEN;
    commits_hold(t->commits, !t->s->up);
    if (t->again && t->adoption == NULL) { /* entries may be back that were taken off */
        slot_read(t);
    }
    if (t->own) {
        log_info("a shelf is open", "shelf", t->name, NULL);
    }
    tell_core(t->s);
    want_turn(t);
}

static void on_opened(void *context, enum shelf_outcome outcome)
{
    struct slot *t = context;
    t->asked = false;
    if (outcome == SHELF_OK && t->state == SLOT_OPENING) {
        slot_opened(t);
    } else if (outcome == SHELF_DEPOSED) {
        slot_lost(t);
    } /* else the next look opens it again */
}

static void slot_open(struct slot *t)
{
    struct shelves *s = t->s;
    if (s->up && !t->asked) {
        t->asked = true;
        shelf_open(s->store, t->name, s->token, on_opened, t);
    }
}

/* It is another broker's: what stood on it goes on there. */
static void slot_lost(void *context)
{
    struct slot *t = context;
    struct shelves *s = t->s;
    uint32_t number = slot_number(t);
    bool own = t->own;
    bool in_core = t->state != SLOT_TAKING;
    log_warn("a shelf of ours is another broker's now", "shelf", t->name, NULL);
    s->stats.deposed++;
    slot_free(t);
    dead_letters_lost(s->dead, number);
    if (s->told == number) {
        s->told = 0;
    }
    if (in_core) {
        core_shelf_lost(s->o.core, number, clock_mono_ms());
    }
    if (own) {
        own_begin(s);
    }
    tell_core(s);
    s->o.on_turn(s->o.context);
}

/* ---- adopting -------------------------------------------------------------------------------- */

static void on_taken(void *context, enum shelf_outcome outcome)
{
    struct slot *t = context;
    struct shelves *s = t->s;
    if (outcome != SHELF_OK) {
        slot_free(t); /* another was faster, or the next list tries again */
        return;
    }
    t->state = SLOT_OPEN;
    log_info("a shelf is being adopted", "shelf", t->name, "from", t->from, NULL);
    commits_hold(t->commits, !s->up);
    slot_read(t);
}

static void adopt(struct shelves *s, const struct shelf_seen *seen)
{
    struct slot *t = slot_new(s, seen->name, SLOT_TAKING);
    if (t == NULL) {
        return; /* as soon as one is free */
    }
    (void)snprintf(t->from, sizeof t->from, "%s", seen->owner);
    shelf_take(s->store, seen->name, seen->owner, s->token, on_taken, t);
}

static bool token_among(const char (*tokens)[BROKER_TOKEN_BYTES + 1], size_t count,
                        const char *token)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tokens[i], token) == 0) {
            return true;
        }
    }
    return false;
}

#define AMONG(tokens, count, token)                                                                \
    token_among((const char(*)[BROKER_TOKEN_BYTES + 1])(tokens), count, token)

/* Whether its owner has been without a line for as long as a dead broker has one. */
static bool orphaned(struct shelves *s, const char *name, int64_t now_ms)
{
    for (size_t i = 0; i < s->orphan_count; i++) {
        struct orphan *o = &s->orphans[i];
        if (strcmp(o->name, name) == 0) {
            o->seen = true;
            return now_ms - o->since_ms >= BROKER_LEASE_MS;
        }
    }
    if (s->orphan_count < ORPHANS_MAX) {
        struct orphan *o = &s->orphans[s->orphan_count++];
        *o = (struct orphan){.since_ms = now_ms, .seen = true};
        (void)snprintf(o->name, sizeof o->name, "%s", name);
    }
    return false;
}

static void orphans_sweep(struct shelves *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->orphan_count; i++) {
        if (s->orphans[i].seen) {
            s->orphans[kept] = s->orphans[i];
            s->orphans[kept++].seen = false;
        }
    }
    s->orphan_count = kept;
}

static void judge(struct shelves *s, const struct shelf_seen *seen, int64_t now_ms)
{
    struct slot *t = slot_named(s, seen->name);
    if (t != NULL) {
        if (t->state == SLOT_OPEN && strcmp(seen->owner, s->token) != 0) {
            commits_probe(t->commits);
        }
        return;
    }
    bool lives = AMONG(s->live, s->live_count, seen->owner) && strcmp(seen->owner, s->token) != 0;
    bool free = seen->owner[0] == '\0' || strcmp(seen->owner, s->token) == 0 ||
                AMONG(s->died, s->died_count, seen->owner);
    if (!lives && (free || orphaned(s, seen->name, now_ms))) {
        adopt(s, seen);
    }
}

static bool listed(const struct shelf_seen *seen, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(seen[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Lines of the dead go when no shelf names them any more. */
static void bury(struct shelves *s, const struct shelf_seen *seen, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->died_count; i++) {
        bool has = false;
        for (size_t k = 0; k < count && !has; k++) {
            has = strcmp(seen[k].owner, s->died[i]) == 0;
        }
        if (has) {
            memmove(s->died[kept++], s->died[i], sizeof s->died[0]);
        } else {
            peers_buried(s->o.peers, s->died[i]);
        }
    }
    s->died_count = kept;
}

static void on_list(void *context, enum shelf_outcome outcome, const struct shelf_seen *seen,
                    size_t count)
{
    struct shelves *s = context;
    int64_t now_ms = clock_mono_ms();
    s->listing = false;
    if (outcome != SHELF_OK || s->draining) {
        return;
    }
    s->listed_ms = now_ms;
    for (size_t i = 0; i < count; i++) {
        judge(s, &seen[i], now_ms);
    }
    orphans_sweep(s);
    for (uint32_t i = 1; i <= s->top; i++) {
        struct slot *t = &s->slots[i];
        if (t->state == SLOT_OPEN && !listed(seen, count, t->name)) {
            slot_open(t); /* the list lost it */
        }
    }
    bury(s, seen, count);
}

static void list(struct shelves *s)
{
    if (!s->listing && !s->draining && s->up && s->o.ready(s->o.context)) {
        s->listing = true;
        shelf_list(s->store, on_list, s);
    }
}

/* ---- leaving shelves ------------------------------------------------------------------------- */

/* It is not ours any more, by our own will. Jobs that are thought to stand on it are not there. */
static void slot_end(struct slot *t)
{
    struct shelves *s = t->s;
    uint32_t number = slot_number(t);
    slot_free(t);
    dead_letters_lost(s->dead, number);
    core_shelf_lost(s->o.core, number, clock_mono_ms());
    s->o.on_turn(s->o.context);
}

/* Whoever is told no, or nothing, tries again with the next look. */
static void on_dropped(void *context, enum shelf_outcome outcome)
{
    struct slot *t = context;
    if (outcome == SHELF_OK) {
        slot_end(t);
    } else if (t->again) { /* the store forgot meanwhile */
        t->state = SLOT_OPENING;
        slot_open(t);
    } else {
        t->state = SLOT_OPEN;
        commits_hold(t->commits, !t->s->up);
    }
}

/* An adopted shelf on which nothing is any more. */
static void drop_empty(struct slot *t)
{
    struct shelves *s = t->s;
    if (t->own || t->state != SLOT_OPEN || t->again || commits_pending(t->commits) > 0 ||
        dead_letters_any(s->dead, slot_number(t))) {
        return;
    }
    if (t->adoption != NULL && adoption_over(t->adoption)) {
        slot_count(t);
        adoption_destroy(&t->adoption);
    }
    if (t->adoption == NULL) {
        t->state = SLOT_LEAVING;
        commits_hold(t->commits, true);
        shelf_drop(s->store, t->name, s->token, on_dropped, t);
    }
}

static void on_given(void *context, enum shelf_outcome outcome)
{
    struct slot *t = context;
    if (outcome == SHELF_OK || outcome == SHELF_DEPOSED) {
        slot_end(t);
    } else {
        t->state = SLOT_OPEN; /* the next look tries again */
    }
}

static void on_dropped_last(void *context, enum shelf_outcome outcome)
{
    struct slot *t = context;
    if (outcome == SHELF_DEPOSED) { /* not empty: others go on with it */
        shelf_take(t->s->store, t->name, t->s->token, "", on_given, t);
    } else {
        on_given(t, outcome);
    }
}

/* What is under way is waited for: somebody may wait for it in turn. */
static void give_away(struct slot *t)
{
    struct shelves *s = t->s;
    slot_count(t);
    adoption_destroy(&t->adoption);
    if (t->state == SLOT_OPENING && !t->asked) {
        t->state = SLOT_OPEN;
        commits_hold(t->commits, !s->up);
    }
    if (t->state != SLOT_OPEN || commits_pending(t->commits) > 0 || !s->up) {
        return;
    }
    t->state = SLOT_LEAVING;
    shelf_drop(s->store, t->name, s->token, on_dropped_last, t);
}

/* ---- what time brings ------------------------------------------------------------------------ */

/* More of a shelf that is put on it again, as the way gets free. */
static void put_again(struct slot *t)
{
    if (t->again && t->state == SLOT_OPEN && commits_pending(t->commits) < AGAIN_PENDING_MAX) {
        t->again = core_shelf_again(t->s->o.core, slot_number(t), &t->again_at, AGAIN_STEP);
        if (t->again) {
            want_turn(t);
        }
    }
}

static void each_slot(struct shelves *s, void (*act)(struct slot *t))
{
    for (uint32_t i = 1; i <= s->top; i++) {
        if (s->slots[i].state != SLOT_FREE) {
            act(&s->slots[i]);
        }
    }
}

static void flush_slot(struct slot *t)
{
    put_again(t);
    commits_flush(t->commits);
}

void shelves_flush(struct shelves *s)
{
    each_slot(s, flush_slot);
    dead_letters_hold(s->dead, clock_mono_ms() >= ours_until_ms(s));
    dead_letters_flush(s->dead);
    tell_core(s);
    if (s->draining) {
        each_slot(s, give_away);
    }
}

static void probe_slot(struct slot *t)
{
    if (t->state == SLOT_OPEN) {
        commits_probe(t->commits);
    }
}

static void open_slot(struct slot *t)
{
    if (t->state == SLOT_OPENING) {
        slot_open(t);
    }
}

/* Who is leaving gives his shelves away any moment. */
static bool any_leaves(const struct broker_line *live, size_t live_count)
{
    for (size_t i = 0; i < live_count; i++) {
        if (live[i].leaving) {
            return true;
        }
    }
    return false;
}

static void live_set(struct shelves *s, const struct broker_line *live, size_t live_count)
{
    size_t kept = 0;
    for (size_t i = 0; i < live_count && i < BROKERS_MAX; i++) {
        memcpy(s->live[i], live[i].token, sizeof s->live[0]);
    }
    s->live_count = live_count < BROKERS_MAX ? live_count : BROKERS_MAX;
    for (size_t i = 0; i < s->died_count; i++) {
        if (!AMONG(s->live, s->live_count, s->died[i])) {
            memmove(s->died[kept++], s->died[i], sizeof s->died[0]);
        }
    }
    s->died_count = kept;
}

void shelves_look(struct shelves *s, const struct broker_line *live, size_t live_count,
                  const char (*died)[BROKER_TOKEN_BYTES + 1], size_t died_count)
{
    int64_t now_ms = clock_mono_ms();
    bool stood_still = s->looked_ms != 0 && now_ms - s->looked_ms > GAP_MS;
    bool changed = live_count != s->live_count || died_count > 0 || s->died_count > 0 ||
                   any_leaves(live, live_count);
    bool due = now_ms - s->listed_ms >= LOOK_MS;
    s->looked_ms = now_ms;
    lease_seen(s);
    live_set(s, live, live_count);
    for (size_t i = 0; i < died_count && s->died_count < BROKERS_MAX; i++) {
        memcpy(s->died[s->died_count++], died[i], sizeof s->died[0]);
    }
    own_begin(s);
    each_slot(s, open_slot);
    if (stood_still) {
        each_slot(s, probe_slot);
    }
    each_slot(s, prove_slot);
    if (due && s->up && !s->draining) {
        each_slot(s, drop_empty);
    }
    if (due || changed || s->orphan_count > 0) {
        list(s);
    }
    shelves_flush(s);
}

/* ---- the core's words ------------------------------------------------------------------------ */

/* The job as an entry; it lives until the next one. */
static struct slice entry_of(struct shelves *s, const struct wire_submit *submit, struct slice body,
                             int64_t accepted_ms, uint32_t delay_ms)
{
    const struct stored_job j = {.submit = *submit,
                                 .accepted_ms = accepted_ms,
                                 .deadline_ms = accepted_ms + submit->ttl_ms,
                                 .ready_ms = accepted_ms + delay_ms,
                                 .body = body};
    buf_clear(&s->entry);
    stored_job_write(&s->entry, &j);
    must(buf_ok(&s->entry));
    return buf_slice(&s->entry);
}

/* Its clock was known before the core was told of a shelf. */
static int64_t store_ms(const struct shelves *s)
{
    int64_t ms = 0;
    must(peers_store_ms(s->o.peers, clock_mono_ms(), &ms));
    return ms;
}

static struct slot *slot_of(struct shelves *s, uint32_t shelf)
{
    must(shelf > 0 && shelf <= CORE_SHELVES_MAX && s->slots[shelf].state != SLOT_FREE);
    return &s->slots[shelf];
}

void shelves_put(struct shelves *s, uint32_t shelf, uint32_t job, const struct wire_submit *submit,
                 struct slice body)
{
    struct slot *t = slot_of(s, shelf);
    dead_letters_revived(s->dead, shelf, submit->id);
    commits_put(t->commits, job, submit->id,
                entry_of(s, submit, body, store_ms(s), submit->delay_ms));
}

void shelves_remove(struct shelves *s, uint32_t shelf, uint32_t job,
                    const struct wire_submit *submit, struct slice body,
                    const struct wire_result *result, bool dead)
{
    struct slot *t = slot_of(s, shelf);
    if (!dead || result == NULL) {
        commits_remove(t->commits, job, submit->id);
        return;
    }
    int64_t now_ms = store_ms(s);
    int64_t accepted_ms = now_ms > submit->ttl_ms ? now_ms - submit->ttl_ms : 0;
    const struct dead_letter letter = {.id = submit->id,
                                       .entry = entry_of(s, submit, body, accepted_ms, 0),
                                       .end = result->end,
                                       .code = result->code,
                                       .at_ms = now_ms};
    dead_letters_put(s->dead, shelf, job, &letter);
}

static void on_written(void *context, uint32_t slot, uint32_t job, struct slice id)
{
    struct shelves *s = context;
    commits_remove(s->slots[slot].commits, job, id);
    s->o.on_turn(s->o.context);
}

/* ---- the store ------------------------------------------------------------------------------- */

static void away_slot(struct slot *t)
{
    commits_hold(t->commits, true);
    commits_refuse(t->commits);
}

/* Whose it is has to be found out again, and all that stands on it is put there again. */
static void forgotten_slot(struct slot *t)
{
    if (t->state == SLOT_TAKING) {
        return;
    }
    t->state = t->state == SLOT_OPEN ? SLOT_OPENING : t->state;
    t->again = true;
    t->again_at = 0;
    commits_hold(t->commits, true);
    if (t->adoption != NULL) {
        adoption_restart(t->adoption);
    }
}

static void back_slot(struct slot *t)
{
    if (t->state == SLOT_OPEN) {
        commits_hold(t->commits, false);
        commits_probe(t->commits);
    }
}

void shelves_store(struct shelves *s, bool up, bool forgot)
{
    s->up = up;
    if (forgot) {
        each_slot(s, forgotten_slot);
    }
    if (up) {
        each_slot(s, back_slot);
        each_slot(s, open_slot);
        own_begin(s);
    } else {
        each_slot(s, away_slot);
    }
    tell_core(s);
    s->o.on_turn(s->o.context);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct shelves *shelves_new(const struct shelves_options *options)
{
    struct shelves *s = xcalloc(1, sizeof *s);
    s->o = *options;
    (void)snprintf(s->token, sizeof s->token, "%s", options->token);
    s->store = shelf_store_new(options->store, options->prefix);
    const struct dead_options d = {.base = options->base,
                                   .store = options->store,
                                   .prefix = options->prefix,
                                   .keep_s = options->dead_keep_s,
                                   .on_written = on_written,
                                   .context = s};
    s->dead = dead_letters_new(&d);
    buf_init(&s->entry, ENTRY_BYTES_MAX);
    s->o.prefix = NULL;
    s->o.token = NULL;
    s->up = store_up(options->store);
    for (uint32_t i = 0; i <= CORE_SHELVES_MAX; i++) {
        s->slots[i].s = s;
    }
    return s;
}

void shelves_destroy(struct shelves **sp)
{
    struct shelves *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    each_slot(s, slot_free);
    shelf_store_destroy(&s->store);
    dead_letters_destroy(&s->dead);
    buf_free(&s->entry);
    free(s);
}

void shelves_drain(struct shelves *s)
{
    s->draining = true;
    shelves_flush(s);
}

bool shelves_drained(const struct shelves *s)
{
    if (!s->up) {
        return s->draining; /* others will see that we are gone */
    }
    for (uint32_t i = 1; i <= s->top; i++) {
        if (s->slots[i].state != SLOT_FREE) {
            return false;
        }
    }
    return s->draining;
}

struct shelves_stats shelves_stats(const struct shelves *shelves)
{
    struct shelves *s = (struct shelves *)(uintptr_t)shelves; /* counters are brought together */
    each_slot(s, slot_count);
    struct shelves_stats stats = s->stats;
    stats.pending = pending(s);
    for (uint32_t i = 1; i <= s->top; i++) {
        stats.shelves += s->slots[i].state == SLOT_OPEN;
        stats.to_adopt += s->slots[i].adoption != NULL && !adoption_over(s->slots[i].adoption);
    }
    return stats;
}
