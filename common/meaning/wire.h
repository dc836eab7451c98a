/*
 * wire.h: OTPQ/1, the envelopes and verbs between clients and the broker, and OTPQ-W/1, between the
 * broker and its workers. Bytes in, values out; never touches a socket. docs/job-protocol.md is the
 * prose of this header. Floor 1.
 *
 * A message is one frame: three magic bytes, one verb letter, then (envelope map, body map)*.
 */
#ifndef OTPQ_MEANING_WIRE_H
#define OTPQ_MEANING_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/slice.h"
#include "common/meaning/pack.h"
#include "common/meaning/result.h"

enum {
    WIRE_MESSAGE_BYTES_MAX = 1024 * 1024,
    WIRE_PAIRS_MAX = 1000,
    WIRE_BODY_BYTES_MAX = 64 * 1024,
    WIRE_ID_BYTES_MAX = 64,
    WIRE_ROUTE_BYTES_MAX = 64,
    WIRE_TENANT_BYTES_MAX = 64,
    WIRE_TRACE_BYTES = 55,
    WIRE_INFO_ROUTES_MAX = 200,
    WIRE_INFO_BYTES_MAX = 96 * 1024, /* body of the answer to I */
    WIRE_TTL_DEFAULT_MS = 30000,
    WIRE_TTL_MAX_MS = 24 * 3600 * 1000,
    /* workers tell a store what it forgot within this; what others may be running waits for it */
    WIRE_REASSERT_MS = 2000,
    WIRE_PRI_MAX = 9
};

#define WIRE_CLIENT_MAGIC "OQ1"
#define WIRE_WORKER_MAGIC "OW1"

enum wire_op {
    WIRE_OP_SEND,
    WIRE_OP_VERIFY,
    WIRE_OP_FLASH_CREATE,
    WIRE_OP_FLASH_QUERY,
    WIRE_OP_CALLBACK,
    WIRE_OP_REPORT, /* something came in about a request: a delivery report, a push, an MO */
    WIRE_OPS
};

struct wire_op_row {
    const char *name; /* "send", "verify", "flash.create", … */
    uint8_t pri;      /* default priority: verify 7, send 5, report 7, callback 3, flash.* 5 */
};
extern const struct wire_op_row wire_ops[WIRE_OPS];

enum wire_ack { WIRE_ACK_RESULT, WIRE_ACK_QUEUED, WIRE_ACK_STORED, WIRE_ACKS };

/* S: submit. All slices borrow from the message. */
struct wire_submit {
    struct slice id;     /* [A-Za-z0-9_.:-]{1,64}, checked */
    struct slice route;  /* 1..64 bytes of the same alphabet, checked */
    struct slice tenant; /* 0..64 bytes, may be empty */
    struct slice trace;  /* W3C traceparent or empty */
    enum wire_op op;
    enum wire_ack ack;
    uint8_t pri;       /* 0..9, the op's default when absent */
    uint32_t ttl_ms;   /* 1..WIRE_TTL_MAX_MS */
    uint32_t delay_ms; /* 0..WIRE_TTL_MAX_MS */
    bool again;        /* sent before, maybe to another broker: it may have started there */
};

/* R: the result's envelope. Also the worker's. */
struct wire_result {
    struct slice id;
    enum job_end end;
    enum result_code code;
    uint32_t queued_ms;    /* accepted to dispatched */
    uint32_t run_ms;       /* dispatched to result */
    uint32_t attempts;     /* dispatches that it took */
    struct slice trace_id; /* from workers: request id whose time-line gets "answered"; or empty */
};

/* N: not accepted. */
struct wire_nack {
    struct slice id;         /* empty for a malformed message */
    struct slice error;      /* "malformed", "queue_full", "conflict", "moved", … */
    struct slice detail;     /* what, where, how to mend */
    uint32_t retry_after_ms; /* 0: none */
};

