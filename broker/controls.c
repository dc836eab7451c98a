#include "broker/controls.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"

struct controls_follower {
    struct controls_watch *watch;      /* what operators said */
    struct routes *routes;             /* borrowed */
    char name[CONTROL_NAME_BYTES + 1]; /* control of this broker: CONTROL_BROKER and its name */
    bool drains;                       /* as told last */
    void (*on_drain)(void *context, bool drains);
    void *context;
};

static void on_controls(void *context)
{
    struct controls_follower *f = context;
    const struct controls *now = controls_watch_now(f->watch);
    bool drains = controls_of(now, slice_of(f->name)) == CONTROL_DRAINING;
    routes_follow(f->routes, now);
    if (drains != f->drains) {
        f->drains = drains;
        log_info(drains ? "drained by an operator: taking nothing new" : "taking jobs again",
                 "broker", f->name + 1, NULL);
        f->on_drain(f->context, drains);
    }
}

struct controls_follower *controls_follower_new(const struct controls_follower_options *o)
{
    struct controls_follower *f = xcalloc(1, sizeof *f);
    f->routes = o->routes;
    f->on_drain = o->on_drain;
    f->context = o->context;
    (void)snprintf(f->name, sizeof f->name, "%c%s", CONTROL_BROKER, o->address);
    f->watch = controls_watch_new(o->base, o->store, o->prefix, on_controls, f);
    return f;
}

void controls_follower_destroy(struct controls_follower **f)
{
    if (*f == NULL) {
        return;
    }
    controls_watch_destroy(&(*f)->watch);
    free(*f);
    *f = NULL;
}
