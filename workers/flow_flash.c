#include <openssl/crypto.h>
#include <stdio.h>

#include "common/base/log.h"
#include "workers/flow_inside.h"

/* ---- the code -------------------------------------------------------------------------------- */

/* It is told again, by queries and in the push. */
static void seal(struct flow *f)
{
    code_seal(f->all->pepper, slice_of(f->request_id), slice_of(f->otp), f->sealed);
    f->claim.facts.sealed = slice_of(f->sealed);
}

static void on_reserved(void *context, enum flash_reserved outcome);

static void ask_for_code(struct flow *f)
{
    uint64_t valid_ms = f->route->code_valid_s * UINT64_C(1000) + f->claim.lease_ms;
    seal(f);
    flash_reserve(f->all->flash, slice_of(f->called->name), slice_of(f->otp),
                  slice_of(f->request_id), valid_ms, on_reserved, f);
}

static void on_taken(struct flow *f)
{
    if (f->create.code.n > 0) {
        flow_explain(f, "code: another live request has it");
        flow_reserved(f, RESULT_CONFLICT);
    } else if (++f->reserve_tries >= FLOW_RESERVE_TRIES) {
        flow_explain(f, "nearly all codes are in use; longer ones would help");
        flow_reserved(f, RESULT_RATE_LIMITED);
    } else {
        code_make(f->otp, (int)strlen(f->otp));
        ask_for_code(f);
    }
}

static void on_reserved(void *context, enum flash_reserved outcome)
{
    struct flow *f = context;
    switch (outcome) {
    case FLASH_RESERVED:
        flow_reserved(f, RESULT_NONE);
        break;
    case FLASH_TAKEN:
        on_taken(f);
        break;
    case FLASH_RESERVE_NO_STORE:
        flow_reserved(f, RESULT_STORE_UNAVAILABLE);
        break;
    }
}

