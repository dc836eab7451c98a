/*
 * `otpq apply -f FILE`: makes the records of the store those of the file. The whole file is checked
 * before anything is written, and everything is written at once or nothing.
 */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "clients/otpq/keys_plan.h"
#include "clients/otpq/record_plan.h"
#include "clients/otpq/record_warnings.h"
#include "clients/otpq/records_access.h"
#include "common/adapters/records_watch.h"

enum { LINES_BYTES_MAX = 4 * RECORD_BYTES_MAX };

static const char usage[] =
    "usage: otpq apply -f FILE [--prune] [--dry-run] [--json] [--config FILE]\n"
    "\n"
    "Makes the records of the store those of FILE (\"-\": standard input) and shows what changes:\n"
    "  +  added      ~  changed, with the lines      -  removed      .  kept, not in the file\n"
    "Applying the same file again changes nothing. Processes see the change within a second.\n"
    "Keys, tokens, secrets and password hashes are shown as ***.\n"
    "\n"
    "Sections of FILE: network, affiliates, integrations, endpoints, accounts, flash_templates,\n"
    "api_tokens, mo_sources, keys. An account's password_hash is what `otpq hash-password`\n"
    "prints, and `otpq keys` makes keys.\n"
    "\n"
    "  --prune        remove records that the file does not have, in the sections it has\n"
    "  --dry-run      show what would change, write nothing\n"
    "  --json         one object instead of lines\n"
    "  --config FILE  where Redis is\n"
    "\n"
    "Exit code 0: applied (or nothing to do), 1: the store said no, 2: a mistake in the file or "
    "the\n"
    "arguments. After 1 and 2 nothing was changed.\n";

struct apply {
    const char *file;           /* of records */
    const char *config_path;    /* or NULL */
    bool prune;                 /* --prune */
    bool dry_run;               /* --dry-run */
    struct voice voice;         /* --json is in it */
    struct record_texts wanted; /* of the file */
    struct record_texts stored; /* of the store */
    uint64_t version;           /* of the store when it was read */
    struct plan plan;           /* one beside the other */
    json_t *warnings;           /* sentences, or NULL */
};

/* ---- what is shown --------------------------------------------------------------------------- */

static const struct record_text *text_of(const struct plan_row *row)
{
    return row->wanted != NULL ? row->wanted : row->stored;
}

static void name_of(const struct record_text *t, char out[96])
{
    if (t->kind == RECORD_NETWORK) {
        (void)snprintf(out, 96, "%s", RECORD_NETWORK_NAME);
    } else {
        (void)snprintf(out, 96, "%s/%s", record_sections[t->kind], t->name);
    }
}

static void print_row(const struct plan_row *row)
{
    char name[96];
    if (row->step == PLAN_SAME) {
        return;
    }
    name_of(text_of(row), name);
    (void)printf("%c %s%s\n", plan_signs[row->step], name,
                 row->step == PLAN_KEEP ? "   kept: not in the file" : "");
    if (row->step == PLAN_CHANGE) {
        struct buf lines;
        buf_init(&lines, LINES_BYTES_MAX);
        plan_put_lines(row, 4, &lines);
        (void)fputs(buf_text(&lines), stdout);
        buf_free(&lines);
    }
}

static void print_plan(const struct apply *a)
{
    const struct plan *p = &a->plan;
    for (size_t i = 0; i < p->count; i++) {
        print_row(&p->rows[i]);
    }
    (void)printf("%s%zu added, %zu changed, %zu removed, %zu unchanged, %zu kept\n",
                 a->dry_run ? "dry run: " : "", p->steps[PLAN_ADD], p->steps[PLAN_CHANGE],
                 p->steps[PLAN_REMOVE], p->steps[PLAN_SAME], p->steps[PLAN_KEEP]);
    (void)fflush(stdout);
    size_t i;
    json_t *sentence;
    json_array_foreach(a->warnings, i, sentence)
    {
        (void)fprintf(stderr, "otpq apply: warning: %s\n", json_string_value(sentence));
    }
}

static json_t *names_json(const struct plan *p, enum plan_step step)
{
    json_t *names = json_array();
    for (size_t i = 0; i < p->count; i++) {
        char name[96];
        if (p->rows[i].step == step) {
            name_of(text_of(&p->rows[i]), name);
            must(json_array_append_new(names, json_string(name)) == 0);
        }
    }
    return names;
}

static json_t *changes_json(const struct plan *p)
{
    json_t *changes = json_object();
    for (size_t i = 0; i < p->count; i++) {
        char name[96];
        struct buf lines;
        if (p->rows[i].step != PLAN_CHANGE) {
            continue;
        }
        name_of(text_of(&p->rows[i]), name);
        buf_init(&lines, LINES_BYTES_MAX);
        plan_put_lines(&p->rows[i], 0, &lines);
        must(json_object_set_new(changes, name, json_string(buf_text(&lines))) == 0);
        buf_free(&lines);
    }
    return changes;
}

static void print_plan_json(const struct apply *a)
{
    const struct plan *p = &a->plan;
    json_t *root = json_pack(
        "{s:b, s:o, s:o, s:o, s:o, s:I}", "dry_run", a->dry_run ? 1 : 0, "added",
        names_json(p, PLAN_ADD), "changed", changes_json(p), "removed", names_json(p, PLAN_REMOVE),
        "kept", names_json(p, PLAN_KEEP), "unchanged", (json_int_t)p->steps[PLAN_SAME]);
    must(root != NULL && json_object_set(root, "warnings", a->warnings) == 0);
    (void)json_dumpf(root, stdout, JSON_INDENT(2));
    (void)putchar('\n');
    json_decref(root);
}

