#include "common/adapters/store_news.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

enum { LOOK_MS = 500 };

struct store_hosts {
    unsigned refs;                              /* owners; the last one frees it */
    size_t count;                               /* of at */
    struct netaddr at[NETADDR_REDIS_HOSTS_MAX]; /* without brackets */
};

struct store_news {
    struct event_base *base;
    struct store_options options; /* of the connections, address apart; password owned */
    struct store_hosts *hosts;    /* one reference is ours */
    struct netaddr at;            /* where the connection is, or goes */
    size_t next;                  /* of hosts, to be taken when this one is lost */
    char *channel;                /* the one that is listened on */
    struct store *connection;     /* a plain subscriber */
    struct event *look;           /* is it still good? */
    void (*on_message)(void *context, struct slice message);
    void *context; /* of on_message */
};

struct store_hosts *store_hosts_new(void)
{
    struct store_hosts *h = xcalloc(1, sizeof *h);
    h->refs = 1;
    return h;
}

struct store_hosts *store_hosts_keep(struct store_hosts *h)
{
    h->refs++;
    return h;
}

void store_hosts_release(struct store_hosts **hp)
{
    struct store_hosts *h = *hp;
    *hp = NULL;
    if (h != NULL && --h->refs == 0) {
        free(h);
    }
}

void store_hosts_set(struct store_hosts *h, const struct netaddr *at, size_t count)
{
    if (count > 0) {
        h->count = count < NETADDR_REDIS_HOSTS_MAX ? count : NETADDR_REDIS_HOSTS_MAX;
        memcpy(h->at, at, h->count * sizeof *at);
    }
}

static bool hosts_have(const struct store_hosts *h, const struct netaddr *a)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->at[i].port == a->port && strcmp(h->at[i].host, a->host) == 0) {
            return true;
        }
    }
    return false;
}

static void look_in(struct store_news *n, int ms)
{
    struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    (void)event_add(n->look, &tv);
}

/* From the timer: a store is not destroyed from inside its own callback. */
static void on_state(void *context, bool up)
{
    struct store_news *n = context;
    look_in(n, up ? LOOK_MS : 0);
}

static void on_published(void *context, struct slice message)
{
    struct store_news *n = context;
    n->on_message(n->context, message);
}

static void news_connect(struct store_news *n)
{
    char address[STORE_NODE_ADDRESS_BYTES];
    n->at = n->hosts->at[n->next++ % n->hosts->count];
    store_node_address(n->at.host, n->at.port, address);
    struct store_options o = n->options;
    o.address = address;
    n->connection = store_listener_new(n->base, &o, n->channel, on_published);
}

static void on_look(evutil_socket_t fd UNUSED, short what UNUSED, void *arg)
{
    struct store_news *n = arg;
    if (!store_up(n->connection) || !hosts_have(n->hosts, &n->at)) {
        store_destroy(&n->connection);
        news_connect(n);
    }
    look_in(n, LOOK_MS);
}

struct store_news *store_news_new(struct event_base *base, const struct store_options *o,
                                  struct store_hosts *hosts, const char *channel,
                                  void (*on_message)(void *context, struct slice message),
                                  void *context)
{
    struct store_news *n = xcalloc(1, sizeof *n);
    n->base = base;
    n->hosts = store_hosts_keep(hosts);
    n->options = (struct store_options){.timeout_ms = o->timeout_ms,
                                        .pending_max = STORE_LISTENER_PENDING,
                                        .on_state = on_state,
                                        .context = n};
    n->options.password = o->password != NULL ? slice_dup(slice_of(o->password)) : NULL;
    n->channel = slice_dup(slice_of(channel));
    n->on_message = on_message;
    n->context = context;
    n->look = evtimer_new(base, on_look, n);
    must(n->look != NULL);
    news_connect(n);
    look_in(n, LOOK_MS);
    return n;
}

void store_news_destroy(struct store_news **np)
{
    struct store_news *n = *np;
    if (n == NULL) {
        return;
    }
    *np = NULL;
    store_destroy(&n->connection);
    store_hosts_release(&n->hosts);
    event_free(n->look);
    char *password = (char *)n->options.password;
    if (password != NULL) {
        OPENSSL_cleanse(password, strlen(password));
    }
    free(password);
    free(n->channel);
    free(n);
}

bool store_news_up(const struct store_news *n)
{
    return store_up(n->connection);
}
