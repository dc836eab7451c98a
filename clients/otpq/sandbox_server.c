#include "clients/otpq/sandbox_server.h"

#include <event2/event_struct.h>
#include <inttypes.h>
#include <stdio.h>

#include "clients/otpq/sandbox_customer_http.h"
#include "clients/otpq/sandbox_inbox.h"
#include "clients/otpq/sandbox_numbers.h"
#include "common/adapters/httpd.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/meaning/params.h"

enum {
    BODY_BYTES_MAX = 64 * 1024,
    HEADER_BYTES_MAX = 16 * 1024,
    ARRIVE_MS = 30000,
    CONNECTIONS_MAX = 50000,
    DRIP_MS = 100,
    HANG_LOOK_MS = 1000, /* how often a hanging request looks whether its client has gone */
    LARGE_BYTES = 70 * 1024,
    INBOX_BYTES_MAX = 4 * 1024 * 1024
};

static const char media_json[] = "application/json";

struct sandbox_server {
    struct event_base *base;     /* borrowed */
    struct httpd *httpd;         /* owned */
    struct inbox *inbox;         /* owned */
    struct customer *customer;   /* owned */
    uint32_t delay_ms;           /* of every answer */
    const struct timeval *delay; /* the same, as the loop's common time-out; NULL: none */
    struct list waiting;         /* of struct reply */
};

/* An answer that waits, or hangs. */
struct reply {
    struct list node;                 /* of server->waiting */
    struct sandbox_server *server;    /* owner */
    struct httpd_request *request;    /* to answer */
    const struct sandbox_number *row; /* how; NULL: ordinary */
    struct event timer;               /* when */
    int http;                         /* status */
    char body[192];                   /* ordinary JSON */
};

/* ---- answers --------------------------------------------------------------------------------- */

static void answer_large(struct httpd_request *r, int http)
{
    struct buf b;
    buf_init(&b, LARGE_BYTES + 64);
    buf_puts(&b, "{\"status\":\"ok\",\"pad\":\"");
    char *room = buf_room(&b, LARGE_BYTES);
    must(room != NULL);
    memset(room, 'x', LARGE_BYTES);
    buf_added(&b, LARGE_BYTES);
    buf_puts(&b, "\"}");
    httpd_answer(r, http, media_json, buf_slice(&b));
    buf_free(&b);
}

static void answer_whole(struct reply *p)
{
    enum sandbox_body body = p->row != NULL ? p->row->body : SANDBOX_BODY_ORDINARY;
    switch (body) {
    case SANDBOX_BODY_ORDINARY:
        httpd_answer(p->request, p->http, media_json, slice_of(p->body));
        break;
    case SANDBOX_BODY_GARBAGE:
        httpd_answer(p->request, p->http, media_json, SLICE("{\"status\": o\xff\x00k,,"));
        break;
    case SANDBOX_BODY_EMPTY:
        httpd_answer(p->request, p->http, media_json, SLICE(""));
        break;
    case SANDBOX_BODY_HTML:
        httpd_answer(p->request, p->http, "text/html",
                     SLICE("<html><body><h1>Not now</h1></body></html>\n"));
        break;
    case SANDBOX_BODY_LARGE:
        answer_large(p->request, p->http);
        break;
    }
}

/* The answer as bytes, for ways that cut or stretch it. */
static void answer_bytes(struct reply *p, bool half)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     p->http, strlen(p->body), p->body);
    must(n > 0 && (size_t)n < sizeof(text));
    size_t cut = half ? strlen(p->body) / 2 : 0;
    httpd_answer_raw(p->request, slice_make(text, (size_t)n - cut), half ? 0 : DRIP_MS);
}

static void reply_free(struct reply *p)
{
    list_remove(&p->node);
    (void)event_del(&p->timer);
    free(p);
}

