#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"

static const char usage[] =
    "usage: otpq cancel ID [options]\n\n"
    "Cancels a job that has not started; a started one goes on.\n\n" CLIENT_USAGE;

int cmd_cancel(int argc, char **argv)
{
    return client_ask(argc, argv, usage, otpq_cancel, "cancelled");
}
