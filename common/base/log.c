#include "common/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/buf.h"

enum { LINE_BYTES_MAX = 8192 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *log_program = "otpq";
static enum log_level log_least = LOG_LEVEL_INFO;
static bool log_json = false;

void log_setup(const char *program, enum log_level least, bool json)
{
    log_program = program;
    log_least = least;
    log_json = json;
}

static bool plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == '"' || *c == '=' || *c == '\\' || *c == 0x7f) {
            return false;
        }
    }
    return *text != '\0';
}

static void put_quoted(struct buf *b, const char *text)
{
    buf_putc(b, '"');
    for (const char *c = text; *c != '\0'; c++) {
        unsigned char u = (unsigned char)*c;
        if (u == '"' || u == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, *c);
        } else if (u < ' ' || u == 0x7f) {
            buf_printf(b, "\\u%04x", u);
        } else {
            buf_putc(b, *c);
        }
    }
    buf_putc(b, '"');
}

static void put_pair(struct buf *b, const char *key, const char *value)
{
    if (log_json) {
        buf_puts(b, b->n > 1 ? ",\"" : "\"");
        buf_puts(b, key);
        buf_puts(b, "\":");
        put_quoted(b, value);
        return;
    }
    if (b->n > 0) {
        buf_putc(b, ' ');
    }
    buf_puts(b, key);
    buf_putc(b, '=');
    if (plain(value)) {
        buf_puts(b, value);
    } else {
        put_quoted(b, value);
    }
}

static void put_time(struct buf *b)
{
    struct timespec now;
    struct tm utc;
    char day[32];
    char text[48];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(text, sizeof(text), "%s.%03dZ", day, (int)(now.tv_nsec / 1000000));
    put_pair(b, "at", text);
}

void log_line(enum log_level level, const char *msg, ...)
{
    if (level < log_least) {
        return;
    }
    struct buf b;
    buf_init(&b, LINE_BYTES_MAX);
    if (log_json) {
        buf_putc(&b, '{');
    }
    put_time(&b);
    put_pair(&b, "level", level_names[level]);
    put_pair(&b, "program", log_program);
    put_pair(&b, "pid", log_num(getpid()));
    put_pair(&b, "msg", msg);
    va_list args;
    va_start(args, msg);
    for (const char *key = va_arg(args, const char *); key != NULL;
         key = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        put_pair(&b, key, value != NULL ? value : "");
    }
    va_end(args);
    b.overflow = false; /* a line too long is cut, never lost */
    b.max += 2;
    buf_puts(&b, log_json ? "}\n" : "\n");
    if (write(STDERR_FILENO, b.p, b.n) < 0) {
        /* nobody listens: a log that cannot be written stops no work */
    }
    buf_free(&b);
}

const char *log_num(long long value)
{
    static _Thread_local char ring[8][24];
    static _Thread_local unsigned at;
    char *text = ring[at++ % 8];
    (void)snprintf(text, sizeof(ring[0]), "%lld", value);
    return text;
}