/* A hanging request is kept until its client gives up. */
static void look_after_hanging(struct reply *p)
{
    static const struct timeval later = {HANG_LOOK_MS / 1000, 0};
    if (httpd_client_gone(p->request)) {
        httpd_cut(p->request);
        reply_free(p);
    } else {
        need(event_add(&p->timer, &later) == 0);
    }
}

static void answer_now(struct reply *p)
{
    enum sandbox_way way = p->row != NULL ? p->row->way : SANDBOX_ANSWERS;
    switch (way) {
    case SANDBOX_HANGS:
        look_after_hanging(p);
        return;
    case SANDBOX_RESETS:
        httpd_cut(p->request);
        break;
    case SANDBOX_BREAKS:
        answer_bytes(p, true);
        break;
    case SANDBOX_DRIPS:
        answer_bytes(p, false);
        break;
    case SANDBOX_ANSWERS:
        answer_whole(p);
        break;
    }
    reply_free(p);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    answer_now(context);
}

static void answer_in_time(struct reply *p)
{
    struct sandbox_server *s = p->server;
    uint32_t extra = p->row != NULL ? p->row->delay_ms : 0;
    if (p->row != NULL && p->row->retry_after_s > 0) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%" PRIu32, p->row->retry_after_s);
        httpd_set_header(p->request, "Retry-After", text);
    }
    if (extra > 0) {
        uint32_t ms = s->delay_ms + extra;
        struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
        need(event_add(&p->timer, &tv) == 0);
    } else if (s->delay != NULL) {
        need(event_add(&p->timer, s->delay) == 0);
    } else {
        answer_now(p);
    }
}

static struct reply *reply_new(struct sandbox_server *s, struct httpd_request *r,
                               const struct sandbox_number *row)
{
    struct reply *p = xcalloc(1, sizeof(*p));
    p->server = s;
    p->request = r;
    p->row = row;
    p->http = row != NULL ? row->http : 200;
    list_init(&p->node);
    list_push(&s->waiting, &p->node);
    event_assign(&p->timer, s->base, -1, 0, on_timer, p);
    return p;
}

static void say_error(struct reply *p, const char *word)
{
    (void)snprintf(p->body, sizeof(p->body), "{\"status\":\"error\",\"error\":\"%s\"}", word);
}

/* ---- the advertiser's API -------------------------------------------------------------------- */

static void bad_request(struct httpd_request *r, const char *detail)
{
    char text[PARAMS_ERROR_BYTES + 64];
    size_t n = (size_t)snprintf(text, sizeof(text),
                                "{\"status\":\"error\",\"error\":\"bad_request\",\"detail\":\"");
    for (const char *c = detail; *c != '\0' && n + 4 < sizeof(text); c++) {
        text[n++] = *c == '"' || *c == '\\' ? '\'' : *c;
    }
    memcpy(text + n, "\"}", 2);
    httpd_answer(r, 400, media_json, slice_make(text, n + 2));
}

/* The number's digits without a leading "+"; empty when it is no number. */
static struct slice digits_of(struct slice msisdn)
{
    if (msisdn.n > 0 && (msisdn.p[0] == '+' || msisdn.p[0] == ' ')) {
        msisdn = slice_make(msisdn.p + 1, msisdn.n - 1);
    }
    for (size_t i = 0; i < msisdn.n; i++) {
        if (msisdn.p[i] < '0' || msisdn.p[i] > '9') {
            return (struct slice){NULL, 0};
        }
    }
    return msisdn.n <= SANDBOX_DIGITS_MAX ? msisdn : (struct slice){NULL, 0};
}

static void on_send(struct sandbox_server *s, struct httpd_request *r, const struct params *params,
                    struct slice digits)
{
    const struct sandbox_number *row = sandbox_number_find(digits);
    inbox_count_send(s->inbox, digits);
    if (row != NULL && row->side == SANDBOX_VERIFY) {
        row = NULL;
    }
    struct reply *p = reply_new(s, r, row);
    if (row != NULL && row->error != NULL) {
        say_error(p, row->error);
    } else if (row == NULL || row->arrives) {
        uint64_t id = inbox_send(s->inbox, digits, params_get(params, "text"),
                                 row != NULL && row->same_id, clock_wall_ms());
        (void)snprintf(p->body, sizeof(p->body),
                       "{\"status\":\"ok\",\"request_id\":\"sb-%" PRIu64 "\"}", id);
    }
    answer_in_time(p);
}

