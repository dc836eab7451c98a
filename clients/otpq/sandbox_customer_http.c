#include "clients/otpq/sandbox_customer_http.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/meaning/params.h"

enum { LIST_BYTES_MAX = 32 * 1024 * 1024 };

static const char media_json[] = "application/json";

static void refuse(struct httpd_request *r, int http, const char *detail)
{
    json_t *said = json_pack("{ss ss}", "error", "bad_request", "detail", detail);
    must(said != NULL);
    char *text = json_dumps(said, JSON_COMPACT);
    httpd_answer(r, http, media_json, slice_of(text));
    free(text);
    json_decref(said);
}

static void put_header(void *context, const char *name, const char *value)
{
    json_t *text = json_string(value); /* NULL when it is not UTF-8 */
    must(json_object_set_new(context, name, text != NULL ? text : json_string("?")) == 0);
}

static json_t *query_of(const struct params *p)
{
    json_t *query = json_object();
    for (uint32_t i = 0; i < p->count; i++) {
        char *name = slice_dup(p->at[i].name);
        must(json_object_set_new(query, name, json_stringn(p->at[i].value.p, p->at[i].value.n)) ==
             0);
        free(name);
    }
    return query;
}

/* Two attempts are the same message by webhook-id; without one, when query and body are the same.
 */
static struct slice message_of(const struct httpd_request *r, struct buf *room)
{
    struct slice id = httpd_header(r, "webhook-id");
    if (id.n > 0) {
        return id;
    }
    buf_put_slice(room, httpd_query(r));
    buf_putc(room, '\n');
    buf_put_slice(room, httpd_body(r));
    return buf_slice(room);
}

/* A push of FOTP is JSON, and wants a word in its own. */
static struct slice receipt(int http, const struct httpd_request *r)
{
    struct slice body = httpd_body(r);
    bool json = body.n > 0 && body.p[0] == '{';
    if (http != 200) {
        return json ? SLICE("{\"code\":\"500\"}") : SLICE("not now\n");
    }
    return json ? SLICE("{\"code\":\"0\"}") : SLICE("ok\n");
}

static void take(struct customer *c, struct httpd_request *r, struct slice name,
                 const struct params *p, uint64_t fail)
{
    struct buf room;
    json_t *headers = json_object();
    json_t *query = query_of(p);
    buf_init(&room, 256 * 1024);
    httpd_each_header(r, put_header, headers);
    const struct customer_callback callback = {
        .name = name,
        .method = httpd_method(r),
        .query = query,
        .body = httpd_body(r),
        .headers = headers,
        .message_id = message_of(r, &room),
        .fail = (uint32_t)fail,
        .at_ms = clock_wall_ms(),
    };
    int http = customer_take(c, &callback);
    struct slice text = receipt(http, r);
    httpd_answer(r, http, text.p[0] == '{' ? media_json : "text/plain", text);
    json_decref(headers);
    json_decref(query);
    buf_free(&room);
}

void customer_http_take(struct customer *c, struct httpd_request *r)
{
    static const size_t prefix = sizeof(CUSTOMER_PATH) - 1;
    struct slice path = httpd_path(r);
    struct slice name = slice_make(path.p + prefix, path.n - prefix);
    struct params params;
    uint64_t fail = 0;
    char error[PARAMS_ERROR_BYTES];
    if (!params_read(&params, httpd_query(r), SLICE(""), SLICE(""), error)) {
        refuse(r, 400, error);
    } else if (!customer_name_ok(name)) {
        refuse(r, 404, "a customer's name is 1 to 64 letters, digits and _ . : -");
    } else if (params_get(&params, "fail").n > 0 &&
               !slice_to_u64(params_get(&params, "fail"), CUSTOMER_FAIL_MAX, &fail)) {
        refuse(r, 400, "fail is a whole number from 0 to 1000");
    } else {
        take(c, r, name, &params, fail);
    }
    params_free(&params);
}

void customer_http_look(const struct customer *c, struct httpd_request *r)
{
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    if (!params_read(&params, httpd_query(r), SLICE(""), SLICE(""), error)) {
        refuse(r, 400, error);
    } else {
        struct buf out;
        buf_init(&out, LIST_BYTES_MAX);
        customer_print(c, params_get(&params, "name"), &out);
        if (buf_ok(&out)) {
            httpd_answer(r, 200, media_json, buf_slice(&out));
        } else {
            refuse(r, 400, "that is too much for one answer: ask for one name");
        }
        buf_free(&out);
    }
    params_free(&params);
}
