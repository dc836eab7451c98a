/*
 * commands.h: the subcommands of `otpq`. Each gets the arguments behind its own name, with
 * "otpq NAME" as argv[0], and returns the exit code. Floor 4.
 */
#ifndef OTPQ_CLIENTS_COMMANDS_H
#define OTPQ_CLIENTS_COMMANDS_H

/* What every subcommand exits with. */
enum {
    OTPQ_EXIT_DONE = 0,     /* it was done: the job's state is "done" */
    OTPQ_EXIT_REFUSED = 1,  /* refused, failed, unknown, expired or not taken */
    OTPQ_EXIT_USAGE = 2,    /* wrong arguments or configuration */
    OTPQ_EXIT_NO_BROKER = 3 /* nobody answered in time */
};

int cmd_up(int argc, char **argv);      /* up.c: a whole node under one supervisor */
int cmd_push(int argc, char **argv);    /* push.c: jobs from arguments or JSON lines */
int cmd_get(int argc, char **argv);     /* get.c: state or result of an id */
int cmd_cancel(int argc, char **argv);  /* cancel.c: cancel what has not started */
int cmd_info(int argc, char **argv);    /* info.c: the queue in numbers */
int cmd_top(int argc, char **argv);     /* top.c: the queue, live */
int cmd_apply(int argc, char **argv);   /* apply.c: records from a file */
int cmd_export(int argc, char **argv);  /* export.c: records as a file */
int cmd_sandbox(int argc, char **argv); /* sandbox.c: an advertiser to try things with */
int cmd_trace(int argc, char **argv);   /* trace.c: the time-line of a request */
/* route_controls.c: what brokers are to do with a route, until it is taken back */
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_purge(int argc, char **argv); /* purge.c: ends what waits */
int cmd_dead(int argc, char **argv);  /* dead.c: stored jobs that ended without what was asked */
/* callbacks.c: what others are to be told */
int cmd_callbacks(int argc, char **argv);
/* unknown.c: jobs whose outcome nobody knows */
int cmd_unknown(int argc, char **argv);
/* demo.c: a first OTP, sent and verified through a running node */
int cmd_demo(int argc, char **argv);
/* keys.c: who may use the brokers' sockets */
int cmd_keys(int argc, char **argv);
/* hash_password.c: what an account's password_hash is */
int cmd_hash_password(int argc, char **argv);

#endif
