#include "common/adapters/resolve.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"

struct world {
    struct event_base *base;
    struct resolver *resolver;
    int threads; /* of the process, before any look-up */
    int answers;
    char address[RESOLVE_ADDRESS_BYTES]; /* of the last answer; "": none */
    char why[128];
};

static atomic_int lookups;
static sem_t go; /* what lookup_held waits for */
static pthread_t loop_thread;

static bool lookup_now(const char *host, char address[RESOLVE_ADDRESS_BYTES], const char **why)
{
    must(!pthread_equal(pthread_self(), loop_thread));
    (void)atomic_fetch_add(&lookups, 1);
    if (strcmp(host, "redis.test") != 0) {
        *why = "no such name";
        return false;
    }
    (void)snprintf(address, RESOLVE_ADDRESS_BYTES, "192.0.2.7");
    return true;
}

static bool lookup_held(const char *host, char address[RESOLVE_ADDRESS_BYTES], const char **why)
{
    must(sem_wait(&go) == 0);
    return lookup_now(host, address, why);
}

static void on_answer(void *context, const char *address, const char *why)
{
    struct world *w = context;
    w->answers++;
    assert_true((address == NULL) == (why != NULL));
    (void)snprintf(w->address, sizeof w->address, "%s", address != NULL ? address : "");
    (void)snprintf(w->why, sizeof w->why, "%s", why != NULL ? why : "");
}

static int threads_now(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/task");
    must(dir != NULL);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        n += e->d_name[0] != '.';
    }
    (void)closedir(dir);
    return n;
}

static void *nothing(void *arg)
{
    return arg;
}

/* The first thread of a process may bring one of the sanitizer's with it. */
static int first_thread(void **state)
{
    (void)state;
    pthread_t thread;
    must(pthread_create(&thread, NULL, nothing, NULL) == 0);
    return pthread_join(thread, NULL);
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->base = event_base_new();
    w->threads = threads_now();
    loop_thread = pthread_self();
    atomic_store(&lookups, 0);
    must(sem_init(&go, 0, 0) == 0);
    *state = w;
    return 0;
}

static void wait_for_threads(const struct world *w)
{
    int64_t until = clock_mono_ms() + 5000;
    while (threads_now() > w->threads) {
        assert_true(clock_mono_ms() < until);
        (void)usleep(1000);
    }
}

static int teardown(void **state)
{
    struct world *w = *state;
    resolver_destroy(&w->resolver);
    wait_for_threads(w);
    event_base_free(w->base);
    (void)sem_destroy(&go);
    free(w);
    return 0;
}

static void wait_for_answers(struct world *w, int answers)
{
    int64_t until = clock_mono_ms() + 5000;
    while (w->answers < answers) {
        assert_true(clock_mono_ms() < until);
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
        (void)usleep(500);
    }
}

static void an_answer_comes_from_the_loop(void **state)
{
    struct world *w = *state;
    w->resolver = resolver_new(w->base, "redis.test", lookup_now, on_answer, w);
    for (int i = 1; i <= 3; i++) {
        resolver_ask(w->resolver, 5000);
        assert_int_equal(w->answers, i - 1);
        wait_for_answers(w, i);
        assert_string_equal(w->address, "192.0.2.7");
    }
    assert_int_equal(atomic_load(&lookups), 3);
}

static void a_failure_says_why(void **state)
{
    struct world *w = *state;
    w->resolver = resolver_new(w->base, "other.test", lookup_now, on_answer, w);
    resolver_ask(w->resolver, 5000);
    wait_for_answers(w, 1);
    assert_string_equal(w->address, "");
    assert_string_equal(w->why, "no such name");
}

/* Questions end at their deadline, no second thread is started, and the late answer is not lost. */
static void a_silent_name_server_holds_one_thread(void **state)
{
    struct world *w = *state;
    w->resolver = resolver_new(w->base, "redis.test", lookup_held, on_answer, w);
    for (int i = 1; i <= 3; i++) {
        resolver_ask(w->resolver, 20);
        wait_for_answers(w, i);
        assert_string_equal(w->why, "no answer to the look-up of its name");
        assert_int_equal(threads_now(), w->threads + 1);
    }
    must(sem_post(&go) == 0);
    wait_for_threads(w);
    resolver_ask(w->resolver, 5000);
    wait_for_answers(w, 4);
    assert_string_equal(w->address, "192.0.2.7");
    assert_int_equal(atomic_load(&lookups), 1);
}

static void destroyed_while_it_looks_up(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 20; i++) {
        w->resolver = resolver_new(w->base, "redis.test", lookup_held, on_answer, w);
        resolver_ask(w->resolver, 5000);
        if (i % 2 == 0) {
            must(sem_post(&go) == 0); /* the thread may be anywhere meanwhile */
        }
        resolver_destroy(&w->resolver);
        assert_null(w->resolver);
        if (i % 2 == 1) {
            must(sem_post(&go) == 0); /* the thread stood still */
        }
    }
    wait_for_threads(w);
    (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    assert_int_equal(w->answers, 0);
    assert_int_equal(atomic_load(&lookups), 20);
}

static void the_system_knows_localhost(void **state)
{
    struct world *w = *state;
    w->resolver = resolver_new(w->base, "localhost", NULL, on_answer, w);
    resolver_ask(w->resolver, 5000);
    wait_for_answers(w, 1);
    assert_true(strncmp(w->address, "127.", 4) == 0 || strcmp(w->address, "::1") == 0);
}

static void numbers_need_no_look_up(void **state)
{
    (void)state;
    assert_true(resolve_is_number("127.0.0.1"));
    assert_true(resolve_is_number("::1"));
    assert_true(resolve_is_number("2001:db8::7"));
    assert_false(resolve_is_number("localhost"));
    assert_false(resolve_is_number("redis.example"));
    assert_false(resolve_is_number("127.0.0.1.example"));
}

#define WITH_LOOP(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOOP(an_answer_comes_from_the_loop),
        WITH_LOOP(a_failure_says_why),
        WITH_LOOP(a_silent_name_server_holds_one_thread),
        WITH_LOOP(destroyed_while_it_looks_up),
        WITH_LOOP(the_system_knows_localhost),
        cmocka_unit_test(numbers_need_no_look_up),
    };
    return cmocka_run_group_tests(tests, first_thread, NULL);
}
