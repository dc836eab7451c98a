/*
 * inject.c: preloaded into a program under test, counts its calls by kind and lets one of them
 * fail.
 *
 *   OTPQ_INJECT       "KIND:n:N:ERRNO"   the N-th call of the kind fails (ERRNO 0: it moves one
 * byte) "KIND:at:PLACE:ERRNO"  the first call from that place fails: a place is the hash of the
 * innermost return addresses (no address randomisation, so that it is the same in each run)
 *                     "KIND:in:FUNCTION:ERRNO"  the first call with that function of a library on
 *                                        its stack fails
 *                     "KIND:list"        nothing fails; the place of every call is written down
 *   OTPQ_INJECT_FILE  struct board, mapped: it survives the process however it ends
 *
 * Counted are calls of the whole process from the end of the libraries' constructors on, its own
 * and those of its libraries, as far as they go from one object to another; what happens inside
 * libc (the sockets of its resolver) is libc's own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACES_MAX = 1 << 17, FRAMES = 14, FRAME_BYTES = 120, PLACE_FRAMES = 7 };

/* One row a kind: its name. The order is that of the counts in the board. */
#define KINDS                                                                                      \
    X(alloc)                                                                                       \
    X(socket)                                                                                      \
    X(connect) X(bind) X(listen) X(accept) X(read) X(write) X(recv) X(send) X(readv) X(writev)     \
        X(open) X(fopen) X(fsync) X(epoll_create) X(epoll_ctl) X(epoll_wait) X(poll) X(eventfd)    \
            X(timerfd) X(pipe) X(socketpair) X(fcntl) X(setsockopt) X(getsockopt) X(getsockname)   \
                X(getrandom) X(fork) X(exec) X(waitpid) X(thread) X(stat) X(rename) X(ioctl)

enum kind {
#define X(name) KIND_##name,
    KINDS
#undef X
        KIND_COUNT
};

static const char *const kind_names[] = {
#define X(name) #name,
    KINDS
#undef X
};

/* The reader is tests/failing/way.py (class Board). */
struct board {
    uint64_t counts[64];             /* calls by kind */
    uint64_t hit;                    /* 1: the call has failed */
    uint64_t listed;                 /* entries of places in use */
    char stack[FRAMES][FRAME_BYTES]; /* of the call that failed: "object symbol+offset" */
    uint64_t places[PLACES_MAX];     /* of every call, when listing */
};

static struct board *board;
static enum kind wanted = KIND_COUNT;
static enum { BY_NUMBER, BY_PLACE, BY_FUNCTION, LISTING } how;
static char function[64];
static uint64_t target;
static int error_wanted;
static __thread int inside __attribute__((tls_model("initial-exec")));

static void describe(void *const *frames, int n)
{
    for (int i = 0; i < n && i < FRAMES; i++) {
        Dl_info info;
        if (dladdr(frames[i], &info) == 0) {
            (void)snprintf(board->stack[i], FRAME_BYTES, "%p", frames[i]);
            continue;
        }
        const char *object = strrchr(info.dli_fname, '/');
        (void)snprintf(board->stack[i], FRAME_BYTES, "%s %s+0x%lx",
                       object != NULL ? object + 1 : info.dli_fname,
                       info.dli_sname != NULL ? info.dli_sname : "?",
                       (unsigned long)((char *)frames[i] - (char *)info.dli_fbase));
    }
}

static uint64_t place_of(void *const *frames, int n)
{
    uint64_t hash = 14695981039346656037ULL;
    for (int i = 0; i < n && i < PLACE_FRAMES; i++) {
        hash = (hash ^ (uint64_t)frames[i]) * 1099511628211ULL;
    }
    return hash >> 1;
}

static bool passes(void *const *frames, int n)
{
    Dl_info info;
    for (int i = 0; i < n; i++) {
        if (dladdr(frames[i], &info) != 0 && info.dli_sname != NULL &&
            strcmp(info.dli_sname, function) == 0) {
            return true;
        }
    }
    return false;
}

