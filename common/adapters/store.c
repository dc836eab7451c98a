#include "common/adapters/store_inside.h"

#include <hiredis/async.h>
#include <hiredis/adapters/libevent.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/adapters/resolve.h"
#include "common/adapters/store_cluster.h"
#include "common/adapters/store_news.h"
#include "common/adapters/store_replies.h"
#include "common/adapters/store_sentinel.h"
#include "common/adapters/store_server.h"
#include "common/adapters/store_words.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/rng.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 1000, SILENT_TIMEOUTS_MAX = 3 };

enum link {
    LINK_DOWN,     /* the retry timer runs */
    LINK_LOOKING,  /* the host's name is being looked up */
    LINK_GREETING, /* connecting, AUTH, who are you, PING or SUBSCRIBE */
    LINK_UP
};

struct store {
    struct event_base *base;
    struct netaddr_redis address;
    char *address_text; /* for logs */
    char *password;     /* or NULL; wiped at the end */
    char *channel;      /* subscriber: the one channel; else NULL */
    void (*on_message)(void *context, struct slice message); /* subscriber only */
    void (*on_state)(void *context, bool up);                /* may be NULL */
    void (*on_forgot)(void *context);                        /* may be NULL */
    void *context;                                           /* of the three */
    uint32_t timeout_ms;                                     /* per command */
    uint32_t pending_max;                                    /* ceiling for in_flight */
    enum link link;
    bool known;                   /* server is set: there was a connection */
    struct store_server server;   /* of the last connection that was up */
    struct store_server greeting; /* of this one, while it says who it is */
    struct sentinels *sentinels;  /* NULL: the address names the server itself */
    struct netaddr at;            /* the server of this connection, or of the next one */
    struct resolver *resolver;    /* of at; NULL: a unix socket, or an address in digits */
    struct replies *replies;      /* memory of answers */
    redisAsyncContext *ac;        /* NULL while down; hiredis frees it by itself on errors */
    struct list waiting;          /* ops with a callback still owed, earliest deadline first */
    uint32_t in_flight;           /* ops that hiredis holds, those already timed out included */
    struct event *deadline;       /* earliest deadline of waiting */
    struct event *retry;          /* next connection attempt */
    uint32_t backoff_ms;          /* before jitter */
    int64_t heard_ms;             /* when anything was last heard from the server */
    unsigned depth;               /* callbacks of ours on the stack */
    bool closing;                 /* store_destroy runs: no reconnect */
    bool told;                    /* this outage stands in the log */
    bool quiet;                   /* nothing stands in the log */
    bool plain;                   /* it keeps no data: greeted by PING alone */
    char why[160];                /* of the last loss; "" when it is up */
    bool guarded;                 /* a node of a cluster: its scripts begin with the guard */
    /* An address of a cluster: one of the two stands behind this store, and of the members above
     * only base, address_text, password, context and the limits are in use. */
    struct store_cluster *cluster;
    struct store_news *news; /* of a subscriber */
};

/* One command. hiredis holds it as privdata until its reply or the connection's end. */
struct op {
    struct list node; /* in store.waiting; alone once its callback has run */
    struct store *store;
    store_callback *done; /* NULL once it has run: a late reply is ignored */
    void *context;
    int64_t deadline_ms;
    int script;     /* enum store_script of an EVALSHA; -1: a plain command or EVAL */
    size_t words;   /* of an EVALSHA, all of them */
    size_t head;    /* bytes in front of the third */
    size_t bytes;   /* from there on, for EVAL after NOSCRIPT */
    char written[]; /* the command as the server reads it; not in a greeting */
};

static void timer_set(struct event *e, int64_t ms)
{
    if (ms < 0) {
        ms = 0;
    }
    struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(e, &tv);
}

/* The callback may drop the connection, which frees ops that hiredis held, this one too. */
static void op_settle(struct op *op, enum store_outcome outcome, const redisReply *reply)
{
    struct store *s = op->store;
    store_callback *done = op->done;
    if (done == NULL) {
        return;
    }
    op->done = NULL;
    list_remove(&op->node);
    s->depth++;
    done(op->context, outcome, reply);
    s->depth--;
}

static void op_free(struct op *op)
{
    op->store->in_flight--;
    free(op);
}

/* A process has two: what is asked and written, and the news of records. */
static const char *connection_name(const struct store *s)
{
    return s->channel == NULL ? "commands" : "news";
}