static bool reserve(struct flow *f)
{
    f->reserve_tries = 0;
    ask_for_code(f);
    return true;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

static const struct flash_template *lane_template(const struct flow *f)
{
    const size_t n = strlen(FLASH_LANE);
    struct slice lane = f->job.route;
    if (lane.n <= n || memcmp(lane.p, FLASH_LANE, n) != 0) {
        return NULL;
    }
    return records_flash_template(f->records, slice_make(lane.p + n, lane.n - n));
}

/* A template without an integration is its own: nobody is called, so that a run whose end nobody
 * knows is simply made again. */
static const struct integration *route(struct flow *f)
{
    const struct flash_template *t = lane_template(f);
    if (t == NULL || t->integration[0] != '\0') {
        return NULL;
    }
    f->local = (struct integration){
        .name = (char *)(uintptr_t)f->job.route.p, /* NUL-terminated, as long as the flow */
        .maker = CODE_BY_ADVERTISER,
        .code_valid_s = t->valid_min * 60,
        .on_unknown = ON_UNKNOWN_RETRY,
    };
    return &f->local;
}

/* Another's template is as one that is not there. */
static const struct flash_template *own_template(struct flow *f)
{
    const struct flash_template *t = records_flash_template(f->records, f->create.ft_id);
    if (t == NULL || !slice_is(f->create.account, t->account)) {
        flow_explain(f, "ft_id: the account has no flash template of this id");
        return NULL;
    }
    return t;
}

/* The lane of the template, or its integration with the links. */
static bool is_routed(struct flow *f, const struct flash_template *t)
{
    bool right = f->called->dialect == NULL
                     ? lane_template(f) == t
                     : slice_is(f->job.route, t->integration) && f->claim.link;
    if (!right) {
        flow_explain(f, "route: must be " FLASH_LANE "%s, or its integration when that makes links",
                     t->name);
    }
    return right;
}

/* Rules of the integration, with the validity that was asked for. */
static void set_validity(struct flow *f, const struct flash_template *t)
{
    if (f->route != &f->local) {
        bool direct = f->called == f->route;
        f->local = *f->route;
        f->route = &f->local;
        f->called = direct ? &f->local : f->called;
    }
    f->local.code_valid_s = f->create.validity_s > 0 ? f->create.validity_s : t->valid_min * 60;
}

static enum result_code read_create(struct flow *f, struct slice body)
{
    const char *why = "";
    char party[sizeof f->party];
    if (!job_flash_create_decode(body, &f->create, &why)) {
        flow_explain(f, "%s", why);
        return RESULT_INVALID_REQUEST;
    }
    const struct flash_template *t = own_template(f);
    if (t == NULL) {
        return RESULT_INTEGRATION_NOT_FOUND;
    }
    if (!is_routed(f, t)) {
        return RESULT_INVALID_REQUEST;
    }
    set_validity(f, t);
    (void)snprintf(party, sizeof party, ACCOUNT_LANE "%s", t->account);
    flow_party(f, 0, slice_of(party));
    flow_tag(f, f->job.id);
    (void)snprintf(f->lane, sizeof f->lane, FLASH_LANE "%s", t->name);
    f->claim.facts.lane = slice_of(t->callback_url[0] != '\0' ? f->lane : "");
    f->claim.facts.ft = slice_of(t->name);
    return RESULT_NONE;
}

static bool calls(const struct flow *f)
{
    return f->called->dialect != NULL;
}

/* ---- the way --------------------------------------------------------------------------------- */

static void claim_now(struct flow *f)
{
    char fresh[CODE_REQUEST_ID_MAX];
    code_request_id(f->claim.tag, JOB_ID_TOKEN, fresh);
    session_claim_send(f->all->sessions, &f->claim, f->route, fresh, f->on_claim, f);
}

/* Not this job's result for ever: the job was never begun. */
static void refuse_nonce(struct flow *f)
{
    struct job_result r;
    struct buf body;
    buf_init(&body, WIRE_BODY_BYTES_MAX);
    job_result_init(&r);
    r.error = slice_of(result_name(RESULT_INVALID_USER_CREDENTIALS));
    r.detail = SLICE("the nonce was used before");
    job_result_encode(&body, &r);
    const struct claim refused = {.outcome = CLAIM_REFUSED,
                                  .end = JOB_END_REFUSED,
                                  .code = RESULT_INVALID_USER_CREDENTIALS,
                                  .result_body = buf_slice(&body),
                                  .attempts_left = -1,
                                  .retry_after_s = -1,
                                  .expires_in_s = -1};
    f->on_claim(f, &refused);
    buf_free(&body);
}

static void on_nonce(void *context, enum flash_nonce_outcome outcome)
{
    static const struct claim away = {
        .outcome = CLAIM_NO_STORE, .attempts_left = -1, .retry_after_s = -1, .expires_in_s = -1};
    struct flow *f = context;
    switch (outcome) {
    case FLASH_NONCE_FRESH:
        claim_now(f);
        break;
    case FLASH_NONCE_SEEN:
        refuse_nonce(f);
        break;
    case FLASH_NONCE_NO_STORE:
        f->on_claim(f, &away);
        break;
    }
}

static void claim(struct flow *f, claim_callback *done)
{
    f->on_claim = done;
    if (f->create.nonce.n > 0) {
        flash_nonce(f->all->flash, f->create.account, f->create.nonce, f->job.id, on_nonce, f);
    } else {
        claim_now(f);
    }
}

static bool prepare(struct flow *f)
{
    const struct flash_template *t = records_flash_template(f->records, f->create.ft_id);
    must(t != NULL); /* the snapshot is the one of its reading */
    if (f->create.code.n > 0) {
        (void)snprintf(f->otp, sizeof f->otp, "%.*s", SLICE_ARG(f->create.code));
    } else {
        code_make(f->otp, (int)t->code_digits);
    }
    return true;
}

static void finish(struct flow *f, const struct session_finish *finish, finish_callback *done)
{
    session_finish_send(f->all->sessions, &f->claim, f->route, f->request_id, finish, done, f);
}

/* ---- results --------------------------------------------------------------------------------- */

static void fill(struct flow *f, struct job_result *r)
{
    if (r->error.n > 0 || f->request_id[0] == '\0') {
        return;
    }
    code_message_id(slice_of(f->request_id), f->message_id);
    r->flash.message_id = slice_of(f->message_id);
    r->flash.sealed = slice_of(f->sealed);
    r->flash.status = SLICE("0");
    r->flash.ft_id = f->claim.facts.ft;
}

/* The code itself is for the answer alone. */
static bool tell(struct flow *f, struct slice stored, struct buf *out)
{
    struct job_result r;
    const char *error = NULL;
    char code[CODE_DIGITS_MAX + 1];
    job_result_init(&r);
    if (!job_result_decode(stored, &r, &error) || r.flash.sealed.n == 0) {
        return false;
    }
    if (!code_open(f->all->pepper, r.request_id, r.flash.sealed, code)) {
        log_error("a code cannot be opened: was the pepper changed?", NULL);
    }
    r.flash.code = slice_of(code);
    r.flash.sealed = (struct slice){0};
    job_result_encode(out, &r);
    OPENSSL_cleanse(code, sizeof code);
    return true;
}

const struct flow_op flow_flash = {
    .call = DIALECT_SEND,
    .repeatable = true,
    .sends = true,
    .route = route,
    .read = read_create,
    .calls = calls,
    .claim = claim,
    .prepare = prepare,
    .reserve = reserve,
    .finish = finish,
    .fill = fill,
    .tell = tell,
};