/* OTPQ-W/1 J: one job on its way to a worker. */
struct wire_job {
    struct slice id;
    struct slice route;
    struct slice tenant;
    struct slice trace;
    enum wire_op op;
    uint32_t attempt;   /* 1 for the first dispatch; goes up by one each time */
    uint32_t ttl_ms;    /* time left until the deadline, when the broker sent it */
    uint32_t queued_ms; /* how long it waited: for the time-line */
    struct slice via;   /* integration whose advertiser is to be called; empty: the route's own */
    /* The broker moved it by itself, because the lane before takes no calls now: integration_paused
     * or advertiser_unreachable (its breaker). RESULT_NONE: it did not, or the worker did (give
     * back). With a verify it has not moved: it is the route itself that takes no calls, and the
     * worker is to look whether another integration carried the request, and not to call. */
    enum result_code moved;
};

/* OTPQ-W/1 B: given back, provably not sent to the advertiser. */
struct wire_give_back {
    struct slice id;
    uint32_t attempt;      /* of the dispatch given back */
    uint32_t attempt_seen; /* highest that the claim key knows: the next one must be higher */
    uint32_t delay_ms;     /* not again before */
    enum result_code code; /* why: advertiser_unreachable, … RESULT_NONE: drain */
    struct slice via;      /* goes on in the lane of this integration; empty: where it was. Is no
                              attempt; a job moves eight times at most */
};

/* OTPQ-W/1 H: hello. */
struct wire_hello {
    struct slice name; /* logical name, for people */
    uint64_t pid;
    struct slice version; /* of otpq */
    uint32_t protocol;    /* OTPQ-W version, 1 */
    uint32_t capacity;    /* calls it will run at once */
};

/* Verbs of OTPQ-W/1. worker → broker: H C Y R B P O Q; broker → worker: J P O W. */
enum {
    WIRE_W_HELLO = 'H',   /* one wire_hello pair: first message of a worker, and again after W */
    WIRE_W_CREDIT = 'C',  /* {total}: jobs the broker may have sent since hello, cumulative */
    WIRE_W_JOB = 'J',     /* wire_job, body pairs */
    WIRE_W_STARTED = 'Y', /* {id, attempt} pairs: claim won, the call begins */
    WIRE_W_RESULT = 'R',  /* wire_result, body pairs */
    WIRE_W_BACK = 'B',    /* wire_give_back pairs */
    WIRE_W_PING = 'P',
    WIRE_W_PONG = 'O',
    WIRE_W_WHO = 'W', /* broker does not know this worker: say hello again */
    WIRE_W_QUIT = 'Q' /* goodbye: everything is given back or answered */
};

/* M: an operator asks one broker to end what waits. */
struct wire_purge {
    struct slice id;     /* of the question; handed back */
    struct slice route;  /* that they wait in; empty: any */
    struct slice tenant; /* whose; empty: anybody's */
    enum wire_op op;     /* WIRE_OPS: any */
    uint32_t older_ms;   /* accepted at least so long ago */
    uint32_t wait_ms;    /* for stored jobs to leave their shelf, before the answer */
    bool dry;            /* only counts */
};

/* The answer to M. */
struct wire_purged {
    uint64_t ended;   /* jobs, as cancelled; dry: that would be */
    uint64_t pending; /* stored ones, still on their way to or off the shelf */
    uint64_t kept;    /* may have started: they go on */
};

/* Verbs of OTPQ/1. Answers: S as its ack says. G: R when it ended; A with the state of a live one
 * ("delayed", "queued", "dispatched", "started"), and R when it ends; N "not_found". X: R
 * cancelled, or N "too_late" (it started or ended; the detail says which), or N "not_found".
 * I: I. P: O. M: M, or N "forbidden", "busy". */
