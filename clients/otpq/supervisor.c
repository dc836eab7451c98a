#include "clients/otpq/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/adapters/listen_fd.h"
#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/slice.h"

enum {
    READY_WITHIN_MS = 30000,
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 5000,
    HEALTHY_AFTER_MS = 10000, /* ready this long: the next death starts a new backoff */
    LAST_WORDS_BYTES = 1500,
    LOG_BYTES_MAX = 64 * 1024 * 1024, /* of a child's log; then it begins anew */
    LOG_LOOK_S = 10
};

enum child_state {
    CHILD_WAITING,  /* not started yet */
    CHILD_STARTING, /* running, READY=1 not seen */
    CHILD_READY,    /* running; a oneshot: exited with 0 */
    CHILD_BACKOFF,  /* dead, its timer starts it again */
    CHILD_STOPPING, /* SIGTERM sent, its timer kills */
    CHILD_ENDED     /* gone for good */
};

struct child {
    struct supervisor *owner;
    char *name;
    char *argv[CHILD_ARGS_MAX + 1];
    char *env[CHILD_ENV_MAX + 1];
    bool oneshot, lasting, shown;
    bool extra; /* not part of the boot: never started again */
    const int *listen_fd;
    int stop_rank;
    int drain_ms;
    enum child_state state;
    bool was_ready;   /* at least once in its life */
    bool again;       /* stopped to be restarted */
    pid_t pid;        /* 0: not running */
    int64_t ready_ms; /* when it became ready last */
    int backoff_ms;   /* next wait */
    struct event *timer;
};

struct supervisor {
    struct event_base *base;
    struct supervisor_options o;
    char *dir;
    char *notify_path;
    int notify_fd;
    struct event *notify_event;
    struct event *child_event;
    struct event *log_event;
    struct child *children[CHILDREN_MAX];
    size_t count;
    bool booting; /* children are still being started in order */
    bool stopping;
    bool restarting;       /* a rank at a time */
    struct child *renewed; /* restarting: who was started again last */
    bool failed;
};

static void child_begin(struct child *c);
static void stop_next_rank(struct supervisor *s);
static void boot_next(struct supervisor *s);
static void restart_next_rank(struct supervisor *s);

static char *path_in(const struct supervisor *s, const char *folder, const char *name,
                     const char *suffix)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s%s", s->dir, folder, name, suffix) < 0) {
        out_of_memory();
    }
    return path;
}

/* ---- the child's side of fork ---------------------------------------------------------------- */

static void redirect_output(const char *log_path)
{
    int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
    }
}

/* The parent's handlers write into a socket that both sides share: they must be gone before a
 * signal can arrive here. child_begin holds all signals back until then. */
