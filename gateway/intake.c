#include "gateway/intake.h"

#include <string.h>

/* What nobody's address is told in. */
static void fail_anywhere(struct intake *p, enum result_code code, int http, const char *detail)
{
    p->kind = INTAKE_ANSWER;
    answer_failure(&p->answer, code, http, detail, 0);
}

void intake_fail(struct intake *p, enum result_code code, int http, const char *detail)
{
    p->kind = INTAKE_ANSWER;
    p->system->fail(&p->answer, p->kept, code, http, detail, 0);
}

static void copy(char *to, size_t room, struct slice from)
{
    must(from.n < room);
    if (from.n > 0) {
        memcpy(to, from.p, from.n);
    }
    to[from.n] = '\0';
}

void intake_job(struct intake *p, enum wire_op op, struct slice route, struct slice tenant)
{
    p->kind = INTAKE_JOB;
    p->op = op;
    copy(p->route, sizeof(p->route), route);
    copy(p->tenant, sizeof(p->tenant), tenant);
    buf_init(&p->body, WIRE_BODY_BYTES_MAX);
}

bool intake_job_fits(struct intake *p)
{
    if (buf_ok(&p->body)) {
        return true;
    }
    buf_free(&p->body);
    intake_fail(p, RESULT_INVALID_REQUEST, 0, "the parameters are too large together");
    return false;
}

static void meet(struct intake *p, const struct intake_input *in)
{
    if (p->system->meet != NULL) {
        p->system->meet(p, in);
    }
}

static void wrong_method(struct intake *p, const struct router_row *row,
                         const struct intake_input *in)
{
    static const char detail[] = "this path takes other methods, see Allow";
    p->system = row->system;
    if (p->system != NULL) {
        meet(p, in);
        intake_fail(p, RESULT_INVALID_REQUEST, 405, detail);
    } else {
        fail_anywhere(p, RESULT_INVALID_REQUEST, 405, detail);
    }
    answer_header(&p->answer, "Allow", row->methods);
}

void intake_make(struct intake *p, const struct records *records, const struct intake_input *in)
{
    memset(p, 0, sizeof(*p));
    struct router_match m = router_find(in->method, in->path);
    switch (m.outcome) {
    case ROUTE_UNKNOWN:
        fail_anywhere(p, RESULT_INVALID_REQUEST, 404, "there is nothing at this path");
        break;
    case ROUTE_WRONG_METHOD:
        wrong_method(p, m.row, in);
        break;
    case ROUTE_FOUND:
        p->system = m.row->system;
        if (p->system == NULL) {
            p->kind = INTAKE_HEALTH;
        } else {
            meet(p, in);
            p->system->take(p, records, &m, in);
        }
        break;
    }
}

void system_drop(const struct system *system, void *kept)
{
    if (system != NULL && system->drop != NULL) {
        system->drop(kept);
    } else {
        free(kept);
    }
}

void intake_free(struct intake *p)
{
    buf_free(&p->body);
    answer_free(&p->answer);
    system_drop(p->system, p->kept);
    p->kept = NULL;
}