/* The connection is gone or to be dropped: forget it, tell the owner, try again later. */
static void store_lost(struct store *s, const char *why)
{
    bool was_up = s->link == LINK_UP;
    s->ac = NULL;
    s->link = LINK_DOWN;
    if (s->closing) {
        return;
    }
    (void)snprintf(s->why, sizeof s->why, "%s", why);
    if (!s->told && !s->quiet) {
        log_warn("redis is away", "connection", connection_name(s), "address", s->address_text,
                 "why", why, NULL);
    }
    s->told = true;
    uint32_t half = s->backoff_ms / 2;
    if (s->sentinels != NULL) {
        sentinels_hurry(s->sentinels, true);
    }
    timer_set(s->retry, half + (int64_t)rng_secure_below(half + 1));
    s->backoff_ms = s->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff_ms * 2;
    if (was_up && s->on_state != NULL) {
        s->depth++;
        s->on_state(s->context, false);
        s->depth--;
    }
}

/* Drops the connection ourselves. Callbacks of what was in flight run with STORE_UNKNOWN, now, or
 * when hiredis unwinds if it is below us on the stack. */
static void store_drop(struct store *s, const char *why)
{
    redisAsyncContext *ac = s->ac;
    store_lost(s, why);
    if (ac != NULL) {
        redisAsyncFree(ac);
    }
}

static void on_disconnected(const redisAsyncContext *ac, int status)
{
    (void)status;
    struct store *s = ac->data;
    if (s->ac == ac) {
        store_lost(s, ac->errstr != NULL ? ac->errstr : "closed");
    }
}

static void on_connected(const redisAsyncContext *ac, int status)
{
    struct store *s = ac->data;
    if (status != REDIS_OK && s->ac == ac) {
        store_lost(s, ac->errstr != NULL ? ac->errstr : "cannot connect");
    }
}

static bool reply_starts(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, word, strlen(word)) == 0;
}

bool store_reply_unavailable(const redisReply *reply)
{
    static const char *const words[] = {"LOADING",    "READONLY",    "MISCONF",    "OOM",
                                        "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "BUSY ",
                                        "TRYAGAIN",   "NOAUTH"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (reply_starts(reply, words[i])) {
            return true;
        }
    }
    return false;
}

/* ---- commands -------------------------------------------------------------------------------- */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct store *s = arg;
    int64_t now = clock_mono_ms();
    bool late = false;
    struct list *node = NULL;
    while ((node = list_first(&s->waiting)) != NULL) {
        struct op *op = list_owner(node, struct op, node);
        if (op->deadline_ms > now) {
            timer_set(s->deadline, op->deadline_ms - now);
            break;
        }
        late = true;
        op_settle(op, STORE_UNKNOWN, NULL);
    }
    if (late && s->ac != NULL && now - s->heard_ms > SILENT_TIMEOUTS_MAX * (int64_t)s->timeout_ms) {
        store_drop(s, "commands time out");
    }
}

/* room: for bytes behind it. */
static struct op *op_new(struct store *s, store_callback *done, void *context, size_t room)
{
    struct op *op = xmalloc(sizeof *op + room);
    *op = (struct op){.store = s,
                      .done = done,
                      .context = context,
                      .script = -1,
                      .deadline_ms = clock_mono_ms() + s->timeout_ms};
    list_init(&op->node);
    return op;
}

static void op_waits(struct op *op)
{
    struct store *s = op->store;
    if (list_empty(&s->waiting)) {
        timer_set(s->deadline, s->timeout_ms);
        /* Silence counts from the first question on, not from an idle connection's last answer. */
        s->heard_ms = s->in_flight == 0 ? clock_mono_ms() : s->heard_ms;
    }
    list_push(&s->waiting, &op->node);
    s->in_flight++;
}

static bool op_again_as_eval(redisAsyncContext *ac, struct op *op);

static void on_reply(redisAsyncContext *ac, void *r, void *arg)
{
    struct op *op = arg;
    struct store *s = op->store;
    const redisReply *reply = r;
    if (reply == NULL) {
        if (s->ac == ac) {
            store_lost(s, ac->errstr != NULL ? ac->errstr : "closed");
        }
        op_settle(op, STORE_UNKNOWN, NULL);
        op_free(op);
        return;
    }
    bool demoted = reply_starts(reply, "READONLY"); /* the reply is gone behind its callback */
    s->heard_ms = clock_mono_ms();
    if (op->script >= 0 && op->done != NULL && reply_starts(reply, "NOSCRIPT") &&
        op_again_as_eval(ac, op)) {
        return;
    }
    op_settle(op, STORE_OK, reply);
    op_free(op);
    if (demoted && s->ac == ac) {
        store_drop(s, "it became a replica");
    }
}

