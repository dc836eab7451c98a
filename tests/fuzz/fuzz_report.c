/* The first byte is the dialect, the first line the query, the rest the body of a callback. */
#include "tests/fuzz/called.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    const struct called *c = called_at(fuzz_byte(&rest) % CALLED);
    struct slice query = fuzz_line(&rest);
    struct params params;
    char error[PARAMS_ERROR_BYTES];
    struct dialect_report report;
    const char *why = NULL;
    if (c->dialect->report != NULL && params_read(&params, query, SLICE(""), rest, error)) {
        if (c->dialect->report(c->settings, &params, &report, &why)) {
            must(report.code > RESULT_NONE && report.code < RESULT_CODES);
            must(report.request_id[0] != '\0' || report.advertiser_request_id[0] != '\0' ||
                 report.otp[0] != '\0');
        } else {
            must(why != NULL);
        }
        params_free(&params);
    } else if (c->dialect->report != NULL) {
        params_free(&params);
    }
    return 0;
}
