#include "clients/otpq/dead_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/meaning/msisdn.h"

static void put(char *out, size_t size, struct slice s)
{
    (void)snprintf(out, size, "%.*s", SLICE_ARG(s));
}

bool dead_line_read(const struct dead_row *row, struct dead_line *out, struct stored_job *job)
{
    const char *error;
    if (!stored_job_read(row->entry, job, &error)) {
        return false;
    }
    *out = (struct dead_line){
        .op = job->submit.op, .at_ms = row->at_ms, .accepted_ms = job->accepted_ms};
    put(out->id, sizeof out->id, row->id);
    put(out->route, sizeof out->route, job->submit.route);
    put(out->tenant, sizeof out->tenant, job->submit.tenant);
    put(out->state, sizeof out->state, row->state);
    put(out->code, sizeof out->code, row->code);
    return true;
}

/* ---- what of a body may be seen -------------------------------------------------------------- */

/* Names and kinds. Everything else may hold a code, a text with one, or somebody's secret. */
static bool shows(const char *key)
{
    static const char *const keys[] = {"aid",  "party", "type", "lang",       "id_as", "eid",
                                       "lane", "ft_id", "task", "request_id", "event", "account"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static json_t *shown(const char *key, const json_t *value)
{
    if (strcmp(key, "msisdn") == 0 && json_is_string(value)) {
        const struct msisdn_masked m = msisdn_mask(slice_of(json_string_value(value)));
        return json_string(m.text);
    }
    return shows(key) ? json_deep_copy(value) : json_string("****");
}

static json_t *body_of(const struct stored_job *job)
{
    json_t *all = client_json_of(job->body);
    json_t *out = json_object();
    const char *key;
    json_t *value;
    json_object_foreach(all, key, value)
    {
        (void)json_object_set_new(out, key, shown(key, value));
    }
    json_decref(all);
    return out;
}

/* ---- forms ----------------------------------------------------------------------------------- */

static void put_age(int64_t ms, char out[24])
{
    int64_t s = ms > 0 ? ms / 1000 : 0;
    if (s < 120) {
        (void)snprintf(out, 24, "%" PRId64 " s", s);
    } else if (s < 2 * 3600) {
        (void)snprintf(out, 24, "%" PRId64 " min", s / 60);
    } else if (s < 48 * 3600) {
        (void)snprintf(out, 24, "%" PRId64 " h", s / 3600);
    } else {
        (void)snprintf(out, 24, "%" PRId64 " d", s / 86400);
    }
}

void dead_view_head(void)
{
    (void)printf("%-32s  %-12s  %-20s  %-10s  %-9s  %-24s  %7s\n", "ID", "OP", "ROUTE", "TENANT",
                 "STATE", "CODE", "ENDED");
}

void dead_view_line(const struct dead_line *l, int64_t now_ms)
{
    char age[24];
    put_age(now_ms - l->at_ms, age);
    (void)printf("%-32s  %-12s  %-20s  %-10s  %-9s  %-24s  %7s\n", l->id, wire_ops[l->op].name,
                 l->route, l->tenant, l->state, l->code, age);
}

json_t *dead_view_json(const struct dead_line *l, const struct stored_job *job)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id", l->id, "op",
                          wire_ops[l->op].name, "route", l->route, "tenant", l->tenant, "state",
                          l->state, "code", l->code, "accepted_ms", (json_int_t)l->accepted_ms,
                          "ended_ms", (json_int_t)l->at_ms);
    if (o == NULL) { /* texts of the store that are no UTF-8 */
        o = json_pack("{s:s}", "error", "a letter that cannot be said in JSON");
    }
    must(o != NULL);
    if (job != NULL) {
        (void)json_object_set_new(o, "body", body_of(job));
    }
    return o;
}

void dead_view_one(const struct dead_line *l, const struct stored_job *job)
{
    const char *key;
    json_t *value;
    json_t *body = body_of(job);
    (void)printf("dead letter %s   %s %s\n%s   route %s   tenant %s\n", l->id, l->state, l->code,
                 wire_ops[l->op].name, l->route, l->tenant[0] != '\0' ? l->tenant : "-");
    (void)printf("ended %.3f s after it was accepted\n",
                 (double)(l->at_ms - l->accepted_ms) / 1000);
    json_object_foreach(body, key, value)
    {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        (void)printf("  %-14s %s\n", key, text != NULL ? text : "");
        free(text);
    }
    json_decref(body);
}
