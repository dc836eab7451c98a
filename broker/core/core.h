/*
 * core.h: the pure dispatch core of the broker. No clock, no socket, no thread: every function
 * takes now_ms and tells its effects through struct core_effects, so the simulator runs the same
 * code.
 *
 * One job = one allocation (header, id, tenant-free; body and trace behind it). A queued 250-byte
 * job costs at most 400 bytes all in. All maps, heaps and caches have ceilings (struct
 * core_limits).
 *
 * A route may name others to fall back to. Its jobs that may move (sends, not started) go on in the
 * lane of the next one when a worker gives them back for it, or when the lane that they wait in
 * takes no calls: paused, breaker open. The lane's limits, counters and breaker are then those of
 * the other route; what clients see, G and duplicates go by the route asked for. A job is in
 * exactly one lane. Where a verify belongs only the store knows: while its route takes no calls it
 * is sent out to be looked up.
 *
 * The core knows six states from outside (enum core_state); where the job is in each of them
 * stands at enum job_state in internal.h.
 *
 * What may have started is never ended by the broker alone: jobs of a dead worker, or of another
 * broker, are sent to a worker whose claim in the store decides. Those that a dead worker had
 * started, and those whose deadline passed meanwhile, are sent with ttl_ms 0: such a worker must
 * ask the store and may not call. They need credit only, no route's leave. If nobody settles one
 * within two minutes it ends as unknown.
 *
 * A stored job stands on a shelf of the store as well (broker/shelves.h), so that another broker
 * can go on with it: it may not go out before it stands there (CORE_STORING), and an end that only
 * this broker knows of (cancelled, purged, refused by the broker itself) is told to nobody before
 * its entry is off the shelf. Ends that a worker wrote into the store hold without that: whoever
 * adopted the entry would come to the same one. So do deadlines that pass while nobody can have
 * adopted it (core_shelves_ours); else another broker may have sent it in time.
 */
#ifndef OTPQ_BROKER_CORE_H
#define OTPQ_BROKER_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/slice.h"
#include "common/meaning/wire.h"

struct core;
struct job; /* opaque */

struct core_limits {
    uint32_t jobs_max;        /* live jobs */
    uint64_t bytes_max;       /* memory of live jobs */
    uint32_t route_jobs_max;  /* queued in one route */
    uint32_t tenant_jobs_max; /* queued of one tenant in one route */
    uint32_t routes_max;
    uint32_t tenants_max; /* distinct names alive; and, counted apart, names with a weight */
    uint32_t workers_max;
    uint32_t results_max; /* ended jobs kept */
    uint64_t results_bytes_max;
    uint32_t result_ttl_ms;
    uint32_t attempts_max; /* dispatches of one job before it ends: refused, its last reason */
    uint64_t seed;         /* random: clients must not be able to aim ids at one hash place */
    bool unknown_routes_accepted; /* a route never heard of is made, without limits of its own */
};

enum {
    CORE_FALLBACKS_MAX = 8, /* of a route */
    CORE_MOVES_MAX = 8      /* of a job from lane to lane */
};

/* What a route bears; from the integration's record. */
/* Ops that call nobody (op_calls below) pass all of it but `known`. */
struct core_route_policy {
    bool known;  /* there is such an integration; unknown routes answer integration_not_found */
    bool paused; /* its jobs wait */
    bool stored; /* its jobs are stored, whatever ack they ask for */
    bool held;   /* paused is an operator's word: for people */
    bool closed; /* takes no new calls, from clients or by fallback; what it has goes out */
    uint32_t calls_per_s;       /* token bucket, 0: no limit */
    uint32_t burst;             /* bucket size, 0: calls_per_s; never less than what 1 ms brings */
    uint32_t calls_at_once;     /* concurrency cap, 0: no limit */
    uint32_t breaker_percent;   /* failures of the calls in the window that open it, 0: off */
    uint32_t breaker_calls;     /* at least this many calls in the window */
    uint32_t breaker_window_ms; /* sliding, in two halves */
    uint32_t breaker_open_ms;   /* then probes, one at a time */
    uint32_t fallback_count;    /* used of fallback */
    struct slice fallback[CORE_FALLBACKS_MAX]; /* routes to go on with, in order; copied */
};

