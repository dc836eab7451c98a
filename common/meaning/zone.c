#include "common/meaning/zone.h"

#include <stdio.h>
#include <time.h>
#include <unicode/ucal.h>

/* A time of day of some zone, as it is written. */
struct civil {
    int year;
    int month; /* 1 to 12 */
    int day;
    int hour;
    int minute;
    int second;
};

static bool read_two(struct slice s, size_t at, int min, int max, int *out)
{
    uint64_t value = 0;
    if (!slice_to_u64(slice_make(s.p + at, 2), (uint64_t)max, &value) || (int)value < min) {
        return false;
    }
    *out = (int)value;
    return true;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

static bool read_civil(struct slice s, struct civil *c)
{
    static const char form[] = "    -  -     :  :  ";
    if (s.n != ZONE_TIME_BYTES - 1) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (form[i] != ' ' && s.p[i] != form[i]) {
            return false;
        }
    }
    uint64_t year = 0;
    if (s.p[10] != ' ' || !slice_to_u64(slice_make(s.p, 4), 9999, &year) || year < 1970) {
        return false;
    }
    c->year = (int)year;
    return read_two(s, 5, 1, 12, &c->month) &&
           read_two(s, 8, 1, days_of(c->year, c->month), &c->day) &&
           read_two(s, 11, 0, 23, &c->hour) && read_two(s, 14, 0, 59, &c->minute) &&
           read_two(s, 17, 0, 59, &c->second);
}

static void write_civil(const struct civil *c, char out[ZONE_TIME_BYTES])
{
    char text[80]; /* what the compiler believes that six ints may need */
    (void)snprintf(text, sizeof(text), "%04d-%02d-%02d %02d:%02d:%02d", c->year, c->month, c->day,
                   c->hour, c->minute, c->second);
    memcpy(out, text, ZONE_TIME_BYTES - 1);
    out[ZONE_TIME_BYTES - 1] = '\0';
}

/* The name as ICU wants it; false when it is no zone: ICU would open GMT instead. */
static bool zone_name(struct slice zone, UChar name[ZONE_NAME_BYTES_MAX + 1])
{
    if (zone.n == 0 || zone.n > ZONE_NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < zone.n; i++) {
        if (zone.p[i] <= ' ' || zone.p[i] > '~') {
            return false;
        }
        name[i] = (UChar)zone.p[i];
    }
    name[zone.n] = 0;
    UChar canonical[ZONE_NAME_BYTES_MAX * 2];
    UBool is_system = false;
    UErrorCode error = U_ZERO_ERROR;
    (void)ucal_getCanonicalTimeZoneID(name, (int32_t)zone.n, canonical, ZONE_NAME_BYTES_MAX * 2,
                                      &is_system, &error);
    return U_SUCCESS(error) != 0;
}

static UCalendar *open_zone(struct slice zone)
{
    UChar name[ZONE_NAME_BYTES_MAX + 1];
    if (!zone_name(zone, name)) {
        return NULL;
    }
    UErrorCode error = U_ZERO_ERROR;
    UCalendar *calendar = ucal_open(name, (int32_t)zone.n, "en_US", UCAL_GREGORIAN, &error);
    return U_SUCCESS(error) ? calendar : NULL;
}

bool zone_known(struct slice zone)
{
    UChar name[ZONE_NAME_BYTES_MAX + 1];
    return zone_name(zone, name);
}

static bool is_utc(struct slice zone)
{
    return slice_is(zone, "UTC");
}

static bool fail(char out[ZONE_TIME_BYTES])
{
    out[0] = '\0';
    return false;
}

void zone_utc_text(uint64_t ms, char out[ZONE_TIME_BYTES])
{
    static const uint64_t last_ms = 253402300799999; /* the end of the year 9999 */
    time_t seconds = (time_t)((ms < last_ms ? ms : last_ms) / 1000);
    struct tm tm;
    must(gmtime_r(&seconds, &tm) != NULL);
    struct civil c = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                      tm.tm_hour,        tm.tm_min,     tm.tm_sec};
    write_civil(&c, out);
}

static uint64_t civil_ms(const struct civil *c)
{
    struct tm tm = {.tm_year = c->year - 1900,
                    .tm_mon = c->month - 1,
                    .tm_mday = c->day,
                    .tm_hour = c->hour,
                    .tm_min = c->minute,
                    .tm_sec = c->second};
    return (uint64_t)timegm(&tm) * 1000;
}

bool zone_utc_ms(struct slice time, uint64_t *ms)
{
    struct civil c;
    if (!read_civil(time, &c)) {
        return false;
    }
    *ms = civil_ms(&c);
    return true;
}

bool zone_to_utc(struct slice zone, struct slice time, char out[ZONE_TIME_BYTES])
{
    struct civil c;
    if (!read_civil(time, &c)) {
        return fail(out);
    }
    if (is_utc(zone)) { /* the default; ICU would cost more than the rest together */
        write_civil(&c, out);
        return true;
    }
    UCalendar *calendar = open_zone(zone);
    if (calendar == NULL) {
        return fail(out);
    }
    UErrorCode error = U_ZERO_ERROR;
    ucal_clear(calendar);
    ucal_setDateTime(calendar, c.year, c.month - 1, c.day, c.hour, c.minute, c.second, &error);
    UDate utc = ucal_getMillis(calendar, &error);
    ucal_close(calendar);
    if (U_FAILURE(error) || utc < 0) {
        return fail(out);
    }
    zone_utc_text((uint64_t)utc, out);
    return true;
}

bool zone_from_utc(struct slice zone, struct slice time, char out[ZONE_TIME_BYTES])
{
    struct civil c;
    if (!read_civil(time, &c)) {
        return fail(out);
    }
    if (is_utc(zone)) {
        write_civil(&c, out);
        return true;
    }
    UCalendar *calendar = open_zone(zone);
    if (calendar == NULL) {
        return fail(out);
    }
    uint64_t utc = civil_ms(&c);
    UErrorCode error = U_ZERO_ERROR;
    ucal_setMillis(calendar, (UDate)utc, &error);
    int32_t offset_ms =
        ucal_get(calendar, UCAL_ZONE_OFFSET, &error) + ucal_get(calendar, UCAL_DST_OFFSET, &error);
    ucal_close(calendar);
    if (U_FAILURE(error) || (offset_ms < 0 && utc < (uint64_t)-offset_ms)) {
        return fail(out);
    }
    zone_utc_text(offset_ms < 0 ? utc - (uint64_t)-offset_ms : utc + (uint64_t)offset_ms, out);
    return true;
}
