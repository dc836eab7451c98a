/*
 * flow_inside.h: what the parts of a flow share. Its stations: flow.c (beginning, waiting, all of
 * them), flow_claim.c, flow_call.c, flow_outcome.c. An op (send, verify, flash.create) is a row of
 * functions that these call. Floor 4.
 */
#ifndef OTPQ_WORKERS_FLOW_INSIDE_H
#define OTPQ_WORKERS_FLOW_INSIDE_H

#include <event2/event_struct.h>

#include "common/meaning/code.h"
#include "common/meaning/job_ops.h"
#include "common/meaning/msisdn.h"
#include "workers/flow.h"

enum flow_state {
    FLOW_READY, /* from its making on */
    FLOW_CLAIMING,
    FLOW_WAITING,
    FLOW_RESERVING,
    FLOW_CALLING,
    FLOW_FINISHING,
    FLOW_RELEASING
};

enum {
    FLOW_STEPS_MAX = SESSION_STEPS_MAX, /* seven, and each of a full list of fallbacks */
    FLOW_RESERVE_TRIES = 20,            /* codes tried until one is free */
    FLOW_LINK_DIGITS_MAX = 6,
    FLOW_CTX_BYTES_MAX = 16 * 1024, /* what a postback may need of the send */
    FLOW_CLAIMS_MAX = 256,
    FLOW_TEXT_BYTES_MAX = 4096, /* an SMS text with its code */
    FLOW_LEASE_SPARE_MS = 2000, /* a claim lives this much longer than the call may take */
    /* of it for writing the outcome; what is left is for the claim's answer. redis.timeout_ms stays
     * below that: else a slow store's answers would be late for ever */
    FLOW_WRITE_SPARE_MS = 200,
    FLOW_STORE_RETRY_MS = 200, /* between tries to write an outcome */
    FLOW_STORE_BACK_MS = 500,  /* a job given back because the store is away comes again after */
    /* a job given back because it cannot begin here comes again after */
    FLOW_BUSY_BACK_MS = 100,
    FLOW_ROUTE_BACK_MS = 500, /* the same, its route not (yet) known or paused */
    FLOW_ROUTE_ATTEMPTS = 3,  /* then the route is taken for unknown: a change is here in 1 s */
    FLOW_UNREACHABLE_BACK_MS = 200, /* times the attempt */
    FLOW_UNREACHABLE_BACK_MS_MAX = 5000,
    FLOW_WAIT_MS_MIN = 10,
    FLOW_WAIT_MS_MAX = 1000
};

struct flow {
    struct list link; /* in flows.running */
    struct list turn; /* READY: in flows.ready */
    struct flows *all;
    struct link *from;     /* where the answer goes */
    enum flow_state state; /* flow_set_state alone writes it */
    const struct flow_op *op;
    char *bytes; /* owned copy of everything that job and body borrow from */
    struct wire_job job;
    struct job_body body;             /* send, verify */
    struct job_flash_create create;   /* flash.create */
    struct records *records;          /* the snapshot that route and called are of, referenced */
    const struct integration *route;  /* as asked for: its rules of codes and sessions hold */
    const struct integration *called; /* whose advertiser is called: the route's, or a fallback */
    struct integration local;         /* route and called of what is no integration: an op's own */
    struct msisdn msisdn;             /* "": not known before the claim */
    char party[WIRE_TENANT_BYTES_MAX + 1];
    struct event timer;
    bool maybe_sent;          /* RELEASING: by this run */
    bool unsure;              /* once claimed: an earlier run may have sent it */
    bool elsewhere;           /* WAITING for another owner's outcome: no deadline ends that */
    int64_t arrived_ms;       /* mono */
    int64_t deadline_ms;      /* mono */
    uint32_t call_ms;         /* that the call may take, as the claim was told */
    int64_t lease_end_ms;     /* mono; of the claim, from when it was last asked for */
    struct session_job claim; /* what the store is asked about */
    char request_id[64];
    char advertiser_request_id[128];
    char detail[160];                    /* for people, why it is refused; or "" */
    int64_t attempts_left;               /* -1: none */
    int64_t retry_after_s;               /* -1: none */
    int64_t expires_in_s;                /* -1: none */
    char otp[CODE_DIGITS_MAX + 1];       /* the code made here, or "" */
    char code_mac[CODE_MAC_HEX + 1];     /* of it, or "" */
    char sealed[CODE_SEALED_HEX + 1];    /* of it, for the store; or "" */
    char *text;                          /* owned SMS text with the code, or NULL */
    char *url;                           /* owned link that the user opens, or NULL */
    char country[3];                     /* of the number, "TH"; or "" */
    char now[24];                        /* when it came here: YYYY-MM-DD HH:MM:SS, UTC */
    struct buf ctx;                      /* msgpack: what macros of a postback need of a send */
    struct dialect_message mo;           /* what the user sent, as the advertiser tells it */
    unsigned reserve_tries;              /* codes that were found taken */
    claim_callback *on_claim;            /* flash.create, CLAIMING: after the nonce */
    char lane[WIRE_ROUTE_BYTES_MAX + 1]; /* flash.create: "flash:2" */
    char message_id[24];                 /* flash.create: of the result */
    struct fetch_call *call;             /* while CALLING */
    int64_t call_wall_ms;                /* when the call began */
    int advertiser_http;                 /* -1: not called */
    int64_t advertiser_ms;
    struct buf advertiser_body;     /* redacted */
    enum job_end end;               /* known once FINISHING */
    enum result_code code;          /* known once FINISHING, or why it is RELEASING */
    uint32_t back_ms;               /* RELEASING: not again before */
    const struct integration *next; /* RELEASING: goes on there; or NULL */
    struct session_step last;       /* RELEASING: the same, for the time-line */
    struct job_result result;       /* FINISHING: what is being written */
    struct session_finish finish;   /* FINISHING: the same */
    struct session_step steps[FLOW_STEPS_MAX];
    size_t step_count;
};

