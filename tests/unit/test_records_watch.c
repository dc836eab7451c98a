#include "common/adapters/records_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "common/meaning/config.h"
#include "tests/unit/redis_fixture.h"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    struct records_watch *watch;
    redisContext *c;
    struct asker *ask; /* as the commands have it */
    bool up;
    bool changed;
    int changes;
};

static void on_state(void *context, bool up)
{
    ((struct world *)context)->up = up;
}

static void on_change(void *context, struct records *now)
{
    struct world *w = context;
    assert_true(w->watch == NULL || records_watch_now(w->watch) == now);
    w->changed = true;
    w->changes++;
}

static void connect_blocking(struct world *w)
{
    char error[512];
    w->c = store_blocking(w->redis.address, NULL, 5000, error);
    assert_non_null(w->c);
    asker_close(&w->ask);
    w->ask = asker_open(w->redis.address, NULL, 5000, error);
    assert_non_null(w->ask);
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    struct store_options o = {.address = w->redis.address,
                              .timeout_ms = 1000,
                              .pending_max = 100,
                              .on_state = on_state,
                              .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    connect_blocking(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    records_watch_destroy(&w->watch);
    store_destroy(&w->store);
    asker_close(&w->ask);
    redisFree(w->c);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

static void watch(struct world *w)
{
    w->watch = records_watch_new(w->base, w->store, "otpq:", on_change, w);
    assert_non_null(records_watch_now(w->watch));
    assert_true(loop_until(w->base, &w->changed, 5000));
    w->changed = false;
}

static struct record_text record(enum record_kind kind, const char *name, const char *text)
{
    struct record_text t = {.kind = kind};
    t.name = slice_dup(slice_of(name));
    t.text = text != NULL ? slice_dup(slice_of(text)) : NULL;
    return t;
}

static uint64_t version_now(struct world *w)
{
    struct record_texts texts = {0};
    uint64_t version = 0;
    char error[512];
    assert_true(records_load(w->ask, "otpq:", &texts, &version, error));
    record_texts_free(&texts);
    return version;
}

static bool put(struct world *w, struct record_text t, uint64_t expected, char error[512])
{
    bool ok = records_store(w->ask, "otpq:", &t, 1, expected, error);
    free(t.name);
    free(t.text);
    return ok;
}

static const char an_affiliate[] = "name: Somebody\nkey: demo-key-1001\napi_access: true\n";

static void test_store_and_load(void **state)
{
    struct world *w = *state;
    char error[512] = "";
    struct record_texts texts = {0};
    uint64_t version = 99;
    assert_true(records_load(w->ask, "otpq:", &texts, &version, error));
    assert_int_equal(version, 0);
    assert_int_equal(texts.count, 0);
    record_texts_free(&texts);
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 1\n"), 0, error));
    uint64_t first = version_now(w);
    assert_true(first > 1000000);
    assert_true(put(w, record(RECORD_AFFILIATE, "1001", an_affiliate), first, error));
    assert_false(put(w, record(RECORD_AFFILIATE, "1002", an_affiliate), first, error));
    char second[32];
    (void)snprintf(second, sizeof second, "version %llu,", (unsigned long long)version_now(w));
    assert_non_null(strstr(error, second));
    assert_true(records_load(w->ask, "otpq:", &texts, &version, error));
    assert_true(version > first);
    assert_int_equal(texts.count, 2);
    assert_int_equal(texts.at[0].kind, RECORD_NETWORK);
    assert_string_equal(texts.at[0].text, "mid: 1\n");
    assert_int_equal(texts.at[1].kind, RECORD_AFFILIATE);
    assert_string_equal(texts.at[1].name, "1001");
    assert_string_equal(texts.at[1].text, an_affiliate);
    record_texts_free(&texts);
    assert_true(put(w, record(RECORD_AFFILIATE, "1001", NULL), version, error));
    assert_true(put(w, record(RECORD_NETWORK, "network", NULL), version_now(w), error));
    assert_true(records_load(w->ask, "otpq:", &texts, &version, error));
    assert_int_equal(texts.count, 0);
    record_texts_free(&texts);
}

static void test_change_is_seen(void **state)
{
    struct world *w = *state;
    char error[512] = "";
    watch(w);
    assert_int_equal(records_watch_now(w->watch)->version, 0);
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 7\n"), 0, error));
    assert_true(loop_until(w->base, &w->changed, 1000));
    assert_int_equal(records_watch_now(w->watch)->mid, 7);
    assert_int_equal(records_watch_now(w->watch)->version, version_now(w));
    w->changed = false;
    assert_true(put(w, record(RECORD_AFFILIATE, "1001", an_affiliate), version_now(w), error));
    assert_true(loop_until(w->base, &w->changed, 1000));
    assert_non_null(records_affiliate(records_watch_now(w->watch), 1001));
}

/* Without any announcement: the poll finds it. */
static void test_change_is_found_without_pubsub(void **state)
{
    struct world *w = *state;
    watch(w);
    freeReplyObject(redisCommand(w->c, "SET otpq:{rec}:network %s", "mid: 9\n"));
    freeReplyObject(redisCommand(w->c, "INCR otpq:{rec}:version"));
    assert_true(loop_until(w->base, &w->changed, 1000));
    assert_int_equal(records_watch_now(w->watch)->mid, 9);
}

/* As many changes as before, between two looks of the watcher: still another version. */
static void test_wiped_and_applied_again(void **state)
{
    struct world *w = *state;
    char error[512] = "";
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 7\n"), 0, error));
    watch(w);
    uint64_t before = version_now(w);
    freeReplyObject(redisCommand(w->c, "FLUSHALL"));
    assert_false(put(w, record(RECORD_NETWORK, "network", "mid: 9\n"), before, error));
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 8\n"), 0, error));
    assert_true(version_now(w) > before);
    assert_true(loop_until(w->base, &w->changed, 1500));
    assert_int_equal(records_watch_now(w->watch)->mid, 8);
}

/* A clock that was set back: the version goes up all the same. */
static void test_versions_only_go_up(void **state)
{
    struct world *w = *state;
    char error[512] = "";
    const uint64_t ahead = 9000000000000000ULL; /* microseconds, and below 2^53 */
    freeReplyObject(redisCommand(w->c, "SET otpq:{rec}:version %llu", (unsigned long long)ahead));
    watch(w);
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 7\n"), ahead, error));
    assert_int_equal(version_now(w), ahead + 1);
    assert_true(loop_until(w->base, &w->changed, 1500));
    assert_int_equal(records_watch_now(w->watch)->version, ahead + 1);
}

static void test_bad_records_leave_the_old(void **state)
{
    struct world *w = *state;
    char error[512] = "";
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 7\n"), 0, error));
    watch(w);
    int before = w->changes;
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: [oops\n"), version_now(w), error));
    assert_false(loop_until(w->base, &w->changed, 700));
    assert_int_equal(w->changes, before);
    assert_int_equal(records_watch_now(w->watch)->mid, 7);
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 8\n"), version_now(w), error));
    assert_true(loop_until(w->base, &w->changed, 1000));
    assert_int_equal(records_watch_now(w->watch)->mid, 8);
}

/* Redis goes and comes back with other records: the old ones serve meanwhile. */
static void test_restart(void **state)
{
    struct world *w = *state;
    char error[512] = "";
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 7\n"), 0, error));
    watch(w);
    redis_fixture_stop(&w->redis);
    assert_false(loop_until(w->base, &w->changed, 600));
    assert_int_equal(records_watch_now(w->watch)->mid, 7);
    redis_fixture_start(&w->redis, NULL, NULL);
    redisFree(w->c);
    connect_blocking(w);
    assert_true(put(w, record(RECORD_NETWORK, "network", "mid: 8\n"), 0, error));
    assert_true(put(w, record(RECORD_AFFILIATE, "1001", an_affiliate), version_now(w), error));
    int64_t until = clock_mono_ms() + 5000;
    while (records_watch_now(w->watch)->version != version_now(w) && clock_mono_ms() < until) {
        w->changed = false;
        (void)loop_until(w->base, &w->changed, 2000);
    }
    assert_int_equal(records_watch_now(w->watch)->mid, 8);
}

/* The longest prefix there may be: every key whole, and none of the others' changes. */
static void test_the_longest_prefix(void **state)
{
    struct world *w = *state;
    char prefix[CONFIG_REDIS_PREFIX_BYTES_MAX + 1];
    char error[512] = "";
    memset(prefix, 'p', sizeof prefix - 1);
    prefix[sizeof prefix - 1] = '\0';
    struct record_text t = record(RECORD_INTEGRATION, "r1", "x: 1\n");
    assert_true(records_store(w->ask, prefix, &t, 1, 0, error));
    redisReply *r = redisCommand(w->c, "HLEN %s{rec}:integrations", prefix);
    assert_int_equal(r->integer, 1);
    freeReplyObject(r);
    free(t.name);
    free(t.text);
}

static void test_destroyed_while_asking(void **state)
{
    struct world *w = *state;
    w->watch = records_watch_new(w->base, w->store, "otpq:", on_change, w);
    records_watch_destroy(&w->watch);
    assert_false(loop_until(w->base, &w->changed, 50));
}

#define WITH_REDIS(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_REDIS(test_store_and_load),
        WITH_REDIS(test_change_is_seen),
        WITH_REDIS(test_change_is_found_without_pubsub),
        WITH_REDIS(test_wiped_and_applied_again),
        WITH_REDIS(test_versions_only_go_up),
        WITH_REDIS(test_bad_records_leave_the_old),
        WITH_REDIS(test_restart),
        WITH_REDIS(test_the_longest_prefix),
        WITH_REDIS(test_destroyed_while_asking),
    };
    log_setup("test_records_watch", LOG_LEVEL_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
