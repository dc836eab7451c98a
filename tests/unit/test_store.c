#include "common/adapters/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "common/adapters/store_ask.h"
#include "common/base/log.h"
#include "tests/unit/redis_fixture.h"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    bool up;
    int changes; /* calls of on_state */
};

struct answer {
    bool done;
    int calls;
    enum store_outcome outcome;
    int type; /* of the reply */
    long long number;
    char text[256];
};

static void on_state(void *context, bool up)
{
    struct world *w = context;
    w->up = up;
    w->changes++;
}

static void on_answer(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct answer *a = context;
    a->calls++;
    a->done = true;
    a->outcome = outcome;
    if (reply != NULL) {
        a->type = reply->type;
        a->number = reply->integer;
        (void)snprintf(a->text, sizeof a->text, "%s", reply->str != NULL ? reply->str : "");
    }
}

static void world_connect(struct world *w, const char *password, uint32_t timeout_ms,
                          uint32_t pending_max)
{
    struct store_options o = {.address = w->redis.address,
                              .password = password,
                              .timeout_ms = timeout_ms,
                              .pending_max = pending_max,
                              .on_state = on_state,
                              .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    redis_fixture_new(&w->redis);
    w->base = event_base_new();
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

static struct answer ask(struct world *w, int argc, const struct slice *argv)
{
    struct answer a = {0};
    store_command(w->store, on_answer, &a, argc, argv);
    assert_true(loop_until(w->base, &a.done, 5000));
    return a;
}

static void test_commands_and_errors(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 1000, 100);
    struct slice set[3] = {SLICE("SET"), SLICE("k"), slice_make("a\0b", 3)};
    struct answer a = ask(w, 3, set);
    assert_int_equal(a.outcome, STORE_OK);
    assert_string_equal(a.text, "OK");
    struct slice len[2] = {SLICE("STRLEN"), SLICE("k")};
    a = ask(w, 2, len);
    assert_int_equal(a.number, 3);
    struct slice wrong[2] = {SLICE("NOSUCH"), SLICE("")};
    a = ask(w, 2, wrong);
    assert_int_equal(a.outcome, STORE_OK);
    assert_int_equal(a.type, REDIS_REPLY_ERROR);
}

static void test_password(void **state)
{
    struct world *w = *state;
    char error[512];
    redis_fixture_start(&w->redis, "--requirepass", "open sesame");
    assert_false(store_check(w->redis.address, "wrong", 1000, error));
    assert_non_null(strstr(error, "redis.password_file"));
    assert_false(store_check(w->redis.address, NULL, 1000, error));
    assert_true(store_check(w->redis.address, "open sesame", 1000, error));
    world_connect(w, "open sesame", 1000, 100);
    struct slice ping[1] = {SLICE("PING")};
    assert_string_equal(ask(w, 1, ping).text, "PONG");
}

static void test_wrong_password_never_comes_up(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, "--requirepass", "open sesame");
    struct store_options o = {.address = w->redis.address,
                              .password = "x",
                              .timeout_ms = 300,
                              .pending_max = 10,
                              .on_state = on_state,
                              .context = w};
    w->store = store_new(w->base, &o);
    assert_false(loop_until(w->base, &w->up, 300));
    struct answer a = {0};
    struct slice ping[1] = {SLICE("PING")};
    store_command(w->store, on_answer, &a, 1, ping);
    assert_true(a.done);
    assert_int_equal(a.outcome, STORE_REFUSED);
}

static void test_pending_bound(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 1000, 2);
    struct answer a[3] = {{0}};
    struct slice ping[1] = {SLICE("PING")};
    for (int i = 0; i < 3; i++) {
        store_command(w->store, on_answer, &a[i], 1, ping);
    }
    assert_int_equal(a[2].outcome, STORE_REFUSED);
    assert_true(a[2].done);
    assert_true(loop_until(w->base, &a[1].done, 5000));
    assert_int_equal(a[0].outcome, STORE_OK);
    assert_int_equal(ask(w, 1, ping).outcome, STORE_OK);
}

/* A frozen server: the command is unknown after its own deadline; its reply, when the server thaws,
 * is nobody's; the connection goes on. */
