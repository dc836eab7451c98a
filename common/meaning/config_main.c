#include "common/meaning/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/process.h"
#include "common/meaning/code.h"
#include "common/meaning/config_shape.h"
#include "common/meaning/curve_key.h"
#include "common/meaning/secrets.h"

/* Which sections a program reads; a program that is not here reads them all. */
static const struct {
    const char *program;
    const char *sections; /* words, a space around each; options outside sections: "dir" */
} readers[] = {
    {"otpq-broker", " dir log redis broker "},
    {"otpq-worker", " dir log redis worker outgoing secrets events session "},
    {"otpq-gateway", " dir log redis gateway "},
};

static bool is_read_by(const char *program, const char *key)
{
    char section[64];
    (void)snprintf(section, sizeof(section), " %.*s ", (int)strcspn(key, "."), key);
    for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
        if (strcmp(readers[i].program, program) == 0) {
            return strstr(readers[i].sections, section) != NULL;
        }
    }
    return true;
}

static void put_values(const struct config_option *o, struct buf *out)
{
    if (o->type == CONFIG_CHOICE) {
        buf_printf(out, " (%s)", o->choices);
    } else if (o->type == CONFIG_UINT) {
        buf_printf(out, " (%" PRIu64 " to %" PRIu64 "%s%s)", o->min, o->max,
                   o->unit[0] != '\0' ? " " : "", o->unit);
    } else if (o->type == CONFIG_LIST) {
        buf_printf(out, " (list%s%s)", config_shapes[o->shape].values[0] != '\0' ? " of " : "",
                   config_shapes[o->shape].values);
    } else if (config_shapes[o->shape].values[0] != '\0') {
        buf_printf(out, " (%s)", config_shapes[o->shape].values);
    } else if (o->type == CONFIG_PREFIX) {
        buf_printf(out, " (at most %" PRIu64 " of A-Z a-z 0-9 : . _ -)", o->max);
    }
}

void config_help(const char *program, struct buf *out)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *o = &config_options[i];
        if (!is_read_by(program, o->key)) {
            continue;
        }
        bool is_new =
            i == 0 || strncmp(o->key, config_options[i - 1].key, strcspn(o->key, ".") + 1) != 0;
        buf_printf(out, "%s  %s: %s", is_new ? "\n" : "", o->key,
                   o->fallback[0] != '\0' ? o->fallback : "\"\"");
        put_values(o, out);
        buf_printf(out, "\n        %s\n", o->meaning);
    }
}

static void print_help(const char *program, const char *purpose)
{
    struct buf b;
    buf_init(&b, 65536);
    buf_printf(&b,
               "%s: %s\n\n"
               "  --config FILE    read options from FILE (YAML)\n"
               "  --check-config   check the options, say so, and end\n"
               "  --version        print the version and end\n"
               "  --help           print this and end\n\n"
               "Options of the file, \"section.key: default\". Each is overridden by the\n"
               "environment: OTPQ_LOG_LEVEL stands for log.level.\n",
               program, purpose);
    config_help(program, &b);
    (void)fputs(buf_text(&b), stdout);
    buf_free(&b);
}

void config_log_setup(const struct config *c, const char *program)
{
    enum log_level level = LOG_LEVEL_INFO;
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
        if (strcmp(c->log_level, names[i]) == 0) {
            level = (enum log_level)i;
        }
    }
    log_setup(program, level, strcmp(c->log_format, "json") == 0);
}

/* What the command line asks for. */
struct asked {
    const char *file; /* --config, or NULL */
    bool check;       /* --check-config */
    bool version;     /* --version */
    bool help;        /* --help */
};

static void bad_argument(const char *program, const char *argument)
{
    static const char *const words[] = {"--config", "--check-config", "--version", "--help"};
    const char *near = yaml_suggest(argument, words, ARRAY_LEN(words));
    if (strcmp(argument, "--config") == 0) {
        (void)fprintf(stderr, "%s: --config wants a file behind it\n", program);
    } else if (near != NULL) {
        (void)fprintf(stderr, "%s: unknown argument \"%s\"; did you mean %s?\n", program, argument,
                      near);
    } else {
        (void)fprintf(stderr, "%s: unknown argument \"%s\"; --help lists what there is\n", program,
                      argument);
    }
}

