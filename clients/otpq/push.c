#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "clients/otpq/client.h"
#include "clients/otpq/commands.h"
#include "clients/otpq/push_lines.h"
#include "common/meaning/job.h"
#include "common/meaning/wire.h"

static const char usage[] =
    "usage: otpq push ROUTE MSISDN [options]\n"
    "       otpq push -f FILE [options]\n\n"
    "Pushes one job, waits for its result and prints it; or every line of FILE (- is standard\n"
    "input), a JSON object like\n"
    "  {\"route\":\"demo\",\"op\":\"send\",\"body\":{\"msisdn\":\"66812340000\"}}\n"
    "and, as it needs them, id, tenant, trace, ttl_ms, delay_ms, pri and ack.\n\n"
    "  --op send|verify   what to do (send)\n"
    "  --otp -            verify: the code, a line of standard input\n"
    "  --otp-file FILE    verify: the code, first line of FILE\n"
    "  --otp CODE         verify: the code; other users of the machine can see it while it runs\n"
    "  --request-id R     verify: of the send; the newest live one of the number when left out\n"
    "  --aid N            affiliate\n"
    "  --user-id U        the affiliate's own id of the user\n"
    "  --text T           send, otpq makes the code: the message, with {otp} in it\n"
    "  --param K=V        an extra parameter, may be given again\n"
    "  --id ID            idempotency key: the same id never calls the advertiser twice\n"
    "  --tenant T         whose job it is, for fair sharing inside the route\n"
    "  --ttl-ms N         the job is never sent later than this (30000)\n"
    "  --delay-ms N       nor earlier than this (0)\n"
    "  --pri N            0 to 9, higher first (send 5, verify 7)\n"
    "  --ack A            what is told before the result: result (nothing), queued (a broker has\n"
    "                     the job) or stored (it is stored: no broker's death loses it)\n"
    "  --no-wait          with --ack stored: not for the result, which otpq get "
    "tells\n" CLIENT_USAGE;

enum {
    OPT_OP = CLIENT_NEXT,
    OPT_OTP,
    OPT_OTP_FILE,
    OPT_REQUEST_ID,
    OPT_AID,
    OPT_USER_ID,
    OPT_TEXT,
    OPT_PARAM,
    OPT_ID,
    OPT_TENANT,
    OPT_TTL,
    OPT_DELAY,
    OPT_PRI,
    OPT_ACK,
    OPT_NO_WAIT
};

static const struct option options[] = {
    {"op", required_argument, NULL, OPT_OP},
    {"otp", required_argument, NULL, OPT_OTP},
    {"otp-file", required_argument, NULL, OPT_OTP_FILE},
    {"request-id", required_argument, NULL, OPT_REQUEST_ID},
    {"aid", required_argument, NULL, OPT_AID},
    {"user-id", required_argument, NULL, OPT_USER_ID},
    {"text", required_argument, NULL, OPT_TEXT},
    {"param", required_argument, NULL, OPT_PARAM},
    {"id", required_argument, NULL, OPT_ID},
    {"tenant", required_argument, NULL, OPT_TENANT},
    {"ttl-ms", required_argument, NULL, OPT_TTL},
    {"delay-ms", required_argument, NULL, OPT_DELAY},
    {"pri", required_argument, NULL, OPT_PRI},
    {"ack", required_argument, NULL, OPT_ACK},
    {"no-wait", no_argument, NULL, OPT_NO_WAIT},
    CLIENT_OPTIONS,
};

struct push {
    struct client_args args;
    struct otpq_job job; /* body is filled in at last */
    struct job_body body;
    char otp[80];      /* read from a file or standard input */
    const char *lines; /* -f */
    bool no_wait;
};

/* The first line of a file or, for "-", of standard input. */
static bool read_otp(struct push *p, const char *path)
{
    FILE *from = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (from == NULL) {
        (void)fprintf(stderr, "otpq: cannot open %s\n", path);
        return false;
    }
    bool got = fgets(p->otp, sizeof(p->otp), from) != NULL;
    if (from != stdin) {
        (void)fclose(from);
    }
    if (!got) {
        (void)fprintf(stderr, "otpq: no code in %s\n", path);
        return false;
    }
    p->otp[strcspn(p->otp, "\r\n")] = '\0';
    p->body.otp = slice_of(p->otp);
    return true;
}

static bool take_param(struct job_params *params, const char *value)
{
    const char *sign = strchr(value, '=');
    if (sign == NULL || sign == value || params->count == JOB_PARAMS_MAX) {
        (void)fprintf(stderr, "otpq: --param: NAME=VALUE is needed, at most %d times\n",
                      JOB_PARAMS_MAX);
        return false;
    }
    params->at[params->count++] =
        (struct job_param){slice_make(value, (size_t)(sign - value)), slice_of(sign + 1)};
    return true;
}

static bool take_u32(const char *name, const char *value, uint64_t max, uint32_t *out)
{
    uint64_t number = 0;
    bool ok = client_number(name, value, 0, max, &number);
    *out = (uint32_t)number;
    return ok;
}

