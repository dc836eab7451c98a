#include "common/adapters/store_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/meaning/redis_slot.h"

/* ---- nodes that say what a test wants -------------------------------------------------------- */

enum { NODES = 3, ARGS = 16, ANSWERS = 16, SEEN_BYTES_MAX = 1 << 20 };

struct peer {
    struct list list; /* in fake.peers */
    struct fake *fake;
    struct bufferevent *bev;
    bool listens; /* it subscribed */
};

struct fake {
    struct world *world;
    struct evconnlistener *listener; /* NULL: nobody is there */
    int port;
    struct list peers;
    const char *map;              /* answer to CLUSTER SLOTS; NULL: the world's */
    const char *answers[ANSWERS]; /* to what comes next, then +OK; "": mute from then on */
    int count, next;              /* of answers */
    const char *run_id;           /* of INFO */
    bool mute;                    /* answers nothing */
    bool forever;                 /* the last of answers is repeated */
    int listeners;                /* times somebody subscribed */
    int maps;                     /* times asked for the map */
    int commands;                 /* that are not of the greeting, nor for the map */
    struct buf seen;              /* they, a line each */
};

struct world {
    struct event_base *base;
    struct fake nodes[NODES];
    char map[2048];
    struct store_cluster *cluster;
    bool up;
    int changes; /* calls of on_state */
    int forgot;  /* calls of on_forgot */
};

static void fake_answer(struct fake *f, struct evbuffer *out)
{
    if (f->next < f->count) {
        const char *text = f->answers[f->next];
        f->next += f->forever && f->next + 1 == f->count ? 0 : 1;
        f->mute = f->mute || text[0] == '\0';
        (void)evbuffer_add(out, text, strlen(text));
    } else {
        (void)evbuffer_add_printf(out, "+OK\r\n");
    }
}

static void fake_command(struct peer *p, struct evbuffer *out, int argc, char **argv)
{
    struct fake *f = p->fake;
    if (f->mute) {
        return;
    }
    if (strcmp(argv[0], "PING") == 0) {
        (void)evbuffer_add_printf(out, "+PONG\r\n");
    } else if (strcmp(argv[0], "INFO") == 0) {
        char info[256];
        int n = snprintf(info, sizeof info,
                         "redis_version:7.0.15\r\nrole:master\r\nrun_id:%s\r\n"
                         "maxmemory_policy:noeviction\r\n",
                         f->run_id);
        (void)evbuffer_add_printf(out, "$%d\r\n%s\r\n", n, info);
    } else if (strcmp(argv[0], "CONFIG") == 0) {
        (void)evbuffer_add_printf(out, "*0\r\n");
    } else if (strcmp(argv[0], "SUBSCRIBE") == 0) {
        f->listeners++;
        p->listens = true;
        (void)evbuffer_add_printf(out, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    } else if (strcmp(argv[0], "CLUSTER") == 0) {
        f->maps++;
        (void)evbuffer_add_printf(out, "%s", f->map != NULL ? f->map : f->world->map);
    } else {
        f->commands++;
        for (int i = 0; i < argc; i++) {
            buf_printf(&f->seen, "%s%s", i > 0 ? " " : "", argv[i]);
        }
        buf_puts(&f->seen, "\n");
        if (strcmp(argv[0], "ASKING") == 0) {
            (void)evbuffer_add_printf(out, "+OK\r\n");
        } else {
            fake_answer(f, out);
        }
    }
}

/* A number behind a sign; -1: not all there yet. */
static long take_number(struct evbuffer *in, size_t *from, char sign)
{
    char line[32] = "";
    struct evbuffer_ptr at;
    must(evbuffer_ptr_set(in, &at, *from, EVBUFFER_PTR_SET) == 0);
    struct evbuffer_ptr end = evbuffer_search(in, "\r\n", 2, &at);
    if (end.pos < 0) {
        return -1;
    }
    size_t n = (size_t)end.pos - *from;
    must(n < sizeof line && evbuffer_copyout_from(in, &at, line, n) == (ev_ssize_t)n);
    must(line[0] == sign);
    *from += n + 2;
    return strtol(line + 1, NULL, 10);
}

static bool take_command(struct evbuffer *in, int *argc, char **argv)
{
    size_t from = 0;
    long count = evbuffer_get_length(in) > 0 ? take_number(in, &from, '*') : -1;
    must(count <= ARGS);
    for (*argc = 0; *argc < count; (*argc)++) {
        long n = from < evbuffer_get_length(in) ? take_number(in, &from, '$') : -1;
        struct evbuffer_ptr at;
        if (n < 0 || from + (size_t)n + 2 > evbuffer_get_length(in)) {
            break;
        }
        argv[*argc] = xcalloc(1, (size_t)n + 1);
        must(evbuffer_ptr_set(in, &at, from, EVBUFFER_PTR_SET) == 0);
        must(evbuffer_copyout_from(in, &at, argv[*argc], (size_t)n) == n);
        from += (size_t)n + 2;
    }
    bool whole = count > 0 && *argc == count;
    if (whole) {
        (void)evbuffer_drain(in, from);
    } else {
        for (int i = 0; i < *argc; i++) {
            free(argv[i]);
        }
    }
    return whole;
}

static void on_peer_bytes(struct bufferevent *bev, void *arg)
{
    struct peer *p = arg;
    char *argv[ARGS];
    int argc = 0;
    while (take_command(bufferevent_get_input(bev), &argc, argv)) {
        fake_command(p, bufferevent_get_output(bev), argc, argv);
        for (int i = 0; i < argc; i++) {
            free(argv[i]);
        }
    }
}

static void peer_free(struct peer *p)
{
    list_remove(&p->list);
    bufferevent_free(p->bev);
    free(p);
}

static void on_peer_event(struct bufferevent *bev UNUSED, short what, void *arg)
{
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0) {
        peer_free(arg);
    }
}

