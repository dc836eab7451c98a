#include "common/meaning/webhook.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The vector of the standard's own libraries. */
static void test_published_vector(void **state)
{
    (void)state;
    char out[WEBHOOK_SIGNATURE_BYTES + 1];
    webhook_sign(SLICE("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
                 SLICE("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1614265330, SLICE("{\"test\": 2432232314}"),
                 out);
    assert_string_equal(out, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

/* python3: base64.b64encode(hmac.new(b"secret", b"msg_1.5.", "sha256").digest()) */
static void test_other_keys(void **state)
{
    (void)state;
    char raw[WEBHOOK_SIGNATURE_BYTES + 1];
    char bad[WEBHOOK_SIGNATURE_BYTES + 1];
    char empty[WEBHOOK_SIGNATURE_BYTES + 1];
    webhook_sign(SLICE("secret"), SLICE("msg_1"), 5, SLICE(""), raw);
    assert_string_equal(raw, "v1,DQ8tzERzqLBsqkUjOAqzDCAsZWeIoDYgeaZ/zgbRpSc=");
    webhook_sign(SLICE("whsec_???"), SLICE("msg_1"), 5, SLICE(""), bad); /* the key itself */
    assert_string_equal(bad, "v1,wQu4CoBYouD50eWep3DyR2qpWeDHsJg2V56MhdB73a4=");
    webhook_sign(SLICE(""), SLICE("msg_1"), 5, SLICE(""), empty);
    assert_string_not_equal(raw, empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_vector),
        cmocka_unit_test(test_other_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