/* 0: none given, or not one of ours (no request has the number UINT64_MAX). */
static uint64_t request_of(struct slice id)
{
    uint64_t number;
    if (id.n == 0) {
        return 0;
    }
    if (id.n < 4 || memcmp(id.p, "sb-", 3) != 0 ||
        !slice_to_u64(slice_make(id.p + 3, id.n - 3), UINT64_MAX - 1, &number)) {
        return UINT64_MAX;
    }
    return number;
}

static void verify_ordinary(struct sandbox_server *s, struct reply *p, const struct params *params,
                            struct slice digits)
{
    static const char *const words[] = {[INBOX_WRONG] = "wrong_otp",
                                        [INBOX_NO_REQUEST] = "no_request",
                                        [INBOX_TOO_MANY] = "too_many_attempts"};
    enum inbox_verdict v = inbox_verify(s->inbox, digits, params_get(params, "otp"),
                                        request_of(params_get(params, "request_id")));
    if (v == INBOX_RIGHT) {
        (void)snprintf(p->body, sizeof(p->body), "{\"status\":\"ok\"}");
    } else {
        say_error(p, words[v]);
    }
}

static void on_verify(struct sandbox_server *s, struct httpd_request *r,
                      const struct params *params, struct slice digits)
{
    const struct sandbox_number *row = sandbox_number_find(digits);
    inbox_count_verify(s->inbox, digits);
    if (row != NULL && row->side == SANDBOX_SEND) {
        row = NULL;
    }
    struct reply *p = reply_new(s, r, row);
    if (row != NULL && row->error != NULL) {
        say_error(p, row->error);
    } else {
        verify_ordinary(s, p, params, digits);
    }
    answer_in_time(p);
}

static void on_call(struct sandbox_server *s, struct httpd_request *r, bool verify)
{
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    if (!params_read(&params, httpd_query(r), httpd_header(r, "Content-Type"), httpd_body(r),
                     error)) {
        bad_request(r, error);
    } else {
        struct slice digits = digits_of(params_get(&params, "msisdn"));
        if (digits.n == 0) {
            bad_request(r, "msisdn is missing or not a number");
        } else if (verify) {
            on_verify(s, r, &params, digits);
        } else {
            on_send(s, r, &params, digits);
        }
    }
    params_free(&params);
}

/* ---- what people and tests look at ----------------------------------------------------------- */

static void on_look(struct sandbox_server *s, struct httpd_request *r, bool ledger)
{
    struct params params;
    struct buf out;
    char error[PARAMS_ERROR_BYTES];
    buf_init(&out, INBOX_BYTES_MAX);
    if (!params_read(&params, httpd_query(r), SLICE(""), SLICE(""), error)) {
        bad_request(r, error);
    } else {
        struct slice msisdn = params_get(&params, "msisdn");
        struct slice digits = digits_of(msisdn);
        if (digits.n == 0 && (!ledger || msisdn.n > 0)) {
            bad_request(r, "msisdn is missing or not a number");
        } else {
            if (ledger) {
                inbox_print_ledger(s->inbox, digits, &out);
            } else {
                inbox_print(s->inbox, digits, &out);
            }
            httpd_answer(r, 200, media_json, buf_slice(&out));
        }
    }
    buf_free(&out);
    params_free(&params);
}