static void let_signals_in(void)
{
    static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
    sigset_t none;
    for (size_t i = 0; i < ARRAY_LEN(handled); i++) {
        (void)signal(handled[i], SIG_DFL);
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(struct child *c, const char *log_path, pid_t parent)
{
    /* its own group: a terminal's Ctrl-C reaches the supervisor alone, which ends all in order */
    (void)setpgid(0, 0);
    /* nothing is left running when the supervisor itself is killed */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(1);
    }
    let_signals_in();
    if (!c->shown) {
        redirect_output(log_path);
    }
    if (c->listen_fd != NULL) {
        listen_fd_pass(*c->listen_fd);
    }
    (void)setenv("NOTIFY_SOCKET", c->owner->notify_path, 1);
    for (size_t i = 0; c->env[i] != NULL; i++) {
        (void)putenv(c->env[i]);
    }
    (void)execvp(c->argv[0], c->argv);
    (void)fprintf(stderr, "%s: cannot run %s: %s\n", c->name, c->argv[0], strerror(errno));
    _exit(127);
}

/* ---- a child's life -------------------------------------------------------------------------- */

static void arm(struct child *c, int ms)
{
    struct timeval wait = {ms / 1000, (ms % 1000) * 1000};
    (void)evtimer_add(c->timer, &wait);
}

/* The log of a start begins empty; the one before stays as NAME.log.1: two files at the most. */
static void rotate_log(const struct child *c, const char *path)
{
    char *older = path_in(c->owner, "log/", c->name, ".log.1");
    (void)rename(path, older);
    free(older);
}

static void child_begin(struct child *c)
{
    char *log_path = path_in(c->owner, "log/", c->name, ".log");
    if (!c->shown) {
        rotate_log(c, log_path);
    }
    pid_t parent = getpid();
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        become(c, log_path, parent);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    free(log_path);
    if (pid < 0) {
        log_error("cannot fork", "child", c->name, "reason", strerror(errno), NULL);
        c->state = CHILD_BACKOFF;
        arm(c, BACKOFF_MAX_MS);
        return;
    }
    c->pid = pid;
    c->state = c->extra ? CHILD_READY : CHILD_STARTING;
    if (!c->extra) {
        arm(c, READY_WITHIN_MS);
    }
}

static void child_stop(struct child *c)
{
    if (c->pid == 0) {
        (void)evtimer_del(c->timer);
        c->state = CHILD_ENDED;
        return;
    }
    (void)kill(c->pid, SIGTERM);
    c->state = CHILD_STOPPING;
    arm(c, c->drain_ms);
}

static void show_last_words(const struct child *c)
{
    char *path = path_in(c->owner, "log/", c->name, ".log");
    FILE *f = c->shown ? NULL : fopen(path, "re");
    if (f != NULL) {
        char words[LAST_WORDS_BYTES + 1];
        (void)fseek(f, 0, SEEK_END);
        long size = ftell(f);
        (void)fseek(f, size > LAST_WORDS_BYTES ? size - LAST_WORDS_BYTES : 0, SEEK_SET);
        size_t n = fread(words, 1, LAST_WORDS_BYTES, f);
        words[n] = '\0';
        (void)fclose(f);
        (void)fprintf(stderr, "%s", words);
    }
    free(path);
}

static void boot_failed(struct child *c, const char *what)
{
    struct supervisor *s = c->owner;
    (void)fprintf(stderr, "\notpq: %s %s; the node does not start. Its last words:\n", c->name,
                  what);
    show_last_words(c);
    s->failed = true;
    supervisor_stop(s);
}

static void child_timer(evutil_socket_t fd UNUSED, short what UNUSED, void *context)
{
    struct child *c = context;
    switch (c->state) {
    case CHILD_BACKOFF:
        child_begin(c);
        break;
    case CHILD_STARTING:
        if (c->owner->booting && !c->was_ready) {
            boot_failed(c, "was not ready within 30 s");
        } else {
            (void)kill(c->pid, SIGKILL);
        }
        break;
    case CHILD_STOPPING:
        log_warn("child did not end in time; killed", "child", c->name, NULL);
        c->owner->failed = true;
        (void)kill(c->pid, SIGKILL);
        break;
    case CHILD_WAITING:
    case CHILD_READY:
    case CHILD_ENDED:
        break;
    }
}

static void child_ready(struct child *c)
{
    (void)evtimer_del(c->timer);
    c->state = CHILD_READY;
    c->was_ready = true;
    c->ready_ms = clock_mono_ms();
    if (c->owner->booting) {
        boot_next(c->owner);
    } else if (c->owner->restarting) {
        restart_next_rank(c->owner);
    }
}

static void start_again(struct child *c, int status)
{
    if (c->state == CHILD_READY && clock_mono_ms() - c->ready_ms > HEALTHY_AFTER_MS) {
        c->backoff_ms = BACKOFF_FIRST_MS;
    }
    log_warn("child ended; it is started again", "child", c->name, "after_ms",
             log_num(c->backoff_ms), WIFSIGNALED(status) ? "signal" : "exit",
             log_num(WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status)), NULL);
    c->state = CHILD_BACKOFF;
    arm(c, c->backoff_ms);
    c->backoff_ms = c->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : c->backoff_ms * 2;
}

