#include "common/meaning/dialect.h"

const struct dialect *const dialects[] = {&dialect_template, &dialect_offer18, &dialect_otpservice,
                                          &dialect_fotp, NULL};

const struct dialect *dialect_find(struct slice name)
{
    for (size_t i = 0; dialects[i] != NULL; i++) {
        if (slice_is(name, dialects[i]->name)) {
            return dialects[i];
        }
    }
    return NULL;
}

unsigned dialect_traits(const struct dialect *d, const void *settings)
{
    return d->traits != NULL ? d->traits(settings) : 0;
}

void dialect_verdict_init(struct dialect_verdict *v)
{
    *v = (struct dialect_verdict){.end = JOB_END_UNKNOWN,
                                  .code = RESULT_OUTCOME_UNKNOWN,
                                  .attempts_left = -1,
                                  .retry_after_s = -1};
}

void dialect_request_init(struct dialect_request *r)
{
    *r = (struct dialect_request){.method = "GET"};
    buf_init(&r->url, DIALECT_REQUEST_BYTES_MAX);
    buf_init(&r->body, DIALECT_REQUEST_BYTES_MAX);
    buf_init(&r->headers, DIALECT_REQUEST_BYTES_MAX);
}

void dialect_request_free(struct dialect_request *r)
{
    buf_free(&r->url);
    buf_free(&r->body);
    buf_free(&r->headers);
}

void dialect_request_write(const struct dialect_request *r, struct buf *out)
{
    buf_printf(out, "%s %s\n", r->method, buf_text(&r->url));
    const char *line = buf_text(&r->headers);
    for (size_t i = 0; i < r->header_count; i++) {
        buf_printf(out, "%s\n", line);
        line += strlen(line) + 1;
    }
    if (r->body.n > 0) {
        buf_puts(out, "\n");
        buf_put_slice(out, buf_slice(&r->body));
        buf_puts(out, "\n");
    }
}

bool dialect_preview(const struct dialect *d, const void *settings, enum dialect_call call,
                     const struct template_values *v, struct buf *out, struct template_error *error)
{
    struct dialect_request request;
    dialect_request_init(&request);
    bool good = d->build(settings, call, v, true, &request, error);
    if (good) {
        dialect_request_write(&request, out);
    }
    dialect_request_free(&request);
    return good;
}
