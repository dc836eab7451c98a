/*
 * clock.h: the only place that reads a clock. Shells call it and hand the time down as an
 * argument; core and meaning never do. Floor 0.
 */
#ifndef OTPQ_BASE_CLOCK_H
#define OTPQ_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since some fixed point, never backwards: for deadlines and durations. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
/* Milliseconds since 1970 UTC: for what people and other hosts read. */
int64_t clock_wall_ms(void);
/* The same, about, but never the same twice in this process, and hardly ever in another of this
 * host: what a signature's nonce is made of. */
int64_t clock_nonce_ms(void);

#endif
