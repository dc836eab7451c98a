/*
 * main.c: otpq-sim [--world one|many] [--seed N] [--steps N] [--plant BUG] [--job N]: real dispatch
 * cores in a simulated world. Prints the seed first; the same world, seed and steps give the same
 * run. Exit 0: all invariants held, else 1. --plants lists the bugs that can be planted into the
 * world of several brokers: a run with one is to end with 1.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/slice.h"
#include "tests/sim/sim.h"

struct options {
    bool many;
    uint64_t seed;
    uint64_t steps;
    uint32_t plant;
    uint64_t job; /* to be told about */
};

static struct options the_options;

/* A broken invariant: say how to see it again. */
static void on_abort(int number)
{
    (void)number;
    const struct options *o = &the_options;
    (void)signal(SIGABRT, SIG_DFL);
    if (o->many) {
        many_say();
    }
    dprintf(STDERR_FILENO,
            "\nsim: FAILED world=%s seed=%" PRIu64 " step=%" PRIu64 "%s%" PRIu64 "\n",
            o->many ? "many" : "one", o->seed, o->many ? many_step() : one_step(),
            o->many ? " job=" : " plant=", o->many ? many_judged() : 0);
    _exit(1);
}

static void usage(void)
{
    (void)fprintf(stderr, "usage: otpq-sim [--world one|many] [--seed N] [--steps N] "
                          "[--plant BUG] [--job N] | --plants\n");
    exit(2);
}

static uint64_t number_of(struct slice text)
{
    uint64_t n = 0;
    if (!slice_to_u64(text, UINT64_MAX, &n)) {
        usage();
    }
    return n;
}

static uint32_t plant_of(struct slice name)
{
    uint32_t plant = 1;
    while (plant_name(plant) != NULL && !slice_is(name, plant_name(plant))) {
        plant++;
    }
    if (plant_name(plant) == NULL) {
        usage();
    }
    return plant;
}

static void option(struct options *o, struct slice name, struct slice value)
{
    if (slice_is(name, "--seed")) {
        o->seed = number_of(value);
    } else if (slice_is(name, "--steps")) {
        o->steps = number_of(value);
    } else if (slice_is(name, "--job")) {
        o->job = number_of(value);
    } else if (slice_is(name, "--plant")) {
        o->plant = plant_of(value);
        o->many = true;
    } else if (slice_is(name, "--world") && (slice_is(value, "one") || slice_is(value, "many"))) {
        o->many = slice_is(value, "many");
    } else {
        usage();
    }
}

int main(int argc, char **argv)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    struct options *o = &the_options;
    *o = (struct options){.seed = fresh_seed(), .steps = 1000 * 1000};
    if (argc == 2 && slice_is(slice_of(argv[1]), "--plants")) {
        for (uint32_t plant = 1; plant_name(plant) != NULL; plant++) {
            (void)puts(plant_name(plant));
        }
        return 0;
    }
    for (int i = 1; i < argc; i += 2) {
        option(o, slice_of(argv[i]), slice_of(i + 1 < argc ? argv[i + 1] : NULL));
    }
    printf("sim: world=%s seed=%" PRIu64 "\n", o->many ? "many" : "one", o->seed);
    (void)signal(SIGABRT, on_abort);
    if (o->many) {
        many_run(o->seed, o->steps, o->plant, o->job);
    } else {
        one_run(o->seed, o->steps);
    }
    return 0;
}
