#include "common/adapters/shelf_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/adapters/dead_store.h"
#include "tests/unit/redis_fixture.h"

#define PREFIX "otpq:"
#define SHELF  "aaaaaaaaaaaaaaaa"
#define MINE   "1111111111111111"
#define OTHER  "2222222222222222"

struct world {
    struct redis_fixture redis;
    struct event_base *base;
    struct store *store;
    struct shelf_store *shelves;
    redisContext *c;
    bool up;
};

static void on_state(void *context, bool up)
{
    struct world *w = context;
    w->up = up;
}

static int setup(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    char error[512];
    redis_fixture_new(&w->redis);
    redis_fixture_start(&w->redis, NULL, NULL);
    w->base = event_base_new();
    const struct store_options o = {.address = w->redis.address,
                                    .timeout_ms = 1000,
                                    .pending_max = 1000,
                                    .on_state = on_state,
                                    .context = w};
    w->store = store_new(w->base, &o);
    assert_true(loop_until(w->base, &w->up, 5000));
    w->shelves = shelf_store_new(w->store, PREFIX);
    w->c = store_blocking(w->redis.address, NULL, 10000, error);
    assert_non_null(w->c);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    redisFree(w->c);
    shelf_store_destroy(&w->shelves);
    store_destroy(&w->store);
    event_base_free(w->base);
    redis_fixture_end(&w->redis);
    free(w);
    return 0;
}

/* ---- what the tests ask ---------------------------------------------------------------------- */

/* A command's answer, as text; "" for nil. */
static const char *raw(struct world *w, const char *command)
{
    static char text[64];
    redisReply *r = redisCommand(w->c, command);
    assert_non_null(r);
    if (r->type == REDIS_REPLY_INTEGER) {
        (void)snprintf(text, sizeof text, "%lld", r->integer);
    } else {
        (void)snprintf(text, sizeof text, "%s", r->str != NULL ? r->str : "");
    }
    freeReplyObject(r);
    return text;
}

struct told {
    bool done;
    enum shelf_outcome outcome;
};

static void on_told(void *context, enum shelf_outcome outcome)
{
    struct told *t = context;
    t->done = true;
    t->outcome = outcome;
}