enum {
    WIRE_SUBMIT = 'S',
    WIRE_GET = 'G',
    WIRE_CANCEL = 'X',
    WIRE_INFO = 'I',
    WIRE_PING = 'P',
    WIRE_OPERATE = 'M', /* of operators; the envelope's action: "purge" */
    WIRE_ACCEPTED = 'A',
    WIRE_RESULT = 'R',
    WIRE_NACK = 'N',
    WIRE_PONG = 'O'
};

/* I, the answer: envelope {id?} as the question had it; the body is {broker: wire_info's
 * members, routes: [wire_info_route's members, …]}, the deepest routes first, at most
 * WIRE_INFO_ROUTES_MAX of them. */
struct wire_info_route {
    struct slice name;
    uint64_t queued, delayed, in_flight; /* jobs, now */
    uint64_t storing;                    /* … on their way to the shelf, not accepted yet */
    uint64_t on_shelf;                   /* of all live ones, those that stand on a shelf */
    uint64_t oldest_ms;                  /* age of the oldest queued job, 0: none */
    uint64_t accepted;                   /* counters since the broker's start */
    uint64_t adopted;                    /* … taken over from other brokers */
    uint64_t done, refused, unknown, expired, cancelled;
    uint64_t redispatched;
    uint64_t moved_out, moved_in; /* by fallback: went on elsewhere, came from there */
    bool paused;                  /* by its record, or by an operator */
    bool held;                    /* by an operator */
    bool draining;                /* by an operator: takes nothing new */
    bool stored;                  /* its jobs are stored, whatever they ask for */
    uint8_t breaker;              /* 0 closed, 1 half open, 2 open */
};

struct wire_info {
    struct slice version; /* of otpq */
    struct slice
        durability; /* what the store's word is worth: always, everysec, no, off, unknown */
    uint64_t uptime_ms;
    uint64_t queued, delayed, in_flight; /* jobs, now */
    uint64_t storing;                    /* … on their way to the shelf, not accepted yet */
    uint64_t on_shelf;                   /* of all live ones, those that stand on a shelf */
    uint64_t oldest_ms;                  /* age of the oldest queued job, 0: none */
    uint64_t workers;                    /* alive */
    uint64_t credit_free;                /* jobs that workers would take at once */
    uint64_t clients;                    /* peers known */
    uint64_t results_kept;
    uint64_t bytes;        /* memory of live jobs */
    uint64_t routes_total; /* routes known; "routes" may show fewer */
    uint64_t accepted, duplicates, conflicts, refused_full; /* counters since the broker's start */
    uint64_t adopted; /* … jobs taken over from other brokers */
    uint64_t done, refused, unknown, expired, cancelled;
    uint64_t redispatched;
    bool draining; /* it takes nothing new */
};

/* A walk over the pairs of one message. */
struct wire_reader {
    struct pack p; /* cursor; p.error and pack_offset(&p) say what and where on failure */
    char verb;
    uint32_t pairs; /* begun so far */
};

enum wire_next { WIRE_NEXT_PAIR, WIRE_NEXT_END, WIRE_NEXT_BAD };

/* False: too long, too short, or wrong magic; r->p.error says which. */
MUST_CHECK bool wire_open(struct wire_reader *r, struct slice message, const char *magic);

/* What a G, X or S whose envelope breaks a rule is told, and a message that is not OTPQ/1. */
#define WIRE_ERROR_INVALID   "invalid"
#define WIRE_ERROR_MALFORMED "malformed"

/* Each reads one (envelope, body) pair. After WIRE_NEXT_BAD the reader is finished: everything
 * before stays taken, nothing after is read. `invalid` reports an envelope that is well-formed
 * msgpack but breaks a rule of its keys: the pair is consumed, the walk goes on, and nack holds the
 * id (if readable), error "invalid" and the detail. */
