/* The first byte chooses the op, the rest is the body's msgpack. What is read can be written, and
 * reads the same again. */
#include "common/meaning/job.h"
#include "common/meaning/job_ops.h"
#include "tests/fuzz/fuzz.h"

enum { BYTES_MAX = 256 * 1024 };

static struct buf out;

/* The decoder of one op into `again` or the first struct, and its encoder. */
#define ROUND(type, decode, encode)                                                                \
    do {                                                                                           \
        struct type body;                                                                          \
        const char *error = NULL;                                                                  \
        if (!decode) {                                                                             \
            must(error != NULL);                                                                   \
            break;                                                                                 \
        }                                                                                          \
        encode;                                                                                    \
        must(buf_ok(&out));                                                                        \
        bytes = buf_slice(&out);                                                                   \
        must(decode);                                                                              \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = fuzz_slice(data, size);
    unsigned op = fuzz_byte(&bytes) % 7;
    buf_init(&out, BYTES_MAX);
    switch (op) {
    case 0:
    case 1:
        ROUND(job_body, job_body_decode(bytes, op == 1, &body, &error),
              job_body_encode(&out, &body, op == 1));
        break;
    case 2:
        ROUND(job_flash_create, job_flash_create_decode(bytes, &body, &error),
              job_flash_create_encode(&out, &body));
        break;
    case 3:
        ROUND(job_flash_query, job_flash_query_decode(bytes, &body, &error),
              job_flash_query_encode(&out, &body));
        break;
    case 4:
        ROUND(job_report, job_report_decode(bytes, &body, &error), job_report_encode(&out, &body));
        break;
    case 5:
        ROUND(job_callback, job_callback_decode(bytes, &body, &error),
              job_callback_encode(&out, &body));
        break;
    default:
        ROUND(job_result, job_result_decode(bytes, &body, &error), job_result_encode(&out, &body));
    }
    buf_free(&out);
    return 0;
}