static void on_peer(struct evconnlistener *l UNUSED, evutil_socket_t fd,
                    struct sockaddr *address UNUSED, int bytes UNUSED, void *arg)
{
    struct fake *f = arg;
    struct peer *p = xcalloc(1, sizeof *p);
    p->fake = f;
    p->bev = bufferevent_socket_new(f->world->base, fd, BEV_OPT_CLOSE_ON_FREE);
    list_init(&p->list);
    list_push(&f->peers, &p->list);
    bufferevent_setcb(p->bev, on_peer_bytes, NULL, on_peer_event, p);
    must(bufferevent_enable(p->bev, EV_READ | EV_WRITE) == 0);
}

/* port 0: any; else the one that it had. */
static void fake_listen(struct fake *f)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->listener = evconnlistener_new_bind(f->world->base, on_peer, f,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 16,
                                          (struct sockaddr *)&at, sizeof at);
    must(f->listener != NULL);
    socklen_t n = sizeof at;
    must(getsockname(evconnlistener_get_fd(f->listener), (struct sockaddr *)&at, &n) == 0);
    f->port = ntohs(at.sin_port);
}

static void fake_hang_up(struct fake *f)
{
    list_each(it, &f->peers)
    {
        peer_free(list_owner(it, struct peer, list));
    }
}

static void fake_die(struct fake *f)
{
    evconnlistener_free(f->listener);
    f->listener = NULL;
    fake_hang_up(f);
}

static void fake_says(struct fake *f, const char *answer)
{
    must(f->count < ANSWERS);
    f->answers[f->count++] = answer;
}

/* ---- the world ------------------------------------------------------------------------------- */

/* One row of CLUSTER SLOTS. replica: port, or 0. */
static int put_row(char *at, size_t room, int from, int to, int primary, int replica)
{
    int n = snprintf(at, room, "*%d\r\n:%d\r\n:%d\r\n*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\nx\r\n",
                     replica > 0 ? 4 : 3, from, to, primary);
    if (replica > 0) {
        n += snprintf(at + n, room - (size_t)n, "*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\ny\r\n",
                      replica);
    }
    return n;
}

/* The first two own two halves ("foo" and "k" are in the second one), the third is the replica of
 * the first. swapped: it stands in its place. */
