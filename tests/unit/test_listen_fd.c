/* A listening socket goes from one process to the next */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/adapters/listen_fd.h"

static const struct listen_fd_options any = {.address = "127.0.0.1:0", .key = "test.listen"};

/* What a child makes of what is passed to it, as its exit code. */
static int in_child(void (*pass)(int fd), int fd, uint16_t port)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char error[256] = "";
        int got = -1;
        pass(fd);
        bool ok = listen_fd_passed(&got, error);
        int code = !ok ? 2 : got < 0 ? 1 : listen_fd_port(got) == port ? 0 : 3;
        if (code == 2 && strstr(error, "LISTEN_FDS") == NULL) {
            code = 4;
        }
        if (code == 0 && (!listen_fd_passed(&got, error) || got >= 0)) {
            code = 5; /* it is asked once */
        }
        _exit(code);
    }
    int status = 0;
    assert_true(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void pass_nothing(int fd)
{
    (void)fd;
}

static void pass_two(int fd)
{
    listen_fd_pass(fd);
    (void)setenv("LISTEN_FDS", "2", 1);
    (void)dup2(3, 4);
}

static void pass_to_another(int fd)
{
    listen_fd_pass(fd);
    (void)setenv("LISTEN_PID", "1", 1);
}

static void pass_no_listener(int fd)
{
    (void)fd;
    listen_fd_pass(socket(AF_INET, SOCK_STREAM, 0));
}

static void test_passed(void **state)
{
    (void)state;
    char error[256], name[64], wanted[64];
    int fd = listen_fd_open(&any, error);
    assert_true(fd >= 0);
    uint16_t port = listen_fd_port(fd);
    (void)snprintf(wanted, sizeof(wanted), "127.0.0.1:%u", (unsigned)port);
    listen_fd_name(fd, name);
    assert_string_equal(name, wanted);
    assert_false(listen_fd_free(wanted, "test.listen", error));
    assert_int_equal(in_child(listen_fd_pass, fd, port), 0);
    assert_int_equal(in_child(listen_fd_pass, fd, port), 0); /* again: ours stays open */
    assert_int_equal(in_child(pass_nothing, fd, port), 1);
    assert_int_equal(in_child(pass_to_another, fd, port), 1);
    assert_int_equal(in_child(pass_two, fd, port), 2);
    assert_int_equal(in_child(pass_no_listener, fd, port), 2);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_passed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
