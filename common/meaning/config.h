/*
 * config.h: one option table for every program. One row, many readers: the parser, OTPQ_…
 * overrides, --help, `otpq-* --check-config`, deploy/otpq.yaml and docs/configuration.md.
 *
 * Order: built-in default, then the file (YAML, section.key), then the environment
 * (gateway.listen is OTPQ_GATEWAY_LISTEN), last wins. Secrets are never values, only *_file paths.
 * Errors are file:line:column with a suggestion (or the variable's name). Floor 1.
 */
#ifndef OTPQ_MEANING_CONFIG_H
#define OTPQ_MEANING_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/meaning/yaml.h"

enum config_type {
    CONFIG_TEXT,
    CONFIG_UINT,
    CONFIG_CHOICE,
    CONFIG_LIST,  /* of text */
    CONFIG_PREFIX /* text of at most max characters: letters, digits and : . _ - */
};

/* What a CONFIG_TEXT, or each text of a CONFIG_LIST, must look like; judged at load. */
enum config_shape {
    CONFIG_ANY,       /* whatever it is */
    CONFIG_LISTEN,    /* host:port */
    CONFIG_ENDPOINT,  /* ZeroMQ's: tcp://host:port, ipc://path */
    CONFIG_REDIS,     /* what netaddr_redis reads, or empty */
    CONFIG_ALLOW,     /* entry of an allow list */
    CONFIG_PROXY,     /* http://host:port, or empty */
    CONFIG_URL,       /* http:// or https://, host, perhaps a path, no "/" at its end; or empty */
    CONFIG_CURVE_KEY, /* a CURVE public key, 40 characters of Z85 */
    CONFIG_SECONDS,   /* 1 to 86400 */
    CONFIG_TOLD,      /* ZeroMQ's, or empty */
    CONFIG_SHAPES
};

struct config_option {
    const char *key; /* "gateway.listen" */
    enum config_type type;
    const char *fallback; /* default as text; lists comma-separated */
    const char *choices;  /* CONFIG_CHOICE: "info|debug|…"; else NULL */
    uint64_t min;         /* CONFIG_UINT; CONFIG_LIST: values at least */
    uint64_t max;         /* CONFIG_UINT; CONFIG_PREFIX: characters */
    const char *unit;     /* "ms", "bytes", "jobs", … or "" */
    const char *meaning;  /* one sentence */
    size_t offset;        /* of the member in struct config */
    enum config_shape shape;
};

/* Whoever makes keys of Redis has room for this much in front. */
enum { CONFIG_LIST_MAX = 32, CONFIG_REDIS_PREFIX_BYTES_MAX = 64, CONFIG_OPTIONS_MAX = 128 };

struct config_list {
    size_t count;
    char *at[CONFIG_LIST_MAX];
};

/* Where a value comes from. */
struct config_place {
    bool environment; /* of its variable */
    int line;         /* in the file; 0 and no environment: the default */
    int column;
};

/* The values of all options; see config_options for the meaning of each. Owned texts. */
struct config {
    char *dir;        /* never empty once loaded */
    char *log_level;  /* debug, info, warn or error */
    char *log_format; /* text or json */

    char *redis_address; /* as netaddr_redis reads it; "" = unix:<dir>/redis.sock */
    char *redis_password_file;
    char *redis_prefix; /* "otpq:"; at most CONFIG_REDIS_PREFIX_BYTES_MAX */
    uint64_t redis_timeout_ms;

    char *broker_clients;           /* bind address of the clients' ROUTER */
    char *broker_workers;           /* bind address of the workers' ROUTER */
    char *broker_advertise_clients; /* what others connect to; "" = as broker_clients says */
    char *broker_advertise_workers; /* "" = as broker_workers says */
    char *broker_curve_secret_file; /* "": no CURVE */
    char *broker_metrics;           /* host:port of /metrics, /livez, /readyz */
    uint64_t broker_jobs_max;       /* queued jobs, all together */
    uint64_t broker_bytes_max;      /* bytes of all live jobs */
    uint64_t broker_route_jobs_max;
    uint64_t broker_tenant_jobs_max;
    uint64_t broker_routes_max;
    uint64_t broker_tenants_max;
    uint64_t broker_clients_max;
    uint64_t broker_workers_max;
    uint64_t broker_results_max;
    uint64_t broker_results_bytes_max;
    uint64_t broker_result_ttl_ms;     /* 600000 */
    uint64_t broker_worker_silence_ms; /* a worker silent this long is dead: 1000 */
    uint64_t broker_attempts_max;      /* dispatches of one job */
    char *broker_unknown_routes;       /* refuse or accept */

