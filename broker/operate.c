#include "broker/operate.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum {
    PART = 10000,      /* jobs looked at between two looks at the sockets: below a millisecond */
    LOOK_AGAIN_MS = 50 /* stored jobs leave their shelf in batches */
};

struct purge {
    struct core_purge what;          /* slices point below */
    struct wire_purged sum;          /* ended: of all walks; the rest: of this one */
    uint64_t client;                 /* who asked, 0: this place is free */
    int64_t until_ms;                /* answered by then, whatever is pending */
    uint32_t at;                     /* in the walk */
    uint8_t id_n, route_n, tenant_n; /* bytes */
    char id[WIRE_ID_BYTES_MAX];      /* of the question */
    char route[WIRE_ROUTE_BYTES_MAX];
    char tenant[WIRE_TENANT_BYTES_MAX];
};

struct operate {
    struct operate_options o; /* as given */
    struct event *part;       /* timer: the next part of all that go on */
    struct purge purges[OPERATE_MAX];
};

static void part_in(struct operate *o, int ms)
{
    const struct timeval in = {0, ms * 1000};
    need(event_add(o->part, &in) == 0);
}

static void purge_over(struct operate *o, struct purge *p)
{
    log_info(p->what.dry ? "purge counted" : "purged", "route", p->route_n > 0 ? "one" : "all",
             "ended", log_num((long long)p->sum.ended), "kept", log_num((long long)p->sum.kept),
             "pending", log_num((long long)p->sum.pending), NULL);
    o->o.on_purged(o->o.context, p->client, slice_make(p->id, p->id_n), &p->sum);
    p->client = 0;
}

/* The next part; in how many ms it wants another, -1: it is over. */
static int purge_part(struct operate *o, struct purge *p, int64_t now_ms)
{
    struct core_purged found = {0};
    bool more = core_purge(o->o.core, &p->what, &p->at, PART, now_ms, &found);
    p->sum.ended += found.ended;
    p->sum.pending += found.pending;
    p->sum.kept += found.kept;
    if (more) {
        return 0;
    }
    if (p->sum.pending == 0 || p->what.dry || now_ms >= p->until_ms) {
        purge_over(o, p);
        return -1;
    }
    p->at = 0;
    p->sum.pending = 0;
    p->sum.kept = 0;
    return LOOK_AGAIN_MS;
}

static void on_part(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct operate *o = context;
    int next_ms = -1;
    for (size_t i = 0; i < OPERATE_MAX; i++) {
        if (o->purges[i].client != 0) {
            int ms = purge_part(o, &o->purges[i], clock_mono_ms());
            next_ms = next_ms < 0 || (ms >= 0 && ms < next_ms) ? ms : next_ms;
        }
    }
    if (next_ms >= 0) {
        part_in(o, next_ms);
    }
    o->o.on_turn(o->o.context);
}

struct operate *operate_new(const struct operate_options *options)
{
    struct operate *o = xcalloc(1, sizeof *o);
    o->o = *options;
    o->part = event_new(options->base, -1, 0, on_part, o);
    must(o->part != NULL);
    return o;
}

void operate_destroy(struct operate **op)
{
    if (*op == NULL) {
        return;
    }
    event_free((*op)->part);
    free(*op);
    *op = NULL;
}

static uint8_t copy(char *to, struct slice s)
{
    if (s.n > 0) {
        memcpy(to, s.p, s.n);
    }
    return (uint8_t)s.n;
}

static void purge_begin(struct purge *p, uint64_t client, const struct wire_purge *w,
                        int64_t now_ms)
{
    *p = (struct purge){.client = client, .until_ms = now_ms + w->wait_ms};
    p->id_n = copy(p->id, w->id);
    p->route_n = copy(p->route, w->route);
    p->tenant_n = copy(p->tenant, w->tenant);
    p->what = (struct core_purge){
        .route = slice_make(p->route, p->route_n),
        .tenant = slice_make(p->tenant, p->tenant_n),
        .of_tenant = p->tenant_n > 0,
        .of_op = w->op != WIRE_OPS,
        .op = w->op,
        .dry = w->dry,
        .before_ms = now_ms - w->older_ms,
    };
}

bool operate_purge(struct operate *o, uint64_t client, const struct wire_purge *w, int64_t now_ms)
{
    must(client != 0);
    for (size_t i = 0; i < OPERATE_MAX; i++) {
        if (o->purges[i].client == 0) {
            purge_begin(&o->purges[i], client, w, now_ms);
            part_in(o, 0);
            return true;
        }
    }
    return false;
}
