/*
 * `otpq export`: all records as one canonical file, the same that `otpq apply` takes.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/records_access.h"
#include "common/adapters/records_watch.h"

static const char usage[] =
    "usage: otpq export [--json] [--config FILE]\n"
    "\n"
    "Prints all records as the file that `otpq apply -f` takes. --json prints one object instead:\n"
    "the version, and each record as text under its section and name. API keys, tokens, secrets\n"
    "of signatures and password hashes are in it: mind who can read the output.\n";

static int print_json(const struct record_texts *texts, uint64_t version)
{
    json_t *root = json_pack("{s:I}", "version", (json_int_t)version);
    must(root != NULL);
    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        json_t *section = json_object();
        for (size_t i = 0; i < texts->count; i++) {
            if (texts->at[i].kind == (enum record_kind)kind) {
                must(json_object_set_new(section, texts->at[i].name,
                                         json_string(texts->at[i].text)) == 0);
            }
        }
        must(json_object_set_new(root, record_sections[kind], section) == 0);
    }
    int rc = json_dumpf(root, stdout, JSON_INDENT(2));
    json_decref(root);
    return rc == 0 && putchar('\n') != EOF && fflush(stdout) == 0 ? OTPQ_EXIT_DONE
                                                                  : OTPQ_EXIT_REFUSED;
}

static int print_file(struct record_texts *texts, const struct voice *voice)
{
    struct buf b;
    buf_init(&b, YAML_BYTES_MAX);
    record_file_write(texts->at, texts->count, &b);
    bool is_written =
        buf_ok(&b) && fwrite(buf_text(&b), 1, b.n, stdout) == b.n && fflush(stdout) == 0;
    if (!buf_ok(&b)) {
        voice_error(voice, "more than 8 MiB of records; use --json");
    } else if (!is_written) {
        voice_error(voice, "%s", strerror(errno));
    }
    buf_free(&b);
    return is_written ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

static int export(const char *config_path, const struct voice *voice)
{
    struct records_access access;
    struct record_texts texts = {0};
    uint64_t version = 0;
    char why[512];
    int code = records_access_open(&access, voice, config_path);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    if (!records_load(access.redis, access.config.redis_prefix, &texts, &version, why)) {
        voice_error(voice, "%s", why);
        code = OTPQ_EXIT_REFUSED;
    } else {
        code = voice->json ? print_json(&texts, version) : print_file(&texts, voice);
        record_texts_free(&texts);
    }
    records_access_close(&access);
    return code;
}

int cmd_export(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *config_path = NULL;
    struct voice voice = {.command = "otpq export"};
    for (int o; (o = getopt_long(argc, argv, "jc:h", options, NULL)) != -1;) {
        if (o == 'j') {
            voice.json = true;
        } else if (o == 'c') {
            config_path = optarg;
        } else {
            (void)fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? OTPQ_EXIT_DONE : OTPQ_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fputs(usage, stderr);
        return OTPQ_EXIT_USAGE;
    }
    return export(config_path, &voice);
}
