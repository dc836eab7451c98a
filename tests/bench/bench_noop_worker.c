/*
 * bench_noop_worker --connect ADDRESS [--echo 1] [--capacity JOBS]: a worker of OTPQ-W/1 whose
 * calls take no time: every job of a message is answered in one message. --echo 1 sends each frame
 * back as it came, for the forwarder.
 */
#include "common/meaning/wire.h"
#include "tests/bench/bench.h"

enum { PING_MS = 250 };

struct noop {
    void *socket;      /* DEALER to the broker */
    struct buf out;    /* the message being written */
    uint64_t capacity; /* jobs it takes at once */
    uint64_t done;     /* since hello */
    uint64_t credit;   /* total granted since hello */
};

static void send_out(struct noop *w)
{
    must(buf_ok(&w->out));
    bench_send(w->socket, w->out.p, w->out.n);
    buf_clear(&w->out);
}

static void grant(struct noop *w)
{
    w->credit = w->done + w->capacity;
    wire_begin(&w->out, WIRE_WORKER_MAGIC, WIRE_W_CREDIT);
    wire_put_credit(&w->out, w->credit);
    send_out(w);
}

static void hello(struct noop *w)
{
    const struct wire_hello h = {.name = SLICE("no-op"),
                                 .version = SLICE("bench"),
                                 .protocol = 1,
                                 .capacity = (uint32_t)w->capacity};
    w->done = 0;
    wire_begin(&w->out, WIRE_WORKER_MAGIC, WIRE_W_HELLO);
    wire_put_hello(&w->out, &h);
    send_out(w);
    grant(w);
}

static void run_jobs(struct noop *w, struct wire_reader *r)
{
    struct wire_job job;
    struct slice body;
    wire_begin(&w->out, WIRE_WORKER_MAGIC, WIRE_W_RESULT);
    while (wire_next_job(r, &job, &body) == WIRE_NEXT_PAIR) {
        const struct wire_result result = {.id = job.id,
                                           .end = JOB_END_DONE,
                                           .code = RESULT_OTP_SENT,
                                           .queued_ms = job.queued_ms,
                                           .attempts = job.attempt};
        wire_put_result(&w->out, &result, (struct slice){NULL, 0});
        w->done++;
    }
    send_out(w);
    if (w->credit - w->done < w->capacity / 2) {
        grant(w);
    }
}

static void take(struct noop *w, struct slice message)
{
    struct wire_reader r;
    must(wire_open(&r, message, WIRE_WORKER_MAGIC));
    if (r.verb == WIRE_W_JOB) {
        run_jobs(w, &r);
    } else if (r.verb == WIRE_W_WHO) {
        hello(w);
    }
}

static void serve(struct noop *w)
{
    zmq_msg_t frame;
    int64_t pinged_ms = clock_mono_ms();
    must(zmq_msg_init(&frame) == 0);
    hello(w);
    for (;;) {
        if (bench_receive(w->socket, &frame, 0)) {
            take(w, bench_slice(&frame));
        }
        if (clock_mono_ms() - pinged_ms >= PING_MS) {
            pinged_ms = clock_mono_ms();
            bench_send(w->socket, WIRE_WORKER_MAGIC "P", 4);
        }
    }
}

static void echo(void *socket)
{
    zmq_msg_t frame;
    must(zmq_msg_init(&frame) == 0);
    for (;;) {
        if (bench_receive(socket, &frame, 0)) {
            must(zmq_msg_send(&frame, socket, 0) >= 0);
        }
    }
}

int main(int argc, char **argv)
{
    const int wait_ms = PING_MS;
    void *context = zmq_ctx_new();
    struct noop w = {
        .socket = bench_socket(context, ZMQ_DEALER,
                               bench_text(argc, argv, "connect", "tcp://127.0.0.1:5561"), false),
        .capacity = bench_number(argc, argv, "capacity", 8000)};
    must(zmq_setsockopt(w.socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)) == 0);
    buf_init(&w.out, 4 * WIRE_MESSAGE_BYTES_MAX);
    if (bench_number(argc, argv, "echo", 0) != 0) {
        echo(w.socket);
    } else {
        serve(&w);
    }
}
