#include "common/adapters/store_cluster.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/redis_slot.h"

enum {
    MAP_IDLE_MS = 2000, /* the map is asked for this often while all is well */
    MAP_BUSY_MS = 100,  /* and at most this often else */
    PAUSE_MIN_MS = 5,   /* before a command is sent again: doubled each time */
    PAUSE_MAX_MS = 50,  /* up to this */
    TICK_MS = 5,        /* waiting commands are looked at */
    REDIRECTS_MAX = 5,  /* followed at once; further ones after a pause */
    NODE_SPARE = 64,    /* commands of a node beyond pending_max: ASKING, CLUSTER SLOTS */
    SLOT_ANY = -1
};

enum role { ROLE_NONE, ROLE_PRIMARY, ROLE_REPLICA };

struct node {
    struct list list;              /* in store_cluster.nodes */
    struct store_cluster *cluster; /* whose it is */
    char host[NETADDR_HOST_BYTES]; /* without brackets */
    int port;                      /* 1 to 65535 */
    struct store *store;           /* NULL: not connected to, as replicas are not */
    uint32_t held;                 /* callbacks that its store owes us */
    uint32_t slots;                /* that it owns by our map */
    enum role role;                /* by the last CLUSTER SLOTS */
    enum role next;                /* by the one that is being read */
    bool seed;                     /* configured: never forgotten */
    bool up;                       /* its store is */
};

struct store_cluster {
    struct event_base *base;
    struct store_options options; /* of the nodes' stores, address apart; password owned */
    void (*on_state)(void *context, bool up); /* may be NULL */
    void (*on_forgot)(void *context);         /* may be NULL */
    void *context;                            /* of both */
    struct store_hosts *hosts;                /* one reference is ours */
    struct list nodes;                        /* struct node; the one that is asked next first */
    struct node *owner[REDIS_SLOTS];          /* NULL: nobody known */
    uint32_t places[REDIS_SLOTS];             /* times that the slot was seen elsewhere */
    uint32_t covered;                         /* slots with an owner */
    struct list calls;                        /* callbacks owed, earliest deadline first */
    struct list again;                        /* of them, those that wait to be sent again */
    uint32_t in_flight;                       /* calls that are not freed */
    struct node *asked;                       /* for the map; NULL: nobody */
    int64_t asked_ms;                         /* when last */
    struct event *refresh;                    /* asks for the map */
    struct event *deadline;                   /* earliest one of calls */
    struct event *tick;                       /* looks at again */
    struct event *sweep;                      /* closes what is no longer needed */
    unsigned depth;                           /* callbacks of ours on the stack */
    bool forgot;                              /* to be told as soon as it is up */
    bool up;                                  /* as on_state was told */
    char why[224];                            /* of store_cluster_why */
    bool odd_told;                            /* that a node gives no map stands in the log */
    bool quiet;                               /* nothing stands in the log */
    bool closing;                             /* store_cluster_destroy runs */
};

/* One command, with a copy of its arguments behind itself: it may be sent to several nodes. */
struct call {
    struct list list;              /* in store_cluster.calls; alone once its callback has run */
    struct list again;             /* in store_cluster.again, or alone */
    struct store_cluster *cluster; /* whose it is */
    store_callback *done;          /* NULL once it has run */
    void *context;                 /* of done */
    int64_t deadline_ms;           /* of all attempts together */
    int64_t again_ms;              /* when it is sent again */
    struct node *at;               /* who has it now; NULL: nobody */
    const char *why;               /* the error that it ends with if nobody takes it */
    unsigned tries;                /* attempts without success so far */
    int slot;                      /* SLOT_ANY: any node */
    int script;                    /* enum store_script; -1: a plain command */
    int keys;                      /* of a script */
    int argc;                      /* of argv */
    struct slice *argv;            /* into this allocation */
};

static const char why_down[] = "CLUSTERDOWN no connected node serves the slot";
static const char why_moving[] = "TRYAGAIN the slot is being moved to another node";

