#include "clients/otpq/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/otpq/commands.h"
#include "common/meaning/config.h"
#include "common/meaning/netaddr.h"
#include "common/meaning/wire.h"

enum { TIMEOUT_MAX_MS = 24 * 3600 * 1000 };

int client_usage(const struct client_args *a, const char *why)
{
    (void)fprintf(stderr, "otpq: %s\n\n%s", why, a->usage);
    return OTPQ_EXIT_USAGE;
}

bool client_number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *out)
{
    if (slice_to_u64(slice_of(value), max, out) && *out >= min) {
        return true;
    }
    (void)fprintf(stderr, "otpq: --%s: a whole number from %llu to %llu is needed, not \"%s\"\n",
                  name, (unsigned long long)min, (unsigned long long)max, value);
    return false;
}

int client_option(struct client_args *a, int option, const char *value)
{
    uint64_t number;
    switch (option) {
    case CLIENT_BROKERS:
        a->brokers = value;
        return -1;
    case CLIENT_CONFIG:
        a->config = value;
        return -1;
    case CLIENT_TIMEOUT:
        if (!client_number("timeout-ms", value, 1, TIMEOUT_MAX_MS, &number)) {
            return OTPQ_EXIT_USAGE;
        }
        a->timeout_ms = (uint32_t)number;
        return -1;
    case CLIENT_JSON:
        a->json = true;
        return -1;
    case CLIENT_HELP:
        (void)fputs(a->usage, stdout);
        return OTPQ_EXIT_DONE;
    default:
        (void)fputs(a->usage, stderr);
        return OTPQ_EXIT_USAGE;
    }
}

/* "a,b" into the list; what is in `text` is cut up. */
static size_t split(char *text, const char *out[CONFIG_LIST_MAX])
{
    size_t n = 0;
    char *rest = NULL;
    for (char *at = strtok_r(text, ", ", &rest); at != NULL && n < CONFIG_LIST_MAX;
         at = strtok_r(NULL, ", ", &rest)) {
        out[n++] = at;
    }
    return n;
}

/* The library would say "Invalid argument", of no one in particular. */
static bool addresses_ok(const char *const *brokers, size_t n)
{
    struct netaddr a;
    for (size_t i = 0; i < n; i++) {
        if (!netaddr_endpoint(brokers[i], &a)) {
            (void)fprintf(stderr, "otpq: --brokers: %s: not an address like tcp://127.0.0.1:5560\n",
                          brokers[i]);
            return false;
        }
    }
    return true;
}

/* The brokers of the arguments or of the configuration, with the keys of the latter. */
static otpq *open_to(const struct config *c, const char *const *brokers, size_t n,
                     uint32_t jobs_max, int *exit_code)
{
    char texts[CONFIG_LIST_MAX][CONFIG_BROKER_BYTES];
    const char *at[CONFIG_LIST_MAX];
    const char *error = "";
    otpq *q = NULL;
    struct otpq_options o = {.brokers = at,
                             .broker_count = n,
                             .jobs_max = jobs_max,
                             .curve_secret_file = c->client_curve_secret_file};
    bool fits = c->client_broker_keys.count <= 1 || c->client_broker_keys.count == n;
    for (size_t i = 0; i < n && fits; i++) {
        config_broker_text(texts[i], brokers[i], config_broker_key(&c->client_broker_keys, i));
        at[i] = texts[i];
    }
    q = fits ? otpq_new(&o, &error) : NULL;
    if (q == NULL) {
        (void)fprintf(stderr, "otpq: cannot use the brokers (client.brokers, --brokers): %s\n",
                      fits ? error : "client.broker_keys has not as many keys");
        *exit_code = OTPQ_EXIT_USAGE;
    }
    return q;
}

