/*
 * many.h: the world of several brokers: real cores with the real shelves.c, peers.c and their
 * stores on top of a modelled Redis, and around them clients, workers, deaths, pauses, partitions,
 * lost answers and fail-overs. Everything follows from the seed.
 *
 *   world.c    what is to come, processes, the loop, the end
 *   seams.c    what the shells link against instead: clock, log, timers of libevent, chance
 *   redis.c    the modelled Redis: keys, their scripts, and the last writes, which it may forget
 *   claims.c   its claims: who may call (claim_send.lua, finish_send.lua, release.lua, reap.lua)
 *   store.c    store.h over the modelled Redis: connections, time-outs, lost answers
 *   brokers.c  broker processes, and what the core says
 *   workers.c  runs of jobs: claim, call, outcome
 *   clients.c  who submits, repeats, asks, cancels, contradicts
 *   ledger.c   what is known of every job, and what must hold
 *   plants.c   bugs that can be planted: the test of the test
 */
#ifndef OTPQ_TESTS_SIM_MANY_H
#define OTPQ_TESTS_SIM_MANY_H

#include "broker/core/internal.h"
#include "broker/peers.h"
#include "broker/shelves.h"
#include "common/base/map.h"
#include "common/base/rng.h"

enum {
    BROKERS = 4, /* places; 2 to 4 are used */
    WORKERS = 4,
    CLIENTS = 6,
    PROCS = BROKERS + WORKERS, /* brokers first */
    ROUTES = 3,
    ROUTE_RETRIES = 2,       /* on_unknown: retry */
    JOBS = 1 << 14,          /* models kept: a ring by number */
    LIVE_MAX = 1500,         /* jobs that nobody has heard the end of */
    LATENCY_MS = 4,          /* a message takes less */
    CALL_MS = 3000,          /* call time-out */
    LEASE_SPARE_MS = 2000,   /* a claim lives this much longer than its call */
    WRITE_SPARE_MS = 200,    /* of it to write the outcome */
    TIMEOUT_MS = 1000,       /* redis.timeout_ms */
    SILENCE_MS = 1000,       /* then a peer counts as gone */
    DEADLINE_SLACK_MS = 100, /* messages on their way, and the store's clock as brokers know it */
    FORGOT_MS = 30 * 1000,   /* so long after a fail-over some are called unknown for it */
    FORGETS_MS = 1000,       /* a fail-over loses at most the writes of so long */
    ASKED_MAX = 1 << 16,
    GIVEN_UP_KEPT = 4,
    SPY = 15,           /* the client that only asks */
    CONTRARY = 14,      /* … that uses ids of others */
    HANDLE_CLIENTS = 16 /* a handle is (epoch * BROKERS + broker) * this + client */
};

/* Bugs that can be planted: each takes away one condition. */
enum plant {
    PLANT_NONE,
    PLANT_CLAIM_TWICE,    /* a claim that another run has is won as well */
    PLANT_CLAIM_ATTEMPT,  /* the attempt is not compared */
    PLANT_CLAIM_FP,       /* what the id stands for is not compared */
    PLANT_CLAIM_LEASE,    /* the lease's end is not looked at */
    PLANT_CLAIM_DEADLINE, /* the deadline is not compared after the claim */
    PLANT_FINISH_OWNER,   /* an outcome is written over whoever owns the job */
    PLANT_RELEASE_OWNER,  /* a claim is opened whoever owns it */
    PLANT_REAP_LEASE,     /* the reaper does not look at the lease */
    PLANT_SHELF_PUT,      /* an entry is put without looking at the owner */
    PLANT_SHELF_REMOVE,   /* … removed … */
    PLANT_SHELF_OPEN,     /* a shelf is opened whoever owns it */
    PLANT_SHELF_NUMBER,   /* the number of a commit is not compared */
    PLANT_SHELF_TAKE,     /* `from` is not compared */
    PLANT_SHELF_DROP,     /* what stands on a shelf that is dropped is not looked at */
    PLANT_CANCEL_EARLY,   /* a cancel is answered before the entry is off the shelf */
    PLANT_STORED_EARLY,   /* A stored before the commit */
    PLANT_ADOPTED_FRESH,  /* an adopted job counts as one that never started */
    PLANT_FORGOT_CLAIMS,  /* the core does not hear that the store forgot */
    PLANT_FORGOT_SHELVES, /* entries are not put again after the store forgot */
    PLANT_PUT_BACK,       /* workers do not put claims back that the store forgot */
    PLANT_AGAIN,          /* `again` is not honoured */
    PLANTS
};

struct many;

