/* The first line is what a flash template asks to be sent, the second a time, the rest the SMS. */
#include "common/meaning/mo_text.h"
#include "common/meaning/zone.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = fuzz_slice(data, size);
    struct slice content = fuzz_line(&rest);
    struct slice time = fuzz_line(&rest);
    struct mo_word word;
    struct mo_found found;
    if (mo_word_of(content, &word) && mo_text_find(&word, rest, &found)) {
        must(found.code.n >= MO_CODE_DIGITS_MIN && found.code.n <= MO_CODE_DIGITS_MAX);
        must(found.code.p >= rest.p && found.code.p + found.code.n <= rest.p + rest.n);
    }
    char utc[ZONE_TIME_BYTES];
    char back[ZONE_TIME_BYTES];
    if (zone_to_utc(SLICE("Asia/Bangkok"), time, utc)) {
        must(zone_from_utc(SLICE("Asia/Bangkok"), slice_of(utc), back));
        must(slice_is(time, back)); /* Bangkok has had one offset since 1920 */
    }
    (void)!zone_to_utc(time, SLICE("2025-04-29 17:47:00"), utc);
    return 0;
}
