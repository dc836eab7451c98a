#include "gateway/flash_answer.h"

#include <stdio.h>
#include "common/meaning/json_text.h"
#include "common/meaning/code.h"
#include "common/meaning/fotp_words.h"
#include "common/meaning/zone.h"

enum { URL_BYTES_MAX = 1024 };

bool flash_token_ok(struct slice token)
{
    bool ok = token.n == FLASH_TOKEN_BYTES;
    for (size_t i = 0; ok && i < token.n; i++) {
        char c = token.p[i];
        ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    }
    return ok;
}

static json_t *begin(struct answer *a, enum language language, enum result_code code, int http)
{
    const struct fotp_word *w = &fotp_words[code];
    json_t *root = json_object();
    must(root != NULL);
    answer_begin(a, http != 0 ? http : w->http);
    answer_put(root, "code", json_string(w->code));
    answer_put(root, "success", json_boolean(strcmp(w->code, FOTP_SUCCESS) == 0));
    answer_put(root, "message", json_string(language == LANGUAGE_ZH ? w->zh : w->en));
    return root;
}

static void put_text(json_t *data, const char *key, struct slice text)
{
    if (text.n > 0) {
        answer_put(data, key, json_text(text));
    }
}

void flash_answer_created(struct answer *a, enum language language, const struct job_result *r,
                          const char *url_base, bool has_link)
{
    char id[CODE_MESSAGE_ID_BYTES];
    char url[URL_BYTES_MAX];
    json_t *root = begin(a, language, RESULT_OTP_SENT, 0);
    json_t *data = json_object();
    must(data != NULL);
    code_message_id(r->request_id, id);
    (void)snprintf(url, sizeof(url), "%s%.*s", url_base, SLICE_ARG(r->request_id));
    put_text(data, "messageId", r->flash.message_id.n > 0 ? r->flash.message_id : slice_of(id));
    if (has_link) {
        put_text(data, "url", r->url.n > 0 ? r->url : slice_of(url));
    }
    put_text(data, "ftToken", r->request_id);
    put_text(data, "code", r->flash.code);
    answer_put(root, "data", data);
    answer_json(a, root);
}

/* In UTC where the zone is not known here: a time is there whenever the SMS is. */
static void put_time(json_t *data, const char *key, struct slice utc, const char *time_zone)
{
    char text[ZONE_TIME_BYTES];
    bool told = utc.n > 0 && zone_from_utc(slice_of(time_zone), utc, text);
    put_text(data, key, told ? slice_of(text) : utc);
}

void flash_answer_state(struct answer *a, enum language language, const struct job_result *r,
                        const char *time_zone)
{
    const struct job_flash *f = &r->flash;
    json_t *root = begin(a, language, RESULT_OTP_SENT, 0);
    json_t *data = json_object();
    must(data != NULL);
    put_text(data, "status", f->status);
    put_text(data, "mobile", f->mobile);
    put_text(data, "sender", f->sender);
    put_time(data, "sendTime", f->send_time, time_zone);
    put_text(data, "code", f->code);
    put_time(data, "deliverTime", f->deliver_time, time_zone);
    answer_put(root, "data", data);
    answer_json(a, root);
}

void flash_answer_failure(struct answer *a, enum language language, enum result_code code, int http,
                          struct slice detail, uint32_t retry_after_s)
{
    /* A success that is none here has no words of its own. */
    bool is_failure = strcmp(fotp_words[code].code, FOTP_SUCCESS) != 0;
    json_t *root = begin(a, language, is_failure ? code : RESULT_INTERNAL_ERROR, http);
    if (detail.n > 0) {
        json_t *words = json_text(detail);
        json_t *message =
            json_sprintf("%s: %s", json_string_value(json_object_get(root, "message")),
                         json_string_value(words));
        must(message != NULL);
        answer_put(root, "message", message);
        json_decref(words);
    }
    a->retry_after_s = answer_retry_after(a->http, retry_after_s);
    answer_json(a, root);
}
