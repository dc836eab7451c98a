/*
 * store_replies.h: memory of what a server answers. A part of a shelf is two thousand strings in
 * one answer: they live and end together, so they stand side by side instead of in two thousand
 * pieces of the heap between longer lives. Floor 3.
 */
#ifndef OTPQ_ADAPTERS_STORE_REPLIES_H
#define OTPQ_ADAPTERS_STORE_REPLIES_H

#include <hiredis/hiredis.h>

struct replies;

struct replies *replies_new(void);
/* Takes NULL, nulls the pointer. Replies end before it. */
void replies_destroy(struct replies **r);
/* The reader's replies are made here from now on; it ends first. They are like hiredis' own, but
 * end by the reader's freeObject alone, all at once: freeReplyObject is not for them. */
void replies_of(struct replies *r, redisReader *reader);

#endif
