#include "common/meaning/config.h"

#define AT(member) offsetof(struct config, member)
#define TEXT(key, fallback, shape, member, meaning)                                                \
    {                                                                                              \
        key, CONFIG_TEXT, fallback, NULL, 0, 0, "", meaning, AT(member), shape                     \
    }
#define LIST(key, fallback, least, shape, member, meaning)                                         \
    {                                                                                              \
        key, CONFIG_LIST, fallback, NULL, least, 0, "", meaning, AT(member), shape                 \
    }
#define PREFIX(key, fallback, max, member, meaning)                                                \
    {                                                                                              \
        key, CONFIG_PREFIX, fallback, NULL, 0, max, "", meaning, AT(member), CONFIG_ANY            \
    }
#define CHOICE(key, fallback, choices, member, meaning)                                            \
    {                                                                                              \
        key, CONFIG_CHOICE, fallback, choices, 0, 0, "", meaning, AT(member), CONFIG_ANY           \
    }
#define UINT(key, fallback, min, max, unit, member, meaning)                                       \
    {                                                                                              \
        key, CONFIG_UINT, fallback, NULL, min, max, unit, meaning, AT(member), CONFIG_ANY          \
    }

#define MEBIBYTE 1048576ULL
#define DAY_S    86400ULL

/* Rows of a section stand together: --help and the sample follow the order. */
const struct config_option config_options[] = {
    TEXT("dir", "", CONFIG_ANY, dir,
         "Directory of the node's own files; empty: /var/lib/otpq for root, else "
         "$XDG_STATE_HOME/otpq or ~/.local/state/otpq."),

    CHOICE("log.level", "info", "debug|info|warn|error", log_level, "Least level that is logged."),
    CHOICE("log.format", "text", "text|json", log_format,
           "Lines of key=value, or one JSON object a line."),

    TEXT("redis.address", "", CONFIG_REDIS, redis_address,
         "unix:/path, tcp://host:port, sentinel://host:port,host:port/NAME or "
         "cluster://host:port,host:port; empty: unix:<dir>/redis.sock."),
    TEXT("redis.password_file", "", CONFIG_ANY, redis_password_file,
         "File that holds the password of Redis; empty: none."),
    PREFIX("redis.prefix", "otpq:", CONFIG_REDIS_PREFIX_BYTES_MAX, redis_prefix,
           "Put in front of every key."),
    UINT("redis.timeout_ms", "1000", 10, 1500, "ms", redis_timeout_ms,
         "A command without an answer this long counts as unknown."),

    TEXT("broker.clients", "tcp://127.0.0.1:5560", CONFIG_ENDPOINT, broker_clients,
         "Where clients connect (OTPQ/1); loopback or ipc only, unless broker.curve_secret_file is "
         "set."),
    TEXT("broker.workers", "tcp://127.0.0.1:5561", CONFIG_ENDPOINT, broker_workers,
         "Where workers connect; loopback or ipc only, unless broker.curve_secret_file is set."),
    TEXT("broker.curve_secret_file", "", CONFIG_ANY, broker_curve_secret_file,
         "File of the broker's CURVE pair: both sockets are encrypted, and only keys of the "
         "records are let in; empty: anybody on this host is."),
    TEXT("broker.advertise_clients", "", CONFIG_TOLD, broker_advertise_clients,
         "Address by which clients find this broker; empty: broker.clients."),
    TEXT("broker.advertise_workers", "", CONFIG_TOLD, broker_advertise_workers,
         "Address by which workers find this broker; empty: broker.workers."),
    TEXT("broker.metrics", "127.0.0.1:9560", CONFIG_LISTEN, broker_metrics,
         "Where /metrics, /livez and /readyz are served."),
    UINT("broker.jobs_max", "2000000", 1, 100000000, "jobs", broker_jobs_max,
         "Live jobs, all together; beyond: queue_full."),
    UINT("broker.bytes_max", "1073741824", MEBIBYTE, 1024 * 1024 * MEBIBYTE, "bytes",
         broker_bytes_max, "Bytes of all live jobs; beyond: queue_full."),
    UINT("broker.route_jobs_max", "1000000", 1, 100000000, "jobs", broker_route_jobs_max,
         "Live jobs of one route; beyond: queue_full."),
    UINT("broker.tenant_jobs_max", "1000000", 1, 100000000, "jobs", broker_tenant_jobs_max,
         "Live jobs of one tenant; beyond: queue_full."),
    UINT("broker.routes_max", "10000", 1, 1000000, "routes", broker_routes_max,
         "Routes the broker knows at a time."),
    UINT("broker.tenants_max", "100000", 1, 10000000, "tenants", broker_tenants_max,
         "Tenants with live jobs at a time."),
    UINT("broker.clients_max", "10000", 1, 1000000, "clients", broker_clients_max,
         "Clients the broker remembers at a time."),
    UINT("broker.workers_max", "1000", 1, 100000, "workers", broker_workers_max,
         "Workers at a time."),
    UINT("broker.results_max", "200000", 0, 100000000, "results", broker_results_max,
         "Results kept for clients that ask again; the oldest go first."),
    UINT("broker.results_bytes_max", "134217728", 0, 1024 * 1024 * MEBIBYTE, "bytes",
         broker_results_bytes_max, "Bytes of the results kept."),
    UINT("broker.result_ttl_ms", "600000", 1000, 86400000, "ms", broker_result_ttl_ms,
         "How long a result is kept."),
    UINT("broker.worker_silence_ms", "1000", 500, 60000, "ms", broker_worker_silence_ms,
         "A worker silent this long is dead; its jobs go to others."),
    UINT("broker.attempts_max", "5", 1, 100, "attempts", broker_attempts_max,
         "Times a job is handed to a worker before it is given up."),
    CHOICE("broker.unknown_routes", "refuse", "refuse|accept", broker_unknown_routes,
           "What happens to a job whose route is no integration (accept: for benchmarks)."),

    LIST("worker.brokers", "tcp://127.0.0.1:5561", 1, CONFIG_ENDPOINT, worker_brokers,
         "The broker.workers addresses of all brokers."),
    TEXT("worker.curve_secret_file", "", CONFIG_ANY, worker_curve_secret_file,
         "File of the worker's CURVE pair; empty: none, for brokers without."),
    LIST("worker.broker_keys", "", 0, CONFIG_CURVE_KEY, worker_broker_keys,
         "Public keys of the brokers in worker.brokers, in their order; one alone is that of all."),
    TEXT("worker.name", "", CONFIG_ANY, worker_name,
         "Name in logs, metrics and the broker's lists; empty: made of host and process id."),
    UINT("worker.capacity", "5000", 1, 20000, "calls", worker_capacity,
         "Calls to advertisers at the same time, of one process."),
    UINT("worker.multi_handles", "64", 1, 1024, "handles", worker_multi_handles,
         "Shards of the HTTP client; 64 to 150 connections in each are cheapest."),
    UINT("worker.body_bytes_max", "65536", 1024, 16 * MEBIBYTE, "bytes", worker_body_bytes_max,
         "Bytes of an advertiser's answer that are read; a longer one is cut."),
    UINT("worker.drain_ms", "30000", 0, 600000, "ms", worker_drain_ms,
         "Time for running calls to end after SIGTERM."),
    LIST("worker.callback_retry_s", "5,30,120,600,1800,3600,10800,21600,43200,86400", 1,
         CONFIG_SECONDS, worker_callback_retry_s,
         "Time to the next attempt at a callback that was not received, after each; a fifth more "
         "or less."),

    TEXT("gateway.listen", "127.0.0.1:8080", CONFIG_LISTEN, gateway_listen,
         "Where the HTTP APIs are served."),
    TEXT("gateway.public_url", "", CONFIG_URL, gateway_public_url,
         "Where users and advertisers reach the gateway, for links and callback addresses; empty: "
         "http:// and gateway.listen."),
    LIST("gateway.brokers", "tcp://127.0.0.1:5560", 1, CONFIG_ENDPOINT, gateway_brokers,
         "The broker.clients addresses of all brokers."),
    TEXT("gateway.curve_secret_file", "", CONFIG_ANY, gateway_curve_secret_file,
         "File of the gateway's CURVE pair; empty: none, for brokers without."),
    LIST("gateway.broker_keys", "", 0, CONFIG_CURVE_KEY, gateway_broker_keys,
         "Public keys of the brokers in gateway.brokers, in their order; one alone is that of "
         "all."),
    UINT("gateway.request_ms", "10000", 100, 600000, "ms", gateway_request_ms,
         "Time a request may take to arrive, whole."),
    UINT("gateway.inflight_max", "10000", 1, 1000000, "requests", gateway_inflight_max,
         "Requests that wait for the broker at the same time; beyond: 503."),
    UINT("gateway.job_ttl_ms", "30000", 100, 600000, "ms", gateway_job_ttl_ms,
         "Time to live of the job made of a request; later it is never sent."),
    UINT("gateway.connections_max", "10000", 1, 1000000, "connections", gateway_connections_max,
         "Open connections of one process; beyond: 503."),

    LIST("client.brokers", "tcp://127.0.0.1:5560", 1, CONFIG_ENDPOINT, client_brokers,
         "Brokers that the otpq command talks to."),
    TEXT("client.curve_secret_file", "", CONFIG_ANY, client_curve_secret_file,
         "File of the CURVE pair that the otpq command shows; empty: none, for brokers without."),
    LIST("client.broker_keys", "", 0, CONFIG_CURVE_KEY, client_broker_keys,
         "Public keys of the brokers in client.brokers, in their order; one alone is that of all."),

    TEXT("sandbox.listen", "127.0.0.1:8090", CONFIG_LISTEN, sandbox_listen,
         "Where the sandbox advertiser is served."),

    LIST("outgoing.allow", "", 0, CONFIG_ALLOW, outgoing_allow,
         "Hosts, host:port or networks (CIDR) that calls may go to although they are loopback, "
         "private or otherwise special."),
    TEXT("outgoing.proxy", "", CONFIG_PROXY, outgoing_proxy,
         "HTTP proxy for calls to advertisers; empty: none."),

    TEXT("secrets.file", "", CONFIG_ANY, secrets_file,
         "File with the values of {secret.NAME}: a YAML map, readable by its owner alone."),
    TEXT("secrets.pepper_file", "", CONFIG_ANY, secrets_pepper_file,
         "File with the key of the hashes of codes; empty: <dir>/pepper, made at first start."),

    UINT("node.brokers", "1", 1, 16, "processes", node_brokers,
         "Brokers that otpq up starts; each one's ports are 10 higher than those of the one "
         "before."),
    UINT("node.workers", "0", 0, 1024, "processes", node_workers,
         "Workers that otpq up starts; 0: as many as cores."),
    UINT("node.gateways", "1", 0, 1024, "processes", node_gateways,
         "Gateways that otpq up starts."),

    UINT("events.keep_s", "2592000", 60, 3650 * DAY_S, "s", events_keep_s,
         "How long clicks, conversions and day counters are kept."),
    UINT("session.keep_s", "86400", 60, 3650 * DAY_S, "s", session_keep_s,
         "How long a session and its time-line are kept after it ends."),
    UINT("dead.keep_s", "604800", 60, 3650 * DAY_S, "s", dead_keep_s,
         "How long dead letters are kept: stored jobs that ended without what was asked."),
};
const size_t config_option_count = ARRAY_LEN(config_options);

_Static_assert(ARRAY_LEN(config_options) <= CONFIG_OPTIONS_MAX, "room for their places");
