#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/meaning/secrets.h"

static char path[64];

static const char *file_of(const char *text, mode_t mode)
{
    (void)snprintf(path, sizeof(path), "/tmp/otpq-test-secrets-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
    return path;
}

static void assert_refused(const char *text, mode_t mode, const char *expected)
{
    struct yaml_error error;
    const char *file = file_of(text, mode);
    struct secrets *s = secrets_load(file, &error);
    assert_null(s);
    assert_memory_equal(error.text, file, strlen(file));
    if (strstr(error.text, expected) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", expected, error.text);
    }
    (void)unlink(file);
}

static void one_secret_a_file(void **state)
{
    (void)state;
    struct yaml_error error;
    size_t n = 0;
    char *secret = secret_file_read(file_of("pa ss\n\n", 0600), 100, &n, &error);
    assert_non_null(secret);
    assert_int_equal(n, 5);
    assert_string_equal(secret, "pa ss");
    secret_wipe(&secret, n);
    assert_null(secret);
    secret_wipe(&secret, n);
    assert_null(secret_file_read(path, 3, &n, &error));
    assert_non_null(strstr(error.text, "must hold 1 to 3 bytes, and holds 7"));
    (void)unlink(path);
    assert_null(secret_file_read(path, 100, &n, &error));
    assert_non_null(strstr(error.text, "cannot be opened"));
    assert_null(secret_file_read("/tmp", 100, &n, &error));
    assert_non_null(strstr(error.text, "regular file"));
    assert_null(secret_file_read(file_of("\n", 0600), 100, &n, &error));
    assert_non_null(strstr(error.text, "is empty"));
    (void)unlink(path);
}

static void names_find_values(void **state)
{
    (void)state;
    struct yaml_error error;
    struct secrets *s = secrets_load(file_of("api-key: k1\nother: '2'\n", 0640), &error);
    assert_non_null(s);
    (void)unlink(path);
    struct slice value;
    assert_true(secrets_find(s, SLICE("api-key"), &value));
    assert_true(slice_is(value, "k1"));
    assert_true(secrets_find(s, SLICE("other"), &value));
    assert_true(slice_is(value, "2"));
    assert_false(secrets_find(s, SLICE("api"), &value));
    struct buf out;
    buf_init(&out, 64);
    redact(secrets_redactor(s), SLICE("k1 k2 2"), NULL, 0, &out);
    assert_string_equal(buf_text(&out), "**** k**** ****");
    buf_free(&out);
    secrets_destroy(&s);
    assert_null(s);
}

static void no_file_is_an_empty_set(void **state)
{
    (void)state;
    struct yaml_error error;
    struct secrets *s = secrets_load("", &error);
    assert_non_null(s);
    struct slice value;
    assert_false(secrets_find(s, SLICE("x"), &value));
    assert_null(secrets_redactor(s));
    secrets_destroy(&s);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    assert_refused("a: b\n", 0644, "is open to others (mode 0644): chmod 600 /tmp/");
    assert_refused("a: b\n", 0620, "is open to others");
    assert_refused("a: [b]\n", 0600, ":1:4: the value of secret a must be a text");
    assert_refused("a:\n", 0600, ":1:3: the value of secret a must be a text");
    assert_refused("a: b\nä: c\n", 0600, ":2:1: the name of a secret is");
    assert_refused("- a\n", 0600, ":1:1: at most 1000 lines");
    assert_refused("a: b\na: c\n", 0600, ":2:1: key \"a\" is given twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_secret_a_file),
        cmocka_unit_test(names_find_values),
        cmocka_unit_test(no_file_is_an_empty_set),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