static void test_time_out_and_late_reply(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 400, 100);
    redis_fixture_freeze(&w->redis);
    struct answer a = {0};
    struct slice incr[2] = {SLICE("INCR"), SLICE("n")};
    int64_t before = clock_mono_ms();
    store_command(w->store, on_answer, &a, 2, incr);
    assert_true(loop_until(w->base, &a.done, 2000));
    assert_int_equal(a.outcome, STORE_UNKNOWN);
    assert_true(clock_mono_ms() - before >= 395);
    redis_fixture_thaw(&w->redis);
    assert_int_equal(ask(w, 2, incr).number, 2); /* the first one did happen */
    assert_int_equal(a.calls, 1);
    assert_int_equal(w->changes, 1);
}

static void test_frozen_server_is_left_and_found_again(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 200, 100);
    redis_fixture_freeze(&w->redis);
    struct slice ping[1] = {SLICE("PING")};
    int64_t until = clock_mono_ms() + 5000;
    while (w->up && clock_mono_ms() < until) {
        (void)ask(w, 1, ping);
    }
    assert_false(w->up);
    assert_int_equal(ask(w, 1, ping).outcome, STORE_REFUSED);
    redis_fixture_thaw(&w->redis);
    assert_true(loop_until(w->base, &w->up, 5000));
    assert_int_equal(ask(w, 1, ping).outcome, STORE_OK);
}

static struct answer eval_records(struct world *w)
{
    struct answer a = {0};
    struct slice argv[6] = {SLICE("{t}v"), SLICE("{t}n"), SLICE("{t}a"),
                            SLICE("{t}i"), SLICE("{t}e"), SLICE("0")};
    store_eval(w->store, STORE_RECORDS, on_answer, &a, 5, 6, argv);
    assert_true(loop_until(w->base, &a.done, 5000));
    return a;
}

/* The server dies with commands in flight and comes back without the scripts. */
static void test_restart(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 1000, 100);
    assert_int_equal(eval_records(w).type, REDIS_REPLY_ARRAY);
    assert_int_equal(eval_records(w).type, REDIS_REPLY_ARRAY);
    redis_fixture_freeze(&w->redis);
    struct answer a[5] = {{0}};
    struct slice ping[1] = {SLICE("PING")};
    for (int i = 0; i < 5; i++) {
        store_command(w->store, on_answer, &a[i], 1, ping);
    }
    (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    redis_fixture_stop(&w->redis);
    assert_true(loop_until(w->base, &a[4].done, 3000));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(a[i].outcome, STORE_UNKNOWN);
        assert_int_equal(a[i].calls, 1);
    }
    assert_false(w->up);
    redis_fixture_start(&w->redis, NULL, NULL);
    assert_true(loop_until(w->base, &w->up, 5000));
    assert_int_equal(eval_records(w).type, REDIS_REPLY_ARRAY); /* NOSCRIPT inside */
}

/* ---- who the server is ----------------------------------------------------------------------- */

struct forgetting {
    struct world *w;
    int forgot;       /* times that it was told */
    bool up;          /* usable */
    bool was_before;  /* told before the state, as it has to be */
    struct answer in; /* of a command that was sent from it */
};

static void on_forgetting_state(void *context, bool up)
{
    struct forgetting *f = context;
    f->up = up;
}

static void on_forgot(void *context)
{
    struct forgetting *f = context;
    struct slice ping[1] = {SLICE("PING")};
    f->forgot++;
    f->was_before = !f->up;
    f->in = (struct answer){0};
    store_command(f->w->store, on_answer, &f->in, 1, ping);
}

static void connect_forgetting(struct world *w, struct forgetting *f)
{
    struct store_options o = {.address = w->redis.address,
                              .timeout_ms = 200,
                              .pending_max = 10,
                              .on_state = on_forgetting_state,
                              .on_forgot = on_forgot,
                              .context = f};
    *f = (struct forgetting){.w = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &f->up, 5000));
    assert_int_equal(f->forgot, 0); /* the first connection forgets nothing */
}

static void ask_one(struct world *w, const char *command)
{
    char error[512];
    redisContext *c = store_blocking(w->redis.address, NULL, 1000, error);
    assert_non_null(c);
    redisReply *r = redisCommand(c, command);
    assert_non_null(r);
    freeReplyObject(r);
    redisFree(c);
}

