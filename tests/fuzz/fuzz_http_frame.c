/* The same request at once and byte by byte: both must judge alike. */
#include "common/adapters/http_frame.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct http_frame_limits limits = {.head_bytes_max = 8192, .body_bytes_max = 65536};
    struct slice all = fuzz_slice(data, size);
    struct http_frame whole;
    struct http_frame parts;
    http_frame_init(&whole);
    http_frame_init(&parts);
    enum http_frame_state at_once = http_frame_check(&whole, all, &limits);
    enum http_frame_state state = HTTP_FRAME_MORE;
    for (size_t n = 1; n <= size && state == HTTP_FRAME_MORE; n++) {
        state = http_frame_check(&parts, slice_make(all.p, n), &limits);
    }
    if (at_once == HTTP_FRAME_WHOLE) {
        must(state == HTTP_FRAME_WHOLE && whole.whole_bytes == parts.whole_bytes);
        must(whole.whole_bytes <= size);
    } else if (at_once == HTTP_FRAME_BAD) {
        must(state != HTTP_FRAME_MORE && whole.status >= 400 && whole.detail != NULL);
    }
    return 0;
}
