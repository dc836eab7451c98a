#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"

static const char usage[] = "usage: otpq get ID [options]\n\n"
                            "Prints the state of a job, or its result when it ended (kept for 10 "
                            "minutes).\n\n" CLIENT_USAGE;

int cmd_get(int argc, char **argv)
{
    static const struct option options[] = {CLIENT_OPTIONS};
    struct client_args args = {.usage = usage, .timeout_ms = CLIENT_TIMEOUT_MS};
    struct otpq_answer answer;
    int code = -1;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        code = client_option(&args, o, optarg);
    }
    if (code >= 0) {
        return code;
    }
    if (argc - optind != 1) {
        return client_usage(&args, "one id is needed");
    }
    otpq *q = client_open(&args, 1, &code);
    if (q == NULL) {
        return code;
    }
    (void)otpq_get(q, argv[optind], args.timeout_ms, &answer);
    client_print(&answer, args.json);
    code = client_exit(&answer, NULL);
    otpq_destroy(&q);
    return code;
}