static void map_halves(struct world *w, int first, int second, int replica)
{
    int n = snprintf(w->map, sizeof w->map, "*2\r\n");
    n += put_row(w->map + n, sizeof w->map - (size_t)n, 0, 8191, first, replica);
    n += put_row(w->map + n, sizeof w->map - (size_t)n, 8192, 16383, second, 0);
}

static void on_state(void *context, bool up)
{
    struct world *w = context;
    w->up = up;
    w->changes++;
}

static void on_forgot(void *context)
{
    struct world *w = context;
    w->forgot++;
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->base = event_base_new();
    for (int i = 0; i < NODES; i++) {
        w->nodes[i].world = w;
        w->nodes[i].run_id = "one";
        list_init(&w->nodes[i].peers);
        buf_init(&w->nodes[i].seen, SEEN_BYTES_MAX);
        fake_listen(&w->nodes[i]);
    }
    map_halves(w, w->nodes[0].port, w->nodes[1].port, w->nodes[2].port);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    store_cluster_destroy(&w->cluster);
    for (int i = 0; i < NODES; i++) {
        if (w->nodes[i].listener != NULL) {
            fake_die(&w->nodes[i]);
        }
        buf_free(&w->nodes[i].seen);
    }
    event_base_free(w->base);
    free(w);
    return 0;
}

