/* The base floor: what everything else takes for granted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/process.h"
#include "common/base/rng.h"
#include "common/base/slice.h"

static void slices_become_numbers_only_when_they_are(void **state)
{
    (void)state;
    uint64_t n = 7;
    assert_true(slice_to_u64(SLICE("18446744073709551615"), UINT64_MAX, &n));
    assert_true(n == UINT64_MAX);
    assert_false(slice_to_u64(SLICE("18446744073709551616"), UINT64_MAX, &n));
    assert_false(slice_to_u64(SLICE("11"), 10, &n));
    assert_false(slice_to_u64(SLICE(""), 10, &n));
    assert_false(slice_to_u64(SLICE("-1"), 10, &n));
    assert_false(slice_to_u64(SLICE("1 "), 10, &n));
    assert_true(n == UINT64_MAX); /* a refusal leaves it alone */
}

static void slices_compare_by_their_bytes(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_make(NULL, 0), SLICE("")));
    assert_true(slice_is(SLICE("a"), "a"));
    assert_false(slice_is(SLICE("a\0b"), "a"));
    char *copy = slice_dup(slice_make("abc", 2));
    assert_string_equal(copy, "ab");
    free(copy);
}

static void a_buffer_stops_at_its_ceiling(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_puts(&b, "12345");
    buf_printf(&b, "%s", "67890");
    assert_true(buf_ok(&b));
    assert_string_equal(buf_text(&b), "1234567890");
    buf_putc(&b, 'x');
    assert_false(buf_ok(&b));
    assert_int_equal(b.n, 10);
    buf_clear(&b);
    assert_true(buf_ok(&b));
    assert_string_equal(buf_text(&b), "");
    buf_printf(&b, "%s", "much longer than ten");
    assert_false(buf_ok(&b));
    buf_free(&b);
}

static void a_buffer_gives_its_bytes_away(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 100);
    char *nothing = buf_take(&b);
    assert_string_equal(nothing, "");
    free(nothing);
    buf_puts(&b, "mine");
    char *text = buf_take(&b);
    assert_string_equal(text, "mine");
    assert_int_equal(b.n, 0);
    free(text);
    buf_free(&b);
}

/* Against a plain array as the model: 200 keys put and taken out in random order. */
static void a_map_is_what_an_array_would_be(void **state)
{
    (void)state;
    enum { KEYS = 200, TURNS = 20000 };
    static int values[KEYS];
    bool there[KEYS] = {false};
    struct map *m = map_new(KEYS);
    struct rng r;
    rng_seed(&r, 11);
    for (int turn = 0; turn < TURNS; turn++) {
        size_t k = rng_below(&r, KEYS);
        char key[16];
        (void)snprintf(key, sizeof(key), "key-%zu", k);
        if (rng_below(&r, 2) == 0) {
            void *old;
            assert_true(map_set(m, slice_of(key), &values[k], &old));
            assert_ptr_equal(old, there[k] ? &values[k] : NULL);
            there[k] = true;
        } else {
            assert_ptr_equal(map_remove(m, slice_of(key)), there[k] ? &values[k] : NULL);
            there[k] = false;
        }
        size_t probe = rng_below(&r, KEYS);
        (void)snprintf(key, sizeof(key), "key-%zu", probe);
        assert_ptr_equal(map_get(m, slice_of(key)), there[probe] ? &values[probe] : NULL);
    }
    size_t walked = 0, at = 0, expected = 0;
    struct slice key;
    void *value;
    while (map_next(m, &at, &key, &value)) {
        walked++;
    }
    for (int k = 0; k < KEYS; k++) {
        expected += there[k] ? 1 : 0;
    }
    assert_int_equal(walked, expected);
    assert_int_equal(map_count(m), expected);
    map_destroy(&m, NULL);
    assert_null(m);
    map_destroy(&m, NULL);
}

static void a_map_is_full_at_its_ceiling(void **state)
{
    (void)state;
    int value;
    struct map *m = map_new(2);
    assert_true(map_set(m, SLICE("a"), &value, NULL));
    assert_true(map_set(m, SLICE("b"), &value, NULL));
    assert_false(map_set(m, SLICE("c"), &value, NULL));
    assert_true(map_set(m, SLICE("b"), &value, NULL)); /* replacing needs no room */
    map_destroy(&m, NULL);
}

struct item {
    int number;
    struct list link;
};

