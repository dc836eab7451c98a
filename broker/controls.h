/*
 * controls.h: this broker follows what operators said (adapters/controls_store.h): routes that are
 * paused or drain, and whether it drains itself. Floor 4.
 */
#ifndef OTPQ_BROKER_CONTROLS_H
#define OTPQ_BROKER_CONTROLS_H

#include <event2/event.h>
#include <stdbool.h>

#include "broker/routes.h"
#include "common/adapters/controls_store.h"

struct controls_follower;

struct controls_follower_options {
    struct event_base *base;
    struct store *store;   /* outlives it */
    const char *prefix;    /* copied */
    const char *address;   /* where clients find this broker; copied */
    struct routes *routes; /* told of what routes bear; outlives it */
    /* From the loop: this broker is to take nothing new, or to take jobs again. Only changes. */
    void (*on_drain)(void *context, bool drains);
    void *context;
};

struct controls_follower *controls_follower_new(const struct controls_follower_options *o);
/* Takes NULL, nulls the pointer. */
void controls_follower_destroy(struct controls_follower **f);

#endif