/* True when this call has to fail; errno is set then. Frames 0 and 1 are of this file. */
static __attribute__((noinline)) bool fails(enum kind kind)
{
    if (board == NULL || inside != 0) {
        return false;
    }
    uint64_t nth = __atomic_add_fetch(&board->counts[kind], 1, __ATOMIC_RELAXED);
    if (kind != wanted || (how != LISTING && board->hit != 0) ||
        (how == BY_NUMBER && nth != target)) {
        return false;
    }
    inside = 1;
    void *frames[FRAMES + 2];
    int saved = errno;
    sigset_t held;
    bool interruptible =
        pthread_sigmask(SIG_BLOCK, NULL, &held) == 0 && !sigismember(&held, SIGTERM);
    int n = backtrace(frames, FRAMES + 2) - 2;
    bool now = how == BY_NUMBER;
    if (how == LISTING && nth <= PLACES_MAX) {
        board->places[nth - 1] = place_of(frames + 2, n);
        board->listed = nth;
    } else if (how == BY_PLACE) {
        now = place_of(frames + 2, n) == target;
    } else if (how == BY_FUNCTION) {
        now = passes(frames + 2, n);
    }
    /* a thread that holds signals back (libzmq's) is not interrupted */
    now = now && (error_wanted != EINTR || interruptible);
    now = now && __atomic_exchange_n(&board->hit, 1, __ATOMIC_RELAXED) == 0;
    if (now) {
        describe(frames + 2, n);
    }
    inside = 0;
    errno = now && error_wanted != 0 ? error_wanted : saved;
    return now;
}

static __attribute__((constructor)) void begin(void)
{
    const char *path = getenv("OTPQ_INJECT_FILE");
    char spec[128];
    char *rest = spec;
    (void)snprintf(spec, sizeof(spec), "%s",
                   getenv("OTPQ_INJECT") != NULL ? getenv("OTPQ_INJECT") : "");
    const char *kind = strsep(&rest, ":");
    const char *mode = strsep(&rest, ":");
    if (path == NULL || mode == NULL) {
        return;
    }
    for (int k = 0; k < KIND_COUNT; k++) {
        wanted = strcmp(kind, kind_names[k]) == 0 ? (enum kind)k : wanted;
    }
    how = strcmp(mode, "list") == 0 ? LISTING
          : strcmp(mode, "at") == 0 ? BY_PLACE
          : strcmp(mode, "in") == 0 ? BY_FUNCTION
                                    : BY_NUMBER;
    if (how != LISTING && rest != NULL) {
        const char *which = strsep(&rest, ":");
        (void)snprintf(function, sizeof(function), "%s", which);
        target = strtoull(which, NULL, 10);
        error_wanted = rest != NULL ? atoi(rest) : 0;
    }
    inside = 1;
    void *frames[4];
    (void)backtrace(frames, 4); /* it loads what it needs the first time */
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *mapped = fd >= 0 ? mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                           : MAP_FAILED;
    if (fd >= 0) {
        (void)close(fd);
    }
    inside = 0;
    if (wanted == KIND_COUNT || mapped == MAP_FAILED) {
        (void)dprintf(2, "inject: no such kind or no board: %s\n", spec);
        _exit(125);
    }
    board = mapped;
}

#define REAL(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (real == NULL) {                                                                            \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                         \
    }

/* ---- memory ---------------------------------------------------------------------------------- */

void *malloc(size_t n)
{
    REAL(malloc)
    return fails(KIND_alloc) ? NULL : real(n);
}

/* dlsym itself may ask for zeroed memory before it has found the real one */
static char early[4096];
static size_t early_used;

void *calloc(size_t count, size_t size)
{
    static __typeof__(&calloc) real;
    static bool looking;
    if (real == NULL) {
        if (looking) {
            void *p = early + early_used;
            early_used += (count * size + 15) & ~(size_t)15;
            return early_used <= sizeof(early) ? p : NULL;
        }
        looking = true;
        real = (__typeof__(&calloc))dlsym(RTLD_NEXT, "calloc");
    }
    return fails(KIND_alloc) ? NULL : real(count, size);
}

void *realloc(void *old, size_t n)
{
    REAL(realloc)
    return fails(KIND_alloc) ? NULL : real(old, n);
}

void free(void *p)
{
    REAL(free)
    if ((char *)p < early || (char *)p >= early + sizeof(early)) {
        real(p);
    }
}

