/* Commands as Redis reads them, byte for byte and of the length that was told before. */
#include "common/adapters/store_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/check.h"

static void whole_is(size_t count, const struct slice *words, const char *wanted)
{
    char *out = xmalloc(WORDS_COUNT_BYTES_MAX + words_bytes(count, words));
    char *first = words_put_count(out, count);
    char *end = words_put(first, count, words);
    assert_true(first - out <= WORDS_COUNT_BYTES_MAX);
    assert_int_equal(end - first, words_bytes(count, words));
    assert_true(slice_is(slice_make(out, (size_t)(end - out)), wanted));
    free(out);
}

static void a_command_and_its_words(void **state)
{
    (void)state;
    const struct slice words[3] = {SLICE("SET"), SLICE("a key of"), {NULL, 0}};
    whole_is(3, words, "*3\r\n$3\r\nSET\r\n$8\r\na key of\r\n$0\r\n\r\n");
    whole_is(0, NULL, "*0\r\n");
}

static void lengths_of_any_size(void **state)
{
    (void)state;
    static char bytes[1001];
    memset(bytes, 'x', sizeof bytes);
    for (size_t n = 0; n < sizeof bytes; n++) {
        char wanted[sizeof bytes + 32];
        const struct slice word = slice_make(bytes, n);
        (void)snprintf(wanted, sizeof wanted, "*1\r\n$%zu\r\n%.*s\r\n", n, (int)n, bytes);
        whole_is(1, &word, wanted);
    }
    char count[WORDS_COUNT_BYTES_MAX + 1];
    *words_put_count(count, SIZE_MAX) = '\0';
    assert_string_equal(count, "*18446744073709551615\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_and_its_words),
        cmocka_unit_test(lengths_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
