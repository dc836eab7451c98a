#include "clients/otpq/callbacks_view.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/check.h"

enum { SPAN = 24, LAST = 64 };

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

static void put_try(const struct outbox_try *t, char out[LAST])
{
    if (t->word[0] != '\0') {
        (void)snprintf(out, LAST, "%s", t->word);
    } else {
        (void)snprintf(out, LAST, "http %" PRId64, t->http);
    }
}

static void put_next(const struct outbox_row *row, int64_t now_ms, char out[SPAN])
{
    out[0] = '\0';
    if (strcmp(row->state, "due") == 0) {
        put_span(row->next_ms - now_ms, out);
        if (row->next_ms <= now_ms) {
            (void)snprintf(out, SPAN, "now");
        }
    }
}

static void put_line(const struct outbox_row *row, int64_t now_ms)
{
    char age[SPAN];
    char next[SPAN];
    char last[LAST] = "";
    put_span(now_ms - row->made_ms, age);
    put_next(row, now_ms, next);
    if (row->try_count > 0) {
        put_try(&row->tries[row->try_count - 1], last);
    }
    (void)printf("%s  %-8s  %-20.64s  %-7s  %5" PRIu32 "  %7s  %7s  %s\n", row->id, row->kind,
                 row->lane, row->state, row->attempts, age, next, last);
}

void callbacks_view_table(const struct outbox_row *rows, size_t count, int64_t now_ms)
{
    if (count == 0) {
        (void)printf("no callbacks\n");
        return;
    }
    (void)printf("%-22s  %-8s  %-20s  %-7s  %5s  %7s  %7s  %s\n", "ID", "KIND", "LANE", "STATE",
                 "TRIES", "AGE", "NEXT", "LAST");
    for (size_t i = 0; i < count; i++) {
        put_line(&rows[i], now_ms);
    }
    (void)printf("%zu shown\n", count);
}

void callbacks_view_one(const struct outbox_row *row, int64_t now_ms)
{
    char age[SPAN];
    char next[SPAN];
    put_span(now_ms - row->made_ms, age);
    put_next(row, now_ms, next);
    (void)printf("callback %s   %s   %s\nkind %s   lane %s   of %s\n", row->id, row->state,
                 next[0] != '\0' ? next : "", row->kind, row->lane,
                 row->party[0] != '\0' ? row->party : "-");
    (void)printf("request %s   made %s ago   attempts %" PRIu32 "\n",
                 row->rid[0] != '\0' ? row->rid : "-", age, row->attempts);
    for (uint32_t i = 0; i < row->try_count; i++) {
        char said[LAST];
        const struct outbox_try *t = &row->tries[i];
        put_try(t, said);
        (void)printf("  %+9.3f s  %-24s %" PRId64 " ms\n", (double)(t->at_ms - row->made_ms) / 1000,
                     said, t->ms);
    }
}

void callbacks_view_json(const struct outbox_row *row)
{
    json_t *tries = json_array();
    for (uint32_t i = 0; i < row->try_count; i++) {
        const struct outbox_try *t = &row->tries[i];
        json_t *one = json_pack("{s:I, s:I, s:s, s:I}", "at_ms", (json_int_t)t->at_ms, "http",
                                (json_int_t)t->http, "word", t->word, "ms", (json_int_t)t->ms);
        must(one != NULL && json_array_append_new(tries, one) == 0);
    }
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:o}", "id", row->id, "kind", row->kind,
                  "lane", row->lane, "state", row->state, "attempts", (int)row->attempts, "made_ms",
                  (json_int_t)row->made_ms, "next_ms", (json_int_t)row->next_ms, "tries", tries);
    must(out != NULL);
    if (row->rid[0] != '\0') {
        must(json_object_set_new(out, "request_id", json_string(row->rid)) == 0);
    }
    char *text = json_dumps(out, JSON_COMPACT);
    must(text != NULL);
    (void)puts(text);
    free(text);
    json_decref(out);
}
