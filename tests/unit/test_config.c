#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/meaning/config.h"
#include "common/meaning/netaddr.h"

static char *file_of(const char *text)
{
    char *path = strdup("/tmp/otpq-test-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
    return path;
}

/* Loads the text as a file; expected NULL: it must be fine. */
static void check_file(struct config *c, const char *text, const char *expected)
{
    char *path = file_of(text);
    struct yaml_error error = {""};
    bool ok = config_load(c, path, &error);
    if (expected == NULL && !ok) {
        fail_msg("%s", error.text);
    }
    if (expected != NULL) {
        assert_false(ok);
        assert_memory_equal(error.text, path, strlen(path));
        assert_string_equal(error.text + strlen(path), expected);
    }
    (void)unlink(path);
    free(path);
}

static void defaults_stand(void **state)
{
    (void)state;
    struct config c;
    struct yaml_error error;
    (void)setenv("XDG_STATE_HOME", "/x", 1);
    assert_true(config_load(&c, NULL, &error));
    assert_string_equal(c.gateway_listen, "127.0.0.1:8080");
    assert_string_equal(c.broker_clients, "tcp://127.0.0.1:5560");
    assert_string_equal(c.broker_workers, "tcp://127.0.0.1:5561");
    assert_string_equal(c.broker_metrics, "127.0.0.1:9560");
    assert_string_equal(c.sandbox_listen, "127.0.0.1:8090");
    assert_int_equal(c.worker_brokers.count, 1);
    assert_int_equal(c.outgoing_allow.count, 0);
    assert_int_equal(c.worker_capacity, 5000);
    assert_false(config_accepts_unknown_routes(&c));
    assert_string_equal(c.dir, geteuid() == 0 ? "/var/lib/otpq" : "/x/otpq");
    config_free(&c);
    assert_null(c.dir);
}

static void file_then_environment(void **state)
{
    (void)state;
    struct config c;
    (void)setenv("OTPQ_WORKER_CAPACITY", "7", 1);
    (void)setenv("OTPQ_CLIENT_BROKERS", "tcp://a:1, tcp://b:2", 1);
    check_file(&c,
               "dir: /d\nworker:\n  capacity: 9\n  drain_ms: 5\n  brokers: [tcp://x:1, tcp://y:2]\n"
               "outgoing:\n  allow: 127.0.0.1:8090,10.0.0.0/8\nsecrets:\n",
               NULL);
    (void)unsetenv("OTPQ_WORKER_CAPACITY");
    (void)unsetenv("OTPQ_CLIENT_BROKERS");
    assert_int_equal(c.worker_capacity, 7);
    assert_int_equal(c.worker_drain_ms, 5);
    assert_int_equal(c.worker_brokers.count, 2);
    assert_string_equal(c.worker_brokers.at[1], "tcp://y:2");
    assert_int_equal(c.client_brokers.count, 2);
    assert_string_equal(c.client_brokers.at[1], "tcp://b:2");
    assert_string_equal(c.outgoing_allow.at[1], "10.0.0.0/8");
    char *redis = config_redis_address(&c);
    assert_string_equal(redis, "unix:/d/redis.sock");
    free(redis);
    char *pepper = config_path(&c, c.secrets_pepper_file, "pepper");
    assert_string_equal(pepper, "/d/pepper");
    free(pepper);
    config_free(&c);
}

static void errors_name_place_and_remedy(void **state)
{
    (void)state;
    struct config c;
    check_file(&c, "gateway:\n  lisetn: x\n",
               ":2:3: unknown key \"lisetn\" in section gateway; did you mean \"listen\"?");
    check_file(&c, "gatway:\n  listen: a:1\n",
               ":1:1: unknown section \"gatway\"; did you mean \"gateway\"?");
    check_file(&c, "zebra: 1\n", ":1:1: unknown section \"zebra\"; --help lists all options");
    check_file(
        &c, "broker:\n  jobs_max: 0\n",
        ":2:13: broker.jobs_max must be a whole number from 1 to 100000000 jobs (it is \"0\")");
    check_file(&c, "broker:\n  jobs_max: many\n",
               ":2:13: broker.jobs_max must be a whole number from 1 to 100000000 jobs "
               "(it is \"many\")");
    check_file(&c, "log:\n  level: loud\n",
               ":2:10: log.level must be one of debug|info|warn|error (it is \"loud\")");
    check_file(&c, "log:\n  level: [info]\n", ":2:10: log.level must be a word, not a list");
    check_file(&c, "gateway:\n  listen: {a: b}\n",
               ":2:11: gateway.listen must be a text, not a section");
    check_file(&c, "gateway: 5\n",
               ":1:10: gateway is a section: its keys stand below it, indented");
    check_file(&c, "gateway:\n  listen:\n",
               ":2:10: gateway.listen has no value: leave the line out for the default, or write "
               "\"\"");
    check_file(&c, "worker:\n  brokers: [tcp://a:1, [b]]\n",
               ":2:24: worker.brokers is a list of texts");
    check_file(&c, "worker:\n  brokers: [tcp://a:1, '']\n",
               ":2:24: worker.brokers takes at most 32 values, none of them empty");
    check_file(&c, "- a\n", ":1:1: sections are wanted, as \"gateway:\"");
}

#define SIXTEEN "0123456789:._-Az"

static void addresses_of_redis_are_taken_apart(void **state)
{
    (void)state;
    struct netaddr_redis a;
    assert_null(netaddr_redis("unix:/run/redis.sock", &a));
    assert_int_equal(a.kind, NETADDR_REDIS_UNIX);
    assert_true(a.hosts[0].is_unix);
    assert_null(netaddr_redis("tcp://[::1]:6379", &a));
    assert_int_equal(a.kind, NETADDR_REDIS_TCP);
    assert_int_equal(a.count, 1);
    assert_string_equal(a.hosts[0].host, "::1");
    assert_null(
        netaddr_redis("sentinel://s1.example:26379,[fd00::2]:26380,192.0.2.3:1/my-main", &a));
    assert_int_equal(a.kind, NETADDR_REDIS_SENTINEL);
    assert_int_equal(a.count, 3);
    assert_string_equal(a.name, "my-main");
    assert_string_equal(a.hosts[0].host, "s1.example");
    assert_string_equal(a.hosts[1].host, "fd00::2");
    assert_int_equal(a.hosts[1].port, 26380);
    assert_int_equal(a.hosts[2].port, 1);
    assert_null(netaddr_redis("cluster://127.0.0.1:7000,127.0.0.1:7001", &a));
    assert_int_equal(a.kind, NETADDR_REDIS_CLUSTER);
    assert_int_equal(a.count, 2);
    assert_string_equal(a.name, "");
    char many[512] = "cluster://h:1";
    for (int i = 2; i <= NETADDR_REDIS_HOSTS_MAX + 1; i++) {
        assert_true(i > NETADDR_REDIS_HOSTS_MAX || netaddr_redis(many, &a) == NULL);
        (void)snprintf(many + strlen(many), sizeof many - strlen(many), ",h:%d", i);
    }
    assert_string_equal(netaddr_redis(many, &a), "has too many hosts: name at most 16");
}

/* A longer one would not fit in front of keys; braces would move them to other slots. */
static void the_prefix_of_keys_is_bounded(void **state)
{
    (void)state;
    struct config c;
    check_file(&c, "redis:\n  prefix: '" SIXTEEN SIXTEEN SIXTEEN SIXTEEN "'\n", NULL);
    assert_int_equal(strlen(c.redis_prefix), CONFIG_REDIS_PREFIX_BYTES_MAX);
    config_free(&c);
    check_file(&c, "redis:\n  prefix: ''\n", NULL);
    config_free(&c);
    check_file(&c, "redis:\n  prefix: '" SIXTEEN SIXTEEN SIXTEEN SIXTEEN ":'\n",
               ":2:11: redis.prefix must be at most 64 characters, letters, digits and : . _ - "
               "(it is \"" SIXTEEN SIXTEEN SIXTEEN SIXTEEN "\")");
    check_file(&c, "redis:\n  prefix: 'a{b}'\n",
               ":2:11: redis.prefix must be at most 64 characters, letters, digits and : . _ - "
               "(it is \"a{b}\")");
}

#define NOT_LISTEN   "must be host:port, as 127.0.0.1:8080 or [::1]:8080"
#define NOT_ENDPOINT "must be an address like tcp://127.0.0.1:5560 or ipc:///PATH"
#define KEY          "HelloWorldHelloWorldHelloWorldHelloWorld"
#define NOT_GUARDED                                                                                \
    " is reachable from other hosts, and without keys anybody there may send: set "                \
    "broker.curve_secret_file to a FILE (that set, `otpq keys new NAME --kind broker "             \
    "--out FILE` makes it), or use tcp://127.0.0.1:PORT or ipc:///PATH"
#define NOT_ALLOW "is neither a host, host:port, an address nor a network (10.0.0.0/8)"
#define NOT_PROXY "must be http://host:port, without path or password"
#define NOT_REDIS                                                                                  \
    "must begin with unix:/path, tcp://host:port, sentinel://host:port,host:port/NAME or "         \
    "cluster://host:port,host:port"
#define NOT_TCP   "must be tcp://host:port, as tcp://127.0.0.1:6379 or tcp://[::1]:6379"
#define NOT_HOSTS "must have host:port between its commas, as 192.0.2.1:26379 or [::1]:26379"
#define NOT_NAMED "must end with /NAME, as the sentinels call the primary (`sentinel monitor NAME`)"

static void addresses_are_judged_at_load(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } bad[] = {
        {"gateway:\n  listen: 1.2.3.4:99999\n",
         ":2:11: gateway.listen " NOT_LISTEN " (it is \"1.2.3.4:99999\")"},
        {"gateway:\n  listen: ''\n", ":2:11: gateway.listen " NOT_LISTEN " (it is \"\")"},
        {"gateway:\n  listen: 1.2.3.400:1\n",
         ":2:11: gateway.listen " NOT_LISTEN " (it is \"1.2.3.400:1\")"},
        {"sandbox:\n  listen: nope\n", ":2:11: sandbox.listen " NOT_LISTEN " (it is \"nope\")"},
        {"broker:\n  metrics: foo\n", ":2:12: broker.metrics " NOT_LISTEN " (it is \"foo\")"},
        {"broker:\n  clients: foo\n", ":2:12: broker.clients " NOT_ENDPOINT " (it is \"foo\")"},
        {"broker:\n  clients: tcp://0.0.0.0:5560\n", ":2:12: broker.clients" NOT_GUARDED},
        {"broker:\n  workers: tcp://127.example.com:5560\n", ":2:12: broker.workers" NOT_GUARDED},
        {"redis:\n  address: foo\n", ":2:12: redis.address " NOT_REDIS " (it is \"foo\")"},
        {"redis:\n  address: tcp://x\n", ":2:12: redis.address " NOT_TCP " (it is \"tcp://x\")"},
        {"redis:\n  address: 'unix:'\n",
         ":2:12: redis.address must be unix:/path, of at most 107 bytes (it is \"unix:\")"},
        {"redis:\n  address: sentinel://a:1,b:2\n",
         ":2:12: redis.address " NOT_NAMED " (it is \"sentinel://a:1,b:2\")"},
        {"redis:\n  address: sentinel://a:1/na me\n",
         ":2:12: redis.address " NOT_NAMED " (it is \"sentinel://a:1/na me\")"},
        {"redis:\n  address: sentinel://a:1,,b:2/main\n",
         ":2:12: redis.address " NOT_HOSTS " (it is \"sentinel://a:1,,b:2/main\")"},
        {"redis:\n  address: cluster://\n",
         ":2:12: redis.address " NOT_HOSTS " (it is \"cluster://\")"},
        {"redis:\n  address: cluster://a:1,A:1\n",
         ":2:12: redis.address names the same host twice (it is \"cluster://a:1,A:1\")"},
        {"worker:\n  brokers: [tcp://a:1, foo]\n", ":2:24: worker.brokers: \"foo\" " NOT_ENDPOINT},
        {"worker:\n  brokers: []\n", ":2:12: worker.brokers wants at least 1 value"},
        {"gateway:\n  brokers: [foo]\n", ":2:13: gateway.brokers: \"foo\" " NOT_ENDPOINT},
        {"broker:\n  advertise_clients: tcp://10.0.0.1:5560\n",
         ":2:22: broker.advertise_clients" NOT_GUARDED},
        {"worker:\n  broker_keys: [short]\n",
         ":2:17: worker.broker_keys: \"short\" must be a CURVE public key, 40 characters as `otpq "
         "keys new` prints them"},
        {"worker:\n  broker_keys: " KEY "\n",
         ":2:16: worker.broker_keys without worker.curve_secret_file: brokers with keys let only "
         "keys in"},
        {"gateway:\n  curve_secret_file: k\n",
         ":2:22: gateway.curve_secret_file without gateway.broker_keys: it must know the public "
         "keys of its brokers (`otpq keys list`)"},
        {"client:\n  curve_secret_file: k\n  broker_keys: [" KEY ", " KEY "]\n",
         ":3:16: client.broker_keys has 2 keys for 1 brokers: one for each, or one for all"},
        {"client:\n  brokers: nope\n",
         ":2:12: client.brokers: \"nope\" " NOT_ENDPOINT " (it is \"nope\")"},
        {"outgoing:\n  allow: ['10.0.0.0/99']\n",
         ":2:11: outgoing.allow: \"10.0.0.0/99\" " NOT_ALLOW},
        {"outgoing:\n  proxy: junk junk\n",
         ":2:10: outgoing.proxy " NOT_PROXY " (it is \"junk junk\")"},
        {"outgoing:\n  proxy: http://u:p@h:1\n",
         ":2:10: outgoing.proxy " NOT_PROXY " (it is \"http://u:p@h:1\")"},
    };
    struct config c;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        check_file(&c, bad[i].text, bad[i].error);
    }
    check_file(&c,
               "broker:\n  clients: ipc:///run/otpq/c\n  workers: tcp://[::1]:7\n  metrics: '*:8'\n"
               "redis:\n  address: tcp://[fd00::1]:6379\ngateway:\n  listen: a.example:0\n"
               "outgoing:\n  allow: [h, 'h:1', '[::1]:9', fd00::/8]\n  proxy: http://p:3128/\n",
               NULL);
    config_free(&c);
}