/* The server forgot the script (restart, fail-over, flush): the same op, with the source. It was
 * certainly not run, so this is no repetition. */
static bool op_again_as_eval(redisAsyncContext *ac, struct op *op)
{
    struct slice source = store_script_text((enum store_script)op->script, op->store->guarded);
    const struct slice name[2] = {SLICE("EVAL"), source};
    char *whole = xmalloc(WORDS_COUNT_BYTES_MAX + words_bytes(2, name) + op->bytes);
    char *at = words_put(words_put_count(whole, op->words), 2, name);
    memcpy(at, op->written + op->head, op->bytes);
    at += op->bytes;
    op->script = -1;
    bool sent =
        redisAsyncFormattedCommand(ac, on_reply, op, whole, (size_t)(at - whole)) == REDIS_OK;
    free(whole);
    return sent;
}

static bool store_takes(const struct store *s)
{
    return s->link == LINK_UP && s->ac != NULL && s->channel == NULL &&
           s->in_flight < s->pending_max;
}

static void op_sent(struct op *op, int rc)
{
    if (rc != REDIS_OK) {
        op_settle(op, STORE_REFUSED, NULL); /* the connection is closing */
        op_free(op);
    }
}

static void op_send(struct op *op, int argc, const char **argv, const size_t *lens)
{
    op_waits(op);
    op_sent(op, redisAsyncCommandArgv(op->store->ac, on_reply, op, argc, argv, lens));
}

/* An op with room for a command of these words, which begins with the count of them. */
static struct op *op_begin(struct store *s, store_callback *done, void *context, size_t names,
                           const struct slice *name, size_t argc, const struct slice *argv)
{
    struct op *op =
        op_new(s, done, context,
               WORDS_COUNT_BYTES_MAX + words_bytes(names, name) + words_bytes(argc, argv));
    op->words = names + argc;
    return op;
}

/* It is written behind the op itself; hiredis copies it into what it sends. */
static void op_write(struct op *op, const char *end)
{
    size_t n = (size_t)(end - op->written);
    op_waits(op);
    op_sent(op, redisAsyncFormattedCommand(op->store->ac, on_reply, op, op->written, n));
}

void store_command(struct store *s, store_callback *done, void *context, int argc,
                   const struct slice *argv)
{
    must(argc > 0 && argc <= STORE_ARGS_MAX);
    if (s->cluster != NULL) {
        store_cluster_command(s->cluster, done, context, argc, argv);
        return;
    }
    if (!store_takes(s)) {
        done(context, STORE_REFUSED, NULL);
        return;
    }
    struct op *op = op_begin(s, done, context, 0, NULL, (size_t)argc, argv);
    op_write(op, words_put(words_put_count(op->written, op->words), op->words, argv));
}

void store_eval(struct store *s, enum store_script script, store_callback *done, void *context,
                int keys, int argc, const struct slice *argv)
{
    must(argc >= 0 && argc + 3 <= STORE_ARGS_MAX);
    if (s->cluster != NULL) {
        store_cluster_eval(s->cluster, script, done, context, keys, argc, argv);
        return;
    }
    if (!store_takes(s)) {
        done(context, STORE_REFUSED, NULL);
        return;
    }
    char count[16];
    (void)snprintf(count, sizeof count, "%d", keys);
    const struct slice name[3] = {SLICE("EVALSHA"), slice_of(store_script_sha(script, s->guarded)),
                                  slice_of(count)};
    struct op *op = op_begin(s, done, context, 3, name, (size_t)argc, argv);
    char *at = words_put(words_put_count(op->written, op->words), 2, name);
    op->script = (int)script;
    op->head = (size_t)(at - op->written);
    at = words_put(words_put(at, 1, name + 2), (size_t)argc, argv);
    op->bytes = (size_t)(at - op->written) - op->head;
    op_write(op, at);
}

/* ---- greeting -------------------------------------------------------------------------------- */

/* True when what was acknowledged before may be missing now. Asked once a connection. */
static bool store_forgot(struct store *s)
{
    bool forgot = s->known && !store_server_same(&s->server, &s->greeting);
    s->known = true;
    s->server = s->greeting;
    return forgot;
}

