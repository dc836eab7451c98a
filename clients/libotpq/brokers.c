/* Brokers that come and go while a handle lives: otpq_set_brokers. */
#include "clients/libotpq/internal.h"

#include <zmq.h>

static bool listed(const char *address, const char *const *brokers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(brokers[i], address) == 0) {
            return true;
        }
    }
    return false;
}

static struct link *find(otpq *q, const char *address)
{
    for (int i = 0; i < q->link_count; i++) {
        if (q->links[i].address != NULL && strcmp(q->links[i].address, address) == 0) {
            return &q->links[i];
        }
    }
    return NULL;
}

/* A place without a broker, NULL when all are taken. */
static struct link *place(otpq *q)
{
    for (int i = 0; i < q->link_count; i++) {
        if (q->links[i].address == NULL) {
            return &q->links[i];
        }
    }
    if (q->link_count == LINKS_MAX) {
        return NULL;
    }
    struct link *l = &q->links[q->link_count];
    l->index = q->link_count++;
    list_init(&l->sent);
    return l;
}

static void vacate(otpq *q, struct link *l)
{
    link_close(l, q->epoll_fd);
    free(l->address);
    l->address = NULL;
    l->retired = false;
    l->lost = false;
    l->refused = false;
    l->again_ms = 0;
    q->ask.tried &= ~((uint64_t)1 << l->index);
}

static const char *connect_to(otpq *q, const char *address)
{
    struct link *l = place(q);
    if (l == NULL) {
        return "brokers: 64 are the most";
    }
    l->address = slice_dup(slice_of(address));
    l->pair = &q->pair;
    if (!link_open(l, q->zmq_context, q->epoll_fd)) {
        const char *why = zmq_strerror(zmq_errno());
        vacate(q, l);
        return why;
    }
    return NULL;
}

int otpq_set_brokers(otpq *q, const char *const *brokers, size_t count, const char **error)
{
    *error = count == 0 ? "brokers: at least one is needed" : NULL;
    if (count == 0) {
        return -1;
    }
    for (int i = 0; i < q->link_count; i++) {
        struct link *l = &q->links[i];
        l->retired = l->address != NULL && !listed(l->address, brokers, count);
    }
    for (size_t i = 0; i < count; i++) {
        const char *wrong = find(q, brokers[i]) == NULL ? connect_to(q, brokers[i]) : NULL;
        *error = wrong != NULL ? wrong : *error;
    }
    otpq_wake(q);
    return *error == NULL ? 0 : -1;
}

void otpq_sweep(otpq *q)
{
    for (int i = 0; i < q->link_count; i++) {
        struct link *l = &q->links[i];
        if (l->retired && !otpq_owes(q, l)) {
            vacate(q, l);
        }
    }
}