otpq *client_open(const struct client_args *a, uint32_t jobs_max, int *exit_code)
{
    const char *brokers[CONFIG_LIST_MAX];
    otpq *q = NULL;
    struct config c;
    struct yaml_error error;
    *exit_code = OTPQ_EXIT_USAGE;
    if (!config_load(&c, a->config, &error)) {
        (void)fprintf(stderr, "otpq: %s\n", error.text);
        return NULL;
    }
    if (a->brokers != NULL) {
        char *text = slice_dup(slice_of(a->brokers));
        size_t n = split(text, brokers);
        q = addresses_ok(brokers, n) ? open_to(&c, brokers, n, jobs_max, exit_code) : NULL;
        free(text);
    } else {
        for (size_t i = 0; i < c.client_brokers.count; i++) {
            brokers[i] = c.client_brokers.at[i];
        }
        q = open_to(&c, brokers, c.client_brokers.count, jobs_max, exit_code);
    }
    config_free(&c);
    return q;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void add_text(json_t *o, const char *key, const char *text)
{
    if (text[0] != '\0') {
        (void)json_object_set_new(o, key, json_string(text));
    }
}

/* A result, not the state of a live job. */
static bool has_ended(const struct otpq_answer *a)
{
    return a->outcome == OTPQ_RESULT && a->code[0] != '\0';
}

/* A result without a code is the state of a live job. */
static const char *outcome_of(const struct otpq_answer *a)
{
    static const char *const outcomes[] = {[OTPQ_RESULT] = "result",
                                           [OTPQ_NOT_TAKEN] = "not_taken",
                                           [OTPQ_TIMED_OUT] = "timed_out",
                                           [OTPQ_STORED] = "stored",
                                           [OTPQ_QUEUED] = "queued"};
    return a->outcome == OTPQ_RESULT && !has_ended(a) ? "live" : outcomes[a->outcome];
}

static void print_json(const struct otpq_answer *a, json_t *body)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "outcome", json_string(outcome_of(a)));
    add_text(o, "id", a->id);
    add_text(o, "state", a->state);
    add_text(o, "code", a->code);
    add_text(o, "detail", a->detail);
    if (has_ended(a)) {
        (void)json_object_set_new(o, "queued_ms", json_integer(a->queued_ms));
        (void)json_object_set_new(o, "run_ms", json_integer(a->run_ms));
        (void)json_object_set_new(o, "attempts", json_integer(a->attempts));
    }
    if (a->retry_after_ms > 0) {
        (void)json_object_set_new(o, "retry_after_ms", json_integer(a->retry_after_ms));
    }
    if (body != NULL) {
        (void)json_object_set(o, "body", body);
    }
    (void)json_dumpf(o, stdout, JSON_COMPACT);
    (void)fputc('\n', stdout);
    json_decref(o);
}

static void print_row(const char *key, const char *text)
{
    if (text[0] != '\0') {
        (void)printf("%-14s %s\n", key, text);
    }
}

static void print_text(const struct otpq_answer *a, json_t *body)
{
    const char *key;
    json_t *value;
    print_row("id", a->id);
    print_row("state", a->outcome == OTPQ_NOT_TAKEN ? "not taken" : a->state);
    print_row("code", a->code);
    print_row("detail", a->detail);
    json_object_foreach(body, key, value)
    {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        print_row(key, json_is_string(value) ? json_string_value(value) : text);
        free(text);
    }
    if (a->retry_after_ms > 0) {
        (void)printf("%-14s %u ms\n", "retry after", a->retry_after_ms);
    }
    if (has_ended(a)) {
        (void)printf("%-14s queued %u ms, run %u ms, attempts %u\n", "took", a->queued_ms,
                     a->run_ms, a->attempts);
    }
}

bool client_terminal(int fd)
{
    const char *kind = getenv("TERM");
    return isatty(fd) && kind != NULL && kind[0] != '\0' && strcmp(kind, "dumb") != 0;
}

void client_print(const struct otpq_answer *answer, bool json)
{
    json_t *body = answer->body_bytes > 0
                       ? client_json_of(slice_make(answer->body, answer->body_bytes))
                       : NULL;
    if (json) {
        print_json(answer, body);
    } else {
        print_text(answer, body);
    }
    json_decref(body);
}

int client_exit(const struct otpq_answer *answer, const char *good)
{
    if (answer->outcome == OTPQ_TIMED_OUT) {
        return OTPQ_EXIT_NO_BROKER;
    }
    if (answer->outcome == OTPQ_NOT_TAKEN) {
        return OTPQ_EXIT_REFUSED;
    }
    if (answer->outcome == OTPQ_STORED || answer->outcome == OTPQ_QUEUED) {
        return OTPQ_EXIT_DONE;
    }
    return good == NULL || strcmp(answer->state, good) == 0 ? OTPQ_EXIT_DONE : OTPQ_EXIT_REFUSED;
}

int client_ask(int argc, char **argv, const char *usage, client_question *ask, const char *good)
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
    if (!wire_id_ok(slice_of(argv[optind]), WIRE_ID_BYTES_MAX)) {
        return client_usage(&args, "an id is 1 to 64 of A-Z a-z 0-9 _ . : -");
    }
    otpq *q = client_open(&args, 1, &code);
    if (q == NULL) {
        return code;
    }
    (void)ask(q, argv[optind], args.timeout_ms, &answer);
    client_print(&answer, args.json);
    code = client_exit(&answer, good);
    otpq_destroy(&q);
    return code;
}