static void child_ended(struct child *c, int status)
{
    struct supervisor *s = c->owner;
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    c->pid = 0;
    (void)evtimer_del(c->timer);
    if (c->state == CHILD_STOPPING && c->again && !s->stopping) {
        c->again = false;
        child_begin(c);
    } else if (c->state == CHILD_STOPPING || s->stopping) {
        c->state = CHILD_ENDED;
        stop_next_rank(s);
    } else if (c->oneshot && good) {
        child_ready(c);
    } else if (c->extra) {
        c->state = CHILD_ENDED;
    } else if (s->booting && !c->was_ready) {
        c->state = CHILD_ENDED;
        boot_failed(c, c->oneshot ? "failed" : "ended before it was ready");
    } else {
        start_again(c, status);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void boot_next(struct supervisor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = s->children[i];
        if (c->state == CHILD_STARTING || c->state == CHILD_BACKOFF) {
            return; /* one after the other */
        }
        if (c->state == CHILD_WAITING) {
            child_begin(c);
            return;
        }
    }
    s->booting = false;
    s->o.on_up(s->o.context);
}

static int lowest_running_rank(const struct supervisor *s)
{
    int rank = -1;
    for (size_t i = 0; i < s->count; i++) {
        const struct child *c = s->children[i];
        bool live = c->pid != 0 || c->state == CHILD_BACKOFF;
        if (live && (rank < 0 || c->stop_rank < rank)) {
            rank = c->stop_rank;
        }
    }
    return rank;
}

static void stop_next_rank(struct supervisor *s)
{
    int rank = lowest_running_rank(s);
    if (rank < 0) {
        s->o.on_ended(s->o.context, s->failed);
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = s->children[i];
        if (c->stop_rank == rank && c->state != CHILD_STOPPING && c->state != CHILD_ENDED) {
            child_stop(c);
        }
    }
    if (lowest_running_rank(s) != rank) {
        stop_next_rank(s); /* that rank was dead already */
    }
}

void supervisor_stop(struct supervisor *s)
{
    s->booting = false;
    s->restarting = false;
    if (!s->stopping) {
        s->stopping = true;
        stop_next_rank(s);
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->children[i]->pid != 0) {
            (void)kill(s->children[i]->pid, SIGKILL);
        }
    }
}

/* Ranks are restarted from the last to end to the first: what others stand on comes first. A child
 * is due when it was ready before the restart began and is not oneshot. */
static void restart_next_rank(struct supervisor *s)
{
    struct child *next = NULL;
    if (s->renewed != NULL && s->renewed->state != CHILD_READY) {
        return; /* it may never be, and the others are all that serves then */
    }
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = s->children[i];
        if (c->again && c->state != CHILD_READY) {
            return;
        }
        if (c->again && (next == NULL || c->stop_rank > next->stop_rank)) {
            next = c;
        }
    }
    if (next == NULL) {
        s->restarting = false;
        log_info("all processes were restarted", NULL);
        return;
    }
    s->renewed = next;
    child_stop(next);
}

void supervisor_restart(struct supervisor *s)
{
    if (s->booting || s->stopping || s->restarting) {
        return;
    }
    s->restarting = true;
    s->renewed = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct child *c = s->children[i];
        c->again = !c->oneshot && !c->lasting && !c->extra && c->pid != 0;
    }
    restart_next_rank(s);
}

static void on_child_signal(evutil_socket_t fd UNUSED, short what UNUSED, void *context)
{
    struct supervisor *s = context;
    int status;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        for (size_t i = 0; i < s->count; i++) {
            if (s->children[i]->pid == pid) {
                child_ended(s->children[i], status);
                break;
            }
        }
    }
}

static pid_t sender_of(struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(h), sizeof(who));
            return who.pid;
        }
    }
    return 0;
}

static void on_notify(evutil_socket_t fd, short what UNUSED, void *context)
{
    struct supervisor *s = context;
    char text[1024];
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec part = {text, sizeof(text) - 1};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
    if (n <= 0) {
        return;
    }
    text[n] = '\0';
    pid_t pid = sender_of(&m);
    for (size_t i = 0; i < s->count && strstr(text, "READY=1") != NULL; i++) {
        struct child *c = s->children[i];
        if (c->pid == pid && c->state == CHILD_STARTING && !c->oneshot) {
            child_ready(c);
            return;
        }
    }
}

/* Children append to their logs; one that has grown too long is emptied in place. */
static void on_log_look(evutil_socket_t fd UNUSED, short what UNUSED, void *context)
{
    struct supervisor *s = context;
    for (size_t i = 0; i < s->count; i++) {
        char *path = path_in(s, "log/", s->children[i]->name, ".log");
        struct stat file;
        if (stat(path, &file) == 0 && file.st_size > LOG_BYTES_MAX && truncate(path, 0) == 0) {
            log_warn("log was full and begins anew", "file", path, NULL);
        }
        free(path);
    }
}

