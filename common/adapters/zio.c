#include "common/adapters/zio.h"

#include <errno.h>

struct zio {
    struct zio_options o;   /* as given; address and curve are not ours after zio_new */
    void *socket;           /* the ZeroMQ socket, owned */
    struct event *readable; /* ZMQ_FD has news */
    struct event *check;    /* something was sent: is there still something to read? */
    struct event *resume;   /* zero timer: the rest of what is to be read */
    zmq_msg_t peer;         /* routing id of the message being taken */
    zmq_msg_t payload;      /* its first payload frame */
    bool in_turn;           /* inside zio_turn: it looks at the socket again by itself */
    bool unseen;            /* something was sent since a receive found nothing more */
    bool paused;            /* zio_pause */
};

/* The rest is read in the next round of the loop. Not event_active: libevent runs what is activated
 * inside a round in the same round, and a busy socket would keep it from polling the others. */
static void read_later(struct zio *z)
{
    const struct timeval now = {0, 0};
    if (!z->paused) {
        need(event_add(z->resume, &now) == 0);
    }
}

/* Sending may consume the signal that made ZMQ_FD readable while messages are there: looked at
 * again after it, or those would wait until some later message happens to wake the socket. (A
 * receive that found nothing has consumed every signal there was, and needs no second look.) */
