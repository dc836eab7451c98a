#include "clients/otpq/unknown_view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/check.h"

enum { SPAN = 24 };

/* "7 s", "3 min", "2 h", "5 d". */
static void put_span(int64_t ms, char out[SPAN])
{
    int64_t s = ms > 0 ? ms / 1000 : 0;
    if (s < 120) {
        (void)snprintf(out, SPAN, "%" PRId64 " s", s);
    } else if (s < 2 * 3600) {
        (void)snprintf(out, SPAN, "%" PRId64 " min", s / 60);
    } else if (s < 48 * 3600) {
        (void)snprintf(out, SPAN, "%" PRId64 " h", s / 3600);
    } else {
        (void)snprintf(out, SPAN, "%" PRId64 " d", s / 86400);
    }
}

void unknown_view_table(const struct unknown_row *rows, size_t count, int64_t now_ms)
{
    if (count == 0) {
        (void)printf("no unknown jobs\n");
        return;
    }
    (void)printf("%-36s  %-6s  %-20s  %-16s  %-14s  %7s  %s\n", "ID", "OP", "ROUTE", "PARTY",
                 "NUMBER", "SINCE", "REQUEST");
    for (size_t i = 0; i < count; i++) {
        char age[SPAN];
        const struct unknown_row *r = &rows[i];
        put_span(now_ms - r->since_ms, age);
        (void)printf("%-36s  %-6s  %-20s  %-16s  %-14s  %7s  %s\n", r->job, r->op, r->route,
                     r->party, r->number, age, r->request_id);
    }
    (void)printf("%zu shown\n", count);
}

static void put_json(json_t *out)
{
    must(out != NULL);
    char *text = json_dumps(out, JSON_COMPACT);
    must(text != NULL);
    (void)puts(text);
    free(text);
    json_decref(out);
}

void unknown_view_json(const struct unknown_row *row)
{
    put_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "id", row->job, "op", row->op,
                       "route", row->route, "party", row->party, "number", row->number,
                       "request_id", row->request_id, "since_ms", (json_int_t)row->since_ms));
}

void unknown_view_resolved(const struct unknown_word *word, const struct unknown_outcome *out)
{
    put_json(json_pack("{s:s, s:s, s:s}", "id", word->job, "state", out->end, "code", out->code));
}
