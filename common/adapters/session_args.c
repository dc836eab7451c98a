#include "common/adapters/session_args.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/meaning/config.h"
#include "common/meaning/msisdn.h"
#include "common/meaning/pack.h"

/* That a client may take to notice that it has no answer, beyond the job's life. */
enum { AGAIN_SPARE_MS = 600000 };

void session_args_init(struct session_args *a)
{
    buf_init(&a->bytes, SESSION_ARGS_BYTES_MAX);
    a->count = 0;
}

void session_args_free(struct session_args *a)
{
    buf_free(&a->bytes);
    a->count = 0;
}

/* The argument is whatever was written to bytes since the last one. */
static void args_cut(struct session_args *a)
{
    must(a->count < SESSION_ARGS_MAX);
    a->ends[a->count++] = a->bytes.n;
}

void session_args_put(struct session_args *a, struct slice s)
{
    buf_put_slice(&a->bytes, s);
    args_cut(a);
}

void session_args_num(struct session_args *a, uint64_t value)
{
    buf_printf(&a->bytes, "%" PRIu64, value);
    args_cut(a);
}

int session_args_slices(const struct session_args *a, struct slice *out)
{
    must(buf_ok(&a->bytes));
    size_t begin = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        out[i] = slice_make(a->bytes.p + begin, a->ends[i] - begin);
        begin = a->ends[i];
    }
    return (int)a->count;
}

static void put_json_text(struct buf *b, const char *text, size_t bytes_max)
{
    for (size_t i = 0; i < bytes_max && text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            buf_printf(b, "\\%c", c);
        } else if (c < 0x20 || c >= 0x7f) {
            buf_putc(b, '?'); /* details are our own words or a library's: ASCII */
        } else {
            buf_putc(b, (char)c);
        }
    }
}

void session_args_steps(struct session_args *a, const struct session_job *job, const char *op,
                        const struct session_step *steps, size_t count)
{
    must(count <= SESSION_STEPS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct buf *b = &a->bytes;
        buf_printf(b, "{\"at_ms\":%" PRId64 ",\"step\":\"%s\",\"job\":\"%.*s\",\"op\":\"%s\",",
                   steps[i].at_ms, steps[i].step, SLICE_ARG(job->job_id), op);
        buf_puts(b, "\"detail\":\"");
        put_json_text(b, steps[i].detail, sizeof steps[i].detail);
        buf_puts(b, "\"}");
        args_cut(a);
    }
}

struct fact {
    const char *name;
    struct slice value;
};

void session_args_facts(struct session_args *a, const struct session_facts *f, struct slice via)
{
    const struct fact facts[] = {
        {"eid", f->eid},
        {"lane", f->lane},
        {"country", f->country},
        {"ctx", f->ctx},
        {"ft", f->ft},
        {"url", f->url},
        {"sealed", f->sealed},
        {"mobile", f->mobile},
        {"sender", f->sender},
        {"send_time", f->send_time},
        {"deliver_time", f->deliver_time},
        {"via", via},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        count += facts[i].value.n > 0 ? 1 : 0;
    }
    pack_put_map(&a->bytes, count);
    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        if (facts[i].value.n > 0) {
            pack_put_str(&a->bytes, slice_of(facts[i].name));
            pack_put_str(&a->bytes, facts[i].value);
        }
    }
    args_cut(a);
}

/* Tells two numbers apart in reports without saying which they are. */
static void put_number_hash(struct session_args *a, struct slice pepper, struct slice msisdn)
{
    if (msisdn.n == 0) {
        args_cut(a);
        return;
    }
    unsigned char text[32] = "msisdn:";
    size_t n = 7;
    must(msisdn.n <= MSISDN_DIGITS_MAX);
    memcpy(text + n, msisdn.p, msisdn.n);
    n += msisdn.n;
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned sum_n = 0;
    must(HMAC(EVP_sha256(), pepper.p, (int)pepper.n, text, n, sum, &sum_n) != NULL);
    static const char hex[] = "0123456789abcdef";
    for (unsigned i = 0; i < sum_n; i++) {
        buf_putc(&a->bytes, hex[sum[i] >> 4]);
        buf_putc(&a->bytes, hex[sum[i] & 15]);
    }
    args_cut(a);
}

static void put_day(struct session_args *a)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm t;
    must(gmtime_r(&now, &t) != NULL);
    buf_printf(&a->bytes, "%04d%02d%02d", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday);
    args_cut(a);
}

uint64_t session_result_keep_ms(const struct session_job *job, uint64_t least_ms)
{
    uint64_t keep_ms = 2 * job->life_ms + AGAIN_SPARE_MS;
    return keep_ms > least_ms ? keep_ms : least_ms;
}

void session_ground_init(struct session_ground *g, const struct session_store_options *o)
{
    must(strlen(o->prefix) <= CONFIG_REDIS_PREFIX_BYTES_MAX && o->pepper.n > 0);
    *g = (struct session_ground){.prefix = slice_dup(slice_of(o->prefix)),
                                 .owner = slice_dup(slice_of(o->owner)),
                                 .key = slice_dup(o->pepper),
                                 .keep_ms = o->result_keep_ms,
                                 .session_keep_ms = o->session_keep_s * 1000,
                                 .events_keep_s = o->events_keep_s};
    g->pepper = slice_make(g->key, o->pepper.n);
}

void session_ground_free(struct session_ground *g)
{
    OPENSSL_cleanse(g->key, g->pepper.n);
    free(g->key);
    free(g->owner);
    free(g->prefix);
}

void session_args_ground(struct session_args *a, const struct session_ground *g,
                         const struct session_job *job, const struct integration *route,
                         const char *op)
{
    struct msisdn_masked masked = msisdn_mask(job->msisdn);
    must(strlen(job->tag) == 2);
    buf_printf(&a->bytes, "%sj:{%s}:%.*s", g->prefix, job->tag, SLICE_ARG(job->job_id));
    args_cut(a);                              /* KEYS[1] */
    session_args_put(a, slice_of(g->prefix)); /* 1 */
    session_args_put(a, slice_of(job->tag));
    session_args_put(a, job->job_id); /* 3 */
    buf_printf(&a->bytes, "%s.%" PRIu64, g->owner, job->token);
    args_cut(a);
    session_args_num(a, job->attempt); /* 5 */
    buf_printf(&a->bytes, "%016" PRIx64, job->fingerprint);
    args_cut(a);
    session_args_num(a, job->lease_ms); /* 7 */
    session_args_num(a, session_result_keep_ms(job, g->keep_ms) + job->lease_ms);
    session_args_put(a, job->party); /* 9 */
    session_args_put(a, job->route);
    session_args_put(a, job->msisdn); /* 11 */
    session_args_put(a, slice_of(masked.text));
    put_number_hash(a, g->pepper, job->msisdn); /* 13 */
    put_day(a);
    session_args_num(a, g->events_keep_s); /* 15 */
    session_args_num(a, (route != NULL ? route->code_valid_s : 0) * UINT64_C(1000));
    session_args_num(a, g->session_keep_ms); /* 17 */
    session_args_put(a, slice_of(op));
    session_args_num(a, job->postback ? 1 : 0); /* 19 */
}
