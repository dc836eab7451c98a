#include <stdio.h>

#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"
#include "clients/otpq/view.h"
#include "clients/otpq/voice.h"

static const char usage[] = "usage: otpq info [options]\n\n"
                            "Prints depth, age, jobs in flight and workers of a broker, and the "
                            "same of its routes.\n\n" CLIENT_USAGE;

int cmd_info(int argc, char **argv)
{
    static const struct option options[] = {CLIENT_OPTIONS};
    struct client_args args = {.usage = usage, .timeout_ms = CLIENT_TIMEOUT_MS};
    struct otpq_answer answer;
    struct buf text;
    const char *why = "";
    int code = -1;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        code = client_option(&args, o, optarg);
    }
    if (code >= 0) {
        return code;
    }
    if (optind < argc) {
        return client_usage(&args, "info takes no arguments");
    }
    otpq *q = client_open(&args, 1, &code);
    if (q == NULL) {
        return code;
    }
    struct view *v = xcalloc(1, sizeof(*v));
    buf_init(&text, 65536);
    code = view_read(q, args.timeout_ms, v, &answer, &why);
    if (code != 0) {
        voice_error(&(struct voice){"otpq info", args.json}, "%s", why);
    } else if (args.json) {
        view_put_json(&text, &answer);
    } else {
        view_put(&text, v, NULL, 0);
    }
    (void)fputs(buf_text(&text), stdout);
    buf_free(&text);
    free(v);
    otpq_destroy(&q);
    return code;
}
