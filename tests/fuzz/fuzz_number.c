/* A number as people type it: what is taken is digits, and libphonenumber can look at it. */
#include "common/meaning/msisdn.h"
#include "common/meaning/phone.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice typed = fuzz_slice(data, size);
    const char *error = NULL;
    struct msisdn number;
    struct phone phone;
    if (msisdn_parse(typed, "66", &number, &error)) {
        size_t n = strlen(number.digits);
        must(n >= 7 && n <= 15 && strspn(number.digits, "0123456789") == n);
        phone_look(slice_of(number.digits), &phone);
        must(phone.possible || !phone.valid);
        (void)msisdn_mask(slice_of(number.digits));
        (void)msisdn_tag(slice_of(number.digits));
    }
    phone_look(typed, &phone);
    struct phone_forms forms;
    phone_write(typed, &forms);
    must(forms.possible == phone.possible);
    must(memchr(forms.national, '\0', sizeof(forms.national)) != NULL);
    must(memchr(forms.dialled, '\0', sizeof(forms.dialled)) != NULL);
    must(memchr(forms.international, '\0', sizeof(forms.international)) != NULL);
    return 0;
}