/* ---- what is done ---------------------------------------------------------------------------- */

static int read_wanted(struct apply *a)
{
    struct yaml_error error;
    const char *name = strcmp(a->file, "-") == 0 ? "standard input" : a->file;
    struct yaml_node *root = yaml_load(a->file, &error);
    bool ok = root != NULL && record_file_parse(name, root, &a->wanted, &error);
    yaml_destroy(&root);
    if (!ok) {
        voice_error(&a->voice, "%s", error.text);
    }
    return ok ? OTPQ_EXIT_DONE : OTPQ_EXIT_USAGE;
}

/* The secrets file may be another user's, the workers': then nothing is said of it. */
static json_t *warnings_of(const struct record_text *outcome, size_t count,
                           const struct config *config)
{
    struct yaml_error error;
    struct secrets *secrets =
        config->secrets_file[0] != '\0' ? secrets_load(config->secrets_file, &error) : NULL;
    json_t *warnings = record_warnings(outcome, count, secrets);
    secrets_destroy(&secrets);
    return warnings;
}

/* Files are older than revocations, as one that is kept with the sources: they must not undo them.
 */
static int check_revoked(const struct apply *a)
{
    for (size_t i = 0; i < a->plan.count; i++) {
        const struct plan_row *row = &a->plan.rows[i];
        if (row->step == PLAN_CHANGE && row->wanted->kind == RECORD_CURVE_KEY &&
            keys_plan_revives(row->stored, row->wanted)) {
            voice_error(&a->voice,
                        "keys/%s is revoked, and would be let in again: give it revoked: true in "
                        "the file, or make another key (`otpq keys new`)",
                        row->wanted->name);
            return OTPQ_EXIT_USAGE;
        }
    }
    return OTPQ_EXIT_DONE;
}

/* Judges the records as they would be afterwards. */
static int check_outcome(struct apply *a, const struct config *config)
{
    struct yaml_error error;
    size_t count = 0;
    const char *name = strcmp(a->file, "-") == 0 ? "standard input" : a->file;
    struct record_text *outcome = plan_outcome(&a->plan, &count);
    bool ok = records_check(name, outcome, count, &error);
    a->warnings = ok ? warnings_of(outcome, count, config) : NULL;
    free(outcome);
    if (!ok) {
        voice_error(&a->voice, "%s", error.text);
    }
    return ok ? OTPQ_EXIT_DONE : OTPQ_EXIT_USAGE;
}

static int write_changes(const struct apply *a, struct records_access *access)
{
    size_t count = 0;
    char why[512];
    struct record_text *changes = plan_changes(&a->plan, &count);
    bool ok = count == 0 || records_store(access->redis, access->config.redis_prefix, changes,
                                          count, a->version, why);
    free(changes);
    if (!ok) {
        voice_error(&a->voice, "%s", why);
    }
    return ok ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

static int carry_out(struct apply *a, struct records_access *access)
{
    char why[512];
    if (!records_load(access->redis, access->config.redis_prefix, &a->stored, &a->version, why)) {
        voice_error(&a->voice, "%s", why);
        return OTPQ_EXIT_REFUSED;
    }
    plan_make(&a->plan, &a->stored, &a->wanted, a->prune);
    int code = check_revoked(a);
    if (code == OTPQ_EXIT_DONE) {
        code = check_outcome(a, &access->config);
    }
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    if (!a->dry_run) {
        code = write_changes(a, access);
    }
    if (code == OTPQ_EXIT_DONE && a->voice.json) {
        print_plan_json(a);
    } else if (code == OTPQ_EXIT_DONE) {
        print_plan(a);
    }
    return code;
}

static int apply(struct apply *a)
{
    struct records_access access;
    int code = read_wanted(a);
    if (code != OTPQ_EXIT_DONE) {
        return code;
    }
    code = records_access_open(&access, &a->voice, a->config_path);
    if (code == OTPQ_EXIT_DONE) {
        code = carry_out(a, &access);
        records_access_close(&access);
    }
    json_decref(a->warnings);
    plan_free(&a->plan);
    record_texts_free(&a->stored);
    record_texts_free(&a->wanted);
    return code;
}

int cmd_apply(int argc, char **argv)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"prune", no_argument, NULL, 'p'},
        {"dry-run", no_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct apply a = {.voice = {.command = "otpq apply"}};
    for (int o; (o = getopt_long(argc, argv, "f:pnjc:h", options, NULL)) != -1;) {
        switch (o) {
        case 'f':
            a.file = optarg;
            break;
        case 'p':
            a.prune = true;
            break;
        case 'n':
            a.dry_run = true;
            break;
        case 'j':
            a.voice.json = true;
            break;
        case 'c':
            a.config_path = optarg;
            break;
        default:
            (void)fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? OTPQ_EXIT_DONE : OTPQ_EXIT_USAGE;
        }
    }
    if (a.file == NULL || optind < argc) {
        (void)fputs(usage, stderr);
        return OTPQ_EXIT_USAGE;
    }
    return apply(&a);
}
