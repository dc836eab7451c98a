/*
 * internal.h: what the parts of the dispatch core share. Nobody outside broker/core includes it but
 * its tests. Who writes what:
 *   job.c       jobs, their table, waiters; job_set_state, the only mover
 *   lane.c      tenants, flows (a tenant in a route), lanes (a band of a flow), deadlines
 *   route.c     routes: policy, gates (pause, rate, concurrency, breaker), which band and lane next
 *   move.c      fallback: jobs that go on in another route's lane; verifies that are looked up
 *   share.c     limits that hold over several brokers: this one's part of them
 *   worker.c    workers and their credit
 *   results.c   ended jobs
 *   purge.c     an operator ends what waits
 *   stored.c    stored jobs: their shelves, adoption, what the store forgot
 *   dispatch.c  what happens when time passes: core_step
 *   core.c      the functions of core.h
 *   inspect.c   statistics and core_check
 * Times inside are the low 32 bits of milliseconds, compared modulo 2^32 (heap.h); those that
 * nobody may look at for weeks are whole ones and end in _ms.
 */
#ifndef OTPQ_BROKER_CORE_INTERNAL_H
#define OTPQ_BROKER_CORE_INTERNAL_H

#include "broker/core/core.h"
#include "broker/core/heap.h"
#include "broker/core/index.h"
#include "broker/core/table.h"
#include "common/base/list.h"

enum {
    FREE_BAND = CORE_BANDS,   /* behind the bands of priority: jobs that call nobody */
    LANE_BANDS,               /* of a flow */
    SETTLE_MS = 120 * 1000,   /* a job that may have started: then it ends as unknown */
    AWAY_MS = 30 * 1000,      /* what others may be running waits for a store: at most */
    OVERDUE_MS = 10 * 1000,   /* past its deadline in flight: its result was lost on the way */
    SWEEP_MS = 1000,          /* how often jobs in flight are looked at for that */
    SWEEP_JOBS = 256,         /* of one worker, each time */
    STEP_EXPIRES_MAX = 1000, /* ends by time in one step */
    FLOWS_IDLE_MAX = 1024,    /* empty flows kept, so that one job at a time allocates nothing */
    CREDIT_MAX = 1000 * 1000, /* of one worker at a time */
    STORE_RETRY_MS = 50,      /* a job given back for want of a store: at least */
    PROBES_TO_CLOSE = 3,      /* good probes in a row that close a breaker */
    BREAKER_OPEN_MAX_MS = 24 * 3600 * 1000,
    JOB_OVERHEAD_BYTES = 48, /* of the allocator, the index, the table and a heap */
    NO_JOB = 0,              /* table places begin with 1 */
    NO_WORKER = UINT16_MAX
};

/* The comment names the home: what holds the job in this state, beside the index by id. */
enum job_state {
    JOB_NEW,        /* nothing yet */
    JOB_STORING,    /* nothing; route->storing counts it. Its shelf has not confirmed it yet */
    JOB_DELAYED,    /* core->delayed, by min(ready time, deadline) */
    JOB_QUEUED,     /* its lane's heap `jobs` or `ahead`, by deadline; route->waiting */
    JOB_SETTLING,   /* core->settling: may have started, waits for a worker to ask the store */
    JOB_DISPATCHED, /* worker->jobs */
    JOB_STARTED,    /* worker->jobs: the worker won the claim */
    JOB_UNSHELVING, /* nothing; route->unshelving counts it. Ends when its entry is off the shelf */
    JOB_ENDED,      /* nothing: the result is in core->results and the job is freed at once */
    JOB_STATES
};

enum job_flag {
    JOB_AHEAD = 1,         /* was with a worker that died: ahead of its lane */
    JOB_MAYBE_STARTED = 2, /* a worker or another broker had it: only the store knows */
    JOB_WAS_STARTED = 4,   /* a worker said that the call began, and died */
    JOB_SETTLE = 8,        /* goes out with ttl 0: to ask the store, not to call */
    JOB_PROBE = 16,        /* the one probe of a half-open breaker */
    JOB_LOOK = 32,         /* a verify in FREE_BAND: goes out to be looked up, not to call */
    JOB_LOOKED = 64,       /* it was, and belongs to the route asked for: it waits for that */
    JOB_FORGOTTEN = 128,   /* the store may have lost who started it: settled should it come back */
    JOB_BEREAVED = 256     /* a worker that had it died: nobody would tell the store again */
};

