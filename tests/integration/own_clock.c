/*
 * own_clock.c: preloaded into a redis-server, whose wall clock is then what the test says: eight
 * bytes of a file, milliseconds since 1970, mapped into both. The monotonic clock stays the
 * system's. (libfaketime cannot be loaded together with the allocator of Debian's Redis.)
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *now_ms; /* NULL until the constructor has run */

__attribute__((constructor)) static void own_clock_open(void)
{
    const char *path = getenv("OWN_CLOCK");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *now_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        abort();
    }
    now_ms = at;
    (void)close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (clock != CLOCK_REALTIME || now_ms == NULL) {
        return (int)syscall(SYS_clock_gettime, clock, out);
    }
    int64_t ms = *now_ms;
    out->tv_sec = ms / 1000;
    out->tv_nsec = ms % 1000 * 1000000;
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec t;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    out->tv_sec = t.tv_sec;
    out->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (out != NULL) {
        *out = t.tv_sec;
    }
    return t.tv_sec;
}
