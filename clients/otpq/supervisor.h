/*
 * supervisor.h: starts the processes of a node in order, keeps them running, ends them in order.
 *
 * Readiness is sd_notify's READY=1 on a socket of the supervisor's own, so nothing is polled. A
 * child that dies is started again with backoff; one that dies before it was ever ready ends the
 * boot, and its last words are shown. Floor 4.
 */
#ifndef OTPQ_COMMAND_SUPERVISOR_H
#define OTPQ_COMMAND_SUPERVISOR_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct supervisor;

enum { CHILD_ARGS_MAX = 12, CHILD_ENV_MAX = 8, CHILDREN_MAX = 256 };

/* What to run. Texts are copied. */
struct child_spec {
    const char *name;                 /* "worker-1": in messages and log/NAME.log */
    const char *argv[CHILD_ARGS_MAX]; /* program and arguments, NULL-terminated */
    const char *env[CHILD_ENV_MAX];   /* "NAME=value" additions, NULL-terminated */
    bool oneshot;                     /* ready when it has exited with 0; not started again */
    bool lasting;                     /* supervisor_restart leaves it alone */
    bool shown;                       /* its output goes to ours instead of its log file */
    const int *listen_fd;             /* socket passed to it at each start; NULL: none. Borrowed */
    int stop_rank;                    /* lower ranks are ended first; equal ranks together */
    int drain_ms;                     /* after SIGTERM: this long, then SIGKILL */
};

struct supervisor_options {
    const char *dir; /* of the node: notify.sock, log/ */
    /* Everything is ready. */
    void (*on_up)(void *context);
    /* All ended; failed: the boot broke, or a child had to be killed. The loop may be left. */
    void (*on_ended)(void *context, bool failed);
    void *context;
};

/* NULL: the reason was printed. */
struct supervisor *supervisor_new(struct event_base *base, const struct supervisor_options *o);
void supervisor_destroy(struct supervisor **s);
/* Before supervisor_start: in the order of the start. */
void supervisor_add(struct supervisor *s, const struct child_spec *spec);
void supervisor_start(struct supervisor *s);
/* Runs one more child now, not part of the boot (the live line). */
void supervisor_run(struct supervisor *s, const struct child_spec *spec);
/* First call: ordered drain. Second call: at once. */
void supervisor_stop(struct supervisor *s);
/* Ends and starts every child that is neither oneshot nor lasting, one after the other (SIGHUP). */
void supervisor_restart(struct supervisor *s);

#endif
