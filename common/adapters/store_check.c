#include "common/adapters/store_ask.h"

#include <stdio.h>

#include "common/adapters/store_inside.h"
#include "common/adapters/store_server.h"
#include "common/base/log.h"

/* words: separated by single spaces. */
static redisReply *ask_words(struct asker *a, const char *words, char error[512])
{
    struct slice argv[8];
    int argc = 0;
    for (struct slice rest = slice_of(words); rest.n > 0;) {
        const char *space = memchr(rest.p, ' ', rest.n);
        size_t n = space != NULL ? (size_t)(space - rest.p) : rest.n;
        must(argc < (int)ARRAY_LEN(argv));
        argv[argc++] = slice_make(rest.p, n);
        n += space != NULL ? 1 : 0;
        rest = slice_make(rest.p + n, rest.n - n);
    }
    return store_ask(a, argc, argv, error);
}

/* Managed servers allow INFO where they forbid CONFIG. */
static bool read_server(struct asker *a, const char *address, struct store_server *out,
                        char error[512])
{
    char why[512];
    redisReply *r = ask_words(a, STORE_SERVER_INFO, why);
    if (r == NULL) {
        (void)snprintf(error, 512, "Redis at %.100s does not answer INFO: %.300s", address, why);
        return false;
    }
    store_server_read_info(out, r);
    freeReplyObject(r);
    r = ask_words(a, STORE_SERVER_CONFIG, why);
    if (r != NULL) {
        store_server_read_config(out, r);
        freeReplyObject(r);
    }
    return true;
}

/* Warnings only: who replicates may have reasons. */
static void warn_of_forgetting(const struct store_server *server, const char *address)
{
    struct netaddr_redis parsed;
    if (server->durability == DURABLE_OFF) {
        log_warn("redis has appendonly off: a restart of it loses claims and stored jobs; a job "
                 "that is given again may send a second OTP, and a stored one may never end",
                 "address", address, "remedy", "appendonly yes in redis.conf", NULL);
    } else if (server->durability == DURABLE_NO) {
        log_warn("redis has appendfsync no: a power cut loses what the kernel had not written, "
                 "about 30 s of claims and stored jobs",
                 "address", address, "remedy", "appendfsync everysec, or always, in redis.conf",
                 NULL);
    }
    if (server->min_replicas == 0 && netaddr_redis(address, &parsed) == NULL &&
        parsed.kind == NETADDR_REDIS_SENTINEL) {
        log_warn("redis has min-replicas-to-write 0: a primary that is cut off from the others "
                 "goes on taking writes, which its successor does not have",
                 "address", address, "remedy",
                 "min-replicas-to-write 1 and min-replicas-max-lag 2 in redis.conf", NULL);
    }
}

bool store_check(const char *address, const char *password, uint32_t timeout_ms, char error[512])
{
    struct store_server server;
    struct asker *a = asker_open(address, password, timeout_ms, error);
    bool ok = a != NULL && read_server(a, address, &server, error);
    if (ok) {
        warn_of_forgetting(&server, address);
    }
    asker_close(&a);
    return ok;
}
