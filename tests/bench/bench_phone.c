/*
 * bench_phone.c: what the look at a phone number costs by itself, which every send takes: the first
 * call, which reads the numbering plans, and each one after it, beside msisdn_parse, which knows no
 * plan and only normalises.
 */
#include <stdio.h>
#include <time.h>

#include "common/base/check.h"
#include "common/meaning/msisdn.h"
#include "common/meaning/phone.h"

enum { LOOKS = 20 * 1000, PARSES = 2 * 1000 * 1000 };

/* Numbers of countries near and far: the plan of each is another size. */
static const char *const numbers[] = {
    "66812340000",   "6622340000",   "6285273203675", "60123456789",   "84912345678",
    "639171234567",  "919876543210", "923012345678",  "971501234567",  "966512345678",
    "201001234567",  "254712123456", "2348021234567", "27711234567",   "4915123456789",
    "447400123456",  "33612345678",  "390612345678",  "34612345678",   "48512345678",
    "79123456789",   "12015550123",  "5511961234567", "5215512345678", "819012345678",
    "8613812345678",
};

/* Of the processor, not of the wall: nothing here waits, and a busy machine would be measured. */
static int64_t cpu_us(void)
{
    return (int64_t)clock() * 1000000 / CLOCKS_PER_SEC;
}

static struct slice number_at(int i)
{
    return slice_of(numbers[(size_t)i % ARRAY_LEN(numbers)]);
}

static double looks_ns(uint64_t *sum)
{
    struct phone p;
    int64_t begin_us = cpu_us();
    for (int i = 0; i < LOOKS; i++) {
        phone_look(number_at(i), &p);
        *sum += p.valid ? 1 : 0;
    }
    return (double)(cpu_us() - begin_us) * 1000 / LOOKS;
}

static double parses_ns(uint64_t *sum)
{
    struct msisdn m;
    const char *why;
    int64_t begin_us = cpu_us();
    for (int i = 0; i < PARSES; i++) {
        *sum += msisdn_parse(number_at(i), "66", &m, &why) ? 1 : 0;
    }
    return (double)(cpu_us() - begin_us) * 1000 / PARSES;
}

int main(void)
{
    struct phone p;
    uint64_t sum = 0;
    int64_t begin_us = cpu_us();
    phone_look(number_at(0), &p);
    double first_us = (double)(cpu_us() - begin_us);
    for (int i = 0; i < (int)ARRAY_LEN(numbers); i++) {
        phone_look(number_at(i), &p); /* each plan's expressions are compiled once, too */
    }
    double first_all_us = (double)(cpu_us() - begin_us);
    double look = looks_ns(&sum);
    double parse = parses_ns(&sum);
    (void)printf("phone numbers: first look %.1f ms, the first at each of %zu countries' %.1f ms\n",
                 first_us / 1000, ARRAY_LEN(numbers), first_all_us / 1000);
    (void)printf("%-16s %8.2f us a number\n", "phone_look", look / 1000);
    (void)printf("%-16s %8.2f us a number\n", "msisdn_parse", parse / 1000);
    (void)printf("ratio            %8.0f\n", look / parse);
    return sum == 0;
}