/* Something to come, at a process or (proc 0) in the world. */
struct thing {
    int64_t at;
    uint64_t seq; /* of those at the same moment the older one first */
    void (*act)(struct many *w, struct thing *t);
    uint32_t proc; /* 1 + process; what comes while it is paused waits; 0: the world */
    uint32_t life; /* … of that process: what was meant for a dead one does not happen */
    uint32_t u;    /* what act makes of these… */
    uint32_t v;
    uint64_t a;
    uint64_t b;
    void *p; /* … freed behind act unless it takes it */
};

struct proc {
    uint32_t life; /* goes up with every start */
    bool alive;
    bool paused;
    int64_t bad_at;    /* last moment at which others may have taken it for dead */
    int64_t harmed_at; /* … at which it died, stood still or was cut off from the store */
    struct thing *backlog;
    uint32_t backlog_n;
    uint32_t backlog_cap;
};

enum claim_state { CLAIM_NONE, CLAIM_OPEN, CLAIM_STARTED, CLAIM_ENDED };

/* j:, as far as it decides. */
struct claim {
    enum claim_state state;
    uint64_t own;     /* token of a run */
    uint32_t attempt; /* highest */
    uint32_t fp;      /* what the id stands for */
    int64_t lease;    /* CLAIM_STARTED: its end; CLAIM_OPEN in doubt: when the reaper takes it */
    bool unsure;      /* an earlier run may have sent it */
    bool lost;        /* ended as unknown, for a run whose lease was over */
    bool corrected;   /* … which then said how it went */
    enum job_end end;
    enum result_code code;
};

/* A job as the world knows it. */
struct model {
    uint64_t number; /* its name is j<number>; 0: place unused */
    uint32_t route;
    uint32_t client;
    bool stored;  /* ack stored */
    bool forgets; /* its client wants to hear of A stored only */
    uint32_t ttl_ms;
    uint32_t delay_ms;
    int64_t due;      /* at the client: then it has no time left */
    int64_t deadline; /* latest that any core knows */
    /* as its client sees it */
    bool waiting;        /* for a result */
    bool acked;          /* A stored came */
    bool cancel_asked;   /* it is not submitted again */
    uint32_t sends;      /* submits */
    uint32_t broker;     /* that the last one went to */
    uint64_t handle;     /* … by this connection */
    uint32_t first_hand; /* brokers that took it for one that nobody had before, as bits */
    bool contradicted;   /* somebody used its id for something else */
    /* what was seen */
    bool told;        /* somebody was told an end */
    enum job_end end; /* … this one; one that is unknown may be corrected */
    enum result_code code;
    bool over;         /* nothing more is to come */
    bool never;        /* cancelled or not taken: must not start */
    uint32_t starts;   /* the ledger */
    uint32_t start_fp; /* of the last one */
    uint32_t caller;   /* process of the last one, and its life */
    uint32_t caller_life;
    int64_t call_since;               /* when its run was sent out */
    int64_t call_until;               /* it goes on until then; 0: it is over */
    struct claim claim;               /* in the store */
    uint64_t given_up[GIVEN_UP_KEPT]; /* runs that opened it again, the last few */
    uint32_t given_up_n;
    bool take_lost;     /* the store forgot who had just taken it over */
    bool word_lost;     /* what a worker said of it did not arrive */
    bool adopted;       /* some broker took it over */
    int64_t adopted_at; /* … lately */
    bool claim_lost;    /* the store forgot something of it */
    bool end_lost;      /* … how a call went */
    bool removal_lost;  /* … that its entry had been taken off */
    uint32_t remover;   /* process that had done so, and its life */
    uint32_t remover_life;
    int64_t claim_lost_at; /* … lately */
    uint32_t call_broker;  /* that sent out what was called for last, and its life */
    uint32_t call_broker_life;
    bool ended;      /* a broker took it off the shelf, for good */
    bool entry_lost; /* the store forgot its entry */
    uint32_t holder; /* … and this process had it; PROCS: none that lives */
    uint32_t holder_life;
    uint32_t entries;     /* on shelves */
    int64_t astray_since; /* an entry of it is on a shelf, and no broker knows of it; 0: none is */
};

struct caller {
    bool store_cut;      /* the store does not answer it */
    uint64_t server;     /* that it is connected to, or was */
    int64_t hold_until;  /* what others may have claimed is not asked for before */
    struct list claimed; /* runs whose claims it would put back */
};

