#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/redis_fixture.h"

/* Not by commands.h: its declarations are weak and would not bring the command in. */
int cmd_trace(int argc, char **argv);

enum { DONE = 0, REFUSED = 1, USAGE = 2 };

#define RID "r3faaaaaaaaaaaaaaaaaaaa"

struct world {
    struct redis_fixture redis;
    redisContext *c;
    char out[4096]; /* what the command printed */
};

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    must(setenv("OTPQ_REDIS_ADDRESS", w->redis.address, 1) == 0);
    w->c = store_blocking(w->redis.address, NULL, 5000, error);
    assert_non_null(w->c);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    redisFree(w->c);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

/* Runs the command in a child, so that its output can be read and its arguments parsed afresh. */
static int trace(struct world *w, const char *rid, const char *option)
{
    int ends[2];
    must(pipe(ends) == 0);
    pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        char name[] = "trace";
        char *id = slice_dup(slice_of(rid));
        char *flag = option != NULL ? slice_dup(slice_of(option)) : NULL;
        char *argv[4] = {name, id, flag, NULL};
        must(dup2(ends[1], STDOUT_FILENO) >= 0);
        int code = cmd_trace(option != NULL ? 3 : 2, argv);
        (void)fflush(stdout);
        _exit(code);
    }
    (void)close(ends[1]);
    size_t n = 0;
    ssize_t got = 0;
    while (n < sizeof w->out - 1 && (got = read(ends[0], w->out + n, sizeof w->out - 1 - n)) > 0) {
        n += (size_t)got;
    }
    w->out[n] = '\0';
    (void)close(ends[0]);
    int status = 0;
    must(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void step(struct world *w, int at_ms, const char *name, const char *job, const char *op)
{
    char text[256];
    (void)snprintf(text, sizeof text,
                   "{\"at_ms\":%d,\"step\":\"%s\",\"job\":\"%s\",\"op\":\"%s\",\"detail\":\"\"}",
                   at_ms, name, job, op);
    freeReplyObject(redisCommand(w->c, "RPUSH otpq:t:{3f}:" RID " %s", text));
}

static void test_picture(void **state)
{
    struct world *w = *state;
    step(w, 1000, "accepted", "j1", "send");
    step(w, 5000, "session_written", "j2", "verify");
    step(w, 1010, "session_written", "j1", "send");
    step(w, 1004, "answer", "j1", "send");
    freeReplyObject(redisCommand(w->c, "RPUSH otpq:t:{3f}:" RID " no-json"));
    freeReplyObject(redisCommand(w->c, "HSET otpq:s:{3f}:" RID " st verified route demo aid 1001 "
                                       "msisdn 66812345678 exp 1"));
    assert_int_equal(trace(w, RID, NULL), DONE);
    assert_non_null(strstr(w->out, "session verified\nroute demo   affiliate 1001"));
    assert_null(strstr(w->out, "66812345678"));
    assert_non_null(strstr(w->out, "send   job j1   10 ms\n"));
    assert_non_null(strstr(w->out, "+4 ms  [###########                 ]  answer"));
    assert_non_null(strstr(w->out, "verify   job j2   0 ms\n"));
    assert_true(strstr(w->out, "job j1") < strstr(w->out, "job j2"));
}

/* Each of the hands that a job goes through tells all it knows of it. */
static void test_accepted_once(void **state)
{
    struct world *w = *state;
    step(w, 1000, "accepted", "j1", "send");
    step(w, 1002, "fallback", "j1", "send");
    step(w, 1000, "accepted", "j1", "send");
    step(w, 1009, "answered", "j1", "send");
    step(w, 5000, "accepted", "j2", "verify");
    freeReplyObject(redisCommand(w->c, "HSET otpq:s:{3f}:" RID " st sent route demo aid 1001 "
                                       "msisdn 66812345678 exp 1 via second country TH"));
    assert_int_equal(trace(w, RID, NULL), DONE);
    const char *first = strstr(w->out, "accepted");
    const char *second = first != NULL ? strstr(first + 1, "accepted") : NULL;
    assert_non_null(second);
    assert_null(strstr(second + 1, "accepted"));
    assert_true(second > strstr(w->out, "job j2"));
    assert_non_null(strstr(w->out, "route demo (carried by second)"));
    assert_non_null(strstr(w->out, " TH\n"));
}

static void test_json(void **state)
{
    struct world *w = *state;
    step(w, 1000, "accepted", "j1", "send");
    assert_int_equal(trace(w, RID, "--json"), DONE);
    assert_string_equal(w->out,
                        "{\"request_id\":\"" RID "\",\"session\":\"none\",\"steps\":[{\"at_ms\":"
                        "1000,\"step\":\"accepted\",\"job\":\"j1\",\"op\":\"send\","
                        "\"detail\":\"\"}]}\n");
}

static void test_nothing(void **state)
{
    struct world *w = *state;
    assert_int_equal(trace(w, RID, NULL), REFUSED);
    assert_int_equal(trace(w, "nonsense", NULL), USAGE);
    assert_int_equal(trace(w, RID, "--nonsense"), USAGE);
}

#define WITH_REDIS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REDIS(test_picture),
        WITH_REDIS(test_accepted_once),
        WITH_REDIS(test_json),
        WITH_REDIS(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
