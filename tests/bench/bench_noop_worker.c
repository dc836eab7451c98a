/*
 * bench_noop_worker --connect ADDRESS [--echo 1] [--capacity JOBS] [--count N]: a worker of
 * OTPQ-W/1 whose calls take no time: every job of a message is answered in one message.
 *
 * --echo 1 sends each frame back as it came, for the forwarder. --count N: it takes one job, prints
 * "first US" (of the monotonic clock) and sits on it until a byte comes from stdin; then it answers
 * whatever comes and, when jobs 0 to N - 1 of bench_load have all come, prints "all US AGAIN": how
 * many came more than once.
 */
#include <unistd.h>

#include "common/meaning/wire.h"
#include "tests/bench/bench.h"

enum { PING_MS = 250, ID_DIGITS = 12 };

struct noop {
    void *socket;      /* DEALER to the broker */
    struct buf out;    /* the message being written */
    uint64_t capacity; /* jobs it takes at once */
    uint64_t done;     /* since hello */
    uint64_t credit;   /* total granted since hello */
    uint64_t count;    /* distinct jobs to come; 0: they are not counted */
    uint64_t seen;     /* of these */
    uint64_t again;    /* jobs that had come before */
    bool held;         /* one job is sat upon */
    bool *came;        /* by number of the job */
};

static void send_out(struct noop *w)
{
    must(buf_ok(&w->out));
    bench_send(w->socket, w->out.p, w->out.n);
    buf_clear(&w->out);
}

static void grant(struct noop *w)
{
    w->credit = w->done + (w->held ? 1 : w->capacity);
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

static void say(const char *what, uint64_t more)
{
    (void)printf("%s %lld %llu\n", what, (long long)clock_mono_us(), (unsigned long long)more);
    (void)fflush(stdout);
}

static void count(struct noop *w, struct slice id)
{
    uint64_t job = 0;
    must(id.n > ID_DIGITS);
    must(slice_to_u64(slice_make(id.p + id.n - ID_DIGITS, ID_DIGITS), w->count - 1, &job));
    w->again += w->came[job];
    w->seen += !w->came[job];
    w->came[job] = true;
}

/* Its one job has come: the loop stands still until somebody has looked. Pings go on. */
static void sit(struct noop *w)
{
    char go;
    zmq_pollitem_t in = {.fd = STDIN_FILENO, .events = ZMQ_POLLIN};
    say("first", 0);
    while (zmq_poll(&in, 1, PING_MS) == 0) {
        bench_send(w->socket, WIRE_WORKER_MAGIC "P", 4);
    }
    must(read(STDIN_FILENO, &go, 1) == 1);
    w->held = false;
}

static void run_jobs(struct noop *w, struct wire_reader *r)
{
    struct wire_job job;
    struct slice body;
    uint64_t before = w->seen;
    if (w->held) {
        sit(w);
    }
    wire_begin(&w->out, WIRE_WORKER_MAGIC, WIRE_W_RESULT);
    while (wire_next_job(r, &job, &body) == WIRE_NEXT_PAIR) {
        if (w->count > 0) {
            count(w, job.id);
        }
        const struct wire_result result = {.id = job.id,
                                           .end = JOB_END_DONE,
                                           .code = RESULT_OTP_SENT,
                                           .queued_ms = job.queued_ms,
                                           .attempts = job.attempt};
        wire_put_result(&w->out, &result, (struct slice){NULL, 0});
        w->done++;
    }
    send_out(w);
    if (w->seen == w->count && before < w->count) {
        say("all", w->again);
    }
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
        .capacity = bench_number(argc, argv, "capacity", 8000),
        .count = bench_number(argc, argv, "count", 0)};
    w.held = w.count > 0;
    w.came = xcalloc(w.count + 1, sizeof *w.came);
    must(zmq_setsockopt(w.socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)) == 0);
    buf_init(&w.out, 4 * WIRE_MESSAGE_BYTES_MAX);
    if (bench_number(argc, argv, "echo", 0) != 0) {
        echo(w.socket);
    } else {
        serve(&w);
    }
}
