#include "broker/permits.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/log.h"

enum {
    ROUTING_ID_BYTES = 5,         /* of those that ZeroMQ makes; the first is 0 */
    CONNECTIONS_MAX = 1024 * 1024 /* file descriptors looked after */
};

/* The other end of a connection, as far as it tells two apart. */
struct far_end {
    int family;        /* AF_INET, AF_INET6 or AF_UNIX */
    uint16_t port;     /* of TCP */
    uint8_t bytes[16]; /* address, or process id */
};

/* Who was heard through this descriptor last; it may be another's by now. */
struct connection {
    char key[CURVE_KEY_CHARS + 1]; /* "": nobody, or it was cut */
    uint8_t side;                  /* enum permits_side */
    uint8_t peer_bytes;            /* of the routing id, which is one connection's alone; 0: none */
    char peer[ROUTING_ID_BYTES];   /* its beginning */
    struct far_end end;            /* … */
};

struct permits {
    struct zap *zap;
    struct records *now; /* NULL: none were read yet, and nobody is let in */
    struct zio_curve curves[PERMITS_SIDES];
    struct connection *connections; /* by descriptor */
    size_t connection_room;         /* of it */
    uint64_t cut;                   /* connections */
};

static const char *const domains[PERMITS_SIDES] = {
    [PERMITS_CLIENTS] = "otpq.clients",
    [PERMITS_WORKERS] = "otpq.workers",
};

/* ---- who is let in --------------------------------------------------------------------------- */

static bool opens(const struct curve_key *k, enum permits_side side)
{
    switch (k->kind) {
    case KEY_CLIENT:
    case KEY_GATEWAY:
    case KEY_OPERATOR:
        return side == PERMITS_CLIENTS;
    case KEY_WORKER:
        return side == PERMITS_WORKERS;
    default:
        return false; /* brokers do not call each other */
    }
}

static enum zap_verdict judge_key(const struct permits *p, enum permits_side side,
                                  const char *public_key)
{
    const struct curve_key *k =
        p->now != NULL ? records_curve_key(p->now, slice_of(public_key)) : NULL;
    if (k == NULL) {
        return ZAP_UNKNOWN;
    }
    if (k->revoked) {
        return ZAP_REVOKED;
    }
    return opens(k, side) ? ZAP_ALLOWED : ZAP_WRONG_KIND;
}

static enum zap_verdict on_handshake(void *context, struct slice domain, const char *public_key)
{
    for (int side = 0; side < PERMITS_SIDES; side++) {
        if (slice_is(domain, domains[side])) {
            return judge_key(context, (enum permits_side)side, public_key);
        }
    }
    return ZAP_MALFORMED;
}

/* ---- who is there ---------------------------------------------------------------------------- */

static bool far_end_of(int fd, struct far_end *out)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } at;
    struct ucred process;
    socklen_t n = sizeof(at);
    socklen_t process_n = sizeof(process);
    *out = (struct far_end){0};
    if (getpeername(fd, &at.any, &n) != 0) {
        return false;
    }
    out->family = at.any.sa_family;
    if (out->family == AF_INET) {
        out->port = at.v4.sin_port;
        memcpy(out->bytes, &at.v4.sin_addr, sizeof(at.v4.sin_addr));
    } else if (out->family == AF_INET6) {
        out->port = at.v6.sin6_port;
        memcpy(out->bytes, &at.v6.sin6_addr, sizeof(at.v6.sin6_addr));
    } else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &process, &process_n) == 0) {
        memcpy(out->bytes, &process.pid, sizeof(process.pid));
    }
    return true;
}