static void turn(struct world *w)
{
    (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    (void)usleep(200);
}

#define until(w, condition)                                                                        \
    do {                                                                                           \
        int64_t end_ = clock_mono_ms() + 5000;                                                     \
        while (!(condition) && clock_mono_ms() < end_) {                                           \
            turn(w);                                                                               \
        }                                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

static void connect_to(struct world *w, int seeds, uint32_t timeout_ms, uint32_t pending_max)
{
    struct store_options o = {.timeout_ms = timeout_ms,
                              .pending_max = pending_max,
                              .on_state = on_state,
                              .on_forgot = on_forgot,
                              .context = w};
    struct netaddr at[NODES] = {0};
    for (int i = 0; i < seeds; i++) {
        (void)snprintf(at[i].host, sizeof at[i].host, "127.0.0.1");
        at[i].port = w->nodes[i].port;
    }
    w->cluster = store_cluster_new(w->base, &o, at, (size_t)seeds);
}

static void connect_and_wait(struct world *w, uint32_t timeout_ms)
{
    connect_to(w, 1, timeout_ms, 100);
    until(w, w->up);
}

struct answer {
    int calls;
    enum store_outcome outcome;
    int type; /* of the reply */
    bool unavailable;
    char text[128];
};

static void on_answer(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct answer *a = context;
    a->calls++;
    a->outcome = outcome;
    if (reply != NULL) {
        a->type = reply->type;
        a->unavailable = store_reply_unavailable(reply);
        (void)snprintf(a->text, sizeof a->text, "%s", reply->str != NULL ? reply->str : "");
    }
}

static void get(struct world *w, const char *key, struct answer *a)
{
    const struct slice argv[2] = {SLICE("GET"), slice_of(key)};
    store_cluster_command(w->cluster, on_answer, a, 2, argv);
}

static struct answer ask(struct world *w, const char *key)
{
    struct answer a = {0};
    get(w, key, &a);
    until(w, a.calls > 0);
    return a;
}

static struct answer run_script(struct world *w, const char *key)
{
    struct answer a = {0};
    const struct slice argv[2] = {slice_of(key), SLICE("0")};
    store_cluster_eval(w->cluster, STORE_RECORDS, on_answer, &a, 1, 2, argv);
    until(w, a.calls > 0);
    return a;
}

static const char *seen(struct fake *f)
{
    return f->seen.n > 0 ? f->seen.p : "";
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_each_key_to_its_owner(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    assert_true(store_cluster_up(w->cluster));
    assert_string_equal(ask(w, "bar").text, "OK"); /* 5061 */
    assert_string_equal(ask(w, "foo").text, "OK"); /* 12182 */
    assert_string_equal(ask(w, "x{bar}").text, "OK");
    assert_string_equal(seen(&w->nodes[0]), "GET bar\nGET x{bar}\n");
    assert_string_equal(seen(&w->nodes[1]), "GET foo\n");
    assert_int_equal(w->nodes[2].commands, 0);
    struct answer a = {0};
    const struct slice publish[3] = {SLICE("PUBLISH"), SLICE("foo"), SLICE("x")};
    store_cluster_command(w->cluster, on_answer, &a, 3, publish);
    until(w, a.calls == 1); /* any node's */
    assert_int_equal(a.outcome, STORE_OK);
    a = (struct answer){0};
    const struct slice eval[4] = {SLICE("EVAL"), SLICE("return 1"), SLICE("1"), SLICE("foo")};
    store_cluster_command(w->cluster, on_answer, &a, 4, eval);
    until(w, a.calls == 1);
    assert_non_null(strstr(seen(&w->nodes[1]), "EVAL return 1 1 foo\n"));
}

static void test_moved(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    char moved[64];
    (void)snprintf(moved, sizeof moved, "-MOVED 5061 127.0.0.1:%d\r\n", w->nodes[1].port);
    fake_says(&w->nodes[0], moved);
    fake_says(&w->nodes[1], "$3\r\nyes\r\n");
    map_halves(w, w->nodes[0].port, w->nodes[1].port, 0);
    w->nodes[0].map = w->nodes[1].map = "-ERR not now\r\n"; /* the correction stands alone */
    int maps = w->nodes[0].maps + w->nodes[1].maps;
    assert_string_equal(ask(w, "bar").text, "yes");
    assert_string_equal(seen(&w->nodes[0]), "GET bar\n");
    assert_string_equal(seen(&w->nodes[1]), "GET bar\n");
    assert_string_equal(ask(w, "bar").text, "OK");
    assert_int_equal(w->nodes[0].commands, 1); /* not asked again */
    until(w, w->nodes[0].maps + w->nodes[1].maps > maps);
    assert_true(w->up);
}

/* To a node that nobody has heard of: it is connected to first. */
static void test_moved_to_a_new_node(void **state)
{
    struct world *w = *state;
    map_halves(w, w->nodes[0].port, w->nodes[1].port, 0);
    connect_and_wait(w, 2000);
    char moved[64];
    (void)snprintf(moved, sizeof moved, "-MOVED 5061 :%d\r\n", w->nodes[2].port);
    fake_says(&w->nodes[0], moved);
    w->nodes[0].map = w->nodes[1].map = w->nodes[2].map = "-ERR not now\r\n";
    assert_string_equal(ask(w, "bar").text, "OK");
    assert_string_equal(seen(&w->nodes[2]), "GET bar\n");
    until(w, w->up);
}

/* A node that has no name, where names are wanted of it, or an odd one: the map tells more, later.
 */
static void test_moved_to_nowhere(void **state)
{
    struct world *w = *state;
    static const char *const hosts[] = {"?", "a,b", "[::1]", "a/b"};
    connect_and_wait(w, 2000);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        char moved[64];
        (void)snprintf(moved, sizeof moved, "-MOVED 5061 %s:6379\r\n", hosts[i]);
        fake_says(&w->nodes[0], moved);
        assert_string_equal(ask(w, "bar").text, "OK");
    }
    assert_true(w->up);
}

/* Whoever reads in parts hears that a key is elsewhere, however that became known. */
static void test_places(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    uint32_t foo = store_cluster_place(w->cluster, SLICE("foo"));
    uint32_t bar = store_cluster_place(w->cluster, SLICE("x{bar}"));
    int maps = w->nodes[0].maps + w->nodes[1].maps;
    until(w, w->nodes[0].maps + w->nodes[1].maps >= maps + 2);
    assert_int_equal(store_cluster_place(w->cluster, SLICE("bar")), bar); /* as before */
    char ask_there[64];
    (void)snprintf(ask_there, sizeof ask_there, "-ASK 5061 127.0.0.1:%d\r\n", w->nodes[1].port);
    fake_says(&w->nodes[0], ask_there);
    assert_string_equal(ask(w, "bar").text, "OK");
    assert_int_not_equal(store_cluster_place(w->cluster, SLICE("bar")), bar);
    assert_int_equal(store_cluster_place(w->cluster, SLICE("foo")), foo);
    bar = store_cluster_place(w->cluster, SLICE("bar"));
    map_halves(w, w->nodes[1].port, w->nodes[1].port, 0);
    until(w, store_cluster_place(w->cluster, SLICE("bar")) != bar);
    assert_int_equal(store_cluster_place(w->cluster, SLICE("foo")), foo);
}

static void test_moved_in_a_circle_ends(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 300);
    char there[64], back[64];
    (void)snprintf(there, sizeof there, "-MOVED 5061 127.0.0.1:%d\r\n", w->nodes[1].port);
    (void)snprintf(back, sizeof back, "-MOVED 5061 127.0.0.1:%d\r\n", w->nodes[0].port);
    fake_says(&w->nodes[0], there);
    fake_says(&w->nodes[1], back);
    w->nodes[0].forever = w->nodes[1].forever = true;
    struct answer a = ask(w, "bar");
    assert_int_equal(a.outcome, STORE_OK);
    assert_true(a.unavailable);
    assert_true(w->nodes[0].commands + w->nodes[1].commands < 200); /* with pauses */
}

static void test_ask_is_followed_by_commands(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    char to[64];
    (void)snprintf(to, sizeof to, "-ASK 5061 127.0.0.1:%d\r\n", w->nodes[1].port);
    fake_says(&w->nodes[0], to);
    fake_says(&w->nodes[1], "$3\r\nyes\r\n");
    assert_string_equal(ask(w, "bar").text, "yes");
    assert_string_equal(seen(&w->nodes[1]), "ASKING\nGET bar\n");
    assert_string_equal(ask(w, "bar").text, "OK");
    assert_string_equal(seen(&w->nodes[0]), "GET bar\nGET bar\n"); /* the slot is still its */
}

/* Its other keys may be on the first node: it stays there until the whole slot is somewhere. */
static void test_ask_is_not_followed_by_scripts(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    char to[64];
    (void)snprintf(to, sizeof to, "-ASK 5061 127.0.0.1:%d\r\n", w->nodes[1].port);
    fake_says(&w->nodes[0], to);
    fake_says(&w->nodes[0], "-TRYAGAIN the slot is being moved\r\n");
    fake_says(&w->nodes[0], to);
    fake_says(&w->nodes[0], "$3\r\nyes\r\n");
    assert_string_equal(run_script(w, "{bar}v").text, "yes");
    assert_int_equal(w->nodes[0].commands, 4);
    assert_int_equal(w->nodes[1].commands, 0);
}

static void test_scripts_are_guarded(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    fake_says(&w->nodes[0], "-NOSCRIPT No matching script\r\n");
    assert_string_equal(run_script(w, "{bar}v").text, "OK");
    const char *all = seen(&w->nodes[0]);
    assert_string_not_equal(store_script_sha(STORE_RECORDS, true),
                            store_script_sha(STORE_RECORDS, false));
    assert_non_null(strstr(all, store_script_sha(STORE_RECORDS, true)));
    assert_null(strstr(all, store_script_sha(STORE_RECORDS, false)));
    assert_non_null(strstr(all, "EVAL -- Stands in front of every script that a node"));
    for (int i = 0; i < STORE_SCRIPTS; i++) { /* nothing of a script runs before the guard */
        struct slice bare = store_script_text((enum store_script)i, false);
        struct slice guarded = store_script_text((enum store_script)i, true);
        assert_true(guarded.n > bare.n);
        assert_memory_equal(guarded.p + (guarded.n - bare.n), bare.p, bare.n);
        assert_null(memmem(bare.p, bare.n, "is being moved", 14));
        assert_memory_equal(guarded.p, "-- Stands in front of every script that a node", 46);
    }
}

static void try_again(struct world *w, const char *error)
{
    for (int i = 0; i < 3; i++) {
        fake_says(&w->nodes[0], error);
    }
    fake_says(&w->nodes[0], "$3\r\nyes\r\n");
    assert_string_equal(ask(w, "bar").text, "yes");
    assert_int_equal(w->nodes[0].commands, 4);
}

static void test_try_again(void **state)
{
    connect_and_wait(*state, 1000);
    try_again(*state, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
}

static void test_cluster_down_for_a_moment(void **state)
{
    connect_and_wait(*state, 1000);
    try_again(*state, "-CLUSTERDOWN The cluster is down\r\n");
}

static void test_try_again_until_the_deadline(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 200);
    fake_says(&w->nodes[0], "-TRYAGAIN\r\n");
    w->nodes[0].forever = true;
    int64_t before = clock_mono_ms();
    struct answer a = ask(w, "bar");
    assert_int_equal(a.outcome, STORE_OK);
    assert_int_equal(a.type, REDIS_REPLY_ERROR);
    assert_true(a.unavailable);
    assert_true(clock_mono_ms() - before >= 195);
    assert_true(w->nodes[0].commands > 2);
    assert_int_equal(a.calls, 1);
}

/* Errors that are the script's or the server's own go to whoever asked. */
static void test_other_errors_are_answers(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    fake_says(&w->nodes[0], "-OOM command not allowed\r\n");
    fake_says(&w->nodes[0], "-MOVED nonsense\r\n");
    struct answer a = ask(w, "bar");
    assert_true(a.unavailable);
    assert_string_equal(a.text, "OOM command not allowed");
    a = ask(w, "bar");
    assert_false(a.unavailable);
    assert_string_equal(a.text, "MOVED nonsense");
    assert_int_equal(w->nodes[0].commands, 2);
}

static void test_a_primary_is_lost(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 300);
    struct answer lost = {0};
    fake_says(&w->nodes[0], "");
    get(w, "bar", &lost);
    until(w, w->nodes[0].commands == 1);
    fake_die(&w->nodes[0]);
    until(w, !w->up);
    assert_int_equal(lost.calls, 1);
    assert_int_equal(lost.outcome, STORE_UNKNOWN);
    assert_string_equal(ask(w, "foo").text, "OK"); /* another's slot */
    struct answer a = ask(w, "bar");
    assert_int_equal(a.outcome, STORE_OK);
    assert_true(a.unavailable);
    a = (struct answer){0};
    get(w, "bar", &a);
    fake_listen(&w->nodes[0]);
    w->nodes[0].count = 0;
    w->nodes[0].mute = false;
    until(w, w->up);
    until(w, a.calls == 1);
    assert_int_equal(w->changes, 3);
}

