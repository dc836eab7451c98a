/*
 * bench_load --connect ADDRESS --jobs N [--window W] [--batch B] [--body BYTES] [--echo 1]
 *            [--ack result|queued|stored] [--hold 1] [--fill 1] [--run NAME]: a client that keeps W
 *            jobs unanswered, B in each message.
 *
 * Prints one line, "jobs SECONDS JOBS_PER_S P50_US P99_US". --echo 1: its own messages come back (a
 * forwarder); else results do (a broker). --ack stored: also a line "acks SECONDS JOBS_PER_S P50_US
 * P99_US" of the acknowledgements. --hold 1: asks for `ack: queued`, prints "queued N" when all N
 * were taken, then waits for all results and prints the line for that part. --fill 1: ends when all
 * were taken, and prints of them alone.
 */
#include "common/meaning/wire.h"
#include "tests/bench/bench.h"

enum { ID_DIGITS = 12, MESSAGE_BYTES_MAX = 1024 * 1024 };

struct load {
    void *socket;  /* DEALER to the broker or forwarder */
    char *message; /* S with `batch` pairs; ids are written over */
    size_t message_bytes;
    size_t *id_at;   /* where in the message the digits of each id are */
    uint64_t batch;  /* pairs a message */
    uint64_t window; /* unanswered at most */
    uint64_t jobs;   /* to send */
    uint64_t sent, accepted, done;
    bool echo, hold, fill;
    enum wire_ack ack;
    int64_t *sent_us;   /* by job: when it was sent */
    uint32_t *took_us;  /* by order of answers: how long it took */
    uint32_t *acked_us; /* by order of acknowledgements: how long it took */
};

/* ---- messages -------------------------------------------------------------------------------- */

static struct slice make_body(struct buf *b, uint64_t bytes)
{
    buf_init(b, bytes + 64);
    pack_put_map(b, 2);
    pack_put_str(b, SLICE("msisdn"));
    pack_put_str(b, SLICE("66812345678"));
    pack_put_str(b, SLICE("text"));
    char *text = xcalloc(1, bytes);
    memset(text, 'x', bytes);
    uint64_t rest = bytes - b->n - (bytes - b->n > 33 ? 2 : 1);
    pack_put_str(b, slice_make(text, rest));
    free(text);
    must(b->n == bytes);
    return buf_slice(b);
}

static void make_message(struct load *l, const char *run, uint64_t body_bytes)
{
    struct buf out, body;
    char id[WIRE_ID_BYTES_MAX];
    (void)snprintf(id, sizeof(id), "%s-%0*d", run, ID_DIGITS, 0);
    const struct wire_submit s = {.id = slice_of(id),
                                  .route = SLICE("demo"),
                                  .op = WIRE_OP_SEND,
                                  .pri = 5,
                                  .ttl_ms = 3600 * 1000,
                                  .ack = l->ack};
    struct slice bytes = make_body(&body, body_bytes);
    buf_init(&out, MESSAGE_BYTES_MAX);
    l->id_at = xcalloc(l->batch, sizeof(*l->id_at));
    wire_begin(&out, WIRE_CLIENT_MAGIC, WIRE_SUBMIT);
    for (uint64_t i = 0; i < l->batch; i++) {
        size_t start = out.n;
        wire_put_submit(&out, &s, bytes);
        const char *at = memmem(out.p + start, out.n - start, id, strlen(id));
        must(at != NULL);
        l->id_at[i] = (size_t)(at - out.p) + strlen(id) - ID_DIGITS;
    }
    must(buf_ok(&out));
    l->message_bytes = out.n;
    l->message = buf_take(&out);
    buf_free(&body);
}

static void write_digits(char *at, uint64_t n)
{
    for (int i = ID_DIGITS - 1; i >= 0; i--) {
        at[i] = (char)('0' + n % 10);
        n /= 10;
    }
}