/* Where answers to a job go: client handles of the shell, never used again for another client; the
 * shell drops answers to clients that have gone. Several may wait for one job (bounded,
 * CORE_WAITERS_MAX; the oldest is dropped). Handle 0 is nobody: who submits so hears no answer, and
 * the result of a callback that only nobody waits for is not kept. */
enum { CORE_WAITERS_MAX = 4, CORE_BANDS = 3, CORE_WEIGHT_MAX = 100 };

enum core_stored {
    CORE_STORED,       /* A "stored" */
    CORE_STORE_FAILED, /* N "store_unavailable": nothing of it was kept */
    CORE_STORED_MOVED, /* N "moved": its shelf is another broker's now, which goes on with the job
                        */
    CORE_HANDED_OVER   /* N "draining": it was in memory, and this broker leaves (core_hand_over) */
};

/* The core calls these while it works; they must not call back into the core. Slices live until the
 * callback returns. */
struct core_effects {
    void *context;
    /* Put this job into the worker's outgoing batch. */
    void (*dispatch)(void *context, uint32_t worker, const struct wire_job *job, struct slice body);
    /* Put this result into the client's outgoing batch. */
    void (*answer)(void *context, uint64_t client, const struct wire_result *result,
                   struct slice body);
    /* The following may be NULL where core_shelf is never called. `job` names a job until the core
     * is told how it went. */

    /* Puts and removals of one id on one shelf hold in the order of the calls. */
    /* Put this job on the shelf, then call core_shelved; job 0: nobody waits for it (again). s:
     * times to live (0: its deadline passed) and delay from now on. */
    void (*shelve)(void *context, uint32_t shelf, uint32_t job, const struct wire_submit *s,
                   struct slice body);
    /* Take this id off the shelf. job: call core_unshelved then; 0: nobody waits for it. dead: it
     * ended without what was asked, and a person may want it back: ttl of s as it was accepted.
     * result NULL: it has not ended, but stands on another shelf. */
    void (*unshelve)(void *context, uint32_t shelf, uint32_t job, const struct wire_submit *s,
                     struct slice body, const struct wire_result *result, bool dead);
    /* What a stored job's client is told apart from its result. */
    void (*stored)(void *context, uint64_t client, struct slice id, enum core_stored what);
};

struct core *core_new(const struct core_limits *limits, const struct core_effects *effects,
                      int64_t now_ms);
void core_destroy(struct core **core);

/* Whether jobs of this op may call somebody outside. Reports and questions ask the store alone:
 * they pass a paused route, its breaker, its rate and its concurrency cap, and say nothing about
 * its advertiser. */
bool op_calls(enum wire_op op);

enum core_admit {
    CORE_QUEUED,    /* new job, in memory */
    CORE_DUPLICATE, /* same id, same body: the client waits for (or just got) the first one's result
                     */
    CORE_CONFLICT,  /* same id, other body (or op or route) */
    CORE_FULL_TOTAL,
    CORE_FULL_BYTES,
    CORE_FULL_ROUTE,
    CORE_FULL_TENANT,
    CORE_FULL_ROUTES,
    CORE_FULL_TENANTS,
    CORE_UNKNOWN_ROUTE,
    CORE_STORING,  /* on its way to the shelf, new or repeated; effects.stored tells how it went */
    CORE_NO_SHELF, /* it is to be stored, and there is no shelf now */
    CORE_CLOSED    /* its route takes nothing new; what was sent before (again) it does take */
};
/* Takes a copy of all it keeps. *retry_after_ms is set with CORE_FULL_*: an estimate from the
 * route's drain rate, 50..10000. For a duplicate of an ended job effects.answer runs at once. */
MUST_CHECK enum core_admit core_submit(struct core *core, const struct wire_submit *s,
                                       struct slice body, uint64_t client, int64_t now_ms,
                                       uint32_t *retry_after_ms);

