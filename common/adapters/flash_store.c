#include "common/adapters/flash_store.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/adapters/session_args.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/code.h"
#include "common/meaning/config.h"
#include "common/meaning/msisdn.h"
#include "common/meaning/phone.h"

/* Without an answer everything is asked again for so long: the job that waits has a deadline. */
enum { PATIENCE_MS = 2500, AGAIN_MS = 50, NONCE_KEEP_MS = 600000, KEPT_BYTES_MAX = 4096 };
/* How long it is known whose code was in an SMS that comes too late. */
static const uint64_t late_ms_max = UINT64_C(24) * 3600 * 1000;

struct flash_store {
    struct store *store;
    struct session_ground ground; /* what all scripts get */
    struct list calls;            /* all that still wait for something */
};

enum call_kind {
    CALL_RESERVE,
    CALL_NONCE,
    CALL_WHOSE, /* a report by its code: which request is it about? */
    CALL_REPORT,
    CALL_LOOK
};

/* One question on its way, with its arguments: it can be sent again as it is. */
struct call {
    struct list node;      /* in flash_store.calls */
    struct flash_store *s; /* NULL: it is gone, the answer is nobody's */
    enum call_kind kind;
    struct session_args args;
    int64_t until_ms;    /* monotonic; not sent again after it */
    bool in_store;       /* the store owes us a callback */
    bool over;           /* the pause is the last one: then the caller hears of no answer */
    struct event *again; /* the pause before the next try; NULL until needed */
    union {
        flash_reserve_callback *reserve;
        flash_nonce_callback *nonce;
        flash_report_callback *report;
        flash_look_callback *look;
    } done;
    void *context;
    char *job_id; /* nonce, report: owned */
    /* WHOSE, REPORT: what the script is told, owned */
    char *lane;
    char *party;
    struct buf bytes; /* that report borrows from */
    struct job_report report;
    uint32_t valid_s;
};

static void call_send(struct call *c);

/* ---- calls ----------------------------------------------------------------------------------- */

static struct call *call_new(struct flash_store *s, enum call_kind kind, void *context)
{
    struct call *c = xcalloc(1, sizeof *c);
    c->s = s;
    c->kind = kind;
    c->context = context;
    c->until_ms = clock_mono_ms() + PATIENCE_MS;
    session_args_init(&c->args);
    buf_init(&c->bytes, KEPT_BYTES_MAX);
    list_init(&c->node);
    list_push(&s->calls, &c->node);
    return c;
}

static void call_free(struct call *c)
{
    if (c->again != NULL) {
        event_free(c->again);
    }
    list_remove(&c->node);
    session_args_free(&c->args);
    if (c->bytes.p != NULL) {
        OPENSSL_cleanse(c->bytes.p, c->bytes.n); /* a code may stand in it */
    }
    buf_free(&c->bytes);
    free(c->job_id);
    free(c->lane);
    free(c->party);
    free(c);
}

/* No answer will come. */
static void call_gives_up(struct call *c)
{
    static const struct flash_reported unreported = {.outcome = FLASH_REPORT_NO_STORE};
    static const struct flash_look unseen = {.answered = false};
    switch (c->kind) {
    case CALL_RESERVE:
        c->done.reserve(c->context, FLASH_RESERVE_NO_STORE);
        break;
    case CALL_NONCE:
        c->done.nonce(c->context, FLASH_NONCE_NO_STORE);
        break;
    case CALL_WHOSE:
    case CALL_REPORT:
        c->done.report(c->context, &unreported);
        break;
    case CALL_LOOK:
        c->done.look(c->context, &unseen);
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
        call_gives_up(c);
    } else {
        call_send(c);
    }
}

/* Goes through the loop also when it is over: callers are never called back from below. */
static void call_failed(struct call *c)
{
    c->over = clock_mono_ms() >= c->until_ms;
    if (c->again == NULL) {
        c->again = evtimer_new(store_base(c->s->store), on_again, c);
        must(c->again != NULL);
    }
    struct timeval pause = {0, c->over ? 0 : AGAIN_MS * 1000};
    (void)event_add(c->again, &pause);
}

