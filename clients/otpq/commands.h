/*
 * commands.h: the subcommands of `otpq`. Each gets the arguments behind its own name, with its name
 * as argv[0], and returns the exit code. Floor 4.
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

/* Until all of them are linked in, one that is missing is NULL and stays out of the help. */
#define OTPQ_COMMAND(name) int name(int argc, char **argv) __attribute__((weak))

OTPQ_COMMAND(cmd_up);      /* up.c: a whole node under one supervisor */
OTPQ_COMMAND(cmd_push);    /* push.c: jobs from arguments or JSON lines */
OTPQ_COMMAND(cmd_get);     /* get.c: state or result of an id */
OTPQ_COMMAND(cmd_cancel);  /* cancel.c: cancel what has not started */
OTPQ_COMMAND(cmd_info);    /* info.c: the queue in numbers */
OTPQ_COMMAND(cmd_top);     /* top.c: the queue, live */
OTPQ_COMMAND(cmd_apply);   /* apply.c: records from a file */
OTPQ_COMMAND(cmd_export);  /* export.c: records as a file */
OTPQ_COMMAND(cmd_sandbox); /* sandbox.c: an advertiser to try things with */
OTPQ_COMMAND(cmd_trace);   /* trace.c: the time-line of a request */
OTPQ_COMMAND(cmd_demo);    /* demo.c: a first OTP, sent and verified through a running node */

#endif
