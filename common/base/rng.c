#include "common/base/rng.h"

#include <errno.h>
#include <sys/random.h>

#include "common/base/check.h"

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

void rng_seed(struct rng *r, uint64_t seed)
{
    for (size_t i = 0; i < 4; i++) {
        r->s[i] = splitmix(&seed);
    }
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t rng_next(struct rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    must(bound > 0);
    return (uint64_t)(((unsigned __int128)rng_next(r) * bound) >> 64);
}

void rng_secure(void *bytes, size_t n)
{
    char *at = bytes;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            if (errno != EINTR) {
                end_without("no random numbers from the system");
            }
            continue;
        }
        at += got;
        n -= (size_t)got;
    }
}

uint64_t rng_secure_below(uint64_t bound)
{
    must(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value;
    do {
        rng_secure(&value, sizeof(value));
    } while (value >= limit);
    return value % bound;
}

void rng_secure_text(char *out, size_t n)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t bytes[64];
    must(n <= sizeof(bytes));
    rng_secure(bytes, n);
    for (size_t i = 0; i < n; i++) {
        out[i] = alphabet[bytes[i] & 31];
    }
    out[n] = '\0';
}
