/*
 * process.h: what every process of otpq does to itself before it handles numbers and codes. Floor
 * 0.
 */
#ifndef OTPQ_BASE_PROCESS_H
#define OTPQ_BASE_PROCESS_H

/* No core files, here and in children: memory holds numbers, codes and secrets. */
void process_no_core(void);

/* From here on the process ends by itself, and soon: a further SIGTERM or SIGINT no longer cuts it
 * short, which would turn its exit code into a signal. */
void process_ends(void);

#endif