/* How a stored job will have ended once its entry is off the shelf. */
struct ending {
    struct wire_result result; /* its id is the job's */
    uint32_t body_n;           /* bytes */
    char body[];               /* of the result */
};

/* What few jobs have. */
struct job_more {
    uint32_t waiter_count;                  /* used of clients */
    uint64_t clients[CORE_WAITERS_MAX - 1]; /* oldest first, younger than job->client */
    struct route *asked;   /* of a job that moved: the route asked for, which counts it in `away` */
    struct ending *ending; /* JOB_UNSHELVING, and JOB_STORING that is to end once kept; or NULL */
    uint32_t ttl_ms;       /* stored and JOB_SETTLE: as it was accepted; 0: not known */
    uint8_t moves;         /* so far */
    uint8_t moved;     /* enum result_code: why the core moved it here; RESULT_NONE: it did not */
    uint8_t look_band; /* JOB_LOOK: where it stood before */
};

/* One allocation a job: header, then id, trace and body. Ordered by size; 80 bytes of header. */
struct job {
    uint64_t client;       /* first waiter, 0: nobody */
    struct job_more *more; /* or NULL */
    uint64_t fingerprint;  /* of op, route and body: tells a repetition from a conflict */
    struct lane *lane;     /* where it is: route, tenant and band; counted in its flow's jobs */
    uint32_t hash;         /* of the id */
    uint32_t slot;         /* own place in core->slots */
    uint32_t prev;         /* neighbours in the list of the state's home */
    uint32_t next;         /* … */
    uint32_t accepted;     /* when it was submitted */
    uint32_t deadline;     /* when it expires; for JOB_SETTLE: when it ends as unknown */
    uint32_t at;           /* delayed: ready time; dispatched: when; else when it came here */
    uint32_t attempt;      /* of the current or, when queued, the next dispatch */
    uint32_t body_n;       /* bytes */
    uint16_t worker;       /* DISPATCHED, STARTED: who has it */
    uint16_t flags;        /* enum job_flag */
    uint8_t dispatches;    /* so far, drains taken off */
    uint8_t state;         /* enum job_state, written by job_set_state only */
    uint8_t op;            /* enum wire_op */
    uint8_t id_n;          /* bytes */
    uint8_t trace_n;       /* bytes */
    uint8_t shelf;         /* that it stands on, or is being put on; 0: in memory only */
    uint8_t pri : 4;       /* as submitted: for its entry on the shelf */
    uint8_t told : 4;      /* STORING: bit by waiter, to be told when it is stored */
    char bytes[];          /* id, trace, body */
};

/* A list of jobs, threaded through their prev and next. */
struct job_list {
    uint32_t first; /* place, NO_JOB: empty */
    uint32_t last;  /* … */
    uint32_t count; /* jobs in it */
};

/* Lives while it has flows, or a weight above 1. */
struct tenant {
    char *name;      /* owned */
    uint32_t name_n; /* bytes */
    uint32_t hash;   /* of the name */
    uint32_t slot;   /* number in core->tenants */
    uint32_t flows;  /* that name it */
    uint8_t weight;  /* jobs a turn, 1 .. CORE_WEIGHT_MAX */
};

/* A heap of jobs some of which may have ended meanwhile: those stay as holes until they come up. */
struct job_heap {
    struct heap heap; /* by deadline; the top is never a hole */
    uint32_t holes;   /* entries whose job has ended */
};

/* The jobs of one tenant in one band of one route. */
struct lane {
    struct flow *flow;     /* owner */
    struct list turn;      /* in route->bands[band].lanes while it has jobs */
    struct job_heap jobs;  /* earliest deadline first, equal ones in any order */
    struct job_heap ahead; /* taken back from dead workers: before all others */
    uint8_t band;          /* 0: highest priority; FREE_BAND */
    uint8_t deficit;       /* jobs it may still send in its turn; 0 but for the first in turn */
};

