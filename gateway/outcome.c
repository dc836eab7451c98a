#include "gateway/outcome.h"

#include "common/meaning/wire.h"

/* The broker's own words for a refusal are mostly of the vocabulary. Two others mean that this
 * program sent something wrong; the rest, of a later broker too, that nothing was taken now. */
static enum result_code code_not_taken(struct slice word)
{
    static const char *const mistakes[] = {WIRE_ERROR_MALFORMED, WIRE_ERROR_INVALID};
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        if (slice_is(word, mistakes[i])) {
            return RESULT_INTERNAL_ERROR;
        }
    }
    enum result_code code = result_of(word);
    return code == RESULT_NONE ? RESULT_QUEUE_FULL : code;
}

static void read_result(const struct otpq_answer *from, struct outcome *out)
{
    const char *error;
    out->ran = true;
    out->code = result_of(slice_of(from->code));
    if (out->code == RESULT_NONE ||
        !job_result_decode(slice_make(from->body, from->body_bytes), &out->result, &error)) {
        job_result_init(&out->result);
        out->code = RESULT_INTERNAL_ERROR;
    }
}

void outcome_read(const struct otpq_answer *from, struct outcome *out)
{
    *out = (struct outcome){.detail = ""};
    job_result_init(&out->result);
    switch (from->outcome) {
    case OTPQ_RESULT:
        read_result(from, out);
        break;
    case OTPQ_NOT_TAKEN:
        out->code = code_not_taken(slice_of(from->code));
        out->detail = out->code == RESULT_INTERNAL_ERROR ? "" : from->detail;
        out->retry_after_s = (from->retry_after_ms + 999) / 1000;
        break;
    case OTPQ_STORED: /* the gateway waits for results */
    case OTPQ_QUEUED:
        out->code = RESULT_INTERNAL_ERROR;
        break;
    case OTPQ_TIMED_OUT:
        out->code = RESULT_OUTCOME_UNKNOWN;
        out->detail = "no broker told the result in time";
        break;
    }
}
