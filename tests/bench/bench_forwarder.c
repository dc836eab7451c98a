/*
 * bench_forwarder --front ADDRESS --back ADDRESS: what ZeroMQ itself can do: a ROUTER for one
 * client and a DEALER for one worker, one frame a message, moved without being read. It keeps
 * nothing, knows one client alone, and so is the limit that a broker is measured against.
 */
#include "tests/bench/bench.h"

enum { TURN_MAX = 256 };

struct ends {
    void *front;      /* ROUTER: the client */
    void *back;       /* DEALER: the worker */
    zmq_msg_t client; /* the client's routing id, once it has spoken */
};

static void to_worker(struct ends *e)
{
    zmq_msg_t frame, client;
    must(zmq_msg_init(&frame) == 0);
    must(zmq_msg_init(&client) == 0);
    for (int i = 0; i < TURN_MAX && bench_receive(e->front, &client, ZMQ_DONTWAIT); i++) {
        must(zmq_msg_copy(&e->client, &client) == 0);
        must(bench_receive(e->front, &frame, 0));
        must(zmq_msg_send(&frame, e->back, 0) >= 0);
    }
    (void)zmq_msg_close(&client);
    (void)zmq_msg_close(&frame);
}

static void to_client(struct ends *e)
{
    zmq_msg_t frame, client;
    must(zmq_msg_init(&frame) == 0);
    must(zmq_msg_init(&client) == 0);
    for (int i = 0; i < TURN_MAX && bench_receive(e->back, &frame, ZMQ_DONTWAIT); i++) {
        must(zmq_msg_copy(&client, &e->client) == 0);
        must(zmq_msg_send(&client, e->front, ZMQ_SNDMORE) >= 0);
        must(zmq_msg_send(&frame, e->front, 0) >= 0);
    }
    (void)zmq_msg_close(&client);
    (void)zmq_msg_close(&frame);
}

int main(int argc, char **argv)
{
    void *context = zmq_ctx_new();
    struct ends e = {
        .front = bench_socket(context, ZMQ_ROUTER,
                              bench_text(argc, argv, "front", "tcp://127.0.0.1:5570"), true),
        .back = bench_socket(context, ZMQ_DEALER,
                             bench_text(argc, argv, "back", "tcp://127.0.0.1:5571"), true)};
    must(zmq_msg_init(&e.client) == 0);
    zmq_pollitem_t items[] = {{e.back, 0, ZMQ_POLLIN, 0}, {e.front, 0, ZMQ_POLLIN, 0}};
    for (;;) {
        if (zmq_poll(items, 2, -1) < 0) {
            continue;
        }
        if (items[0].revents != 0) {
            to_client(&e);
        }
        if (items[1].revents != 0) {
            to_worker(&e);
        }
    }
}
