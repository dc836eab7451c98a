#include "common/adapters/budget_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/meaning/config.h"
#include "common/meaning/wire.h"

enum { ARGS = 10, NUMBERS = 8, NUMBER_BYTES = 24 };

struct ask {
    void (*done)(void *context, const struct budget_part *part);
    void *context;
};

static void on_reply(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct ask *a = context;
    struct budget_part part;
    bool good = outcome == STORE_OK && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                reply->element[0]->type == REDIS_REPLY_INTEGER &&
                reply->element[1]->type == REDIS_REPLY_INTEGER;
    if (good) {
        part.calls_at_once = (uint32_t)reply->element[0]->integer;
        part.milli_calls_per_s = (uint64_t)reply->element[1]->integer;
    }
    a->done(a->context, good ? &part : NULL);
    free(a);
}

void budget_ask(struct store *store, const char *prefix, const struct budget_question *q,
                void (*done)(void *context, const struct budget_part *part), void *context)
{
    char key[CONFIG_REDIS_PREFIX_BYTES_MAX + WIRE_ROUTE_BYTES_MAX + 8];
    char texts[NUMBERS][NUMBER_BYTES];
    const uint64_t numbers[NUMBERS] = {q->all.calls_at_once,
                                       q->all.milli_calls_per_s,
                                       q->calls,
                                       q->waiting,
                                       BUDGET_HOLD_MS,
                                       BUDGET_LINGER_MS,
                                       q->have.calls_at_once,
                                       q->have.milli_calls_per_s};
    struct slice argv[ARGS];
    int n = snprintf(key, sizeof key, "%sbu:{%.*s}", prefix, SLICE_ARG(q->route));
    must(n > 0 && (size_t)n < sizeof key);
    argv[0] = slice_make(key, (size_t)n);
    argv[1] = slice_of(q->token);
    for (size_t i = 0; i < NUMBERS; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "%" PRIu64, numbers[i]);
        argv[2 + i] = slice_of(texts[i]);
    }
    struct ask *a = xcalloc(1, sizeof *a);
    *a = (struct ask){.done = done, .context = context};
    store_eval(store, STORE_BUDGET, on_reply, a, 1, ARGS, argv);
}