static void with_keys_a_broker_may_listen_anywhere(void **state)
{
    (void)state;
    struct config c;
    struct yaml_error error;
    check_file(&c,
               "broker:\n  clients: tcp://*:5560\n  workers: tcp://10.0.0.1:5561\n"
               "  advertise_clients: tcp://b.example:5560\n  curve_secret_file: /nonexistent/k\n"
               "worker:\n  brokers: [tcp://a:1, tcp://b:2]\n  curve_secret_file: w\n"
               "  broker_keys: " KEY "\n",
               NULL);
    assert_string_equal(config_broker_key(&c.worker_broker_keys, 1), KEY);
    assert_null(config_broker_key(&c.gateway_broker_keys, 0));
    assert_false(config_check_files(&c, "otpq-broker", &error));
    assert_non_null(strstr(error.text, ":5:22: broker.curve_secret_file: /nonexistent/k: cannot"));
    assert_true(config_check_files(&c, "otpq-gateway", &error));
    config_free(&c);
}

static void a_broker_that_listens_everywhere_says_where_it_is(void **state)
{
    (void)state;
    struct config c;
    check_file(
        &c, "broker:\n  clients: tcp://0.0.0.0:5560\n  curve_secret_file: k\n",
        ":2:12: nobody can connect to tcp://0.0.0.0:5560: say in broker.advertise_clients where "
        "others find this broker");
    check_file(
        &c,
        "broker:\n  workers: tcp://*:5561\n  advertise_workers: tcp://*:1\n"
        "  curve_secret_file: k\n",
        ":3:22: nobody can connect to tcp://*:1: say in broker.advertise_workers where others "
        "find this broker");
    check_file(&c,
               "broker:\n  workers: tcp://*:5561\n  advertise_workers: tcp://b:1\n"
               "  curve_secret_file: k\n",
               NULL);
    config_free(&c);
}

