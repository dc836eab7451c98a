/*
 * store_news.h: a subscription in a cluster, for store.c alone. Every node hears what is published
 * at any, so one connection to any node does; when it is lost, or its node is no longer of the
 * cluster, the next one is taken. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_NEWS_H
#define OTPQ_ADAPTERS_STORE_NEWS_H

#include "common/adapters/store_inside.h"

/* The nodes of a cluster as its store knows them, shared with the subscriptions beside it: either
 * may end first. */
struct store_hosts;
struct store_hosts *store_hosts_new(void);
struct store_hosts *store_hosts_keep(struct store_hosts *h);
void store_hosts_release(struct store_hosts **h);
/* Instead of those before; none: they stay. Beyond NETADDR_REDIS_HOSTS_MAX they are left out. */
void store_hosts_set(struct store_hosts *h, const struct netaddr *at, size_t count);

struct store_news;

/* o: password and timeout_ms are copied, the rest is not looked at. on_message as
 * store_subscriber's. */
struct store_news *store_news_new(struct event_base *base, const struct store_options *o,
                                  struct store_hosts *hosts, const char *channel,
                                  void (*on_message)(void *context, struct slice message),
                                  void *context);
/* Never from inside on_message. */
void store_news_destroy(struct store_news **n);
bool store_news_up(const struct store_news *n);

#endif
