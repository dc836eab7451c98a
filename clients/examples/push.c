/*
 * push.c: send an OTP from C.
 *
 *     cc push.c $(pkg-config --cflags --libs otpq) -o push && ./push demo 66812340000
 */
#include <otpq.h>
#include <stdio.h>
#include <string.h>

/* {"msisdn": number} in msgpack: a map of one pair, two short strings. A real program uses a
 * msgpack library; this one stays without. Numbers have at most 31 bytes here. */
static size_t pack_body(unsigned char *to, const char *number)
{
    size_t n = strlen(number) & 31;
    memcpy(to, "\x81\xa6msisdn", 8);
    to[8] = (unsigned char)(0xa0 | n);
    memcpy(to + 9, number, n);
    return 9 + n;
}

int main(int argc, char **argv)
{
    const char *brokers[] = {"tcp://127.0.0.1:5560"};
    const struct otpq_options options = {.brokers = brokers, .broker_count = 1};
    const char *error = "";
    unsigned char body[64];
    struct otpq_answer answer;
    if (argc != 3) {
        fprintf(stderr, "usage: push ROUTE MSISDN\n");
        return 2;
    }
    otpq *q = otpq_new(&options, &error);
    if (q == NULL) {
        fprintf(stderr, "push: %s\n", error);
        return 2;
    }
    struct otpq_job job = {.op = "send", .route = argv[1], .body = body, .pri = -1};
    job.body_bytes = pack_body(body, argv[2]);
    enum otpq_outcome outcome = otpq_call(q, &job, 35000, &answer);
    printf("%s %s %s %s\n", answer.id, answer.state, answer.code, answer.detail);
    otpq_destroy(&q);
    return outcome == OTPQ_RESULT ? 0 : 1;
}