int posix_memalign(void **to, size_t alignment, size_t n)
{
    REAL(posix_memalign)
    return fails(KIND_alloc) ? ENOMEM : real(to, alignment, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    REAL(aligned_alloc)
    return fails(KIND_alloc) ? NULL : real(alignment, n);
}

/* ---- calls that fail or do not ----------------------------------------------------------------
 */

#define CALL(kind, type, name, params, ...)                                                        \
    type name params                                                                               \
    {                                                                                              \
        REAL(name)                                                                                 \
        return fails(KIND_##kind) ? (type)-1 : real(__VA_ARGS__);                                  \
    }

CALL(socket, int, socket, (int d, int t, int p), d, t, p)
CALL(connect, int, connect, (int fd, const struct sockaddr *a, socklen_t n), fd, a, n)
CALL(bind, int, bind, (int fd, const struct sockaddr *a, socklen_t n), fd, a, n)
CALL(listen, int, listen, (int fd, int backlog), fd, backlog)
CALL(accept, int, accept, (int fd, struct sockaddr *a, socklen_t *n), fd, a, n)
CALL(accept, int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int f), fd, a, n, f)
CALL(fsync, int, fsync, (int fd), fd)
CALL(fsync, int, fdatasync, (int fd), fd)
CALL(epoll_create, int, epoll_create, (int n), n)
CALL(epoll_create, int, epoll_create1, (int flags), flags)
CALL(epoll_ctl, int, epoll_ctl, (int e, int op, int fd, struct epoll_event *v), e, op, fd, v)
CALL(epoll_wait, int, epoll_wait, (int e, struct epoll_event *v, int n, int ms), e, v, n, ms)
CALL(poll, int, poll, (struct pollfd * p, nfds_t n, int ms), p, n, ms)
extern int eventfd(unsigned, int);
CALL(eventfd, int, eventfd, (unsigned n, int flags), n, flags)
CALL(timerfd, int, timerfd_create, (int clock, int flags), clock, flags)
CALL(timerfd, int, timerfd_settime,
     (int fd, int f, const struct itimerspec *v, struct itimerspec *o), fd, f, v, o)
CALL(pipe, int, pipe, (int p[2]), p)
CALL(pipe, int, pipe2, (int p[2], int flags), p, flags)
CALL(socketpair, int, socketpair, (int d, int t, int p, int s[2]), d, t, p, s)
CALL(setsockopt, int, setsockopt, (int fd, int l, int o, const void *v, socklen_t n), fd, l, o, v,
     n)
CALL(getsockopt, int, getsockopt, (int fd, int l, int o, void *v, socklen_t *n), fd, l, o, v, n)
CALL(getsockname, int, getsockname, (int fd, struct sockaddr *a, socklen_t *n), fd, a, n)
extern ssize_t getrandom(void *, size_t, unsigned);
CALL(getrandom, ssize_t, getrandom, (void *p, size_t n, unsigned flags), p, n, flags)
CALL(fork, pid_t, fork, (void))
CALL(exec, int, execvp, (const char *path, char *const argv[]), path, argv)
CALL(exec, int, execv, (const char *path, char *const argv[]), path, argv)
CALL(waitpid, pid_t, waitpid, (pid_t pid, int *status, int options), pid, status, options)
CALL(stat, int, stat, (const char *path, struct stat *s), path, s)
CALL(stat, int, fstat, (int fd, struct stat *s), fd, s)
CALL(rename, int, rename, (const char *from, const char *to), from, to)

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *context)
{
    REAL(pthread_create)
    return fails(KIND_thread) ? EAGAIN : real(t, a, f, context);
}

