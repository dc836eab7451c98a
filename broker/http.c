#include "broker/http.h"

#include "broker/report.h"
#include "common/adapters/httpd.h"

struct http {
    struct http_options o; /* as given */
    struct httpd *httpd;   /* the server */
};

static const char plain[] = "text/plain; charset=utf-8";

static void answer_metrics(struct http *h, struct httpd_request *r)
{
    struct buf out;
    buf_init(&out, REPORT_METRICS_BYTES_MAX);
    h->o.put_metrics(h->o.context, &out);
    if (buf_ok(&out)) {
        httpd_answer(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(&out));
    } else {
        httpd_answer(r, 500, plain, SLICE("more metrics than fit\n"));
    }
    buf_free(&out);
}

static void answer_ready(struct http *h, struct httpd_request *r)
{
    const char *missing = h->o.unready(h->o.context);
    struct buf out;
    buf_init(&out, 256);
    buf_printf(&out, "%s\n", missing == NULL ? "ready" : missing);
    httpd_answer(r, missing == NULL ? 200 : 503, plain, buf_slice(&out));
    buf_free(&out);
}

static void on_request(void *context, struct httpd_request *r)
{
    struct slice path = httpd_path(r);
    if (!slice_is(httpd_method(r), "GET") && !slice_is(httpd_method(r), "HEAD")) {
        httpd_set_header(r, "Allow", "GET, HEAD");
        httpd_answer(r, 405, plain, SLICE("GET only\n"));
    } else if (slice_is(path, "/metrics")) {
        answer_metrics(context, r);
    } else if (slice_is(path, "/livez")) {
        httpd_answer(r, 200, plain, SLICE("alive\n"));
    } else if (slice_is(path, "/readyz")) {
        answer_ready(context, r);
    } else {
        httpd_answer(r, 404, plain, SLICE("/metrics, /livez, /readyz\n"));
    }
}

struct http *http_new(const struct http_options *o, char error[256])
{
    struct http *h = xcalloc(1, sizeof(*h));
    h->o = *o;
    const struct httpd_options options = {.listen = o->listen,
                                          .listen_key = "broker.metrics",
                                          .body_bytes_max = 1024,
                                          .header_bytes_max = 8192,
                                          .arrive_ms = 5000,
                                          .connections_max = 256,
                                          .on_request = on_request,
                                          .context = h};
    h->o.listen = NULL;
    h->httpd = httpd_new(o->base, &options, error);
    if (h->httpd == NULL) {
        free(h);
        return NULL;
    }
    return h;
}

void http_destroy(struct http **h)
{
    if (*h == NULL) {
        return;
    }
    httpd_destroy(&(*h)->httpd);
    free(*h);
    *h = NULL;
}