/* A place of one key, behind the prefix: kind:{tag}:rest. */
static void put_key(struct call *c, const char *kind, const char *tag, struct slice one,
                    struct slice two)
{
    char key[CONFIG_REDIS_PREFIX_BYTES_MAX + 256];
    int n = snprintf(key, sizeof key, "%s%s:{%s}:%.*s%s%.*s", c->s->ground.prefix, kind, tag,
                     SLICE_ARG(one), two.n > 0 ? ":" : "", SLICE_ARG(two));
    must(n > 0 && (size_t)n < sizeof key);
    session_args_put(&c->args, slice_make(key, (size_t)n));
}

/* Of a text that is no number: an account, a lane. */
static struct msisdn_tag tag_of(struct slice text)
{
    return msisdn_tag(text);
}

/* ---- codes of a lane ------------------------------------------------------------------------- */

static void put_code_key(struct call *c, struct slice lane, struct slice code)
{
    char mac[CODE_LANE_MAC_HEX + 1];
    code_lane_mac(c->s->ground.pepper, lane, code, mac);
    put_key(c, "m", tag_of(lane).text, lane, slice_of(mac));
}

void flash_reserve(struct flash_store *s, struct slice lane, struct slice code,
                   struct slice request_id, uint64_t valid_ms, flash_reserve_callback *done,
                   void *context)
{
    struct call *c = call_new(s, CALL_RESERVE, context);
    uint64_t keep_ms = s->ground.session_keep_ms;
    c->done.reserve = done;
    put_code_key(c, lane, code);
    session_args_put(&c->args, request_id);
    session_args_num(&c->args, valid_ms);
    session_args_num(&c->args, keep_ms < late_ms_max ? keep_ms : late_ms_max);
    call_send(c);
}

static bool reserve_answered(struct call *c, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_INTEGER) {
        return false;
    }
    c->done.reserve(c->context, reply->integer == 1 ? FLASH_RESERVED : FLASH_TAKEN);
    return true;
}

/* ---- nonces ---------------------------------------------------------------------------------- */

void flash_nonce(struct flash_store *s, struct slice account, struct slice nonce,
                 struct slice job_id, flash_nonce_callback *done, void *context)
{
    struct call *c = call_new(s, CALL_NONCE, context);
    c->done.nonce = done;
    c->job_id = slice_dup(job_id);
    session_args_put(&c->args, SLICE("SET"));
    put_key(c, "nx", tag_of(account).text, account, nonce);
    session_args_put(&c->args, job_id);
    session_args_put(&c->args, SLICE("NX"));
    session_args_put(&c->args, SLICE("GET"));
    session_args_put(&c->args, SLICE("PX"));
    session_args_num(&c->args, NONCE_KEEP_MS);
    call_send(c);
}

static bool nonce_answered(struct call *c, const redisReply *reply)
{
    bool fresh = reply->type == REDIS_REPLY_NIL;
    if (!fresh && reply->type != REDIS_REPLY_STRING) {
        return false;
    }
    fresh = fresh || slice_is(slice_make(reply->str, reply->len), c->job_id);
    c->done.nonce(c->context, fresh ? FLASH_NONCE_FRESH : FLASH_NONCE_SEEN);
    return true;
}

/* ---- reports --------------------------------------------------------------------------------- */

/* What the user sent, and from which country. */
static void put_facts(struct call *c)
{
    const struct job_report *r = &c->report;
    struct phone phone = {.country = ""};
    struct session_facts facts = {.mobile = r->mobile,
                                  .sender = r->sender,
                                  .send_time = r->send_time,
                                  .deliver_time = r->deliver_time};
    if (r->mobile.n > 0) {
        phone_look(r->mobile, &phone);
        facts.country = slice_of(phone.country);
    }
    session_args_facts(&c->args, &facts, (struct slice){0});
}

