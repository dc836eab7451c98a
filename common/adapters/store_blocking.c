#include "common/adapters/store_inside.h"

#include <stdio.h>
#include <sys/time.h>

#include "common/base/log.h"

static bool address_unix(struct slice rest, struct store_address *out)
{
    if (rest.n == 0 || rest.n >= sizeof out->host) {
        return false;
    }
    memcpy(out->host, rest.p, rest.n);
    out->host[rest.n] = '\0';
    out->is_unix = true;
    return true;
}

static bool address_tcp(struct slice rest, struct store_address *out)
{
    const char *colon = memrchr(rest.p, ':', rest.n);
    if (colon == NULL) {
        return false;
    }
    struct slice host = slice_make(rest.p, (size_t)(colon - rest.p));
    struct slice port = slice_make(colon + 1, rest.n - host.n - 1);
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = slice_make(host.p + 1, host.n - 2);
    }
    uint64_t number = 0;
    if (host.n == 0 || host.n >= sizeof out->host || !slice_to_u64(port, 65535, &number) ||
        number == 0) {
        return false;
    }
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = '\0';
    out->is_unix = false;
    out->port = (int)number;
    return true;
}

bool store_address_parse(const char *text, struct store_address *out)
{
    if (strncmp(text, "unix:", 5) == 0) {
        return address_unix(slice_of(text + 5), out);
    }
    if (strncmp(text, "tcp://", 6) == 0) {
        return address_tcp(slice_of(text + 6), out);
    }
    return false;
}

/* Runs a command whose answer is only good or bad. */
static bool blocking_ok(redisContext *c, const char *what, redisReply *reply, char error[512])
{
    bool ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;
    if (!ok) {
        (void)snprintf(error, 512, "Redis %s: %s", what, reply != NULL ? reply->str : c->errstr);
    }
    if (reply != NULL) {
        freeReplyObject(reply);
    }
    return ok;
}

redisContext *store_blocking(const char *address, const char *password, uint32_t timeout_ms,
                             char error[512])
{
    struct store_address a;
    if (!store_address_parse(address, &a)) {
        (void)snprintf(error, 512, "redis.address \"%s\" is neither unix:/path nor tcp://host:port",
                       address);
        return NULL;
    }
    struct timeval wait = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
    redisContext *c = a.is_unix ? redisConnectUnixWithTimeout(a.host, wait)
                                : redisConnectWithTimeout(a.host, a.port, wait);
    must(c != NULL);
    if (c->err != 0) {
        (void)snprintf(error, 512, "no Redis at %s: %s (key redis.address)", address, c->errstr);
        redisFree(c);
        return NULL;
    }
    (void)redisSetTimeout(c, wait);
    if (password != NULL && password[0] != '\0' &&
        !blocking_ok(c, "refused the password (key redis.password_file)",
                     redisCommand(c, "AUTH %s", password), error)) {
        redisFree(c);
        return NULL;
    }
    if (!blocking_ok(c, "is not ready", redisCommand(c, "PING"), error)) {
        redisFree(c);
        return NULL;
    }
    return c;
}

/* A value out of an INFO answer, "" when it is not there. Managed servers allow INFO where they
 * forbid CONFIG. */
static void info_value(const redisReply *info, const char *key, char value[32])
{
    const char *at =
        info != NULL && info->type == REDIS_REPLY_STRING ? strstr(info->str, key) : NULL;
    value[0] = '\0';
    if (at != NULL) {
        at += strlen(key);
        (void)snprintf(value, 32, "%.*s", (int)strcspn(at, "\r\n"), at);
    }
}

static bool check_eviction(redisContext *c, const char *address, char error[512])
{
    char policy[32] = "";
    redisReply *r = redisCommand(c, "INFO memory");
    info_value(r, "maxmemory_policy:", policy);
    bool ok = strcmp(policy, "noeviction") == 0;
    if (r == NULL || r->type != REDIS_REPLY_STRING) {
        (void)snprintf(error, 512, "Redis at %s does not answer INFO memory: %s", address,
                       r != NULL && r->str != NULL ? r->str : c->errstr);
    } else if (!ok) {
        (void)snprintf(error, 512,
                       "Redis at %s has maxmemory-policy \"%s\": it may drop claims, and an OTP "
                       "would be sent twice. Set `maxmemory-policy noeviction` in redis.conf, or "
                       "run `redis-cli CONFIG SET maxmemory-policy noeviction`",
                       address, policy);
    }
    if (r != NULL) {
        freeReplyObject(r);
    }
    return ok;
}

/* A warning only: who replicates may have reasons. */
static void warn_of_forgetting(redisContext *c, const char *address)
{
    char enabled[32] = "";
    redisReply *r = redisCommand(c, "INFO persistence");
    info_value(r, "aof_enabled:", enabled);
    if (strcmp(enabled, "0") == 0) {
        log_warn("redis has appendonly off: a restart of it loses claims, and a job that is given "
                 "again may send a second OTP",
                 "address", address, "remedy", "appendonly yes in redis.conf", NULL);
    }
    if (r != NULL) {
        freeReplyObject(r);
    }
}

bool store_check(const char *address, const char *password, uint32_t timeout_ms, char error[512])
{
    redisContext *c = store_blocking(address, password, timeout_ms, error);
    if (c == NULL) {
        return false;
    }
    bool ok = check_eviction(c, address, error);
    if (ok) {
        warn_of_forgetting(c, address);
    }
    redisFree(c);
    return ok;
}
