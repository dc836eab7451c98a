#include "clients/libotpq/internal.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/rng.h"

enum { REST_MS_MAX = 60000 };

void otpq_keep(otpq *q, const struct otpq_answer *a)
{
    const char *texts[] = {a->id, a->state, a->code, a->detail};
    size_t at[ARRAY_LEN(texts)];
    buf_clear(&q->texts);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        at[i] = q->texts.n;
        buf_put(&q->texts, texts[i], strlen(texts[i]) + 1);
    }
    size_t body_at = q->texts.n;
    buf_put(&q->texts, a->body, a->body_bytes);
    must(buf_ok(&q->texts));
    q->kept = *a;
    q->kept.id = q->texts.p + at[0];
    q->kept.state = q->texts.p + at[1];
    q->kept.code = q->texts.p + at[2];
    q->kept.detail = q->texts.p + at[3];
    q->kept.body = a->body_bytes > 0 ? q->texts.p + body_at : NULL;
    q->answered = true;
}

static void keep_answer(void *context, const struct otpq_answer *answer)
{
    otpq_keep(context, answer);
}

/* Sleeps until there is something to do or the time is over. */
static void rest(otpq *q, int64_t until_ms)
{
    int64_t wait_ms = until_ms - clock_mono_ms();
    int64_t next_ms = otpq_next_ms(q);
    if (next_ms >= 0 && next_ms < wait_ms) {
        wait_ms = next_ms;
    }
    wait_ms = wait_ms < REST_MS_MAX ? wait_ms : REST_MS_MAX;
    struct pollfd fd = {.fd = q->epoll_fd, .events = POLLIN};
    if (wait_ms > 0) {
        (void)poll(&fd, 1, (int)wait_ms);
    }
}

size_t otpq_wait(otpq *q, uint32_t timeout_ms)
{
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    otpq_process(q);
    while (q->jobs.count > 0 && clock_mono_ms() < until_ms) {
        rest(q, until_ms);
        otpq_process(q);
    }
    return q->jobs.count;
}

static enum otpq_outcome block(otpq *q, const char *id, uint32_t timeout_ms,
                               struct otpq_answer *answer)
{
    int64_t until_ms = clock_mono_ms() + timeout_ms;
    char own_id[WIRE_ID_BYTES_MAX + 1]; /* the caller's may stand in the answer before this one */
    (void)snprintf(own_id, sizeof(own_id), "%s", id);
    q->answered = false;
    otpq_process(q);
    while (!q->answered && clock_mono_ms() < until_ms) {
        rest(q, until_ms);
        otpq_process(q);
    }
    if (!q->answered) {
        otpq_keep(q, &(struct otpq_answer){.outcome = OTPQ_TIMED_OUT,
                                           .id = own_id,
                                           .state = "",
                                           .code = "",
                                           .detail = "no broker answered in time"});
    }
    *answer = q->kept;
    return answer->outcome;
}

static enum otpq_outcome refuse(otpq *q, const char *why, struct otpq_answer *answer)
{
    otpq_keep(
        q, &(struct otpq_answer){
               .outcome = OTPQ_NOT_TAKEN, .id = "", .state = "", .code = "invalid", .detail = why});
    *answer = q->kept;
    return OTPQ_NOT_TAKEN;
}

enum otpq_outcome otpq_call(otpq *q, const struct otpq_job *job, uint32_t timeout_ms,
                            struct otpq_answer *answer)
{
    char id[WIRE_ID_BYTES_MAX + 2] = "c-"; /* one byte more: an id too long is refused as such */
    struct otpq_job named = *job;
    const char *error;
    if (job->id == NULL) {
        rng_secure_text(id + 2, 26);
    } else {
        (void)snprintf(id, sizeof(id), "%s", job->id);
    }
    named.id = id;
    if (otpq_submit(q, &named, keep_answer, q, &error) != 0) {
        return refuse(q, error, answer);
    }
    enum otpq_outcome outcome = block(q, named.id, timeout_ms, answer);
    struct pending *p = jobs_find(&q->jobs, slice_of(named.id));
    if (p != NULL) { /* nobody waits for it any more */
        jobs_remove(&q->jobs, p);
        free(p);
    }
    return outcome;
}

static enum otpq_outcome ask(otpq *q, char verb, const char *id, uint32_t timeout_ms,
                             struct otpq_answer *answer)
{
    if (verb != WIRE_INFO && !wire_id_ok(slice_of(id), WIRE_ID_BYTES_MAX)) {
        return refuse(q, "id: 1 to 64 bytes of A-Z a-z 0-9 _ . : -", answer);
    }
    q->ask = (struct ask){.verb = verb, .link = NO_LINK};
    (void)snprintf(q->ask.id, sizeof(q->ask.id), "%s", id);
    enum otpq_outcome outcome = block(q, id, timeout_ms, answer);
    q->ask.verb = 0;
    return outcome;
}

enum otpq_outcome otpq_get(otpq *q, const char *id, uint32_t timeout_ms, struct otpq_answer *answer)
{
    return ask(q, WIRE_GET, id, timeout_ms, answer);
}

enum otpq_outcome otpq_cancel(otpq *q, const char *id, uint32_t timeout_ms,
                              struct otpq_answer *answer)
{
    return ask(q, WIRE_CANCEL, id, timeout_ms, answer);
}

enum otpq_outcome otpq_info(otpq *q, uint32_t timeout_ms, struct otpq_answer *answer)
{
    return ask(q, WIRE_INFO, "", timeout_ms, answer);
}