enum core_state {
    CORE_STATE_NONE,       /* no such id */
    CORE_STATE_DELAYED,    /* not before its time */
    CORE_STATE_STORING,    /* on its way to the shelf */
    CORE_STATE_QUEUED,     /* waits for its turn */
    CORE_STATE_DISPATCHED, /* with a worker */
    CORE_STATE_STARTED,    /* a worker began the call, or died and may have begun it */
    CORE_STATE_ENDED       /* result kept */
};
/* G: the state; when ended, effects.answer(client) ran with the result, or will when its entry is
 * off the shelf; when live, the client now waits for the result too. */
enum core_state core_get(struct core *core, struct slice id, uint64_t client, int64_t now_ms);
/* X: QUEUED/DELAYED jobs that cannot have started end as cancelled (all waiters and `client` get
 * R): CORE_STATE_ENDED. For one that had ended before, `client` gets its result. Otherwise nothing
 * happens and the state tells why. The answers about a stored job come when it is off its shelf. */
enum core_state core_cancel(struct core *core, struct slice id, uint64_t client, int64_t now_ms);

/* ---- an operator empties a queue */

struct core_purge {
    struct slice route;  /* that they wait in; empty: any */
    struct slice tenant; /* with of_tenant */
    enum wire_op op;     /* with of_op */
    bool of_tenant;      /* only of this tenant, which may be "" */
    bool of_op;          /* only of this op */
    bool dry;            /* only counts */
    int64_t before_ms;   /* accepted at this moment or earlier: what comes later stays */
};
/* Added up over the parts of one walk. */
struct core_purged {
    uint64_t ended;   /* as cancelled; dry: would be */
    uint64_t pending; /* stored ones on their way to the shelf, or off it: look again */
    uint64_t kept;    /* may have started: they go on */
};
/* Looks at jobs from *at on (0: the first) and ends those that are meant and have certainly not
 * started, as core_cancel does. False at the end. budget: what a part may cost, in jobs looked at;
 * one that ends costs sixteen. */
MUST_CHECK bool core_purge(struct core *core, const struct core_purge *p, uint32_t *at,
                           uint32_t budget, int64_t now_ms, struct core_purged *sum);

/* ---- stored jobs */

enum { CORE_SHELVES_MAX = 255 };
/* The shelf of jobs that are to be stored, 1 to CORE_SHELVES_MAX and none that is being adopted; 0:
 * none now, they are refused. A job is to be stored when its ack is WIRE_ACK_STORED or its route's
 * policy says so. */
void core_shelf(struct core *core, uint32_t shelf);
/* What stands on our shelves is nobody else's before this moment (INT64_MAX until told): a passed
 * deadline is told at once. From then on it is told like other ends that only this broker knows. */
void core_shelves_ours(struct core *core, int64_t until_ms);
/* How effects.shelve went: now it may go out; or (false: certainly not kept) it is forgotten. job
 * as effects.shelve had it, not 0, and not of a shelf that core_shelf_lost was told of since. */
void core_shelved(struct core *core, uint32_t job, bool kept, int64_t now_ms);
/* effects.unshelve with a job: it is off the shelf, its result is answered now. job as above. */
void core_unshelved(struct core *core, uint32_t job, int64_t now_ms);
/* An entry of a dead broker's shelf, which is ours now: goes on as a job that may have started. s:
 * ttl_ms and delay_ms from now on (ttl 0: its deadline passed meanwhile: settled), age_ms since it
 * was accepted. CORE_FULL_*: nothing was kept, again later (the limits of jobs, bytes, routes and
 * tenants; what was accepted once passes those of its route and of its tenant there). Else it is
 * seen to. CORE_QUEUED: it goes on; with a route that is unknown by now it is settled.
 * CORE_DUPLICATE: it is one with the live job of the same id and content, or its result is known;
 * CORE_CONFLICT: the id is another job's here: for those effects.unshelve ran, unless the live job
 * is to stand on this shelf from now on. The same entry may be given twice. */
MUST_CHECK enum core_admit core_adopt(struct core *core, uint32_t shelf,
                                      const struct wire_submit *s, struct slice body,
                                      uint32_t age_ms, int64_t now_ms);
/* An entry with this id will be adopted soon: memory that is slow to come is asked for now. */
void core_expect(const struct core *core, struct slice id);
/* The shelf is another broker's: what stands on it and is not with a worker is forgotten here
 * (effects.stored says so to who waits), what is with one goes on as a job in memory. Nothing that
 * was under way to or from this shelf may be confirmed any more. */