/* The replica owns its slots from now on. */
static void test_fail_over(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 3000);
    fake_die(&w->nodes[0]);
    until(w, !w->up);
    struct answer a = {0};
    get(w, "bar", &a);
    map_halves(w, w->nodes[2].port, w->nodes[1].port, 0);
    until(w, w->up);
    until(w, a.calls == 1);
    assert_string_equal(a.text, "OK");
    assert_string_equal(seen(&w->nodes[2]), "GET bar\n");
    assert_int_equal(w->forgot, 1);
}

/* Slots that are moved to a primary which was not there before, in order: nothing is forgotten. */
static void test_a_new_primary_has_all(void **state)
{
    struct world *w = *state;
    map_halves(w, w->nodes[0].port, w->nodes[1].port, 0);
    connect_and_wait(w, 1000);
    int n = snprintf(w->map, sizeof w->map, "*3\r\n");
    n += put_row(w->map + n, sizeof w->map - (size_t)n, 0, 5000, w->nodes[0].port, 0);
    n += put_row(w->map + n, sizeof w->map - (size_t)n, 5001, 8191, w->nodes[2].port, 0);
    (void)put_row(w->map + n, sizeof w->map - (size_t)n, 8192, 16383, w->nodes[1].port, 0);
    until(w, ask(w, "bar").outcome == STORE_OK && w->nodes[2].commands > 0);
    until(w, w->up);
    assert_int_equal(w->forgot, 0);
}

