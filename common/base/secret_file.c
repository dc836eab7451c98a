#include "common/base/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The size, or -1 with why filled. */
static off_t check_file(int fd, const char *path, size_t bytes_max, char why[256])
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        (void)snprintf(why, 256, "cannot be read: %s", strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        (void)snprintf(why, 256, "a secret must be in a regular file");
    } else if ((st.st_mode & 037) != 0) {
        (void)snprintf(why, 256,
                       "holds a secret and is open to others (mode %04o): chmod 600 %.160s",
                       (unsigned)(st.st_mode & 07777), path);
    } else if (st.st_size == 0 || (size_t)st.st_size > bytes_max) {
        (void)snprintf(why, 256, "must hold 1 to %zu bytes, and holds %lld", bytes_max,
                       (long long)st.st_size);
    } else {
        return st.st_size;
    }
    return -1;
}

static char *read_bytes(int fd, size_t size, size_t *n)
{
    char *secret = xmalloc(size + 1); /* at once: growing would leave copies behind */
    *n = 0;
    while (*n < size) {
        ssize_t got = read(fd, secret + *n, size - *n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            break;
        }
        *n += (size_t)got;
    }
    secret[*n] = '\0';
    return secret;
}

char *secret_bytes_read(const char *path, size_t bytes_max, size_t *n, char why[256])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        (void)snprintf(why, 256, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    char *secret = NULL;
    off_t size = check_file(fd, path, bytes_max, why);
    if (size > 0) {
        secret = read_bytes(fd, (size_t)size, n);
        while (*n > 0 && (secret[*n - 1] == '\n' || secret[*n - 1] == '\r')) {
            secret[--*n] = '\0';
        }
        if (*n == 0) {
            secret_wipe(&secret, (size_t)size);
            (void)snprintf(why, 256, "is empty");
        }
    }
    (void)close(fd);
    return secret;
}

void secret_wipe(char **secret, size_t n)
{
    if (*secret != NULL) {
        explicit_bzero(*secret, n);
        free(*secret);
        *secret = NULL;
    }
}