void core_shelf_lost(struct core *core, uint32_t shelf, int64_t now_ms);
/* Every live job of the shelf again through effects.shelve, at most `most` of them, from *at on
 * (0: the first); false at the end. For a store that may have forgotten some. Not those that are
 * under way to it or from it: they are sent again until there is an answer. */
MUST_CHECK bool core_shelf_again(struct core *core, uint32_t shelf, uint32_t *at, uint32_t most);
/* This broker leaves, and there is another one: jobs in memory that certainly have not begun are
 * forgotten, when all who wait for them are told so (effects.stored, CORE_HANDED_OVER) and can
 * submit them there. In parts: a look costs 1 of budget; *at is 0 at first; false at the end. */
struct core_leave {
    bool (*hears)(void *context, uint64_t client, struct slice id); /* it can be told of this job */
    void *context;
};
MUST_CHECK bool core_hand_over(struct core *core, const struct core_leave *l, uint32_t *at,
                               uint32_t budget, int64_t now_ms);
/* The store lost what was written last (fail-over): markers of what had started may be gone. A
 * worker that lives writes those of its calls again at once. So what may be running elsewhere (sent
 * again, adopted) waits for CORE_REASSERT_MS and goes out then: the claim decides, as always. What
 * was with a worker that has died, or dies, comes back without a marker: it is settled. Nobody is
 * left to know of a call when its marker is lost and the worker that made it and the broker that
 * had given it to that worker are both dead: such a job may be called twice. */
enum { CORE_REASSERT_MS = WIRE_REASSERT_MS };
void core_store_forgot(struct core *core, int64_t now_ms);
/* The store went away: what may be running elsewhere waits for it, half a minute at most; or it is
 * back, and has forgotten nothing. */
void core_store_away(struct core *core, bool away, int64_t now_ms);

/* The route that was asked for and the tenant, of a live job or a kept result; the slices live
 * until the core is called again. False: no such id. */
MUST_CHECK bool core_whose(struct core *core, struct slice id, int64_t now_ms, struct slice *route,
                           struct slice *tenant);

/* Workers. `worker` is a small handle chosen by the shell, < workers_max, free to reuse after gone.
 */
void core_worker_joined(struct core *core, uint32_t worker, int64_t now_ms);
/* Cumulative credit since joined: total jobs that may have been dispatched to it. Never goes down.
 */
void core_worker_credit(struct core *core, uint32_t worker, uint64_t total, int64_t now_ms);
/* Death or goodbye: everything DISPATCHED there is queued again with attempt + 1, ahead of its
 * lane; what was STARTED goes to the next worker for settling (above). */
void core_worker_gone(struct core *core, uint32_t worker, int64_t now_ms);

/* Reports from a worker. Ignored (false) when the id is not with this worker or the attempt is old.
 */
bool core_started(struct core *core, uint32_t worker, struct slice id, uint32_t attempt,
                  int64_t now_ms);
/* Provably not sent. Counts against attempts_max unless the reason is none (drain) or
 * store_unavailable: without a store jobs wait until their deadline. With `via` it goes on in that
 * route's lane, as long as it has moves left and there is such a route, or else one behind it in
 * the list; a move is no attempt. */
bool core_given_back(struct core *core, uint32_t worker, const struct wire_give_back *g,
                     int64_t now_ms);
/* The end. A result from a worker that no longer owns the job is still taken when the job is live:
 * it comes from the claim's owner. */
bool core_result(struct core *core, uint32_t worker, const struct wire_result *r, struct slice body,
                 int64_t now_ms);

/* Replaces a route's policy; `known` false leaves queued jobs to end as
 * refused/integration_not_found in the next steps. False: a new route over routes_max; nothing was
 * kept. */
MUST_CHECK bool core_route_policy(struct core *core, struct slice route,
                                  const struct core_route_policy *p, int64_t now_ms);

/* While other brokers send to the same routes, every limit is in parts: what this one has stands in
 * the place of calls_at_once and calls_per_s where the policy has these (the burst goes down in the
 * same measure), and holds until a moment. Without a part no call of a limited route begins. */
