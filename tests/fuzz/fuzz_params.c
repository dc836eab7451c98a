/* The first line is the query, the second the content type, the rest the body. */
#include "common/meaning/params.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    struct slice query = fuzz_line(&rest);
    struct slice type = fuzz_line(&rest);
    struct params params;
    char error[PARAMS_ERROR_BYTES] = "";
    if (params_read(&params, query, type, rest, error)) {
        for (uint32_t i = 0; i < params.count; i++) {
            must(params_text_ok(params.at[i].name) && params_text_ok(params.at[i].value));
        }
        must(params_get(&params, "no such name").p == NULL || params.count > 0);
    } else {
        must(error[0] != '\0');
    }
    params_free(&params);
    return 0;
}