static void look_again(struct zio *z)
{
    int events = 0;
    if (!z->unseen) {
        return;
    }
    z->unseen = false;
    size_t size = sizeof(events);
    if (zmq_getsockopt(z->socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0) {
        read_later(z);
    }
}

static bool more_follows(zmq_msg_t *frame)
{
    return zmq_msg_more(frame) != 0;
}

static bool receive(struct zio *z, zmq_msg_t *frame)
{
    int rc;
    do {
        rc = zmq_msg_recv(frame, z->socket, ZMQ_DONTWAIT);
    } while (rc < 0 && errno == EINTR);
    return rc >= 0;
}

/* Frames after the payload: the message is malformed, and they are dropped. */
static void drop_rest(struct zio *z)
{
    zmq_msg_t frame;
    must(zmq_msg_init(&frame) == 0);
    do {
        if (!receive(z, &frame)) {
            break;
        }
    } while (more_follows(&frame));
    (void)zmq_msg_close(&frame);
}

static struct slice frame_slice(zmq_msg_t *frame)
{
    return slice_make(zmq_msg_data(frame), zmq_msg_size(frame));
}

/* False: nothing is there. Frames of one message arrive together: only the first can be absent. */
static bool take_one(struct zio *z)
{
    struct slice peer = {NULL, 0};
    if (z->o.kind == ZIO_ROUTER) {
        if (!receive(z, &z->peer)) {
            return false;
        }
        peer = frame_slice(&z->peer);
        if (!more_follows(&z->peer)) {
            return true; /* a routing id without a message: nothing to answer */
        }
    }
    if (!receive(z, &z->payload)) {
        return false;
    }
    bool req = zmq_msg_size(&z->payload) == 0 && more_follows(&z->payload);
    if (req && !receive(z, &z->payload)) {
        return false;
    }
    bool malformed = more_follows(&z->payload);
    if (malformed) {
        drop_rest(z);
    }
    z->o.on_message(z->o.context, peer, req, frame_slice(&z->payload), malformed);
    return true;
}

/* The same of a socket by frames. */
static bool take_frames(struct zio *z)
{
    zmq_msg_t messages[ZIO_FRAMES_MAX];
    struct slice frames[ZIO_FRAMES_MAX];
    size_t count = 0;
    bool more = true;
    bool any = false;
    while (more && count < ZIO_FRAMES_MAX) {
        must(zmq_msg_init(&messages[count]) == 0);
        more = receive(z, &messages[count]);
        any = any || more;
        if (!any) {
            (void)zmq_msg_close(&messages[count]);
            return false;
        }
        frames[count] = frame_slice(&messages[count]);
        more = more && more_follows(&messages[count++]);
    }
    if (more) {
        drop_rest(z);
    }
    z->o.on_frames(z->o.context, frames, count);
    for (size_t i = 0; i < count; i++) {
        (void)zmq_msg_close(&messages[i]);
    }
    return true;
}

static bool by_frames(const struct zio *z)
{
    return z->o.kind == ZIO_REP || z->o.kind == ZIO_PAIR;
}

static void zio_turn(struct zio *z)
{
    if (z->paused) {
        return;
    }
    z->in_turn = true;
    int taken = 0;
    bool empty = false;
    while (taken < z->o.receive_max && !z->paused && !empty) {
        empty = !(by_frames(z) ? take_frames(z) : take_one(z));
        taken += empty ? 0 : 1;
    }
    z->unseen = z->unseen && !empty;
    if (taken > 0 && z->o.on_turn != NULL) {
        z->o.on_turn(z->o.context);
    }
    z->in_turn = false;
    if (empty) {
        look_again(z);
    } else {
        read_later(z);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    zio_turn(context);
}

static void on_check(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    look_again(context);
}

static bool set_int(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

/* No ZMTP heartbeats: together with a full receive pipe they abort or lose messages. Peers ping on
 * the data path instead; TCP keep-alive only clears away hosts that vanished. */
static bool set_options(void *socket, const struct zio_options *o)
{
    return set_int(socket, ZMQ_LINGER, ZIO_LINGER_MS) &&
           set_int(socket, ZMQ_SNDHWM, ZIO_SEND_HWM) &&
           set_int(socket, ZMQ_RCVHWM, o->receive_hwm) && set_int(socket, ZMQ_BACKLOG, 1024) &&
           set_int(socket, ZMQ_TCP_KEEPALIVE, 1) && set_int(socket, ZMQ_TCP_KEEPALIVE_IDLE, 60) &&
           zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &o->message_bytes_max,
                          sizeof(o->message_bytes_max)) == 0 &&
           (o->kind != ZIO_ROUTER || set_int(socket, ZMQ_ROUTER_MANDATORY, 1));
}

static bool set_text(void *socket, int option, const char *text)
{
    return zmq_setsockopt(socket, option, text, strlen(text)) == 0;
}

/* With an empty domain, and without an authenticator, ZeroMQ would let everybody in. */
static bool set_curve(void *socket, const struct zio_options *o)
{
    const struct zio_curve *c = o->curve;
    if (c == NULL) {
        return true;
    }
    bool ok = set_text(socket, ZMQ_CURVE_PUBLICKEY, c->public_key) &&
              set_text(socket, ZMQ_CURVE_SECRETKEY, c->secret_key) &&
              set_int(socket, ZMQ_HANDSHAKE_IVL, ZIO_HANDSHAKE_MS);
    if (!o->bind) {
        return ok && set_text(socket, ZMQ_CURVE_SERVERKEY, c->server_key);
    }
    must(c->domain != NULL && c->domain[0] != '\0');
    return ok && set_int(socket, ZMQ_CURVE_SERVER, 1) &&
           set_text(socket, ZMQ_ZAP_DOMAIN, c->domain);
}

static const char *error_text(int code)
{
    switch (code) {
    case EADDRINUSE:
        return "address already in use";
    case EADDRNOTAVAIL:
    case ENODEV:
        return "no such address on this machine";
    case EINVAL:
    case EPROTONOSUPPORT:
        return "not an address like tcp://127.0.0.1:5560 or ipc:///run/otpq/broker";
    default:
        return zmq_strerror(code);
    }
}

static void *open_socket(void *zmq_context, const struct zio_options *o, const char **error)
{
    static const int types[] = {[ZIO_ROUTER] = ZMQ_ROUTER,
                                [ZIO_DEALER] = ZMQ_DEALER,
                                [ZIO_REP] = ZMQ_REP,
                                [ZIO_PAIR] = ZMQ_PAIR};
    void *socket = zmq_socket(zmq_context, types[o->kind]);
    if (socket == NULL) {
        *error = error_text(errno);
        return NULL;
    }
    if (!set_options(socket, o) || !set_curve(socket, o) ||
        (o->bind ? zmq_bind(socket, o->address) : zmq_connect(socket, o->address)) != 0) {
        *error = error_text(errno);
        (void)zmq_close(socket);
        return NULL;
    }
    return socket;
}

struct zio *zio_new(struct event_base *base, void *zmq_context, const struct zio_options *o,
                    const char **error)
{
    void *socket = open_socket(zmq_context, o, error);
    if (socket == NULL) {
        return NULL;
    }
    struct zio *z = xcalloc(1, sizeof(*z));
    z->o = *o;
    z->o.address = NULL;
    z->o.curve = NULL;
    z->o.receive_max = o->receive_max > 0 ? o->receive_max : ZIO_RECEIVE_MAX;
    z->socket = socket;
    must(zmq_msg_init(&z->peer) == 0);
    must(zmq_msg_init(&z->payload) == 0);
    int fd = -1;
    size_t size = sizeof(fd);
    need(zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0);
    z->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, z);
    z->check = event_new(base, -1, 0, on_check, z);
    z->resume = event_new(base, -1, 0, on_readable, z);
    must(z->readable != NULL && z->check != NULL && z->resume != NULL);
    need(event_add(z->readable, NULL) == 0);
    read_later(z); /* what came before the event was there */
    return z;
}

void zio_destroy(struct zio **z)
{
    struct zio *old = *z;
    if (old == NULL) {
        return;
    }
    must(!old->in_turn);
    *z = NULL;
    event_free(old->readable);
    event_free(old->check);
    event_free(old->resume);
    (void)zmq_msg_close(&old->peer);
    (void)zmq_msg_close(&old->payload);
    (void)zmq_close(old->socket);
    free(old);
}

static enum zio_sent send_frame(struct zio *z, struct slice bytes, int flags)
{
    zmq_msg_t frame;
    need(zmq_msg_init_size(&frame, bytes.n) == 0);
    if (bytes.n > 0) {
        memcpy(zmq_msg_data(&frame), bytes.p, bytes.n);
    }
    int rc;
    do {
        rc = zmq_msg_send(&frame, z->socket, flags | ZMQ_DONTWAIT);
    } while (rc < 0 && errno == EINTR);
    if (rc >= 0) {
        return ZIO_SENT;
    }
    enum zio_sent sent = errno == EAGAIN ? ZIO_FULL : ZIO_GONE;
    (void)zmq_msg_close(&frame);
    return sent;
}

/* Many sends of one round need one look at the end of it. */
static void sent_something(struct zio *z)
{
    z->unseen = true;
    if (!z->in_turn) {
        event_active(z->check, 0, 0);
    }
}

enum zio_sent zio_send_to(struct zio *z, struct slice peer, bool req, struct slice payload)
{
    must(z->o.kind == ZIO_ROUTER);
    sent_something(z);
    enum zio_sent sent = send_frame(z, peer, ZMQ_SNDMORE);
    if (sent == ZIO_SENT && req) {
        sent = send_frame(z, (struct slice){NULL, 0}, ZMQ_SNDMORE);
    }
    return sent == ZIO_SENT ? send_frame(z, payload, 0) : sent;
}

enum zio_sent zio_send(struct zio *z, struct slice payload)
{
    must(z->o.kind == ZIO_DEALER);
    sent_something(z);
    return send_frame(z, payload, 0);
}

enum zio_sent zio_send_frames(struct zio *z, const struct slice *frames, size_t count)
{
    must(by_frames(z));
    enum zio_sent sent = ZIO_SENT;
    sent_something(z);
    for (size_t i = 0; i < count && sent == ZIO_SENT; i++) {
        sent = send_frame(z, frames[i], i + 1 < count ? ZMQ_SNDMORE : 0);
    }
    return sent;
}

struct zio_sender zio_sender(struct zio *z)
{
    return (struct zio_sender){.user = zmq_msg_gets(&z->payload, "User-Id"),
                               .host = zmq_msg_gets(&z->payload, "Peer-Address"),
                               .fd = zmq_msg_get(&z->payload, ZMQ_SRCFD)};
}

bool zio_monitor(struct zio *z, const char *address, int events)
{
    return zmq_socket_monitor(z->socket, address, events) == 0;
}

void zio_pause(struct zio *z, bool paused)
{
    if (z->paused == paused) {
        return;
    }
    z->paused = paused;
    if (paused) {
        need(event_del(z->readable) == 0);
        need(event_del(z->resume) == 0);
    } else {
        need(event_add(z->readable, NULL) == 0);
        read_later(z);
    }
}