FILE *fopen(const char *path, const char *mode)
{
    REAL(fopen)
    return fails(KIND_fopen) ? NULL : real(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    REAL(fopen64)
    return fails(KIND_fopen) ? NULL : real(path, mode);
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        REAL(name)                                                                                 \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;             \
        va_end(args);                                                                              \
        return fails(KIND_open) ? -1 : real(path, flags, mode);                                    \
    }
OPEN(open)
OPEN(open64)
extern int __open_2(const char *, int);
extern int __open64_2(const char *, int);
CALL(open, int, __open_2, (const char *path, int flags), path, flags)
CALL(open, int, __open64_2, (const char *path, int flags), path, flags)

#define CONTROL(kind, name, asked)                                                                 \
    int name(int fd, asked what, ...)                                                              \
    {                                                                                              \
        REAL(name)                                                                                 \
        va_list args;                                                                              \
        va_start(args, what);                                                                      \
        void *value = va_arg(args, void *);                                                        \
        va_end(args);                                                                              \
        return fails(KIND_##kind) ? -1 : real(fd, what, value);                                    \
    }
CONTROL(fcntl, fcntl, int)
CONTROL(fcntl, fcntl64, int)
extern int ioctl(int, unsigned long, ...);
CONTROL(ioctl, ioctl, unsigned long)

/* ---- calls that move bytes --------------------------------------------------------------------
 */

/* Anonymous descriptors (eventfd, timerfd) neither break nor move a part. */
static bool moves_bytes(int fd)
{
    struct stat s;
    int saved = errno;
    inside++;
    bool real_file = fstat(fd, &s) == 0 && (s.st_mode & S_IFMT) != 0;
    inside--;
    errno = saved;
    return real_file;
}

/* How many of n bytes this call may move; -1: none, it fails. */
static ssize_t allowed(enum kind kind, int fd, size_t n)
{
    /* libevent's signal handler writes one byte into a socket that is never waited for */
    bool wake = kind == KIND_write && n <= 1;
    if (board == NULL || inside != 0 || wake || !moves_bytes(fd) || !fails(kind)) {
        return (ssize_t)n;
    }
    if (error_wanted == EPIPE || error_wanted == ECONNRESET) {
        (void)shutdown(fd, SHUT_RDWR); /* that connection is gone, for both ends and all calls */
        errno = error_wanted;
    }
    return error_wanted != 0 ? -1 : n > 1 ? 1 : (ssize_t)n;
}

#define MOVE(kind, name, params, fd, n, ...)                                                       \
    ssize_t name params                                                                            \
    {                                                                                              \
        REAL(name)                                                                                 \
        ssize_t part = allowed(KIND_##kind, fd, n);                                                \
        if (part < 0) {                                                                            \
            return -1;                                                                             \
        }                                                                                          \
        n = (size_t)part;                                                                          \
        return real(__VA_ARGS__);                                                                  \
    }

MOVE(read, read, (int fd, void *p, size_t n), fd, n, fd, p, n)
MOVE(write, write, (int fd, const void *p, size_t n), fd, n, fd, p, n)
MOVE(recv, recv, (int fd, void *p, size_t n, int f), fd, n, fd, p, n, f)
MOVE(recv, recvfrom, (int fd, void *p, size_t n, int f, struct sockaddr *a, socklen_t *l), fd, n,
     fd, p, n, f, a, l)
MOVE(send, send, (int fd, const void *p, size_t n, int f), fd, n, fd, p, n, f)
MOVE(send, sendto, (int fd, const void *p, size_t n, int f, const struct sockaddr *a, socklen_t l),
     fd, n, fd, p, n, f, a, l)
extern ssize_t __read_chk(int, void *, size_t, size_t);
extern ssize_t __recv_chk(int, void *, size_t, size_t, int);
MOVE(read, __read_chk, (int fd, void *p, size_t n, size_t room), fd, n, fd, p, n, room)
MOVE(recv, __recv_chk, (int fd, void *p, size_t n, size_t room, int f), fd, n, fd, p, n, room, f)
CALL(poll, int, ppoll, (struct pollfd * p, nfds_t n, const struct timespec *t, const sigset_t *s),
     p, n, t, s)
extern int __poll_chk(struct pollfd *, nfds_t, int, size_t);
CALL(poll, int, __poll_chk, (struct pollfd * p, nfds_t n, int ms, size_t room), p, n, ms, room)

#define VECTOR(kind, name)                                                                         \
    ssize_t name(int fd, const struct iovec *v, int n)                                             \
    {                                                                                              \
        REAL(name)                                                                                 \
        ssize_t part = allowed(KIND_##kind, fd, 2);                                                \
        if (part < 0) {                                                                            \
            return -1;                                                                             \
        }                                                                                          \
        if (part == 1 && n > 0 && v[0].iov_len > 0) {                                              \
            const struct iovec one = {v[0].iov_base, 1};                                           \
            return real(fd, &one, 1);                                                              \
        }                                                                                          \
        return real(fd, v, n);                                                                     \
    }
VECTOR(readv, readv)
VECTOR(writev, writev)

#define MESSAGE(kind, name, type)                                                                  \
    ssize_t name(int fd, type *m, int flags)                                                       \
    {                                                                                              \
        REAL(name)                                                                                 \
        return error_wanted != 0 && allowed(KIND_##kind, fd, 2) < 0 ? -1 : real(fd, m, flags);     \
    }
MESSAGE(recv, recvmsg, struct msghdr)
MESSAGE(send, sendmsg, const struct msghdr)