/* Between a broker and a worker. */
struct link {
    bool cut;
    bool joined;       /* the core has it under this handle */
    bool lost;         /* one of the two has given the connection up */
    uint32_t epoch;    /* of the connection: what is on its way dies with it */
    uint64_t earned;   /* credit that the worker would tell */
    uint64_t received; /* dispatches since it joined */
    int64_t to_worker; /* last arrival: nothing overtakes */
    int64_t to_broker;
};

/* With a connection to each broker. */
struct client {
    uint32_t broker;               /* that it uses */
    uint64_t epochs[BROKERS];      /* of the connections */
    uint32_t lives[BROKERS];       /* of the brokers at their ends; 0: none */
    bool cut[BROKERS];             /* nothing goes over this one any more */
    int64_t silent_since[BROKERS]; /* 0: it is not */
    int64_t to_broker[BROKERS];    /* last arrival: nothing overtakes */
    int64_t to_client[BROKERS];
};

struct op;

/* A connection to the store. */
struct store {
    struct many *w;
    uint32_t broker;
    bool up;
    uint32_t epoch;
    struct list waiting; /* ops without an answer */
    uint64_t ops;        /* numbers given */
    int64_t request_last;
    int64_t answer_last;
    int64_t heard_ms;
    bool known;      /* there was a connection */
    uint64_t server; /* of the last one */
};

struct broker {
    char token[BROKER_TOKEN_BYTES + 1];
    struct core *core; /* NULL: it does not run */
    struct peers *peers;
    struct shelves *shelves;
    struct store store;
    bool store_cut;
    bool forgot;
    bool turn; /* a step is due */
    int64_t wake_at;
    int64_t told_forgot; /* when it heard of the last fail-over; 0: it has not */
};

struct key;
struct undo;

struct redis {
    bool up;
    uint64_t server;   /* another one after a fail-over */
    int64_t away_at;   /* when it was away last */
    int64_t failed_at; /* last fail-over */
    bool takes_undone; /* … and it forgot that shelves had changed hands */
    struct map *names; /* of keys: struct key */
    struct key **keys;
    uint32_t key_count;
    struct undo *undo; /* what was there before, oldest first */
    size_t undo_from;
    size_t undo_n;
    size_t undo_cap;
    uint64_t tokens; /* brokers and runs are numbered */
};

struct counts {
    uint64_t jobs, stored, done, refused, unknown, expired, cancelled, not_taken,
        gave_up; /* jobs */
    uint64_t starts, kills, pauses, partitions, outages, failovers, undone;
    uint64_t adopted, deposed, moved, lost_answers, late_commands, conflicts, corrected;
    uint64_t put_back;       /* claims that workers put back */
    uint64_t excused_starts; /* second calls: the store forgot, and so did who knew */
    uint64_t revived; /* jobs sent again that one broker had told somebody else to be expired */
    uint64_t
        excused_copies;     /* second calls of a job that two brokers had, each without the other */
    uint64_t excused_words; /* … and one of them, which was not told so, let it expire */
    uint64_t
        excused_waits;     /* second calls of runs that waited at a worker while the store forgot */
    uint64_t excused_ends; /* … of calls whose outcome the store forgot, by other brokers */
    uint64_t excused_removals; /* calls of cancelled jobs that stood on a shelf again */
    uint64_t excused_orphans;  /* … of jobs whose first worker and broker were both harmed */
    uint64_t excused_losses;   /* entries forgotten together with who would have put them again */
};

struct many {
    uint64_t seed;
    enum plant plant;
    struct rng rng;
    struct rng secret; /* what rng_secure gives */
    int64_t now;
    uint64_t step;
    uint64_t seq;
    bool closing;
    struct thing *queue; /* heap */
    uint32_t queue_n;
    uint32_t queue_cap;
    uint32_t brokers_n;
    struct proc procs[PROCS];
    struct broker brokers[BROKERS];
    struct caller workers[WORKERS];
    struct link links[BROKERS][WORKERS];
    struct client clients[CLIENTS];
    struct redis redis;
    struct model *models; /* JOBS */
    uint64_t next_job;
    uint64_t live;             /* models that are not over */
    uint64_t watched;          /* number of the job that is told about; 0: none */
    uint64_t judged;           /* … of the last one that something was checked of */
    uint64_t oldest;           /* no older model is looked at */
    uint64_t asks;             /* commands of runs so far */
    uint64_t asked[ASKED_MAX]; /* … those that were answered, or given up */
    struct counts counts;
};

extern struct many the_many;

/* ---- chance ---- */
static inline uint32_t many_below(struct many *w, uint32_t bound)
{
    return (uint32_t)rng_below(&w->rng, bound);
}
static inline bool many_one_in(struct many *w, uint32_t n)
{
    return many_below(w, n) == 0;
}