/* One tenant in one route. */
struct flow {
    struct route *route;   /* where */
    struct tenant *tenant; /* who */
    uint32_t hash;         /* of the pair */
    uint32_t slot;         /* number in core->flows; its lanes are slot * LANE_BANDS + band */
    uint32_t jobs;         /* live, in any state */
    uint32_t waiting;      /* queued and delayed */
    struct list idle;      /* in core->idle_flows while jobs is 0 */
    struct lane lanes[LANE_BANDS]; /* by band */
};

struct band {
    struct list lanes; /* with jobs, in turn: deficit round robin over tenants */
    uint32_t share;    /* jobs it may still send in this round */
};

/* Jobs a second, lately: for retry_after. */
struct meter {
    uint32_t since; /* start of the second that is being counted */
    uint32_t count; /* in it */
    uint32_t per_s; /* smoothed */
};

/* Which list a route is in. Blocked routes are in none and cost nothing. */
enum route_where { ROUTE_NOWHERE, ROUTE_READY /* core->ready */, ROUTE_DOOMED /* core->doomed */ };

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN };

struct breaker {
    enum breaker_state state; /* now */
    int64_t since_ms;         /* closed: start of the half window; open: until when */
    uint32_t calls[2];        /* finished, in the last half window and in this one */
    uint32_t failures[2];     /* of these */
    uint32_t probe;           /* half open: place of the job that is the probe, or NO_JOB */
    uint32_t good_probes;     /* half open: in a row */
};

struct route {
    char *name;                      /* owned */
    uint32_t name_n;                 /* bytes */
    uint32_t hash;                   /* of the name */
    uint32_t slot;                   /* number in core->routes */
    struct core_route_policy policy; /* as set */
    struct list turn;                /* in the list that `where` names, or alone */
    enum route_where where;          /* as route_refresh decided */
    struct band bands[LANE_BANDS];   /* by priority, highest first; FREE_BAND */
    bool calls_go;                   /* calls wait and the gates let one out: by route_refresh */
    bool free_went;                  /* the latest to go out was of FREE_BAND */
    uint32_t free_waiting;           /* of waiting, in FREE_BAND */
    struct job_list waiting;         /* QUEUED, in order of arrival: for the oldest age */
    struct breaker breaker;          /* errors and time-outs */
    int64_t tokens;                  /* millionths of a call */
    struct core_route_share share;   /* this broker's part of the limits, while sharing */
    struct list hungry;              /* in core->hungry while calls wait for want of a share */
    uint32_t refilled;               /* when tokens was right */
    uint32_t run_ms;                 /* usual run time, smoothed */
    uint32_t delayed;                /* jobs */
    uint32_t storing;                /* jobs STORING: they count as if they were queued */
    uint32_t unshelving;             /* jobs UNSHELVING */
    uint32_t shelved;                /* live jobs with a shelf, STORING ones too */
    uint32_t calls;                  /* jobs in flight that may call: what calls_at_once counts */
    uint32_t settling;               /* jobs in flight, or SETTLING, that only ask the store */
    uint32_t flows;                  /* that belong to it */
    char *fallback_names;            /* what policy.fallback points into; owned */
    bool shut;                       /* takes no calls for longer than a turn: route_refresh */
    bool stuck;                      /* shut, and jobs wait that found no other lane */
    uint32_t sift;                   /* of waiting: next to be moved on if it can be, or NO_JOB */
    struct list sift_turn;           /* in core->sifting while `sift` is set; or core->stuck */
    uint32_t away;                   /* jobs asked for here that are in another lane */
    uint64_t moved_out;              /* counter */
    uint64_t moved_in;               /* counter */
    struct meter drain;              /* ends */
    uint64_t accepted;               /* counter */
    uint64_t adopted;                /* counter */
    uint64_t handed_over;            /* counter */
    uint64_t ended[JOB_ENDS];        /* counters */
    uint64_t redispatched;           /* counter */
};

struct worker {
    struct list free;     /* in core->free_workers while it has credit */
    struct job_list jobs; /* DISPATCHED and STARTED */
    uint64_t credit;      /* cumulative, as it said */
    uint64_t dispatched;  /* cumulative */
    bool alive;           /* joined and not gone */
};