/* request_id is empty when nobody's was found. */
static void report_send(struct call *c, struct slice request_id)
{
    static const char *const words[] = {[DIALECT_DELIVERY] = "delivery",
                                        [DIALECT_VERIFICATION] = "verification",
                                        [DIALECT_MO] = "mo"};
    const struct integration valid = {.code_valid_s = c->valid_s};
    struct session_job job = {.job_id = slice_of(c->job_id),
                              .route = slice_of(c->lane),
                              .msisdn = c->report.mobile,
                              .party = c->party[0] != '\0' ? slice_of(c->party) : SLICE("0")};
    if (!code_request_tag(request_id, job.tag)) {
        request_id = slice_make(NULL, 0);
        memcpy(job.tag, tag_of(job.route).text, sizeof job.tag);
    }
    c->kind = CALL_REPORT;
    session_args_free(&c->args);
    session_args_init(&c->args);
    session_args_ground(&c->args, &c->s->ground, &job, &valid, "report");
    session_args_put(&c->args, request_id); /* 20 */
    session_args_put(&c->args, slice_of(words[c->report.event]));
    session_args_put(&c->args, slice_of(result_name(c->report.code))); /* 22 */
    put_facts(c);
    session_args_put(&c->args, c->report.advertiser_request_id); /* 24 */
    call_send(c);
}

/* What the index has of a code: request id, a space, and until when it is live. */
static bool whose_answered(struct call *c, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_NIL && reply->type != REDIS_REPLY_STRING) {
        return false;
    }
    struct slice request_id = {0};
    if (reply->type == REDIS_REPLY_STRING) {
        const char *end = memchr(reply->str, ' ', reply->len);
        request_id = slice_make(reply->str, end != NULL ? (size_t)(end - reply->str) : 0);
    }
    c->until_ms = clock_mono_ms() + PATIENCE_MS;
    report_send(c, request_id);
    return true;
}

static bool copy_report(struct call *c, const struct job_report *report)
{
    const char *error = NULL;
    job_report_encode(&c->bytes, report);
    return buf_ok(&c->bytes) && job_report_decode(buf_slice(&c->bytes), &c->report, &error);
}

void flash_report(struct flash_store *s, const struct flash_report *what,
                  flash_report_callback *done, void *context)
{
    struct call *c = call_new(s, CALL_REPORT, context);
    c->done.report = done;
    c->job_id = slice_dup(what->job_id);
    c->lane = slice_dup(what->lane);
    c->party = slice_dup(what->party);
    c->valid_s = what->valid_s > 0 ? what->valid_s : 1;
    if (!copy_report(c, &what->report)) { /* an advertiser's words, as a poll heard them */
        log_warn("a report cannot be told: its texts are no texts", NULL);
        c->until_ms = clock_mono_ms();
        call_failed(c);
        return;
    }
    if (c->report.mobile.n > MSISDN_DIGITS_MAX) {
        c->report.mobile = slice_make(NULL, 0);
    }
    if (c->report.request_id.n > 0 || c->report.otp.n == 0) {
        report_send(c, c->report.request_id);
        return;
    }
    c->kind = CALL_WHOSE;
    session_args_put(&c->args, SLICE("GET"));
    put_code_key(c, what->lane, c->report.otp);
    call_send(c);
}

static void copy_text(char *out, size_t size, const redisReply *text)
{
    (void)snprintf(out, size, "%.*s", (int)text->len, text->str != NULL ? text->str : "");
}

static bool report_answered(struct call *c, const redisReply *reply)
{
    static const struct {
        const char *word;
        enum flash_report_outcome outcome;
    } words[] = {{"applied", FLASH_REPORT_APPLIED},
                 {"ignored", FLASH_REPORT_IGNORED},
                 {"kept", FLASH_REPORT_KEPT},
                 {"unknown", FLASH_REPORT_UNKNOWN}};
    struct flash_reported r = {.outcome = FLASH_REPORT_NO_STORE};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (slice_is(slice_make(reply->element[0]->str, reply->element[0]->len), words[i].word)) {
            r.outcome = words[i].outcome;
        }
    }
    copy_text(r.request_id, sizeof r.request_id, reply->element[1]);
    copy_text(r.state, sizeof r.state, reply->element[2]);
    r.over = reply->element[3]->integer == 1;
    c->done.report(c->context, &r);
    return true;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Fields of the session, in the order of look_answered. */
