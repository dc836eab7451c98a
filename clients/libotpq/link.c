#include "clients/libotpq/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <zmq.h>

/* A ZMQ_FD in the epoll set. The set is level-triggered over it: it stays readable until the socket
 * has looked at its mailbox, and link_readable catches what a send has looked at by the way. */
static bool watch(void *socket, int epoll_fd, int op)
{
    int fd;
    size_t size = sizeof(fd);
    struct epoll_event event = {.events = EPOLLIN};
    return zmq_getsockopt(socket, ZMQ_FD, &fd, &size) == 0 &&
           epoll_ctl(epoll_fd, op, fd, &event) == 0;
}

static bool set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

/* IMMEDIATE: jobs wait here, with their deadlines, and never in the pipe of a broker that is away.
 * No high-water mark: what is out is bounded by jobs_max. */
static bool open_dealer(struct link *l, void *zmq_context)
{
    int64_t bytes_max = WIRE_MESSAGE_BYTES_MAX;
    l->socket = zmq_socket(zmq_context, ZMQ_DEALER);
    return l->socket != NULL && set(l->socket, ZMQ_LINGER, 0) && set(l->socket, ZMQ_IMMEDIATE, 1) &&
           set(l->socket, ZMQ_SNDHWM, 0) && set(l->socket, ZMQ_RCVHWM, 0) &&
           set(l->socket, ZMQ_RECONNECT_IVL, 50) && set(l->socket, ZMQ_RECONNECT_IVL_MAX, 1000) &&
           zmq_setsockopt(l->socket, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max)) == 0;
}

static bool set_text(void *socket, int option, const char *text)
{
    return zmq_setsockopt(socket, option, text, strlen(text)) == 0;
}

/* An address may have the broker's public key behind a space. */
static bool connect_to(struct link *l)
{
    enum { HANDSHAKE_MS = 5000 };
    const char *key = strchr(l->address, ' ');
    if (key == NULL) {
        return zmq_connect(l->socket, l->address) == 0;
    }
    if (!curve_key_ok(slice_of(key + 1)) || l->pair->public_key[0] == '\0') {
        errno = EINVAL;
        return false;
    }
    char *address = slice_dup(slice_make(l->address, (size_t)(key - l->address)));
    bool ok = set_text(l->socket, ZMQ_CURVE_SERVERKEY, key + 1) &&
              set_text(l->socket, ZMQ_CURVE_PUBLICKEY, l->pair->public_key) &&
              set_text(l->socket, ZMQ_CURVE_SECRETKEY, l->pair->secret_key) &&
              set(l->socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
              zmq_connect(l->socket, address) == 0;
    free(address);
    return ok;
}

static bool open_monitor(struct link *l, void *zmq_context)
{
    char endpoint[64];
    (void)snprintf(endpoint, sizeof(endpoint), "inproc://otpq-%p-%u", (void *)l, ++l->opened);
    if (zmq_socket_monitor(l->socket, endpoint,
                           ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                               ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) != 0) {
        return false;
    }
    l->monitor = zmq_socket(zmq_context, ZMQ_PAIR);
    return l->monitor != NULL && set(l->monitor, ZMQ_LINGER, 0) &&
           zmq_connect(l->monitor, endpoint) == 0;
}

bool link_open(struct link *l, void *zmq_context, int epoll_fd)
{
    l->up = false;
    l->leaving = false;
    l->lost = false;
    l->refused = false;
    l->again_ms = 0;
    return open_dealer(l, zmq_context) && open_monitor(l, zmq_context) && connect_to(l) &&
           watch(l->socket, epoll_fd, EPOLL_CTL_ADD) && watch(l->monitor, epoll_fd, EPOLL_CTL_ADD);
}

static void close_one(void **socket, int epoll_fd)
{
    if (*socket != NULL) {
        (void)watch(*socket, epoll_fd, EPOLL_CTL_DEL);
        must(zmq_close(*socket) == 0);
        *socket = NULL;
    }
}

void link_close(struct link *l, int epoll_fd)
{
    if (l->socket != NULL) {
        (void)zmq_socket_monitor(l->socket, NULL, 0);
    }
    close_one(&l->monitor, epoll_fd);
    close_one(&l->socket, epoll_fd);
    l->up = false;
}

bool link_send(struct link *l, const struct buf *message)
{
    int sent;
    do {
        sent = zmq_send(l->socket, message->p, message->n, ZMQ_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

/* An event is two frames: its number (16 bits) and value, then the address. */
static bool next_event(struct link *l, uint16_t *event)
{
    uint8_t number[6];
    char address[256];
    int n;
    do { /* the descriptor tells of an event once: one that is left is not told of again */
        n = zmq_recv(l->monitor, number, sizeof(number), ZMQ_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n != (int)sizeof(number)) {
        return false;
    }
    memcpy(event, number, sizeof(*event));
    (void)zmq_recv(l->monitor, address, sizeof(address), ZMQ_DONTWAIT);
    return true;
}

void link_look(struct link *l)
{
    uint16_t event;
    while (next_event(l, &event)) {
        l->up = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        l->leaving = false; /* whoever is connected next is another process */
        l->lost |= event == ZMQ_EVENT_DISCONNECTED;
        l->refused |= event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ||
                      event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    }
}

bool link_receive(struct link *l, void *zmq_msg)
{
    int n;
    do {
        n = zmq_msg_recv(zmq_msg, l->socket, ZMQ_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n >= 0;
}

static bool readable(void *socket)
{
    int events = 0;
    size_t size = sizeof(events);
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN) != 0;
}

bool link_readable(const struct link *l)
{
    return readable(l->socket) || readable(l->monitor);
}