static void on_front_page(struct httpd_request *r)
{
    struct buf out;
    buf_init(&out, 16384);
    buf_puts(&out,
             "otpq's sandbox advertiser\n\n"
             "GET|POST /otp/send    msisdn, text (optional), ref (optional)\n"
             "GET|POST /otp/verify  msisdn, otp, request_id (optional)\n"
             "GET /inbox?msisdn=    the OTPs that arrived, newest first\n"
             "GET /ledger?msisdn=   how many sends and verifies were received; without a\n"
             "                      number: all\n"
             "/customer/{name}      takes callbacks; ?fail=N fails the first N of each message\n"
             "GET /callbacks?name=  the callbacks that came, newest first\n\n");
    sandbox_numbers_print(&out);
    httpd_answer(r, 200, "text/plain; charset=utf-8", buf_slice(&out));
    buf_free(&out);
}

static void on_request(void *context, struct httpd_request *r)
{
    struct sandbox_server *s = context;
    struct slice path = httpd_path(r);
    struct slice method = httpd_method(r);
    if (!slice_is(method, "GET") && !slice_is(method, "POST")) {
        httpd_set_header(r, "Allow", "GET, POST");
        httpd_answer(r, 405, media_json, SLICE("{\"status\":\"error\",\"error\":\"bad_method\"}"));
    } else if (slice_is(path, "/otp/send")) {
        on_call(s, r, false);
    } else if (slice_is(path, "/otp/verify")) {
        on_call(s, r, true);
    } else if (slice_is(path, "/inbox")) {
        on_look(s, r, false);
    } else if (slice_is(path, "/ledger")) {
        on_look(s, r, true);
    } else if (path.n > sizeof(CUSTOMER_PATH) - 1 &&
               memcmp(path.p, CUSTOMER_PATH, sizeof(CUSTOMER_PATH) - 1) == 0) {
        customer_http_take(s->customer, r);
    } else if (slice_is(path, "/callbacks")) {
        customer_http_look(s->customer, r);
    } else if (slice_is(path, "/livez")) {
        httpd_answer(r, 200, media_json, SLICE("{\"status\":\"ok\"}"));
    } else if (slice_is(path, "/")) {
        on_front_page(r);
    } else {
        httpd_answer(r, 404, media_json, SLICE("{\"status\":\"error\",\"error\":\"not_found\"}"));
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct sandbox_server *sandbox_server_new(struct event_base *base, const struct sandbox_options *o,
                                          char error[256])
{
    struct sandbox_server *s = xcalloc(1, sizeof(*s));
    s->base = base;
    s->delay_ms = o->delay_ms;
    list_init(&s->waiting);
    struct httpd_options http = {.listen = o->listen,
                                 .listen_key = "sandbox.listen",
                                 .body_bytes_max = BODY_BYTES_MAX,
                                 .header_bytes_max = HEADER_BYTES_MAX,
                                 .arrive_ms = ARRIVE_MS,
                                 .connections_max = CONNECTIONS_MAX,
                                 .on_request = on_request,
                                 .context = s};
    s->httpd = httpd_new(base, &http, error);
    if (s->httpd == NULL) {
        free(s);
        return NULL;
    }
    s->customer = customer_new();
    s->inbox = inbox_new(SANDBOX_INBOX_MAX, SANDBOX_NUMBERS_MAX);
    if (o->delay_ms > 0) {
        struct timeval tv = {o->delay_ms / 1000, (suseconds_t)(o->delay_ms % 1000) * 1000};
        s->delay = event_base_init_common_timeout(base, &tv);
    }
    return s;
}

void sandbox_server_destroy(struct sandbox_server **sp)
{
    struct sandbox_server *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    list_each(it, &s->waiting)
    {
        struct reply *p = list_owner(it, struct reply, node);
        httpd_cut(p->request);
        reply_free(p);
    }
    httpd_destroy(&s->httpd);
    inbox_destroy(&s->inbox);
    customer_destroy(&s->customer);
    free(s);
}

uint16_t sandbox_server_port(const struct sandbox_server *s)
{
    return httpd_port(s->httpd);
}
