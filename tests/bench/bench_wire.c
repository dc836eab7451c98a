/*
 * wire_bench.c: what the codec costs by itself: nanoseconds for each envelope and body, there and
 * back, with a body of 250 bytes.
 */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/meaning/job.h"
#include "common/meaning/wire.h"

enum { ROUNDS = 2 * 1000 * 1000, BODY_BYTES = 250 };

struct bench {
    struct buf message; /* what is decoded, or encoded into */
    struct slice body;  /* 250 bytes of msgpack */
    uint64_t sum;       /* keeps the compiler from leaving the work out */
};

static const struct wire_submit submit = {.id = {"g-abcdefghijklmnopqrstuvwxyz", 28},
                                          .route = {"demo", 4},
                                          .tenant = {"1001", 4},
                                          .op = WIRE_OP_SEND,
                                          .pri = 5,
                                          .ttl_ms = 30000};
static const struct wire_result result = {.id = {"g-abcdefghijklmnopqrstuvwxyz", 28},
                                          .end = JOB_END_DONE,
                                          .code = RESULT_OTP_SENT,
                                          .queued_ms = 3,
                                          .run_ms = 345,
                                          .attempts = 1};
static const struct wire_job job = {.id = {"g-abcdefghijklmnopqrstuvwxyz", 28},
                                    .route = {"demo", 4},
                                    .tenant = {"1001", 4},
                                    .attempt = 1,
                                    .ttl_ms = 29990,
                                    .queued_ms = 10};

static void begin(struct bench *b)
{
    buf_clear(&b->message);
    wire_begin(&b->message, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
}

static void encode_submit(struct bench *b)
{
    begin(b);
    wire_put_submit(&b->message, &submit, b->body);
}

static void encode_job(struct bench *b)
{
    begin(b);
    wire_put_job(&b->message, &job, b->body);
}

static void encode_result(struct bench *b)
{
    begin(b);
    wire_put_result(&b->message, &result, b->body);
}

static struct wire_reader opened(struct bench *b)
{
    struct wire_reader r;
    must(wire_open(&r, buf_slice(&b->message), WIRE_CLIENT_MAGIC));
    return r;
}

static void decode_submit(struct bench *b)
{
    struct wire_reader r = opened(b);
    struct wire_submit_read got;
    must(wire_next_submit(&r, &got) == WIRE_NEXT_PAIR && !got.invalid);
    b->sum += got.submit.ttl_ms;
}

static void decode_job(struct bench *b)
{
    struct wire_reader r = opened(b);
    struct wire_job got;
    struct slice body;
    must(wire_next_job(&r, &got, &body) == WIRE_NEXT_PAIR);
    b->sum += got.ttl_ms;
}

static void decode_result(struct bench *b)
{
    struct wire_reader r = opened(b);
    struct wire_result got;
    struct slice body;
    must(wire_next_result(&r, &got, &body) == WIRE_NEXT_PAIR);
    b->sum += got.run_ms;
}

static void decode_body(struct bench *b)
{
    struct job_body got;
    const char *error;
    must(job_body_decode(b->body, false, &got, &error));
    b->sum += got.aid;
}

static void measure(struct bench *b, const char *what, void (*once)(struct bench *))
{
    once(b);
    int64_t begin_us = clock_mono_us();
    for (int i = 0; i < ROUNDS; i++) {
        once(b);
    }
    double ns = (double)(clock_mono_us() - begin_us) * 1000 / ROUNDS;
    (void)printf("%-16s %7.1f ns\n", what, ns);
}

int main(void)
{
    struct bench b = {.sum = 0};
    struct buf body;
    char text[BODY_BYTES - 54];
    memset(text, 't', sizeof(text));
    struct job_body sent = {.msisdn = SLICE("66812340000"),
                            .aid = 1001,
                            .user_id = SLICE("user-1"),
                            .text = slice_make(text, sizeof(text))};
    buf_init(&b.message, WIRE_MESSAGE_BYTES_MAX);
    buf_init(&body, WIRE_BODY_BYTES_MAX);
    job_body_encode(&body, &sent, false);
    b.body = buf_slice(&body);
    (void)printf("body of %zu bytes\n", b.body.n);
    measure(&b, "encode submit", encode_submit);
    measure(&b, "decode submit", decode_submit);
    measure(&b, "encode job", encode_job);
    measure(&b, "decode job", decode_job);
    measure(&b, "encode result", encode_result);
    measure(&b, "decode result", decode_result);
    measure(&b, "decode body", decode_body);
    buf_free(&b.message);
    buf_free(&body);
    return b.sum == 0;
}