static void test_a_node_is_another_process(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    fake_die(&w->nodes[1]);
    until(w, !w->up);
    fake_listen(&w->nodes[1]);
    until(w, w->up);
    assert_int_equal(w->forgot, 0);
    w->nodes[1].run_id = "two";
    fake_hang_up(&w->nodes[1]);
    until(w, !w->up);
    until(w, w->up);
    assert_int_equal(w->forgot, 1);
}

static void test_silent_node(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 200);
    fake_says(&w->nodes[0], "");
    struct answer a = {0};
    get(w, "bar", &a);
    until(w, a.calls == 1);
    assert_int_equal(a.outcome, STORE_UNKNOWN);
    assert_string_equal(ask(w, "foo").text, "OK");
    assert_int_equal(a.calls, 1);
}

static void test_pending_bound_and_no_node(void **state)
{
    struct world *w = *state;
    connect_to(w, 2, 1000, 2);
    struct answer a[3] = {{0}};
    get(w, "bar", &a[0]);
    assert_int_equal(a[0].calls, 1);
    assert_int_equal(a[0].outcome, STORE_REFUSED); /* not connected yet */
    until(w, w->up);
    memset(a, 0, sizeof a);
    for (int i = 0; i < 3; i++) {
        get(w, "bar", &a[i]);
    }
    assert_int_equal(a[2].calls, 1);
    assert_int_equal(a[2].outcome, STORE_REFUSED);
    until(w, a[0].calls == 1 && a[1].calls == 1);
    assert_int_equal(ask(w, "bar").outcome, STORE_OK);
    for (int i = 0; i < NODES; i++) {
        fake_die(&w->nodes[i]);
    }
    until(w, !w->up && ask(w, "bar").outcome == STORE_REFUSED);
}

