/*
 * world.h: the simulated world around the real dispatch core: clients, workers, the claim store,
 * the advertiser's ledger, one clock and one source of chance. Everything follows from the seed.
 *
 *   sim.c     the loop, the end, the command line
 *   model.c   what is known of every job; the core's effects; the invariants
 *   shares.c  how bands and tenants share a route
 *   actors.c  workers and the claim store
 *   people.c  clients that submit, ask and cancel; operators that change policies, weights
 */
#ifndef OTPQ_TESTS_SIM_WORLD_H
#define OTPQ_TESTS_SIM_WORLD_H

#include "broker/core/internal.h"
#include "common/base/rng.h"

enum {
    SIM_JOBS = 1 << 18,      /* models kept: a ring by job number */
    SIM_WORKERS = 6,         /* handles */
    SIM_ROUTES = 8,          /* "r0" … */
    SIM_TENANTS = 5,         /* "t0" … */
    SIM_TENANTS_MAX = 4,     /* with jobs, and with a weight: so that they come and go */
    SIM_WEIGHT_MAX = 10,     /* of a tenant */
    SIM_CLIENTS = 20,        /* handles 1 … */
    SIM_SPY = 99,            /* handle that asks for results that nobody waits for */
    SIM_SILENT = 1 << 10,    /* jobs that nobody waits for, at a time: more than there can be */
    SIM_LATENCY_MS = 20,     /* a message takes less */
    SIM_CALL_MS = 3000,      /* call time-out */
    SIM_SILENCE_MS = 1000,   /* a dead worker is found out after it */
    SIM_EVENTS_MAX = 1 << 17 /* things to come */
};

/* Things to come; each has one function that makes it happen. */
enum event_kind {
    EVENT_CLIENT,      /* a client does something */
    EVENT_OPERATOR,    /* a policy changes */
    EVENT_WORKER_LIFE, /* a: worker. It dies, returns, is cut off */
    EVENT_WORKER_GONE, /* a: worker, b: its life. The broker finds out */
    EVENT_STORE,       /* the store goes or comes */
    EVENT_RECEIVE,     /* worker side: the job arrived; asks for the claim */
    EVENT_CALL_END,    /* worker side: the call is over */
    EVENT_MESSAGE,     /* broker side: a report of a worker arrives */
    EVENT_LOST,        /* from now on the broker may have given up a job whose result was lost */
    EVENT_KINDS
};

enum message { MESSAGE_STARTED, MESSAGE_RESULT, MESSAGE_BACK, MESSAGE_CREDIT };

struct event {
    enum event_kind kind;  /* what happens */
    enum message message;  /* EVENT_MESSAGE: which */
    uint32_t worker;       /* whose */
    uint32_t life;         /* of that worker: what a dead one planned does not happen */
    uint64_t job;          /* number */
    uint32_t attempt;      /* of the dispatch */
    uint32_t delay_ms;     /* MESSAGE_BACK */
    uint32_t via;          /* MESSAGE_BACK: route + 1 that it is to go on in, 0: where it was */
    uint32_t lane;         /* EVENT_RECEIVE, EVENT_CALL_END: route whose advertiser is called */
    enum result_code look; /* EVENT_RECEIVE: only to be looked up, and why; or RESULT_NONE */
    enum job_end end;      /* MESSAGE_RESULT, EVENT_CALL_END */
    enum result_code code; /* … and MESSAGE_BACK */
    int64_t deadline;      /* EVENT_RECEIVE: as the worker knows it; 0: only to settle */
    uint64_t credit;       /* MESSAGE_CREDIT */
};

enum claim_state { CLAIM_FREE, CLAIM_STARTED, CLAIM_ENDED };

/* A job as the world knows it. */
struct model {
    uint64_t number;                    /* its name is j<number>; 0: place unused */
    uint32_t route;                     /* index, as asked for */
    uint32_t lane;                      /* index: where the latest dispatch was to go */
    enum wire_op op;                    /* send, verify, callback or report */
    uint32_t home;                      /* verify: index of the route that carried its send */
    uint32_t tenant;                    /* index */
    uint8_t pri;                        /* as submitted */
    bool live;                          /* accepted by the core and not ended */
    bool ended;                         /* its result was answered */
    bool broker_end;                    /* ended without the store: it must never start */
    int64_t deadline;                   /* accepted + ttl */
    enum job_end end;                   /* how it ended */
    enum result_code code;              /* … */
    uint64_t waiting[CORE_WAITERS_MAX]; /* clients to be told, oldest first */
    uint32_t waiting_n;                 /* of them */
    uint32_t starts;                    /* the advertiser's ledger */
    bool calling;                       /* counted in its route's calls */
    uint32_t sent_attempt;              /* of the latest dispatch since it was accepted */
    uint32_t worker;                    /* calling: whose dispatch */
    uint32_t attempt;                   /* calling: … */
    enum claim_state claim;             /* in the store */
    uint32_t claim_attempt;             /* highest seen by the store */
    int64_t lease_until;                /* CLAIM_STARTED */
    uint32_t claim_worker;              /* CLAIM_STARTED: owner */
    uint32_t claim_life;                /* … its life */
    enum job_end claim_end;             /* CLAIM_ENDED */
    enum result_code claim_code;        /* … */
};

