/* A frame as each side reads it: the broker of clients and workers, clients and workers of it. */
#include "common/meaning/wire.h"
#include "tests/fuzz/fuzz.h"

enum { READERS = 12 };

static enum wire_next next(struct wire_reader *r, unsigned which)
{
    static struct wire_submit_read submit;
    struct slice a;
    struct slice b;
    struct wire_job job;
    struct wire_result result;
    struct wire_nack nack;
    struct wire_hello hello;
    struct wire_give_back back;
    struct wire_purge purge;
    struct wire_purged purged;
    const char *rule;
    uint64_t total;
    uint32_t attempt;
    switch (which) {
    case 0:
        return wire_next_submit(r, &submit);
    case 1:
        return wire_next_id(r, &a);
    case 2:
        return wire_next_info(r, &a, &b);
    case 3:
        return wire_next_job(r, &job, &a);
    case 4:
        return wire_next_result(r, &result, &a);
    case 5:
        return wire_next_nack(r, &nack);
    case 6:
        return wire_next_accepted(r, &a, &b);
    case 7:
        return wire_next_hello(r, &hello);
    case 8:
        return wire_next_credit(r, &total);
    case 9:
        return wire_next_started(r, &a, &attempt);
    case 10:
        return wire_next_purge(r, &purge, &rule);
    case 11:
        return wire_next_purged(r, &a, &purged);
    default:
        return wire_next_back(r, &back);
    }
}

static void walk(struct slice message, const char *magic, unsigned which)
{
    struct wire_reader r;
    char trouble[128];
    bool opened = wire_open(&r, message, magic);
    unsigned pairs = 0;
    enum wire_next state = opened ? WIRE_NEXT_PAIR : WIRE_NEXT_BAD;
    while (state == WIRE_NEXT_PAIR) {
        state = next(&r, which);
        must(pairs++ <= WIRE_PAIRS_MAX + 1);
    }
    if (state == WIRE_NEXT_BAD) {
        wire_trouble(&r, trouble);
    }
}

static void read_info(struct slice body)
{
    static struct wire_info_route routes[WIRE_INFO_ROUTES_MAX];
    struct wire_info info;
    uint32_t count = 0;
    const char *error = NULL;
    if (!wire_info_decode(body, &info, routes, &count, &error)) {
        must(error != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice message = fuzz_slice(data, size);
    for (unsigned i = 0; i <= READERS; i++) {
        walk(message, WIRE_CLIENT_MAGIC, i);
        walk(message, WIRE_WORKER_MAGIC, i);
    }
    read_info(message);
    return 0;
}
