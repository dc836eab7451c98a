#include "common/adapters/address_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *special(const char *text)
{
    struct sockaddr_storage a;
    assert_true(address_parse(text, &a));
    return address_special((const struct sockaddr *)&a);
}

static void test_special_ranges(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
        "5f00::1",
        "1234::1",
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (special(refused[i]) == NULL) {
            fail_msg("%s passes", refused[i]);
        }
    }
    static const char *const open[] = {
        "1.1.1.1",         "8.8.8.8",         "9.255.255.255", "11.0.0.0",    "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.1",     "169.253.0.1", "172.15.0.1",
        "172.32.0.1",      "192.167.0.1",     "192.169.0.1",   "198.17.0.1",  "198.20.0.1",
        "223.255.255.255", "2606:4700::1111", "2a00:1450::1",  "2400::1",
    };
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        if (special(open[i]) != NULL) {
            fail_msg("%s is refused", open[i]);
        }
    }
    assert_string_equal(special("127.0.0.1"), "loopback");
    assert_string_equal(special("::ffff:10.0.0.1"), "IPv4-mapped");
}

static bool allowed(const struct address_rules *r, const char *host, uint16_t port,
                    const char *address)
{
    struct sockaddr_storage a;
    assert_true(address_parse(address, &a));
    return address_rules_allow(r, slice_of(host), port, (const struct sockaddr *)&a);
}

static void test_allow_list(void **state)
{
    (void)state;
    static const char *const allow[] = {"Gw.Internal", "sms.internal:8443", "127.0.0.1:8090",
                                        "[::1]:8091",  "10.1.0.0/16",       "fd00::/8",
                                        "192.168.7.7"};
    char error[256];
    struct address_rules *r = address_rules_new(allow, ARRAY_LEN(allow), error);
    assert_non_null(r);
    assert_true(allowed(r, "example.com", 80, "8.8.8.8"));
    assert_false(allowed(r, "example.com", 80, "10.0.0.1"));
    assert_true(allowed(r, "gw.internal", 80, "10.0.0.1"));
    assert_true(allowed(r, "GW.internal.", 80, "10.0.0.1"));
    assert_false(allowed(r, "xgw.internal", 80, "10.0.0.1"));
    assert_true(allowed(r, "sms.internal", 8443, "10.0.0.1"));
    assert_false(allowed(r, "sms.internal", 443, "10.0.0.1"));
    assert_true(allowed(r, "anything", 8090, "127.0.0.1"));
    assert_false(allowed(r, "127.0.0.1", 80, "127.0.0.1"));
    assert_false(allowed(r, "127.0.0.1", 8090, "127.0.0.2"));
    assert_true(allowed(r, "[::1]", 8091, "::1"));
    assert_false(allowed(r, "[::1]", 8090, "::1"));
    assert_true(allowed(r, "x", 1, "10.1.255.3"));
    assert_false(allowed(r, "x", 1, "10.2.0.0"));
    assert_true(allowed(r, "x", 1, "fdff::1"));
    assert_true(allowed(r, "x", 9, "192.168.7.7"));
    /* A wrapped address is another address: the network must be listed as it is written. */
    assert_false(allowed(r, "x", 9, "::ffff:10.1.0.1"));
    address_rules_destroy(&r);
    address_rules_destroy(&r);
}

static void test_bad_entries(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "http://x", "10.0.0.0/33", "10.0.0.0/",     "a:0",       "a:70000", "a b",
        "::1/129", "[::1",     "[x]:80",      "10.0.0.0/8:80", "host:port", "*.x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char error[256] = "";
        struct address_rules *r = address_rules_new(&bad[i], 1, error);
        if (r != NULL) {
            fail_msg("\"%s\" is taken", bad[i]);
        }
        assert_true(strlen(error) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special_ranges),
        cmocka_unit_test(test_allow_list),
        cmocka_unit_test(test_bad_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
