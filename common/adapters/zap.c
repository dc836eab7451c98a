#include "common/adapters/zap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum {
    ANSWERED_A_TURN_MAX = 64,
    LOG_EVERY_MS = 1000, /* a flood of strangers must not become one of lines */
    KEY_BYTES = 32
};

/* Frames of a question, in their order. */
enum { Q_VERSION, Q_ID, Q_DOMAIN, Q_ADDRESS, Q_IDENTITY, Q_MECHANISM, Q_KEY, Q_FRAMES };

struct zap {
    struct event_base *base;
    void *zmq_context;
    zap_judge *judge;
    void *context;                         /* of judge */
    struct zio *zio;                       /* REP that ZeroMQ asks */
    struct zio *monitors[ZAP_WATCHED_MAX]; /* PAIRs that tell of handshakes */
    size_t monitor_count;                  /* used of them */
    uint64_t counts[ZAP_VERDICTS];
    int64_t logged_ms; /* last line about somebody who was denied */
};

const char *const zap_verdict_names[ZAP_VERDICTS] = {
    [ZAP_ALLOWED] = "allowed",       [ZAP_UNKNOWN] = "unknown",     [ZAP_REVOKED] = "revoked",
    [ZAP_WRONG_KIND] = "wrong_kind", [ZAP_MALFORMED] = "malformed", [ZAP_NO_KEY] = "no_key",
};

/* Public keys are no secrets, and tell an operator whose program it is that knocks. */
static void denied(struct zap *z, enum zap_verdict verdict, struct slice address, const char *key)
{
    char host[64];
    int64_t now_ms = clock_mono_ms();
    z->counts[verdict]++;
    if (z->logged_ms != 0 && now_ms - z->logged_ms < LOG_EVERY_MS) {
        return;
    }
    z->logged_ms = now_ms;
    (void)snprintf(host, sizeof(host), "%.*s", SLICE_ARG(address));
    log_warn("somebody was not let in", "why", zap_verdict_names[verdict],
             verdict == ZAP_NO_KEY ? "socket" : "from", host, "key", key, "of_this_kind",
             log_num((long long)z->counts[verdict]), NULL);
}

static enum zap_verdict judge(struct zap *z, const struct slice *q, size_t count,
                              char key[CURVE_KEY_CHARS + 1])
{
    uint8_t bytes[KEY_BYTES];
    key[0] = '\0';
    if (count != Q_FRAMES || !slice_is(q[Q_VERSION], "1.0") || !slice_is(q[Q_MECHANISM], "CURVE") ||
        q[Q_KEY].n != sizeof(bytes)) {
        return ZAP_MALFORMED;
    }
    memcpy(bytes, q[Q_KEY].p, sizeof(bytes));
    must(zmq_z85_encode(key, bytes, sizeof(bytes)) == key);
    return z->judge(z->context, q[Q_DOMAIN], key);
}

/* After a 400 libzmq's clients give up, and those that want to must connect anew. (After a 300 they
 * would come again by themselves, but not before the handshake's time is over.) */
static void on_question(void *context, const struct slice *q, size_t count)
{
    struct zap *z = context;
    char key[CURVE_KEY_CHARS + 1];
    enum zap_verdict verdict = judge(z, q, count, key);
    const char *status = verdict == ZAP_ALLOWED ? "200" : "400";
    const struct slice answer[] = {SLICE("1.0"),
                                   count > Q_ID ? q[Q_ID] : (struct slice){NULL, 0},
                                   slice_of(status),
                                   slice_of(verdict == ZAP_ALLOWED ? "" : "denied"),
                                   slice_of(verdict == ZAP_ALLOWED ? key : ""),
                                   {NULL, 0}};
    if (verdict == ZAP_ALLOWED) {
        z->counts[verdict]++;
    } else {
        denied(z, verdict, count > Q_ADDRESS ? q[Q_ADDRESS] : SLICE(""), key);
    }
    if (zio_send_frames(z->zio, answer, ARRAY_LEN(answer)) != ZIO_SENT) {
        log_warn("a handshake got no answer", NULL);
    }
}

/* Two frames: number (16 bits) and value of the event, then the address. */
static void on_event(void *context, const struct slice *frames, size_t count)
{
    if (count == 2) {
        denied(context, ZAP_NO_KEY, frames[1], "");
    }
}

struct zap *zap_new(struct event_base *base, void *zmq_context, zap_judge *judge_key, void *context,
                    const char **error)
{
    struct zap *z = xcalloc(1, sizeof(*z));
    const struct zio_options o = {.kind = ZIO_REP,
                                  .address = "inproc://zeromq.zap.01",
                                  .bind = true,
                                  .message_bytes_max = -1,
                                  .receive_max = ANSWERED_A_TURN_MAX,
                                  .on_frames = on_question,
                                  .context = z};
    z->base = base;
    z->zmq_context = zmq_context;
    z->judge = judge_key;
    z->context = context;
    z->zio = zio_new(base, zmq_context, &o, error);
    if (z->zio == NULL) {
        free(z);
        return NULL;
    }
    return z;
}

void zap_pause(struct zap *z, bool paused)
{
    zio_pause(z->zio, paused);
}

void zap_destroy(struct zap **zp)
{
    struct zap *z = *zp;
    if (z == NULL) {
        return;
    }
    *zp = NULL;
    for (size_t i = 0; i < z->monitor_count; i++) {
        zio_destroy(&z->monitors[i]);
    }
    zio_destroy(&z->zio);
    free(z);
}

/* Handshakes that failed after their key was seen are counted where it was judged. No limit on what
 * waits to be read: ZeroMQ's own thread would stand still at it. */
bool zap_watch(struct zap *z, struct zio *socket, const char **error)
{
    char address[64];
    must(z->monitor_count < ZAP_WATCHED_MAX);
    (void)snprintf(address, sizeof(address), "inproc://otpq-zap-%p-%zu", (void *)z,
                   z->monitor_count);
    const struct zio_options o = {.kind = ZIO_PAIR,
                                  .address = address,
                                  .message_bytes_max = -1,
                                  .receive_max = ANSWERED_A_TURN_MAX,
                                  .on_frames = on_event,
                                  .context = z};
    if (!zio_monitor(socket, address,
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)) {
        *error = "its handshakes cannot be watched";
        return false;
    }
    struct zio *monitor = zio_new(z->base, z->zmq_context, &o, error);
    if (monitor != NULL) {
        z->monitors[z->monitor_count++] = monitor;
    }
    return monitor != NULL;
}

uint64_t zap_count(const struct zap *z, enum zap_verdict verdict)
{
    return z->counts[verdict];
}
