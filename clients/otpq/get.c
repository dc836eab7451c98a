#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"

static const char usage[] = "usage: otpq get ID [options]\n\n"
                            "Prints the state of a job, or its result when it ended (kept for 10 "
                            "minutes).\n\n" CLIENT_USAGE;

int cmd_get(int argc, char **argv)
{
    return client_ask(argc, argv, usage, otpq_get, NULL);
}
