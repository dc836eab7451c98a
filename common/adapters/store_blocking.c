#include "common/adapters/store_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

#include "common/base/log.h"

enum { REDIS_VERSION_LEAST = 7 /* major */ };

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
    struct netaddr_redis parsed;
    const char *wrong = netaddr_redis(address, &parsed);
    if (wrong != NULL || parsed.kind > NETADDR_REDIS_TCP) {
        (void)snprintf(error, 512, "redis.address \"%.100s\" %s", address,
                       wrong != NULL ? wrong : "is not of one server");
        return NULL;
    }
    const struct netaddr a = parsed.hosts[0];
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

/* Claims ask with SET … NX GET, which is of Redis 7.0. */
static bool check_version(redisContext *c, const char *address, char error[512])
{
    char version[32] = "";
    redisReply *r = redisCommand(c, "INFO server");
    info_value(r, "redis_version:", version);
    bool ok = strtol(version, NULL, 10) >= REDIS_VERSION_LEAST;
    if (!ok) {
        (void)snprintf(error, 512, "Redis at %s is of version \"%s\"; otpq needs 7.0 or newer",
                       address, version);
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
    bool ok = check_eviction(c, address, error) && check_version(c, address, error);
    if (ok) {
        warn_of_forgetting(c, address);
    }
    redisFree(c);
    return ok;
}
