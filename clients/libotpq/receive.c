#include "clients/libotpq/internal.h"

#include <zmq.h>

enum { DRAIN_LEAST_MS = 1000 /* before a broker that drains is asked again */ };

/* A slice as a C text of at most 64 bytes (ids and words are no longer). */
struct text64 {
    char text[WIRE_ID_BYTES_MAX + 1];
};

static const char *text_of(struct text64 *to, struct slice s)
{
    size_t n = s.n < WIRE_ID_BYTES_MAX ? s.n : WIRE_ID_BYTES_MAX;
    if (n > 0) {
        memcpy(to->text, s.p, n);
    }
    to->text[n] = '\0';
    return to->text;
}

static bool is_asked(const otpq *q, const struct link *l, struct slice id)
{
    return q->ask.verb != 0 && q->ask.link == l->index && slice_is(id, q->ask.id);
}

/* The answer goes to the job of this id, to the blocking question for it, or to nobody: a second
 * result, after a job was submitted again, finds nobody. */
static void give(otpq *q, const struct link *l, struct slice id, struct otpq_answer *answer)
{
    struct text64 text;
    answer->id = text_of(&text, id);
    if (is_asked(q, l, id)) {
        q->ask.verb = 0;
        otpq_keep(q, answer);
    }
    struct pending *p = jobs_find(&q->jobs, id);
    if (p != NULL) {
        otpq_end(q, p, answer);
    }
}

static void take_results(otpq *q, struct link *l, struct wire_reader *r)
{
    struct wire_result result;
    struct slice body;
    while (wire_next_result(r, &result, &body) == WIRE_NEXT_PAIR) {
        struct otpq_answer answer = {
            .outcome = OTPQ_RESULT,
            .state = job_end_names[result.end],
            .code = result_name(result.code),
            .detail = "",
            .body = body.p,
            .body_bytes = body.n,
            .queued_ms = result.queued_ms,
            .run_ms = result.run_ms,
            .attempts = result.attempts,
        };
        give(q, l, result.id, &answer);
    }
}

/* A question about an id that this broker does not know is put to the next one. */
static bool ask_elsewhere(otpq *q, const struct link *l, const struct wire_nack *n)
{
    if (!slice_is(n->error, "not_found")) {
        return false;
    }
    q->ask.tried |= (uint64_t)1 << l->index;
    for (int i = 0; i < q->link_count; i++) {
        if (q->links[i].up && (q->ask.tried & (uint64_t)1 << i) == 0) {
            q->ask.link = NO_LINK;
            return true;
        }
    }
    return false;
}

static bool another_takes(const otpq *q, const struct link *l)
{
    for (int i = 0; i < q->link_count; i++) {
        const struct link *other = &q->links[i];
        if (other != l && other->up && !other->leaving && !other->retired) {
            return true;
        }
    }
    return false;
}

/* Another broker goes on with a job that has moved: any of the others tells how it ends, sooner
 * than this one. A broker that drains has kept nothing of the job: it waits for another one, for
 * this one's successor, or until an operator lets this one take jobs again. One that cannot reach
 * its store is passed by for a while when there is another that perhaps can. And no broker's
 * refusal is the last word about a job that another one had: it may have started there, so it is
 * sent again until somebody knows or its time is over. */
static bool submit_again(otpq *q, struct link *l, struct pending *p, const struct wire_nack *n)
{
    bool without_store = slice_is(n->error, "store_unavailable");
    if (slice_is(n->error, "draining") || (without_store && another_takes(q, l))) {
        l->leaving = true;
        l->stays_ms =
            l->heard_ms + (n->retry_after_ms > DRAIN_LEAST_MS ? n->retry_after_ms : DRAIN_LEAST_MS);
        jobs_send_elsewhere(&q->jobs, p);
        return true;
    }
    if (slice_is(n->error, "moved")) { /* by now that other broker may have started it */
        p->again = true;
        q->current = (l->index + 1) % q->link_count;
        jobs_send_elsewhere(&q->jobs, p);
        return true;
    }
    if (p->again) {
        jobs_hold(&q->jobs, p, l->heard_ms, n->retry_after_ms);
    }
    return p->again;
}