static void say_up(const struct store *s, bool forgot)
{
    char server[NETADDR_HOST_BYTES + 8];
    if (s->at.is_unix) {
        (void)snprintf(server, sizeof server, "%s", s->at.host);
    } else {
        (void)snprintf(server, sizeof server, "%s:%d", s->at.host, s->at.port);
    }
    log_info("redis is there", "connection", connection_name(s), "address", s->address_text,
             "server", server, "durability", store_durability(s), NULL);
    if (forgot && s->channel == NULL) {
        log_warn("redis is another one than before: writes of the last moments may be gone",
                 "server", server, "run_id", s->server.run_id, "replid", s->server.replid, NULL);
    }
}

static void store_is_up(struct store *s)
{
    bool forgot = store_forgot(s);
    s->link = LINK_UP;
    s->backoff_ms = BACKOFF_MIN_MS;
    s->told = false;
    s->why[0] = '\0';
    if (s->sentinels != NULL) {
        sentinels_hurry(s->sentinels, false);
    }
    if (!s->quiet) {
        say_up(s, forgot);
    }
    s->depth++;
    if (forgot && s->on_forgot != NULL) {
        s->on_forgot(s->context);
    }
    if (s->on_state != NULL) {
        s->on_state(s->context, true);
    }
    if (s->on_message != NULL) {
        s->on_message(s->context, slice_make(NULL, 0));
    }
    s->depth--;
}

/* False: the connection is over, or has just been dropped. A bad answer (LOADING too) means: not
 * yet, again after the backoff. */
static bool greeting_goes_on(struct store *s, enum store_outcome outcome, const redisReply *reply,
                             bool errors_are_good)
{
    if (s->link != LINK_GREETING || s->closing) {
        return false;
    }
    bool good = outcome == STORE_OK && (errors_are_good || reply->type != REDIS_REPLY_ERROR);
    if (!good) {
        store_drop(s, outcome == STORE_OK ? reply->str : "no answer to the greeting");
    }
    return good;
}

/* A sentinel may have no password where its servers have one. */
static void on_auth(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct store *s = context;
    (void)greeting_goes_on(s, outcome, reply, s->plain);
}

static void on_info(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct store *s = context;
    if (!greeting_goes_on(s, outcome, reply, false)) {
        return;
    }
    store_server_read_info(&s->greeting, reply);
    const char *unfit = store_server_unfit(&s->greeting, s->guarded);
    if (unfit != NULL) {
        store_drop(s, unfit);
    }
}

/* Managed servers forbid CONFIG. */
static void on_config(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct store *s = context;
    if (greeting_goes_on(s, outcome, reply, true)) {
        store_server_read_config(&s->greeting, reply);
    }
}

static void on_ping(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct store *s = context;
    if (greeting_goes_on(s, outcome, reply, false)) {
        store_is_up(s);
    }
}

/* Called for the subscription itself, for each message, and with NULL at the connection's end. */
static void on_published(redisAsyncContext *ac, void *r, void *arg)
{
    struct store *s = arg;
    const redisReply *reply = r;
    if (reply == NULL || s->ac != ac || s->closing) {
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3) {
        store_drop(s, reply->type == REDIS_REPLY_ERROR ? reply->str : "odd answer to SUBSCRIBE");
    } else if (strcmp(reply->element[0]->str, "subscribe") == 0) {
        store_is_up(s);
    } else {
        const redisReply *said = reply->element[2];
        bool text = said->type == REDIS_REPLY_STRING;
        s->depth++;
        s->on_message(s->context, text ? slice_make(said->str, said->len) : slice_make(NULL, 0));
        s->depth--;
    }
}

enum { GREETING_WORDS_MAX = 5 };

/* words: separated by single spaces. */
static void greet(struct store *s, store_callback *done, const char *words)
{
    const char *argv[GREETING_WORDS_MAX];
    size_t lens[GREETING_WORDS_MAX];
    int argc = 0;
    if (s->ac == NULL) {
        return; /* dropped by the step before */
    }
    for (const char *at = words; *at != '\0'; at += *at == ' ' ? 1 : 0) {
        must(argc < GREETING_WORDS_MAX);
        argv[argc] = at;
        lens[argc] = strcspn(at, " ");
        at += lens[argc++];
    }
    op_send(op_new(s, done, s, 0), argc, argv, lens);
}

