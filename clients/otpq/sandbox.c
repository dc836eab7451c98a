/* `otpq sandbox`: an advertiser to try things with. What it does with which number is in
 * sandbox_numbers.c; docs/sandbox.md tells how to use it. */
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/sandbox_numbers.h"
#include "clients/otpq/sandbox_server.h"
#include "clients/otpq/voice.h"
#include "common/base/log.h"
#include "common/meaning/config.h"

enum { DELAY_MS_MAX = 600000, TEXT_BYTES_MAX = 64 * 1024 };

static const char usage[] =
    "usage: otpq sandbox [--listen HOST:PORT] [--delay-ms N] [--config FILE] [--json]\n"
    "       otpq sandbox --numbers [--json]\n"
    "\n"
    "Plays an advertiser over HTTP: takes OTPs, shows what arrived, verifies them, and misbehaves\n"
    "for certain numbers. Nothing leaves this machine.\n"
    "\n"
    "  --listen HOST:PORT  where to serve (default: sandbox.listen of the configuration)\n"
    "  --delay-ms N        every answer after N ms\n"
    "  --config FILE       configuration\n"
    "  --numbers           print how numbers behave, and end\n"
    "  --json              for programs: the numbers, or {\"listen\": …} once it serves\n";

struct arguments {
    const char *listen; /* NULL: the configuration's */
    const char *config; /* NULL: defaults */
    uint32_t delay_ms;
    bool numbers;
    bool json;
    bool help;
};

static bool read_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"delay-ms", required_argument, NULL, 'd'},
        {"config", required_argument, NULL, 'c'},
        {"numbers", no_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    uint64_t number = 0;
    int c;
    optind = 1;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'l':
            a->listen = optarg;
            break;
        case 'd':
            if (!slice_to_u64(slice_of(optarg), DELAY_MS_MAX, &number)) {
                (void)fprintf(stderr, "otpq sandbox: --delay-ms is 0 to %d\n", DELAY_MS_MAX);
                return false;
            }
            a->delay_ms = (uint32_t)number;
            break;
        case 'c':
            a->config = optarg;
            break;
        case 'n':
            a->numbers = true;
            break;
        case 'j':
            a->json = true;
            break;
        case 'h':
            a->help = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

static void print_numbers(bool json)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    if (json) {
        sandbox_numbers_print_json(&text);
    } else {
        sandbox_numbers_print(&text);
    }
    (void)fwrite(buf_text(&text), 1, text.n, stdout);
    (void)fflush(stdout);
    buf_free(&text);
}

static void on_signal(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    (void)event_base_loopbreak(context);
}

static void print_listen(const struct sandbox_options *o, const struct sandbox_server *server)
{
    json_t *said =
        json_pack("{s:s, s:i}", "listen", o->listen, "port", (int)sandbox_server_port(server));
    must(said != NULL);
    (void)json_dumpf(said, stdout, JSON_COMPACT);
    (void)putchar('\n');
    (void)fflush(stdout);
    json_decref(said);
}

static int serve(const struct sandbox_options *o, const struct voice *voice)
{
    char error[256];
    struct event_base *base = event_base_new();
    need(base != NULL);
    struct sandbox_server *server = sandbox_server_new(base, o, error);
    if (server == NULL) {
        log_error("cannot start", "why", error, NULL);
        if (voice->json) {
            voice_error(voice, "%s", error);
        }
        event_base_free(base);
        return OTPQ_EXIT_REFUSED;
    }
    struct event *term = evsignal_new(base, SIGTERM, on_signal, base);
    struct event *interrupt = evsignal_new(base, SIGINT, on_signal, base);
    need(term != NULL && interrupt != NULL && event_add(term, NULL) == 0 &&
         event_add(interrupt, NULL) == 0);
    if (voice->json) {
        print_listen(o, server);
    } else {
        print_numbers(false);
    }
    log_info("ready", "listen", o->listen, "port", log_num(sandbox_server_port(server)), NULL);
    (void)sd_notify(0, "READY=1");
    (void)event_base_dispatch(base);
    (void)sd_notify(0, "STOPPING=1");
    sandbox_server_destroy(&server);
    event_free(term);
    event_free(interrupt);
    event_base_free(base);
    return OTPQ_EXIT_DONE;
}

int cmd_sandbox(int argc, char **argv)
{
    struct arguments a = {0};
    struct config config = {0};
    struct yaml_error error;
    if (!read_arguments(argc, argv, &a)) {
        (void)fputs(usage, stderr);
        return OTPQ_EXIT_USAGE;
    }
    if (a.help || a.numbers) {
        if (a.help) {
            (void)fputs(usage, stdout);
        } else {
            print_numbers(a.json);
        }
        return OTPQ_EXIT_DONE;
    }
    const struct voice voice = {.command = "otpq sandbox", .json = a.json};
    if (!config_load(&config, a.config, &error)) {
        voice_error(&voice, "%s", error.text);
        return OTPQ_EXIT_USAGE;
    }
    config_log_setup(&config, "sandbox");
    struct sandbox_options o = {.listen = a.listen != NULL ? a.listen : config.sandbox_listen,
                                .delay_ms = a.delay_ms};
    int code = serve(&o, &voice);
    config_free(&config);
    return code;
}