/* A kept result. */
struct result_entry {
    uint64_t fingerprint; /* of the job */
    uint32_t hash;        /* of the id */
    uint32_t bytes;       /* of the whole entry, a multiple of 8 */
    uint32_t ended;       /* when */
    uint32_t queued_ms;   /* as answered */
    uint32_t run_ms;      /* … */
    uint32_t body_n;      /* bytes */
    uint8_t attempts;     /* … */
    uint8_t end;          /* enum job_end */
    uint8_t code;         /* enum result_code */
    uint8_t id_n;         /* bytes */
    uint8_t route_n;      /* bytes */
    uint8_t tenant_n;     /* bytes */
    char text[];          /* id, body, route that was asked for, tenant */
};

struct result_chunk; /* results.c */

/* A queue of entries in chunks: written at the head, evicted at the tail, never moved. */
struct results {
    struct result_chunk **chunks; /* ring of chunks_max */
    struct result_chunk *spare;   /* an empty one, so that steady state allocates nothing */
    uint32_t chunks_max;          /* a ceiling that follows from bytes_max */
    uint32_t head;                /* chunk being written, counted without end */
    uint32_t tail;                /* oldest chunk, counted without end */
    uint32_t tail_at;             /* offset of the oldest entry in it */
    uint32_t count;               /* entries */
    uint64_t bytes;               /* of them */
};

struct core {
    struct core_limits limits;   /* as given */
    struct core_effects effects; /* as given */
    int64_t now_ms;              /* the latest time given */
    uint32_t now;                /* its low 32 bits */

    struct index ids;    /* jobs by slot, results by reference */
    struct job **slots;  /* jobs by place; NULL: a hole in a heap holds the place */
    uint32_t slots_used; /* places ever used, 1 .. slots_used */
    uint32_t slots_cap;  /* allocated */
    uint32_t free_slot;  /* chain of free places */
    uint32_t live;       /* jobs */
    uint64_t bytes;      /* of live jobs */

    struct table routes;       /* struct route */
    struct index route_names;  /* number by name */
    struct table tenants;      /* struct tenant */
    struct index tenant_names; /* number by name */
    uint32_t tenants_busy;     /* with flows */
    uint32_t tenants_weighted; /* with a weight above 1 */
    struct table flows;        /* struct flow */
    struct index flow_pairs;   /* number by route and tenant */
    struct list idle_flows;    /* without jobs, oldest first */
    uint32_t idle_flow_count;  /* of them */

    struct worker *workers;   /* by handle, workers_max */
    uint32_t worker_count;    /* alive */
    uint64_t in_flight;       /* jobs with workers */
    struct list free_workers; /* with credit, in turn */
    uint64_t credit_free;     /* sum of their credit */

    struct list ready;        /* routes that can go, in turn */
    struct list doomed;       /* routes unknown by now that still have jobs queued */
    struct list sifting;      /* shut routes whose jobs are looked through for some to move on */
    bool sharing;             /* other brokers have parts of all limits */
    struct list hungry;       /* routes whose calls wait for a larger share than they have */
    struct list stuck;        /* shut routes to look through again when any route opens */
    struct job_heap settling; /* SETTLING, by when they end as unknown */
    struct job_heap delayed;  /* DELAYED */
    struct heap expiries;     /* lanes, by when their first job ends by time, or earlier */
    struct heap wakeups;      /* routes, by when time alone lets them go */
    uint32_t sweep;           /* when jobs in flight are looked at again */

    uint8_t shelf; /* where new jobs go that are to be stored, 0: nowhere */
    uint32_t on_shelf[CORE_SHELVES_MAX + 1]; /* live jobs by shelf; [0]: not counted */
    bool again[CORE_SHELVES_MAX + 1]; /* by shelf: core_shelf_again is on its way through it */
    uint32_t storing;                 /* jobs STORING */
    uint32_t unshelving;              /* jobs UNSHELVING */
    uint32_t shelved;                 /* live jobs with a shelf, STORING ones too */
    int64_t hold_until_ms;            /* what others may be running does not go out until then */
    int64_t reassert_until_ms;        /* workers tell the store what it forgot until then */
    int64_t ours_until_ms;            /* nobody can have adopted what stands on our shelves */

    struct results results;   /* ended jobs */
    struct meter drain;       /* ends */
    uint64_t accepted;        /* counter */
    uint64_t adopted;         /* counter */
    uint64_t handed_over;     /* counter: forgotten, another broker has their shelf */
    uint64_t duplicates;      /* counter */
    uint64_t conflicts;       /* counter */
    uint64_t refused_full;    /* counter */
    uint64_t ended[JOB_ENDS]; /* counters */
    uint64_t redispatched;    /* counter */
};