/* A seed that knows nothing, one that is no cluster, one that lies: none of them is the end. */
static void test_odd_maps(void **state)
{
    struct world *w = *state;
    static const char *const odd[] = {
        "-ERR This instance has cluster support disabled\r\n",
        "*0\r\n",
        "+OK\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:0\r\n:5\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:6\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*1\r\n$1\r\na\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\na\r\n:0\r\n",
        "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n:7\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$1\r\n?\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$3\r\na,b\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$5\r\n[::1]\r\n:1\r\n",
    };
    connect_to(w, 1, 1000, 10);
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        w->nodes[0].map = odd[i];
        int maps = w->nodes[0].maps;
        until(w, w->nodes[0].maps >= maps + 2);
        assert_false(w->up);
    }
    char own[64]; /* it does not know its own host */
    (void)snprintf(own, sizeof own, "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$0\r\n\r\n:%d\r\n",
                   w->nodes[0].port);
    w->nodes[0].map = own;
    until(w, w->up);
    assert_string_equal(ask(w, "foo").text, "OK");
}

static void test_part_of_the_slots_is_not_up(void **state)
{
    struct world *w = *state;
    char part[256] = "*1\r\n";
    (void)put_row(part + 4, sizeof part - 4, 0, 16000, w->nodes[0].port, 0);
    w->nodes[0].map = part;
    connect_to(w, 1, 200, 10);
    int maps = 0;
    until(w, (maps = w->nodes[0].maps) >= 2);
    assert_false(w->up);
    assert_string_equal(ask(w, "bar").text, "OK");
    char nobodys[16] = "";
    for (int i = 0; redis_slot(slice_of(nobodys)) <= 16000; i++) {
        (void)snprintf(nobodys, sizeof nobodys, "k%d", i);
    }
    struct answer a = ask(w, nobodys);
    assert_int_equal(a.outcome, STORE_OK);
    assert_true(a.unavailable);
    assert_int_equal(w->nodes[0].commands, 1);
}

static void test_destroy_with_calls(void **state)
{
    struct world *w = *state;
    connect_and_wait(w, 1000);
    fake_says(&w->nodes[0], "-TRYAGAIN\r\n");
    fake_says(&w->nodes[0], "");
    struct answer a[2] = {{0}};
    get(w, "bar", &a[0]);
    get(w, "bar", &a[1]);
    until(w, w->nodes[0].commands >= 2);
    store_cluster_destroy(&w->cluster);
    assert_int_equal(a[0].outcome, STORE_UNKNOWN);
    assert_int_equal(a[1].outcome, STORE_UNKNOWN);
    assert_int_equal(a[0].calls + a[1].calls, 2);
    w->up = false;
    connect_to(w, 3, 1000, 10);
    turn(w);
    store_cluster_destroy(&w->cluster); /* in the greeting */
}

