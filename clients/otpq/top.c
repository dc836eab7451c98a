#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"
#include "clients/otpq/view.h"
#include "clients/otpq/voice.h"

static const char usage[] =
    "usage: otpq top [options]\n\n"
    "The queue, live: depth, oldest age, jobs in flight, rates, workers, and the same of its\n"
    "routes. q or Ctrl-C ends it. Off a terminal it prints one look and ends.\n\n"
    "  --once             one look, with rates, and end\n"
    "  --line             one line, renewed in place: for under the output of another program\n"
    "                     (with --once or --json: one look all the same)\n"
    "  --interval-ms N    time between looks (1000, at least 100)\n" CLIENT_USAGE;

enum { OPT_ONCE = CLIENT_NEXT, OPT_LINE, OPT_INTERVAL };
enum {
    INTERVAL_DEFAULT_MS = 1000,
    INTERVAL_MIN_MS = 100,
    INTERVAL_MAX_MS = 3600000,
    LIVE_TIMEOUT_MS = 1000
};

struct top {
    struct client_args args;
    bool once;
    bool line;
    uint32_t interval_ms;
    struct termios before; /* the terminal as it was */
    struct view views[2];  /* the last look and the one before, in turn */
    unsigned looks;
    struct view_history history;
};

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
    (void)number;
    ended = 1;
}

static void end_on_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
}

static void screen_open(struct top *t)
{
    struct termios raw;
    end_on_signals();
    (void)tcgetattr(STDIN_FILENO, &t->before);
    raw = t->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* keys come at once and unseen; Ctrl-C stays */
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    (void)fputs("\033[?1049h\033[?25l", stdout); /* second screen, no cursor */
}

static void screen_close(const struct top *t)
{
    (void)fputs("\033[?25h\033[?1049l", stdout);
    (void)fflush(stdout);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
}

static unsigned screen_lines(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 ? size.ws_row : 24;
}

/* One is left free: a full line would move to the next and could not be renewed in place. */
static unsigned screen_columns(void)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return (known ? size.ws_col : 80U) - 1;
}

/* Bytes of the first line that fit into so many columns. */
static int fitting(const char *text, unsigned columns)
{
    size_t n = 0;
    for (unsigned seen = 0; text[n] != '\0' && text[n] != '\n'; n++) {
        bool begins = ((unsigned char)text[n] & 0xc0) != 0x80; /* a character, in UTF-8 */
        if (begins && seen++ == columns) {
            break;
        }
    }
    return (int)n;
}

/* Each line is cleared behind its text, and everything below the last: no flicker. */
static void paint(const char *text)
{
    (void)fputs("\033[H", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            (void)fputs("\033[K", stdout);
        }
        (void)fputc(*text, stdout);
    }
    (void)fputs("\033[J", stdout);
    (void)fflush(stdout);
}

/* Sleeps until the next look; true when the user wants to leave. */
static bool pause_or_quit(const struct top *t, bool keys)
{
    struct pollfd key = {.fd = STDIN_FILENO, .events = POLLIN};
    char c = 0;
    if (poll(&key, keys ? 1 : 0, (int)t->interval_ms) > 0) {
        return read(STDIN_FILENO, &c, 1) != 1 || c == 'q';
    }
    return false;
}

/* One look, into the older of the two views. */
static int look(struct top *t, otpq *q, struct buf *text, unsigned lines)
{
    struct otpq_answer answer;
    struct view *v = &t->views[t->looks % 2];
    const struct view *before = t->looks > 0 ? &t->views[(t->looks + 1) % 2] : NULL;
    const char *why = "";
    int code = view_read(q, t->args.timeout_ms, v, &answer, &why);
    buf_clear(text);
    if (code != 0) {
        if (t->args.json) {
            voice_error(&(struct voice){"otpq top", true}, "%s", why);
        } else {
            buf_printf(text, "otpq: %s\n", why);
        }
        t->looks = 0; /* rates begin anew */
        return code;
    }
    if (t->args.json) {
        view_put_json(text, &answer);
    } else if (t->line) {
        view_put_line(text, v, before, &t->history, screen_columns());
    } else {
        view_put(text, v, before, lines);
    }
    t->looks++;
    return code;
}