static void sockets_of_a_broker_are_apart(void **state)
{
    (void)state;
    struct config c;
    check_file(&c, "broker:\n  clients: tcp://127.0.0.1:7\n  workers: tcp://localhost:7\n",
               ":3:12: broker.clients and broker.workers are the same address: give each its own");
    check_file(&c, "broker:\n  clients: tcp://127.0.0.1:9560\n",
               ":2:12: broker.clients and broker.metrics are the same address: give each its own");
    check_file(&c, "broker:\n  workers: ipc://a\n  clients: ipc://b\n  metrics: '*:5560'\n", NULL);
    config_free(&c);
}

static void a_missing_secret_is_named_with_its_place(void **state)
{
    (void)state;
    struct config c;
    struct yaml_error error;
    check_file(&c, "secrets:\n  file: /nonexistent/s\n", NULL);
    assert_true(config_check_files(&c, "otpq-broker", &error));
    assert_false(config_check_files(&c, "otpq-worker", &error));
    assert_non_null(strstr(error.text, ":2:9: secrets.file: /nonexistent/s: cannot be opened"));
    config_free(&c);
    (void)setenv("OTPQ_REDIS_PASSWORD_FILE", "/nonexistent/p", 1);
    check_file(&c, "log:\n", NULL);
    (void)unsetenv("OTPQ_REDIS_PASSWORD_FILE");
    assert_false(config_check_files(&c, "otpq-broker", &error));
    assert_string_equal(error.text, "environment: OTPQ_REDIS_PASSWORD_FILE: redis.password_file: "
                                    "/nonexistent/p: cannot be opened: No such file or directory");
    config_free(&c);
}

