#include "broker/core/internal.h"

enum {
    CHUNK_BYTES = 256 * 1024,
    UNIT_BYTES = 8,   /* of offsets in references */
    OFFSET_BITS = 15, /* CHUNK_BYTES / UNIT_BYTES */
    CHUNKS_MAX = 1 << (31 - OFFSET_BITS),
    NAMES_BYTES_MAX = WIRE_ROUTE_BYTES_MAX + WIRE_TENANT_BYTES_MAX,
    ENTRY_BYTES_MAX = WIRE_BODY_BYTES_MAX + WIRE_ID_BYTES_MAX + NAMES_BYTES_MAX + 64
};

struct result_chunk {
    uint32_t used;                       /* bytes written */
    _Alignas(8) char bytes[CHUNK_BYTES]; /* entries, one after the other */
};

void results_init(struct core *core)
{
    struct results *rs = &core->results;
    *rs = (struct results){0};
    /* An entry does not cross chunks: up to ENTRY_BYTES_MAX of each may stay unused. */
    uint64_t chunks = core->limits.results_bytes_max / (CHUNK_BYTES - ENTRY_BYTES_MAX) + 2;
    rs->chunks_max = 1;
    while (rs->chunks_max < chunks && rs->chunks_max < CHUNKS_MAX) {
        rs->chunks_max *= 2;
    }
    rs->chunks = xcalloc(rs->chunks_max, sizeof(struct result_chunk *));
}

void results_free(struct core *core)
{
    struct results *rs = &core->results;
    for (uint32_t i = 0; i < rs->chunks_max; i++) {
        free(rs->chunks[i]);
    }
    free(rs->chunks);
    free(rs->spare);
    *rs = (struct results){0};
}

static struct result_chunk **chunk_of(const struct results *rs, uint32_t number)
{
    return &rs->chunks[number & (rs->chunks_max - 1)];
}

static uint32_t ref_of(const struct results *rs, uint32_t chunk, uint32_t offset)
{
    return RESULT_REF | (chunk & (rs->chunks_max - 1)) << OFFSET_BITS | offset / UNIT_BYTES;
}

const struct result_entry *results_at(const struct core *core, uint32_t ref)
{
    must((ref & RESULT_REF) != 0);
    uint32_t chunk = (ref & ~RESULT_REF) >> OFFSET_BITS;
    uint32_t offset = (ref & ((1U << OFFSET_BITS) - 1)) * UNIT_BYTES;
    const void *entry = core->results.chunks[chunk]->bytes + offset;
    return entry;
}

/* Lets an emptied tail chunk go. */
static void drop_tail_chunk(struct results *rs)
{
    struct result_chunk **c = chunk_of(rs, rs->tail);
    if (rs->tail == rs->head || rs->tail_at < (*c)->used) {
        return;
    }
    free(rs->spare);
    rs->spare = *c;
    *c = NULL;
    rs->tail++;
    rs->tail_at = 0;
}

static const struct result_entry *oldest(const struct core *core)
{
    const struct results *rs = &core->results;
    return rs->count == 0 ? NULL : results_at(core, ref_of(rs, rs->tail, rs->tail_at));
}

static void evict(struct core *core)
{
    struct results *rs = &core->results;
    const struct result_entry *e = oldest(core);
    index_remove(&core->ids, e->hash, ref_of(rs, rs->tail, rs->tail_at));
    rs->count--;
    rs->bytes -= e->bytes;
    rs->tail_at += e->bytes;
    drop_tail_chunk(rs);
    const struct result_entry *next = oldest(core);
    if (next != NULL) {
        index_expect(&core->ids, next->hash); /* a full cache evicts with every result */
    }
}

