#include "broker/timeline.h"

#include "common/base/buf.h"
#include "common/meaning/wire.h"

enum { RID_BYTES_MIN = 4, KEY_BYTES_MAX = 256, STEP_BYTES_MAX = 256 };

static void ignore(void *context, enum store_outcome outcome, const redisReply *reply)
{
    (void)context;
    (void)outcome;
    (void)reply;
}

/* A request id is "r", the two letters of its number's hash tag, and a random rest. */
static bool put_key(struct buf *key, const char *prefix, struct slice rid)
{
    if (rid.n < RID_BYTES_MIN || rid.p[0] != 'r' || !wire_id_ok(rid, WIRE_ID_BYTES_MAX)) {
        return false;
    }
    buf_printf(key, "%st:{%.2s}:%.*s", prefix, rid.p + 1, SLICE_ARG(rid));
    return buf_ok(key);
}

void timeline_answered(struct store *store, const char *prefix, struct slice job, struct slice rid,
                       int64_t wall_ms)
{
    struct buf key, step;
    buf_init(&key, KEY_BYTES_MAX);
    buf_init(&step, STEP_BYTES_MAX);
    if (store_up(store) && put_key(&key, prefix, rid)) {
        /* job ids are of an alphabet that JSON need not escape */
        buf_printf(&step, "{\"at_ms\":%lld,\"step\":\"answered\",\"job\":\"%.*s\"}",
                   (long long)wall_ms, SLICE_ARG(job));
        const struct slice argv[] = {SLICE("RPUSHX"), buf_slice(&key), buf_slice(&step)};
        store_command(store, ignore, NULL, (int)ARRAY_LEN(argv), argv);
    }
    buf_free(&key);
    buf_free(&step);
}