/* ---- birth and death ------------------------------------------------------------------------- */

static bool open_notify_socket(struct supervisor *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    s->notify_path = path_in(s, "", "notify.sock", "");
    if (strlen(s->notify_path) >= sizeof(address.sun_path)) {
        (void)fprintf(
            stderr, "otpq: --dir: the path %s is too long for a unix socket (%zu bytes at most)\n",
            s->notify_path, sizeof(address.sun_path) - 1);
        return false;
    }
    strcpy(address.sun_path, s->notify_path);
    (void)unlink(s->notify_path);
    s->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (s->notify_fd < 0 || bind(s->notify_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        setsockopt(s->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0) {
        (void)fprintf(stderr, "otpq: cannot open %s: %s\n", s->notify_path, strerror(errno));
        return false;
    }
    return true;
}

struct supervisor *supervisor_new(struct event_base *base, const struct supervisor_options *o)
{
    struct supervisor *s = xcalloc(1, sizeof(*s));
    s->base = base;
    s->o = *o;
    s->dir = slice_dup(slice_of(o->dir));
    must(s->dir != NULL);
    s->notify_fd = -1;
    char *logs = path_in(s, "log", "", "");
    (void)mkdir(logs, 0700);
    free(logs);
    if (!open_notify_socket(s)) {
        supervisor_destroy(&s);
        return NULL;
    }
    s->notify_event = event_new(base, s->notify_fd, EV_READ | EV_PERSIST, on_notify, s);
    s->child_event = evsignal_new(base, SIGCHLD, on_child_signal, s);
    (void)event_add(s->notify_event, NULL);
    (void)event_add(s->child_event, NULL);
    struct timeval often = {LOG_LOOK_S, 0};
    s->log_event = event_new(base, -1, EV_PERSIST, on_log_look, s);
    (void)event_add(s->log_event, &often);
    return s;
}

static void child_free(struct child *c)
{
    for (size_t i = 0; c->argv[i] != NULL; i++) {
        free(c->argv[i]);
    }
    for (size_t i = 0; c->env[i] != NULL; i++) {
        free(c->env[i]);
    }
    event_free(c->timer);
    free(c->name);
    free(c);
}

void supervisor_destroy(struct supervisor **sp)
{
    struct supervisor *s = *sp;
    if (s == NULL) {
        return;
    }
    *sp = NULL;
    for (size_t i = 0; i < s->count; i++) {
        child_free(s->children[i]);
    }
    if (s->notify_event != NULL) {
        event_free(s->notify_event);
        event_free(s->child_event);
        event_free(s->log_event);
    }
    if (s->notify_fd >= 0) {
        (void)close(s->notify_fd);
        (void)unlink(s->notify_path);
    }
    free(s->notify_path);
    free(s->dir);
    free(s);
}

static struct child *add(struct supervisor *s, const struct child_spec *spec)
{
    must(s->count < CHILDREN_MAX);
    struct child *c = xcalloc(1, sizeof(*c));
    c->owner = s;
    c->name = slice_dup(slice_of(spec->name));
    for (size_t i = 0; i < CHILD_ARGS_MAX && spec->argv[i] != NULL; i++) {
        c->argv[i] = slice_dup(slice_of(spec->argv[i]));
    }
    for (size_t i = 0; i < CHILD_ENV_MAX && spec->env[i] != NULL; i++) {
        c->env[i] = slice_dup(slice_of(spec->env[i]));
    }
    c->oneshot = spec->oneshot;
    c->lasting = spec->lasting;
    c->shown = spec->shown;
    c->listen_fd = spec->listen_fd;
    c->stop_rank = spec->stop_rank;
    c->drain_ms = spec->drain_ms;
    c->backoff_ms = BACKOFF_FIRST_MS;
    c->timer = evtimer_new(s->base, child_timer, c);
    s->children[s->count++] = c;
    return c;
}

void supervisor_add(struct supervisor *s, const struct child_spec *spec)
{
    (void)add(s, spec);
}

void supervisor_start(struct supervisor *s)
{
    s->booting = true;
    boot_next(s);
}

void supervisor_run(struct supervisor *s, const struct child_spec *spec)
{
    struct child *c = add(s, spec);
    c->extra = true;
    child_begin(c);
}