/* Every entry of the core begins with it. */
static inline void core_tick(struct core *core, int64_t now_ms)
{
    if (now_ms > core->now_ms) {
        core->now_ms = now_ms;
        core->now = (uint32_t)now_ms;
    }
}

static inline uint32_t hash32(const struct core *core, struct slice s)
{
    return (uint32_t)index_hash(core->limits.seed, s);
}

/* ---- job.c ---- */
struct job *job_at(const struct core *core, uint32_t slot); /* must be live */
static inline struct slice job_id(const struct job *j)
{
    return slice_make(j->bytes, j->id_n);
}
static inline struct slice job_trace(const struct job *j)
{
    return slice_make(j->bytes + j->id_n, j->trace_n);
}
static inline struct slice job_body(const struct job *j)
{
    return slice_make(j->bytes + j->id_n + j->trace_n, j->body_n);
}
static inline struct route *job_route(const struct job *j);
/* Goes out to call: passes the gates, counts in them and in the breaker. */
static inline bool job_calls(const struct job *j)
{
    return (j->flags & JOB_SETTLE) == 0 && j->lane->band != FREE_BAND;
}
/* What a job of these parts takes from bytes_max. */
uint32_t job_size(size_t id_n, size_t trace_n, size_t body_n);
/* In the index, in state NEW; the caller moves it on. */
struct job *job_new(struct core *core, const struct wire_submit *s, struct slice body,
                    uint32_t hash, uint64_t fingerprint, struct lane *lane);
/* told: to be told as soon as it is stored, for a job that is STORING. */
void job_add_waiter(struct job *j, uint64_t client, bool told);
/* Moves it from one home to another; asserts that the edge is legal. */
void job_set_state(struct core *core, struct job *j, enum job_state to);
/* The same, into another lane of the same tenant: QUEUED or DELAYED there. */
void job_set_lane(struct core *core, struct job *j, struct lane *lane, enum job_state to);
/* The part that few jobs have, made when there is none. */
struct job_more *job_more(struct job *j);
/* The only way out, but for job_forget: keeps the result, answers all waiters once, frees the job.
 * r: end and code; the rest is filled in here. A stored one's entry is taken off its shelf
 * meanwhile: this is for ends to which whoever adopted the entry would come as well. */
void job_end(struct core *core, struct job *j, const struct wire_result *r, struct slice body);
/* The same for ends that only this broker knows of: a stored job's is told once its entry is off
 * the shelf. */
void job_end_here(struct core *core, struct job *j, const struct wire_result *r, struct slice body);
/* job_end for a deadline that passed while its shelf is certainly ours, job_end_here for all else.
 */
void job_end_plain(struct core *core, struct job *j, enum job_end end, enum result_code code);
/* Its time is over where it is: it expires or, if it may have started, is settled. */
void job_out_of_time(struct core *core, struct job *j);
/* To the list of those to settle. */
void job_settle(struct core *core, struct job *j);
/* Its worker died, or lost it. */
void job_take_back(struct core *core, struct job *j);
void job_free(struct core *core, struct job *j);
/* Its memory only. */
void job_release(struct job *j);
/* Calls effects.answer with the result that is kept in the job: its entry is off the shelf, or
 * never came there. */
void job_end_kept(struct core *core, struct job *j);
/* Takes it out of the core without an end; its waiters are told so. */
void job_forget(struct core *core, struct job *j, enum core_stored what);

void job_list_push(struct core *core, struct job_list *l, struct job *j);
void job_list_remove(struct core *core, struct job_list *l, struct job *j);
void job_heap_push(struct job_heap *h, uint32_t at, const struct job *j);
/* The earliest, or NULL. */
struct job *job_heap_top(const struct core *core, const struct job_heap *h);
/* Takes it out: from the top, or as a hole when the job ends elsewhere (keeps its slot reserved).
 */
void job_heap_leave(struct core *core, struct job_heap *h, struct job *j);