static void check_variable(const char *name, const char *value, const char *expected)
{
    struct config c;
    struct yaml_error error;
    (void)setenv(name, value, 1);
    bool ok = config_load(&c, NULL, &error);
    (void)unsetenv(name);
    if (expected == NULL) {
        assert_true(ok);
        config_free(&c);
        return;
    }
    assert_false(ok);
    assert_string_equal(error.text, expected);
}

static void slips_in_variables_are_errors(void **state)
{
    (void)state;
    check_variable("OTPQ_GATEWAY_LISTN", "x",
                   "environment: OTPQ_GATEWAY_LISTN is no option; did you mean "
                   "OTPQ_GATEWAY_LISTEN?");
    check_variable("OTPQ_WORKER_CAPACITY", "0",
                   "environment: OTPQ_WORKER_CAPACITY: worker.capacity must be a whole number from "
                   "1 to 20000 calls (it is \"0\")");
    check_variable("OTPQ_REDIS_PREFIX", "a b",
                   "environment: OTPQ_REDIS_PREFIX: redis.prefix must be at most 64 characters, "
                   "letters, digits and : . _ - (it is \"a b\")");
    check_variable("OTPQ_CLIENT_BROKERS", "tcp://a:1, b",
                   "environment: OTPQ_CLIENT_BROKERS: client.brokers: \"b\" " NOT_ENDPOINT
                   " (it is \"tcp://a:1, b\")");
    check_variable("OTPQ_SOMETHING_ELSE", "x", NULL);
    check_variable("OTPQ_DIR", "/d", NULL);
}