static bool read_arguments(int argc, char **argv, const char *program, struct asked *asked)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            asked->file = argv[++i];
        } else if (strncmp(argv[i], "--config=", 9) == 0) {
            asked->file = argv[i] + 9;
        } else if (strcmp(argv[i], "--check-config") == 0) {
            asked->check = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            asked->version = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            asked->help = true;
        } else {
            bad_argument(program, argv[i]);
            return false;
        }
    }
    return true;
}

static bool check_file(const struct config *c, const char *key, const char *path, size_t bytes_min,
                       struct yaml_error *error)
{
    struct yaml_error why;
    size_t n = 0;
    char *secret = secret_file_read(path, SECRET_BYTES_MAX, &n, &why);
    bool ok = secret != NULL && n >= bytes_min;
    if (secret == NULL) {
        config_error(c, key, error, "%s: %.400s", key, why.text);
    } else if (!ok) {
        config_error(c, key, error, "%s: %s: shorter than %zu bytes", key, path, bytes_min);
    }
    secret_wipe(&secret, n);
    return ok;
}

static bool check_values(const struct config *c, struct yaml_error *error)
{
    struct yaml_error why;
    struct secrets *secrets = secrets_load(c->secrets_file, &why);
    bool ok = secrets != NULL;
    if (!ok) {
        config_error(c, "secrets.file", error, "secrets.file: %.400s", why.text);
    }
    secrets_destroy(&secrets);
    return ok;
}

static bool check_pair(const struct config *c, const char *key, const char *path,
                       struct yaml_error *error)
{
    char why[256];
    struct curve_pair pair;
    bool ok = curve_file_read(path, &pair, why);
    if (ok) {
        curve_pair_wipe(&pair);
    } else {
        config_error(c, key, error, "%s: %s: %s", key, path, why);
    }
    return ok;
}

static bool check_pairs(const struct config *c, const char *program, struct yaml_error *error)
{
    const struct {
        const char *key;
        const char *path;
    } files[] = {
        {"broker.curve_secret_file", c->broker_curve_secret_file},
        {"worker.curve_secret_file", c->worker_curve_secret_file},
        {"gateway.curve_secret_file", c->gateway_curve_secret_file},
        {"client.curve_secret_file", c->client_curve_secret_file},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (files[i].path[0] != '\0' && is_read_by(program, files[i].key) &&
            !check_pair(c, files[i].key, files[i].path, error)) {
            return false;
        }
    }
    return true;
}

bool config_check_files(const struct config *c, const char *program, struct yaml_error *error)
{
    const struct {
        const char *key;
        const char *path;
        size_t bytes_min;
    } files[] = {
        {"redis.password_file", c->redis_password_file, 1},
        {"secrets.pepper_file", c->secrets_pepper_file, CODE_PEPPER_BYTES_MIN},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (files[i].path[0] != '\0' && is_read_by(program, files[i].key) &&
            !check_file(c, files[i].key, files[i].path, files[i].bytes_min, error)) {
            return false;
        }
    }
    if (!check_pairs(c, program, error)) {
        return false;
    }
    return !is_read_by(program, "secrets.file") || check_values(c, error);
}

/* The secret files too: one that cannot be read is found before anything is opened. */
static bool load(const struct asked *asked, const char *program, struct config *c)
{
    struct yaml_error error;
    bool ok = config_load(c, asked->file, &error);
    if (ok && !config_check_files(c, asked->check ? "otpq" : program, &error)) {
        config_free(c);
        ok = false;
    }
    if (!ok) {
        (void)fprintf(stderr, "%s: %s\n", program, error.text);
    }
    return ok;
}

int config_main(int argc, char **argv, const char *program, const char *purpose, struct config *c)
{
    struct asked asked = {0};
    *c = (struct config){0};
    if (!read_arguments(argc, argv, program, &asked)) {
        return CONFIG_EXIT_BAD;
    }
    if (asked.help) {
        print_help(program, purpose);
        return CONFIG_EXIT_OK;
    }
    if (asked.version) {
        (void)printf("%s %s\n", program, OTPQ_VERSION);
        return CONFIG_EXIT_OK;
    }
    if (!load(&asked, program, c)) {
        return CONFIG_EXIT_BAD;
    }
    if (asked.check) {
        (void)printf("%s: configuration is sound%s%s\n", program, asked.file != NULL ? ": " : "",
                     asked.file != NULL ? asked.file : "");
        config_free(c);
        return CONFIG_EXIT_OK;
    }
    process_no_core();
    config_log_setup(c, program);
    return CONFIG_GO_ON;
}
