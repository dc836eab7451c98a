/* An entry of a shelf. What was read is written as it was. */
#include "common/meaning/stored_job.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stored_job job, again;
    const char *error = NULL;
    if (!stored_job_read(fuzz_slice(data, size), &job, &error)) {
        must(error != NULL);
        return 0;
    }
    struct buf entry;
    buf_init(&entry, WIRE_BODY_BYTES_MAX + 1024);
    stored_job_write(&entry, &job);
    must(buf_ok(&entry) && entry.n <= size);
    must(stored_job_read(buf_slice(&entry), &again, &error));
    must(slice_eq(job.submit.id, again.submit.id) && slice_eq(job.body, again.body));
    must(job.deadline_ms == again.deadline_ms && job.submit.op == again.submit.op);
    buf_free(&entry);
    return 0;
}