static const char *const look_fields[] = {"st",     "exp",       "aid",         "route",
                                          "ft",     "sealed",    "url",         "mobile",
                                          "sender", "send_time", "deliver_time"};

void flash_look(struct flash_store *s, struct slice request_id, flash_look_callback *done,
                void *context)
{
    char tag[3];
    struct call *c = call_new(s, CALL_LOOK, context);
    c->done.look = done;
    if (!code_request_tag(request_id, tag)) {
        request_id = slice_make(NULL, 0); /* which no session has */
        memcpy(tag, "00", sizeof tag);
    }
    put_key(c, "s", tag, request_id, slice_make(NULL, 0));
    for (size_t i = 0; i < ARRAY_LEN(look_fields); i++) {
        session_args_put(&c->args, slice_of(look_fields[i]));
    }
    call_send(c);
}

static bool look_answered(struct call *c, const redisReply *reply)
{
    struct slice texts[ARRAY_LEN(look_fields)] = {{0}};
    struct flash_look look = {.answered = true};
    if (reply->type != REDIS_REPLY_ARRAY ||
        (reply->elements != 0 && reply->elements != 1 + ARRAY_LEN(look_fields))) {
        return false;
    }
    if (reply->elements > 0) {
        look.found = true;
        look.left_ms = reply->element[0]->integer;
    }
    for (size_t i = 1; i < reply->elements; i++) {
        if (reply->element[i]->type == REDIS_REPLY_STRING) {
            texts[i - 1] = slice_make(reply->element[i]->str, reply->element[i]->len);
        }
    }
    look.state = texts[0];
    look.party = texts[2];
    look.route = texts[3];
    look.ft_id = texts[4];
    look.sealed = texts[5];
    look.url = texts[6];
    look.mobile = texts[7];
    look.sender = texts[8];
    look.send_time = texts[9];
    look.deliver_time = texts[10];
    c->done.look(c->context, &look);
    return true;
}

/* ---- sending and hearing --------------------------------------------------------------------- */

static const struct {
    bool script; /* else a plain command */
    enum store_script which;
    bool (*answered)(struct call *c, const redisReply *reply);
} kinds[] = {
    [CALL_RESERVE] = {true, STORE_FLASH_RESERVE, reserve_answered},
    [CALL_NONCE] = {false, STORE_SCRIPTS, nonce_answered},
    [CALL_WHOSE] = {false, STORE_SCRIPTS, whose_answered},
    [CALL_REPORT] = {true, STORE_REPORT, report_answered},
    [CALL_LOOK] = {true, STORE_FLASH_LOOK, look_answered},
};

static void on_reply(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *c = context;
    c->in_store = false;
    if (c->s == NULL) {
        call_free(c);
        return;
    }
    if (outcome != STORE_OK || store_reply_unavailable(reply)) {
        call_failed(c);
        return;
    }
    enum call_kind kind = c->kind;
    if (!kinds[kind].answered(c, reply)) {
        log_error("script failed", "why", reply->str != NULL ? reply->str : "odd answer", NULL);
        call_gives_up(c);
    } else if (kind != CALL_WHOSE) { /* that one went on */
        call_free(c);
    }
}

static void call_send(struct call *c)
{
    struct slice argv[SESSION_ARGS_MAX];
    int n = session_args_slices(&c->args, argv);
    c->in_store = true;
    if (kinds[c->kind].script) {
        store_eval(c->s->store, kinds[c->kind].which, on_reply, c, 1, n, argv);
    } else {
        store_command(c->s->store, on_reply, c, n, argv);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct flash_store *flash_store_new(struct store *store, const struct session_store_options *o)
{
    struct flash_store *s = xcalloc(1, sizeof *s);
    s->store = store;
    session_ground_init(&s->ground, o);
    list_init(&s->calls);
    return s;
}

void flash_store_destroy(struct flash_store **sp)
{
    struct flash_store *s = *sp;
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
    session_ground_free(&s->ground);
    free(s);
}
