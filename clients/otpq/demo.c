/*
 * `otpq demo`: one OTP, sent and verified through a running node with the demo records, the way an
 * affiliate's server would do it: HTTP to the gateway, the OTP read from the sandbox's inbox.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/otpq/commands.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/meaning/config.h"

enum { ANSWER_BYTES_MAX = 64 * 1024, CALL_TIMEOUT_MS = 15000, URL_BYTES = 1024 };

static const char usage[] =
    "usage: otpq demo [--msisdn NUMBER] [--config FILE] [--json]\n"
    "\n"
    "Sends an OTP through the gateway (integration demo, affiliate 1001), reads it from the\n"
    "sandbox's inbox, verifies it and prints the flow's time-line. Exit code 0 when it was\n"
    "verified.\n";

struct demo {
    struct config config;
    bool json;
    char msisdn[16];
    CURL *curl;
    char request_id[64];
};

static size_t on_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct buf *answer = context;
    buf_put(answer, bytes, size * count);
    return buf_ok(answer) ? size * count : 0;
}

/* GET; NULL when there was no JSON answer. */
static json_t *get_json(struct demo *d, const char *url, const char *what, double *ms)
{
    struct buf answer;
    buf_init(&answer, ANSWER_BYTES_MAX);
    curl_easy_setopt(d->curl, CURLOPT_URL, url);
    curl_easy_setopt(d->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(d->curl, CURLOPT_TIMEOUT_MS, (long)CALL_TIMEOUT_MS);
    curl_easy_setopt(d->curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(d->curl, CURLOPT_WRITEDATA, &answer);
    int64_t began_us = clock_mono_us();
    CURLcode rc = curl_easy_perform(d->curl);
    *ms = (double)(clock_mono_us() - began_us) / 1000.0;
    json_t *json = rc == CURLE_OK
                       ? json_loadb(buf_text(&answer), answer.n, JSON_REJECT_DUPLICATES, NULL)
                       : NULL;
    if (json == NULL) {
        (void)fprintf(stderr, "otpq demo: %s: %s\n", what,
                      rc == CURLE_OK ? "the answer is not JSON" : curl_easy_strerror(rc));
    }
    buf_free(&answer);
    return json;
}

static void show(const struct demo *d, const char *step, const char *word, double ms)
{
    if (!d->json) {
        (void)printf("  %-22s %-24s %7.1f ms\n", step, word, ms);
        (void)fflush(stdout);
    }
}

static const char *word_of(const json_t *answer)
{
    const char *word = json_string_value(json_object_get(answer, "response"));
    const char *error = json_string_value(json_object_get(answer, "error"));
    return word != NULL ? word : error != NULL ? error : "?";
}

/* One call of system 2; true when it answered with the word expected. */
static bool call_gateway(struct demo *d, const char *call, const char *extra, const char *expected)
{
    char url[URL_BYTES];
    double ms;
    (void)snprintf(url, sizeof(url),
                   "http://%s/api/af/%s?key=demo-key-1001&aid=1001&mid=1&partner=demo"
                   "&userId=first&msisdn=%s%s",
                   d->config.gateway_listen, call, d->msisdn, extra);
    json_t *answer = get_json(d, url, call, &ms);
    bool good = answer != NULL && strcmp(word_of(answer), expected) == 0;
    if (answer != NULL) {
        const char *data = json_string_value(json_object_get(answer, "data"));
        if (data != NULL) {
            (void)snprintf(d->request_id, sizeof(d->request_id), "%s", data);
        }
        show(d, call, word_of(answer), ms);
    }
    json_decref(answer);
    return good;
}

static bool read_inbox(struct demo *d, char otp[16])
{
    char url[URL_BYTES];
    double ms;
    (void)snprintf(url, sizeof(url), "http://%s/inbox?msisdn=%s", d->config.sandbox_listen,
                   d->msisdn);
    json_t *inbox = get_json(d, url, "inbox", &ms);
    const char *text = json_string_value(json_object_get(json_array_get(inbox, 0), "otp"));
    bool found = text != NULL && strlen(text) < 16;
    if (found) {
        (void)strcpy(otp, text);
    }
    show(d, "the phone's inbox", found ? "an OTP arrived" : "no OTP arrived", ms);
    json_decref(inbox);
    return found;
}

static bool send_and_verify(struct demo *d)
{
    char otp[16] = "";
    char extra[160];
    if (!call_gateway(d, "otp_gen", "", "otp_sent") || !read_inbox(d, otp)) {
        return false;
    }
    (void)snprintf(extra, sizeof(extra), "&otp=%s&request_id=%s", otp, d->request_id);
    return call_gateway(d, "otp_verify", extra, "otp_verified");
}

static void print_trace(struct demo *d, const char *config_path)
{
    char *argv[] = {"trace", d->request_id, "--config", (char *)(uintptr_t)config_path, NULL};
    if (d->request_id[0] != '\0') {
        optind = 1;
        (void)printf("\n");
        (void)fflush(stdout);
        (void)cmd_trace(config_path != NULL ? 4 : 2, argv);
    }
}

static int run(struct demo *d, const char *config_path)
{
    if (d->msisdn[0] == '\0') { /* an ordinary number of the sandbox: last four digits under 9000 */
        (void)snprintf(d->msisdn, sizeof(d->msisdn), "6681%03u%04u",
                       (unsigned)rng_secure_below(1000), (unsigned)rng_secure_below(9000));
    }
    if (!d->json) {
        (void)printf("\nA first OTP, as an affiliate's server sees it:\n");
    }
    bool verified = send_and_verify(d);
    if (d->json) {
        (void)printf("{\"verified\":%s,\"request_id\":\"%s\"}\n", verified ? "true" : "false",
                     d->request_id);
    } else {
        print_trace(d, config_path);
        (void)printf("\n%s\n", verified ? "Sent and verified." : "The first flow failed.");
    }
    return verified ? 0 : 1;
}

int cmd_demo(int argc, char **argv)
{
    static const struct option options[] = {
        {"msisdn", required_argument, NULL, 'm'},
        {"config", required_argument, NULL, 'c'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct demo d = {.json = false};
    const char *config_path = NULL;
    for (int o = getopt_long(argc, argv, "", options, NULL); o != -1;
         o = getopt_long(argc, argv, "", options, NULL)) {
        switch (o) {
        case 'm':
            (void)snprintf(d.msisdn, sizeof(d.msisdn), "%s", optarg);
            break;
        case 'c':
            config_path = optarg;
            break;
        case 'j':
            d.json = true;
            break;
        default:
            (void)fputs(usage, o == 'h' ? stdout : stderr);
            return o == 'h' ? 0 : 2;
        }
    }
    struct yaml_error error;
    if (!config_load(&d.config, config_path, &error)) {
        (void)fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    d.curl = curl_easy_init();
    need(d.curl != NULL);
    int code = run(&d, config_path);
    curl_easy_cleanup(d.curl);
    config_free(&d.config);
    return code;
}