    struct config_list worker_brokers;     /* workers' addresses of brokers */
    char *worker_curve_secret_file;        /* "": none */
    struct config_list worker_broker_keys; /* of worker_brokers: as many, one for all, or none */
    char *worker_name;
    uint64_t worker_capacity;       /* calls at once, 5000 */
    uint64_t worker_multi_handles;  /* 64 */
    uint64_t worker_body_bytes_max; /* of an advertiser's answer, 64 KiB */
    uint64_t worker_drain_ms;
    struct config_list worker_callback_retry_s; /* between attempts at a callback */

    char *gateway_listen;                   /* host:port */
    char *gateway_public_url;               /* "" = http://<gateway_listen> */
    struct config_list gateway_brokers;     /* clients' addresses of brokers */
    char *gateway_curve_secret_file;        /* "": none */
    struct config_list gateway_broker_keys; /* of gateway_brokers, in the same way */
    uint64_t gateway_request_ms;            /* time a request may take to arrive, 10000 */
    uint64_t gateway_inflight_max;
    uint64_t gateway_job_ttl_ms;
    uint64_t gateway_connections_max;

    struct config_list client_brokers;     /* what the otpq command talks to */
    char *client_curve_secret_file;        /* "": none */
    struct config_list client_broker_keys; /* of client_brokers, in the same way */

    char *sandbox_listen; /* host:port */

    struct config_list outgoing_allow; /* hosts, host:port or CIDR that may be special addresses */
    char *outgoing_proxy;              /* "" none */

    char *secrets_file;        /* {secret.NAME} values, YAML map, mode 0600 */
    char *secrets_pepper_file; /* key of code MACs; "" = <dir>/pepper */

    uint64_t node_brokers; /* at least 1 */
    uint64_t node_workers; /* 0: as many as cores */
    uint64_t node_gateways;
    uint64_t events_keep_s;  /* retention of events and day counters */
    uint64_t session_keep_s; /* how long a session and its time-line stay after it ends */
    uint64_t dead_keep_s;    /* how long a dead letter waits for a person */

    char *file;                                     /* that was read, or NULL */
    struct config_place places[CONFIG_OPTIONS_MAX]; /* by row of config_options */
};

extern const struct config_option config_options[];
extern const size_t config_option_count;

/* Fills *c. path may be NULL (defaults and environment alone). False: *error says where and how. */
MUST_CHECK bool config_load(struct config *c, const char *path, struct yaml_error *error);
void config_free(struct config *c);
/* Fills *error with the place of the option's value, and what is wrong with it. */
void config_error(const struct config *c, const char *key, struct yaml_error *error,
                  const char *fmt, ...) PRINTF_LIKE(4, 5);
/* Neither file nor environment has it. */
MUST_CHECK bool config_is_default(const struct config *c, const char *key);
/* The secret files that options name, for program ("otpq": all of them): there, readable by their
 * owner alone, whole. False: *error has the option's place and what is wrong. */
MUST_CHECK bool config_check_files(const struct config *c, const char *program,
                                   struct yaml_error *error);
/* The key of the broker at this place of a section's list; NULL: none. */
const char *config_broker_key(const struct config_list *keys, size_t at);
/* A broker as otpq.h wants it: its address, and its key behind a space (NULL or "": without). */
enum { CONFIG_BROKER_BYTES = 320 };
void config_broker_text(char out[CONFIG_BROKER_BYTES], const char *address, const char *key);
/* <dir>/<name> unless value is set; the caller frees. */
char *config_path(const struct config *c, const char *value, const char *name);
/* "unix:<dir>/redis.sock" unless redis.address is set; the caller frees. */
char *config_redis_address(const struct config *c);
/* OTPQ_GATEWAY_LISTEN of "gateway.listen", into out (64 bytes). */
void config_env_name(const char *key, char out[64]);

/* "broker.unknown_routes: accept" was set. */
bool config_accepts_unknown_routes(const struct config *c);

enum { CONFIG_GO_ON = -1, CONFIG_EXIT_OK = 0, CONFIG_EXIT_BAD = 2 };
/* What every program understands before it does anything: --config F, --check-config, --version,
 * --help. CONFIG_GO_ON with *c loaded (free it with config_free) and the log set up, else the exit
 * code to leave with: after --version, --help or a sound --check-config 0, after an error 2 (said
 * on stderr); *c is empty then. */
MUST_CHECK int config_main(int argc, char **argv, const char *program, const char *purpose,
                           struct config *c);
/* Levels and format of the log as configured. Programs with arguments of their own call it. */
void config_log_setup(const struct config *c, const char *program);
/* The options of a program as --help prints them: all of them when program is "otpq". */
void config_help(const char *program, struct buf *out);

#endif