static void a_list_survives_removal_while_it_is_walked(void **state)
{
    (void)state;
    struct item items[4];
    struct list head;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_first(&head));
    for (int i = 0; i < 4; i++) {
        items[i].number = i;
        list_init(&items[i].link);
        list_push(&head, &items[i].link);
    }
    int seen = 0;
    list_each(node, &head)
    {
        assert_int_equal(list_owner(node, struct item, link)->number, seen);
        seen++;
        list_remove(node);
    }
    assert_int_equal(seen, 4);
    assert_true(list_empty(&head));
}

static void random_numbers_are_repeatable_by_seed_and_uniform(void **state)
{
    (void)state;
    struct rng a, b;
    rng_seed(&a, 5);
    rng_seed(&b, 5);
    int count[7] = {0};
    for (int i = 0; i < 70000; i++) {
        assert_true(rng_next(&a) == rng_next(&b));
        count[rng_below(&a, 7)]++;
        (void)rng_below(&b, 7);
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(count[i], 9500, 10500);
    }
}

static void secure_numbers_stay_in_their_bounds(void **state)
{
    (void)state;
    char text[33];
    for (int i = 0; i < 2000; i++) {
        assert_true(rng_secure_below(10) < 10);
        assert_true(rng_secure_below(1) == 0);
    }
    rng_secure_text(text, 32);
    assert_int_equal(strlen(text), 32);
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz234567"), 32);
}

/* What log_line writes, read back through a pipe in place of stderr. */
static void capture(char *out, size_t size, bool json, const char *value)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int before = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    log_setup("test", LOG_LEVEL_INFO, json);
    log_debug("unseen", NULL);
    log_info("hello", "key", value, NULL);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    (void)close(ends[1]);
    ssize_t n = read(ends[0], out, size - 1);
    assert_true(n > 0);
    out[n] = '\0';
    (void)close(ends[0]);
}

static void log_lines_cannot_be_forged(void **state)
{
    (void)state;
    char line[20000];
    capture(line, sizeof(line), false, "a\nlevel=error \"x\"");
    assert_non_null(strstr(line, "msg=hello key=\"a\\u000alevel=error \\\"x\\\"\"\n"));
    assert_null(strstr(line, "unseen"));
    capture(line, sizeof(line), true, "a\n\"b\"\\");
    assert_non_null(strstr(line, "\"msg\":\"hello\",\"key\":\"a\\u000a\\\"b\\\"\\\\\"}\n"));
    assert_int_equal(line[0], '{');
    char longest[12000];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    capture(line, sizeof(line), false, longest);
    assert_true(strlen(line) < 9000); /* cut, not lost */
    assert_int_equal(line[strlen(line) - 1], '\n');
}

/* What the process wrote to stderr before it ended; its exit code is the answer. */
static int last_words(void (*end)(void), char *words, size_t size)
{
    int ends[2];
    int status;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        end();
        _exit(0);
    }
    (void)close(ends[1]);
    ssize_t n = read(ends[0], words, size - 1);
    words[n > 0 ? n : 0] = '\0';
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void needs_a_file_that_is_not(void)
{
    need(open("/nowhere", O_RDONLY | O_CLOEXEC) >= 0);
}

static void what_the_system_refuses_ends_in_order(void **state)
{
    (void)state;
    char words[600];
    assert_int_equal(last_words(out_of_memory, words, sizeof(words)), EXIT_SYSTEM);
    assert_string_equal(words, "level=fatal msg=\"out of memory\"\n");
    assert_int_equal(last_words(needs_a_file_that_is_not, words, sizeof(words)), EXIT_SYSTEM);
    assert_non_null(strstr(words, "No such file or directory\"\n"));
}

static void time_goes_forward(void **state)
{
    (void)state;
    int64_t before = clock_mono_us();
    assert_true(clock_mono_us() >= before);
    assert_true(clock_mono_ms() >= before / 1000);
    assert_true(clock_wall_ms() > 1600000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_become_numbers_only_when_they_are),
        cmocka_unit_test(slices_compare_by_their_bytes),
        cmocka_unit_test(a_buffer_stops_at_its_ceiling),
        cmocka_unit_test(a_buffer_gives_its_bytes_away),
        cmocka_unit_test(a_map_is_what_an_array_would_be),
        cmocka_unit_test(a_map_is_full_at_its_ceiling),
        cmocka_unit_test(a_list_survives_removal_while_it_is_walked),
        cmocka_unit_test(random_numbers_are_repeatable_by_seed_and_uniform),
        cmocka_unit_test(secure_numbers_stay_in_their_bounds),
        cmocka_unit_test(log_lines_cannot_be_forged),
        cmocka_unit_test(what_the_system_refuses_ends_in_order),
        cmocka_unit_test(time_goes_forward),
    };
    process_no_core();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
