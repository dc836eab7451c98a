/*
 * internal.h: what the files of libotpq share. Not installed. Floor 4.
 */
#ifndef OTPQ_LIBOTPQ_INTERNAL_H
#define OTPQ_LIBOTPQ_INTERNAL_H

#include <otpq.h>

#include "common/base/buf.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/meaning/curve_key.h"
#include "common/meaning/wire.h"

enum {
    LINKS_MAX = 64,
    SILENCE_DEFAULT_MS = 1000,
    JOBS_DEFAULT_MAX = 100000,
    GRACE_MS = 3000,          /* how much later than its deadline a job is given up */
    REFUSED_PAUSE_MS = 1000,  /* until a broker that did not let us in is tried again */
    HOLD_MS = 250,            /* until a refused job is sent again, when the broker does not say */
    HOLD_MS_MIN = 50,         /* … and at least */
    HOLD_MS_MAX = 1000,       /* … and at most: its result may be there */
    MESSAGES_A_TURN_MAX = 256 /* taken from one broker before others get theirs */
};

/* ---- jobs.c: what is unanswered ------------------------------------------------------------- */

enum { NO_LINK = -1 };

/* One unanswered job. In `outbox` or `held` while link is NO_LINK, else in `sent` of its link;
 * always in the map by id and in the heap by deadline. */
struct pending {
    struct list where;         /* outbox or a link's `sent` */
    struct wire_submit submit; /* slices point into bytes */
    struct slice body;         /* into bytes */
    otpq_callback *done;       /* the caller's */
    otpq_callback *accepted;   /* the caller's, or NULL: told, or not wanted */
    void *context;             /* the caller's */
    int64_t deadline_ms;       /* moment the ttl ends */
    int64_t ready_ms;          /* moment the delay ends */
    size_t heap_at;            /* index in the heap */
    int link;                  /* where it was sent, or NO_LINK */
    bool ends_stored;          /* it ends for the caller when it is stored */
    bool again;                /* a broker that went away had it: it may have started */
    char bytes[];              /* id, route, tenant, trace, body */
};

struct jobs {
    struct map *by_id;
    struct pending **heap; /* by deadline, earliest first */
    size_t count;          /* of the heap */
    size_t cap;            /* allocated */
    size_t max;            /* ceiling for count */
    struct list outbox;    /* to be sent, oldest first */
    struct list held;      /* to be sent again at held_until_ms */
    int64_t held_until_ms; /* while held is not empty */
};

void jobs_init(struct jobs *j, size_t jobs_max);
void jobs_free(struct jobs *j);
/* NULL: full, or the id is unanswered already; *error says which. */
MUST_CHECK struct pending *jobs_add(struct jobs *j, const struct wire_submit *s, struct slice body,
                                    int64_t now_ms, const char **error);
struct pending *jobs_find(const struct jobs *j, struct slice id);
/* Takes it out of everything; the caller frees it. */
void jobs_remove(struct jobs *j, struct pending *p);
/* Back into the outbox, ahead of what was never sent. */
void jobs_requeue(struct jobs *j, struct list *from);
/* The same for what a broker had: it may have started there. */
void jobs_requeue_sent(struct jobs *j, struct list *sent);
/* Refused: back into the outbox, at its end. */
void jobs_send_elsewhere(struct jobs *j, struct pending *p);
/* Refused, and may have started before: out again after this time. */
void jobs_hold(struct jobs *j, struct pending *p, int64_t now_ms, uint32_t for_ms);
/* What was held long enough goes back into the outbox. */
void jobs_let_go(struct jobs *j, int64_t now_ms);

/* ---- link.c: one broker --------------------------------------------------------------------- */

struct link {
    char *address;                 /* NULL: this place has no broker */
    void *socket;                  /* DEALER */
    void *monitor;                 /* PAIR that tells of connections made and lost */
    int index;                     /* in otpq.links */
    bool up;                       /* the handshake was done and the connection not lost since */
    bool leaving;                  /* it said that it drains: nothing new goes there */
    bool lost;                     /* the connection went: what was sent there must go out again */
    bool retired;                  /* no longer among the brokers: closed once it owes nothing */
    struct list sent;              /* jobs unanswered there */
    int64_t stays_ms;              /* leaving: asked again then, should it still be there */
    const struct curve_pair *pair; /* own, for brokers with keys */
    bool refused;                  /* it did not let us in: ZeroMQ tries no more by itself */
    int64_t again_ms;              /* when we do; 0: not refused */
    int64_t heard_ms;  /* last message, or the first send after nothing was waited for */
    int64_t pinged_ms; /* last ping */
    uint32_t opened;   /* times opened: names the monitor's endpoint */
};

/* False: zmq's errno says why. */
MUST_CHECK bool link_open(struct link *l, void *zmq_context, int epoll_fd);
void link_close(struct link *l, int epoll_fd);
/* False: it cannot be taken now (not connected). */
MUST_CHECK bool link_send(struct link *l, const struct buf *message);
/* Reads the monitor and sets up and lost. */
void link_look(struct link *l);
/* One message into *m (initialised, closed by the caller); false: none is there. */
MUST_CHECK bool link_receive(struct link *l, void *zmq_msg);
/* True when there is something to read: asked after sends, which eat the descriptor's edge. */
MUST_CHECK bool link_readable(const struct link *l);

/* ---- otpq.c ---------------------------------------------------------------------------------- */

/* The one question that a blocking call waits for. */
struct ask {
    char verb; /* WIRE_GET, WIRE_CANCEL, WIRE_INFO or 0: none */
    char id[WIRE_ID_BYTES_MAX + 1];
    int link;       /* where it was sent, or NO_LINK */
    uint64_t tried; /* brokers that do not know the id, one bit each */
};

struct otpq {
    void *zmq_context;
    bool own_context; /* made here, ended here */
    struct link links[LINKS_MAX];
    int link_count;
    int current; /* the broker in use */
    uint32_t silence_ms;
    uint32_t patience_ms;
    int64_t company_ms; /* when a broker was seen connected last, or the handle was made */
    struct jobs jobs;
    struct curve_pair pair; /* of curve_secret_file; empty without */
    int epoll_fd;           /* what otpq_fd gives: holds wake_fd and every ZMQ_FD */
    int wake_fd;            /* eventfd: readable while there is work that no socket tells of */
    bool woken;             /* wake_fd is readable */
    bool asked;             /* something was sent to a broker at some time */
    struct buf message;     /* the batch being written */
    struct ask ask;
    bool answered;           /* the blocking call has its answer in `kept` */
    struct otpq_answer kept; /* texts in `texts` */
    struct buf texts;        /* what the last blocking call gave out */
};

/* The broker for what is sent next: the one in use while it is connected and stays, else the next
 * that is; NULL: none. */
struct link *otpq_usable(otpq *q);
/* Whether an answer of it is waited for. */
bool otpq_owes(const otpq *q, const struct link *l);
/* brokers.c: closes those that are retired and owe nothing. */
void otpq_sweep(otpq *q);
/* receive.c: everything one broker has sent. */
void otpq_receive(otpq *q, struct link *l, int64_t now_ms);
/* A broker has accepted the job as its ack asks: tells the caller, and ends it for him when that is
 * all he wants to know. */
void otpq_accepted(otpq *q, struct pending *p, struct slice state);
/* Ends a job: takes it out, runs its callback, frees it. */
void otpq_end(otpq *q, struct pending *p, struct otpq_answer *answer);
/* call.c: keeps a copy of an answer for the blocking call. */
void otpq_keep(otpq *q, const struct otpq_answer *answer);
void otpq_wake(otpq *q);

#endif