static void lose_and_find(struct world *w, struct forgetting *f)
{
    struct slice ping[1] = {SLICE("PING")};
    int64_t until = clock_mono_ms() + 5000;
    while (f->up && clock_mono_ms() < until) {
        (void)ask(w, 1, ping);
    }
    assert_false(f->up);
    assert_true(loop_until(w->base, &f->up, 5000));
}

static void test_another_process_forgot(void **state)
{
    struct world *w = *state;
    struct forgetting f;
    redis_fixture_start(&w->redis, NULL, NULL);
    connect_forgetting(w, &f);
    redis_fixture_stop(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    lose_and_find(w, &f);
    assert_int_equal(f.forgot, 1);
    assert_true(f.was_before);
    assert_true(loop_until(w->base, &f.in.done, 5000));
    assert_int_equal(f.in.outcome, STORE_OK); /* commands are taken already */
}

static void test_the_same_process_did_not_forget(void **state)
{
    struct world *w = *state;
    struct forgetting f;
    redis_fixture_start(&w->redis, NULL, NULL);
    connect_forgetting(w, &f);
    ask_one(w, "CLIENT KILL TYPE normal SKIPME yes");
    lose_and_find(w, &f);
    assert_int_equal(f.forgot, 0);
}

/* The same process, and its data is of another history now. */
static void test_another_history_forgot(void **state)
{
    struct world *w = *state;
    struct forgetting f;
    redis_fixture_start(&w->redis, NULL, NULL);
    connect_forgetting(w, &f);
    ask_one(w, "REPLICAOF 127.0.0.1 1");
    ask_one(w, "REPLICAOF NO ONE");
    ask_one(w, "CLIENT KILL TYPE normal SKIPME yes");
    lose_and_find(w, &f);
    assert_int_equal(f.forgot, 1);
}

/* A connection to what became a replica is left at its first "no"; a replica is never used. */
static void test_a_replica_is_not_used(void **state)
{
    struct world *w = *state;
    struct slice set[3] = {SLICE("SET"), SLICE("k"), SLICE("v")};
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 2000, 10);
    assert_string_equal(store_durability(w->store), "off");
    ask_one(w, "REPLICAOF 127.0.0.1 1");
    struct answer a = ask(w, 3, set);
    assert_int_equal(a.type, REDIS_REPLY_ERROR);
    assert_false(w->up);
    assert_false(loop_until(w->base, &w->up, 400));
    ask_one(w, "CONFIG SET appendonly yes appendfsync always");
    ask_one(w, "REPLICAOF NO ONE");
    assert_true(loop_until(w->base, &w->up, 5000));
    assert_int_equal(ask(w, 3, set).outcome, STORE_OK);
    assert_string_equal(store_durability(w->store), "always");
}

/* More arguments than fit on a stack. */
static void test_many_arguments(void **state)
{
    struct world *w = *state;
    static struct slice argv[20001];
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 5000, 10);
    argv[0] = SLICE("DEL");
    for (size_t i = 1; i < ARRAY_LEN(argv); i++) {
        argv[i] = SLICE("k");
    }
    assert_int_equal(ask(w, 20001, argv).outcome, STORE_OK);
}

static void on_note(void *context, struct slice message UNUSED)
{
    *(bool *)context = true;
}

static void test_subscriber(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 1000, 100);
    bool told = false;
    struct store *sub = store_subscriber(w->store, "news", on_note, &told);
    assert_true(loop_until(w->base, &told, 5000)); /* connected: something may have been missed */
    told = false;
    struct slice publish[3] = {SLICE("PUBLISH"), SLICE("news"), SLICE("1")};
    assert_int_equal(ask(w, 3, publish).number, 1);
    assert_true(loop_until(w->base, &told, 5000));
    told = false;
    redis_fixture_stop(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    assert_true(loop_until(w->base, &told, 5000));
    store_destroy(&sub);
}

