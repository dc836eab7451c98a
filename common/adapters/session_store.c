#include "common/adapters/session_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/adapters/session_args.h"
#include "common/adapters/session_reassert.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/code.h"
#include "common/meaning/config.h"
#include "common/meaning/wire.h"

/* A claim whose answer did not come is asked again for this long before it is given up. Pauses are
 * short: the script knows a repetition, and the job's deadline runs. */
enum {
    CLAIM_DOUBT_MS = 2500,
    AGAIN_MS = 50,
    DOUBTS_MAX = 20000,
    LINGER_MS = 60000,
    RESULT_BYTES_MAX = 16 * 1024
};

struct session_store {
    struct store *store;
    struct session_ground ground; /* what all scripts get */
    struct list calls;            /* all that still wait for something */
    uint64_t tokens;              /* of claims, counted from 1 */
    uint32_t doubts;              /* releases and outcomes that nobody waits for */
    struct reassert *reassert;    /* claims that were won */
    int64_t hold_until_ms;        /* mono; what others may have claimed is not asked for before */
};

/* A claim goes through the first two on its way. */
enum call_kind {
    CALL_IDENTITY, /* is this id's job the one that it was at first? */
    CALL_RESOLVE,  /* verify without a request id: which session is meant? */
    CALL_CLAIM,
    CALL_FINISH,
    CALL_RELEASE,
    CALL_DOUBT
};

/* One transition on its way, with its arguments: it can be sent again as it is. */
struct call {
    struct list node;        /* in session_store.calls */
    struct session_store *s; /* NULL: the session store is gone, the answer is nobody's */
    enum call_kind kind;
    enum store_script script;
    struct session_args args;
    int64_t until_ms;    /* monotonic; not sent again after it */
    bool in_doubt;       /* one try at least may have been executed */
    bool in_store;       /* the store owes us a callback */
    bool over;           /* the pause is the last one: then the caller hears of no answer */
    uint32_t lease_ms;   /* of the job */
    struct event *again; /* the pause before the next try; NULL until needed */
    union {
        claim_callback *claim;
        finish_callback *finish;
        void (*release)(void *context, bool written);
    } done;
    void *context;
    struct session_job *job; /* claims: the flow keeps it until the callback */
    uint64_t keep_ms;        /* claims: as the script is told */
    int64_t asked_ms;        /* claims, mono: when the script was last sent */
    struct slice request_id; /* verify: as the user gave it; lives as long as the job */
    const char *maker;       /* verify: as maker_word says it */
    uint64_t checks;         /* verify: allowed for a session */
    uint64_t window_ms;      /* verify: of failures */
    struct slice code;       /* until CALL_CLAIM: given by the user; never stored */
};

/* What every session script answers; see answer() in shared.lua. */
struct answer {
    struct slice outcome;
    struct slice end;
    struct slice code;
    struct slice request_id;
    struct slice advertiser_request_id;
    struct slice body;
    long long attempt_seen;
    long long wait_ms;
    long long attempts_left;
    long long retry_after_s;
    long long expires_in_s;
    bool resend;
    struct slice eid;
    struct slice msisdn;
    struct slice via;
    bool unsure;
    struct slice record; /* won: what stands in the store now */
};

static void call_send(struct call *c);
static void call_pause(struct call *c, int64_t ms);
static void identity_send(struct call *c);

/* ---- answers --------------------------------------------------------------------------------- */

static struct slice reply_text(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING ? slice_make(r->str, r->len) : slice_make(NULL, 0);
}

static bool answer_read(const redisReply *reply, struct answer *a)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 17) {
        return false;
    }
    redisReply *const *e = reply->element;
    *a = (struct answer){.outcome = reply_text(e[0]),
                         .end = reply_text(e[1]),
                         .code = reply_text(e[2]),
                         .request_id = reply_text(e[3]),
                         .advertiser_request_id = reply_text(e[4]),
                         .body = reply_text(e[5]),
                         .attempt_seen = e[6]->integer,
                         .wait_ms = e[7]->integer,
                         .attempts_left = e[8]->integer,
                         .retry_after_s = e[9]->integer,
                         .expires_in_s = e[10]->integer,
                         .resend = e[11]->integer == 1,
                         .eid = reply_text(e[12]),
                         .msisdn = reply_text(e[13]),
                         .via = reply_text(e[14]),
                         .unsure = e[15]->integer == 1,
                         .record = reply_text(e[16])};
    return true;
}

