#include "common/adapters/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/slice.h"

/* What loop and thread share. The last of them frees it. */
struct look {
    atomic_int holders; /* the resolver, and the thread while there is one */
    int fd;             /* eventfd: counts answers that were not read yet */
    char *host;
    resolve_lookup *lookup;
    const char *why;                     /* of the answer; NULL: address is good */
    char address[RESOLVE_ADDRESS_BYTES]; /* of the answer */
    atomic_bool ready;                   /* why and address are the loop's again */
};

struct resolver {
    struct look *look;
    struct event *answer; /* look.fd or the question's deadline; added while one is asked */
    bool looking;         /* the thread's answer was not read yet */
    bool asked;
    resolve_callback *done;
    void *context;
};

/* ---- looking up ------------------------------------------------------------------------------ */

bool resolve_is_number(const char *host)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    bool good = getaddrinfo(host, NULL, &hints, &found) == 0;
    if (good) {
        freeaddrinfo(found);
    }
    return good;
}

static int lookup_family(const char *host, int family, char address[RESOLVE_ADDRESS_BYTES])
{
    const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &found);
    if (rc == 0) {
        rc = getnameinfo(found->ai_addr, found->ai_addrlen, address, RESOLVE_ADDRESS_BYTES, NULL, 0,
                         NI_NUMERICHOST);
        freeaddrinfo(found);
    }
    return rc;
}

static bool lookup_system(const char *host, char address[RESOLVE_ADDRESS_BYTES], const char **why)
{
    int rc = lookup_family(host, AF_INET, address);
    if (rc != 0 && lookup_family(host, AF_INET6, address) == 0) {
        rc = 0;
    }
    *why = rc == 0 ? NULL : gai_strerror(rc);
    return rc == 0;
}

static void look_release(struct look *l)
{
    if (atomic_fetch_sub(&l->holders, 1) == 1) {
        (void)close(l->fd);
        free(l->host);
        free(l);
    }
}

static void *look_run(void *arg)
{
    struct look *l = arg;
    const char *why = "no address";
    l->why = l->lookup(l->host, l->address, &why) ? NULL : why;
    atomic_store(&l->ready, true);
    need(eventfd_write(l->fd, 1) == 0);
    look_release(l);
    return NULL;
}

/* Signals stay with the loop's thread. */
static bool look_start(struct look *l)
{
    pthread_t thread;
    sigset_t all, before;
    atomic_store(&l->ready, false);
    (void)atomic_fetch_add(&l->holders, 1);
    (void)sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    bool good = pthread_create(&thread, NULL, look_run, l) == 0;
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (good) {
        must(pthread_detach(thread) == 0);
    } else {
        look_release(l);
    }
    return good;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void on_answer(evutil_socket_t fd, short what, void *arg)
{
    struct resolver *r = arg;
    eventfd_t count = 0;
    r->asked = false;
    if (!r->looking) {
        r->done(r->context, NULL, "no thread for the look-up of its name");
    } else if ((what & EV_READ) == 0) {
        r->done(r->context, NULL, "no answer to the look-up of its name");
    } else {
        must(eventfd_read(fd, &count) == 0 && count == 1 && atomic_load(&r->look->ready));
        r->looking = false;
        r->done(r->context, r->look->why == NULL ? r->look->address : NULL, r->look->why);
    }
}

struct resolver *resolver_new(struct event_base *base, const char *host, resolve_lookup *lookup,
                              resolve_callback *done, void *context)
{
    struct resolver *r = xcalloc(1, sizeof *r);
    struct look *l = xcalloc(1, sizeof *l);
    atomic_init(&l->holders, 1);
    atomic_init(&l->ready, false);
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    need(l->fd >= 0);
    l->host = slice_dup(slice_of(host));
    l->lookup = lookup != NULL ? lookup : lookup_system;
    r->look = l;
    r->answer = event_new(base, l->fd, EV_READ, on_answer, r);
    must(r->answer != NULL);
    r->done = done;
    r->context = context;
    return r;
}

void resolver_destroy(struct resolver **rp)
{
    struct resolver *r = *rp;
    if (r == NULL) {
        return;
    }
    *rp = NULL;
    event_free(r->answer);
    look_release(r->look);
    free(r);
}

void resolver_ask(struct resolver *r, uint32_t timeout_ms)
{
    must(!r->asked);
    r->asked = true;
    r->looking = r->looking || look_start(r->look);
    uint32_t wait_ms = r->looking ? timeout_ms : 0;
    struct timeval tv = {wait_ms / 1000, (suseconds_t)(wait_ms % 1000) * 1000};
    need(event_add(r->answer, &tv) == 0);
}