/* Every state in which a store can be destroyed. */
static void test_destroy_with_commands_in_flight(void **state)
{
    struct world *w = *state;
    redis_fixture_start(&w->redis, NULL, NULL);
    world_connect(w, NULL, 1000, 100);
    struct answer a = {0};
    struct slice ping[1] = {SLICE("PING")};
    store_command(w->store, on_answer, &a, 1, ping);
    store_destroy(&w->store);
    assert_null(w->store);
    assert_int_equal(a.outcome, STORE_UNKNOWN);
    assert_int_equal(a.calls, 1);
    struct store_options o = {.address = w->redis.address, .timeout_ms = 100, .pending_max = 1};
    w->store = store_new(w->base, &o);
    (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    store_destroy(&w->store); /* in the greeting */
}

static void test_check(void **state)
{
    struct world *w = *state;
    char error[512];
    assert_false(store_check(w->redis.address, NULL, 300, error));
    assert_non_null(strstr(error, "redis.address"));
    assert_false(store_check("redis.example:6379", NULL, 300, error));
    assert_non_null(strstr(error, "unix:/path"));
    redis_fixture_start(&w->redis, NULL, NULL);
    assert_true(store_check(w->redis.address, NULL, 300, error));
    redisContext *c = store_blocking(w->redis.address, NULL, 300, error);
    freeReplyObject(redisCommand(c, "CONFIG SET maxmemory-policy allkeys-lru"));
    assert_false(store_check(w->redis.address, NULL, 300, error));
    assert_non_null(strstr(error, "maxmemory-policy noeviction"));
    redisFree(c);
}

/* The server dies between two questions: an error with words, and the process lives. */
static void test_asked_server_dies(void **state)
{
    struct world *w = *state;
    char error[512];
    const struct slice ping[1] = {SLICE("PING")};
    const struct slice wrong[1] = {SLICE("NOSUCH")};
    redis_fixture_start(&w->redis, NULL, NULL);
    struct asker *a = asker_open(w->redis.address, NULL, 2000, error);
    assert_non_null(a);
    redisReply *r = store_ask(a, 1, ping, error);
    assert_non_null(r);
    assert_string_equal(r->str, "PONG");
    freeReplyObject(r);
    assert_null(store_ask(a, 1, wrong, error));
    assert_non_null(strstr(error, "NOSUCH"));
    redis_fixture_stop(&w->redis);
    (void)signal(SIGPIPE, SIG_DFL);
    assert_null(store_ask(a, 1, ping, error));
    (void)signal(SIGPIPE, SIG_IGN);
    assert_non_null(strstr(error, "or not"));
    assert_null(store_ask(a, 1, ping, error));
    assert_non_null(strstr(error, "nothing was done"));
    asker_close(&a);
    assert_null(a);
}

/* What a check says on stderr. */
static void check_heard(struct world *w, char heard[2048])
{
    char error[512];
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    must(file != NULL && before >= 0);
    (void)fflush(stderr);
    must(dup2(fileno(file), STDERR_FILENO) >= 0);
    bool ok = store_check(w->redis.address, NULL, 1000, error);
    (void)fflush(stderr);
    must(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    rewind(file);
    heard[fread(heard, 1, 2047, file)] = '\0';
    (void)fclose(file);
    assert_true(ok);
}

static void test_check_warns_of_forgetting(void **state)
{
    struct world *w = *state;
    char heard[2048];
    char error[512];
    redis_fixture_start(&w->redis, NULL, NULL);
    log_setup("test_store", LOG_LEVEL_WARN, false);
    check_heard(w, heard);
    assert_non_null(strstr(heard, "level=warn"));
    assert_non_null(strstr(heard, "appendonly yes"));
    redisContext *c = store_blocking(w->redis.address, NULL, 1000, error);
    freeReplyObject(redisCommand(c, "CONFIG SET appendonly yes"));
    check_heard(w, heard);
    assert_string_equal(heard, "");
    freeReplyObject(redisCommand(c, "CONFIG SET appendonly no"));
    redisFree(c);
    log_setup("test_store", LOG_LEVEL_ERROR, false);
}

/* ---- host names ------------------------------------------------------------------------------ */

static atomic_bool names_answer; /* a look-up of *.test ends only then, or after SLOW_MS */
enum { SLOW_MS = 3000, TURN_MS_MAX = 500 };

/* The system's resolver of this program, with a name server as slow as a test wants it: for otpq
 * and for the libraries below it. */
int getaddrinfo(const char *restrict host, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    *(void **)(void *)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    bool is_name = host != NULL && strcmp(host, "redis.test") == 0 &&
                   (hints == NULL || (hints->ai_flags & AI_NUMERICHOST) == 0);
    for (int i = 0; is_name && i < SLOW_MS && !atomic_load(&names_answer); i++) {
        (void)usleep(1000);
    }
    return real(is_name ? "127.0.0.1" : host, service, hints, found);
}

static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0);
    must(getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    (void)close(fd);
    return ntohs(at.sin_port);
}

static void listen_on_tcp(struct world *w, int port)
{
    char error[512];
    redisContext *c = store_blocking(w->redis.address, NULL, 1000, error);
    assert_non_null(c);
    redisReply *r = redisCommand(c, "CONFIG SET port %d", port);
    assert_int_equal(r->type, REDIS_REPLY_STATUS);
    freeReplyObject(r);
    redisFree(c);
}

/* Turns the loop; no turn may take long. */
static void turn(struct world *w, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms;
    while (!w->up && clock_mono_ms() < until) {
        int64_t before = clock_mono_ms();
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
        assert_in_range(clock_mono_ms() - before, 0, TURN_MS_MAX);
        (void)usleep(200);
    }
}

static void test_slow_name_server(void **state)
{
    struct world *w = *state;
    char address[64];
    int port = free_port();
    redis_fixture_start(&w->redis, NULL, NULL);
    listen_on_tcp(w, port);
    (void)snprintf(address, sizeof address, "tcp://redis.test:%d", port);
    struct store_options o = {.address = address,
                              .timeout_ms = 100,
                              .pending_max = 10,
                              .on_state = on_state,
                              .context = w};
    atomic_store(&names_answer, false);
    w->store = store_new(w->base, &o);
    turn(w, 600); /* several attempts, each over its time */
    assert_false(w->up);
    struct answer a = {0};
    struct slice ping[1] = {SLICE("PING")};
    store_command(w->store, on_answer, &a, 1, ping);
    assert_int_equal(a.outcome, STORE_REFUSED);
    atomic_store(&names_answer, true);
    turn(w, 5000);
    assert_true(w->up);
    assert_string_equal(ask(w, 1, ping).text, "PONG");
}

static void test_destroyed_while_a_name_is_looked_up(void **state)
{
    struct world *w = *state;
    struct store_options o = {.address = "tcp://redis.test:1", .timeout_ms = 50, .pending_max = 1};
    atomic_store(&names_answer, false);
    w->store = store_new(w->base, &o);
    turn(w, 20);
    store_destroy(&w->store);
    atomic_store(&names_answer, true);
    turn(w, 20);
}

static void test_unavailable(void **state)
{
    (void)state;
    char loading[] = "LOADING Redis is loading the dataset in memory";
    char other[] = "ERR no";
    redisReply r = {.type = REDIS_REPLY_ERROR, .str = loading};
    assert_true(store_reply_unavailable(&r));
    r.str = other;
    assert_false(store_reply_unavailable(&r));
    r.type = REDIS_REPLY_STRING;
    r.str = loading;
    assert_false(store_reply_unavailable(&r));
}

#define WITH_REDIS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REDIS(test_commands_and_errors),
        WITH_REDIS(test_password),
        WITH_REDIS(test_wrong_password_never_comes_up),
        WITH_REDIS(test_pending_bound),
        WITH_REDIS(test_time_out_and_late_reply),
        WITH_REDIS(test_frozen_server_is_left_and_found_again),
        WITH_REDIS(test_restart),
        WITH_REDIS(test_another_process_forgot),
        WITH_REDIS(test_the_same_process_did_not_forget),
        WITH_REDIS(test_another_history_forgot),
        WITH_REDIS(test_a_replica_is_not_used),
        WITH_REDIS(test_many_arguments),
        WITH_REDIS(test_subscriber),
        WITH_REDIS(test_destroy_with_commands_in_flight),
        WITH_REDIS(test_asked_server_dies),
        WITH_REDIS(test_check),
        WITH_REDIS(test_check_warns_of_forgetting),
        WITH_REDIS(test_slow_name_server),
        WITH_REDIS(test_destroyed_while_a_name_is_looked_up),
        cmocka_unit_test(test_unavailable),
    };
    log_setup("test_store", LOG_LEVEL_ERROR, false);
    (void)signal(SIGPIPE, SIG_IGN); /* as the programs do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