static void greet_with_password(struct store *s)
{
    const char *argv[2] = {"AUTH", s->password};
    const size_t lens[2] = {4, strlen(s->password)};
    op_send(op_new(s, on_auth, s, 0), 2, argv, lens);
}

/* All of it leaves at once: one round trip. */
static void store_greet(struct store *s)
{
    s->link = LINK_GREETING;
    s->heard_ms = clock_mono_ms();
    s->greeting = (struct store_server){0};
    if (s->password != NULL) {
        greet_with_password(s);
    }
    if (!s->plain) {
        greet(s, on_info, STORE_SERVER_INFO);
        greet(s, on_config, STORE_SERVER_CONFIG);
    }
    if (s->channel == NULL) {
        greet(s, on_ping, "PING");
    } else if (s->ac != NULL &&
               redisAsyncCommand(s->ac, on_published, s, "SUBSCRIBE %s", s->channel) != REDIS_OK) {
        store_drop(s, "cannot subscribe");
    }
}

/* host: a path, or an address in digits: hiredis would look up a name here and now, and the loop
 * would stand still for as long as the name server does. */
static void store_connect(struct store *s, const char *host)
{
    redisAsyncContext *ac =
        s->at.is_unix ? redisAsyncConnectUnix(host) : redisAsyncConnect(host, s->at.port);
    need(ac != NULL);
    s->ac = ac;
    ac->data = s;
    if (ac->err != 0) {
        store_drop(s, ac->errstr);
        return;
    }
    replies_of(s->replies, ac->c.reader);
    need(redisLibeventAttach(ac, s->base) == REDIS_OK);
    (void)redisAsyncSetConnectCallback(ac, on_connected);
    (void)redisAsyncSetDisconnectCallback(ac, on_disconnected);
    store_greet(s);
}

static bool is_at(const struct store *s, const struct netaddr *at)
{
    return s->at.port == at->port && strcmp(s->at.host, at->host) == 0;
}

static void on_resolved(void *context, const char *address, const char *why)
{
    struct store *s = context;
    must(s->link == LINK_LOOKING);
    if (address == NULL) {
        store_lost(s, why);
    } else if (s->sentinels != NULL && !is_at(s, sentinels_primary(s->sentinels))) {
        store_lost(s, "the sentinels name another primary now");
    } else {
        store_connect(s, address);
    }
}