struct sim_worker {
    uint32_t life;     /* goes up with every start */
    bool alive;        /* runs */
    bool joined;       /* the broker has it under this handle */
    uint32_t capacity; /* calls at once */
    uint64_t credit;   /* told to the core since it joined */
    uint64_t earned;   /* what the worker would tell */
    uint64_t received; /* dispatches since it joined */
};

struct sim_route {
    struct core_route_policy policy;  /* as set */
    double tokens;                    /* own idea of the bucket: an upper bound */
    int64_t refilled;                 /* when */
    uint32_t calls;                   /* dispatched to call and not known to be over */
    int64_t open_until;               /* its breaker, as last seen; 0: not open */
    uint32_t band_passed[CORE_BANDS]; /* turns since it was served, having jobs */
    /* [band][a][b]: jobs that a sent since both a and b have had jobs, and their weights */
    uint32_t sent[CORE_BANDS][SIM_TENANTS][SIM_TENANTS];
};

struct world {
    uint64_t seed;          /* all follows from it */
    struct rng rng;         /* chance */
    struct core *core;      /* the real one */
    int64_t now;            /* the clock */
    uint64_t step;          /* events done */
    bool closing;           /* no new jobs, all gates open: everything must end */
    bool store_up;          /* the claim store answers */
    uint64_t next_job;      /* number of the next new job */
    uint64_t live;          /* models live */
    uint64_t direct_client; /* who may be answered at once in this call; 0: nobody */
    struct sim_worker workers[SIM_WORKERS];
    struct sim_route routes[SIM_ROUTES];
    uint32_t weights[SIM_TENANTS]; /* as set */
    struct heap queue;             /* events by time */
    struct event *events;          /* SIM_EVENTS_MAX */
    uint32_t *free_events;         /* stack */
    uint32_t free_event_count;     /* of them */
    struct model *models;          /* SIM_JOBS */
    uint64_t accepted;             /* counters for the summary and the balance */
    uint64_t ended[JOB_ENDS];      /* … */
    uint64_t starts;               /* … calls at the advertiser */
    uint64_t deaths;               /* … of workers */
    uint64_t repeats;              /* … */
    uint64_t conflicts;            /* … */
    uint64_t lost;                 /* … results lost on the way */
    uint64_t settled;              /* … dispatches only to ask the store */
    uint64_t moved;                /* … dispatches in another lane than the one asked for */
    uint64_t looks;                /* … dispatches of verifies to be looked up */
    uint64_t free;                 /* … dispatches of jobs that call nobody */
    uint64_t silent[SIM_SILENT];   /* numbers of jobs that nobody waits for */
    uint32_t silent_n;             /* of them */
    uint64_t longest_backlog;      /* … jobs of two tenants that both had more */
};

/* ---- chance ---- */
static inline uint32_t below(struct world *w, uint32_t bound)
{
    return (uint32_t)rng_below(&w->rng, bound);
}
static inline bool one_in(struct world *w, uint32_t n)
{
    return below(w, n) == 0;
}

/* ---- sim.c ---- */
void world_plan(struct world *w, uint32_t in_ms, const struct event *e);

/* ---- model.c ---- */
struct model *model_of(struct world *w, uint64_t number); /* NULL: forgotten */
struct slice model_id(uint64_t number);                   /* static until the next call */
struct slice route_name(uint32_t route);                  /* static until the next call */
void model_accepted(struct world *w, struct model *m, uint32_t ttl_ms);
void model_wait(struct model *m, uint64_t client);
void model_call_over(struct world *w, struct model *m);
/* The advertiser is called: counts, and checks that it may be. */
void model_start(struct world *w, struct model *m);
void model_check(struct world *w);
/* Finds out which of those that nobody waits for have ended. */
void model_ask_silent(struct world *w);
void on_dispatch(void *context, uint32_t worker, const struct wire_job *job, struct slice body);
void on_answer(void *context, uint64_t client, const struct wire_result *r, struct slice body);

/* ---- shares.c ---- */
/* Who has jobs now: to be called whenever that may have changed. */
void shares_look(struct world *w);
void shares_weight(struct world *w, uint32_t tenant, uint32_t weight);
/* A job was dispatched to call. */
void shares_sent(struct world *w, const struct route *route, const struct model *m);

/* ---- actors.c ---- */
void worker_join(struct world *w, uint32_t worker);
void worker_life(struct world *w, const struct event *e);
void worker_found_gone(struct world *w, const struct event *e);
void worker_receive(struct world *w, const struct event *e);
void worker_call_end(struct world *w, const struct event *e);
void broker_message(struct world *w, const struct event *e);
void store_toggle(struct world *w, const struct event *e);
void result_lost(struct world *w, const struct event *e);

/* ---- people.c ---- */
void client_acts(struct world *w, const struct event *e);
void operator_acts(struct world *w, const struct event *e);
void route_open(struct world *w, uint32_t route);

#endif