static enum shelf_outcome opened(struct world *w, const char *shelf, const char *owner)
{
    struct told t = {.done = false};
    shelf_open(w->shelves, shelf, owner, on_told, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    return t.outcome;
}

static enum shelf_outcome taken(struct world *w, const char *from, const char *to)
{
    struct told t = {.done = false};
    shelf_take(w->shelves, SHELF, from, to, on_told, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    return t.outcome;
}

static enum shelf_outcome dropped(struct world *w, const char *owner)
{
    struct told t = {.done = false};
    shelf_drop(w->shelves, SHELF, owner, on_told, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    return t.outcome;
}

static void commit_begin(struct world *w, const char *owner, const char *put, const char *removed,
                         struct told *t)
{
    const struct slice id = slice_of(put), entry = SLICE("entry"), gone = slice_of(removed);
    *t = (struct told){.done = false};
    shelf_commit(w->shelves, SHELF, owner, put != NULL, &id, &entry, removed != NULL, &gone,
                 on_told, t);
}

static enum shelf_outcome committed(struct world *w, const char *owner, const char *put,
                                    const char *removed)
{
    struct told t;
    commit_begin(w, owner, put, removed, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    return t.outcome;
}

struct listed {
    bool done;
    enum shelf_outcome outcome;
    size_t count;
    struct shelf_seen seen[4];
};

static void on_list(void *context, enum shelf_outcome outcome, const struct shelf_seen *seen,
                    size_t count)
{
    struct listed *l = context;
    l->done = true;
    l->outcome = outcome;
    l->count = count;
    for (size_t i = 0; i < count && i < ARRAY_LEN(l->seen); i++) {
        l->seen[i] = seen[i];
    }
}

static struct listed listed(struct world *w)
{
    struct listed l = {.done = false};
    shelf_list(w->shelves, on_list, &l);
    assert_true(loop_until(w->base, &l.done, 5000));
    assert_int_equal(l.outcome, SHELF_OK);
    return l;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_shelf_is_one_owners(void **state)
{
    struct world *w = *state;
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    assert_int_equal(opened(w, SHELF, OTHER), SHELF_DEPOSED);
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_OK);
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_OK);
    assert_int_equal(committed(w, OTHER, "b", "a"), SHELF_DEPOSED);
    assert_string_equal(raw(w, "HGET otpq:sj:{" SHELF "} a"), "entry");
    assert_string_equal(raw(w, "HLEN otpq:sj:{" SHELF "}"), "1");
    assert_int_equal(committed(w, MINE, "b", "a"), SHELF_OK);
    assert_string_equal(raw(w, "HGET otpq:sj:{" SHELF "} b"), "entry");
    assert_string_equal(raw(w, "HLEN otpq:sj:{" SHELF "}"), "1");
}

static void nothing_is_written_without_a_shelf(void **state)
{
    struct world *w = *state;
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_DEPOSED);
    assert_string_equal(raw(w, "EXISTS otpq:sj:{" SHELF "} otpq:so:{" SHELF "}"), "0");
}

static void who_was_deposed_writes_no_more(void **state)
{
    struct world *w = *state;
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_OK);
    assert_int_equal(taken(w, "", OTHER), SHELF_DEPOSED);
    assert_int_equal(taken(w, MINE, OTHER), SHELF_OK);
    assert_int_equal(taken(w, MINE, OTHER), SHELF_OK); /* the answer was lost */
    assert_int_equal(taken(w, MINE, "3333333333333333"), SHELF_DEPOSED);
    assert_int_equal(committed(w, MINE, "b", "a"), SHELF_DEPOSED);
    assert_string_equal(raw(w, "HLEN otpq:sj:{" SHELF "}"), "1");
    assert_int_equal(dropped(w, OTHER), SHELF_DEPOSED); /* not empty */
    assert_int_equal(committed(w, OTHER, NULL, "a"), SHELF_OK);
    assert_int_equal(dropped(w, MINE), SHELF_DEPOSED);
    assert_int_equal(dropped(w, OTHER), SHELF_OK);
    assert_int_equal(dropped(w, OTHER), SHELF_OK);
    /* Who stood still all the time does not find it free. */
    assert_int_equal(committed(w, MINE, "b", NULL), SHELF_DEPOSED);
    assert_int_equal(opened(w, SHELF, MINE), SHELF_DEPOSED);
    assert_int_equal(listed(w).count, 0);
}

static void a_shelf_that_was_given_away_is_anybodys(void **state)
{
    struct world *w = *state;
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_OK);
    assert_int_equal(taken(w, MINE, ""), SHELF_OK);
    assert_int_equal(committed(w, MINE, "b", NULL), SHELF_DEPOSED);
    struct listed l = listed(w);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.seen[0].owner, "");
    assert_int_equal(taken(w, "", OTHER), SHELF_OK);
    assert_string_equal(listed(w).seen[0].owner, OTHER);
}

static void the_list_is_mended(void **state)
{
    struct world *w = *state;
    assert_int_equal(opened(w, SHELF, OTHER), SHELF_OK);
    (void)raw(w, "HSET otpq:shelves " SHELF " " MINE " bbbbbbbbbbbbbbbb " MINE " odd x");
    assert_int_equal(listed(w).count, 2);
    assert_int_equal(taken(w, MINE, "3333333333333333"), SHELF_DEPOSED);
    (void)raw(w, "HDEL otpq:shelves bbbbbbbbbbbbbbbb");
    struct listed l = listed(w);
    assert_int_equal(l.count, 1);
    assert_string_equal(l.seen[0].owner, OTHER);
    (void)raw(w, "DEL otpq:so:{" SHELF "}"); /* nothing on it, and nobody's: it is not there */
    assert_int_equal(taken(w, OTHER, MINE), SHELF_DEPOSED);
    assert_int_equal(listed(w).count, 0);
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_OK);
    (void)raw(w, "DEL otpq:so:{" SHELF "} otpq:shelves"); /* but what is on it is somebody's */
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    assert_string_equal(listed(w).seen[0].owner, MINE);
}

/* What a connection that was given up still carries may reach the store behind what was said
 * again. */
static void a_commit_that_comes_late_does_nothing(void **state)
{
    struct world *w = *state;
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_OK);
    assert_int_equal(committed(w, MINE, NULL, "a"), SHELF_OK);
    struct slice source = store_script_source(STORE_SHELF_COMMIT);
    redisReply *r =
        redisCommand(w->c, "EVAL %b 2 otpq:so:{" SHELF "} otpq:sj:{" SHELF "} " MINE " 1 1 a entry",
                     source.p, source.n);
    assert_string_equal(r->str, "late");
    freeReplyObject(r);
    assert_string_equal(raw(w, "EXISTS otpq:sj:{" SHELF "}"), "0");
}

