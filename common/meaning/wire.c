#include "common/meaning/wire.h"

#include "common/meaning/fields.h"
#include "common/meaning/params.h"

const struct wire_op_row wire_ops[WIRE_OPS] = {
    [WIRE_OP_SEND] = {"send", 5},
    [WIRE_OP_VERIFY] = {"verify", 7},
    [WIRE_OP_FLASH_CREATE] = {"flash.create", 5},
    [WIRE_OP_FLASH_QUERY] = {"flash.query", 5},
    [WIRE_OP_CALLBACK] = {"callback", 3},
    [WIRE_OP_REPORT] = {"report", 7},
};

static const char *const ack_names[WIRE_ACKS] = {
    [WIRE_ACK_RESULT] = "result", [WIRE_ACK_QUEUED] = "queued", [WIRE_ACK_STORED] = "stored"};

/* ---- texts ---------------------------------------------------------------------------------- */

/* Small hex digits, not all of them `never`. */
static bool hex_ok(struct slice s, char never)
{
    bool other = false;
    for (size_t i = 0; i < s.n; i++) {
        bool digit = (s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f');
        if (!digit) {
            return false;
        }
        other |= s.p[i] != never;
    }
    return other;
}

/* Trace Context, 3.2.2: version (ff is forbidden), trace and parent (all zeroes are), flags. */
bool wire_trace_ok(struct slice trace)
{
    static const struct {
        uint8_t at, n;
        char never;
    } parts[] = {{0, 2, 'f'}, {3, 32, '0'}, {36, 16, '0'}, {53, 2, '\0'}};
    if (trace.n != WIRE_TRACE_BYTES || trace.p[2] != '-' || trace.p[35] != '-' ||
        trace.p[52] != '-') {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!hex_ok(slice_make(trace.p + parts[i].at, parts[i].n), parts[i].never)) {
            return false;
        }
    }
    return true;
}

/* ---- words ---------------------------------------------------------------------------------- */

static int op_of(struct slice word)
{
    for (int i = 0; i < WIRE_OPS; i++) {
        if (slice_is(word, wire_ops[i].name)) {
            return i;
        }
    }
    return -1;
}

static const char *op_word(int op)
{
    return wire_ops[op].name;
}

static int ack_of(struct slice word)
{
    for (int i = 0; i < WIRE_ACKS; i++) {
        if (slice_is(word, ack_names[i])) {
            return i;
        }
    }
    return -1;
}

/* The default stays away. */
static const char *ack_word(int ack)
{
    return ack == WIRE_ACK_RESULT ? NULL : ack_names[ack];
}

static int end_of(struct slice word)
{
    enum job_end end = job_end_of(word);
    return end == JOB_ENDS ? -1 : (int)end;
}

static const char *end_word(int end)
{
    return job_end_names[end];
}

static int code_of(struct slice word)
{
    enum result_code code = result_of(word);
    return code == RESULT_NONE ? -1 : (int)code;
}

/* RESULT_NONE stays away. */
static const char *code_word(int code)
{
    return code == RESULT_NONE ? NULL : result_name((enum result_code)code);
}

/* ---- envelopes ------------------------------------------------------------------------------ */

#define OP_RULE         "op: one of send, verify, flash.create, flash.query, callback, report"
#define ID_RULE         "id: 1 to 64 bytes of A-Z a-z 0-9 _ . : -"
#define ROUTE_RULE      "route: 1 to 64 bytes of A-Z a-z 0-9 _ . : -"
#define VIA_RULE        "via: 1 to 64 bytes of A-Z a-z 0-9 _ . : -"
#define COUNT_RULE(key) key ": a whole number, at most 4294967295"
#define ROW_ID(type, flags)                                                                        \
    {                                                                                              \
        FIELD(type, id, "id", FIELD_ID, flags), 1, WIRE_ID_BYTES_MAX, ID_RULE                      \
    }