static int run_main(const char *argument, const char *value, struct config *c)
{
    char *argv[] = {(char *)(uintptr_t) "otpq-broker", (char *)(uintptr_t)argument,
                    (char *)(uintptr_t)value, NULL};
    return config_main(argument == NULL ? 1
                       : value == NULL  ? 2
                                        : 3,
                       argv, "otpq-broker", "test", c);
}

static void every_program_understands(void **state)
{
    (void)state;
    struct config c;
    assert_int_equal(run_main(NULL, NULL, &c), CONFIG_GO_ON);
    config_free(&c);
    assert_int_equal(run_main("--help", NULL, &c), CONFIG_EXIT_OK);
    assert_int_equal(run_main("--version", NULL, &c), CONFIG_EXIT_OK);
    assert_int_equal(run_main("--check-config", NULL, &c), CONFIG_EXIT_OK);
    assert_int_equal(run_main("--hepl", NULL, &c), CONFIG_EXIT_BAD);
    assert_int_equal(run_main("--config", NULL, &c), CONFIG_EXIT_BAD);
    assert_int_equal(run_main("--config", "/nonexistent", &c), CONFIG_EXIT_BAD);
    assert_int_equal(run_main("--config=/nonexistent", NULL, &c), CONFIG_EXIT_BAD);
}

static void help_lists_what_a_program_reads(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 65536);
    config_help("otpq-broker", &b);
    assert_non_null(strstr(buf_text(&b), "broker.clients: tcp://127.0.0.1:5560 (tcp://host:port"));
    assert_null(strstr(buf_text(&b), "gateway.listen"));
    buf_clear(&b);
    config_help("otpq", &b);
    for (size_t i = 0; i < config_option_count; i++) {
        assert_non_null(strstr(buf_text(&b), config_options[i].key));
    }
    buf_free(&b);
}

