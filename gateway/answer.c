#include "gateway/answer.h"

#include <stdio.h>

#include "common/meaning/json_text.h"

/* When a busy system does not say for how long. */
enum { RETRY_AFTER_DEFAULT_S = 1 };

void answer_put(json_t *root, const char *key, json_t *value)
{
    must(json_object_set_new(root, key, value) == 0);
}

static void put_number(json_t *root, const char *key, int64_t value)
{
    if (value >= 0) {
        answer_put(root, key, json_integer(value));
    }
}

void answer_begin(struct answer *a, int http)
{
    *a = (struct answer){.http = http};
    buf_init(&a->body, ANSWER_BYTES_MAX);
}

static json_t *begin(struct answer *a, int http)
{
    char status[12];
    json_t *root = json_object();
    must(root != NULL);
    answer_begin(a, http);
    (void)snprintf(status, sizeof(status), "%d", http);
    answer_put(root, "status", json_string(status));
    return root;
}

static int write_bytes(const char *bytes, size_t n, void *context)
{
    buf_put(context, bytes, n);
    return 0;
}

void answer_json(struct answer *a, json_t *root)
{
    must(json_dump_callback(root, write_bytes, &a->body, JSON_COMPACT) == 0);
    must(buf_ok(&a->body));
    json_decref(root);
}

void answer_plain(struct answer *a, const char *type, struct slice body)
{
    a->type = type;
    buf_put_slice(&a->body, body);
    must(buf_ok(&a->body));
}

json_t *answer_sentence(enum result_code code, struct slice detail)
{
    const struct result_row *row = &result_rows[code];
    json_t *words = json_text(detail.n > 0 ? detail : slice_of(row->meaning));
    json_t *j = json_sprintf("%s: %s", row->name, json_string_value(words));
    must(j != NULL);
    json_decref(words);
    return j;
}

uint32_t answer_retry_after(int http, int64_t known_s)
{
    if (known_s > 0) {
        return known_s > UINT32_MAX ? UINT32_MAX : (uint32_t)known_s;
    }
    return http == 503 || http == 429 ? RETRY_AFTER_DEFAULT_S : 0;
}

/* A caller that did something wrong is always told what, be it in the vocabulary's words. */
static void put_detail(json_t *root, enum result_code code, struct slice detail)
{
    if (detail.n == 0 && code == RESULT_INVALID_REQUEST) {
        detail = slice_of(result_rows[code].meaning);
    }
    if (detail.n > 0) {
        answer_put(root, "detail", json_text(detail));
    }
}

/* Into the body and, for the header, into the answer: the two never differ. */
static void put_retry_after(struct answer *a, json_t *root, int64_t known_s)
{
    a->retry_after_s = answer_retry_after(a->http, known_s);
    if (a->retry_after_s > 0) {
        answer_put(root, "retry_after", json_integer(a->retry_after_s));
    }
}

void answer_put_facts(struct answer *a, json_t *root, const struct job_result *r)
{
    put_number(root, "attempts_left", r->attempts_left);
    put_retry_after(a, root, r->retry_after_s);
    put_number(root, "expires_in", r->expires_in_s);
}

static bool is_success(enum result_code code)
{
    return result_rows[code].http < 300;
}

static void put_success(json_t *root, enum answer_shape shape, enum result_code code,
                        const struct job_result *r)
{
    char word[64];
    bool published = shape == ANSWER_ENDPOINT && code != RESULT_PENDING;
    (void)snprintf(word, sizeof(word), "%s%s", result_name(code), published ? "_successfully" : "");
    answer_put(root, "response", json_string(word));
    if (shape == ANSWER_AF && code != RESULT_OTP_VERIFIED && r->request_id.n > 0) {
        answer_put(root, "data", json_text(r->request_id));
    }
    if (r->url.n > 0) {
        answer_put(root, "url", json_text(r->url));
    }
}

/* Only system 1 shows the advertiser's answer, and only when there was a call. */
static void put_advertiser(json_t *root, enum answer_shape shape, const struct job_result *r)
{
    if (shape != ANSWER_ENDPOINT || r->advertiser_http < 0) {
        return;
    }
    struct slice body = r->advertiser_body;
    if (body.n > JOB_ADVERTISER_BODY_BYTES_MAX) {
        body.n = JOB_ADVERTISER_BODY_BYTES_MAX;
    }
    json_t *advertiser = json_object();
    must(advertiser != NULL);
    answer_put(advertiser, "http", json_integer(r->advertiser_http));
    answer_put(advertiser, "body", json_text(body));
    answer_put(root, "advertiser", advertiser);
}

void answer_result(struct answer *a, enum answer_shape shape, enum result_code code,
                   const char *detail, const struct job_result *r)
{
    if (code == RESULT_NONE) {
        code = RESULT_INTERNAL_ERROR;
    }
    json_t *root = begin(a, result_rows[code].http);
    if (is_success(code)) {
        put_success(root, shape, code, r);
        answer_json(a, root);
        return;
    }
    answer_put(root, "error", json_string(result_name(code)));
    put_detail(root, code, detail[0] != '\0' ? slice_of(detail) : r->detail);
    answer_put_facts(a, root, r);
    put_advertiser(root, shape, r);
    answer_json(a, root);
}

void answer_failure(struct answer *a, enum result_code code, int http, const char *detail,
                    uint32_t retry_after_s)
{
    json_t *root = begin(a, http != 0 ? http : result_rows[code].http);
    answer_put(root, "error", json_string(result_name(code)));
    put_detail(root, code, slice_of(detail));
    put_retry_after(a, root, retry_after_s);
    answer_json(a, root);
}

void answer_header(struct answer *a, const char *name, const char *value)
{
    size_t n = strlen(value);
    if (n >= ANSWER_HEADER_BYTES || a->header_count == ANSWER_HEADERS_MAX) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7f) {
            return;
        }
    }
    struct answer_header *h = &a->headers[a->header_count++];
    h->name = name;
    memcpy(h->value, value, n + 1);
}

void answer_free(struct answer *a)
{
    buf_free(&a->body);
}
