/* The first byte is dialect and call, two more the HTTP status, the rest the answer's body. */
#include "tests/fuzz/called.h"
#include "tests/fuzz/fuzz.h"

static bool ends(const char *text, size_t bytes)
{
    return memchr(text, '\0', bytes) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    unsigned choice = fuzz_byte(&rest);
    const struct called *c = called_at(choice % CALLED);
    bool verify = (choice & 128) != 0 && c->dialect->has(c->settings, DIALECT_VERIFY);
    enum dialect_call call = verify ? DIALECT_VERIFY : DIALECT_SEND;
    unsigned status = fuzz_byte(&rest) << 8;
    status |= fuzz_byte(&rest);
    struct dialect_answer answer = {.http = (int)(status % 700), .body = rest};
    struct dialect_verdict v;
    c->dialect->parse(c->settings, call, &answer, &v);
    must(v.code > RESULT_NONE && v.code < RESULT_CODES && v.end < JOB_ENDS);
    must(ends(v.url, sizeof(v.url)) &&
         ends(v.advertiser_request_id, sizeof(v.advertiser_request_id)));
    must(ends(v.mo.mobile, sizeof(v.mo.mobile)) && ends(v.mo.send_time, sizeof(v.mo.send_time)));
    must(v.attempts_left >= -1 && v.retry_after_s >= -1);
    /* Only an answer of HTTP 2xx is a success, whatever its body says. */
    must(v.end != JOB_END_DONE || answer.http / 100 == 2);
    return 0;
}