static void every_row_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *o = &config_options[i];
        assert_true(strlen(o->key) < 58);
        assert_true(strlen(o->meaning) > 10);
        assert_int_equal(o->meaning[strlen(o->meaning) - 1], '.');
        assert_true((o->type == CONFIG_CHOICE) == (o->choices != NULL));
        assert_true((o->type == CONFIG_UINT || o->type == CONFIG_PREFIX) == (o->max > 0));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(o->key, config_options[j].key);
            assert_int_not_equal(o->offset, config_options[j].offset);
        }
    }
}

static bool options_equal(const struct config_option *o, const struct config *a,
                          const struct config *b)
{
    const void *x = (const char *)a + o->offset;
    const void *y = (const char *)b + o->offset;
    if (o->type == CONFIG_UINT) {
        return *(const uint64_t *)x == *(const uint64_t *)y;
    }
    if (o->type != CONFIG_LIST) {
        return strcmp(*(char *const *)x, *(char *const *)y) == 0;
    }
    const struct config_list *s = x;
    const struct config_list *t = y;
    bool equal = s->count == t->count;
    for (size_t i = 0; equal && i < s->count; i++) {
        equal = strcmp(s->at[i], t->at[i]) == 0;
    }
    return equal;
}

/* deploy/otpq.yaml has every option, and with its default. */
static void the_sample_is_whole(void **state)
{
    (void)state;
    struct yaml_error error = {""};
    struct config sample;
    struct config defaults;
    struct yaml_node *root = yaml_load("deploy/otpq.yaml", &error);
    if (root == NULL || !config_load(&sample, "deploy/otpq.yaml", &error)) {
        fail_msg("%s", error.text);
    }
    assert_true(config_load(&defaults, NULL, &error));
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *o = &config_options[i];
        const char *dot = strchr(o->key, '.');
        char section[64];
        (void)snprintf(section, sizeof(section), "%.*s", (int)strcspn(o->key, "."), o->key);
        const struct yaml_node *top = yaml_get(root, section);
        if (top == NULL || (dot != NULL && yaml_get(top, dot + 1) == NULL)) {
            fail_msg("deploy/otpq.yaml has no %s", o->key);
        }
        if (!options_equal(o, &sample, &defaults)) {
            fail_msg("deploy/otpq.yaml has %s, and not with its default", o->key);
        }
    }
    yaml_destroy(&root);
    config_free(&sample);
    config_free(&defaults);
}

/* docs/configuration.md has a row for every option, with default and meaning. */
static void the_page_is_whole(void **state)
{
    (void)state;
    static char page[256 * 1024];
    FILE *file = fopen("docs/configuration.md", "re");
    assert_non_null(file);
    size_t n = fread(page, 1, sizeof(page) - 1, file);
    (void)fclose(file);
    page[n] = '\0';
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *o = &config_options[i];
        char row[128];
        const char *none = o->type == CONFIG_LIST ? "[]" : "\"\"";
        (void)snprintf(row, sizeof(row), "| `%s` | `%s` |", o->key,
                       o->fallback[0] != '\0' ? o->fallback : none);
        if (strstr(page, row) == NULL || strstr(page, o->meaning) == NULL) {
            fail_msg("docs/configuration.md lacks the row \"%s … | %s |\"", row, o->meaning);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stand),
        cmocka_unit_test(file_then_environment),
        cmocka_unit_test(errors_name_place_and_remedy),
        cmocka_unit_test(addresses_of_redis_are_taken_apart),
        cmocka_unit_test(the_prefix_of_keys_is_bounded),
        cmocka_unit_test(addresses_are_judged_at_load),
        cmocka_unit_test(with_keys_a_broker_may_listen_anywhere),
        cmocka_unit_test(a_broker_that_listens_everywhere_says_where_it_is),
        cmocka_unit_test(sockets_of_a_broker_are_apart),
        cmocka_unit_test(a_missing_secret_is_named_with_its_place),
        cmocka_unit_test(slips_in_variables_are_errors),
        cmocka_unit_test(every_program_understands),
        cmocka_unit_test(help_lists_what_a_program_reads),
        cmocka_unit_test(every_row_is_whole),
        cmocka_unit_test(the_sample_is_whole),
        cmocka_unit_test(the_page_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
