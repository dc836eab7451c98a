#include "common/base/clock.h"

#include <time.h>
#include <unistd.h>

/* Processes that began one after the other take different milliseconds of these; with more than
 * 250 calls a second the nonce runs ahead of the clock, and beyond NONCE_AHEAD_MS it starts anew.
 */
enum { NONCE_STEP_MS = 4, NONCE_AHEAD_MS = 60000 };

static int64_t read_us(clockid_t id)
{
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

int64_t clock_nonce_ms(void)
{
    static int64_t last_ms = 0;
    int64_t now_ms = clock_wall_ms();
    int64_t nonce_ms = now_ms - now_ms % NONCE_STEP_MS + getpid() % NONCE_STEP_MS;
    if (nonce_ms <= last_ms && last_ms < now_ms + NONCE_AHEAD_MS) {
        nonce_ms = last_ms + NONCE_STEP_MS;
    }
    last_ms = nonce_ms;
    return nonce_ms;
}