struct news {
    int begun; /* empty messages: something may have been missed */
    char last[32];
};

static void on_news(void *context, struct slice message)
{
    struct news *n = context;
    n->begun += message.n == 0 ? 1 : 0;
    (void)snprintf(n->last, sizeof n->last, "%.*s", SLICE_ARG(message));
}

/* To every connection that subscribed. */
static bool publish(struct world *w, const char *text)
{
    for (int i = 0; i < NODES; i++) {
        list_each(it, &w->nodes[i].peers)
        {
            struct peer *p = list_owner(it, struct peer, list);
            if (p->listens) {
                (void)evbuffer_add_printf(bufferevent_get_output(p->bev),
                                          "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%zu\r\n%s\r\n",
                                          strlen(text), text);
            }
        }
    }
    return true;
}

static struct fake *listened_at(struct world *w, int before[NODES])
{
    for (int i = 0; i < NODES; i++) {
        if (w->nodes[i].listeners > before[i]) {
            before[i] = w->nodes[i].listeners;
            return &w->nodes[i];
        }
    }
    return NULL;
}

/* Through store.h: a subscription goes on at another node when its own is lost, or has left. */
static void test_a_subscription_moves(void **state)
{
    struct world *w = *state;
    char address[128];
    (void)snprintf(address, sizeof address, "cluster://127.0.0.1:%d,127.0.0.1:%d", w->nodes[0].port,
                   w->nodes[1].port);
    struct store_options o = {.address = address,
                              .timeout_ms = 1000,
                              .pending_max = 10,
                              .on_state = on_state,
                              .context = w};
    struct store *store = store_new(w->base, &o);
    until(w, w->up);
    assert_true(store_up(store));
    struct news told = {0};
    int before[NODES] = {0};
    struct store *news = store_subscriber(store, "news", on_news, &told);
    until(w, told.begun == 1);
    assert_true(store_up(news));
    struct fake *at = listened_at(w, before);
    assert_non_null(at);
    until(w, publish(w, "hello") && strcmp(told.last, "hello") == 0);
    fake_die(at);
    until(w, told.begun == 2);
    struct fake *next = listened_at(w, before);
    assert_ptr_not_equal(next, at);
    fake_listen(at);
    until(w, w->up);
    struct fake *left = next; /* it hangs on, but the others do not know it any more */
    int owner = left == &w->nodes[0] ? 1 : 0;
    map_halves(w, w->nodes[owner].port, w->nodes[owner].port, 0);
    until(w, told.begun == 3);
    assert_ptr_not_equal(listened_at(w, before), left);
    store_destroy(&news);
    store_destroy(&store);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_key_to_its_owner),
        TEST(test_moved),
        TEST(test_moved_to_a_new_node),
        TEST(test_moved_to_nowhere),
        TEST(test_places),
        TEST(test_moved_in_a_circle_ends),
        TEST(test_ask_is_followed_by_commands),
        TEST(test_ask_is_not_followed_by_scripts),
        TEST(test_scripts_are_guarded),
        TEST(test_try_again),
        TEST(test_cluster_down_for_a_moment),
        TEST(test_try_again_until_the_deadline),
        TEST(test_other_errors_are_answers),
        TEST(test_a_primary_is_lost),
        TEST(test_fail_over),
        TEST(test_a_new_primary_has_all),
        TEST(test_a_node_is_another_process),
        TEST(test_silent_node),
        TEST(test_pending_bound_and_no_node),
        TEST(test_odd_maps),
        TEST(test_part_of_the_slots_is_not_up),
        TEST(test_a_subscription_moves),
        TEST(test_destroy_with_calls),
    };
    log_setup("test_store_cluster", LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests_name("store_cluster", tests, NULL, NULL);
}
