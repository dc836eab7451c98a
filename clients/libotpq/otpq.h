/*
 * otpq.h: push OTP jobs to otpq's brokers (libotpq, pkg-config otpq).
 *
 * A handle connects to several brokers and uses one of them at a time. When that one is gone, or
 * silent for silence_ms although asked, what it has not answered is submitted again, under the same
 * id and with the time that is left, to the next: the id is the idempotency key, so the advertiser
 * is called once.
 * A handle belongs to one thread; use one handle a thread. Nothing here blocks except otpq_wait,
 * otpq_call, otpq_get, otpq_cancel and otpq_info, which must not be called from a callback (nor
 * otpq_destroy). Bodies are msgpack maps (docs/job-protocol.md). All times are milliseconds.
 *
 * Structs that the caller fills in grow at their ends, and 0 is the default of every member: begin
 * with {0} or designated initialisers. Before version 1.0 a program is to be compiled with the
 * header of the library that it runs with; from then on a struct that grows changes the soname.
 */
#ifndef OTPQ_H
#define OTPQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OTPQ_API __attribute__((visibility("default")))

typedef struct otpq otpq;

/* How a submit ended for the caller. */
enum otpq_outcome {
    OTPQ_RESULT,    /* the broker's result: state, code and body are set */
    OTPQ_NOT_TAKEN, /* the broker said no, and no other one had the job before: code and detail are
                       set, retry_after_ms may be */
    OTPQ_TIMED_OUT, /* no broker answered within the job's time: ask later with otpq_get */
    OTPQ_STORED,    /* accepted: it goes on whatever dies. state is "stored" */
    OTPQ_QUEUED     /* to `accepted` only: a broker has it in memory. state is "queued", or
                       "duplicate" when it was there before */
};

/* What a broker is to say before it ends the job. */
enum otpq_ack {
    OTPQ_ACK_RESULT, /* nothing */
    OTPQ_ACK_QUEUED, /* that it has the job */
    OTPQ_ACK_STORED /* that the job is stored: should the broker die, another one goes on with it */
};

struct otpq_answer;
typedef void otpq_callback(void *context, const struct otpq_answer *answer);

struct otpq_job {
    const char *id;     /* [A-Za-z0-9_.:-]{1,64}; NULL: a random one is made */
    const char *op;     /* "send", "verify", … */
    const char *route;  /* integration */
    const char *tenant; /* NULL: "" */
    const char *trace;  /* W3C traceparent or NULL */
    const void *body;   /* one msgpack map, copied */
    size_t body_bytes;  /* at most 65536 */
    uint32_t ttl_ms;    /* 0: 30000 */
    uint32_t delay_ms;
    int pri; /* 0..9, -1: by op */
    enum otpq_ack ack;
    /* With OTPQ_ACK_QUEUED and OTPQ_ACK_STORED: runs at most once, before the job's own callback
     * and with its context (otpq_call: the handle), when a broker has said so; NULL: nobody wants
     * to know. A job with OTPQ_ACK_STORED and without this ends for the caller as soon as it is
     * stored (OTPQ_STORED): its result is had with otpq_get. */
    otpq_callback *accepted;
};

struct otpq_answer {
    enum otpq_outcome outcome;
    const char *id;
    const char *state;  /* "done", "refused", "unknown", "expired", "cancelled", or "" */
    const char *code;   /* word of the vocabulary, or "" */
    const char *detail; /* for people; may be "" */
    const void *body;   /* msgpack map of the result; valid during the callback */
    size_t body_bytes;
    uint32_t queued_ms, run_ms, attempts, retry_after_ms;
};

struct otpq_options {
    /* "tcp://127.0.0.1:5560", …; behind a space the broker's public key, when it has one:
     * "tcp://10.0.0.1:5560 rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7" */
    const char *const *brokers;
    size_t broker_count; /* 1..64 */
    uint32_t silence_ms; /* a broker that owes answers is left after this silence; 0: 1000 */
    uint32_t jobs_max;   /* unanswered jobs kept; 0: 100000 */
    /* with no broker connected for so long, jobs that none has had end as OTPQ_NOT_TAKEN, code
     * "queue_full"; 0: they wait for one as long as they live */
    uint32_t patience_ms;
    void *zmq_context;   /* NULL: own */
    /* For brokers with keys: the file that `otpq keys new` made, read by otpq_new; NULL: none. */
    const char *curve_secret_file;
};

/* NULL on a bad option: *error says which (static text, but of curve_secret_file: until the next
 * call in this thread). */
OTPQ_API otpq *otpq_new(const struct otpq_options *options, const char **error);
/* Unanswered callbacks do not run. Takes NULL, nulls the pointer. */
OTPQ_API void otpq_destroy(otpq **q);

/* Other brokers from now on: new ones are connected to, those left out get nothing new and are let
 * go once they owe no answer; 0. -1: some could not be connected to, *error (static text) says why
 * for one of them; with count 0 nothing changed. May be called from a callback. */
OTPQ_API int otpq_set_brokers(otpq *q, const char *const *brokers, size_t count,
                              const char **error);

/* Queues a job for sending; 0, or -1 with *error (static text: "id: …", "body: …", "full: …"). The
 * callback `done` runs exactly once, from otpq_process (or a call that blocks), at the latest 3
 * seconds after ttl_ms: the broker itself tells of a job that came too late, and is given the time
 * to. Jobs submitted in one turn leave in one message (a batch) at the next otpq_flush or
 * otpq_process. An id that is still unanswered on this handle is refused. */
OTPQ_API int otpq_submit(otpq *q, const struct otpq_job *job, otpq_callback *done, void *context,
                         const char **error);
OTPQ_API void otpq_flush(otpq *q);
/* For event loops: an epoll descriptor, readable (level-triggered) as long as otpq_process has
 * something to do, jobs just submitted included; and how long until it wants to be called anyway
 * (-1: no time). */
OTPQ_API int otpq_fd(otpq *q);
OTPQ_API int64_t otpq_next_ms(otpq *q);
OTPQ_API void otpq_process(otpq *q);
/* Runs otpq_process until nothing is unanswered or timeout_ms is over; how many are unanswered. */
OTPQ_API size_t otpq_wait(otpq *q, uint32_t timeout_ms);

/* Blocking submit. Returns the outcome; answer's texts live until the next call on this handle. */
OTPQ_API enum otpq_outcome otpq_call(otpq *q, const struct otpq_job *job, uint32_t timeout_ms,
                                     struct otpq_answer *answer);
/* Blocking: state or result of an id (verb G), cancel (X), information (I: body is a msgpack map,
 * docs/job-protocol.md). otpq_get of a live job gives its state at once ("storing", "delayed",
 * "queued", "dispatched" or "started") with code "". "not_found" is said when no broker knows the
 * id. */
OTPQ_API enum otpq_outcome otpq_get(otpq *q, const char *id, uint32_t timeout_ms,
                                    struct otpq_answer *answer);
OTPQ_API enum otpq_outcome otpq_cancel(otpq *q, const char *id, uint32_t timeout_ms,
                                       struct otpq_answer *answer);
OTPQ_API enum otpq_outcome otpq_info(otpq *q, uint32_t timeout_ms, struct otpq_answer *answer);
/* True while a broker is connected and not silent, or none has been asked yet. */
OTPQ_API bool otpq_connected(const otpq *q);
/* How many brokers are connected now: unlike otpq_connected it does not hope. For health checks. */
OTPQ_API size_t otpq_brokers_up(const otpq *q);
OTPQ_API const char *otpq_version(void);

#ifdef __cplusplus
}
#endif
#endif
