/*
 * memory.h: one end for every allocation that fails. A library that gets NULL may go on with a part
 * of what it was asked for (an object without a member, a reply cut short), and that would become a
 * wrong answer: what libraries allocate ends the process as what we allocate does (check.h). What
 * cannot be told so (libzmq's malloc, hiredis, libyaml, libc) says so to its caller, or aborts.
 * Floor 3.
 */
#ifndef OTPQ_ADAPTERS_MEMORY_H
#define OTPQ_ADAPTERS_MEMORY_H

#ifdef __cplusplus
extern "C" {
#endif

/* The first thing a program does: before any library has allocated. libcurl's share is
 * memory_init_curl. */
void memory_ends_in_order(void);

/* curl_global_init with it; ends the process when that fails. */
void memory_init_curl(void);

/* C++'s part: operator new, with nothrow too, of libzmq and libphonenumber. */
void memory_new_ends_in_order(void);

#ifdef __cplusplus
}
#endif

#endif