static void store_aim(struct store *s, const struct netaddr *at)
{
    if (is_at(s, at)) {
        return;
    }
    s->at = *at;
    resolver_destroy(&s->resolver);
    if (!at->is_unix && !resolve_is_number(at->host)) {
        s->resolver = resolver_new(s->base, at->host, NULL, on_resolved, s);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct store *s = arg;
    if (s->link != LINK_DOWN) {
        return;
    }
    const struct netaddr *at =
        s->sentinels != NULL ? sentinels_primary(s->sentinels) : &s->address.hosts[0];
    if (at == NULL) {
        store_lost(s, sentinels_why(s->sentinels));
        return;
    }
    store_aim(s, at);
    if (s->resolver == NULL) {
        store_connect(s, s->at.host);
    } else {
        s->link = LINK_LOOKING; /* anew each time: the name may have moved */
        resolver_ask(s->resolver, s->timeout_ms);
    }
}

uint32_t store_place(const struct store *s, struct slice key)
{
    return s->cluster != NULL ? store_cluster_place(s->cluster, key) : 0;
}

uint32_t store_room(const struct store *s)
{
    return store_takes(s) ? s->pending_max - s->in_flight : 0;
}

/* A primary that was paused takes writes again before it is told that it is none any more: the
 * connection to it ends here, and not with its first "no". */
static void on_primary(void *context)
{
    struct store *s = context;
    s->backoff_ms = BACKOFF_MIN_MS;
    if (s->link == LINK_DOWN) {
        timer_set(s->retry, 0);
    } else if (s->link != LINK_LOOKING) {
        store_drop(s, "the sentinels name another primary");
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* What every store has, wherever it connects to. */
static struct store *store_bare(struct event_base *base, const struct store_options *o)
{
    struct store *s = xcalloc(1, sizeof *s);
    must(netaddr_redis(o->address, &s->address) == NULL);
    s->base = base;
    s->address_text = slice_dup(slice_of(o->address));
    if (o->password != NULL && o->password[0] != '\0') {
        s->password = slice_dup(slice_of(o->password));
    }
    s->on_state = o->on_state;
    s->on_forgot = o->on_forgot;
    s->context = o->context;
    s->timeout_ms = o->timeout_ms;
    s->pending_max = o->pending_max;
    s->backoff_ms = BACKOFF_MIN_MS;
    s->replies = replies_new();
    list_init(&s->waiting);
    return s;
}

struct store *store_new(struct event_base *base, const struct store_options *o)
{
    struct store *s = store_bare(base, o);
    if (s->address.kind == NETADDR_REDIS_CLUSTER) {
        s->cluster = store_cluster_new(base, o, s->address.hosts, s->address.count);
        return s;
    }
    s->deadline = evtimer_new(base, on_deadline, s);
    s->retry = evtimer_new(base, on_retry, s);
    must(s->deadline != NULL && s->retry != NULL);
    if (s->address.kind == NETADDR_REDIS_SENTINEL) {
        s->sentinels = sentinels_new(base, &s->address, s->password, s->timeout_ms, on_primary, s);
    }
    /* From the loop: nothing is called back before we return. on_primary comes before that time, or
     * there is something to say about the sentinels. */
    timer_set(s->retry, s->sentinels != NULL ? (int64_t)s->timeout_ms : 0);
    return s;
}

void store_plain(struct store *s)
{
    s->plain = true;
}

struct store *store_node_new(struct event_base *base, const struct store_options *o)
{
    struct store *s = store_new(base, o);
    s->guarded = true;
    return s;
}

void store_node_address(const char *host, int port, char out[STORE_NODE_ADDRESS_BYTES])
{
    (void)snprintf(out, STORE_NODE_ADDRESS_BYTES,
                   strchr(host, ':') != NULL ? "tcp://[%s]:%d" : "tcp://%s:%d", host, port);
}

struct store *store_listener_new(struct event_base *base, const struct store_options *o,
                                 const char *channel,
                                 void (*on_message)(void *context, struct slice message))
{
    struct store *s = store_node_new(base, o);
    s->channel = slice_dup(slice_of(channel));
    s->on_message = on_message;
    return s;
}

struct store *store_subscriber(const struct store *like, const char *channel,
                               void (*on_message)(void *context, struct slice message),
                               void *context)
{
    struct store_options o = {.address = like->address_text,
                              .password = like->password,
                              .timeout_ms = like->timeout_ms,
                              .pending_max = STORE_LISTENER_PENDING};
    struct store *s = NULL;
    if (like->cluster != NULL) {
        s = store_bare(like->base, &o);
        s->news = store_news_new(like->base, &o, store_cluster_hosts(like->cluster), channel,
                                 on_message, context);
    } else {
        s = store_new(like->base, &o);
        s->on_message = on_message;
        s->context = context;
    }
    s->channel = slice_dup(slice_of(channel));
    return s;
}

void store_quiet(struct store *s)
{
    s->quiet = true;
    if (s->cluster != NULL) {
        store_cluster_quiet(s->cluster);
    }
}

void store_destroy(struct store **sp)
{
    struct store *s = *sp;
    if (s == NULL) {
        return;
    }
    must(s->depth == 0);
    *sp = NULL;
    s->closing = true;
    if (s->ac != NULL) {
        store_drop(s, "closing");
    }
    must(s->in_flight == 0);
    store_cluster_destroy(&s->cluster);
    store_news_destroy(&s->news);
    sentinels_destroy(&s->sentinels);
    resolver_destroy(&s->resolver);
    replies_destroy(&s->replies);
    if (s->deadline != NULL) {
        event_free(s->deadline);
        event_free(s->retry);
    }
    if (s->password != NULL) {
        OPENSSL_cleanse(s->password, strlen(s->password));
    }
    free(s->password);
    free(s->channel);
    free(s->address_text);
    free(s);
}

bool store_up(const struct store *s)
{
    return s->cluster != NULL ? store_cluster_up(s->cluster)
           : s->news != NULL  ? store_news_up(s->news)
                              : s->link == LINK_UP;
}

const char *store_why(const struct store *s)
{
    return s->cluster != NULL ? store_cluster_why(s->cluster) : s->why;
}

const char *store_durability(const struct store *s)
{
    return s->cluster != NULL ? store_cluster_durability(s->cluster)
                              : store_durability_name(s->server.durability);
}

struct event_base *store_base(const struct store *s)
{
    return s->base;
}