/* ---- move.c ---- */
/* The route asked for. */
static inline struct route *job_asked(const struct job *j);
/* A shut route is looked through from its oldest job on. */
void sift_start(struct core *core, struct route *route);
/* A job came to wait in a shut route. */
void sift_joined(struct core *core, struct route *route, const struct job *j);
/* A job that waits leaves its route. */
void sift_left(struct route *route, const struct job *j);
/* It is over: the route opened, or goes away. */
void sift_stop(struct route *route);
/* Some route opened: who was stuck looks again. */
void sift_stuck(struct core *core);
/* Moves on what can be, of at most *budget jobs. */
void sift_step(struct core *core, uint32_t *budget);
/* Moves the job to the next lane of its list that takes calls; why: of the lane it is in. False:
 * there is none, or it may not move. */
bool move_on(struct core *core, struct job *j, enum result_code why);
/* Given back: it goes on in the lane of that name, or of the next one of its list. False: nowhere,
 * or it has no moves left. */
bool move_via(struct core *core, struct job *j, struct slice via, enum job_state to);
/* A verify that was to be looked up is an ordinary job again. */
void look_over(struct core *core, struct job *j, enum job_state to);

/* ---- stored.c ---- */
/* The job stands on that shelf from now on, or (0) on none. */
void job_set_shelf(struct core *core, struct job *j, uint8_t shelf);
/* A new job to the shelf: it is STORING. */
void shelf_put(struct core *core, struct job *j, const struct wire_submit *s, struct slice body);
/* Off the shelf. waits: core_unshelved will be called. */
void shelf_remove(const struct core *core, const struct job *j, const struct wire_result *r,
                  bool waits);
/* The job has another place: a walk over the places may miss it now. */
void shelf_place_changed(const struct core *core, const struct job *j, uint32_t before);
/* Tells waiters of it: those who asked for that, or all. */
void job_tell(const struct core *core, const struct job *j, bool all, enum core_stored what);
/* Whether the store may not know now what is running elsewhere. */
static inline bool store_unsure(const struct core *core)
{
    return core->now_ms < core->hold_until_ms;
}
/* Whose turn it is and who may be running elsewhere is not sent out now, but comes again. */
bool job_held(struct core *core, struct job *j);
/* A job whose start the store may have lost, and whose worker is no more, is settled. */
void job_settle_forgotten(struct core *core, struct job *j);
/* Nobody else can have begun what stands on our shelves. */
static inline bool shelves_ours(const struct core *core)
{
    return core->now_ms < core->ours_until_ms;
}
/* What an id stands for: a live job, a kept result, or nothing. core.c */
struct found {
    struct job *job;                   /* live */
    const struct result_entry *result; /* ended */
};
struct found core_find(const struct core *core, struct slice id, uint32_t hash);
/* The limits of the whole: CORE_QUEUED, CORE_FULL_TOTAL or CORE_FULL_BYTES. core.c */
enum core_admit core_room(const struct core *core, const struct wire_submit *s, struct slice body);
/* Of op, route and body. core.c */
uint64_t fingerprint_of(const struct core *core, const struct wire_submit *s, struct slice body);

/* ---- lane.c ---- */
/* The band of a priority. */
uint32_t band_of(uint8_t pri);
/* The lane of this tenant, made when there is none. CORE_QUEUED, or the limit in the way. accepted:
 * its job was accepted before, by another broker: the limit of tenants only. */
enum core_admit lane_for(struct core *core, struct route *route, struct slice tenant, uint32_t band,
                         bool accepted, struct lane **out);
/* The same for a job that was accepted before: no limit, and its tenant is alive. */
struct lane *lane_beside(struct core *core, const struct job *j, struct route *route,
                         uint32_t band);
void lane_push(struct core *core, struct job *j);
void lane_leave(struct core *core, struct job *j);
/* The job to go first, or NULL. */
struct job *lane_top(const struct core *core, const struct lane *lane);
uint32_t lane_count(const struct lane *lane);
/* One of its jobs goes out; the lane must be the first in turn. When its weight is used up, it is
 * the next one's turn. */
