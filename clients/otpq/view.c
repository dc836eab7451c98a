#include "clients/otpq/view.h"

#include <inttypes.h>
#include <stdio.h>

#include "clients/otpq/commands.h"
#include "common/base/clock.h"

int view_read(otpq *q, uint32_t timeout_ms, struct view *v, struct otpq_answer *answer,
              const char **why)
{
    if (otpq_info(q, timeout_ms, answer) != OTPQ_RESULT) {
        *why = answer->detail;
        return client_exit(answer, NULL);
    }
    if (!wire_info_decode(slice_make(answer->body, answer->body_bytes), &v->info, v->routes,
                          &v->count, why)) {
        return OTPQ_EXIT_REFUSED;
    }
    v->at_ms = clock_mono_ms();
    for (uint32_t i = 0; i < v->count; i++) {
        (void)snprintf(v->names[i], sizeof(v->names[i]), "%.*s", SLICE_ARG(v->routes[i].name));
        v->routes[i].name = slice_of(v->names[i]);
    }
    return 0;
}

/* 950 ms, 12.3 s, 4 min, 3 h: what fits a column. */
static const char *age(uint64_t ms, char out[24])
{
    if (ms < 1000) {
        (void)snprintf(out, 24, "%" PRIu64 " ms", ms);
    } else if (ms < 60000) {
        (void)snprintf(out, 24, "%.1f s", (double)ms / 1000);
    } else if (ms < 3600000) {
        (void)snprintf(out, 24, "%" PRIu64 " min", ms / 60000);
    } else {
        (void)snprintf(out, 24, "%" PRIu64 " h", ms / 3600000);
    }
    return out;
}

static uint64_t route_ended(const struct wire_info_route *r)
{
    return r->done + r->refused + r->unknown + r->expired + r->cancelled;
}

static uint64_t info_ended(const struct wire_info *i)
{
    return i->done + i->refused + i->unknown + i->expired + i->cancelled;
}

/* Per second between two looks; a counter that went back is a broker that began anew. */
static double rate(uint64_t now, uint64_t then, const struct view *v, const struct view *before)
{
    int64_t ms = v->at_ms - before->at_ms;
    return ms > 0 && now > then ? (double)(now - then) * 1000 / (double)ms : 0;
}

static double route_rate(const struct view *v, const struct view *before, uint32_t at)
{
    for (uint32_t i = 0; i < before->count; i++) {
        if (slice_eq(before->routes[i].name, v->routes[at].name)) {
            return rate(route_ended(&v->routes[at]), route_ended(&before->routes[i]), v, before);
        }
    }
    return 0;
}

/* What keeps its jobs from going or coming, and whether they are stored. */
static const char *route_state(const struct wire_info_route *r, char out[64])
{
    const char *gate = r->held           ? "paused by operator"
                       : r->paused       ? "paused by record"
                       : r->breaker == 2 ? "breaker open"
                       : r->breaker == 1 ? "probing"
                                         : "";
    const char *const words[] = {gate, r->draining ? "draining" : "", r->stored ? "stored" : ""};
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (words[i][0] != '\0') {
            n += (size_t)snprintf(out + n, 64 - n, "%s%s", n > 0 ? ", " : "", words[i]);
        }
    }
    return out;
}

static void put_totals(struct buf *b, const struct view *v, const struct view *before)
{
    const struct wire_info *i = &v->info;
    char oldest[24], uptime[24];
    buf_printf(b, "otpq %.*s, up %s, %" PRIu64 " workers with room for %" PRIu64 " more",
               SLICE_ARG(i->version), age(i->uptime_ms, uptime), i->workers, i->credit_free);
    if (before != NULL) {
        buf_printf(b, ", %.0f/s in, %.0f/s out",
                   rate(i->accepted, before->info.accepted, v, before),
                   rate(info_ended(i), info_ended(&before->info), v, before));
    }
    if (i->durability.n > 0) {
        buf_printf(b, ", redis durability %.*s", SLICE_ARG(i->durability));
    }
    buf_puts(b, i->draining ? ", draining: takes nothing new" : "");
    buf_printf(b,
               "\nnow:   %" PRIu64 " queued, oldest %s, %" PRIu64 " delayed, %" PRIu64 " in flight",
               i->queued, age(i->oldest_ms, oldest), i->delayed, i->in_flight);
    if (i->on_shelf + i->storing + i->adopted > 0) {
        buf_printf(b, "; %" PRIu64 " stored, %" PRIu64 " being stored, %" PRIu64 " adopted so far",
                   i->on_shelf, i->storing, i->adopted);
    }
    buf_printf(b,
               "\nended: %" PRIu64 " done, %" PRIu64 " refused, %" PRIu64 " unknown, %" PRIu64
               " expired, %" PRIu64 " cancelled; %" PRIu64 " over a limit\n",
               i->done, i->refused, i->unknown, i->expired, i->cancelled, i->refused_full);
}

