#include "common/meaning/stored_job.h"

#include "common/base/utf8.h"
#include "common/meaning/pack.h"

enum { MEMBERS = 10 };

void stored_job_write(struct buf *out, const struct stored_job *j)
{
    const struct wire_submit *s = &j->submit;
    must(j->accepted_ms >= 0 && j->deadline_ms >= 0 && j->ready_ms >= 0);
    pack_put_array(out, MEMBERS);
    pack_put_uint(out, STORED_JOB_VERSION);
    pack_put_str(out, s->id);
    pack_put_str(out, s->route);
    pack_put_str(out, s->tenant);
    pack_put_str(out, s->trace);
    pack_put_str(out, slice_of(wire_ops[s->op].name));
    pack_put_uint(out, s->pri);
    pack_put_uint(out, (uint64_t)j->accepted_ms);
    pack_put_uint(out, (uint64_t)j->deadline_ms);
    pack_put_uint(out, (uint64_t)j->ready_ms);
    if (j->body.n > 0) {
        buf_put_slice(out, j->body);
    } else {
        pack_put_map(out, 0);
    }
}

static bool wrong(const char **error, const char *what)
{
    *error = what;
    return false;
}

static bool read_op(struct pack *p, enum wire_op *out)
{
    struct slice name;
    if (!pack_read_str(p, &name)) {
        return false;
    }
    for (int op = 0; op < WIRE_OPS; op++) {
        if (slice_is(name, wire_ops[op].name)) {
            *out = (enum wire_op)op;
            return true;
        }
    }
    return false;
}

/* Far more than any clock says, far less than what sums of two overflow at. */
static bool read_moment(struct pack *p, int64_t *out)
{
    uint64_t ms = 0;
    if (!pack_read_uint(p, &ms) || ms >= 1ULL << 52) {
        return false;
    }
    *out = (int64_t)ms;
    return true;
}

/* What a worker would take. */
static bool text_ok(struct slice s)
{
    while (s.n > 0) {
        size_t n = utf8_first(s);
        if (n == 0 || (uint8_t)s.p[0] < 0x20 || s.p[0] == 0x7f) {
            return false;
        }
        s = slice_make(s.p + n, s.n - n);
    }
    return true;
}

static bool read_texts(struct pack *p, struct wire_submit *s, const char **error)
{
    if (!pack_read_str(p, &s->id) || !wire_id_ok(s->id, WIRE_ID_BYTES_MAX)) {
        return wrong(error, "no id");
    }
    if (!pack_read_str(p, &s->route) || !wire_id_ok(s->route, WIRE_ROUTE_BYTES_MAX)) {
        return wrong(error, "no route");
    }
    if (!pack_read_str(p, &s->tenant) || s->tenant.n > WIRE_TENANT_BYTES_MAX ||
        !text_ok(s->tenant)) {
        return wrong(error, "no tenant");
    }
    if (!pack_read_str(p, &s->trace) || (s->trace.n > 0 && !wire_trace_ok(s->trace))) {
        return wrong(error, "no trace");
    }
    return true;
}

static bool read_body(struct pack *p, struct slice *body, const char **error)
{
    if (pack_peek(p) != PACK_MAP || !pack_skip(p, body) || p->at != p->end ||
        body->n > WIRE_BODY_BYTES_MAX) {
        return wrong(error, "no body");
    }
    return true;
}

bool stored_job_read(struct slice entry, struct stored_job *j, const char **error)
{
    struct pack p = pack_over(entry);
    uint32_t members = 0;
    uint64_t version = 0, pri = 0;
    *j = (struct stored_job){.accepted_ms = 0};
    if (!pack_read_array(&p, &members) || members != MEMBERS || !pack_read_uint(&p, &version) ||
        version != STORED_JOB_VERSION) {
        return wrong(error, "not an entry of this version");
    }
    if (!read_texts(&p, &j->submit, error)) {
        return false;
    }
    if (!read_op(&p, &j->submit.op)) {
        return wrong(error, "no op");
    }
    if (!pack_read_uint(&p, &pri) || pri > WIRE_PRI_MAX) {
        return wrong(error, "no priority");
    }
    j->submit.pri = (uint8_t)pri;
    if (!read_moment(&p, &j->accepted_ms) || !read_moment(&p, &j->deadline_ms) ||
        !read_moment(&p, &j->ready_ms)) {
        return wrong(error, "no moments");
    }
    return read_body(&p, &j->body, error);
}
