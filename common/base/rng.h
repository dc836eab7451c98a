/*
 * rng.h: random bytes. rng_secure* come from the kernel and are for ids, codes and keys;
 * struct rng is seeded and reproducible: for the simulator, jitter and fairness. Floor 0.
 */
#ifndef OTPQ_BASE_RNG_H
#define OTPQ_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4]; /* xoshiro256** state */
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, bound), bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);

void rng_secure(void *bytes, size_t n);
/* Uniform in [0, bound) by rejection sampling over kernel randomness; bound > 0. */
uint64_t rng_secure_below(uint64_t bound);
/* n characters of [a-z2-7] (5 bits each) and a NUL: out holds n + 1 bytes. n <= 64. */
void rng_secure_text(char *out, size_t n);

#endif