#define ROW_U32(type, member, flags)                                                               \
    {                                                                                              \
        FIELD(type, member, #member, FIELD_U32, flags), 0, UINT32_MAX, COUNT_RULE(#member)         \
    }
#define ROW_U64(type, member)                                                                      \
    {                                                                                              \
        FIELD(type, member, #member, FIELD_U64, FIELD_SKIP_ZERO), 0, UINT64_MAX,                   \
            #member ": a whole number"                                                             \
    }
#define ROW_TEXT(type, member, max)                                                                \
    {                                                                                              \
        FIELD(type, member, #member, FIELD_TEXT, 0), 0, max,                                       \
            #member ": a string of at most " #max " bytes"                                         \
    }

static const struct field submit_rows[] = {
    ROW_ID(struct wire_submit, FIELD_NEEDED),
    {FIELD(struct wire_submit, op, "op", FIELD_WORD, FIELD_NEEDED), .of_word = op_of,
     .word_of = op_word, .rule = OP_RULE},
    {FIELD(struct wire_submit, route, "route", FIELD_ID, FIELD_NEEDED), 1, WIRE_ROUTE_BYTES_MAX,
     ROUTE_RULE},
    {FIELD(struct wire_submit, tenant, "tenant", FIELD_TEXT, 0), 0, WIRE_TENANT_BYTES_MAX,
     "tenant: a string of at most 64 bytes of UTF-8 without control characters",
     .text_ok = params_text_ok},
    {FIELD(struct wire_submit, pri, "pri", FIELD_U8, 0), 0, WIRE_PRI_MAX,
     "pri: a whole number from 0 to 9"},
    {FIELD(struct wire_submit, ttl_ms, "ttl_ms", FIELD_U32, 0), 1, WIRE_TTL_MAX_MS,
     "ttl_ms: milliseconds, from 1 to 86400000"},
    {FIELD(struct wire_submit, delay_ms, "delay_ms", FIELD_U32, FIELD_SKIP_ZERO), 0,
     WIRE_TTL_MAX_MS, "delay_ms: milliseconds, from 0 to 86400000"},
    {FIELD(struct wire_submit, ack, "ack", FIELD_WORD, 0), .of_word = ack_of, .word_of = ack_word,
     .rule = "ack: one of result, queued, stored"},
    {FIELD(struct wire_submit, trace, "trace", FIELD_TEXT, 0), 0, WIRE_TRACE_BYTES,
     "trace: a W3C traceparent, 00-TRACE-PARENT-FLAGS in small hex digits",
     .text_ok = wire_trace_ok},
    {FIELD(struct wire_submit, again, "again", FIELD_BOOL, FIELD_SKIP_ZERO),
     .rule = "again: true or false"},
};

static const struct field result_envelope_rows[] = {
    ROW_ID(struct wire_result, FIELD_NEEDED),
    {FIELD(struct wire_result, end, "state", FIELD_WORD, FIELD_NEEDED), .of_word = end_of,
     .word_of = end_word, .rule = "state: one of done, refused, unknown, expired, cancelled"},
    {FIELD(struct wire_result, code, "code", FIELD_WORD, FIELD_NEEDED), .of_word = code_of,
     .word_of = code_word, .rule = "code: a word of the vocabulary"},
    ROW_U32(struct wire_result, queued_ms, 0),
    ROW_U32(struct wire_result, run_ms, 0),
    ROW_U32(struct wire_result, attempts, 0),
    ROW_TEXT(struct wire_result, trace_id, 64),
};

static const struct field nack_rows[] = {
    {FIELD(struct wire_nack, id, "id", FIELD_TEXT, 0), 0, WIRE_ID_BYTES_MAX, ID_RULE},
    {FIELD(struct wire_nack, error, "error", FIELD_TEXT, FIELD_NEEDED), 1, 64,
     "error: a word of at most 64 bytes"},
    ROW_TEXT(struct wire_nack, detail, 1024),
    ROW_U32(struct wire_nack, retry_after_ms, FIELD_SKIP_ZERO),
};

static const struct field job_rows[] = {
    ROW_ID(struct wire_job, FIELD_NEEDED),
    {FIELD(struct wire_job, op, "op", FIELD_WORD, FIELD_NEEDED), .of_word = op_of,
     .word_of = op_word, .rule = OP_RULE},
    {FIELD(struct wire_job, route, "route", FIELD_ID, FIELD_NEEDED), 1, WIRE_ROUTE_BYTES_MAX,
     ROUTE_RULE},
    ROW_TEXT(struct wire_job, tenant, 64),
    ROW_U32(struct wire_job, attempt, FIELD_NEEDED),
    ROW_U32(struct wire_job, ttl_ms, FIELD_NEEDED),
    ROW_U32(struct wire_job, queued_ms, 0),
    ROW_TEXT(struct wire_job, trace, 64),
    {FIELD(struct wire_job, via, "via", FIELD_ID, 0), 1, WIRE_ROUTE_BYTES_MAX, VIA_RULE},
    {FIELD(struct wire_job, moved, "moved", FIELD_WORD, 0), .of_word = code_of,
     .word_of = code_word, .rule = "moved: a word of the vocabulary"},
};

static const struct field back_rows[] = {
    ROW_ID(struct wire_give_back, FIELD_NEEDED),
    ROW_U32(struct wire_give_back, attempt, FIELD_NEEDED),
    ROW_U32(struct wire_give_back, attempt_seen, FIELD_SKIP_ZERO),
    ROW_U32(struct wire_give_back, delay_ms, FIELD_SKIP_ZERO),
    {FIELD(struct wire_give_back, code, "code", FIELD_WORD, 0), .of_word = code_of,
     .word_of = code_word, .rule = "code: a word of the vocabulary"},
    {FIELD(struct wire_give_back, via, "via", FIELD_ID, 0), 1, WIRE_ROUTE_BYTES_MAX, VIA_RULE},
};

static const struct field hello_rows[] = {
    ROW_TEXT(struct wire_hello, name, 64),
    ROW_U64(struct wire_hello, pid),
    ROW_TEXT(struct wire_hello, version, 64),
    ROW_U32(struct wire_hello, protocol, FIELD_NEEDED),
    ROW_U32(struct wire_hello, capacity, FIELD_NEEDED),
};

/* WIRE_OPS, any op, stays away. */
static const char *op_word_or_any(int op)
{
    return op == WIRE_OPS ? NULL : op_word(op);
}

enum action { ACTION_PURGE };

static int action_of(struct slice word)
{
    return slice_is(word, "purge") ? ACTION_PURGE : -1;
}

static const char *action_word(int action UNUSED)
{
    return "purge";
}

struct purge {
    struct wire_purge purge;
    enum action action;
};
static const struct field purge_rows[] = {
    {FIELD(struct purge, action, "action", FIELD_WORD, FIELD_NEEDED), .of_word = action_of,
     .word_of = action_word, .rule = "action: purge"},
    {FIELD(struct purge, purge.id, "id", FIELD_ID, 0), 1, WIRE_ID_BYTES_MAX, ID_RULE},
    {FIELD(struct purge, purge.route, "route", FIELD_ID, 0), 1, WIRE_ROUTE_BYTES_MAX, ROUTE_RULE},
    {FIELD(struct purge, purge.tenant, "tenant", FIELD_TEXT, 0), 0, WIRE_TENANT_BYTES_MAX,
     "tenant: a string of at most 64 bytes"},
    {FIELD(struct purge, purge.op, "op", FIELD_WORD, 0), .of_word = op_of,
     .word_of = op_word_or_any, .rule = OP_RULE},
    {FIELD(struct purge, purge.older_ms, "older_ms", FIELD_U32, FIELD_SKIP_ZERO), 0,
     WIRE_TTL_MAX_MS, "older_ms: milliseconds, from 0 to 86400000"},
    {FIELD(struct purge, purge.wait_ms, "wait_ms", FIELD_U32, FIELD_SKIP_ZERO), 0, WIRE_TTL_MAX_MS,
     "wait_ms: milliseconds, from 0 to 86400000"},
    {FIELD(struct purge, purge.dry, "dry", FIELD_BOOL, FIELD_SKIP_ZERO),
     .rule = "dry: true or false"},
};
static const struct field purged_rows[] = {
    ROW_U64(struct wire_purged, ended),
    ROW_U64(struct wire_purged, pending),
    ROW_U64(struct wire_purged, kept),
};

struct accepted {
    struct slice id;
    struct slice state;
};
static const struct field accepted_rows[] = {
    ROW_ID(struct accepted, FIELD_NEEDED),
    {FIELD(struct accepted, state, "state", FIELD_TEXT, FIELD_NEEDED), 1, 32, "state: a word"},
};

struct started {
    struct slice id;
    uint32_t attempt;
};
static const struct field started_rows[] = {
    ROW_ID(struct started, FIELD_NEEDED),
    ROW_U32(struct started, attempt, FIELD_NEEDED),
};

struct credit {
    uint64_t total;
};
static const struct field credit_rows[] = {
    {FIELD(struct credit, total, "total", FIELD_U64, FIELD_NEEDED), 0, UINT64_MAX,
     "total: a whole number"},
};

struct only_id {
    struct slice id;
};
static const struct field id_rows[] = {ROW_ID(struct only_id, FIELD_NEEDED)};
static const struct field info_id_rows[] = {ROW_ID(struct only_id, 0)};

/* ---- reading -------------------------------------------------------------------------------- */

bool wire_id_ok(struct slice id, size_t max)
{
    return id.n >= 1 && id.n <= max && fields_id_alphabet(id);
}

bool wire_open(struct wire_reader *r, struct slice message, const char *magic)
{
    *r = (struct wire_reader){.p = pack_over(message)};
    if (message.n > WIRE_MESSAGE_BYTES_MAX) {
        r->p.error = "the message is longer than 1048576 bytes";
        return false;
    }
    if (message.n < 4) {
        r->p.error = "the message is shorter than magic and verb";
        return false;
    }
    if (memcmp(message.p, magic, 3) != 0) {
        r->p.error = "the message does not begin with the protocol's three letters";
        return false;
    }
    r->verb = message.p[3];
    r->p.at += 4;
    return true;
}

void wire_trouble(const struct wire_reader *r, char out[128])
{
    (void)snprintf(out, 128, "at byte %zu: %s", pack_offset(&r->p),
                   r->p.error != NULL ? r->p.error : "");
}

static enum wire_next bad(struct wire_reader *r, const char *error)
{
    r->p.error = error;
    return WIRE_NEXT_BAD;
}

/* One envelope and its body. *rule is set when the envelope breaks one; the body is read all the
 * same, because the walk goes on behind it. */
static enum wire_next next_pair(struct wire_reader *r, const struct fields *t, void *out,
                                struct slice *body, const char **rule)
{
    if (r->p.error != NULL) {
        return WIRE_NEXT_BAD;
    }
    if (r->p.at == r->p.end) {
        return WIRE_NEXT_END;
    }
    if (r->pairs == WIRE_PAIRS_MAX) {
        return bad(r, "more than 1000 pairs in one message");
    }
    r->pairs++;
    if (fields_read(&r->p, t, PACK_DEPTH_MAX - 1, out, rule) == FIELDS_BAD) {
        return WIRE_NEXT_BAD;
    }
    if (pack_peek(&r->p) != PACK_MAP) {
        bool none = pack_peek(&r->p) == PACK_END;
        return bad(r, none ? "the body is missing" : "a body must be a map");
    }
    return pack_skip(&r->p, body) ? WIRE_NEXT_PAIR : WIRE_NEXT_BAD;
}

/* For peers that are our own programs: a broken rule is as bad as broken bytes. */
static enum wire_next next_strict(struct wire_reader *r, const struct fields *t, void *out,
                                  struct slice *body)
{
    const char *rule = NULL;
    enum wire_next next = next_pair(r, t, out, body, &rule);
    return next == WIRE_NEXT_PAIR && rule != NULL ? bad(r, rule) : next;
}

/* The id of a refused submit, when it can be said back without harm. */
static struct slice echo_id(struct slice id)
{
    return wire_id_ok(id, WIRE_ID_BYTES_MAX) ? id : (struct slice){0};
}

enum wire_next wire_next_submit(struct wire_reader *r, struct wire_submit_read *out)
{
    struct wire_submit *s = &out->submit;
    const char *rule = NULL;
    *s = (struct wire_submit){.pri = UINT8_MAX, .ttl_ms = WIRE_TTL_DEFAULT_MS};
    enum wire_next next = next_pair(r, &FIELDS(submit_rows), s, &out->body, &rule);
    if (next != WIRE_NEXT_PAIR) {
        return next;
    }
    if (rule == NULL && out->body.n > WIRE_BODY_BYTES_MAX) {
        rule = "body: at most 65536 bytes";
    }
    out->invalid = rule != NULL;
    if (out->invalid) {
        out->nack = (struct wire_nack){
            .id = echo_id(s->id), .error = SLICE(WIRE_ERROR_INVALID), .detail = slice_of(rule)};
    } else if (s->pri == UINT8_MAX) {
        s->pri = wire_ops[s->op].pri;
    }
    return WIRE_NEXT_PAIR;
}

enum wire_next wire_next_id(struct wire_reader *r, struct slice *id)
{
    struct only_id envelope = {0};
    struct slice body;
    const char *rule = NULL;
    enum wire_next next = next_pair(r, &FIELDS(id_rows), &envelope, &body, &rule);
    *id = rule == NULL ? envelope.id : (struct slice){0};
    return next;
}

enum wire_next wire_next_info(struct wire_reader *r, struct slice *id, struct slice *body)
{
    struct only_id envelope = {0};
    enum wire_next next = next_strict(r, &FIELDS(info_id_rows), &envelope, body);
    *id = envelope.id;
    return next;
}

enum wire_next wire_next_purge(struct wire_reader *r, struct wire_purge *out, const char **rule)
{
    struct purge p = {.purge = {.op = WIRE_OPS}};
    struct slice body;
    *rule = NULL;
    enum wire_next next = next_pair(r, &FIELDS(purge_rows), &p, &body, rule);
    *out = p.purge;
    out->id = echo_id(p.purge.id);
    return next;
}

enum wire_next wire_next_purged(struct wire_reader *r, struct slice *id, struct wire_purged *out)
{
    struct slice body;
    const char *rule = NULL;
    enum wire_next next = wire_next_info(r, id, &body);
    struct pack p = pack_over(body);
    *out = (struct wire_purged){0};
    if (next == WIRE_NEXT_PAIR &&
        fields_read(&p, &FIELDS(purged_rows), PACK_DEPTH_MAX - 1, out, &rule) != FIELDS_OK) {
        return bad(r, rule != NULL ? rule : p.error);
    }
    return next;
}

enum wire_next wire_next_job(struct wire_reader *r, struct wire_job *j, struct slice *body)
{
    *j = (struct wire_job){0};
    return next_strict(r, &FIELDS(job_rows), j, body);
}

enum wire_next wire_next_result(struct wire_reader *r, struct wire_result *out, struct slice *body)
{
    *out = (struct wire_result){0};
    return next_strict(r, &FIELDS(result_envelope_rows), out, body);
}

enum wire_next wire_next_nack(struct wire_reader *r, struct wire_nack *out)
{
    struct slice body;
    *out = (struct wire_nack){0};
    return next_strict(r, &FIELDS(nack_rows), out, &body);
}

enum wire_next wire_next_accepted(struct wire_reader *r, struct slice *id, struct slice *state)
{
    struct accepted a = {0};
    struct slice body;
    enum wire_next next = next_strict(r, &FIELDS(accepted_rows), &a, &body);
    *id = a.id;
    *state = a.state;
    return next;
}

enum wire_next wire_next_hello(struct wire_reader *r, struct wire_hello *out)
{
    struct slice body;
    *out = (struct wire_hello){0};
    return next_strict(r, &FIELDS(hello_rows), out, &body);
}

enum wire_next wire_next_credit(struct wire_reader *r, uint64_t *total)
{
    struct credit c = {0};
    struct slice body;
    enum wire_next next = next_strict(r, &FIELDS(credit_rows), &c, &body);
    *total = c.total;
    return next;
}

enum wire_next wire_next_started(struct wire_reader *r, struct slice *id, uint32_t *attempt)
{
    struct started s = {0};
    struct slice body;
    enum wire_next next = next_strict(r, &FIELDS(started_rows), &s, &body);
    *id = s.id;
    *attempt = s.attempt;
    return next;
}

enum wire_next wire_next_back(struct wire_reader *r, struct wire_give_back *out)
{
    struct slice body;
    *out = (struct wire_give_back){0};
    return next_strict(r, &FIELDS(back_rows), out, &body);
}

/* ---- writing -------------------------------------------------------------------------------- */

static const char empty_map[1] = {(char)0x80};

static void put_pair(struct buf *b, const struct fields *t, const void *envelope, struct slice body)
{
    fields_put(b, t, envelope);
    buf_put_slice(b, body.n > 0 ? body : slice_make(empty_map, 1));
}

void wire_begin(struct buf *b, const char *magic, char verb)
{
    buf_put(b, magic, 3);
    buf_putc(b, verb);
}

void wire_put_submit(struct buf *b, const struct wire_submit *s, struct slice body)
{
    put_pair(b, &FIELDS(submit_rows), s, body);
}

void wire_put_id(struct buf *b, struct slice id)
{
    put_pair(b, &FIELDS(id_rows), &(struct only_id){id}, (struct slice){0});
}

void wire_put_purge(struct buf *b, const struct wire_purge *p)
{
    const struct purge all = {.purge = *p, .action = ACTION_PURGE};
    put_pair(b, &FIELDS(purge_rows), &all, (struct slice){0});
}

void wire_put_purged(struct buf *b, struct slice id, const struct wire_purged *p)
{
    fields_put(b, &FIELDS(info_id_rows), &(struct only_id){id});
    fields_put(b, &FIELDS(purged_rows), p);
}

void wire_put_job(struct buf *b, const struct wire_job *j, struct slice body)
{
    put_pair(b, &FIELDS(job_rows), j, body);
}

void wire_put_result(struct buf *b, const struct wire_result *r, struct slice body)
{
    put_pair(b, &FIELDS(result_envelope_rows), r, body);
}

void wire_put_nack(struct buf *b, const struct wire_nack *n)
{
    put_pair(b, &FIELDS(nack_rows), n, (struct slice){0});
}

void wire_put_accepted(struct buf *b, struct slice id, const char *state)
{
    put_pair(b, &FIELDS(accepted_rows), &(struct accepted){id, slice_of(state)}, (struct slice){0});
}

void wire_put_hello(struct buf *b, const struct wire_hello *h)
{
    put_pair(b, &FIELDS(hello_rows), h, (struct slice){0});
}

void wire_put_credit(struct buf *b, uint64_t total)
{
    put_pair(b, &FIELDS(credit_rows), &(struct credit){total}, (struct slice){0});
}

void wire_put_started(struct buf *b, struct slice id, uint32_t attempt)
{
    put_pair(b, &FIELDS(started_rows), &(struct started){id, attempt}, (struct slice){0});
}

void wire_put_back(struct buf *b, const struct wire_give_back *g)
{
    put_pair(b, &FIELDS(back_rows), g, (struct slice){0});
}
