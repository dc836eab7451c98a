/*
 * bench.h: what the load programs share: options as --name value, sockets without limits, and a
 * clock. Programs of the benchmarks end with an error text instead of handling errors.
 */
#ifndef OTPQ_TESTS_BENCH_H
#define OTPQ_TESTS_BENCH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/slice.h"

/* The text behind --name, or the fallback. */
static inline const char *bench_text(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0) {
            return argv[i + 1];
        }
    }
    return fallback;
}

static inline uint64_t bench_number(int argc, char **argv, const char *name, uint64_t fallback)
{
    const char *text = bench_text(argc, argv, name, NULL);
    return text == NULL ? fallback : strtoull(text, NULL, 10);
}

/* Without high-water marks: what is measured is the way, not a limit. */
static inline void *bench_socket(void *context, int type, const char *address, bool bind)
{
    void *socket = zmq_socket(context, type);
    const int none = 0;
    must(socket != NULL);
    must(zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof(none)) == 0);
    must(zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof(none)) == 0);
    must(zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof(none)) == 0);
    must((bind ? zmq_bind(socket, address) : zmq_connect(socket, address)) == 0);
    return socket;
}

static inline bool bench_receive(void *socket, zmq_msg_t *frame, int flags)
{
    int rc;
    do {
        rc = zmq_msg_recv(frame, socket, flags);
    } while (rc < 0 && errno == EINTR);
    return rc >= 0;
}

static inline void bench_send(void *socket, const void *bytes, size_t n)
{
    zmq_msg_t frame;
    must(zmq_msg_init_size(&frame, n) == 0);
    memcpy(zmq_msg_data(&frame), bytes, n);
    must(zmq_msg_send(&frame, socket, 0) >= 0);
}

static inline struct slice bench_slice(zmq_msg_t *frame)
{
    return slice_make(zmq_msg_data(frame), zmq_msg_size(frame));
}

#endif
