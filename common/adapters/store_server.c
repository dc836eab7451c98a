#include "common/adapters/store_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/slice.h"

enum { VERSION_LEAST = 7 /* major: claims ask with SET … NX GET */ };

/* The value of a line "key:value", "" when there is none. */
static void info_value(const char *info, const char *key, char *value, size_t size)
{
    size_t n = strlen(key);
    value[0] = '\0';
    for (const char *at = info; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n' ? 1 : 0;
        if (strncmp(at, key, n) == 0 && at[n] == ':') {
            at += n + 1;
            (void)snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
            return;
        }
    }
}

void store_server_read_info(struct store_server *out, const redisReply *info)
{
    char value[32];
    *out = (struct store_server){.min_replicas = -1};
    if (info->type != REDIS_REPLY_STRING) {
        return;
    }
    info_value(info->str, "run_id", out->run_id, sizeof out->run_id);
    info_value(info->str, "master_replid", out->replid, sizeof out->replid);
    info_value(info->str, "maxmemory_policy", out->eviction, sizeof out->eviction);
    info_value(info->str, "role", value, sizeof value);
    out->is_primary = strcmp(value, "master") == 0;
    info_value(info->str, "redis_mode", value, sizeof value);
    out->in_cluster = strcmp(value, "cluster") == 0;
    info_value(info->str, "redis_version", value, sizeof value);
    out->version_major = strtol(value, NULL, 10);
    info_value(info->str, "aof_enabled", value, sizeof value);
    out->durability = strcmp(value, "0") == 0 ? DURABLE_OFF : DURABLE_UNKNOWN;
}

static enum store_durability durability_of(const char *appendfsync)
{
    return strcasecmp(appendfsync, "always") == 0     ? DURABLE_ALWAYS
           : strcasecmp(appendfsync, "everysec") == 0 ? DURABLE_SECOND
           : strcasecmp(appendfsync, "no") == 0       ? DURABLE_NO
                                                      : DURABLE_UNKNOWN;
}

void store_server_read_config(struct store_server *out, const redisReply *config)
{
    if (config->type != REDIS_REPLY_ARRAY) {
        return;
    }
    for (size_t i = 0; i + 1 < config->elements; i += 2) {
        const redisReply *key = config->element[i];
        const redisReply *value = config->element[i + 1];
        uint64_t count = 0;
        if (key->type != REDIS_REPLY_STRING || value->type != REDIS_REPLY_STRING) {
            continue;
        }
        if (strcmp(key->str, "appendfsync") == 0 && out->durability != DURABLE_OFF) {
            out->durability = durability_of(value->str);
        } else if (strcmp(key->str, "min-replicas-to-write") == 0 &&
                   slice_to_u64(slice_of(value->str), INT32_MAX, &count)) {
            out->min_replicas = (int64_t)count;
        }
    }
}

const char *store_server_unfit(const struct store_server *s, bool is_node)
{
    if (!s->is_primary && !is_node) {
        return "it is not a primary";
    }
    if (s->in_cluster && !is_node) {
        return "it is a node of a cluster: redis.address must be cluster:// with some of its nodes";
    }
    if (s->version_major < VERSION_LEAST) {
        return "it is older than Redis 7.0";
    }
    if (strcmp(s->eviction, "noeviction") != 0) {
        return "it may evict claims, and an OTP would be sent twice: set `maxmemory-policy "
               "noeviction` "
               "in redis.conf";
    }
    return NULL;
}

const char *store_durability_name(enum store_durability d)
{
    static const char *const names[] = {[DURABLE_UNKNOWN] = "unknown",
                                        [DURABLE_OFF] = "off",
                                        [DURABLE_NO] = "no",
                                        [DURABLE_SECOND] = "everysec",
                                        [DURABLE_ALWAYS] = "always"};
    return names[d];
}

bool store_server_same(const struct store_server *a, const struct store_server *b)
{
    return strcmp(a->run_id, b->run_id) == 0 && strcmp(a->replid, b->replid) == 0;
}