static bool far_end_same(const struct far_end *a, const struct far_end *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* The descriptor is ZeroMQ's, which may close it at any moment and be given the same number for
 * another connection: a copy holds it still while its other end is looked at. */
static void cut(struct permits *p, int fd, const struct far_end *end)
{
    struct far_end now;
    int held = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (held < 0) {
        return;
    }
    if (far_end_of(held, &now) && far_end_same(&now, end) && shutdown(held, SHUT_RDWR) == 0) {
        p->cut++;
    }
    (void)close(held);
}

static struct connection *connection_at(struct permits *p, int fd)
{
    if (fd < 0 || fd >= CONNECTIONS_MAX) {
        return NULL;
    }
    size_t wanted = (size_t)fd + 1;
    if (wanted > p->connection_room) {
        size_t room = wanted * 2;
        p->connections = xrealloc(p->connections, room * sizeof(*p->connections));
        memset(p->connections + p->connection_room, 0,
               (room - p->connection_room) * sizeof(*p->connections));
        p->connection_room = room;
    }
    return &p->connections[fd];
}

/* Once a connection: a routing id is never used for a second one. (If this one ended before its
 * first message was read, and its descriptor is another's already, that one may be cut in its
 * place, and connects again.) */
static struct connection *remember(struct permits *p, int fd, const char *key,
                                   enum permits_side side, struct slice peer)
{
    struct connection *c = connection_at(p, fd);
    size_t n = peer.n < sizeof(c->peer) ? peer.n : sizeof(c->peer);
    if (c == NULL ||
        (c->peer_bytes == (uint8_t)peer.n && c->side == side && memcmp(c->peer, peer.p, n) == 0)) {
        return c;
    }
    *c = (struct connection){.side = (uint8_t)side, .peer_bytes = (uint8_t)peer.n};
    memcpy(c->peer, peer.p, n);
    if (far_end_of(fd, &c->end)) {
        (void)snprintf(c->key, sizeof(c->key), "%s", key);
    }
    return c;
}

/* Of a message that is dropped. */
static const struct curve_key *refuse(struct permits *p, int fd, struct connection *c,
                                      const char *why)
{
    if (c != NULL && c->key[0] != '\0') {
        log_warn("a message was refused and its connection is cut", "why", why, "key", c->key,
                 NULL);
        cut(p, fd, &c->end);
        c->key[0] = '\0';
    }
    return NULL;
}

/* What who is not asked may: everything. */
static const struct curve_key anybody = {.kind = KEY_OPERATOR};

const struct curve_key *permits_sender(struct permits *p, enum permits_side side,
                                       struct zio *socket, struct slice peer)
{
    if (p == NULL) {
        return &anybody;
    }
    const struct zio_sender s = zio_sender(socket);
    const char *user = s.user != NULL ? s.user : "?";
    struct connection *c = remember(p, s.fd, user, side, peer);
    enum zap_verdict verdict = judge_key(p, side, user);
    if (verdict != ZAP_ALLOWED) {
        return refuse(p, s.fd, c, zap_verdict_names[verdict]);
    }
    if (peer.n != ROUTING_ID_BYTES || peer.p[0] != '\0') {
        return refuse(p, s.fd, c, "it chose its routing id");
    }
    return records_curve_key(p->now, slice_of(user));
}

void permits_records(struct permits *p, struct records *now)
{
    records_unref(&p->now);
    p->now = records_ref(now);
    zap_pause(p->zap, false);
    for (size_t fd = 0; fd < p->connection_room; fd++) {
        struct connection *c = &p->connections[fd];
        if (c->key[0] == '\0') {
            continue;
        }
        enum zap_verdict verdict = judge_key(p, (enum permits_side)c->side, c->key);
        if (verdict != ZAP_ALLOWED) {
            log_info("a connection is cut", "why", zap_verdict_names[verdict], "key", c->key, NULL);
            cut(p, (int)fd, &c->end);
            c->key[0] = '\0';
        }
    }
}

/* ---- what they may --------------------------------------------------------------------------- */

/* An entry that ends with a colon stands for all that begin so. */
static bool listed(const struct record_list *list, struct slice name)
{
    for (uint32_t i = 0; i < list->count; i++) {
        struct slice entry = slice_of(list->at[i]);
        bool open = entry.n > 0 && entry.p[entry.n - 1] == ':';
        if (slice_eq(entry, name) ||
            (open && name.n > entry.n && memcmp(name.p, entry.p, entry.n) == 0)) {
            return true;
        }
    }
    return list->count == 0;
}

bool permits_job(const struct curve_key *who, struct slice route, struct slice tenant,
                 const char **detail)
{
    if (!listed(&who->routes, route)) {
        *detail = "route: this key is not for it (otpq keys list)";
    } else if (!listed(&who->tenants, tenant)) {
        *detail = "tenant: this key is not for it (otpq keys list)";
    } else {
        return true;
    }
    return false;
}

bool permits_bound(const struct curve_key *who)
{
    return who->tenants.count + who->routes.count > 0;
}

bool permits_operator(const struct curve_key *who)
{
    return who->kind == KEY_OPERATOR;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct permits *permits_new(struct event_base *base, void *zmq_context,
                            const struct curve_pair *pair, const char **error)
{
    struct permits *p = xcalloc(1, sizeof(*p));
    for (int side = 0; side < PERMITS_SIDES; side++) {
        p->curves[side] = (struct zio_curve){.public_key = pair->public_key,
                                             .secret_key = pair->secret_key,
                                             .domain = domains[side]};
    }
    p->zap = zap_new(base, zmq_context, on_handshake, p, error);
    if (p->zap == NULL) {
        permits_destroy(&p);
        return NULL;
    }
    zap_pause(p->zap, true); /* nobody is known yet: handshakes wait for the records */
    return p;
}

void permits_destroy(struct permits **pp)
{
    struct permits *p = *pp;
    if (p == NULL) {
        return;
    }
    *pp = NULL;
    zap_destroy(&p->zap);
    records_unref(&p->now);
    free(p->connections);
    free(p);
}

const struct zio_curve *permits_curve(const struct permits *p, enum permits_side side)
{
    return p != NULL ? &p->curves[side] : NULL;
}

bool permits_watch(struct permits *p, struct zio *socket, const char **error)
{
    return p == NULL || zap_watch(p->zap, socket, error);
}

struct permits_stats permits_stats(const struct permits *p)
{
    struct permits_stats s = {.cut = p->cut};
    for (int v = 0; v < ZAP_VERDICTS; v++) {
        s.handshakes[v] = zap_count(p->zap, (enum zap_verdict)v);
    }
    return s;
}
