/* Answers in memory of their own: the same as hiredis makes them, whole, in pieces, and cut off. */
#include "common/adapters/store_replies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"

static void same(const redisReply *a, const redisReply *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->integer, b->integer);
    assert_int_equal(a->len, b->len);
    assert_int_equal(a->elements, b->elements);
    if (b->str != NULL) {
        assert_memory_equal(a->str, b->str, b->len + 1);
    }
    for (size_t i = 0; i < b->elements; i++) {
        same(a->element[i], b->element[i]);
    }
}

/* Feeds both readers `step` bytes at a time; every reply of one is the other's. */
static int compare(redisReader *ours, redisReader *theirs, struct slice bytes, size_t step)
{
    int count = 0;
    for (size_t at = 0; at < bytes.n; at += step) {
        size_t n = bytes.n - at < step ? bytes.n - at : step;
        void *a = NULL, *b = NULL;
        assert_int_equal(redisReaderFeed(ours, bytes.p + at, n), REDIS_OK);
        assert_int_equal(redisReaderFeed(theirs, bytes.p + at, n), REDIS_OK);
        do {
            assert_int_equal(redisReaderGetReply(ours, &a), REDIS_OK);
            assert_int_equal(redisReaderGetReply(theirs, &b), REDIS_OK);
            assert_int_equal(a == NULL, b == NULL);
            if (a != NULL) {
                count++;
                same(a, b);
                ours->fn->freeObject(a);
                freeReplyObject(b);
            }
        } while (a != NULL);
    }
    return count;
}

static const char kinds[] =
    "+OK\r\n-ERR no\r\n:-17\r\n$-1\r\n*-1\r\n*0\r\n$0\r\n\r\n$5\r\na\0b\r\n\r\n"
    "*3\r\n*2\r\n$1\r\nx\r\n:5\r\n*-1\r\n*2\r\n*1\r\n*1\r\n+deep\r\n$-1\r\n";

static void every_kind_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof kinds; step++) {
        struct replies *r = replies_new();
        redisReader *ours = redisReaderCreate(), *theirs = redisReaderCreate();
        replies_of(r, ours);
        assert_int_equal(compare(ours, theirs, slice_make(kinds, sizeof kinds - 1), step), 9);
        redisReaderFree(ours);
        redisReaderFree(theirs);
        replies_destroy(&r);
    }
}

/* Of every size around those of a block, many to an answer, and the next answer after them. */
static void answers_of_any_size(void **state)
{
    (void)state;
    struct replies *r = replies_new();
    redisReader *ours = redisReaderCreate(), *theirs = redisReaderCreate();
    struct buf b;
    static const uint32_t sizes[] = {0, 1, 4000, 4096, 70000, 1048576, 3 * 1048576, 15};
    static char text[3 * 1048576];
    memset(text, 'x', sizeof text);
    replies_of(r, ours);
    buf_init(&b, 64 * 1024 * 1024);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            buf_clear(&b);
            buf_printf(&b, "*%d\r\n", 9);
            for (int k = 0; k < 9; k++) {
                buf_printf(&b, "$%u\r\n", sizes[i]);
                buf_put(&b, text, sizes[i]);
                buf_printf(&b, "\r\n");
            }
            assert_int_equal(compare(ours, theirs, buf_slice(&b), 65536), 1);
        }
    }
    buf_free(&b);
    redisReaderFree(ours);
    redisReaderFree(theirs);
    replies_destroy(&r);
}

/* A connection that ends, and a server that talks nonsense, in the middle of an answer. */
static void what_is_cut_off_is_freed(void **state)
{
    (void)state;
    static const char *const cut[] = {"*3\r\n$1\r\nx\r\n*2\r\n:1\r\n",
                                      "*2\r\n$1\r\nx\r\n?nonsense\r\n", "$10\r\nabc", "*2\r\n"};
    for (size_t i = 0; i < ARRAY_LEN(cut); i++) {
        struct replies *r = replies_new();
        redisReader *ours = redisReaderCreate();
        void *reply = NULL;
        replies_of(r, ours);
        assert_int_equal(redisReaderFeed(ours, cut[i], strlen(cut[i])), REDIS_OK);
        assert_int_equal(redisReaderGetReply(ours, &reply), i == 1 ? REDIS_ERR : REDIS_OK);
        assert_null(reply);
        redisReaderFree(ours);
        replies_destroy(&r);
        assert_null(r);
        replies_destroy(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_in_pieces_of_any_size),
        cmocka_unit_test(answers_of_any_size),
        cmocka_unit_test(what_is_cut_off_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