static void send_message(struct load *l)
{
    int64_t now = clock_mono_us();
    for (uint64_t i = 0; i < l->batch; i++) {
        write_digits(l->message + l->id_at[i], l->sent);
        l->sent_us[l->sent++] = now;
    }
    bench_send(l->socket, l->message, l->message_bytes);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void ended(struct load *l, uint64_t job, int64_t now_us)
{
    must(job < l->sent);
    l->took_us[l->done++] = (uint32_t)(now_us - l->sent_us[job]);
}

static uint64_t job_of(struct slice id)
{
    uint64_t job = 0;
    must(id.n > ID_DIGITS);
    must(slice_to_u64(slice_make(id.p + id.n - ID_DIGITS, ID_DIGITS), UINT64_MAX, &job));
    return job;
}

static void take_results(struct load *l, struct wire_reader *r, int64_t now_us)
{
    struct wire_result result;
    struct slice body;
    enum wire_next next;
    while ((next = wire_next_result(r, &result, &body)) == WIRE_NEXT_PAIR) {
        must(result.end == JOB_END_DONE);
        ended(l, job_of(result.id), now_us);
    }
    must(next == WIRE_NEXT_END);
}

static void take_accepted(struct load *l, struct wire_reader *r, int64_t now_us)
{
    struct slice id, state;
    while (wire_next_accepted(r, &id, &state) == WIRE_NEXT_PAIR) {
        must(l->ack != WIRE_ACK_STORED || slice_is(state, "stored"));
        must(l->accepted < l->sent);
        l->acked_us[l->accepted++] = (uint32_t)(now_us - l->sent_us[job_of(id)]);
    }
}

static void die_of(struct wire_reader *r)
{
    struct wire_nack n = {.error = SLICE("?")};
    if (wire_next_nack(r, &n) == WIRE_NEXT_PAIR) {
        (void)fprintf(stderr, "bench_load: refused: %.*s: %.*s\n", SLICE_ARG(n.error),
                      SLICE_ARG(n.detail));
    }
    exit(1);
}

static void take(struct load *l, struct slice message)
{
    struct wire_reader r;
    int64_t now_us = clock_mono_us();
    must(wire_open(&r, message, WIRE_CLIENT_MAGIC));
    if (l->echo) { /* whole messages, in order */
        for (uint64_t i = 0; i < l->batch; i++) {
            ended(l, l->done, now_us);
        }
    } else if (r.verb == WIRE_RESULT) {
        take_results(l, &r, now_us);
    } else if (r.verb == WIRE_ACCEPTED) {
        take_accepted(l, &r, now_us);
    } else {
        die_of(&r);
    }
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void receive_some(struct load *l, zmq_msg_t *frame)
{
    if (!bench_receive(l->socket, frame, 0)) {
        (void)fprintf(stderr, "bench_load: no answer in 60 s\n");
        exit(1);
    }
    do {
        take(l, bench_slice(frame));
    } while (bench_receive(l->socket, frame, ZMQ_DONTWAIT));
}

/* What the window is of. */
static uint64_t answered(const struct load *l)
{
    return l->hold || l->fill ? l->accepted : l->done;
}

static void run(struct load *l)
{
    zmq_msg_t frame;
    must(zmq_msg_init(&frame) == 0);
    while (answered(l) < l->jobs) {
        while (l->sent < l->jobs && l->sent + l->batch - answered(l) <= l->window) {
            send_message(l);
        }
        receive_some(l, &frame);
    }
    (void)zmq_msg_close(&frame);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, uint32_t *took_us, uint64_t count, double seconds)
{
    if (count > 0) {
        qsort(took_us, count, sizeof(*took_us), by_size);
        (void)printf("%s %.3f %.0f %u %u\n", what, seconds, (double)count / seconds,
                     took_us[count / 2], took_us[count * 99 / 100]);
    }
}

static enum wire_ack ack_named(const char *name)
{
    static const char *const names[WIRE_ACKS] = {"result", "queued", "stored"};
    for (int ack = 0; ack < WIRE_ACKS; ack++) {
        if (strcmp(name, names[ack]) == 0) {
            return (enum wire_ack)ack;
        }
    }
    (void)fprintf(stderr, "bench_load: --ack %s: no such ack\n", name);
    exit(1);
}

/* The part after all were taken, which waits for a worker. */
static double drain(struct load *l)
{
    zmq_msg_t frame;
    must(zmq_msg_init(&frame) == 0);
    (void)printf("queued %llu\n", (unsigned long long)l->accepted);
    (void)fflush(stdout);
    receive_some(l, &frame);
    int64_t began_us = clock_mono_us();
    while (l->done < l->jobs) {
        receive_some(l, &frame);
    }
    (void)zmq_msg_close(&frame);
    return (double)(clock_mono_us() - began_us) / 1e6;
}

static void options(struct load *l, int argc, char **argv)
{
    l->batch = bench_number(argc, argv, "batch", 1);
    l->window = bench_number(argc, argv, "window", 1);
    l->jobs = bench_number(argc, argv, "jobs", 100000);
    l->echo = bench_number(argc, argv, "echo", 0) != 0;
    l->hold = bench_number(argc, argv, "hold", 0) != 0;
    l->fill = bench_number(argc, argv, "fill", 0) != 0;
    l->ack = ack_named(bench_text(argc, argv, "ack", l->hold || l->fill ? "queued" : "result"));
    l->jobs = (l->jobs + l->batch - 1) / l->batch * l->batch;
    l->window = l->window < l->batch ? l->batch : l->window;
    l->sent_us = xcalloc(l->jobs, sizeof(*l->sent_us));
    l->took_us = xcalloc(l->jobs, sizeof(*l->took_us));
    l->acked_us = xcalloc(l->jobs, sizeof(*l->acked_us));
}

int main(int argc, char **argv)
{
    const int patience_ms = 60000;
    void *context = zmq_ctx_new();
    struct load l = {
        .socket = bench_socket(context, ZMQ_DEALER,
                               bench_text(argc, argv, "connect", "tcp://127.0.0.1:5560"), false)};
    options(&l, argc, argv);
    must(zmq_setsockopt(l.socket, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms)) == 0);
    make_message(&l, bench_text(argc, argv, "run", "bench"), bench_number(argc, argv, "body", 250));
    int64_t began_us = clock_mono_us();
    run(&l);
    double seconds = (double)(clock_mono_us() - began_us) / 1e6;
    if (l.hold) {
        seconds = drain(&l);
    }
    report("jobs", l.took_us, l.fill ? 0 : l.done, seconds);
    report("acks", l.acked_us, l.hold || l.ack == WIRE_ACK_RESULT ? 0 : l.accepted, seconds);
    (void)zmq_close(l.socket);
    (void)zmq_ctx_term(context);
    return 0;
}