static int run_once(struct top *t, otpq *q, struct buf *text)
{
    int code = look(t, q, text, 0);
    if (code == 0 && !t->args.json && !pause_or_quit(t, false)) {
        code = look(t, q, text, 0); /* rates need two */
    }
    (void)fputs(buf_text(text), code == 0 ? stdout : stderr);
    if (code == 0 && t->line && !t->args.json) {
        (void)fputc('\n', stdout);
    }
    return code;
}

/* A broker that is away is shown as that and asked again: it may be starting. */
static int run_live(struct top *t, otpq *q, struct buf *text)
{
    int code = OTPQ_EXIT_DONE;
    if (t->args.timeout_ms > LIVE_TIMEOUT_MS) {
        t->args.timeout_ms = LIVE_TIMEOUT_MS;
    }
    screen_open(t);
    while (!ended) {
        code = look(t, q, text, screen_lines());
        paint(buf_text(text));
        ended |= pause_or_quit(t, true);
    }
    screen_close(t);
    return code;
}

/* Needs no keys, so it may run behind a program that owns the terminal. */
static int run_line(struct top *t, otpq *q, struct buf *text)
{
    end_on_signals();
    while (!ended) {
        (void)look(t, q, text, 1);
        (void)fprintf(stdout, "\r\033[K%.*s", fitting(buf_text(text), screen_columns()),
                      buf_text(text));
        (void)fflush(stdout);
        ended |= pause_or_quit(t, false);
    }
    (void)fputs("\r\033[K", stdout);
    return OTPQ_EXIT_DONE;
}

static int run_as_asked(struct top *t, otpq *q, struct buf *text)
{
    bool screen = isatty(STDIN_FILENO) && client_terminal(STDOUT_FILENO);
    if (t->once || t->args.json) {
        return run_once(t, q, text);
    }
    if (t->line) {
        return run_line(t, q, text);
    }
    return screen ? run_live(t, q, text) : run_once(t, q, text);
}

static int take_option(struct top *t, int option, const char *value)
{
    uint64_t number;
    if (option == OPT_ONCE) {
        t->once = true;
        return -1;
    }
    if (option == OPT_LINE) {
        t->line = true;
        return -1;
    }
    if (option != OPT_INTERVAL) {
        return client_option(&t->args, option, value);
    }
    if (!client_number("interval-ms", value, INTERVAL_MIN_MS, INTERVAL_MAX_MS, &number)) {
        return OTPQ_EXIT_USAGE;
    }
    t->interval_ms = (uint32_t)number;
    return -1;
}

int cmd_top(int argc, char **argv)
{
    static const struct option options[] = {
        {"once", no_argument, NULL, OPT_ONCE},
        {"line", no_argument, NULL, OPT_LINE},
        {"interval-ms", required_argument, NULL, OPT_INTERVAL},
        CLIENT_OPTIONS,
    };
    struct top *t = xcalloc(1, sizeof(*t));
    struct buf text;
    otpq *q = NULL;
    int code = -1;
    buf_init(&text, 65536);
    t->args = (struct client_args){.usage = usage, .timeout_ms = CLIENT_TIMEOUT_MS};
    t->interval_ms = INTERVAL_DEFAULT_MS;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        code = take_option(t, o, optarg);
    }
    if (code < 0 && optind < argc) {
        code = client_usage(&t->args, "top takes no arguments");
    }
    if (code < 0 && (q = client_open(&t->args, 1, &code)) != NULL) {
        code = run_as_asked(t, q, &text);
    }
    otpq_destroy(&q);
    buf_free(&text);
    free(t);
    return code;
}