static void put_route(struct buf *b, const struct view *v, const struct view *before, uint32_t at)
{
    const struct wire_info_route *r = &v->routes[at];
    char oldest[24], state[64];
    buf_printf(b, "%-24.24s %9" PRIu64 " %9" PRIu64 " %9s %9" PRIu64, r->name.p, r->queued,
               r->delayed, age(r->oldest_ms, oldest), r->in_flight);
    if (before != NULL) {
        buf_printf(b, " %8.0f", route_rate(v, before, at));
    }
    buf_printf(b, " %10" PRIu64 " %9" PRIu64 " %8" PRIu64 " %8" PRIu64 "  %s\n", r->done,
               r->refused, r->unknown, r->moved_out, route_state(r, state));
}

void view_put(struct buf *b, const struct view *v, const struct view *before, unsigned lines_max)
{
    enum { HEAD_LINES = 6 };
    uint32_t shown = v->count;
    if (lines_max > 0) {
        uint32_t room = lines_max > HEAD_LINES ? lines_max - HEAD_LINES : 0;
        shown = shown < room ? shown : room;
    }
    put_totals(b, v, before);
    buf_printf(b, "\n%-24s %9s %9s %9s %9s%s %10s %9s %8s %8s\n", "ROUTE", "QUEUED", "DELAYED",
               "OLDEST", "IN FLIGHT", before != NULL ? "    PER S" : "", "DONE", "REFUSED",
               "UNKNOWN", "MOVED");
    for (uint32_t i = 0; i < shown; i++) {
        put_route(b, v, before, i);
    }
    if (shown < v->info.routes_total) {
        buf_printf(b, "… and %" PRIu64 " more routes\n", v->info.routes_total - shown);
    }
}

static void put_bars(struct buf *b, const struct view_history *h, size_t room)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    unsigned count = h->looks < ARRAY_LEN(h->depth) ? h->looks : ARRAY_LEN(h->depth);
    count = count < room ? count : (unsigned)room;
    uint64_t highest = 1;
    for (unsigned i = 0; i < count; i++) {
        highest = h->depth[i] > highest ? h->depth[i] : highest;
    }
    for (unsigned i = h->looks - count; i < h->looks; i++) {
        uint64_t depth = h->depth[i % ARRAY_LEN(h->depth)];
        buf_puts(b, bars[depth * (ARRAY_LEN(bars) - 1) / highest]);
    }
}

void view_put_line(struct buf *b, const struct view *v, const struct view *before,
                   struct view_history *history, unsigned columns)
{
    const struct wire_info *i = &v->info;
    char oldest[24];
    history->depth[history->looks++ % ARRAY_LEN(history->depth)] = i->queued;
    buf_printf(b,
               "depth %" PRIu64 "  oldest %s  %.1f/s  in flight %" PRIu64 "  workers %" PRIu64 "  ",
               i->queued, age(i->oldest_ms, oldest),
               before != NULL ? rate(info_ended(i), info_ended(&before->info), v, before) : 0,
               i->in_flight, i->workers);
    put_bars(b, history, columns > b->n ? columns - b->n : 0);
}

void view_put_json(struct buf *b, const struct otpq_answer *answer)
{
    json_t *body = client_json_of(slice_make(answer->body, answer->body_bytes));
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (text != NULL) {
        buf_puts(b, text);
        buf_putc(b, '\n');
    }
    free(text);
    json_decref(body);
}