void lane_charge(struct lane *lane);
/* False: too many tenants have a weight. */
MUST_CHECK bool tenant_set_weight(struct core *core, struct slice name, uint8_t weight);
/* When this job's time is over while it waits: its deadline minus the route's usual run time. */
uint32_t job_expires(const struct job *j);
/* Ends what is out of time in the lane, at most *budget. */
void lane_expire(struct core *core, uint32_t lane_ref, uint32_t *budget);
void flow_job_added(struct core *core, struct flow *flow);
void flow_job_gone(struct core *core, struct flow *flow);
/* Frees the flows of a route that goes away: all are idle. */
void flows_forget_route(struct core *core, const struct route *route);
void flow_free(struct core *core, struct flow *flow);
void lanes_free(struct core *core); /* at the end, jobs being freed already */

/* ---- route.c ---- */
struct route *route_find(const struct core *core, struct slice name);
/* NULL: over routes_max. */
struct route *route_add(struct core *core, struct slice name);
void route_set_share(struct core *core, struct route *route, const struct core_route_share *s);
void route_set_policy(struct core *core, struct route *route, const struct core_route_policy *p);
/* Looks at the gates again and puts the route where it belongs; sets its wake-up. */
void route_refresh(struct core *core, struct route *route);
static inline struct slice route_name_of(const struct route *r)
{
    return slice_make(r->name, r->name_n);
}
/* Jobs that its limit counts: they wait, or will when they are stored. */
static inline uint32_t route_backlog(const struct route *r)
{
    return r->waiting.count + r->delayed + r->storing;
}
/* No call begins here for longer than a turn: paused, breaker open, or its one probe is out. */
bool route_shut(const struct core *core, const struct route *route);
/* Frees a route that is unknown and has no job left. */
void route_reap(struct core *core, struct route *route);
/* The job whose turn it is; the route must have one queued. The turn is used up only when the job
 * goes out: one that ends instead costs its tenant nothing. */
struct job *route_next(struct core *core, struct route *route);
/* The job that route_next gave goes out: counts its turn; a call takes a token, marks a probe. */
void route_job_out(struct core *core, struct route *route, struct job *j);
/* A call is over: what it says about the advertiser. code as reported. */
void route_call_over(struct core *core, struct route *route, struct job *j, enum job_end end,
                     enum result_code code);
/* A call is over without a word about the advertiser (given back, worker died). */
void route_call_void(struct core *core, struct route *route, struct job *j);
void routes_free(struct core *core); /* at the end, lanes being freed already */
uint32_t meter_retry_after_ms(const struct core *core, const struct meter *m, uint64_t backlog);
void meter_count(const struct core *core, struct meter *m);

/* ---- share.c ---- */
/* What may begin here now: the policy's own, or this broker's part of it. limited: there is a
 * limit at all. */
struct limit {
    bool limited;
    uint64_t n;
};
struct limit share_at_once(const struct core *core, const struct route *r);
/* In thousandths of a call a second. */
struct limit share_rate(const struct core *core, const struct route *r);
/* A call waits that only the share holds back: whoever leases shares is told. */
void share_hungry(struct core *core, struct route *r);

/* ---- worker.c ---- */
struct worker *worker_at(struct core *core, uint32_t worker);
/* A worker with credit, in turn; NULL: none. */
struct worker *worker_next(struct core *core);
void worker_spend(struct core *core, struct worker *w);

/* ---- results.c ---- */
#define RESULT_REF (1U << 31) /* tells a result's reference from a job's slot */
void results_init(struct core *core);
void results_free(struct core *core);
/* Appends and gives the reference; evicts the oldest over the limits. */
uint32_t results_put(struct core *core, const struct job *j, const struct wire_result *r,
                     struct slice body);
const struct result_entry *results_at(const struct core *core, uint32_t ref);
static inline struct slice result_id(const struct result_entry *e)
{
    return slice_make(e->text, e->id_n);
}
/* Slices into the entry. */
void results_whose(const struct result_entry *e, struct slice *route, struct slice *tenant);
void results_answer(const struct core *core, const struct result_entry *e, uint64_t client);
/* Evicts what is older than result_ttl_ms. */
void results_expire(struct core *core);
/* When the oldest should go, into *at; false: nothing is kept. */
bool results_wake(const struct core *core, uint32_t *at);

static inline struct route *job_route(const struct job *j)
{
    return j->lane->flow->route;
}

static inline struct route *job_asked(const struct job *j)
{
    return j->more != NULL && j->more->asked != NULL ? j->more->asked : job_route(j);
}

#endif