static void take_nacks(otpq *q, struct link *l, struct wire_reader *r)
{
    struct wire_nack n;
    while (wire_next_nack(r, &n) == WIRE_NEXT_PAIR) {
        struct text64 id, code;
        char *detail = slice_dup(n.detail);
        struct otpq_answer answer = {
            .outcome = OTPQ_NOT_TAKEN,
            .id = text_of(&id, n.id),
            .state = "",
            .code = text_of(&code, n.error),
            .detail = detail,
            .retry_after_ms = n.retry_after_ms,
        };
        bool asked = is_asked(q, l, n.id);
        if (asked && !ask_elsewhere(q, l, &n)) {
            q->ask.verb = 0;
            otpq_keep(q, &answer);
        }
        struct pending *p = asked ? NULL : jobs_find(&q->jobs, n.id);
        if (p != NULL && !submit_again(q, l, p, &n)) {
            otpq_end(q, p, &answer);
        }
        free(detail);
    }
}

static void take_state(otpq *q, struct slice state)
{
    struct text64 word;
    struct otpq_answer answer = {.outcome = OTPQ_RESULT,
                                 .id = q->ask.id,
                                 .state = text_of(&word, state),
                                 .code = "",
                                 .detail = ""};
    q->ask.verb = 0;
    otpq_keep(q, &answer);
}

/* The words of an accepted submit; of a question only when nothing was submitted under its id. */
static bool is_acceptance(const struct pending *p, struct slice state)
{
    switch (p->submit.ack) {
    case WIRE_ACK_STORED:
        return slice_is(state, "stored");
    case WIRE_ACK_QUEUED:
        return slice_is(state, "stored") || slice_is(state, "queued") ||
               slice_is(state, "duplicate");
    default:
        return false;
    }
}

static void take_states(otpq *q, struct link *l, struct wire_reader *r)
{
    struct slice id, state;
    while (wire_next_accepted(r, &id, &state) == WIRE_NEXT_PAIR) {
        struct pending *p = jobs_find(&q->jobs, id);
        if (p != NULL && is_acceptance(p, state)) {
            otpq_accepted(q, p, state);
        } else if (is_asked(q, l, id)) {
            take_state(q, state);
        }
    }
}

static void take_info(otpq *q, struct link *l, struct wire_reader *r)
{
    struct slice id, body;
    if (wire_next_info(r, &id, &body) == WIRE_NEXT_PAIR && q->ask.verb == WIRE_INFO &&
        q->ask.link == l->index) {
        struct otpq_answer answer = {.outcome = OTPQ_RESULT,
                                     .id = "",
                                     .state = "done",
                                     .code = "",
                                     .detail = "",
                                     .body = body.p,
                                     .body_bytes = body.n};
        q->ask.verb = 0;
        otpq_keep(q, &answer);
    }
}

static void take(otpq *q, struct link *l, struct slice message)
{
    struct wire_reader r;
    if (!wire_open(&r, message, WIRE_CLIENT_MAGIC)) {
        return;
    }
    switch (r.verb) {
    case WIRE_RESULT:
        take_results(q, l, &r);
        break;
    case WIRE_NACK:
        take_nacks(q, l, &r);
        break;
    case WIRE_ACCEPTED:
        take_states(q, l, &r);
        break;
    case WIRE_INFO:
        take_info(q, l, &r);
        break;
    default: /* pong, or a verb of a later broker: being heard is all */
        break;
    }
}

void otpq_receive(otpq *q, struct link *l, int64_t now_ms)
{
    for (int i = 0; i < MESSAGES_A_TURN_MAX; i++) {
        zmq_msg_t m;
        must(zmq_msg_init(&m) == 0);
        bool got = link_receive(l, &m);
        if (got) {
            l->heard_ms = now_ms;
            take(q, l, slice_make(zmq_msg_data(&m), zmq_msg_size(&m)));
        }
        must(zmq_msg_close(&m) == 0);
        if (!got) {
            return;
        }
    }
    otpq_wake(q);
}
