/*
 * listen_fd.h: the TCP socket that a server accepts from: opened by itself, or by whoever started
 * the process and passed in (LISTEN_FDS of systemd, sd_listen_fds(3)). A passed one outlives the
 * process: connections that wait in it are taken by the next process, or by others that share it.
 * Floor 3.
 */
#ifndef OTPQ_ADAPTERS_LISTEN_FD_H
#define OTPQ_ADAPTERS_LISTEN_FD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/check.h"

struct listen_fd_options {
    const char *address; /* host:port; "*" and port 0 as everywhere */
    const char *key;     /* "gateway.listen": named in errors */
    bool reuse_port;     /* several processes may bind it */
    bool later;          /* take the port only: listen_fd_listen follows */
};

/* Nonblocking, close-on-exec. -1: *error says what is wrong with the address, naming it and key. */
MUST_CHECK int listen_fd_open(const struct listen_fd_options *o, char error[256]);
void listen_fd_listen(int fd);
/* False, with *error as listen_fd_open's, when somebody listens there, also with a shared port.
 * Other mistakes in the address are told by whoever opens it. */
MUST_CHECK bool listen_fd_free(const char *address, const char *key, char error[256]);
/* The socket that was passed to this process, made nonblocking and close-on-exec; *fd is -1 when
 * none was. False: what was passed is not exactly one listening TCP socket; *error says so. Asked
 * once: the variables are taken out of the environment. */
MUST_CHECK bool listen_fd_passed(int *fd, char error[256]);
/* The port that was bound: the address may ask for port 0, "any free one". */
uint16_t listen_fd_port(int fd);
/* "127.0.0.1:8080" of a bound socket. */
void listen_fd_name(int fd, char out[64]);

/* In a child between fork and exec: fd becomes the socket that listen_fd_passed gives it. */
void listen_fd_pass(int fd);

#endif