struct wire_submit_read {
    struct wire_submit submit; /* valid when !invalid */
    struct slice body;         /* raw msgpack bytes of the body map */
    bool invalid;
    struct wire_nack nack; /* valid when invalid; texts are static */
};
MUST_CHECK enum wire_next wire_next_submit(struct wire_reader *r, struct wire_submit_read *out);
/* G, X. An id that breaks its rule comes back empty: answer N "invalid". */
MUST_CHECK enum wire_next wire_next_id(struct wire_reader *r, struct slice *id);
/* I, both ways: id may be empty, body is the map of an answer. */
MUST_CHECK enum wire_next wire_next_info(struct wire_reader *r, struct slice *id,
                                         struct slice *body);
/* M, the question. An envelope that breaks a rule: *rule (static) says which, else it is NULL. */
MUST_CHECK enum wire_next wire_next_purge(struct wire_reader *r, struct wire_purge *out,
                                          const char **rule);
/* M, the answer. */
MUST_CHECK enum wire_next wire_next_purged(struct wire_reader *r, struct slice *id,
                                           struct wire_purged *out);
/* At most WIRE_INFO_ROUTES_MAX routes are filled in, *count of them. */
MUST_CHECK bool wire_info_decode(struct slice body, struct wire_info *info,
                                 struct wire_info_route *routes, uint32_t *count,
                                 const char **error);
MUST_CHECK enum wire_next wire_next_job(struct wire_reader *r, struct wire_job *j,
                                        struct slice *body);
MUST_CHECK enum wire_next wire_next_result(struct wire_reader *r, struct wire_result *out,
                                           struct slice *body);
MUST_CHECK enum wire_next wire_next_nack(struct wire_reader *r, struct wire_nack *out);
/* A: state is "queued", "stored" or "duplicate". */
MUST_CHECK enum wire_next wire_next_accepted(struct wire_reader *r, struct slice *id,
                                             struct slice *state);
MUST_CHECK enum wire_next wire_next_hello(struct wire_reader *r, struct wire_hello *out);
MUST_CHECK enum wire_next wire_next_credit(struct wire_reader *r, uint64_t *total);
MUST_CHECK enum wire_next wire_next_started(struct wire_reader *r, struct slice *id,
                                            uint32_t *attempt);
MUST_CHECK enum wire_next wire_next_back(struct wire_reader *r, struct wire_give_back *out);

/* "at byte 17: a map is needed here", of a reader that said WIRE_NEXT_BAD or was not opened. */
void wire_trouble(const struct wire_reader *r, char out[128]);

/* Writing: wire_begin puts magic and verb, each wire_put_* one pair. An empty body is {}: a slice
 * of no bytes is written as that. Room is asked for by the upper bound of a pair (<= 600 bytes more
 * than its texts), so a buffer overflows that much before its ceiling. */
void wire_begin(struct buf *b, const char *magic, char verb);
void wire_put_submit(struct buf *b, const struct wire_submit *s, struct slice body);
void wire_put_id(struct buf *b, struct slice id);
/* The answer to I. */
void wire_put_info(struct buf *b, struct slice id, const struct wire_info *info,
                   const struct wire_info_route *routes, uint32_t count);
void wire_put_purge(struct buf *b, const struct wire_purge *p);
void wire_put_purged(struct buf *b, struct slice id, const struct wire_purged *p);
void wire_put_job(struct buf *b, const struct wire_job *j, struct slice body);
void wire_put_result(struct buf *b, const struct wire_result *r, struct slice body);
void wire_put_nack(struct buf *b, const struct wire_nack *n);
void wire_put_accepted(struct buf *b, struct slice id, const char *state);
void wire_put_hello(struct buf *b, const struct wire_hello *h);
void wire_put_credit(struct buf *b, uint64_t total);
void wire_put_started(struct buf *b, struct slice id, uint32_t attempt);
void wire_put_back(struct buf *b, const struct wire_give_back *g);

/* True for a W3C traceparent. */
MUST_CHECK bool wire_trace_ok(struct slice trace);
/* True for [A-Za-z0-9_.:-]{1,max}. */
MUST_CHECK bool wire_id_ok(struct slice id, size_t max);

#endif