static void text_copy(char *out, size_t size, struct slice s)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;
    if (n > 0) {
        memcpy(out, s.p, n);
    }
    out[n] = '\0';
}

/* The body of a result: what its run said, with what the script decided. */
static void answer_body(const struct answer *a, struct buf *out)
{
    struct job_result r;
    const char *error = NULL;
    job_result_init(&r);
    if (a->body.n > 0 && !job_result_decode(a->body, &r, &error)) {
        log_error("stored result cannot be read", "why", error, NULL);
        job_result_init(&r);
    }
    bool done = slice_is(a->end, job_end_names[JOB_END_DONE]);
    r.response = done ? a->code : slice_make(NULL, 0);
    r.error = done ? slice_make(NULL, 0) : a->code;
    if (a->request_id.n > 0) {
        r.request_id = a->request_id;
    }
    if (a->eid.n > 0) {
        r.eid = a->eid;
    }
    r.attempts_left = a->attempts_left >= 0 ? a->attempts_left : r.attempts_left;
    r.retry_after_s = a->retry_after_s >= 0 ? a->retry_after_s : r.retry_after_s;
    r.expires_in_s = a->expires_in_s >= 0 ? a->expires_in_s : r.expires_in_s;
    job_result_only_facts(&r, result_of(a->code));
    job_result_encode(out, &r);
}

static const struct {
    const char *word;
    enum claim_outcome outcome;
} claim_words[] = {
    {"won", CLAIM_WON},         {"ended", CLAIM_ENDED},         {"lost", CLAIM_ENDED},
    {"written", CLAIM_ENDED},   {"elsewhere", CLAIM_ELSEWHERE}, {"stale", CLAIM_STALE},
    {"refused", CLAIM_REFUSED}, {"conflict", CLAIM_CONFLICT},   {"busy", CLAIM_BUSY},
    {"moved", CLAIM_MOVED},
};

static enum claim_outcome claim_outcome_of(struct slice word)
{
    for (size_t i = 0; i < ARRAY_LEN(claim_words); i++) {
        if (slice_is(word, claim_words[i].word)) {
            return claim_words[i].outcome;
        }
    }
    return CLAIM_NO_STORE;
}

/* Won once more: with a new lease. */
static void keep_won(const struct call *c, struct slice record)
{
    reassert_drop(&c->job->claimed);
    c->job->claimed =
        reassert_keep(c->s->reassert, c->job, record, c->keep_ms, c->asked_ms + c->lease_ms);
}

static void claim_tell(struct call *c, const struct answer *a)
{
    struct claim claim = {.outcome = CLAIM_NO_STORE,
                          .end = JOB_ENDS,
                          .attempts_left = -1,
                          .retry_after_s = -1,
                          .expires_in_s = -1};
    struct buf body;
    buf_init(&body, RESULT_BYTES_MAX);
    if (a != NULL) {
        claim.outcome = claim_outcome_of(a->outcome);
        claim.end = job_end_of(a->end);
        claim.code = result_of(a->code);
        text_copy(claim.request_id, sizeof claim.request_id, a->request_id);
        text_copy(claim.advertiser_request_id, sizeof claim.advertiser_request_id,
                  a->advertiser_request_id);
        text_copy(claim.msisdn, sizeof claim.msisdn, a->msisdn);
        text_copy(claim.via, sizeof claim.via, a->via);
        claim.attempt_seen = (uint32_t)a->attempt_seen;
        claim.wait_ms = (uint32_t)a->wait_ms;
        claim.attempts_left = a->attempts_left;
        claim.retry_after_s = a->retry_after_s;
        claim.expires_in_s = a->expires_in_s;
        claim.resend = a->resend;
        claim.unsure = a->unsure;
    }
    if (claim.outcome == CLAIM_ENDED || claim.outcome == CLAIM_REFUSED) {
        answer_body(a, &body);
        claim.result_body = buf_slice(&body);
    } else if (claim.outcome == CLAIM_WON) {
        keep_won(c, a->record);
    }
    c->done.claim(c->context, &claim);
    buf_free(&body);
}

