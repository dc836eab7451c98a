#include "common/adapters/dead_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "common/meaning/config.h"
#include "common/meaning/msisdn.h"

enum { KEY_BYTES_MAX = CONFIG_REDIS_PREFIX_BYTES_MAX + 16 };

/* A letter on its way. */
struct put {
    void (*done)(void *context, bool written);
    void *context;
};

void dead_tag(struct slice id, char out[3])
{
    memcpy(out, msisdn_tag(id).text, 3);
}

static void on_put(void *context, enum store_outcome outcome, const redisReply *reply)
{
    struct put *p = context;
    bool written = outcome == STORE_OK && reply->type == REDIS_REPLY_STRING;
    if (outcome == STORE_OK && !written && !store_reply_unavailable(reply)) {
        log_error("a dead letter was not written", "why",
                  reply->type == REDIS_REPLY_ERROR ? reply->str : "odd answer", NULL);
    }
    p->done(p->context, written);
    free(p);
}

void dead_put(struct store *store, const char *prefix, const struct dead_letter *letter,
              uint64_t keep_s, void (*done)(void *context, bool written), void *context)
{
    char tag[3], key[KEY_BYTES_MAX], letters[KEY_BYTES_MAX], at[24], keep[24], most[16];
    dead_tag(letter->id, tag);
    must(snprintf(key, sizeof key, "%sdead:{%s}", prefix, tag) < KEY_BYTES_MAX);
    must(snprintf(letters, sizeof letters, "%sdl:{%s}:", prefix, tag) < KEY_BYTES_MAX);
    (void)snprintf(at, sizeof at, "%" PRId64, letter->at_ms);
    (void)snprintf(keep, sizeof keep, "%" PRIu64, keep_s * 1000);
    (void)snprintf(most, sizeof most, "%d", DEAD_TAG_MAX);
    const struct slice argv[9] = {slice_of(key),
                                  slice_of(letters),
                                  letter->id,
                                  letter->entry,
                                  slice_of(job_end_names[letter->end]),
                                  slice_of(result_name(letter->code)),
                                  slice_of(at),
                                  slice_of(keep),
                                  slice_of(most)};
    struct put *p = xmalloc(sizeof *p);
    p->done = done;
    p->context = context;
    store_eval(store, STORE_DEAD_PUT, on_put, p, 1, 9, argv);
}