/* A server that has to be told the script runs what it is told behind what it knows. */
static void order_survives_a_server_without_the_scripts(void **state)
{
    struct world *w = *state;
    struct told told[64];
    bool all = false;
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    (void)raw(w, "SCRIPT FLUSH");
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        commit_begin(w, MINE, i % 2 == 0 ? "a" : NULL, i % 2 == 0 ? NULL : "a", &told[i]);
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    }
    int64_t until = clock_mono_ms() + 5000;
    while (!all && clock_mono_ms() < until) {
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
        all = true;
        for (size_t i = 0; i < ARRAY_LEN(told); i++) {
            all = all && told[i].done;
        }
    }
    assert_true(all);
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        assert_true(told[i].outcome == SHELF_OK || told[i].outcome == SHELF_UNKNOWN);
    }
    assert_string_equal(raw(w, "EXISTS otpq:sj:{" SHELF "}"), "0");
}

static void as_many_as_may_be_in_one_commit(void **state)
{
    struct world *w = *state;
    static char names[SHELF_BATCH_MAX][16];
    struct slice ids[SHELF_BATCH_MAX], entries[SHELF_BATCH_MAX];
    struct told t = {.done = false};
    assert_int_equal(opened(w, SHELF, MINE), SHELF_OK);
    for (int i = 0; i < SHELF_BATCH_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "job-%d", i);
        ids[i] = entries[i] = slice_of(names[i]);
    }
    shelf_commit(w->shelves, SHELF, MINE, SHELF_BATCH_MAX, ids, entries, 0, NULL, on_told, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    assert_int_equal(t.outcome, SHELF_OK);
    assert_string_equal(raw(w, "HLEN otpq:sj:{" SHELF "}"), "1000");
    t.done = false;
    shelf_commit(w->shelves, SHELF, MINE, 0, NULL, NULL, SHELF_BATCH_MAX, ids, on_told, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    assert_string_equal(raw(w, "EXISTS otpq:sj:{" SHELF "}"), "0");
}

struct part {
    bool done;
    enum shelf_outcome outcome;
    uint64_t next;
    size_t count;
    bool same; /* every entry is its id */
};

static void on_part(void *context, enum shelf_outcome outcome, uint64_t next, size_t count,
                    const struct slice *ids, const struct slice *entries)
{
    struct part *p = context;
    *p =
        (struct part){.done = true, .outcome = outcome, .next = next, .count = count, .same = true};
    for (size_t i = 0; i < count; i++) {
        p->same = p->same && slice_eq(ids[i], entries[i]);
    }
}

static void all_of_a_shelf_is_read_in_parts(void **state)
{
    struct world *w = *state;
    uint64_t cursor = 0;
    size_t seen = 0, parts = 0;
    redisReply *r =
        redisCommand(w->c, "EVAL %s 0",
                     "for i = 1, 5000 do redis.call('HSET', 'otpq:sj:{" SHELF "}', i, i) end");
    freeReplyObject(r);
    do {
        struct part p = {.done = false};
        shelf_read(w->shelves, SHELF, cursor, 1000, on_part, &p);
        assert_true(loop_until(w->base, &p.done, 5000));
        assert_int_equal(p.outcome, SHELF_OK);
        assert_true(p.same);
        cursor = p.next;
        seen += p.count;
        parts++;
    } while (cursor != 0);
    assert_int_equal(seen, 5000);
    assert_true(parts > 2);
}

static void nobody_answers_without_a_store(void **state)
{
    struct world *w = *state;
    struct told t = {.done = false};
    struct listed l = {.done = false};
    struct part p = {.done = false};
    redis_fixture_freeze(&w->redis);
    commit_begin(w, MINE, "a", NULL, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    assert_int_equal(t.outcome, SHELF_UNKNOWN);
    redis_fixture_stop(&w->redis);
    while (w->up) {
        (void)event_base_loop(w->base, EVLOOP_ONCE);
    }
    assert_int_equal(committed(w, MINE, "a", NULL), SHELF_REFUSED);
    assert_int_equal(opened(w, SHELF, MINE), SHELF_REFUSED);
    assert_int_equal(taken(w, MINE, OTHER), SHELF_REFUSED);
    shelf_list(w->shelves, on_list, &l);
    shelf_read(w->shelves, SHELF, 0, 10, on_part, &p);
    assert_true(l.done && l.outcome == SHELF_REFUSED && l.count == 0);
    assert_true(p.done && p.outcome == SHELF_REFUSED && p.count == 0);
}

static void what_waits_when_it_ends_is_nobodys(void **state)
{
    struct world *w = *state;
    struct told t[2] = {{.done = false}};
    struct listed l = {.done = false};
    commit_begin(w, MINE, "a", NULL, &t[0]);
    shelf_open(w->shelves, SHELF, MINE, on_told, &t[1]);
    shelf_list(w->shelves, on_list, &l);
    shelf_store_destroy(&w->shelves);
    while (strcmp(raw(w, "EXISTS otpq:so:{" SHELF "}"), "1") != 0) {
        (void)event_base_loop(w->base, EVLOOP_NONBLOCK);
    }
    store_destroy(&w->store);
    assert_false(t[0].done || t[1].done || l.done);
}

/* ---- dead letters ---------------------------------------------------------------------------- */

static void on_written(void *context, bool written)
{
    struct told *t = context;
    t->done = true;
    t->outcome = written ? SHELF_OK : SHELF_UNKNOWN;
}

static void a_dead_letter_is_written_once(void **state)
{
    struct world *w = *state;
    char tag[3], command[128];
    const struct dead_letter letter = {.id = SLICE("job-1"),
                                       .entry = SLICE("entry"),
                                       .end = JOB_END_REFUSED,
                                       .code = RESULT_ADVERTISER_UNREACHABLE,
                                       .at_ms = 1795000000000};
    dead_tag(letter.id, tag);
    for (int i = 0; i < 2; i++) {
        struct told t = {.done = false};
        dead_put(w->store, PREFIX, &letter, 3600, on_written, &t);
        assert_true(loop_until(w->base, &t.done, 5000));
        assert_int_equal(t.outcome, SHELF_OK);
    }
    (void)snprintf(command, sizeof command, "HGET otpq:dl:{%s}:job-1 code", tag);
    assert_string_equal(raw(w, command), "advertiser_unreachable");
    (void)snprintf(command, sizeof command, "HGET otpq:dl:{%s}:job-1 state", tag);
    assert_string_equal(raw(w, command), "refused");
    (void)snprintf(command, sizeof command, "ZCARD otpq:dead:{%s}", tag);
    assert_string_equal(raw(w, command), "1");
    (void)snprintf(command, sizeof command, "ZSCORE otpq:dead:{%s} job-1", tag);
    assert_string_equal(raw(w, command), "1795000000000");
}

static void the_oldest_dead_letters_make_room(void **state)
{
    struct world *w = *state;
    char tag[3], command[256];
    const struct dead_letter letter = {
        .id = SLICE("job-1"), .entry = SLICE("e"), .at_ms = 1795000000000};
    struct told t = {.done = false};
    dead_tag(letter.id, tag);
    (void)snprintf(command, sizeof command, "SET otpq:dl:{%s}:1 x", tag);
    (void)raw(w, command);
    (void)snprintf(
        command, sizeof command,
        "for i = 1, %d do redis.call('ZADD', 'otpq:dead:{%s}', 1794999999000 + i, i) end",
        DEAD_TAG_MAX, tag);
    freeReplyObject(redisCommand(w->c, "EVAL %s 0", command));
    dead_put(w->store, PREFIX, &letter, 3600, on_written, &t);
    assert_true(loop_until(w->base, &t.done, 5000));
    (void)snprintf(command, sizeof command, "ZCARD otpq:dead:{%s}", tag);
    assert_string_equal(raw(w, command), "4096");
    (void)snprintf(command, sizeof command, "EXISTS otpq:dl:{%s}:1", tag);
    assert_string_equal(raw(w, command), "0");
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shelf_is_one_owners, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_written_without_a_shelf, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_deposed_writes_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shelf_that_was_given_away_is_anybodys, setup, teardown),
        cmocka_unit_test_setup_teardown(the_list_is_mended, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_that_comes_late_does_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(order_survives_a_server_without_the_scripts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(as_many_as_may_be_in_one_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(all_of_a_shelf_is_read_in_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_answers_without_a_store, setup, teardown),
        cmocka_unit_test_setup_teardown(what_waits_when_it_ends_is_nobodys, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dead_letter_is_written_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_oldest_dead_letters_make_room, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