/* Lost without a result: another owner has the job, by the route's on_unknown policy. */
static void finish_tell(struct call *c, const struct answer *a)
{
    struct finish f = {
        .outcome = FINISH_NO_STORE, .end = JOB_END_UNKNOWN, .code = RESULT_OUTCOME_UNKNOWN};
    struct buf body;
    buf_init(&body, RESULT_BYTES_MAX);
    if (a != NULL) {
        f.outcome = slice_is(a->outcome, "written") ? FINISH_WRITTEN
                    : a->end.n > 0                  ? FINISH_LOST
                                                    : FINISH_ELSEWHERE;
    }
    if (a != NULL && a->end.n > 0) {
        f.end = job_end_of(a->end);
        f.code = result_of(a->code);
        answer_body(a, &body);
        f.result_body = buf_slice(&body);
    }
    c->done.finish(c->context, &f);
    buf_free(&body);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct call *call_new(struct session_store *s, enum call_kind kind, enum store_script script,
                             const struct session_job *job, void *context)
{
    struct call *c = xcalloc(1, sizeof *c);
    c->s = s;
    c->kind = kind;
    c->script = script;
    c->context = context;
    c->lease_ms = job->lease_ms;
    session_args_init(&c->args);
    list_init(&c->node);
    list_push(&s->calls, &c->node);
    int64_t patience = kind == CALL_FINISH ? job->lease_ms : CLAIM_DOUBT_MS;
    c->until_ms = clock_mono_ms() + patience;
    return c;
}

static void call_free(struct call *c)
{
    if (c->kind == CALL_DOUBT && c->s != NULL) {
        c->s->doubts--;
    }
    if (c->again != NULL) {
        event_free(c->again);
    }
    list_remove(&c->node);
    session_args_free(&c->args);
    free(c);
}

/* The claim may stand in Redis although its caller gives the job back: its release follows as soon
 * as the store answers again. Until the lease is over; then the claim ends as unknown by itself. */
static void call_becomes_doubt(struct call *c)
{
    struct session_store *s = c->s;
    if (s->doubts >= DOUBTS_MAX) {
        call_free(c);
        return;
    }
    s->doubts++;
    c->kind = CALL_DOUBT;
    c->script = STORE_RELEASE;
    c->over = false;
    c->until_ms = clock_mono_ms() + c->lease_ms;
    if (clock_mono_ms() < s->hold_until_ms) {
        call_pause(c, s->hold_until_ms - clock_mono_ms());
    } else {
        call_send(c);
    }
}

/* What the caller has given up to write may correct the job later: without it the reaper would
 * leave it unknown, although it was told otherwise. */
static void call_lingers(struct call *c)
{
    struct session_store *s = c->s;
    if (s->doubts >= DOUBTS_MAX) {
        call_free(c);
        return;
    }
    s->doubts++;
    c->kind = CALL_DOUBT;
    c->over = false;
    c->until_ms = clock_mono_ms() + LINGER_MS;
    call_send(c);
}

/* a == NULL: no answer. Frees the call, or turns it into the release of a doubtful claim. */
static void call_ends(struct call *c, const struct answer *a)
{
    switch (c->kind) {
    case CALL_IDENTITY:
    case CALL_RESOLVE:
        claim_tell(c, a);
        break;
    case CALL_CLAIM:
        claim_tell(c, a);
        if (a == NULL && c->in_doubt) {
            call_becomes_doubt(c);
            return;
        }
        break;
    case CALL_FINISH:
        finish_tell(c, a);
        if (a == NULL) {
            call_lingers(c);
            return;
        }
        break;
    case CALL_RELEASE:
        c->done.release(c->context, a != NULL && slice_is(a->outcome, "released"));
        if (a == NULL) {
            call_becomes_doubt(c);
            return;
        }
        break;
    case CALL_DOUBT:
        break;
    }
    call_free(c);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct call *c = arg;
    if (c->over) {
        call_ends(c, NULL);
    } else if (c->kind == CALL_IDENTITY) {
        identity_send(c);
    } else {
        call_send(c);
    }
}

static void call_pause(struct call *c, int64_t ms)
{
    if (c->again == NULL) {
        c->again = evtimer_new(store_base(c->s->store), on_again, c);
        must(c->again != NULL);
    }
    struct timeval pause = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    (void)event_add(c->again, &pause);
}

/* A claim that another run may have, of which the store is still to be told. */
static void call_hold(struct call *c)
{
    int64_t ms = c->s->hold_until_ms - clock_mono_ms();
    c->until_ms = c->s->hold_until_ms + CLAIM_DOUBT_MS;
    call_pause(c, ms > 0 ? ms : 0);
}

/* No answer, or one that says "not now". A claim that certainly did not happen is not worth waiting
 * for; everything else is sent again until its time is over. Goes through the loop also when it is
 * over: a store that is down says so at once, and callers are never called back from below. */
static void call_failed(struct call *c)
{
    bool claims = c->kind == CALL_CLAIM || c->kind == CALL_IDENTITY;
    c->over = (claims && !c->in_doubt) || c->kind == CALL_RESOLVE || clock_mono_ms() >= c->until_ms;
    call_pause(c, c->over ? 0 : AGAIN_MS);
}

static void on_script(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    c->in_store = false;
    if (c->s == NULL) {
        call_free(c);
        return;
    }
    struct answer a;
    if (outcome == STORE_UNKNOWN) {
        c->in_doubt = true;
        call_failed(c);
    } else if (outcome == STORE_REFUSED || store_reply_unavailable(reply)) {
        call_failed(c);
    } else if (answer_read(reply, &a)) {
        call_ends(c, &a);
    } else {
        log_error("script failed", "why", reply->str != NULL ? reply->str : "odd answer", NULL);
        call_ends(c, NULL);
    }
}

static void call_send(struct call *c)
{
    struct slice argv[SESSION_ARGS_MAX];
    int n = session_args_slices(&c->args, argv);
    c->in_store = true;
    c->asked_ms = clock_mono_ms();
    store_eval(c->s->store, c->script, on_script, c, 1, n, argv);
}

/* ---- the transitions ------------------------------------------------------------------------- */

static uint64_t at_least_one(uint32_t value)
{
    return value > 0 ? value : 1;
}

/* Who makes and checks the code; for verifies also whether a link's state is asked for. */
static const char *maker_word(const struct integration *route, bool link)
{
    return link ? "l" : route->maker == CODE_BY_OTPQ ? "o" : "a";
}

/* What tell.lua calls flags and facts. */
static void put_send_facts(struct session_args *a, const struct session_job *job)
{
    char flags[3] = "";
    (void)snprintf(flags, sizeof flags, "%s%s", job->reports ? "r" : "", job->link ? "l" : "");
    session_args_put(a, slice_of(flags));
    session_args_facts(a, &job->facts, job->via);
}

static void job_token(struct session_store *s, struct session_job *job)
{
    if (job->token == 0) {
        job->token = ++s->tokens;
    }
}

static void claim_begin(struct call *c)
{
    c->keep_ms = session_result_keep_ms(c->job, c->s->ground.keep_ms) + c->lease_ms;
    if (c->job->elsewhere && clock_mono_ms() < c->s->hold_until_ms) {
        call_hold(c);
    } else {
        identity_send(c);
    }
}

void session_claim_send(struct session_store *s, struct session_job *job,
                        const struct integration *route, const char *new_request_id,
                        claim_callback *done, void *context)
{
    job_token(s, job);
    struct call *c = call_new(s, CALL_IDENTITY, STORE_CLAIM_SEND, job, context);
    struct session_args *a = &c->args;
    c->done.claim = done;
    c->job = job;
    session_args_ground(a, &s->ground, job, route, "send");
    session_args_put(a, slice_of(new_request_id));           /* 20 */
    session_args_put(a, slice_of(maker_word(route, false))); /* 21 */
    session_args_num(a, route->resend_after_s * UINT64_C(1000));
    session_args_num(a, at_least_one(route->sends_max)); /* 23 */
    session_args_num(a, at_least_one(route->sends_window_s) * 1000);
    session_args_num(a, at_least_one(route->code_checks)); /* 25 */
    session_args_num(a, route->on_unknown == ON_UNKNOWN_RETRY && !job->settle ? 1 : 0);
    put_send_facts(a, job); /* 27, 28 */
    session_args_steps(a, job, "send", job->steps, job->step_count);
    claim_begin(c);
}

/* A request id of ours that can belong to this job; else empty, which no session has. */
static struct slice own_request_id(const struct session_job *job, struct slice request_id)
{
    char tag[3];
    if (!code_request_tag(request_id, tag) || strcmp(tag, job->tag) != 0) {
        return slice_make(NULL, 0);
    }
    return request_id;
}

/* What tell.lua calls flags. */
static struct slice verify_flags(const struct session_job *job)
{
    return slice_of(job->query ? "q" : "");
}

/* The second half of a verify's arguments, once it is known which session is meant. */
static void verify_send(struct call *c, const struct session_job *job, struct slice request_id)
{
    struct session_args *a = &c->args;
    struct session_facts facts = job->facts;
    char mac[CODE_MAC_HEX + 1] = "";
    char sealed[CODE_SEALED_HEX + 1] = "";
    c->kind = CALL_CLAIM;
    if (c->maker[0] == 'o' && request_id.n > 0) {
        code_mac(c->s->ground.pepper, request_id, c->code, mac);
        if (facts.mobile.n > 0 && code_ok(c->code)) { /* the push of a right one tells it again */
            code_seal(c->s->ground.pepper, request_id, c->code, sealed);
            facts.sealed = slice_of(sealed);
        }
    }
    c->code = slice_make(NULL, 0);
    session_args_put(a, request_id); /* 20 */
    session_args_put(a, slice_of(c->maker));
    session_args_num(a, c->checks); /* 22 */
    session_args_num(a, c->window_ms);
    session_args_put(a, slice_of(mac)); /* 24 */
    session_args_put(a, job->nowhere ? slice_of("") : job->via.n > 0 ? job->via : job->route);
    session_args_put(a, verify_flags(job));        /* 26 */
    session_args_facts(a, &facts, slice_of(NULL)); /* 27 */
    session_args_steps(a, job, "verify", job->steps, job->step_count);
    call_send(c);
}

static void on_newest(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    c->in_store = false;
    if (c->s == NULL) {
        call_free(c);
    } else if (outcome != STORE_OK || reply->type == REDIS_REPLY_ERROR) {
        call_failed(c);
    } else {
        verify_send(c, c->job, own_request_id(c->job, reply_text(reply)));
    }
}

static void newest_ask(struct call *c)
{
    const struct session_job *job = c->job;
    char key[CONFIG_REDIS_PREFIX_BYTES_MAX + 192];
    int n = snprintf(key, sizeof key, "%sn:{%s}:%.*s:%.*s:%.*s", c->s->ground.prefix, job->tag,
                     SLICE_ARG(job->party), SLICE_ARG(job->route), SLICE_ARG(job->msisdn));
    must(n > 0 && (size_t)n < sizeof key);
    struct slice argv[2] = {SLICE("GET"), slice_make(key, (size_t)n)};
    c->kind = CALL_RESOLVE;
    c->in_store = true;
    store_command(c->s->store, on_newest, c, 2, argv);
}

/* The id's job is what it was at first, or is so from now on. */
static void identity_settled(struct call *c)
{
    c->in_doubt = false; /* that was of this command; the claim is still to come */
    if (c->script == STORE_CLAIM_SEND) {
        c->kind = CALL_CLAIM;
        call_send(c);
    } else if (c->request_id.n == 0) {
        newest_ask(c);
    } else {
        verify_send(c, c->job, own_request_id(c->job, c->request_id));
    }
}

static void fingerprint_text(const struct session_job *job, char out[17])
{
    (void)snprintf(out, 17, "%016" PRIx64, job->fingerprint);
}

static void identity_judge(struct call *c, const redisReply *reply)
{
    static const struct answer conflict = {
        .outcome = {"conflict", 8}, .attempts_left = -1, .retry_after_s = -1, .expires_in_s = -1};
    char ours[17];
    fingerprint_text(c->job, ours);
    if (reply->type == REDIS_REPLY_NIL || slice_is(reply_text(reply), ours)) {
        identity_settled(c);
    } else if (reply->type == REDIS_REPLY_STRING) {
        call_ends(c, &conflict);
    } else {
        log_error("identity of a job cannot be asked", "why", reply->str, NULL);
        call_ends(c, NULL);
    }
}

static void on_identity(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    c->in_store = false;
    if (c->s == NULL) {
        call_free(c);
    } else if (outcome == STORE_UNKNOWN) {
        c->in_doubt = true;
        call_failed(c);
    } else if (outcome == STORE_REFUSED || store_reply_unavailable(reply)) {
        call_failed(c);
    } else {
        identity_judge(c, reply);
    }
}

/* The claim's key has the number's tag, so the same id with another number would be another claim.
 * What an id stands for is therefore asked before, under a tag of the id's own; a command by
 * itself, because no script may touch two tags. It lives as long as the job's
 * last result can. Sent again it has the same answer. */
static void identity_send(struct call *c)
{
    char key[CONFIG_REDIS_PREFIX_BYTES_MAX + 160], ours[17], keep_ms[24];
    unsigned tag = (unsigned)(slice_hash(c->job->job_id) & 0xff);
    int n = snprintf(key, sizeof key, "%sd:{%02x}:%.*s", c->s->ground.prefix, tag,
                     SLICE_ARG(c->job->job_id));
    must(n > 0 && (size_t)n < sizeof key);
    fingerprint_text(c->job, ours);
    (void)snprintf(keep_ms, sizeof keep_ms, "%" PRIu64,
                   session_result_keep_ms(c->job, c->s->ground.keep_ms) + c->job->left_ms +
                       2 * (uint64_t)c->lease_ms);
    struct slice argv[] = {
        SLICE("SET"), slice_make(key, (size_t)n), slice_of(ours), SLICE("NX"), SLICE("GET"),
        SLICE("PX"),  slice_of(keep_ms)};
    c->in_store = true;
    store_command(c->s->store, on_identity, c, ARRAY_LEN(argv), argv);
}

void session_claim_verify(struct session_store *s, struct session_job *job,
                          const struct integration *route, struct slice request_id,
                          struct slice code, claim_callback *done, void *context)
{
    job_token(s, job);
    struct call *c = call_new(s, CALL_IDENTITY, STORE_CLAIM_VERIFY, job, context);
    c->done.claim = done;
    c->job = job;
    c->request_id = request_id;
    c->code = code;
    c->maker = maker_word(route, job->link);
    c->checks = at_least_one(route->code_checks);
    c->window_ms = at_least_one(route->sends_window_s) * 1000;
    session_args_ground(&c->args, &s->ground, job, route, "verify");
    claim_begin(c);
}

static void put_result(struct session_args *a, const struct session_finish *f,
                       const char *request_id)
{
    struct job_result r = *f->result;
    struct buf body;
    buf_init(&body, RESULT_BYTES_MAX);
    if (r.request_id.n == 0) {
        r.request_id = slice_of(request_id);
    }
    job_result_encode(&body, &r);
    session_args_put(a, buf_ok(&body) ? buf_slice(&body) : slice_make(NULL, 0));
    buf_free(&body);
}

void session_finish_send(struct session_store *s, const struct session_job *job,
                         const struct integration *route, const char *request_id,
                         const struct session_finish *f, finish_callback *done, void *context)
{
    struct call *c = call_new(s, CALL_FINISH, STORE_FINISH_SEND, job, context);
    struct session_args *a = &c->args;
    c->done.finish = done;
    session_args_ground(a, &s->ground, job, route, "send");
    session_args_put(a, slice_of(request_id)); /* 20 */
    session_args_put(a, slice_of(job_end_names[f->end]));
    session_args_put(a, slice_of(result_name(f->code))); /* 22 */
    session_args_put(a, f->advertiser_request_id);
    session_args_put(a, f->user_id); /* 24 */
    session_args_put(a, f->code_mac);
    put_result(a, f, request_id); /* 26 */
    put_send_facts(a, job);
    session_args_steps(a, job, "send", f->steps, f->step_count);
    call_send(c);
}

void session_finish_verify(struct session_store *s, const struct session_job *job,
                           const struct integration *route, const char *request_id,
                           const struct session_finish *f, finish_callback *done, void *context)
{
    struct call *c = call_new(s, CALL_FINISH, STORE_FINISH_VERIFY, job, context);
    struct session_args *a = &c->args;
    c->done.finish = done;
    session_args_ground(a, &s->ground, job, route, "verify");
    session_args_put(a, slice_of(request_id)); /* 20 */
    session_args_put(a, slice_of(job_end_names[f->end]));
    session_args_put(a, slice_of(result_name(f->code))); /* 22 */
    session_args_put(a, f->user_id);
    session_args_num(a, at_least_one(route->code_checks)); /* 24 */
    put_result(a, f, request_id);
    session_args_put(a, slice_of(maker_word(route, job->link))); /* 26 */
    session_args_put(a, verify_flags(job));
    session_args_facts(a, &job->facts, slice_of(NULL)); /* 28 */
    session_args_steps(a, job, "verify", f->steps, f->step_count);
    call_send(c);
}

void session_release(struct session_store *s, const struct session_job *job,
                     const struct integration *route, const struct session_doubt *doubt,
                     const struct session_step *last, void (*done)(void *context, bool written),
                     void *context)
{
    struct call *c = call_new(s, CALL_RELEASE, STORE_RELEASE, job, context);
    struct session_args *a = &c->args;
    c->done.release = done;
    session_args_ground(a, &s->ground, job, route, "release");
    session_args_num(a, doubt != NULL ? 1 : 0); /* 20 */
    session_args_put(a, doubt != NULL ? doubt->code_mac : slice_make(NULL, 0));
    session_args_put(a, doubt != NULL ? doubt->user_id : slice_make(NULL, 0)); /* 22 */
    session_args_put(a, slice_of(last != NULL ? last->step : ""));
    session_args_put(a, slice_of(last != NULL ? last->detail : "")); /* 24 */
    session_args_num(a, job->left_ms);
    session_args_steps(a, job, "send", job->steps, last != NULL ? job->step_count : 0);
    call_send(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct session_store *session_store_new(struct store *store, const struct session_store_options *o)
{
    struct session_store *s = xcalloc(1, sizeof *s);
    s->store = store;
    session_ground_init(&s->ground, o);
    list_init(&s->calls);
    s->reassert = reassert_new(store, s->ground.prefix);
    return s;
}

void session_job_over(struct session_job *job)
{
    reassert_drop(&job->claimed);
}

void session_store_forgot(struct session_store *s)
{
    s->hold_until_ms = clock_mono_ms() + WIRE_REASSERT_MS;
    reassert_all(s->reassert);
    list_each(node, &s->calls)
    {
        struct call *c = list_owner(node, struct call, node);
        if ((c->kind == CALL_IDENTITY || c->kind == CALL_CLAIM) && !c->in_store && !c->over) {
            call_hold(c);
        } else if (c->kind == CALL_DOUBT && c->script == STORE_RELEASE && !c->in_store &&
                   !c->over) {
            call_pause(c, WIRE_REASSERT_MS); /* it would open what another process had won */
        }
    }
}

void session_store_destroy(struct session_store **sp)
{
    struct session_store *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    list_each(node, &s->calls)
    {
        struct call *c = list_owner(node, struct call, node);
        c->s = NULL;
        if (c->in_store) {
            list_remove(&c->node); /* freed when the store answers */
        } else {
            call_free(c);
        }
    }
    reassert_destroy(&s->reassert);
    session_ground_free(&s->ground);
    free(s);
}