/* ---- world.c ---- */
void many_plan(struct many *w, int64_t at, const struct thing *t);
/* A message that comes behind those sent before: *last is moved. */
int64_t many_arrival(struct many *w, int64_t *last);
struct thing many_at_proc(const struct many *w, uint32_t proc);

/* ---- redis.c ---- */
void redis_init(struct redis *r);
void redis_free(struct redis *r);
void redis_failover(struct many *w);
/* The answer, to be freed by reply_free. script as in store.h, or -1: a plain command. */
struct redisReply *redis_run(struct many *w, int script, int argc, const struct slice *argv);
void reply_free(struct redisReply *r);
void redis_remember_claim(struct many *w, const struct model *m);
/* All shelves are empty. */
void redis_check_empty(struct many *w);

/* ---- claims.c ---- */
enum claim_answer { ANSWER_WON, ANSWER_ENDED, ANSWER_ELSEWHERE, ANSWER_STALE, ANSWER_CONFLICT };
enum claim_answer claim_ask(struct many *w, struct model *m, uint64_t own, uint32_t attempt,
                            uint32_t fp, uint32_t lease_ms, bool settle);
enum finish_answer { FINISHED, FINISH_LOST, FINISH_ELSEWHERE };
enum finish_answer claim_finish(struct many *w, struct model *m, uint64_t own, uint32_t attempt,
                                uint32_t fp, enum job_end end, enum result_code code);
void claim_release(struct many *w, struct model *m, uint64_t own, uint32_t attempt, uint32_t fp,
                   bool unsure, uint32_t left_ms);
/* A living worker tells the store, which has forgotten, what it had won. */
void claim_put_back(struct many *w, struct model *m, const struct claim *was, int64_t lease_end);
void claims_reap(struct many *w);

/* ---- store.c ---- */
void store_begin(struct many *w, uint32_t broker);
void store_end(struct store *s);
void store_lost(struct many *w, uint32_t broker); /* its connection is reset */

/* ---- seams.c ---- */
void timers_forget(uint32_t proc);

/* ---- brokers.c ---- */
void broker_start(struct many *w, uint32_t broker);
void broker_kill(struct many *w, uint32_t broker);
void broker_store_state(struct many *w, uint32_t broker, bool up, bool forgot);
void broker_turn(struct many *w, uint32_t broker);
void brokers_check(struct many *w);
/* A process whose core knows the job; PROCS: none. */
uint32_t broker_with(struct many *w, const struct model *m);
void link_lost(struct many *w, uint32_t broker, uint32_t worker);
void link_join(struct many *w, uint32_t broker, uint32_t worker);

/* ---- workers.c ---- */
void worker_start(struct many *w, uint32_t worker);
void worker_kill(struct many *w, uint32_t worker);
/* The store is there again, perhaps as another server: those that live connect soon. */
void workers_reconnect(struct many *w);
void worker_send(struct many *w, uint32_t broker, uint32_t worker, const struct wire_job *job,
                 uint32_t fp);

/* ---- clients.c ---- */
void clients_begin(struct many *w);
/* The body says what an id stands for. */
uint32_t client_fp(struct slice body);
void client_result(struct many *w, uint64_t handle, const struct wire_result *r);
void client_stored(struct many *w, uint64_t handle, struct slice id, enum core_stored what);

/* ---- ledger.c ---- */
struct model *many_model(struct many *w, uint64_t number); /* NULL: none, or forgotten */
struct model *many_named(struct many *w, struct slice id);
struct slice many_id(uint64_t number);   /* static until the next call */
struct slice many_route(uint32_t route); /* static until the next call */
/* With --job: what happens to it, a line each. */
void many_note(const struct many *w, uint64_t job, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The advertiser is called. */
struct call {
    uint32_t fp; /* of what is called for */
    uint32_t worker;
    uint32_t broker;   /* that sent it out */
    bool broker_knew;  /* that the store forgot */
    bool began_before; /* it was sent out before the store forgot */
    int64_t sent_at;   /* … by that broker */
    int64_t until;     /* the call goes on */
};
void ledger_start(struct many *w, struct model *m, const struct call *c);
/* This broker says so to somebody who counts. */
void ledger_told(struct many *w, struct model *m, uint32_t broker, enum job_end end,
                 enum result_code code);
/* Whether anything is still to come of it is looked at again. */
void ledger_look(struct many *w, struct model *m);
/* The store has just forgotten entries: who has these jobs? */
void ledger_failover(struct many *w);
/* What was accepted as stored has ended, stands on a shelf or is with a broker. */
void ledger_sweep(struct many *w);

#endif