void core_sharing(struct core *core, bool on, int64_t now_ms);
struct core_route_share {
    uint32_t calls_at_once;
    uint64_t milli_calls_per_s;
    int64_t until_ms;
};
/* Unknown routes are passed over. */
void core_route_share(struct core *core, struct slice route, const struct core_route_share *s,
                      int64_t now_ms);
/* What a limited route would use. */
struct core_route_demand {
    struct slice name;
    uint32_t calls_at_once; /* of the policy, 0: no limit */
    uint32_t calls_per_s;   /* … */
    uint32_t calls;         /* in flight */
    uint32_t waiting;       /* that would call */
};
/* Walks the routes that have a limit: *at = 0 to begin, false at the end. */
MUST_CHECK bool core_demand_next(const struct core *core, size_t *at,
                                 struct core_route_demand *out);
/* The next route whose calls wait for want of a share alone; each is told once until it waits
 * again. False: none. */
MUST_CHECK bool core_hungry_next(struct core *core, struct core_route_demand *out);

/* A tenant's part of a busy route, 1 to CORE_WEIGHT_MAX: while both have jobs in a band, it sends
 * `weight` jobs for each one of a tenant of weight 1. That is what a tenant has of whom nothing was
 * said. It is kept whether or not the tenant has jobs. False: tenants_max others have a weight
 * above 1; nothing was kept. */
MUST_CHECK bool core_tenant_weight(struct core *core, struct slice tenant, uint32_t weight,
                                   int64_t now_ms);

/* Moves time: expires deadlines, readies delayed jobs, refills buckets, dispatches all that may go
 * now, at most dispatch_max of them. Returns when it wants to run again: the next moment at which
 * time alone may change something (INT64_MAX: never; now_ms: more is ready). */
int64_t core_step(struct core *core, int64_t now_ms, uint32_t dispatch_max);

/* For I, /metrics and top. */
struct core_route_stats {
    struct slice name;
    uint64_t queued, delayed, in_flight; /* gauges */
    uint64_t storing, unshelving;        /* gauges: as below */
    uint64_t on_shelf;                   /* gauge: of all live ones, those that stand on a shelf */
    int64_t oldest_ms;                   /* age of the oldest queued job, 0: none */
    uint64_t accepted, done, refused, unknown, expired, cancelled, redispatched; /* counters */
    uint64_t adopted, handed_over; /* counters: as below */
    uint64_t moved_out, moved_in;  /* counters: jobs that went on elsewhere, that came from there */
    bool paused, held, closed, stored; /* of its policy */
    int breaker;                       /* 0 closed, 1 half open, 2 open */
};
/* accepted + adopted = sum of ended + live - storing + handed_over, where live = queued + delayed +
 * in_flight + storing + unshelving. */
struct core_stats {
    uint64_t queued, delayed, in_flight, results_kept, results_bytes, bytes; /* gauges */
    uint64_t storing;     /* gauge: jobs on their way to the shelf, not accepted yet */
    uint64_t unshelving;  /* gauge: jobs that will have ended when their entry is off the shelf */
    uint64_t stored;      /* gauge: of all live jobs, those that stand on a shelf */
    uint64_t adopted;     /* counter: jobs taken over from other brokers */
    uint64_t handed_over; /* counter: jobs forgotten because another broker goes on with them */
    int64_t oldest_ms;
    uint64_t accepted, duplicates, conflicts, refused_full; /* counters */
    uint64_t ended[JOB_ENDS];                               /* counters */
    uint64_t redispatched;             /* counter: jobs taken back from dead workers */
    uint32_t workers, routes, tenants; /* gauges; tenants alive */
    uint64_t credit_free;              /* jobs that workers would still take */
};
void core_stats(const struct core *core, int64_t now_ms, struct core_stats *out);
/* Walks the routes: *at = 0 to begin, false at the end. */
MUST_CHECK bool core_route_stats(const struct core *core, size_t *at, int64_t now_ms,
                                 struct core_route_stats *out);
/* Checks every internal invariant, slowly: for the simulator and tests. Crashes when one is broken.
 */
void core_check(const struct core *core, int64_t now_ms);

#endif