/* How one op differs from the others. NULL where it says so: nothing to do. */
struct flow_op {
    enum dialect_call call;
    bool repeatable; /* a refusal or unknown may be repeated when the route says so */
    bool sends;      /* something goes to the user: falls back to others; results tell it as data */
    /* Whose rules hold, when the route names no integration: fills f->local. NULL: route_missing */
    const struct integration *(*route)(struct flow *f);
    /* Reads the body, and puts into f->claim what the claim is about. Another result than
     * RESULT_NONE: it cannot be claimed, flow_explain has said why. */
    enum result_code (*read)(struct flow *f, struct slice body);
    /* Whether an advertiser is called once the claim is won. */
    bool (*calls)(const struct flow *f);
    /* Asks the store for the right to call. */
    void (*claim)(struct flow *f, claim_callback *done);
    /* After the claim was won: what the request needs. False: it cannot be made
     * (invalid_request), flow_explain has said why. */
    bool (*prepare)(struct flow *f);
    /* After that, what has to be asked for before the call. True: on its way, flow_reserved is
     * called from the loop, exactly once. False: nothing. May be NULL. */
    bool (*reserve)(struct flow *f);
    /* Writes the outcome. */
    void (*finish)(struct flow *f, const struct session_finish *finish, finish_callback *done);
    /* The op's own of a result, as it is stored. May be NULL. */
    void (*fill)(struct flow *f, struct job_result *r);
    /* What the client is told in place of a stored result. False: the result itself. May be NULL.
     */
    bool (*tell)(struct flow *f, struct slice stored, struct buf *out);
};
extern const struct flow_op flow_send;
extern const struct flow_op flow_verify;
extern const struct flow_op flow_flash;

/* Bodies of send and verify, as flow_op.read. */
enum result_code flow_read_send(struct flow *f, struct slice body);
enum result_code flow_read_verify(struct flow *f, struct slice body);
/* For people who read the result: names of keys and of macros, never their values. */
void flow_explain(struct flow *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The reserve has ended: RESULT_NONE goes on to the call; store_unavailable gives the job back;
 * anything else is the refusal, nothing was sent. */
void flow_reserved(struct flow *f, enum result_code code);
/* Digits of an affiliate, else the body's party, else "0". */
void flow_party(struct flow *f, uint64_t aid, struct slice party);
/* The tag of a job that has neither number nor request id: of its own id. */
void flow_tag(struct flow *f, struct slice of);

/* ---- between the stations ------------------------------------------------------------------- */

/* flow.c. To another state, by one of the few ways that there are. */
void flow_set_state(struct flow *f, enum flow_state to);
/* A step of the time-line; those after the last place are left out. */
void flow_add_step(struct flow *f, const char *step, int64_t at_ms, const char *detail);
/* Goes on in this state after ms, by what the timer does there. */
void flow_sleep_ms(struct flow *f, int64_t ms);
/* Claims again later. elsewhere: another owner is at it. Else the deadline ends the wait, for
 * nothing was sent. May free the flow. */
void flow_wait(struct flow *f, uint32_t ms, bool elsewhere);
void flow_drop(struct flow *f);

/* flow_claim.c. Asks the store; the answer takes the flow further. */
void flow_ask(struct flow *f);
/* Asks for those that are READY, as many as may be asked for at once. */
void flow_pump(struct flows *all);

/* flow_call.c. The claim is won: what the call needs, and then the call. */
void flow_get_ready(struct flow *f);
/* The time-line of a job that the broker moved before it came here. */
void flow_note_move(struct flow *f);

/* flow_outcome.c. These four end the flow and free it: its result, with a body that the store has
 * or one that the store knows nothing of; or back to the broker, for later or for another lane. */
void flow_answer(struct flow *f, enum job_end end, enum result_code code, struct slice body);
void flow_answer_unwritten(struct flow *f, enum job_end end, enum result_code code);
void flow_give_back(struct flow *f, enum result_code code, uint32_t delay_ms,
                    uint32_t attempt_seen);
void flow_give_on(struct flow *f, enum result_code code, const char *via);
/* To FINISHING: the outcome is written, and then answered. */
void flow_finish(struct flow *f, enum job_end end, enum result_code code);
/* To RELEASING: nothing was sent, or the route wants it sent again. */
void flow_release(struct flow *f, enum result_code code, uint32_t back_ms);
/* Either: released for another attempt, or finished when there is no time for one. */
void flow_repeat_later(struct flow *f, enum job_end else_end, enum result_code code);
/* The timer's, in these two states: tries to write once more. */
void flow_write_outcome(struct flow *f);
void flow_open_claim(struct flow *f);

#endif