/* The chunk at the head, with room for that many bytes. */
static struct result_chunk *head_with_room(struct core *core, uint32_t bytes)
{
    struct results *rs = &core->results;
    struct result_chunk **c = chunk_of(rs, rs->head);
    if (*c != NULL && (*c)->used + bytes <= CHUNK_BYTES) {
        return *c;
    }
    if (*c != NULL) {
        while (rs->head - rs->tail + 1 >= rs->chunks_max) {
            evict(core);
        }
        rs->head++;
        if (rs->count == 0) {
            drop_tail_chunk(rs);
        }
        c = chunk_of(rs, rs->head);
    }
    must(*c == NULL);
    *c = rs->spare != NULL ? rs->spare : xmalloc(sizeof(**c));
    rs->spare = NULL;
    (*c)->used = 0;
    return *c;
}

static char *put_bytes(char *at, const char *bytes, size_t n)
{
    if (n > 0) {
        memcpy(at, bytes, n);
    }
    return at + n;
}

uint32_t results_put(struct core *core, const struct job *j, const struct wire_result *r,
                     struct slice body)
{
    struct results *rs = &core->results;
    if (body.n > WIRE_BODY_BYTES_MAX) { /* the shell would not pass it on either */
        body.n = 0;
    }
    const struct route *route = job_asked(j);
    const struct tenant *tenant = j->lane->flow->tenant;
    size_t exact =
        offsetof(struct result_entry, text) + r->id.n + body.n + route->name_n + tenant->name_n;
    uint32_t bytes = (uint32_t)(exact + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES;
    must(bytes <= ENTRY_BYTES_MAX);
    while (rs->count > 0 && (rs->count >= core->limits.results_max ||
                             rs->bytes + bytes > core->limits.results_bytes_max)) {
        evict(core);
    }
    struct result_chunk *c = head_with_room(core, bytes);
    uint32_t offset = c->used;
    struct result_entry *e = (void *)(c->bytes + offset);
    *e = (struct result_entry){
        .fingerprint = j->fingerprint,
        .hash = j->hash,
        .bytes = bytes,
        .ended = core->now,
        .queued_ms = r->queued_ms,
        .run_ms = r->run_ms,
        .body_n = (uint32_t)body.n,
        .attempts = (uint8_t)r->attempts,
        .end = (uint8_t)r->end,
        .code = (uint8_t)r->code,
        .id_n = (uint8_t)r->id.n,
        .route_n = (uint8_t)route->name_n,
        .tenant_n = (uint8_t)tenant->name_n,
    };
    char *at = put_bytes(e->text, r->id.p, r->id.n);
    at = put_bytes(at, body.p, body.n);
    at = put_bytes(at, route->name, route->name_n);
    (void)put_bytes(at, tenant->name, tenant->name_n);
    c->used += bytes;
    rs->count++;
    rs->bytes += bytes;
    return ref_of(rs, rs->head, offset);
}

void results_whose(const struct result_entry *e, struct slice *route, struct slice *tenant)
{
    const char *at = e->text + e->id_n + e->body_n;
    *route = slice_make(at, e->route_n);
    *tenant = slice_make(at + e->route_n, e->tenant_n);
}

void results_answer(const struct core *core, const struct result_entry *e, uint64_t client)
{
    if (client == 0) { /* nobody */
        return;
    }
    struct wire_result r = {
        .id = result_id(e),
        .end = (enum job_end)e->end,
        .code = (enum result_code)e->code,
        .queued_ms = e->queued_ms,
        .run_ms = e->run_ms,
        .attempts = e->attempts,
    };
    core->effects.answer(core->effects.context, client, &r,
                         slice_make(e->text + e->id_n, e->body_n));
}

void results_expire(struct core *core)
{
    for (const struct result_entry *e = oldest(core); e != NULL; e = oldest(core)) {
        if (core->now - e->ended < core->limits.result_ttl_ms) {
            return;
        }
        evict(core);
    }
}

bool results_wake(const struct core *core, uint32_t *at)
{
    const struct result_entry *e = oldest(core);
    if (e != NULL) {
        *at = e->ended + core->limits.result_ttl_ms;
    }
    return e != NULL;
}
