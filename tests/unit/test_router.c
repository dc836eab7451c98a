/* gateway/router: every row is reached, and nothing beside it. */
#include "gateway/router.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void expect(const char *method, const char *path, enum route_outcome wanted, int op,
                   const char *name)
{
    struct router_match m = router_find(slice_of(method), slice_of(path));
    assert_int_equal(m.outcome, wanted);
    if (wanted == ROUTE_FOUND) {
        assert_int_equal(m.row->op, op);
        assert_true(slice_is(m.names[0], name));
    }
}

static void finds_every_row(void **state)
{
    (void)state;
    expect("GET", "/api/af/otp_gen", ROUTE_FOUND, ROUTE_GEN, "");
    expect("POST", "/api/af/otp_gen", ROUTE_FOUND, ROUTE_GEN, "");
    expect("POST", "/api/af/otp_verify", ROUTE_FOUND, ROUTE_VERIFY, "");
    expect("GET", "/e/demo1001/otp_gen", ROUTE_FOUND, ROUTE_GEN, "demo1001");
    expect("POST", "/e/a.b:c_d-e/otp_verify", ROUTE_FOUND, ROUTE_VERIFY, "a.b:c_d-e");
    expect("GET", "/send", ROUTE_FOUND, ROUTE_GEN, "");
    expect("POST", "/code", ROUTE_FOUND, ROUTE_VERIFY, "");
    expect("POST", "/one-time-password-sms/v1/send-code", ROUTE_FOUND, ROUTE_GEN, "");
    expect("POST", "/one-time-password-sms/v1/validate-code", ROUTE_FOUND, ROUTE_VERIFY, "");
    expect("GET", "/cb/otpservice/a.b/t_1", ROUTE_FOUND, ROUTE_REPORT, "otpservice");
    expect("GET", "/healthz", ROUTE_FOUND, ROUTE_HEALTH, "");
    expect("HEAD", "/healthz", ROUTE_FOUND, ROUTE_HEALTH, "");
    assert_ptr_equal(router_find(SLICE("GET"), SLICE("/api/af/otp_gen")).row->system, &system_af);
    assert_ptr_equal(router_find(SLICE("GET"), SLICE("/e/x/otp_gen")).row->system,
                     &system_endpoint);
}

static void takes_three_names(void **state)
{
    (void)state;
    struct router_match m = router_find(SLICE("POST"), SLICE("/cb/fotp/partner:1/0f.Z-"));
    assert_ptr_equal(m.row->system, &system_report_in);
    assert_true(slice_is(m.names[0], "fotp"));
    assert_true(slice_is(m.names[1], "partner:1"));
    assert_true(slice_is(m.names[2], "0f.Z-"));
}

static void knows_what_is_not_there(void **state)
{
    (void)state;
    static const char *const unknown[] = {"/",
                                          "*",
                                          "/api",
                                          "/api/af/otp_gen/",
                                          "/api/af/otp_genx",
                                          "/api/af/otp_ge",
                                          "/API/af/otp_gen",
                                          "/e//otp_gen",
                                          "/e/otp_gen",
                                          "/e/a/b/otp_gen",
                                          "/e/a%2Fb/otp_gen",
                                          "/e/a/otp_send",
                                          "/e/demo1001/",
                                          "/healthz/",
                                          "/cb/fotp/partner",
                                          "/cb/fotp/partner/",
                                          "/cb/fotp/partner/a/b",
                                          "/cb/fotp/partner/a%41",
                                          "/one-time-password-sms/v1",
                                          "/one-time-password-sms/v2/send-code",
                                          "/api/af/./otp_gen",
                                          "/e/../otp_gen/x"};
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        expect("GET", unknown[i], ROUTE_UNKNOWN, 0, "");
    }
}

static void tells_wrong_methods(void **state)
{
    (void)state;
    static const char *const methods[] = {"PUT",  "DELETE", "PATCH", "OPTIONS", "TRACE",
                                          "HEAD", "GE",     "GETX",  ""};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        expect(methods[i], "/api/af/otp_gen", ROUTE_WRONG_METHOD, 0, "");
        expect(methods[i], "/e/x/otp_verify", ROUTE_WRONG_METHOD, 0, "");
    }
    expect("GET", "/one-time-password-sms/v1/send-code", ROUTE_WRONG_METHOD, 0, "");
    expect("POST", "/healthz", ROUTE_WRONG_METHOD, 0, "");
    assert_string_equal(router_find(SLICE("PUT"), SLICE("/api/af/otp_gen")).row->methods,
                        "GET, POST");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_row),
        cmocka_unit_test(takes_three_names),
        cmocka_unit_test(knows_what_is_not_there),
        cmocka_unit_test(tells_wrong_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