static bool take_number(struct push *p, int option, const char *value)
{
    uint32_t pri = 0;
    bool ok;
    switch (option) {
    case OPT_AID:
        return client_number("aid", value, 0, INT64_MAX, &p->body.aid);
    case OPT_TTL:
        return take_u32("ttl-ms", value, WIRE_TTL_MAX_MS, &p->job.ttl_ms);
    case OPT_DELAY:
        return take_u32("delay-ms", value, WIRE_TTL_MAX_MS, &p->job.delay_ms);
    default:
        ok = take_u32("pri", value, WIRE_PRI_MAX, &pri);
        p->job.pri = (int)pri;
        return ok;
    }
}

static bool take_text(struct push *p, int option, const char *value)
{
    switch (option) {
    case OPT_OP:
        p->job.op = value;
        return true;
    case OPT_OTP:
        p->body.otp = slice_of(value);
        return strcmp(value, "-") != 0 || read_otp(p, value);
    case OPT_OTP_FILE:
        return read_otp(p, value);
    case OPT_REQUEST_ID:
        p->body.request_id = slice_of(value);
        return true;
    case OPT_USER_ID:
        p->body.user_id = slice_of(value);
        return true;
    case OPT_TEXT:
        p->body.text = slice_of(value);
        return true;
    case OPT_ID:
        p->job.id = value;
        return true;
    case OPT_TENANT:
        p->job.tenant = value;
        return true;
    default:
        p->lines = value;
        return true;
    }
}

/* -1: go on; else the exit code. */
static int take_option(struct push *p, int option, const char *value)
{
    if (option == OPT_PARAM) {
        return take_param(&p->body.params, value) ? -1 : OTPQ_EXIT_USAGE;
    }
    if (option == OPT_AID || option == OPT_TTL || option == OPT_DELAY || option == OPT_PRI) {
        return take_number(p, option, value) ? -1 : OTPQ_EXIT_USAGE;
    }
    if (option == OPT_ACK && !push_ack(value, &p->job.ack)) {
        return client_usage(&p->args, "--ack is result, queued or stored");
    }
    if (option == OPT_NO_WAIT) {
        p->no_wait = true;
    }
    if (option == OPT_ACK || option == OPT_NO_WAIT) {
        return -1;
    }
    if (option >= CLIENT_NEXT || option == 'f') {
        return take_text(p, option, value) ? -1 : OTPQ_EXIT_USAGE;
    }
    return client_option(&p->args, option, value);
}

static void accepted_text(void *context, const struct otpq_answer *answer)
{
    (void)context;
    (void)printf("%-14s %s\n", "accepted", answer->state);
    (void)fflush(stdout); /* whoever reads the pipe need not wait for the result */
}

static void accepted_json(void *context, const struct otpq_answer *answer)
{
    (void)context;
    client_print(answer, true);
    (void)fflush(stdout);
}

static int push_one(struct push *p, otpq *q)
{
    struct otpq_answer answer;
    struct buf body;
    buf_init(&body, WIRE_BODY_BYTES_MAX);
    job_body_encode(&body, &p->body, strcmp(p->job.op, "verify") == 0);
    if (!buf_ok(&body)) {
        buf_free(&body);
        return client_usage(&p->args, "the parameters are longer than 64 KiB together");
    }
    p->job.body = body.p;
    p->job.body_bytes = body.n;
    p->job.accepted = p->no_wait ? NULL : p->args.json ? accepted_json : accepted_text;
    (void)otpq_call(q, &p->job, p->args.timeout_ms, &answer);
    client_print(&answer, p->args.json);
    buf_free(&body);
    return client_exit(&answer, "done");
}

static int check(const struct push *p, int given)
{
    bool verify = strcmp(p->job.op, "verify") == 0;
    if (p->no_wait && p->lines == NULL && p->job.ack != OTPQ_ACK_STORED) {
        return client_usage(&p->args, "--no-wait needs --ack stored");
    }
    if (p->lines != NULL) {
        return given == 0 ? -1 : client_usage(&p->args, "-f takes everything from the file");
    }
    if (given != 2) {
        return client_usage(&p->args, "a route and a number are needed");
    }
    if (!verify && strcmp(p->job.op, "send") != 0) {
        return client_usage(&p->args, "--op is send or verify; other jobs are pushed with -f");
    }
    return verify && p->body.otp.n == 0 ? client_usage(&p->args, "verify needs --otp or --otp-file")
                                        : -1;
}

int cmd_push(int argc, char **argv)
{
    struct push p = {.args = {.usage = usage, .timeout_ms = CLIENT_TIMEOUT_MS},
                     .job = {.op = "send", .pri = -1}};
    int code = -1;
    for (int o; code < 0 && (o = getopt_long(argc, argv, "f:", options, NULL)) != -1;) {
        code = take_option(&p, o, optarg);
    }
    code = code >= 0 ? code : check(&p, argc - optind);
    if (code >= 0) {
        return code;
    }
    otpq *q = client_open(&p.args, PUSH_WINDOW, &code);
    if (q == NULL) {
        return code;
    }
    if (p.lines != NULL) {
        code = push_lines(q, p.lines,
                          &(struct push_options){.timeout_ms = p.args.timeout_ms,
                                                 .ack = p.job.ack,
                                                 .no_wait = p.no_wait,
                                                 .json = p.args.json});
    } else {
        p.job.route = argv[optind];
        p.body.msisdn = slice_of(argv[optind + 1]);
        code = push_one(&p, q);
    }
    otpq_destroy(&q);
    return code;
}