static void timer_set(struct event *e, int64_t ms)
{
    struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(e, &tv);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void map_ask_soon(struct store_cluster *c);
static void calls_wake(struct store_cluster *c);

/* Hosts are what nodes say of each other: one without a host name, where names are wanted of it, is
 * "?" in a map and in MOVED. */
static bool can_be_node(const char *host, int port)
{
    char address[STORE_NODE_ADDRESS_BYTES];
    struct netaddr_redis parsed;
    if (strlen(host) >= NETADDR_HOST_BYTES) {
        return false;
    }
    store_node_address(host, port, address);
    return netaddr_redis(address, &parsed) == NULL;
}

/* The host must be one that can_be_node. */
static struct node *node_find(struct store_cluster *c, const char *host, int port)
{
    list_each(it, &c->nodes)
    {
        struct node *n = list_owner(it, struct node, list);
        if (n->port == port && strcmp(n->host, host) == 0) {
            return n;
        }
    }
    struct node *n = xcalloc(1, sizeof *n);
    n->cluster = c;
    (void)snprintf(n->host, sizeof n->host, "%s", host);
    n->port = port;
    list_init(&n->list);
    list_push(&c->nodes, &n->list);
    return n;
}

static struct node *node_any(struct store_cluster *c)
{
    list_each(it, &c->nodes)
    {
        struct node *n = list_owner(it, struct node, list);
        if (n->up) {
            return n;
        }
    }
    return NULL;
}

static void cluster_call_forgot(struct store_cluster *c)
{
    if (c->on_forgot != NULL) {
        c->depth++;
        c->on_forgot(c->context);
        c->depth--;
    }
}

/* Tells the owner when the whole has become usable, or is no longer. */
static void cluster_judge(struct store_cluster *c)
{
    bool up = c->covered == REDIS_SLOTS;
    list_each(it, &c->nodes)
    {
        struct node *n = list_owner(it, struct node, list);
        up = up && (n->slots == 0 || n->up);
    }
    if (c->closing) {
        return;
    }
    if (up && c->forgot) {
        c->forgot = false;
        cluster_call_forgot(c);
    }
    if (up == c->up) {
        return;
    }
    c->up = up;
    if (up && !c->quiet) {
        log_info("redis cluster is complete", NULL);
    } else if (!c->quiet) {
        log_warn("redis cluster is not complete: slots without a node that is connected", NULL);
    }
    if (c->on_state != NULL) {
        c->depth++;
        c->on_state(c->context, up);
        c->depth--;
    }
}

static void on_node_state(void *context, bool up)
{
    struct node *n = context;
    struct store_cluster *c = n->cluster;
    n->up = up;
    map_ask_soon(c);
    if (up) {
        calls_wake(c);
    }
    cluster_judge(c);
}

/* Another process at the same place. What stands there for others to find does not matter. */
static void on_node_forgot(void *context)
{
    struct node *n = context;
    if (n->slots > 0) {
        n->cluster->forgot = true; /* told when it is up */
    }
}

static void node_open(struct node *n)
{
    if (n->store != NULL) {
        return;
    }
    char address[STORE_NODE_ADDRESS_BYTES];
    store_node_address(n->host, n->port, address);
    struct store_options o = n->cluster->options;
    o.address = address;
    o.on_state = on_node_state;
    o.on_forgot = on_node_forgot;
    o.context = n;
    n->store = store_node_new(n->cluster->base, &o);
    if (n->cluster->quiet) {
        store_quiet(n->store);
    }
}

static void node_free(struct node *n)
{
    list_remove(&n->list);
    store_destroy(&n->store);
    free(n);
}

/* From the loop, since a store must not be destroyed from inside a callback of it: connections to
 * nodes that own nothing end, unless nobody else is there to be asked. */
static void on_sweep(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct store_cluster *c = arg;
    bool served = false;
    list_each(it, &c->nodes)
    {
        struct node *n = list_owner(it, struct node, list);
        served = served || (n->up && n->slots > 0);
    }
    if (!served) {
        return;
    }
    list_each(again, &c->nodes)
    {
        struct node *n = list_owner(again, struct node, list);
        if (n->slots > 0 || n->held > 0) {
            continue;
        }
        if (n->role == ROLE_NONE && !n->seed) {
            node_free(n);
        } else {
            store_destroy(&n->store);
            n->up = false;
        }
    }
}

/* ---- the map --------------------------------------------------------------------------------- */

static void slot_owner(struct store_cluster *c, uint16_t slot, struct node *n)
{
    struct node *before = c->owner[slot];
    if (before != NULL) {
        before->slots--;
    } else {
        c->covered++;
    }
    c->owner[slot] = n;
    n->slots++;
}

/* A row of CLUSTER SLOTS: first slot, last slot, the primary, its replicas; a node is host, port
 * and more. Anything else would be a server of another kind. */
static bool row_ok(const redisReply *row)
{
    if (row->type != REDIS_REPLY_ARRAY || row->elements < 3 ||
        row->element[0]->type != REDIS_REPLY_INTEGER ||
        row->element[1]->type != REDIS_REPLY_INTEGER || row->element[0]->integer < 0 ||
        row->element[0]->integer > row->element[1]->integer ||
        row->element[1]->integer >= REDIS_SLOTS) {
        return false;
    }
    for (size_t i = 2; i < row->elements; i++) {
        const redisReply *n = row->element[i];
        if (n->type != REDIS_REPLY_ARRAY || n->elements < 2 ||
            (n->element[0]->type != REDIS_REPLY_STRING && n->element[0]->type != REDIS_REPLY_NIL) ||
            n->element[1]->type != REDIS_REPLY_INTEGER || n->element[1]->integer < 1 ||
            n->element[1]->integer > 65535) {
            return false;
        }
    }
    return true;
}

static bool rows_ok(const redisReply *reply)
{
    bool ok = reply->type == REDIS_REPLY_ARRAY && reply->elements > 0;
    for (size_t i = 0; ok && i < reply->elements; i++) {
        ok = row_ok(reply->element[i]);
    }
    return ok;
}

/* NULL: a node whose host nobody knows ("?"), or that has none. A node that does not know its own
 * host gives none: then it is where we asked. */
static struct node *row_node(struct store_cluster *c, const struct node *teller,
                             const redisReply *at)
{
    const redisReply *host = at->element[0];
    const int port = (int)at->element[1]->integer;
    bool own = host->type == REDIS_REPLY_NIL || host->len == 0;
    if (!own && (strlen(host->str) != host->len || !can_be_node(host->str, port))) {
        return NULL;
    }
    return node_find(c, own ? teller->host : host->str, port);
}

static void row_take(struct store_cluster *c, const struct node *teller, const redisReply *row)
{
    for (size_t i = 3; i < row->elements; i++) {
        struct node *replica = row_node(c, teller, row->element[i]);
        if (replica != NULL && replica->next == ROLE_NONE) {
            replica->next = ROLE_REPLICA;
        }
    }
    struct node *primary = row_node(c, teller, row->element[2]);
    if (primary != NULL) {
        primary->next = ROLE_PRIMARY;
        for (long long s = row->element[0]->integer; s <= row->element[1]->integer; s++) {
            slot_owner(c, (uint16_t)s, primary);
        }
    }
}

/* True when a node stands in another's place: it may not have received that one's last writes. A
 * primary that is new beside all the others only has slots that were moved to it in order. */
static bool roles_change(struct store_cluster *c)
{
    bool promoted = false, appeared = false, gone = false;
    list_each(it, &c->nodes)
    {
        struct node *n = list_owner(it, struct node, list);
        promoted = promoted || (n->role == ROLE_REPLICA && n->next == ROLE_PRIMARY);
        appeared = appeared || (n->role == ROLE_NONE && n->next == ROLE_PRIMARY);
        gone = gone || (n->role == ROLE_PRIMARY && n->next != ROLE_PRIMARY);
        n->role = n->next;
    }
    return promoted || (appeared && gone);
}

static void hosts_tell(struct store_cluster *c)
{
    struct netaddr at[NETADDR_REDIS_HOSTS_MAX];
    size_t count = 0;
    memset(at, 0, sizeof at);
    list_each(it, &c->nodes)
    {
        const struct node *n = list_owner(it, struct node, list);
        if (n->role != ROLE_NONE && count < ARRAY_LEN(at)) {
            memcpy(at[count].host, n->host, sizeof n->host);
            at[count++].port = n->port;
        }
    }
    store_hosts_set(c->hosts, at, count);
}

static void map_take(struct store_cluster *c, const struct node *teller, const redisReply *reply)
{
    list_each(it, &c->nodes)
    {
        struct node *n = list_owner(it, struct node, list);
        n->next = ROLE_NONE;
        n->slots = 0;
    }
    struct node **before = xmalloc(sizeof c->owner);
    memcpy(before, c->owner, sizeof c->owner);
    memset(c->owner, 0, sizeof c->owner);
    c->covered = 0;
    for (size_t i = 0; i < reply->elements; i++) {
        row_take(c, teller, reply->element[i]);
    }
    for (size_t i = 0; i < REDIS_SLOTS; i++) {
        c->places[i] += c->owner[i] != before[i] ? 1 : 0;
    }
    free(before);
    bool forgot = roles_change(c);
    list_each(again, &c->nodes)
    {
        struct node *n = list_owner(again, struct node, list);
        if (n->slots > 0) {
            node_open(n);
        }
    }
    timer_set(c->sweep, 0);
    calls_wake(c);
    hosts_tell(c);
    if (forgot) {
        log_warn("redis cluster has another primary: writes of the last moments may be gone", NULL);
        c->forgot = true;
    }
    cluster_judge(c);
}

static void on_map(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct node *n = context;
    struct store_cluster *c = n->cluster;
    n->held--;
    c->asked = NULL;
    if (c->closing) {
        return;
    }
    if (outcome == STORE_OK && rows_ok(reply)) {
        c->odd_told = false;
        map_take(c, n, reply);
    } else if (outcome == STORE_OK && !c->odd_told) {
        const char *why = reply->type == REDIS_REPLY_ERROR ? reply->str : "no slots";
        c->odd_told = true;
        (void)snprintf(c->why, sizeof c->why, "it gives no map of a cluster: %.100s", why);
        if (!c->quiet) {
            log_warn("redis gives no map of a cluster", "host", n->host, "why", why, NULL);
        }
    }
    timer_set(c->refresh, c->up ? MAP_IDLE_MS : MAP_BUSY_MS);
}

/* Another node each time: one that is cut off from the others does not know better. Nobody there:
 * everybody ever heard of is tried. */
static void map_ask(struct store_cluster *c)
{
    struct node *n = node_any(c);
    c->asked_ms = clock_mono_ms();
    if (n == NULL) {
        list_each(it, &c->nodes)
        {
            node_open(list_owner(it, struct node, list));
        }
        timer_set(c->refresh, MAP_BUSY_MS);
        return;
    }
    list_remove(&n->list);
    list_push(&c->nodes, &n->list);
    c->asked = n;
    n->held++;
    const struct slice argv[] = {SLICE("CLUSTER"), SLICE("SLOTS")};
    store_command(n->store, on_map, n, (int)ARRAY_LEN(argv), argv);
}

static void on_refresh(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct store_cluster *c = arg;
    if (c->asked == NULL) {
        map_ask(c);
    }
}

/* Something said that the map is not what we think. */
static void map_ask_soon(struct store_cluster *c)
{
    if (c->asked == NULL && !c->closing) {
        int64_t since = clock_mono_ms() - c->asked_ms;
        timer_set(c->refresh, since >= MAP_BUSY_MS ? 0 : MAP_BUSY_MS - since);
    }
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void call_free(struct call *x)
{
    x->cluster->in_flight--;
    free(x);
}

static void call_settle(struct call *x, enum store_outcome outcome, const redisReply *reply)
{
    struct store_cluster *c = x->cluster;
    store_callback *done = x->done;
    x->done = NULL;
    list_remove(&x->list);
    list_remove(&x->again);
    c->depth++;
    done(x->context, outcome, reply);
    c->depth--;
}

/* Nobody took it, so nothing was written. */
static void call_gives_up(struct call *x)
{
    char text[128];
    (void)snprintf(text, sizeof text, "%s", x->why);
    redisReply reply = {.type = REDIS_REPLY_ERROR, .str = text, .len = strlen(text)};
    call_settle(x, STORE_OK, &reply);
    call_free(x);
}

/* It was certainly not carried out: once more after a pause. */
static void call_waits(struct call *x, const char *why)
{
    struct store_cluster *c = x->cluster;
    int64_t pause = (int64_t)PAUSE_MIN_MS << (x->tries < 8 ? x->tries : 8);
    x->why = why;
    x->tries++;
    x->again_ms = clock_mono_ms() + (pause > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause);
    list_push(&c->again, &x->again);
    if (!event_pending(c->tick, EV_TIMEOUT, NULL)) {
        timer_set(c->tick, TICK_MS);
    }
}

static void on_answer(void *context, enum store_outcome outcome, const redisReply *reply);

static void ignore(void *context UNUSED, enum store_outcome outcome UNUSED,
                   const redisReply *reply UNUSED)
{
}

/* asking: the node is being given the slot, and carries the next command out all the same. */
static void call_to(struct call *x, struct node *n, bool asking)
{
    if (n == NULL || !n->up) {
        map_ask_soon(x->cluster);
        call_waits(x, why_down);
        return;
    }
    if (store_room(n->store) < 2) {
        call_waits(x, why_down); /* held back by what timed out: its node is slow */
        return;
    }
    x->at = n;
    n->held++;
    if (x->script >= 0) {
        store_eval(n->store, (enum store_script)x->script, on_answer, x, x->keys, x->argc, x->argv);
        return;
    }
    if (asking) { /* the same connection, nothing in between */
        const struct slice word = SLICE("ASKING");
        store_command(n->store, ignore, NULL, 1, &word);
    }
    store_command(n->store, on_answer, x, x->argc, x->argv);
}

static void call_send(struct call *x)
{
    struct store_cluster *c = x->cluster;
    call_to(x, x->slot == SLOT_ANY ? node_any(c) : c->owner[x->slot], false);
}

static void call_redirected(struct call *x, const struct node *from, const struct redis_redirect *r)
{
    struct store_cluster *c = x->cluster;
    const char *host = r->to.host[0] != '\0' ? r->to.host : from->host;
    if (!can_be_node(host, r->to.port)) {
        map_ask_soon(c);
        call_waits(x, why_down);
        return;
    }
    struct node *to = node_find(c, host, r->to.port);
    node_open(to);
    c->places[r->slot]++;
    if (!r->ask) {
        slot_owner(c, r->slot, to);
        map_ask_soon(c);
        cluster_judge(c);
    }
    if (r->ask && x->script >= 0) {
        call_waits(x, why_moving);
    } else if (x->tries >= REDIRECTS_MAX) {
        call_waits(x, why_moving); /* nodes that do not agree yet */
    } else {
        x->tries++;
        call_to(x, to, r->ask);
    }
}

/* True when the command was not carried out and goes on elsewhere or later. */
static bool call_goes_on(struct call *x, const struct node *from, const redisReply *reply)
{
    struct redis_redirect to;
    if (reply->type != REDIS_REPLY_ERROR) {
        return false;
    }
    if (redis_redirect_read(slice_make(reply->str, reply->len), &to)) {
        call_redirected(x, from, &to);
        return true;
    }
    bool moving = strncmp(reply->str, "TRYAGAIN", 8) == 0;
    if (moving || strncmp(reply->str, "CLUSTERDOWN", 11) == 0) {
        map_ask_soon(x->cluster);
        call_waits(x, moving ? why_moving : why_down);
        return true;
    }
    return false;
}

static void on_answer(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct call *x = context;
    struct node *from = x->at;
    x->at = NULL;
    from->held--;
    if (x->done == NULL) { /* too late */
        call_free(x);
        return;
    }
    if (outcome == STORE_OK && call_goes_on(x, from, reply)) {
        return;
    }
    if (outcome == STORE_REFUSED) { /* its connection is closing */
        map_ask_soon(x->cluster);
        call_waits(x, why_down);
        return;
    }
    if (outcome == STORE_UNKNOWN) {
        map_ask_soon(x->cluster);
    }
    call_settle(x, outcome, reply);
    call_free(x);
}

static void on_deadline(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct store_cluster *c = arg;
    int64_t now = clock_mono_ms();
    struct list *first = NULL;
    while ((first = list_first(&c->calls)) != NULL) {
        struct call *x = list_owner(first, struct call, list);
        if (x->deadline_ms > now) {
            timer_set(c->deadline, x->deadline_ms - now);
            break;
        }
        if (x->at == NULL) {
            call_gives_up(x);
        } else {
            call_settle(x, STORE_UNKNOWN, NULL); /* freed by on_answer */
        }
    }
}

static void on_tick(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct store_cluster *c = arg;
    int64_t now = clock_mono_ms();
    list_each(it, &c->again)
    {
        struct call *x = list_owner(it, struct call, again);
        if (x->again_ms <= now) {
            list_remove(&x->again);
            call_send(x);
        }
    }
    if (!list_empty(&c->again)) {
        timer_set(c->tick, TICK_MS);
    }
}

/* The map or a connection has changed: whoever waits may try at once. */
static void calls_wake(struct store_cluster *c)
{
    list_each(it, &c->again)
    {
        list_owner(it, struct call, again)->again_ms = 0;
    }
    if (!list_empty(&c->again)) {
        timer_set(c->tick, 0);
    }
}

static void call_begin(struct store_cluster *c, store_callback *done, void *context, int script,
                       int keys, int slot, int argc, const struct slice *argv)
{
    if (c->closing || c->in_flight >= c->options.pending_max - NODE_SPARE || node_any(c) == NULL) {
        done(context, STORE_REFUSED, NULL);
        return;
    }
    size_t bytes = 0;
    for (int i = 0; i < argc; i++) {
        bytes += argv[i].n;
    }
    struct call *x = xcalloc(1, sizeof *x + (size_t)argc * sizeof *argv + bytes);
    x->cluster = c;
    x->done = done;
    x->context = context;
    x->deadline_ms = clock_mono_ms() + c->options.timeout_ms;
    x->slot = slot;
    x->script = script;
    x->keys = keys;
    x->argc = argc;
    x->argv = (struct slice *)(x + 1);
    char *at = (char *)(x->argv + argc);
    for (int i = 0; i < argc; i++) {
        if (argv[i].n > 0) {
            memcpy(at, argv[i].p, argv[i].n);
        }
        x->argv[i] = slice_make(at, argv[i].n);
        at += argv[i].n;
    }
    list_init(&x->list);
    list_init(&x->again);
    if (list_empty(&c->calls)) {
        timer_set(c->deadline, c->options.timeout_ms);
    }
    list_push(&c->calls, &x->list);
    c->in_flight++;
    call_send(x);
}

/* Where a command's first key stands among its words; 0: it has none, and any node will do. */
static int key_place(struct slice command)
{
    static const char *const without[] = {"PING",    "INFO",   "TIME",   "ECHO",  "PUBLISH",
                                          "CLUSTER", "CONFIG", "SCRIPT", "WAIT",  "DBSIZE",
                                          "SCAN",    "KEYS",   "ROLE",   "HELLO", "COMMAND"};
    for (size_t i = 0; i < ARRAY_LEN(without); i++) {
        if (command.n == strlen(without[i]) && strncasecmp(command.p, without[i], command.n) == 0) {
            return 0;
        }
    }
    bool eval = (command.n == 4 && strncasecmp(command.p, "EVAL", 4) == 0) ||
                (command.n == 7 && strncasecmp(command.p, "EVALSHA", 7) == 0);
    return eval ? 3 : 1;
}

void store_cluster_command(struct store_cluster *c, store_callback *done, void *context, int argc,
                           const struct slice *argv)
{
    int place = key_place(argv[0]);
    int slot = place > 0 && place < argc ? redis_slot(argv[place]) : SLOT_ANY;
    call_begin(c, done, context, -1, 0, slot, argc, argv);
}

void store_cluster_eval(struct store_cluster *c, enum store_script script, store_callback *done,
                        void *context, int keys, int argc, const struct slice *argv)
{
    must(keys > 0 && keys <= argc); /* a script without a key has no slot */
    call_begin(c, done, context, (int)script, keys, redis_slot(argv[0]), argc, argv);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct store_cluster *store_cluster_new(struct event_base *base, const struct store_options *o,
                                        const struct netaddr *seeds, size_t count)
{
    struct store_cluster *c = xcalloc(1, sizeof *c);
    c->base = base;
    c->options = *o;
    c->options.address = NULL;
    c->options.pending_max = o->pending_max + NODE_SPARE;
    c->options.password = o->password != NULL ? slice_dup(slice_of(o->password)) : NULL;
    c->on_state = o->on_state;
    c->on_forgot = o->on_forgot;
    c->context = o->context;
    c->asked_ms = clock_mono_ms() - MAP_BUSY_MS;
    c->hosts = store_hosts_new();
    store_hosts_set(c->hosts, seeds, count);
    list_init(&c->nodes);
    list_init(&c->calls);
    list_init(&c->again);
    c->refresh = evtimer_new(base, on_refresh, c);
    c->deadline = evtimer_new(base, on_deadline, c);
    c->tick = evtimer_new(base, on_tick, c);
    c->sweep = evtimer_new(base, on_sweep, c);
    must(c->refresh != NULL && c->deadline != NULL && c->tick != NULL && c->sweep != NULL);
    for (size_t i = 0; i < count; i++) {
        struct node *n = node_find(c, seeds[i].host, seeds[i].port);
        n->seed = true;
        node_open(n);
    }
    return c;
}

void store_cluster_destroy(struct store_cluster **cp)
{
    struct store_cluster *c = *cp;
    if (c == NULL) {
        return;
    }
    must(c->depth == 0);
    *cp = NULL;
    c->closing = true;
    list_each(it, &c->nodes)
    {
        store_destroy(&list_owner(it, struct node, list)->store);
    }
    struct list *first = NULL;
    while ((first = list_first(&c->calls)) != NULL) {
        struct call *x = list_owner(first, struct call, list);
        call_settle(x, STORE_UNKNOWN, NULL);
        call_free(x);
    }
    must(c->in_flight == 0);
    list_each(again, &c->nodes)
    {
        node_free(list_owner(again, struct node, list));
    }
    store_hosts_release(&c->hosts);
    event_free(c->refresh);
    event_free(c->deadline);
    event_free(c->tick);
    event_free(c->sweep);
    char *password = (char *)c->options.password;
    if (password != NULL) {
        OPENSSL_cleanse(password, strlen(password));
    }
    free(password);
    free(c);
}

bool store_cluster_up(const struct store_cluster *c)
{
    return c->up;
}

const char *store_cluster_why(struct store_cluster *c)
{
    static const char part[] = "not every slot has a node that is connected";
    const char *why = "";
    if (c->up) {
        return "";
    }
    if (c->odd_told) {
        return c->why;
    }
    for (const struct list *it = c->nodes.next; it != &c->nodes; it = it->next) {
        const struct node *n = list_owner(it, const struct node, list);
        if (n->store != NULL && store_why(n->store)[0] != '\0') {
            (void)snprintf(c->why, sizeof c->why, "%.130s (%.60s:%d)", store_why(n->store), n->host,
                           n->port);
            why = c->why;
        }
    }
    return why[0] != '\0' ? why : c->covered > 0 ? part : "";
}

/* Of appendonly and appendfsync, from nothing to all; what is not known counts as the least. */
static int durability_rank(const char *name)
{
    static const char *const names[] = {"unknown", "off", "no", "everysec", "always"};
    int rank = 0;
    for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
        rank = strcmp(names[i], name) == 0 ? i : rank;
    }
    return rank;
}

const char *store_cluster_durability(const struct store_cluster *c)
{
    const char *least = NULL;
    for (const struct list *it = c->nodes.next; it != &c->nodes; it = it->next) {
        const struct node *n = list_owner(it, const struct node, list);
        const char *its = n->slots > 0 && n->store != NULL ? store_durability(n->store) : NULL;
        if (its != NULL && (least == NULL || durability_rank(its) < durability_rank(least))) {
            least = its;
        }
    }
    return least != NULL ? least : "unknown";
}

void store_cluster_quiet(struct store_cluster *c)
{
    c->quiet = true;
    list_each(it, &c->nodes)
    {
        struct node *n = list_owner(it, struct node, list);
        if (n->store != NULL) {
            store_quiet(n->store);
        }
    }
}

uint32_t store_cluster_place(const struct store_cluster *c, struct slice key)
{
    return c->places[redis_slot(key)];
}

struct store_hosts *store_cluster_hosts(const struct store_cluster *c)
{
    return c->hosts;
}
