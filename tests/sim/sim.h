/* sim.h: the two worlds of the simulator. A broken invariant aborts. */
#ifndef OTPQ_TESTS_SIM_SIM_H
#define OTPQ_TESTS_SIM_SIM_H

#include <stdint.h>

/* One broker, in all that its core does: bands, tenants, limits, fallback, every op. */
void one_run(uint64_t seed, uint64_t steps);
uint64_t one_step(void);
/* Several brokers with what they share: shelves, claims, deaths, pauses, a store that forgets.
 * plant: a bug to be found (many.h), or 0.
 * job: one that is told about, or 0. */
void many_run(uint64_t seed, uint64_t steps, uint32_t plant, uint64_t job);
/* After a broken invariant: what is known of the job that was checked last, and of all brokers. */
void many_say(void);
/* That job. */
uint64_t many_judged(void);
uint64_t many_step(void);
/* Not from the seed: the only thing that is not. */
uint32_t fresh_seed(void);
/* NULL: there is no such bug. */
const char *plant_name(uint32_t plant);

#endif
